"""Running the commands: in a process of their own as a user does, or in this one, whose parts tests can replace."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from resnet_compile.cli.documents import output_schema

schema_of = cache(output_schema)


def require_schema(name: str, arguments: Sequence[str], out: str) -> None:
    """Holds what a command printed with --json, and that it is one document, to the schema."""
    if "--json" in arguments and out:
        validator = jsonschema.Draft202012Validator(schema_of(name))
        fault = jsonschema.exceptions.best_match(validator.iter_errors(json.loads(out)))
        assert fault is None, f"{name} --json: {fault.message} @ {fault.json_path}"


@dataclass(frozen=True)
class Finished:
    """What a command left behind."""

    code: int
    out: str
    err: str


def command(name: str, *arguments: object, cwd: Path | None = None, stdin: str | None = None) -> Finished:
    """Runs an installed command, such as ``resnet-compile``, to its end."""
    executable = Path(sys.executable).with_name(name)
    done = subprocess.run(
        [executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        input=stdin,
        timeout=120,
        check=False,
    )
    require_schema(name, [*map(str, arguments)], done.stdout)
    return Finished(done.returncode, done.stdout, done.stderr)


def _name(main: Callable[[], None]) -> str:
    """The name of the command that a `main` runs."""
    assert isinstance(main, partial)
    (cli,) = main.args
    return str(cli.name)


class Ran:
    """One run of a command in this process."""

    def __init__(
        self, main: Callable[[], None], arguments: Sequence[object], capfd: pytest.CaptureFixture[str]
    ) -> None:
        patch = pytest.MonkeyPatch()
        patch.setattr(sys, "argv", ["command", *map(str, arguments)])
        capfd.readouterr()
        try:
            with pytest.raises(SystemExit) as caught:
                main()
        finally:
            patch.undo()
        self.code = caught.value.code
        self.out, self.err = capfd.readouterr()
        require_schema(_name(main), [*map(str, arguments)], self.out)

    @property
    def document(self) -> dict[str, Any]:
        """What it printed, as JSON."""
        loaded = json.loads(self.out)
        assert isinstance(loaded, dict)
        return loaded
