"""Initial values: the original's distributions, and no dependence on anything but seed and name."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from resnet_compile import load_spec, plan_network
from resnet_compile.plan.parameters import Constant, Parameter, TruncatedNormal
from resnet_compile.weights.initial import InitialTensor


def drawn(name: str = "layer/weights", *, seed: int = 0, shape: tuple[int, ...] = (64, 64, 3, 3)) -> np.ndarray:
    return InitialTensor(Parameter(name, shape, "weights", TruncatedNormal(0.5)), seed).array()


def test_weights_are_truncated_normals() -> None:
    """Against the distribution function of a normal cut at two deviations, by its moments and quantiles."""
    values = drawn(shape=(1_000_000,)) / 0.5
    assert values.dtype == np.float32
    assert np.abs(values).max() <= 2
    assert np.abs(values).max() > 1.999
    # Standard deviation of a normal truncated to (-2, 2): sqrt(1 - 4 phi(2) / (2 Phi(2) - 1)).
    phi = math.exp(-2) / math.sqrt(2 * math.pi)
    mass = math.erf(2 / math.sqrt(2))
    assert values.std() == pytest.approx(math.sqrt(1 - 4 * phi / mass), rel=3e-3)
    assert values.mean() == pytest.approx(0, abs=3e-3)
    for point in (-1.5, -0.5, 0.0, 0.7, 1.9):
        expected = (math.erf(point / math.sqrt(2)) + mass) / (2 * mass)
        assert (values < point).mean() == pytest.approx(expected, abs=3e-3)


def test_a_layers_deviation_is_the_originals() -> None:
    """TF-slim's measured deviation is sqrt(2 / fan_in), by variance_scaling with the truncation made up for."""
    parameters = {parameter.name: parameter for parameter in plan_network(load_spec("resnet50")).parameters}
    for name, fan_in in (
        ("resnet_v2_50/conv1/weights", 7 * 7 * 3),
        ("resnet_v2_50/block4/unit_2/bottleneck_v2/conv2/weights", 3 * 3 * 512),
        ("resnet_v2_50/logits/weights", 2048),
    ):
        values = InitialTensor(parameters[name], 0).array()
        assert values.std() == pytest.approx(math.sqrt(2 / fan_in), rel=2e-2)


def test_batch_norm_starts_as_the_identity() -> None:
    values = {p.name: p.initial for p in plan_network(load_spec("tiny")).parameters if p.role != "weights"}
    for name, initial in values.items():
        ones = name.endswith(("/gamma", "/moving_variance"))
        assert initial == Constant(1.0 if ones else 0.0), name
    assert len(values) > 10


def test_values_depend_on_seed_and_name_alone() -> None:
    reference = drawn()
    assert np.array_equal(drawn(), reference)
    assert not np.array_equal(drawn(seed=1), reference)
    assert not np.array_equal(drawn("other/weights"), reference)
    # A separator keeps seed 1 of "2x" apart from seed 12 of "x".
    assert not np.array_equal(drawn("2x", seed=1), drawn("x", seed=12))


def test_values_do_not_change_with_order_or_threads() -> None:
    names = [f"layer{index}/weights" for index in range(40)]
    alone = [drawn(name) for name in names]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(drawn, reversed(names)))
    assert all(np.array_equal(a, b) for a, b in zip(alone, reversed(together), strict=True))


def test_tensors_longer_than_a_chunk_are_filled_to_the_end() -> None:
    values = drawn(shape=(70_001,))
    assert values.std() == pytest.approx(0.44, rel=0.02)
    assert np.count_nonzero(values[-100:]) == 100
