"""A preprocessing scheme as a graph in front of a network: it takes photographs of any size.

Every step does the arithmetic of the scheme's own system:

- The legacy bilinear filter reads two rows and two columns for each pixel, at ``i * (in / out)`` in float32, like
  TensorFlow. ONNX's Resize (linear, asymmetric) reads the same pixels, but would convert and resize the whole image.
- Pillow's nearest filter adds up steps of ``in / out`` in float64, and rounding decides between two equally near
  pixels. So this graph has a cumulative sum, not a multiplication.
- Pillow's antialiased filters are Resize with ``antialias`` and ``exclude_outside`` on 8-bit values. onnxruntime rounds
  and clips between its two passes, columns first, like Pillow. Other runtimes, and newer versions of Pillow, which
  begin with the rows of a tall image, differ by up to one level, and by more where a bicubic filter overshoots.
- OpenCV's area filter is a matrix product for each axis: the share of every source pixel in every target pixel.
- Sides and margins use the integer, float32 or float64 arithmetic of `images.preprocess`, step by step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from resnet_compile.errors import OptionError
from resnet_compile.graph import ONNX_TYPES, Builder, DType, Graph, Type, Value, rewrite
from resnet_compile.lower.network import INPUT, Layout
from resnet_compile.schemes import LONGEST_ASPECT, Normalise, Scheme, ShortSide, Stretch

CHANNELS = 3
_SCOPE = "preprocess"
# Pillow's parameter of Keys's cubic.
_PILLOW_CUBIC = -0.5


def with_preprocessing(
    graph: Graph, scheme: Scheme, size: tuple[int, int], *, image_size: tuple[int, int] | None, layout: Layout
) -> Graph:
    """The network with preprocessing: its input ``input`` takes photographs, uint8 ``[N, H, W, 3]``, RGB.

    Args:
        graph: The network, with one input of preprocessed images, float32 or float16.
        scheme: The preprocessing.
        size: Rows and columns of the network's input.
        image_size: Rows and columns of the photographs; None for dynamic axes.
        layout: The layout of the network's input.

    Raises:
        OptionError: The scheme cannot be a graph.
    """
    if isinstance(scheme.resize, ShortSide) and scheme.resize.filter == "nearest":
        fault = "a scheme that scales the short side by nearest pixels cannot be part of the model"
        raise OptionError(fault, where="preprocess", hint="its filter can be bilinear")
    (numbers,) = graph.inputs
    height, width = image_size or ("height", "width")
    photographs = Value(INPUT, Type("uint8", (numbers.shape[0], height, width, CHANNELS)))
    steps = _Steps(Builder(_SCOPE), *size)
    made = steps.normalised(scheme, steps.resized(scheme.resize, photographs))
    if layout == "nhwc":
        made = steps.build.transpose(made, (0, 2, 3, 1))
    if numbers.type.dtype != made.type.dtype:
        made = steps.cast(made, numbers.type.dtype)
    fed = rewrite(graph, lambda value, sources: None, inputs={numbers: made})
    return replace(fed, inputs=(photographs,))


@dataclass(frozen=True, slots=True)
class _Axis:
    """The rows or the columns of an image between steps.

    Attributes:
        axis: 1 for rows, 2 for columns: images are NHWC.
        side: Their number in the image, int64 ``[1]``.
        count: Their number in the network's input.
    """

    axis: int
    side: Value
    count: int


@dataclass(frozen=True, slots=True)
class _Steps:
    """The steps of a scheme, for a network's rows and columns."""

    build: Builder
    height: int
    width: int

    def resized(self, resize: Stretch | ShortSide, image: Value) -> Value:
        """The image at the network's size: from uint8 NHWC to float32 NCHW, 0 to 255."""
        rows, columns = (
            _Axis(axis, self.build.apply("Shape", image, start=axis, end=axis + 1), count)
            for axis, count in ((1, self.height), (2, self.width))
        )
        if isinstance(resize, Stretch) and resize.central < 1:
            image, rows, columns = self._middle(image, rows, columns, resize.central)
        if resize.filter == "legacy_bilinear":
            pixels = self._nchw(self._legacy(image, rows, columns, resize))
        elif resize.filter == "nearest":
            pixels = self.cast(self._nchw(self._nearest(image, rows, columns)), "float32")
        elif resize.filter == "area":
            pixels = self._by_area(image, rows, columns, resize)
        else:
            pixels = self.cast(self._by_pillow(image, rows, columns, resize), "float32")
        # The same elements in a static shape.
        return self.build.reshape(pixels, (0, CHANNELS, self.height, self.width))

    def normalised(self, scheme: Scheme, pixels: Value) -> Value:
        """The normalised values, float32 NCHW, of pixels from 0 to 255."""
        if scheme.channels == "bgr":
            pixels = self.build.apply("Gather", pixels, self.build.integers((2, 1, 0)), axis=1)
        if not isinstance(scheme.values, Normalise):
            return self._standardised(pixels)
        scale, shift = (
            self.build.tensor(f"{_SCOPE}/{word}", np.array(numbers, np.float32).reshape(1, CHANNELS, 1, 1), "float32")
            for word, numbers in zip(("scale", "shift"), scheme.values.affine, strict=True)
        )
        return self.build.apply("Add", self.build.apply("Mul", pixels, scale), shift)

    def cast(self, x: Value, dtype: DType) -> Value:
        """The value in another element type; a cast to integers truncates."""
        return self.build.apply("Cast", x, to=ONNX_TYPES[dtype])

    def _op(self, operator: str, a: Value, b: Value | float) -> Value:
        """An operator on two values, or on a value and a number of its type."""
        return self.build.apply(operator, a, b if isinstance(b, Value) else self.build.scalar(b, a))

    def _cut(self, x: Value, *parts: tuple[int, Value, Value]) -> Value:
        """The part of each given axis from start to end, int64 ``[1]`` both."""
        axes, starts, ends = zip(*parts, strict=True)
        bounds = (self.build.concat(each, 0) for each in (starts, ends))
        steps = (1,) * len(axes)
        return self.build.apply("Slice", x, *bounds, self.build.integers(axes), self.build.integers(steps))

    def _nchw(self, x: Value) -> Value:
        return self.build.transpose(x, (0, 3, 1, 2))

    def _middle(self, image: Value, rows: _Axis, columns: _Axis, fraction: float) -> tuple[Value, _Axis, _Axis]:
        """TensorFlow's central crop: margins of ``int((side - side * fraction) / 2)`` in float64."""
        parts, kept = [], []
        for each in (rows, columns):
            side = self.cast(each.side, "float64")
            spare = self._op("Sub", side, self._op("Mul", side, fraction))
            margin = self.cast(self._op("Mul", spare, 0.5), "int64")
            end = self._op("Sub", each.side, margin)
            parts.append((each.axis, margin, end))
            kept.append(replace(each, side=self._op("Sub", end, margin)))
        return self._cut(image, *parts), kept[0], kept[1]

    def _nearest(self, image: Value, rows: _Axis, columns: _Axis) -> Value:
        for each in (rows, columns):
            step = self._op("Div", self.cast(each.side, "float64"), each.count)
            first = np.ones(each.count)
            first[0] = 0.5
            steps = self._op("Mul", self.build.tensor(f"{_SCOPE}/steps_{each.count}", first, "float64"), step)
            places = self.cast(self.build.apply("CumSum", steps, self._number(0)), "int64")
            image = self.build.apply("Gather", image, places, axis=each.axis)
        return image

    def _number(self, number: int) -> Value:
        return self.build.tensor(f"{_SCOPE}/number_{number}", np.array(number, np.int64), "int64")

    def _legacy(self, image: Value, rows: _Axis, columns: _Axis, resize: Stretch | ShortSide) -> Value:
        """TensorFlow's bilinear filter, computed for the central crop only; float32 NHWC."""
        sides = [self.cast(each.side, "float32") for each in (rows, columns)]
        if isinstance(resize, ShortSide):
            short = float(round(max(self.height, self.width) / resize.crop))
            shortest = self.build.apply("Min", *sides)
            ratio = self.build.apply("Div", self.build.scalar(short, shortest), shortest)
            scaled = [self.build.apply("Round", self._op("Mul", side, ratio)) for side in sides]
        else:
            counts = rows.count, columns.count
            scaled = [self.build.scalar(float(count), side) for count, side in zip(counts, sides, strict=True)]
        taps = [self._taps(*each) for each in zip((rows, columns), sides, scaled, strict=True)]
        (top, bottom, down), (left, right, across) = taps

        def between(lines: Value) -> Value:
            first, second = (self.build.apply("Gather", lines, each, axis=2) for each in (left, right))
            return self._mixed(first, second, across)

        upper, lower = (between(self.build.apply("Gather", image, each, axis=1)) for each in (top, bottom))
        return self._mixed(upper, lower, down)

    def _taps(self, axis: _Axis, side: Value, scaled: Value) -> tuple[Value, Value, Value]:
        """For each target pixel the two source positions around it, and the weight of the second, for NHWC."""
        start = self.build.apply("Floor", self._op("Mul", self._op("Sub", scaled, float(axis.count)), 0.5))
        each = self.build.tensor(f"{_SCOPE}/count_{axis.count}", np.arange(axis.count, dtype=np.float32), "float32")
        position = self._op("Mul", self._op("Add", each, start), self._op("Div", side, scaled))
        lower = self.build.apply("Floor", position)
        upper = self._op("Min", self.build.apply("Ceil", position), self._op("Sub", side, 1.0))
        shape = (1, axis.count, 1, 1) if axis.axis == 1 else (1, 1, axis.count, 1)
        weight = self.build.reshape(self._op("Sub", position, lower), shape)
        return self.cast(lower, "int64"), self.cast(upper, "int64"), weight

    def _mixed(self, first: Value, second: Value, weight: Value) -> Value:
        """``first + (second - first) * weight`` in float32."""
        first, second = (x if x.type.dtype == "float32" else self.cast(x, "float32") for x in (first, second))
        return self._op("Add", first, self._op("Mul", self._op("Sub", second, first), weight))

    def _by_area(self, image: Value, rows: _Axis, columns: _Axis, resize: Stretch | ShortSide) -> Value:
        """OpenCV's area filter, computed for the central crop only; whole numbers, float32 NCHW."""
        counts = [self.build.integers((each.count,)) for each in (rows, columns)]
        if isinstance(resize, ShortSide):
            short = math.floor(max(self.height, self.width) / resize.crop)
            shortest = self._op("Min", rows.side, columns.side)
            scaled = [self._op("Div", self._op("Mul", each.side, short), shortest) for each in (rows, columns)]
        else:
            scaled = counts
        across = self.build.transpose(self._shares(image, columns, scaled[1]), (0, 1, 3, 2))
        lines = self.build.apply("MatMul", self.cast(self._nchw(image), "float32"), across)
        mean = self.build.apply("MatMul", self._shares(image, rows, scaled[0]), lines)
        return self.build.apply("Floor", self._op("Add", mean, 0.5))

    def _shares(self, image: Value, axis: _Axis, scaled: Value) -> Value:
        """The share of every source pixel in every target pixel, ``[1, 1, count, side]``."""
        margin = self._op("Div", self._op("Sub", scaled, axis.count), 2)
        step = self._op("Div", *(self.cast(each, "float64") for each in (axis.side, scaled)))
        each = np.arange(axis.count, dtype=np.float64).reshape(1, 1, axis.count, 1)
        places = self.build.tensor(f"{_SCOPE}/place_{axis.count}", each, "float64")
        first = self._op("Mul", self._op("Add", places, self.cast(margin, "float64")), step)
        last = self._op("Add", first, step)
        after = self._counted(image, axis)
        before = self._op("Sub", after, 1.0)
        covered = self._op("Sub", self._op("Min", after, last), self._op("Max", before, first))
        return self.cast(self._op("Div", self._op("Max", covered, 0.0), step), "float32")

    def _counted(self, image: Value, axis: _Axis) -> Value:
        """The numbers from 1 to the photograph's rows or columns, float64 ``[1, 1, 1, side]``, from one line of it."""
        bounds = self.build.integers((0,)), self.build.integers((1,))
        line = self._cut(image, *((other, *bounds) for other in range(4) if other != axis.axis))
        ones = self._op("Add", self._op("Mul", self.cast(line, "float64"), 0.0), 1.0)
        counted = self.build.apply("CumSum", ones, self._number(axis.axis))
        return self.build.transpose(counted, (0, 2, 3, 1) if axis.axis == 1 else (0, 1, 3, 2))

    def _by_pillow(self, image: Value, rows: _Axis, columns: _Axis, resize: Stretch | ShortSide) -> Value:
        """Pillow's resize, in 8 bits throughout; uint8 NCHW."""
        if isinstance(resize, Stretch):
            sides = self.build.integers((self.height,)), self.build.integers((self.width,))
            return self._antialiased(self._nchw(image), sides, resize.filter)
        image, rows, columns = self._without_far_ends(image, rows, columns)
        short = math.floor(max(self.height, self.width) / resize.crop)
        shortest = self._op("Min", rows.side, columns.side)
        scaled = [self._op("Div", self._op("Mul", each.side, short), shortest) for each in (rows, columns)]
        whole = self._antialiased(self._nchw(image), (scaled[0], scaled[1]), resize.filter)
        parts = []
        for axis, side, count in ((2, scaled[0], self.height), (3, scaled[1], self.width)):
            half = self._op("Mul", self.cast(self._op("Sub", side, count), "float32"), 0.5)
            start = self.cast(self.build.apply("Round", half), "int64")
            parts.append((axis, start, self._op("Add", start, count)))
        return self._cut(whole, *parts)

    def _without_far_ends(self, image: Value, rows: _Axis, columns: _Axis) -> tuple[Value, _Axis, _Axis]:
        most = self._op("Mul", self._op("Min", rows.side, columns.side), LONGEST_ASPECT)
        parts, kept = [], []
        for each in (rows, columns):
            spare = self._op("Max", self._op("Sub", each.side, most), 0)
            margin = self._op("Div", spare, 2)
            end = self._op("Sub", each.side, margin)
            parts.append((each.axis, margin, end))
            kept.append(replace(each, side=self._op("Sub", end, margin)))
        return self._cut(image, *parts), kept[0], kept[1]

    def _antialiased(self, image: Value, sides: tuple[Value, Value], kind: str) -> Value:
        """One of Pillow's filters on a uint8 image, NCHW."""
        count = self.build.apply("Shape", image, start=0, end=1)
        shape = self.build.concat((count, self.build.integers((CHANNELS,)), *sides), 0)
        attributes = {"mode": "linear"} if kind == "bilinear" else {"mode": "cubic", "cubic_coeff_a": _PILLOW_CUBIC}
        return self.build.apply(
            "Resize",
            image,
            None,
            None,
            shape,
            coordinate_transformation_mode="half_pixel",
            antialias=1,
            exclude_outside=1,
            **attributes,
        )

    def _standardised(self, pixels: Value) -> Value:
        """``(x - mean) / max(std, 1 / sqrt(count))``, over all axes except the first."""
        count = CHANNELS * self.height * self.width

        def mean(x: Value) -> Value:
            return self._op("Mul", self.build.sum(x, (1, 2, 3), keep=True), 1 / count)

        centred = self._op("Sub", pixels, mean(pixels))
        deviation = self.build.apply("Sqrt", mean(self._op("Mul", centred, centred)))
        return self._op("Div", centred, self._op("Max", deviation, 1 / math.sqrt(count)))
