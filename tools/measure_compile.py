"""Times `resnet-compile` as a whole process beside the least that the same result can cost.

    python tools/measure_compile.py [SPEC] [--runs N]

The least is a process that only imports numpy, draws as many truncated normal values on every core and writes them to
a file: what any program has to do that makes these weights. The two run in turn, so that the ratio, which is what to
quote, holds on a machine whose speed drifts. Prints medians of wall time, processor time and peak memory, and paired
ratios. Peak memory is that of the whole process; on Linux, also without the pages of mapped files, looked at every two
milliseconds.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

LEAST = """
import sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np

count, path = int(sys.argv[1]), sys.argv[2]
chunk = 1 << 20

def draw(index):
    generator = np.random.Generator(np.random.SFC64(index))
    values = generator.standard_normal(chunk, dtype=np.float32)
    beyond = np.flatnonzero(np.abs(values) > 2)
    while beyond.size:
        again = generator.standard_normal(beyond.size, dtype=np.float32)
        values[beyond] = again
        beyond = beyond[np.abs(again) > 2]
    return values

with open(path, "wb") as file, ThreadPoolExecutor() as pool:
    for start in range(0, count, 16 * chunk):
        for values in pool.map(draw, range(start // chunk, min(start // chunk + 16, -(-count // chunk)))):
            file.write(values.data)
"""


@dataclass(frozen=True)
class Run:
    """One finished process: seconds and MB (10^6 bytes)."""

    wall: float
    cpu: float
    peak: float
    anonymous: float


class Watcher(threading.Thread):
    """Follows the anonymous memory of a process, in bytes, until it ends; 0 where the system does not tell."""

    def __init__(self, pid: int) -> None:
        super().__init__()
        self.peak = 0
        self._status = Path(f"/proc/{pid}/status")

    def run(self) -> None:
        """Looks every two milliseconds."""
        while True:
            try:
                text = self._status.read_text()
            except OSError:
                return
            found = re.search(r"RssAnon:\s+(\d+) kB", text)
            if found is None:  # the process has ended
                return
            self.peak = max(self.peak, int(found[1]) * 1024)
            time.sleep(0.002)


def measured(arguments: list[str]) -> Run:
    """Runs a command to its end; the operating system accounts for it."""
    start = time.perf_counter()
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    watcher = Watcher(process.pid)
    watcher.start()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    watcher.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{arguments[0]} ended with exit code {process.returncode}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6, watcher.peak / 1e6)


def main() -> None:
    """Parses the command line, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("spec", nargs="?", default="specs/resnet152.json")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--weights", help="compile with a checkpoint instead of drawing")
    arguments = parser.parse_args()

    from resnet_compile import load_spec, plan_network

    plan = plan_network(load_spec(arguments.spec))
    count = plan.num_parameters + plan.num_moving_statistics
    command = str(Path(sys.executable).with_name("resnet-compile"))
    with tempfile.TemporaryDirectory() as folder:
        compiling = [command, arguments.spec, "-o", f"{folder}/model.onnx"]
        if arguments.weights:
            compiling += ["--weights", arguments.weights]
        least = [sys.executable, "-c", LEAST, str(count), f"{folder}/values"]
        pairs = [(measured(compiling), measured(least)) for _ in range(arguments.runs + 1)][1:]

    print(f"{arguments.spec}: {count:,} values, {os.cpu_count()} cores, {arguments.runs} runs after one to warm up")
    for label, runs in (("resnet-compile", [a for a, _ in pairs]), ("drawing and writing", [b for _, b in pairs])):
        median = {
            key: statistics.median(getattr(run, key) for run in runs) for key in ("wall", "cpu", "peak", "anonymous")
        }
        low, high = min(run.wall for run in runs), max(run.wall for run in runs)
        print(
            f"{label:20} wall {median['wall']:.2f} s ({low:.2f} to {high:.2f}), "
            f"processor {median['cpu']:.2f} s, peak memory {median['peak']:.0f} MB, "
            f"{median['anonymous']:.0f} MB without mapped files"
        )
    for key in ("wall", "cpu"):
        ratios = sorted(getattr(a, key) / getattr(b, key) for a, b in pairs)
        print(f"ratio of {key} time: median {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
