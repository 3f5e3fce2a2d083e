"""An execution provider of onnxruntime, or another engine, as one row."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from resnet_compile.runtime.backend import Backend
from resnet_compile.runtime.options import SessionOptions
from resnet_compile.targets import Target


@dataclass(frozen=True, slots=True)
class DeviceFault:
    """One reason why a device cannot be used, and the command or step that helps."""

    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Provider:
    """One execution provider or engine; `resnet_compile.runtime.providers` lists them.

    Attributes:
        kind: The word for its devices: `cuda` in `cuda:1`.
        title: Its name in messages.
        name: Its name in onnxruntime; for another engine, its own.
        target: The target whose models run best on it.
        rest: The providers, in order, for nodes that it does not support.
        numbered: Whether it has several devices, each with an index.
        memory: onnxruntime's name for its devices' memory: `cpu` is the host's, `cuda` an NVIDIA GPU's.
        asynchronous: Whether a run returns before its outputs are there.
        records: Whether it can record a run and replay it (`SessionOptions.cuda_graph`).
        options: Returns the provider's own options for onnxruntime, given a session's settings and a device's index.
        faults: Returns the known faults of the device with an index. Libraries that it finds stay loaded.
        slow: A pattern of the log lines in which onnxruntime says that a run is far slower than it should be.
        failure: A pattern of the errors of onnxruntime that are the device's fault, not the model's.
        most_difference: The greatest relative difference (norm of the difference / norm) of a small network's logits
            from the CPU's that is no fault. Summing float32 in another order differs a hundred times less than the
            default.
        engine: Opens a model without onnxruntime, and returns what has the methods of onnxruntime's session that
            `Session` uses, and `values`, the class of its buffers. None for onnxruntime.
    """

    kind: str
    title: str
    name: str
    target: Target
    rest: tuple[Provider, ...] = ()
    numbered: bool = False
    memory: str = "cpu"
    asynchronous: bool = False
    records: bool = False
    options: Callable[[SessionOptions, int], dict[str, str]] | None = None
    faults: Callable[[int, Backend], Iterable[DeviceFault]] = lambda index, backend: ()
    slow: str | None = None
    failure: str | None = None
    most_difference: float = 1e-4
    engine: Callable[[str | os.PathLike[str] | bytes, SessionOptions, Backend], Any] | None = None


CPU = Provider(kind="cpu", title="the CPU", name="CPUExecutionProvider", target="cpu")
"""The host's processor. It runs every node that onnxruntime knows, so the other providers leave the rest to it."""
