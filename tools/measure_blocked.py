"""Convolutions of training steps in onnxruntime's blocked layout beside NCHW: what the rule of the pass was fitted to.

    python tools/measure_blocked.py [--rounds N] [--output tools/results/blocked_cpu.md]

Weights are an input, as in a step. Times are of the processor, on one thread, both layouts in turn in random order, so
that other work on the machine counts little; each is the least of all rounds, and the last column the median of paired
ratios. The moves into and out of the layout are in the times.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from bench_common import environment, markdown

from resnet_compile.graph import Graph, Type, Value, apply
from resnet_compile.passes.blocked_layout import blocked_layout, pays
from resnet_compile.runtime import Session
from resnet_compile.serialize import ModelFormat, to_proto
from resnet_compile.training import SESSION_OPTIONS
from resnet_compile.training.machine import block_size

# Images, channels, filters, side and kernel: CIFAR's ResNet-32 at 128, ResNet-50 of 64 pixels at 32 and of 224 at 8.
LAYERS = (
    *((128, channels, channels, side, 3) for channels, side in ((16, 32), (32, 16), (64, 8))),
    *((32, channels, channels, side, 3) for channels, side in ((64, 16), (128, 8), (256, 4), (512, 2))),
    *((8, channels, channels, side, 3) for channels, side in ((64, 56), (128, 28), (256, 14), (512, 7))),
    *((32, channels, filters, 16, 1) for channels, filters in ((64, 256), (256, 64))),
    *((8, 4 * filters, filters, side, 1) for filters, side in ((128, 28), (256, 14), (512, 7))),
)


Layer = tuple[int, int, int, int, int]


def row(layer: Layer, block: int, rounds: int) -> list[str]:
    """One layer's times."""
    images, channels, filters, side, kernel = layer
    x = Value("x", Type("float32", (images, channels, side, side)))
    weights = Value("weights", Type("float32", (filters, channels, kernel, kernel)))
    y = apply("Conv", x, weights, name="y", pads=(kernel // 2,) * 4)
    graph, generator = Graph("one", (x, weights), (y,)), np.random.default_rng(0)
    feeds = {value.name: generator.standard_normal(value.static_shape, np.float32) for value in graph.inputs}
    runs = []
    for each in (graph, blocked_layout(graph, block, lambda value: True).graph):
        model = to_proto(each, ModelFormat()).SerializeToString()
        session = Session.open(model, "cpu", SESSION_OPTIONS.replace(threads=1))
        runs.append(session.bind([feeds], session.run(feeds), transfer=False).run)
    seconds = np.empty((rounds, 2))
    for number in range(rounds):
        for place in generator.permutation(2):
            start = time.thread_time()
            runs[place](0)
            seconds[number, place] = time.thread_time() - start
    least = seconds.min(0)
    ratio = np.median(seconds[:, 1] / seconds[:, 0])
    shape = f"{images} x {channels} to {filters}, {side}x{side}, kernel {kernel}"
    times = [f"{each * 1e3:.2f}" for each in least]
    return [shape, str(images * side**2), *times, f"{ratio:.3f}", "moved" if pays(y) else "stays"]


def main() -> None:
    """Parses the command line, measures, writes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "blocked_cpu.md")
    arguments = parser.parse_args()
    block, about = block_size(), environment()
    version = next(version for name, version in about["packages"].items() if name.startswith("onnxruntime"))
    rows = [row(layer, block, arguments.rounds) for layer in LAYERS]
    head = ["images x channels", "pixels", "NCHW, ms", f"blocks of {block}, ms", "time", "the rule"]
    how = f"{about['cpu']['model']}, {about['time']}, onnxruntime {version}, one thread, {arguments.rounds} rounds"
    arguments.output.write_text(
        "# Convolutions of training steps in onnxruntime's blocked layout\n\n"
        f"{how}, by `python tools/measure_blocked.py`, which says how.\n\n{markdown(head, rows)}\n"
    )


if __name__ == "__main__":
    main()
