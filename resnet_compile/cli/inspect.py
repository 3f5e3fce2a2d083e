"""``resnet-inspect SPEC|MODEL|CHECKPOINT``."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import click

import resnet_compile as rc
from resnet_compile.cli.common import Report, command, means_spec, run
from resnet_compile.cli.inspect_text import Measured, catalogue_text, comparison_text, network_text
from resnet_compile.errors import ModelFileError, SpecError


@command("resnet-inspect")
@click.argument("source", required=False)
@click.argument("other", required=False)
@click.option(
    "--layers",
    is_flag=True,
    help="Show every unit and layer, not only the blocks; of a checkpoint every tensor, not only the scopes.",
)
@click.option("--catalogue", is_flag=True, help="Show the networks that come with this package, instead of a source.")
def cli(report: Report, source: str | None, other: str | None, layers: bool, catalogue: bool) -> None:
    """Show the parameters, shapes and multiply-accumulates of SOURCE, beside those of OTHER if it is given.

    SOURCE is a spec, a name of the catalogue, or a model that resnet-compile made. Of a checkpoint, show the scopes of
    its tensors, the networks of the catalogue that they fit, and where none does those that they nearly fit.

    \b
    resnet-inspect specs/resnet152.json
    resnet-inspect model.onnx --layers --json
    resnet-inspect checkpoint.pth
    resnet-inspect torchvision_resnet34 torchvision_resnet50 --layers
    """  # noqa: D301  # click's mark for text to leave as it is is the character, not the two letters
    depth = 3 if layers else 1
    if catalogue:
        if source is not None:
            raise click.UsageError("--catalogue takes no SOURCE.")
        rows = [_catalogue_row(name) for name in rc.catalogue()]
        report.result({"catalogue": rows}, lambda: catalogue_text(rows))
    elif source is None:
        raise click.UsageError("Missing argument 'SOURCE', or --catalogue.")
    elif other is not None:
        left, right = (_measured(_load(each)[0]) for each in (source, other))
        documents = [_document(*each, depth) for each in (left, right)]
        report.result({"networks": documents}, lambda: comparison_text(left, right, depth))
    elif _is_checkpoint(source):
        document = _readers().checkpoint_document(source)
        report.result(document, lambda: _readers().checkpoint_text(source, document, layers=layers))
    else:
        spec, facts = _load(source)
        network = _measured(spec)
        report.result(_document(*network, depth, facts), lambda: network_text(network, facts, depth))


def _is_checkpoint(source: str) -> bool:
    """Whether the source is neither a spec nor a model of ours, but what the readers know."""
    path = Path(source)
    if path.is_file() and means_spec(source) and not path.name.endswith(".index.json"):
        return False
    if not path.exists() and not _siblings(path):
        return False
    if _readers().is_onnx(path):
        return rc.metadata.read_model(path).metadata.spec is None
    return bool(_readers().is_checkpoint(source))


def _readers() -> Any:
    """What reads and shows checkpoints."""
    # Deferred: specs need no reader.
    from resnet_compile.cli import inspect_checkpoint

    return inspect_checkpoint


def _siblings(path: Path) -> bool:
    """Whether there are files that go on where a path ends, as those of a TensorFlow checkpoint do."""
    return path.parent.is_dir() and any(
        file.name.startswith((f"{path.name}.", f"{path.name}-")) for file in path.parent.iterdir()
    )


def _is_empty(path: Path) -> bool:
    return path.is_file() and path.stat().st_size == 0


def _load(source: str) -> tuple[rc.NetworkSpec, dict[str, Any]]:
    """The spec, and what a model says of itself beside it; of what is neither, the error that tells what it is."""
    path = Path(source)
    if path.suffix == ".json" or (means_spec(source) and not path.is_dir() and not _is_empty(path)):
        try:
            return rc.load_spec(source), {}
        except SpecError:
            if (path.exists() and path.suffix in ("", ".json")) or not (path.exists() or _siblings(path)):
                raise
    if not _readers().is_onnx(path):
        rc.open_checkpoint(path).close()
    model = rc.metadata.read_model(path)
    if model.metadata.spec is None:
        raise ModelFileError("a model that resnet-compile did not make", where=source)
    facts = {
        "opset": model.opset,
        "ir_version": model.ir_version,
        "oldest_onnxruntime": rc.serialize.OLDEST_ONNXRUNTIME.get(model.opset, "unknown"),
        "nodes": model.nodes,
        "inputs": model.inputs,
        "outputs": model.outputs,
        **{key: text for key, text in model.metadata.facts().items() if key not in ("spec", "labels")},
        **({"labels": list(model.metadata.labels)} if model.metadata.labels else {}),
    }
    return rc.parse_spec(model.metadata.spec), facts


def _measured(spec: rc.NetworkSpec) -> Measured:
    planned = rc.plan_network(spec)
    return planned, rc.plan.summarize(planned)


def _catalogue_row(name: str) -> dict[str, Any]:
    """A spec of the catalogue, with its size and origin."""
    planned = rc.plan_network(rc.load_spec(name))
    return {
        "name": name,
        "parameters": planned.num_parameters,
        "moving_statistics": planned.num_moving_statistics,
        "macs": planned.macs,
        "origin": planned.spec.origin or "",
    }


def _document(
    planned: rc.Plan, summary: rc.plan.Summary, depth: int, facts: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A network as a JSON document, with what its model says of itself."""
    return {
        "name": planned.name,
        "input": [planned.input.channels, *planned.input.size],
        "parameters": summary.parameters,
        "moving_statistics": summary.moving_statistics,
        "macs": summary.macs,
        "end_points": [end_point.name for end_point in planned.end_points],
        **({"model": facts} if facts else {}),
        "parts": [_part(part, depth - 1) for part in summary.parts],
    }


def _part(part: rc.plan.Summary, depth: int) -> dict[str, Any]:
    """A part as a JSON document, with the parts in it so deep."""
    document = asdict(replace(part, parts=()))
    del document["parts"]
    if depth and part.parts:
        document["parts"] = [_part(each, depth - 1) for each in part.parts]
    return document


main = partial(run, cli)
