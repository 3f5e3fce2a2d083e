"""Work in another process, by a line of JSON for each request and one for each answer. Needs nothing installed.

The process that works calls `serve` with a function from requests to answers; the one that asks starts it as a
`Worker`. A request that fails is answered with its error, and the process goes on; one that ends the process, or takes
too long, is known by `WorkerError` too.
"""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Request = Mapping[str, Any]


class WorkerError(Exception):
    """A request came to nothing; the message is for a table.

    Attributes:
        alive: Whether the process can take another request.
    """

    def __init__(self, message: str, *, alive: bool) -> None:
        super().__init__(message)
        self.alive = alive


def serve(answer: Callable[[dict[str, Any]], Any]) -> None:
    """Answers requests until there are no more."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    for line in sys.stdin:
        try:
            reply = {"result": answer(json.loads(line))}
        except Exception as error:  # whatever it is, it is this request's outcome
            reply = {"error": f"{type(error).__name__}: {error}"}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


class Worker:
    """A process that serves.

    Args:
        command: What to start.
        log: Where its stderr goes.
        environment: Variables for it, besides this process's own.
    """

    def __init__(self, command: Sequence[object], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self._log = log
        with log.open("w") as stderr:
            self._process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env={**os.environ, **(environment or {})},
            )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def ask(self, request: Request, timeout: float) -> Any:
        """The answer to a request, which has so many seconds.

        Raises:
            WorkerError: The request failed, the process ended, or time was up, upon which it is ended.
        """
        self.send(request)
        return self.receive(timeout)

    def send(self, request: Request) -> None:
        """Puts a request in line; `receive` gets its answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except (OSError, ValueError) as error:  # it has ended, or was ended
            raise WorkerError(self._last_words(), alive=False) from error

    def receive(self, timeout: float) -> Any:
        """The answer to the oldest request that has had none; raises as `ask` does."""
        try:
            line = self._lines.get(timeout=max(timeout, 0))
        except queue.Empty:
            self.close()
            raise WorkerError(f"no answer in {timeout:.0f} s", alive=False) from None
        if line is None:
            self.close()
            raise WorkerError(self._last_words(), alive=False)
        reply = json.loads(line)
        if "error" in reply:
            raise WorkerError(reply["error"], alive=True)
        return reply["result"]

    def _last_words(self) -> str:
        code, said = self._process.poll(), self._log.read_text(errors="replace").strip().splitlines()
        return f"the process ended with {code}: {said[-1] if said else 'no word'}"

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):  # of a request that it never read
                pipe.close()
