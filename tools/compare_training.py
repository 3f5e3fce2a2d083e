"""Our training step in onnxruntime beside PyTorch's, eager and compiled: step time and peak memory.

    python tools/compare_training.py [SPEC:SIDE:BATCH ...] [--threads N] [--rounds N] [--steps N] [--json FILE]

Everybody gets the same initial values, the same batch and the same number of threads, in a process of its own: ours
twice (the second is the A/A control), and PyTorch eager, eager with channels last, and under torch.compile. That they
compute the same is shown first, by the losses of a few steps. Then all take part in every round, in random order, each
with one step that is not timed and some that are, while the other processes are stopped by a signal, since idle threads
may wait busily. Ratios are ours over theirs in the same round, with bootstrap confidence intervals. Memory is the
operating system's account of the most that a process ever had. PyTorch comes from an environment that
`tools/compare_peers.py` has too.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bench_common import CONTROL, environment, interval
from peers import TORCH, add_options, pythons, versions
from served import Request, Worker, WorkerError

from resnet_compile import load_spec
from resnet_compile.bench import Comparison, median_ratio, summarize
from resnet_compile.report.table import table
from resnet_compile.training import IMAGES, LABELS, LEARNING_RATE, compile_step
from resnet_compile.training.options import StepOptions

TOOLS = Path(__file__).parent
OURS, EAGER, CHANNELS_LAST, COMPILED = "resnet-compile", "eager", "channels_last", "compile"
PEERS = (EAGER, CHANNELS_LAST, COMPILED)
NETWORKS = ("cifar_resnet32:32:128", "resnet50:64:32", "resnet50:224:8")
RATE = 1e-3
CHECKED_STEPS = 3
MOST_FIRST_DIFFERENCE = 1e-5  # of the loss before any step: float32 summed in other orders
# Of the losses that follow, as a part of their fall: batch norms over few values amplify rounding.
MOST_DIFFERENCE = 0.02
PATIENCE = 600.0  # seconds that an answer may take; torch.compile takes a minute or two


@dataclass(frozen=True)
class Case:
    """A network to train."""

    spec: str
    side: int
    batch: int

    @classmethod
    def parsed(cls, text: str) -> Case:
        """Of `SPEC:SIDE:BATCH`; for argparse, as a type."""
        spec, side, batch = text.rsplit(":", 2)
        return cls(spec, int(side), int(batch))

    def save_start(self, path: Path) -> str:
        """Writes the first state and a batch for everybody; tells the network's name."""
        options = StepOptions(batch=self.batch, size=(self.side, self.side))
        step = compile_step(load_spec(self.spec), options)
        given = {value.name: value.shape for value in step.graph.inputs}
        generator = np.random.default_rng(0)
        logits = step.plan.head.logits
        assert logits is not None, "a step has logits"
        start = {
            IMAGES: generator.standard_normal(given[IMAGES], np.float32),  # type: ignore[arg-type]
            LABELS: generator.integers(0, logits.output.channels, self.batch),
            LEARNING_RATE: np.array(RATE, np.float32),
            "weight_decay": np.array(step.plan.spec.weight_decay),
        }
        np.savez(path, **start, **step.initial_state())  # type: ignore[arg-type]
        return step.plan.name


class Contestant(Worker):
    """A worker that is stopped while it has nothing to do."""

    def ask(self, request: Request, timeout: float = PATIENCE) -> Any:
        """The answer to a request; raises as `Worker.ask` does."""
        self._process.send_signal(signal.SIGCONT)
        answer = super().ask(request, timeout)
        self._process.send_signal(signal.SIGSTOP)
        return answer


def compare(case: Case, python: Path, arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything about one network."""
    start = folder / "start.npz"
    name = case.save_start(start)
    own = [sys.executable, TOOLS / "own_training.py", case.spec, start, arguments.threads]
    commands: dict[str, list[object]] = {OURS: own, CONTROL: own}
    for peer in arguments.peers:
        commands[peer] = [python, TOOLS / "peer_torch_training.py", name, start, peer, arguments.threads]
    contestants: dict[str, Contestant] = {}
    losses: dict[str, list[float]] = {}
    variables = {"TORCHINDUCTOR_CACHE_DIR": str(arguments.cache / "inductor")}
    try:
        for place, (label, command) in enumerate(commands.items()):
            contestants[label] = Contestant(command, folder / f"{place}.log", variables)
            losses[label] = contestants[label].ask({"do": "losses", "steps": CHECKED_STEPS})
        check(losses)
        seconds = timed(contestants, arguments.rounds, arguments.steps)
        memory = {label: contestant.ask({"do": "memory"}) / 1e6 for label, contestant in contestants.items()}
    finally:
        for contestant in contestants.values():
            contestant.close()
    control = median_ratio(seconds[OURS], seconds[CONTROL])
    comparisons = [
        Comparison(OURS, peer, median_ratio(seconds[OURS], seconds[peer]), control) for peer in arguments.peers
    ]
    return {
        "network": name,
        "side": case.side,
        "batch": case.batch,
        "losses": losses,
        "milliseconds": {label: summarize(times).p50 * 1e3 for label, times in seconds.items()},
        "ratios": {one.other: asdict(one.ratio) | {"verdict": str(one.verdict)} for one in comparisons},
        "control": asdict(control),
        "peak_mb": memory,
    }


def check(losses: dict[str, list[float]]) -> None:
    """Whether all take the same steps, as far as float32 goes.

    Raises:
        SystemExit: They do not.
    """
    ours = np.array(losses[OURS])
    for label, theirs in losses.items():
        difference = np.abs(np.array(theirs) - ours)
        fall = abs(ours[-1] - ours[0])
        if difference[0] > MOST_FIRST_DIFFERENCE * ours[0] or difference.max() > MOST_DIFFERENCE * fall:
            raise SystemExit(f"not the same steps: losses {ours.tolist()}, of {label} {theirs}")


def timed(contestants: dict[str, Contestant], rounds: int, steps: int) -> dict[str, list[float]]:
    """Seconds of a step of each contestant, one figure a round."""
    generator = np.random.default_rng(0)
    labels = list(contestants)
    seconds: dict[str, list[float]] = {label: [] for label in labels}
    for _ in range(rounds):
        for place in generator.permutation(len(labels)):
            label = labels[place]
            seconds[label].append(contestants[label].ask({"do": "time", "steps": steps}) / steps)
    return seconds


def text(result: dict[str, Any]) -> str:
    """One network's table."""
    rows = []
    for label, milliseconds in result["milliseconds"].items():
        ratio = result["control"] if label == CONTROL else result["ratios"].get(label)
        cells = (f"{milliseconds:.1f}", interval(ratio) if ratio else "", f"{result['peak_mb'][label]:.0f}")
        rows.append((label, *cells))
    header = ("", "step ms", "ours / theirs", "peak MB")
    return f"{result['network']}, {result['side']}x{result['side']}, batch {result['batch']}\n{table(header, rows)}\n"


def main() -> None:
    """Parses the command line, compares, prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("networks", nargs="*", type=Case.parsed, default=[Case.parsed(each) for each in NETWORKS])
    add_options(parser)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=PEERS)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=2, help="timed steps a round")
    parser.add_argument("--json", type=Path, help="write the result here")
    arguments = parser.parse_args()

    python = pythons(arguments, [TORCH])[TORCH]
    networks = " ".join(f"{case.spec}:{case.side}:{case.batch}" for case in arguments.networks)
    document: dict[str, Any] = {
        "command": f"python tools/compare_training.py {networks} --threads {arguments.threads} "
        f"--rounds {arguments.rounds} --steps {arguments.steps}",
        "environment": environment() | {"peer": versions(python)},
        "networks": [],
    }
    for case in arguments.networks:
        with tempfile.TemporaryDirectory() as folder:
            try:
                document["networks"].append(compare(case, python, arguments, Path(folder)))
            except WorkerError as error:
                raise SystemExit(f"{case}: {error}") from None
        print(text(document["networks"][-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
