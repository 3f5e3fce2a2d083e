"""Binding a mapping or a checkpoint: all or nothing, and every fault told at once."""

import re
from pathlib import Path

import numpy as np
import pytest
from support.models import run
from support.slim import slim_cases
from support.specs import parsed, tiny_document
from support.tolerances import NETWORK, relative_error

from resnet_compile import CompileOptions, bind, compile, plan_network
from resnet_compile.errors import CheckpointError, OptionError, WeightsError

SPEC = parsed(tiny_document())


def native() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {p.name: rng.standard_normal(p.shape, np.float32) for p in plan_network(SPEC).parameters}


def slim() -> dict[str, np.ndarray]:
    """The same values under the same names, laid out as TF-slim's."""
    return {name: value.transpose(2, 3, 1, 0) if value.ndim == 4 else value for name, value in native().items()}


def stored(model) -> dict[str, np.ndarray]:
    return {
        t.name: np.frombuffer(t.raw_data, np.float32).reshape(tuple(t.dims)) for t in model.to_proto().graph.initializer
    }


def metadata(model) -> dict[str, str]:
    return {p.key.removeprefix("resnet_compile."): p.value for p in model.to_proto().metadata_props}


@pytest.mark.parametrize("given", [native, slim])
def test_given_values_stand_in_the_model_in_our_layout(given) -> None:
    model = compile(SPEC, weights=given())
    values = stored(model)
    assert all(np.array_equal(values[name], value) for name, value in native().items())
    assert metadata(model)["weights_naming"] == ("native" if given is native else "tf-slim")


@pytest.mark.parametrize("prefix", ["module.", "outer/", "outer/other_name/", "resnet_v2_50/"])
def test_what_stands_before_the_names_is_stripped(prefix: str) -> None:
    own = {f"{prefix}{name.removeprefix('tiny/')}": value for name, value in slim().items()}
    assert all(np.array_equal(stored(compile(SPEC, weights=own))[name], value) for name, value in native().items())


def test_of_two_networks_the_one_asked_for_is_taken() -> None:
    other = {name.replace("tiny/", "other/"): value + 1 for name, value in slim().items()}
    words = re.escape("the network is in 2 sections: tiny, other (--section tiny takes the first)")
    with pytest.raises(WeightsError, match=words):
        compile(SPEC, weights=slim() | other)
    model = compile(SPEC, CompileOptions(section=("other",)), weights=slim() | other)
    assert np.array_equal(stored(model)["tiny/conv1/biases"], native()["tiny/conv1/biases"] + 1)
    assert metadata(model)["weights_section"] == "other"
    assert model.notes == (f"left: {len(native())} tensors under tiny/",)


@pytest.mark.parametrize(
    "name",
    [
        "global_step",
        "tiny/mean_rgb",
        "tiny/logits/weights/Momentum",
        "tiny/conv1/weights/RMSProp_1",
        "beta1_power",
        "tiny/logits/weights/ExponentialMovingAverage",
    ],
)
def test_what_training_leaves_in_a_checkpoint_is_ignored(name: str) -> None:
    assert compile(SPEC, weights=slim() | {name: np.zeros(3, np.float32)})


def test_a_headless_network_has_no_use_for_logits() -> None:
    document = tiny_document()
    document["head"] = {"num_classes": None}
    assert "tiny/logits/weights" not in stored(compile(parsed(document), weights=slim()))


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int32])
def test_numbers_of_other_types_are_converted(dtype: type) -> None:
    given = {name: value.astype(dtype) for name, value in native().items()}
    values = stored(compile(SPEC, weights=given))
    assert all(np.array_equal(values[name], value.astype(np.float32)) for name, value in given.items())


def test_every_fault_is_in_one_message() -> None:
    given = slim()
    given["tiny/logits/bias"] = given.pop("tiny/logits/biases")
    given["tiny/conv1/weights"] = given["tiny/conv1/weights"][:3]
    with pytest.raises(WeightsError) as caught:
        compile(SPEC, weights=given)
    total = len(native())
    assert str(caught.value) == (
        f"{total - 2} of {total} parameters fit by the tf-slim naming: "
        "tiny/conv1/weights has shape [3, 7, 3, 8], not [7, 7, 3, 8]; "
        "tiny/logits/biases is missing (there is tiny/logits/bias); "
        "tiny/logits/bias is not a parameter of this network @ tiny/conv1/weights"
    )


def test_many_faults_are_counted_not_listed() -> None:
    given = {name: value for name, value in slim().items() if "block2" not in name}
    missing = len(native()) - len(given)
    with pytest.raises(WeightsError, match=f"is missing; and {missing - 6} more @ tiny/block2/unit_1"):
        compile(SPEC, weights=given)


def test_the_weights_say_how_many_classes_there_are() -> None:
    given = slim()
    given["tiny/logits/weights"] = np.zeros((1, 1, 24, 1001), np.float32)
    given["tiny/logits/biases"] = np.zeros(1001, np.float32)
    model = compile(SPEC, weights=given)
    (told,) = model.notes
    assert told.startswith("the model has the weights' 1001 classes, not the spec's 10; the first class of TF-slim")
    assert model.plan == plan_network(SPEC.replace(head=SPEC.head.replace(num_classes=1001)))
    assert compile(SPEC, CompileOptions(num_classes=1001), weights=given).notes == ()
    words = re.escape(
        "(the weights have 1001 classes: --num-classes 1001; the first class of TF-slim's 1001 is the background)"
    )
    with pytest.raises(WeightsError, match=words):
        compile(SPEC, CompileOptions(num_classes=10), weights=given)
    with pytest.raises(WeightsError, match=words):
        bind(plan_network(SPEC), given)


def test_names_of_nothing_known_are_shown() -> None:
    with pytest.raises(WeightsError, match=r"no name fits tiny by any naming table @ tiny \(the names are like a, b\)"):
        compile(SPEC, weights={"b": np.zeros(1), "a": np.zeros(1)})
    with pytest.raises(WeightsError, match=r"by the native naming"):
        compile(SPEC, CompileOptions(naming="native"), weights={"b": np.zeros(1)})


def test_the_naming_can_be_given_and_must_exist() -> None:
    assert compile(SPEC, CompileOptions(naming="tf-slim"), weights=slim())
    with pytest.raises(WeightsError, match=r"has shape \[7, 7, 3, 8\], not \[8, 3, 7, 7\]"):
        compile(SPEC, CompileOptions(naming="native"), weights=slim())
    with pytest.raises(OptionError, match=r"naming must be one of tf-slim, .*, got keras3 @ naming"):
        compile(SPEC, CompileOptions(naming="keras3"), weights=slim())


def test_integers_of_quantised_weights_are_refused() -> None:
    given = native()
    given["tiny/conv1/weights"] = np.ones((8, 3, 7, 7), np.int8)
    with pytest.raises(WeightsError, match="holds int8, which means nothing without its scale @ tiny/conv1/weights"):
        compile(SPEC, weights=given)


def test_text_is_not_numbers() -> None:
    given = native()
    given["tiny/conv1/biases"] = np.array([b"a"] * 8)
    with pytest.raises(WeightsError, match="not numbers @ tiny/conv1/biases"):
        compile(SPEC, weights=given)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_values_that_are_not_finite_are_refused(value: float, tmp_path: Path) -> None:
    given = {name: values.astype(np.float64) for name, values in native().items()}
    given["tiny/postnorm/gamma"][3] = value
    model = compile(SPEC, CompileOptions(), weights=given)
    with pytest.raises(WeightsError, match="not finite float32 numbers @ tiny/postnorm/gamma"):
        model.save(tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", [None, "portable", "cpu", "cuda"])
@pytest.mark.parametrize("layer", ["conv1/weights", "block1/unit_1/bottleneck_v2/conv1/weights", "logits/biases"])
def test_a_nan_among_given_arrays_is_named_whatever_the_target(layer: str, target: str | None, tmp_path: Path) -> None:
    given = {name: np.abs(values) for name, values in native().items()}
    given[f"tiny/{layer}"].flat[-1] = np.nan
    with pytest.raises(WeightsError, match=f"not finite float32 numbers @ tiny/{layer}"):
        compile(SPEC, CompileOptions(target=target), weights=given).save(tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_slim_gives_slims_numbers(tmp_path: Path) -> None:
    """The variables of a golden run, as an .npz under TF-slim's names and in its layouts."""
    case = next(case for case in slim_cases("v2") if case.description["include_root_block"])
    scope = case.description["scope"]
    variables = {
        key.removeprefix("var/"): case.arrays[key] for key in case.arrays.files if key.startswith(f"var/{scope}/")
    }
    np.savez(tmp_path / "model.npz", **variables)
    model = compile(case.spec, CompileOptions(layout="nhwc"), weights=tmp_path / "model.npz")
    logits = run(model.to_proto(), case.x)[f"{scope}/logits"]
    assert relative_error(logits, case.end_points[f"{scope}/logits"]) <= NETWORK
    facts = metadata(model)
    assert facts["weights_naming"] == "tf-slim"
    import hashlib

    assert facts["weights_sha256"] == hashlib.sha256((tmp_path / "model.npz").read_bytes()).hexdigest()
    assert "npz" in facts["weights_format"].lower()
    assert "seed" not in facts


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        compile(SPEC, weights=tmp_path / "none.ckpt")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(CheckpointError, match="a text, 'hello', not a checkpoint"):
        compile(SPEC, weights=tmp_path / "text")
