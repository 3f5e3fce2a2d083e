"""The stride and rate of every unit: TF-slim's `stack_blocks_dense`, as arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from resnet_compile.errors import SpecError
from resnet_compile.limits import MAX_RATE


def strides_and_rates(nominal: Iterable[int], target: int | None) -> Iterator[tuple[int, int]]:
    """The stride and rate that each unit runs with.

    Once the strides taken so far multiply to the target, a unit trades its stride for atrous convolution: it runs with
    stride 1 at the current rate, and the rate of the units after it grows by its nominal stride.

    Args:
        nominal: The units' own strides, in order, across all blocks.
        target: The stride to stop at, that of the root block divided out; None never stops.

    Raises:
        SpecError: The target is passed without being hit, or not reached.
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
            "the target output stride cannot be reached",
            where="$.output_stride",
            hint=f"the units' strides, in order, come to {current} and not {target} beside the root block's",
        )
