"""onnxruntime's profile of a session, summed up by operator and by scope.

Its JSON file is a list of events in the trace event format. A node's run is an event of category ``Node`` called by
the node's name and ``_kernel_time``. Names of nodes are those of our values, such as
``net/block3/unit_2/bottleneck_v2/conv1/Conv``; onnxruntime's rewrites keep most of a name and add to it
(``fused net/...``, ``..._nchwc``, ``..._bn``). Nodes that it puts in, such as ``ReorderOutput``, have no scope.

On CUDA the time of a node is what the host takes to start it, not what the device takes to run it.
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
        name: As onnxruntime calls it.
        operator: Its type.
        provider: What ran it.
        seconds: In one run, on average.
        calls: How often it ran, in all of them.
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
        name: Of the operator, layer or scope.
        seconds: In one run, on average.
        fraction: Of the time of all nodes.
        nodes: How many nodes it has.
    """

    name: str
    seconds: float
    fraction: float
    nodes: int


@dataclass(frozen=True, slots=True)
class Profile:
    """A session's nodes, timed over some runs.

    Attributes:
        model: What was profiled, by its label.
        batch: Images at a time.
        runs: How many runs were timed.
        nodes: In order of running.
    """

    model: str
    batch: int
    runs: int
    nodes: tuple[NodeTime, ...]

    def by_operator(self) -> tuple[Share, ...]:
        """Shares of the operators, greatest first."""
        return tuple(sorted(self._shares(lambda node: node.operator), key=lambda share: -share.seconds))

    def by_scope(self, depth: int = 1) -> tuple[Share, ...]:
        """Shares of the scopes, `depth` levels below the network's own, in order of running."""
        prefix = _network(node.name for node in self.nodes)
        return self._shares(lambda node: _scope(node.name, prefix, depth))

    def by_layer(self) -> tuple[Share, ...]:
        """Shares of the network's layers by our names, without the network's own, in order of running.

        What onnxruntime puts in between, such as ``ReorderOutput``, stands under its own name.
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
    """Reads the file that a profiling session wrote.

    Args:
        path: The file.
        model: What the session ran, by its label.
        batch: Images at a time.
        skip: How many runs at the beginning to leave out.

    Raises:
        ModelFileError: It is no such file, or has no more runs than are left out.
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
    # What a rewrite puts before a name ends in a space; what its layout pass puts after it is always this.
    return name.rpartition(" ")[2].removesuffix("_nchwc").split("/")
