"""Blind damage to files: what a bad disk, a cut connection or someone with a hex editor does."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

Files = dict[str, bytes]  # by name
Damage = Callable[[random.Random, Files], None]
Edit = Callable[[random.Random, bytearray], None]

EXTREMES = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0xFFFFFFFF,
    1 << 40,
    (1 << 63) - 1,
    1 << 63,
    (1 << 64) - 1,
)


def patched(path: Path, signature: bytes, offset: int, value: bytes, *, last: bool = False) -> Path:
    """The file with `value` written `offset` bytes into the first or last structure with this signature."""
    raw = bytearray(path.read_bytes())
    at = (raw.rindex if last else raw.index)(signature) + offset
    raw[at : at + len(value)] = value
    path.write_bytes(raw)
    return path


def flip(rng: random.Random, data: bytearray) -> None:
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def overwrite(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data))
    size = rng.choice((1, 1, 2, 4, 8))
    piece = (rng.choice(EXTREMES) & (1 << 8 * size) - 1).to_bytes(size, rng.choice(("little", "big")))
    data[at : at + size] = piece[: len(data) - at]


def copy_within(rng: random.Random, data: bytearray) -> None:
    start, to = rng.randrange(len(data)), rng.randrange(len(data))
    piece = data[start : start + rng.choice((1, 4, 16, 64))][: len(data) - to]
    data[to : to + len(piece)] = piece


def insert(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data) + 1)
    size = rng.choice((1, 1, 2, 8, 100))
    data[at:at] = rng.choice((bytes(size), b"\xff" * size, b"\x80" * size, rng.randbytes(size)))


def delete(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data))
    del data[at : at + rng.choice((1, 1, 2, 8, 100))]


def truncate(rng: random.Random, data: bytearray) -> None:
    del data[rng.randrange(len(data)) :]


KEEPING_SIZE: Sequence[Edit] = (flip, overwrite, copy_within)
EDITS: Sequence[Edit] = (*KEEPING_SIZE, insert, delete, truncate)


def edited(rng: random.Random, data: bytes, edits: Sequence[Edit]) -> bytes:
    out = bytearray(data)
    if out:
        rng.choice(edits)(rng, out)
    else:
        insert(rng, out)
    return bytes(out)


def edit_file(rng: random.Random, files: Files) -> None:
    name = rng.choice(sorted(files))
    files[name] = edited(rng, files[name], EDITS)


def splice_files(rng: random.Random, files: Files) -> None:
    """The beginning of one file and the end of one, perhaps the same."""
    first, second = rng.choice(sorted(files)), rng.choice(sorted(files))
    cut = rng.randrange(len(files[first]) + 1)
    files[first] = files[first][:cut] + files[second][rng.randrange(len(files[second]) + 1) :]


def remove_file(rng: random.Random, files: Files) -> None:
    if len(files) > 1:
        del files[rng.choice(sorted(files))]


BLIND: Sequence[Damage] = (*[edit_file] * 8, splice_files, remove_file)
