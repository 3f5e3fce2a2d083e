"""Holds the configurations of `resnet_compile.triton` to Triton's own messages.

Runs where this package and Triton's client are installed (``pip install "tritonclient[grpc]"``)::

    python tools/check_triton.py

Every configuration is parsed as a ``ModelConfig``, with which an unknown or misplaced field is an error, and compared
with the model: names, types, axes.
"""

from __future__ import annotations

import sys
from itertools import product

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

import resnet_compile as rc
from resnet_compile.triton import config_text

LABELS = tuple(f"class {index}" for index in range(10))


def main() -> int:
    """Prints a line a configuration; the number of those that are wrong."""
    wrong = 0
    variants = product(("dynamic", 2), (None, "inception"), ("float32", "float16"), (None, "cpu", "cuda", "tensorrt"))
    for batch, preprocess, dtype, target in variants:
        options = rc.CompileOptions(
            batch=batch, preprocess=preprocess, dtype=dtype, target=target, labels=LABELS, top=3
        )
        model = rc.compile(rc.load_spec("tiny"), options)
        config = text_format.Parse(config_text(model, "tiny"), model_config_pb2.ModelConfig())
        told = [(each.name, *each.dims) for each in (*config.input, *config.output)]
        axes = slice(1 if config.max_batch_size else 0, None)
        values = (*model.graph.inputs, *model.graph.outputs)
        fits = told == [
            (each.name, *(dim if isinstance(dim, int) else -1 for dim in each.shape[axes])) for each in values
        ]
        fits &= not config.parameters and not config.optimization.graph.level and len(config.model_warmup) > 0
        wrong += not fits
        print("right" if fits else "WRONG", batch, preprocess, dtype, target)
    return wrong


if __name__ == "__main__":
    sys.exit(main())
