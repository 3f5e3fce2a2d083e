"""``resnet-doctor``."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from resnet_compile.cli.common import Report, command, run
from resnet_compile.errors import DeviceError, ResnetCompileError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from resnet_compile.runtime import Backend

# Logits of the tiny network on a device against those on the CPU, norm of the difference over norm: float32 summed in
# another order is a hundred times nearer.
_MOST_DIFFERENCE = 1e-4


@dataclass(frozen=True, slots=True)
class DeviceVerdict:
    """Whether a device runs a network, and what was seen or what is missing."""

    device: str
    usable: bool
    finding: str
    hint: str | None = None


@command("resnet-doctor")
def cli(report: Report) -> None:
    """Tell what this machine can run: packages, onnxruntime's providers, GPU and driver, and a verdict for each device.

    A device is usable when a tiny network, compiled on the spot, runs on it and gives the CPU's result. The exit code
    is 0 when the CPU is usable, and 4 otherwise.
    """
    # Deferred, so that --help needs none of it.
    from resnet_compile.runtime import describe_cpu, installed_backend, installed_packages, onnxruntime_wheels

    packages = installed_packages()
    faults = _package_faults(onnxruntime_wheels(packages))
    document: dict[str, Any] = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": packages,
        "cpu": asdict(describe_cpu()),
    }
    try:
        backend = installed_backend()
    except DeviceError as error:
        document |= {"onnxruntime": None, "devices": [asdict(DeviceVerdict("cpu", False, error.message, error.hint))]}
    else:
        document |= _examined(backend, report)
    document["faults"] = faults
    report.result(document, lambda: _text(document))
    if not document["devices"][0]["usable"]:
        raise DeviceError("not even the CPU runs a network", where="cpu")


def _package_faults(wheels: list[str]) -> list[str]:
    if len(wheels) < 2:
        return []
    names = " ".join(wheels)
    return [
        f"{' and '.join(wheels)} are both installed and overwrite each other's files "
        f"(pip uninstall {names}, then pip install . again)"
    ]


def _examined(backend: Backend, report: Report) -> dict[str, Any]:
    """What onnxruntime has and does on this machine."""
    from resnet_compile.runtime import describe_gpu, telemetry_is_off

    module = backend.onnxruntime
    gpu = describe_gpu(0, backend)
    cpu, expected = _cpu_verdict(backend)
    report.note(f"onnxruntime lies in {getattr(module, '__file__', None)}")
    return {
        "onnxruntime": {
            "version": module.__version__,
            "cuda": getattr(module, "cuda_version", "") or None,
            "providers_built_in": list(module.get_available_providers()),
            "telemetry": "off" if telemetry_is_off() else "on",
        },
        "gpu": asdict(gpu) if gpu else None,
        "opsets": _opsets(backend),
        "devices": [asdict(cpu), asdict(_cuda_verdict(backend, expected))],
    }


def _cpu_verdict(backend: Backend) -> tuple[DeviceVerdict, NDArray[np.float32] | None]:
    try:
        logits = _tiny_logits("cpu", backend)
    except ResnetCompileError as error:
        return DeviceVerdict("cpu", False, error.message, error.hint), None
    return DeviceVerdict("cpu", True, "runs a network"), logits


def _cuda_verdict(backend: Backend, expected: NDArray[np.float32] | None) -> DeviceVerdict:
    import numpy as np

    try:
        logits = _tiny_logits("cuda", backend)
    except ResnetCompileError as error:
        return DeviceVerdict("cuda:0", False, error.message, error.hint)
    if expected is None:
        return DeviceVerdict("cuda:0", True, "runs a network")
    difference = float(np.linalg.norm(logits - expected) / np.linalg.norm(expected))
    if not difference <= _MOST_DIFFERENCE:
        return DeviceVerdict(
            "cuda:0", False, f"runs a network, but its result differs from the CPU's by {difference:.1e}"
        )
    return DeviceVerdict("cuda:0", True, f"runs a network; its result is the CPU's to {difference:.0e}")


def _tiny_model(opset: int | None = None) -> tuple[bytes, int]:
    """The catalogue's tiny network, compiled here and now, and its IR version."""
    from resnet_compile.compiler import compile as compile_network
    from resnet_compile.options import CompileOptions
    from resnet_compile.serialize import DEFAULT_OPSET
    from resnet_compile.spec import load_spec

    options = CompileOptions(batch=1, outputs=("logits",), opset=opset or DEFAULT_OPSET)
    model = compile_network(load_spec("tiny"), options).to_proto()
    return model.SerializeToString(), model.ir_version


def _tiny_logits(device: str, backend: Backend, model: bytes | None = None) -> NDArray[np.float32]:
    """What the tiny network makes of one image."""
    import numpy as np

    from resnet_compile.runtime import Session

    session = Session.open(model or _tiny_model()[0], device, backend=backend)
    ((name, info),) = session.inputs.items()
    x = np.random.default_rng(0).random([int(axis or 1) for axis in info.shape], np.float32)
    (logits,) = session.run({name: x}).values()
    return np.asarray(logits, np.float32)


def _opsets(backend: Backend) -> list[dict[str, Any]]:
    """The opsets that resnet-compile writes, each with its IR version, and whether this onnxruntime runs it."""
    from resnet_compile.serialize import NEWEST_OPSET, OLDEST_OPSET

    found = []
    for opset in range(OLDEST_OPSET, NEWEST_OPSET + 1):
        model, ir_version = _tiny_model(opset)
        try:
            _tiny_logits("cpu", backend, model)
            runs = True
        except ResnetCompileError:
            runs = False
        found.append({"opset": opset, "ir_version": ir_version, "runs": runs})
    return found


def _text(document: dict[str, Any]) -> str:
    """The document for a person."""
    return "\n".join(f"{name:12} {value}" for name, value in _lines(document))


def _lines(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "python", f"{document['python']}, {document['system']}"
    yield "packages", ", ".join(f"{name} {version}" for name, version in document["packages"].items())
    cpu = document["cpu"]
    yield "processor", f"{cpu['model']}, {cpu['cores']} cores"
    if document["onnxruntime"]:
        yield from _runtime_lines(document)
    for fault in document["faults"]:
        yield "fault", fault
    for device in document["devices"]:
        hint = f" ({device['hint']})" if device["hint"] else ""
        yield device["device"], f"{'ok' if device['usable'] else 'not usable'}: {device['finding']}{hint}"


def _runtime_lines(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    runtime, gpu, opsets = document["onnxruntime"], document["gpu"], document["opsets"]
    built = f", built with CUDA {runtime['cuda']}" if runtime["cuda"] else ""
    providers = ", ".join(runtime["providers_built_in"])
    yield "onnxruntime", f"{runtime['version']}{built}; providers built in: {providers}"
    yield "telemetry", runtime["telemetry"]
    if gpu:
        yield "gpu", f"{gpu['name']}, {gpu['memory_mb'] or '?'} MiB, driver {gpu['driver']}, CUDA to {gpu['cuda']}"
    else:
        yield "gpu", "none that the NVIDIA driver tells of"
    first, last = opsets[0], opsets[-1]
    fail = [str(each["opset"]) for each in opsets if not each["runs"]]
    verdict = f"not run here: {', '.join(fail)}" if fail else "all run here"
    yield "opsets", f"{first['opset']} to {last['opset']} (IR {first['ir_version']} to {last['ir_version']}), {verdict}"


def main() -> None:
    """The console entry point."""
    run(cli)
