"""The adjoint of a convolution's weights, dw[i] = sum over o of dy[o] x[s o + r i - p], in several forms.

Most are matrix products of maps of dy and of x, one for each tap or each row of taps, with the pixels summed over. The
images are a batch of products whose results are summed, or, where those would be larger than the maps, all pixels of
all images are summed over in one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

from resnet_compile.graph import Value
from resnet_compile.training.gradients.geometry import Geometry, Window
from resnet_compile.training.gradients.rule import Emitter, Target

WeightForm = Literal["pointwise", "taps", "shifts", "volume"]

# Narrower maps take longer to shift, row by row, than a volume's columns to gather.
_LEAST_WIDTH = 8


def weight_form(geometry: Geometry, target: Target) -> WeightForm:
    """How to make the weights' adjoint; on the CPU by measurement.

    * ``pointwise``: a product of dy and the pixels of x that the stride saw, for kernels of one tap.
    * ``taps``: a product of dy and of what each tap sees of x; matrix products are what CUDA does best.
    * ``shifts``: a product of dy shifted for each column of taps and of x shifted for each row of them, so that 2k maps
      do for k^2 taps; where nothing strides.
    * ``volume``: a 3-D convolution whose kernel is dy; for all others.
    """
    if geometry.pointwise:
        return "pointwise"
    if target == "cuda" or not all(window.reads_input for window in geometry.windows):
        return "taps"
    shifted = geometry.columns.output >= _LEAST_WIDTH and not geometry.strided
    return "shifts" if shifted and all(window.turns for window in geometry.windows) else "volume"


def weights_adjoint(geometry: Geometry, x: Value, dy: Value, emit: Emitter) -> Value:
    """The weights' adjoint, [depth, source / groups, rows, columns], of the input and the output's adjoint."""
    return _FORMS[weight_form(geometry, emit.target)](geometry, x, dy, emit)


def weights_adjoint_of_columns(geometry: Geometry, columns: Value, dy: Value, emit: Emitter) -> Value:
    """The same, of the columns that a forward product had: [groups, channel and tap, image and pixel]."""
    left = emit.reshape(channels_first(dy, emit), (geometry.groups, geometry.outer, geometry.batch * geometry.pixels))
    matrix = emit.apply("MatMul", left, emit.transpose(columns, (0, 2, 1)))
    return emit.reshape(matrix, (geometry.depth, geometry.inner, *geometry.kernel))


def channels_first(x: Value, emit: Emitter) -> Value:
    """Maps with channels before images, or of those with images before channels again."""
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
    """With dw[i, j] = the sum over o and q of dy[o, q + p - r j] x[o + r i - p, q], o in dy's rows, q in x's columns.

    Shifting x by rows alone and dy by columns alone gives every pair of taps in one product.
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
    """What each tap sees of a map along an axis; the map itself where that is all of it."""
    before, after = ([pads if place == axis else 0 for place in range(4)] for pads in (window.before, window.after))
    padded, whole = emit.pad(x, before, after), (window.before, window.before + window.size, 1)
    taps = map(window.seen, range(window.kernel))
    return [x if tap == whole else emit.slice(padded, {axis: tap}) for tap in taps]


def _gathered(geometry: Geometry, x: Value, emit: Emitter) -> Value:
    """What each tap of a column sees, as rows of matrices of single images: [N, groups, tap and channel, pixels].

    One Gather does what slices and their concatenation would, on all threads.
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
    """Products of maps of dy and maps of x, summed over pixels and images.

    Attributes:
        geometry: Of the convolution.
        together: Whether all images are in one product, and maps are arranged with channels before images.
        emit: Where to write.
    """

    geometry: Geometry
    together: bool
    emit: Emitter

    @classmethod
    def of(cls, geometry: Geometry, left: int, right: int, emit: Emitter) -> Products:
        """The products for so many maps of dy and of x: those of single images while they are less than the maps."""
        rows, columns = left * geometry.outer, right * geometry.inner
        return cls(geometry, rows * columns > (rows + columns) * geometry.pixels, emit)

    def arranged(self, x: Value) -> Value:
        """Maps of all images, [N, C, H, W], as the products take them."""
        return channels_first(x, self.emit) if self.together else x

    def summed(self, left: Value, right: Value) -> Value:
        """The sums, [groups, map and channel of dy, map and channel of x], of what `rows` gives for either side."""
        rank = len(right.shape)
        turned = self.emit.transpose(right, (*range(rank - 2), rank - 1, rank - 2))
        sums = self.emit.apply("MatMul", left, turned)
        return sums if self.together else self.emit.sum(sums, (0,))

    def rows(self, maps: Sequence[Value]) -> Value:
        """Arranged maps of one size as rows of matrices, those of a group one after another."""
        batch, groups = self.geometry.batch, self.geometry.groups
        first, second, height, width = maps[0].static_shape
        if self.together:
            shape: tuple[int, ...] = (groups, first // groups, batch * height * width)
        else:
            shape = (batch, groups, second // groups, height * width)
        return self.emit.concat([self.emit.reshape(each, shape) for each in maps], len(shape) - 2)


def _volume(geometry: Geometry, x: Value, dy: Value, emit: Emitter) -> Value:
    """A convolution of x by dy, with stride and rate in each other's place, that sums over images.

    Images are its input channels and channels its depth: x as [1, groups * N, C / groups, H, W], dy as a kernel
    [O, N, 1, H', W']. (A 2-D convolution with batch and channels swapped is several times slower.) Its end pads are
    less by `rest`; where they would be negative, x loses those rows instead.
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
