"""``resnet-bench MODEL|SPEC``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import click

import resnet_compile as rc
from resnet_compile.cli.bench_scenario import scenario_listener
from resnet_compile.cli.bench_sweep import axes, run_sweep
from resnet_compile.cli.common import Report, command, means_spec, run
from resnet_compile.cli.parameters import COUNT, PATH, POSITIVE, batches, classes, device_option, percent, size
from resnet_compile.cli.progress import WorkProgress, progress
from resnet_compile.errors import OptionError
from resnet_compile.limits import MAX_THREADS


@command("resnet-bench")
@click.argument("models", metavar="MODEL|SPEC...", nargs=-1, required=True)
@device_option
@click.option(
    "--batch",
    callback=batches,
    metavar="N[,N...]",
    help="Batch size, or several to time in turn; by default the model's own, or 32.",
)
@click.option("--steps", type=COUNT, default=100, help="Timed runs.")
@click.option("--burn-in", type=click.IntRange(min=0), default=10, help="Untimed runs before the timed ones.")
@click.option(
    "--until",
    callback=percent,
    metavar="P%",
    help="Keep running until the 95 % interval of the median is no wider than this percentage of it.",
)
@click.option(
    "--scenario",
    type=click.Choice(["single", "multi", "offline", "server"]),
    help="Send queries as the MLPerf inference scenario of this name does.",
)
@click.option(
    "--duration",
    type=POSITIVE,
    metavar="SECONDS",
    help="With --scenario: its duration; below 600 it is marked as shortened.",
)
@click.option(
    "--rate",
    type=POSITIVE,
    metavar="QUERIES",
    help="Queries a second of --scenario server; by default the highest that pass.",
)
@click.option(
    "--latency-bound",
    type=POSITIVE,
    metavar="MS",
    help="With --scenario server: the latency bound, by default 15. Without a scenario: find the batch size with the "
    "most images a second that keeps 99 % of its runs within this bound.",
)
@click.option("--size", callback=size, metavar="HxW", help="Rows and columns of the images, instead of the specs' own.")
@click.option("--num-classes", callback=classes, metavar="N|none", help="Number of classes, instead of the specs' own.")
@click.option(
    "--sweep",
    "varied",
    multiple=True,
    callback=axes,
    metavar="NAME=V[,V...]",
    help="Time each value of depth, width (factors for a network's units and channels), size, dtype, batch or threads. "
    "Repeat the option to time every combination.",
)
@click.option("--csv", "table", type=PATH, help="Write a row for each measurement as soon as it is made.")
@click.option("--resume", is_flag=True, help="With --csv: skip the measurements that the file already holds.")
@click.option(
    "--devices",
    metavar="all|DEVICE[,DEVICE...]",
    help="Instead of --device: compare the devices, or all that work here, with errors beside the times.",
)
@click.option("--vs", multiple=True, metavar="MODEL|SPEC", help="Compare with this model or spec; may be repeated.")
@click.option(
    "--threads",
    type=click.IntRange(0, MAX_THREADS),
    default=0,
    help="Threads on the CPU; 0: one for each physical core.",
)
@click.option("--cuda-graph", is_flag=True, help="Record a run as a CUDA graph and replay it.")
@click.option(
    "--variant",
    multiple=True,
    metavar="WORD[+WORD...]",
    help="Compare the model with itself under another CUDA setting: tf32, nhwc, fused-bias, small-workspace or "
    "heuristic; may be repeated.",
)
@click.option("--cpu-fallback", is_flag=True, help="Accept a model even if the GPU leaves nodes to the CPU.")
@click.option("--flush", is_flag=True, help="Flush the last-level cache (on a GPU, L2) before every run.")
@click.option("--profile", is_flag=True, help="Show where the time goes, by operator, block and layer.")
@click.option("--html", type=PATH, help="Write the result as one self-contained page.")
def cli(
    report: Report,
    models: tuple[str, ...],
    device: str,
    batch: tuple[int, ...] | None,
    steps: int,
    burn_in: int,
    until: float | None,
    scenario: rc.bench.ScenarioName | None,
    duration: float | None,
    rate: float | None,
    latency_bound: float | None,
    size: tuple[int, int] | Literal["dynamic"] | None,
    num_classes: int | Literal["none"] | None,
    varied: dict[str, tuple[Any, ...]],
    table: Path | None,
    resume: bool,
    devices: str | None,
    vs: tuple[str, ...],
    threads: int,
    cuda_graph: bool,
    variant: tuple[str, ...],
    cpu_fallback: bool,
    flush: bool,
    profile: bool,
    html: Path | None,
) -> None:
    """Time the forward pass of MODEL, an ONNX file, or of SPEC, which is compiled in memory. With several of them, or
    with --sweep or --csv, the result is one table; its page shows the roofline of this machine.

    Inputs are random and in memory before a run begins. On CUDA, "device" means that inputs and outputs stay on the
    GPU; "host to host" includes copying them. Ctrl-C shows what was measured so far; the exit code is then 1.

    \b
    resnet-bench specs/resnet152.json
    resnet-bench model.onnx --batch 1,8,32 --profile --html bench.html
    resnet-bench model.onnx --vs other.onnx --batch 1
    resnet-bench model.onnx --devices all --batch 1
    resnet-bench model.onnx --scenario single --duration 60
    resnet-bench model.onnx --latency-bound 50
    resnet-bench resnet50 resnet101 --sweep width=1,2 --sweep batch=1,8 --csv runs.csv --html runs.html
    """  # noqa: D301  # click keeps a paragraph's line breaks after the backspace character itself
    # Deferred: --help and usage errors do not need it.
    from resnet_compile.report.bench_page import bench_page
    from resnet_compile.report.bench_text import bench_text

    if size == "dynamic":
        raise OptionError("size must be fixed for a benchmark, got dynamic", where="size")
    model, *others = models
    many = bool(others or varied or table)
    if resume and not table:
        raise click.UsageError("--resume needs --csv FILE")
    if many:
        what = "several models, --sweep or --csv"
        _refuse_beside(what, scenario=scenario, latency_bound=latency_bound, vs=vs, variant=variant, profile=profile)
        _refuse_beside(what, devices=devices)
    if scenario or latency_bound:
        what = "--scenario or --latency-bound"
        _refuse_beside(what, until=until, vs=vs, variant=variant, flush=flush, profile=profile, devices=devices)
    elif duration or rate:
        raise click.UsageError("--duration and --rate need --scenario")
    if rate and scenario != "server":
        raise click.UsageError("--rate needs --scenario server")
    if latency_bound and scenario not in (None, "server"):
        raise click.UsageError(f"--scenario {scenario} has no latency bound")
    if devices:
        given_device = None if device == "auto" else device
        _refuse_beside("--devices", device=given_device, vs=vs, variant=variant, until=until, profile=profile)
    if until and (vs or variant):
        raise click.UsageError("--until is for one model; --vs and --variant take --steps rounds")
    common = {
        "device": device,
        "batches": batch,
        "threads": threads,
        "cuda_graph": cuda_graph,
        "cpu_fallback": cpu_fallback,
        "log_severity": report.log_severity,
    }
    if scenario or latency_bound:
        given = {
            "seconds": duration,
            "rate": rate,
            "bound": latency_bound and latency_bound / 1e3,
        }
        wanted = rc.bench.ScenarioOptions(
            scenario=scenario, burn_in=burn_in, **common, **{name: value for name, value in given.items() if value}
        )
        _scenario(report, _subject(model, model, size, num_classes), wanted, html)
        return
    options = rc.bench.BenchOptions(
        protocol=rc.bench.Protocol(steps=steps, burn_in=burn_in, until=until), flush=flush, profile=profile, **common
    )
    if many:
        fixed: dict[str, tuple[Any, ...] | None] = {
            "size": (size,) if size else None,
            "batch": batch,
            "threads": (threads,) if threads else None,
        }
        given_twice = next((name for name, value in fixed.items() if value and name in varied), None)
        if given_twice:
            raise click.UsageError(f"--{given_twice} and --sweep {given_twice}=... exclude each other")
        chosen = {**varied, **{name: value for name, value in fixed.items() if value}}
        run_sweep(report, models, chosen, options, num_classes=num_classes, table=table, resume=resume, html=html)
        return
    with ExitStack() as stack:
        # Opened before hours of measuring, so that an unwritable path fails at once.
        page = stack.enter_context(rc.files.replacing(html)) if html else None
        subjects = [_subject(source, label, size, num_classes) for source, label in _labelled([model, *vs])]
        subjects += [replace(subjects[0], label=f"{model} {words}", variant=words) for words in dict.fromkeys(variant)]
        if devices:
            subjects = [
                replace(subjects[0], label=f"{model} on {name}", device=name) for name in _device_names(devices)
            ]
        # On a terminal the printed lines already show the progress.
        lines_are_seen = sys.stdout.isatty() and not report.as_json
        bar = stack.enter_context(nullcontext(WorkProgress()) if lines_are_seen else progress())
        result = rc.bench.bench(subjects, options, listener=_listener(report, bar, steps))
        if page:
            page.write(bench_page(result).encode())
    report.result(result.document(), lambda: bench_text(result))
    if result.interrupted:
        raise KeyboardInterrupt


def _refuse_beside(what: str, **given: object) -> None:
    for name, value in given.items():
        if value:
            raise click.UsageError(f"--{name.replace('_', '-')} does not go with {what}")


def _device_names(words: str) -> list[str]:
    """The devices by name; for ``all``, those that work here, the CPU first."""
    if words == "all":
        found = list(map(str, rc.runtime.usable_devices(rc.runtime.installed_backend())))
        if len(found) < 2:
            click.echo(f"only {found[0]} works here; resnet-doctor tells what the others lack", err=True)
        return found
    named = {name: rc.runtime.parse_device(name) for name in words.split(",")}
    if None in named.values() or len(named) < 2:
        raise OptionError(f"devices must be all, or two names or more, got {words!r}", where="devices")
    return list(named)


def _scenario(report: Report, model: rc.bench.Subject, options: rc.bench.ScenarioOptions, html: Path | None) -> None:
    """Runs a scenario, or the search for a batch size, and reports it."""
    # Deferred, as above.
    from resnet_compile.report.scenario_page import scenario_page
    from resnet_compile.report.scenario_text import scenario_text

    with ExitStack() as stack:
        page = stack.enter_context(rc.files.replacing(html)) if html else None
        bar = stack.enter_context(progress())
        result = rc.bench.run_scenario(model, options, listener=scenario_listener(report, bar))
        if page:
            page.write(scenario_page(result).encode())
    report.result(result.document(), lambda: scenario_text(result))
    if result.interrupted:
        raise KeyboardInterrupt


def _labelled(sources: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each source with its label: the source itself, numbered if it was given before."""
    for position, source in enumerate(sources):
        earlier = sources[:position].count(source)
        yield source, f"{source} ({earlier + 1})" if earlier else source


def _subject(
    source: str, label: str, size: tuple[int, int] | None, num_classes: int | Literal["none"] | None
) -> rc.bench.Subject:
    if means_spec(source):
        compiled = rc.compile(rc.load_spec(source), rc.CompileOptions(size=size, num_classes=num_classes))
        macs = _macs(compiled.plan, compiled.outputs)
        return rc.bench.Subject(label, compiled.to_proto().SerializeToString(), macs)
    if size or num_classes is not None:
        hint = f"{source} is a model; compile the spec with it"
        raise OptionError(f"{'--size' if size else '--num-classes'} is for specs, got a model", hint=hint)
    path = Path(source)
    read = rc.metadata.read_model(path)
    if read.metadata.spec is None:
        return rc.bench.Subject(label, path)
    plan = rc.plan_network(rc.parse_spec(read.metadata.spec))
    return rc.bench.Subject(label, path, _macs(plan, [*read.outputs]), plan.input.size)


def _macs(plan: rc.Plan, outputs: Sequence[str]) -> int | None:
    """The network's multiply-accumulates, if the outputs need all of it."""
    last = {plan.end_points[-1].name, f"{plan.name}/logits"}
    return plan.macs if last & set(outputs) else None


def _listener(report: Report, bar: WorkProgress, steps: int) -> rc.bench.BenchListener:
    """Prints the original benchmark's lines on stdout, unless --json was given, and moves the bar."""

    class Lines(rc.bench.BenchListener):
        def started(
            self, subject: rc.bench.Subject, session: rc.runtime.Session, shape: tuple[int, ...], data: str
        ) -> None:
            report.note(f"session of {subject.label}: {session.record()}")
            if not report.as_json:
                click.echo(f"{subject.label} on {session.device}, input {'x'.join(map(str, shape))}, data: {data}")
            bar.begin(steps)

        def round(self, number: int, seconds: Mapping[str, float]) -> None:
            line = rc.bench.protocol.step_line(number, next(iter(seconds.values()))) if len(seconds) == 1 else None
            if line and not report.as_json:
                click.echo(line)
            bar.reach(number + 1, "steps")

        def finished(self, rows: Sequence[rc.bench.Row]) -> None:
            for row in () if report.as_json else rows:
                name = f"{row.model}: " if len(rows) > 1 else ""
                click.echo(name + rc.bench.protocol.final_line(row.summary.mean, row.summary.sd, row.summary.count))

    return Lines()


main = partial(run, cli)
