"""The stride and rate of every unit: TF-slim's `stack_blocks_dense`, as arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from resnet_compile.errors import SpecError
from resnet_compile.limits import MAX_RATE


def strides_and_rates(nominal: Iterable[int], target: int | None) -> Iterator[tuple[int, int]]:
    """The stride and rate of each unit.

    Once the strides so far multiply to the target, units use atrous convolution instead: such a unit has stride 1 and
    the current rate, and its nominal stride multiplies the rate of the units after it.

    Args:
        nominal: The units' own strides, in order, across all blocks.
        target: The greatest stride, divided by the root block's; None for no limit.

    Raises:
        SpecError: The strides do not multiply to the target.
    """
    current, rate = 1, 1
    for stride in nominal:
        if target is not None and current == target:
            if rate > MAX_RATE:
                raise SpecError(f"needs an atrous rate of {rate}, above {MAX_RATE}", where="$.output_stride")
            yield 1, rate
            rate *= stride
        else:
            yield stride, 1
            current *= stride
            if target is not None and current > target:
                break
    if target is not None and current != target:
        raise SpecError(
            "output_stride cannot be reached",
            where="$.output_stride",
            hint=f"the units' strides multiply to {current} after the root block, and {target} is needed",
        )
