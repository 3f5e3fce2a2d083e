"""Where a training step's time goes on the CPU: onnxruntime's own account, by operator.

    python tools/profile_training.py [SPEC:SIDE:BATCH ...] [--threads N] [--steps N]

The step and its session are those of `resnet-train`. Multiply-accumulates are the forward pass's threefold, as the
gradients by inputs and by weights cost as much each; the rate is that of all convolutions and matrix products together.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from compare_training import NETWORKS, Case

from resnet_compile import load_spec
from resnet_compile.bench.profile import read_profile
from resnet_compile.report.table import table
from resnet_compile.runtime import Session
from resnet_compile.training import IMAGES, LABELS, LEARNING_RATE, LOSS, SESSION_OPTIONS, compile_step
from resnet_compile.training.machine import blocked_step
from resnet_compile.training.options import StepOptions

PRODUCTS = ("Conv", "ConvTranspose", "FusedConv", "FusedGemm", "FusedMatMul", "Gemm", "MatMul")
BURN_IN = 2


def profiled(case: Case, threads: int, steps: int) -> str:
    """The table of one network."""
    step = compile_step(load_spec(case.spec), StepOptions(batch=case.batch, size=(case.side, case.side)))
    step, _ = blocked_step(step)
    images = np.random.default_rng(0).standard_normal((case.batch, 3, case.side, case.side), np.float32)
    inputs = {
        IMAGES: images,
        LABELS: np.arange(case.batch) % (step.plan.spec.head.num_classes or 1),
        LEARNING_RATE: np.array(1e-3, np.float32),
    }
    with tempfile.TemporaryDirectory() as folder:
        options = SESSION_OPTIONS.replace(threads=threads, profile=str(Path(folder) / "step"))
        session = Session.open(step.to_proto().SerializeToString(), "cpu", options)
        state = session.recur(step.initial_state(), step.next_names, (LOSS,))
        for _ in range(BURN_IN + steps):
            state.run(inputs)
        profile = read_profile(session.end_profile(), skip=BURN_IN)
    shares = profile.by_operator()
    rows = [(each.name, each.nodes, f"{each.seconds * 1e3:.1f}", f"{each.fraction:.1%}") for each in shares[:12]]
    total = sum(each.seconds for each in shares)
    products = sum(each.seconds for each in shares if each.name in PRODUCTS)
    rate = 3 * step.plan.macs * case.batch / products / 1e9
    head = f"{step.plan.name}, {case.side}x{case.side}, batch {case.batch}, {threads} threads: {total * 1e3:.0f} ms"
    return f"{head}, products {products / total:.0%} at {rate:.0f} GMAC/s\n{table(('', 'nodes', 'ms', 'part'), rows)}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("networks", nargs="*", type=Case.parsed, default=[Case.parsed(name) for name in NETWORKS])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6)
    chosen = parser.parse_args()
    print("\n\n".join(profiled(case, chosen.threads, chosen.steps) for case in chosen.networks))
