"""What was recognised, and how it is told."""

from __future__ import annotations

from dataclasses import dataclass

from resnet_compile.spec import NetworkSpec


@dataclass(frozen=True, slots=True)
class Recognised:
    """A spec that was read off a checkpoint or a model.

    Attributes:
        spec: The network.
        told: What was found, in a line.
        assumed: What the source does not tell and was taken as is usual, each with the field or flag for it.
    """

    spec: NetworkSpec
    told: str
    assumed: tuple[str, ...]


def in_words(spec: NetworkSpec) -> str:
    """The units and classes of a network."""
    units = "+".join(str(block.num_units) for block in spec.blocks)
    kinds = " and ".join(dict.fromkeys(block.unit.kind for block in spec.blocks))
    classes = f"{spec.head.num_classes} classes" if spec.head.num_classes else "no head"
    return f"{units} units of kind {kinds}, {classes}"
