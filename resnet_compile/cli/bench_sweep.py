"""``resnet-bench`` over many networks, and ``--sweep``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import click

import resnet_compile as rc
from resnet_compile.cli.common import Report
from resnet_compile.cli.parameters import batches, size
from resnet_compile.cli.progress import progress
from resnet_compile.errors import ResnetCompileError

_Parse = Callable[[click.Context, click.Parameter, str], Any]


def _factor(ctx: click.Context, param: click.Parameter, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a number, such as 0.5") from None


def _size(ctx: click.Context, param: click.Parameter, text: str) -> Any:
    if text == "dynamic":
        raise click.BadParameter("size must be fixed for a benchmark, got dynamic")
    return size(ctx, param, text)


def _threads(ctx: click.Context, param: click.Parameter, text: str) -> int:
    if not text.isdecimal():
        raise click.BadParameter(f"{text!r} is not a number of threads")
    return int(text)


_AXES: dict[str, _Parse] = {
    "depth": _factor,
    "width": _factor,
    "size": _size,
    "batch": lambda ctx, param, text: (batches(ctx, param, text) or (0,))[0],
    "dtype": lambda ctx, param, text: text,
    "threads": _threads,
}


def axes(ctx: click.Context, param: click.Parameter, given: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """The values of each axis, by its name, from ``NAME=VALUE,VALUE...``."""
    found: dict[str, tuple[Any, ...]] = {}
    for text in given:
        name, equals, values = text.partition("=")
        if name not in _AXES or not (equals and values):
            raise click.BadParameter(f"{text!r} is not NAME=VALUE,VALUE... with a name of {', '.join(_AXES)}")
        if name in found:
            raise click.BadParameter(f"{name} is given twice")
        found[name] = tuple(dict.fromkeys(_AXES[name](ctx, param, value) for value in values.split(",")))
    return found


def run_sweep(
    report: Report,
    networks: Sequence[str],
    varied: dict[str, tuple[Any, ...]],
    options: rc.bench.BenchOptions,
    *,
    num_classes: int | Literal["none"] | None,
    table: Path | None,
    resume: bool,
    html: Path | None,
) -> None:
    """Times the networks at every combination of the axes' values, and reports the result."""
    # Deferred: other benchmarks do not need it.
    from resnet_compile.report.sweep_page import row_name, sweep_page, sweep_text

    with ExitStack() as stack:
        page = stack.enter_context(rc.files.replacing(html)) if html else None
        bar = stack.enter_context(progress())

        class Listener(rc.sweep.SweepListener):
            _done = 0

            def started(self, total: int, done: int) -> None:
                bar.begin(total, done)
                self._done = done
                if done:
                    bar.say(f"{done} of {total} measurements are there already")

            def measured(self, row: rc.sweep.Row) -> None:
                self._done += 1
                bar.reach(self._done, "measurements")
                if row["error"]:
                    bar.say(f"{row_name(row)}: {row['error']}")
                else:
                    report.note(
                        f"{row_name(row)}: {row['p50_s'] * 1e3:.4g} ms, {row['images_per_second']:.4g} images/s"
                    )

        result = rc.sweep.sweep(
            networks,
            rc.sweep.Axes(**varied),
            options,
            num_classes=num_classes,
            table=table,
            resume=resume,
            roofs=page is not None or report.as_json,
            listener=Listener(),
        )
        if page:
            page.write(sweep_page(result).encode())
    report.result(result.document(), lambda: sweep_text(result))
    if result.interrupted:
        raise KeyboardInterrupt
    if result.failed:
        raise ResnetCompileError(f"{len(result.failed)} of {len(result.rows)} measurements could not be made")
