"""``resnet-inspect SPEC|MODEL|CHECKPOINT``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resnet_compile.cli.common import Report, command, run

if TYPE_CHECKING:
    from resnet_compile.plan import Plan, Summary
    from resnet_compile.spec import NetworkSpec


@command("resnet-inspect")
@click.argument("source")
@click.option("--layers", is_flag=True, help="Show every unit and layer, not only the blocks.")
def cli(report: Report, source: str, layers: bool) -> None:
    """Show the parameters, shapes and multiply-accumulates of SOURCE.

    SOURCE is a spec, a name of the catalogue, or a model that resnet-compile made. Of a checkpoint, show the tensors
    and the networks of the catalogue that they fit.

    \b
    resnet-inspect specs/resnet152.json
    resnet-inspect model.onnx --layers --json
    """  # noqa: D301  # click's mark for text to leave as it is is the character, not the two letters
    # Deferred, so that --help and usage errors need none of it.
    from resnet_compile.plan import plan_network, summarize

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


def _is_checkpoint(source: str) -> bool:
    """Whether the source is neither a spec nor a model, but what the readers know."""
    path = Path(source)
    if path.is_file() and _looks_like_json(path) and not path.name.endswith(".index.json"):
        return False
    if not path.exists() and not list(path.parent.glob(f"{path.name}*")):
        return False
    # Deferred: the readers are needed for checkpoints alone.
    from resnet_compile.weights.readers import is_checkpoint

    return is_checkpoint(source)


def _inspect_checkpoint(report: Report, source: str) -> None:
    from resnet_compile.report.table import table
    from resnet_compile.weights.fitting import fitting_specs
    from resnet_compile.weights.readers import open_checkpoint

    with open_checkpoint(source) as checkpoint:
        tensors = {name: checkpoint.info(name) for name in checkpoint}
        files = [str(path) for path in checkpoint.files]
        kind = checkpoint.format
    fits = list(fitting_specs({name: info.shape for name, info in tensors.items()}))
    document = {
        "format": kind,
        "files": files,
        "tensors": [
            {"name": name, "dtype": info.dtype, "shape": list(info.shape), "bytes": info.nbytes}
            for name, info in tensors.items()
        ],
        "fits": [
            {"spec": fit.name, "naming": fit.naming, "prefix": fit.prefix, "num_classes": fit.num_classes}
            for fit in fits
        ],
    }
    total = sum(info.nbytes or 0 for info in tensors.values())
    rows: list[list[str | int]] = [
        [name, info.dtype, "x".join(map(str, info.shape)) or "scalar", info.nbytes if info.nbytes is not None else 0]
        for name, info in tensors.items()
    ]
    fitting = [
        f"fits {fit.name}"
        + (f" with num_classes {fit.num_classes}" if fit.num_classes else "")
        + f" ({fit.naming} naming)"
        for fit in fits
    ] or ["fits no network of the catalogue"]
    report.result(
        document,
        lambda: "\n".join(
            [
                f"{source}: {kind}, {len(tensors)} tensors",
                "",
                table(["tensor", "type", "shape", "bytes"], [*rows, ["total", "", "", total]]),
                "",
                *fitting,
            ]
        ),
    )


def _load(source: str) -> tuple[NetworkSpec, dict[str, Any]]:
    """The spec, and what a model says of itself beside it."""
    from resnet_compile.spec import load_spec, parse_spec

    path = Path(source)
    if not path.is_file() or _looks_like_json(path):
        return load_spec(source), {}
    from resnet_compile.compiler import METADATA_PREFIX
    from resnet_compile.errors import ModelFileError
    from resnet_compile.read_model import read_skeleton

    model = read_skeleton(path)
    metadata = {
        prop.key.removeprefix(METADATA_PREFIX): prop.value
        for prop in model.metadata_props
        if prop.key.startswith(METADATA_PREFIX)
    }
    if "spec" not in metadata:
        raise ModelFileError("a model that resnet-compile did not make", where=source)
    facts = {
        "opset": model.opset_import[0].version,
        "ir_version": model.ir_version,
        "nodes": len(model.graph.node),
        "inputs": {value.name: _shape(value) for value in model.graph.input},
        "outputs": {value.name: _shape(value) for value in model.graph.output},
        **{key: metadata[key] for key in sorted(metadata) if key != "spec"},
    }
    return parse_spec(metadata["spec"]), facts


def _looks_like_json(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(64).lstrip()[:1] in (b"{", b"[", b"")


def _shape(value: Any) -> list[int | str]:
    return [dim.dim_param or dim.dim_value or "?" for dim in value.type.tensor_type.shape.dim]


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
    header = ["", "kind", "output", "parameters", "moving", "multiply-accumulates"]
    rows: list[list[str | int]] = [
        [
            "  " * level + part.name.removeprefix(f"{above}/"),
            part.kind,
            "x".join(map(str, part.output)),
            part.parameters,
            part.moving_statistics,
            part.macs,
        ]
        for level, above, part in _walk(summary, depth)
    ]
    rows.append(["total", "", "", summary.parameters, summary.moving_statistics, summary.macs])
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
