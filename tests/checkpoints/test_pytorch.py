import builtins
import hashlib
import importlib
import json
import os
import pickle
import sys
import tracemalloc
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import torch_files as forge

from resnet_compile.checkpoints.formats import open_checkpoint
from resnet_compile.checkpoints.torch import containers, opcodes, walk
from resnet_compile.checkpoints.torch.file import PickleCheckpoint, PyTorchCheckpoint, is_pickle, is_pytorch
from resnet_compile.checkpoints.torch.opcodes import MAX_OPCODES, interpret
from resnet_compile.checkpoints.torch.values import Name, PickleError, Record, Storage, StorageType, TensorView
from resnet_compile.errors import CheckpointError

DATA = Path(__file__).parents[1] / "data" / "readers"
TRUTHS: dict[str, dict[str, Any]] = {
    name: tensors
    for name, tensors in json.loads((DATA / "torch.json").read_text()).items()
    if name.endswith((".pth", ".pt", ".pkl"))
}
WHOLE = forge.tensor(forge.storage("0", 12), (3, 4), (4, 1))


def state_dict(body: bytes) -> bytes:
    return forge.program(forge.mapping({"w": body}))


@pytest.mark.parametrize("file", TRUTHS)
def test_equals_what_pytorch_reads(file: str) -> None:
    assert (is_pytorch if file.endswith(("pth", "pt")) else is_pickle)(DATA / file)
    with open_checkpoint(DATA / file) as checkpoint:
        assert list(checkpoint) == list(TRUTHS[file])
        assert checkpoint.warnings == ()
        for name, truth in TRUTHS[file].items():
            array, info = checkpoint[name], checkpoint.info(name)
            assert (info.dtype, list(info.shape)) == (truth["dtype"], truth["shape"])
            assert (array.dtype.name, array.shape) == (info.dtype, info.shape)
            assert hashlib.sha256(array.tobytes()).hexdigest() == truth["sha256"]


def test_every_dtype_is_in_the_fixtures() -> None:
    assert len({tensor["dtype"] for tensor in TRUTHS["dtypes.pth"].values()}) == 20


def test_what_a_file_names_beside_tensors() -> None:
    with PyTorchCheckpoint(DATA / "trainer.pth") as checkpoint:
        assert {"argparse.Namespace", "collections.Counter", "datetime.datetime"} <= set(checkpoint.objects)
    assert PyTorchCheckpoint(DATA / "state_dict.pth").objects == ()


@pytest.mark.parametrize(
    ("name", "kind", "shape", "advice"),
    [
        ("quantised", "quantised", (2, 2), "dequantize"),
        ("coordinates", "sparse", (3, 3), "to_dense"),
        ("rows", "sparse", (3, 3), "to_dense"),
        ("meta", "without values", (3,), "load the weights"),
        ("conjugated", "conjugated or negated complex64", (2,), "resolve_conj"),
    ],
)
def test_tensors_that_are_told_of_and_not_read(name: str, kind: str, shape: tuple[int, ...], advice: str) -> None:
    with PyTorchCheckpoint(DATA / "other.pth") as checkpoint:
        unread = checkpoint.unread[name]
        assert (unread.kind, unread.shape, name in checkpoint) == (kind, shape, False)
        with pytest.raises(CheckpointError, match=f"the tensor is {kind}, which is not supported") as caught:
            checkpoint[name]
        assert advice in str(caught.value.hint)
        assert checkpoint["plain"].tolist() == [1, 1]


def test_one_tensor_under_two_names_has_one_place(tmp_path: Path) -> None:
    other = forge.tensor(forge.storage("0", 12), (2,), (1,))
    same = forge.program(forge.mapping({"a": WHOLE, "b": WHOLE, "c": other}))
    with PyTorchCheckpoint(forge.write(tmp_path / "a", same)) as checkpoint:
        assert checkpoint.info("a").place == checkpoint.info("b").place != checkpoint.info("c").place


def test_tensors_are_views() -> None:
    with PyTorchCheckpoint(DATA / "views.pth") as checkpoint:
        whole, transposed = checkpoint["whole"], checkpoint["transposed"]
        assert np.shares_memory(whole, transposed)
        assert checkpoint["channels_last"].strides != np.zeros((2, 3, 4, 5), np.float32).strides
    assert not whole.flags.writeable
    assert transposed[1, 2] == 9


def test_protocol_of_other_writers(tmp_path: Path) -> None:
    """Records that were compressed again, and a tensor by the function of the first versions."""
    first = forge.call(
        forge.name("torch._utils", "_rebuild_tensor"),
        *(forge.storage("0", 12), forge.number(2), forge.numbers(5), forge.numbers(2)),
    )
    path = forge.write(tmp_path / "a", state_dict(first))
    again = tmp_path / "b"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(again, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info))
    for file in (path, again):
        assert PyTorchCheckpoint(file)["w"].tolist() == [2, 4, 6, 8, 10]


def legacy(body: bytes, keys: bytes, storages: bytes) -> bytes:
    head = forge.number(0x1950A86A20F9469CFC6C), forge.number(1001), forge.mapping({"little_endian": b"\x88"})
    return b"".join(map(forge.program, (*head, body, keys))) + storages


ELEMENTS = (12).to_bytes(8, "little") + np.arange(12, dtype=np.float32).tobytes()
KEYS = b"]" + forge.text("0") + b"a"


def test_before_1_6(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(legacy(forge.mapping({"w": WHOLE}), KEYS, ELEMENTS))
    with PyTorchCheckpoint(tmp_path / "a") as checkpoint:
        assert checkpoint["w"].tolist() == np.arange(12.0).reshape(3, 4).tolist()
    view = forge.sequence(forge.text("1"), forge.number(4), forge.number(6))
    part = forge.sequence(
        *(forge.text("storage"), forge.name("torch", "FloatStorage"), forge.text("0"), forge.text("cpu")),
        *(forge.number(12), view),
    )
    (tmp_path / "a").write_bytes(legacy(forge.mapping({"w": forge.tensor(part + b"Q", (3,), (2,))}), KEYS, ELEMENTS))
    assert PyTorchCheckpoint(tmp_path / "a")["w"].tolist() == [4, 6, 8]


@pytest.mark.parametrize(
    ("keys", "storages", "message"),
    [
        (b"]", b"", "storage is missing"),
        (b"]", ELEMENTS, "bytes after the last storage"),
        (KEYS, b"", "storage's size lies outside"),
        (KEYS, ELEMENTS[:-1], "a storage lies outside"),
        (KEYS, ELEMENTS + b"x", "bytes after the last storage"),
        (KEYS, b"\xff" * 8 + ELEMENTS[8:], "lies outside"),
        (KEYS, (1 << 62).to_bytes(8, "little") + ELEMENTS[8:], "lies outside"),
        (KEYS, (11).to_bytes(8, "little") + ELEMENTS[8:-4], "claims 12 elements"),
        (b"](" + forge.text("0") * 2 + b"e", ELEMENTS * 2, "keys of the storages"),
        (b"]" + forge.text("1") + b"a", ELEMENTS, "keys of the storages"),
        (b"]N" + b"a", ELEMENTS, "keys of the storages"),
        (b"}", ELEMENTS, "are not a list"),
    ],
)
def test_damaged_storages_before_1_6(tmp_path: Path, keys: bytes, storages: bytes, message: str) -> None:
    (tmp_path / "a").write_bytes(legacy(forge.mapping({"w": WHOLE}), keys, storages))
    with pytest.raises(CheckpointError, match=message):
        PyTorchCheckpoint(tmp_path / "a")


def bare(path: Path, pickled: bytes) -> PickleCheckpoint:
    path.write_bytes(pickled)
    assert is_pickle(path)
    return PickleCheckpoint(path)


def test_arrays_as_python_2_wrote_them(tmp_path: Path) -> None:
    """Byte strings for text and for data, and mappings from lists of pairs."""

    def short(raw: bytes) -> bytes:
        return b"U" + bytes([len(raw)]) + raw

    kind = forge.name("numpy", "dtype") + forge.sequence(short(b"f4"), b"K\0", b"K\1") + b"R"
    kind += forge.sequence(b"K\3", short(b"<"), b"NNN", b"J\xff\xff\xff\xff" * 2, b"K\0") + b"b"
    array = forge.name("numpy.core.multiarray", "_reconstruct")
    array += forge.sequence(forge.name("numpy", "ndarray"), b"K\0\x85", short(b"b")) + b"R"
    array += forge.sequence(b"K\1", b"K\2\x85", kind, b"\x89", short(np.array([1, -2], "<f4").tobytes())) + b"b"
    pairs = b"](](" + short(b"w") + array + b"ee"
    ordered = forge.name("collections", "OrderedDict") + pairs + b"\x85R"
    with bare(tmp_path / "a", b"\x80\x02}" + short(b"blobs") + ordered + b"s.") as checkpoint:
        assert checkpoint["blobs/w"].tolist() == [1, -2]
        assert list(checkpoint) == ["blobs/w"]


def test_an_array_has_the_bytes_of_its_shape(tmp_path: Path) -> None:
    whole = pickle.dumps({"w": np.arange(300, dtype=np.float32)}, protocol=4)
    assert bare(tmp_path / "a", whole)["w"].shape == (300,)
    with pytest.raises(CheckpointError, match="has not the bytes that its shape needs"):
        bare(
            tmp_path / "a", whole.replace((300).to_bytes(2, "little") + b"\x85", (301).to_bytes(2, "little") + b"\x85")
        )


def test_arrays_of_objects_and_fields_are_passed_over(tmp_path: Path) -> None:
    fields = np.zeros(2, [("a", "f4"), ("b", "i4")])
    value = {"o": np.array([None, "x"], object), "f": fields, "s": np.array(["x"]), "w": np.ones(2)}
    assert list(bare(tmp_path / "a", pickle.dumps(value))) == ["w"]


# Nothing executes.


class Payload:
    """What a real pickler makes of an object that reduces to a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def hostile_pickles(target: Path) -> dict[str, bytes]:
    command = f"touch {target}"
    text = forge.text
    system = forge.call(forge.name("os", "system"), text(command))
    dotted = text("torch") + text("serialization.os.system") + b"\x93"
    return {
        **{f"protocol {p}": pickle.dumps(Payload(os.system, command), protocol=p) for p in range(6)},
        "eval": pickle.dumps(Payload(eval, f"open({str(target)!r}, 'w').close()"), protocol=2),
        "nested": pickle.dumps({"state_dict": OrderedDict(w=Payload(os.system, command))}, protocol=2),
        "getattr": pickle.dumps(Payload(getattr, Payload(importlib.import_module, "os"), "system"), protocol=2),
        "global": forge.program(system),
        "behind a tensor": forge.program(forge.mapping({"w": WHOLE, "x": system})),
        "stack global": forge.program(text("os") + text("system") + b"\x93" + forge.sequence(text(command)) + b"R"),
        "dotted": b"\x80\x04" + dotted + forge.sequence(text(command)) + b"R.",
        "dotted module": forge.program(forge.call(forge.name("torch.serialization.os", "system"), text(command))),
        "inst": b"\x80\x02(" + text(command) + b"ios\nsystem\n.",
        "obj": b"\x80\x02(" + forge.name("os", "system") + text(command) + b"o.",
        "newobj": forge.program(forge.name("os", "system") + forge.sequence(text(command)) + b"\x81"),
        "newobj_ex": b"\x80\x04" + forge.name("os", "system") + forge.sequence(text(command)) + b"}\x92.",
        "extension": b"\x80\x02\x82\x01" + forge.sequence(text(command)) + b"R.",
        "copyreg": forge.program(forge.call(forge.name("copyreg", "_reconstructor"), forge.name("os", "system"))),
        "build": forge.program(forge.name("torch", "FloatStorage") + forge.mapping({"__reduce__": text("x")}) + b"b"),
        "build on a constructor": forge.program(forge.REBUILD + forge.mapping({"build": system}) + b"b"),
        "call of a storage": forge.program(forge.call(forge.name("torch", "FloatStorage"), text(command))),
        "call of a string": forge.program(text("os.system") + forge.sequence(text(command)) + b"R"),
        "persistent id": forge.program(forge.sequence(text("storage"), forge.name("os", "system"), text("0")) + b"Q"),
        "text persistent id": b"\x80\x02Pos.system\n.",
        "hooks": forge.program(
            forge.call(
                forge.REBUILD,
                *(forge.storage("0", 12), forge.number(0), forge.numbers(1), forge.numbers(1), b"\x89", system),
            )
        ),
    }


REFUSED = {  # the others are opened, and give up their tensors
    *("extension", "build", "build on a constructor", "call of a storage", "call of a string"),
    *("persistent id", "text persistent id"),
}
CALLED = {"eval": "__builtin__.eval", "getattr": "importlib.import_module", "copyreg": "os.system"}


@pytest.mark.parametrize("attack", hostile_pickles(Path("x")))
def test_hostile_pickle_executes_nothing(tmp_path: Path, attack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "executed"
    path = forge.write(tmp_path / "a.pth", hostile_pickles(target)[attack])

    def forbidden(*arguments: object, **options: object) -> None:
        raise AssertionError(f"called with {arguments}")

    monkeypatch.setattr(os, "system", forbidden)
    monkeypatch.setattr(builtins, "eval", forbidden)
    monkeypatch.setattr(importlib, "import_module", forbidden)
    if attack in REFUSED:
        with pytest.raises(CheckpointError) as caught:
            PyTorchCheckpoint(path)
        assert "data.pkl" in str(caught.value)
    else:
        with PyTorchCheckpoint(path) as checkpoint:
            assert list(checkpoint) == {"behind a tensor": ["w"], "hooks": ["tensor"]}.get(attack, [])
            for name in checkpoint:
                assert checkpoint[name].ravel()[0] == 0
            if attack not in ("dotted", "dotted module"):
                (warning,) = checkpoint.warnings
                assert CALLED.get(attack, "system") in warning
    assert not target.exists()


def test_nothing_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hostile_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    body = forge.mapping({"w": WHOLE, "x": forge.call(forge.name("hostile_module", "f"))})
    with PyTorchCheckpoint(forge.write(tmp_path / "a", forge.program(body))) as checkpoint:
        assert checkpoint.objects == ("hostile_module.f",)
        assert checkpoint["w"].shape == (3, 4)
    assert "hostile_module" not in sys.modules


def test_the_payloads_are_live(tmp_path: Path) -> None:
    """Python's own unpickler runs them, so that the test above shows something."""
    ran = 0
    for number, attack in enumerate(hostile_pickles(tmp_path)):
        target = tmp_path / str(number)
        if attack in ("protocol 2", "protocol 4", "eval", "nested", "global", "stack global", "inst", "obj"):
            pickle.loads(hostile_pickles(target)[attack])
            ran += target.exists()
    assert ran == 8


# Damaged and hostile structure.


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (b"", "truncated"),
        (b"\x80\x02", "truncated"),
        (b"\x80\x02}", "truncated"),
        (b"\x80\x02.", "empty stack"),
        (b"\x80\x02}}.", "more than one value"),
        (b"\x80\x02(}.", "more than one value"),
        (b"\x80\x02}.}", "after the pickle's end"),
        (b"\x80\x02(0.", "empty stack"),
        (b"\x80\x02P1\n.", "opcode 0x50"),
        (b"\x80\x05\x97.", "opcode 0x97"),
        (b"\x80\x02}\x8c\xff", "truncated"),
        (b"\x80\x02X\xff\xff\xff\x7fab.", "truncated|opcode"),
        (b"\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\x7fab.", "truncated|opcode"),
        (b"\x80\x02\x8b\xff\xff\xff\x7fab.", "truncated|opcode"),
        (b"\x80\x02X\x01\0\0\0\xff.", "not UTF-8"),
        (b"\x80\x02cos\nsystem", "truncated"),
        (b"\x80\x02cos system.", "truncated"),
        (b"\x80\x02h\x07.", "memo"),
        (b"\x80\x02q\x07.", "empty stack"),
        (b"\x80\x02t.", "mark"),
        (b"\x80\x02(\x85.", "empty stack"),
        (b"\x80\x02}(K\x01u.", "items"),
        (b"\x80\x02](K\x01K\x02u.", "items"),
        (b"\x80\x02}K\x01a.", "appends"),
        (b"\x80\x02]}b.", "attributes"),
        (b"\x80\x02I1_0\n.", "malformed"),
        (b"\x80\x02F1.2.3\n.", "malformed"),
        (b"\x80\x02S'a\n.", "malformed"),
        (b"\x80\x02S'\\q'\n.", "malformed"),
        (b"\x80\x02\x8b\x00\x01\x00\x00" + bytes(256) + b".", "number of 256 bytes"),
        (b"\x80\x02}U\x02ab.", "more than one value"),
        (b"\x80\x02}T\x01\x04\x00\x00" + b"k" * 1025 + b"K\x01s.", "where one is required"),
        (b"\x80\x02}K\x01K\x01sK\x01K\x02s.", "twice"),
        (b"\x80\x02K\x01K\x02\x93.", "is not two strings"),
        (forge.program(forge.mapping({}) + b"(" + (forge.text("w") + WHOLE) * 2 + b"u"), "a key twice"),
        (forge.program(forge.call(forge.name("torch", "Size"), forge.number(1))), "torch.Size"),
        (forge.program(forge.call(forge.name("torch._utils", "_rebuild_parameter"))), "does not wrap a tensor"),
        (state_dict(forge.call(forge.REBUILD, b"N")), "arguments"),
        (state_dict(forge.call(forge.REBUILD, b"N" * 6)), "without a storage"),
        (state_dict(forge.tensor(forge.storage("0", 12, "UntypedStorage"), (1,), (1,))), "storage is not described"),
        (state_dict(forge.storage("0", 12, "QInt9Storage")), "storage is not described"),
        (state_dict(forge.tensor(forge.storage("0", 48, "QInt8Storage"), (1,), (1,))), "without a dtype"),
        (state_dict(forge.tensor(forge.storage("k" * 1025, 12), (1,), (1,))), "storage is not described"),
        (state_dict(forge.sequence(forge.storage("0", 12), forge.storage("0", 12, "LongStorage"))), "of two types"),
        (state_dict(WHOLE + b"(" + WHOLE + b"tb"), "attributes"),
        (forge.program(forge.name("m", "n" * 1024)), "is too long"),
    ],
)
def test_damaged_pickles(tmp_path: Path, program: bytes, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        PyTorchCheckpoint(forge.write(tmp_path / "a", program))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (forge.tensor(forge.storage("0", 12), (13,), (1,)), "reaches to element 12"),
        (forge.tensor(forge.storage("0", 12), (12,), (1,), offset=1), "reaches to element 12"),
        (forge.tensor(forge.storage("0", 12), (2, 2), (11, 1)), "reaches to element 12"),
        (forge.tensor(forge.storage("0", 12), (1,), (1,), offset=1 << 62), "reaches"),
        (forge.tensor(forge.storage("0", 12), (1 << 40,), (0,)), "more elements than its storage"),
        (forge.tensor(forge.storage("0", 12), (13,), (0,)), "more elements than its storage"),
        (forge.tensor(forge.storage("0", 12), (1 << 40, 1 << 40), (0, 0)), "larger than any memory"),
        (forge.tensor(forge.storage("0", 12), (0, 1 << 62), (1, 1)), "larger than any memory"),
        (forge.tensor(forge.storage("0", 12), (1,) * 33, (1,) * 33), "33 axes"),
        (forge.tensor(forge.storage("0", 12), (1,) * 65, (1,) * 65), "65 axes"),
        (forge.tensor(forge.storage("0", 12), (2, 2), (1,)), "one stride an axis"),
        (forge.tensor(forge.storage("0", 12), (2,), (-1,), offset=1), "natural numbers"),
        (forge.tensor(forge.storage("0", 12), (-2,), (1,)), "natural numbers"),
        (forge.tensor(forge.storage("0", 12), (2,), (1,), offset=-1), "natural numbers"),
        (forge.tensor(forge.storage("1", 12), (2,), (1,)), "storage is missing"),
        (forge.tensor(forge.storage("../data.pkl", 12), (2,), (1,)), "storage is missing"),
        (forge.tensor(forge.storage("0", 13), (2,), (1,)), "claims 13 elements"),
        (forge.tensor(forge.storage("0", 12, "DoubleStorage"), (2,), (1,)), "claims 12 elements"),
        (forge.tensor(forge.storage("0", 1 << 60), (2,), (1,)), "claims"),
        (forge.tensor(forge.storage("0", -12), (2,), (1,)), "claims"),
    ],
)
def test_tensors_outside_their_storage(tmp_path: Path, body: bytes, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        PyTorchCheckpoint(forge.write(tmp_path / "a", state_dict(body)))


def test_any_stride_will_do_for_an_axis_of_one(tmp_path: Path) -> None:
    body = forge.tensor(forge.storage("0", 12), (1, 3), (1 << 62, 2), offset=4)
    assert PyTorchCheckpoint(forge.write(tmp_path / "a", state_dict(body)))["w"].tolist() == [[4, 6, 8]]


DOUBLED = b"q\0h\0\x86"  # a tuple of twice the one before
MODULE = b"}(" + forge.text("_parameters") + b"}" + forge.text("_modules")


def module(*states: bytes) -> bytes:
    return forge.name("torch.nn", "Module") + b")\x81" + b"".join(state + b"b" for state in states)


@pytest.mark.parametrize(
    ("program", "names"),
    [
        (b"}r\xff\xff\xff\x7f", []),  # a memo index that an array would have to reach
        (b"]" * 20_000 + b"a" * 19_999, []),
        (b")" + b"\x85" * 50_000, []),
        (b")" + DOUBLED * 20_000, []),  # 2**20000 leaves
        (WHOLE + DOUBLED * 60, ["0/" * 59 + "0", "0/" * 59 + "1"]),
        (b"}(K\x01)" + DOUBLED * 60 + b"u", []),
        (b"}()" + DOUBLED * 60 + b"K\x01u", []),  # as a key
        (b"}(" + forge.name("m", "f") + b")R" + WHOLE + b"u", ["#0"]),
        (b"}q\0" + forge.text("w") + b"h\0s", []),  # a mapping that holds itself
        (b"](" + WHOLE + b"q\0" + b"h\0" * 100 + b"e", [str(index) for index in range(101)]),
        (b"}(" + b"".join(forge.number((1 << 61) * k) + b"N" for k in range(1, 20_000)) + b"u", []),
        (module(b"}q\0" + forge.text("a") + b"]s", b"h\0"), []),
    ],
)
def test_bombs_take_no_memory(tmp_path: Path, program: bytes, names: list[str]) -> None:
    path = forge.write(tmp_path / "a", forge.program(program))
    tracemalloc.start()
    try:
        assert list(PyTorchCheckpoint(path)) == names
        assert tracemalloc.get_traced_memory()[1] < 50 << 20
    finally:
        tracemalloc.stop()


def many_modules(levels: int) -> bytes:
    """Modules that each hold the one before twice."""
    body = module(forge.mapping({"_parameters": forge.mapping({"w": WHOLE}), "_modules": b"}"})) + b"q\0"
    for _ in range(levels):
        twice = b"}(" + forge.text("a") + b"h\0" + forge.text("b") + b"h\0u"
        body += b"0" + module(forge.mapping({"_parameters": b"}", "_modules": twice})) + b"q\0"
    return forge.program(body)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (many_modules(40), "more than 1000 tensors"),
        (forge.program(b"](" + WHOLE + b"q\0" + b"h\0" * 1000 + b"e"), "more than 1000 tensors"),
        (forge.program(WHOLE + b"\x85" * 101), "101 levels|100 levels"),
        (
            forge.program(
                b"}(" + forge.text("k" * 1_000_000) + b"q\1](" + WHOLE + b"q\0" + b"h\0" * 40 + b"eu",
            ),
            "names are too long",
        ),
        (
            # A mapping of nothing, the state of one object after the other.
            forge.program(
                b"}q\0(" + b"".join(forge.number(k) + b"]" for k in range(6000)) + b"u0"
                b"(" + module(forge.mapping({"_parameters": b"h\0", "_modules": b"}"})) * 20 + b"t"
            ),
            "too often",
        ),
    ],
)
def test_too_much_is_refused(tmp_path: Path, program: bytes, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "MAX_TENSORS", 1000)
    monkeypatch.setattr(walk, "MAX_STEPS", 100_000)
    path = forge.write(tmp_path / "a", program)
    with pytest.raises(CheckpointError, match=message):
        PyTorchCheckpoint(path)


def test_limits_of_the_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_OPCODES >= 1_000_000
    monkeypatch.setattr(opcodes, "MAX_OPCODES", 1000)
    with pytest.raises(PickleError, match="1000 opcodes"):
        interpret(memoryview(b"N" * 1001 + b"."))


# Where tensors are.


def one() -> TensorView:
    return TensorView(Storage("0", StorageType(None), 1), np.dtype("u1"), 0, (), ())


def record(function: str, *arguments: Any, **state: Any) -> Record:
    return Record(Name("m", function), arguments, [state] if state else [])


def layer(parameters: Any = None, modules: Any = None, **others: Any) -> Record:
    return record("Layer", _parameters=parameters or {}, _buffers={}, _modules=modules or {}, **others)


SHARED = {"w": one()}
BLOCK = layer({"w": one()})


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ({"conv1.weight": one(), "epoch": 3, 7: None}, ["conv1.weight"]),
        ({"state_dict": {"a.w": one()}, "epoch": 1}, ["state_dict/a.w"]),
        ({"optimizer": {"state": {0: {"m": one()}}}}, ["optimizer/state/0/m"]),
        ([{"w": one()}, (one(),)], ["0/w", "1/0"]),
        (one(), ["tensor"]),
        ({"model": SHARED, "again": SHARED}, ["model/w"]),
        ({"trainer": record("Trainer", model=SHARED), "model": SHARED}, ["model/w"]),
        ({"trainer": record("Trainer", w=one()), "model": SHARED}, ["model/w", "trainer/w"]),
        (record("Counter", {"w": one()}), ["w"]),
        ({"x": record("Pair", one(), one())}, ["x/(0)", "x/(1)"]),
        (Record(Name("m", "Slots"), (), [(None, {"w": one()})]), ["w"]),
        (Record(Name("m", "Config"), (), [], {"w": one()}, [one()]), ["w", "0"]),
        (layer({"w": one()}, {"0": layer({"w": one()})}), ["w", "0.w"]),
        ({"model": layer({"w": one()}, {"0": layer({"w": one()})})}, ["model.w", "model.0.w"]),
        (layer({"weight_g": one(), "weight_v": one()}, None, weight=one()), ["weight_g", "weight_v"]),
        (layer({}, {"net": BLOCK, "again": BLOCK}), ["net.w", "again.w"]),  # as `state_dict` has it
        (layer({}, {"a": layer({"w": one()}, None, mask=[one()])}, scale={"x": one()}), ["a.w", "scale/x", "a.mask/0"]),
        (
            Record(Name("__torch__.nets", "Net"), (), [{"a": Record(Name("__torch__", "L"), (), [{"w": one()}])}]),
            ["a.w"],
        ),
    ],
)
def test_paths_of_tensors(value: object, names: list[str]) -> None:
    assert list(walk.tensors_in(value)) == names


def test_two_tensors_of_one_path() -> None:
    other = TensorView(Storage("1", StorageType(None), 1), np.dtype("u1"), 0, (), ())
    with pytest.raises(PickleError, match="two tensors are called a/b"):
        walk.tensors_in({"a": {"b": one()}, "a/b": other})
    assert list(walk.tensors_in({"a": {"b": one()}, "a/b": one()})) == ["a/b"]


def test_a_module_that_holds_itself() -> None:
    endless = layer({"w": one()})
    endless.states[0]["_modules"]["again"] = endless
    with pytest.raises(PickleError, match="levels deep"):
        walk.tensors_in(endless)


# Damaged archives.


def test_damaged_values(tmp_path: Path) -> None:
    raw = (DATA / "state_dict.pth").read_bytes()
    (tmp_path / "a").write_bytes(raw)
    weight = PyTorchCheckpoint(tmp_path / "a")["0.weight"].tobytes()
    at = raw.index(weight) + 5
    (tmp_path / "a").write_bytes(raw[:at] + bytes([raw[at] ^ 4]) + raw[at + 1 :])
    checkpoint = PyTorchCheckpoint(tmp_path / "a")
    for _ in range(2):
        with pytest.raises(CheckpointError, match="CRC-32"):
            checkpoint["0.weight"]
    assert checkpoint["1.weight"].shape == (4,)


def test_boolean_of_another_byte(tmp_path: Path) -> None:
    body = forge.tensor(forge.storage("0", 48, "BoolStorage"), (24,), (2,))
    checkpoint = PyTorchCheckpoint(forge.write(tmp_path / "a", state_dict(body)))
    with pytest.raises(CheckpointError, match="neither 0 nor 1"):
        checkpoint["w"]


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ({"byteorder": b"big", "data/0": bytes(48)}, "little-endian"),
        ({"constants.pkl": b"", "data/0": bytes(48)}, "truncated"),
    ],
)
def test_archives_that_are_refused(tmp_path: Path, records: dict[str, bytes], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        PyTorchCheckpoint(forge.write(tmp_path / "a", state_dict(WHOLE), records))


@pytest.mark.parametrize("names", [[], ["data.pkl"], ["a/data.pkl", "b/data.pkl"], ["a/b/data.pkl"], ["a/version"]])
def test_archives_without_one_pickle(tmp_path: Path, names: list[str]) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        for name in names:
            archive.writestr(name, state_dict(WHOLE))
    with pytest.raises(CheckpointError, match="exactly one"):
        PyTorchCheckpoint(tmp_path / "a")


def test_a_pickle_that_is_compressed_may_not_be_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "_MAX_INFLATED", 100)
    with zipfile.ZipFile(tmp_path / "a", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", forge.program(b"]" * 100))
    with pytest.raises(CheckpointError, match="103 bytes in a compressed pickle"):
        PyTorchCheckpoint(tmp_path / "a")


def test_truncated_pickle_anywhere() -> None:
    with zipfile.ZipFile(DATA / "training.pth") as archive:
        whole = archive.read("training/data.pkl")
    assert isinstance(interpret(memoryview(whole)).value, dict)
    for size in range(0, len(whole), 11):
        with pytest.raises(PickleError):
            interpret(memoryview(whole)[:size])


def test_floats_of_the_forge(tmp_path: Path) -> None:
    """The forged files above are right where nothing is wrong with them."""
    path = forge.write(tmp_path / "a", state_dict(WHOLE))
    assert PyTorchCheckpoint(path)["w"].tolist() == np.arange(12.0).reshape(3, 4).tolist()
