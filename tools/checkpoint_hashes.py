"""Prints type, shape and SHA-256 of every tensor of TensorFlow checkpoints, as read by TensorFlow or by this package.

    slim/bin/python tools/checkpoint_hashes.py --by tensorflow CHECKPOINT... > tensorflow.txt
    python tools/checkpoint_hashes.py --by resnet_compile CHECKPOINT... > ours.txt
    cmp tensorflow.txt ours.txt

The first line is for the environment that the docstring of `golden_slim.py` describes. Equal files mean bit-equal
tensors.
"""

import argparse
import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np


def by_tensorflow(path: str) -> Iterator[tuple[str, Any]]:
    """Every tensor, by TensorFlow's own reader."""
    import tensorflow.compat.v1 as tf

    reader = tf.train.NewCheckpointReader(path)
    return ((name, reader.get_tensor(name)) for name in sorted(reader.get_variable_to_shape_map()))


def by_resnet_compile(path: str) -> Iterator[tuple[str, Any]]:
    """Every tensor, by this package's."""
    from resnet_compile.checkpoints.formats import open_checkpoint

    checkpoint = open_checkpoint(path)
    return ((name, checkpoint[name]) for name in sorted(checkpoint))


def main() -> None:
    """Parses the command line, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT")
    parser.add_argument("--by", choices=["tensorflow", "resnet_compile"], required=True)
    arguments = parser.parse_args()
    read = by_tensorflow if arguments.by == "tensorflow" else by_resnet_compile
    for path in arguments.checkpoints:
        for name, values in read(path):
            array = np.asarray(values)
            digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
            print(path, name, array.dtype.name, list(array.shape), digest)


if __name__ == "__main__":
    main()
