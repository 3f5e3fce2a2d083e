"""3x3 convolutions by minimal filtering (`minimal_filtering`), in ONNX's own operators, for onnxruntime's CPU provider.

A tile of m x m outputs takes a^2 = (m + 2)^2 products per channel instead of 9 m^2. With the map as [rows, columns,
channels], the padding in the matrices, and T tiles::

    factors = B d B^T        two MatMul, one for rows and one for columns: [T, a a, channels]
    products                 a 1x1 convolution of a a groups, whose weights are G g G^T
    y = A products A^T       one MatMul with the Kronecker product of A with itself; then tiles in their places, cropped

The bias is added to the product at the points (1, 1), whose weight in every output is 1. An activation that alone reads
the convolution comes before the tiles are put in their places.

onnxruntime changes the layout before and after a convolution anyway, and merges the Transposes from and to
channels-last into that step, so that these cost nothing here.

Errors grow by at most the factors that `minimal_filtering` derives. The weights take a^2 / 9 times the memory.

The choice is by estimated time, in multiply-adds of a convolution of onnxruntime's. The numbers for that were fitted to
profiles on a processor with AVX512; `tools/measure_winograd.py` measures what is won, and
`tools/results/winograd_cpu.md` has the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from resnet_compile.graph import (
    Builder,
    Graph,
    Node,
    Readers,
    Value,
    Vector,
    VectorTensor,
    apply,
    exact,
    initializer,
    made_by,
    rebuilt,
    rewrite,
)
from resnet_compile.passes.base import PassResult
from resnet_compile.passes.minimal_filtering import TAPS, UNIT, Axis, Filtering, filtering

# A weight that comes from memory.
_WEIGHT = 8
# A number of the factors or the products, moved from one layout to another and back.
_MOVED = 55
# A multiply-add of the matrices, which are small.
_SMALL = 2
# A dozen nodes more.
_NODES = 3_000_000
# What there has to be won, and how much of it for the next larger tile, which has the larger error.
_WORTH = 0.95
_WORTH_MORE = 0.03
# Factors and products past this size leave a core's own cache, and then moving them costs several times as much.
_CACHE = 2**20
TILES = (2, 3, 4)
_ACTIVATIONS = ("Relu", "LeakyRelu")


def winograd(graph: Graph, tiles: Sequence[int] = TILES, most: float = _WORTH) -> PassResult:
    """Computes 3x3 convolutions of stride 1 by minimal filtering where that takes less time.

    Args:
        graph: The graph.
        tiles: The m to choose from.
        most: The greatest accepted fraction of the convolution's estimated time.
    """
    plan = _Plan(graph, tuple(tiles), most)

    def rule(value: Value, sources: Sequence[Value | None]) -> Value | None:
        if value in plan.activated:
            conv = sources[0]
            return conv and plan.built(plan.activated[value], conv.maker, value)
        if value in plan.sites and value not in plan.activated.values():
            return plan.built(value, Node("Conv", tuple(sources), value.maker.attributes), None)
        return None

    return PassResult(rewrite(graph, rule), len(plan.sites), tuple(plan.refused), tuple(plan.told))


@dataclass(frozen=True, slots=True)
class _Site:
    """A convolution: how many images it reads, channels that it reads and makes, rows and columns."""

    images: int
    channels: int
    made: int
    rows: Axis
    columns: Axis

    @property
    def direct(self) -> int:
        """The time that it takes as it is, in multiply-adds."""
        weights = TAPS**2 * self.channels * self.made
        return weights * (self.images * self.rows.made * self.columns.made + _WEIGHT)

    def moved(self, form: Filtering) -> int:
        """How many factors there are for each channel."""
        return self.images * self.rows.tiles(form) * self.columns.tiles(form) * form.products**2

    def stays(self, form: Filtering) -> bool:
        """Whether factors and products stay in a core's own cache."""
        return self.moved(form) * max(self.channels, self.made) * 4 <= _CACHE

    def filtered(self, form: Filtering) -> int:
        """The time that it takes by a form, in multiply-adds."""
        moved, a = self.moved(form), form.products
        rows, columns = a * self.rows.tiles(form), a * self.columns.tiles(form)
        spread = self.images * rows * self.columns.read * (self.rows.read + columns) * self.channels
        gathered = moved * form.made**2 * self.made
        return (
            self.channels * self.made * (moved + _WEIGHT * a**2)
            + _MOVED * moved * (self.channels + self.made)
            + _SMALL * (spread + gathered)
            + _NODES
        )

    def choice(self, forms: Sequence[Filtering], most: float) -> tuple[Filtering | None, str]:
        """The form to compute it by, if any, and the reason."""
        best, least = None, most * self.direct
        for form in forms:
            time = self.filtered(form)
            if self.stays(form) and time < least:
                best, least = form, time - _WORTH_MORE * self.direct
        if best is not None:
            times = f"estimated {self.filtered(best) / 1e6:.0f} million multiply-adds, direct {self.direct / 1e6:.0f}"
            return best, f"F({best.made}x{best.made}, 3x3), {times}"
        form = min(forms, key=self.filtered)
        if self.filtered(form) < least:
            return None, "its tiles would not stay in a core's cache"
        times = f"estimated {self.filtered(form) / 1e6:.0f} million multiply-adds, direct {self.direct / 1e6:.0f}"
        return None, f"F({form.made}x{form.made}, 3x3) would win too little: {times}"


@dataclass
class _Plan:
    """The convolutions to rewrite, each with its form, and the report on all 3x3 convolutions.

    Attributes:
        graph: The graph.
        tiles: The m to choose from.
        most: The part of a convolution's time that it may take.
        sites: The convolutions.
        activated: By the activation that alone reads it, a convolution.
    """

    graph: Graph
    tiles: tuple[int, ...]
    most: float
    sites: dict[Value, tuple[_Site, Filtering]] = field(default_factory=dict)
    activated: dict[Value, Value] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        read_by, forms = self.graph.readers(), [filtering(made) for made in self.tiles]
        self._builder = Builder("", shared="winograd/")
        for value in self.graph.values():
            if (conv := made_by(value, "Conv")) is None or conv.input(1).shape[2:] != (TAPS, TAPS):
                continue
            site = _site(value, conv)
            form, reason = (None, site) if isinstance(site, str) else site.choice(forms, self.most)
            if isinstance(site, str) or form is None:
                self.refused.append(f"{value.name}: {reason}")
                continue
            self.told.append(f"{value.name}: {reason}")
            self.sites[value] = site, form
            if (reader := _activation(value, read_by, self.graph)) is not None:
                self.activated[reader] = value

    def built(self, conv: Value, node: Node, activation: Value | None) -> Value:
        """The convolution, with its activation if one is given, on the sources of a node, under the last one's name."""
        site, form = self.sites[conv]
        build = self._builder.within(f"{conv.name}/winograd")
        y = _gathered(build, form, _products(build, site, form, _spread(build, site, form, node.input(0)), node))
        if activation is not None:
            y = rebuilt(activation, (y,), f"{conv.name}/winograd/activated")
        return apply("Transpose", _placed(build, site, form, y), name=(activation or conv).name, perm=(0, 3, 1, 2))


def _site(value: Value, conv: Node) -> _Site | str:
    """The convolution, or the reason why minimal filtering does not apply."""
    source, weights, attributes = conv.input(0), conv.input(1), conv.attributes
    if any(step != 1 for name in ("strides", "dilations") for step in attributes.integers(name, 2)):
        return "its stride or rate is not 1"
    if attributes.integer("group") != 1:
        return "it is a grouped convolution"
    if weights.contents is None or value.type.dtype != "float32":
        return "its weights are computed or not float32"
    if not all(isinstance(dim, int) for dim in (*source.shape, *value.shape)):
        return "its batch, rows or columns are dynamic"
    images, channels, *read = source.static_shape
    _, made, *out = value.static_shape
    same = attributes.text("auto_pad") == "SAME_UPPER"
    before = (1, 1) if same else attributes.integers("pads", 4)[:2]
    rows, columns = (Axis(*each) for each in zip(read, before, out, strict=True))
    return _Site(images, channels, made, rows, columns)


def _activation(conv: Value, read_by: Readers, graph: Graph) -> Value | None:
    """The activation that alone reads a convolution."""
    if conv in graph.outputs or len(read_by[conv]) != 1:
        return None
    (reader,) = read_by[conv]
    return reader if reader.maker.operator in _ACTIVATIONS else None


def _spread(build: Builder, site: _Site, form: Filtering, x: Value) -> Value:
    """The factors, as a map [images, a a channels, tiles, tiles]."""
    n, a, c = site.images, form.products, site.channels
    down, across = site.rows.tiles(form), site.columns.tiles(form)
    lines = build.reshape(build.transpose(x, (0, 2, 3, 1)), (n, site.rows.read, site.columns.read * c))
    lines = build.apply("MatMul", _spreading(build, site.rows, form), lines)
    columns = build.reshape(lines, (n * down * a, site.columns.read, c))
    columns = build.apply("MatMul", _spreading(build, site.columns, form), columns)
    tiled = build.transpose(build.reshape(columns, (n, down, a, across, a * c)), (0, 1, 3, 2, 4))
    return build.transpose(build.reshape(tiled, (n, down, across, a * a * c)), (0, 3, 1, 2))


def _products(build: Builder, site: _Site, form: Filtering, factors: Value, node: Node) -> Value:
    """The products, [tiles, a a, channels], of the convolution's channels."""
    a = form.products
    parameters = [_weights(build, form, node.input(1))]
    if (biases := node.optional(2)) is not None:
        parameters.append(_biases(build, form, biases))
    made = build.apply("Conv", factors, *parameters, kernel_shape=(1, 1), group=a * a)
    tiles = site.images * site.rows.tiles(form) * site.columns.tiles(form)
    return build.reshape(build.transpose(made, (0, 2, 3, 1)), (tiles, a * a, site.made))


def _gathered(build: Builder, form: Filtering, products: Value) -> Value:
    """The outputs of each tile, [tiles, m m, channels]."""
    matrix = np.kron(form.outputs, form.outputs)
    return build.apply("MatMul", _matrix(build, f"outputs/{form.made}", matrix), products)


def _placed(build: Builder, site: _Site, form: Filtering, tiles: Value) -> Value:
    """The tiles in their places: [images, rows, columns, channels]."""
    n, m, k = site.images, form.made, site.made
    down, across = site.rows.tiles(form), site.columns.tiles(form)
    lines = build.transpose(build.reshape(tiles, (n, down, across, m, m * k)), (0, 1, 3, 2, 4))
    whole = build.reshape(lines, (n, down * m, across * m, k))
    return build.slice(whole, {1: (0, site.rows.made, 1), 2: (0, site.columns.made, 1)})


def _spreading(build: Builder, axis: Axis, form: Filtering) -> Value:
    name = f"inputs/{form.made}/{axis.read}_{axis.before}_{axis.made}"
    return _matrix(build, name, axis.spread(form))


def _matrix(build: Builder, name: str, values: NDArray[np.floating]) -> Value:
    """A matrix of small integers, with an axis for images, which the graph has once."""
    return build.tensor(name, values.astype(np.float32)[None], "float32")


def _weights(build: Builder, form: Filtering, weights: Value) -> Value:
    name = f"{weights.name}/winograd"
    made, channels = weights.static_shape[:2]

    def transformed() -> Vector:
        # By groups, one for each pair of points.
        grouped: Vector = np.einsum("ar,kcrs,bs->abkc", form.taps, exact(weights), form.taps, optimize=True)
        return grouped

    return initializer(name, VectorTensor(name, (form.products**2 * made, channels, 1, 1), transformed))


def _biases(build: Builder, form: Filtering, biases: Value) -> Value:
    name = f"{biases.name}/winograd"
    (made,) = biases.static_shape

    def placed() -> Vector:
        values = np.zeros((form.products, form.products, made))
        values[UNIT, UNIT] = exact(biases)
        return values

    return initializer(name, VectorTensor(name, (form.products**2 * made,), placed))
