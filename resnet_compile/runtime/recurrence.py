"""A model whose outputs are its next inputs: a state that stays on the device from run to run."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_compile.runtime.binding import Places
from resnet_compile.runtime.signature import TensorInfo, check_inputs


class Recurrence:
    """A session that is run again and again on its own last state. `Session.recur` makes one.

    Two sets of buffers hold the state, and runs alternate between them: one set is read and the other written. A single
    one, bound as input and output at once, would be overwritten while it is still being read, without an error.

    Args:
        places: Where inputs and outputs can be.
        state: The first state by input name.
        next_names: The output that is an input's next value; inputs of the state that are not here keep theirs.
        fed: What else each run reads, by name; of fixed shapes.
        told: The outputs that `run` gives, by name; of fixed shapes.
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
        # Not from the arrays themselves, whose memory a value on the CPU would share.
        one = places.empty(state)
        other = {**one, **places.empty({name: state[name] for name in next_names})}
        for name, value in one.items():
            value.update_inplace(np.ascontiguousarray(state[name]))

        def bound(old: dict[str, Any], new: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            """A run that reads one set and writes the other; and the set that is the state after it."""
            written = {output: new[name] for name, output in next_names.items()}
            return places.bound({**self._fed, **old}, {**self._told, **written}), new

        self._state, self._turns = one, cycle((bound(one, other), bound(other, one)))

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Runs the model once: the state becomes the next one.

        Args:
            inputs: An array for each input that is no part of the state, of exactly its type and shape.

        Returns:
            The outputs that are told, by name.

        Raises:
            OptionError: An input does not exist, is missing, or has another type or shape.
            ResnetCompileError: The run failed; what the state is then is not known.
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
