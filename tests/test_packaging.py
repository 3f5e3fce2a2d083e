"""What pyproject.toml promises: one onnxruntime a platform, and entry points that exist."""

import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PROJECT = tomllib.loads((Path(__file__).resolve().parents[1] / "pyproject.toml").read_text())["project"]

PLATFORMS = {
    ("linux", "x86_64"): "onnxruntime-gpu",
    ("win32", "AMD64"): "onnxruntime-gpu",
    ("linux", "aarch64"): "onnxruntime",
    ("darwin", "arm64"): "onnxruntime",
    ("darwin", "x86_64"): "onnxruntime",
    ("win32", "ARM64"): "onnxruntime",
}


@pytest.mark.parametrize("platform", PLATFORMS, ids=" ".join)
def test_every_platform_gets_exactly_one_onnxruntime(platform: tuple[str, str]) -> None:
    environment = {"sys_platform": platform[0], "platform_machine": platform[1]}
    wanted = [Requirement(text) for text in PROJECT["dependencies"]]
    chosen = [r.name for r in wanted if "onnxruntime" in r.name and (not r.marker or r.marker.evaluate(environment))]
    assert chosen == [PLATFORMS[platform]]


@pytest.mark.parametrize("command", PROJECT["scripts"])
def test_every_command_has_its_function(command: str) -> None:
    module, _, function = PROJECT["scripts"][command].partition(":")
    assert callable(getattr(import_module(module), function))
