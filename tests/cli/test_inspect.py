"""resnet-inspect as a process."""

import json
from pathlib import Path

import pytest
from support.commands import command

from resnet_compile import CompileOptions, compile, load_spec


def test_totals_and_blocks_of_a_spec() -> None:
    document = json.loads(command("resnet-inspect", "resnet50", "--json").out)
    assert (document["parameters"], document["moving_statistics"], document["macs"]) == (
        25_568_360,
        45_440,
        3_482_255_360,
    )
    assert [part["name"] for part in document["parts"]] == [
        f"resnet_v2_50/{name}" for name in ("root", "block1", "block2", "block3", "block4", "head")
    ]
    for key in ("parameters", "moving_statistics", "macs"):
        assert sum(part[key] for part in document["parts"]) == document[key]
        assert all(type(part[key]) is int for part in document["parts"])
    assert len(document["end_points"]) == 75
    assert "parts" not in document["parts"][0]


def test_layers_add_up() -> None:
    document = json.loads(command("resnet-inspect", "tiny", "--layers", "--json").out)
    for block in document["parts"]:
        for key in ("parameters", "moving_statistics", "macs"):
            assert sum(part[key] for part in block["parts"]) == block[key]
            for unit in block["parts"]:
                assert sum(part[key] for part in unit.get("parts", [unit])) == unit[key]
    shortcut = document["parts"][1]["parts"][1]["parts"][1]
    assert (shortcut["kind"], shortcut["output"], shortcut["parameters"]) == ("max pool 1x1, stride 2", [32, 4, 4], 0)


def test_the_table_is_aligned_and_separates_thousands() -> None:
    lines = command("resnet-inspect", "resnet50").out.splitlines()
    assert lines[0] == "resnet_v2_50, input 3x224x224"
    header, *rows = lines[2:]
    assert rows[-1].split() == ["total", "25,568,360", "45,440", "3,482,255,360"]
    assert {len(row) for row in [header, *rows]} == {len(header)}


@pytest.mark.parametrize("external", [False, True])
def test_a_model_tells_its_spec_and_its_interface(external: bool, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    options = CompileOptions(seed=3, opset=17, outputs=("block1",), batch=2, layout="nhwc", external_data=external)
    compile(load_spec("tiny"), options).save(path)
    document = json.loads(command("resnet-inspect", path, "--json").out)
    assert document["parameters"] == 16_714
    assert document["model"]["seed"] == "3"
    assert document["model"]["opset"] == 17
    assert document["model"]["inputs"] == {"input": [2, 32, 32, 3]}
    assert document["model"]["outputs"] == {"tiny/block1": [2, 4, 4, 32]}
    text = command("resnet-inspect", path).out
    assert "  outputs: tiny/block1 [2, 4, 4, 32]\n" in text


def test_only_the_head_of_a_large_model_is_read(tmp_path: Path) -> None:
    """Weights may be damaged: they are stepped over."""
    path = tmp_path / "model.onnx"
    compile(load_spec("tiny")).save(path)
    wire = bytearray(path.read_bytes())
    wire[-40:] = b"\xff" * 40  # the values of the last tensor, ten biases
    path.write_bytes(wire)
    assert command("resnet-inspect", path).code == 0


@pytest.mark.parametrize("cut", [0, 1, 100, 5000, 50_000])
def test_a_truncated_model_is_refused(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    compile(load_spec("tiny")).save(path)
    path.write_bytes(path.read_bytes()[:cut])
    done = command("resnet-inspect", path)
    assert done.code == 2
    assert done.err.count("\n") == 1


def test_other_files_are_refused_in_one_line(tmp_path: Path) -> None:
    import onnx

    noise = tmp_path / "noise"
    noise.write_bytes(b"\x08" + bytes(range(256)))
    assert command("resnet-inspect", noise).err == f"resnet-inspect: error: not an ONNX model @ {noise}\n"
    foreign = tmp_path / "foreign.onnx"
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [])), foreign)
    done = command("resnet-inspect", foreign)
    assert (done.code, done.err) == (
        2,
        f"resnet-inspect: error: a model that resnet-compile did not make @ {foreign}\n",
    )
    assert command("resnet-inspect", tmp_path / "none.json").code == 2
    assert command("resnet-inspect", tmp_path).code == 2
    assert command("resnet-inspect").code == 2
