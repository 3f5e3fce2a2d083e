"""The moving averages that a Keras optimizer with ``use_ema`` keeps, which a `.keras` archive has under numbers alone.

An optimizer's variables are its counters, which are scalars, and then one average for each trainable variable of the
model, in the model's order: that of its layers in `config.json`, and in each of them of the layer. What follows are the
optimizer's own, such as momentum. Source: Keras's `base_optimizer.py`, `build`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count, dropwhile, takewhile
from typing import Any

from resnet_compile.checkpoints.base import AVERAGE

Config = Mapping[str, Any]
Shapes = Mapping[str, tuple[int, ...]]

UNTOLD = (
    "the optimizer's moving averages (use_ema) are there, but not which belongs to what: "
    "optimizer.finalize_variable_values(model.trainable_variables) puts them into the model, then save it"
)
"""What to say where the averages cannot be told apart."""

_TRAINED = ("kernel", "bias", "gamma", "beta")
_KEPT = frozenset({*_TRAINED, "moving_mean", "moving_variance"})


def keeps_averages(config: Config | None) -> bool:
    """Whether a model's configuration says that its optimizer does."""
    found: Any = config or {}
    for key in ("compile_config", "optimizer", "config", "use_ema"):
        found = found.get(key) if isinstance(found, dict) else None
    return found is True


def average_names(config: Config, shapes: Shapes) -> dict[str, str]:
    """Names for the averages, by the names that they have without: the variable's, and behind it that it is one.

    Args:
        config: What `config.json` says of the model.
        shapes: Those of all tensors by name.

    Returns:
        The names; none where the averages are not one for each trainable variable.
    """
    slots = takewhile(lambda name: name in shapes, (f"optimizer/{number}" for number in count()))
    averages = list(dropwhile(lambda name: not shapes[name], slots))
    trained = list(_trained(config, "", shapes))
    if not trained or [shapes.get(name) for name in trained] != [shapes[name] for name in averages[: len(trained)]]:
        return {}
    return {slot: f"{name}{AVERAGE}" for slot, name in zip(averages, trained, strict=False)}


def _trained(config: Config, path: str, shapes: Shapes) -> Iterator[str]:
    """The trainable variables of a model in its order; one that no tensor has, where a layer has others."""
    inner = config.get("config")
    layers = inner.get("layers") if isinstance(inner, dict) else None
    for layer in layers if isinstance(layers, list) else ():
        said = layer.get("config") if isinstance(layer, dict) else None
        if not isinstance(said, dict) or said.get("trainable") is False:
            continue
        scope = f"{path}{said.get('name')}/"
        if isinstance(said.get("layers"), list):
            yield from _trained(layer, scope, shapes)
        else:
            there = {name.removeprefix(scope) for name in shapes if name.startswith(scope)}
            yield from (scope + word for word in (_TRAINED if there <= _KEPT else there) if word in there)
