"""What may be concluded from two models timed in the same rounds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from resnet_compile.bench.statistics import Interval


class Verdict(StrEnum):
    """What a comparison shows of the first model."""

    FASTER = "faster"
    SLOWER = "slower"
    NO_DIFFERENCE = "no difference seen"
    TOO_NOISY = "the machine is too noisy to conclude"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A model against another, by paired ratios.

    Attributes:
        model: Whose times are above the line.
        other: Whose times are below it.
        ratio: model over other; above 1 the model is slower.
        control: The model over a second session of itself (A/A), from the same rounds. The sessions do the same work,
            so what this differs from 1 by is the machine's noise.
    """

    model: str
    other: str
    ratio: Interval
    control: Interval

    @property
    def verdict(self) -> Verdict:
        """What the intervals show.

        The control has to hold 1. A difference counts when its interval lies beyond 1 and beyond all of the control's:
        two sessions of one model can differ, by where their memory came to lie for example.
        """
        if 1.0 not in self.control:
            return Verdict.TOO_NOISY
        if self.ratio.low > max(1.0, self.control.high):
            return Verdict.SLOWER
        if self.ratio.high < min(1.0, self.control.low):
            return Verdict.FASTER
        return Verdict.NO_DIFFERENCE
