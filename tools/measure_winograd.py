"""Times networks and layers with and without `--winograd`, on the CPU.

    python tools/measure_winograd.py [NETWORK ...] [--threads 1,2] [--rounds N] [--output tools/results/winograd_cpu]

Layers stand as in a bottleneck unit, between 1x1 convolutions with four times their channels on the other side, several
with weights of their own so that these come from memory. Each is timed by tiles of every size whose factors stay in a
core's cache, beside what the rule chooses. All contestants of a network or layer run in turn in random order, one image
at a time, in one process and without spinning threads; ratios are of the same round, with bootstrap 95 % intervals,
beside a second session of the unrewritten one (A/A). Errors are those of the logits, or of the layer's output, against
the same graph as onnxruntime runs it without its optimisations, on normally distributed images. Writes OUTPUT.json and
OUTPUT.md.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from bench_common import CONTROL, Step, environment, interleaved, interval, markdown, relative

from resnet_compile import CompileOptions, compile
from resnet_compile.bench import Protocol, median_ratio
from resnet_compile.graph import ConstantTensor, Graph, Type, Value, apply, initializer
from resnet_compile.passes.winograd import TILES, winograd
from resnet_compile.runtime import Session, SessionOptions
from resnet_compile.serialize import ModelFormat, write_model

NETWORKS = ("resnet152", "resnet50", "torchvision_resnet34", "cifar_resnet32")
LAYERS = ((64, 56), (128, 28), (256, 14), (512, 7), (64, 8), (32, 16))
"""Channels, and rows and columns."""
PLAIN, CHOSEN = "as it is", "--winograd"
UNITS = 6
"""Units in a row; of 128 channels and more their weights are more than a cache holds."""


def layer_graph(channels: int, side: int) -> Graph:
    """A row of units of three convolutions."""
    generator = np.random.default_rng(0)
    source = x = Value("input", Type("float32", (1, 4 * channels, side, side)))
    for unit in range(UNITS):
        for number, (made, kernel) in enumerate(((channels, 1), (channels, 3), (4 * channels, 1))):
            name = f"unit_{unit}/conv{number}"
            shape = (made, int(x.static_shape[1]), kernel, kernel)
            values = generator.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / np.prod(shape[1:])))
            pads = (kernel // 2,) * 4
            weights = initializer(f"{name}/weights", ConstantTensor(values))
            biases = initializer(f"{name}/biases", ConstantTensor(np.full(made, 0.1, np.float32)))
            x = apply("Conv", x, weights, biases, name=name, kernel_shape=(kernel, kernel), pads=pads)
            if number < 2:
                x = apply("Relu", x, name=f"{name}/Relu")
    return Graph("layers", (source,), (x,))


class Contest:
    """Variants of one graph, which are files.

    Args:
        graphs: By label; the first is the base.
        folder: Where the files go.
    """

    def __init__(self, graphs: dict[str, Graph], folder: Path) -> None:
        self.graphs = graphs
        self._paths = {label: folder / f"{number}.onnx" for number, label in enumerate(graphs)}
        for label, graph in graphs.items():
            write_model(graph, ModelFormat(), self._paths[label])
        (info,) = graphs[PLAIN].inputs
        self._images = {info.name: np.random.default_rng(1).standard_normal(info.static_shape, np.float32)}
        reference = self._run(PLAIN, graph_optimization="disabled")
        self.errors = {label: relative(self._run(label), reference) for label in graphs}

    def _run(self, label: str, **options: Any) -> np.ndarray:
        session = Session.open(self._paths[label], "cpu", SessionOptions(spinning=False, **options))
        return next(iter(session.run(self._images).values()))

    def megabytes(self, label: str) -> float:
        return round(self._paths[label].stat().st_size / 1e6, 1)

    def timed(self, threads: int, rounds: int) -> dict[str, Any]:
        """For each label milliseconds, and the ratio to the base."""

        def opener(label: str) -> Step:
            session = Session.open(self._paths[label], "cpu", SessionOptions(threads=threads, spinning=False))
            return session.bind([self._images], session.run(self._images), transfer=False).run

        labels = {**{label: label for label in self.graphs}, CONTROL: PLAIN}
        openers = {label: (lambda name=name: opener(name)) for label, name in labels.items()}
        seconds = interleaved(openers, Protocol(steps=rounds, burn_in=2), 2)
        return {
            label: {
                "milliseconds": round(float(np.median(each)) * 1e3, 3),
                "ratio": asdict(median_ratio(each, seconds[PLAIN])),
            }
            for label, each in seconds.items()
        }


def measured(name: str, graphs: dict[str, Graph], threads: list[int], rounds: int, chosen: str) -> dict[str, Any]:
    """All there is to tell of one graph's variants, by label."""
    with tempfile.TemporaryDirectory() as folder:
        contest = Contest(graphs, Path(folder))
        times = {str(count): contest.timed(count, rounds) for count in threads}
        print(
            name, json.dumps({label: times[str(threads[0])][label]["ratio"]["median"] for label in graphs}), flush=True
        )
        return {
            "name": name,
            "chosen": chosen,
            "variants": {
                label: {
                    "error": contest.errors[label],
                    "megabytes": contest.megabytes(label),
                    "threads": {count: times[count][label] for count in times},
                }
                for label in graphs
            },
            "control": {count: times[count][CONTROL] for count in times},
        }


def network(name: str, threads: list[int], rounds: int) -> dict[str, Any]:
    """A network of the catalogue, which counts its logits alone."""
    options = CompileOptions(target="cpu", batch=1, outputs=("logits",))
    graph = compile(name, options).graph
    result = winograd(graph)
    chosen = f"{result.done} layers"
    return measured(name, {PLAIN: graph, CHOSEN: result.graph}, threads, rounds, chosen)


def layer(channels: int, side: int, threads: list[int], rounds: int) -> dict[str, Any]:
    graph = layer_graph(channels, side)
    graphs = {PLAIN: graph}
    for made in TILES:
        result = winograd(graph, (made,), float("inf"))
        graphs |= {f"F({made}x{made}, 3x3)": result.graph} if result.done else {}
    rule = winograd(graph)
    chosen = (rule.told or rule.refused)[0].partition(": ")[2]
    return measured(f"{channels} channels, {side}x{side}", graphs, threads, rounds, chosen)


def page(document: dict[str, Any]) -> str:
    """The result as Markdown."""
    counts = [str(count) for count in document["threads"]]
    head = ["", f"ms by {' / '.join(counts)} threads", *(f"time, {count}" for count in counts), "error", "file, MB"]
    lines = []
    for key, title in (("networks", "Networks"), ("layers", f"Layers, {UNITS} bottleneck units")):
        rows: list[list[object]] = []
        for entry in document[key]:
            rows.append([f"**{entry['name']}**: {entry['chosen']}", *[None] * (len(head) - 1)])
            for label, each in entry["variants"].items():
                ratios = [interval(each["threads"][count]["ratio"]) for count in counts]
                times = " / ".join(str(each["threads"][count]["milliseconds"]) for count in counts)
                rows.append([label, times, *ratios, f"{each['error']:.1e}", each["megabytes"]])
            rows.append([CONTROL, None, *(interval(entry["control"][count]["ratio"]) for count in counts), None, None])
        lines.append(f"## {title}\n\n{markdown(head, rows)}\n")
    cpu, (before, after) = document["environment"]["cpu"], document["load"]
    about = (
        f"{cpu['model']}, {cpu['cores']} cores, {document['environment']['time']}, load {before:.1f} before and "
        f"{after:.1f} after, {document['rounds']} rounds; one image at a time. `tools/measure_winograd.py` says how.\n"
    )
    return "\n".join(["# Minimal filtering on the CPU\n", about, *lines])


def main() -> None:
    """Parses the command line, measures, writes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--threads", type=lambda text: [int(each) for each in text.split(",")], default=[1, 2])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--no-layers", action="store_true")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "winograd_cpu")
    arguments = parser.parse_args()
    before = os.getloadavg()[0]
    how = arguments.threads, arguments.rounds
    document: dict[str, Any] = {
        "environment": environment(),
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        "networks": [network(name, *how) for name in arguments.networks],
        "layers": [] if arguments.no_layers else [layer(*each, *how) for each in LAYERS],
    }
    document["load"] = [before, os.getloadavg()[0]]
    arguments.output.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    arguments.output.with_suffix(".md").write_text(page(document))


if __name__ == "__main__":
    main()
