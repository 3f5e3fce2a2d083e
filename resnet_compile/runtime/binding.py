"""Inputs and outputs in fixed places, so that a model can run again and again without allocating them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from numpy.typing import NDArray

from resnet_compile.runtime.devices import Device


class Binding:
    """A session's inputs and outputs, bound once. `Session.bind` makes one.

    Where each run finds its inputs, and where it leaves its outputs:

    - on the CPU: in host memory, one of several sets after another;
    - on CUDA: in device memory, likewise; the host only starts the run and waits for its end;
    - on CUDA with transfer: in host memory. The run begins with the copy of the inputs to the device and ends when the
      outputs are back.

    A CUDA graph reads and writes the addresses that it was recorded with, so there all runs share one device buffer,
    and each binding has a graph of its own.

    Args:
        native: onnxruntime's session.
        ort_value: onnxruntime's class of values that live on a device.
        device: Where the session runs.
        inputs: Sets of inputs, all of the same shapes.
        outputs: Arrays of the outputs' types and shapes, by name.
        transfer: Whether a run includes the copies between host and device.
        run_options: onnxruntime's, with the CUDA graph's own number; None where none is recorded.
        failures: A context that turns onnxruntime's exceptions into ours.
    """

    def __init__(
        self,
        native: Any,
        ort_value: Any,
        device: Device,
        inputs: Sequence[Mapping[str, NDArray[Any]]],
        outputs: Mapping[str, NDArray[Any]],
        *,
        transfer: bool,
        run_options: Any,
        failures: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._native = native
        self._run_options = run_options
        self._failures = failures
        self._asynchronous = device.kind == "cuda"
        self._host_inputs = inputs if transfer and self._asynchronous else ()
        place = (device.kind, device.index)
        self._outputs = {
            name: ort_value.ortvalue_from_shape_and_type(array.shape, array.dtype.type, *place)
            for name, array in outputs.items()
        }
        sets = inputs[:1] if self._host_inputs or run_options is not None else inputs
        self._inputs = [
            {name: ort_value.ortvalue_from_numpy(array, *place) for name, array in each.items()} for each in sets
        ]
        self._bindings = [self._bound(each) for each in self._inputs]
        if run_options is not None:
            self._run(0)  # this one is recorded; those that follow replay it

    def _bound(self, inputs: Mapping[str, Any]) -> Any:
        binding = self._native.io_binding()
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in self._outputs.items():
            binding.bind_ortvalue_output(name, value)
        return binding

    @property
    def buffers(self) -> int:
        """How many sets of inputs the runs rotate among."""
        return len(self._host_inputs or self._bindings)

    def run(self, index: int) -> None:
        """Runs the model on the inputs number `index`, counted round and round; returns when the outputs are there.

        Raises:
            ResnetCompileError: The run failed.
        """
        with self._failures():
            if self._host_inputs:
                for name, array in self._host_inputs[index % len(self._host_inputs)].items():
                    self._inputs[0][name].update_inplace(array)
            self._run(index)
            if self._host_inputs:
                self.results()

    def _run(self, index: int) -> None:
        binding = self._bindings[index % len(self._bindings)]
        self._native.run_with_iobinding(binding, self._run_options)
        if self._asynchronous:
            binding.synchronize_outputs()

    def results(self) -> dict[str, NDArray[Any]]:
        """The last run's outputs by name, in host memory."""
        return {name: value.numpy() for name, value in self._outputs.items()}
