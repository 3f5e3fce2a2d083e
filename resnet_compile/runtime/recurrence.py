"""Models whose outputs are their next inputs: the state stays on the device from run to run."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_compile.runtime.binding import Places
from resnet_compile.runtime.signature import TensorInfo, check_inputs


class Recurrence:
    """A session that runs again and again on its last state. `Session.recur` makes one.

    Two sets of buffers hold the state; each run reads one and writes the other. A single set, bound as input and
    output, would be overwritten while it is read, without an error.

    Args:
        places: The buffers of the session.
        state: The initial state by input name.
        next_names: For each changing input, the output with its next value. Other inputs of the state never change.
        fed: The inputs outside the state, by name; their shapes are fixed.
        told: The outputs that `run` returns, by name; their shapes are fixed.
    """

    def __init__(
        self,
        places: Places,
        state: Mapping[str, NDArray[Any]],
        next_names: Mapping[str, str],
        fed: Mapping[str, TensorInfo],
        told: Mapping[str, TensorInfo],
    ) -> None:
        self._places = places
        self._infos = fed
        self._fed = places.empty({name: info.empty() for name, info in fed.items()})
        self._told = places.empty({name: info.empty() for name, info in told.items()})
        # New buffers: on the CPU, a value made from an array would share the array's memory.
        one = places.empty(state)
        other = {**one, **places.empty({name: state[name] for name in next_names})}
        for name, value in one.items():
            value.update_inplace(np.ascontiguousarray(state[name]))

        def bound(old: dict[str, Any], new: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            """The binding that reads one set and writes the other, and the state after it."""
            written = {output: new[name] for name, output in next_names.items()}
            return places.bound({**self._fed, **old}, {**self._told, **written}), new

        self._state, self._turns = one, cycle((bound(one, other), bound(other, one)))

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Runs the model once and replaces the state.

        Args:
            inputs: An array for each input outside the state, of exactly its type and shape.

        Returns:
            The outputs in `told`, by name.

        Raises:
            OptionError: An input does not exist, is missing, or has another type or shape.
            ResnetCompileError: The run failed; the state is then undefined.
        """
        check_inputs(self._infos, inputs)
        with self._places.failures():
            for name, value in self._fed.items():
                value.update_inplace(np.ascontiguousarray(inputs[name]))
            binding, self._state = next(self._turns)
            self._places.run(binding)
            return {name: np.array(value.numpy()) for name, value in self._told.items()}

    def state(self) -> dict[str, NDArray[Any]]:
        """The state by input name, as copies in host memory."""
        with self._places.failures():
            return {name: np.array(value.numpy()) for name, value in self._state.items()}
