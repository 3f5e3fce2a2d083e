"""Which networks of the catalogue a source fits, and which it nearly does."""

import difflib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resnet_compile import load_spec, plan_network
from resnet_compile.checkpoints.formats import open_checkpoint
from resnet_compile.errors import WeightsError
from resnet_compile.weights.binding import bind
from resnet_compile.weights.fitting import fitting_specs, nearest
from resnet_compile.weights.matching import match
from resnet_compile.weights.naming import Naming
from resnet_compile.weights.source import Tensors, tensors_of
from resnet_compile.weights.tables import KERAS_RESNETV2, TORCHVISION

Arrays = dict[str, np.ndarray]


def arrays(spec_name: str, naming: Naming, prefix: str = "", classes: int | None = 1000) -> Arrays:
    """A network of the catalogue as a source has it; broadcast zeros, which take no memory."""
    spec = load_spec(spec_name)
    plan = plan_network(spec.replace(head=spec.head.replace(num_classes=classes)))
    names = {p: naming.translate(p.name.removeprefix(f"{plan.name}/")) for p in plan.parameters}
    return {f"{prefix}{theirs}": zeros(*naming.source_shape(p)) for p, theirs in names.items()}


def zeros(*shape: int) -> np.ndarray:
    return np.broadcast_to(np.float32(0), shape)


def dense(name: str, read: int, width: int) -> Arrays:
    return {f"{name}/kernel": zeros(read, width), f"{name}/bias": zeros(width)}


def fits(source: Arrays) -> list[str]:
    return [str(fit) for fit in fitting_specs(tensors_of(source))]


KERAS_FEATURES = arrays("keras_resnet50v2", KERAS_RESNETV2, "resnet50v2/", None)
TRAINING: dict[str, Any] = {"optimizer/0": np.int64(3), "optimizer/1": zeros(2048, 5), "optimizer/2": zeros(5)}


@pytest.mark.parametrize(
    ("others", "nested", "options"),
    [
        (dense("dense_1", 2048, 5), True, "--num-classes 5"),
        (dense("dense_1", 2048, 5), False, "--num-classes 5"),
        ({**dense("dense_1", 2048, 5), **TRAINING, "metrics/mean/0": zeros()}, True, "--num-classes 5"),
        ({**dense("dense_1", 2048, 5), **TRAINING, "metrics/mean/0": zeros()}, False, "--num-classes 5"),
        ({**dense("dense", 2048, 256), **dense("dense_1", 256, 5)}, True, "--num-classes none"),
        ({**dense("dense", 2048, 100), **dense("dense_1", 100, 5)}, False, "--num-classes none"),
        ({**dense("dense", 2048, 5), **dense("dense_1", 2048, 7)}, True, "--num-classes none"),
        ({**dense("dense", 2048, 5), **dense("dense_1", 2048, 7)}, False, "--num-classes none"),
        ({}, True, "--num-classes none"),
    ],
)
def test_heads_of_keras(others: Arrays, nested: bool, options: str) -> None:
    """A head is what reads the pooled channels, if nothing else could and nothing reads what it gives."""
    body = KERAS_FEATURES if nested else {n.removeprefix("resnet50v2/"): a for n, a in KERAS_FEATURES.items()}
    (fit,) = fitting_specs(tensors_of({**body, **others}))
    assert (fit.name, fit.options) == ("keras_resnet50v2", options)
    assert fit.head == ("dense_1" if options.endswith("5") else None)


@pytest.mark.parametrize(
    ("others", "hint"),
    [
        (dense("dense_1", 2048, 5), "--num-classes 5"),
        ({**dense("dense", 2048, 256), **dense("dense_1", 256, 5)}, "--num-classes none takes the features"),
    ],
)
def test_a_head_that_is_not_taken_is_named_with_what_to_type(others: Arrays, hint: str) -> None:
    with pytest.raises(WeightsError, match=f"{next(iter(others))} could stand between the pooling .*{hint}"):
        match(plan_network(load_spec("keras_resnet50v2")), tensors_of({**KERAS_FEATURES, **others}))


@pytest.mark.parametrize("prefix", ["", "resnet50v2/"])
def test_a_layer_that_another_one_reads_is_no_head(prefix: str) -> None:
    spec = load_spec("keras_resnet50v2")
    plan = plan_network(spec.replace(head=spec.head.replace(num_classes=100)))
    body = {f"{prefix}{name.removeprefix('resnet50v2/')}": array for name, array in KERAS_FEATURES.items()}
    source = {**body, **dense("dense", 2048, 100)}
    assert match(plan, tensors_of(source)).head == "dense"
    with pytest.raises(WeightsError, match="dense_1/kernel could read the 100 numbers that the head gives"):
        match(plan, tensors_of({**source, **dense("dense_1", 100, 5)}))


def test_several_sections_are_told_apart() -> None:
    copies = [arrays("torchvision_resnet18", TORCHVISION, prefix) for prefix in ("encoder_q.", "encoder_k.")]
    names = [f"torchvision_resnet18 with --section encoder_{mark}" for mark in "qk"]
    assert fits({**copies[0], **copies[1]}) == names


def test_the_nearest_is_told_with_what_is_missing_and_in_the_way() -> None:
    source = arrays("torchvision_resnet50", TORCHVISION)
    source["conv1.0.weight"] = source.pop("conv1.weight")
    assert fits(source) == []
    (near,) = nearest(tensors_of(source))
    assert (near.name, near.section, near.filled, near.parameters) == ("torchvision_resnet50", ".", 266, 267)
    assert (near.missing, near.in_the_way) == (("conv1.weight",), ("conv1.0.weight",))


def test_nothing_is_near_to_what_is_no_network() -> None:
    assert nearest(tensors_of({f"layer.{index}": zeros(3) for index in range(300)})) == []
    assert nearest(Tensors()) == []


def test_whether_a_network_fits_needs_no_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking for names that are like others takes seconds, and is for messages alone."""
    source = arrays("torchvision_resnet50", TORCHVISION)
    del source["layer1.0.conv1.weight"]
    monkeypatch.setattr(difflib, "get_close_matches", lambda *_, **__: pytest.fail("words were made"))
    assert fits(source) == []
    assert nearest(tensors_of(source))[0].missing == ("layer1.0.conv1.weight",)


def test_a_source_of_many_sections_is_looked_through_in_bounds() -> None:
    source = {f"a{index}.layer1.0.conv1.weight": zeros(64, 64, 3, 3) for index in range(2000)}
    assert fits(source) == []


def test_readers_tell_of_their_names() -> None:
    """What a reader has to say of its names stands in the error, which it can explain."""
    path = Path(__file__).parents[1] / "data" / "readers" / "keras3.weights.h5"
    with (
        open_checkpoint(path) as checkpoint,
        pytest.raises(WeightsError, match=r"has no layer names.*model\.save\('NAME\.keras'\)"),
    ):
        bind(plan_network(load_spec("keras_resnet50v2")), checkpoint)
