"""The style and the building blocks of all pages."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape

from resnet_compile.report.svg import SERIES, element, number, series
from resnet_compile.report.table import Cell

_STYLE = """
:root { color-scheme: light dark; --page: #f7f7f5; --card: #ffffff; --ink: #1d1d1b; --soft: #6b6b66; --rule: #e3e3de;
  --s0: #2f6fd0; --s1: #d9662b; --s2: #1f8f6b; --s3: #a04fb3; --s4: #b08a12; --s5: #c23b5b; --quiet: #8f8f89;
  --warn: #9a5b00; --warnpage: #fff4e0; }
@media (prefers-color-scheme: dark) { :root { --page: #151617; --card: #1e2022; --ink: #ececea; --soft: #a3a39e;
  --rule: #34373a; --s0: #6aa4f5; --s1: #f0905a; --s2: #4fc29b; --s3: #c98ad8; --s4: #d9b847; --s5: #ee7d97;
  --quiet: #85888b; --warn: #f0b45a; --warnpage: #33290f; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 900px; margin: 0 auto; padding: 40px 20px 64px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 0 0 2px; } .scroll + h2, .narrow + h2 { margin-top: 20px; }
p { margin: 0 0 12px; color: var(--soft); }
section { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 20px 24px;
  margin-top: 16px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin-top: 20px; }
.tile { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 14px 18px; }
.tile b { display: block; font-size: 26px; font-weight: 600; line-height: 1.2; }
.tile span, .tick { color: var(--soft); fill: var(--soft); }
.note { background: var(--warnpage); color: var(--warn); border-radius: 8px; padding: 10px 14px; margin-top: 16px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 0 0 8px; color: var(--soft); }
.legend i { display: inline-block; width: 10px; height: 10px; border-radius: 3px; margin-right: 6px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 500; color: var(--soft); }
th, td { padding: 6px 10px 6px 0; border-bottom: 1px solid var(--rule); vertical-align: top; }
tr:last-child td { border-bottom: 0; }
th.n, td.n { text-align: right; white-space: nowrap; }
td:first-child { overflow-wrap: anywhere; } .many td:not(:first-child) { white-space: nowrap; }
.many td:first-child { overflow-wrap: break-word; min-width: 7em; }
.units th.n { white-space: normal; } .units tbody th { color: var(--ink); }
.units tr:last-child th { border-bottom: 0; } .units small { display: block; color: var(--soft); font-weight: 400; }
.units span { display: block; padding-bottom: 4px;
  background: linear-gradient(var(--c), var(--c)) no-repeat 0 100% / var(--w, 0) 3px; }
.units .s0 { --c: var(--s0); } .units .s1 { --c: var(--s1); } .touch { fill: transparent; }
.units .level1 > * { background: var(--page); font-weight: 600; } .units .level3 > th { padding-left: 16px; }
.pairs td:first-child { min-width: 7em; }
.narrow { display: none; }
svg { display: block; width: 100%; height: auto; margin-top: 8px; font: 12px system-ui, sans-serif; overflow: visible; }
svg .label { fill: var(--ink); } svg .value { fill: var(--soft); white-space: pre; font-variant-numeric: tabular-nums; }
.grid, .base { stroke: var(--rule); } .mark { stroke: var(--ink); stroke-dasharray: 3 3; opacity: .7; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; } .dot { stroke: var(--card); stroke-width: 1.5; }
@media (max-width: 640px) { main { padding: 20px 10px 40px; } section { padding: 14px 12px; } h1 { font-size: 21px; }
  .tiles { grid-template-columns: 1fr 1fr; } .tile { padding: 10px 12px; } .tile b { font-size: 20px; }
  .wide { display: none; } .narrow { display: block; } svg { max-width: 480px; }
  td:first-child { overflow-wrap: break-word; min-width: 7em; }
  .many thead { display: none; } .many tr { display: block; padding: 8px 0; border-bottom: 1px solid var(--rule); }
  .many td, .many td.n { display: flex; justify-content: space-between; border: 0; padding: 1px 0; }
  .many td:not(:first-child)::before, .many td.n::before { content: attr(data-name); color: var(--soft); }
  .many td:first-child { font-weight: 600; } .many td::before { font-weight: 400; }
  table:not(.many) td.n, th.n { white-space: normal; overflow-wrap: anywhere; }
  .units { font-size: 13px; } .units th { display: block; border: 0; padding-bottom: 0; }
  .units td::before { margin-right: auto; white-space: normal; text-align: left; }
  .units td span { width: 6.5em; flex: none; margin-left: 8px; align-self: start; }
  .pairs tr { display: block; padding: 6px 0; border-bottom: 1px solid var(--rule); }
  .pairs td { display: block; border: 0; padding: 0; overflow-wrap: anywhere; }
  .pairs td:first-child { color: var(--soft); } }
@media print { .wide { display: block; } .narrow { display: none; }
  :root { --page: #fff; --card: #fff; --ink: #000; --soft: #444; --rule: #bbb; }
  main { max-width: none; padding: 0; }
  table { font-size: 11px; } .scroll { overflow: visible; }
  section, .tile, svg, tr { break-inside: avoid; } h2 { break-after: avoid; }
  .bar, .dot, .legend i, .units span { print-color-adjust: exact; } }
"""
_COLOURS = "".join(
    f".bar.{name}, .dot.{name} {{ fill: var(--{name}); }} .line.{name} {{ stroke: var(--{name}); }} "
    f"i.{name} {{ background: var(--{name}); }}\n"
    for name in (*(series(position) for position in range(SERIES)), "quiet")
)


_MOST_COLUMNS = 4
"""The most columns that fit on a narrow page."""


def page(heading: str, *body: str) -> str:
    """A self-contained HTML page."""
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(heading)}</title><style>{_STYLE}{_COLOURS}</style>"
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{element("main", *body)}</body></html>\n'


def section(heading: str, explanation: str, *content: str) -> str:
    """A card: a heading, a line of explanation, and contents."""
    words = [element("p", escape(explanation))] if explanation else []
    return element("section", element("h2", escape(heading)), *words, *content)


def note(text: str) -> str:
    """A highlighted line."""
    return element("div", escape(text), cls="note")


def tiles(figures: Sequence[tuple[str, str]]) -> str:
    """Large figures, each with its label."""
    tile = (element("div", element("b", escape(a)), element("span", escape(b)), cls="tile") for a, b in figures)
    return element("div", *tile, cls="tiles")


def legend(styles: dict[str, str]) -> str:
    """The legend: the colour of each name. Empty for a single name."""
    if len(styles) < 2:
        return ""
    return element(
        "div",
        *(element("span", element("i", cls=style), escape(name)) for name, style in styles.items()),
        cls="legend",
    )


def table(header: Sequence[str], rows: Sequence[Sequence[Cell]], words: Collection[int] = (0,)) -> str:
    """A table. With a header, all columns except `words` are aligned as numbers; None is a dash.

    On a narrow page, a row with many columns becomes one line for each column, led by the column's name.
    """
    many = len(header) > _MOST_COLUMNS - (0 in words)  # a column of words is wider than one of numbers

    def cells(tag: str, row: Sequence[Cell]) -> str:
        texts = ("–" if cell is None else cell if isinstance(cell, str) else number(cell) for cell in row)
        return "".join(
            element(
                tag,
                escape(cell),
                cls="n" if header and column not in words else None,
                data_name=header[column] if many and tag == "td" else None,
            )
            for column, cell in enumerate(texts)
        )

    head = [element("thead", element("tr", cells("th", header)))] if header else []
    body = element("tbody", *(element("tr", cells("td", row)) for row in rows))
    style = "many" if many else None if header else "pairs"
    return element("div", element("table", *head, body, cls=style), cls="scroll")
