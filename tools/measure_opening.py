"""Times how a model opens on the CPU, with and without what was prepared of it (`resnet-run --cache`).

    python tools/measure_opening.py [NETWORK ...] [--rounds N] [--output tools/results/opening_cpu]

Every opening is a process of its own, after onnxruntime is imported; the ways follow one another in each round, in
random order, two of them the same (A/A). Ratios are of the same round, with bootstrap 95 % intervals. Memory is what
the process has of its own, not of a file, before and after the first run, less what it had before the opening. Speed is
that of sessions that run in turn in one process; outputs must be the same bits. Writes OUTPUT.json and OUTPUT.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from bench_common import CONTROL, environment, interleaved, interval, markdown

from resnet_compile import CompileOptions, compile
from resnet_compile.bench import Protocol, median_ratio
from resnet_compile.runtime import Session, SessionOptions, prepare

NETWORKS = ("resnet152", "resnet50")
PLAIN, EXTERNAL, CACHED = "as it is", "--external-data", "--cache"

ONE = """
import json, sys, time
from pathlib import Path
import numpy as np
import onnxruntime
from resnet_compile.runtime import Session, SessionOptions

def own():
    fields = dict(line.split(":") for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    return int(fields["Anonymous"].split()[0]) / 1000

options = SessionOptions(cache=sys.argv[2] == "cached", spinning=False)
images = np.zeros((1, 3, 224, 224), np.float32)
before, start = own(), time.perf_counter()
session = Session.open(sys.argv[1], "cpu", options)
seconds, opened = time.perf_counter() - start, own() - before
session.run({"input": images})
print(json.dumps({"seconds": seconds, "opened": opened, "run": own() - before, "cache": session.cache}))
"""


def opened(path: Path, *, cached: bool) -> dict[str, Any]:
    """One opening, in a process of its own."""
    command = [sys.executable, "-c", ONE, str(path), "cached" if cached else "plain"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert found["cache"] in (None, "prepared before")
    return dict(found)


def network(name: str, rounds: int, folder: Path) -> dict[str, Any]:
    """All there is to tell of a network."""
    paths = {PLAIN: folder / f"{name}.onnx", EXTERNAL: folder / f"{name}_external.onnx"}
    for label, path in paths.items():
        compile(name, CompileOptions(target="cpu", batch=1, external_data=label == EXTERNAL)).save(path)
    paths |= {CACHED: paths[PLAIN], CONTROL: paths[PLAIN]}
    prepare(paths[PLAIN])
    generator, found = np.random.default_rng(0), dict[str, list[dict[str, Any]]]()
    for number in range(rounds + 1):
        for label in generator.permutation(list(paths)):
            each = opened(paths[label], cached=label == CACHED)
            if number:  # the first sees the files' contents, and fills the system's cache of them
                found.setdefault(str(label), []).append(each)
    seconds = {label: [each["seconds"] for each in runs] for label, runs in found.items()}
    sessions = {
        label: Session.open(paths[PLAIN], "cpu", SessionOptions(cache=label == CACHED, spinning=False))
        for label in (PLAIN, CACHED)
    }
    images = {"input": np.random.default_rng(1).standard_normal((1, 3, 224, 224), np.float32)}
    outputs = {label: session.run(images) for label, session in sessions.items()}
    for output, array in outputs[PLAIN].items():
        np.testing.assert_array_equal(array, outputs[CACHED][output])
    steps = {label: session.bind([images], outputs[label], transfer=False).run for label, session in sessions.items()}
    runs = interleaved({label: (lambda label=label: steps[label]) for label in steps}, Protocol(steps=20, burn_in=2))
    print(name, {label: round(float(np.median(each)) * 1e3) for label, each in seconds.items()}, flush=True)
    return {
        "name": name,
        "openings": {
            label: {
                "milliseconds": round(float(np.median(each)) * 1e3, 1),
                "ratio": asdict(median_ratio(each, seconds[PLAIN])),
                "own_mb": round(float(np.median([run["opened"] for run in found[label]]))),
                "own_mb_after_a_run": round(float(np.median([run["run"] for run in found[label]]))),
            }
            for label, each in seconds.items()
        },
        "run_time": asdict(median_ratio(runs[CACHED], runs[PLAIN])),
    }


def page(document: dict[str, Any]) -> str:
    """The result as Markdown."""
    rows: list[list[object]] = []
    for entry in document["networks"]:
        rows.append([f"**{entry['name']}**", *[None] * 4])
        for label, each in entry["openings"].items():
            memory = each["own_mb"], each["own_mb_after_a_run"]
            rows.append([label, each["milliseconds"], interval(each["ratio"]), *memory])
        rows.append([f"a run, {CACHED}", None, interval(entry["run_time"]), None, None])
    table = markdown(["", "ms", "time", "memory of its own, MB", "after a run"], rows)
    cpu, (before, after) = document["environment"]["cpu"], document["load"]
    about = (
        f"{cpu['model']}, {cpu['cores']} cores, {document['environment']['time']}, load {before:.1f} before and "
        f"{after:.1f} after, {document['rounds']} rounds. `tools/measure_opening.py` says how."
    )
    return f"# Opening a model on the CPU\n\n{about}\n\n{table}\n"


def main() -> None:
    """Parses the command line, measures, writes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "opening_cpu")
    arguments = parser.parse_args()
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        networks = [network(name, arguments.rounds, Path(folder)) for name in arguments.networks]
    document: dict[str, Any] = {"environment": environment(), "rounds": arguments.rounds, "networks": networks}
    document["load"] = [before, os.getloadavg()[0]]
    arguments.output.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    arguments.output.with_suffix(".md").write_text(page(document))


if __name__ == "__main__":
    main()
