"""What all spec models share: their error, and fields that several have."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from resnet_compile.checked import CheckedModel
from resnet_compile.errors import SpecError
from resnet_compile.limits import MAX_DEPTH, MAX_STRIDE


class SpecModel(CheckedModel):
    """A part of a spec."""

    raises = SpecError


Scope = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.\-]+$", max_length=200)]
NetworkName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.\-]+(/[A-Za-z0-9_.\-]+)*$", max_length=200)]
Depth = Annotated[int, Field(ge=1, le=MAX_DEPTH)]
Stride = Annotated[int, Field(ge=1, le=MAX_STRIDE)]
