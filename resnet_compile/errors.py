"""Every error that this package raises on purpose.

::

    ResnetCompileError                exit code 1
    ├── UsageError                    exit code 2   the request is wrong
    │   ├── SpecError                 a network spec is malformed or describes no network
    │   ├── OptionError               an option has an impossible value
    │   ├── ModelFileError            a file is not a model this command can take
    │   ├── DataError                 a data set is missing, malformed or does not fit the network
    │   └── WeightsError              weights do not fill the network
    │       └── CheckpointError       a checkpoint file is damaged or not of its format
    ├── ImageError                    exit code 1   an image cannot be read
    ├── OutputError                   exit code 1   a result cannot be written
    ├── TrainingError                 exit code 1   training cannot go on
    ├── GraphError                    exit code 1   a graph breaks a rule of the IR: a bug of ours
    ├── VerificationError             exit code 3   two models that must agree do not
    └── DeviceError                   exit code 4   the device asked for is not usable

Each one carries ``where``, the place of the fault: a spec path (``$.blocks[2].args[0].stride``), a parameter name, a
graph value or a file. It prints as one line, ``message @ where (hint)``, and then ``; `` and each fault of ``also``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar


class ResnetCompileError(Exception):
    """The base class.

    Attributes:
        message: What is wrong.
        where: The place of the fault.
        hint: What to do about it.
        also: Further faults of the same value, one line each, then the number of faults not listed.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint
        self.also: tuple[str, ...] = ()

    def __str__(self) -> str:
        place = f" @ {self.where}" if self.where else ""
        hint = f" ({self.hint})" if self.hint else ""
        return "; ".join((f"{self.message}{place}{hint}", *self.also))


@contextmanager
def inside(file: str | None) -> Iterator[None]:
    """Puts a file's name before `where` in errors that pass through; does nothing for None."""
    try:
        yield
    except ResnetCompileError as error:
        if file:
            error.where = f"{file}: {error.where}" if error.where else file
        raise


class UsageError(ResnetCompileError):
    """The request is wrong, whatever the state of the machine."""

    exit_code = 2


class SpecError(UsageError):
    """A network spec is malformed, breaks a limit or describes a network that cannot exist."""


class OptionError(UsageError):
    """An option has an impossible value, or two options contradict each other."""


class ModelFileError(UsageError):
    """A file is not a model that this command can take."""


class DataError(UsageError):
    """A data set is missing, malformed or does not fit the network; `where` names the file, and the record in it."""


class WeightsError(UsageError):
    """Weights do not fill the network: missing, unused, of another shape, or not finite."""


class CheckpointError(WeightsError):
    """A checkpoint file is damaged, truncated, hostile or not of the format it claims."""


class ImageError(ResnetCompileError):
    """An image cannot be read or decoded."""


class OutputError(ResnetCompileError):
    """A result cannot be written where it was asked for."""


class TrainingError(ResnetCompileError):
    """Training cannot go on: the loss or a variable is not finite, or it was interrupted."""


class GraphError(ResnetCompileError):
    """A graph breaks a rule of the IR; this is a bug in the compiler, never in a spec."""


class VerificationError(ResnetCompileError):
    """Two models that have to compute the same function do not."""

    exit_code = 3


class DeviceError(ResnetCompileError):
    """The device that was asked for cannot be used."""

    exit_code = 4
