import io
import struct
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import damage
from support.memory import memory_below

from resnet_compile.checkpoints.base import Unread
from resnet_compile.checkpoints.numpy_npz import NpzCheckpoint, is_npz
from resnet_compile.checkpoints.zip_archive import MAX_MEMBERS
from resnet_compile.errors import CheckpointError

ARRAYS: dict[str, np.ndarray[Any, Any]] = {
    **{dtype: np.arange(6).astype(dtype).reshape(2, 3) for dtype in ("f2", "f4", "f8", "i1", "i2", "i4", "i8")},
    **{dtype: np.arange(6).astype(dtype) for dtype in ("u1", "u2", "u4", "u8", "c8", "c16", "?")},
    "big-endian": np.arange(3, dtype=">f4"),
    "fortran": np.asfortranarray(np.arange(24.0).reshape(2, 3, 4)),
    "scalar": np.float32(3),
    "empty": np.zeros((0, 3)),
    "block1/unit_1/weights": np.ones(2),
    "bytes": np.array([b"a", b"bc"]),
    "text": np.array(["naïve", "☃"]),
}

patched = partial(damage.patched, last=True)


def npy(header: str, data: bytes = b"", version: bytes = b"\1\0") -> bytes:
    size = 2 if version == b"\1\0" else 4
    return b"\x93NUMPY" + version + len(header).to_bytes(size, "little") + header.encode() + data


def archive(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def header(descr: str = "'<f4'", shape: str = "(2,)", order: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    np.savez(tmp_path / "a.npz", **ARRAYS)
    return tmp_path / "a.npz"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_equals_what_numpy_reads(tmp_path: Path, save: Any) -> None:
    path = tmp_path / "named.weights"  # the content tells the format
    with path.open("wb") as file:
        save(file, **ARRAYS)
    assert is_npz(path)
    with np.load(path, allow_pickle=False) as expected, NpzCheckpoint(path) as checkpoint:
        assert list(checkpoint) == expected.files
        for name, array in expected.items():
            info = checkpoint.info(name)
            assert info.shape == checkpoint[name].shape == array.shape
            assert info.dtype == ("string" if array.dtype.kind in "SU" else array.dtype.name)
            np.testing.assert_array_equal(checkpoint[name], array)
            assert checkpoint[name].dtype.isnative


def test_stored_arrays_are_views(saved: Path) -> None:
    with NpzCheckpoint(saved) as checkpoint:
        array = checkpoint["f4"]
    assert not array.flags.owndata
    assert not array.flags.writeable
    np.testing.assert_array_equal(array, ARRAYS["f4"])


def test_headers_that_other_writers_make(tmp_path: Path) -> None:
    data = struct.pack("<6f", *range(6))
    members = {
        "python2.npy": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L), }  \n", data),
        "order.npy": npy('{"shape":(2,3),"fortran_order":True,"descr":"<f4"}', data),
        "version2.npy": npy(header("'<f4'", "(6,)"), data, b"\2\0"),
        "version3.npy": npy(header("'<f4'", "(6,)"), data, b"\3\0"),
    }
    checkpoint = NpzCheckpoint(archive(tmp_path / "a.npz", members))
    assert checkpoint["python2"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert checkpoint["order"].tolist() == [[0, 2, 4], [1, 3, 5]]
    assert checkpoint["version2"].tolist() == checkpoint["version3"].tolist() == [0, 1, 2, 3, 4, 5]


def test_archive_without_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz")
    assert is_npz(tmp_path / "a.npz")
    assert len(NpzCheckpoint(tmp_path / "a.npz")) == 0


class Hostile:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def test_pickled_objects_are_listed_and_not_loaded(tmp_path: Path) -> None:
    target = tmp_path / "executed"
    np.savez(tmp_path / "a.npz", weights=np.array([Hostile(target)], dtype=object), bias=np.ones(2))
    with NpzCheckpoint(tmp_path / "a.npz") as checkpoint:
        assert list(checkpoint) == ["bias"]
        assert checkpoint.unread == {"weights": Unread("of Python objects", (1,))}
        with pytest.raises(CheckpointError, match=r"Python objects, which is not supported @ .*weights"):
            checkpoint["weights"]
    assert not target.exists()
    np.load(tmp_path / "a.npz", allow_pickle=True)["weights"]
    assert target.exists()  # so the payload was live


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (b"", "not a .npy array"),
        (b"PK\3\4 nested", "not a .npy array"),
        (npy(header())[:9], "truncated"),
        (npy(header())[:-3], "truncated"),
        (npy(header(), bytes(8), b"\4\0"), "not a .npy array"),
        (npy(header() + " " * 10_100, bytes(8)), "longer than allowed"),
        (npy(header(), bytes(7)), "claims"),
        (npy(header(), bytes(9)), "claims"),
        (npy(header(shape="(1000000000000,)"), bytes(8)), "claims"),
        (npy(header(shape="(9999999999999999999, 9999999999999999999)")), "larger than any memory"),
        (npy(header(shape="(0, 9999999999999999999)")), "larger than any memory"),
        (npy(header(shape="(" + "1," * 33 + ")"), bytes(4)), "33 axes"),
        (npy(header(shape="(2 3)"), bytes(24)), "wrong shape"),
        (npy(header(shape="(2,,3)"), bytes(24)), "wrong shape"),
        (npy(header(shape="(-2,)"), bytes(8)), "does not describe a plain array"),
        (npy(header(shape="2"), bytes(8)), "does not describe a plain array"),
        (npy(header(order="0"), bytes(8)), "does not describe a plain array"),
        (npy(header(descr="True"), bytes(8)), "malformed"),
        (npy(header(descr="[('a', '<f4')]"), bytes(8)), "does not describe a plain array"),
        (npy(header() + "extra", bytes(8)), "does not describe a plain array"),
        (npy("{'descr': '<f4', 'descr': '<f4', 'shape': (2,), }", bytes(8)), "malformed"),
        (npy("(" * 5000, bytes(8)), "does not describe a plain array"),
        (npy(header(shape="(" + "1" * 9000 + "x)"), bytes(8)), "does not describe a plain array"),
    ],
)
def test_damaged_headers(tmp_path: Path, member: bytes, message: str) -> None:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        path = archive(tmp_path / "a.npz", {"w.npy": member}, method)
        with pytest.raises(CheckpointError, match=message) as caught:
            NpzCheckpoint(path)
        assert "w.npy" in str(caught.value)


@pytest.mark.parametrize("dtype", ["<V2", "<f16", "|S0", "<U9999999"])
def test_arrays_of_other_types_are_listed(tmp_path: Path, dtype: str) -> None:
    checkpoint = NpzCheckpoint(archive(tmp_path / "a.npz", {"w.npy": npy(header(f"'{dtype}'"), bytes(8))}))
    assert (list(checkpoint), checkpoint.unread) == ([], {"w": Unread(f"of dtype {dtype}", (2,))})


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (npy(header("'|b1'"), b"\0\2"), "neither 0 nor 1"),
        (npy(header("'<U1'", "(1,)"), b"\0\0\x11\0"), "Unicode"),
    ],
)
def test_damaged_values(tmp_path: Path, member: bytes, message: str) -> None:
    checkpoint = NpzCheckpoint(archive(tmp_path / "a.npz", {"w.npy": member}))
    with pytest.raises(CheckpointError, match=message):
        checkpoint["w"]


@pytest.mark.parametrize("names", [("w.npy", "w.npy"), ("w", "w.npy")])
def test_duplicate_names(tmp_path: Path, names: tuple[str, str]) -> None:
    members = [npy(header(), bytes(8)), npy(header(), bytes(8))]
    path = archive(tmp_path / "a.npz", dict(zip(("0.npy", "1.npy"), members, strict=True)))
    raw = path.read_bytes()
    if names[0] == names[1]:
        path.write_bytes(raw.replace(b"1.npy", b"0.npy"))
    else:
        path = archive(tmp_path / "b.npz", dict(zip(names, members, strict=True)))
    with pytest.raises(CheckpointError, match=r"of one name|have the same name"):
        NpzCheckpoint(path)


@pytest.mark.parametrize(
    ("signature", "offset", "value", "message"),
    [
        (b"PK\1\2", 8, b"\1\0", "encrypted"),
        (b"PK\1\2", 10, b"\x0c\0", "compression method 12"),
        (b"PK\1\2", 16, b"\1\2\3\4", "differ"),
        (b"PK\1\2", 20, b"\0\0\0\0", "sizes differ"),
        (b"PK\1\2", 20, b"\xff\xff\xff\x7f\xff\xff\xff\x7f", "differ"),
        (b"PK\1\2", 20, b"\xff\xff\xff\xff\xff\xff\xff\xff", "without its sizes"),
        (b"PK\1\2", 34, b"\1\0", "several parts"),
        (b"PK\1\2", 42, b"\0\0\0\0", "differ"),
        (b"PK\1\2", 42, b"\xff\xff\xff\x7f", "outside the file"),
        (b"PK\1\2", 0, b"XX", "directory is damaged"),
        (b"PK\1\2", 30, b"\xff\xff", "shorter than its entries"),
        (b"PK\3\4", 26, b"\1\0", "differ"),
        (b"PK\3\4", 28, b"\xff\xff", "outside the file"),
        (b"PK\5\6", 10, b"\1\0", "several parts"),
        (b"PK\5\6", 8, b"\1\0\1\0", "longer than its entries"),
        (b"PK\5\6", 8, b"\3\0\3\0", "shorter than its entries"),
        (b"PK\5\6", 12, b"\0\0\0\0", "not where"),
        (b"PK\5\6", 20, b"\1\0", "truncated"),
    ],
)
def test_damaged_archives(tmp_path: Path, signature: bytes, offset: int, value: bytes, message: str) -> None:
    path = archive(tmp_path / "a.npz", {"v.npy": npy(header(), bytes(8)), "w.npy": npy(header(), bytes(8))})
    with pytest.raises(CheckpointError, match=message):
        NpzCheckpoint(patched(path, signature, offset, value))


def test_archive_behind_other_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with path.open("wb") as file:
        file.write(b"#!/bin/sh\n")
        np.savez(file, w=np.ones(2))
    with pytest.raises(CheckpointError, match="start of the file"):
        NpzCheckpoint(path)


def test_members_that_share_bytes(tmp_path: Path) -> None:
    """The classic of recursive zip bombs: a member whose data is the next member, header and all."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as file:
        file.writestr("w.npy", npy(header(), bytes(8)))
    size = inner.getvalue().index(b"PK\1\2")  # the member with its header
    path = archive(tmp_path / "a.npz", {"v.npy": inner.getvalue()[:size], "w.npy": npy(header(), bytes(8))})
    start = path.read_bytes().index(b"PK\3\4", 4)
    with pytest.raises(CheckpointError, match="overlap"):
        NpzCheckpoint(patched(path, b"PK\1\2", 42, struct.pack("<I", start)))


def zip64(path: Path) -> Path:
    """The archive with its end record in the form for more than 65,535 members or 4 GiB."""
    raw = path.read_bytes()
    end = raw.rindex(b"PK\5\6")
    count, size, start = struct.unpack_from("<H2I", raw, end + 10)
    record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, end, 1)
    old = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    path.write_bytes(raw[:end] + record + locator + old)
    return path


def test_zip64_archive(saved: Path) -> None:
    expected = list(NpzCheckpoint(saved))
    assert list(NpzCheckpoint(zip64(saved))) == expected
    with zipfile.ZipFile(saved) as file:
        assert len(file.infolist()) == len(expected)  # so the record is right


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (0, b"XX", "zip64 end record"),
        (4, b"\0", "zip64 end record"),
        (24, b"\0", "several parts"),
        (48, b"\0\0\0\0\1", "not where"),
        (24, struct.pack("<4Q", 1 << 40, 1 << 40, 0, 1 << 40), "not where"),
    ],
)
def test_damaged_zip64_archive(saved: Path, offset: int, value: bytes, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        NpzCheckpoint(patched(zip64(saved), b"PK\6\6", offset, value))


def test_too_many_members(tmp_path: Path) -> None:
    """A directory of 100,001 entries would be read whole before any of them is missed."""
    path = tmp_path / "a.npz"
    size = 46 * (MAX_MEMBERS + 1)
    record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, MAX_MEMBERS + 1, MAX_MEMBERS + 1, size, 0)
    end = struct.pack("<4sIQI4s4H2IH", b"PK\6\7", 0, size, 1, b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0, 0, 0)
    path.write_bytes(bytes(size) + record + end)
    with pytest.raises(CheckpointError, match="more than the 100000"):
        NpzCheckpoint(path)


@pytest.mark.parametrize(("claimed", "message"), [(None, "zip bomb"), (0xFFFFFFFE, "cannot hold")])
def test_zip_bombs(tmp_path: Path, claimed: int | None, message: str) -> None:
    """100 MiB of zeros that are really there, and 4 GiB that cannot be in so few bytes."""
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file, file.open("w.npy", "w") as member:
        member.write(npy(header("'|u1'", f"({100 << 20},)")))
        for _ in range(100):
            member.write(bytes(1 << 20))
    if claimed:
        patched(path, b"PK\1\2", 24, struct.pack("<I", claimed))
        patched(path, b"PK\3\4", 22, struct.pack("<I", claimed))
    with memory_below(4 << 20), pytest.raises(CheckpointError, match=message):
        NpzCheckpoint(path)


def test_compressed_data_that_is_longer_or_shorter_than_claimed(tmp_path: Path) -> None:
    for held in (1000, 3000):
        path = archive(
            tmp_path / "a.npz", {"w.npy": npy(header("'|u1'", "(2000,)"), bytes(held))}, zipfile.ZIP_DEFLATED
        )
        size = struct.pack("<I", len(npy(header("'|u1'", "(2000,)"))) + 2000)
        checkpoint = NpzCheckpoint(patched(patched(path, b"PK\1\2", 24, size), b"PK\3\4", 22, size))
        with pytest.raises(CheckpointError, match="does not hold"):
            checkpoint["w"]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_flipped_bit_is_found_or_harmless(tmp_path: Path, save: Any) -> None:
    path = tmp_path / "a.npz"
    expected = {"w": np.arange(40, dtype=np.float32), "b": np.arange(3)}
    save(path, **expected)
    raw = bytearray(path.read_bytes())
    refused = 0
    positions = range(0, len(raw), 3)
    for position in positions:
        raw[position] ^= 1 << position // 3 % 8
        path.write_bytes(raw)
        raw[position] ^= 1 << position // 3 % 8
        try:
            found = dict(NpzCheckpoint(path))
        except CheckpointError:
            refused += 1
            continue
        assert found.keys() == expected.keys()
        for name, array in found.items():
            np.testing.assert_array_equal(array, expected[name])
    assert refused > len(positions) * 0.5
