"""Bound inputs and outputs, so that a model runs again and again without allocating memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from resnet_compile.runtime.devices import Device


@dataclass(frozen=True, slots=True)
class Places:
    """Buffers on a session's device, and runs of the session on them.

    Attributes:
        native: onnxruntime's session.
        ort_value: onnxruntime's class of values on a device.
        device: The session's device.
        failures: A context that turns onnxruntime's exceptions into `ResnetCompileError`.
    """

    native: Any
    ort_value: Any
    device: Device
    failures: Callable[[], AbstractContextManager[None]]

    def empty(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
        """Buffers of the types and shapes of these arrays, by name."""
        make = self.ort_value.ortvalue_from_shape_and_type
        return {name: make(array.shape, array.dtype.type, *self._memory) for name, array in arrays.items()}

    def filled(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
        """The arrays on the device; on the CPU they keep their memory."""
        make = self.ort_value.ortvalue_from_numpy
        return {name: make(array, *self._memory) for name, array in arrays.items()}

    def bound(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Any:
        """onnxruntime's binding of inputs and outputs to buffers, by name."""
        binding = self.native.io_binding()
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in outputs.items():
            binding.bind_ortvalue_output(name, value)
        return binding

    def run(self, binding: Any, run_options: Any = None) -> None:
        """Runs the model once and returns when the outputs are there."""
        self.native.run_with_iobinding(binding, run_options)
        if self.device.provider.asynchronous:
            binding.synchronize_outputs()

    @property
    def _memory(self) -> tuple[str, int]:
        return self.device.provider.memory, self.device.index


class Binding:
    """A session's inputs and outputs, bound once. `Session.bind` makes one.

    Where inputs and outputs lie:

    - on the CPU: host memory; runs rotate among several sets of inputs;
    - on a GPU: device memory, with the same rotation; the host starts a run and waits for its end;
    - on a GPU with transfer: host memory; a run includes the copies to the device and back.

    A CUDA graph reads and writes the addresses that it was recorded with. All its runs share one device buffer, and
    each binding has its own graph.

    Args:
        places: The buffers of the session.
        inputs: Sets of inputs, all of the same shapes.
        outputs: Arrays of the outputs' types and shapes, by name.
        transfer: Whether a run includes the copies between host and device.
        run_options: onnxruntime's, with the number of the CUDA graph; None for no graph.
    """

    def __init__(
        self,
        places: Places,
        inputs: Sequence[Mapping[str, NDArray[Any]]],
        outputs: Mapping[str, NDArray[Any]],
        *,
        transfer: bool,
        run_options: Any,
    ) -> None:
        self._places = places
        self._run_options = run_options
        self._host_inputs = inputs if transfer and not places.device.on_host else ()
        self._outputs = places.empty(outputs)
        sets = inputs[:1] if self._host_inputs or run_options is not None else inputs
        self._inputs = [places.filled(each) for each in sets]
        self._bindings = [places.bound(each, self._outputs) for each in self._inputs]
        if run_options is not None:
            places.run(self._bindings[0], run_options)  # this one is recorded; those that follow replay it

    @property
    def buffers(self) -> int:
        """The number of sets of inputs that runs rotate among."""
        return len(self._host_inputs or self._bindings)

    def run(self, index: int) -> None:
        """Runs the model on set `index` of the inputs, modulo their number, and waits for the outputs.

        Raises:
            ResnetCompileError: The run failed.
        """
        with self._places.failures():
            if self._host_inputs:
                for name, array in self._host_inputs[index % len(self._host_inputs)].items():
                    self._inputs[0][name].update_inplace(array)
            self._places.run(self._bindings[index % len(self._bindings)], self._run_options)
            if self._host_inputs:
                self.results()

    def results(self) -> dict[str, NDArray[Any]]:
        """The last run's outputs by name, in host memory."""
        return {name: value.numpy() for name, value in self._outputs.items()}
