"""What compiling costs and what it makes, in numbers that no machine's load moves."""

import gc
import sys
import tempfile
import tracemalloc
from collections import Counter
from collections.abc import Callable
from math import prod
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from resnet_compile import CompileOptions, compile, load_spec
from resnet_compile.compiler import CompiledModel
from resnet_compile.training import StepOptions, compile_step

NETWORKS = {
    f"{name}, {target or 'no target'}, {dtype}": (name, target, dtype)
    for name, target, dtype in (
        ("resnet50", None, "float32"),
        ("resnet50", "portable", "float32"),
        ("resnet50", "cpu", "float32"),
        ("resnet50", "cuda", "float32"),
        ("resnet50", "cuda", "float16"),
        ("resnet152", "cuda", "float32"),
        ("cifar_resnet32", "cpu", "float32"),
        ("torchvision_resnet18", "portable", "float32"),
    )
}
STEPS = {f"training step of {name}": name for name in ("cifar_resnet32", "torchvision_resnet18")}
WRITTEN = "cifar_resnet32, cpu, float32", "torchvision_resnet18, portable, float32"
"""Those that are written to a file, for its size and the memory that it takes."""


def made(row: str) -> CompiledModel:
    """The model or the training step of a row."""
    if row in STEPS:
        return compile_step(load_spec(STEPS[row]), StepOptions(batch=2, target="cuda"))
    name, target, dtype = NETWORKS[row]
    return compile(load_spec(name), CompileOptions(target=target, dtype=dtype, outputs=("logits",)))


def measured(row: str) -> dict[str, Any]:
    """A row: nodes by operator, tensors and their bytes, calls of Python functions; and what writing it takes."""
    model, calls = counted(lambda: made(row))
    initializers = list(model.graph.initializers())
    found: dict[str, Any] = {
        "nodes": dict(sorted(Counter(node.operator for node, _ in model.graph.nodes()).items())),
        "tensors": len(initializers),
        "tensor_bytes": sum(prod(value.static_shape) * np.dtype(value.type.dtype).itemsize for value in initializers),
        "calls": calls,
    }
    if row in WRITTEN:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            found["peak_bytes"] = peak(lambda: made(row).save(path))
            found["file_bytes"] = path.stat().st_size
    return found


def counted(work: Callable[[], CompiledModel]) -> tuple[CompiledModel, int]:
    """What work makes the second time, and how many calls of Python functions it takes: a count of instructions."""
    work()  # what is made once and kept
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        model = work()
    finally:
        sys.setprofile(before)
    return model, calls


def peak(work: Callable[[], object]) -> int:
    """The most memory that work holds at once, in bytes, the second time: the first one imports modules too."""
    work()
    gc.collect()
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
