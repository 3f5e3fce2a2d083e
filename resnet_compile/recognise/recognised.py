"""The result of recognition, and its description for the user."""

from __future__ import annotations

from dataclasses import dataclass

from resnet_compile.spec import NetworkSpec


@dataclass(frozen=True, slots=True)
class Recognised:
    """A spec that was recognised from a checkpoint or a model.

    Attributes:
        spec: The network.
        told: The finding, in one line.
        assumed: The assumptions about facts that the source does not show, each with its field or flag.
    """

    spec: NetworkSpec
    told: str
    assumed: tuple[str, ...]


def in_words(spec: NetworkSpec) -> str:
    """A description of a network's units and classes."""
    units = "+".join(str(block.num_units) for block in spec.blocks)
    kinds = " and ".join(dict.fromkeys(block.unit.kind for block in spec.blocks))
    classes = f"{spec.head.num_classes} classes" if spec.head.num_classes else "no head"
    return f"{units} units of kind {kinds}, {classes}"
