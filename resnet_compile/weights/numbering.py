"""Layer names by order of creation: `conv2d`, `conv2d_1` and so on.

TensorFlow and Keras give a layer without a name that of its type, and count the layers of a type.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from resnet_compile.plan import Plan
from resnet_compile.plan.layers import Dense, Layer

DENSE = "dense"
_CONVOLUTION, _NORM = "conv2d", "batch_normalization"
_NUMBERED = re.compile(rf"(?:^|/)({_CONVOLUTION}|{_NORM}|{DENSE})(?:_([0-9]+))?(?=/)")


@dataclass(frozen=True)
class Numbering:
    """How a system numbers its layers.

    Attributes:
        shortcut_last: Whether a unit creates its shortcut after its convolutions, not before.
    """

    shortcut_last: bool = False

    def names(self, plan: Plan, source: Iterable[str]) -> Mapping[str, str]:
        """The layer's name for the scope of each parameter.

        The lowest number of a word in the source is the first layer's: a session does not start again at 0 for a second
        network.
        """
        numbers: Counter[str] = Counter()
        for word, number in (found for name in source for found in _NUMBERED.findall(name)):
            numbers[word] = min(int(number or 0), numbers.get(word, int(number or 0)))
        names: dict[str, str] = {}
        for layer in self._made(plan):
            for parameter in layer.parameters:
                scope = parameter.name.rpartition("/")[0]
                if scope not in names:
                    kernel = DENSE if isinstance(layer, Dense) else _CONVOLUTION
                    word = kernel if parameter.role == "weights" else _NORM
                    names[scope] = f"{word}_{numbers[word]}" if numbers[word] else word
                    numbers[word] += 1
        return names

    def _made(self, plan: Plan) -> Iterator[Layer]:
        """The layers in the system's order."""
        yield from plan.root
        for unit in plan.units:
            if unit.preactivation:
                yield unit.preactivation
            parts = (unit.shortcut.layers, unit.residual)
            for part in reversed(parts) if self.shortcut_last else parts:
                yield from part
        yield from plan.head.layers
