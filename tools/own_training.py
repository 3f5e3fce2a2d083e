"""Takes training steps of ours on request; `tools/compare_training.py` talks to it, as `training_worker.py` says.

    python own_training.py SPEC start.npz THREADS

The file holds the first state under our names, `images`, `labels` and `learning_rate`. The step runs as `resnet-train`
runs it: one onnxruntime session, its state in two sets of buffers, images brought to their place for every step.
"""

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from training_worker import serve_training

from resnet_compile import load_spec
from resnet_compile.runtime import Recurrence, Session
from resnet_compile.training import (
    ACCURACY,
    IMAGES,
    LABELS,
    LEARNING_RATE,
    LOSS,
    PREDICTIONS,
    SESSION_OPTIONS,
    compile_step,
)
from resnet_compile.training.machine import blocked_step
from resnet_compile.training.options import StepOptions


def opened(spec: str, start: str, threads: int) -> tuple[Recurrence, dict[str, NDArray[Any]]]:
    """The step, ready to run from its first state, and what it reads besides."""
    given = dict(np.load(start))
    inputs = {name: given.pop(name) for name in (IMAGES, LABELS, LEARNING_RATE)}
    batch, _, *size = inputs[IMAGES].shape
    step = compile_step(load_spec(spec), StepOptions(batch=batch, size=(size[0], size[1])))
    here, _ = blocked_step(step)
    session = Session.open(here.to_proto().SerializeToString(), "cpu", SESSION_OPTIONS.replace(threads=threads))
    state = {value.name: given[value.name] for value in step.state}
    return session.recur(state, step.next_names, (LOSS, PREDICTIONS, ACCURACY)), inputs


def main() -> None:
    """Compiles the step, opens it, then serves."""
    spec, start, threads = sys.argv[1:]
    training, inputs = opened(spec, start, int(threads))

    def loss_of_step() -> float:
        return float(training.run(inputs)[LOSS])

    serve_training(loss_of_step, loss_of_step)


if __name__ == "__main__":
    main()
