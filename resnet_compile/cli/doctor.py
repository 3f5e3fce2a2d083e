"""``resnet-doctor``."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

import resnet_compile as rc
from resnet_compile.cli.common import Report, command, run
from resnet_compile.errors import DeviceError


@command("resnet-doctor")
def cli(report: Report) -> None:
    """Show what this machine can run: packages, onnxruntime's providers, GPU and driver, and a verdict for each device.

    A device is usable if a tiny network, compiled for this check, runs on it and gives the CPU's result. The exit code
    is 0 when the CPU is usable, and 4 otherwise.
    """
    # Deferred: --help does not need it.
    from resnet_compile.cli.doctor_devices import examined

    packages = rc.runtime.installed_packages()
    wheels = rc.runtime.onnxruntime_wheels(packages)
    faults = [
        f"{' and '.join(wheels)} are both installed and overwrite each other's files "
        f"(pip uninstall {' '.join(wheels)}, then pip install . again)"
    ]
    document: dict[str, Any] = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": packages,
        "cpu": asdict(rc.runtime.describe_cpu()),
        **examined(report),
        "faults": faults if len(wheels) > 1 else [],
    }
    report.result(document, lambda: "\n".join(f"{name:12} {value}" for name, value in _lines(document)))
    if not document["devices"][0]["usable"]:
        raise DeviceError("the CPU does not run a network", where="cpu")


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
        yield "gpu", "none reported by the NVIDIA driver"
    first, last = opsets[0], opsets[-1]
    fail = [str(each["opset"]) for each in opsets if not each["runs"]]
    verdict = f"not run here: {', '.join(fail)}" if fail else "all run here"
    yield "opsets", f"{first['opset']} to {last['opset']} (IR {first['ir_version']} to {last['ir_version']}), {verdict}"


main = partial(run, cli)
