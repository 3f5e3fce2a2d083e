"""The same networks by resnet-compile, torch.onnx and tf2onnx, side by side; ours in OpenVINO too.

    python tools/compare_peers.py [resnet50 resnet152] [--threads N] [--batch N] [--rounds N] [--json FILE]

Each peer works in a virtual environment of its own under --cache, made when it is first needed; an environment that is
there already can be named instead (--torch-python and the like). All three makers get the same weights and write a
model with a dynamic batch, an NCHW input and logits only. Making is timed as a whole process, with its imports, and its
peak memory is the operating system's account. Forward passes are timed by `resnet_compile.bench`: every model once a
round in random order, never two at a time, without spinning, all sessions opened anew several times; ratios are ours
over theirs in the same round, with bootstrap confidence intervals and an A/A control. OpenVINO runs our model in a
process of its own, in turn with one session of ours.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import numpy as np
import onnx

from resnet_compile import load_spec, plan_network
from resnet_compile.bench import BenchOptions, Protocol, Subject, bench, measure, median_ratio, summarize
from resnet_compile.report.table import table
from resnet_compile.runtime import Session, SessionOptions, describe_cpu, installed_packages

TOOLS = Path(__file__).parent
OPSET = 18
OURS, TORCH, TF, OPENVINO = "resnet-compile", "torch.onnx", "tf2onnx", "OpenVINO"
REQUIREMENTS = {
    TORCH: ("torch==2.13.0", "onnx==1.23.2", "onnxscript==0.7.2", "numpy"),
    # The last TensorFlow that TF-slim works with, and what still works with that.
    TF: (
        "tensorflow-cpu==2.15.1",
        "tf_slim==1.1.0",
        "tf_keras==2.15.1",
        "tf2onnx==1.17.0",
        "onnx==1.17.0",
        "numpy<2",
        "protobuf<5",
    ),
    OPENVINO: ("openvino==2026.4.1", "numpy"),
}
SCRIPTS = {TORCH: "peer_torch.py", TF: "peer_tf2onnx.py", OPENVINO: "peer_openvino.py"}
# A process's peak memory begins with that of the process that started it (Linux, exec_mmap), which here is large. So a
# small one starts the makers; it prints seconds and bytes.
LAUNCHER = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.run(sys.argv[1:], stdout=sys.stderr).returncode
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
print(json.dumps({"seconds": seconds, "peak": peak}))
sys.exit(code)
"""
MOST_DIFFERENCE = 1e-4  # of logits, norm over norm: float32 summed in other orders


@dataclasses.dataclass(frozen=True)
class Made:
    """A model's making and the file that came of it."""

    seconds: float
    peak_mb: float
    file_mb: float
    nodes: int


def environment(peer: str, folder: Path) -> Path:
    """The Python of the peer's virtual environment, made if need be."""
    home = folder / peer
    python = home / "bin" / "python"
    done = home / "complete"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *REQUIREMENTS[peer]], check=True)
        done.touch()
    return python


def versions(python: Path) -> list[str]:
    """The packages of an environment that bear on the result."""
    listed = subprocess.run([python, "-m", "pip", "freeze"], capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    names = ("torch", "onnx", "onnxscript", "tensorflow", "tf2onnx", "tf_slim", "tf-slim", "openvino", "numpy")
    return [line for line in listed if line.startswith(tuple(f"{name}==" for name in names))]


def made(command: list[str], output: Path) -> Made:
    """Runs a maker as a process."""
    done = subprocess.run([sys.executable, "-c", LAUNCHER, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}:\n{done.stderr[-3000:]}")
    account = json.loads(done.stdout.splitlines()[-1])
    model = onnx.load(output, load_external_data=False)
    return Made(account["seconds"], account["peak"] / 1e6, output.stat().st_size / 1e6, len(model.graph.node))


def save_weights(model: Path, path: Path) -> None:
    """Our model's initializers, which bear slim's names, for the peers."""
    proto = onnx.load(model)
    values: dict[str, Any] = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    np.savez(path, **values)


class OpenVino:
    """Our model in OpenVINO, in a process of its own."""

    def __init__(self, python: Path, model: Path, images: np.ndarray, threads: int, folder: Path) -> None:
        np.save(folder / "images.npy", images)
        words = (python, TOOLS / SCRIPTS[OPENVINO], model, folder / "images.npy", folder / "logits.npy", threads)
        command = [str(word) for word in words]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.version = self._answer()
        self.logits = np.load(folder / "logits.npy")

    def _answer(self) -> str:
        pipe: IO[str] | None = self._process.stdout
        line = pipe.readline() if pipe else ""
        if not line:
            raise SystemExit("OpenVINO's process ended")
        return line.strip()

    def run(self, number: int) -> None:
        """One forward pass; asking and answering take some 0.05 ms of its time."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{number}\n")
        self._process.stdin.flush()
        self._answer()

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()


def compare(name: str, pythons: dict[str, Path], arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything about one network."""
    spec = load_spec(name)
    files = {maker: folder / f"{maker}.onnx" for maker in (OURS, TORCH, TF)}
    command = str(Path(sys.executable).with_name("resnet-compile"))
    ours = [command, name, "--outputs", "logits", "--opset", str(OPSET), "-o", str(files[OURS])]
    making = {OURS: made(ours, files[OURS])}
    save_weights(files[OURS], folder / "weights.npz")
    for peer in (TORCH, TF):
        script = [str(pythons[peer]), str(TOOLS / SCRIPTS[peer]), spec.name, str(folder / "weights.npz")]
        making[peer] = made([*script, str(files[peer]), str(OPSET)], files[peer])
    return {
        "network": spec.name,
        "macs": plan_network(spec).macs,
        "making": {maker: dataclasses.asdict(one) for maker, one in making.items()},
        **forward(files, pythons[OPENVINO], arguments, folder),
    }


def forward(files: dict[str, Path], openvino: Path, arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Logits agree; then who runs how fast."""
    images = np.random.default_rng(0).random((arguments.batch, 3, 224, 224), np.float32)
    settings = SessionOptions(threads=arguments.threads, spinning=False)
    logits = {}
    for label, path in files.items():
        session = Session.open(path, "cpu", settings)
        (logits[label],) = session.run({next(iter(session.inputs)): images}).values()
    other = OpenVino(openvino, files[OURS], images, arguments.threads, folder)
    logits[OPENVINO] = other.logits
    difference = {label: relative(value, logits[OURS]) for label, value in logits.items()}
    if max(difference.values()) > MOST_DIFFERENCE:
        raise SystemExit(f"not the same network: {difference}")

    protocol = Protocol(arguments.rounds, arguments.burn_in)
    options = BenchOptions("cpu", (arguments.batch,), protocol, threads=arguments.threads)
    result = bench([Subject(label, path) for label, path in files.items()], options)
    ratios = {one.comparison.other: (one.comparison.ratio, str(one.comparison.verdict)) for one in result.comparisons}

    session = Session.open(files[OURS], "cpu", settings)
    feeds = {next(iter(session.inputs)): images}
    ours = session.bind([feeds], session.run(feeds), transfer=False)
    measured = measure({OURS: ours.run, OPENVINO: other.run}, protocol).seconds
    other.close()
    ratios[OPENVINO] = (median_ratio(measured[OURS], measured[OPENVINO]), "without a control")
    return {
        "rounds": len(result.rows[0].seconds),
        "logits_relative_difference": difference,
        "milliseconds": {row.model: row.summary.p50 * 1e3 for row in result.rows}
        | {OPENVINO: summarize(measured[OPENVINO]).p50 * 1e3},
        "ratios": {
            label: dataclasses.asdict(ratio) | {"verdict": verdict} for label, (ratio, verdict) in ratios.items()
        },
        "control": dataclasses.asdict(result.comparisons[0].comparison.control),
    }


def relative(actual: np.ndarray, expected: np.ndarray) -> float:
    """Norm of the difference over the norm of what was expected."""
    actual, expected = actual.reshape(len(actual), -1).astype(np.float64), expected.astype(np.float64)
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


def text(network: dict[str, Any]) -> str:
    """One network's table."""
    rows: list[list[Any]] = []
    for label in (OURS, TORCH, TF, OPENVINO, "A/A control"):
        one = network["making"].get(label)
        cells = (
            [f"{one['seconds']:.1f}", f"{one['peak_mb']:.0f}", f"{one['file_mb']:.1f}", str(one["nodes"])]
            if one
            else [""] * 4
        )
        ratio = network["control"] if label.startswith("A/A") else network["ratios"].get(label)
        middle = network["milliseconds"].get(label)
        cells.append("" if middle is None else f"{middle:.1f}")
        cells.append(f"{ratio['median']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}]" if ratio else "")
        rows.append([label, *cells])
    header = ["", "making s", "peak MB", "file MB", "nodes", "forward ms", "ours / theirs"]
    return f"{network['network']}, {network['rounds']} rounds\n{table(header, rows)}"


def main() -> None:
    """Parses the command line, compares, prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("networks", nargs="*", default=["resnet50", "resnet152"])
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "resnet_compile_peers")
    for peer in REQUIREMENTS:
        option = peer.lower().split(".")[0]
        parser.add_argument(f"--{option}-python", dest=peer, type=Path, help=f"a Python that has {peer}")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--burn-in", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the result here")
    arguments = parser.parse_args()

    pythons = {peer: getattr(arguments, peer) or environment(peer, arguments.cache) for peer in REQUIREMENTS}
    document: dict[str, Any] = {
        "command": f"python tools/compare_peers.py {' '.join(arguments.networks)} --threads {arguments.threads} "
        f"--batch {arguments.batch} --rounds {arguments.rounds} --burn-in {arguments.burn_in}",
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": {
            "system": platform.platform(),
            "cpu": dataclasses.asdict(describe_cpu()),
            "python": platform.python_version(),
            "packages": {OURS: installed_packages(), **{peer: versions(python) for peer, python in pythons.items()}},
        },
        "threads": arguments.threads,
        "batch": arguments.batch,
        "networks": [],
    }
    for name in arguments.networks:
        with tempfile.TemporaryDirectory() as folder:
            document["networks"].append(compare(name, pythons, arguments, Path(folder)))
        print(text(document["networks"][-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
