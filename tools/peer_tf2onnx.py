"""Makes TF-slim's own ResNet v2 with TensorFlow and tf2onnx; `tools/peers.py` runs it.

    python peer_tf2onnx.py resnet_v2_50 weights.npz model.onnx OPSET

Needs the environment that the docstring of `golden_slim.py` describes, and tf2onnx.
"""

import importlib
import sys

import numpy as np
from golden_slim import import_slim, tf


def main() -> None:
    """Builds, fills, freezes and converts the network."""
    name, weights, output, opset = sys.argv[1:]
    values = np.load(weights)
    slim = import_slim()
    resnet_v2 = importlib.import_module("tf_slim.nets.resnet_v2")
    # Deferred, since it imports parts of TensorFlow that are to be told first that there is no eager execution.
    import tf2onnx

    with tf.Graph().as_default(), tf.Session() as session:
        images = tf.placeholder(tf.float32, [None, 224, 224, 3], "input")
        with slim.arg_scope(resnet_v2.resnet_arg_scope()):
            logits, _ = getattr(resnet_v2, name)(images, 1000, is_training=False)
        tf.reshape(logits, [-1, 1000], name="logits")
        for variable in tf.global_variables():
            value = values[variable.op.name]
            variable.load(value.transpose(2, 3, 1, 0) if value.ndim == 4 else value, session)
        frozen = tf.graph_util.convert_variables_to_constants(session, session.graph_def, ["logits"])
    tf2onnx.convert.from_graph_def(
        frozen,
        input_names=["input:0"],
        output_names=["logits:0"],
        opset=int(opset),
        inputs_as_nchw=["input:0"],
        output_path=output,
    )


if __name__ == "__main__":
    main()
