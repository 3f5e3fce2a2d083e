"""The weight gradient of a convolution in each of its forms: dw[i] = sum over o of dy[o] x[s o + r i - p].

`fastest` chooses the form. All except ``volume`` are matrix products of maps of dy and x, summed over pixels and
images. Either each image has a product and the results are summed, or one product sums over all images; the latter if
the results of single images would be larger than the maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from resnet_compile.graph import Value
from resnet_compile.training.gradients.fastest import fastest_weight_adjoint
from resnet_compile.training.gradients.geometry import Geometry, Window
from resnet_compile.training.gradients.rule import Emitter


def weights_adjoint(geometry: Geometry, x: Value, dy: Value, emit: Emitter) -> Value:
    """dw, [depth, source / groups, rows, columns]."""
    return _FORMS[fastest_weight_adjoint(geometry, emit.target)](geometry, x, dy, emit)


def weights_adjoint_of_columns(geometry: Geometry, columns: Value, dy: Value, emit: Emitter) -> Value:
    """dw from the im2col matrix of the forward pass, [groups, channel and tap, image and pixel]."""
    left = emit.reshape(channels_first(dy, emit), (geometry.groups, geometry.outer, geometry.batch * geometry.pixels))
    matrix = emit.apply("MatMul", left, emit.transpose(columns, (0, 2, 1)))
    return emit.reshape(matrix, (geometry.depth, geometry.inner, *geometry.kernel))


def channels_first(x: Value, emit: Emitter) -> Value:
    """Maps with the image axis and the channel axis swapped."""
    return emit.transpose(x, (1, 0, 2, 3))


def _pointwise(geometry: Geometry, x: Value, dy: Value, emit: Emitter) -> Value:
    products = Products.of(geometry, 1, 1, emit)
    x, dy = products.arranged(x), products.arranged(dy)
    cut = {2 + axis: window.seen(0) for axis, window in enumerate(geometry.windows)}
    return emit.reshape(
        products.summed(products.rows([dy]), products.rows([emit.slice(x, cut)])),
        (geometry.depth, geometry.inner, *geometry.kernel),
    )


def _taps(geometry: Geometry, x: Value, dy: Value, emit: Emitter) -> Value:
    rows, columns = geometry.windows
    products = Products.of(geometry, 1, geometry.taps, emit)
    x, dy = products.arranged(x), products.arranged(dy)
    padded = emit.pad(x, (0, 0, rows.before, columns.before), (0, 0, rows.after, columns.after))
    taps = product(range(rows.kernel), range(columns.kernel))
    seen = [emit.slice(padded, {2: rows.seen(i), 3: columns.seen(j)}) for i, j in taps]
    by_tap = emit.reshape(
        products.summed(products.rows([dy]), products.rows(seen)), (geometry.depth, geometry.taps, geometry.inner)
    )
    return emit.reshape(emit.transpose(by_tap, (0, 2, 1)), (geometry.depth, geometry.inner, *geometry.kernel))


def _shifts(geometry: Geometry, x: Value, dy: Value, emit: Emitter) -> Value:
    """dw[i, j] = sum over o and q of dy[o, q + p - r j] x[o + r i - p, q], o in dy's rows and q in x's columns.

    x is shifted by rows only and dy by columns only, so one product contains all pairs of taps.
    """
    rows, columns = geometry.windows
    products = Products.of(geometry, columns.kernel, rows.kernel, emit)
    by_rows = (
        products.rows(_seen(products.arranged(x), 2, rows, emit)) if products.together else _gathered(geometry, x, emit)
    )
    by_columns = _seen(products.arranged(dy), 3, columns.mirrored(), emit)[::-1]
    shape = (geometry.groups, columns.kernel, geometry.outer, rows.kernel, geometry.inner)
    ordered = emit.transpose(emit.reshape(products.summed(products.rows(by_columns), by_rows), shape), (0, 2, 4, 3, 1))
    return emit.reshape(ordered, (geometry.depth, geometry.inner, *geometry.kernel))


def _seen(x: Value, axis: int, window: Window, emit: Emitter) -> list[Value]:
    """The part of a map that each tap reads along an axis; the map itself for a tap that reads all of it."""
    before, after = ([pads if place == axis else 0 for place in range(4)] for pads in (window.before, window.after))
    padded, whole = emit.pad(x, before, after), (window.before, window.before + window.size, 1)
    taps = map(window.seen, range(window.kernel))
    return [x if tap == whole else emit.slice(padded, {axis: tap}) for tap in taps]


def _gathered(geometry: Geometry, x: Value, emit: Emitter) -> Value:
    """The rows of x that each tap of a column reads: [N, groups, tap and channel, pixels].

    One Gather on all threads instead of slices and their concatenation.
    """
    window, groups, inner = geometry.rows, geometry.groups, geometry.inner
    padded = emit.pad(x, (0, 0, window.before, 0), (0, 0, window.after, 0))
    batch, channels, height, width = padded.static_shape
    seen = np.arange(window.kernel)[:, None, None] * window.rate + np.arange(window.output)
    rows = np.arange(channels).reshape(groups, 1, inner, 1) * height + seen
    name = f"rows/{groups}x{inner}/{height}/{window.kernel}/{window.rate}"
    gathered = emit.apply(
        "Gather",
        emit.reshape(padded, (batch, channels * height, width)),
        emit.tensor(name, rows.reshape(-1), "int64"),
        axis=1,
    )
    return emit.reshape(gathered, (batch, groups, window.kernel * inner, window.output * width))


@dataclass(frozen=True, slots=True)
class Products:
    """Matrix products of maps of dy and maps of x, summed over pixels and images.

    Attributes:
        geometry: The convolution's geometry.
        together: Whether one product sums over all images; maps then have channels before images.
        emit: The emitter of nodes.
    """

    geometry: Geometry
    together: bool
    emit: Emitter

    @classmethod
    def of(cls, geometry: Geometry, left: int, right: int, emit: Emitter) -> Products:
        """Products of `left` maps of dy and `right` maps of x: one per image if the result is not larger than these."""
        rows, columns = left * geometry.outer, right * geometry.inner
        return cls(geometry, rows * columns > (rows + columns) * geometry.pixels, emit)

    def arranged(self, x: Value) -> Value:
        """Maps [N, C, H, W], transposed for the products."""
        return channels_first(x, self.emit) if self.together else x

    def summed(self, left: Value, right: Value) -> Value:
        """The product of two results of `rows`: [groups, map and channel of dy, map and channel of x]."""
        rank = len(right.shape)
        turned = self.emit.transpose(right, (*range(rank - 2), rank - 1, rank - 2))
        sums = self.emit.apply("MatMul", left, turned)
        return sums if self.together else self.emit.sum(sums, (0,))

    def rows(self, maps: Sequence[Value]) -> Value:
        """Arranged maps of one size, as the rows of a matrix for each group."""
        batch, groups = self.geometry.batch, self.geometry.groups
        first, second, height, width = maps[0].static_shape
        if self.together:
            shape: tuple[int, ...] = (groups, first // groups, batch * height * width)
        else:
            shape = (batch, groups, second // groups, height * width)
        return self.emit.concat([self.emit.reshape(each, shape) for each in maps], len(shape) - 2)


def _volume(geometry: Geometry, x: Value, dy: Value, emit: Emitter) -> Value:
    """dw as a 3-D convolution of x, [1, groups * N, C / groups, H, W], with dy as the kernel, [O, N, 1, H', W'].

    Images become its input channels, which it sums over, and channels its depth. Stride and dilation swap. The end pads
    are smaller by `rest`; where they would be negative, x loses those rows instead. (A 2-D convolution with images and
    channels swapped is several times slower.)
    """
    batch, groups, windows = geometry.batch, geometry.groups, geometry.windows
    ends = tuple(window.after - window.rest for window in windows)
    kept = emit.slice(x, {2 + axis: (0, w.size + min(ends[axis], 0), 1) for axis, w in enumerate(windows)})
    height, width = kept.static_shape[2:]
    if groups > 1:
        grouped = emit.reshape(kept, (batch, groups, geometry.inner, height, width))
        kept = emit.transpose(grouped, (1, 0, 2, 3, 4))
    volume = emit.reshape(kept, (1, groups * batch, geometry.inner, height, width))
    kernel = (1, *(window.output for window in windows))
    dw = emit.apply(
        "Conv",
        volume,
        emit.reshape(channels_first(dy, emit), (geometry.depth, batch, *kernel)),
        kernel_shape=kernel,
        strides=(1, *(window.rate for window in windows)),
        dilations=(1, *(window.stride for window in windows)),
        group=groups,
        pads=(0, *(window.before for window in windows), 0, *(max(end, 0) for end in ends)),
    )
    return emit.reshape(dw, (geometry.depth, geometry.inner, *geometry.kernel))


_FORMS = {"pointwise": _pointwise, "shifts": _shifts, "taps": _taps, "volume": _volume}
