"""Opens a model for the commands that run it on images; guesses and warnings go to stderr."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import click

import resnet_compile as rc
from resnet_compile.cli.common import Report, means_spec
from resnet_compile.errors import OptionError


@dataclass(frozen=True, slots=True)
class OpenedModel:
    """A model on its device.

    Attributes:
        file: The model's file, or the bytes of one compiled in memory.
        session: The session that runs the model.
        source: The image input of the model.
        scheme: The preprocessing of the images.
        guessed: Whether the scheme is a guess.
        interface: The inputs, outputs and metadata of the model.
    """

    file: Path | bytes
    session: rc.runtime.Session
    source: rc.runtime.ImageInput
    scheme: rc.images.Preprocessing
    guessed: bool
    interface: rc.metadata.ModelInterface

    @property
    def said(self) -> rc.metadata.Metadata:
        """The metadata of the model."""
        return self.interface.metadata

    @property
    def size(self) -> tuple[int | None, int | None]:
        """Rows and columns of an image as the model receives it; None if the model takes any size."""
        if self.source.takes_photographs:
            return self.source.height, self.source.width
        return self.source.size((self.scheme.default_size,) * 2)

    def document(self) -> dict[str, object]:
        """The fields of a result that describe the model."""
        return {
            "device": str(self.session.device),
            "device_reason": self.session.reason,
            "preprocess": self.scheme.name,
            "preprocess_in_model": self.source.takes_photographs,
            **({"fast_decode": True} if self.scheme.fast else {}),
            **({"guessed": True} if self.guessed else {}),
            **({"untrained": True} if self.said.untrained else {}),
        }


def open_model(
    command: str,
    model: str,
    device: str,
    preprocess: str | None,
    report: Report,
    *,
    outputs: tuple[str, ...] | Literal["all"] | None = None,
    cache: bool = False,
    fast_decode: bool = False,
) -> OpenedModel:
    """Opens a model's file, or compiles a spec in memory and opens that.

    Args:
        command: The name of the command, for messages.
        model: A file, or a spec or its name.
        device: The device, as in `Session.open`.
        preprocess: The name of the requested scheme; None for the model's own, or a guess.
        report: Prints notes.
        outputs: The outputs of a spec; a model's file has its own.
        cache: Whether to keep the prepared model, see `SessionOptions.cache`.
        fast_decode: Whether to decode large JPEGs at a fraction of their size; a note on stderr says so.

    Raises:
        OptionError: `cache` was given for a spec or for another device than the CPU, or `preprocess` or `fast_decode`
            for a model that takes photographs.
    """
    if cache and (means_spec(model) or device not in ("auto", "cpu")):
        fault = (
            f"--cache needs the CPU, got {device}"
            if device not in ("auto", "cpu")
            else "--cache needs a model's file, got a spec"
        )
        hint = "--device cpu" if device not in ("auto", "cpu") else f"resnet-compile {model} makes one"
        raise OptionError(fault, hint=hint)
    file: Path | bytes = Path(model)
    if means_spec(model):
        file = rc.compile(rc.load_spec(model), rc.CompileOptions(outputs=outputs)).to_proto().SerializeToString()
    settings = rc.runtime.SessionOptions(log_severity=report.log_severity, cache=cache)
    session = rc.runtime.Session.open(file, device, settings)
    report.note(f"device {session.device} ({session.reason})")
    if cache:
        became = session.cache or f"not prepared: {session.device} is not the CPU"
        (report.note if became.startswith("prepared") else partial(click.echo, err=True))(f"{command}: {became}")
    source = rc.runtime.image_input(session, channels=3)
    scheme, guessed = _scheme(command, session, source, preprocess, report)
    if fast_decode:
        if source.takes_photographs:
            raise OptionError("the model takes photographs as they are", where="fast_decode", hint="leave it out")
        scheme = replace(scheme, fast=True)
        click.echo(f"{command}: large JPEGs are decoded at a fraction of their size, and give other numbers", err=True)
    return OpenedModel(file, session, source, scheme, guessed, rc.metadata.read_model(file))


def _scheme(
    command: str, session: rc.runtime.Session, source: rc.runtime.ImageInput, asked: str | None, report: Report
) -> tuple[rc.images.Preprocessing, bool]:
    """The requested scheme, the model's own or a guess, and whether it is a guess. A guess is announced on stderr."""
    if asked and source.takes_photographs:
        raise OptionError("the model preprocesses by itself", where="preprocess", hint="leave it out")
    stored = asked or source.preprocess
    reason = "asked for" if asked else "from the model"
    guessed = stored is None and not source.takes_photographs
    if stored is None:
        guess = rc.guess.guess_scheme(session, source)
        stored, reason = guess.scheme, f"guessed: {guess.reason}"
        if guessed:
            click.echo(f"{command}: {guess} (--preprocess SCHEME says it)", err=True)
    scheme = rc.images.choose_scheme(stored, (source.height, source.width))
    report.note(f"preprocessing {scheme.name} ({reason}): {scheme.description}")
    return scheme, guessed
