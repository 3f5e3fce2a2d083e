"""Write golden data of narrow networks by running the original TF-slim ResNets, v2 and v1.

Every case is built by `resnet_v2.resnet_v2` or `resnet_v1.resnet_v1` of TF-slim under its own `resnet_arg_scope`, with
`is_training=False`, and evaluated in float32. The variables are random: gammas of both signs, non-zero betas and
biases, moving statistics away from 0 and 1 and from the input's own, so that two mistakes cannot cancel. The cases of
one file share their variables and every array that comes out bit for bit the same; `tests/golden/README.md` describes
the layout.

Made with Python 3.11, tensorflow-cpu 2.15.1, tf_slim 1.1.0, tf_keras 2.15.1 and numpy 1.26, in an environment of
its own:

    python3.11 -m venv slim
    slim/bin/pip install tensorflow-cpu==2.15.1 tf_slim==1.1.0 tf_keras==2.15.1 "numpy<2"
    slim/bin/python tools/golden_slim.py tests/golden
"""

import argparse
import importlib
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import tensorflow.compat.v1 as tf
from golden_common import (
    Array,
    Golden,
    disturbed_mean,
    disturbed_variance,
    random_gamma,
    random_input,
    random_offset,
    random_weights,
    variance_about_zero,
    write_first_good,
)

Units = list[tuple[int, int, int]]

LEGACY_LAYERS = "tf_keras.src.legacy_tf_layers"
LEGACY_SUBMODULES = ("normalization", "convolutional", "core", "pooling", "base")


@dataclass(frozen=True)
class Block:
    """A block of residual units: each of `args` is (depth, bottleneck depth, stride)."""

    scope: str
    args: Units


@dataclass(frozen=True)
class Case:
    """Everything that determines one network and the size of its input."""

    version: str
    scope: str
    blocks: tuple[Block, ...]
    height: int
    width: int
    num_classes: int | None = 7
    global_pool: bool = True
    output_stride: int | None = None
    include_root_block: bool = True
    channels: int = 3
    batch: int = 1


def import_slim() -> ModuleType:
    """Import TF-slim, first giving its legacy layers the module name under which TensorFlow 2.15 looks for them."""
    for suffix in ("", *(f".{name}" for name in LEGACY_SUBMODULES)):
        module = importlib.import_module(LEGACY_LAYERS + suffix)
        sys.modules[LEGACY_LAYERS.replace(".src", "") + suffix] = module
    tf.disable_eager_execution()
    return importlib.import_module("tf_slim")


def block(scope: str, base_depth: int, num_units: int, stride: int) -> Block:
    """Slim's own shape of a block: the stride sits in the last unit."""
    depth = 4 * base_depth
    return Block(scope, [(depth, base_depth, 1)] * (num_units - 1) + [(depth, base_depth, stride)])


def random_value(name: str, shape: tuple[int, ...], seed: int) -> Array:
    """A random value for the variable `name`; moving statistics have their own rule."""
    kind = name.rsplit("/", 1)[1]
    if kind in ("weights", "kernel"):
        return random_weights(seed, name, shape, fan_in=math.prod(shape[:-1]))
    if kind == "gamma":
        return random_gamma(seed, name, shape)
    return random_offset(seed, name, shape, deviation=0.8 if name.endswith("/conv1/biases") else 0.3)


def build(slim: ModuleType, case: Case, inputs: Any, *, is_training: bool) -> tuple[Any, dict[str, Any]]:
    """Build the network in the default graph; one step of its training mode sets the statistics to the batch's own.

    TensorFlow has fused batch normalisation for float32 but not for float64, where the plain one serves.
    """
    nets = importlib.import_module(f"{slim.__name__}.nets.resnet_{case.version}")
    utils = importlib.import_module(f"{slim.__name__}.nets.resnet_utils")
    network = getattr(nets, f"resnet_{case.version}")
    blocks = [
        utils.Block(
            item.scope,
            nets.bottleneck,
            [{"depth": depth, "depth_bottleneck": inner, "stride": stride} for depth, inner, stride in item.args],
        )
        for item in case.blocks
    ]
    scope = nets.resnet_arg_scope(**({"batch_norm_decay": 0.0} if is_training else {}))
    with slim.arg_scope(scope), slim.arg_scope([slim.batch_norm], fused=inputs.dtype == tf.float32):
        net, end_points = network(
            inputs,
            blocks,
            case.num_classes,
            is_training=is_training,
            global_pool=case.global_pool,
            output_stride=case.output_stride,
            include_root_block=case.include_root_block,
            scope=case.scope,
        )
    return net, dict(end_points)


def load(session: tf.Session, values: dict[str, Array]) -> None:
    """Give every variable of the session's graph its value."""
    variables = tf.global_variables()
    session.run(
        [variable.initializer for variable in variables],
        {variable.initializer.inputs[1]: values[variable.op.name] for variable in variables},
    )


def draw_values(
    session: tf.Session, inputs: Any, batch: Array, seed: int, *, about_zero: bool = False
) -> dict[str, Array]:
    """Random values for the variables of a graph in training mode that sets its statistics to those of the batch.

    The moving statistics are then disturbed: near enough to the activations' own that no map dies out, and far enough
    that none is normalised exactly. `about_zero` takes variances about 0 (`variance_about_zero`).
    """
    variables = tf.global_variables()
    names = [variable.op.name for variable in variables]
    load(
        session,
        {
            name: random_value(name, tuple(variable.shape.as_list()), seed)
            for name, variable in zip(names, variables, strict=True)
        },
    )
    session.run(tf.get_collection(tf.GraphKeys.UPDATE_OPS), {inputs: batch})
    values: dict[str, Array] = dict(zip(names, session.run(variables), strict=True))
    for name in names:
        if name.endswith("/moving_mean"):
            variance_name = name.replace("moving_mean", "moving_variance")
            values[name] = disturbed_mean(seed, name, values[name], values[variance_name])
    for name in names:
        if name.endswith("/moving_variance"):
            mean = values[name.replace("moving_variance", "moving_mean")]
            variance = variance_about_zero(mean, values[name]) if about_zero else values[name]
            values[name] = disturbed_variance(seed, name, variance)
    return values


def draw_variables(slim: ModuleType, case: Case, seed: int) -> dict[str, Array]:
    """Random variables for the network of a case."""
    x = random_input(seed, 8, case.height, case.width, case.channels)
    with tf.Graph().as_default(), tf.Session() as session:
        inputs = tf.placeholder(tf.float32, x.shape)
        build(slim, case, inputs, is_training=True)
        return draw_values(session, inputs, x, seed)


def run(slim: ModuleType, case: Case, x: Array, variables: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
    """The network's output and its end points in inference mode."""
    with tf.Graph().as_default(), tf.Session() as session:
        inputs = tf.placeholder(x.dtype, x.shape)
        fetched = build(slim, case, inputs, is_training=False)
        load(session, variables)
        result: tuple[Array, dict[str, Array]] = session.run(fetched, {inputs: x})
    return result


def golden(slim: ModuleType, cases: Sequence[Case], seed: int) -> Golden:
    """Run the cases, of which the first sets the moving statistics: it has every variable and the largest maps."""
    variables = draw_variables(slim, cases[0], seed)
    result = Golden(variables)
    for case in cases:
        x = random_input(seed, case.batch, case.height, case.width, case.channels)
        net, end_points = run(slim, case, x, variables)
        _, exact = run(slim, case, x.astype(np.float64), variables)
        result.add(asdict(case), x, end_points, exact, net=net)
    return result


def golden_files(version: str) -> dict[str, list[Case]]:
    """The cases of each file for one version of the network."""
    scope = f"resnet_{version}_narrow"
    nominal = (
        block("block1", 3, 2, 2),
        block("block2", 4, 2, 2),
        block("block3", 5, 2, 2),
        block("block4", 5, 2, 1),
    )
    root = Case(version, scope, nominal, height=40, width=40)
    strides = (4, 8, 16, 32, None)
    sizes = {(40, 40): strides, (41, 41): strides, (57, 36): (8, 16, None), (65, 25): (8, None)}
    strided = (
        Block("first", [(8, 2, 1), (8, 2, 2), (8, 2, 1)]),
        Block("second", [(12, 3, 3)]),
        Block("third", [(12, 3, 2)]),
        Block("fourth", [(12, 4, 1), (8, 2, 1)]),
    )
    rootless = Case(version, f"outer/{scope}", nominal, 15, 14, include_root_block=False, channels=5)
    through = replace(rootless, scope=f"{scope}_strides", blocks=strided, channels=8, height=23, width=18)
    headless = replace(root, num_classes=None, height=29, width=22, channels=4, batch=2)
    return {
        "root": [
            replace(root, height=height, width=width, output_stride=stride)
            for (height, width), strides in sizes.items()
            for stride in strides
        ],
        "rootless": [replace(rootless, output_stride=stride) for stride in (1, 2, 4, 8, None)],
        "strides": [replace(through, output_stride=stride) for stride in (1, 2, 6, 12, None)],
        "heads": [
            replace(headless, num_classes=classes, global_pool=pool, output_stride=stride)
            for classes in (7, None)
            for pool, stride in ((False, 8), (True, 8), (False, None))
        ],
    }


def main() -> None:
    """Write the golden files of both versions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the files go")
    parser.add_argument("--seed", type=int, default=20160326, help="first seed to try for the variables and the inputs")
    arguments = parser.parse_args()
    slim = import_slim()
    for version in ("v2", "v1"):
        for name, cases in golden_files(version).items():
            path = arguments.folder / f"slim_{version}_{name}.npz"
            write_first_good(path, arguments.seed, partial(golden, slim, cases))


if __name__ == "__main__":
    main()
