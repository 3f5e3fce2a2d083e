"""resnet-compile as a process: what it prints, its exit codes, what it leaves behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from support.commands import command
from support.specs import tiny_document

from resnet_compile import load_spec, plan_network
from resnet_compile.spec import spec_text

# As root, permissions stop nobody.
AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(tiny_document()))
    return path


def test_a_spec_becomes_a_model(spec: Path, tmp_path: Path) -> None:
    done = command("resnet-compile", spec, "-o", tmp_path / "model.onnx")
    assert (done.code, done.err) == (0, "")
    assert "tiny, " in done.out
    assert "parameters" in done.out
    onnx.checker.check_model(tmp_path / "model.onnx", full_check=True)


def test_json_is_one_document_of_plain_numbers(spec: Path, tmp_path: Path) -> None:
    done = command("resnet-compile", spec, "-o", tmp_path / "model.onnx", "--json", "-v")
    document = json.loads(done.out)
    assert document["bytes"] == (tmp_path / "model.onnx").stat().st_size
    assert document["outputs"] == ["tiny/logits", "predictions"]
    assert type(document["parameters"]) is int
    assert "outputs tiny/logits, predictions" in done.err


def test_every_flag_reaches_the_model(spec: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    flags = ["--outputs", "block1,logits", "--batch", "2", "--size", "40x48", "--layout", "nhwc", "--opset", "17"]
    done = command("resnet-compile", spec, "-o", path, "--seed", "5", "--external-data", *flags)
    assert done.code == 0, done.err
    model = onnx.load(path)
    assert [output.name for output in model.graph.output] == ["tiny/block1", "tiny/logits"]
    assert [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim] == [2, 40, 48, 3]
    assert model.opset_import[0].version == 17
    assert {prop.key: prop.value for prop in model.metadata_props}["resnet_compile.seed"] == "5"
    assert (tmp_path / "model.onnx.data").exists()


def test_minimal_filtering_tells_what_it_chose_and_is_verified(tmp_path: Path) -> None:
    flags = ["--target", "cpu", "--batch", "1", "--size", "112x112", "--winograd", "--verify", "-v"]
    done = command("resnet-compile", "torchvision_resnet18", *flags, "-o", "model.onnx", cwd=tmp_path)
    assert done.code == 0, done.err
    told = [line.strip() for line in done.err.splitlines()]
    first = next(place for place, line in enumerate(told) if line.startswith("winograd: "))
    chosen, refused = (int(word) for word in told[first].split() if word.isdigit())
    assert chosen + refused == 16, "a line for each 3x3 convolution"
    reasons = [line.partition(": ")[2] for line in told[first + 1 : first + 1 + chosen + refused]]
    assert [" million multiply-adds, direct " in line for line in reasons[:chosen]] == [True] * chosen
    assert reasons.count("its stride or rate is not 1") == 3
    options = {prop.key: prop.value for prop in onnx.load(tmp_path / "model.onnx").metadata_props}
    assert '"winograd":true' in options["resnet_compile.options"]


def test_a_fault_that_only_the_plan_finds_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(tiny_document() | {"output_stride": 6}))
    for flags in ((), ("--size", "48"), ("--training-step", "--batch", "1"), ("--dtype", "int8")):
        done = command("resnet-compile", path, "-o", tmp_path / "model.onnx", *flags)
        assert done.code == 2
        assert done.err.endswith(f"got 6 @ {path}: $.output_stride\n")


def test_a_catalogue_name_is_a_spec(tmp_path: Path) -> None:
    assert command("resnet-compile", "tiny", "-o", "model.onnx", "--size", "dynamic", cwd=tmp_path).code == 0
    assert (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize("name", ["readers/state_dict.pth", "checkpoints/part1"])
def test_weights_in_the_place_of_a_spec_are_told(name: str, tmp_path: Path) -> None:
    path = Path(__file__).parents[1] / "data" / name
    done = command("resnet-compile", path, "-o", tmp_path / "model.onnx")
    said = f"SPEC is a file of weights @ {path} (resnet-compile --weights {path})"
    assert (done.code, done.err) == (2, f"resnet-compile: error: {said}\n")


def broken_specs() -> dict[str, tuple[bytes, str]]:
    def changed(**changes: object) -> bytes:
        return json.dumps(tiny_document() | changes).encode()

    billion = tiny_document()
    billion["blocks"][0]["args"][0]["repeat"] = 10**9
    million = tiny_document()
    million["input"]["height"] = 1_000_000
    return {
        "unknown key": (changed(colour="red"), "unknown key @ {path}: $.colour"),
        "wrong type": (changed(output_stride="8"), 'must be an integer, got "8" @ {path}: $.output_stride'),
        "empty blocks": (changed(blocks=[]), "must not be empty @ {path}: $.blocks"),
        "zero": (changed(output_stride=0), "must be at least 1, got 0 @ {path}: $.output_stride"),
        "negative": (changed(weight_decay=-1), "must be at least 0.0, got -1 @ {path}: $.weight_decay"),
        "unreachable": (changed(output_stride=16), "cannot be reached @ {path}: $.output_stride"),
        "a billion units": (json.dumps(billion).encode(), "must be at most 4096, got 1000000000 @ {path}: $.blocks[0]"),
        "a side of a million": (
            json.dumps(million).encode(),
            "must be at most 16384, got 1000000 @ {path}: $.input.height",
        ),
        "not UTF-8": (b'{"name": "\xff"}', "not UTF-8: byte 10 is 0xff @ {path}"),
        "deep": (b"[" * 100_000, "nested too deeply @ {path}"),
        "not JSON": (b"name: tiny", "not JSON: Expecting value at line 1 column 1 @ {path}"),
        "empty": (b"", "not JSON: Expecting value at line 1 column 1 @ {path}"),
    }


@pytest.mark.parametrize("fault", broken_specs())
def test_a_bad_spec_is_one_line_and_no_file(fault: str, tmp_path: Path) -> None:
    text, words = broken_specs()[fault]
    spec = tmp_path / "spec.json"
    spec.write_bytes(text)
    output = tmp_path / "model.onnx"
    output.write_bytes(b"before")
    done = command("resnet-compile", spec, "-o", output)
    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith("resnet-compile: error: ")
    assert words.format(path=spec) in done.err
    assert done.err.count("\n") == 1
    assert output.read_bytes() == b"before"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["model.onnx", "spec.json"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Missing argument 'SPEC', or --weights FILE to read it off, or --like MODEL."),
        (["tiny", "-o", "out.pb"], "the output must be an ONNX file, got .pb @ out.pb (-o out.onnx)"),
        (["tini", "-o", "m"], "neither a file nor a spec of the catalogue @ tini (did you mean tiny?)"),
        (["none.json", "-o", "m"], "cannot read the spec: No such file or directory @ none.json"),
        ([".", "-o", "m"], "cannot read the spec: Is a directory @ ."),
        (["tiny", "-o", "."], "is a directory @ . (name a file in it)"),
        (["tiny", "-o", "m", "--outputs", "block9"], "no end point or layer 'block9' @ outputs"),
        (["tiny", "-o", "m", "--outputs", "a,,b"], "a name is empty"),
        (["tiny", "-o", "m", "--opset", "10"], "opset must be 11 to 26, got 10 @ opset"),
        (["tiny", "-o", "m", "--batch", "0"], "'0' is not a number from 1 to 65536"),
        (["tiny", "-o", "m", "--batch", "many"], "'many' is not a number"),
        (["tiny", "-o", "m", "--size", "3x"], "'' is not a number from 1 to 16384"),
        (["tiny", "-o", "m", "--size", "99999"], "'99999' is not a number from 1 to 16384"),
        (["tiny", "-o", "m", "--seed", "-1"], "-1 is not in the range"),
        (["tiny", "-o", "m", "--layout", "chwn"], "'chwn' is not one of 'nchw', 'nhwc'"),
        (
            ["tiny", "-o", "m", "--dtype", "int8", "--winograd"],
            "--winograd is for --dtype float32, got int8 @ winograd",
        ),
        (["tiny", "-o", "m", "--winograd"], "target must be cpu with winograd, got none @ $.target"),
        (["tiny", "-o", "m", "--io-dtype", "float16"], "--io-dtype is for --dtype float16, got float32 @ io_dtype"),
        (["tiny", "-o", "m", "--colour"], "No such option"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(arguments: list[str], words: str, tmp_path: Path) -> None:
    done = command("resnet-compile", *arguments, cwd=tmp_path)
    assert done.code == 2
    assert words in done.err
    assert done.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_exit_code_1(tmp_path: Path) -> None:
    done = command("resnet-compile", "tiny", "-o", tmp_path / "none" / "model.onnx")
    assert done.code == 1
    assert done.err == (
        f"resnet-compile: error: cannot write here: No such file or directory @ {tmp_path}/none/model.onnx\n"
    )


@pytest.mark.skipif(AS_ROOT, reason="root may read and write everything")
def test_permissions_are_respected(spec: Path, tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    done = command("resnet-compile", spec, "-o", folder / "model.onnx")
    assert (done.code, "Permission denied" in done.err) == (1, True)
    spec.chmod(0)
    done = command("resnet-compile", spec, "-o", tmp_path / "model.onnx")
    assert (done.code, "Permission denied" in done.err) == (2, True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    """A limit on file sizes stands in for a full disk."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); "
        "sys.argv = ['resnet-compile', 'tiny', '-o', 'model.onnx']; "
        "from resnet_compile.cli.compile import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "resnet-compile: error: cannot write: File too large @ model.onnx\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    executable = Path(sys.executable).with_name("resnet-compile")
    process = subprocess.Popen(
        [executable, "resnet200", "-o", "model.onnx"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    while not (parts := list(tmp_path.glob(".model.onnx.*.part"))) and process.poll() is None:
        time.sleep(0.005)
    assert parts, "the run ended before it could be interrupted"
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, "resnet-compile: error: interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_where(tmp_path: Path) -> None:
    done = command("resnet-compile", "tiny", "-o", tmp_path, "--debug")
    assert "Traceback" in done.err
    assert done.err.rstrip().endswith(f"is a directory @ {tmp_path} (name a file in it)")


def test_version_and_help() -> None:
    from resnet_compile import __version__

    assert command("resnet-compile", "--version").out == f"resnet-compile, version {__version__}\n"
    shown = command("resnet-compile", "--help").out
    assert "--outputs NAME[,NAME...]|all" in shown
    assert max(map(len, shown.splitlines())) <= 100


def test_weights_come_from_a_checkpoint(tmp_path: Path) -> None:
    shapes = {p.name: p.shape for p in plan_network(load_spec("tiny")).parameters}
    arrays = {name: np.full(shape, 0.5, np.float32) for name, shape in shapes.items()}
    np.savez(tmp_path / "weights.npz", **arrays)
    done = command("resnet-compile", "tiny", "--weights", "weights.npz", "-o", "model.onnx", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    model = onnx.load(tmp_path / "model.onnx")
    assert all(set(np.frombuffer(t.raw_data, np.float32)) == {0.5} for t in model.graph.initializer)


def test_the_model_is_named_by_the_spec(tmp_path: Path) -> None:
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "mine.json").write_text(spec_text(load_spec("tiny")))
    for source, name in (("specs/mine.json", "mine.onnx"), ("tiny", "tiny.onnx")):
        done = command("resnet-compile", source, cwd=tmp_path)
        assert (done.code, done.out.split(":")[0]) == (0, name)
        assert (tmp_path / name).exists()


def test_the_weights_say_how_many_classes_there_are(tmp_path: Path) -> None:
    """As in TF-slim's published networks, whose 1001 no spec names."""
    np.savez(tmp_path / "w.npz", **network_arrays("tiny/", 1001))
    done = command("resnet-compile", "tiny", "--weights", "w.npz", cwd=tmp_path)
    assert done.code == 0
    assert "resnet-compile: the model has the weights' 1001 classes, not the spec's 10; the first" in done.err
    shape = onnx.load(tmp_path / "tiny.onnx").graph.output[0].type.tensor_type.shape
    assert shape.dim[1].dim_value == 1001
    kept = command("resnet-compile", "tiny", "--weights", "w.npz", "--num-classes", 10, cwd=tmp_path)
    assert (kept.code, "(the weights have 1001 classes: --num-classes 1001;" in kept.err) == (2, True)


def network_arrays(scope: str, classes: int | None = 10) -> dict[str, np.ndarray]:
    """The parameters of `tiny` under another scope, with another number of classes."""
    spec = load_spec("tiny")
    plan = plan_network(spec.replace(head=spec.head.replace(num_classes=classes)))
    return {p.name.replace("tiny/", scope): np.full(p.shape, 0.5, np.float32) for p in plan.parameters}


def test_what_is_left_is_told_on_stderr_and_in_json(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", **network_arrays("body/tiny/"), **{"new_fc/weights": np.ones(3, np.float32)})
    done = command("resnet-compile", "tiny", "--weights", "w.npz", "-o", "m.onnx", "--json", cwd=tmp_path)
    note = "left: 1 tensor under new_fc/"
    assert (done.code, done.err) == (0, f"resnet-compile: {note}\n")
    assert json.loads(done.out)["notes"] == [note]
    entries = {entry.key: entry.value for entry in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert entries["resnet_compile.weights_section"] == "body/tiny"
    assert entries["resnet_compile.weights_left"] == "new_fc/"


@pytest.mark.parametrize(
    ("content", "flags", "words"),
    [
        (None, [], "no such checkpoint @ weights.ckpt"),
        (b"hello", [], "a text, 'hello', not a checkpoint @ weights.ckpt"),
        (b"", [], "an empty file @ weights.ckpt"),
        (bytes(9), ["--naming", "keras3"], "not a checkpoint of a known format @ weights.ckpt"),
    ],
)
def test_bad_weights_are_one_line_and_exit_code_2(
    content: bytes | None, flags: list[str], words: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "weights.ckpt").write_bytes(content)
    done = command("resnet-compile", "tiny", "--weights", "weights.ckpt", *flags, "-o", "model.onnx", cwd=tmp_path)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert words in done.err
    assert not (tmp_path / "model.onnx").exists()


def test_a_training_step(tmp_path: Path) -> None:
    done = command("resnet-compile", "tiny", "--training-step", "--batch", 4, "-o", "step.onnx", "--json", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    model = onnx.load(tmp_path / "step.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [value.name for value in model.graph.input][:3] == ["images", "labels", "learning_rate"]
    assert json.loads(done.out)["outputs"] == [value.name for value in model.graph.output]
    assert {entry.key: entry.value for entry in model.metadata_props}["resnet_compile.kind"] == "training_step"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "batch must be a number for a training step, got dynamic @ batch (give --batch N)"),
        (["--batch", 2, "--size", "dynamic"], "size must be fixed for a training step, got dynamic @ size"),
        (["--batch", 2, "--layout", "nhwc"], "does not apply to a training step"),
        (["--batch", 2, "--weights", "none.ckpt"], "--weights does not apply to a training step"),
    ],
)
def test_what_a_training_step_cannot_be_asked_for(flags: list[object], words: str, tmp_path: Path) -> None:
    done = command("resnet-compile", "tiny", "--training-step", *flags, "-o", "step.onnx", cwd=tmp_path)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert words in done.err
    assert not (tmp_path / "step.onnx").exists()
