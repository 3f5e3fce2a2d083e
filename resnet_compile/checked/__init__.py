"""The base of specs and options: values that check themselves.

Pydantic does the checks. Its errors become one error of this package, with the path of every fault.
"""

from resnet_compile.checked.faults import invalid
from resnet_compile.checked.model import (
    Batch,
    Batches,
    CheckedModel,
    Classes,
    Names,
    Natural,
    Positive,
    PositiveNumber,
    Seed,
    Side,
    Threads,
    checked_call,
)
from resnet_compile.checked.text import parse_json, read_json

__all__ = [
    "Batch",
    "Batches",
    "CheckedModel",
    "Classes",
    "Names",
    "Natural",
    "Positive",
    "PositiveNumber",
    "Seed",
    "Side",
    "Threads",
    "checked_call",
    "invalid",
    "parse_json",
    "read_json",
]
