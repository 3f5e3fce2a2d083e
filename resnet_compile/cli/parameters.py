"""Command-line values that are more than a word: callbacks for `click.option`."""

from __future__ import annotations

from typing import Literal

import click

from resnet_compile.limits import MAX_BATCH, MAX_SIDE


def batch(ctx: click.Context, param: click.Parameter, value: str) -> int | Literal["dynamic"]:
    """``N`` or ``dynamic``."""
    return "dynamic" if value == "dynamic" else _number(value, MAX_BATCH)


def size(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | Literal["dynamic"] | None:
    """``HEIGHTxWIDTH``, one number for both, or ``dynamic``."""
    if value is None:
        return None
    if value == "dynamic":
        return "dynamic"
    rows, x, columns = value.partition("x")
    return _number(rows, MAX_SIDE), _number(columns if x else rows, MAX_SIDE)


def names(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...] | Literal["all"] | None:
    """Names separated by commas, or ``all``."""
    if value is None:
        return None
    return "all" if value == "all" else _split(value)


def scopes(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Names separated by commas; none without a value."""
    return () if value is None else _split(value)


def _split(text: str) -> tuple[str, ...]:
    split = tuple(name.strip() for name in text.split(","))
    if not all(split):
        raise click.BadParameter("a name is empty")
    return split


def _number(text: str, most: int) -> int:
    number = int(text) if text.isdecimal() and len(text) < 20 else 0
    if not 1 <= number <= most:
        raise click.BadParameter(f"{text!r} is not a number from 1 to {most}")
    return number
