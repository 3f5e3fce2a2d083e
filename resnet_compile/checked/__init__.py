"""Values that check themselves: what specs and options are made of.

Pydantic does the checking; what it finds comes out as one error of ours, with the path of every fault.
"""

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
    "parse_json",
    "read_json",
]
