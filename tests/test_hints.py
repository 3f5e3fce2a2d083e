"""Every hint about weights and their files: one list, and what it says is done as it is typed, wherever it can be here.

`test_every_hint_is_in_the_list` finds the hints in the source. Those that want a framework, the network or another copy
of the file have no `follow`.
"""

import ast
import gzip
import re
import shlex
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from support.checkpoint_seeds import DATA
from support.commands import Ran
from support.hub import write_hub

import resnet_compile
from resnet_compile import load_spec, plan_network
from resnet_compile.cli.compile import main as compile_main
from resnet_compile.cli.inspect import main as inspect_main
from resnet_compile.spec import spec_text
from resnet_compile.weights.tables import KERAS_RESNETV2

ROOMS = Path(resnet_compile.__file__).parent
READERS, CHECKPOINTS = DATA / "readers", DATA / "checkpoints"
Arrays = dict[str, np.ndarray]


def tiny(scope: str = "tiny/", classes: int | None = 10) -> Arrays:
    """The parameters of `tiny` under another scope, with another number of classes."""
    spec = load_spec("tiny")
    plan = plan_network(spec.replace(head=spec.head.replace(num_classes=classes)))
    return {p.name.replace("tiny/", scope): np.full(p.shape, 0.5, np.float32) for p in plan.parameters}


def head(scope: str) -> Arrays:
    found = {name.replace("tiny/logits", scope): values for name, values in tiny().items() if "/logits/" in name}
    assert found
    return found


def of_keras() -> Arrays:
    """What of `tiny` has a name in Keras's: all but its units."""
    named = {
        p: KERAS_RESNETV2.translate(p.name.removeprefix("tiny/")) for p in plan_network(load_spec("tiny")).parameters
    }
    return {name: np.ones(KERAS_RESNETV2.source_shape(p), np.float32) for p, name in named.items() if name}


def saved(arrays: Arrays, *options: str) -> Callable[[Path], Sequence[str]]:
    """Arrays in a file, to be compiled as `tiny`."""

    def make(folder: Path) -> Sequence[str]:
        np.savez(folder / "w.npz", **arrays)
        return ["tiny", "--weights", "w.npz", *options]

    return make


def given(name: str, data: bytes | Path, spec: str = "tiny", **others: bytes | Path) -> Callable[[Path], Sequence[str]]:
    """A file, and others beside it, of which the first is given as weights."""

    def make(folder: Path) -> Sequence[str]:
        for file, content in {name: data, **others}.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(content if isinstance(content, bytes) else content.read_bytes())
        return [spec, "--weights", name]

    return make


def packed(name: str, pack: Callable[[Path, Path], None]) -> Callable[[Path], Sequence[str]]:
    """The weights of `tiny` in an archive."""

    def make(folder: Path) -> Sequence[str]:
        np.savez(folder / "w.npz", **tiny())
        pack(folder / "w.npz", folder / name)
        (folder / "w.npz").unlink()
        return ["tiny", "--weights", name]

    return make


def tarred(source: Path, target: Path) -> None:
    with tarfile.open(target, "w:gz") as archive:
        archive.add(source, source.name)


def zipped(source: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w") as archive:
        archive.write(source, "inner.npz")
        archive.writestr("read me.txt", "weights")


def gzipped(source: Path, target: Path) -> None:
    target.write_bytes(gzip.compress(source.read_bytes()))


def unpacked(folder: Path) -> Sequence[str]:
    with zipfile.ZipFile(READERS / "state_dict.pth") as archive:
        archive.extractall(folder / "a b")
    return ["tiny", "--weights", "a b"]


def bundles(*names: str, state: str | None = None) -> Callable[[Path], Sequence[str]]:
    """TensorFlow checkpoints in a folder, with a state file or without."""

    def make(folder: Path) -> Sequence[str]:
        (folder / "run").mkdir()
        for name in names:
            for ending in ("index", "data-00000-of-00001"):
                shutil.copyfile(CHECKPOINTS / f"part2.{ending}", folder / "run" / f"{name}.{ending}")
        if state:
            (folder / "run" / "checkpoint").write_text(f'model_checkpoint_path: "{state}"')
        return ["tiny", "--weights", "run"]

    return make


def hub(config: dict[str, str]) -> Callable[[Path], Sequence[str]]:
    def make(folder: Path) -> Sequence[str]:
        write_hub(folder, config)
        return ["torchvision_resnet34", "--weights", "."]

    return make


def archive(**members: bytes) -> Callable[[Path], Sequence[str]]:
    def make(folder: Path) -> Sequence[str]:
        with zipfile.ZipFile(folder / "a.zip", "w") as made:
            for name, data in members.items():
                made.writestr(name.replace("__", "/"), data)
        return ["tiny", "--weights", "a.zip"]

    return make


Follow = Callable[[Path, Sequence[str], str], tuple[Callable[[], None], Sequence[str]]]


def options(folder: Path, asked: Sequence[str], hint: str) -> tuple[Callable[[], None], Sequence[str]]:
    """The option in the hint, beside what was asked."""
    found = re.search(r"--[a-z-]+(?: (?:'[^']*'|[^ ;)]+))?(?= takes| leaves| reads|;|\)|$)", hint)
    assert found, hint
    return compile_main, [*asked, *shlex.split(found[0])]


def command(folder: Path, asked: Sequence[str], hint: str) -> tuple[Callable[[], None], Sequence[str]]:
    """The command behind the colon, and then what it makes."""
    typed = hint.partition(": ")[2]
    tool = typed.split("&& ")[-1].split()[0]
    if shutil.which(tool) is None:
        pytest.skip(f"needs {tool}")
    before = set(folder.rglob("*"))
    subprocess.run(typed, shell=True, check=True, capture_output=True, cwd=folder)
    made = min(set(folder.rglob("*")) - before, key=lambda path: len(path.parts))
    return inspect_main, [made.relative_to(folder)]


def path(folder: Path, asked: Sequence[str], hint: str) -> tuple[Callable[[], None], Sequence[str]]:
    """The path that the hint ends with."""
    return inspect_main, [hint.split()[-1]]


def index(folder: Path, asked: Sequence[str], hint: str) -> tuple[Callable[[], None], Sequence[str]]:
    """A file that is to be copied there."""
    found = re.search(r"copy (\S+)\.index", hint)
    assert found
    shutil.copyfile(CHECKPOINTS / "part2.index", folder / f"{found[1]}.index")
    shutil.copyfile(CHECKPOINTS / "part2.data-00000-of-00001", folder / f"{found[1]}.data-00000-of-00001")
    return inspect_main, [found[1]]


def with_spec(folder: Path, asked: Sequence[str], hint: str) -> tuple[Callable[[], None], Sequence[str]]:
    """The file in the place of SPEC."""
    np.savez(folder / "w.npz", **tiny())
    return compile_main, [asked[2], "--weights", "w.npz"]


def other_spec(folder: Path, asked: Sequence[str], hint: str) -> tuple[Callable[[], None], Sequence[str]]:
    """The network that the hint names."""
    found = re.search(r"give (\S+) as SPEC", hint)
    assert found
    return compile_main, [found[1], *asked[1:]]


def the_folder(folder: Path, asked: Sequence[str], hint: str) -> tuple[Callable[[], None], Sequence[str]]:
    """The folder that holds a configuration and weights."""
    write_hub(folder, {"architecture": "resnet18"})
    return inspect_main, ["."]


def fits(folder: Path, asked: Sequence[str], hint: str) -> tuple[Callable[[], None], Sequence[str]]:
    """The network of the catalogue that fits, with the options beside it."""
    found = re.search(r"the weights fit (\S+?)(?: with ([^,;)]*))?(?:[,;)]|$)", hint)
    assert found, hint
    return compile_main, [found[1], *asked[1:], *shlex.split(found[2] or "")]


@dataclass(frozen=True)
class Row:
    """A hint.

    Attributes:
        make: Writes what it is about into a folder, and gives the arguments of `resnet-compile` there.
        words: What it says; `...` stands for what differs.
        follow: What is done with it: the command that is run then, which has to succeed; None where that is not here.
    """

    make: Callable[[Path], Sequence[str]]
    words: str
    follow: Follow | None = None


AGAIN = "download or copy it again"
RESAVE = "save the weights alone: torch.save(model.state_dict(), path), or as safetensors"
SOURCE = "give the SavedModel, checkpoint or Keras file that it was made from"
ALONE = {f"{name}/ExponentialMovingAverage": values for name, values in tiny().items()}
SPREAD = {name.replace("tiny/", "a/" if "block1" in name else "b/"): values for name, values in tiny().items()}
NAMED = {f"tiny.x.{number}": np.ones(3, np.float32) for number in range(9)}
HINTS = {
    # What is chosen of a file.
    "several sections": Row(saved({**tiny("a/"), **tiny("b/")}), "--section a takes the first", options),
    "spread": Row(saved(SPREAD), "--section ... reads them as one", options),
    "averages alone": Row(saved(ALONE), "--averages takes them", options),
    "averages of some": Row(
        saved({name: v for name, v in tiny().items() if "block1" not in name} | ALONE),
        "the source has only moving averages: --averages takes them",
        options,
    ),
    "no head": Row(
        saved(tiny(classes=None)),
        "--num-classes none takes the features without a head; --head NAME names the head",
        options,
    ),
    "two heads": Row(saved({**tiny(classes=None), **head("x"), **head("y")}), "--head x takes the first", options),
    "other classes": Row(
        saved(tiny(classes=1001), "--num-classes", "10"),
        "the weights have 1001 classes: --num-classes 1001; ...",
        options,
    ),
    "in the way": Row(
        saved({**tiny(), "tiny/gate/weights": np.ones(3, np.float32)}),
        "the file's network computes another function; --ignore 'tiny/gate/weights' leaves it out anyway",
        options,
    ),
    "many in the way": Row(
        saved({**tiny(), **{f"tiny/block{n}/gate/{part}": np.ones(3, np.float32) for n in (1, 2) for part in "ab"}}),
        "the file's network computes another function; --ignore '*/gate/*' leaves them out anyway",
        options,
    ),
    "no name fits": Row(saved(NAMED), "the names are like tiny.x.0, ..."),
    "another kind of units": Row(
        saved(of_keras(), "--naming", "keras-resnetv2"), "that naming is for units of kind keras_v2_bottleneck"
    ),
    "another network": Row(hub({"architecture": "resnet18"}), "give torchvision_resnet18 as SPEC", other_spec),
    "another function": Row(hub({"architecture": "resnetblur18"}), "names and shapes of their weights are the same"),
    "what fits": Row(hub({}), "...the weights fit torchvision_resnet18", fits),
    "adapters": Row(saved({"a.lora_A.weight": np.ones(3, np.float32)}), "save model.merge_and_unload()"),
    "integers": Row(
        saved(tiny() | {"tiny/conv1/biases": np.zeros(16, np.int8)}), "give the weights from before they were quantised"
    ),
    # What a reader does not read.
    "quantised": Row(
        given("a.pth", READERS / "other.pth"), "save the weights before quantisation, or tensor.dequantize()"
    ),
    "quantised Lite": Row(given("a.tflite", READERS / "int8.tflite"), SOURCE),
    "folded Lite": Row(given("a.tflite", READERS / "float32.tflite"), f"...{SOURCE}"),
    "no names": Row(given("a.h5", READERS / "keras3.weights.h5"), "...save the whole model, model.save('NAME.keras')"),
    "newer HDF5": Row(
        given("a.h5", b"\x89HDF\r\n\x1a\n\2" + bytes(99)), "re-save it from h5py or Keras without libver=..."
    ),
    "no weights in the archive": Row(archive(**{"config.json": b"{}"}), "model.save('NAME.keras') writes one"),
    "no pickle": Row(archive(a__version=b"3", a__data__0=b""), RESAVE),
    "not frozen": Row(
        given("a.pb", READERS / "not_frozen.pb"), "give that checkpoint, its prefix or the SavedModel's folder"
    ),
    # What is none.
    "empty": Row(given("a", b""), AGAIN),
    "cut": Row(given("a.pth", (READERS / "state_dict.pth").read_bytes()[:29]), AGAIN),
    "page": Row(given("a.pth", b"<html><title>x</title>"), "download the file itself"),
    "pointer": Row(given("a.pth", b"version https://git-lfs.github.com/spec/v1\nsize 9\n"), "git -C . lfs pull"),
    "graph beside": Row(
        given("a.ckpt.meta", b"\x0a\x04node", **{"a.ckpt": CHECKPOINTS / "part1"}), "give a.ckpt", path
    ),
    "graph alone": Row(
        given("a.ckpt.meta", b"\x0a\x04node"), "copy a.ckpt.index and its data there, and give a.ckpt", index
    ),
    "data": Row(given("a.data-00000-of-00001", bytes(99)), "copy a.index there", index),
    "tar": Row(
        packed("a.tar.gz", tarred), "unpack it, and give the folder that this makes: mkdir a && tar -xf ...", command
    ),
    "zip": Row(
        packed("a.zip", zipped), "unpack it, and give the folder that this makes: python -m zipfile -e ...", command
    ),
    "gzip": Row(packed("w.npz.gz", gzipped), "unpack it, and give what comes out: gunzip -k w.npz.gz", command),
    "unpacked": Row(unpacked, "pack it again, and give the file that this makes: cd ...", command),
    "npy": Row(
        given("a.npy", b"\x93NUMPY\1\0" + bytes(90)), "save the arrays by their names: numpy.savez(path, **arrays)"
    ),
    "spec": Row(
        given("s.json", spec_text(load_spec("tiny")).encode()),
        "give it as SPEC, and its weights as --weights",
        with_spec,
    ),
    "Keras in several files": Row(
        given("s.weights.json", b'{"weight_map": {"/layers/conv2d/vars": "s_00000.weights.h5"}}'),
        "save them in one: model.load_weights(path), then model.save_weights('NAME.weights.h5')",
    ),
    "configuration": Row(
        given("config.json", b'{"model_type": "x"}'),
        "give the weights that belong to it, or the folder that holds both",
        the_folder,
    ),
    "unknown": Row(given("a", b"weights" * 100), "read are: safetensors; ..."),
    "saved model": Row(
        given("m/saved_model.pb", b"\x08\x01\x12\x00"),
        "copy the whole folder again: m/variables/variables.index and its data belong to it",
    ),
    "several": Row(bundles("a-1", "a-2"), "give one of a-2, a-1, such as run/a-2", path),
    "stale state": Row(bundles("a-1", "a-2", state="a-3"), "give one of a-2, a-1, such as run/a-2", path),
    "stale state alone": Row(bundles("a-1", state="b"), "there is run/a-1", path),
    "no state": Row(bundles(state="a-3"), "copy a-3.index and its data there"),
    "state of nothing": Row(given("checkpoint", b"nothing"), "give the checkpoint's prefix"),
    "no folder's": Row(
        lambda folder: (folder / "x").mkdir() or ["tiny", "--weights", "x"], "give the checkpoint's file or prefix"
    ),
}


def refused(row: Row, folder: Path, capfd: pytest.CaptureFixture[str]) -> tuple[Sequence[str], str]:
    asked = [*row.make(folder), "-o", "m.onnx"]
    done = Ran(compile_main, asked, capfd)
    assert (done.code, done.out, done.err.count("\n"), (folder / "m.onnx").exists()) == (2, "", 1, False), done.err
    assert done.err.endswith(")\n"), done.err
    return asked, done.err.rstrip("\n")[:-1]


@pytest.mark.parametrize("name", HINTS)
def test_a_hint_is_followed_as_it_is_typed(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = HINTS[name]
    monkeypatch.chdir(tmp_path)
    asked, said = refused(row, tmp_path, capfd)
    pattern = ".*".join(re.escape(part) for part in row.words.split("..."))
    found = re.search(rf"[(;] ?(?P<hint>{pattern})$", said) or re.search(rf"[(;] ?(?P<hint>{pattern}(?=;))", said)
    assert found, said
    if row.follow:
        main, arguments = row.follow(tmp_path, asked, found["hint"])
        done = Ran(main, arguments, capfd)
        assert done.code == 0, done.err


def literals(node: ast.AST) -> Iterator[str]:
    """The longest plain part of every text that a hint can be."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=values):
            yield max((part.value for part in values if isinstance(part, ast.Constant)), key=len, default="")
        case ast.IfExp(body=one, orelse=other):
            yield from (*literals(one), *literals(other))
        case ast.Lambda(body=body):
            yield from literals(body)
        case ast.Call(args=[_, ast.Constant(value=str(text))]):  # `_into_folder(path, command)`
            yield text.partition("{")[0]


def hints_in_the_source() -> Iterator[str]:
    for file in sorted(file for room in ("checkpoints", "weights") for file in (ROOMS / room).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Call(func=function, args=args, keywords=keywords):
                    called = ast.unparse(function).rpartition(".")[2]
                    asked = [word.value for word in keywords if word.arg in ("hint", "advice")]
                    place = {"error": 2, "fault": 3, "Unread": 2, "_Kind": 1}.get(called)
                    found = [*asked, *(args[place : place + 1] if place else ())]
                case ast.Assign(targets=[ast.Name(id="hint" | "advice" | "AGAIN" | "RESAVE" | "_SOURCE")], value=value):
                    found = [value]
                case ast.FunctionDef(name="_hint" | "_prefix_of" | "_index_of" | "_unpack" | "_one_of", body=body):
                    found = [each.value for part in body for each in ast.walk(part) if isinstance(each, ast.Return)]
                case ast.FunctionDef(name="_folder" | "_state_file" | "_nothing", body=body):
                    pairs = [each.value for part in body for each in ast.walk(part) if isinstance(each, ast.Return)]
                    found = [pair.elts[1] for pair in pairs if isinstance(pair, ast.Tuple)]
                case _:
                    continue
            yield from (text for each in found if each is not None for text in literals(each))


# What is told where one tensor is looked up; `tests/checkpoints` has these.
_LOOKED_UP = {
    *("save tensor.float()", "save tensor.to_dense()", "save tensor.resolve_conj().resolve_neg()"),
    "it was on the device meta: load the weights, then save",
    "save model.state_dict() of plain tensors with torch.save",
    "h5repack -f NONE undoes them",
    "ls -l",  # of a file that the user may not read, which a test's user mostly may
}


# What is told of an ONNX model whose structure is another; `tests/weights/test_structure_function.py` has these.
_OF_STRUCTURE = {
    *("to take the weights alone", ".unit.groups to", ".unit.shortcut and the depths and strides beside it"),
    *("is another sum of two maps: see $.blocks", "the model ends before it"),
}


def test_every_hint_is_in_the_list() -> None:
    words = [row.words for row in HINTS.values()]
    texts = {text.strip() for text in hints_in_the_source()} - _LOOKED_UP - _OF_STRUCTURE
    assert {text for text in texts if len(text) > 3 and not any(text in each for each in words)} == set()
    assert len(texts) > 35
