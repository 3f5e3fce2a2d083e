"""onnxruntime's profile of a session, summed up by operator and by scope.

Its JSON file is a list of events in the trace event format. Each run of a node is an event of category ``Node``, named
after the node with the suffix ``_kernel_time``. Our nodes have the names of their values, such as
``net/block3/unit_2/bottleneck_v2/conv1/Conv``. onnxruntime's rewrites keep most of a name and add to it
(``fused net/...``, ``..._nchwc``, ``..._bn``). Nodes that it inserts, such as ``ReorderOutput``, have no scope.

On CUDA a node's time is the time in which the host starts it, not the time in which the device runs it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from resnet_compile.errors import ModelFileError

NO_SCOPE = "(no scope)"
_KERNEL = "_kernel_time"


@dataclass(frozen=True, slots=True)
class NodeTime:
    """One node of the profiled session.

    Attributes:
        name: Its name in onnxruntime's session.
        operator: Its operator type.
        provider: The execution provider that ran it.
        seconds: Mean seconds per run of the model.
        calls: The number of its executions in all runs.
    """

    name: str
    operator: str
    provider: str
    seconds: float
    calls: int


@dataclass(frozen=True, slots=True)
class Share:
    """One operator's, layer's or scope's part of a run.

    Attributes:
        name: Name of the operator, layer or scope.
        seconds: Mean seconds per run of the model.
        fraction: Fraction of the time of all nodes.
        nodes: The number of its nodes.
    """

    name: str
    seconds: float
    fraction: float
    nodes: int


@dataclass(frozen=True, slots=True)
class Profile:
    """A session's nodes, timed over some runs.

    Attributes:
        model: The label of the profiled model.
        batch: Images at a time.
        runs: The number of timed runs.
        nodes: The nodes in execution order.
    """

    model: str
    batch: int
    runs: int
    nodes: tuple[NodeTime, ...]

    def by_operator(self) -> tuple[Share, ...]:
        """Shares of the operators, largest first."""
        return tuple(sorted(self._shares(lambda node: node.operator), key=lambda share: -share.seconds))

    def by_scope(self, depth: int = 1) -> tuple[Share, ...]:
        """Shares of the scopes that lie `depth` levels below the network's own scope, in execution order."""
        prefix = _network(node.name for node in self.nodes)
        return self._shares(lambda node: _scope(node.name, prefix, depth))

    def by_layer(self) -> tuple[Share, ...]:
        """Shares of the network's layers, in execution order. Names leave out the network's own scope.

        A node that onnxruntime inserts, such as ``ReorderOutput``, keeps its own name.
        """
        prefix = _network(node.name for node in self.nodes)
        return self._shares(lambda node: _layer(node.name, prefix))

    def _shares(self, key: Callable[[NodeTime], str]) -> tuple[Share, ...]:
        total = sum(node.seconds for node in self.nodes) or 1.0
        seconds: dict[str, list[float]] = {}
        for node in self.nodes:
            seconds.setdefault(key(node), []).append(node.seconds)
        return tuple(Share(name, sum(each), sum(each) / total, len(each)) for name, each in seconds.items())


def read_profile(path: str | os.PathLike[str], model: str, batch: int, *, skip: int = 0) -> Profile:
    """Reads the profile that a session wrote.

    Args:
        path: The file.
        model: The label of the session's model.
        batch: Images at a time.
        skip: The number of first runs to leave out.

    Raises:
        ModelFileError: The file is not a profile, or has no runs beyond those left out.
    """
    try:
        events = json.loads(Path(path).read_text("utf-8"))
        starts = sorted(event["ts"] for event in events if event.get("name") == "model_run")
        nodes = [event for event in events if event.get("cat") == "Node" and event["name"].endswith(_KERNEL)]
        begin = starts[skip]
        runs = len(starts) - skip
        return Profile(model, batch, runs, _sum_up((event for event in nodes if event["ts"] >= begin), runs))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ModelFileError("not a profile of onnxruntime", where=os.fspath(path)) from error


def _sum_up(events: Iterable[Mapping[str, Any]], runs: int) -> tuple[NodeTime, ...]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for event in events:
        found.setdefault(event["name"].removesuffix(_KERNEL), []).append(event)
    return tuple(
        NodeTime(
            name,
            calls[-1]["args"]["op_name"],
            calls[-1]["args"].get("provider", ""),
            sum(call["dur"] for call in calls) / 1e6 / runs,
            len(calls),
        )
        for name, calls in found.items()
    )


def _network(names: Iterable[str]) -> Sequence[str]:
    """The scope that all scoped nodes share."""
    paths = [_parts(name)[:-1] for name in names if "/" in name]
    shared = takewhile(lambda parts: len(set(parts)) == 1, zip(*paths, strict=False))
    return [parts[0] for parts in shared]


def _scope(name: str, prefix: Sequence[str], depth: int) -> str:
    parts = _parts(name)
    if len(parts) < 2:
        return NO_SCOPE
    return "/".join(parts[len(prefix) :][:depth])


def _layer(name: str, prefix: Sequence[str]) -> str:
    parts = _parts(name)
    inside = parts[len(prefix) :] if len(parts) > 1 else parts
    # A layer of several operators calls all but its last by their types, such as conv1/BatchNormalization.
    return "/".join(inside[:-1] if len(inside) > 1 and inside[-1][:1].isupper() else inside)


def _parts(name: str) -> list[str]:
    # A rewrite's prefix ends in a space. The layout pass always adds this suffix.
    return name.rpartition(" ")[2].removesuffix("_nchwc").split("/")
