"""The public names: exactly the documented ones, and each one documented."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import resnet_compile

README = Path(__file__).resolve().parents[1] / "resnet_compile" / "README.md"


def test_the_public_names_are_exactly_the_documented_ones() -> None:
    section = README.read_text().split("## The Python API")[1].split("\n## ")[0]
    table = {
        name for row in re.findall(r"^\| (`.*?`) \|", section, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    assert table == set(resnet_compile.__all__) - {"__version__"}
    assert dir(resnet_compile) == resnet_compile.__all__
    assert resnet_compile.__all__ == sorted(resnet_compile.__all__)


@pytest.mark.parametrize("name", resnet_compile.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    value = getattr(resnet_compile, name)
    if name != "__version__":
        assert (value.__doc__ or "").strip(), name


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute nothing"):
        _ = resnet_compile.nothing


def test_submodules_are_there_once_they_are_used() -> None:
    """In a process of its own, which has imported nothing else."""
    code = "import resnet_compile as rc; print(rc.training.train, rc.files.replacing)"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert re.fullmatch(r"<function train at \w+> <function replacing at \w+>\n", printed)


def test_errors_print_on_one_line_with_place_and_hint() -> None:
    from resnet_compile.errors import SpecError

    assert str(SpecError("wrong", where="$.a", hint="try b")) == "wrong @ $.a (try b)"
    assert str(SpecError("wrong")) == "wrong"
