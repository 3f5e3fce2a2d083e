"""Writes the kernels of onnxruntime's CUDA provider, for tests/test_cuda_kernels.py, from the packages themselves.

    python tools/cuda_kernels.py onnxruntime_gpu-1.23.0-*.whl onnxruntime_gpu-1.31.1-*.whl

The function that lists them is the one from which onnxruntime makes its `docs/OperatorKernels.md`
(tools/python/gen_opkernel_doc.py there). It loads the providers' libraries, which want CUDA's: empty ones stand in for
those, which is enough to list kernels and for nothing else. That takes Linux, nm, readelf and cc. Operators that no
graph here has are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from resnet_compile.graph import OPERATORS

PLACE = Path(__file__).parents[1] / "tests" / "golden" / "cuda_kernels.json"
PROVIDERS = ("libonnxruntime_providers_cuda.so", "libonnxruntime_providers_tensorrt.so")
OF_CUDA = re.compile(r"lib(cu|nv)\w*\.so")
LIST = """
import json
import onnxruntime.capi.onnxruntime_pybind11_state as state
found = {}
for kernel in state.get_all_opkernel_def():
    if kernel.provider == "CUDAExecutionProvider":
        types = {name: sorted(types) for name, types in kernel.type_constraints.items()}
        name = f"{kernel.domain}:{kernel.op_name}" if kernel.domain else kernel.op_name
        found.setdefault(name, []).append([*kernel.version_range, types])
print(json.dumps({name: sorted(rows, key=str) for name, rows in sorted(found.items())}))
"""


def stand_in(libraries: Path, providers: list[Path]) -> None:
    """Makes empty libraries with the names and symbols that the providers want of CUDA's."""
    wanted: dict[str, set[str]] = {}
    symbols: set[tuple[str, str]] = set()
    for provider in providers:
        needed = subprocess.run(["readelf", "-d", provider], check=True, capture_output=True, text=True).stdout
        for name in re.findall(r"NEEDED.*\[(.+?)\]", needed):
            if OF_CUDA.match(name):
                wanted.setdefault(name, set())
        listed = subprocess.run(["nm", "-D", "--undefined-only", provider], check=True, capture_output=True, text=True)
        for name, version in re.findall(r" U (\w+)(?:@+([\w.]+))?", listed.stdout):
            if not version.startswith(("GLIBC", "CXXABI", "GCC")) and name != "Provider_GetHost":
                symbols.add((name, version))
    for library, names in wanted.items():
        # What names no library may be looked for in any of them.
        names |= {name for name, version in symbols if version == library or version not in wanted}
    for library, names in wanted.items():
        source = "".join(f"void *{name}() {{ return 0; }}\n" for name in sorted(names))
        script = libraries / f"{library}.map"
        script.write_text(f"{library} {{ global: *; }};\n")
        command = ["cc", "-shared", "-fPIC", "-w", "-fno-builtin", "-x", "c", "-", "-o", libraries / library]
        subprocess.run(
            [*command, f"-Wl,-soname,{library}", f"-Wl,--version-script={script}"], input=source, text=True, check=True
        )


def kernels(wheel: Path, folder: Path) -> dict[str, list[list[Any]]]:
    """The CUDA provider's kernels of a wheel: by operator the first and last opset and the types of each."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "package")
    home = folder / "package" / "onnxruntime" / "capi"
    libraries = folder / "libraries"
    libraries.mkdir()
    stand_in(libraries, [home / name for name in PROVIDERS])
    variables = {**os.environ, "PYTHONPATH": str(folder / "package"), "LD_LIBRARY_PATH": str(libraries)}
    variables["ORT_DISABLE_TELEMETRY"] = "1"
    done = subprocess.run([sys.executable, "-c", LIST], capture_output=True, text=True, env=variables, check=True)
    known = {*OPERATORS, "com.microsoft:FusedConv"}
    return {name: merged(rows) for name, rows in json.loads(done.stdout).items() if name in known}


def merged(rows: list[list[Any]]) -> list[list[Any]]:
    """Kernels of one type each, which differ in that alone, as one row."""
    together: dict[tuple[int, int, str], set[str]] = {}
    others = []
    for first, last, types in rows:
        if len(types) == 1:
            ((name, allowed),) = types.items()
            together.setdefault((first, last, name), set()).update(allowed)
        else:
            others.append([first, last, types])
    return [*([first, last, {name: sorted(each)}] for (first, last, name), each in together.items()), *others]


def main() -> None:
    """Parses the command line and writes the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("wheels", nargs="+", type=Path)
    document = {}
    for wheel in parser.parse_args().wheels:
        with tempfile.TemporaryDirectory() as folder:
            document[wheel.name.split("-")[1]] = kernels(wheel, Path(folder))
    PLACE.write_text(json.dumps(document, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
