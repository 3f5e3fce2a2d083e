"""Trainings that take a second: a narrow CIFAR network, and data of CIFAR-10's form."""

from pathlib import Path
from typing import Any

import numpy as np

from resnet_compile import NetworkSpec
from resnet_compile.runtime import SessionOptions
from support.specs import parsed

ONE_THREAD = SessionOptions(threads=1)


def narrow_document(**changes: Any) -> dict[str, Any]:
    """A CIFAR network of two units, as a JSON document."""
    plain = {"kind": "cifar_plain", "relu_leakiness": 0.1}
    return {
        "name": "narrow",
        "input": {"height": 32, "width": 32, "preprocess": "cifar"},
        "root": {"kind": "cifar", "depth": 4},
        "blocks": [
            {"scope": "block1", "unit": plain, "args": [{"depth": 4, "stride": 1}]},
            {"scope": "block2", "unit": plain, "args": [{"depth": 8, "stride": 2}]},
        ],
        "norm": {"epsilon": 0.001, "decay": 0.9, "averages": "zero_debiased"},
        "head": {"num_classes": 10, "logits": "dense"},
        "initializer": "cifar",
        "weight_decay": 0.0002,
        **changes,
    }


def narrow_spec(**changes: Any) -> NetworkSpec:
    """The same as a spec."""
    return parsed(narrow_document(**changes))


def with_classes(classes: int) -> NetworkSpec:
    """The same with another head."""
    return narrow_spec(head={"num_classes": classes, "logits": "dense"})


def write_cifar(folder: Path, *, images: int = 24, seed: int = 0) -> Path:
    """Five training files and one test file of so many images each: a pattern for each class, and noise."""
    rng = np.random.default_rng(seed)
    patterns = np.kron(rng.integers(0, 256, (10, 3, 4, 4)), np.ones((8, 8), np.int64)).reshape(10, -1)
    folder.mkdir(parents=True)
    for name in (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"):
        labels = rng.integers(0, 10, images)
        pixels = np.clip(patterns[labels] // 2 + rng.integers(0, 128, (images, 3072)), 0, 255)
        np.concatenate((labels[:, None], pixels), axis=1).astype(np.uint8).tofile(folder / name)
    return folder


def images_of_test(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The test images as the CIFAR system standardises them, NCHW, and their classes; read and computed by hand."""
    records = np.fromfile(folder / "test_batch.bin", np.uint8).reshape(-1, 3073)
    pixels = records[:, 1:].astype(np.float64)
    deviation = np.maximum(pixels.std(1, keepdims=True), 1 / np.sqrt(3072))
    standardised = (pixels - pixels.mean(1, keepdims=True)) / deviation
    return standardised.reshape(-1, 3, 32, 32).astype(np.float32), records[:, 0].astype(np.int64)
