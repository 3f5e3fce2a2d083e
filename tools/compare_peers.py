"""The same networks by resnet-compile, torch.onnx and tf2onnx, side by side; ours in OpenVINO too.

    python tools/compare_peers.py [resnet50 resnet152] [--threads N] [--batch N] [--rounds N] [--json FILE]

Each peer works in a virtual environment of its own under --cache, made when it is first needed; an environment that is
there already can be named instead (--torch-python and the like). All three makers get the same weights and write a
model with a dynamic batch, an NCHW input and logits only. Making is timed as a whole process, with its imports, and its
peak memory is the operating system's account. Forward passes are timed in turn: every model once a round in random
order, never two at a time, without spinning, all sessions opened anew several times; ratios are ours over theirs in the
same round, with bootstrap confidence intervals and an A/A control. OpenVINO runs our model in a process of its own,
which takes part in the same rounds.
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
from bench_common import CONTROL, environment, interleaved, interval, relative
from peers import (
    MAKERS,
    OPENVINO,
    MakingError,
    OpenVino,
    add_options,
    known_network,
    made_by,
    made_by_us,
    pythons,
    save_weights,
    versions,
)

from resnet_compile import load_spec, plan_network
from resnet_compile.bench import Comparison, Protocol, median_ratio, summarize
from resnet_compile.report.table import table
from resnet_compile.runtime import Session, SessionOptions

OURS = "resnet-compile"
OPENINGS = 5
MOST_DIFFERENCE = 1e-4  # of logits, norm over norm: float32 summed in other orders


def compare(network: str, homes: dict[str, Path], arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything about one network."""
    spec = load_spec(network)
    files = {maker: folder / f"{maker}.onnx" for maker in (OURS, *MAKERS)}
    making = {OURS: made_by_us(network, [], files[OURS])}
    save_weights(files[OURS], folder / "weights.npz")
    for peer in MAKERS:
        making[peer] = made_by(peer, homes[peer], spec.name, folder / "weights.npz", files[peer])
    return {
        "network": spec.name,
        "macs": plan_network(spec).macs,
        "making": {maker: asdict(one) for maker, one in making.items()},
        **forward(files, homes[OPENVINO], arguments, folder),
    }


def forward(files: dict[str, Path], openvino: Path, arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Logits agree; then who runs how fast."""
    images = np.random.default_rng(0).random((arguments.batch, 3, 224, 224), np.float32)
    np.save(folder / "images.npy", images)
    settings = SessionOptions(threads=arguments.threads, spinning=False)
    logits = {}

    def opener(label: str, path: Path) -> Any:
        def opened() -> Any:
            session = Session.open(path, "cpu", settings)
            feeds = {next(iter(session.inputs)): images}
            outputs = session.run(feeds)
            (logits[label],) = outputs.values()
            return session.bind([feeds], outputs, transfer=False).run

        return opened

    other = OpenVino(openvino, files[OURS], folder / "images.npy", arguments.threads, folder)
    openers = {label: opener(label, path) for label, path in files.items()}
    openers |= {CONTROL: opener(CONTROL, files[OURS]), OPENVINO: lambda: other.run}
    seconds = interleaved(openers, Protocol(steps=arguments.rounds, burn_in=arguments.burn_in), OPENINGS)
    other.close()
    difference = {label: relative(value, logits[OURS]) for label, value in (logits | {OPENVINO: other.logits}).items()}
    if max(difference.values()) > MOST_DIFFERENCE:
        raise SystemExit(f"not the same network: {difference}")
    control = median_ratio(seconds[OURS], seconds[CONTROL])
    comparisons = {
        label: Comparison(OURS, label, median_ratio(seconds[OURS], seconds[label]), control)
        for label in (*MAKERS, OPENVINO)
    }
    return {
        "rounds": arguments.rounds,
        "logits_relative_difference": difference,
        "milliseconds": {label: summarize(times).p50 * 1e3 for label, times in seconds.items()},
        "ratios": {label: asdict(one.ratio) | {"verdict": str(one.verdict)} for label, one in comparisons.items()},
        "control": asdict(control),
    }


def text(network: dict[str, Any]) -> str:
    """One network's table."""
    rows: list[list[Any]] = []
    for label in (OURS, *MAKERS, OPENVINO, CONTROL):
        one = network["making"].get(label)
        cells = (
            [f"{one['seconds']:.1f}", f"{one['peak_mb']:.0f}", f"{one['file_mb']:.1f}", str(one["nodes"])]
            if one
            else [""] * 4
        )
        ratio = network["control"] if label == CONTROL else network["ratios"].get(label)
        cells.append(f"{network['milliseconds'][label]:.1f}")
        cells.append(interval(ratio) if ratio else "")
        rows.append([label, *cells])
    header = ["", "making s", "peak MB", "file MB", "nodes", "forward ms", "ours / theirs"]
    return f"{network['network']}, {network['rounds']} rounds\n{table(header, rows)}"


def main() -> None:
    """Parses the command line, compares, prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("networks", nargs="*", type=known_network, default=["resnet50", "resnet152"])
    add_options(parser)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--burn-in", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the result here")
    arguments = parser.parse_args()

    homes = pythons(arguments)
    document: dict[str, Any] = {
        "command": f"python tools/compare_peers.py {' '.join(arguments.networks)} --threads {arguments.threads} "
        f"--batch {arguments.batch} --rounds {arguments.rounds} --burn-in {arguments.burn_in}",
        "environment": environment() | {"peers": {peer: versions(python) for peer, python in homes.items()}},
        "threads": arguments.threads,
        "batch": arguments.batch,
        "networks": [],
    }
    for network in arguments.networks:
        with tempfile.TemporaryDirectory() as folder:
            try:
                document["networks"].append(compare(network, homes, arguments, Path(folder)))
            except MakingError as error:
                raise SystemExit(f"{network}: {error}") from None
        print(text(document["networks"][-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
