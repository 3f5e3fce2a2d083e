"""Options and arguments that several commands share, and the callbacks that parse them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from resnet_compile.limits import MAX_BATCH, MAX_CLASSES, MAX_SEED, MAX_SIDE

PATH = click.Path(path_type=Path)
SEED = click.IntRange(0, MAX_SEED)
COUNT = click.IntRange(min=1)
POSITIVE = click.FloatRange(min=0, min_open=True)

device_option = click.option(
    "--device",
    default="auto",
    metavar="DEVICE",
    help="Device to run on: auto, or one that resnet-doctor lists, such as cpu, openvino or cuda:1.",
)
cache_option = click.option(
    "--cache",
    is_flag=True,
    help="On the CPU: keep the model as onnxruntime prepares it in the folder MODEL.prepared, to open it faster later.",
)
fast_decode_option = click.option(
    "--fast-decode",
    is_flag=True,
    help="Decode JPEGs that are much larger than the network's input at a fraction of their size: faster, but with "
    "other results.",
)


def batch(ctx: click.Context, param: click.Parameter, value: str) -> int | Literal["dynamic"]:
    """``N`` or ``dynamic``."""
    return "dynamic" if value == "dynamic" else _number(value, MAX_BATCH)


def batches(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """``N``, or several numbers separated by commas; none without a value."""
    if value is None:
        return None
    try:
        return tuple(dict.fromkeys(_number(text, MAX_BATCH) for text in value.split(",")))
    except click.BadParameter:
        fault = f"{value!r} is not one or more numbers from 1 to {MAX_BATCH}, separated by commas"
        raise click.BadParameter(fault) from None


def size(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | Literal["dynamic"] | None:
    """``HEIGHTxWIDTH``, one number for both, or ``dynamic``."""
    if value is None:
        return None
    if value == "dynamic":
        return "dynamic"
    rows, x, columns = value.partition("x")
    return _number(rows, MAX_SIDE), _number(columns if x else rows, MAX_SIDE)


def image_size(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """``HEIGHTxWIDTH`` or one number for both; None for ``dynamic``, which is the default."""
    made = size(ctx, param, value)
    return None if made == "dynamic" else made


def classes(ctx: click.Context, param: click.Parameter, value: str | None) -> int | Literal["none"] | None:
    """``N`` or ``none``."""
    return "none" if value == "none" else None if value is None else _number(value, MAX_CLASSES)


def names(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...] | Literal["all"] | None:
    """Names separated by commas, or ``all``."""
    if value is None:
        return None
    return "all" if value == "all" else _split(value)


def scopes(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Names separated by commas; none without a value."""
    return () if value is None else _split(value)


def percent(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """A percentage such as ``1%``, as a fraction; None without a value."""
    if value is None:
        return None
    try:
        part = float(value.removesuffix("%")) / 100
    except ValueError:
        part = 0.0
    if not (value.endswith("%") and 0 < part < 1):
        raise click.BadParameter(f"{value!r} is not a percentage between 0% and 100%, such as 1%")
    return part


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
