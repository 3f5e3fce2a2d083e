"""The shape arithmetic of a convolution."""

from __future__ import annotations

from dataclasses import dataclass

from resnet_compile.training.gradients.rule import Applied


@dataclass(frozen=True, slots=True)
class Window:
    """A convolution's arithmetic along rows or columns.

    Attributes:
        size: Rows of the input.
        output: Rows of the output.
        kernel: The number of taps.
        stride: The stride.
        rate: The dilation.
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
        """Whether any window reads more than padding."""
        return self.rest - self.after < self.size

    @property
    def turns(self) -> bool:
        """Whether the pads of `mirrored` are not negative."""
        return self.before < self.span and self.after < self.span

    def seen(self, tap: int) -> tuple[int, int, int]:
        """The rows of the padded input that a tap reads: start, stop, step."""
        start = tap * self.rate
        return start, start + (self.output - 1) * self.stride + 1, self.stride

    def mirrored(self) -> Window:
        """The window of the convolution from dy to dx, for stride 1, with the taps in reverse order."""
        before, after = self.span - 1 - self.before, self.span - 1 - self.after
        return Window(self.output, self.size, self.kernel, 1, self.rate, before, after)


@dataclass(frozen=True, slots=True)
class Geometry:
    """The shapes of a convolution.

    Attributes:
        batch: The number of images.
        source: Input channels.
        depth: Output channels.
        groups: Groups of channels.
        rows: The arithmetic along rows.
        columns: The arithmetic along columns.
    """

    batch: int
    source: int
    depth: int
    groups: int
    rows: Window
    columns: Window

    @classmethod
    def of(cls, applied: Applied) -> Geometry:
        x, weights, y = (value.static_shape for value in (applied.x, applied.node.input(1), applied.output))
        strides, rates = (applied.node.attributes.integers(name, 2) for name in ("strides", "dilations"))
        pads = applied.node.attributes.integers("pads", 4)
        rows, columns = (
            Window(x[2 + axis], y[2 + axis], weights[2 + axis], strides[axis], rates[axis], pads[axis], pads[axis + 2])
            for axis in (0, 1)
        )
        return cls(x[0], x[1], y[1], applied.node.attributes.integer("group"), rows, columns)

    @property
    def windows(self) -> tuple[Window, Window]:
        return self.rows, self.columns

    @property
    def inner(self) -> int:
        return self.source // self.groups

    @property
    def outer(self) -> int:
        return self.depth // self.groups

    @property
    def kernel(self) -> tuple[int, int]:
        return self.rows.kernel, self.columns.kernel

    @property
    def taps(self) -> int:
        return self.rows.kernel * self.columns.kernel

    @property
    def pixels(self) -> int:
        """The number of pixels of an output channel."""
        return self.rows.output * self.columns.output

    def mirrored(self) -> Geometry:
        """The convolution from dy to dx, for stride 1."""
        return Geometry(self.batch, self.depth, self.source, self.groups, self.rows.mirrored(), self.columns.mirrored())

    @property
    def pointwise(self) -> bool:
        """Whether each output pixel reads one input pixel, and never the padding."""
        return all(window.kernel == 1 and window.before == window.after == 0 for window in self.windows)

    @property
    def strided(self) -> bool:
        return any(window.stride > 1 for window in self.windows)
