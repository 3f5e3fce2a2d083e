"""Reference data of MLCommons' load generator, for tests/bench: writes tests/golden/loadgen.json.

    pip install mlcommons-loadgen==6.0.17
    python tools/golden_loadgen.py

The system under test waits for a while that is drawn anew for each query. Latencies are the load generator's, in whole
nanoseconds, with its own statistics of them; arrivals are those that it drew for its Poisson process.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import time
from pathlib import Path

import numpy as np
from loadgen import Log, drive

PLACE = Path(__file__).parents[1] / "tests" / "golden" / "loadgen.json"
PERCENTILES = ("50.00", "90.00", "95.00", "97.00", "99.00", "99.90")


def figures(log: Log) -> dict[str, object]:
    """A summary's figures beside the latencies that they are of."""
    estimates = re.findall(r"Early stopping (\d+)\.\d+th percentile estimate: (\d+)", log.summary)
    return {
        "percentiles": {name: log.figure(rf"\n{name} percentile latency \(ns\)\s*:") for name in PERCENTILES},
        "mean": log.figure(r"Mean latency \(ns\)\s*:"),
        "early_stopping": {percentile: int(value) for percentile, value in estimates},
        "discarded": log.figure("Would discard"),
        "latencies": log.latencies,
    }


def discarded(queries: int) -> int | None:
    """How many of so many queries early stopping drops, of the 90th percentile; None: they are too few."""
    log = drive("single", lambda samples: None, max_query_count=queries, min_query_count=queries, min_duration_ms=0)
    return log.figure("Would discard")


def late(count: int, queries: int) -> dict[str, int | None]:
    """What a server is told whose first queries are late: how many more it needs, None where it passes."""
    seen = [0]

    def answer(samples: list[int]) -> None:
        seen[0] += len(samples)
        if seen[0] <= count:
            time.sleep(0.03)

    log = drive(
        "server",
        answer,
        server_target_qps=150.0,
        server_target_latency_ns=25_000_000,
        min_duration_ms=0,
        min_query_count=queries,
        max_query_count=queries,
    )
    bound = sum(latency > 25_000_000 for latency in log.latencies)
    return {"queries": queries, "late": bound, "more": log.figure("Would need to run at least")}


def main() -> None:
    """Runs the load generator and writes the file."""
    generator = np.random.default_rng(0)

    def answer(samples: list[int]) -> None:
        time.sleep(0.0002 * float(np.exp(generator.normal(0, 0.5))))

    streams = {
        name: figures(
            drive(
                name,
                answer,
                min_duration_ms=0,
                min_query_count=700,
                max_query_count=700,
                multi_stream_target_latency_percentile=0.99,
            )
        )
        for name in ("single", "multi")
    }
    server = drive("server", lambda samples: None, server_target_qps=400.0, min_duration_ms=500, min_query_count=1)
    document = {
        "source": f"mlcommons-loadgen {importlib.metadata.version('mlcommons-loadgen')}, by tools/golden_loadgen.py",
        "streams": streams,
        "discarded": {str(n): discarded(n) for n in (63, 64, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)},
        "late": [late(count, queries) for count, queries in ((0, 400), (0, 459), (1, 600), (3, 900), (5, 1_400))],
        "arrivals": {
            "rate": 400.0,
            "seconds": 0.5,
            "nanoseconds": [round(1e3 * (at - server.scheduled[0])) for at in server.scheduled],
        },
    }
    PLACE.write_text(json.dumps(document, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
