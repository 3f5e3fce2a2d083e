"""Gradients of convolutions, in the form that suits a shape and a provider best.

For taps i (in rows; columns go alike), stride s, rate r and p rows of padding before,

    y[o] = sum over i of w[i] x[s o + r i - p],
    dx[h] = sum over o and i with s o + r i - p = h of w[i] dy[o],
    dw[i] = sum over o of dy[o] x[s o + r i - p].

`rest` is the number of rows after the last window, pads counted, that the stride never reached.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Literal

from resnet_compile.graph import Value
from resnet_compile.graph.ir import Attribute
from resnet_compile.training.gradients.emitter import Emitter, static
from resnet_compile.training.gradients.rule import Adjoint, Applied, Rule, Target

InputForm = Literal["flipped", "transposed", "cropped"]
WeightForm = Literal["product", "taps", "shifts", "volume"]


@dataclass(frozen=True, slots=True)
class Window:
    """A convolution's arithmetic along rows or columns.

    Attributes:
        size: Rows of the input.
        output: Rows of the output.
        kernel: Taps.
        stride: Rows between windows.
        rate: Rows between taps.
        before: Rows of padding before.
        after: Rows of padding after.
    """

    size: int
    output: int
    kernel: int
    stride: int
    rate: int
    before: int
    after: int

    @property
    def span(self) -> int:
        """Rows that the kernel covers."""
        return (self.kernel - 1) * self.rate + 1

    @property
    def rest(self) -> int:
        """Rows at the end of the padded input that no window reaches."""
        return self.size + self.before + self.after - self.span - (self.output - 1) * self.stride

    @property
    def reads_input(self) -> bool:
        """Whether the windows reach past the padding before the input."""
        return self.rest - self.after < self.size


@dataclass(frozen=True, slots=True)
class Geometry:
    """A convolution's shapes."""

    batch: int
    source: int
    depth: int
    groups: int
    rows: Window
    columns: Window

    @classmethod
    def of(cls, applied: Applied) -> Geometry:
        """The geometry of a Conv; what its attributes leave out has ONNX's defaults."""
        x, weights, y = static(applied.x), static(applied.input(1)), static(applied.output)
        strides, rates = (_integers(applied.attributes.get(name, (1, 1))) for name in ("strides", "dilations"))
        pads, groups = _integers(applied.attributes.get("pads", (0, 0, 0, 0))), applied.attributes.get("group", 1)
        assert isinstance(groups, int)
        rows, columns = (
            Window(x[2 + axis], y[2 + axis], weights[2 + axis], strides[axis], rates[axis], pads[axis], pads[axis + 2])
            for axis in (0, 1)
        )
        return cls(x[0], x[1], y[1], groups, rows, columns)

    @property
    def windows(self) -> tuple[Window, Window]:
        """Rows and columns."""
        return self.rows, self.columns

    @property
    def pixels(self) -> int:
        """Of one output channel."""
        return self.rows.output * self.columns.output

    @property
    def pointwise(self) -> bool:
        """Whether each output pixel reads one input pixel, and never the padding."""
        return all(window.kernel == 1 and window.before == window.after == 0 for window in self.windows)

    @property
    def strided(self) -> bool:
        """Whether it strides along either axis."""
        return any(window.stride > 1 for window in self.windows)


def input_form(geometry: Geometry, target: Target) -> InputForm:
    """How to make the input's adjoint.

    * ``flipped``: a convolution with the kernel turned round and its channels swapped; for stride 1 on the CPU, where
      the map outweighs the kernel that has to be rearranged.
    * ``transposed``: ConvTranspose, with `rest` rows of output padding.
    * ``cropped``: the same without pads, cut to size; CUDA's convolutions have equal pads on both sides.
    """
    if target == "cuda":
        equal = all(window.before == window.after for window in geometry.windows)
        return "transposed" if equal else "cropped"
    fits = all(window.before < window.span and window.after < window.span for window in geometry.windows)
    kernel = geometry.source * geometry.rows.kernel * geometry.columns.kernel // geometry.groups
    return "flipped" if fits and not geometry.strided and kernel <= geometry.batch * geometry.pixels else "transposed"


def weight_form(geometry: Geometry, target: Target) -> WeightForm:
    """How to make the weights' adjoint; on the CPU by measurement.

    * ``product``: one matrix product for each image, for pointwise kernels.
    * ``taps``: the same with the pixels that each tap sees side by side; matrix products are what CUDA does best.
    * ``shifts``: the same with row taps beside each other on one side and column taps on the other, so that 2k shifted
      maps do for k^2 taps; for narrow layers of many pixels, which cannot stride.
    * ``volume``: a 3-D convolution whose kernel is the output's adjoint; for all others.
    """
    if geometry.pointwise:
        return "product"
    if target == "cuda" or not all(window.reads_input for window in geometry.windows):
        return "taps"
    narrow = 8 * max(geometry.source, geometry.depth) <= geometry.pixels * geometry.groups
    return "shifts" if narrow and not geometry.strided else "volume"


def _backward(applied: Applied, adjoint: Adjoint, emit: Emitter) -> tuple[Value | None, ...]:
    geometry, dy = Geometry.of(applied), adjoint.output
    dx = _input_adjoint(geometry, adjoint, applied.input(1), emit) if adjoint.needed[0] else None
    dw = None
    if adjoint.needed[1]:
        dw = _WEIGHTS[weight_form(geometry, adjoint.target)](geometry, applied.x, dy, emit)
    biases = (emit.sum(dy, (0, 2, 3)) if adjoint.needed[2] else None,) if len(applied.inputs) > 2 else ()
    return dx, dw, *biases


def _input_adjoint(geometry: Geometry, adjoint: Adjoint, weights: Value, emit: Emitter) -> Value:
    form = input_form(geometry, adjoint.target)
    if form == "flipped":
        return _flipped(geometry, adjoint.output, weights, emit)
    windows = geometry.windows
    attributes: dict[str, Attribute] = {
        "strides": tuple(window.stride for window in windows),
        "dilations": tuple(window.rate for window in windows),
        "group": geometry.groups,
    }
    if form == "transposed":
        pads = (*(window.before for window in windows), *(window.after for window in windows))
        extra = tuple(window.rest for window in windows)
        return emit.apply("ConvTranspose", adjoint.output, weights, pads=pads, output_padding=extra, **attributes)
    extra = tuple(max(window.rest - window.after, 0) for window in windows)
    full = emit.apply("ConvTranspose", adjoint.output, weights, output_padding=extra, **attributes)
    return emit.slice(full, {2 + axis: (w.before, w.before + w.size, 1) for axis, w in enumerate(windows)})


def _flipped(geometry: Geometry, dy: Value, weights: Value, emit: Emitter) -> Value:
    """With dx[h] = sum over i of w[i] dy[h + p - r i]: taps in reverse, padded by what is left of the span."""
    kernel, groups = static(weights)[2:], geometry.groups
    turned = emit.reversed(weights, (2, 3))
    inner = (geometry.depth // groups, geometry.source // groups)
    grouped = emit.reshape(turned, (groups, *inner, *kernel)) if groups > 1 else turned
    order = (0, 2, 1, 3, 4) if groups > 1 else (1, 0, 2, 3)
    swapped = emit.reshape(emit.transpose(grouped, order), (geometry.source, inner[0], *kernel))
    windows = geometry.windows
    return emit.apply(
        "Conv",
        dy,
        swapped,
        kernel_shape=kernel,
        dilations=tuple(window.rate for window in windows),
        group=groups,
        pads=(*(w.span - 1 - w.before for w in windows), *(w.span - 1 - w.after for w in windows)),
    )


def _product(geometry: Geometry, x: Value, dy: Value, emit: Emitter) -> Value:
    """Gives the sum over images of dy x^T, pixels as columns; x is first cut to the pixels that the stride saw."""
    cut = {2 + a: (0, (w.output - 1) * w.stride + 1, w.stride) for a, w in enumerate(geometry.windows)}
    return _matrices(geometry, emit.slice(x, cut), dy, 1, emit)


def _taps(geometry: Geometry, x: Value, dy: Value, emit: Emitter) -> Value:
    padded = _padded(geometry, x, emit)
    rows, columns = geometry.windows
    seen = [
        emit.slice(padded, {2: _seen(rows, i), 3: _seen(columns, j)})
        for i, j in product(range(rows.kernel), range(columns.kernel))
    ]
    return _matrices(geometry, _stack(geometry.groups, seen, emit), dy, len(seen), emit)


def _seen(window: Window, tap: int) -> tuple[int, int, int]:
    """The padded rows that a tap sees, as a slice."""
    start = tap * window.rate
    return start, start + (window.output - 1) * window.stride + 1, window.stride


def _matrices(geometry: Geometry, x: Value, dy: Value, taps: int, emit: Emitter) -> Value:
    """The weights' adjoint from maps of the output's size, in whose groups each channel is `taps` times: tap, channel.

    Images are the batch of one matrix product, and its results are summed; where those would be larger than the maps,
    all pixels of all images are columns of one product instead.
    """
    groups, inner, depth = geometry.groups, geometry.source // geometry.groups, geometry.depth // geometry.groups
    batch, pixels, wide = geometry.batch, geometry.pixels, taps * inner
    if depth * wide <= (depth + wide) * pixels:
        left = emit.reshape(dy, (batch, groups, depth, pixels))
        right = emit.transpose(emit.reshape(x, (batch, groups, wide, pixels)), (0, 1, 3, 2))
        matrix = emit.sum(emit.apply("MatMul", left, right), (0,))
    else:
        left = emit.transpose(emit.reshape(dy, (batch, groups, depth, pixels)), (1, 2, 0, 3))
        right = emit.transpose(emit.reshape(x, (batch, groups, wide, pixels)), (1, 0, 3, 2))
        left = emit.reshape(left, (groups, depth, batch * pixels))
        matrix = emit.apply("MatMul", left, emit.reshape(right, (groups, batch * pixels, wide)))
    kernel = (geometry.rows.kernel, geometry.columns.kernel)
    by_tap = emit.reshape(matrix, (geometry.depth, taps, inner))
    ordered = emit.transpose(by_tap, (0, 2, 1)) if taps > 1 else by_tap
    return emit.reshape(ordered, (geometry.depth, inner, *kernel))


def _shifts(geometry: Geometry, x: Value, dy: Value, emit: Emitter) -> Value:
    """With dw[i, j] = the sum over o and q of dy[o, q - r j] x[o + r i, q], q running over the padded columns.

    Shifting x by rows alone and dy by columns alone gives every pair of taps in one product.
    """
    rows, columns = geometry.windows
    groups, inner, depth = geometry.groups, geometry.source // geometry.groups, geometry.depth // geometry.groups
    padded = _padded(geometry, x, emit)
    width, border = static(padded)[3], columns.span - 1
    by_rows = [emit.slice(padded, {2: _seen(rows, i)}) for i in range(rows.kernel)]
    wide = emit.pad(dy, (0, 0, 0, border), (0, 0, 0, border))
    starts = [border - j * columns.rate for j in range(columns.kernel)]
    by_columns = [emit.slice(wide, {3: (start, start + width, 1)}) for start in starts]
    pixels = rows.output * width
    left = emit.reshape(_stack(groups, by_columns, emit), (geometry.batch, groups, columns.kernel * depth, pixels))
    right = emit.reshape(_stack(groups, by_rows, emit), (geometry.batch, groups, rows.kernel * inner, pixels))
    matrix = emit.sum(emit.apply("MatMul", left, emit.transpose(right, (0, 1, 3, 2))), (0,))
    split = emit.reshape(matrix, (groups, columns.kernel, depth, rows.kernel, inner))
    ordered = emit.transpose(split, (0, 2, 4, 3, 1))
    return emit.reshape(ordered, (geometry.depth, inner, rows.kernel, columns.kernel))


def _volume(geometry: Geometry, x: Value, dy: Value, emit: Emitter) -> Value:
    """A convolution of x by dy, with stride and rate in each other's place, that sums over images.

    Images are its input channels and channels its depth: x as [1, groups * N, C / groups, H, W], dy as a kernel
    [O, N, 1, H', W']. (A 2-D convolution with batch and channels swapped is several times slower.) Its end pads are
    less by `rest`; where they would be negative, x loses those rows instead.
    """
    batch, groups, windows = geometry.batch, geometry.groups, geometry.windows
    inner = geometry.source // groups
    ends = tuple(window.after - window.rest for window in windows)
    kept = emit.slice(x, {2 + axis: (0, w.size + min(ends[axis], 0), 1) for axis, w in enumerate(windows)})
    height, width = static(kept)[2:]
    if groups > 1:
        grouped = emit.reshape(kept, (batch, groups, inner, height, width))
        kept = emit.transpose(grouped, (1, 0, 2, 3, 4))
    volume = emit.reshape(kept, (1, groups * batch, inner, height, width))
    kernel = (1, *(window.output for window in windows))
    swapped = emit.reshape(emit.transpose(dy, (1, 0, 2, 3)), (geometry.depth, batch, *kernel))
    dw = emit.apply(
        "Conv",
        volume,
        swapped,
        kernel_shape=kernel,
        strides=(1, *(window.rate for window in windows)),
        dilations=(1, *(window.stride for window in windows)),
        group=groups,
        pads=(0, *(window.before for window in windows), 0, *(max(end, 0) for end in ends)),
    )
    return emit.reshape(dw, (geometry.depth, inner, *(window.kernel for window in windows)))


def _stack(groups: int, maps: list[Value], emit: Emitter) -> Value:
    """Maps of the same channels, one after another within each group."""
    if groups == 1:
        return emit.concat(maps, 1)
    batch, channels, height, width = static(maps[0])
    split = [emit.reshape(each, (batch, groups, channels // groups, height, width)) for each in maps]
    return emit.concat(split, 2)


def _padded(geometry: Geometry, x: Value, emit: Emitter) -> Value:
    rows, columns = geometry.windows
    return emit.pad(x, (0, 0, rows.before, columns.before), (0, 0, rows.after, columns.after))


def _integers(attribute: Attribute) -> tuple[int, ...]:
    assert isinstance(attribute, tuple)
    return tuple(int(item) for item in attribute)


_WEIGHTS = {"product": _product, "shifts": _shifts, "taps": _taps, "volume": _volume}
RULES = {"Conv": Rule(_backward)}
