"""Golden training steps of the original systems, in our names and layouts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from resnet_compile import Head, Input, NetworkSpec, resnet_v2_block
from resnet_compile.plan import plan_network
from resnet_compile.spec import HParams, cifar_network
from resnet_compile.training import compile_step, next_name
from resnet_compile.training.machine import blocked_step
from resnet_compile.training.options import Optimizer, StepOptions
from resnet_compile.weights.naming import Naming
from resnet_compile.weights.tables import TF_CIFAR, TF_SLIM
from support.golden import GOLDEN
from support.models import runner

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class GoldenTraining:
    """A few steps that an original took.

    Attributes:
        spec: The network.
        optimizer: The original's.
        file: What it computed: `x1` and so on images, NHWC, `y1` class numbers, `lr1` learning rates; `cost1` and
            `predictions1` before the update; `step0/NAME` and so on every variable after so many steps.
        naming: How it names and lays out its variables.
    """

    spec: NetworkSpec
    optimizer: Optimizer
    file: Any
    naming: Naming

    def variables(self, step: int) -> dict[str, np.ndarray]:
        """The variables after a step by our names and in our layouts, slots among them."""
        prefix = f"step{step}/"
        found = {
            key.removeprefix(prefix).removeprefix(f"{self.spec.name}/"): self.file[key]
            for key in self.file.files
            if key.startswith(prefix)
        }
        ours = {}
        for parameter in plan_network(self.spec).parameters:
            short = parameter.name.removeprefix(f"{self.spec.name}/")
            name = self.naming.translate(short) or ""
            for suffix in ("", "/Momentum"):
                if (value := found.pop(f"{name}{suffix}", None)) is not None:
                    axes = self.naming.axes(value.ndim) if parameter.role == "weights" else (0,)
                    ours[f"{parameter.name}{suffix}"] = np.ascontiguousarray(value.transpose(axes))
        assert found.keys() <= {"global_step"}, "every variable of the original is one of ours"
        return ours

    def run(
        self, steps: int, *, here: bool = False, **options: Any
    ) -> tuple[list[dict[str, np.ndarray]], dict[int, dict[str, np.ndarray]]]:
        """Our own steps from the original's first variables: what each put out, and the state after each.

        `here` is as this machine's processor takes them fastest.
        """
        batch = len(self.file["x1"])
        step = compile_step(self.spec, StepOptions(batch=batch, optimizer=self.optimizer, **options))
        run_step = runner((blocked_step(step)[0] if here else step).to_proto())
        state: dict[str, np.ndarray] = {**step.initial_state(), **self.variables(0)}
        outputs, states = [], {}
        for number in range(1, steps + 1):
            feeds = {
                "images": np.ascontiguousarray(self.file[f"x{number}"].transpose(0, 3, 1, 2)),
                "labels": self.file[f"y{number}"].astype(np.int64),
                "learning_rate": np.array(self.file[f"lr{number}"], np.float32),
            }
            outputs.append(run_step({**feeds, **state}))
            state = {name: outputs[-1][next_name(name)] for name in state}
            states[number] = state
        return outputs, states


def cifar_training(kind: str, optimizer: Optimizer) -> GoldenTraining:
    """Three steps of the CIFAR system."""
    hparams = HParams(num_residual_units=1, use_bottleneck=kind == "bottleneck")
    file = np.load(GOLDEN / f"cifar_train_{kind}_{optimizer}.npz")
    return GoldenTraining(cifar_network(hparams, f"cifar_{kind}"), optimizer, file, TF_CIFAR)


def slim_training() -> GoldenTraining:
    """Two steps of a narrow v2 network of TF-slim's."""
    file = np.load(GOLDEN / "slim_train_v2_momentum.npz")
    spec = NetworkSpec(
        name="resnet_v2_narrow",
        input=Input(height=33, width=29),
        blocks=(resnet_v2_block("block1", 3, 2, 2), resnet_v2_block("block2", 4, 2, 1)),
        head=Head(num_classes=7),
    )
    return GoldenTraining(spec, "momentum", file, TF_SLIM)
