"""Commands on a checkpoint alone, whose network is read off its names."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from support.commands import command
from support.contents import arrays_of

from resnet_compile import NetworkSpec, compile, load_spec, plan_network
from resnet_compile.metadata import read_model
from resnet_compile.spec import parse_spec, spec_text, torchvision_bottleneck_block
from resnet_compile.weights.tables import naming_of


def thin() -> NetworkSpec:
    """A network that the catalogue has not: three blocks of torchvision's bottlenecks in groups, 9 classes."""
    known = load_spec("torchvision_resnext50_32x4d")
    assert known.root
    blocks = tuple(
        torchvision_bottleneck_block(f"block{number}", 8 * number, number, min(number, 2), groups=4)
        for number in (1, 2, 3)
    )
    return known.replace(
        name="network", root=known.root.replace(depth=8), blocks=blocks, head=known.head.replace(num_classes=9)
    )


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Its weights under torchvision's names, in a trainer's section beside what is no network."""
    spec, naming = thin(), naming_of("torchvision")
    planned = plan_network(spec)
    values = arrays_of(compile(spec).graph)
    named = {f"encoder_q.{theirs}": values[ours] for ours, theirs in naming.names(planned, ()).items()}
    np.savez(tmp_path / "mine.npz", **named, **{"optimizer.step": np.array(7)})
    return tmp_path / "mine.npz"


def test_a_checkpoint_alone_is_compiled(checkpoint: Path) -> None:
    done = command("resnet-compile", "--weights", checkpoint, cwd=checkpoint.parent)
    assert done.code == 0, done.err
    read = "1+2+3 units of kind torchvision_bottleneck, 9 classes (torchvision naming, in section encoder_q)"
    assert read in done.err
    assert (
        "assumed, since the file does not show it: stride 2 in the first unit of every block but the first" in done.err
    )
    made = read_model(checkpoint.parent / "mine.onnx")
    assert made.metadata.spec
    ours, theirs = plan_network(parse_spec(made.metadata.spec)), plan_network(thin())
    assert (ours.root, ours.blocks, ours.head) == (theirs.root, theirs.blocks, theirs.head)
    assert made.metadata.weights_section == "encoder_q"


def test_the_spec_is_written_to_edit_and_keep(checkpoint: Path) -> None:
    found = checkpoint.with_name("found.json")
    done = command("resnet-inspect", checkpoint, "--spec", found)
    assert done.code == 0, done.err
    written = load_spec(found)
    assert [block.num_units for block in written.blocks] == [1, 2, 3]
    assert written.blocks[0].unit.model_dump()["groups"] == 4
    again = command("resnet-compile", found, "--weights", checkpoint, "-o", found.with_suffix(".onnx"))
    assert again.code == 0, again.err


def test_the_spec_of_a_model_is_written_too(tmp_path: Path) -> None:
    model, found = tmp_path / "tiny.onnx", tmp_path / "found.json"
    compile(load_spec("tiny")).save(model)
    assert command("resnet-inspect", model, "--spec", found).code == 0
    assert load_spec(found) == load_spec("tiny")


EXPORT = Path(__file__).resolve().parents[1] / "data" / "onnx" / "timm_resnext_tracing.onnx"


def test_a_model_is_a_spec_with_weights(tmp_path: Path) -> None:
    model = tmp_path / "theirs.onnx"
    model.write_bytes(EXPORT.read_bytes())
    done = command("resnet-compile", "theirs.onnx", cwd=tmp_path)
    assert done.code == 0, done.err
    assert done.err.startswith("resnet-compile: read off the graph: ")
    assert model.read_bytes() == EXPORT.read_bytes()
    made = read_model(tmp_path / "theirs-compiled.onnx").metadata
    assert (made.weights_file, made.weights_naming) == ("theirs.onnx", "structure")
    done = command("resnet-inspect", model, "--spec", tmp_path / "found.json")
    assert done.code == 0, done.err
    assert spec_text(load_spec(tmp_path / "found.json")) == made.spec


def test_a_model_takes_no_other_weights(tmp_path: Path) -> None:
    done = command("resnet-compile", EXPORT, "--weights", EXPORT, cwd=tmp_path)
    assert (done.code, [*tmp_path.iterdir()]) == (2, [])
    assert "SPEC is a model, which has weights of its own" in done.err


def test_a_part_of_a_model_without_a_word_leaves_no_file(tmp_path: Path) -> None:
    model = onnx.load(EXPORT)
    next(node for node in model.graph.node if node.op_type == "Relu").op_type = "Elu"
    onnx.save(model, tmp_path / "theirs.onnx")
    done = command("resnet-compile", "theirs.onnx", "-o", "ours.onnx", cwd=tmp_path)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "Elu '" in done.err
    assert [each.name for each in tmp_path.iterdir()] == ["theirs.onnx"]


def test_what_names_do_not_tell_is_told_once(checkpoint: Path) -> None:
    done = command("resnet-compile", "--weights", checkpoint, cwd=checkpoint.parent)
    assert (done.err.count("does not show it"), done.err.count("do not determine")) == (1, 0)


def test_what_holds_no_network_leaves_no_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", **{"encoder.w": np.zeros((3, 3), np.float32)})
    done = command("resnet-compile", "--weights", tmp_path / "other.npz", cwd=tmp_path)
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "no naming table reads the names as those of a residual network" in done.err
    assert [each.name for each in tmp_path.iterdir()] == ["other.npz"]


def test_without_spec_and_weights_both_are_named() -> None:
    done = command("resnet-compile")
    assert done.code == 2
    assert "'SPEC', or --weights FILE" in done.err


def test_a_spec_is_written_of_one_source() -> None:
    done = command("resnet-inspect", "tiny", "resnet50", "--spec", "found.json")
    assert done.code == 2
    assert "--spec takes one SOURCE" in done.err
