"""The moving averages of a Keras optimizer with ``use_ema``, which have only numbers in a `.keras` archive.

The optimizer's variables are, in order: its counters, which are scalars; one average for each trainable variable of the
model; its own variables, such as momentum. The model's order is that of its layers in `config.json`, and within a layer
the layer's own. Source: Keras's `base_optimizer.py`, `build`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count, dropwhile, takewhile
from typing import Any

from resnet_compile.checkpoints.base import AVERAGE
from resnet_compile.checkpoints.hdf5.keras3 import Config, layers_of, settings

Shapes = Mapping[str, tuple[int, ...]]

UNTOLD = (
    "the optimizer's moving averages (use_ema) could not be assigned to variables: "
    "optimizer.finalize_variable_values(model.trainable_variables) puts them into the model, then save it"
)
"""The note for averages that cannot be assigned."""

_TRAINED = ("kernel", "bias", "gamma", "beta")
_KEPT = frozenset({*_TRAINED, "moving_mean", "moving_variance"})


def keeps_averages(config: Config | None) -> bool:
    """Whether a model's configuration says that its optimizer keeps averages."""
    found: Any = config or {}
    for key in ("compile_config", "optimizer", "config", "use_ema"):
        found = found.get(key) if isinstance(found, dict) else None
    return found is True


def average_names(config: Config, shapes: Shapes) -> dict[str, str]:
    """Names for the averages, each the variable's with the suffix `AVERAGE`, by their names in the file.

    They are empty unless every trainable variable of the `config.json` has one average among the shapes of all tensors.
    """
    slots = takewhile(lambda name: name in shapes, (f"optimizer/{number}" for number in count()))
    averages = list(dropwhile(lambda name: not shapes[name], slots))
    trained = list(_trained(config, "", shapes))
    if not trained or [shapes.get(name) for name in trained] != [shapes[name] for name in averages[: len(trained)]]:
        return {}
    return {slot: f"{name}{AVERAGE}" for slot, name in zip(averages, trained, strict=False)}


def _trained(config: Config, path: str, shapes: Shapes) -> Iterator[str]:
    """The trainable variables of a model in its order. In a layer with unusual variables all count as trainable."""
    for layer in layers_of(config):
        said = settings(layer)
        if said.get("trainable") is False:
            continue
        scope = f"{path}{said.get('name')}/"
        if isinstance(said.get("layers"), list):
            yield from _trained(layer, scope, shapes)
        else:
            there = {name.removeprefix(scope) for name in shapes if name.startswith(scope)}
            yield from (scope + word for word in (_TRAINED if there <= _KEPT else there) if word in there)
