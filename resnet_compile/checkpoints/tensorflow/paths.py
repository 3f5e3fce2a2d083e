"""The files of a TensorFlow checkpoint by a path to it, and the format of a table file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from resnet_compile.checkpoints.checked_file import CheckedFile, fault, is_file, is_folder
from resnet_compile.checkpoints.tensorflow.table import MAGIC, Table
from resnet_compile.errors import CheckpointError

STATE_FILE = "checkpoint"
_MAX_STATE_SIZE = 1 << 20

SHARD = re.compile(r"(?P<prefix>.+)-\d{5}-of-(?P<count>\d{5})", re.DOTALL)
BUNDLE = re.compile(r"(?P<prefix>.+)\.(?:index|data-\d{5}-of-\d{5})", re.DOTALL)
_NEWEST = re.compile(rb'^[ \t]*model_checkpoint_path[ \t]*:[ \t]*"((?:[^"\\\n]|\\.)*)"', re.MULTILINE)
_ESCAPE = re.compile(rb"\\(?:([0-7]{1,3})|(.))")


def table_kind(path: Path) -> Literal["v1", "v2", "damaged"] | None:
    """The kind of a file by its content: a V1 checkpoint, the index of a V2 bundle, another table, or no table (None).

    Both formats have the magic number of tables and a first record with an empty key. Its value is a message; the first
    field is a message in V1 (tag ``0a``), and the number of shards in V2 (tag ``08``).
    """
    try:
        file = CheckedFile(path)
        if file.view[-len(MAGIC) :] != MAGIC:
            return None
    except CheckpointError:
        return None
    try:
        table = Table(file)
        first = table.block(0).get(b"") if len(table) else None
    except CheckpointError:
        return "damaged"
    tag = bytes(first[:1]) if first is not None else b""
    if tag == b"\x0a":
        return "v1"
    return "v2" if tag == b"\x08" else "damaged"


def newest(path: Path) -> Path:
    """The newest checkpoint of a training folder, by its state file; `path` itself if it is not a folder.

    The state file, ``checkpoint``, is a ``CheckpointState`` in protobuf's text form. The checkpoint has to be inside
    the folder; of an absolute path, which is where training once ran, the last component counts.

    Raises:
        CheckpointError: The folder has no state file, or the file names nothing inside the folder.
    """
    if not is_folder(path):
        return path
    state = CheckedFile(path / STATE_FILE)
    if state.size > _MAX_STATE_SIZE:
        raise state.error(f"a checkpoint state file of {state.size} bytes")
    found = _NEWEST.search(state.view)
    if found is None:
        raise state.error("the file has no model_checkpoint_path")
    try:
        named = Path(_ESCAPE.sub(_unescape, found[1]).decode())
    except UnicodeDecodeError as error:
        raise state.error("model_checkpoint_path is not UTF-8") from error
    inside = Path(named.name) if named.is_absolute() else named
    if not inside.name or ".." in inside.parts or "\0" in str(inside):
        raise state.error(f"model_checkpoint_path {str(named)!r} is outside the folder")
    return path / inside


def _unescape(match: re.Match[bytes]) -> bytes:
    if match[1]:
        return bytes([int(match[1], 8) & 0xFF])
    return {b"n": b"\n", b"r": b"\r", b"t": b"\t"}.get(match[2], match[2])


def v1_files(path: Path) -> tuple[Path, ...]:
    """The files of a V1 checkpoint, given as a file, a prefix or a pattern of shards, or a training folder.

    One shard stands for all, since TensorFlow's ``Saver`` takes only whole checkpoints: ``x-00001-of-00003``,
    ``x-?????-of-00003`` and ``x`` are the same checkpoint.

    Raises:
        CheckpointError: There are no such files, a shard is missing, or several checkpoints match.
    """
    path = newest(path)
    shard = SHARD.fullmatch(path.name)
    if is_file(path) and not shard:
        return (path,)
    if shard:
        prefix, counts = shard["prefix"], {int(shard["count"])}
    else:
        pattern = re.fullmatch(r"(.*)-(?:\?{5}|\*)-of-(?:\?{5}|\*|(\d{5}))", path.name, re.DOTALL)
        prefix = pattern[1] if pattern else path.name
        wanted = pattern[2] if pattern else None
        counts = {count for count in _shard_counts(path.parent, prefix) if wanted in (None, f"{count:05d}")}
    if not counts:
        raise fault(path, "no such file, and no shards of that name")
    if len(counts) > 1:
        raise fault(path, f"shards of checkpoints in {sorted(counts)} files share the name")
    count = counts.pop()
    files = tuple(path.with_name(f"{prefix}-{number:05d}-of-{count:05d}") for number in range(count))
    for file in files:
        if not is_file(file):
            raise fault(file, f"one of the checkpoint's {count} shards is missing")
    if not files:
        raise fault(path, "no checkpoint has 0 shards")
    return files


def _shard_counts(folder: Path, prefix: str) -> set[int]:
    """The numbers of shards in the names of files such as ``PREFIX-00000-of-00003``."""
    try:
        names = [file.name for file in folder.iterdir()]
    except OSError as error:
        raise fault(folder, f"the folder cannot be read: {error.strerror}") from error
    shards = (SHARD.fullmatch(name) for name in names)
    return {int(shard["count"]) for shard in shards if shard and shard["prefix"] == prefix}


def v2_prefix(path: Path) -> Path:
    """The prefix of a V2 bundle, given as the prefix, its index, a data file, or a training folder."""
    path = newest(path)
    if not is_file(path):
        return path
    file = BUNDLE.fullmatch(path.name)
    if file is None:
        raise fault(path, "neither the index nor a data file of a bundle, by its name")
    return path.with_name(file["prefix"])


def v2_index(prefix: Path) -> Path:
    return prefix.with_name(prefix.name + ".index")


def v2_data(prefix: Path, shard: int, shards: int) -> Path:
    return prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{shards:05d}")
