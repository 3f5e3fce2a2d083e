"""Keeps what `resnet-bench --scenario ... --json` printed without its raw latencies, and writes the table of it.

    python tools/scenarios_page.py tools/results/scenarios_cpu resnet50_single.json resnet50_multi.json ...

Writes OUTPUT.json, the documents as they are but for the latencies, and OUTPUT.md.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

HEADER = ("network", "scenario", "batch", "result", "queries", "images/s", "p50 ms", "p90 ms", "p99 ms", "load", "less")


def kept(document: dict[str, Any]) -> dict[str, Any]:
    """The document without the latencies, of which the statistics stay."""
    trials = [{key: value for key, value in each.items() if key != "latencies"} for each in document["trials"]]
    return {**document, "trials": trials}


def row(document: dict[str, Any]) -> list[str]:
    """A line of the table: of a search for a batch size the trial that won, or the last."""
    told = [each for each in document["trials"] if each["holds"]] or document["trials"][-1:]
    trial = max(told, key=lambda each: each["images_per_second"])
    result, found = document["result"], trial["statistics"]
    factor, unit = (1e3, " ms") if result["unit"] == "s" else (1.0, "")
    value = f"none: {result['missing']}" if result["value"] is None else f"{factor * result['value']:.1f}{unit}"
    loads = [trial["conditions"][when]["load"] for when in ("cpu_before", "cpu_after")]
    return [
        document["model"],
        document["scenario"] or f"within {1e3 * trial['bound']:g} ms",
        str(trial["batch"]),
        f"{result['name']}: {value}",
        f"{found['count']:,}",
        f"{trial['images_per_second']:.1f}",
        *(percentile(found, name) for name in ("p50", "p90", "p99")),
        f"{loads[0]:.1f} to {loads[1]:.1f}",
        "; ".join(document["shortened"]),
    ]


def percentile(found: dict[str, Any], name: str) -> str:
    """A percentile with its interval, in ms; a dash where the queries are too few for it."""
    if found[name] is None or name not in found["intervals"]:
        return "-"
    low, high = found["intervals"][name]
    return f"{1e3 * found[name]:.1f} [{1e3 * low:.1f}, {1e3 * high:.1f}]"


def table(documents: list[dict[str, Any]]) -> str:
    """The table, in Markdown."""
    lines = [HEADER, ["---"] * len(HEADER), *map(row, documents)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def main() -> None:
    """Parses the command line and writes both files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("documents", nargs="+", type=Path)
    given = parser.parse_args()
    documents = [kept(json.loads(path.read_text())) for path in given.documents]
    given.output.with_suffix(".json").write_text(json.dumps(documents, indent=1) + "\n")
    given.output.with_suffix(".md").write_text(table(documents))


if __name__ == "__main__":
    main()
