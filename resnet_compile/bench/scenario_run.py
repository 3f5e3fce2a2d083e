"""Runs a model under a scenario: opens it, lays out the samples, sends the queries."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from resnet_compile.bench.conditions import Watch
from resnet_compile.bench.environment import Surroundings
from resnet_compile.bench.mlperf import (
    MINIMUM_SECONDS,
    OFFLINE_SAMPLES,
    OFFLINE_SLACK,
    SCENARIOS,
    arrivals,
)
from resnet_compile.bench.options import ScenarioOptions
from resnet_compile.bench.queries import Clock, MachineClock, Queries, decide, serve, stream
from resnet_compile.bench.record import Data
from resnet_compile.bench.run import Subject
from resnet_compile.bench.samples import Samples
from resnet_compile.bench.scenario_record import ScenarioRun, Trial
from resnet_compile.errors import OptionError
from resnet_compile.runtime import Backend, Session, SessionOptions, installed_backend

_TRIALS = 8
_MOST_QUERIES = 10_000_000  # of a server, whose arrivals lie in memory
_NEAR = 0.02
"""The search ends when its two rates differ by no more than this fraction of the higher one."""
_TARGET = 0.99
"""The fraction of the queries that must keep a latency bound."""


class ScenarioListener:
    """Receives the progress of a scenario. This class ignores it."""

    def started(self, session: Session, shape: tuple[int, ...], data: Data) -> None:
        """The model is loaded and has run."""

    def sending(self, what: str, seconds: float | None) -> None:
        """Queries begin. `what` names the setting; `seconds` is their duration, or None if unknown."""

    def answered(self, count: int, now: float) -> None:
        """`count` queries are answered, `now` seconds after the first was sent."""


def run_scenario(
    subject: Subject,
    options: ScenarioOptions | None = None,
    *,
    listener: ScenarioListener | None = None,
    backend: Backend | None = None,
    clock: Clock | None = None,
) -> ScenarioRun:
    """Runs a model under one of MLPerf inference's scenarios, or finds the batch size that keeps a latency bound.

    Samples are random images in host memory. On a GPU every query's time includes the copies there and back.

    Args:
        subject: The model.
        options: The scenario and its settings.
        listener: Receives the progress.
        backend: Replaces the installed onnxruntime.
        clock: Replaces the machine's clock.

    Raises:
        KeyboardInterrupt: An interrupt came before anything was measured. A later one ends the run early, and the
            results so far are returned.
        ModelFileError: The file is not a model, or the model is not an image network.
        OptionError: The model does not take the batch size, or the scenario does not.
        DeviceError: The device cannot be used.
        ResnetCompileError: A run failed.
    """
    if not isinstance(subject, Subject):
        raise OptionError("must be a Subject", where="subject")
    options = ScenarioOptions.given(options)
    work = _Scenario(subject, options, listener or ScenarioListener(), backend or installed_backend(), clock)
    return work.run()


class _Scenario:
    """A scenario in progress, with its trials so far."""

    def __init__(
        self,
        subject: Subject,
        options: ScenarioOptions,
        listener: ScenarioListener,
        backend: Backend,
        clock: Clock | None,
    ) -> None:
        self._subject, self._options, self._listener, self._backend = subject, options, listener, backend
        self._clock = clock or MachineClock()
        self._surroundings = Surroundings()
        self._trials: list[Trial] = []
        scenario = SCENARIOS[options.scenario] if options.scenario else None
        if scenario and options.batches and len(options.batches) > 1:
            raise OptionError("a scenario has one batch size", where="batches")
        settings = SessionOptions(
            threads=options.threads,
            cuda_graph=options.cuda_graph,
            cpu_fallback=options.cpu_fallback,
            log_severity=options.log_severity,
        )
        batch, default = options.batches[0] if options.batches else None, scenario.batch if scenario else 1
        self._samples = Samples(subject, options.device, settings, backend, batch, default)
        divided = scenario.query if scenario and options.scenario != "server" else None
        if divided and divided % self._samples.batch:
            message = f"batch must divide a query's {divided} images, got {self._samples.batch}"
            raise OptionError(message, where="batches")

    def run(self) -> ScenarioRun:
        """Runs all trials."""
        try:
            self._listener.started(self._samples.session, self._samples.shape, self._data())
            match self._options.scenario:
                case "single" | "multi" as name:
                    self._stream(SCENARIOS[name].query or 1, SCENARIOS[name].queries, SCENARIOS[name].percentile)
                case "offline":
                    self._offline()
                case "server":
                    self._server()
                case None:
                    self._bounded()
            interrupted = any(trial.queries.interrupted for trial in self._trials)
        except KeyboardInterrupt:
            if not self._trials:
                raise
            interrupted = True
        return ScenarioRun(
            model=self._subject.label,
            options=self._options,
            shape=self._samples.shape,
            data=self._data(),
            loaded=self._samples.loaded,
            trials=tuple(self._trials),
            session=self._samples.session.record(),
            device=str(self._samples.session.device),
            device_reason=self._samples.session.reason,
            environment=self._surroundings.environment(self._samples.session.device, self._backend),
            interrupted=interrupted,
        )

    def _data(self) -> Data:
        return "host" if self._samples.session.device.on_host else "host to host"

    def _runner(self, batch: int, step: int = 1) -> Callable[[int], None]:
        return self._samples.runner(batch, burn_in=self._options.burn_in, step=step)

    def _stream(self, samples: int, queries: int, percentile: float | None) -> None:
        batch, options = self._samples.batch, self._options
        run = self._runner(batch)

        def send(number: int) -> None:
            first = self._samples.drawn(number)
            for start in range(first, first + samples, batch):
                run(start % self._samples.loaded)

        shortened = options.seconds < MINIMUM_SECONDS
        self._listener.sending(f"queries of {samples}", options.seconds)
        wanted = 1 if shortened else queries
        self._keep(batch, samples, partial(stream, send, options.seconds, wanted), percentile=percentile)

    def _offline(self) -> None:
        """One query of all samples, in batches. As in the rules, their number follows from the expected rate."""
        batch, options = self._samples.batch, self._options
        run = self._runner(batch, batch)
        starts = itertools.cycle(range(0, self._samples.loaded, batch))
        rate = batch / self._time_of(run)
        fewest = OFFLINE_SAMPLES if options.seconds >= MINIMUM_SECONDS else batch
        batches = -(-max(fewest, int(OFFLINE_SLACK * options.seconds * rate)) // batch)
        self._listener.sending(f"{batches * batch:,} samples", batches * batch / rate)
        self._keep(batch, batch, partial(stream, lambda number: run(next(starts)), 0, batches))

    def _server(self) -> None:
        """One run at the given rate, or a bisection for the highest rate that passes."""
        batch, options = self._samples.batch, self._options
        # Fewer queries than a batch run at the next power of two, if the model's batch size is open.
        smaller = [] if self._samples.fixed_batch else [2**power for power in range(batch.bit_length())]
        runs = {size: self._runner(size) for size in (*(size for size in smaller if size < batch), batch)}

        def send(first: int, count: int) -> None:
            size = next(size for size in runs if size >= count)
            runs[size](self._samples.drawn(first))

        if options.rate is not None:
            self._serve(options.rate, send)
            return
        low, high = 0.0, 1.1 * batch / self._time_of(runs[batch])
        for _ in range(_TRIALS):
            rate = (low + high) / 2
            trial = self._serve(rate, send)
            if trial.queries.interrupted:
                return
            low, high = (rate, high) if trial.holds else (low, rate)
            if high - low <= _NEAR * high:
                return

    def _serve(self, rate: float, send: Callable[[int, int], None]) -> Trial:
        options, scenario = self._options, SCENARIOS["server"]
        if rate * options.seconds > _MOST_QUERIES:
            message = f"{rate:g} queries a second for {options.seconds:g} s are more than {_MOST_QUERIES:,}"
            raise OptionError(message, where="rate")
        times = arrivals(rate, options.seconds, scenario.queries).tolist()
        self._listener.sending(f"{rate:.4g} queries a second", times[-1])
        send_all = partial(serve, send, times, self._samples.batch, options.bound, _TARGET)
        return self._keep(self._samples.batch, 1, send_all, rate=rate, bound=options.bound, percentile=_TARGET)

    def _bounded(self) -> None:
        """Tries batch sizes in turn. Where none were given, it stops at the first that breaks the bound."""
        for batch in self._sizes():
            run = self._runner(batch)
            self._listener.sending(f"batches of {batch}", None)
            bound = self._options.bound
            send_all = partial(decide, partial(self._run_drawn, run), bound, _TARGET)
            trial = self._keep(batch, batch, send_all, bound=bound, percentile=_TARGET)
            if trial.queries.interrupted or not (trial.holds or self._options.batches):
                return

    def _run_drawn(self, run: Callable[[int], None], number: int) -> None:
        run(self._samples.drawn(number))

    def _sizes(self) -> Iterator[int]:
        if self._options.batches or self._samples.fixed_batch:
            yield from self._options.batches or (self._samples.batch,)
            return
        yield from (2**power for power in range(13))

    def _time_of(self, run: Callable[[int], None]) -> float:
        """The median time of five runs, in seconds."""
        found = stream(lambda number: run(0), 0, 5, clock=self._clock)
        return float(np.median(found.latencies))

    def _keep(self, batch: int, samples: int, send: Callable[..., Queries], **more: float | None) -> Trial:
        """Sends queries of `samples` images each, or batches of one query, and keeps the outcome as a trial."""
        with Watch(self._samples.session.device, self._backend) as watch:
            found = send(clock=self._clock, told=self._listener.answered)
        trial = Trial(batch, len(found.latencies) * samples, found, conditions=watch.conditions(), **more)
        self._trials.append(trial)
        return trial
