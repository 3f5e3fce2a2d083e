"""Times what a folder of photographs takes beside the network: decoding, preprocessing, and `run_images` as a whole.

    python tools/measure_images.py [NETWORK] [--images N] [--rounds N] [--output tools/results/images_cpu]

Photographs are synthetic JPEGs of quality 90, of 0.2 and of 12 megapixels, decoded whole and by `--fast-decode`. Stages
run on one thread, in turn. Then the network, in int8 on random numbers and in batches of 8, runs on the small ones:
from their files by `classify.run_images`, and on arrays that are ready, in turn; the ratio is of the same round, with a
bootstrap 95 % interval. Writes OUTPUT.json and OUTPUT.md.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from bench_common import environment, interval, markdown, synthetic_images
from PIL import Image

from resnet_compile import CompileOptions, load_spec
from resnet_compile.bench import median_ratio
from resnet_compile.classify import run_images
from resnet_compile.images import decode_image, find_scheme
from resnet_compile.quantize import quantize
from resnet_compile.runtime import Session, SessionOptions

SIZES = {"0.2 megapixels": (375, 500), "12 megapixels": (3000, 4000)}
SCHEMES = ("inception", "vgg", "torchvision")
SIDE, BATCH = 224, 8


def photograph(height: int, width: int, seed: int) -> bytes:
    """A JPEG file with a photograph's spectrum and some noise of a sensor."""
    rough = synthetic_images(1, 512, seed)[0].transpose(1, 2, 0)
    pixels = np.uint8(np.clip((rough + 1) * 127.5, 0, 255))
    large = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC), np.float32)
    large += np.random.default_rng(seed).normal(0, 3, large.shape).astype(np.float32)
    buffer = io.BytesIO()
    Image.fromarray(np.uint8(np.clip(large, 0, 255))).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def timed(steps: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each step by round, all in turn in random order."""
    generator, seconds = np.random.default_rng(0), {name: list[float]() for name in steps}
    for _ in range(rounds):
        for name in generator.permutation(list(steps)):
            start = time.perf_counter()
            steps[name]()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def stages(rounds: int) -> dict[str, float]:
    """Milliseconds of each stage."""
    steps: dict[str, Callable[[], object]] = {}
    for size, sides in SIZES.items():
        data = photograph(*sides, 0)
        whole = decode_image(data)
        steps[f"{size}: decoded"] = lambda data=data: decode_image(data)
        for name in SCHEMES:
            scheme = find_scheme(name)
            steps[f"{size}: {name}"] = lambda scheme=scheme, whole=whole: scheme(whole, SIDE, SIDE)
        least = replace(find_scheme("inception"), fast=True).least_side(SIDE, SIDE)
        steps[f"{size}: decoded, --fast-decode"] = lambda data=data, least=least: decode_image(data, least_side=least)
    return {name: round(float(np.median(each)) * 1e3, 2) for name, each in timed(steps, rounds).items()}


def folder(network: str, images: int, rounds: int) -> dict[str, Any]:
    """Images a second from files, and of arrays that are ready."""
    with tempfile.TemporaryDirectory() as place:
        paths = [Path(place) / f"{number}.jpg" for number in range(images)]
        for number, path in enumerate(paths):
            path.write_bytes(photograph(*SIZES["0.2 megapixels"], number % 8))
        model = Path(place) / "int8.onnx"
        quantize(load_spec(network), CompileOptions(dtype="int8", target="cpu", batch=BATCH)).save(model)
        session = Session.open(model, "cpu", SessionOptions())
        scheme = find_scheme("inception")
        *_, height, width = session.inputs["input"].shape
        ready = np.stack([scheme(decode_image(path), height, width) for path in paths[:BATCH]]).transpose(0, 3, 1, 2)
        fed = {"input": np.ascontiguousarray(ready)}

        def inference() -> None:
            for _ in range(0, images, BATCH):
                session.run(fed)

        def files() -> None:
            for _ in run_images(session, paths, scheme, batch=BATCH):
                pass

        def fast() -> None:
            for _ in run_images(session, paths, replace(scheme, fast=True), batch=BATCH):
                pass

        seconds = timed({"arrays": inference, "files": files, "files, --fast-decode": fast}, rounds)
    return {
        name: {
            "images_per_second": round(images / float(np.median(each)), 1),
            "ratio": asdict(median_ratio(each, seconds["arrays"])),
        }
        for name, each in seconds.items()
    }


def page(document: dict[str, Any]) -> str:
    """The result as Markdown."""
    cpu, (before, after) = document["environment"]["cpu"], document["load"]
    rows = [[name, each["images_per_second"], interval(each["ratio"])] for name, each in document["folder"].items()]
    return (
        f"# From files to answers\n\n{cpu['model']}, {cpu['cores']} cores, {document['environment']['time']}, load "
        f"{before:.1f} before and {after:.1f} after. `tools/measure_images.py` says how.\n\n"
        f"{markdown(['one image, one thread', 'ms'], list(document['stages'].items()))}\n\n"
        f"{markdown([document['network'] + ' in int8', 'images/s', 'time'], rows)}\n"
    )


def main() -> None:
    """Parses the command line, measures, writes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("network", nargs="?", default="resnet50")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "images_cpu")
    arguments = parser.parse_args()
    before = os.getloadavg()[0]
    document: dict[str, Any] = {
        "environment": environment(),
        "network": arguments.network,
        "stages": stages(arguments.rounds),
        "folder": folder(arguments.network, arguments.images, arguments.rounds),
    }
    document["load"] = [before, os.getloadavg()[0]]
    arguments.output.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    arguments.output.with_suffix(".md").write_text(page(document))


if __name__ == "__main__":
    main()
