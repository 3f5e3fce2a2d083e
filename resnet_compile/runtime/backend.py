"""The machine that models run on, as one value that tests can replace."""

from __future__ import annotations

import contextlib
import ctypes
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from resnet_compile.errors import DeviceError


def _output_of(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    return done.stdout


def _installed_nvml() -> Any:
    with contextlib.suppress(ImportError):
        import pynvml  # deferred: of `nvidia-ml-py`, which the extra "cuda" brings

        return pynvml
    return None


def _installed_openvino() -> Any:
    with contextlib.suppress(ImportError):
        import openvino  # deferred: an extra, and slow to import

        return openvino
    return None


@dataclass(frozen=True, slots=True)
class Backend:
    """The onnxruntime module, the loader of shared libraries, and the caller of tools.

    Attributes:
        onnxruntime: The module, or what stands in for it.
        load_library: Opens a shared library by name and raises OSError when it cannot.
        platform: As `sys.platform`; it decides the names of libraries.
        load_nvml: Returns the module of NVIDIA's management library, not initialised; None if it is not installed.
        output_of: Runs a command and returns its stdout; raises OSError or `subprocess.SubprocessError`.
        load_openvino: Returns the module of OpenVINO; None if it is not installed.
    """

    onnxruntime: Any
    load_library: Callable[[str], Any] = ctypes.CDLL
    platform: str = sys.platform
    load_nvml: Callable[[], Any] = _installed_nvml
    output_of: Callable[[Sequence[str]], str] = _output_of
    load_openvino: Callable[[], Any] = _installed_openvino

    def error_types(self, *names: str) -> tuple[type[Exception], ...]:
        """onnxruntime's exception classes with these names. They have no common base class of their own."""
        native = self.onnxruntime.capi.onnxruntime_pybind11_state
        return tuple(getattr(native, name) for name in names)


def installed_backend() -> Backend:
    """The onnxruntime that is installed, with its telemetry off.

    Raises:
        DeviceError: onnxruntime is missing or does not load.
    """
    try:
        # Deferred, since it takes a noticeable part of a second.
        import onnxruntime
    except ImportError as error:
        raise DeviceError(f"onnxruntime does not load: {error}", hint="pip install .") from error
    # The environment variable comes too late where someone imported onnxruntime before this package.
    onnxruntime.disable_telemetry_events()
    return Backend(onnxruntime)
