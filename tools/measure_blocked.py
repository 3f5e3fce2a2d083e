"""Training steps in onnxruntime's blocked layout beside NCHW, and the layers that the rule of the pass was fitted to.

    python tools/measure_blocked.py [--rounds N] [--output tools/results/blocked_cpu.md]

Weights are inputs. Times are of the processor, on one thread, all contestants in turn in random order, so that other
work on the machine counts little; each is the least of all rounds, and a ratio the median of paired ones. The moves
into and out of the layout are in the times. Steps have a second session of the first beside them (A/A).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from bench_common import CONTROL, environment, interval, markdown
from compare_training import NETWORKS, Case
from numpy.typing import NDArray

from resnet_compile import load_spec
from resnet_compile.bench import median_ratio
from resnet_compile.graph import Graph, Type, Value, apply
from resnet_compile.passes.blocked_layout import blocked_layout, pays
from resnet_compile.runtime import Session
from resnet_compile.serialize import ModelFormat, to_proto
from resnet_compile.training import IMAGES, LABELS, LEARNING_RATE, LOSS, SESSION_OPTIONS, compile_step
from resnet_compile.training.machine import block_size, blocked_step
from resnet_compile.training.options import StepOptions

# Images, channels, filters, side and kernel: CIFAR's ResNet-32 at 128, ResNet-50 of 64 pixels at 32 and of 224 at 8.
LAYERS = (
    *((128, channels, channels, side, 3) for channels, side in ((16, 32), (32, 16), (64, 8))),
    *((32, channels, channels, side, 3) for channels, side in ((64, 16), (128, 8), (256, 4), (512, 2))),
    *((8, channels, channels, side, 3) for channels, side in ((64, 56), (128, 28), (256, 14), (512, 7))),
    *((32, channels, filters, 16, 1) for channels, filters in ((64, 256), (256, 64))),
    *((8, 4 * filters, filters, side, 1) for filters, side in ((128, 28), (256, 14), (512, 7))),
)


Layer = tuple[int, int, int, int, int]


def taken(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, NDArray[np.float64]]:
    """The processor's seconds of each run, one for each round."""
    generator = np.random.default_rng(0)
    labels, seconds = list(runs), {label: np.empty(rounds) for label in runs}
    for number in range(rounds):
        for place in generator.permutation(len(labels)):
            start = time.thread_time()
            runs[labels[place]]()
            seconds[labels[place]][number] = time.thread_time() - start
    return seconds


def step_row(case: Case, rounds: int) -> list[str]:
    """The times of one network's step."""
    step = compile_step(load_spec(case.spec), StepOptions(batch=case.batch, size=(case.side, case.side)))
    images = np.random.default_rng(0).standard_normal((case.batch, 3, case.side, case.side), np.float32)
    labels = np.arange(case.batch) % (step.plan.spec.head.num_classes or 1)
    feeds = {IMAGES: images, LABELS: labels, LEARNING_RATE: np.array(1e-3, np.float32)}
    runs: dict[str, Callable[[], object]] = {}
    for label, each in (("NCHW", step), (CONTROL, step), ("blocks", blocked_step(step)[0])):
        session = Session.open(each.to_proto().SerializeToString(), "cpu", SESSION_OPTIONS.replace(threads=1))
        runs[label] = partial(session.recur(step.initial_state(), step.next_names, (LOSS,)).run, feeds)
        runs[label]()
    seconds = taken(runs, rounds)
    ratios = [interval(median_ratio(seconds[label], seconds["NCHW"])) for label in ("blocks", CONTROL)]
    name = f"{case.spec}, {case.side}x{case.side}, batch {case.batch}"
    return [name, *(f"{seconds[label].min() * 1e3:.0f}" for label in ("NCHW", "blocks")), *ratios]


def row(layer: Layer, block: int, rounds: int) -> list[str]:
    """One layer's times."""
    images, channels, filters, side, kernel = layer
    x = Value("x", Type("float32", (images, channels, side, side)))
    weights = Value("weights", Type("float32", (filters, channels, kernel, kernel)))
    y = apply("Conv", x, weights, name="y", pads=(kernel // 2,) * 4)
    graph, generator = Graph("one", (x, weights), (y,)), np.random.default_rng(0)
    feeds = {value.name: generator.standard_normal(value.static_shape, np.float32) for value in graph.inputs}
    runs: dict[str, Callable[[], object]] = {}
    for label, each in (("NCHW", graph), ("blocks", blocked_layout(graph, block, lambda value: True).graph)):
        model = to_proto(each, ModelFormat()).SerializeToString()
        session = Session.open(model, "cpu", SESSION_OPTIONS.replace(threads=1))
        runs[label] = partial(session.bind([feeds], session.run(feeds), transfer=False).run, 0)
    seconds = taken(runs, rounds)
    ratio = np.median(seconds["blocks"] / seconds["NCHW"])
    shape = f"{images} x {channels} to {filters}, {side}x{side}, kernel {kernel}"
    times = [f"{each.min() * 1e3:.2f}" for each in seconds.values()]
    return [shape, str(images * side**2), *times, f"{ratio:.3f}", "moved" if pays(y) else "stays"]


def main() -> None:
    """Parses the command line, measures, writes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "blocked_cpu.md")
    arguments = parser.parse_args()
    block, about = block_size(), environment()
    version = next(version for name, version in about["packages"].items() if name.startswith("onnxruntime"))
    steps = [step_row(Case.parsed(name), arguments.rounds) for name in NETWORKS]
    rows = [row(layer, block, arguments.rounds) for layer in LAYERS]
    step_head = ["step", "NCHW, ms", f"blocks of {block}, ms", "time", CONTROL]
    head = ["images x channels", "pixels", "NCHW, ms", f"blocks of {block}, ms", "time", "the rule"]
    how = f"{about['cpu']['model']}, {about['time']}, onnxruntime {version}, one thread, {arguments.rounds} rounds"
    arguments.output.write_text(
        "# Convolutions of training steps in onnxruntime's blocked layout\n\n"
        f"{how}, by `python tools/measure_blocked.py`, which says how.\n\n"
        f"{markdown(step_head, steps)}\n\n{markdown(head, rows)}\n"
    )


if __name__ == "__main__":
    main()
