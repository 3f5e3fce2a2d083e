"""Progress of long work on stderr: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import click


class WorkProgress:
    """Progress on a stderr that is not a terminal: lines, and the progress at intervals."""

    def __init__(self, seconds_between_lines: float = math.inf) -> None:
        self._between = seconds_between_lines

    def begin(self, total: int, done: int = 0) -> None:
        """Starts the clock at `done` of `total` steps."""
        self._total, self._first = total, done
        self._start = self._last = time.monotonic()

    def reach(self, done: int, words: str) -> None:
        """Reports the number of steps done, with a text about them."""
        now = time.monotonic()
        if now - self._last >= self._between:
            self._last = now
            seconds = (now - self._start) / (done - self._first) * (self._total - done)
            self.say(f"{words}, {timedelta(seconds=round(seconds))} left")

    def say(self, text: str) -> None:
        click.echo(text, err=True)


@contextmanager
def progress(seconds_between_lines: float = math.inf) -> Iterator[WorkProgress]:
    """A bar with lines above it on a terminal; elsewhere lines, and the progress at the given interval."""
    if not sys.stderr.isatty():
        yield WorkProgress(seconds_between_lines)
        return
    # Deferred: only the bar needs it.
    from rich import progress as parts
    from rich.console import Console
    from rich.text import Text

    columns = (
        *(parts.BarColumn(), parts.MofNCompleteColumn()),
        *(parts.TextColumn("{task.description}"), parts.TimeRemainingColumn()),
    )
    with parts.Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task("", total=None)

        class Bar(WorkProgress):
            def begin(self, total: int, done: int = 0) -> None:
                bar.reset(task, total=total, completed=done)

            def reach(self, done: int, words: str) -> None:
                bar.update(task, completed=done, description=words)

            def say(self, text: str) -> None:
                bar.console.print(Text(text), soft_wrap=True)

        yield Bar()
