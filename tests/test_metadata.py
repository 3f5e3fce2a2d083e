"""What models say of themselves: every kind of them, other programs' models, and damaged files."""

import hashlib
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_compile import CompileOptions, Int8, compile, load_spec, parse_spec
from resnet_compile._version import __version__
from resnet_compile.errors import ModelFileError
from resnet_compile.metadata import Metadata, read_model
from resnet_compile.quantize import quantize
from resnet_compile.runtime import Session
from resnet_compile.spec import spec_text
from resnet_compile.training import compile_step
from resnet_compile.training.options import StepOptions

SPEC = load_spec("tiny")
SPEC_SHA256 = hashlib.sha256(spec_text(SPEC).encode()).hexdigest()
COMMON = {"spec": spec_text(SPEC), "spec_sha256": SPEC_SHA256}
IMAGES = {"layout": "nchw", "preprocess": "inception"}
DRAWN = {
    "seed": "0",
    "numpy_version": np.__version__,
    "untrained": "initial weights: these classes mean nothing",
}


def from_a_file(folder: Path) -> Any:
    np.savez(folder / "weights.npz", **{p.name: np.ones(p.shape, np.float32) for p in compile(SPEC).plan.parameters})
    return compile(SPEC, weights=folder / "weights.npz")


INT8 = CompileOptions(dtype=Int8(keep_float=("conv1", "block1")), target="cpu")
HALF = CompileOptions(dtype="float16", layout="nhwc", seed=7, target="cuda")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda _: compile(SPEC), {**IMAGES, **DRAWN}),
        (
            lambda _: compile(SPEC, HALF),
            {**IMAGES, "layout": "nhwc", "target": "cuda", "dtype": "float16", "options": ..., **DRAWN, "seed": "7"},
        ),
        (
            from_a_file,
            {
                **IMAGES,
                "weights_file": "weights.npz",
                "weights_format": "NumPy npz",
                "weights_naming": "native",
                "weights_section": "tiny",
                "weights_sha256": ...,
            },
        ),
        (
            lambda _: quantize(SPEC, INT8).model,
            {
                **IMAGES,
                **DRAWN,
                "options": '{"target":"cpu","dtype":{"kind":"int8","keep_float":["conv1","block1"]}}',
                "target": "cpu",
                "dtype": "int8",
                "keep_float": "conv1,block1",
                "calibration_method": "minmax",
                "calibration_images": "32",
                "calibration_data": "random",
            },
        ),
        (
            lambda _: compile_step(SPEC, StepOptions(batch=1, optimizer="sgd")),
            {"kind": "training_step", "optimizer": "sgd", "target": "cpu"},
        ),
    ],
    ids=["plain", "half", "checkpoint", "int8", "step"],
)
def test_every_kind_of_model_says_the_same_in_memory_in_a_file_and_in_a_session(
    make: Any, said: dict[str, Any], tmp_path: Path
) -> None:
    model = make(tmp_path)
    model.save(tmp_path / "model.onnx")
    record = model.format.metadata
    facts = record.facts()
    assert parse_spec(record.spec).model_dump() == SPEC.model_dump()
    assert facts.keys() == {*COMMON, "version", *said}
    told = {**COMMON, "version": __version__, **said}
    assert {key: text for key, text in facts.items() if told[key] is not ...}.items() <= told.items()
    entries = {entry.key: entry.value for entry in onnx.load(tmp_path / "model.onnx").metadata_props}
    assert entries == {f"resnet_compile.{key}": text for key, text in facts.items()}
    assert read_model(tmp_path / "model.onnx").metadata == record
    assert Metadata.from_entries(Session.open(tmp_path / "model.onnx", "cpu").metadata) == record
    assert Metadata.from_entries({entry.key: entry.value for entry in model.to_proto().metadata_props}) == record


def test_what_this_version_does_not_know_survives() -> None:
    entries = {
        "resnet_compile.layout": "nhwc",
        "resnet_compile.labels": "cat\ndog",
        "resnet_compile.seed": "none",
        "resnet_compile.calibration_images": "007",
        "resnet_compile.others": "x",
        "resnet_compile.entries": "None",
    }
    record = Metadata.from_entries({**entries, "author": "somebody", "layout": "nchw"})
    assert record.layout == "nhwc"
    assert (record.seed, record.calibration_images) == (None, None)
    assert record.others["labels"] == "cat\ndog"
    assert record.entries() == entries


@given(st.dictionaries(st.sampled_from([*(f.name for f in fields(Metadata)), "later"]), st.text(max_size=5)))
def test_any_entries_come_back(said: dict[str, str]) -> None:
    entries = {f"resnet_compile.{key}": text for key, text in said.items()}
    sha256 = {"resnet_compile.spec_sha256": hashlib.sha256(said["spec"].encode()).hexdigest()} if "spec" in said else {}
    record = Metadata.from_entries(entries)
    assert record.entries() == {**entries, **sha256}
    assert Metadata.from_entries(record.entries()) == record


def test_nothing_is_said_by_default() -> None:
    assert Metadata().entries() == {}
    assert Metadata.from_entries({"producer": "somebody"}) == Metadata()


def foreign(folder: Path, **changes: Any) -> Path:
    """A model of another program, whose first operators are not ONNX's own."""
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])],
        "net",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", None, 4])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
    )
    opsets = [onnx.helper.make_opsetid("com.example", 3), onnx.helper.make_opsetid("", 18)]
    model = onnx.helper.make_model(graph, **{"opset_imports": opsets, "ir_version": 8, **changes})
    onnx.save(model, folder / "foreign.onnx")
    return folder / "foreign.onnx"


def test_another_programs_model_shows_its_interface(tmp_path: Path) -> None:
    read = read_model(foreign(tmp_path))
    assert read.metadata == Metadata()
    assert (read.ir_version, read.opset, read.nodes) == (8, 18, 1)
    assert (dict(read.inputs), dict(read.outputs)) == ({"x": ("n", "?", 4)}, {"y": ()})


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    for place, text in (("none", "No such file or directory"), ("", "not a regular file")):
        with pytest.raises(ModelFileError, match=f"cannot read the model: {text} @ {tmp_path / place}"):
            read_model(tmp_path / place)
    (tmp_path / "empty").touch()
    for path in (tmp_path / "empty", foreign(tmp_path, ir_version=0)):
        with pytest.raises(ModelFileError, match=f"not an ONNX model: it has no IR version or no opset @ {path}"):
            read_model(path)


def small_model() -> bytes:
    """A model of a few hundred bytes with everything that is read."""
    model = compile(SPEC, CompileOptions(outputs=("conv1",))).to_proto()
    del model.graph.initializer[:]
    record = replace(Metadata.from_entries({e.key: e.value for e in model.metadata_props}), spec="{}")
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, record.entries())
    return model.SerializeToString()


def test_damage_is_refused_or_read_and_nothing_else(tmp_path: Path) -> None:
    """Each byte in turn is changed in several ways, and the file cut there."""
    wire, path = small_model(), tmp_path / "model.onnx"
    path.write_bytes(wire)
    whole = read_model(path)
    assert whole.inputs == {"input": ("batch", 3, 32, 32)}
    refused = told = 0
    for at, byte in enumerate(wire):
        damaged = [wire[:at] + bytes([other]) + wire[at + 1 :] for other in (byte ^ 1, byte ^ 0x80, 0, 0xFF)]
        for data in (*damaged, wire[:at]):
            path.write_bytes(data)
            try:
                told += read_model(path) != whole
            except ModelFileError:
                refused += 1
    assert refused > len(wire)
    assert told > len(wire) / 2
