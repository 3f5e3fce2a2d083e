"""Running the commands as a user does: in a process of their own."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


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
