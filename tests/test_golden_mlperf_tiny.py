"""MLPerf Tiny's ResNet-8 against its formulas, stated here in numpy: the layers of `resnet_v1_eembc`, one by one."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.golden import GoldenRun

from resnet_compile import NetworkSpec, compile, load_spec, plan_network
from resnet_compile.errors import WeightsError
from resnet_compile.spec import Projection
from resnet_compile.weights.binding import bind

Arrays = dict[str, np.ndarray]
EPSILON = 1e-3  # of Keras's BatchNormalization
SIZES = ((32, 32), (33, 33), (29, 22))


def convolved(x: np.ndarray, layer: str, variables: Mapping[str, np.ndarray], stride: int = 1) -> np.ndarray:
    """Keras's `Conv2D(padding="same")` with its bias: HWC, and a kernel HWIO.

    SAME pads so much that there are ceil(size / stride) outputs, the smaller half before.
    """
    kernel = variables[f"{layer}/kernel"]
    taps = kernel.shape[0]
    rows, columns = (-(-side // stride) for side in x.shape[:2])
    before, after = [], []
    for side, outputs in zip(x.shape[:2], (rows, columns), strict=True):
        total = max((outputs - 1) * stride + taps - side, 0)
        before.append(total // 2)
        after.append(total - total // 2)
    padded = np.pad(x, [(before[0], after[0]), (before[1], after[1]), (0, 0)])
    summed = np.zeros((rows, columns, kernel.shape[3]))
    for row in range(taps):
        for column in range(taps):
            seen = padded[row : row + rows * stride : stride, column : column + columns * stride : stride]
            summed += seen[:rows, :columns] @ kernel[row, column]
    return summed + variables[f"{layer}/bias"]


def normalised(x: np.ndarray, layer: str, variables: Mapping[str, np.ndarray]) -> np.ndarray:
    gamma, beta, mean, variance = (
        variables[f"{layer}/{role}"] for role in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    return (x - mean) / np.sqrt(variance + EPSILON) * gamma + beta


def rectified(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def computed(image: np.ndarray, v: Mapping[str, np.ndarray]) -> tuple[list[np.ndarray], np.ndarray]:
    """The outputs of the three stacks, and the logits, where the map is square."""
    x = rectified(normalised(convolved(image, "conv2d", v), "batch_normalization", v))
    y = rectified(normalised(convolved(x, "conv2d_1", v), "batch_normalization_1", v))
    y = normalised(convolved(y, "conv2d_2", v), "batch_normalization_2", v)
    first = rectified(x + y)
    y = rectified(normalised(convolved(first, "conv2d_3", v, 2), "batch_normalization_3", v))
    y = normalised(convolved(y, "conv2d_4", v), "batch_normalization_4", v)
    second = rectified(convolved(first, "conv2d_5", v, 2) + y)
    y = rectified(normalised(convolved(second, "conv2d_6", v, 2), "batch_normalization_5", v))
    y = normalised(convolved(y, "conv2d_7", v), "batch_normalization_6", v)
    third = rectified(convolved(second, "conv2d_8", v, 2) + y)
    return [first, second, third], third.mean((0, 1)) @ v["dense/kernel"] + v["dense/bias"]


def shapes() -> dict[str, tuple[int, ...]]:
    """What Keras's summary of the network says."""
    convolutions = ((3, 3, 16), (3, 16, 16), (3, 16, 16), (3, 16, 32), (3, 32, 32), (1, 16, 32))
    convolutions += ((3, 32, 64), (3, 64, 64), (1, 32, 64))
    found: dict[str, tuple[int, ...]] = {"dense/kernel": (64, 10), "dense/bias": (10,)}
    for number, (taps, read, made) in enumerate(convolutions):
        layer = f"conv2d_{number}" if number else "conv2d"
        found |= {f"{layer}/kernel": (taps, taps, read, made), f"{layer}/bias": (made,)}
    for number, channels in enumerate((16, 16, 16, 32, 32, 64, 64)):
        layer = f"batch_normalization_{number}" if number else "batch_normalization"
        found |= {f"{layer}/{role}": (channels,) for role in ("gamma", "beta", "moving_mean", "moving_variance")}
    return found


def drawn() -> Arrays:
    rng = np.random.default_rng(20201218)
    variables = {}
    for name, shape in shapes().items():
        fan_in = int(np.prod(shape[:-1]))
        if name.endswith("kernel"):
            values = rng.standard_normal(shape) * np.sqrt(1.5 / fan_in)
        else:
            spread = name.endswith(("gamma", "moving_variance"))
            values = rng.uniform(0.5, 1.5, shape) if spread else 0.3 * rng.standard_normal(shape)
        variables[name] = values.astype(np.float32)
    return variables


VARIABLES = drawn()


def golden(height: int, width: int) -> GoldenRun:
    spec = load_spec("mlperf_tiny_resnet8")
    spec = spec.replace(input=spec.input.replace(height=height, width=width))
    bound = bind(plan_network(spec), VARIABLES)
    weights = {name: tensor.array() for name, tensor in bound.tensors.items()}
    image = np.random.default_rng(height).uniform(-1, 1, (height, width, 3)).astype(np.float32)
    stacks, logits = computed(image.astype(np.float64), VARIABLES)
    expected = {
        f"{spec.name}/block{number}/unit_1/torchvision_basic": stack.transpose(2, 0, 1)[None].astype(np.float32)
        for number, stack in enumerate(stacks, start=1)
    }
    if height == width:  # the original's average pool is as large as the shorter side
        expected[f"{spec.name}/logits"] = logits[None].astype(np.float32)
    return GoldenRun(f"{height}x{width}", spec, weights, image.transpose(2, 0, 1)[None], expected)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_stacks_and_logits_equal_the_formulas(height: int, width: int) -> None:
    golden(height, width).check()


def units(spec: NetworkSpec, **changes: object) -> NetworkSpec:
    return spec.replace(blocks=tuple(block.replace(unit=block.unit.replace(**changes)) for block in spec.blocks))


@pytest.mark.parametrize(
    "mistake",
    [
        lambda spec: units(spec, padding=None),
        lambda spec: spec.replace(norm=spec.norm.replace(epsilon=1e-5)),
    ],
    ids=["fixed padding", "epsilon"],
)
def test_classic_mistakes_show(mistake: Callable[[NetworkSpec], NetworkSpec]) -> None:
    run = golden(32, 32)
    with pytest.raises(AssertionError, match=r"block1/unit_1|block2/unit_1"):
        replace(run, spec=mistake(run.spec)).check()


@pytest.mark.parametrize("shortcut", [None, Projection(norm=False, biases=False), Projection(norm=False, at="first")])
def test_weights_do_not_fit_units_with_another_shortcut(shortcut: Projection | None) -> None:
    spec = units(load_spec("mlperf_tiny_resnet8"), shortcut=shortcut, biases=shortcut is None)
    with pytest.raises(WeightsError, match=r"keras-layers|no name fits"):
        bind(plan_network(spec), VARIABLES, naming="keras-layers")


def test_the_names_tell_only_the_order(tmp_path: Path) -> None:
    np.savez(tmp_path / "weights.npz", **VARIABLES)
    (note,) = compile("mlperf_tiny_resnet8", weights=tmp_path / "weights.npz").notes
    assert note == "the names do not determine anything but the order of the layers: the spec does"
