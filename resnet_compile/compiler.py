"""The compiler: one function that names every step from a spec to a model."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from resnet_compile._version import __version__
from resnet_compile.graph import Graph, Tensor
from resnet_compile.lower import lower, resolve_outputs
from resnet_compile.options import CompileOptions
from resnet_compile.plan import Plan, plan_network
from resnet_compile.serialize import ModelFormat, to_proto, write_model
from resnet_compile.spec import NetworkSpec
from resnet_compile.weights.binding import bind, initial_weights

if TYPE_CHECKING:
    import onnx

METADATA_PREFIX = "resnet_compile."


@dataclass(frozen=True)
class CompiledModel:
    """A compiled network: a graph whose weights are made when they are written.

    Attributes:
        plan: What was compiled.
        graph: The graph, its initializers bound.
        format: How it is written.
    """

    plan: Plan
    graph: Graph
    format: ModelFormat

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the model's outputs, in order."""
        return tuple(output.name for output in self.graph.outputs)

    def to_proto(self) -> onnx.ModelProto:
        """The model in memory.

        Raises:
            OptionError: It is larger than a protobuf message can be.
            WeightsError: A weight is not a finite number.
        """
        return to_proto(self.graph, self.format)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the model to a file, which appears whole or not at all.

        Raises:
            OutputError: The file cannot be written.
            WeightsError: A weight is not a finite number.
        """
        write_model(self.graph, self.format, Path(path))


def compile(  # noqa: A001  # the verb of this package; callers write resnet_compile.compile
    spec: NetworkSpec,
    options: CompileOptions | None = None,
    *,
    weights: Mapping[str, ArrayLike] | None = None,
) -> CompiledModel:
    """Compiles a network.

    Args:
        spec: What to compile.
        options: How; None for the defaults.
        weights: Arrays by parameter name (`Plan.parameters` lists names and shapes; convolution weights are OIHW).
            Without them the network gets the original's initial values, drawn from the options' seed.

    Raises:
        SpecError: The spec describes no network.
        OptionError: An option asks for what the network does not have.
        WeightsError: The weights do not fill the network.
    """
    options = options or CompileOptions()
    planned = plan_network(_sized(spec, options))
    graph = lower(
        planned,
        outputs=resolve_outputs(planned, options.outputs),
        batch=None if options.batch == "dynamic" else options.batch,
        dynamic_size=options.size == "dynamic",
        layout=options.layout,
    )
    tensors = _tensors(planned, options, weights)
    bound = replace(graph, data={**graph.data, **tensors})
    metadata = _metadata(planned.spec, options, drawn=weights is None)
    return CompiledModel(planned, bound, ModelFormat(options.opset, metadata, options.external_data))


def _tensors(planned: Plan, options: CompileOptions, weights: Mapping[str, ArrayLike] | None) -> Mapping[str, Tensor]:
    """What fills the parameters: the given weights, or the initial ones."""
    if weights is None:
        return initial_weights(planned.parameters, options.seed)
    return bind(planned.parameters, weights)


def _sized(spec: NetworkSpec, options: CompileOptions) -> NetworkSpec:
    """The spec for images of the size that the options ask for."""
    if not isinstance(options.size, tuple):
        return spec
    height, width = options.size
    return spec.model_copy(update={"input": spec.input.model_copy(update={"height": height, "width": width})})


def _metadata(spec: NetworkSpec, options: CompileOptions, *, drawn: bool) -> dict[str, str]:
    """What the model says of its making."""
    text = json.dumps(spec.model_dump(mode="json"), separators=(",", ":"))
    entries = {
        "spec": text,
        "spec_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "version": __version__,
        "layout": options.layout,
    }
    if spec.input.preprocess:
        entries["preprocess"] = spec.input.preprocess
    if drawn:
        entries["seed"] = str(options.seed)
        entries["numpy_version"] = np.__version__
    return {f"{METADATA_PREFIX}{key}": value for key, value in entries.items()}
