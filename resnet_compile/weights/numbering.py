"""Names by the order in which layers are made: `conv2d`, `conv2d_1` and so on.

TensorFlow's layers and Keras's are called so where nobody names them: by their sort, and their place among its layers.
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
        shortcut_last: Whether a unit's shortcut is made after its convolutions, not before them.
        convolution: What the first convolution is called; the next has `_1` behind it.
        norm: The same of normalisations.
        dense: The same of dense layers.
    """

    shortcut_last: bool = False
    convolution: str = "conv2d"
    norm: str = "batch_normalization"
    dense: str = "dense"

    def names(self, plan: Plan, source: Iterable[str]) -> Mapping[str, str]:
        """For the scope of each parameter, the layer's name.

        Args:
            plan: The network.
            source: The names of a source. A session counts on from one network to the next: the lowest number there
                is the first layer's.
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
        """The lowest number behind each word; 0 for the word alone."""
        lowest: dict[str, int] = {}
        for name in source:
            for word, number in self._numbered.findall(name):
                lowest[word] = min(int(number or 0), lowest.get(word, int(number or 0)))
        return lowest

    @property
    def _numbered(self) -> re.Pattern[str]:
        words = "|".join((self.convolution, self.norm, self.dense))
        return re.compile(rf"(?:^|/)({words})(?:_([0-9]+))?(?=/)")
