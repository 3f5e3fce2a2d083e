"""What else this package does with networks, on one that was read off another system's model."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import test_golden_torch
from support.contents import arrays_of
from support.models import run, runner
from support.tolerances import INT8, NETWORK, STATE, relative_error

from resnet_compile import CompileOptions, compile
from resnet_compile.quantize import quantize
from resnet_compile.training import StepOptions, compile_step

GOLDEN = next(run for run in test_golden_torch.RUNS if run.label == "resnetv2-0")
EXPORT = Path(__file__).resolve().parents[1] / "data" / "onnx" / "timm_resnetv2_tracing.onnx"


def images(count: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(3).standard_normal((count, 3, height, width)).astype(np.float32)


def logits(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    made = run(model, x)
    return next(values for name, values in made.items() if name.endswith("logits"))


@pytest.mark.parametrize(
    "options",
    [
        {"batch": 4},
        {"size": "dynamic"},
        {"size": (48, 40)},
        {"opset": 13},
        {"opset": 21},
        {"target": "portable"},
        {"target": "cpu"},
        {"target": "cuda"},
    ],
    ids=str,
)
def test_an_import_is_compiled_as_any_network(options: dict[str, Any]) -> None:
    """Against the same network under its author's names, whose end points are the original's."""
    height, width = options["size"] if isinstance(options.get("size"), tuple) else GOLDEN.x.shape[2:]
    x = images(4, height, width)
    imported = compile(EXPORT, CompileOptions(**options)).to_proto()
    sized = {"size": (height, width)} | {key: value for key, value in options.items() if key == "size"}
    original = compile(GOLDEN.spec, CompileOptions(**sized), weights=GOLDEN.weights).to_proto()
    assert relative_error(logits(imported, x), logits(original, x)) <= NETWORK


def test_an_import_tells_its_end_points() -> None:
    model = compile(EXPORT, CompileOptions(outputs="all", batch=len(GOLDEN.x))).to_proto()
    made = run(model, GOLDEN.x)
    for name, expected in GOLDEN.expected.items():
        ours = next(each for each in made if each.split("/", 1)[-1] == name.split("/", 1)[-1])
        assert relative_error(made[ours], expected) <= NETWORK, name


def test_an_import_in_float16() -> None:
    model = compile(EXPORT, CompileOptions(dtype="float16", batch=4)).to_proto()
    x = images(4, *GOLDEN.x.shape[2:])
    expected = logits(compile(EXPORT, CompileOptions(batch=4)).to_proto(), x)
    assert 0 < relative_error(logits(model, x), expected) <= 5e-2


def test_an_import_in_int8() -> None:
    """Its errors are those of the same network under its author's names."""
    calibration, options = images(32, *GOLDEN.x.shape[2:]), CompileOptions(dtype="int8")
    imported = quantize(EXPORT, options, images=calibration)
    original = quantize(GOLDEN.spec, options, weights=GOLDEN.weights, images=calibration)
    for ours, theirs in zip(imported.report.points, original.report.points, strict=True):
        assert ours.error == pytest.approx(theirs.error, abs=INT8)
    assert all(0 < each.error < 1 for each in imported.report.points)


def under_other_names(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model that says neither what it is nor how its tensors are called."""
    del model.metadata_props[:]
    names = {tensor.name: f"w{number}" for number, tensor in enumerate(model.graph.initializer)}
    for tensor in model.graph.initializer:
        tensor.name = names[tensor.name]
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
    return model


def test_an_import_is_trained_from_its_weights(tmp_path: Path) -> None:
    """A step leads where it leads from the same weights under their author's names.

    How fast moving statistics follow is no part of the function, and no model tells it.
    """
    original = compile(GOLDEN.spec, weights=GOLDEN.weights)
    path = tmp_path / "theirs.onnx"
    path.write_bytes(under_other_names(original.to_proto()).SerializeToString())
    imported = compile(path)
    assert imported.format.metadata.weights_naming == "structure"
    after = []
    for model in (original, imported):
        step = compile_step(model.plan.spec, StepOptions(batch=4))
        values = arrays_of(model.graph)
        state = step.initial_state({p.name: values[p.name] for p in step.plan.parameters})
        rng = np.random.default_rng(0)
        batch = {"images": images(4, *GOLDEN.x.shape[2:]), "learning_rate": np.array(0.05, np.float32)}
        made = runner(step.to_proto())({**batch, "labels": rng.integers(0, 7, 4), **state})
        after.append([made["loss"], *(made[step.next_names[p.name]] for p in step.plan.parameters if p.trainable)])
    for expected, actual in zip(*after, strict=True):
        assert relative_error(actual, expected) <= STATE
