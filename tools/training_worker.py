"""What the processes have in common that `tools/compare_training.py` asks for training steps. Needs nothing installed.

A request is `{"do": "losses", "steps": N}`, answered with the losses of N steps; `{"do": "time", "steps": N}`, answered
with the seconds that N steps took, after one that is not timed; or `{"do": "memory"}`, answered with the most memory
that the process ever had, in bytes.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from served import serve


def serve_training(step: Callable[[], object], loss_of_step: Callable[[], float]) -> None:
    """Answers requests until there are no more.

    Args:
        step: Takes a step and returns when it is done.
        loss_of_step: Does the same, and tells the loss before it, penalty included.
    """

    def answer(request: dict[str, Any]) -> Any:
        match request["do"]:
            case "losses":
                return [loss_of_step() for _ in range(request["steps"])]
            case "time":
                step()
                begin = time.perf_counter()
                for _ in range(request["steps"]):
                    step()
                return time.perf_counter() - begin
            case "memory":
                return _peak_memory()
            case other:
                raise ValueError(f"cannot do {other!r}")

    serve(answer)


def _peak_memory() -> int:
    # Linux's account of this process; ru_maxrss would begin at the peak of the process that started it.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024
