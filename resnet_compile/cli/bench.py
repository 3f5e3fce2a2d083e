"""``resnet-bench MODEL|SPEC``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

import resnet_compile as rc
from resnet_compile.cli.bench_scenario import scenario_listener
from resnet_compile.cli.common import Report, command, means_spec, run
from resnet_compile.cli.parameters import COUNT, PATH, POSITIVE, batches, device_option, percent
from resnet_compile.cli.progress import WorkProgress, progress
from resnet_compile.limits import MAX_THREADS


@command("resnet-bench")
@click.argument("model", metavar="MODEL|SPEC")
@device_option
@click.option(
    "--batch",
    callback=batches,
    metavar="N[,N...]",
    help="Images at a time, or several sizes, one after the other; by default the model's own number, or 32.",
)
@click.option("--steps", type=COUNT, default=100, help="Timed runs.")
@click.option("--burn-in", type=click.IntRange(min=0), default=10, help="Runs before those.")
@click.option(
    "--until",
    callback=percent,
    metavar="P%",
    help="Run on until the median's 95 % interval is no wider than that.",
)
@click.option(
    "--scenario",
    type=click.Choice(["single", "multi", "offline", "server"]),
    help="Send queries as MLPerf inference's scenario of that name does.",
)
@click.option(
    "--duration", type=POSITIVE, metavar="SECONDS", help="Of a scenario; less than the rules' 600 is a shortened run."
)
@click.option(
    "--rate", type=POSITIVE, metavar="QUERIES", help="Queries a second of --scenario server; by default the most."
)
@click.option(
    "--latency-bound",
    type=POSITIVE,
    metavar="MS",
    help="Of --scenario server, by default 15; without a scenario, find the batch size that has the most images a "
    "second with 99 % of its runs within that.",
)
@click.option("--vs", multiple=True, metavar="MODEL|SPEC", help="Compare with this one; may be given several times.")
@click.option(
    "--threads", type=click.IntRange(0, MAX_THREADS), default=0, help="Threads on the CPU; 0 for one a physical core."
)
@click.option("--cuda-graph", is_flag=True, help="Let CUDA record a run and replay it.")
@click.option(
    "--variant",
    multiple=True,
    metavar="WORD[+WORD...]",
    help="Compare with itself as CUDA runs it otherwise: tf32, nhwc, fused-bias, small-workspace, heuristic; may be "
    "given several times.",
)
@click.option("--cpu-fallback", is_flag=True, help="Take a model too of which a GPU leaves some nodes to the CPU.")
@click.option("--flush", is_flag=True, help="Empty the last cache, a GPU's L2, before every run.")
@click.option("--profile", is_flag=True, help="Show where the time goes, by operator, block and layer.")
@click.option("--html", type=PATH, help="Write the result as one self-contained page.")
def cli(
    report: Report,
    model: str,
    device: str,
    batch: tuple[int, ...] | None,
    steps: int,
    burn_in: int,
    until: float | None,
    scenario: rc.bench.ScenarioName | None,
    duration: float | None,
    rate: float | None,
    latency_bound: float | None,
    vs: tuple[str, ...],
    threads: int,
    cuda_graph: bool,
    variant: tuple[str, ...],
    cpu_fallback: bool,
    flush: bool,
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
    resnet-bench model.onnx --scenario single --duration 60
    resnet-bench model.onnx --latency-bound 50
    """  # noqa: D301  # click's mark for text to leave as it is is the character, not the two letters
    # Deferred, so that --help and usage errors need nothing of it.
    from resnet_compile.report.bench_page import bench_page
    from resnet_compile.report.bench_text import bench_text

    if scenario or latency_bound:
        _refuse_beside_scenario(until=until, vs=vs, variant=variant, flush=flush, profile=profile)
    elif duration or rate:
        raise click.UsageError("--duration and --rate are of --scenario")
    if rate and scenario != "server":
        raise click.UsageError("--rate is of --scenario server")
    if latency_bound and scenario not in (None, "server"):
        raise click.UsageError(f"--scenario {scenario} has no latency bound")
    if until and (vs or variant):
        raise click.UsageError("--until is of one model; --vs and --variant take --steps rounds")
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
        _scenario(report, model, wanted, html)
        return
    options = rc.bench.BenchOptions(
        protocol=rc.bench.Protocol(steps=steps, burn_in=burn_in, until=until), flush=flush, profile=profile, **common
    )
    with ExitStack() as stack:
        # Before hours of measuring, so that a path that cannot be written is known at once.
        page = stack.enter_context(rc.files.replacing(html)) if html else None
        subjects = [_subject(source, label) for source, label in _labelled([model, *vs])]
        subjects += [replace(subjects[0], label=f"{model} {words}", variant=words) for words in dict.fromkeys(variant)]
        # The lines of a benchmark are its progress, where somebody sees them.
        lines_are_seen = sys.stdout.isatty() and not report.as_json
        bar = stack.enter_context(nullcontext(WorkProgress()) if lines_are_seen else progress())
        result = rc.bench.bench(subjects, options, listener=_listener(report, bar, steps))
        if page:
            page.write(bench_page(result).encode())
    report.result(result.document(), lambda: bench_text(result))
    if result.interrupted:
        raise KeyboardInterrupt


def _refuse_beside_scenario(**given: object) -> None:
    for name, value in given.items():
        if value:
            raise click.UsageError(f"--{name} is not of --scenario or --latency-bound")


def _scenario(report: Report, model: str, options: rc.bench.ScenarioOptions, html: Path | None) -> None:
    """Runs a scenario, or the search for a batch size, and reports it."""
    # Deferred, as above.
    from resnet_compile.report.scenario_page import scenario_page
    from resnet_compile.report.scenario_text import scenario_text

    with ExitStack() as stack:
        page = stack.enter_context(rc.files.replacing(html)) if html else None
        bar = stack.enter_context(progress())
        result = rc.bench.run_scenario(_subject(model, model), options, listener=scenario_listener(report, bar))
        if page:
            page.write(scenario_page(result).encode())
    report.result(result.document(), lambda: scenario_text(result))
    if result.interrupted:
        raise KeyboardInterrupt


def _labelled(sources: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The sources and what to call them: as they were given, told apart where they are the same."""
    for position, source in enumerate(sources):
        earlier = sources[:position].count(source)
        yield source, f"{source} ({earlier + 1})" if earlier else source


def _subject(source: str, label: str) -> rc.bench.Subject:
    if means_spec(source):
        compiled = rc.compile(rc.load_spec(source))
        macs = _macs(compiled.plan, compiled.outputs)
        return rc.bench.Subject(label, compiled.to_proto().SerializeToString(), macs)
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
    """Prints lines as the original's on stdout, unless the result is a document, and moves the bar."""

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
