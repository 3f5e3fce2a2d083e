"""The other makers of the same networks, and OpenVINO: their environments and how they are called.

Each works in a virtual environment of its own, made when it is first needed; one that is there already can be named
instead (`--torch-python` and the like).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from served import Worker

from resnet_compile import load_spec
from resnet_compile.errors import ResnetCompileError

TOOLS = Path(__file__).parent
OPSET = 18
TORCH, TF, OPENVINO = "torch.onnx", "tf2onnx", "OpenVINO"
MAKERS = (TORCH, TF)
# What `peer_torch.py` and TF-slim both have.
NETWORKS = ("resnet_v2_50", "resnet_v2_101", "resnet_v2_152", "resnet_v2_200")
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
_SCRIPTS = {TORCH: "peer_torch.py", TF: "peer_tf2onnx.py"}
# A process's peak memory begins with that of the process that started it (Linux, exec_mmap), which here is large. So a
# small one starts the makers; it prints seconds and bytes.
_LAUNCHER = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.run(sys.argv[1:], stdout=sys.stderr).returncode
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
print(json.dumps({"seconds": seconds, "peak": peak}))
sys.exit(code)
"""


class MakingError(Exception):
    """A maker failed; the message is the end of what it said."""


@dataclass(frozen=True)
class Made:
    """A model's making and the file that came of it."""

    seconds: float
    peak_mb: float
    file_mb: float
    nodes: int


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that say where the peers' environments are."""
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "resnet_compile_peers")
    for peer in REQUIREMENTS:
        option = peer.lower().split(".")[0]
        parser.add_argument(f"--{option}-python", dest=peer, type=Path, help=f"a Python that has {peer}")


def pythons(arguments: argparse.Namespace, peers: Iterable[str] = tuple(REQUIREMENTS)) -> dict[str, Path]:
    """The peers' Pythons, by the options of `add_options`; environments that are not there are made."""
    return {peer: getattr(arguments, peer) or _environment(peer, arguments.cache) for peer in peers}


def known_network(name: str) -> str:
    """The name that the peers have for a network of the catalogue or a spec's file; for argparse, as a type.

    Raises:
        argparse.ArgumentTypeError: There is no such spec, or no peer makes it.
    """
    try:
        peers_name = load_spec(name).name
    except ResnetCompileError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if peers_name not in NETWORKS:
        raise argparse.ArgumentTypeError(f"no peer makes {peers_name}; they make {', '.join(NETWORKS)}")
    return name


def versions(python: Path) -> list[str]:
    """The packages of an environment that bear on the result."""
    done = subprocess.run([python, "-m", "pip", "freeze"], capture_output=True, text=True, check=True)
    names = ("torch", "onnx", "onnxscript", "tensorflow", "tf2onnx", "tf_slim", "tf-slim", "openvino", "numpy")
    return [line for line in done.stdout.split("\n") if line.startswith(tuple(f"{name}==" for name in names))]


def made(command: list[str], output: Path) -> Made:
    """Runs a maker as a process.

    Raises:
        MakingError: It failed.
    """
    done = subprocess.run([sys.executable, "-c", _LAUNCHER, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise MakingError(f"{done.stderr.strip()[-3000:]} (exit code {done.returncode})")
    account = json.loads(done.stdout.splitlines()[-1])
    return Made(account["seconds"], account["peak"] / 1e6, output.stat().st_size / 1e6, count_nodes(output))


def made_by_us(network: str, options: list[str], output: Path) -> Made:
    """Runs `resnet-compile` for the logits of a network; raises as `made` does."""
    command = str(Path(sys.executable).with_name("resnet-compile"))
    return made([command, network, "--outputs", "logits", "--opset", str(OPSET), *options, "-o", str(output)], output)


def made_by(peer: str, python: Path, name: str, weights: Path, output: Path) -> Made:
    """Makes a network with a peer, unless the output is there already and was made from the same weights.

    Args:
        peer: One of `MAKERS`.
        python: Its Python.
        name: The network's name among `NETWORKS`.
        weights: What `save_weights` wrote.
        output: The file to write; beside it comes an account of its making.

    Raises:
        MakingError: The peer failed.
    """
    account = output.with_suffix(".json")
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    if output.exists() and account.exists():
        known = json.loads(account.read_text())
        if known["weights"] == digest and known["requirements"] == list(REQUIREMENTS[peer]):
            return Made(**known["made"])
    result = made([str(python), str(TOOLS / _SCRIPTS[peer]), name, str(weights), str(output), str(OPSET)], output)
    document = {"weights": digest, "requirements": REQUIREMENTS[peer], "made": asdict(result)}
    account.write_text(json.dumps(document) + "\n")
    return result


def count_nodes(model: Path) -> int:
    """Nodes of an ONNX file's graph."""
    return len(onnx.load(model, load_external_data=False).graph.node)


def save_weights(model: Path, path: Path) -> None:
    """Our unrewritten model's initializers, which bear slim's names, for the peers."""
    proto = onnx.load(model)
    values: dict[str, Any] = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    np.savez(path, **values)


class OpenVino:
    """A model in OpenVINO, in a process of its own.

    Attributes:
        version: Of OpenVINO.
        logits: Of the images.
    """

    def __init__(self, python: Path, model: Path, images: Path, threads: int, folder: Path) -> None:
        self._worker = Worker([python, TOOLS / "peer_openvino.py"], folder / f"{model.stem}.openvino.log")
        logits = folder / f"{model.stem}.openvino.npy"
        request = {"do": "open", "model": str(model), "images": str(images), "logits": str(logits), "threads": threads}
        self.version = self._worker.ask(request, 600)
        self.logits = np.load(logits)

    def run(self, _: int) -> None:
        """One forward pass; asking and answering take some 0.05 ms of its time."""
        self._worker.ask({"do": "run"}, 600)

    def close(self) -> None:
        """Ends the process."""
        self._worker.close()


def _environment(peer: str, folder: Path) -> Path:
    """The Python of the peer's virtual environment, made if need be."""
    home = folder / peer
    python = home / "bin" / "python"
    done = home / "complete"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *REQUIREMENTS[peer]], check=True)
        done.touch()
    return python
