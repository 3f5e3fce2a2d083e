"""A Triton repository: the folder, and every line of the configuration of models of each kind.

That Triton's own messages take these texts is for ``tools/check_triton.py``, which needs its client.
"""

from pathlib import Path
from typing import Any

import onnx
import pytest
from support.commands import command

import resnet_compile as rc
from resnet_compile.errors import OutputError
from resnet_compile.triton import config_text, write_repository

NAMES = tuple(f"class {index}" for index in range(10))


def compiled(**options: Any) -> rc.CompiledModel:
    return rc.compile(rc.load_spec("tiny"), rc.CompileOptions.model_validate(options))


NUMBERS = """\
name: "tiny"
backend: "onnxruntime"
max_batch_size: 32
input { name: "input" data_type: TYPE_FP32 dims: [ 3, 32, 32 ] }
output { name: "tiny/logits" data_type: TYPE_FP32 dims: [ 10 ] }
output { name: "predictions" data_type: TYPE_FP32 dims: [ 10 ] }
instance_group { count: 1 kind: KIND_AUTO }
dynamic_batching { max_queue_delay_microseconds: 1000 }
model_warmup { name: "of 1" batch_size: 1 inputs { key: "input" value { data_type: TYPE_FP32 dims: [ 3, 32, 32 ] \
random_data: true } } }
model_warmup { name: "of 32" batch_size: 32 inputs { key: "input" value { data_type: TYPE_FP32 dims: [ 3, 32, 32 ] \
random_data: true } } }
"""

PHOTOGRAPHS = """\
name: "tiny"
backend: "onnxruntime"
max_batch_size: 32
input { name: "input" data_type: TYPE_UINT8 dims: [ -1, -1, 3 ] }
output { name: "tiny/logits" data_type: TYPE_FP16 dims: [ 10 ] }
output { name: "predictions" data_type: TYPE_FP16 dims: [ 10 ] label_filename: "labels.txt" }
output { name: "top_classes" data_type: TYPE_INT64 dims: [ 3 ] }
output { name: "top_probabilities" data_type: TYPE_FP32 dims: [ 3 ] }
instance_group { count: 1 kind: KIND_GPU }
optimization { execution_accelerators { gpu_execution_accelerator { name: "cuda" parameters { \
key: "cudnn_conv_algo_search" value: "EXHAUSTIVE" } } } }
dynamic_batching { max_queue_delay_microseconds: 1000 }
model_warmup { name: "of 1" batch_size: 1 inputs { key: "input" value { data_type: TYPE_UINT8 dims: [ 480, 640, 3 ] \
random_data: true } } }
model_warmup { name: "of 32" batch_size: 32 inputs { key: "input" value { data_type: TYPE_UINT8 dims: [ 480, 640, 3 ] \
random_data: true } } }
"""

FIXED = """\
name: "tiny"
backend: "onnxruntime"
max_batch_size: 0
input { name: "input" data_type: TYPE_FP32 dims: [ 4, 3, 32, 32 ] }
output { name: "tiny/block1" data_type: TYPE_FP32 dims: [ 4, 32, 4, 4 ] }
instance_group { count: 1 kind: KIND_CPU }
model_warmup { name: "of 1" batch_size: 1 inputs { key: "input" value { data_type: TYPE_FP32 dims: [ 4, 3, 32, 32 ] \
random_data: true } } }
"""

TENSORRT = NUMBERS.replace(
    "instance_group { count: 1 kind: KIND_AUTO }\n",
    "instance_group { count: 1 kind: KIND_GPU }\n"
    'optimization { execution_accelerators { gpu_execution_accelerator { name: "tensorrt" '
    'parameters { key: "precision_mode" value: "FP16" } '
    'parameters { key: "trt_engine_cache_enable" value: "1" } '
    'parameters { key: "trt_engine_cache_path" value: "/opt/tritonserver/tiny.engines" } '
    'parameters { key: "trt_timing_cache_enable" value: "1" } '
    'parameters { key: "trt_timing_cache_path" value: "/opt/tritonserver/tiny.engines" } '
    'parameters { key: "trt_profile_min_shapes" value: "input:1x3x32x32" } '
    'parameters { key: "trt_profile_opt_shapes" value: "input:32x3x32x32" } '
    'parameters { key: "trt_profile_max_shapes" value: "input:32x3x32x32" } } } }\n',
)

CUDA = {"dtype": {"kind": "float16", "io": "float16"}, "target": "cuda"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, NUMBERS),
        ({"preprocess": "model", "top": 3, "labels": NAMES, **CUDA}, PHOTOGRAPHS),
        ({"dtype": "float16", "target": "tensorrt"}, TENSORRT),
        ({"batch": 4, "outputs": ("block1",), "target": "cpu"}, FIXED),
    ],
    ids=["numbers", "photographs", "tensorrt", "fixed"],
)
def test_the_configuration_says_what_the_model_is(options: dict[str, Any], expected: str) -> None:
    assert config_text(compiled(**options), "tiny") == expected


def test_a_repository_holds_the_model_its_configuration_and_labels(tmp_path: Path) -> None:
    model = compiled(labels=("two\nlines", *NAMES[1:]), external_data=True)
    place = write_repository(model, tmp_path / "models")
    assert place == tmp_path / "models" / "tiny"
    files = sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file())
    assert files == ["1/model.onnx", "1/model.onnx.data", "config.pbtxt", "labels.txt"]
    assert (place / "labels.txt").read_text().splitlines() == ["two lines", *NAMES[1:]]
    read = onnx.load(place / "1" / "model.onnx")
    assert [each.name for each in read.graph.output] == ["tiny/logits", "predictions"]


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write: Not a directory"):
        write_repository(compiled(), tmp_path / "file")


def test_the_command_writes_the_repository_and_o_besides(tmp_path: Path) -> None:
    done = command("resnet-compile", "tiny", "--triton", "models", "--target", "cpu", "--json", cwd=tmp_path)
    assert done.code == 0, done.err
    assert '"triton": "models/tiny"' in done.out
    assert sorted(each.name for each in tmp_path.iterdir()) == ["models"]
    served = (tmp_path / "models" / "tiny" / "1" / "model.onnx").read_bytes()
    assert command("resnet-compile", "tiny", "--triton", "m", "-o", "a.onnx", "--target", "cpu", cwd=tmp_path).code == 0
    assert (tmp_path / "a.onnx").read_bytes() == served
    refused = command("resnet-compile", "tiny", "--triton", "n", "--training-step", "--batch", "1", cwd=tmp_path)
    assert (refused.code, "--triton does not apply" in refused.err) == (2, True)
