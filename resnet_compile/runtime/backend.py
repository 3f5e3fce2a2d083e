"""What running a model needs from the machine, as one value, so that a test can put another machine in its place."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from resnet_compile.errors import DeviceError


@dataclass(frozen=True, slots=True)
class Backend:
    """The onnxruntime module and the loader of shared libraries.

    Attributes:
        onnxruntime: The module, or what stands in for it.
        load_library: Opens a shared library by name and raises OSError when it cannot.
        platform: As `sys.platform`; it decides what libraries are called.
    """

    onnxruntime: Any
    load_library: Callable[[str], Any] = ctypes.CDLL
    platform: str = sys.platform

    def error_types(self, *names: str) -> tuple[type[Exception], ...]:
        """The exception classes of onnxruntime of these names; it has no base class of its own for them."""
        native = self.onnxruntime.capi.onnxruntime_pybind11_state
        return tuple(getattr(native, name) for name in names)


def installed_backend() -> Backend:
    """The onnxruntime that is installed, with its telemetry off.

    Raises:
        DeviceError: There is none, or it does not load.
    """
    try:
        # Deferred, since it takes a noticeable part of a second.
        import onnxruntime  # type: ignore[import-untyped]
    except ImportError as error:
        raise DeviceError(f"onnxruntime does not load: {error}", hint="pip install .") from error
    # The environment variable comes too late where someone imported onnxruntime before this package.
    onnxruntime.disable_telemetry_events()
    return Backend(onnxruntime)
