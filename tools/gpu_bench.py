"""Runs every CUDA path for real and writes what came out.

The command is to be run where a GPU is:

    pip install ".[cuda]"
    python tools/gpu_bench.py tools/results/gpu.json

It needs an NVIDIA GPU, its driver, and this package with the extra `cuda`. For each network: the CPU's and the GPU's
logits agree; `resnet-bench` on CUDA at batch 1 and 32, device-only and host to host, without and with a CUDA graph; and
a profile. Besides: what `resnet-doctor` says, and that a GPU or its libraries that are not there give exit code 4. The
libraries are only tested where --bare-python names a Python that has this package without the extra; the file says so
where it was not given. Exits with 1 when anything is not as it should be; the file is written all the same.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from resnet_compile.runtime import Session

BIN = Path(sys.executable).parent
DEVICE_ERROR = 4
MOST_DIFFERENCE = 1e-4  # of logits, norm over norm: float32 summed in other orders


class Findings:
    """What was seen, and what of it was wrong."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "wrong": []}

    def expect(self, true: bool, what: str) -> None:
        """Notes what is wrong unless it is true."""
        print(f"{'ok   ' if true else 'WRONG'} {what}", flush=True)
        if not true:
            self.document["wrong"].append(what)


def command(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    words = [str(argument) for argument in arguments]
    return subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, **environment})


def logits_agree(model: Path, findings: Findings) -> None:
    """One batch on both devices, in float32 without TF32."""
    results = []
    for device in ("cpu", "cuda"):
        session = Session.open(model, device)
        ((name, info),) = session.inputs.items()
        images = np.random.default_rng(0).random((4, *(int(axis or 0) for axis in info.shape[1:])), np.float32)
        results.append(next(iter(session.run({name: images}).values())).astype(np.float64))
    difference = float(np.linalg.norm(results[1] - results[0]) / np.linalg.norm(results[0]))
    findings.document.setdefault("logits_relative_difference", {})[model.stem] = difference
    findings.expect(difference <= MOST_DIFFERENCE, f"{model.stem}: logits of CPU and CUDA differ by {difference:.1e}")


def benchmarks(model: Path, steps: int, findings: Findings) -> None:
    """Device-only and host to host at batch 1 and 32, without and with a CUDA graph."""
    for graph in (False, True):
        options = ["--device", "cuda", "--batch", "1,32", "--steps", steps, "--json"]
        options += ["--cuda-graph"] if graph else ["--profile"]
        done = command(BIN / "resnet-bench", model, *options)
        label = f"{model.stem}{', CUDA graph' if graph else ''}"
        findings.expect(done.returncode == 0, f"{label}: exit code {done.returncode} {done.stderr.strip()}")
        if done.returncode:
            continue
        document = json.loads(done.stdout)
        findings.document.setdefault("benchmarks", {})[label] = document
        rows = [(run["batch"], run["data"]) for run in document["runs"]]
        wanted = [(batch, data) for batch in (1, 32) for data in ("device", "host to host")]
        findings.expect(rows == wanted, f"{label}: rows {rows}")
        nodes = document["runs"][0]["session"]["nodes"] or {}
        findings.expect("CUDAExecutionProvider" in nodes, f"{label}: providers of nodes {list(nodes)}")
        for run in document["runs"]:
            print(f"      batch {run['batch']}, {run['data']}: {run['statistics']['p50'] * 1e3:.3f} ms")


def refusals(bare_python: Path | None, findings: Findings) -> None:
    """Without a GPU, and without its libraries, asking for CUDA fails and says why."""
    trials = {"GPU hidden": (BIN, {"CUDA_VISIBLE_DEVICES": "-1"})}
    if bare_python:
        trials["no CUDA libraries"] = (bare_python.parent, {"LD_LIBRARY_PATH": ""})
    findings.document["refusals"] = {"no CUDA libraries": None}
    for name, (folder, environment) in trials.items():
        done = command(folder / "resnet-bench", "tiny", "--device", "cuda", **environment)
        findings.document["refusals"][name] = {"exit_code": done.returncode, "stderr": done.stderr}
        findings.expect(done.returncode == DEVICE_ERROR, f"{name}: exit code {done.returncode} {done.stderr.strip()}")


def main() -> None:
    """Parses the command line, runs, writes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("output", type=Path, help="the JSON file to write")
    parser.add_argument("--networks", nargs="+", default=["resnet50", "resnet152"])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--bare-python", type=Path, help="a Python that has this package without the extra `cuda`")
    arguments = parser.parse_args()

    findings = Findings()
    doctor = command(BIN / "resnet-doctor", "--json")
    findings.document["doctor"] = json.loads(doctor.stdout)
    usable = {device["device"]: device["usable"] for device in findings.document["doctor"]["devices"]}
    findings.expect(usable.get("cuda:0", False), f"resnet-doctor: usable {usable}")
    refusals(arguments.bare_python, findings)
    if usable.get("cuda:0"):
        with tempfile.TemporaryDirectory() as folder:
            for network in arguments.networks:
                model = Path(folder) / f"{network}.onnx"
                compiled = command(BIN / "resnet-compile", network, "--outputs", "logits", "-o", model)
                findings.expect(compiled.returncode == 0, f"{network}: compiled {compiled.stderr.strip()}")
                logits_agree(model, findings)
                benchmarks(model, arguments.steps, findings)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(findings.document, indent=1) + "\n")
    sys.exit(1 if findings.document["wrong"] else 0)


if __name__ == "__main__":
    main()
