"""Write golden data by running TensorFlow's official `resnet`, version 1 and 2.

The first form builds narrow networks by the original's `Model` and writes every unit's output; the second writes
ImageNet networks of full size as V2 checkpoints, frozen graphs and `.npz` files, which are too big to keep in the
repository; the third counts parameters, moving statistics, and multiply-accumulates of convolutions and dense layers.
All run in float32 and in inference mode with random variables, which `golden_slim.py` draws.

MODEL is the original's `official/r1/resnet/resnet_model.py` of github.com/tensorflow/models, which this repository does
not hold. Made with the environment that the docstring of `golden_slim.py` describes:

    slim/bin/python tools/golden_official.py MODEL tests/golden
    slim/bin/python tools/golden_official.py MODEL FOLDER --full
    slim/bin/python tools/golden_official.py MODEL --count
"""

import argparse
import importlib
import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import tensorflow.compat.v1 as tf
from golden_common import Array, Golden, photos, random_input, write_first_good
from golden_slim import draw_values, load

UNITS = ("_building_block_v1", "_building_block_v2", "_bottleneck_block_v1", "_bottleneck_block_v2")
BLOCK_SIZES = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}
CIFAR_LAYERS = (20, 32, 44, 56, 110)
FULL_SIDE = 224


@dataclass(frozen=True)
class Case:
    """Arguments of the original's `Model`, and the size of its input."""

    resnet_version: int
    bottleneck: bool
    num_filters: int
    block_sizes: tuple[int, ...]
    block_strides: tuple[int, ...]
    kernel_size: int
    conv_stride: int
    first_pool_size: int | None
    num_classes: int
    height: int
    width: int


def imagenet(version: int, layers: int) -> Case:
    """The published network of that many layers, as `imagenet_main.ImagenetModel` builds it."""
    return Case(version, layers >= 50, 64, BLOCK_SIZES[layers], (1, 2, 2, 2), 7, 2, 3, 1001, FULL_SIDE, FULL_SIDE)


def cifar(version: int, layers: int) -> Case:
    """The published network of that many layers, as `cifar10_main.Cifar10Model` builds it."""
    return Case(version, False, 16, (layers // 6,) * 3, (1, 2, 2), 3, 1, None, 10, 32, 32)


def narrow(version: int, bottleneck: bool) -> list[Case]:
    """Bottlenecks behind ImageNet's root block, basic units behind CIFAR's, on maps of even and odd sides."""
    root = (7, 2, 3) if bottleneck else (3, 1, None)
    sizes = ((64, 64), (65, 48)) if bottleneck else ((16, 16), (17, 14))
    return [Case(version, bottleneck, 4, (2, 2, 1), (1, 2, 2), *root, 7, *size) for size in sizes]


def import_model(path: Path) -> ModuleType:
    """Import the original."""
    tf.disable_eager_execution()
    sys.path.insert(0, str(path.parent))
    return importlib.import_module(path.stem)


@contextmanager
def changed(module: ModuleType, **values: Any) -> Iterator[None]:
    """The module with other values for a while."""
    kept = {name: getattr(module, name) for name in values}
    vars(module).update(values)
    yield
    vars(module).update(kept)


def build(module: ModuleType, case: Case, inputs: Any, *, training: bool) -> tuple[list[Any], Any]:
    """Build the network in the default graph: the outputs of its units, in order, and its logits.

    One step of the training mode sets the moving statistics to the batch's own.
    """
    units: list[Any] = []

    def recording(unit: Any) -> Any:
        def recorded(*arguments: Any) -> Any:
            units.append(unit(*arguments))
            return units[-1]

        return recorded

    recorders = {name: recording(getattr(module, name)) for name in UNITS}
    decay = 0.0 if training else module._BATCH_NORM_DECAY
    # TensorFlow has fused batch normalisation for float32 but not for float64, where the plain one serves.
    norm = module.batch_norm if inputs.dtype == tf.float32 else partial(plain_norm, module)
    with changed(module, **recorders, _BATCH_NORM_DECAY=decay, batch_norm=norm):
        model = module.Model(
            resnet_size=None,
            bottleneck=case.bottleneck,
            num_classes=case.num_classes,
            num_filters=case.num_filters,
            kernel_size=case.kernel_size,
            conv_stride=case.conv_stride,
            first_pool_size=case.first_pool_size,
            first_pool_stride=2,
            block_sizes=case.block_sizes,
            block_strides=case.block_strides,
            resnet_version=case.resnet_version,
            data_format="channels_last",
        )
        logits = model(inputs, training)
    return units, logits


def plain_norm(module: ModuleType, inputs: Any, training: bool, data_format: str) -> Any:
    """The original's `batch_norm`, not fused."""
    assert (training, data_format) == (False, "channels_last")
    epsilon = module._BATCH_NORM_EPSILON
    return tf.layers.batch_normalization(inputs, axis=3, epsilon=epsilon, training=False, fused=False)


def draw(module: ModuleType, case: Case, batch: Array, seed: int, *, about_zero: bool = False) -> dict[str, Array]:
    """Random variables for the network of a case."""
    with tf.Graph().as_default(), tf.Session() as session:
        inputs = tf.placeholder(tf.float32, batch.shape)
        build(module, case, inputs, training=True)
        return draw_values(session, inputs, batch, seed, about_zero=about_zero)


def run(module: ModuleType, case: Case, x: Array, variables: dict[str, Array]) -> tuple[dict[str, Array], Array, Array]:
    """The units' outputs by their places, such as `block1/unit_1`, the logits, and the predictions."""
    with tf.Graph().as_default(), tf.Session() as session:
        inputs = tf.placeholder(x.dtype, x.shape)
        units, logits = build(module, case, inputs, training=False)
        load(session, variables)
        computed, *scores = session.run([units, logits, tf.nn.softmax(logits)], {inputs: x})
    places = (
        f"block{block + 1}/unit_{unit + 1}" for block, size in enumerate(case.block_sizes) for unit in range(size)
    )
    return dict(zip(places, computed, strict=True)), *scores


def golden(seed: int, module: ModuleType, cases: list[Case]) -> Golden:
    """Run the cases, of which the first sets the moving statistics."""
    variables = draw(module, cases[0], random_input(seed, 8, cases[0].height, cases[0].width, 3), seed)
    result = Golden(variables)
    for case in cases:
        x = random_input(seed, 1, case.height, case.width, 3)
        end, logits, predictions = run(module, case, x, variables)
        exact, _, _ = run(module, case, x.astype(np.float64), variables)
        result.add(asdict(case), x, end, exact, logits=logits, predictions=predictions)
    return result


def write_narrow(module: ModuleType, folder: Path, seed: int) -> None:
    """Write the golden files of the narrow networks."""
    for version in (1, 2):
        for name, bottleneck in (("basic", False), ("bottleneck", True)):
            path = folder / f"official_v{version}_{name}.npz"
            write_first_good(path, seed, partial(golden, module=module, cases=narrow(version, bottleneck)))


def write_full(module: ModuleType, folder: Path, seed: int) -> None:
    """Write ImageNet's networks of 50 layers and CIFAR's of 56: a checkpoint, a frozen graph, a forward pass."""
    folder.mkdir(parents=True, exist_ok=True)
    for version in (1, 2):
        for name, case in (("resnet50", imagenet(version, 50)), ("cifar_resnet56", cifar(version, 56))):
            stem = f"tf_official_{name}_v{version}"
            batch, x = (photos(count, case.height, seed + 5 - count) for count in (4, 1))
            values = draw(module, case, batch, seed, about_zero=True)
            end, logits, predictions = run(module, case, x, values)
            with tf.Graph().as_default() as graph, tf.Session() as session:
                inputs = tf.placeholder(tf.float32, (None, case.height, case.width, 3), name="input_tensor")
                _, scores = build(module, case, inputs, training=False)
                tf.nn.softmax(scores, name="softmax_tensor")
                load(session, values)
                frozen = tf.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["softmax_tensor"])
                (folder / f"{stem}.pb").write_bytes(frozen.SerializeToString())
                step = tf.train.get_or_create_global_step()
                session.run(step.initializer)
                tf.train.Saver().save(session, str(folder / stem), write_meta_graph=False, write_state=False)
            arrays = {f"end/{key}": value for key, value in end.items()}
            np.savez(
                folder / f"{stem}.npz",
                x=x,
                logits=logits,
                predictions=predictions,
                case=np.array(json.dumps(asdict(case))),
                **arrays,
            )
            print(f"{stem}: {len(end)} end points, standard deviation of the logits {logits.std():.3f}")


def print_counts(module: ModuleType) -> None:
    """Print what the published networks have and compute."""
    for version in (1, 2):
        cases = {f"imagenet {layers}": imagenet(version, layers) for layers in BLOCK_SIZES}
        cases |= {f"cifar {layers}": cifar(version, layers) for layers in CIFAR_LAYERS}
        for name, case in cases.items():
            with tf.Graph().as_default() as graph:
                build(module, case, tf.placeholder(tf.float32, (1, case.height, case.width, 3)), training=False)
                trained = sum(math.prod(each.shape.as_list()) for each in tf.trainable_variables())
                total = sum(math.prod(each.shape.as_list()) for each in tf.global_variables())
                macs = 0
                for operation in graph.get_operations():
                    if operation.type in ("Conv2D", "MatMul"):
                        kernel, output = operation.inputs[1].shape, operation.outputs[0].shape
                        macs += math.prod(kernel.as_list()) * math.prod(output.as_list()[1:-1])
            print(f"v{version} {name}: {trained:,} {total - trained:,} {macs:,}")


def main() -> None:
    """Write the golden files of the narrow networks, or those of the full-size ones, or count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="the original's resnet_model.py")
    parser.add_argument("folder", type=Path, nargs="?", help="where the files go")
    parser.add_argument("--full", action="store_true", help="write full-size networks instead of the narrow ones")
    parser.add_argument("--count", action="store_true", help="count instead")
    parser.add_argument("--seed", type=int, default=20180416, help="first seed to try for the variables and the inputs")
    arguments = parser.parse_args()
    module = import_model(arguments.model)
    if arguments.count:
        print_counts(module)
    elif arguments.folder is None:
        parser.error("needs a folder")
    else:
        (write_full if arguments.full else write_narrow)(module, arguments.folder, arguments.seed)


if __name__ == "__main__":
    main()
