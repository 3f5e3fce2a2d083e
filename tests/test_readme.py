"""What the pages say, run as it stands: examples in Python, and every command.

Commands run in a folder with stand-ins of the files that they name. So that it does not take hours, `LIGHTER` puts
small networks in the place of large ones, and few steps in the place of many; flags and their order stay.
"""

import doctest
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from support.image_data import write_image
from support.training_run import narrow_spec, write_cifar

from resnet_compile import Head, Input, NetworkSpec, plan_network, resnet_v2_block
from resnet_compile.spec import spec_text
from resnet_compile.weights.tables import TORCHVISION

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", "specs/README.md", "tools/README.md"] + [
    f"resnet_compile/{room}README.md" for room in ("", "weights/", "quantize/", "runtime/", "training/")
]
CHELSEA = np.load(ROOT / "tests" / "golden" / "photos.npz")["photo/chelsea"].tobytes()
LIGHTER = {
    r"specs/resnet152\.json": "small.json",
    r"\bresnet50\b(?!\.onnx)": "small.json",
    r"cifar_resnet(20|32)": "narrow.json",
    r"--epochs 10\b": "--epochs 1",
    r"--steps 80000": "--steps 2",
    r"--batch 64": "--batch 16",
    r"resnet-bench": "resnet-bench --steps 4 --burn-in 1",
    r"--duration 60": "--duration 1",
    r"--latency-bound 500": "--latency-bound 5",
    r"--warmup 20": "--warmup 2",
    r'"warmup": 20': '"warmup": 2',
    r"--batch 1,8,32": "--batch 1,2",
}


def commands(page: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a page, in code and in tables, each with what is shown below it."""
    lines = iter((ROOT / page).read_text().splitlines())
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        code = line.removeprefix("    ") if line.startswith("    ") else None
        if code is not None and re.match(r"(\$ )?(resnet-\w+ (?!.*\.onnx: )|python tools|pip |tar )", code):
            command = code.removeprefix("$ ")
            while command.endswith("\\"):
                command = command[:-1] + next(lines).strip()
            found.append((command, []))
        elif code is not None and found:
            found[-1][1].append(code)
        elif line.startswith("|"):
            found.extend((command, []) for command in re.findall(r"\| `(resnet-[^`]*)` \| ", line) if " " in command)
    # What is in capitals is to be put in.
    return ((command, shown) for command, shown in found if not re.search(r"\b(SPEC|MODEL)\b", command))


ALL = [(page, command, shown) for page in PAGES for command, shown in commands(page)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a stand-in for every file that a command reads."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "specs").symlink_to(ROOT / "specs")
    write_commands(folder / "bin")
    for number in range(3):
        for label in ("class 0", "class 1"):
            write_image(folder / "photos" / "train" / label / f"{number}.png", 40, 50, number)
            write_image(folder / "photos" / "val" / label / f"{number}.png", 40, 50, number + 9)
        write_image(folder / "two-classes" / "three" / f"{number}.png", 32, 32, number)
        write_image(folder / "two-classes" / "eight" / f"{number}.png", 32, 32, number + 9)
    (folder / "images.csv").write_text("path,label\nphotos/val/class 0/0.png,0\nphotos/val/class 1/0.png,1\n")
    (folder / "photo.jpg").write_bytes(CHELSEA)
    (folder / "imagenet_labels.txt").write_text("".join(f"class {index}\n" for index in range(1000)))
    (folder / "narrow.json").write_text(spec_text(narrow_spec()))
    small = NetworkSpec(
        name="resnet_v2_50",
        input=Input(height=32, width=32, preprocess="inception"),
        blocks=[resnet_v2_block(f"block{number}", base_depth=2, num_units=1, stride=2) for number in range(1, 5)],
        head=Head(num_classes=1000),
    )
    for name in ("small.json", "mine.json"):
        (folder / name).write_text(spec_text(small))
    write_cifar(folder / "cifar-10-batches-bin")
    write_cifar(folder / "digits")
    write_image(folder / "digits" / "eight.png", 32, 32)
    write_weights(folder / "resnet_v2_50.ckpt", small, 1001)
    write_detector(folder / "fasterrcnn_resnet50_fpn.pth")
    # What a network of zeros makes of anything.
    np.savez(folder / "io.npz", input=np.zeros((1, 3, 32, 32), np.float32), logits=np.zeros((1, 1001), np.float32))
    for command in (
        "small.json -o resnet50.onnx",
        "small.json -o model.onnx",
        "small.json -o float32.onnx",
        "small.json -o int8.onnx",
        "tiny -o other.onnx",
        "narrow.json -o digits.onnx",
    ):
        shell(f"resnet-compile {command}", folder)
    foreign = onnx.load(folder / "float32.onnx")
    del foreign.metadata_props[:]
    onnx.save(foreign, folder / "theirs.onnx")
    return folder


def write_commands(folder: Path) -> None:
    """The commands of this package, whatever is installed."""
    folder.mkdir()
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for name, target in scripts.items():
        module, function = target.split(":")
        code = f"import sys; sys.argv[0] = '{name}'; from {module} import {function}; {function}()"
        (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{code}" "$@"\n')
        (folder / name).chmod(0o755)


def write_weights(path: Path, spec: NetworkSpec, classes: int) -> None:
    """Weights of zeros with another number of classes, by our own names."""
    plan = plan_network(spec.replace(head=spec.head.replace(num_classes=classes)))
    with path.open("wb") as file:
        np.savez(file, **{p.name: np.zeros(p.shape, np.float32) for p in plan.parameters})


def write_detector(path: Path) -> None:
    """A backbone in a detector, by torchvision's names; zeros, which take no room."""
    plan = plan_network("torchvision_resnet50")
    body = {p: TORCHVISION.translate(p.name.removeprefix(f"{plan.name}/")) for p in plan.parameters}
    arrays = {
        f"backbone.body.{theirs}": np.zeros(TORCHVISION.source_shape(p), np.float32)
        for p, theirs in body.items()
        if "/logits/" not in p.name
    }
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays, **{"backbone.fpn.inner.weight": np.zeros((2, 2), np.float32)})


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]))
    line = ["bash", "-o", "pipefail", "-c", command]
    return subprocess.run(
        line, cwd=folder, capture_output=True, text=True, env={**os.environ, "PATH": path}, timeout=240, check=False
    )


def lighter(command: str) -> str:
    for heavy, light in LIGHTER.items():
        command = re.sub(heavy, light, command)
    return command


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_runs(page: str, place: Path, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    subprocess.run(["cp", "-r", "--no-dereference", place, folder], check=True)
    for command, _ in commands(page):
        if command.startswith("resnet-"):
            done = shell(lighter(command), folder)
            assert done.returncode == 0, (lighter(command), done.stderr[-2000:])


@pytest.mark.parametrize(
    ("command", "shown"),
    [each[1:] for each in ALL if each[2] and "resnet-inspect t" in each[1] and "theirs" not in each[1]],
)
def test_what_is_shown_of_the_catalogue_is_what_is_printed(command: str, shown: list[str], tmp_path: Path) -> None:
    """To the letter, on the networks that the page names."""
    printed = [line for line in shell(command, tmp_path).stdout.splitlines() if line]
    assert printed == shown


@pytest.mark.parametrize("command", sorted({each[1] for each in ALL if "python tools/" in each[1]}))
def test_the_tools_that_the_pages_name_have_the_flags_that_they_show(command: str) -> None:
    words = shlex.split(command[command.index("python tools/") :])
    text = (ROOT / words[1]).read_text() + (ROOT / "tools" / "bench_common.py").read_text()
    assert [word for word in words[2:] if word.startswith("--") and f'"{word}"' not in text] == []


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_links_to_is_there(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text()):
        if not target.startswith("https://"):
            assert ((ROOT / page).parent / target).exists(), target


def test_the_readme_is_for_ten_minutes() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130


@pytest.mark.parametrize(("page", "least"), [("README.md", 5), ("resnet_compile/README.md", 15)])
def test_the_examples_of_the_pages(page: str, least: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples(page, least, tmp_path, monkeypatch)


def test_the_example_in_plain_onnxruntime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples("resnet_compile/runtime/README.md", 5, tmp_path, monkeypatch)


def examples(page: str, least: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    Path("photo.jpg").write_bytes(CHELSEA)
    Path("imagenet_labels.txt").write_text("".join(f"class {index}\n" for index in range(1000)))
    results = doctest.testfile(str(ROOT / page), module_relative=False)
    assert results.attempted > least
    assert results.failed == 0
