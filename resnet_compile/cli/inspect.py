"""``resnet-inspect SPEC|MODEL|CHECKPOINT``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import resnet_compile as rc
from resnet_compile.cli.common import Report, command, means_spec, run
from resnet_compile.cli.inspect_costs import costs_document, csv_text, value_documents
from resnet_compile.cli.inspect_text import Measured, catalogue_text, comparison_text, network_text, networks_text
from resnet_compile.cli.parameters import PATH, classes, size
from resnet_compile.errors import ModelFileError, OptionError, SpecError
from resnet_compile.limits import MAX_BATCH

if TYPE_CHECKING:
    from resnet_compile.spec.published import PublishedWeights


@command("resnet-inspect")
@click.argument("sources", nargs=-1, metavar="SOURCE...")
@click.option(
    "--layers",
    is_flag=True,
    help="Show every unit and layer, not only blocks; for a checkpoint every tensor, not only scopes.",
)
@click.option(
    "--csv",
    "as_csv",
    is_flag=True,
    help="Print the cost of a batch as CSV: multiply-accumulates, bytes of activations and bytes moved. One row for "
    "each spec; with --layers one for each value that it computes.",
)
@click.option(
    "--html",
    type=PATH,
    metavar="FILE",
    help="Also draw one network, or two side by side, to scale, as one self-contained page: shapes, receptive fields, "
    "parameters, multiply-accumulates and memory of every unit, with --layers of every layer.",
)
@click.option("--size", callback=size, metavar="HxW", help="Rows and columns of the inputs, instead of the specs' own.")
@click.option("--batch", type=click.IntRange(1, MAX_BATCH), help="Images in a batch, for --csv; by default one.")
@click.option("--num-classes", callback=classes, metavar="N|none", help="Number of classes, instead of the specs' own.")
@click.option(
    "--spec",
    "spec_file",
    type=PATH,
    metavar="FILE",
    help="Write the spec of SOURCE to a file; for a checkpoint, the spec recognised from its names and shapes.",
)
@click.option(
    "--catalogue",
    is_flag=True,
    help="List the networks of the catalogue, or only those with names that match SOURCE.",
)
def cli(
    report: Report,
    sources: tuple[str, ...],
    layers: bool,
    as_csv: bool,
    html: Path | None,
    catalogue: bool,
    batch: int | None,
    spec_file: Path | None,
    **options: Any,
) -> None:
    """Show the parameters, shapes and multiply-accumulates of SOURCE, of two side by side, or of many in a table.

    SOURCE is a spec, a name of the catalogue, or a model that resnet-compile made. For a checkpoint, show the scopes of
    its tensors and the networks of the catalogue that they fit; if none fits, the nearest ones.

    \b
    resnet-inspect specs/resnet152.json
    resnet-inspect model.onnx --layers --json
    resnet-inspect checkpoint.pth --spec found.json
    resnet-inspect torchvision_resnet34 torchvision_resnet50 --html both.html
    resnet-inspect --catalogue 'timm_*50*'
    resnet-inspect specs/*.json --csv --batch 32 > networks.csv
    """  # noqa: D301  # click keeps a paragraph's line breaks after the backspace character itself
    depth = 3 if layers else 1
    if len(sources) > 2:  # the shell expands specs/*.json to these too
        sources = tuple(each for each in sources if not each.endswith(".schema.json"))
    if options["size"] == "dynamic":
        raise OptionError("size must be fixed for costs, got dynamic", where="size")
    if batch and not as_csv:
        raise OptionError("--batch needs --csv")
    if spec_file is not None and (len(sources) != 1 or as_csv):
        raise OptionError("--spec takes one SOURCE and no --csv")
    asked = rc.CompileOptions(batch=batch or "dynamic", **options)
    if html is not None:
        if catalogue or len(sources) not in (1, 2):
            raise OptionError("--html takes one SOURCE, or two side by side")
        if _is_checkpoint(sources[0]):
            raise OptionError("--html applies to specs, not to checkpoints")
        _write_page(html, [_load(each)[0] for each in sources], asked, layers=layers)
    if catalogue:
        if len(sources) > 1:
            raise click.UsageError("--catalogue takes one PATTERN (quoted, such as 'timm_*50*').")
        rows = [_catalogue_row(name) for name in (_matching(sources[0]) if sources else rc.catalogue())]
        report.result({"catalogue": rows}, lambda: catalogue_text(rows))
    elif not sources:
        raise click.UsageError("Missing argument 'SOURCE', or --catalogue.")
    elif as_csv:
        found = [rc.costs.costs(_load(each)[0], asked) for each in sources]
        documents = [_costs(each, layers=layers) for each in found]
        report.result({"networks": documents}, lambda: csv_text(found, values=layers))
    elif len(sources) > 1:
        networks = [_measured(_load(each)[0], asked) for each in sources]
        documents = [_document(*each, depth) for each in networks]
        left, right, *others = networks
        report.result(
            {"networks": documents},
            lambda: networks_text(networks) if others else comparison_text(left, right, depth),
        )
    elif _is_checkpoint(sources[0]):
        if given := next((name for name, value in options.items() if value is not None), None):
            raise OptionError(f"--{given.replace('_', '-')} applies to specs, not to checkpoints")
        document = _readers().checkpoint_document(sources[0])
        if spec_file is not None:
            _write_spec(spec_file, _recognised(sources[0]))
        report.result(document, lambda: _readers().checkpoint_text(sources[0], document, layers=layers))
    else:
        spec, facts = _load(sources[0])
        network = _measured(spec, asked)
        if spec_file is not None:
            _write_spec(spec_file, network[0].spec)
        published = _published(spec)
        report.result(
            {
                **_document(*network, depth, facts),
                **({"published_weights": [each.model_dump() for each in published]} if published else {}),
            },
            lambda: network_text(network, facts, depth, published),
        )


def _recognised(source: str) -> rc.NetworkSpec:
    """The spec recognised from a checkpoint; how it was recognised is reported on stderr."""
    with rc.open_checkpoint(source) as checkpoint:
        found = rc.recognise.recognise(checkpoint)
    click.echo(f"resnet-inspect: {found.told}", err=True)
    if found.assumed:
        click.echo(f"resnet-inspect: assumed, since the file does not show it: {'; '.join(found.assumed)}", err=True)
    return found.spec


def _write_page(path: Path, specs: Sequence[rc.NetworkSpec], asked: rc.CompileOptions, *, layers: bool) -> None:
    """Writes the page of one network or of two."""
    # Deferred: only --html needs the graph.
    from resnet_compile.report.network_page import network_page

    one_image = asked.replace(batch=1)
    page = network_page([rc.costs.costs(spec, one_image) for spec in specs], layers=layers)
    with rc.files.replacing(path) as file:
        file.write(page.encode())


def _write_spec(path: Path, spec: rc.NetworkSpec) -> None:
    document = {"$schema": "network.schema.json", **json.loads(rc.spec.spec_text(spec))}
    with rc.files.replacing(path) as file:
        file.write(f"{json.dumps(document, indent=2)}\n".encode())


def _is_checkpoint(source: str) -> bool:
    """Whether the source is a checkpoint: a file that the readers know, and neither a spec nor our model."""
    path = Path(source)
    if path.is_file() and means_spec(source) and not path.name.endswith(".index.json"):
        return False
    if not path.exists() and not _siblings(path):
        return False
    if _readers().is_onnx(path):
        return rc.metadata.read_model(path).metadata.spec is None
    return bool(_readers().is_checkpoint(source))


def _readers() -> Any:
    """The module that reads and shows checkpoints."""
    # Deferred: specs do not need it.
    from resnet_compile.cli import inspect_checkpoint

    return inspect_checkpoint


def _siblings(path: Path) -> bool:
    """Whether there are files with this path as prefix, as for a TensorFlow checkpoint."""
    return path.parent.is_dir() and any(
        file.name.startswith((f"{path.name}.", f"{path.name}-")) for file in path.parent.iterdir()
    )


def _is_empty(path: Path) -> bool:
    return path.is_file() and path.stat().st_size == 0


def _load(source: str) -> tuple[rc.NetworkSpec, dict[str, Any]]:
    """The spec, and a model's metadata; another kind of file raises an error that names the kind."""
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
        raise ModelFileError("the model was not made by resnet-compile", where=source)
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


def _measured(spec: rc.NetworkSpec, options: rc.CompileOptions) -> Measured:
    planned = rc.plan_network(rc.options.adapted(spec, options))
    return planned, rc.plan.summarize(planned)


def _published(spec: rc.NetworkSpec) -> tuple[PublishedWeights, ...]:
    """The published weights of a network of the catalogue, also if it was read by an alias."""
    name = Path(spec.source or "").stem
    listed = name in (*rc.catalogue(), *rc.spec.ALIASES)
    return rc.published_weights(name) if listed and rc.load_spec(name) == spec else ()


def _matching(pattern: str) -> list[str]:
    """The names of the catalogue, aliases included, that match a pattern.

    Raises:
        SpecError: No name matches.
    """
    found = sorted(name for name in (*rc.catalogue(), *rc.spec.ALIASES) if fnmatchcase(name, pattern))
    if not found:
        hint = "resnet-inspect --catalogue lists the names; a pattern has * and ?, such as 'timm_*50*'"
        raise SpecError("no name of the catalogue matches", where=pattern, hint=hint)
    return found


def _catalogue_row(name: str) -> dict[str, Any]:
    """A network of the catalogue, with its size and origin."""
    planned = rc.plan_network(rc.load_spec(name))
    origin = planned.spec.origin or ""
    return {
        "name": name,
        "parameters": planned.num_parameters,
        "moving_statistics": planned.num_moving_statistics,
        "macs": planned.macs,
        "origin": f"{rc.spec.ALIASES[name]}: {origin}" if name in rc.spec.ALIASES else origin,
    }


def _document(
    planned: rc.Plan, summary: rc.plan.Summary, depth: int, facts: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A network as a JSON document, with the metadata of its model."""
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


def _costs(costs: rc.costs.Costs, *, layers: bool) -> dict[str, Any]:
    """The costs of a network as a JSON document; with `layers`, those of its values too."""
    document = costs_document(costs)
    return {**document, "values": value_documents(costs)} if layers else document


def _part(part: rc.plan.Summary, depth: int) -> dict[str, Any]:
    """A part as a JSON document, with its own parts down to `depth`."""
    document = asdict(replace(part, parts=()))
    del document["parts"]
    if depth and part.parts:
        document["parts"] = [_part(each, depth - 1) for each in part.parts]
    return document


main = partial(run, cli)
