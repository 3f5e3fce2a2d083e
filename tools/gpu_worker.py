"""Runs models in onnxruntime on request; `tools/gpu_bench.py` asks, one request after another.

Requests are carried by `served.py`. A process of its own, so that what breaks a CUDA context breaks one measurement.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from bench_common import relative
from numpy.typing import NDArray
from served import serve

from resnet_compile import CompileOptions, compile, load_spec
from resnet_compile.bench.conditions import Watch
from resnet_compile.runtime import Session, SessionOptions, describe_gpu, installed_backend, installed_packages
from resnet_compile.training.options import StepOptions

# Where PyTorch is in the same Python, its CUDA libraries are the ones to use; onnxruntime looks for them among the
# loaded modules.
with contextlib.suppress(ImportError):
    import torch  # noqa: F401

INPUT = "input"
"""What the compiler calls a network's input."""
WARMING = 0.3
"""Seconds that a model runs at least before it is timed, for the clocks to rise."""
NOTHING = 1e-4
"""A variable's change that counts as none, as a part of all variables' change."""

State = Mapping[str, NDArray[Any]]


def answer(request: dict[str, Any]) -> Any:
    """Does what is asked."""
    return {"machine": machine, "check": check, "run": run, "train": train}[request.pop("do")](**request)


def machine() -> dict[str, Any]:
    """The GPU and the packages."""
    gpu = describe_gpu(0, installed_backend())
    return {"gpu": dataclasses.asdict(gpu) if gpu else None, "packages": installed_packages()}


def run(
    model: str,
    device: str,
    options: dict[str, Any],
    images: str,
    batch: int,
    burn_in: int,
    steps: int,
    logits: str,
) -> dict[str, Any]:
    """Times a model on the first images of a file, with all data on the device."""
    feeds = {INPUT: np.load(images)[:batch]}
    if device.startswith("tensorrt"):
        # Else it builds an engine for the first shape that it sees, within the first run.
        options["shapes"] = {INPUT: feeds[INPUT].shape}
    start = time.perf_counter()
    session = Session.open(model, device, SessionOptions(**options))
    loaded = time.perf_counter()
    outputs = session.first_run(feeds)
    first = time.perf_counter()
    binding = session.bind([feeds], outputs, transfer=False)
    with Watch(session.device, installed_backend()) as watch:
        seconds = timed(binding.run, burn_in, steps)
    conditions = watch.conditions()
    (values,) = binding.results().values()
    np.save(logits, values)
    return {
        "load_seconds": loaded - start,
        "first_run_seconds": first - loaded,
        "nodes": {provider: sum(kinds.values()) for provider, kinds in (session.assignment or {}).items()},
        "operators": {provider: dict(kinds) for provider, kinds in (session.assignment or {}).items()},
        "reasons": list(conditions.reasons),
        "sm_mhz": conditions.clocks(lambda state: state.sm_mhz),
        "joules": conditions.joules,
        "seconds": seconds,
    }


def check(network: str, device: str, target: str | None, dtype: str, fused_conv: bool) -> dict[str, Any]:
    """All end points of a network on the device against onnxruntime's in float32 on the CPU: the worst error."""
    spec = load_spec(network)

    def outputs(place: str, options: CompileOptions) -> dict[str, NDArray[Any]]:
        session = Session.open(
            compile(spec, options).to_proto().SerializeToString(), place, SessionOptions(cpu_fallback=False)
        )
        ((name, info),) = session.inputs.items()
        shape = (2, *(axis for axis in info.shape[1:] if isinstance(axis, int)))
        images = np.random.default_rng(0).standard_normal(shape, np.float32)
        return session.first_run({name: images.astype(info.dtype)})

    expected = outputs("cpu", CompileOptions(outputs="all", target=None))
    asked = CompileOptions(outputs="all", target=target, dtype=dtype, fused_conv=fused_conv)
    actual = outputs(device, asked)
    errors = {name: relative(actual[name], value) for name, value in expected.items()}
    worst = max(errors, key=lambda name: errors[name])
    return {"end_points": len(errors), "end_point": worst, "worst": errors[worst]}


def train(
    network: str,
    size: list[int],
    batch: int,
    device: str,
    tf32: bool,
    burn_in: int,
    steps: int,
) -> dict[str, Any]:
    """One step in the CUDA provider's best forms on the device against one in the CPU's on the CPU; then its time.

    The error is of the state's change: the norm of the difference of the new states over that of the step itself.
    """
    # Deferred, so that nothing that is wrong with training keeps models from running.
    from resnet_compile.training import IMAGES, LABELS, LEARNING_RATE, LOSS, TrainingStep, compile_step

    def written(target: str) -> TrainingStep:
        return compile_step(load_spec(network), StepOptions(batch=batch, size=tuple(size), target=target))

    step = written("cuda")
    generator = np.random.default_rng(0)
    classes = load_spec(network).head.num_classes or 1
    state = step.initial_state()
    feeds: dict[str, NDArray[Any]] = {
        IMAGES: generator.standard_normal((batch, 3, *size), np.float32),
        LABELS: generator.integers(0, classes, batch),
        LEARNING_RATE: np.array(0.1, np.float32),
        **state,
    }
    expected = Session.open(written("cpu").to_proto().SerializeToString(), "cpu").run(feeds)
    session = Session.open(step.to_proto().SerializeToString(), device, SessionOptions(tf32=tf32))
    actual = session.run(feeds)
    error, (worst, variable) = _changes(state, actual, expected)
    binding = session.bind([feeds], actual, transfer=False)
    return {
        "loss": float(actual[LOSS]),
        "loss_on_cpu": float(expected[LOSS]),
        "update_error": error,
        "worst_update_error": worst,
        "worst_variable": variable,
        "nodes": {provider: sum(kinds.values()) for provider, kinds in (session.assignment or {}).items()},
        "seconds": timed(binding.run, burn_in, steps),
    }


def _changes(before: State, actual: State, expected: State) -> tuple[float, tuple[float, str]]:
    """The error of all variables' changes together, and the worst of a single one's."""
    # Deferred, as above.
    from resnet_compile.training import next_name

    wrong: dict[str, float] = {}
    whole: dict[str, float] = {}
    for name, old in before.items():
        change = expected[next_name(name)].astype(np.float64) - old
        wrong[name] = float(np.sum((actual[next_name(name)] - expected[next_name(name)].astype(np.float64)) ** 2))
        whole[name] = float(np.sum(change**2))
    total = sum(whole.values())
    # Some variables have a gradient of 0, such as biases before a batch norm; what they get is all rounding.
    moved = [name for name in before if whole[name] > NOTHING**2 * total]
    worst = max(((wrong[name] / whole[name]) ** 0.5, name) for name in moved)
    return (sum(wrong.values()) / total) ** 0.5, worst


def timed(step: Callable[[int], None], burn_in: int, steps: int) -> list[float]:
    """Seconds of each of so many runs, after some that are not timed."""
    warm = time.perf_counter() + WARMING
    while burn_in > 0 or time.perf_counter() < warm:
        step(0)
        burn_in -= 1
    seconds = []
    for number in range(steps):
        start = time.perf_counter()
        step(number)
        seconds.append(time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    serve(answer)
