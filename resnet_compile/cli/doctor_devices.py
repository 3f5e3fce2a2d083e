"""The checks of ``resnet-doctor`` that run a tiny network."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

import resnet_compile as rc
from resnet_compile.cli.common import Report
from resnet_compile.errors import DeviceError, ResnetCompileError
from resnet_compile.serialize import DEFAULT_OPSET, NEWEST_OPSET, OLDEST_OPSET


def examined(report: Report) -> dict[str, Any]:
    """The state of onnxruntime on this machine, as a part of the JSON document."""
    try:
        backend = rc.runtime.installed_backend()
    except DeviceError as error:
        return {"onnxruntime": None, "devices": [_said("cpu", False, error.message, error.hint)]}
    module = backend.onnxruntime
    gpu = rc.runtime.describe_gpu(0, backend)
    first, *others = (rc.runtime.Device(provider) for provider in rc.runtime.PROVIDERS)
    cpu, expected = _verdict(first, backend)
    report.note(f"onnxruntime lies in {getattr(module, '__file__', None)}")
    return {
        "onnxruntime": {
            "version": module.__version__,
            "cuda": getattr(module, "cuda_version", "") or None,
            "providers_built_in": list(module.get_available_providers()),
            "telemetry": "off" if rc.runtime.telemetry_is_off() else "on",
        },
        "gpu": asdict(gpu) if gpu else None,
        "opsets": _opsets(backend),
        "devices": [cpu, *(_verdict(device, backend, expected)[0] for device in others)],
    }


def _verdict(
    device: rc.runtime.Device, backend: rc.runtime.Backend, expected: NDArray[np.float32] | None = None
) -> tuple[dict[str, Any], NDArray[np.float32] | None]:
    """The verdict on a device, and its logits, which are compared with `expected`."""
    name = str(device)
    try:
        logits = _tiny_logits(_tiny_model(DEFAULT_OPSET)[0], name, backend)
    except ResnetCompileError as error:
        return _said(name, False, error.message, error.hint), None
    if expected is None:
        return _said(name, True, "runs a network"), logits
    difference = float(np.linalg.norm(logits - expected) / np.linalg.norm(expected))
    if not difference <= device.provider.most_difference:
        finding = f"runs a network, but its result differs from the CPU's by {difference:.1e}"
        return _said(name, False, finding), logits
    return _said(name, True, f"runs a network; its result is the CPU's to {difference:.0e}"), logits


def _said(device: str, usable: bool, finding: str, hint: str | None = None) -> dict[str, Any]:
    return {"device": device, "usable": usable, "finding": finding, "hint": hint}


def _tiny_model(opset: int) -> tuple[bytes, int]:
    """The catalogue's tiny network as a compiled model, and its IR version."""
    options = rc.CompileOptions(batch=1, outputs=("logits",), opset=opset)
    model = rc.compile(rc.load_spec("tiny"), options).to_proto()
    return model.SerializeToString(), model.ir_version


def _tiny_logits(model: bytes, device: str, backend: rc.runtime.Backend) -> NDArray[np.float32]:
    """The logits of the tiny network for one image."""
    session = rc.runtime.Session.open(model, device, backend=backend)
    ((name, info),) = session.inputs.items()
    x = np.random.default_rng(0).random([int(axis or 1) for axis in info.shape], np.float32)
    (logits,) = session.run({name: x}).values()
    return np.asarray(logits, np.float32)


def _opsets(backend: rc.runtime.Backend) -> list[dict[str, Any]]:
    """The opsets that resnet-compile writes, each with its IR version, and whether this onnxruntime runs it."""
    found = []
    for opset in range(OLDEST_OPSET, NEWEST_OPSET + 1):
        model, ir_version = _tiny_model(opset)
        try:
            _tiny_logits(model, "cpu", backend)
            runs = True
        except ResnetCompileError:
            runs = False
        found.append({"opset": opset, "ir_version": ir_version, "runs": runs})
    return found
