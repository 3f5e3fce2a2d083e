"""Write golden data by running the residual networks of Keras Applications, version 1 and 2.

The first form builds narrow networks out of the module's own `ResNet`, `stack1` and `stack2`; the second writes the
full-size ResNet50V2 as `keras_resnet50v2.h5` (weights alone, as the published files are), `keras_resnet50v2_model.h5`
(a whole saved model) and `keras_resnet50v2.npz`, and ResNet50 likewise, which are too big to keep in the repository.
All run in float32 and in inference mode with random variables: gammas of both signs, non-zero betas and biases, moving
statistics near those of the activations but not equal to them. `tests/golden/README.md` describes the layout of the
`.npz` files. The third form counts: parameters, moving statistics, and multiply-accumulates of convolutions and dense
layers, at 224x224.

Made with the environment that the docstring of `golden_slim.py` describes, with h5py 3:

    slim/bin/python tools/golden_keras.py tests/golden
    slim/bin/python tools/golden_keras.py --full FOLDER
    slim/bin/python tools/golden_keras.py --count
"""

import argparse
import json
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import tf_keras
from golden_common import (
    Array,
    Golden,
    disturbed_mean,
    disturbed_variance,
    photos,
    random_gamma,
    random_input,
    random_offset,
    random_weights,
    variance_about_zero,
    write_first_good,
)
from tf_keras.src.applications import resnet

UNIT = re.compile(r"conv\d+_block\d+_out")
NARROW_CLASSES = 10
NARROW_FILTERS = (3, 4, 4, 5)
NARROW_UNITS = (3, 2, 2, 2)
SIZES = ((64, 64), (65, 48))
FULL_SIDE = 224


@dataclass(frozen=True)
class Version:
    """A version of the networks.

    Attributes:
        stack: The module's function of a stack of units.
        preact: Whether the units are pre-activation ones.
        strides: Of the four stacks of a published network.
        suffix: What the published networks' names end with.
    """

    stack: Callable[..., Any]
    preact: bool
    strides: tuple[int, int, int, int]
    suffix: str

    def narrow(self, height: int, width: int, activation: str | None) -> tf_keras.Model:
        """A narrow network whose head has the given activation."""

        def stacks(x: Any) -> Any:
            for index, (filters, units) in enumerate(zip(NARROW_FILTERS, NARROW_UNITS, strict=True)):
                x = self.stack(x, filters, units, stride1=self.strides[index], name=f"conv{index + 2}")
            return x

        return resnet.ResNet(
            stacks,
            preact=self.preact,
            use_bias=True,
            weights=None,
            input_shape=(height, width, 3),
            classes=NARROW_CLASSES,
            classifier_activation=activation,
        )

    def published(self, layers: int, activation: str | None = None) -> tf_keras.Model:
        """Keras's own network."""
        make = getattr(tf_keras.applications, f"ResNet{layers}{self.suffix}")
        return make(weights=None, classifier_activation=activation)


# The second version's stacks stride in their last unit, the first's in their first.
VERSIONS = (
    Version(resnet.stack1, preact=False, strides=(1, 2, 2, 2), suffix=""),
    Version(resnet.stack2, preact=True, strides=(2, 2, 2, 1), suffix="V2"),
)


def variables_of(model: tf_keras.Model) -> dict[str, Any]:
    """The model's variables by name."""
    return {variable.name.removesuffix(":0"): variable for variable in model.variables}


def draw_variables(model: tf_keras.Model, batch: Array, seed: int, *, about_zero: bool = False) -> None:
    """Give the model random variables, with moving statistics near those of the batch."""
    variables = variables_of(model)
    for name, variable in variables.items():
        shape = tuple(variable.shape)
        kind = name.rsplit("/", 1)[1]
        if kind == "kernel":
            variable.assign(random_weights(seed, name, shape, fan_in=math.prod(shape[:-1])))
        elif kind == "gamma":
            variable.assign(random_gamma(seed, name, shape))
        else:
            variable.assign(random_offset(seed, name, shape, deviation=0.8 if name == "conv1_conv/bias" else 0.3))
    norms = [layer for layer in model.layers if isinstance(layer, tf_keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    model(batch, training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
        mean, variance = layer.moving_mean, layer.moving_variance
        new_mean = disturbed_mean(seed, f"{layer.name}/moving_mean", mean.numpy(), variance.numpy())
        mean.assign(new_mean)
        spread = variance_about_zero(new_mean, variance.numpy()) if about_zero else variance.numpy()
        variance.assign(disturbed_variance(seed, f"{layer.name}/moving_variance", spread))


def run(model: tf_keras.Model, x: Array) -> tuple[dict[str, Array], Array]:
    """The outputs of every unit, and what the head gives."""
    names = [layer.name for layer in model.layers if UNIT.fullmatch(layer.name)]
    outputs = [model.get_layer(name).output for name in names]
    *units, head = tf_keras.Model(model.input, [*outputs, model.output])(x, training=False)
    return {name: unit.numpy() for name, unit in zip(names, units, strict=True)}, head.numpy()


def forward(model: tf_keras.Model, raw: tf_keras.Model, x: Array) -> tuple[dict[str, Array], Array, Array]:
    """The outputs of every unit, the logits and the predictions; `raw` is the same network without the softmax."""
    raw.set_weights(model.get_weights())
    end, predictions = run(model, x)
    _, logits = run(raw, x)
    return end, logits, predictions


def golden(seed: int, version: Version) -> Golden:
    """Run the narrow network at all sizes."""
    first = version.narrow(*SIZES[0], activation="softmax")
    draw_variables(first, random_input(seed, 8, *SIZES[0], 3), seed)
    result = Golden({name: variable.numpy() for name, variable in variables_of(first).items()})
    for height, width in SIZES:
        model = version.narrow(height, width, activation="softmax")
        model.set_weights(first.get_weights())
        x = random_input(seed, 1, height, width, 3)
        end, logits, predictions = forward(model, version.narrow(height, width, activation=None), x)
        tf_keras.backend.set_floatx("float64")
        double = version.narrow(height, width, activation=None)
        tf_keras.backend.set_floatx("float32")
        double.set_weights(first.get_weights())
        exact, _ = run(double, x.astype(np.float64))
        case = {
            "filters": NARROW_FILTERS,
            "units": NARROW_UNITS,
            "num_classes": NARROW_CLASSES,
            "height": height,
            "width": width,
        }
        result.add(case, x, end, exact, logits=logits, predictions=predictions)
    return result


def write_narrow(folder: Path, seed: int) -> None:
    """Write the golden files of the narrow networks."""
    for version in VERSIONS:
        write_first_good(folder / f"keras_resnet{version.suffix.lower()}.npz", seed, partial(golden, version=version))


def write_full(folder: Path, seed: int) -> None:
    """Write the full-size networks of 50 layers and a forward pass of each."""
    folder.mkdir(parents=True, exist_ok=True)
    for version in VERSIONS:
        model, name = version.published(50, "softmax"), f"resnet50{version.suffix.lower()}"
        draw_variables(model, photos(4, FULL_SIDE, seed + 1), seed, about_zero=True)
        model.save_weights(folder / f"keras_{name}.h5")
        model.save(folder / f"keras_{name}_model.h5")
        x = photos(1, FULL_SIDE, seed)
        end, logits, predictions = forward(model, version.published(50), x)
        np.savez(
            folder / f"keras_{name}.npz",
            x=x,
            logits=logits,
            predictions=predictions,
            case=np.array(json.dumps({"name": name})),
            **{f"end/{key}": value for key, value in end.items()},
        )
        print(f"{name}: {len(end)} end points, standard deviation of the logits {logits.std():.3f}")


def print_counts() -> None:
    """Print what the published networks have and compute."""
    for version in VERSIONS:
        for layers in (50, 101, 152):
            model = version.published(layers)
            trained = sum(math.prod(weight.shape) for weight in model.trainable_weights)
            moving = sum(math.prod(weight.shape) for weight in model.non_trainable_weights)
            macs = 0
            for layer in model.layers:
                if isinstance(layer, tf_keras.layers.Conv2D | tf_keras.layers.Dense):
                    macs += math.prod(layer.kernel.shape) * math.prod(layer.output_shape[1:-1])
            print(f"ResNet{layers}{version.suffix}: {trained:,} {moving:,} {macs:,}")


def main() -> None:
    """Write the golden files of the narrow networks, or those of the full-size ones, or count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="where the files go")
    parser.add_argument("--full", action="store_true", help="write the full-size networks instead of the narrow ones")
    parser.add_argument("--count", action="store_true", help="count instead")
    parser.add_argument("--seed", type=int, default=20160725, help="first seed to try for the variables and the inputs")
    arguments = parser.parse_args()
    if arguments.count:
        print_counts()
    elif arguments.folder is None:
        parser.error("needs a folder")
    else:
        (write_full if arguments.full else write_narrow)(arguments.folder, arguments.seed)


if __name__ == "__main__":
    main()
