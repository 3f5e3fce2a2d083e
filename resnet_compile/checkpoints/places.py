"""Paths that no format recognises: the checkpoints that they stand for, or the errors about them.

`meant` finds the checkpoint that a folder, a state file or a prefix stands for. `explained` makes the error about any
other path: what it is, and what to give instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from shlex import quote

from resnet_compile.checkpoints.checked_file import fault, is_file, is_folder
from resnet_compile.checkpoints.tensorflow.paths import BUNDLE, SHARD, STATE_FILE, newest
from resnet_compile.checkpoints.wrong_files import described
from resnet_compile.errors import CheckpointError

HUB_FILES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "tf_model.h5")
"""The names of the weights in a hub's folder; the first that exists counts."""

_SAVED_MODEL = "saved_model.pb"
_MAX_ENTRIES = 10_000
_SHOWN = 4
_STEP = re.compile(r"-(\d+)$")
_NO_WEIGHTS = re.compile(r".*\.(graph|meta|pbtxt)", re.DOTALL)  # of TensorFlow, beside checkpoints

IsKnown = Callable[[Path], bool]  # whether a path is a checkpoint of some format


def meant(path: Path, is_known: IsKnown, depth: int = 2) -> Path | None:
    """The checkpoint that a folder, state file or prefix stands for; None for no or several checkpoints.

    At most `depth` nested folders are entered that hold only a folder.
    """
    if path.name == _SAVED_MODEL and is_file(path):
        return path.parent / "variables" / "variables"
    if path.name == STATE_FILE and is_file(path):
        return _newest(path.parent)
    if not is_folder(path):
        steps = _steps(path)
        return steps[0] if len(steps) == 1 and not is_file(path) else None
    if is_file(path / _SAVED_MODEL):
        return path / "variables" / "variables"
    if place := _newest(path):
        return place
    if _is_unpacked(path):
        return None
    if hub := next((path / name for name in HUB_FILES if is_file(path / name)), None):
        return hub
    found = _inside(path, is_known)
    if not found and depth:
        folders = [entry for entry in _entries(path) if is_folder(entry)]
        return meant(folders[0], is_known, depth - 1) if len(folders) == 1 else None
    return found[0] if len(found) == 1 else None


def explained(path: Path, is_known: IsKnown, formats: str) -> CheckpointError:
    """The error about a path that is not a checkpoint: what it is, and what to give instead (`formats`, in words)."""
    what: str
    hint: str | None
    if is_folder(path):
        while len(inside := _entries(path)) == 1 and is_folder(inside[0]):
            path = inside[0]
        what, hint = _folder(path, is_known)
    elif path.name == _SAVED_MODEL and is_file(path):
        what, hint = _folder(path.parent, is_known)
    elif is_file(path):
        what, hint = _state_file(path) or described(path) or ("not a checkpoint of a known format", formats)
    else:
        what, hint = _nothing(path, is_known)
    return fault(path, what, hint=hint)


def _is_unpacked(path: Path) -> bool:
    return is_file(path / "data.pkl") and is_folder(path / "data")


def _folder(path: Path, is_known: IsKnown) -> tuple[str, str]:
    if is_file(path / _SAVED_MODEL):
        return (
            "a SavedModel without its variables",
            f"copy the whole folder again: {path / 'variables'}/variables.index and its data belong to it",
        )
    if _is_unpacked(path):
        archive = path.resolve()
        name = quote(archive.name)
        command = f"cd {quote(str(archive.parent))} && zip -0rD {name}.pth {name}/data.pkl {name}"
        return "a PyTorch file that was unpacked", f"pack it again, and give the file that this makes: {command}"
    found = _inside(path, is_known)
    if is_file(path / STATE_FILE) and (state := _state_file(path / STATE_FILE)):
        return state[0], _one_of(found) if found else state[1]
    for name in HUB_FILES:
        if is_file(path / name) and (inside := described(path / name)):
            return f"a folder in which {name} is {inside[0]}", inside[1]
    if found:
        return f"a folder with {len(found)} checkpoints in it", _one_of(found)
    data = next((file for file in _entries(path) if ".data-" in file.name and described(file)), None)
    if data and (inside := described(data)):
        return f"a folder in which {data.name} is {inside[0]}", inside[1]
    return "a folder without a checkpoint in it", "give the checkpoint's file or prefix"


def _state_file(path: Path) -> tuple[str, str] | None:
    """The fault of a folder's state file, and what to give instead; None for any other file."""
    if path.name != STATE_FILE:
        return None
    place = _newest(path.parent)
    if place is None:
        return "a checkpoint state file that names nothing in its folder", "give the checkpoint's prefix"
    there = _steps(place.with_name(_STEP.sub("", place.name)))
    hint = _one_of(there) if there else f"copy {place.name}.index and its data there"
    return f"the checkpoint state file names {place.name}, which is not there", hint


def _nothing(path: Path, is_known: IsKnown) -> tuple[str, str | None]:
    if steps := _steps(path):
        return f"no such checkpoint; there are {len(steps)} of later steps", _one_of(steps)
    names = [file.name for file in _entries(path.parent)]
    if any(name.startswith(f"{path.name}.data-") for name in names):
        return "the data of a TensorFlow checkpoint without its index", f"copy {path.name}.index there"
    if f"{path.name}.meta" in names:
        return "the graph of a TensorFlow checkpoint without its weights", f"copy {path.name}.index and its data there"
    near = [path.with_name(name) for name in names if name.startswith(f"{path.name}.") and path.name]
    found = [place for place in near if is_known(place)]
    return "no such checkpoint", _one_of(found) if found else None


def _one_of(found: list[Path]) -> str:
    if len(found) == 1:
        return f"there is {found[0]}"
    names = ", ".join(file.name for file in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"give one of {names}{more}, such as {found[0]}"


def _newest(folder: Path) -> Path | None:
    """The checkpoint that a folder's state file names, existing or not; None without such a file."""
    try:
        return newest(folder)
    except CheckpointError:
        return None


def _steps(prefix: Path) -> list[Path]:
    """The TensorFlow checkpoints ``PREFIX-STEP``, newest first."""
    found = {}
    for file in _entries(prefix.parent):
        name = file.name.removesuffix(".index")
        rest = name.removeprefix(prefix.name)
        if prefix.name and name != file.name and rest != name and (step := _STEP.fullmatch(rest)):
            found[int(step[1])] = file.with_name(name)
    return [found[step] for step in sorted(found, reverse=True)]


def _inside(folder: Path, is_known: IsKnown) -> list[Path]:
    """The checkpoints in a folder, later steps first."""
    found: dict[Path, None] = {}
    for file in _entries(folder):
        name = BUNDLE.fullmatch(file.name) or SHARD.fullmatch(file.name)
        place = file.with_name(name["prefix"]) if name and is_known(file.with_name(name["prefix"])) else file
        if not _NO_WEIGHTS.fullmatch(file.name) and place not in found and is_known(place):
            found[place] = None
    return sorted(found, key=lambda place: (-int(step[1]) if (step := _STEP.search(place.name)) else 0, place.name))


def _entries(folder: Path) -> list[Path]:
    """The entries of a folder, sorted by name; none if it cannot be read."""
    try:
        return sorted(folder.iterdir())[:_MAX_ENTRIES]
    except (OSError, ValueError):  # ValueError: a null byte in the path
        return []
