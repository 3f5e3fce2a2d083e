"""Draws the README's picture: seconds and memory to make the same models here and with the exporters.

    python tools/draw_peers.py

It reads ``tools/results/peers_cpu.json`` and writes ``peers.svg`` beside it.
"""

import json
import math
from pathlib import Path
from typing import Any

from resnet_compile.report.svg import element, text

RESULTS = Path(__file__).resolve().parent / "results"
WIDTH, BAND, LEFT, RIGHT = 760, 22, 190, 640
MEASURES = (("seconds", "s"), ("peak_mb", "MB"))
COLOURS = {"resnet-compile": "#2f6fd0"}
OTHER = "#b8bcc2"


def main() -> None:
    """Writes the file."""
    networks = json.loads((RESULTS / "peers_cpu.json").read_text())["networks"]
    y, parts = 14.0, []
    for key, unit in MEASURES:
        for network in networks:
            rows = {name: made[key] for name, made in network["making"].items()}
            parts.append(text(f"{network['network']}, {'time' if unit == 's' else 'peak memory'}", 8, y + 10))
            y += BAND
            for name, value in rows.items():
                parts.extend(bar(name, value, unit, y, max(rows.values())))
                y += BAND
            y += 8
    style = element("style", "text { font: 13px system-ui, sans-serif; fill: #6b6b66; }")
    drawing = element("svg", style, *parts, xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {WIDTH} {math.ceil(y)}")
    (RESULTS / "peers.svg").write_text(f"{drawing}\n")


def bar(name: str, value: float, unit: str, y: float, greatest: float) -> list[Any]:
    """A maker's name, a bar as long as its value, and the value."""
    width = max(2.0, (RIGHT - LEFT) * value / greatest)
    colour = COLOURS.get(name, OTHER)
    shape = element("rect", x=LEFT, y=y - 1, width=width, height=BAND - 6, rx=2.0, fill=colour)
    shown = f"{value:.1f}" if value < 100 else f"{value:,.0f}"
    return [
        text(name, LEFT - 8, y + 11, anchor="end"),
        shape,
        text(f"{shown} {unit}", LEFT + width + 8, y + 11),
    ]


if __name__ == "__main__":
    main()
