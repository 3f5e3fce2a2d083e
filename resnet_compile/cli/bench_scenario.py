"""``resnet-bench --scenario``, and ``--latency-bound`` without one."""

from __future__ import annotations

import resnet_compile as rc
from resnet_compile.cli.common import Report
from resnet_compile.cli.progress import WorkProgress


def scenario_listener(report: Report, bar: WorkProgress) -> rc.bench.ScenarioListener:
    """Moves the bar, and with -v reports on stderr which queries are sent."""

    class Listener(rc.bench.ScenarioListener):
        _seconds: float | None = None

        def started(self, session: rc.runtime.Session, shape: tuple[int, ...], data: str) -> None:
            report.note(f"session: {session.record()}")

        def sending(self, what: str, seconds: float | None) -> None:
            report.note(what if seconds is None else f"{what}, {seconds:.0f} s")
            self._seconds = seconds
            # A search for the batch size has no duration: it needs at least 459 queries for a verdict.
            bar.begin(max(1, round(seconds)) if seconds else rc.bench.SCENARIOS["server"].queries)

        def answered(self, count: int, now: float) -> None:
            if self._seconds:
                bar.reach(min(round(now), round(self._seconds)), "s")
            else:
                bar.reach(count, "queries")

    return Listener()
