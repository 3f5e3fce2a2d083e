"""Models as onnxruntime has made them ready for this machine, kept in a folder beside the model, `MODEL.prepared`.

To open a model, onnxruntime rewrites its graph and lays every weight out for the kernels of the processor. It can write
both, with the weights in a file that is mapped when it is opened again: the system then loads what is used, once for
all processes.

An entry is of one model, one onnxruntime and one kind of processor, and is used where all three are what its record
says. It is written under another name and renamed, so that a process that is killed leaves nothing that is looked at,
and of two that write at once the younger entry stays. A file counts as unchanged where its size, times and inode are
those with which its contents were seen; where they are not, or were too fresh then to tell, its SHA-256 decides. What
has changed is never opened. An entry is trusted as the model beside it is: who may write there may write both, and one
that belongs to somebody else than the model and this user is not looked at.
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
"""Of the record: one of another form is not read."""
_MOST = 4
"""Entries of one model, one for each onnxruntime and kind of processor; the oldest go."""
_STALE = 3600.0
"""Seconds after which what was half written is somebody's who was killed."""
_FRESH = 2_000_000_000
"""Nanoseconds within which a file may change again without another time: what the coarsest file systems tell."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A file's contents, and what it looked like when it had them; times are in nanoseconds."""

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
        """The file, if it has the same contents still."""
        status = path.stat()
        looks = status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns
        looked = self.size, self.inode, self.modified, self.changed
        if looks == looked and self.seen - max(self.modified, self.changed) > _FRESH:
            return self
        found = Seen.of(path) if status.st_size == self.size else None
        return found if found and found.sha256 == self.sha256 else None


@dataclass(frozen=True, slots=True)
class Shelf:
    """What is kept of one model.

    Attributes:
        model: The model's file.
        machine: What an entry depends on beside the model, as JSON values.
    """

    model: Path
    machine: dict[str, Any]

    @classmethod
    def beside(cls, model: Path, optimization: str, backend: Backend) -> Shelf:
        """The shelf for a model, as onnxruntime rewrites it at a level of optimisation."""
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
        """The prepared model for this machine, if there is one of the model as it is now."""
        for entry in reversed(self._entries()):
            # Any other entry, of a form to come or damaged, is none.
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
                if self._fits(entry):
                    return entry / MODEL
        return None

    def make(self, write: Callable[[Path], None]) -> Path:
        """Prepares the model: `write` makes onnxruntime write it to a path.

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
        """The entries for this machine, the youngest last."""
        return sorted(self.folder.glob(f"{self._key}-*"))

    def _sources(self) -> Iterator[Path]:
        """The model's own files."""
        yield self.model
        yield from (self.model.with_name(name) for name in read_model(self.model).external)

    def _fits(self, entry: Path) -> bool:
        """Whether an entry is what its record says, and of the model as it is now."""
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
            with contextlib.suppress(OSError):  # what cannot be written is looked at again the next time
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
        """Removes older entries for this machine, all but the youngest for others, and what was half written."""
        others = sorted(self.folder.glob("*-*"), key=lambda path: path.name.partition("-")[2])
        mine = [entry for entry in self._entries() if entry.name < name]
        killed = [part for part in self.folder.glob(".*.part") if time.time() - part.stat().st_mtime > _STALE]
        for each in (*mine, *others[:-_MOST], *killed):
            shutil.rmtree(each, ignore_errors=True)
