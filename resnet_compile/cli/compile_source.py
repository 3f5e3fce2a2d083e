"""The source that `resnet-compile` compiles: a spec, or a network recognised from a file of weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

import resnet_compile as rc
from resnet_compile.cli.common import means_spec
from resnet_compile.errors import OptionError, SpecError


@dataclass(frozen=True, slots=True)
class Source:
    """The network and its weights.

    Attributes:
        network: The network.
        weights: The file of its weights; None for initial weights.
        output: The default path of the compiled model.
        recognised: How the network was recognised, for the JSON document; None if a spec was given.
    """

    network: rc.NetworkSpec
    weights: Path | None
    output: Path
    recognised: dict[str, Any] | None = None


def find_source(spec: str | None, weights: Path | None, section: tuple[str, ...]) -> Source:
    """The network of SPEC, which may be an ONNX model; without SPEC the one recognised from the weights.

    Raises:
        UsageError: Neither a spec nor weights were given.
        ResnetCompileError: The spec or the weights cannot be read.
    """
    if spec is not None and is_model(spec):
        if weights is not None:
            hint = f"resnet-inspect {spec} --spec FILE writes its spec, to give with other weights"
            raise OptionError("SPEC is a model, which has weights of its own", where="weights", hint=hint)
        weights, spec = Path(spec), None
    if spec is not None:
        return Source(_spec(spec), weights, Path(f"{Path(spec).stem}.onnx"))
    if weights is None:
        raise click.UsageError("Missing argument 'SPEC', or --weights FILE to read it off, or --like MODEL.")
    network, told = _recognised(weights, section)
    usual = Path(f"{weights.stem}.onnx")
    is_weights = usual.exists() and usual.samefile(weights)
    return Source(network, weights, Path(f"{weights.stem}-compiled.onnx") if is_weights else usual, told)


def is_model(source: str | Path) -> bool:
    """Whether the argument SPEC is an ONNX model."""
    if means_spec(str(source)) or not Path(source).is_file():
        return False
    # Deferred: only ONNX models need the reader.
    from resnet_compile.checkpoints.onnx_file import is_onnx

    return is_onnx(Path(source))


def _spec(source: str) -> rc.NetworkSpec:
    """The spec; if the file holds weights, the error names the flag for them."""
    try:
        return rc.load_spec(source)
    except SpecError:
        # Deferred: only this message needs the readers.
        from resnet_compile.checkpoints.formats import is_checkpoint

        if Path(source).exists() and is_checkpoint(source):
            hint = f"resnet-compile --weights {source}"
            raise SpecError("SPEC is a file of weights", where=source, hint=hint) from None
        raise


def _recognised(weights: Path, section: tuple[str, ...]) -> tuple[rc.NetworkSpec, dict[str, Any]]:
    """The spec recognised from the weights, and how; this is reported on stderr too."""
    with rc.open_checkpoint(weights) as source:
        found = rc.recognise.recognise(source, section=section)
    click.echo(f"resnet-compile: {found.told}", err=True)
    if found.assumed:
        click.echo(f"resnet-compile: assumed, since the file does not show it: {'; '.join(found.assumed)}", err=True)
        click.echo(f"resnet-compile: resnet-inspect {weights} --spec FILE writes the spec, to change it", err=True)
    return found.spec, {"told": found.told, "assumed": list(found.assumed)}
