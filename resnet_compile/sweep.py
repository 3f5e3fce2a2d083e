"""Times many networks one after another, into a table that a later run can continue.

Every network is timed at every combination of the `Axes`, by the benchmark's protocol. Each row is written to the
table's file as soon as it is measured, so an interrupted run loses one measurement at most.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from resnet_compile.bench import BenchOptions, Subject, bench
from resnet_compile.checked import Batches, CheckedModel, Classes, PositiveNumber, Side, Threads
from resnet_compile.compiler import compile  # noqa: A004  # the verb of this package
from resnet_compile.costs import costs
from resnet_compile.errors import DeviceError, ModelFileError, OptionError, ResnetCompileError
from resnet_compile.files import replacing
from resnet_compile.metadata import read_model
from resnet_compile.notebook import html_table
from resnet_compile.options import CompileOptions, adapted
from resnet_compile.plan import plan_network
from resnet_compile.quantize import quantize
from resnet_compile.roofline import Roofline, roofline
from resnet_compile.runtime import Backend, Device, parse_device
from resnet_compile.spec import NetworkSpec, load_spec, parse_spec
from resnet_compile.spec.scaling import scaled

Word = Literal["float32", "float16", "int8"]
Row = Mapping[str, Any]
"""A measurement: a value for each of `COLUMNS`, None where it is not known."""

COLUMNS: Mapping[str, str] = {
    "network": "The network, as it was given.",
    "depth_factor": "Factor of the number of units in every block.",
    "width_factor": "Factor of the channels of every layer.",
    "height": "Rows of an image.",
    "width": "Columns of an image.",
    "batch": "Images at a time.",
    "dtype": "The precision.",
    "threads": "Threads on the CPU; 0 for one per physical core.",
    "parameters": "The number of trainable values.",
    "macs": "Multiply-accumulates for the batch.",
    "activation_bytes": "Bytes of all values, in that precision.",
    "bytes_moved": "Bytes that operators read and write, in that precision.",
    "flop_per_byte": "Operations per byte moved; a multiply-accumulate counts as two.",
    "runs": "The number of timed runs.",
    "p50_s": "Seconds of the median run.",
    "p50_low_s": "Lower end of the median's 95 % interval.",
    "p50_high_s": "Upper end of the median's 95 % interval.",
    "images_per_second": "Images per second at the median time.",
    "gflop_per_second": "10^9 operations per second; a multiply-accumulate counts as two.",
    "device": "The device that it ran on.",
    "processor": "The host's processor.",
    "onnxruntime": "onnxruntime's version.",
    "load_s": "Seconds of opening the session.",
    "first_run_s": "Seconds of the first run.",
    "memory_bytes": "The rise of the process's memory.",
    "time": "When the measurement began, ISO 8601.",
    "error": "Why it could not be measured.",
}
"""The meaning of each column."""
KEYS = ("network", "depth_factor", "width_factor", "height", "width", "batch", "dtype", "threads")
"""The columns that identify a measurement."""
MACHINE = ("device", "processor", "onnxruntime")
"""The columns whose values all rows of a table share."""
WORDS = frozenset({"network", "dtype", *MACHINE, "time", "error"})
"""The columns of text."""
_COSTS = ("parameters", "macs", "activation_bytes", "bytes_moved", "flop_per_byte")
_TIMES = ("runs", "p50_s", "p50_low_s", "p50_high_s", "images_per_second", "gflop_per_second")
_OTHERS = ("load_s", "first_run_s", "memory_bytes", "time", "error")
_BYTES: Mapping[Word, int] = {"float32": 4, "float16": 2, "int8": 1}


_MANY = Field(min_length=1, strict=False)


class Axes(CheckedModel):
    """The axes of a sweep; an axis that is left out keeps each network's own value."""

    depth: Annotated[tuple[PositiveNumber, ...], _MANY] = (1.0,)
    """Factors for the number of units in every block."""

    width: Annotated[tuple[PositiveNumber, ...], _MANY] = (1.0,)
    """Factors for the channels of every layer."""

    size: Annotated[tuple[tuple[Side, Side], ...], _MANY] | None = None
    """Rows and columns of the input."""

    dtype: Annotated[tuple[Word, ...], _MANY] = ("float32",)
    """Precisions; int8 is calibrated on random numbers, which is enough for its speed."""

    batch: Batches = (32,)
    """Images at a time."""

    threads: Annotated[tuple[Threads, ...], _MANY] = (0,)
    """Threads on the CPU; 0 for one per physical core."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """The measurements of a sweep.

    Attributes:
        rows: The rows of this run and of the runs that it continues, in order.
        rooflines: The device's roofline for each number of threads.
        interrupted: Whether Ctrl-C ended the sweep early.
    """

    rows: tuple[Row, ...]
    rooflines: tuple[Roofline, ...]
    interrupted: bool

    @property
    def failed(self) -> tuple[Row, ...]:
        """The rows with an error instead of a measurement."""
        return tuple(row for row in self.rows if row["error"])

    def _repr_html_(self) -> str:
        shown = (*KEYS, "p50_s", "images_per_second", "gflop_per_second", "flop_per_byte", "error")
        return html_table(f"{len(self.rows)} measurements", shown, ([row[name] for name in shown] for row in self.rows))

    def document(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        return {
            "rows": [dict(row) for row in self.rows],
            "rooflines": [
                {
                    "threads": each.threads,
                    "gflop_per_second": each.gflop_per_second,
                    "gbyte_per_second": each.gbyte_per_second,
                }
                for each in self.rooflines
            ],
            "interrupted": self.interrupted,
        }


@dataclass(frozen=True, slots=True)
class _Variant:
    """A network at one depth, width, size and precision. None of these is varied for a model's file."""

    network: str
    model: Path | None
    spec: NetworkSpec | None
    depth: float
    width: float
    dtype: Word

    def subject(self) -> Subject:
        """What is timed."""
        if self.model is not None:
            return Subject(self.network, self.model)
        assert self.spec is not None
        options = CompileOptions(dtype=self.dtype)
        made = quantize(self.spec, options).model if options.dtype.calibrated else compile(self.spec, options)
        return Subject(self.network, made.to_proto().SerializeToString())

    def keys(self, batch: int, threads: int) -> dict[str, Any]:
        """The values of the columns that identify the measurement."""
        height, width = self.spec.input.height if self.spec else None, self.spec.input.width if self.spec else None
        given = (self.network, self.depth, self.width, height, width, batch, self.dtype, threads)
        return dict(zip(KEYS, given, strict=True))

    def costs(self, batch: int) -> dict[str, Any]:
        """The costs by `resnet_compile.costs`, with bytes in the variant's precision; empty if they are unknown."""
        if self.spec is None:
            return {}
        found = costs(self.spec, CompileOptions(batch=batch))
        size = _BYTES[self.dtype] / _BYTES["float32"]
        moved = int(found.bytes_moved * size)
        stored = int(found.activation_bytes * size)
        values = (found.plan.num_parameters, found.macs, stored, moved, round(2 * found.macs / moved, 3))
        return dict(zip(_COSTS, values, strict=True))


class SweepListener:
    """Receives the progress of a sweep; these methods do nothing unless overridden."""

    def started(self, total: int, done: int) -> None:
        """The sweep starts: `total` measurements, of which `done` were made before."""

    def measured(self, row: Row) -> None:
        """A measurement was made."""


def sweep(
    networks: Sequence[str],
    axes: Axes | None = None,
    options: BenchOptions | None = None,
    *,
    num_classes: Classes | Literal["none"] | None = None,
    table: Path | None = None,
    resume: bool = False,
    roofs: bool = True,
    listener: SweepListener | None = None,
    backend: Backend | None = None,
) -> Sweep:
    """Times networks at every combination of the axes.

    A network that cannot be measured gets a row with its error; a resumed sweep tries it again.

    Args:
        networks: Names or files of specs, and ONNX models. For models only batch and threads vary.
        axes: The axes to vary; None for the defaults.
        options: How each network is timed; batches and threads come from the axes instead.
        num_classes: The number of classes, instead of the specs'.
        table: The CSV file for the rows.
        resume: Whether to continue that file.
        roofs: Whether to measure the device's roofline.
        listener: Receives the progress.
        backend: A substitute for the installed onnxruntime.

    Raises:
        SpecError: A spec does not describe a network. Nothing has been measured then.
        OptionError: The file has measurements and `resume` is false, or they were made on another machine.
        ModelFileError: The file is not such a table.
        DeviceError: The device cannot be used.
    """
    axes, options, listener = Axes.given(axes), BenchOptions.given(options), listener or SweepListener()
    variants = [*_variants(networks, axes, num_classes)]
    written = _Table(table, resume=resume)
    points = [*itertools.product(variants, axes.batch, axes.threads)]
    wanted = {tuple(variant.keys(batch, threads).values()) for variant, batch, threads in points}
    listener.started(len(points), len(wanted & written.done))
    interrupted = False
    found: list[Roofline] = []
    subject: tuple[_Variant, Subject] | None = None
    try:
        for variant, batch, threads in points:
            keys = variant.keys(batch, threads)
            if tuple(keys.values()) in written.done:
                continue
            try:
                if subject is None or subject[0] is not variant:
                    subject = variant, variant.subject()
                asked = options.replace(batches=(batch,), threads=threads)
                measured = _measured(subject[1], asked, variant.costs(batch), backend)
            except DeviceError:
                raise
            except ResnetCompileError as error:
                measured = {"error": str(error)}
            row = {**dict.fromkeys(COLUMNS), **keys, **measured}
            written.add(row)
            listener.measured(row)
        device = written.device
        if roofs and device is not None:
            found += [roofline(device, threads, backend=backend) for threads in axes.threads]
    except KeyboardInterrupt:
        if not written.rows:
            raise
        interrupted = True
    return Sweep(tuple(written.rows), tuple(found), interrupted)


def _variants(networks: Sequence[str], axes: Axes, num_classes: int | Literal["none"] | None) -> Iterator[_Variant]:
    """The networks as the axes vary them. Each is planned once, so that an impossible one fails before the sweep."""
    for network in dict.fromkeys(networks):
        if Path(network).suffix == ".onnx":
            yield _model(network, axes)
            continue
        own = load_spec(network)
        for depth, width, size, dtype in itertools.product(axes.depth, axes.width, axes.size or (None,), axes.dtype):
            asked = CompileOptions(size=size, num_classes=num_classes)
            spec = adapted(scaled(own, depth=depth, width=width), asked)
            plan_network(spec)
            yield _Variant(network, None, spec, depth, width, dtype)


def _model(network: str, axes: Axes) -> _Variant:
    if varied := axes.model_fields_set - {"batch", "threads"}:
        fault = f"only batch and threads of a model can be varied, not {min(varied)}"
        raise OptionError(fault, where=network, hint="give its spec")
    said = read_model(Path(network)).metadata
    spec = None if said.spec is None else parse_spec(said.spec)
    dtype: Any = said.dtype or "float32"
    return _Variant(network, Path(network), spec, 1.0, 1.0, dtype)


def _measured(subject: Subject, options: BenchOptions, costs: Row, backend: Backend | None) -> dict[str, Any]:
    """The columns of a measurement.

    Raises:
        KeyboardInterrupt: It was interrupted.
        ResnetCompileError: The measurement failed.
    """
    result = bench([subject], options, backend=backend)
    if result.interrupted:
        raise KeyboardInterrupt
    row = result.rows[0]
    summary = row.summary
    low, high = summary.intervals.get("p50", (None, None))
    rate = 2 * costs["macs"] / summary.p50 / 1e9 if costs else None
    times = (summary.count, summary.p50, low, high, row.images_per_second, rate)
    machine = (result.device, result.environment.cpu.model, row.session["onnxruntime"])
    others = (row.load_seconds, row.first_run_seconds, row.memory_bytes, result.environment.time, None)
    return {
        **costs,
        **dict(zip(_TIMES, times, strict=True)),
        **dict(zip(MACHINE, machine, strict=True)),
        **dict(zip(_OTHERS, others, strict=True)),
    }


class _TriedError(Exception):
    """Ends a trial write so that it leaves no file."""


class _Table:
    """The rows, and their file if there is one."""

    def __init__(self, path: Path | None, *, resume: bool) -> None:
        self._path = path
        self.rows: list[Row] = []
        if path is None:
            return
        if path.exists() and (rows := read_table(path)):
            if not resume:
                raise OptionError(
                    "the table has measurements already", where=str(path), hint="--resume goes on with them"
                )
            self.rows = [row for row in rows if not row["error"]]
        # Find out now whether the path can be written.
        with contextlib.suppress(_TriedError), replacing(path):
            raise _TriedError

    @property
    def done(self) -> set[tuple[Any, ...]]:
        """The keys of the measurements that are done."""
        return {tuple(row[key] for key in KEYS) for row in self.rows if not row["error"]}

    @property
    def device(self) -> Device | None:
        """The device of the measurements; None if there are none."""
        return next((parse_device(row["device"]) for row in self.rows if row["device"]), None)

    def add(self, row: Row) -> None:
        """Adds a row; raises `OptionError` if it was measured on another machine than the others."""
        first = next((each for each in self.rows if each["device"]), row)
        if row["device"] and any(row[name] != first[name] for name in MACHINE):
            theirs, ours = (", ".join(str(each[name]) for name in MACHINE) for each in (first, row))
            hint = "another file for this machine"
            raise OptionError(
                f"the table was measured on {theirs}, and this is {ours}", where=str(self._path), hint=hint
            )
        self.rows.append(row)
        if self._path is not None:
            self._write()

    def _write(self) -> None:
        assert self._path is not None
        with replacing(self._path) as file:
            file.write(table_text(self.rows).encode())


def table_text(rows: Sequence[Row]) -> str:
    """Rows as CSV with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [*COLUMNS], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def read_table(path: Path) -> list[Row]:
    """Reads the rows of a file.

    Raises:
        ModelFileError: The file is not such a table.
    """
    try:
        lines = [*csv.DictReader(io.StringIO(path.read_text("utf-8")))]
        if any(tuple(line) != tuple(COLUMNS) for line in lines):
            raise ValueError
        return [{name: _value(name, text) for name, text in line.items()} for line in lines]
    except (OSError, ValueError, TypeError) as error:
        raise ModelFileError("the file is not a table of resnet-bench", where=str(path)) from error


def _value(name: str, text: str) -> str | int | float | None:
    if name in WORDS:
        return text or None
    number: Callable[[str], int | float] = int if text.isdecimal() else float
    return number(text) if text else None
