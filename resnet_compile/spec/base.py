"""What all spec models share: frozen, strict, closed, and the limits that a stranger's spec must keep."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

MAX_DEPTH = 65_536
MAX_STRIDE = 16
MAX_RATE = 64
MAX_REPEAT = 4_096
MAX_UNITS = 10_000
MAX_SIDE = 16_384
MAX_BATCH = 65_536
MAX_CLASSES = 10_000_000
MAX_PARAMETERS = 20_000_000_000


class SpecModel(BaseModel):
    """A frozen value; unknown keys, and values that are not already of the right type, are refused."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


Scope = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.\-]+$", max_length=200)]
NetworkName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.\-]+(/[A-Za-z0-9_.\-]+)*$", max_length=200)]
Depth = Annotated[int, Field(ge=1, le=MAX_DEPTH)]
Stride = Annotated[int, Field(ge=1, le=MAX_STRIDE)]
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
