"""What `resnet-compile` compiles: a spec, or the network that is read off a file of weights."""

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
        weights: The file of its weights; None for initial ones.
        output: Where the model goes unless the user says.
        recognised: What was read off the weights, for the JSON document; None where a spec was given.
    """

    network: rc.NetworkSpec
    weights: Path | None
    output: Path
    recognised: dict[str, Any] | None = None


def find_source(spec: str | None, weights: Path | None, section: tuple[str, ...]) -> Source:
    """The network of SPEC, which may be a model, or else the one that the weights tell.

    Raises:
        UsageError: There is neither.
        ResnetCompileError: It cannot be read.
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
    """Whether what stands for a spec is an ONNX model."""
    if means_spec(str(source)) or not Path(source).is_file():
        return False
    # Deferred: a reader is needed only where there is a model.
    from resnet_compile.checkpoints.onnx_file import is_onnx

    return is_onnx(Path(source))


def _spec(source: str) -> rc.NetworkSpec:
    """The spec; an error that says so where weights were given for one."""
    try:
        return rc.load_spec(source)
    except SpecError:
        # Deferred: the readers are needed only for this message.
        from resnet_compile.checkpoints.formats import is_checkpoint

        if Path(source).exists() and is_checkpoint(source):
            hint = f"resnet-compile --weights {source}"
            raise SpecError("SPEC is a file of weights", where=source, hint=hint) from None
        raise


def _recognised(weights: Path, section: tuple[str, ...]) -> tuple[rc.NetworkSpec, dict[str, Any]]:
    """The spec that is read off the weights, and what there is to tell of that: on stderr too."""
    with rc.open_checkpoint(weights) as source:
        found = rc.recognise.recognise(source, section=section)
    click.echo(f"resnet-compile: {found.told}", err=True)
    if found.assumed:
        click.echo(f"resnet-compile: assumed, as the file does not tell it: {'; '.join(found.assumed)}", err=True)
        click.echo(f"resnet-compile: resnet-inspect {weights} --spec FILE writes the spec, to change it", err=True)
    return found.spec, {"told": found.told, "assumed": list(found.assumed)}
