"""``resnet-bench MODEL|SPEC``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from resnet_compile.cli.common import Report, command, means_spec, run
from resnet_compile.limits import MAX_BATCH

if TYPE_CHECKING:
    from resnet_compile.bench import BenchListener, Subject
    from resnet_compile.bench.record import Data, Row
    from resnet_compile.plan import Plan
    from resnet_compile.runtime import Session


def _batches(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """``N``, or several numbers separated by commas."""
    if value is None:
        return None
    sizes = tuple(int(text) if text.isdecimal() and len(text) < 20 else 0 for text in value.split(","))
    if not all(1 <= size <= MAX_BATCH for size in sizes):
        raise click.BadParameter(f"{value!r} is not one or more numbers from 1 to {MAX_BATCH}, separated by commas")
    return tuple(dict.fromkeys(sizes))


@command("resnet-bench")
@click.argument("model", metavar="MODEL|SPEC")
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda|cuda:N", help="Where to run.")
@click.option(
    "--batch",
    callback=_batches,
    metavar="N[,N...]",
    help="Images at a time, or several sizes, one after the other; by default the model's own number, or 32.",
)
@click.option("--steps", type=click.IntRange(min=1), default=100, show_default=True, help="Timed runs.")
@click.option("--burn-in", type=click.IntRange(min=0), default=10, show_default=True, help="Runs before those.")
@click.option("--vs", multiple=True, metavar="MODEL|SPEC", help="Compare with this one; may be given several times.")
@click.option(
    "--threads",
    type=click.IntRange(0, 4096),
    default=0,
    show_default=True,
    help="Threads on the CPU; 0 for one a physical core.",
)
@click.option("--cuda-graph", is_flag=True, help="Let CUDA record a run and replay it.")
@click.option("--profile", is_flag=True, help="Show where the time goes, by operator and by block.")
@click.option("--html", type=click.Path(path_type=Path), help="Write the result as one self-contained page.")
def cli(
    report: Report,
    model: str,
    device: str,
    batch: tuple[int, ...] | None,
    steps: int,
    burn_in: int,
    vs: tuple[str, ...],
    threads: int,
    cuda_graph: bool,
    profile: bool,
    html: Path | None,
) -> None:
    """Time the forward pass of MODEL, an ONNX file, or of SPEC, which is compiled in memory.

    Inputs are random and lie in place before a run begins. On CUDA, "device" has inputs and outputs there; "host to
    host" includes their copies. Ctrl-C shows what was measured so far; the exit code is then 1.

    \b
    resnet-bench specs/resnet152.json
    resnet-bench model.onnx --batch 1,8,32 --profile --html bench.html
    resnet-bench model.onnx --vs other.onnx --batch 1
    """  # noqa: D301  # click's mark for text to leave as it is is the character, not the two letters
    # Deferred, so that --help and usage errors need none of it.
    from resnet_compile.bench import BenchOptions, Protocol, bench
    from resnet_compile.files import replacing
    from resnet_compile.report.bench_page import bench_page
    from resnet_compile.report.bench_text import bench_text

    options = BenchOptions(
        device=device,
        batches=batch,
        protocol=Protocol(steps=steps, burn_in=burn_in),
        threads=threads,
        cuda_graph=cuda_graph,
        profile=profile,
        log_severity="warning" if report.verbose else "fatal",
    )
    with ExitStack() as stack:
        # Before hours of measuring, so that a path that cannot be written is known at once.
        page = stack.enter_context(replacing(html)) if html else None
        subjects = [_subject(source, label) for source, label in _labelled([model, *vs])]
        with _progress(report, steps) as listener:
            result = bench(subjects, options, listener=listener)
        if page:
            page.write(bench_page(result).encode())
    report.result(result.document(), lambda: bench_text(result))
    if result.interrupted:
        raise KeyboardInterrupt


def _labelled(sources: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The sources and what to call them: as they were given, told apart where they are the same."""
    for position, source in enumerate(sources):
        earlier = sources[:position].count(source)
        yield source, f"{source} ({earlier + 1})" if earlier else source


def _subject(source: str, label: str) -> Subject:
    from resnet_compile.bench import Subject
    from resnet_compile.compiler import compile as compile_network
    from resnet_compile.metadata import read_model
    from resnet_compile.plan import plan_network
    from resnet_compile.spec import load_spec, parse_spec

    if means_spec(source):
        compiled = compile_network(load_spec(source))
        return Subject(label, compiled.to_proto().SerializeToString(), _macs(compiled.plan, compiled.outputs))
    path = Path(source)
    read = read_model(path)
    if read.metadata.spec is None:
        return Subject(label, path)
    plan = plan_network(parse_spec(read.metadata.spec))
    return Subject(label, path, _macs(plan, [*read.outputs]), (plan.input.height, plan.input.width))


def _macs(plan: Plan, outputs: Sequence[str]) -> int | None:
    """The network's multiply-accumulates, if the outputs need all of it."""
    last = {plan.end_points[-1].name, f"{plan.name}/logits"}
    return plan.macs if last & set(outputs) else None


@contextmanager
def _progress(report: Report, steps: int) -> Iterator[BenchListener]:
    """Lines as the original's on stdout, unless the result is a document; a bar where nobody sees those lines."""
    from resnet_compile.bench import BenchListener
    from resnet_compile.bench.protocol import final_line, step_line

    class Lines(BenchListener):
        def started(self, subject: Subject, session: Session, shape: tuple[int, ...], data: Data) -> None:
            report.note(f"session of {subject.label}: {session.record()}")
            if not report.as_json:
                click.echo(f"{subject.label} on {session.device}, input {'x'.join(map(str, shape))}, data: {data}")

        def round(self, number: int, seconds: Mapping[str, float]) -> None:
            line = step_line(number, next(iter(seconds.values()))) if len(seconds) == 1 else None
            if line and not report.as_json:
                click.echo(line)

        def finished(self, rows: Sequence[Row]) -> None:
            for row in () if report.as_json else rows:
                name = f"{row.model}: " if len(rows) > 1 else ""
                click.echo(name + final_line(row.summary.mean, row.summary.sd, row.summary.count))

    lines = Lines()
    if not sys.stderr.isatty() or (sys.stdout.isatty() and not report.as_json):
        yield lines
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task("steps", total=steps)

        class Bar(Lines):
            def round(self, number: int, seconds: Mapping[str, float]) -> None:
                super().round(number, seconds)
                bar.update(task, completed=number + 1)

        yield Bar()


def main() -> None:
    """The console entry point."""
    run(cli)
