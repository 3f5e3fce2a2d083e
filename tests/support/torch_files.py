"""PyTorch files assembled by hand, so that they can say what `torch.save` never would."""

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def sequence(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def numbers(*values: int) -> bytes:
    return sequence(*map(number, values))


def mapping(entries: Mapping[str, bytes]) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in entries.items()) + b"u"


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + sequence(*arguments) + b"R"


def storage(key: str, count: int, kind: str = "FloatStorage") -> bytes:
    return sequence(text("storage"), name("torch", kind), text(key), text("cpu"), number(count)) + b"Q"


HOOKS = name("collections", "OrderedDict") + b")R"
REBUILD = name("torch._utils", "_rebuild_tensor_v2")


def tensor(source: bytes, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0) -> bytes:
    return call(REBUILD, source, number(offset), numbers(*shape), numbers(*strides), b"\x89", HOOKS)


def program(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


def write(path: Path, pickle: bytes, records: Mapping[str, bytes] | None = None) -> Path:
    """A file with this pickle and these records; by default storage `0` is the floats 0 to 11."""
    if records is None:
        records = {"data/0": struct.pack("<12f", *range(12))}
    with zipfile.ZipFile(path, "w") as archive:
        for record, data in {"data.pkl": pickle, **records}.items():
            archive.writestr(f"archive/{record}", data)
    return path


WHOLE = tensor(storage("0", 12), (3, 4), (4, 1))
"""All elements of a storage of 12."""


def state_dict(body: bytes) -> bytes:
    """A pickle of a mapping with a tensor `w`."""
    return program(mapping({"w": body}))
