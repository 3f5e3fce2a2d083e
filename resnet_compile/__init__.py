"""A compiler from a JSON description of a residual network to an ONNX model.

The stages, each from a value to a value::

    load_spec / NetworkSpec  ->  plan_network  ->  compile  ->  CompiledModel.to_proto() or .save(path)

`load_spec` reads a spec from a file or the catalogue; `plan_network` resolves every stride, pad, shape and parameter;
`compile` lowers the plan to a graph and binds weights to it; a `CompiledModel` makes the weights' values while it is
written.

Submodules such as `resnet_compile.training` are imported when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from resnet_compile._version import __version__

if TYPE_CHECKING:
    from resnet_compile import batch as batch
    from resnet_compile import bench as bench
    from resnet_compile import classify as classify
    from resnet_compile import costs as costs
    from resnet_compile import evaluate as evaluate
    from resnet_compile import features as features
    from resnet_compile import files as files
    from resnet_compile import guess as guess
    from resnet_compile import images as images
    from resnet_compile import metadata as metadata
    from resnet_compile import metrics as metrics
    from resnet_compile import options as options
    from resnet_compile import plan as plan
    from resnet_compile import precision as precision
    from resnet_compile import proof as proof
    from resnet_compile import quantize as quantize
    from resnet_compile import ray_data as ray_data
    from resnet_compile import rebuild as rebuild
    from resnet_compile import recognise as recognise
    from resnet_compile import runtime as runtime
    from resnet_compile import serialize as serialize
    from resnet_compile import shards as shards
    from resnet_compile import spec as spec
    from resnet_compile import sweep as sweep
    from resnet_compile import training as training
    from resnet_compile import triton as triton
    from resnet_compile import verify as verify
    from resnet_compile.checkpoints.base import Checkpoint
    from resnet_compile.checkpoints.formats import open_checkpoint
    from resnet_compile.compiler import CompiledModel, compile  # noqa: A004  # the verb of this package
    from resnet_compile.errors import ResnetCompileError
    from resnet_compile.options import CompileOptions
    from resnet_compile.plan import Plan, plan_network
    from resnet_compile.precision import Float16, Float32, Int8
    from resnet_compile.predictor import Model, Prediction, Predictions, load_model
    from resnet_compile.spec import (
        BatchNorm,
        Block,
        BottleneckV2,
        Head,
        ImagenetRoot,
        Input,
        NetworkSpec,
        UnitArgs,
        caffe_block,
        catalogue,
        cifar_bottleneck_block,
        cifar_network,
        cifar_plain_block,
        keras_block,
        keras_v2_block,
        load_spec,
        mlperf_tiny_block,
        parse_spec,
        preact_basic_block,
        published_weights,
        resnet_v1_block,
        resnet_v2_block,
        tf_official_block,
        timm_preact_block,
        torchvision_basic_block,
        torchvision_bottleneck_block,
        transformers_network,
    )
    from resnet_compile.weights.binding import bind

__all__ = [
    "BatchNorm",
    "Block",
    "BottleneckV2",
    "Checkpoint",
    "CompileOptions",
    "CompiledModel",
    "Float16",
    "Float32",
    "Head",
    "ImagenetRoot",
    "Input",
    "Int8",
    "Model",
    "NetworkSpec",
    "Plan",
    "Prediction",
    "Predictions",
    "ResnetCompileError",
    "UnitArgs",
    "__version__",
    "bind",
    "caffe_block",
    "catalogue",
    "cifar_bottleneck_block",
    "cifar_network",
    "cifar_plain_block",
    "compile",
    "keras_block",
    "keras_v2_block",
    "load_model",
    "load_spec",
    "mlperf_tiny_block",
    "open_checkpoint",
    "parse_spec",
    "plan_network",
    "preact_basic_block",
    "published_weights",
    "resnet_v1_block",
    "resnet_v2_block",
    "tf_official_block",
    "timm_preact_block",
    "torchvision_basic_block",
    "torchvision_bottleneck_block",
    "transformers_network",
]

_HOMES = {
    "Checkpoint": "checkpoints.base",
    "CompileOptions": "options",
    "CompiledModel": "compiler",
    "Float16": "precision",
    "Float32": "precision",
    "Int8": "precision",
    "Plan": "plan",
    "ResnetCompileError": "errors",
    "Model": "predictor",
    "Prediction": "predictor",
    "Predictions": "predictor",
    "bind": "weights.binding",
    "compile": "compiler",
    "load_model": "predictor",
    "open_checkpoint": "checkpoints.formats",
    "plan_network": "plan",
}
_SUBMODULES = {
    *("batch", "bench", "classify", "costs", "evaluate", "features", "files", "guess", "images", "metadata", "metrics"),
    *("options", "plan", "precision", "proof", "quantize", "ray_data", "rebuild", "recognise"),
    *("runtime", "serialize", "shards", "spec", "sweep", "training", "triton", "verify"),
}


def __getattr__(name: str) -> Any:
    """Imports a name on first use: `resnet-compile --help` needs neither pydantic nor onnx."""
    if name in _SUBMODULES:
        return import_module(f"{__name__}.{name}")
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    value = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'spec')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
