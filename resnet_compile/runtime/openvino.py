"""OpenVINO as a second engine: models on the CPU by OpenVINO's own Python package instead of onnxruntime.

By default OpenVINO computes float32 models in bfloat16 on processors that can, with errors of percents. So each of its
two devices says its precision: `openvino` is float32, `openvino-bf16` is bfloat16. 8-bit models compute in 8 bits on
both, apart from what the model leaves in float32.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_compile.errors import ModelFileError, OptionError
from resnet_compile.metadata import read_model
from resnet_compile.runtime.backend import Backend
from resnet_compile.runtime.options import SessionOptions
from resnet_compile.runtime.provider import DeviceFault, Provider

INSTALL_HINT = 'pip install ".[openvino]"'
_PRECISION = "INFERENCE_PRECISION_HINT"
_THREADS = "INFERENCE_NUM_THREADS"


class HostValue:
    """An array in host memory, with the methods of onnxruntime's ``OrtValue`` that bindings use."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array

    @classmethod
    def ortvalue_from_numpy(cls, array: NDArray[Any], memory: str, index: int) -> HostValue:
        return cls(np.ascontiguousarray(array))

    @classmethod
    def ortvalue_from_shape_and_type(cls, shape: Sequence[int], dtype: Any, memory: str, index: int) -> HostValue:
        return cls(np.empty(shape, dtype))

    def numpy(self) -> NDArray[Any]:
        return self._array

    def update_inplace(self, array: NDArray[Any]) -> None:
        self._array[...] = array


class _Binding:
    """Tensors over the memory of bound values, by name."""

    def __init__(self, tensor: Any) -> None:
        self._tensor = tensor
        self.tensors: dict[str, Any] = {}

    def _bind(self, name: str, value: HostValue) -> None:
        self.tensors[name] = self._tensor(value.numpy(), shared_memory=True)

    bind_ortvalue_input = bind_ortvalue_output = _bind


class OpenVinoSession:
    """A compiled model with the methods of onnxruntime's ``InferenceSession`` that `Session` uses.

    Args:
        module: The package `openvino`.
        compiled: The compiled model.
        source: The model's file or bytes, for its metadata.

    Attributes:
        values: The class of its buffers.
        precision: The precision in which it computes what the model has in float32: ``f32`` or ``bf16``.
        engine: OpenVINO's version and the precision, for records.
    """

    values = HostValue

    def __init__(self, module: Any, compiled: Any, source: Path | bytes) -> None:
        self._module, self._compiled, self._source = module, compiled, source
        self._request = compiled.create_infer_request()
        self.precision = str(compiled.get_property(_PRECISION).get_type_name())
        self.engine = f"OpenVINO {str(module.__version__).partition('-')[0]} in {self.precision}"

    def get_inputs(self) -> list[SimpleNamespace]:
        return [_info(port) for port in self._compiled.inputs]

    def get_outputs(self) -> list[SimpleNamespace]:
        return [_info(port) for port in self._compiled.outputs]

    def get_modelmeta(self) -> SimpleNamespace:
        read = read_model(self._source)
        return SimpleNamespace(custom_metadata_map=read.metadata.entries(), producer_name=read.producer)

    def get_provider_options(self) -> dict[str, dict[str, str]]:
        told = {_PRECISION: self.precision, _THREADS: str(self._compiled.get_property(_THREADS))}
        return {"OpenVINO": told}

    def run(self, names: Sequence[str], inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        self._request.infer({name: np.ascontiguousarray(array) for name, array in inputs.items()})
        return [np.array(self._request.get_tensor(name).data) for name in names]

    def io_binding(self) -> _Binding:
        return _Binding(self._module.Tensor)

    def run_with_iobinding(self, binding: _Binding, run_options: None) -> None:
        for name, tensor in binding.tensors.items():
            self._request.set_tensor(name, tensor)
        self._request.infer()


def _info(port: Any) -> SimpleNamespace:
    shape = [None if axis.is_dynamic else axis.get_length() for axis in port.partial_shape]
    return SimpleNamespace(name=port.any_name, type=f"tensor({port.element_type.to_dtype().name})", shape=shape)


def _opened(precision: str, model: str | os.PathLike[str] | bytes, settings: SessionOptions, backend: Backend) -> Any:
    if settings.profile is not None:
        raise OptionError("profiles are made by onnxruntime alone", where="profile", hint="--device cpu")
    module = backend.load_openvino()
    threads = {_THREADS: settings.threads} if settings.threads else {}
    source, core = model if isinstance(model, bytes) else Path(model), module.Core()
    try:
        # Never without the hint: OpenVINO would choose bfloat16.
        compiled = core.compile_model(core.read_model(source), "CPU", {_PRECISION: precision, **threads})
        return OpenVinoSession(module, compiled, source)
    except RuntimeError as error:
        # The first lines say where in OpenVINO's source the error was raised.
        lines = [line for line in str(error).splitlines() if line and not line.startswith("Exception from")]
        where = "<bytes>" if isinstance(model, bytes) else os.fspath(model)
        raise ModelFileError(f"OpenVINO cannot load the model: {' '.join(lines)[:300]}", where=where) from error


def _faults(precision: str, index: int, backend: Backend) -> Iterator[DeviceFault]:
    module = backend.load_openvino()
    if module is None:
        yield DeviceFault("the package openvino is not installed", INSTALL_HINT)
    elif precision == "bf16" and "BF16" not in module.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        yield DeviceFault("the processor does not compute in bfloat16", "--device openvino computes in float32")


OPENVINO = Provider(
    kind="openvino",
    title="OpenVINO",
    name="OpenVINO",
    target="cpu",
    faults=partial(_faults, "f32"),
    engine=partial(_opened, "f32"),
)
OPENVINO_BF16 = replace(
    OPENVINO,
    kind="openvino-bf16",
    title="OpenVINO in bfloat16",
    faults=partial(_faults, "bf16"),
    # bfloat16 has 8 bits of mantissa: each rounding is up to 2e-3, and a network has many.
    most_difference=5e-2,
    engine=partial(_opened, "bf16"),
)
