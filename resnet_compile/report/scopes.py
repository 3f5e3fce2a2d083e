"""A tree of scopes, built from path names and reduced to fit on a screen."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

ROWS = 40
"""The number of rows of a screen."""

_MAX_DEPTH = 8  # below this depth the rest of a path is one name
_MANY = 16  # with more children, those that differ only in numbers are merged
_COMPONENT = re.compile(r"[^./]*[./]?")


@dataclass(slots=True)
class Scope:
    """A node of the tree: a scope, several scopes that differ only in numbers, or a name.

    Attributes:
        name: The last component of the path, or several if scopes with a single child were joined.
        names: The number of names in the scope.
        size: The sum of their sizes.
        kinds: Their kinds, in order of first appearance.
        merged: The number of scopes that this node represents.
        inner: Its children by name; empty for a name.
    """

    name: str
    names: int = 0
    size: int = 0
    kinds: dict[str, None] = field(default_factory=dict)
    merged: int = 1
    inner: dict[str, Scope] = field(default_factory=dict)

    def add(self, size: int, kind: str) -> None:
        """Count one name."""
        self.names += 1
        self.size += size
        self.kinds[kind] = None


def scopes(entries: Iterable[tuple[str, int, str]]) -> list[tuple[int, Scope]]:
    """The scopes with their levels, in the order of the names, as deep as a screen allows.

    A scope that contains no other scopes is not expanded.

    Args:
        entries: Names, each with its size and its kind.
    """
    root = Scope("")
    for name, size, kind in entries:
        scope = root
        for part in _parts(name):
            scope = scope.inner.setdefault(part, Scope(part))
            scope.add(size, kind)
    tops = list(_tidied(root).inner.values())
    shown = list(_rows(tops, 1))
    for depth in range(2, _MAX_DEPTH + 1):
        deeper = list(_rows(tops, depth))
        if len(deeper) > ROWS:
            break
        shown = deeper
    return shown


def _parts(name: str) -> list[str]:
    parts = [part for part in _COMPONENT.findall(name) if part]
    return [*parts[: _MAX_DEPTH - 1], *filter(None, ["".join(parts[_MAX_DEPTH - 1 :])])] or [name]


def _tidied(scope: Scope) -> Scope:
    """The scope with children merged that differ only in numbers; a single child is joined to the scope."""
    if len(scope.inner) > _MANY:
        groups: dict[str, Scope] = {}
        for name, child in scope.inner.items():
            pattern = re.sub(r"\d+", "#", name)
            groups[pattern] = _merged(groups[pattern], child, pattern) if pattern in groups else child
        scope.inner = groups
    scope.inner = {name: _tidied(child) for name, child in scope.inner.items()}
    if len(scope.inner) == 1 and scope.name:
        (child,) = scope.inner.values()
        if child.merged == 1 and child.names == scope.names:
            child.name, child.merged = scope.name + child.name, scope.merged
            return child
    return scope


def _merged(one: Scope, other: Scope, name: str) -> Scope:
    inner = dict(one.inner)
    for key, child in other.inner.items():
        inner[key] = _merged(inner[key], child, key) if key in inner else child
    merged = one.merged + (1 if name != one.name or "#" in name else 0)
    return Scope(name, one.names + other.names, one.size + other.size, one.kinds | other.kinds, merged, inner)


def _rows(siblings: Iterable[Scope], depth: int, level: int = 0) -> Iterator[tuple[int, Scope]]:
    for scope in siblings:
        yield level, scope
        if depth > 1 and any(child.inner for child in scope.inner.values()):
            yield from _rows(scope.inner.values(), depth - 1, level + 1)
