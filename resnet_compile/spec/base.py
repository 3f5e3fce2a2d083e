"""What all spec models share: frozen, strict, closed, and fields that several have."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from resnet_compile.limits import MAX_DEPTH, MAX_SIDE, MAX_STRIDE


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
