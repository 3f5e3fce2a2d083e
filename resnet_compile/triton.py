"""A Triton model repository: the folder from which a Triton server, or KServe with Triton's runtime, serves a model.

The configuration is deliberate in what it sets and what it leaves out:

- No top-level ``parameters``. Any of them makes the onnxruntime backend set the CUDA provider's algorithm search,
  memory limit and arena to its old defaults (``onnxruntime.cc``, `ModelState::LoadModel`). CUDA's options are in the
  accelerator's own block instead.
- No ``graph { level }``. Unset means onnxruntime's full optimisation; level 2 would not be more.
- One instance. Each has its own thread pool over all cores, so two would compete.
- Warm-up requests, so that the first client does not wait for plan building.
- For TensorRT, engines and timings are cached across starts, one engine serves all batch sizes, and the precision is
  that of the model's graph (github.com/triton-inference-server/onnxruntime_backend, README).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from resnet_compile.compiler import CompiledModel
from resnet_compile.errors import OptionError
from resnet_compile.files import as_path, replacing, writing
from resnet_compile.graph import Dim, DType, Value

MODEL = Path("1", "model.onnx")
"""The model's path in its folder: version 1."""

MAX_BATCH = 32
"""The most images that the server puts into one batch, for a model with a dynamic batch size."""

_QUEUE_MICROSECONDS = 1000
# The size of the warm-up photograph for a model that takes any size.
_PHOTOGRAPH = (480, 640)
_TYPES: dict[DType, str] = {"float32": "FP32", "float16": "FP16", "uint8": "UINT8", "int64": "INT64"}
_KINDS = {"cpu": "CPU", "cuda": "GPU", "tensorrt": "GPU"}
# Where the server caches what TensorRT builds: its own folder in Triton's images.
_ENGINES = "/opt/tritonserver"
_OF_CLASSES = ("predictions", "logits")
_LABELS = "labels.txt"


def write_repository(model: CompiledModel, folder: str | os.PathLike[str]) -> Path:
    """Writes ``NAME/1/model.onnx``, ``NAME/config.pbtxt`` and, if the model has labels, ``NAME/labels.txt``.

    Args:
        model: The model; if its batch is dynamic, the server forms the batches.
        folder: The repository, which may hold other models.

    Returns:
        The model's folder; its name is the network's name with ``_`` for slashes.

    Raises:
        OutputError: The folder cannot be written.
    """
    place = as_path(folder) / model.plan.name.replace("/", "_")
    with writing(place):
        (place / "1").mkdir(parents=True, exist_ok=True)
    model.save(place / MODEL)
    labels = model.format.metadata.labels
    if labels:
        with replacing(place / _LABELS) as file:
            file.write("".join(f"{' '.join(label.split())}\n" for label in labels).encode())
    with replacing(place / "config.pbtxt") as file:
        file.write(config_text(model, place.name).encode())
    return place


def config_text(model: CompiledModel, name: str) -> str:
    """The configuration of a model under a name, in protobuf's text format."""
    (source,) = model.graph.inputs
    batched = not isinstance(source.shape[0], int)
    classes = next((each for each in _OF_CLASSES for out in model.outputs if out.rpartition("/")[2] == each), None)
    lines = [
        f'name: "{name}"',
        'backend: "onnxruntime"',
        f"max_batch_size: {MAX_BATCH if batched else 0}",
        *_tensor("input", source, batched),
    ]
    for output in model.graph.outputs:
        labelled = model.format.metadata.labels and output.name.rpartition("/")[2] == classes
        lines += _tensor("output", output, batched, labels=bool(labelled))
    lines += _instances(model, name)
    if batched:
        lines += [f"dynamic_batching {{ max_queue_delay_microseconds: {_QUEUE_MICROSECONDS} }}"]
    for size in sorted({1, MAX_BATCH}) if batched else [1]:
        lines += _warmup(source, size, batched=batched)
    return "\n".join(lines) + "\n"


def _tensor(kind: str, value: Value, batched: bool, *, labels: bool = False) -> Iterator[str]:
    """An input or output, without the batch axis if the server forms the batches."""
    dims = value.shape[1:] if batched else value.shape
    told = ", ".join(str(dim) if isinstance(dim, int) else "-1" for dim in dims)
    label = f' label_filename: "{_LABELS}"' if labels else ""
    yield f'{kind} {{ name: "{value.name}" data_type: TYPE_{_type(value)} dims: [ {told} ]{label} }}'


def _type(value: Value) -> str:
    if value.type.dtype not in _TYPES:
        raise OptionError(f"Triton does not support {value.type.dtype}", where=value.name)
    return _TYPES[value.type.dtype]


def _instances(model: CompiledModel, name: str) -> Iterator[str]:
    target = model.format.metadata.target or ""
    yield f"instance_group {{ count: 1 kind: KIND_{_KINDS.get(target, 'AUTO')} }}"
    # As in this package's own sessions: never `DEFAULT`, which selects slow fallback algorithms (see `runtime.cuda`).
    options = {"cuda": {"cudnn_conv_algo_search": "EXHAUSTIVE"}, "tensorrt": _tensorrt(model, name)}.get(target)
    if options:
        listed = " ".join(f'parameters {{ key: "{key}" value: "{value}" }}' for key, value in options.items())
        block = f'gpu_execution_accelerator {{ name: "{target}" {listed} }}'
        yield f"optimization {{ execution_accelerators {{ {block} }} }}"


def _tensorrt(model: CompiledModel, name: str) -> dict[str, str]:
    (source,), dtype = model.graph.inputs, model.format.metadata.dtype
    cache = f"{_ENGINES}/{name}.engines"
    options = {"precision_mode": {"float16": "FP16", "int8": "INT8"}.get(dtype or "", "FP32")}
    options |= {"trt_engine_cache_enable": "1", "trt_engine_cache_path": cache}
    options |= {"trt_timing_cache_enable": "1", "trt_timing_cache_path": cache}
    if [dim for dim in source.shape if not isinstance(dim, int)] == [source.shape[0]]:
        sides = "x".join(map(str, source.shape[1:]))
        batches = {"min": 1, "opt": MAX_BATCH, "max": MAX_BATCH}
        options |= {f"trt_profile_{which}_shapes": f"{source.name}:{n}x{sides}" for which, n in batches.items()}
    return options


def _warmup(source: Value, batch: int, *, batched: bool) -> Iterator[str]:
    """A request of random numbers, for `batch` images if the server forms the batches."""
    open_sides = iter(_PHOTOGRAPH)
    dims: list[Dim] = [dim if isinstance(dim, int) else next(open_sides) for dim in source.shape[1:]]
    if not batched:
        dims = [*source.shape[:1], *dims]
    told = ", ".join(map(str, dims))
    tensor = f"data_type: TYPE_{_type(source)} dims: [ {told} ] random_data: true"
    inputs = f'inputs {{ key: "{source.name}" value {{ {tensor} }} }}'
    yield f'model_warmup {{ name: "of {batch}" batch_size: {batch} {inputs} }}'
