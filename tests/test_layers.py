"""The order of the package's rooms: imports run downward, deferred ones included."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import resnet_compile

PACKAGE = Path(resnet_compile.__file__).parent

# A room may import the rooms before it.
ORDER = [
    "_version",
    "errors",
    "files",
    "limits",
    "notebook",
    "targets",
    "wire",
    "checked",
    "schemes",
    "labels",
    "metadata",
    "spec",
    "plan",
    "graph",
    "lower",
    "passes",
    "precision",
    "checkpoints",
    "weights",
    "recognise",
    "options",
    "serialize",
    "compiler",
    "costs",
    "images",
    "runtime",
    "guess",
    "quantize",
    "verify",
    "proof",
    "rebuild",
    "triton",
    "classify",
    "batch",
    "ray_data",
    "predictor",
    "features",
    "shards",
    "metrics",
    "bench",
    "roofline",
    "sweep",
    "training",
    "evaluate",
    "report",
    "cli",
]
# What a room must not know although it stands before it.
FORBIDDEN = {
    ("plan", "graph"),
    ("graph", "plan"),
    ("graph", "spec"),
    ("checkpoints", "plan"),
    ("checkpoints", "graph"),
    ("weights", "graph"),
    ("weights", "lower"),
    ("serialize", "plan"),
    ("serialize", "weights"),
    ("serialize", "spec"),
    ("images", "spec"),
    ("images", "plan"),
    ("images", "compiler"),
    ("runtime", "spec"),
    ("runtime", "graph"),
    ("runtime", "plan"),
    ("bench", "spec"),
    ("bench", "plan"),
    ("bench", "graph"),
    ("bench", "compiler"),
}
# Which rooms may import a third-party package that has one owner.
OWNERS = {
    "onnx": {"serialize", "compiler"},
    # quantize has onnxruntime's calibrators, and imports the room runtime first, which turns telemetry off.
    "onnxruntime": {"runtime", "quantize"},
    "pydantic": {"checked", "schemes", "spec", "precision", "options", "sweep", "training", "cli"},
    "PIL": {"images"},
    "pyarrow": {"shards"},
    "ray": {"ray_data"},
    "pynvml": {"runtime"},
    "click": {"cli"},
    "rich": {"cli", "report"},
}


def room_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports() -> Iterator[tuple[Path, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((path, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: imports are absolute"
                assert node.module is not None
                yield path, node.module


def own_imports() -> list[tuple[str, str, Path]]:
    found = []
    for path, module in imports():
        parts = module.split(".")
        if parts[0] == "resnet_compile" and len(parts) > 1 and room_of(path) not in {"__init__", parts[1]}:
            found.append((room_of(path), parts[1], path))
    return found


def test_every_room_has_its_place() -> None:
    rooms = {room_of(path) for path in PACKAGE.rglob("*.py")} - {"__init__", "catalogue"}
    assert rooms <= set(ORDER), rooms - set(ORDER)


def test_imports_run_downward() -> None:
    upward = [(a, b, str(path)) for a, b, path in own_imports() if ORDER.index(b) > ORDER.index(a)]
    assert upward == []
    assert len(own_imports()) > 30


def test_rooms_do_not_know_what_they_must_not() -> None:
    assert [(a, b, str(path)) for a, b, path in own_imports() if (a, b) in FORBIDDEN] == []


@pytest.mark.parametrize("package", OWNERS)
def test_third_party_packages_stay_with_their_owners(package: str) -> None:
    strangers = {
        str(path)
        for path, module in imports()
        if module.split(".")[0] == package and room_of(path) not in OWNERS[package]
    }
    assert strangers == set()


def test_a_class_name_stands_for_one_thing() -> None:
    homes: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(str(path.relative_to(PACKAGE)))
    assert {name: places for name, places in homes.items() if len(places) > 1} == {}
    assert len(homes) > 100


def loaded_by(code: str) -> set[str]:
    """The modules that a process of its own has imported after the code."""
    program = f"import sys; {code}; print('\\n', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return set(done.stdout.splitlines()[-1].split())


def test_compiling_imports_nothing_slow() -> None:
    loaded = loaded_by("import resnet_compile as rc; rc.compile(rc.load_spec('tiny')).to_proto()")
    assert "onnx" in loaded
    assert not loaded & {"onnxruntime", "torch", "tensorflow", "PIL", "rich", "h5py", "safetensors", "scipy", "pandas"}
    unused = ("passes.winograd", "lower.preprocess", "lower.top", "notebook", "recognise", "weights.binding")
    assert not loaded & {f"resnet_compile.{name}" for name in unused}


def test_help_loads_neither_numpy_nor_the_spec_language() -> None:
    scripts = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]["scripts"]
    modules = [place.partition(":")[0] for place in scripts.values()]
    assert len(modules) > 5
    loaded = loaded_by(f"import {', '.join(modules)}")
    assert set(modules) < loaded
    assert not loaded & {"numpy", "onnx", "pydantic"}


def test_showing_a_spec_loads_no_graph() -> None:
    """It shows as fast as the spec language loads."""
    loaded = loaded_by("from resnet_compile.cli.inspect import cli; cli(['tiny'], standalone_mode=False)")
    assert "resnet_compile.plan" in loaded
    assert not loaded & {"numpy", "onnx", "resnet_compile.graph"}
