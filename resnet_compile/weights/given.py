"""What the given weights decide: fields that the spec leaves open, parameter values, metadata about the source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import ArrayLike

from resnet_compile.checkpoints.base import Checkpoint
from resnet_compile.metadata import Metadata
from resnet_compile.plan import Plan, plan_network
from resnet_compile.spec import NetworkSpec
from resnet_compile.weights.binding import bind
from resnet_compile.weights.hub_images import described
from resnet_compile.weights.matching import background, classes_of
from resnet_compile.weights.source import tensors_of
from resnet_compile.weights.tensor import Bound


def planned_by(spec: NetworkSpec, source: Mapping[str, ArrayLike], *, counted: bool) -> tuple[Plan, tuple[str, ...]]:
    """The plan of a spec whose open fields the weights fill, and notes for the user.

    A spec without preprocessing takes that of the checkpoint's hub folder. With `counted` the weights set the number of
    classes, not the spec.
    """
    spec, told = described(spec, source)
    planned = plan_network(spec)
    own = spec.head.num_classes
    if own is None or not counted:
        return planned, told
    classes = classes_of(planned, tensors_of(source))
    if classes in (None, own):
        return planned, told
    note = f"the model has the weights' {classes} classes, not the spec's {own}{background(classes)}"
    return plan_network(spec.replace(head=spec.head.replace(num_classes=classes))), (*told, note)


def bound_by(planned: Plan, source: Mapping[str, ArrayLike], choice: Mapping[str, Any]) -> tuple[Bound, Metadata]:
    """The parameters' values, and metadata about their source. `choice` has arguments of `bind`."""
    given = bind(planned, source, **choice)
    facts = Metadata()
    if isinstance(source, Checkpoint):
        name = source.files[0].name
        facts = Metadata(weights_format=source.format, weights_file=name, weights_sha256=source.digests())
        if len(source.class_names) == planned.spec.head.num_classes:
            facts = replace(facts, labels=source.class_names)
    return given, replace(facts, **given.facts)
