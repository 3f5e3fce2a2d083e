"""Classifies many images, kills what does it, and checks that every image was answered once, in constant memory.

    python tools/kill_run.py [--images 5000] [--kills 5] [--seed 0] [--ray]

`resnet-run` writes shards and dies by SIGKILL at random moments; each time it goes on with `--resume`. The answers must
be those of a run that nobody killed. Memory is the peak of a run through all images, and of one through a tenth. With
`--ray`, instead, `resnet-run --ray local` loses an actor to SIGKILL in the middle of its work. Linux only. The exit
code is 1 if an answer is missing, twice there or another.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import resnet_compile as rc

COMMAND = [sys.executable, "-c", "from resnet_compile.cli.run import main; main()"]


def main() -> int:
    """The tool."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ray", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_images(folder, options.images)
        names = sorted(map(str, (folder / "photos").iterdir()))
        seconds, peak = watched(run(folder, "through", *names))
        print(f"a run through {len(names):,} images: {seconds:.0f} s, peak {peak} MB", flush=True)
        if options.ray:
            kill_actor(folder, names)
        else:
            _, peak = watched(run(folder, "tenth", *names[: len(names) // 10]))
            print(f"a run through a tenth of them: peak {peak} MB", flush=True)
            kill_runs(folder, names, options.kills, seconds, random.Random(options.seed))
        made, whole = answers(folder / "killed"), answers(folder / "through")
        once, same = [answer["image"] for answer in made] == names, made == whole
        print(f"{len(made):,} answers; every image once: {once}; all as those of the run through: {same}")
        return 0 if once and same else 1


def write_images(folder: Path, count: int) -> None:
    """Small images, and a network for them."""
    (folder / "photos").mkdir()
    generator = np.random.default_rng(0)
    for number in range(count):
        image = generator.integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(image).save(folder / "photos" / f"{number:06}.png")
    rc.compile(rc.load_spec("cifar_resnet20")).save(folder / "model.onnx")


def run(folder: Path, name: str, *words: str) -> subprocess.Popen[bytes]:
    """Starts `resnet-run`."""
    shards = ["--format", "jsonl", "-o", str(folder / name), "--resume"]
    line = [*COMMAND, str(folder / "model.onnx"), *words, *shards]
    return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def watched(process: subprocess.Popen[bytes]) -> tuple[float, int]:
    """The seconds that a process takes to its end, and its peak of memory in MB."""
    peak, began = 0, time.monotonic()
    while process.poll() is None:
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            peak = max(peak, *(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")), 0)
        time.sleep(0.05)
    return time.monotonic() - began, peak


def kill_runs(folder: Path, names: Sequence[str], kills: int, seconds: float, chance: random.Random) -> None:
    """Kills a run so many times, then lets it end."""
    for number in range(kills):
        process = run(folder, "killed", *names)
        time.sleep(chance.uniform(0, 2 * seconds / kills))
        process.kill()
        process.wait()
        print(f"kill {number + 1}: {len(answers(folder / 'killed')):,} answers are there", flush=True)
    run(folder, "killed", *names).wait()


def kill_actor(folder: Path, names: Sequence[str]) -> None:
    """Kills an actor of a run on Ray in the middle of its work, and lets the run end."""
    process = run(folder, "killed", *names, "--ray", "local")
    while (actor := next(busy_actors(process.pid), None)) is None:
        assert process.poll() is None, "the run ended before an actor was seen"
        time.sleep(0.02)
    os.kill(actor, signal.SIGKILL)
    print(f"killed an actor after {len(answers(folder / 'killed')):,} answers", flush=True)
    process.wait()


def busy_actors(parent: int) -> Iterator[int]:
    """The processes of Ray's actors below a process that are classifying."""
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            title = (place / "cmdline").read_bytes()
            # "ray::MapWorker(MapBatches(Classifier)).submit", in older versions "ray::MapBatches(Classifier)".
            busy = re.match(rb"ray::(MapWorker\()?MapBatches\(Classifier\)(\)\.submit)?[ \0]*$", title)
            if busy and descends(int(place.name), parent):
                yield int(place.name)


def descends(number: int, ancestor: int) -> bool:
    """Whether a process is below another."""
    while number > 1:
        if number == ancestor:
            return True
        number = int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1])
    return False


def answers(folder: Path) -> list[dict[str, Any]]:
    """The answers in a folder of shards."""
    return [json.loads(line) for shard in sorted(folder.glob("*.jsonl")) for line in shard.read_text().splitlines()]


if __name__ == "__main__":
    sys.exit(main())
