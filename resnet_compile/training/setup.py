"""The setup that a run's steps depend on. A run resumes only with an equal setup."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from resnet_compile.errors import OptionError
from resnet_compile.spec import NetworkSpec, build_spec
from resnet_compile.training.data import Dataset, Splits
from resnet_compile.training.recipe import Settled

# Options that may change when a run resumes; the greatest rate is part of the schedule.
_FREE = {"steps", "epochs", "eval_every", "save_every", "keep", "lr"}
# The most differences that a message lists; the rest are counted.
_SHOWN = 4


def setup_of(spec: NetworkSpec, how: Settled, data: Splits) -> dict[str, Any]:
    """The spec, the options and the data as JSON values; the images' contents are not read."""
    described = {"training": _described(data.training), "test": _described(data.test)}
    own = {name: value for name, value in how.options.model_dump(mode="json").items() if name not in _FREE}
    decided = {"batch": how.batch, "schedule": how.schedule.model_dump(mode="json"), "recipe": how.recipe}
    return {"spec": spec.model_dump(mode="json"), **own, **decided, "data": described}


def _described(dataset: Dataset) -> dict[str, Any]:
    return {"images": len(dataset), "labels_sha256": hashlib.sha256(dataset.labels.tobytes()).hexdigest()}


def require_same(folder: Path, begun: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuses to resume a run with another setup.

    Raises:
        OptionError: The setups differ; the message names the differences.
        SpecError: The run's own spec is invalid.
    """
    # Fields that the spec language gained since the run began are at their defaults in both. Runs older than recipes
    # have no recipe.
    begun = {"recipe": now["recipe"], **begun, "spec": build_spec(begun.get("spec", {})).model_dump(mode="json")}
    found = list(_differences(begun, now, "$"))
    if found:
        shown = "; ".join(
            f"{path} was {_short(before)} and is {_short(after)}" for path, before, after in found[:_SHOWN]
        )
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        hint = "give what it began with, or another --out"
        raise OptionError(f"the run began with other settings: {shown}{more}", where=str(folder), hint=hint)


def _differences(before: Any, after: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in {**before, **after}:
            yield from _differences(before.get(key), after.get(key), f"{path}.{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _differences(one, other, f"{path}[{index}]")
    elif before != after:
        yield path, before, after


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
