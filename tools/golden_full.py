"""Write full-size TF-slim networks as TensorFlow checkpoints, with one forward pass of each.

For `resnet_v2_50`, `resnet_v2_152` and `resnet_v1_50`, with 1000 classes, the folder gets

- `<network>.ckpt`, a checkpoint of the V1 format in one file, as the published ones are;
- `<network>_v2.index` and `<network>_v2.data-00000-of-00001`, the same variables in the V2 format;
- `<network>.npz`: `x`, one 224x224 image in NHWC scaled to [-1, 1], and `end/<end point>` for every end point, NHWC.

The checkpoints also hold `global_step`, and that of v1 `resnet_v1_50/mean_rgb`, which no forward pass reads. Variables
are drawn as in `golden_slim.py`, with moving statistics
near those of a batch of such images, the variances about 0. These files are too big
to keep in the repository.

Made with the environment that the docstring of `golden_slim.py` describes:

    slim/bin/python tools/golden_full.py FOLDER
"""

import argparse
import importlib
import os
from pathlib import Path
from types import ModuleType

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import tensorflow.compat.v1 as tf
from golden_common import Array, photos
from golden_slim import draw_values, import_slim, load

NETWORKS = ("resnet_v2_50", "resnet_v2_152", "resnet_v1_50")
NUM_CLASSES = 1000
SIDE = 224
GLOBAL_STEP = 123_457
MEAN_RGB = (123.68, 116.78, 103.94)


def draw(slim: ModuleType, name: str, seed: int) -> dict[str, Array]:
    """Random variables for the network of that name."""
    nets = importlib.import_module(f"{slim.__name__}.nets.{name.rsplit('_', 1)[0]}")
    batch = photos(4, SIDE, seed + 1)
    with tf.Graph().as_default(), tf.Session() as session:
        inputs = tf.placeholder(tf.float32, batch.shape)
        with slim.arg_scope(nets.resnet_arg_scope(batch_norm_decay=0.0)):
            getattr(nets, name)(inputs, NUM_CLASSES, is_training=True)
        return draw_values(session, inputs, batch, seed, about_zero=True)


def write(slim: ModuleType, folder: Path, name: str, seed: int) -> None:
    """Write the checkpoints and the forward pass of the network of that name."""
    nets = importlib.import_module(f"{slim.__name__}.nets.{name.rsplit('_', 1)[0]}")
    values = draw(slim, name, seed)
    x = photos(1, SIDE, seed)
    with tf.Graph().as_default(), tf.Session() as session:
        inputs = tf.placeholder(tf.float32, x.shape)
        with slim.arg_scope(nets.resnet_arg_scope()):
            _, end_points = getattr(nets, name)(inputs, NUM_CLASSES, is_training=False)
        step = tf.train.get_or_create_global_step()
        values[step.op.name] = np.array(GLOBAL_STEP, np.int64)
        if name == "resnet_v1_50":
            mean = tf.get_variable(f"{name}/mean_rgb", (3,), trainable=False)
            values[mean.op.name] = np.array(MEAN_RGB, np.float32)
        load(session, values)
        computed = session.run(dict(end_points), {inputs: x})
        for version, path in (
            (tf.train.SaverDef.V1, folder / f"{name}.ckpt"),
            (tf.train.SaverDef.V2, folder / f"{name}_v2"),
        ):
            saver = tf.train.Saver(write_version=version)
            saver.save(session, str(path), write_meta_graph=False, write_state=False)
    np.savez(folder / f"{name}.npz", x=x, **{f"end/{key}": value for key, value in computed.items()})
    logits = computed[f"{name}/logits"]
    print(f"{name}: {len(computed)} end points, standard deviation of the logits {logits.std():.3f}")


def main() -> None:
    """Write the files of all networks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the files go")
    parser.add_argument("--seed", type=int, default=20160316, help="seed of the variables and the images")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    slim = import_slim()
    for name in NETWORKS:
        write(slim, arguments.folder, name, arguments.seed)


if __name__ == "__main__":
    main()
