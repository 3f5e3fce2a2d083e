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


@dataclass(frozen=True)
class Numbering:
    """How a system numbers its layers.

    Attributes:
        shortcut_last: Whether a unit creates its shortcut after its convolutions, not before.
        convolution: The name of the first convolution; the second adds `_1`.
        norm: The name of the first normalisation.
        dense: The name of the first dense layer.
    """

    shortcut_last: bool = False
    convolution: str = "conv2d"
    norm: str = "batch_normalization"
    dense: str = "dense"

    def names(self, plan: Plan, source: Iterable[str]) -> Mapping[str, str]:
        """The layer's name for the scope of each parameter.

        Args:
            plan: The network.
            source: The names of a source. Its lowest number is the first layer's: a session does not start again at 0
                for a second network.
        """
        numbers = Counter(self._lowest(source))
        names: dict[str, str] = {}
        for layer in self._made(plan):
            for parameter in layer.parameters:
                scope = parameter.name.rpartition("/")[0]
                if scope not in names:
                    word = self._word(layer) if parameter.role == "weights" else self.norm
                    names[scope] = f"{word}_{numbers[word]}" if numbers[word] else word
                    numbers[word] += 1
        return names

    def _word(self, layer: Layer) -> str:
        return self.dense if isinstance(layer, Dense) else self.convolution

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

    def _lowest(self, source: Iterable[str]) -> dict[str, int]:
        """The lowest number of each word in the source; 0 for a word without a number."""
        lowest: dict[str, int] = {}
        for name in source:
            for word, number in self._numbered.findall(name):
                lowest[word] = min(int(number or 0), lowest.get(word, int(number or 0)))
        return lowest

    @property
    def _numbered(self) -> re.Pattern[str]:
        words = "|".join((self.convolution, self.norm, self.dense))
        return re.compile(rf"(?:^|/)({words})(?:_([0-9]+))?(?=/)")
