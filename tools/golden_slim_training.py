"""Golden training steps of a narrow v2 network by running TF-slim itself: losses, predictions and variables.

Two steps in training mode under `resnet_arg_scope`: the mean softmax cross-entropy with slim's regularisation losses,
TensorFlow's `MomentumOptimizer`, and the updates of moving statistics that slim collects in `UPDATE_OPS`. The
environment is that of `golden_slim.py`:

    slim/bin/python tools/golden_slim_training.py tests/golden
"""

import argparse
import importlib
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from golden_common import Array, generator, random_gamma, random_input, random_offset, random_weights
from golden_slim import import_slim, tf

SCOPE = "resnet_v2_narrow"
BLOCKS = ((3, 2, 2), (4, 2, 1))
BATCH, HEIGHT, WIDTH, CLASSES = 6, 33, 29, 7
RATES = (0.1, 0.02)


def build(slim: ModuleType, images: Any, labels: Any, rate: Any) -> tuple[Any, Any, Any]:
    """The total loss, the predictions, and what takes a step."""
    nets = importlib.import_module(f"{slim.__name__}.nets.resnet_v2")
    blocks = [
        nets.resnet_v2_block(f"block{number}", base_depth=depth, num_units=units, stride=stride)
        for number, (depth, units, stride) in enumerate(BLOCKS, 1)
    ]
    with slim.arg_scope(nets.resnet_arg_scope()):
        net, _ = nets.resnet_v2(images, blocks, CLASSES, is_training=True, global_pool=True, scope=SCOPE)
    logits = tf.reshape(net, [BATCH, CLASSES])
    tf.losses.sparse_softmax_cross_entropy(labels, logits)
    loss = tf.losses.get_total_loss()
    descend = tf.train.MomentumOptimizer(rate, 0.9).minimize(loss)
    return loss, tf.nn.softmax(logits), tf.group(descend, *tf.get_collection(tf.GraphKeys.UPDATE_OPS))


def first_value(name: str, shape: tuple[int, ...], seed: int) -> Array:
    """A random value for the variable `name`; slots start at zero."""
    kind = name.rsplit("/", 1)[1]
    if kind == "Momentum":
        return np.zeros(shape, np.float32)
    if kind == "weights":
        return random_weights(seed, name, shape, fan_in=math.prod(shape[:3]))
    if kind == "gamma":
        return random_gamma(seed, name, shape)
    if kind == "moving_variance":
        return generator(seed, name).uniform(0.5, 2, shape).astype(np.float32)
    return random_offset(seed, name, shape)


def golden(slim: ModuleType, seed: int) -> dict[str, Array]:
    """What the steps computed."""
    with tf.Graph().as_default(), tf.Session() as session:
        images = tf.placeholder(tf.float32, (BATCH, HEIGHT, WIDTH, 3))
        labels, rate = tf.placeholder(tf.int64, (BATCH,)), tf.placeholder(tf.float32, ())
        loss, predictions, take_step = build(slim, images, labels, rate)
        variables = {variable.op.name: variable for variable in tf.global_variables()}
        values = {name: first_value(name, tuple(v.shape.as_list()), seed) for name, v in variables.items()}
        session.run(
            [variable.initializer for variable in variables.values()],
            {variable.initializer.inputs[1]: values[name] for name, variable in variables.items()},
        )
        arrays = {f"step0/{name}": value for name, value in values.items() if not name.endswith("/Momentum")}
        for number, learning_rate in enumerate(RATES, 1):
            x = random_input(seed + number, BATCH, HEIGHT, WIDTH, 3)
            y = generator(seed, f"labels{number}").integers(0, CLASSES, BATCH)
            fed = {images: x, labels: y, rate: learning_rate}
            # Before the update: a run gives no order between what it fetches and the assignments.
            cost, likelihood = session.run([loss, predictions], fed)
            session.run(take_step, fed)
            batch = {"x": x, "y": y, "lr": np.float32(learning_rate), "cost": cost, "predictions": likelihood}
            arrays |= {f"{key}{number}": value for key, value in batch.items()}
            arrays |= {f"step{number}/{name}": value for name, value in session.run(variables).items()}
    return arrays


def main() -> None:
    """Write the golden file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the file goes")
    parser.add_argument("--seed", type=int, default=20160326, help="of the variables and the batches")
    arguments = parser.parse_args()
    path = arguments.folder / "slim_train_v2_momentum.npz"
    np.savez_compressed(path, **golden(import_slim(), arguments.seed))
    print(f"{path.name}: {len(RATES)} steps, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
