"""Pickles that would run code, or take more than there is: nothing is imported or called, and work is bounded."""

import builtins
import importlib
import os
import pickle
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from support import torch_files as forge
from support.memory import memory_below

from resnet_compile.checkpoints.torch import opcodes, walk
from resnet_compile.checkpoints.torch.file import PyTorchCheckpoint
from resnet_compile.checkpoints.torch.opcodes import MAX_OPCODES, interpret
from resnet_compile.checkpoints.torch.values import PickleError
from resnet_compile.errors import CheckpointError


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
        "behind a tensor": forge.program(forge.mapping({"w": forge.WHOLE, "x": system})),
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
    body = forge.mapping({"w": forge.WHOLE, "x": forge.call(forge.name("hostile_module", "f"))})
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
        (forge.WHOLE + DOUBLED * 60, ["0/" * 59 + "0", "0/" * 59 + "1"]),
        (b"}(K\x01)" + DOUBLED * 60 + b"u", []),
        (b"}()" + DOUBLED * 60 + b"K\x01u", []),  # as a key
        (b"}(" + forge.name("m", "f") + b")R" + forge.WHOLE + b"u", ["#0"]),
        (b"}q\0" + forge.text("w") + b"h\0s", []),  # a mapping that holds itself
        (b"](" + forge.WHOLE + b"q\0" + b"h\0" * 100 + b"e", [str(index) for index in range(101)]),
        (b"}(" + b"".join(forge.number((1 << 61) * k) + b"N" for k in range(1, 20_000)) + b"u", []),
        (module(b"}q\0" + forge.text("a") + b"]s", b"h\0"), []),
    ],
)
def test_bombs_take_no_memory(tmp_path: Path, program: bytes, names: list[str]) -> None:
    path = forge.write(tmp_path / "a", forge.program(program))
    with memory_below(50 << 20):
        assert list(PyTorchCheckpoint(path)) == names


def many_modules(levels: int) -> bytes:
    """Modules that each hold the one before twice."""
    body = module(forge.mapping({"_parameters": forge.mapping({"w": forge.WHOLE}), "_modules": b"}"})) + b"q\0"
    for _ in range(levels):
        twice = b"}(" + forge.text("a") + b"h\0" + forge.text("b") + b"h\0u"
        body += b"0" + module(forge.mapping({"_parameters": b"}", "_modules": twice})) + b"q\0"
    return forge.program(body)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (many_modules(40), "more than 1000 tensors"),
        (forge.program(b"](" + forge.WHOLE + b"q\0" + b"h\0" * 1000 + b"e"), "more than 1000 tensors"),
        (forge.program(forge.WHOLE + b"\x85" * 101), "101 levels|100 levels"),
        (
            forge.program(
                b"}(" + forge.text("k" * 1_000_000) + b"q\1](" + forge.WHOLE + b"q\0" + b"h\0" * 40 + b"eu",
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
