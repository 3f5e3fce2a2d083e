"""A model whose outputs are its next inputs: a state that stays on the device from run to run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_compile.runtime.devices import Device


class Recurrence:
    """A session that is run again and again on its own last state. `Session.recur` makes one.

    Two sets of buffers hold the state, and runs alternate between them: one set is read and the other written. A single
    one, bound as input and output at once, would be overwritten while it is still being read, without an error.

    Args:
        native: onnxruntime's session.
        ort_value: onnxruntime's class of values that live on a device.
        device: Where the session runs.
        state: The first state by input name.
        next_names: The output that is an input's next value; inputs of the state that are not here keep theirs.
        inputs: What else each run reads: arrays of the types and shapes that `run` will get.
        told: Arrays of the types and shapes of the outputs that `run` gives.
        failures: A context that turns onnxruntime's exceptions into ours.
    """

    def __init__(
        self,
        native: Any,
        ort_value: Any,
        device: Device,
        state: Mapping[str, NDArray[Any]],
        next_names: Mapping[str, str],
        inputs: Mapping[str, NDArray[Any]],
        told: Mapping[str, NDArray[Any]],
        failures: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._native = native
        self._failures = failures
        self._asynchronous = device.kind == "cuda"

        def made(arrays: Mapping[str, NDArray[Any]], names: Iterable[str]) -> dict[str, Any]:
            # Not from the arrays themselves, whose memory a value on the CPU would share.
            place = (device.kind, device.index)
            return {
                name: ort_value.ortvalue_from_shape_and_type(arrays[name].shape, arrays[name].dtype.type, *place)
                for name in names
            }

        self._inputs, self._told = made(inputs, inputs), made(told, told)
        self._old, new = made(state, state), made(state, next_names)
        for name, value in self._old.items():
            value.update_inplace(np.ascontiguousarray(state[name]))
        self._new = {**self._old, **new}
        self._forth = self._bound(self._old, self._new, next_names)
        self._back = self._bound(self._new, self._old, next_names)

    def _bound(self, old: Mapping[str, Any], new: Mapping[str, Any], next_names: Mapping[str, str]) -> Any:
        binding = self._native.io_binding()
        for name, value in {**self._inputs, **old}.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in self._told.items():
            binding.bind_ortvalue_output(name, value)
        for name, output in next_names.items():
            binding.bind_ortvalue_output(output, new[name])
        return binding

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Runs the model once: the state becomes the next one.

        Args:
            inputs: All inputs but the state, of the types and shapes that were promised.

        Returns:
            The outputs that are told, by name.

        Raises:
            ResnetCompileError: The run failed; what the state is then is not known.
        """
        with self._failures():
            for name, value in self._inputs.items():
                value.update_inplace(np.ascontiguousarray(inputs[name]))
            self._native.run_with_iobinding(self._forth, None)
            if self._asynchronous:
                self._forth.synchronize_outputs()
            self._forth, self._back = self._back, self._forth
            self._old, self._new = self._new, self._old
            return {name: np.array(value.numpy()) for name, value in self._told.items()}

    def state(self) -> dict[str, NDArray[Any]]:
        """The state by input name, as copies in host memory."""
        with self._failures():
            return {name: np.array(value.numpy()) for name, value in self._old.items()}
