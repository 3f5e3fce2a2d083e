"""The HDF5 layout of weights in Keras 3 (and 2.12 to 2.15): groups by class and number.

A layer's group holds its variables in `vars`, numbered in the layer's order. Beside `vars` are its parts, by attribute,
and lists of layers by class: `layers/conv2d`, `layers/conv2d_1`. From Keras 3.6 `vars` has the layer's name as an
attribute. Before that the archive's `config.json` names the layers in order, and a file of weights alone has no names.
A tensor's name here consists of the layers' names without `layers`: `resnet50v2/conv1_conv/kernel`. A part keeps the
name of its attribute. Source: Keras's `saving_lib.py` and the layers' `save_own_variables`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from resnet_compile.checkpoints.base import Unread
from resnet_compile.checkpoints.hdf5.attributes import text_attribute
from resnet_compile.checkpoints.hdf5.dataset import Hdf5Dataset, locate
from resnet_compile.checkpoints.hdf5.file import Hdf5File
from resnet_compile.checkpoints.hdf5.keras_order import application_names

Config = Mapping[str, Any]
Shape = tuple[int, ...]

_SCALING = {"Rescaling": ("scale", "offset"), "Normalization": ("mean", "variance")}  # settings, not in tensor names
_LISTS = ("layers", "_layer_checkpoint_dependencies")  # the second in Keras 2.12
_VARS = "vars"
_MAX_DEPTH = 64  # of nested models
_NUMBER = re.compile(r"_\d+$")
_NORM = ("gamma", "beta", "moving_mean", "moving_variance")
_KERNELS = frozenset({"conv1d", "conv2d", "conv3d", "conv2d_transpose", "depthwise_conv2d", "dense"})
_NORMS = frozenset({"batch_normalization", "sync_batch_normalization"})
_GUESSED = "the file has no layer names; guessed from the order of the layers, they are those of keras.applications"
_UNNAMED = (
    "the file has no layer names, like all weights of Keras before 3.6: save the whole model, model.save('NAME.keras')"
)


def scaling(config: Config | None) -> str | None:
    """A note on a model that scales its images itself; None if no layer does."""
    found = [
        f"{layer['class_name']}({', '.join(f'{key}={inner[key]}' for key in keys if inner.get(key) is not None)})"
        for layer in _all_layers(config)
        if isinstance(inner := layer.get("config"), dict) and (keys := _SCALING.get(str(layer.get("class_name"))))
    ]
    return f"the file's model scales its images itself, by {', '.join(found)}" if found else None


def settings(layer: Config | None) -> Config:
    """The settings of a layer or model in `config.json`; empty without any."""
    found = (layer or {}).get("config")
    return found if isinstance(found, dict) else {}


def layers_of(model: Config | None) -> Iterator[Config]:
    """The layers of a model in `config.json`, in order."""
    layers = settings(model).get("layers")
    return (layer for layer in (layers if isinstance(layers, list) else ()) if isinstance(layer, dict))


def _all_layers(model: Config | None, depth: int = 0) -> Iterator[Config]:
    for layer in layers_of(model) if depth < _MAX_DEPTH else ():
        yield layer
        yield from _all_layers(layer, depth + 1)


def is_model(members: Mapping[str, int | None]) -> bool:
    """Whether a group is that of a model or layer of Keras 3."""
    return any(key in members for key in (_VARS, *_LISTS))


class Weights:
    """The variables of a Keras 3 model by name."""

    def __init__(self, hdf5: Hdf5File) -> None:
        self._hdf5 = hdf5
        self._seen: set[int] = set()
        self._guessed = self._unnamed = False

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on the names, once all variables are read."""
        return (_GUESSED,) if self._guessed else (_UNNAMED,) if self._unnamed else ()

    def layer(
        self, address: int, config: Config | None, path: str = "", kind: str = "", depth: int = 0
    ) -> Iterator[tuple[str, Hdf5Dataset | Unread]]:
        """The variables of the layer or model in a group, and of all its parts; `config` is its `config.json`."""
        members = self._enter(address, path, depth)
        if _VARS in members:
            yield from self._variables(self._hdf5.member(address, _VARS), path, kind, config)
        for key in members:
            if key == _VARS:
                continue
            child = self._hdf5.member(address, key)
            if key in _LISTS:
                yield from self._list(child, path, config, depth + 1, listed=True)
            elif is_model(self._hdf5.group(child)):
                yield from self.layer(child, None, f"{path}{key}/", depth=depth + 1)
            else:
                yield from self._list(child, f"{path}{key}/", None, depth + 1)

    def _list(
        self, address: int, path: str, config: Config | None, depth: int, *, listed: bool = False
    ) -> Iterator[tuple[str, Hdf5Dataset | Unread]]:
        """The variables of a list of objects; `listed` for a list of a model's layers."""
        members = self._enter(address, path, depth)
        described = dict(_numbered(config))
        layers = {key: self._hdf5.member(address, key) for key in members}
        names = {key: self._name(layer, described.get(key)) for key, layer in layers.items()}
        given: Mapping[str, str] = {}
        if listed and not any(names.values()) and (shapes := dict(self._shapes(layers))):
            given = application_names(shapes)
            self._guessed, self._unnamed = self._guessed or bool(given), True
        taken = Counter(names.values())
        for key, layer in layers.items():
            name = names[key] if taken[names[key]] == 1 else None
            inner = f"{path}{name or given.get(key, key)}/"
            yield from self.layer(layer, described.get(key), inner, _NUMBER.sub("", key), depth + 1)

    def _variables(
        self, address: int, path: str, kind: str, config: Config | None
    ) -> Iterator[tuple[str, Hdf5Dataset | Unread]]:
        numbers = sorted(self._enter(address, path, 0), key=lambda key: (len(key), key))
        datasets = [locate(self._hdf5, self._hdf5.member(address, number), path + number) for number in numbers]
        shapes = [dataset.shape for dataset in datasets]
        words = _variable_names(kind, config, shapes) or numbers
        yield from ((path + word, dataset) for word, dataset in zip(words, datasets, strict=True))

    def _enter(self, address: int, path: str, depth: int) -> Mapping[str, int | None]:
        """The members of a group; raises if it is in two places or too deep."""
        self._hdf5.count(1 + len(path) // 64)
        if address in self._seen:
            raise self._hdf5.file.error("the group is in two places", path)
        if depth > _MAX_DEPTH:
            raise self._hdf5.file.error(f"groups are nested more than {_MAX_DEPTH} deep", path)
        self._seen.add(address)
        return self._hdf5.group(address)

    def _name(self, layer: int, config: Config | None) -> str | None:
        """The layer's name in its group, or else in its configuration."""
        variables = self._hdf5.group(layer).get(_VARS)
        name = None if variables is None else text_attribute(self._hdf5, variables, "name")
        name = name or settings(config).get("name")
        return name if isinstance(name, str) else None

    def _shapes(self, layers: Mapping[str, int]) -> Iterator[tuple[str, Sequence[Shape]]]:
        """The shapes of the variables of each layer with variables."""
        for key, layer in layers.items():
            variables = self._hdf5.group(layer).get(_VARS)
            group = {} if variables is None else self._hdf5.group(variables)
            datasets = [locate(self._hdf5, address, key) for _, address in sorted(group.items()) if address is not None]
            if datasets:
                yield key, [dataset.shape for dataset in datasets]


def _numbered(config: Config | None) -> Iterator[tuple[str, Config]]:
    """The configuration of each layer of a model, by the key of its group: its class, numbered from the second on."""
    used: Counter[str] = Counter()
    for layer in layers_of(config):
        if isinstance(layer.get("class_name"), str):
            kind = _snake_case(layer["class_name"])
            yield f"{kind}_{used[kind]}" if used[kind] else kind, layer
            used[kind] += 1


def _snake_case(name: str) -> str:
    """A class's name in snake case, as Keras converts it."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _variable_names(kind: str, config: Config | None, shapes: Sequence[Shape]) -> Sequence[str] | None:
    """The names of a layer's variables in order; None if its class and their shapes do not determine them."""
    ranks = [len(shape) for shape in shapes]
    if (kind in _KERNELS or not kind) and ranks[:1] > [1] and ranks[1:] in ([], [1]):
        return ("kernel", "bias")[: len(ranks)]
    if (kind in _NORMS or not kind) and len(shapes) > 1 and set(ranks) == {1} and len(set(shapes)) == 1:
        off = {name for name, key in (("gamma", "scale"), ("beta", "center")) if settings(config).get(key) is False}
        words = [name for name in _NORM if name not in off]
        return words if len(words) == len(shapes) else None
    return None
