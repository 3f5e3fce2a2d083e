"""The five best classes of a photograph, by everything here that takes it as it is, uint8, to a model that prepares it.

    python tools/compare_photo.py --environments DIR [SPEC] [--weights FILE] [--photo NAME]

Plain onnxruntime, `resnet-run`, `resnet-run --ray local` where Ray is installed, and onnxruntime-web in node and in
headless Chromium (whose environments `runtimes.py` makes below DIR) run one file. Prints the classes that each gives
and how far its probabilities are from plain onnxruntime's; the exit code is 1 if the classes are others.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from bench_common import markdown
from runtimes import RUNTIMES, TOOLS, answered

import resnet_compile as rc

TOP = 5
OUTPUTS = ["top_classes", "top_probabilities"]
Best = tuple[list[int], list[float]]


def commands(model: Path, photo: Path) -> Iterator[tuple[str, Best]]:
    """What `resnet-run` says."""
    line = [sys.executable, "-c", "from resnet_compile.cli.run import main; main()", str(model), str(photo)]
    printed = subprocess.run([*line, "--json"], check=True, capture_output=True).stdout
    yield "resnet-run", best(json.loads(printed)["images"][0])
    if importlib.util.find_spec("ray"):
        printed = subprocess.run([*line, "--format", "jsonl", "--ray", "local"], check=True, capture_output=True).stdout
        yield "resnet-run --ray local", best(json.loads(printed))


def best(entry: dict[str, Any]) -> Best:
    """The classes and probabilities of an image's entry."""
    return [place["class"] for place in entry["top"]], [place["probability"] for place in entry["top"]]


def main() -> int:
    """The tool."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", nargs="?", default="resnet50")
    parser.add_argument("--environments", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--photo", default="chelsea")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        model, photo = Path(place) / "model.onnx", Path(place) / "photo"
        with np.load(TOOLS.parent / "tests" / "golden" / "photos.npz") as held:
            photo.write_bytes(held[f"photo/{arguments.photo}"].tobytes())
        options = rc.CompileOptions(preprocess="model", top=TOP)
        rc.compile(rc.load_spec(arguments.spec), options, weights=arguments.weights).save(model)
        pixels = rc.images.decode_image(photo)[None]
        session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        classes, chances = (made[0].tolist() for made in session.run(OUTPUTS, {"input": pixels}))
        rows = [("onnxruntime", (classes, chances)), *commands(model, photo)]
        for runtime in RUNTIMES:
            if runtime.of_node:
                made = answered(runtime, runtime.environment(arguments.environments), model, pixels)["outputs"]
                rows.append((runtime.label, ([int(each) for each in made[OUTPUTS[0]]], made[OUTPUTS[1]])))
    table = [
        [label, ", ".join(map(str, found)), f"{np.abs(np.subtract(values, chances)).max():.0e}"]
        for label, (found, values) in rows
    ]
    print(markdown([f"{arguments.spec}, {arguments.photo}", "classes", "probabilities less onnxruntime's"], table))
    return 0 if all(found == classes for _, (found, _) in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
