"""Kills a training with SIGKILL at random moments, resumes it each time, and compares it with one that ran through.

    python tools/kill_training.py [--kills 20] [--seed 0] [--steps 400]

It makes a small data set of CIFAR's form in a folder of its own. Half of the kills come at any moment of the process,
its start and its evaluations included; the others wait until a checkpoint is being written. The two runs must end with
the same bits in every state variable and the same log, but for the speed. The exit code is 1 where they do not.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

SAVE_EVERY, EVAL_EVERY = 20, 40
COMMAND = Path(sys.executable).with_name("resnet-train")
# Channels in whole blocks of onnxruntime's own layout, into which a CPU's convolutions move.
SPEC = {
    "name": "small",
    "input": {"height": 32, "width": 32, "preprocess": "cifar"},
    "root": {"kind": "cifar", "depth": 16},
    "blocks": [
        {"scope": "block1", "unit": {"kind": "cifar_plain"}, "args": [{"depth": 16, "stride": 1}]},
        {"scope": "block2", "unit": {"kind": "cifar_plain"}, "args": [{"depth": 32, "stride": 2}]},
    ],
    "norm": {"epsilon": 0.001, "decay": 0.9, "averages": "zero_debiased"},
    "head": {"num_classes": 10, "logits": "dense"},
    "initializer": "cifar",
    "weight_decay": 0.0002,
}


def main() -> int:
    """The tool."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return 0 if survives(Path(folder), options.kills, options.steps, random.Random(options.seed)) else 1


def survives(folder: Path, kills: int, steps: int, chance: random.Random) -> bool:
    """Whether a run that is killed so many times ends as one that ran through.

    Args:
        folder: An empty one.
        kills: How many times.
        steps: Rounded up to whole evaluations; more where the run ends before it is killed often enough.
        chance: Chooses the moments.
    """
    steps = -(-steps // EVAL_EVERY) * EVAL_EVERY
    write_data(folder / "data", np.random.default_rng(0))
    (folder / "spec.json").write_text(json.dumps(SPEC))
    started = time.perf_counter()
    subprocess.run(arguments(folder, folder / "through", steps), check=True, capture_output=True)
    seconds = time.perf_counter() - started
    killed, moments = folder / "killed", Counter[str]()
    for number in range(kills):
        while True:
            moment = kill_once(folder, killed, steps, writing=number % 2 == 1, seconds=seconds, chance=chance)
            if moment:
                break
            # It came to its end first: the next one has further to go.
            steps += 5 * EVAL_EVERY
        moments[moment] += 1
        print(f"kill {number + 1}: {moment}; newest checkpoint: {newest(killed)}", flush=True)
    subprocess.run([*arguments(folder, killed, steps), *resuming(killed)], check=True, capture_output=True)
    subprocess.run([*arguments(folder, folder / "through", steps), "--resume"], check=True, capture_output=True)
    print(f"{kills} kills: {', '.join(f'{count} {moment}' for moment, count in moments.items())}")
    return same(folder / "through", killed)


def arguments(folder: Path, out: Path, steps: int) -> list[str]:
    """The command of one run."""
    often = {"--eval-every": EVAL_EVERY, "--save-every": SAVE_EVERY, "--keep": 3, "--batch": 32, "--steps": steps}
    flags = [text for flag, value in often.items() for text in (flag, str(value))]
    where = ["--data", str(folder / "data"), "--out", str(out), "--device", "cpu"]
    return [str(COMMAND), str(folder / "spec.json"), *where, *flags]


def resuming(out: Path) -> list[str]:
    """How to go on: a run that was killed before its first checkpoint begins again."""
    return ["--resume"] if newest(out) else []


def newest(out: Path) -> str | None:
    """The name of the newest checkpoint."""
    return max((path.name for path in out.glob("checkpoint-*.npz")), default=None)


def kill_once(
    folder: Path, out: Path, steps: int, *, writing: bool, seconds: float, chance: random.Random
) -> str | None:
    """Starts or resumes the run and kills it; says in the midst of what, None where it ended by itself."""
    command = [*arguments(folder, out, steps), *resuming(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.perf_counter() + chance.uniform(0, 0.9 * seconds)
    parts = chance.randint(1, 3)
    seen: set[str] = set()
    while process.poll() is None:
        found = {path.name for path in out.glob(".checkpoint-*.part")} if writing else set()
        seen |= found
        if (len(seen) >= parts and found) or (not writing and time.perf_counter() >= deadline):
            process.kill()
            break
    _, errors = process.communicate()
    if process.returncode == 0:
        return None
    if process.returncode != -signal.SIGKILL:
        raise SystemExit(f"{' '.join(command)} ended with exit code {process.returncode}:\n{errors}")
    if list(out.glob(".checkpoint-*.part")):
        return "while a checkpoint was written"
    return "between checkpoints" if newest(out) else "before the first checkpoint"


def same(one: Path, other: Path) -> bool:
    """Compares the last checkpoints bit by bit, and the logs but for the speed; prints what differs."""
    last, found = newest(one), newest(other)
    if last is None or last != found:
        print(f"the last checkpoints are {last} and {found}")
        return False
    with np.load(one / last) as expected, np.load(other / last) as actual:
        names = [name for name in expected if name != "progress"]
        unequal = [name for name in names if expected[name].tobytes() != actual[name].tobytes()]
        complete = expected.files == actual.files
    logs = [log(folder) for folder in (one, other)]
    print(f"{last}: {len(names) - len(unequal)} of {len(names)} state variables are equal, bit by bit")
    print(f"logs of {len(logs[0])} and {len(logs[1])} lines are {'equal' if logs[0] == logs[1] else 'not equal'}")
    return complete and not unequal and logs[0] == logs[1]


def log(folder: Path) -> Sequence[dict[str, Any]]:
    """A log's lines without what a clock measured."""
    lines = (json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines())
    return [{key: value for key, value in line.items() if key != "images_per_second"} for line in lines]


def write_data(folder: Path, rng: np.random.Generator, images: int = 200) -> None:
    """A data set of CIFAR-10's form: a noisy pattern of its own for each class."""
    folder.mkdir(parents=True)
    patterns = np.kron(rng.integers(0, 256, (10, 3, 4, 4)), np.ones((8, 8), np.int64)).reshape(10, -1)
    for name in (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"):
        labels = rng.integers(0, 10, images)
        pixels = np.clip(patterns[labels] // 2 + rng.integers(0, 128, (images, 3072)), 0, 255)
        np.concatenate((labels[:, None], pixels), axis=1).astype(np.uint8).tofile(folder / name)


if __name__ == "__main__":
    sys.exit(main())
