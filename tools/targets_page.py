"""What `compare_targets.py` found, as Markdown, and whether it is what is asked of the compiler."""

from __future__ import annotations

from typing import Any

from bench_common import interval, markdown
from peers import MAKERS

BASE, PLAIN, OURS, INT8 = "portable", "no target", "cpu", "int8"
"""Labels of rows: what ratios are over, what the others were rewritten from, and what has to meet the demands."""
IMAGES = 32
"""For accuracy, and the larger batch."""
BATCHES = (1, IMAGES)


def shown(network: dict[str, Any]) -> list[tuple[str, str, bool | None]]:
    """What is asked of the compiler, what was measured, and whether that meets it; None where there is no figure."""
    rows = {each["label"]: each for each in network["contestants"]}

    def ratio(label: str, other: str) -> dict[str, float] | None:
        found = rows[label]["ratios"].get(1, {}) if label in rows else {}
        return found.get(other)

    demands: list[tuple[str, str, bool | None]] = []
    for peer in MAKERS:
        found = ratio(OURS, peer)
        text = f"float32 (`{OURS}`) against {peer}'s graph, batch 1: at most 1.02"
        demands.append((text, interval(found) if found else "-", found["median"] <= 1.02 if found else None))
    found = ratio(OURS, INT8)
    text = "float32 against int8, batch 1: at least 2.3"
    demands.append((text, interval(found) if found else "-", found["median"] >= 2.3 if found else None))
    error = rows[INT8]["accuracy"].get("logits_error")
    text = "int8's logits, relative error: under 3 %"
    demands.append((text, f"{error:.2%}" if error else "-", error < 0.03 if error else None))
    return demands


def page(document: dict[str, Any]) -> str:
    """The result as Markdown."""
    cpu = document["environment"]["cpu"]
    parts = [
        "# Targets and precisions on a CPU",
        f"`{document['command']}`, {document['environment']['time']}, {cpu['model']}, {document['threads']} threads, "
        f"load {cpu['load']} at the start, onnxruntime {document['onnxruntime']}. "
        "Ratios are medians of paired rounds with 95 % intervals: the row's time over that of the column's model, so "
        "less than 1 is faster. Errors are norms over norms against PyTorch in float64. Top-1 agreement is with that "
        "too; of random networks it says little, as their greatest logits lie close together.",
    ]
    for network in document["networks"]:
        rounds = ", ".join(f"{count} at batch {batch}" for batch, count in network["rounds"].items())
        parts += [
            f"## {network['network']}",
            f"Weights: {network['weights']}. Images: {network['images']}; int8 calibrated on {network['calibration']}. "
            f"Rounds: {rounds}. "
            "A/A control: "
            + ", ".join(f"{interval(one)} at batch {batch}" for batch, one in network["controls"].items()),
            markdown(SPEED, [_speed(each) for each in network["contestants"]]),
            markdown(SIZE, [_size(each) for each in network["contestants"]]),
            markdown(
                ("asked for", "measured", "met"),
                [
                    (text, value, {True: "yes", False: "no", None: "not measured"}[met])
                    for text, value, met in shown(network)
                ],
            ),
        ]
        for each in network["contestants"]:
            if each["kernels"].get("integer"):
                others = ", ".join(f"{count} {operator}" for operator, count in each["kernels"]["others"].items())
                parts.append(f"Not in integers in `{each['label']}`: {others}.")
        failed = [each for each in network["contestants"] if each["error"]]
        parts += [f"`{each['label']}` failed: {each['error']}" for each in failed]
    return "\n\n".join(parts) + "\n"


SPEED = (
    "",
    *(f"{what}, batch {batch}" for batch in BATCHES for what in ("ms", f"/ {BASE}", *(f"/ {p}" for p in MAKERS))),
)
SIZE = ("", "nodes", "kernels", "in integers", "file MB", "made in s", "logits error", "top-1 agreement")


def _speed(each: dict[str, Any]) -> list[str | None]:
    cells: list[str | None] = [each["label"]]
    for batch in BATCHES:
        found = each["ratios"].get(batch, {})
        cells.append(f"{each['milliseconds'][batch]:.1f}" if found else None)
        cells += [interval(found[label]) if label in found else None for label in (BASE, *MAKERS)]
    return cells


def _size(each: dict[str, Any]) -> list[object]:
    made, count, accuracy = each["made"] or {}, each["kernels"], each["accuracy"]
    return [
        each["label"],
        made.get("nodes"),
        count.get("count"),
        count.get("integer"),
        f"{made['file_mb']:.1f}" if made else None,
        f"{made['seconds']:.1f}" if made else None,
        f"{accuracy['logits_error']:.2g}" if accuracy else None,
        f"{accuracy['top1_agreement']:.0%}" if accuracy else None,
    ]
