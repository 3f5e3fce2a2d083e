"""A benchmark from beginning to end: open, bind, time, compare, profile."""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_compile.bench.conditions import Conditions, Watch
from resnet_compile.bench.environment import Surroundings
from resnet_compile.bench.inputs import DEFAULT_BATCH, DEFAULT_SIZE, random_images
from resnet_compile.bench.memory import PeakMemory
from resnet_compile.bench.options import BenchOptions, variant_settings
from resnet_compile.bench.profile import Profile, read_profile
from resnet_compile.bench.protocol import Measured, measure
from resnet_compile.bench.record import Bench, Data, Row, Sized
from resnet_compile.bench.statistics import Comparison, median_ratio
from resnet_compile.checked import CheckedModel, Natural, Side, checked_call
from resnet_compile.errors import OptionError
from resnet_compile.runtime import (
    AUTO,
    Backend,
    Device,
    Session,
    SessionOptions,
    describe_gpu,
    flusher,
    image_input,
    installed_backend,
    parse_device,
)

_BUFFERS = 4
_OPENINGS = 5
_PROFILED_RUNS = 10


@dataclass(frozen=True, slots=True)
class Subject:
    """A model to time.

    Attributes:
        label: Its name in the results; every subject has its own.
        model: A file's path, or a serialized model.
        macs: Multiply-accumulates per image; None if unknown.
        size: Rows and columns of the input, for a model that leaves them open.
        variant: How CUDA runs it: names of `VARIANTS` joined by ``+``; empty for the defaults.
        device: Its own device; None for that of the benchmark's options.
    """

    label: str
    model: Path | bytes
    macs: int | None = None
    size: tuple[int, int] | None = None
    variant: str = ""
    device: str | None = None

    def __post_init__(self) -> None:
        _check_subject(self.label, self.model, self.macs, self.size)
        variant_settings(self.variant)


@checked_call(CheckedModel)
def _check_subject(
    label: str, model: str | os.PathLike[str] | bytes, macs: Natural | None, size: tuple[Side, Side] | None
) -> None:
    """Lets annotations do the checking."""


class BenchListener:
    """Receives the progress of a benchmark. This class ignores it."""

    def started(self, subject: Subject, session: Session, shape: tuple[int, ...], data: Data) -> None:
        """A burn-in begins. The subject is the first of those that are timed together."""

    def round(self, number: int, seconds: Mapping[str, float]) -> None:
        """A timed round is complete. `seconds` are by label."""

    def finished(self, rows: Sequence[Row]) -> None:
        """All rounds at one batch size are over."""


def bench(
    subjects: Sequence[Subject],
    options: BenchOptions | None = None,
    *,
    listener: BenchListener | None = None,
    backend: Backend | None = None,
) -> Bench:
    """Times the first subject, alone or against the others.

    Several subjects are timed without spinning. A session's spinning threads wait busily for its next run, and so take
    the cores from the session that runs. (`tools/measure_spinning.py` on two busy cores: beside a second session
    ResNet-50 takes 1.34 times as long with spinning, and 0.97 times without.) Four times during the
    benchmark, all sessions are closed and opened anew in random order, with a new burn-in. Otherwise the results would
    depend on chance: the place of a session's memory changes its speed by half a percent, and sessions that are opened
    first are slower.

    Args:
        subjects: One or more models, whose labels differ.
        options: How to time them.
        listener: Receives the progress.
        backend: Replaces the installed onnxruntime.

    Raises:
        KeyboardInterrupt: An interrupt came before anything was measured. A later one ends the benchmark early, and
            the results so far are returned.
        ModelFileError: A file is not a model, or a model is not an image network.
        OptionError: A model does not take the batch size, or the models take images of different sizes.
        DeviceError: The device cannot be used.
        ResnetCompileError: A run failed.
    """
    options = BenchOptions.given(options)
    if not isinstance(subjects, Sequence) or not subjects or not all(isinstance(each, Subject) for each in subjects):
        raise OptionError("subjects must be a list of at least one Subject", where="subjects")
    if len({each.label for each in subjects}) < len(subjects):
        raise OptionError("subjects must have different labels", where="subjects")
    if options.protocol.until and len(subjects) > 1:
        raise OptionError("several models are timed for a number of rounds", where="protocol.until")
    backend = backend or installed_backend()
    surroundings = Surroundings()
    work = _Benchmark(options, listener or BenchListener(), backend)
    if options.profile and work.device and work.device.provider.engine:
        raise OptionError("profiles are made by onnxruntime alone", where="profile", hint="--device cpu")
    interrupted = False
    try:
        for batch in options.batches or (None,):
            work.time(subjects, batch)
        if options.profile:
            work.run_profile(subjects[0])
    except KeyboardInterrupt:
        if not work.rows:
            raise
        interrupted = True
    return Bench(
        options,
        surroundings.environment(work.device, backend),
        str(work.device),
        work.reason,
        tuple(work.rows),
        tuple(work.comparisons),
        work.profile,
        interrupted,
    )


@dataclass(frozen=True, slots=True)
class _Opened:
    """A loaded subject after its first run. Its row has no timed runs yet."""

    session: Session
    images: list[dict[str, NDArray[Any]]]
    outputs: dict[str, NDArray[Any]]
    row: Row


class _Benchmark:
    """A benchmark in progress, with its results so far."""

    def __init__(self, options: BenchOptions, listener: BenchListener, backend: Backend) -> None:
        self._options = options
        self._listener = listener
        self._backend = backend
        self.device = parse_device(options.device)
        self.reason = ""
        self.rows: list[Row] = []
        self.comparisons: list[Sized] = []
        self.profile: Profile | None = None

    def time(self, subjects: Sequence[Subject], batch: int | None) -> None:
        """Times all subjects at one batch size. An interrupt is raised again after the measured rounds are kept."""
        control = (replace(subjects[0], label=f"{subjects[0].label} (again)"),) if len(subjects) > 1 else ()
        # On different devices, only host memory is the same place.
        for transfer in (True,) if subjects[0].device else (False, True):
            self._time_rows((*subjects, *control), batch, transfer=transfer)
            if self.device and self.device.on_host:
                break

    def _time_rows(self, contestants: Sequence[Subject], batch: int | None, *, transfer: bool) -> None:
        """Times contestants with their data in one place. They are opened anew for each part of the steps."""
        protocol = self._options.protocol
        generator = np.random.default_rng(protocol.seed)
        rows: list[Row] = []
        throttled: list[bool] = []
        try:
            for steps in _parts(protocol.steps, _OPENINGS if len(contestants) > 1 else 1):
                opened = self._open_all(contestants, batch, generator)
                bindings = [each.session.bind(each.images, each.outputs, transfer=transfer) for each in opened]
                # A GPU among the devices is the one to watch.
                device = min((each.session.device for each in opened), key=lambda device: device.on_host)
                if not rows:
                    self.device, self.reason = opened[0].session.device, self.reason or opened[0].session.reason
                    rows = [
                        replace(
                            each.row,
                            data=_data(each.session.device, transfer),
                            buffers=bindings[0].buffers,
                            error=output_error(each.outputs, opened[0].outputs) if number else None,
                        )
                        for number, each in enumerate(opened)
                    ]
                    self._listener.started(contestants[0], opened[0].session, opened[0].row.shape, rows[0].data)
                done = len(rows[0].seconds)
                with Watch(device, self._backend) as watch:
                    measured = measure(
                        {row.model: binding.run for row, binding in zip(rows, bindings, strict=True)},
                        protocol.replace(steps=steps, seed=protocol.seed + done),
                        on_round=partial(self._tell, done),
                        before_run=flusher(device, self._backend) if self._options.flush else lambda: None,
                    )
                conditions = watch.conditions()
                rows = extended(rows, measured, conditions, protocol.burn_in)
                throttled += throttled_rounds(measured, conditions)
                if measured.interrupted:
                    raise KeyboardInterrupt
                del opened, bindings
        except KeyboardInterrupt:
            if rows and rows[0].seconds:
                self._conclude(without_throttled(rows, throttled))
            raise
        self._conclude(without_throttled(rows, throttled))

    def _tell(self, done: int, number: int, seconds: Mapping[str, float]) -> None:
        self._listener.round(done + number, seconds)

    def _conclude(self, rows: list[Row]) -> None:
        """Keeps the rows and compares the first with the others. The last of several rows is the control."""
        control = rows.pop() if len(rows) > 1 else None
        self._listener.finished(rows)
        self.rows += rows
        if control is None:
            return
        noise = median_ratio(rows[0].seconds, control.seconds)
        for row in rows[1:]:
            ratio = median_ratio(rows[0].seconds, row.seconds)
            self.comparisons.append(Sized(row.batch, row.data, Comparison(rows[0].model, row.model, ratio, noise)))

    def _open_all(
        self, contestants: Sequence[Subject], batch: int | None, generator: np.random.Generator
    ) -> list[_Opened]:
        """Opens the contestants in random order. The result has them in the given order."""
        settings = SessionOptions(
            threads=self._options.threads,
            spinning=len(contestants) == 1,
            cuda_graph=self._options.cuda_graph,
            cpu_fallback=self._options.cpu_fallback,
            log_severity=self._options.log_severity,
        )
        opened = {
            position: self._open(contestants[position], batch, settings)
            for position in generator.permutation(len(contestants))
        }
        ordered = [opened[position] for position in range(len(contestants))]
        for other in ordered[1:]:
            _require_same_images(ordered[0].row, other.row)
        return ordered

    def _open(self, subject: Subject, batch: int | None, settings: SessionOptions) -> _Opened:
        memory, gpu_before = PeakMemory(), self._gpu_memory()
        start = time.perf_counter()
        settings = settings.replace(**variant_settings(subject.variant))
        wanted = subject.device or str(self.device or "auto")
        session = Session.open(subject.model, wanted, settings, backend=self._backend)
        load_seconds = time.perf_counter() - start
        if subject.device is None:
            # Keep the choice of `auto`, so that all subjects run on the same device.
            self.device, self.reason = session.device, self.reason or session.reason
        if settings.cuda_graph and not session.device.provider.records:
            raise OptionError("a CUDA graph needs a CUDA device", hint="--device cuda")
        if subject.variant and session.device.on_host:
            raise OptionError(f"{subject.variant} is a variant of CUDA's", hint="--device cuda")
        source = image_input(session)
        shape = source.shape(source.batch_size(batch, DEFAULT_BATCH), subject.size or DEFAULT_SIZE)
        images = random_images(source, shape, _BUFFERS, seed=0)
        start = time.perf_counter()
        outputs = session.first_run(images[0])
        first_run_seconds = time.perf_counter() - start
        gpu_after = self._gpu_memory()
        gpu_rise = None if gpu_before is None or gpu_after is None else gpu_after - gpu_before
        row = Row(
            subject.label,
            shape[0],
            "host",
            shape,
            len(images),
            (),
            subject.macs,
            load_seconds,
            first_run_seconds,
            memory.rise(),
            gpu_rise,
            session.record(),
        )
        return _Opened(session, images, outputs, row)

    def _gpu_memory(self) -> int | None:
        device = self.device or Device(AUTO[0])
        gpu = None if device.on_host else describe_gpu(device.index, self._backend)
        return gpu.used_mb if gpu else None

    def run_profile(self, subject: Subject) -> None:
        """Profiles a subject at the last batch size, in a session of its own, since profiling costs time."""
        runs = min(_PROFILED_RUNS, self._options.protocol.steps)
        with tempfile.TemporaryDirectory() as folder:
            settings = SessionOptions(
                threads=self._options.threads,
                cpu_fallback=self._options.cpu_fallback,
                profile=str(Path(folder, "profile")),
            )
            opened = self._open(subject, self.rows[-1].batch, settings)
            for number in range(runs):
                opened.session.run(opened.images[number % len(opened.images)])
            self.profile = read_profile(opened.session.end_profile(), subject.label, opened.row.batch, skip=1)


def output_error(outputs: Mapping[str, NDArray[Any]], reference: Mapping[str, NDArray[Any]]) -> float | None:
    """The greatest relative error (norm of the difference / norm) of all outputs.

    None if names or shapes differ, or an output holds no real numbers.
    """
    if {name: each.shape for name, each in outputs.items()} != {name: each.shape for name, each in reference.items()}:
        return None
    if not all(np.issubdtype(each.dtype, np.floating) for each in (*outputs.values(), *reference.values())):
        return None
    exact = {name: each.astype(np.float64) for name, each in reference.items()}
    norms = {name: float(np.linalg.norm(each)) for name, each in exact.items()}
    errors = [float(np.linalg.norm(outputs[name] - exact[name])) / (norms[name] or 1.0) for name in exact]
    return max(errors, default=None)


def _data(device: Device, transfer: bool) -> Data:
    return "host" if device.on_host else "host to host" if transfer else "device"


def extended(rows: Sequence[Row], measured: Measured, conditions: Conditions, burn_in: int) -> list[Row]:
    """The rows, extended by the runs of one more part."""
    joules, rounds = conditions.joules, len(measured.seconds[rows[0].model]) + burn_in
    return [
        replace(
            row,
            seconds=(*row.seconds, *measured.seconds[row.model]),
            conditions=(*row.conditions, conditions),
            images_per_joule=row.batch * rounds / joules if joules and len(rows) == 1 else None,
        )
        for row in rows
    ]


def throttled_rounds(measured: Measured, conditions: Conditions) -> list[bool]:
    """For each round, whether the GPU may have been throttled during any of its runs."""
    by_model = (conditions.throttled(measured.starts[model], seconds) for model, seconds in measured.seconds.items())
    return [any(each) for each in zip(*by_model, strict=True)]


def without_throttled(rows: Sequence[Row], throttled: Sequence[bool]) -> list[Row]:
    """The rows without the rounds on a throttled GPU, but with their number. If all rounds are throttled, all stay.

    Whole rounds are left out, since the runs of one round are compared with each other.
    """
    chosen = [all(throttled) or not each for each in throttled]
    return [
        replace(row, seconds=tuple(itertools.compress(row.seconds, chosen)), throttled=sum(throttled)) for row in rows
    ]


def _parts(steps: int, most: int) -> list[int]:
    """Divides `steps` into at most `most` parts that differ by one step at most."""
    parts = min(steps, most)
    return [steps // parts + (number < steps % parts) for number in range(parts)]


def _require_same_images(first: Row, other: Row) -> None:
    """Checks that both models take the same channels, rows and columns, in any order of axes."""
    if sorted(first.shape) != sorted(other.shape):
        shapes = [f"{each.model} takes {list(each.shape)}" for each in (first, other)]
        raise OptionError(f"models of different input sizes cannot be compared: {' and '.join(shapes)}")
