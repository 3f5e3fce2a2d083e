"""``resnet-inspect SPEC|MODEL|CHECKPOINT``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resnet_compile.cli.common import Report, command, means_spec, run

if TYPE_CHECKING:
    from resnet_compile.plan import Plan, Summary
    from resnet_compile.spec import NetworkSpec


@command("resnet-inspect")
@click.argument("source", required=False)
@click.argument("other", required=False)
@click.option("--layers", is_flag=True, help="Show every unit and layer, not only the blocks.")
@click.option("--catalogue", is_flag=True, help="Show the networks that come with this package, instead of a source.")
def cli(report: Report, source: str | None, other: str | None, layers: bool, catalogue: bool) -> None:
    """Show the parameters, shapes and multiply-accumulates of SOURCE, beside those of OTHER if it is given.

    SOURCE is a spec, a name of the catalogue, or a model that resnet-compile made. Of a checkpoint, show the tensors
    and the networks of the catalogue that they fit.

    \b
    resnet-inspect specs/resnet152.json
    resnet-inspect model.onnx --layers --json
    resnet-inspect torchvision_resnet34 torchvision_resnet50 --layers
    """  # noqa: D301  # click's mark for text to leave as it is is the character, not the two letters
    # Deferred, so that --help and usage errors need none of it.
    from resnet_compile.plan import plan_network, summarize

    if catalogue:
        _inspect_catalogue(report, source)
        return
    if source is None:
        raise click.UsageError("Missing argument 'SOURCE', or --catalogue.")
    if other is not None:
        _inspect_two(report, source, other, 3 if layers else 1)
        return
    if _is_checkpoint(source):
        _inspect_checkpoint(report, source)
        return
    spec, facts = _load(source)
    planned = plan_network(spec)
    summary = summarize(planned)
    depth = 3 if layers else 1
    report.result(
        {**_totals(planned, summary), **({"model": facts} if facts else {}), "parts": _documents(summary, depth)},
        lambda: _text(planned, summary, facts, depth),
    )


def _inspect_catalogue(report: Report, source: str | None) -> None:
    from resnet_compile.cli.inspect_many import catalogue_document, catalogue_text

    if source is not None:
        raise click.UsageError("--catalogue takes no SOURCE.")
    rows = catalogue_document()
    report.result({"catalogue": rows}, lambda: catalogue_text(rows))


def _inspect_two(report: Report, source: str, other: str, depth: int) -> None:
    from resnet_compile.cli.inspect_many import comparison_text
    from resnet_compile.plan import plan_network, summarize

    left, right = ((planned, summarize(planned)) for planned in (plan_network(_load(s)[0]) for s in (source, other)))
    documents = [{**_totals(*each), "parts": _documents(each[1], depth)} for each in (left, right)]
    report.result({"networks": documents}, lambda: comparison_text(left, right, depth))


def _is_checkpoint(source: str) -> bool:
    """Whether the source is neither a spec nor a model of ours, but what the readers know."""
    path = Path(source)
    if path.is_file() and means_spec(source) and not path.name.endswith(".index.json"):
        return False
    if not path.exists() and not list(path.parent.glob(f"{path.name}*")):
        return False
    # Deferred: the readers are needed for checkpoints alone.
    from resnet_compile.checkpoints.formats import is_checkpoint
    from resnet_compile.checkpoints.onnx_file import is_onnx
    from resnet_compile.metadata import read_model

    return read_model(path).metadata.spec is None if is_onnx(path) else is_checkpoint(source)


def _inspect_checkpoint(report: Report, source: str) -> None:
    from resnet_compile.cli.inspect_checkpoint import checkpoint_document, checkpoint_text

    document = checkpoint_document(source)
    report.result(document, lambda: checkpoint_text(source, document))


def _load(source: str) -> tuple[NetworkSpec, dict[str, Any]]:
    """The spec, and what a model says of itself beside it."""
    from resnet_compile.spec import load_spec, parse_spec

    if means_spec(source):
        return load_spec(source), {}
    from resnet_compile.errors import ModelFileError
    from resnet_compile.metadata import read_model

    model = read_model(Path(source))
    if model.metadata.spec is None:
        raise ModelFileError("a model that resnet-compile did not make", where=source)
    facts = {
        "opset": model.opset,
        "ir_version": model.ir_version,
        "nodes": model.nodes,
        "inputs": model.inputs,
        "outputs": model.outputs,
        **{key: text for key, text in model.metadata.facts().items() if key != "spec"},
    }
    return parse_spec(model.metadata.spec), facts


def _totals(planned: Plan, summary: Summary) -> dict[str, Any]:
    size = planned.input
    return {
        "name": planned.name,
        "input": [size.channels, size.height, size.width],
        "parameters": summary.parameters,
        "moving_statistics": summary.moving_statistics,
        "macs": summary.macs,
        "end_points": [end_point.name for end_point in planned.end_points],
    }


def _documents(summary: Summary, depth: int) -> list[dict[str, Any]]:
    """The parts as JSON documents, down to a depth below the network."""
    return [
        {
            "name": part.name,
            "kind": part.kind,
            "output": list(part.output),
            "weights": part.weights,
            "parameters": part.parameters,
            "moving_statistics": part.moving_statistics,
            "macs": part.macs,
            **({"parts": _documents(part, depth - 1)} if depth > 1 and part.parts else {}),
        }
        for part in summary.parts
    ]


def _text(planned: Plan, summary: Summary, facts: dict[str, Any], depth: int) -> str:
    from resnet_compile.report.table import table

    size = planned.input
    header = ["", "kind", "output", "weights", "parameters", "moving", "multiply-accumulates"]
    rows: list[list[str | int]] = [
        [
            "  " * level + part.name.removeprefix(f"{above}/"),
            part.kind,
            "x".join(map(str, part.output)),
            part.weights,
            part.parameters,
            part.moving_statistics,
            part.macs,
        ]
        for level, above, part in _walk(summary, depth)
    ]
    rows.append(["total", "", "", summary.weights, summary.parameters, summary.moving_statistics, summary.macs])
    lines = [f"{planned.name}, input {size.channels}x{size.height}x{size.width}"]
    lines += [f"  {key}: {_words(value)}" for key, value in facts.items()]
    return "\n".join([*lines, "", table(header, rows)])


def _walk(summary: Summary, depth: int, level: int = 0) -> Iterator[tuple[int, str, Summary]]:
    for part in summary.parts:
        # The root block and the head are no scopes of their own: what is in them is named from the network.
        yield level, summary.name if part.name.startswith(f"{summary.name}/") else _network(part.name), part
        if depth > 1:
            yield from _walk(part, depth - 1, level + 1)


def _network(name: str) -> str:
    return name.rpartition("/")[0]


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} [{', '.join(map(str, shape))}]" for name, shape in value.items())
    return str(value)


def main() -> None:
    """The console entry point."""
    run(cli)
