"""Rebuilding a model from its own metadata, byte for byte."""

from __future__ import annotations

import filecmp
import os
import tempfile
from dataclasses import replace
from pathlib import Path

from resnet_compile.compiler import CompiledModel, compile  # noqa: A004  # the verb of this package
from resnet_compile.errors import ModelFileError, OutputError, UsageError, VerificationError, inside
from resnet_compile.files import as_path, writing
from resnet_compile.metadata import Metadata, read_model
from resnet_compile.options import CompileOptions
from resnet_compile.precision import Int8
from resnet_compile.quantize import quantize
from resnet_compile.spec import parse_spec


def rebuild(
    model: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = None,
    calibration: str | os.PathLike[str] | None = None,
) -> CompiledModel:
    """Compiles the network of a model file again, with the options in the file's metadata.

    Args:
        model: A model that was made from a spec, and from initial weights or a checkpoint.
        weights: The current path of the checkpoint.
        calibration: The current path of the folder of images that an int8 model was calibrated on.

    Raises:
        ModelFileError: The file cannot be read, or does not say how it was made.
        UsageError: The checkpoint or the calibration images are missing or differ from the originals; or the model was
            made by another version of this package, or has initial weights from another version of numpy.
    """
    path = as_path(model)
    said = read_model(path).metadata
    with inside(str(path)):
        options = _options(said)
        if (said.weights_format is None) != (weights is None):
            fault = (
                "the model was made from initial weights"
                if weights is not None
                else f"the model was made from {_checkpoint(said)}"
            )
            raise UsageError(fault, hint=None if weights is not None else "give it with --weights FILE")
        of_images = said.calibration_data not in (None, "random")
        if of_images != (calibration is not None):
            fault = (
                f"the model was calibrated on {said.calibration_images} images"
                if of_images
                else "the model was made without images"
            )
            raise UsageError(fault, hint="give their folder with --calibration DIR" if of_images else None)
    spec = parse_spec(said.spec or "").coming_from(str(path))
    if isinstance(options.dtype, Int8):
        made = quantize(spec, options, weights=weights, images=calibration).model
    else:
        made = compile(spec, options, weights=weights)
    # The checkpoint may have been renamed.
    metadata = replace(made.format.metadata, weights_file=said.weights_file)
    _require_same_facts(path, said, metadata)
    return replace(made, format=replace(made.format, metadata=metadata))


def _options(said: Metadata) -> CompileOptions:
    """The options that the compiler was called with."""
    if said.spec is None or said.kind is not None:
        raise ModelFileError("the model was not made by resnet-compile, or does not record how")
    if said.seed is None and said.weights_format is None:
        raise ModelFileError("the model was made from arrays, not from a checkpoint")
    options = CompileOptions.model_validate_json(said.options or "{}")
    return options.replace(labels=said.labels or (), licence=said.licence)


def _checkpoint(said: Metadata) -> str:
    return f"{said.weights_file or 'a checkpoint'}, {said.weights_format}, SHA-256 {said.weights_sha256}"


def _require_same_facts(path: Path, said: Metadata, made: Metadata) -> None:
    """Raises if the two models' metadata differ."""
    theirs, ours = (each.facts() for each in (said, made))
    names = [key for key in sorted({*theirs, *ours}) if theirs.get(key) != ours.get(key)]
    if names:
        told = "; ".join(f"{name} was {_short(theirs.get(name))} and is {_short(ours.get(name))}" for name in names)
        raise UsageError(f"cannot be rebuilt: {told}", where=str(path))


def _short(text: str | None) -> str:
    return "not told" if text is None else text if len(text) <= 80 else f"{text[:77]}..."


def save_like(made: CompiledModel, model: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Saves a model if its bytes equal those of another file.

    Raises:
        VerificationError: The bytes differ; nothing is written.
        OutputError: The file cannot be written.
    """
    like, target = as_path(model), as_path(path)
    if not target.parent.is_dir():
        raise OutputError("cannot write: No such file or directory", where=str(target))
    with writing(target), tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
        # A model contains the name of its external data's file.
        here = Path(folder) / like.name
        made.save(here)
        parts = {here: target, here.with_name(f"{like.name}.data"): target.with_name(f"{like.name}.data")}
        written = {part: place for part, place in parts.items() if part.exists()}
        if not all(filecmp.cmp(part, like.with_name(part.name), shallow=False) for part in written):
            raise VerificationError("the rebuilt model differs in its bytes", where=str(like))
        for part, place in written.items():
            part.replace(place)
