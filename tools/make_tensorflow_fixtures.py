"""Write TensorFlow's files under `tests/data`, and what TensorFlow reads from them.

They are object-based checkpoints, a frozen graph and models of TensorFlow Lite.

Usage: python tools/make_tensorflow_fixtures.py keras2|keras3

`keras2` needs TensorFlow with Keras 2 (made with 2.15), `keras3` with Keras 3 (made with TensorFlow 2.21 and Keras
3.15). Neither is a dependency of this project, so the files are committed. Beside each file stands a JSON document: for
each tensor by the name that it should have, the dtype, the shape, and the SHA-256 of the C-order bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

ROOT = Path(__file__).parent.parent / "tests" / "data"
FOLDER = ROOT / "checkpoints"
keras = tf.keras


def truth(value: Any) -> dict[str, Any]:
    """One tensor's line."""
    array = np.asarray(value)
    if array.dtype == object:
        return {"dtype": "string", "shape": list(array.shape), "strings": [each.hex() for each in array.reshape(-1)]}
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return {"dtype": array.dtype.name, "shape": list(array.shape), "sha256": digest}


def write_truth(path: Path, tensors: dict[str, Any]) -> None:
    """One JSON document, a line for each tensor."""
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(truth(value))}" for name, value in tensors.items())
    path.write_text("{\n" + lines + "\n}\n")


def network(seed: int, width: int = 4) -> Any:
    """A convolution, a batch norm and a dense layer with random values in all variables."""
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(width, 3, use_bias=False, name="conv1_conv")(inputs)
    x = keras.layers.BatchNormalization(name="conv1_bn")(x)
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    model = keras.Model(inputs, keras.layers.Dense(2, name="predictions")(x))
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(size=weight.shape).astype(np.float32) for weight in model.get_weights()])
    return model


def fit(model: Any, optimizer: Any) -> None:
    """One step, which makes the optimizer's slots."""
    model.compile(optimizer, "mse")
    model.fit(np.zeros((2, 8, 8, 3)), np.ones((2, 2)), verbose=0)


def values(model: Any, prefix: str = "") -> dict[str, Any]:
    """The variables of a model by their own names."""
    names = (getattr(weight, "path", None) or weight.name.removesuffix(":0") for weight in model.weights)
    return {prefix + name: weight.numpy() for name, weight in zip(names, model.weights, strict=True)}


def keep(prefix: str, name: str, tensors: dict[str, Any]) -> None:
    """Put a checkpoint under its fixture's name."""
    for ending in ("index", "data-00000-of-00001"):
        (FOLDER / f"{name}.{ending}").write_bytes(Path(f"{prefix}.{ending}").read_bytes())
    write_truth(FOLDER / f"{name}.json", tensors)


def make_keras2(folder: str) -> None:
    """Weights with slots of both generations of optimizers, two copies of one model, and a frozen graph."""
    model = network(0)
    fit(model, keras.optimizers.Adam())
    model.save_weights(f"{folder}/w")
    keep(f"{folder}/w", "keras2", values(model))
    model = network(1)
    fit(model, keras.optimizers.legacy.SGD(momentum=0.9))
    prefix = tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(f"{folder}/slots")
    keep(prefix, "slots2", values(model))
    student, teacher = network(2), network(3)
    prefix = tf.train.Checkpoint(student=student, teacher=teacher).save(f"{folder}/two")
    keep(prefix, "two2", values(student, "student/") | values(teacher, "teacher/"))
    make_frozen()
    make_frozen_by_reads()
    make_lite()


def make_keras3(folder: str) -> None:
    """An export, which saves every variable twice, and a training checkpoint."""
    model = network(4)
    model.export(f"{folder}/export", verbose=False)
    keep(f"{folder}/export/variables/variables", "export2", values(model))
    fit(model, "adam")
    prefix = tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(f"{folder}/k3")
    keep(prefix, "keras3", values(model))


def make_frozen_by_reads() -> None:
    """A graph in which variables are called by how they were read, and their own names."""
    model = network(6)
    function = tf.function(model).get_concrete_function(tf.TensorSpec((None, 8, 8, 3)))
    frozen = convert_variables_to_constants_v2(function).graph.as_graph_def()
    (ROOT / "readers" / "frozen2.pb").write_bytes(frozen.SerializeToString(deterministic=True))
    write_truth(ROOT / "readers" / "frozen2.json", values(model, f"{model.name}/"))


def make_lite() -> None:
    """One network as it is, with weights in half precision, and with weights in 8 bits."""
    truths = {}
    for name, optimizations, types in (
        ("float32", [], []),
        ("float16", [tf.lite.Optimize.DEFAULT], [tf.float16]),
        ("int8", [tf.lite.Optimize.DEFAULT], []),
    ):
        converter = tf.lite.TFLiteConverter.from_keras_model(network(5, width=64 if name == "int8" else 4))
        converter.optimizations, converter.target_spec.supported_types = optimizations, types
        model = converter.convert()
        (ROOT / "readers" / f"{name}.tflite").write_bytes(model)
        interpreter = tf.lite.Interpreter(model_content=model)
        made = {node for each in interpreter._get_ops_details() for node in each["outputs"]}
        made |= {each["index"] for each in interpreter.get_input_details()}
        constants = [each for each in interpreter.get_tensor_details() if each["index"] not in made]
        truths[f"{name}.tflite"] = {
            each["name"]: "quantised"
            if each["quantization_parameters"]["scales"].size
            else truth(interpreter.get_tensor(each["index"]))
            for each in constants
        }
    (ROOT / "readers" / "tflite.json").write_text(json.dumps(truths, indent=1) + "\n")


def make_frozen() -> None:
    """Constants of all types, whole and by one value, and those of variables, read through `Identity`."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        names = ["float32", "float64", "int32", "uint8", "int16", "int8", "complex64", "int64", "bool", "bfloat16"]
        names += ["uint16", "complex128", "float16", "uint32", "uint64"]
        for name in names:
            tf.constant(
                np.arange(6).reshape(2, 3) > 1 if name == "bool" else np.arange(6).reshape(2, 3), name, name=name
            )
            tf.constant(1, name, shape=(3, 4), name=f"repeated/{name}") if name != "bool" else None
            tf.constant(np.ones((), name), name=f"scalar/{name}")
        tf.constant(-1, tf.int8, shape=(2,), name="negative")
        tf.constant(np.zeros((0, 3), np.float32), name="empty")
        tf.constant([b"a", b"", b"bc"], name="strings")
        with v1.variable_scope("resnet_model", use_resource=False):
            image = v1.placeholder(tf.float32, (None, 8, 8, 3))
            kernel = v1.get_variable("conv2d/kernel", (3, 3, 3, 4))
            gamma = v1.get_variable("batch_normalization/gamma", (4,), initializer=v1.ones_initializer())
            tf.identity(tf.nn.conv2d(image, kernel, 1, "SAME") * gamma, "out")
        session.run(v1.global_variables_initializer())
        (ROOT / "readers" / "not_frozen.pb").write_bytes(session.graph_def.SerializeToString())
        constants = [op.name for op in session.graph.get_operations() if op.type == "Const" and "/" not in op.name[13:]]
        constants = [name for name in constants if not name.startswith("resnet_model")]
        frozen = v1.graph_util.convert_variables_to_constants(
            session, session.graph_def, ["resnet_model/out", *constants]
        )
        (ROOT / "readers" / "frozen.pb").write_bytes(frozen.SerializeToString(deterministic=True))
    with tf.Graph().as_default(), v1.Session() as session:
        tf.import_graph_def(frozen, name="")
        nodes = [node for node in frozen.node if node.op == "Const"]
        nodes += [node for node in frozen.node if node.op == "Identity" and node.name.endswith("/read")]
        write_truth(ROOT / "readers" / "frozen.json", {n.name: session.run(f"{n.name}:0") for n in nodes})


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        match sys.argv[1:]:
            case ["keras2"]:
                make_keras2(scratch)
            case ["keras3"]:
                make_keras3(scratch)
            case _:
                sys.exit(__doc__)
