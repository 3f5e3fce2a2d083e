"""Exports narrow golden networks to ONNX as other tools do, for the tests that match models by structure.

Each system's networks are made of the variables in `tests/golden`, so the golden end points are those of the exports
too. PyTorch's two exporters (the tracing one folds batch normalisation and renames what it folds), in the environment
that the docstring of `golden_timm.py` describes, with onnx and onnxscript:

    timm/bin/python tools/make_onnx_fixtures.py torch tests/golden tests/data/onnx

tf2onnx 1.17.0, in the environment that the docstring of `golden_slim.py` describes:

    slim/bin/python tools/make_onnx_fixtures.py tensorflow tests/golden tests/data/onnx
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

TORCH_NETWORKS = ("resnet_basic", "resnet_bottleneck", "resnext", "resnetv2")
SLIM_NETWORKS = ("v1", "v2")


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
        model.eval()
        x = torch.from_numpy(arrays[case["x"]])
        for exporter in ("tracing", "dynamo"):
            path = folder / f"timm_{name}_{exporter}.onnx"
            torch.onnx.export(model, (x,), str(path), dynamo=exporter == "dynamo", external_data=False)
            print(f"{path.name}: {path.stat().st_size:,} bytes")


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


def main() -> None:
    """Parses the command line, exports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system", choices=["torch", "tensorflow"])
    parser.add_argument("golden", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    export = export_torch if arguments.system == "torch" else export_tensorflow
    export(arguments.golden, arguments.folder)


if __name__ == "__main__":
    main()
