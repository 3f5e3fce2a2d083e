"""Running the commands: in a process of their own as a user does, or in this one, whose parts tests can replace."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


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
    return Finished(done.returncode, done.stdout, done.stderr)


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

    @property
    def document(self) -> dict[str, Any]:
        """What it printed, as JSON."""
        loaded = json.loads(self.out)
        assert isinstance(loaded, dict)
        return loaded
