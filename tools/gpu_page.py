"""What `gpu_bench.py` found, as Markdown, beside what `gpu_predictions.py` expected."""

from __future__ import annotations

from typing import Any

import numpy as np
from bench_common import markdown
from gpu_predictions import CLAIMS, MOST_ERROR, REASONS


def page(document: dict[str, Any]) -> str:
    """The result as Markdown."""
    machine = document.get("machine", {"gpu": None, "packages": {}})
    place = f"{machine['gpu']['name']}, driver {machine['gpu']['driver']}" if machine["gpu"] else document["device"]
    found = [f"{name} {version}" for name, version in machine["packages"].items() if name.startswith("onnxruntime")]
    found += [f"torch {version}" for version in {row["torch"] for row in document["rows"] if "torch" in row}]
    parts = ["# On a GPU", f"{document['environment']['time']}, {place}, {', '.join(found)}."]
    if document["device"] == "cpu":
        parts.append("**A trial of the script without a GPU: these figures mean nothing.**")
    parts.append(
        "Milliseconds of one forward pass with its data on the device, median and 95 % interval. Errors of logits are "
        "norms over norms against float32 on the CPU. Predictions were written before the first run on a GPU. "
        f'PyTorch: channels last, `torch.compile(mode="{document["torch_mode"]}")`. Images: {document["images"]}.'
    )
    if document["checks"]:
        parts += ["## Whether it is right", "Every end point against float32 on the CPU.", _checks(document["checks"])]
    for network in dict.fromkeys(row["network"] for row in document["rows"]):
        for batch in dict.fromkeys(row["batch"] for row in document["rows"]):
            rows = [row for row in document["rows"] if (row["network"], row["batch"]) == (network, batch)]
            parts += [f"## {network}, batch {batch}", _times(rows), _claims(rows, batch)]
    parts += ["## Why", markdown(("rows", "reason"), list(REASONS.items()))]
    if document["training"]:
        parts += ["## Training steps", _training(document["training"])]
    if document["commands"]:
        header = ("command", "exit code", "expected")
        rows = [(f"`{one['command']}`", one["exit_code"], one["expected"]) for one in document["commands"]]
        parts += ["## Commands", markdown(header, rows)]
    parts += [f"- {failure}" for failure in document.get("failures", ())]
    return "\n\n".join(parts) + "\n"


def _number(value: float | None, form: str = ".3f") -> str | None:
    return None if value is None else format(value, form)


def _checks(rows: list[dict[str, Any]]) -> str:
    table = [
        (
            f"{row['network']}, {row['label']}",
            row.get("end_points"),
            _number(row.get("worst"), ".1e"),
            row.get("error") or "right",
        )
        for row in rows
    ]
    return markdown(("", "end points", "worst error", ""), table)


def _times(rows: list[dict[str, Any]]) -> str:
    """What came out, fastest first, beside what was expected; what failed last."""
    compiled = next((row.get("ms") for row in rows if row["case"]["engine"] == "compiled"), None)
    table = []
    for row in sorted(rows, key=lambda row: row.get("ms", np.inf)):
        ms, predicted = row.get("ms"), row["predicted_ms"]
        limit = MOST_ERROR[row["case"]["precision"]]
        error = row.get("logits_error")
        table.append(
            (
                row["label"],
                f"{ms:.3f} [{row['low_ms']:.3f}, {row['high_ms']:.3f}]" if ms else row["error"],
                _number(predicted),
                _number(ms / predicted, ".2f") if ms and predicted else None,
                _number(row["batch"] / ms * 1e3, ".0f") if ms else None,
                _number(ms / compiled, ".2f") if ms and compiled else None,
                (ms and row.get("error"))
                if error is None
                else f"{error:.1e}{'' if error <= limit else ' (too large)'}",
                _number(row.get("top1_agreement"), ".0%"),
                " + ".join(
                    f"{count} {name.removesuffix('ExecutionProvider')}" for name, count in row.get("nodes", {}).items()
                ),
            )
        )
    header = (
        "",
        "ms",
        "predicted",
        "over predicted",
        "images/s",
        "over torch.compile",
        "logits error",
        "top-1",
        "nodes",
    )
    return markdown(header, table)


def _claims(rows: list[dict[str, Any]], batch: int) -> str:
    times = {row["label"]: row["ms"] for row in rows if "ms" in row}
    table = []
    for claim in CLAIMS:
        predicted = claim.predicted.get(batch)
        known = claim.row in times and claim.over in times
        outcome = f"{times[claim.row] / times[claim.over]:.2f}" if known else "not measured"
        table.append((f"{claim.row} over {claim.over}", predicted, outcome, claim.why))
    return markdown(("ratio", "predicted", "outcome", "reason"), table)


def _training(rows: list[dict[str, Any]]) -> str:
    table = [
        (
            f"{row['network']}, batch {row['batch']}, {row['precision']}",
            _number(row.get("ms"), ".2f") or row["error"],
            _number(row["predicted_ms"], ".1f"),
            row["why"],
            _number(row.get("loss"), ".6f"),
            _number(row.get("loss_on_cpu"), ".6f"),
            _number(row.get("update_error"), ".1e"),
            f"{row['worst_update_error']:.1e} {row['worst_variable']}" if "ms" in row else None,
        )
        for row in rows
    ]
    header = ("", "ms", "predicted", "reason", "loss", "on the CPU", "error of the update", "worst variable's")
    return markdown(header, table)
