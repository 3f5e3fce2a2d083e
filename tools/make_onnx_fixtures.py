"""Exports narrow golden networks to ONNX as other tools do, for the tests that match models by structure.

Each system's networks are made of the variables in `tests/golden`, so the golden end points are those of the exports
too. PyTorch's two exporters (the tracing one folds batch normalisation and renames what it folds), in the environment
that the docstring of `golden_timm.py` describes, with onnx and onnxscript:

    timm/bin/python tools/make_onnx_fixtures.py torch tests/golden tests/data/onnx

The same of a narrow network of torchvision's code, with random variables, behind what its `Normalize` does:

    timm/bin/python tools/make_onnx_fixtures.py torchvision tests/golden tests/data/onnx

tf2onnx 1.17.0, in the environment that the docstring of `golden_slim.py` describes, of TF-slim's networks and Keras's;
the first version of these stands behind Keras's own `preprocess_input`:

    slim/bin/python tools/make_onnx_fixtures.py tensorflow tests/golden tests/data/onnx
    slim/bin/python tools/make_onnx_fixtures.py keras tests/golden tests/data/onnx
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

TORCH_NETWORKS = ("resnet_basic", "resnet_bottleneck", "resnext", "resnetv2")
SLIM_NETWORKS = ("v1", "v2")
SEED = 20160725


def golden_case(path: Path) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """The archive, its first case, and its variables."""
    arrays = np.load(path)
    case = json.loads(str(arrays["case"][0]))
    variables = {key.removeprefix("var/"): arrays[key] for key in arrays.files if key.startswith("var/")}
    return arrays, case, variables


def export_torch(golden: Path, folder: Path) -> None:
    """Both exporters on every narrow network of timm."""
    import torch
    from golden_timm import import_timm, narrow_model

    timm = import_timm()
    for name in TORCH_NETWORKS:
        arrays, case, variables = golden_case(golden / f"timm_{name}.npz")
        model = narrow_model(timm, case)
        model.load_state_dict({key: torch.from_numpy(value) for key, value in variables.items()})
        export_both_ways(model, torch.from_numpy(arrays[case["x"]]), folder / f"timm_{name}")


def export_both_ways(model: Any, x: Any, path: Path) -> None:
    """PyTorch's two exporters."""
    import torch

    for exporter in ("tracing", "dynamo"):
        file = path.with_name(f"{path.name}_{exporter}.onnx")
        torch.onnx.export(model.eval(), (x,), str(file), dynamo=exporter == "dynamo", external_data=False)
        print(f"{file.name}: {file.stat().st_size:,} bytes")


def export_torchvision(golden: Path, folder: Path) -> None:
    """Torchvision's code with fewer channels and units, which its own constructor does not offer."""
    import torch
    from torchvision.models.resnet import Bottleneck, ResNet

    torch.manual_seed(SEED)
    model = ResNet(Bottleneck, [1, 1, 1, 1], num_classes=10)
    model.inplanes = 8
    model.conv1, model.bn1 = torch.nn.Conv2d(3, 8, 7, 2, 3, bias=False), torch.nn.BatchNorm2d(8)
    for stage, planes in enumerate((4, 4, 6, 8), 1):
        layer = model._make_layer(Bottleneck, planes, 2 if stage == 2 else 1, 2 if stage > 1 else 1)
        setattr(model, f"layer{stage}", layer)
    model.fc = torch.nn.Linear(32, 10)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)

    class Normalized(torch.nn.Module):
        """As `transforms.Normalize`, which looks at its numbers, so that the newer exporter refuses it."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]))
            self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]))

        def forward(self, x: Any) -> Any:
            return self.model((x - self.mean[:, None, None]) / self.std[:, None, None])

    export_both_ways(Normalized(), torch.rand(2, 3, 64, 56), folder / "torchvision_bottleneck")


def export_tensorflow(golden: Path, folder: Path) -> None:
    """tf2onnx on a narrow network of each version of TF-slim."""
    import tensorflow.compat.v1 as tf
    import tf2onnx
    from golden_slim import Block, Case, build, import_slim, load

    slim = import_slim()
    for version in SLIM_NETWORKS:
        arrays, described, variables = golden_case(golden / f"slim_{version}_root.npz")
        x = arrays[described["x"]]
        kept = {key: described[key] for key in Case.__dataclass_fields__ if key in described}
        case = Case(**kept | {"blocks": tuple(Block(block["scope"], block["args"]) for block in described["blocks"])})
        with tf.Graph().as_default(), tf.Session() as session:
            inputs = tf.placeholder(tf.float32, x.shape, "input")
            net, _ = build(slim, case, inputs, is_training=False)
            output = tf.identity(net, "net")
            load(session, variables)
            frozen = tf.graph_util.convert_variables_to_constants(session, session.graph_def, [output.op.name])
        model, _ = tf2onnx.convert.from_graph_def(
            frozen, input_names=["input:0"], output_names=["net:0"], opset=17, inputs_as_nchw=["input:0"]
        )
        path = folder / f"slim_{version}_tf2onnx.onnx"
        path.write_bytes(model.SerializeToString())
        print(f"{path.name}: {path.stat().st_size:,} bytes")


def export_keras(golden: Path, folder: Path) -> None:
    """tf2onnx on a narrow network of each version of Keras Applications."""
    import tensorflow as tf
    import tf2onnx
    from golden_keras import VERSIONS, variables_of

    keras = tf.keras
    for version in VERSIONS:
        _, case, variables = golden_case(golden / f"keras_resnet{version.suffix.lower()}.npz")
        model = version.narrow(case["height"], case["width"], "softmax")
        for name, variable in variables_of(model).items():
            variable.assign(variables[name])
        shape = 1, case["height"], case["width"], 3
        photographs = tf.TensorSpec(shape, tf.uint8 if not version.preact else tf.float32, "photographs")

        def whole(x: Any, model: Any = model, prepares: bool = not version.preact) -> Any:
            return model(keras.applications.resnet.preprocess_input(tf.cast(x, tf.float32)) if prepares else x)

        exported, _ = tf2onnx.convert.from_function(tf.function(whole), [photographs], opset=17)
        path = folder / f"keras_resnet{version.suffix.lower()}_tf2onnx.onnx"
        path.write_bytes(exported.SerializeToString())
        print(f"{path.name}: {path.stat().st_size:,} bytes")


EXPORTS = {
    "torch": export_torch,
    "torchvision": export_torchvision,
    "tensorflow": export_tensorflow,
    "keras": export_keras,
}


def main() -> None:
    """Parses the command line, exports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system", choices=EXPORTS)
    parser.add_argument("golden", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    EXPORTS[arguments.system](arguments.golden, arguments.folder)


if __name__ == "__main__":
    main()
