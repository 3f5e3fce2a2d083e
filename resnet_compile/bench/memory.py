"""The peak memory of this process."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from pathlib import Path

from resnet_compile.runtime.machine import told_bytes

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


class PeakMemory:
    """Measures how far this process's resident memory rises after this object is made; works on Linux only."""

    def __init__(self) -> None:
        self._before: int | None = None
        # Free what earlier models left: the next model would reuse it and seem to need less.
        gc.collect()
        with contextlib.suppress(OSError, AttributeError, TypeError):
            ctypes.CDLL(None).malloc_trim(0)  # of the GNU C library
        # Writing 5 makes the present size the peak (Linux, proc(5)); some sandboxes forbid it.
        with contextlib.suppress(OSError):
            _CLEAR.write_text("5")
            self._before = told_bytes(_STATUS, "VmRSS")

    def rise(self) -> int | None:
        """The peak since the start minus the size at the start, in bytes; None if it cannot be read."""
        peak = told_bytes(_STATUS, "VmHWM")
        if self._before is None or peak is None:
            return None
        return max(0, peak - self._before)
