"""The catalogue: specs that travel with the package, by name."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from resnet_compile.errors import SpecError
from resnet_compile.files import as_path
from resnet_compile.spec.loading import read_spec
from resnet_compile.spec.network import NetworkSpec


def catalogue_folder() -> Path:
    """Where the catalogue lies: inside the installed package, or `specs/` beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "catalogue"
    return installed if installed.is_dir() else package.parent / "specs"


def catalogue() -> tuple[str, ...]:
    """The names of the catalogue's specs, sorted."""
    return tuple(sorted(path.stem for path in catalogue_folder().glob("*.json") if not path.match("*.schema.json")))


def load_spec(source: str | os.PathLike[str]) -> NetworkSpec:
    """The network that a file or a catalogue name stands for.

    Args:
        source: A path (``specs/resnet152.json``), or a name of the catalogue (``resnet152``).

    Raises:
        SpecError: There is no such file or name, or it holds no spec.
    """
    path = as_path(source)
    names = catalogue()
    if path.name != os.fspath(source) or path.suffix or path.exists():
        return read_spec(path)
    if path.name in names:
        return read_spec(catalogue_folder() / f"{path.name}.json").coming_from(path.name)
    near = difflib.get_close_matches(path.name, names, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "resnet-inspect --catalogue lists the names"
    raise SpecError("neither a file nor a spec of the catalogue", where=str(path), hint=hint)
