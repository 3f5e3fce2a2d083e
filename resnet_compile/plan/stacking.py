"""The stride and rate of every unit: TF-slim's `stack_blocks_dense`, as arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from resnet_compile.errors import SpecError
from resnet_compile.limits import MAX_RATE


def strides_and_rates(nominal: Iterable[int], target: int | None) -> Iterator[tuple[int, int]]:
    """The stride and rate of each unit.

    When the strides so far multiply to the target, the units after that use atrous convolution: each has stride 1 and
    the current rate, and its nominal stride multiplies the rate of the units after it.

    Args:
        nominal: The units' own strides, in order, across all blocks.
        target: The greatest product of strides, without the root block's; None for no limit.

    Raises:
        SpecError: No product of the leading strides is the target, or a rate is above the limit.
    """
    current, rate = 1, 1
    for stride in nominal:
        if target is not None and current == target:
            if rate > MAX_RATE:
                raise SpecError(
                    f"output_stride needs an atrous rate of {rate}, above {MAX_RATE}", where="$.output_stride"
                )
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
            hint=f"the strides after the root block multiply to {current}, not to {target}",
        )
