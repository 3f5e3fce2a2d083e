"""Initial values: the original's distributions, and no dependence on anything but seed and name."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from resnet_compile import load_spec, plan_network
from resnet_compile.plan.parameters import Constant, Initial, Normal, Parameter, TruncatedNormal, Uniform
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


def test_normal_and_uniform_values_have_their_moments() -> None:
    """A normal reaches past two deviations; a uniform of limit a has deviation a / sqrt(3) and never passes a."""
    normal = InitialTensor(Parameter("w", (1_000_000,), "weights", Normal(0.5)), 0).array()
    assert normal.dtype == np.float32
    assert normal.std() == pytest.approx(0.5, rel=3e-3)
    assert normal.mean() == pytest.approx(0, abs=2e-3)
    assert (np.abs(normal) > 1.0).mean() == pytest.approx(1 - math.erf(2 / math.sqrt(2)), rel=2e-2)
    uniform = InitialTensor(Parameter("w", (1_000_000,), "weights", Uniform(0.5)), 0).array()
    assert uniform.dtype == np.float32
    assert np.abs(uniform).max() <= 0.5
    assert uniform.std() == pytest.approx(0.5 / math.sqrt(3), rel=3e-3)
    assert uniform.mean() == pytest.approx(0, abs=2e-3)


def initial(spec: str, name: str) -> Initial:
    planned = plan_network(load_spec(spec))
    return next(p.initial for p in planned.parameters if p.name == f"{planned.name}/{name}")


@pytest.mark.parametrize(
    ("spec", "name", "expected"),
    [
        ("cifar_resnet20", "conv1/weights", Normal(math.sqrt(2 / (9 * 16)))),
        ("cifar_resnet20", "block2/unit_1/cifar_plain/conv1/weights", Normal(math.sqrt(2 / (9 * 32)))),
        ("cifar_resnet20", "logits/weights", Uniform(math.sqrt(3 / 64))),
        ("cifar_resnet20", "logits/biases", Constant(0.0)),
        ("torchvision_resnet50", "conv1/weights", Normal(math.sqrt(2 / (49 * 64)))),
        ("torchvision_resnet50", "logits/weights", Uniform(1 / math.sqrt(2048))),
        ("torchvision_resnet50", "logits/biases", Uniform(1 / math.sqrt(2048))),
        # PyTorch's fan_out counts the outputs of all groups.
        (
            "torchvision_resnext50_32x4d",
            "block1/unit_1/torchvision_bottleneck/conv2/weights",
            Normal(math.sqrt(2 / (9 * 128))),
        ),
        ("timm_resnetv2_50", "conv1/weights", Normal(math.sqrt(2 / (49 * 64)))),
        ("timm_resnetv2_50", "logits/weights", Normal(0.01)),
        ("timm_resnetv2_50", "logits/biases", Constant(0.0)),
        ("keras_resnet50v2", "conv1/weights", Uniform(math.sqrt(6 / (49 * (3 + 64))))),
        ("keras_resnet50v2", "conv1/biases", Constant(0.0)),
        ("keras_resnet50v2", "logits/weights", Uniform(math.sqrt(6 / (2048 + 1000)))),
        # A normal distribution of deviation 1, truncated at 2, has a deviation of 0.8796.
        ("tf_official_resnet50_v1", "conv1/weights", TruncatedNormal(math.sqrt(1 / 147) / 0.87962566103423978)),
        ("tf_official_resnet50_v1", "logits/weights", Uniform(math.sqrt(6 / (2048 + 1001)))),
        ("mlperf_tiny_resnet8", "conv1/weights", TruncatedNormal(math.sqrt(2 / 27) / 0.87962566103423978)),
        ("mlperf_tiny_resnet8", "logits/weights", TruncatedNormal(math.sqrt(2 / 64) / 0.87962566103423978)),
    ],
)
def test_first_weights_are_each_originals(spec: str, name: str, expected: Initial) -> None:
    assert initial(spec, name) == expected
