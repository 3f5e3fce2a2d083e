"""Networks inside larger files: where they are, what else there is, and when that means another function."""

import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import torch_files as forge
from support.specs import parsed

from resnet_compile import CompileOptions, NetworkSpec, compile, plan_network
from resnet_compile.checkpoints.formats import open_checkpoint
from resnet_compile.errors import CheckpointError, WeightsError
from resnet_compile.weights.leftovers import words_for
from resnet_compile.weights.tables import TORCHVISION

QUANTISED = Path(__file__).parents[1] / "data" / "readers" / "other.pth"
Arrays = dict[str, np.ndarray]


def spec(classes: int | None = 5) -> NetworkSpec:
    """A narrow network of torchvision's kind."""
    return parsed(
        {
            "name": "net",
            "input": {"height": 32, "width": 32, "channels": 3},
            "root": {"kind": "torchvision", "depth": 8},
            "blocks": [
                {
                    "scope": f"block{number}",
                    "unit": {"kind": "torchvision_basic"},
                    "args": [{"depth": 8 * number, "stride": number}],
                }
                for number in (1, 2)
            ],
            "head": {"num_classes": classes},
        }
    )


def ours(classes: int | None = 5) -> Arrays:
    rng = np.random.default_rng(0)
    return {p.name: rng.standard_normal(p.shape).astype(np.float32) for p in plan_network(spec(classes)).parameters}


def theirs(prefix: str = "", classes: int | None = 5) -> Arrays:
    """The same under torchvision's names, which lays weights out as we do."""
    names = {name: TORCHVISION.translate(name.removeprefix("net/")) for name in ours(classes)}
    return {f"{prefix}{names[name]}": values for name, values in ours(classes).items()}


def ones(*names: str, shape: tuple[int, ...] = (7,)) -> Arrays:
    return {name: np.ones(shape, np.float32) for name in names}


def filled(source: Mapping[str, np.ndarray], classes: int | None = 5, **options: Any) -> tuple[str, ...]:
    """Compiles, sees to it that every value is in its place, and gives the notes."""
    model = compile(spec(classes), CompileOptions(**options), weights=source)
    found = {value.name: value.tensor.array() for value in model.graph.initializers()}
    for name, values in ours(classes).items():
        np.testing.assert_array_equal(found[name], values, name)
    return model.notes


@pytest.mark.parametrize(
    ("others", "note"),
    [
        (ones("criterion.weight", shape=(5,)), "left: 1 tensor under criterion."),
        (ones("rpn.a", "rpn.b", "roi_heads.c"), "left: 3 tensors under rpn., roi_heads."),
        (ones("aspp.0.weight", shape=(4, 32, 3, 3)), "left: 1 tensor under aspp."),
    ],
)
@pytest.mark.parametrize("prefix", ["backbone.", "module.backbone.", ""])
def test_what_is_outside_is_left_and_told(others: Arrays, note: str, prefix: str) -> None:
    assert filled({**theirs(prefix), **others}) == (note,)


@pytest.mark.parametrize(
    ("name", "shape", "reason"),
    [
        ("layer1.0.se.fc1.weight", (2, 8, 1, 1), "is not a parameter of this network"),
        ("layer1.1.conv1.weight", (8, 8, 3, 3), "is not a parameter of this network"),
        ("layer3.0.conv1.weight", (8, 8, 3, 3), "could stand in the image's path, where there are 8 channels"),
        ("maxpool.0.weight", (8, 8, 3, 3), "could stand in the image's path, where there are 8 channels"),
        ("blur.filt", (8, 1, 3, 3), "could stand in the image's path, where there are 8 channels"),
        ("bottleneck.weight", (16,), "could stand between the pooling and the head, which reads 16 channels"),
        ("embedding.weight", (16, 16), "could stand between the pooling and the head, which reads 16 channels"),
        ("gem.p", (1,), "is a number that could change what the head reads"),
    ],
)
def test_what_means_another_function_is_refused(name: str, shape: tuple[int, ...], reason: str) -> None:
    source = {**theirs(), **ones(name, shape=shape)}
    with pytest.raises(WeightsError, match=re.escape(f"{name} {reason} @ {name}")) as caught:
        filled(source)
    # The advice works as it is typed.
    (word,) = re.findall(r"--ignore '(.*?)'", str(caught.value))
    assert filled(source, ignore=(word,)) == ()


def test_inside_a_section_every_tensor_counts() -> None:
    with pytest.raises(WeightsError, match=r"backbone\.criterion\.weight is not a parameter of this network"):
        filled({**theirs("backbone."), **ones("backbone.criterion.weight")})


@pytest.mark.parametrize(
    "name",
    [
        "bn1.num_batches_tracked",
        "layer1.0.conv1.total_ops",
        "total_params",
        "layer1.0.conv1.activation_post_process.min_val",
        "conv1.weight.momentum_buffer",
        "conv1.weight/.OPTIMIZER_SLOT/optimizer/m",
    ],
)
def test_what_computes_nothing_is_passed_over(name: str) -> None:
    assert filled({**theirs(), **ones(name, shape=(1,))}) == ()


def test_a_quantiser_that_rounds_is_no_observer() -> None:
    with pytest.raises(WeightsError, match="scale is not a parameter of this network"):
        filled({**theirs(), **ones("layer1.0.conv1.activation_post_process.scale", shape=(1,))})


def test_an_offset_that_the_network_has_not_may_be_zero() -> None:
    assert filled({**theirs(), "layer1.0.conv1.bias": np.zeros(8, np.float32)}) == ()
    with pytest.raises(WeightsError, match=r"layer1\.0\.conv1\.bias is not a parameter of this network"):
        filled({**theirs(), **ones("layer1.0.conv1.bias", shape=(8,))})


def test_patterns_and_scopes_can_be_ignored() -> None:
    source = {**theirs(), **ones("layer1.0.se.a", "layer1.0.se.b", "layer2.0.se.a")}
    assert filled(source, ignore=("layer1.0.se", "*.se.a")) == ()


def test_copies_are_told_apart_by_the_user() -> None:
    source = {**theirs("encoder_q."), **{name: -values for name, values in theirs("encoder_k.").items()}}
    with pytest.raises(WeightsError, match=r"2 sections: encoder_q, encoder_k \(--section encoder_q takes the first\)"):
        filled(source)
    assert filled(source, section=("encoder_q",)) == (f"left: {len(theirs())} tensors under encoder_k.",)
    wrapped = {f"module.{name}": values for name, values in source.items()}
    assert filled(wrapped, section=("encoder_q",))
    with pytest.raises(WeightsError, match="no name fits net by any naming table in section encoder_x"):
        filled(source, section=("encoder_x",))


def test_a_network_spread_over_sections_is_put_together() -> None:
    stages = {("second." if "layer2" in name else "first.") + name: values for name, values in theirs("", None).items()}
    assert filled(stages, None, section=("first", "second")) == ()
    with pytest.raises(WeightsError, match=r"is spread over (\w+,\w+) \(--section \1 reads them as one\)"):
        filled(stages, None)


def test_averages_are_announced_and_taken_when_asked_for() -> None:
    doubled = {name: 2 * values for name, values in theirs("ema.module.").items()}
    (told, left) = filled({**theirs("model."), **doubled})
    assert told == "the moving averages in ema were not taken (--averages takes them)"
    assert left == f"left: {len(theirs())} tensors under ema."
    halved = {name: values / 2 for name, values in theirs("model.").items()}
    assert filled({**halved, **theirs("ema.module.")}, averages=True) == (
        f"left: {len(theirs())} tensors under model.",
    )


def test_averages_of_tensorflow_stand_below_the_variables() -> None:
    plain = {name: v.transpose(2, 3, 1, 0) if v.ndim == 4 else v for name, v in ours().items()}
    shadows = {f"{name}/ExponentialMovingAverage": values for name, values in plain.items()}
    doubled = {name: 2 * values for name, values in plain.items()}
    assert filled({**plain, **{name: -v for name, v in shadows.items()}}) == (
        "the moving averages of the parameters were not taken (--averages takes them)",
    )
    assert filled({**doubled, **shadows}, averages=True) == ()
    with pytest.raises(WeightsError, match=r"the source has only moving averages @ net \(--averages takes them\)"):
        filled(shadows)
    assert filled(shadows, averages=True) == ()


def renamed(source: Arrays, old: str, new: str) -> Arrays:
    return {name.replace(old, new): values for name, values in source.items()}


@pytest.mark.parametrize("scope", ["fc.1", "head.fc", "linear", "new_fc"])
def test_a_head_under_another_name_is_found_and_told(scope: str) -> None:
    told = f"the head is guessed to be {scope}, by its shape (--head {scope} confirms it)"
    assert filled(renamed(theirs(), "fc.", f"{scope}.")) == (told,)
    assert filled(renamed(theirs(), "fc.", f"{scope}."), head=scope) == ()


def test_a_head_is_not_guessed_where_something_could_stand_before_it() -> None:
    source = {**renamed(theirs("body."), "body.fc.", "head.1."), **ones("neck.weight", shape=(16,))}
    with pytest.raises(WeightsError, match=r"neck\.weight could stand between the pooling and the head"):
        filled(source)
    two = {**renamed(theirs("body."), "body.fc.", "a."), **renamed(theirs("body."), "body.fc.", "b.")}
    with pytest.raises(WeightsError, match=r"2 heads fit: a, b \(--head a takes the first\)"):
        filled(two)
    assert filled(two, head="a") == ("left: 2 tensors under b.",)


def test_without_a_head_none_is_wanted() -> None:
    assert filled(theirs("body."), None) == ("left: 2 tensors under body.fc.",)
    hidden = {**theirs("body.", None), **ones("body.fc.0.weight", shape=(16, 16)), **ones("body.fc.2.bias", shape=(3,))}
    assert filled(hidden, None) == ("left: 2 tensors under body.fc.",)
    with pytest.raises(WeightsError, match=r"--num-classes none takes the features without a head"):
        filled(theirs("", None))
    model = compile(spec(), CompileOptions(num_classes="none"), weights=theirs("", None))
    assert model.outputs == ("net/pool5",)


@pytest.mark.parametrize("wrapper", ["_orig_mod.", "module._orig_mod.", "_fsdp_wrapped_module."])
def test_wrappers_are_looked_through(wrapper: str) -> None:
    assert filled(theirs(wrapper)) == ()
    inside = renamed(theirs(), "layer1.0.", f"layer1.{wrapper}0._checkpoint_wrapped_module.")
    assert filled(inside) == ()


def test_weights_that_are_kept_as_factors_are_multiplied() -> None:
    source = theirs()
    v = source.pop("conv1.weight")
    g = np.linspace(0.5, 2, len(v)).reshape(-1, 1, 1, 1)
    normed = g * v / np.linalg.norm(v.reshape(len(v), -1), axis=1).reshape(-1, 1, 1, 1)
    weight = source.pop("layer1.0.conv1.weight")
    u, s, vt = np.linalg.svd(weight.reshape(len(weight), -1).astype(np.float64))
    mask = (np.arange(source["fc.weight"].size) % 3 > 0).reshape(source["fc.weight"].shape)
    source |= {
        "conv1.parametrizations.weight.original0": g,
        "conv1.parametrizations.weight.original1": v,
        "layer1.0.conv1.weight_orig": weight,
        "layer1.0.conv1.weight_u": u[:, 0],
        "layer1.0.conv1.weight_v": vt[0],
        "fc.weight_orig": source.pop("fc.weight"),
        "fc.weight_mask": mask.astype(np.float32),
    }
    model = compile(spec(), weights=source)
    found = {value.name: value.tensor.array() for value in model.graph.initializers()}
    np.testing.assert_allclose(found["net/conv1/weights"], normed, rtol=1e-6)
    scope = "net/block1/unit_1/torchvision_basic/conv1/weights"
    np.testing.assert_allclose(found[scope], weight / s[0], rtol=1e-5)
    logits = ours()["net/logits/weights"].reshape(mask.shape)
    np.testing.assert_array_equal(found["net/logits/weights"].reshape(mask.shape), logits * mask)


def test_a_variance_is_that_of_images_too() -> None:
    own = {"normalization/mean": np.array([1.0, 2, 3]), "normalization/variance": np.array([16.0, 25, 36])}
    model = compile(spec(), weights={**theirs("backbone."), **own, "normalization/count": np.int64(3)})
    assert "by mean 1/2/3, std 4/5/6" in model.notes[0]
    assert json.loads(str(model.format.metadata.normalization)) == {"mean": [1, 2, 3], "std": [4, 5, 6]}


@pytest.mark.parametrize("name", ["bn.running_mean", "bn/moving_mean", "bn/moving_variance"])
def test_statistics_of_a_norm_are_no_normalisation_of_images(name: str) -> None:
    assert filled({**theirs("backbone."), name: np.ones(3, np.float32)}) == ("left: 1 tensor under bn" + name[2],)


def test_adapters_are_never_left_out() -> None:
    with pytest.raises(WeightsError, match=r"a LoRA adapter.*merge_and_unload"):
        filled({**theirs("model."), **ones("other.lora_A.weight")})


@pytest.mark.parametrize("scope", ["", "normalize.", "backbone.pixel_"])
def test_a_normalisation_of_the_images_is_told_and_recorded(scope: str) -> None:
    prefix = "" if "backbone" not in scope else "backbone."
    own = {f"{scope}mean": np.array([1.0, 2, 3]), f"{scope}std": np.array([[[4.0]], [[5]], [[6]]])}
    model = compile(spec(), weights={**theirs(prefix), **own})
    told = "by mean 1/2/3, std 4/5/6; this one takes normalised images"
    assert model.notes == (f"the file's model normalises its images itself, {told}",)
    assert model.format.metadata.normalization == '{"mean": [1.0, 2.0, 3.0], "std": [4.0, 5.0, 6.0]}'


def test_what_is_no_normalisation_of_the_images_is_not_taken_for_one() -> None:
    assert filled({**theirs(), "loss.mean": np.array(["a", "b", "c"])}) == ("left: 1 tensor under loss.",)
    with pytest.raises(WeightsError, match=r"layer1\.0\.std is not a parameter of this network"):
        filled({**theirs(), "layer1.0.std": np.ones(3, np.float32)})


def saved(folder: Path, names: Mapping[str, str]) -> Path:
    """A PyTorch file in which the tensors of a network have these prefixes, each with the storages it stands for."""
    records, body = {}, {}
    for prefix, storages in names.items():
        for name, values in theirs().items():
            steps = tuple(int(np.prod(values.shape[axis + 1 :])) for axis in range(values.ndim))
            records[f"data/{storages}{name}"] = values.tobytes()
            stored = forge.storage(f"{storages}{name}", values.size)
            body[f"{prefix}{name}"] = forge.tensor(stored, values.shape, steps)
    return forge.write(folder / "a.pth", forge.program(forge.mapping(body)), records)


@pytest.mark.parametrize("second", ["loss.net.", "copy."])
@pytest.mark.parametrize("first", ["", "net."])
def test_one_network_under_two_names_is_one(tmp_path: Path, first: str, second: str) -> None:
    left = f"left: {len(theirs())} tensors under {second.partition('.')[0]}."
    with open_checkpoint(saved(tmp_path, {first: "0", second: "0"})) as source:
        assert filled(source)[0] == left
    with open_checkpoint(saved(tmp_path, {first: "0", second: "1"})) as source, pytest.raises(WeightsError):
        filled(source)


@pytest.mark.parametrize(
    ("names", "kept", "words"),
    [
        (["a.b", "c.d"], (), "a.b,c.d"),
        (["x.a", "x.b", "x.c", "x.d"], ("y.a",), "x"),
        (["1.se.a", "1.se.b", "2.se.a", "2.se.c"], ("1.conv", "2.conv"), "*.se.*"),
        (["1/q/a", "1/q/b", "2/r/a", "2/r/c"], ("1/w", "2/w"), "*/q/*,*/r/*"),
        (["1.w", "1.v", "2.w", "2.v"], ("1.conv", "2.conv"), "*.w,*.v"),
        (["1.w", "2.w", "1.x", "2.v"], ("1.conv", "2.x", "3.w"), None),
        ([f"{letter}{number}" for letter in "abcd" for number in "12"], (), None),
    ],
)
def test_words_that_leave_out_names(names: list[str], kept: tuple[str, ...], words: str | None) -> None:
    assert words_for(names, kept) == words


def test_a_head_elsewhere_of_as_many_classes_is_no_news() -> None:
    moved = {name.replace("fc.", "head."): values for name, values in theirs().items()}
    assert not any("classes" in note for note in filled(moved))


@pytest.mark.parametrize("name", ["conv1.activation_post_process.min_val", "activation_post_process_12.max_val"])
def test_observers_are_passed_over(name: str) -> None:
    assert filled({**theirs(), name: np.float32(3)}) == ()


def test_a_copy_that_says_it_is_of_averages_is_told_of(tmp_path: Path) -> None:
    with open_checkpoint(saved(tmp_path, {"net.": "0", "ema.": "0"})) as source:
        assert filled(source)[0] == "the moving averages in ema were not taken (--averages takes them)"


def test_without_tensors_that_is_said(tmp_path: Path) -> None:
    path = forge.write(tmp_path / "a.pth", forge.program(b"}"))
    with open_checkpoint(path) as source, pytest.raises(WeightsError, match="the source has no tensors @ net"):
        filled(source)


def test_quantised_weights_are_called_so() -> None:
    with open_checkpoint(QUANTISED) as source, pytest.raises(CheckpointError, match="the tensor is quantised"):
        filled(source)


def test_a_tensor_that_is_not_read_says_what_to_do(tmp_path: Path) -> None:
    path = saved(tmp_path, {"": "0"})
    with zipfile.ZipFile(path) as archive:
        records = {name.removeprefix("archive/"): archive.read(name) for name in archive.namelist()}
    pickle = records.pop("data.pkl")
    start, end = (pickle.index(forge.text(name)) for name in list(theirs())[:2])
    meta = forge.name("torch._utils", "_rebuild_meta_tensor_no_storage")
    tensor = forge.text("conv1.weight") + forge.call(meta, b"N", forge.numbers(8, 3, 7, 7), b"NN")
    with (
        open_checkpoint(forge.write(path, pickle[:start] + tensor + pickle[end:], records)) as source,
        pytest.raises(CheckpointError, match=r"conv1\.weight \(it was on the device meta"),
    ):
        filled(source)
