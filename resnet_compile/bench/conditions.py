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
"""Seconds between two looks at a GPU; the library answers in well under a millisecond."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the machine did from before the burn-in to after the last run.

    Attributes:
        cpu_before: The processors before.
        cpu_after: The processors after.
        gpu_before: The GPU before; None where there is none, or it cannot be asked.
        gpu_after: The GPU after.
        gpu_during: What it was at each look, about every 50 ms, with the look's time by the clock of the runs.
        joules: What the GPU took, or else the processors; None where neither can be read.
        energy_of: Whose energy that is: ``NVML``, the GPU's, or ``RAPL``, the processor packages'.
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
        """The part of the processors' time that other guests of the machine took."""
        return self.cpu_after.stolen_since(self.cpu_before)

    @property
    def reasons(self) -> tuple[str, ...]:
        """All reasons for which the GPU's clocks were not higher."""
        return tuple(dict.fromkeys(reason for _, state in self.gpu_during for reason in state.reasons))

    def clocks(self, which: Callable[[GpuState], int | None]) -> tuple[int, int] | None:
        """The lowest and the highest value that a field of the GPU had meanwhile."""
        values = [value for _, state in self.gpu_during if (value := which(state)) is not None]
        return (min(values), max(values)) if values else None

    def throttled(self, starts: Sequence[float], seconds: Sequence[float]) -> list[bool]:
        """Of runs by their starts and durations, which ones a throttled GPU may have run.

        A state holds from the look before it to the look after it, since it changed at an unknown time between two.
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
        """The same as plain JSON values."""
        return {
            **asdict(self),
            "stolen": self.stolen,
            "reasons": list(self.reasons),
            "gpu_during": [{"at": at, **asdict(state), "throttled": state.throttled} for at, state in self.gpu_during],
        }


class Watch:
    """Watches the machine while it is open, a GPU from a thread of its own.

    Args:
        device: What the models run on.
        backend: Where the GPU's library is had from.
        clock: Seconds; of the same clock as the runs.

    Raises:
        DeviceError: On leaving: the GPU was lost meanwhile.
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
        """What was seen; to be asked after leaving."""
        states, after = self._states, cpu_state()
        first, last = (states[0][1], states[-1][1]) if states else (None, None)
        joules, source = after.joules_since(self._cpu), "RAPL"
        if first and last and first.energy_j is not None and last.energy_j is not None:
            joules, source = last.energy_j - first.energy_j, "NVML"
        elif first:
            joules = None  # the host's energy is not that of the work
        return Conditions(self._cpu, after, first, last, tuple(states), joules, None if joules is None else source)
