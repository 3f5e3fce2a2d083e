"""Models that onnxruntime prepared for this machine, cached in a folder beside the model, `MODEL.prepared`.

To open a model, onnxruntime rewrites its graph and lays out every weight for the processor's kernels. It can save both.
The saved weights are memory-mapped at the next opening: the system then loads only what is used, once for all
processes.

An entry belongs to one model, one build of onnxruntime and one kind of processor. It is used if all three match its
record. It is written under a temporary name and then renamed. So a killed process leaves nothing that is read, and of
two entries written at once the younger stays.

A file counts as unchanged if its size, times and inode are those recorded with its contents. If they differ, or were
too recent when recorded, its SHA-256 decides. A changed file is never opened.

An entry is trusted like the model beside it, since anybody who may write there may write both. An entry is ignored if
its owner is neither the model's owner nor this user.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from resnet_compile.files import writing
from resnet_compile.metadata import read_model
from resnet_compile.runtime.backend import Backend
from resnet_compile.runtime.machine import processor_features

MODEL, _RECORD = "model.onnx", "record.json"
_FORM = 1
"""The version of the record's format. Records of another version are ignored."""
_MOST = 4
"""The most entries of one model, each for one onnxruntime and kind of processor. The oldest are removed."""
_STALE = 3600.0
"""Seconds after which an unfinished entry counts as left behind by a killed process."""
_FRESH = 2_000_000_000
"""Nanoseconds within which a file may change without a new time stamp: the coarsest file systems' resolution."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The digest of a file's contents, and the file's status when they were read; times are in nanoseconds."""

    sha256: str
    size: int
    inode: int
    modified: int
    changed: int
    seen: int

    @classmethod
    def of(cls, path: Path) -> Seen:
        """Reads the file."""
        now, status = time.time_ns(), path.stat()
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(digest, status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, now)

    def again(self, path: Path) -> Seen | None:
        """The file's present record if its contents are still the same, else None."""
        status = path.stat()
        looks = status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns
        looked = self.size, self.inode, self.modified, self.changed
        if looks == looked and self.seen - max(self.modified, self.changed) > _FRESH:
            return self
        found = Seen.of(path) if status.st_size == self.size else None
        return found if found and found.sha256 == self.sha256 else None


@dataclass(frozen=True, slots=True)
class Shelf:
    """The cached entries of one model.

    Attributes:
        model: The model's file.
        machine: Everything besides the model that an entry depends on, as JSON values.
    """

    model: Path
    machine: dict[str, Any]

    @classmethod
    def beside(cls, model: Path, optimization: str, backend: Backend) -> Shelf:
        """The shelf of a model at one of onnxruntime's levels of graph optimisation."""
        onnxruntime = backend.onnxruntime
        machine = {
            "form": _FORM,
            "onnxruntime": onnxruntime.__version__,
            "build": onnxruntime.get_build_info() if hasattr(onnxruntime, "get_build_info") else "",
            "processor": processor_features(),
            "optimization": optimization,
        }
        return cls(model, machine)

    @property
    def folder(self) -> Path:
        return self.model.with_name(f"{self.model.name}.prepared")

    def find(self) -> Path | None:
        """The prepared model for this machine and the model's present contents; None if there is none."""
        for entry in reversed(self._entries()):
            # Skip an entry that is damaged or has a newer format.
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
                if self._fits(entry):
                    return entry / MODEL
        return None

    def make(self, write: Callable[[Path], None]) -> Path:
        """Prepares the model and returns its path. `write` has onnxruntime write it to a given path.

        Raises:
            OutputError: The folder cannot be written.
        """
        with writing(self.folder, "cannot keep the prepared model"):
            self.folder.mkdir(exist_ok=True)
            name = f"{self._key}-{time.time_ns():020d}-{secrets.token_hex(4)}"
            part = self.folder / f".{name}.part"
            try:
                part.mkdir()
                sources = {each.name: Seen.of(each) for each in self._sources()}
                write(part / MODEL)
                files = {each.name: Seen.of(each) for each in sorted(part.iterdir())}
                self._record(part, sources, files)
                part.replace(self.folder / name)
            finally:
                shutil.rmtree(part, ignore_errors=True)
            self._clear(name)
            return self.folder / name / MODEL

    @property
    def _key(self) -> str:
        return hashlib.sha256(json.dumps(self.machine, sort_keys=True).encode()).hexdigest()[:16]

    def _entries(self) -> list[Path]:
        """The entries for this machine, youngest last."""
        return sorted(self.folder.glob(f"{self._key}-*"))

    def _sources(self) -> Iterator[Path]:
        """The model's own files."""
        yield self.model
        yield from (self.model.with_name(name) for name in read_model(self.model).external)

    def _fits(self, entry: Path) -> bool:
        """Whether an entry matches its record and the model's present contents."""
        if hasattr(os, "getuid") and entry.stat().st_uid not in (os.getuid(), self.model.stat().st_uid):
            return False
        told = json.loads((entry / _RECORD).read_bytes())
        if told["machine"] != self.machine:
            return False
        known = {part: {name: Seen(**each) for name, each in told[part].items()} for part in ("model", "files")}
        # A record that another process is about to put in place is hidden.
        files = {path.name for path in entry.iterdir() if not path.name.startswith(".")} - {_RECORD}
        if known["files"].keys() != files or self.model.name not in known["model"]:
            return False
        folders = {"model": self.model.parent, "files": entry}
        now = {
            part: {name: seen.again(folders[part] / name) for name, seen in each.items()}
            for part, each in known.items()
        }
        if any(seen is None for part in now.values() for seen in part.values()):
            return False
        if now != known:
            with contextlib.suppress(OSError):  # without a new record, the next opening reads the contents again
                self._record(entry, now["model"], now["files"])
        return True

    def _record(self, entry: Path, sources: dict[str, Any], files: dict[str, Any]) -> None:
        told = {
            name: {key: asdict(seen) for key, seen in part.items()}
            for name, part in (("model", sources), ("files", files))
        }
        part = entry / f".{secrets.token_hex(4)}"
        try:
            part.write_text(json.dumps({"machine": self.machine, **told}))
            part.replace(entry / _RECORD)
        finally:
            part.unlink(missing_ok=True)

    def _clear(self, name: str) -> None:
        """Removes this machine's older entries, all but the `_MOST` youngest entries, and unfinished ones."""
        others = sorted(self.folder.glob("*-*"), key=lambda path: path.name.partition("-")[2])
        mine = [entry for entry in self._entries() if entry.name < name]
        killed = [part for part in self.folder.glob(".*.part") if time.time() - part.stat().st_mtime > _STALE]
        for each in (*mine, *others[:-_MOST], *killed):
            shutil.rmtree(each, ignore_errors=True)
