"""The catalogue: specs that travel with the package, by name."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_compile.errors import SpecError
from resnet_compile.files import as_path
from resnet_compile.spec.loading import read_spec
from resnet_compile.spec.network import NetworkSpec

if TYPE_CHECKING:
    from resnet_compile.spec.published import PublishedWeights

ALIASES = {
    "mlperf_resnet50": "tf_official_resnet50_v1",
    "resnet_v2_50": "resnet50",
    "resnet_v2_101": "resnet101",
    "resnet_v2_152": "resnet152",
    "resnet_v2_200": "resnet200",
    **{f"transformers_resnet{layers}": f"torchvision_resnet{layers}" for layers in (18, 34, 50, 101, 152)},
    **{f"timm_resnet{layers}": f"torchvision_resnet{layers}" for layers in (18, 34, 50, 101, 152)},
    "timm_resnet26": "transformers_resnet26",
}
"""Other systems' names for networks of the catalogue with the same plan."""

_OFFERED = 3
_ALIKE = 0.75


def catalogue_folder() -> Path:
    """The catalogue's folder: inside the installed package, or `specs/` in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "catalogue"
    return installed if installed.is_dir() else package.parent / "specs"


def catalogue() -> tuple[str, ...]:
    """The names of the catalogue's specs, sorted."""
    return tuple(sorted(path.stem for path in catalogue_folder().glob("*.json") if not path.match("*.schema.json")))


def load_spec(source: str | os.PathLike[str]) -> NetworkSpec:
    """The network in a spec file, or of a name of the catalogue.

    Args:
        source: A path (``specs/resnet152.json``), a name of the catalogue (``resnet152``), or one of `ALIASES`.

    Raises:
        SpecError: There is no such file or name, or the file holds no spec.
    """
    path = as_path(source)
    names = catalogue()
    if path.name != os.fspath(source) or path.suffix or path.exists():
        return read_spec(path)
    name = ALIASES.get(path.name, path.name)
    if name in names:
        spec = read_spec(catalogue_folder() / f"{name}.json").coming_from(path.name)
        weights = published_weights(path.name) if path.name in ALIASES else ()
        return weights[0].prepare(spec) if weights else spec
    near = _near(path.name, names)
    hint = f"did you mean {' or '.join(near)}?" if near else "resnet-inspect --catalogue lists the names"
    raise SpecError("neither a file nor a spec of the catalogue", where=str(path), hint=hint)


def published_weights(name: str) -> tuple[PublishedWeights, ...]:
    """The published weights of a network of the catalogue, the default first; empty if there are none.

    Args:
        name: A name of the catalogue, or an alias. An alias has its own system's weights, else those of the network.
    """
    # Deferred: compiling needs none.
    from resnet_compile.spec.published import read_weights

    networks = read_weights(catalogue_folder() / "weights.csv")
    return networks.get(name) or networks.get(ALIASES.get(name, name), ())


SpecSource = NetworkSpec | str | os.PathLike[str]
"""A spec, a name of the catalogue, or a path to a spec."""


def as_spec(source: SpecSource) -> NetworkSpec:
    """The spec itself, or the one of a name or a path.

    Raises:
        SpecError: The source is none of these; or as for `load_spec`.
    """
    return load_spec(source) if isinstance(source, str | os.PathLike) else NetworkSpec.model_validate(source)


def _near(word: str, names: Sequence[str]) -> list[str]:
    """The names closest to a word: those that end with it, else those that contain it, else those with a similar end.

    Case and punctuation do not count: `torchvision_resnet18` ends with `ResNet-18`. torchvision's come first, then the
    shorter ones.
    """
    wanted = _letters(word)
    ended = [name for name in names if wanted in _tails(name)]
    if wanted and (within := ended or [name for name in names if wanted in _letters(name)]):
        return sorted(within, key=_likelihood)[:_OFFERED]
    alike = {name: max(difflib.SequenceMatcher(None, wanted, tail).ratio() for tail in _tails(name)) for name in names}
    near = [name for name in names if alike[name] >= _ALIKE]
    return sorted(near, key=lambda name: (-alike[name], *_likelihood(name)))[:_OFFERED]


def _likelihood(name: str) -> tuple[bool, int]:
    """The sorting key: torchvision's networks first, then the shorter names."""
    return not name.startswith("torchvision_"), len(name)


def _tails(name: str) -> Iterator[str]:
    """The whole name, and the rest after each underscore, as letters."""
    parts = name.split("_")
    return (_letters("".join(parts[start:])) for start in range(len(parts)))


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
