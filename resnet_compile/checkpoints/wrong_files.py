"""Files that are not checkpoints, recognised by their first bytes: what each is, and what to give instead."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

from resnet_compile.checkpoints.checked_file import AGAIN, HEAD_BYTES, is_file, printable, read_head

_MAX_JSON = 1 << 20
_LFS = b"version https://git-lfs.github.com/spec/"
_PAGE = re.compile(rb"\s*(?:<!doctype|<html|<head|<\?xml|<error)", re.IGNORECASE)
_TITLE = re.compile(rb"<(title|message)>\s*([^<]{1,200})", re.IGNORECASE)
_DATA = re.compile(r".+\.data-\d{5}-of-\d{5}", re.DOTALL)
# Compressors by the first bytes of their files, with the command that decompresses a file beside it.
_PACKERS = {
    b"\x1f\x8b": ("gzip", "gunzip -k"),
    b"BZh": ("bzip2", "bunzip2 -k"),
    b"\xfd7zXZ": ("xz", "unxz -k"),
    b"\x28\xb5\x2f\xfd": ("Zstandard", "unzstd"),
}


# Formats with their directory at the end of the file: such a beginning alone is a truncated file.
_BEGINNINGS = (
    ("a zip archive", re.compile(rb"PK\x03\x04")),
    # A table's first block begins with the record of the empty key, whose value is a message.
    ("a TensorFlow checkpoint", re.compile(rb"\x00\x00[\x80-\xff]{0,4}[\x00-\x7f][\x08\x0a]")),
)


class _Kind(NamedTuple):
    what: Callable[[Path, bytes], str | None]  # what a file of this kind is, by its path and first bytes, else None
    hint: Callable[[Path], str]


def described(path: Path) -> tuple[str, str] | None:
    """What a file is, and what to give instead of it; None for an unknown file."""
    head = read_head(path)
    return next(((what, kind.hint(path)) for kind in _KINDS if (what := kind.what(path, head))), None)


def _pointer(path: Path, head: bytes) -> str | None:
    size = re.search(rb"\nsize (\d{1,20})", head)
    of = f" to {size[1].decode()} bytes" if size else ""
    return f"a Git LFS pointer{of}, not the file itself" if head.startswith(_LFS) else None


def _web_page(path: Path, head: bytes) -> str | None:
    if not _PAGE.match(head):
        return None
    title = _TITLE.search(head)
    said = f" ({printable(' '.join(title[2].decode(errors='replace').split()))})" if title else ""
    return f"a web page{said}, not the file that it leads to"


def _packer(head: bytes) -> tuple[str, str]:
    return next((packer for magic, packer in _PACKERS.items() if head.startswith(magic)), ("", ""))


def _tar(path: Path, head: bytes) -> str | None:
    name, _ = _packer(head)
    if name == "gzip":
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, HEAD_BYTES)
        except zlib.error:
            return None
    is_tar = head[257:262] == b"ustar" or (name and re.search(r"\.(tar\.\w+|t[bgx]z2?)$", path.name))
    return f"a tar archive{f', compressed by {name}' if name else ''}" if is_tar else None


def _packed(path: Path, head: bytes) -> str | None:
    name, _ = _packer(head)
    return f"a file compressed by {name}" if name else None


def _unpack(path: Path) -> str:
    _, command = _packer(read_head(path))
    return f"unpack it, and give what comes out: {command} {quote(str(path))}"


def _into_folder(path: Path, command: str) -> str:
    """The hint for an archive: a command that unpacks it into a new folder."""
    folder = path.with_name(re.sub(r"(\.tar)?\.\w+$", "", path.name))
    while folder.exists():
        folder = folder.with_name(f"{folder.name}_unpacked")
    typed = command.format(folder=quote(str(folder)), file=quote(str(path)))
    return f"unpack it, and give the folder that this makes: {typed}"


def _zip(path: Path, head: bytes) -> str | None:
    """A whole zip archive ends with a record of 22 bytes and a comment."""
    if not head.startswith(b"PK\3\4"):
        return None
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 22 - (1 << 16)))
        return "a zip archive of other files" if b"PK\5\6" in file.read() else None


def _beginning(path: Path, head: bytes) -> str | None:
    what = next((what for what, begins in _BEGINNINGS if begins.match(head)), None)
    return f"the first {path.stat().st_size} bytes of {what}: the file is truncated" if what else None


def _prefix_of(path: Path) -> str:
    prefix = path.with_suffix("")
    if is_file(prefix) or is_file(Path(f"{prefix}.index")):
        return f"give {prefix}"
    return f"copy {prefix.name}.index and its data there, and give {prefix}"


def _json(path: Path, head: bytes) -> dict[str, Any]:
    """A small JSON object; empty for any other file."""
    try:
        if head.lstrip().startswith(b"{") and path.stat().st_size <= _MAX_JSON:
            value = json.loads(path.read_bytes())
            return value if isinstance(value, dict) else {}
    except (OSError, ValueError, RecursionError):
        pass
    return {}


def hub_config(path: Path) -> dict[str, Any] | None:
    """The object in a hub's JSON file; None if there is no such file, or it is empty."""
    return _json(path, read_head(path)) or None


def _spec(path: Path, head: bytes) -> str | None:
    return "a network's spec, not its weights" if {"blocks", "head"} <= _json(path, head).keys() else None


def _config(path: Path, head: bytes) -> str | None:
    found = _json(path, head).keys() & {"model_type", "architecture", "architectures", "class_name"}
    return "a model's configuration, without its weights" if found else None


def _keras_index(path: Path, head: bytes) -> str | None:
    shards = _json(path, head).get("weight_map")
    found = isinstance(shards, dict) and any(str(name).startswith("/") for name in shards)
    return "the index of Keras weights in several files, which are not read" if found else None


def _text(path: Path, head: bytes) -> str | None:
    try:
        text = head.decode()
    except UnicodeDecodeError:
        return None
    shown = " ".join(text.split())
    return f"a text, {printable(shown)!r}, not a checkpoint" if 0 < len(head) <= 300 and shown.isprintable() else None


_KINDS = (
    _Kind(lambda path, head: None if head or path.stat().st_size else "an empty file", lambda path: AGAIN),
    _Kind(lambda path, head: None if head else "a file that cannot be read", lambda path: f"ls -l {quote(str(path))}"),
    _Kind(_pointer, lambda path: f"git -C {quote(str(path.parent))} lfs pull"),
    _Kind(_web_page, lambda path: "download the file itself"),
    _Kind(
        lambda path, _: "the graph of a TensorFlow checkpoint, without its weights" if path.suffix == ".meta" else None,
        _prefix_of,
    ),
    _Kind(
        lambda path, _: "the data of a TensorFlow checkpoint without its index" if _DATA.fullmatch(path.name) else None,
        lambda path: f"copy {path.name.rpartition('.data-')[0]}.index there",
    ),
    _Kind(_tar, lambda path: _into_folder(path, "mkdir {folder} && tar -xf {file} -C {folder}")),
    _Kind(_packed, _unpack),
    _Kind(_zip, lambda path: _into_folder(path, "python -m zipfile -e {file} {folder}")),
    _Kind(_beginning, lambda path: AGAIN),
    _Kind(
        lambda path, head: "one NumPy array without a name" if head.startswith(b"\x93NUMPY") else None,
        lambda path: "save the arrays by their names: numpy.savez(path, **arrays)",
    ),
    _Kind(_spec, lambda path: "give it as SPEC, and its weights as --weights"),
    _Kind(
        _keras_index,
        lambda path: "save them in one: model.load_weights(path), then model.save_weights('NAME.weights.h5')",
    ),
    _Kind(_config, lambda path: "give the weights that belong to it, or the folder that holds both"),
    _Kind(_text, lambda path: AGAIN),
)
"""Every kind, the surest first."""
