"""A stand-in for Ray that runs everything in this process, in batches, and remembers what it was asked for."""

import os
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest


class Dataset:
    """Rows, and the functions that they go through."""

    def __init__(self, rows: list[dict[str, Any]], asked: dict[str, Any]) -> None:
        self._rows, self._asked = rows, asked
        self._stages: list[Any] = []

    def map_batches(self, function: Any, *, batch_size: int, **how: Any) -> "Dataset":
        arguments, keywords = how.pop("fn_constructor_args", ()), how.pop("fn_constructor_kwargs", {})
        self._asked["stages"].append(how)
        self._stages.append(function(*arguments, **keywords) if isinstance(function, type) else function)
        return self

    def iter_batches(self, *, batch_size: int) -> Iterator[dict[str, Any]]:
        for first in range(0, len(self._rows), batch_size):
            rows = self._rows[first : first + batch_size]
            batch = {name: np.array([row[name] for row in rows]) for name in rows[0]}
            for stage in self._stages:
                batch = stage(batch)
            yield batch


def install(patch: pytest.MonkeyPatch, gpus: int = 0) -> dict[str, Any]:
    """Puts the stand-in in Ray's place; what it is asked for."""
    asked: dict[str, Any] = {"stages": []}
    context = SimpleNamespace(execution_options=SimpleNamespace())
    data = ModuleType("ray.data")
    data.__dict__.update(
        DataContext=SimpleNamespace(get_current=lambda: context),
        ActorPoolStrategy=lambda **how: how,
        from_items=lambda rows, **how: Dataset(rows, asked),
    )
    ray = ModuleType("ray")

    def init(**how: Any) -> None:
        asked.update(how, usage=os.environ.get("RAY_USAGE_STATS_ENABLED"))

    ray.__dict__.update(
        data=data,
        init=init,
        shutdown=lambda: asked.update(ended=True),
        cluster_resources=lambda: {"CPU": 4.0, "GPU": float(gpus)},
        exceptions=SimpleNamespace(RayError=ZeroDivisionError),
    )
    patch.setitem(sys.modules, "ray", ray)
    patch.setitem(sys.modules, "ray.data", data)
    return asked
