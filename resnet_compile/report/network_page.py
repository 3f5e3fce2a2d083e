"""A network to scale, or two side by side, as one self-contained page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from itertools import accumulate

from resnet_compile.costs import Costs
from resnet_compile.plan import Plan, Summary, end_point_words, feature_levels, paired, places, summarize
from resnet_compile.report.network_drawing import Column, Strip, network_drawing
from resnet_compile.report.page import legend, page, section, table, tiles
from resnet_compile.report.svg import element, series

_TO_SCALE = (
    "From left to right: the root block, every unit, the head. /4 marks where the positions of the output come to lie "
    "4 pixels apart in the image, rate 2 where convolutions begin to be atrous. The dashed line is the image's height."
)
_EXPLANATION = (
    "A position of the output depends on as many rows and columns of the image as its receptive field has, which "
    "reaches beyond the border; means over the whole image, as in channel attention, do not count. Costs are those of "
    "one image. Memory is that of float32 values in the graph of --target portable: those that a part computes, and "
    "the most that live at one time meanwhile, each until its last use. C2 and its like are the maps of --outputs "
    "features."
)
_FACTS = ("output", "reduction", "receptive field", "parameters", "multiply-accumulates", "computed", "held")
_COUNTED = 4  # the last of these, which have bars
_SEEN = "rows of the receptive field"
_UNITS, _LAYERS = 2, 3


@dataclass(frozen=True)
class _Network:
    """A network and what its page says of it.

    Attributes:
        name: What the page calls it.
        style: The CSS class of its colour.
        costs: Its costs for one image.
    """

    name: str
    style: str
    costs: Costs

    @property
    def plan(self) -> Plan:
        return self.costs.plan

    @cached_property
    def summary(self) -> Summary:
        return summarize(self.plan)

    @cached_property
    def memory(self) -> dict[str, tuple[int, int]]:
        """Bytes that are computed in each scope, and the most that live at one time meanwhile."""
        blocks, roots = {block.scope for block in self.plan.blocks}, {layer.scope for layer in self.plan.root}
        found: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
        for value in self.costs.values:
            around = {*accumulate(value.name.split("/"), "{}/{}".format)}
            if not around & blocks:  # the summary's names for layers that are in no block
                around.add(f"{self.plan.name}/{'root' if around & roots else 'head'}")
            for scope in around:
                computed, held = found[scope]
                found[scope] = computed + value.activation_bytes, max(held, value.held_bytes)
        return found

    @cached_property
    def levels(self) -> dict[str, str]:
        """The level of each map that is one of `--outputs features`, by its name."""
        return {level.output: level.name for level in feature_levels(self.plan)}

    def kind(self, part: Summary) -> str:
        """A part's kind, of a unit in the spec's word for it, and its level."""
        kind = part.name.rpartition("/")[2] if part.kind.startswith("unit") else ""
        words = part.kind.replace("unit", kind, 1) if kind else part.kind
        return f"{words}, {self.levels[part.name]}" if part.name in self.levels else words

    def counts(self, part: Summary) -> tuple[int, int, int, int]:
        """Parameters, multiply-accumulates, bytes computed and bytes held."""
        return part.parameters, part.macs, *self.memory[part.name]

    def stages(self) -> Iterator[tuple[str, Summary]]:
        """The root block, the units and the head, the first of each block with the block's name."""
        blocks = {block.scope for block in self.plan.blocks}
        for part in self.summary.parts:
            for index, each in enumerate(part.parts if part.name in blocks else (part,)):
                yield part.name.rpartition("/")[2] if not index else "", each


def network_page(found: Sequence[Costs], *, layers: bool = False) -> str:
    """The HTML page, with style and drawings embedded.

    Args:
        found: The costs for one image of one network, or of two.
        layers: Whether units show their layers.
    """
    networks = [_Network(name, series(index), found[index]) for index, name in enumerate(_names(found))]
    title = " and ".join(network.name for network in networks)
    styles = {network.name: network.style for network in networks}
    sources = dict.fromkeys(_source(network.plan) for network in networks)
    return page(
        f"resnet-inspect: {title}",
        element("h1", escape(title)),
        *(element("p", escape(source)) for source in sources),
        _totals(networks),
        section("To scale", _TO_SCALE, *_drawings(networks)),
        section("Unit by unit", _EXPLANATION, legend(styles), _parts(networks, _LAYERS if layers else _UNITS)),
        *(_end_points(network, "End points" if len(networks) == 1 else network.name) for network in networks),
    )


def _names(found: Sequence[Costs]) -> list[str]:
    names = [costs.plan.spec.source or costs.plan.name for costs in found]
    return names if len({*names}) == len(names) else [f"{name} ({index})" for index, name in enumerate(names, 1)]


def _source(plan: Plan) -> str:
    image = f"image of {plan.input.height}x{plan.input.width}, {plan.input.channels} channels"
    return f"{plan.spec.origin}, {image}" if plan.spec.origin else image.capitalize()


def _totals(networks: Sequence[_Network]) -> str:
    """Large figures of one network; a table of two."""
    columns = []
    for network in networks:
        whole, end = network.summary, network.plan.blocks[-1].scope
        field = next(part.receptive_field for part in whole.parts if part.name == end)
        weighted = sum(1 for layer in network.plan.layers if layer.macs and layer.parameters)
        columns.append(
            (
                (_short(whole.parameters), "parameters"),
                (_short(whole.macs), "multiply-accumulates"),
                (_short(network.costs.activation_bytes_peak, "B"), "held at most"),
                (str(weighted), "convolutions and matrices"),
                (_side(field), "pixels, receptive field of the last unit"),
            )
        )
    if len(networks) == 1:
        return tiles(columns[0])
    rows = [(row[0][1], *(figure for figure, _ in row)) for row in zip(*columns, strict=True)]
    return section("In all", "", table(("", *(network.name for network in networks)), rows))


def _drawings(networks: Sequence[_Network]) -> Iterator[str]:
    """Every network, all on the same scales."""
    drawn = [list(_columns(network)) for network in networks]
    tallest = max(network.plan.input.height for network in networks)
    units = {"rows of the output": "", "channels": "", _SEEN: "", _FACTS[3]: "", _FACTS[4]: ""}
    units[f"bytes {_FACTS[-1]}"] = "B"
    strips = []
    for row, (label, unit) in enumerate(units.items()):
        greatest = max(column.values[row] for columns in drawn for column in columns)
        words = f"{label}, {_short(greatest, unit)} at most"
        strips.append(Strip(words, greatest, symmetric=not row, mark=tallest if label == _SEEN else None))
    longest = max(map(len, drawn))
    for network, columns in zip(networks, drawn, strict=True):
        if len(networks) > 1:
            yield element("h2", escape(network.name))
        yield network_drawing(f"{network.name}, unit by unit", columns, strips, longest, network.style)


def _columns(network: _Network) -> Iterator[Column]:
    rates = {unit.scope: unit.rate for unit in network.plan.units}
    reduction, rate = 1, 1
    for block, part in network.stages():
        marks = [f"/{part.reduction}"] if part.reduction not in (None, reduction) else []
        marks += [f"rate {rates[part.name]}"] if rates.get(part.name, rate) != rate else []
        reduction, rate = part.reduction or reduction, rates.get(part.name, rate)
        seen = part.receptive_field[0] if part.receptive_field else network.plan.input.height
        parameters, macs, _, held = network.counts(part)
        told = [part.name.removeprefix(f"{network.plan.name}/"), part.kind]
        told += (f"{fact} {words}" for fact, words in zip(_FACTS, _words(network, part), strict=True))
        values = (part.output[1], part.output[0], seen, parameters, macs, held)
        yield Column(block, ", ".join(marks), "\n".join(told), values)


def _parts(networks: Sequence[_Network], depth: int) -> str:
    """A table with a row for each part, and in each cell a line for each network."""
    counts = [network.counts(part) for network in networks for _, part in network.stages()]
    most = [max(column) or 1 for column in zip(*counts, strict=True)]
    first, *others = (network.summary for network in networks)
    rows = paired(first, others[0], depth) if others else [(place, part) for place, part in places(first, depth)]
    body = []
    for place, *parts in rows:
        kinds = dict.fromkeys(network.kind(part) for network, part in zip(networks, parts, strict=True) if part)
        words = place[-1].partition("/")[0]
        smaller = (element("small", escape(kind)) for kind in kinds if not kind.startswith(words))
        name = element("th", escape(words), *smaller, scope="row")
        lines = [_cells(network, part, most, len(place)) for network, part in zip(networks, parts, strict=True)]
        cells = (element("td", *cell, cls="n", data_name=fact) for fact, *cell in zip(_FACTS, *lines, strict=True))
        body.append(element("tr", name, *cells, cls=f"level{len(place)}"))
    header = (element("th", fact, cls="n" if fact else None, scope="col") for fact in ("", *_FACTS))
    head = element("thead", element("tr", *header))
    return element("div", element("table", head, element("tbody", *body), cls="many units"), cls="scroll")


def _cells(network: _Network, part: Summary | None, most: Sequence[int], level: int) -> list[str]:
    """The lines of a network in a row's cells; counts of units and layers have a bar."""
    if part is None:
        return [element("span", "–")] * len(_FACTS)
    bars: list[str | None] = [None] * len(_FACTS)
    if level > 1:
        counts = network.counts(part)
        bars[-_COUNTED:] = [f"--w:{100 * count / top:.1f}%" for count, top in zip(counts, most, strict=True)]
    words = _words(network, part)
    return [element("span", escape(each), cls=network.style, style=bar) for each, bar in zip(words, bars, strict=True)]


def _words(network: _Network, part: Summary) -> tuple[str, ...]:
    """What the facts of a part are."""
    parameters, macs, computed, held = network.counts(part)
    return (
        "x".join(map(str, part.output)),
        "–" if part.reduction is None else f"/{part.reduction}",
        _side(part.receptive_field),
        f"{parameters:,}",
        _short(macs),
        _short(computed, "B"),
        _short(held, "B"),
    )


def _end_points(network: _Network, heading: str) -> str:
    """The words that --outputs takes, by block."""
    found: dict[str, list[str]] = defaultdict(list)
    for word in end_point_words(network.plan):
        found[word.partition("/")[0]].append(word)
    rows = [(block, ", ".join(words)) for block, words in found.items()]
    return section(heading, "The words for --outputs.", table((), rows))


def _side(field: tuple[int, int] | None) -> str:
    if field is None:
        return "all"
    return str(field[0]) if field[0] == field[1] else f"{field[0]}x{field[1]}"


def _short(count: float, unit: str = "") -> str:
    """A count, or its first three digits: 2,048 and 25.6 M."""
    if count < 1e4 and not unit:
        return f"{count:,.0f}"
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= 0.9995 * factor:
            return f"{count / factor:.3g}\N{NO-BREAK SPACE}{prefix}{unit}"
    return f"{count:.0f}\N{NO-BREAK SPACE}{unit}"
