"""Times a session alone and beside a second one, with and without spinning threads.

    python tools/measure_spinning.py [SPEC] [--threads N] [--blocks N]

A block opens one or two sessions of the same model, each with a thread for every core, and runs them in turn, one image
a run. Blocks of the four kinds follow one another, and ratios are taken within each four. This is why
`resnet_compile.bench` compares without spinning: while one session runs, the other's threads wait busily.
"""

import argparse
import os

import numpy as np

from resnet_compile import compile, load_spec
from resnet_compile.bench import Protocol, measure
from resnet_compile.runtime import Session, SessionOptions


def block(model: bytes, threads: int, sessions: int, *, spinning: bool) -> float:
    """The first session's median milliseconds."""
    steps = {}
    for number in range(sessions):
        session = Session.open(model, "cpu", SessionOptions(threads=threads, spinning=spinning))
        ((name, info),) = session.inputs.items()
        images = {name: np.random.default_rng(0).random((1, *(int(axis or 1) for axis in info.shape[1:])), np.float32)}
        steps[str(number)] = session.bind([images], session.run(images), transfer=False).run
    return float(np.median(measure(steps, Protocol(steps=12, burn_in=2)).seconds["0"])) * 1e3


def main() -> None:
    """Parses the command line, measures, prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("spec", nargs="?", default="resnet50")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--blocks", type=int, default=8)
    arguments = parser.parse_args()
    model = compile(load_spec(arguments.spec)).to_proto().SerializeToString()
    kinds = [(spinning, sessions) for spinning in (True, False) for sessions in (1, 2)]
    times = np.array(
        [
            [block(model, arguments.threads, sessions, spinning=spinning) for spinning, sessions in kinds]
            for _ in range(arguments.blocks)
        ]
    )
    for (spinning, sessions), column in zip(kinds, times.T, strict=True):
        print(f"spinning {'on ' if spinning else 'off'}  {sessions} open  median {np.median(column):.1f} ms")
    for label, column in (("with spinning", 0), ("without spinning", 2)):
        ratios = times[:, column + 1] / times[:, column]
        print(f"two open / one, {label}: median {np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})")


if __name__ == "__main__":
    main()
