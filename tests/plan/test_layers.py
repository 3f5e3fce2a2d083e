"""Layers answer for themselves, so that a new one is counted, shown and refused by nothing that does not know it."""

import ast
from pathlib import Path
from typing import get_args

import pytest

import resnet_compile
from resnet_compile.plan.layers import Layer

PACKAGE = Path(resnet_compile.__file__).parent
ANSWERS = {"scope", "source", "output", "parameters", "macs", "description"}


@pytest.mark.parametrize("layer", get_args(Layer), ids=lambda layer: layer.__name__)
def test_every_layer_answers_for_itself(layer: type) -> None:
    assert ANSWERS - set(dir(layer)) == set()


def of_words(statement: ast.Match) -> bool:
    """Whether a match is of strings."""
    return ast.unparse(statement.cases[0].pattern).startswith("'")


@pytest.mark.parametrize("room", ["plan", "lower", "weights"])
def test_no_match_swallows_a_new_kind(room: str) -> None:
    """What is matched there is a closed set of ours: where a match has a last resort, the type checker forbids it.

    But for the words of other systems' graphs.
    """
    statements = [
        (path.name, node)
        for path in sorted((PACKAGE / room).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Match) and not (path.parent.name == "structure" and of_words(node))
    ]
    swallowing = [
        (name, case.pattern.lineno)
        for name, statement in statements
        for case in statement.cases
        if ast.unparse(case.pattern) == "_" and not ast.unparse(case.body[0]).startswith("assert_never(")
    ]
    assert statements
    assert swallowing == []
