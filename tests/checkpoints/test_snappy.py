"""Snappy blocks: the elements one by one, and what claims more than it holds."""

import pytest
from support.tensorflow_files import varint

from resnet_compile.checkpoints.tensorflow import snappy
from resnet_compile.checkpoints.tensorflow.snappy import decompress
from resnet_compile.errors import CheckpointError


def literal(data: bytes) -> bytes:
    length = len(data) - 1
    if length < 60:
        return bytes([length << 2]) + data
    width = (length.bit_length() + 7) // 8
    return bytes([(59 + width) << 2]) + length.to_bytes(width, "little") + data


def copy(width: int, offset: int, length: int) -> bytes:
    if width == 1:
        return bytes([1 | (length - 4) << 2 | offset >> 8 << 5, offset & 0xFF])
    return bytes([{2: 2, 4: 3}[width] | (length - 1) << 2]) + offset.to_bytes(width, "little")


BASE = bytes(range(256)) * 4


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        (b"", b""),
        (literal(b"abc"), b"abc"),
        (literal(BASE[:60]), BASE[:60]),
        (literal(BASE[:61]), BASE[:61]),
        (literal(BASE), BASE),
        (literal(bytes(70_000)), bytes(70_000)),
        (literal(b"abcdefgh") + copy(1, 8, 5), b"abcdefghabcde"),
        (literal(BASE) + copy(1, 1000, 11), BASE + BASE[24:35]),
        (literal(BASE) + copy(2, 1024, 64), BASE + BASE[:64]),
        (literal(BASE) + copy(4, 3, 1), BASE + BASE[-3:-2]),
        (literal(b"ab") + copy(2, 2, 7), b"ababababa"),
        (literal(b"a") + copy(2, 1, 64), b"a" * 65),
    ],
)
def test_block_is_decompressed(elements: bytes, expected: bytes) -> None:
    data = varint(len(expected)) + elements
    assert decompress(data, CheckpointError) == expected
    assert decompress(memoryview(data), CheckpointError) == expected


GOOD = varint(13) + literal(b"abcdefgh") + copy(2, 8, 5)


@pytest.mark.parametrize("size", range(len(GOOD)))
def test_cut_off_block_is_refused(size: int) -> None:
    with pytest.raises(CheckpointError):
        decompress(GOOD[:size], CheckpointError)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (varint(4) + literal(b"abc"), "hold 3 bytes and claim 4"),
        (varint(2) + literal(b"abc"), "hold more than the 2 bytes"),
        (varint(20) + literal(b"abcdefgh") + copy(2, 8, 64), "hold more than the 20 bytes"),
        (varint(9) + literal(b"a") + copy(2, 0, 8), "before the beginning"),
        (varint(9) + literal(b"a") + copy(2, 2, 8), "before the beginning"),
        (varint(9) + copy(2, 1, 9), "before the beginning"),
        (varint(9) + literal(b"a") + copy(4, 1, 8)[:-1], "cut off"),
        (varint(9) + bytes([63 << 2]) + b"\xff\xff\xff\xff" + b"abc", "past the end"),
        (varint(3) + literal(b"abc")[:-1], "past the end"),
        (b"\xff" * 12, "never ends"),
        (b"", "cut off"),
    ],
)
def test_malformed_block_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason):
        decompress(data, CheckpointError)


@pytest.mark.parametrize("size", [(64 << 20) + 1, 1 << 32, 1 << 45, (1 << 64) - 1])
def test_claim_beyond_any_index_is_refused_at_once(size: int) -> None:
    with pytest.raises(CheckpointError, match="claim to hold"):
        decompress(varint(size) + literal(b"a"), CheckpointError)


def test_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The densest there is: 64 bytes in 3."""
    monkeypatch.setattr(snappy, "MAX_SIZE", 10_000)
    bomb = literal(b"a") + copy(2, 1, 64) * 1000
    with pytest.raises(CheckpointError, match="claim to hold 64001"):
        decompress(varint(64_001) + bomb, CheckpointError)
    with pytest.raises(CheckpointError, match="hold more than the 10000 bytes"):
        decompress(varint(10_000) + bomb, CheckpointError)
    monkeypatch.setattr(snappy, "MAX_SIZE", 64_001)
    assert decompress(varint(64_001) + bomb, CheckpointError) == b"a" * 64_001
