import builtins
import hashlib
import importlib
import json
import os
import pickle
import tracemalloc
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import torch_files as forge

from resnet_compile.checkpoints.torch import opcodes
from resnet_compile.checkpoints.torch.file import PyTorchCheckpoint, find_state_dict, is_pytorch
from resnet_compile.checkpoints.torch.names import PickleError, Storage, TensorView
from resnet_compile.checkpoints.torch.opcodes import MAX_OPCODES, MAX_PICKLE, interpret
from resnet_compile.errors import CheckpointError

DATA = Path(__file__).parents[1] / "data" / "readers"
TRUTHS: dict[str, dict[str, Any]] = {
    name: tensors for name, tensors in json.loads((DATA / "torch.json").read_text()).items() if name.endswith(".pth")
}
WHOLE = forge.tensor(forge.storage("0", 12), (3, 4), (4, 1))


def state_dict(body: bytes) -> bytes:
    return forge.program(forge.mapping({"w": body}))


@pytest.mark.parametrize("file", TRUTHS)
def test_equals_what_pytorch_reads(file: str) -> None:
    assert is_pytorch(DATA / file)
    with PyTorchCheckpoint(DATA / file) as checkpoint:
        assert list(checkpoint) == list(TRUTHS[file])
        for name, truth in TRUTHS[file].items():
            array, info = checkpoint[name], checkpoint.info(name)
            assert (info.dtype, list(info.shape)) == (truth["dtype"], truth["shape"])
            assert (array.dtype.name, array.shape) == (info.dtype, info.shape)
            assert hashlib.sha256(array.tobytes()).hexdigest() == truth["sha256"]


def test_every_dtype_is_in_the_fixtures() -> None:
    assert len({tensor["dtype"] for tensor in TRUTHS["dtypes.pth"].values()}) == 20


def test_where_the_state_dict_was_found() -> None:
    assert PyTorchCheckpoint(DATA / "training.pth").section == ("state_dict",)
    assert PyTorchCheckpoint(DATA / "state_dict.pth").section == ()


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


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("legacy.pth", "before 1.6"),
        ("module.pth", r"torch\.nn\.modules\.container\.Sequential"),
        ("script.pt", "TorchScript"),
        ("conjugated.pth", "conjugated"),
    ],
)
def test_files_of_pytorch_that_are_refused(file: str, message: str) -> None:
    assert is_pytorch(DATA / file)
    with pytest.raises(CheckpointError, match=message) as caught:
        PyTorchCheckpoint(DATA / file)
    assert len(str(caught.value).splitlines()) == 1
    if file != "conjugated.pth":
        assert "save" in str(caught.value.hint)


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


@pytest.mark.parametrize("attack", hostile_pickles(Path("x")))
def test_hostile_pickle_executes_nothing(tmp_path: Path, attack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "executed"
    path = forge.write(tmp_path / "a.pth", hostile_pickles(target)[attack])

    def forbidden(*arguments: object, **options: object) -> None:
        raise AssertionError(f"called with {arguments}")

    monkeypatch.setattr(os, "system", forbidden)
    monkeypatch.setattr(builtins, "eval", forbidden)
    with pytest.raises(CheckpointError) as caught:
        PyTorchCheckpoint(path)
    assert "data.pkl" in str(caught.value)
    assert not target.exists()


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
        (b"\x80\x09}.", "holds no mapping"),
        (b"\x80\x02(0.", "opcode 0x30"),
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
        (b"\x80\x02})K\x01s.", "neither a string nor a number"),
        (b"\x80\x02}K\x01K\x01sK\x01K\x02s.", "twice"),
        (b"\x80\x02K\x01K\x02\x93.", "other than two strings"),
        (forge.program(forge.mapping({}) + b"(" + (forge.text("w") + WHOLE) * 2 + b"u"), "key w twice"),
        (forge.program(forge.number(3)), "no mapping"),
        (forge.program(forge.mapping({"epoch": forge.number(3)})), "holds no mapping"),
        (forge.program(forge.call(forge.name("torch", "Size"), forge.number(1))), "torch.Size"),
        (forge.program(forge.call(forge.name("collections", "OrderedDict"), b"]")), "OrderedDict"),
        (forge.program(forge.call(forge.name("torch._utils", "_rebuild_parameter"), b"NNN")), "wraps no tensor"),
        (state_dict(forge.call(forge.REBUILD, b"N")), "arguments"),
        (state_dict(forge.call(forge.REBUILD, b"N" * 6)), "without a storage"),
        (state_dict(forge.tensor(forge.storage("0", 12, "UntypedStorage"), (1,), (1,))), "UntypedStorage"),
        (state_dict(forge.storage("0", 12, "QInt8Storage")), "QInt8Storage"),
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


@pytest.mark.parametrize(
    "program",
    [
        b"\x80\x02}r\xff\xff\xff\x7f.",  # a memo index that an array would have to reach
        b"\x80\x02" + b"]" * 20_000 + b".",
        b"\x80\x02" + b")\x85" * 20_000 + b".",
        b"\x80\x02)" + b"q\0h\0\x86" * 20_000 + b".",  # a tuple of twice the one before: 2**20000 leaves
        b"\x80\x02}(" + b"K\x01)q\0" + b"h\0h\0\x86q\0" * 60 + b"u.",
        b"\x80\x02}q\0X\1\0\0\0wh\0s.",  # a mapping that holds itself
        b"\x80\x02}q\0X\5\0\0\0modelh\0s.",
    ],
)
def test_bombs_take_no_memory(tmp_path: Path, program: bytes) -> None:
    path = forge.write(tmp_path / "a", program)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError):
            PyTorchCheckpoint(path)
        assert tracemalloc.get_traced_memory()[1] < 50 << 20
    finally:
        tracemalloc.stop()


def test_limits_of_the_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_OPCODES >= 1_000_000
    monkeypatch.setattr(opcodes, "MAX_OPCODES", 1000)
    with pytest.raises(PickleError, match="1000 opcodes"):
        interpret(b"N" * 1001 + b".")
    with pytest.raises(PickleError, match="are allowed"):
        interpret(bytes(MAX_PICKLE + 1))


def tensors(*names: str) -> dict[str, Any]:
    return {name: TensorView(Storage("0", None, 1), np.dtype("u1"), 0, (), ()) for name in names}


@pytest.mark.parametrize(
    ("value", "section"),
    [
        (tensors("w"), ()),
        ({**tensors("w"), "epoch": 3, 7: None, "_extra_state": {"a": 1}}, ()),
        ({"state_dict": tensors("w"), "epoch": 1}, ("state_dict",)),
        ({"model": tensors("w"), "model_ema": tensors("v"), "optimizer": {"state": {0: tensors("m")}}}, ("model",)),
        ({"ema": tensors("v"), "state_dict": tensors("w")}, ("state_dict",)),
        ({"ema": tensors("w"), "epoch": 1}, ("ema",)),
        ({"state_dict": {"epoch": 1}, "model": tensors("w")}, ("model",)),
        ({"model": {"state_dict": tensors("w")}}, ("model", "state_dict")),
        ({"state_dict": tensors("w"), **tensors("mean")}, ("state_dict",)),
        ({"resnet": tensors("w"), "epoch": 1}, ("resnet",)),
        ({"model": tensors("w"), "resnet": tensors("v")}, ("model",)),
    ],
)
def test_which_mapping_is_the_state_dict(value: object, section: tuple[str, ...]) -> None:
    found, chosen = find_state_dict(value)
    assert found == section
    assert list(chosen) == ["w"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([tensors("w")], "no mapping"),
        ({}, "holds no mapping"),
        ({"optimizer": {"state": {0: tensors("m")}}}, "holds no mapping"),
        ({3: tensors("w")}, "holds no mapping"),
        ({"generator": tensors("w"), "critic": tensors("w")}, "several mappings .* generator, critic"),
    ],
)
def test_no_mapping_is_the_state_dict(value: object, message: str) -> None:
    with pytest.raises(PickleError, match=message):
        find_state_dict(value)


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
        ({"constants.pkl": b"", "data/0": bytes(48)}, "TorchScript"),
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


def test_truncated_pickle_anywhere() -> None:
    with zipfile.ZipFile(DATA / "training.pth") as archive:
        whole = archive.read("training/data.pkl")
    assert isinstance(interpret(whole), dict)
    for size in range(0, len(whole), 11):
        with pytest.raises(PickleError):
            interpret(whole[:size])


def test_floats_of_the_forge(tmp_path: Path) -> None:
    """The forged files above are right where nothing is wrong with them."""
    path = forge.write(tmp_path / "a", state_dict(WHOLE))
    assert PyTorchCheckpoint(path)["w"].tolist() == np.arange(12.0).reshape(3, 4).tolist()
