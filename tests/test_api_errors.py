"""Whatever a user gives the Python API by mistake, one of our errors comes back, on one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import resnet_compile as rc
from resnet_compile import bench, quantize, runtime, spec, training
from resnet_compile.errors import OptionError, ResnetCompileError, SpecError

TINY = rc.load_spec("tiny")
PLAN = rc.plan_network(TINY)
WEIGHTS = {parameter.name: np.full(parameter.shape, 0.01) for parameter in PLAN.parameters}
NAME = "tiny/conv1/weights"
SHAPE = WEIGHTS[NAME].shape
HERE = Path(__file__)
NONE = "/nowhere/at/all"
QUICK = bench.BenchOptions(device="cpu", protocol=bench.Protocol(steps=1, burn_in=0))


@pytest.fixture(scope="module")
def model() -> bytes:
    return rc.compile(TINY, rc.CompileOptions(batch=1)).to_proto().SerializeToString()


@pytest.fixture(scope="module")
def session(model: bytes) -> runtime.Session:
    return runtime.Session.open(model, "cpu")


def refused(call: Callable[[], Any]) -> ResnetCompileError:
    with pytest.raises(ResnetCompileError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return caught.value


MODELS = [
    *(rc.Input, rc.Block, rc.Head, rc.BatchNorm, rc.ImagenetRoot, rc.BottleneckV2, rc.UnitArgs, rc.NetworkSpec),
    *(getattr(spec, name) for name in spec.__all__ if isinstance(getattr(spec, name), type) and name != "HParams"),
    *(rc.CompileOptions, runtime.SessionOptions, bench.BenchOptions, bench.Protocol),
    *(training.StepOptions, training.TrainOptions, training.PiecewiseSchedule, training.CosineSchedule),
]


HOSTILE = [None, "x", -1, np.int64(3), float("nan"), [], [None], np.zeros((2, 2)), object()]


@pytest.mark.parametrize("kind", dict.fromkeys(MODELS), ids=lambda kind: kind.__name__)
def test_constructors(kind: Any) -> None:
    """Values that suit few fields in all of them, and one that is no field."""
    wanted = SpecError if kind.__module__.startswith("resnet_compile.spec") else OptionError
    for value in HOSTILE:
        taken = {name: value for name in kind.model_fields if name not in ("schema_uri", "kind")}
        for call in (
            lambda: kind(**taken, surprise=value),  # noqa: B023  # called at once
            lambda: kind.model_validate(value),  # noqa: B023
            lambda: kind.model_validate_json(value),  # noqa: B023
        ):
            assert type(refused(call)) is wanted


WRONG_WEIGHTS = {
    "nothing": {},
    "no mapping": 3,
    "a list": list(WEIGHTS.items()),
    "no file": NONE,
    "a null": "a\0b",
    "a folder": HERE.parent,
    "no checkpoint": HERE,
    "numbered": {**WEIGHTS, 3: WEIGHTS[NAME]},
    "text": {**WEIGHTS, NAME: np.full(SHAPE, "x")},
    "objects": {**WEIGHTS, NAME: np.full(SHAPE, object())},
    "complex": {**WEIGHTS, NAME: WEIGHTS[NAME] * 1j},
    "truth": {**WEIGHTS, NAME: WEIGHTS[NAME] > 0},
    "none": {**WEIGHTS, NAME: None},
    "ragged": {**WEIGHTS, NAME: [[1.0, 2.0], [3.0]]},
    "transposed": {**WEIGHTS, NAME: WEIGHTS[NAME].T},
    "nan": {**WEIGHTS, NAME: np.full(SHAPE, np.nan)},
    "inf": {**WEIGHTS, NAME: np.full(SHAPE, np.inf)},
    "past float32": {**WEIGHTS, NAME: np.full(SHAPE, 1e300)},
}


@pytest.mark.parametrize("weights", WRONG_WEIGHTS.values(), ids=WRONG_WEIGHTS)
def test_weights(weights: Any, tmp_path: Path) -> None:
    """Also those that are looked at only when the model is written, to memory or to a file."""
    refused(lambda: rc.compile(TINY, weights=weights).to_proto())
    refused(lambda: rc.compile(TINY, rc.CompileOptions(target="cpu"), weights=weights).save(tmp_path / "model.onnx"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("network", [None, 3, "tini", {"name": "x"}, PLAN], ids=lambda each: str(each)[:10])
def test_networks(network: Any, tmp_path: Path) -> None:
    step = training.StepOptions(batch=1)
    for call in (
        lambda: rc.plan_network(network),
        lambda: rc.compile(network),
        lambda: quantize.quantize(network),
        lambda: training.compile_step(network, step),
        lambda: training.train(network, NONE, tmp_path),
        lambda: training.evaluate_run(network, NONE, NONE),
    ):
        assert isinstance(refused(call), SpecError)


@pytest.mark.parametrize("options", [3, "int8", {"batch": 0}, {"bach": 1}, bench.Protocol()], ids=str)
def test_options(options: Any, model: bytes, tmp_path: Path) -> None:
    for call in (
        lambda: rc.compile(TINY, options),
        lambda: quantize.quantize(TINY, options),
        lambda: training.compile_step(TINY, options),
        lambda: training.train(TINY, NONE, tmp_path, options),
        lambda: training.evaluate_run(TINY, NONE, NONE, options),
        lambda: bench.bench([bench.Subject("net", model)], options),
        lambda: runtime.Session.open(
            model, "cpu", rc.CompileOptions() if options == runtime.SessionOptions() else options
        ),
    ):
        refused(call)
    refused(lambda: training.compile_step(TINY, None))


@pytest.mark.parametrize("path", [None, 3, ["model.onnx"], "a\0b", f"{NONE}/x"], ids=repr)
def test_paths(path: Any, tmp_path: Path) -> None:
    calls = [
        lambda: rc.load_spec(path),
        lambda: spec.read_spec(path),
        lambda: rc.compile(TINY).save(path),
        lambda: runtime.Session.open(path, "cpu"),
        lambda: training.read_schedule(path),
        lambda: training.train(TINY, path, tmp_path),
        lambda: training.evaluate_run(TINY, path, NONE),
        lambda: bench.bench([bench.Subject("net", path)], QUICK),
    ]
    if path is not None:
        calls += [lambda: quantize.quantize(TINY, images=path), lambda: rc.compile(TINY, weights=path)]
    if path != f"{NONE}/x":
        calls += [
            lambda: training.train(TINY, NONE, path),
            lambda: training.read_log(path),
            lambda: training.best_accuracy(path),
        ]
    for call in calls:
        refused(call)


BUILDERS = [getattr(spec, name) for name in spec.__all__ if name.endswith("_block")]


@pytest.mark.parametrize("builder", BUILDERS, ids=lambda builder: builder.__name__)
def test_builders_of_blocks(builder: Any) -> None:
    good = ("block1", 16, 2, 2)
    assert builder(*good).num_units == 2
    names = ("scope", next(name for name in builder.__annotations__ if "depth" in name), "num_units", "stride")
    for position, name in enumerate(names):
        for value in (None, [], np.int64(2), -1, 1.0, float("nan"), True, "a b"):
            error = refused(lambda place=position, wrong=value: builder(*good[:place], wrong, *good[place + 1 :]))
            assert isinstance(error, SpecError)
            assert error.where == f"$.{name}"


@pytest.mark.parametrize(
    "call",
    [
        lambda: spec.cifar_network(None, "net"),
        lambda: spec.cifar_network(spec.HParams("128"), "net"),
        lambda: spec.cifar_network(spec.HParams(num_residual_units=None), "net"),
        lambda: spec.cifar_network(spec.HParams(num_residual_units=0), "net"),
        lambda: spec.cifar_network(spec.HParams(weight_decay_rate=float("nan")), "net"),
        lambda: spec.cifar_network(spec.HParams(), 3),
        lambda: spec.cifar_network(spec.HParams(), "net", (16, 16)),
        lambda: spec.cifar_plain_block("block1", 16, 2, 1, relu_leakiness="x"),
        lambda: spec.cifar_bottleneck_block("block1", 16, 2, 1, first_shortcut="cooked"),
        lambda: spec.torchvision_bottleneck_block("block1", 16, 2, 1, groups=0),
        lambda: spec.build_spec([]),
        lambda: spec.build_spec({3: 4}),
        lambda: rc.parse_spec(None),
        lambda: rc.parse_spec(b"\xff"),
        lambda: rc.parse_spec('{"name": "\ud800"}'),
        lambda: rc.parse_spec('{"a\\nb": 3}'),
        lambda: rc.plan_network(TINY.replace(output_stride=3)),
        lambda: rc.compile(TINY, rc.CompileOptions(opset=3)),
        lambda: rc.compile(TINY, rc.CompileOptions(outputs=())),
        lambda: rc.compile(TINY, rc.CompileOptions(outputs=("nothing",))),
        lambda: rc.compile(TINY, rc.CompileOptions(naming="nothing"), weights=WEIGHTS),
        lambda: quantize.quantize(TINY, rc.CompileOptions(dtype=rc.Int8(keep_float=("nothing",)))),
        lambda: quantize.quantize(TINY, images=np.zeros((1, 3, 32, 32)).tolist()),
        lambda: quantize.quantize(TINY, images=np.full((1, 3, 32, 32), np.nan, np.float32)),
        lambda: quantize.quantize(TINY, images=np.zeros((0, 3, 32, 32), np.float32)),
        lambda: training.learning_rate("fast", 1),
        lambda: training.learning_rate(training.CIFAR_SCHEDULE, -1),
        lambda: training.learning_rate(training.CosineSchedule(peak=1.0, steps=3), None),
        lambda: training.parse_schedule(None),
        lambda: training.evaluate(TINY, WEIGHTS, None, batch=1),
        lambda: training.compile_step(TINY, training.StepOptions(batch=1)).initial_state(seed=-1),
        lambda: training.compile_step(TINY, training.StepOptions(batch=1)).initial_state([]),
        lambda: bench.bench([]),
        lambda: bench.bench(["model.onnx"]),
        lambda: bench.Subject(None, b""),
        lambda: bench.Subject("net", b"", size=32),
        lambda: bench.bench([bench.Subject("net", b""), bench.Subject("net", b"")]),
        lambda: bench.measure(None, bench.Protocol()),
        lambda: bench.measure({"net": 3}, bench.Protocol()),
        lambda: bench.measure({}, 3),
        lambda: bench.summarize([]),
        lambda: bench.summarize(["fast"]),
        lambda: bench.median_ratio([1.0, 2.0], [1.0]),
        lambda: bench.median_ratio([], []),
        lambda: runtime.parse_device(None),
        lambda: runtime.parse_device("gpu"),
        lambda: runtime.choose_device(3),
    ],
)  # fmt: skip
def test_values(call: Callable[[], Any]) -> None:
    refused(call)


X = np.zeros((1, 3, 32, 32), np.float32)


@pytest.mark.parametrize(
    "call",
    [
        lambda open_: open_.run(None),
        lambda open_: open_.run([("input", X)]),
        lambda open_: open_.run({}),
        lambda open_: open_.run({"inputs": X}),
        lambda open_: open_.run({"input": None}),
        lambda open_: open_.run({"input": X.tolist()}),
        lambda open_: open_.run({"input": X.astype(str)}),
        lambda open_: open_.run({"input": X[0]}),
        lambda open_: open_.run({"input": X}, "tiny/logits"),
        lambda open_: open_.run({"input": X}, 3),
        lambda open_: open_.run({"input": X}, ["nothing"]),
        lambda open_: open_.bind(None, {}, transfer=False),
        lambda open_: open_.bind([], {}, transfer=False),
        lambda open_: open_.bind([{"input": X}], {"nothing": X}, transfer=False),
        lambda open_: open_.recur(None, {}, ()),
        lambda open_: open_.recur({"input": X}, {"input": "nothing"}, ()),
        lambda open_: open_.recur({"input": X}, {}, ["nothing"]),
    ],
)  # fmt: skip
def test_what_a_session_is_given(call: Callable[[runtime.Session], Any], session: runtime.Session) -> None:
    refused(lambda: call(session))


def test_names_may_come_from_anywhere(session: runtime.Session) -> None:
    outputs = session.run({"input": X}, (name for name in session.outputs))
    assert list(outputs) == list(session.outputs)


def test_a_model_whose_outputs_have_no_fixed_shape_does_not_recur() -> None:
    model = rc.compile(TINY).to_proto().SerializeToString()
    error = refused(lambda: runtime.Session.open(model, "cpu").recur({"input": X}, {}, ["tiny/logits"]))
    assert "not fixed" in str(error)
