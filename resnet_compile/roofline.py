"""The roofline of a device, measured: peak operations by a large matrix product, bandwidth by a large copy.

A computation of I operations per byte moved runs at min(peak, I * bandwidth) at most (Williams et al. 2009, Roofline:
An Insightful Visual Performance Model). Both are measured through onnxruntime in float32, with the threads that the
networks use.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from resnet_compile.graph import ConstantTensor, Graph, Type, Value, apply, initializer
from resnet_compile.runtime import Backend, Device, Session, SessionOptions
from resnet_compile.serialize import ModelFormat, to_proto

_HOST_SIDES, _GPU_SIDES = (256, 512, 1024, 2048), (2048, 4096, 8192)
"""Rows and columns of the matrices. Large ones occupy many cores; small ones fit into a busy machine's idle moments."""
_COPIED = 2**25
"""How many numbers are copied: more than the caches hold."""
_RUNS, _LEAST_SECONDS = 7, 1.0
"""The least number of runs, and for how long. The fastest run counts, since other work on the machine only slows it."""


@dataclass(frozen=True, slots=True)
class Roofline:
    """A device's peak compute and memory bandwidth.

    Attributes:
        threads: Threads of the session on the CPU; 0 for one per physical core.
        gflop_per_second: Compute peak: 10^9 operations per second of a product of large matrices; a multiply-accumulate
            counts as two.
        gbyte_per_second: Memory bandwidth: 10^9 bytes per second, read and written, by a ReLU of a large tensor.
    """

    threads: int
    gflop_per_second: float
    gbyte_per_second: float

    def at(self, intensity: float) -> float:
        """The attainable 10^9 operations per second at an intensity in operations per byte."""
        return min(self.gflop_per_second, intensity * self.gbyte_per_second)


def roofline(device: Device, threads: int, *, backend: Backend | None = None) -> Roofline:
    """Measures a device; takes some seconds.

    Args:
        device: The device.
        threads: Threads of the session on the CPU; 0 for one per physical core.
        backend: A substitute for the installed onnxruntime.

    Raises:
        DeviceError: The device is not usable.
    """
    settings = SessionOptions(threads=threads)
    products = {
        side: _seconds(_product(side), (side, side), device, settings, backend)
        for side in (_HOST_SIDES if device.on_host else _GPU_SIDES)
    }
    peak = max(2 * side**3 / seconds for side, seconds in products.items())
    x = Value("x", Type("float32", (_COPIED,)))
    copy = _seconds(Graph("copy", (x,), (apply("Relu", x, name="y"),)), (_COPIED,), device, settings, backend)
    return Roofline(threads, peak / 1e9, 2 * 4 * _COPIED / copy / 1e9)


def _product(side: int) -> Graph:
    """The product of a matrix and a constant one, which the runtime may pack ahead as it does weights."""
    x = Value("x", Type("float32", (side, side)))
    matrix = np.random.default_rng(0).standard_normal((side, side), np.float32)
    return Graph("product", (x,), (apply("MatMul", x, initializer("w", ConstantTensor(matrix)), name="y"),))


def _seconds(
    graph: Graph, shape: tuple[int, ...], device: Device, settings: SessionOptions, backend: Backend | None
) -> float:
    """The time of the fastest run."""
    model = to_proto(graph, ModelFormat()).SerializeToString()
    session = Session.open(model, str(device), settings, backend=backend)
    feeds = {"x": np.random.default_rng(1).standard_normal(shape, np.float32)}
    binding = session.bind([feeds], session.first_run(feeds), transfer=False)
    seconds: list[float] = []
    while len(seconds) < _RUNS or sum(seconds) < _LEAST_SECONDS:
        start = time.perf_counter()
        binding.run(0)
        seconds.append(time.perf_counter() - start)
    return min(seconds)
