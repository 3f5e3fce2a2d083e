"""Graphs, files and the work of compiling do not grow unseen: against a table that a person has to change.

After a change that is meant, `PYTHONPATH=tests python tests/test_growth.py` writes the table anew, and the commit shows
what it costs. Numbers are counts, which no machine's load moves.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from support.growth import NETWORKS, STEPS, measured

TABLE = Path(__file__).parent / "golden" / "growth.json"
ROWS = (*NETWORKS, *STEPS)
# The part by which a count may differ. Nodes, tensors and their bytes are exact; a file has the names and versions of
# packages in it; calls depend on those packages and on Python, of which 3.12 calls no comprehensions; the most memory
# depends on how far threads that draw weights are ahead, by a tensor or two.
BOUNDS = {"nodes": 0.0, "tensors": 0.0, "tensor_bytes": 0.0, "file_bytes": 0.01, "peak_bytes": 0.4, "calls": 0.25}


def differences(now: dict[str, Any], before: dict[str, Any]) -> list[str]:
    """A line for each count that differs by more than its bound."""
    lines = []
    for name, bound in BOUNDS.items():
        new, old = now.get(name, 0), before.get(name, 0)
        pairs = (
            {f"{name} {kind}": (new.get(kind, 0), old.get(kind, 0)) for kind in sorted({*new, *old})}
            if name == "nodes"
            else {name: (new, old)}
        )
        lines += [f"{what:28} {b:>14,} {a:>14,}" for what, (a, b) in pairs.items() if abs(a - b) > bound * b]
    return lines


@pytest.mark.parametrize("row", ROWS)
def test_nothing_grows_unseen(row: str) -> None:
    lines = differences(measured(row), json.loads(TABLE.read_text())[row])
    table = "\n".join([f"{row:28} {'before':>14} {'now':>14}", *lines])
    assert not lines, f"\n{table}\nif that is meant: PYTHONPATH=tests python tests/test_growth.py"


def test_a_node_more_and_a_quarter_of_the_calls_more_are_seen() -> None:
    before = {"nodes": {"Conv": 5}, "tensors": 3, "tensor_bytes": 100, "calls": 1000}
    assert differences(before, before) == []
    assert differences({**before, "calls": 1249}, before) == []
    (line,) = differences({**before, "calls": 1300}, before)
    assert line.split() == ["calls", "1,000", "1,300"]
    assert len(differences({**before, "nodes": {"Conv": 5, "Pad": 1}}, before)) == 1
    assert len(differences({**before, "nodes": {}}, before)) == 1
    assert len(differences({**before, "tensors": 2}, before)) == 1


if __name__ == "__main__":
    TABLE.write_text(json.dumps({row: measured(row) for row in ROWS}, indent=1) + "\n")
