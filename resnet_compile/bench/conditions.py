"""What the machine did while a model was timed: clocks, throttling, other work, energy."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Self

from resnet_compile.errors import DeviceError
from resnet_compile.runtime import Backend, CpuState, Device, GpuMonitor, GpuState, cpu_state

POLL = 0.05
"""Seconds between two readings of a GPU's state; a reading takes well under a millisecond."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """The machine's state from before the burn-in to after the last run.

    Attributes:
        cpu_before: The processors' state before.
        cpu_after: The processors' state after.
        gpu_before: The GPU's state before; None if there is no GPU or its state cannot be read.
        gpu_after: The GPU's state after.
        gpu_during: The GPU's state about every 50 ms, each with its time by the clock that times the runs.
        joules: Energy used by the GPU, or by the processors if no GPU was read; None if it cannot be read.
        energy_of: The source of `joules`: ``NVML`` for the GPU, ``RAPL`` for the processor packages.
    """

    cpu_before: CpuState
    cpu_after: CpuState
    gpu_before: GpuState | None
    gpu_after: GpuState | None
    gpu_during: tuple[tuple[float, GpuState], ...]
    joules: float | None
    energy_of: str | None

    @property
    def stolen(self) -> float | None:
        """The fraction of the processors' time that other guests of the same host took; None if unknown."""
        return self.cpu_after.stolen_since(self.cpu_before)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Every reason that the GPU gave for not running at higher clocks."""
        return tuple(dict.fromkeys(reason for _, state in self.gpu_during for reason in state.reasons))

    def clocks(self, which: Callable[[GpuState], int | None]) -> tuple[int, int] | None:
        """The lowest and the highest value of one field of the GPU's state; None if it was never read."""
        values = [value for _, state in self.gpu_during if (value := which(state)) is not None]
        return (min(values), max(values)) if values else None

    def throttled(self, starts: Sequence[float], seconds: Sequence[float]) -> list[bool]:
        """For each run, given its start and duration, whether the GPU may have been throttled.

        The state changes at an unknown time between two readings. So a throttled reading counts from the reading
        before it to the reading after it.
        """
        times = [at for at, _ in self.gpu_during]
        spans = [
            (times[max(0, position - 1)], times[min(len(times) - 1, position + 1)])
            for position, (_, state) in enumerate(self.gpu_during)
            if state.throttled
        ]
        return [
            any(begin < start + length and start < end for begin, end in spans)
            for start, length in zip(starts, seconds, strict=True)
        ]

    def document(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        return {
            **asdict(self),
            "stolen": self.stolen,
            "reasons": list(self.reasons),
            "gpu_during": [{"at": at, **asdict(state), "throttled": state.throttled} for at, state in self.gpu_during],
        }


class Watch:
    """A context that records the machine's state. A thread of its own polls the GPU.

    Args:
        device: The device that the models run on.
        backend: Gives access to the GPU's library.
        clock: Seconds, by the clock that times the runs.

    Raises:
        DeviceError: The GPU was lost; raised when the context ends.
    """

    def __init__(self, device: Device, backend: Backend, clock: Callable[[], float] = time.perf_counter) -> None:
        self._monitor = None if device.on_host else GpuMonitor.open(device.index, backend)
        self._clock = clock
        self._end = threading.Event()
        self._states: list[tuple[float, GpuState]] = []
        self._lost: DeviceError | None = None
        self._thread = threading.Thread(target=self._poll, daemon=True)

    def __enter__(self) -> Self:
        self._cpu = cpu_state()
        if self._monitor:
            self._look()
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        if self._monitor:
            self._thread.join()
            self._look()
            self._monitor.close()
        if self._lost and not isinstance(error, KeyboardInterrupt):
            raise self._lost

    def _poll(self) -> None:
        while not self._end.wait(POLL) and self._lost is None:
            self._look()

    def _look(self) -> None:
        try:
            if self._monitor and self._lost is None:
                self._states.append((self._clock(), self._monitor.state()))
        except DeviceError as error:
            self._lost = error

    def conditions(self) -> Conditions:
        """The recorded state. Call this after the context has ended."""
        states, after = self._states, cpu_state()
        first, last = (states[0][1], states[-1][1]) if states else (None, None)
        joules, source = after.joules_since(self._cpu), "RAPL"
        if first and last and first.energy_j is not None and last.energy_j is not None:
            joules, source = last.energy_j - first.energy_j, "NVML"
        elif first:
            joules = None  # the GPU did the work, so the host's energy is not its energy
        return Conditions(self._cpu, after, first, last, tuple(states), joules, None if joules is None else source)
