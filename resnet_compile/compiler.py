"""The compiler: `compile` names every step from a spec to a model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from resnet_compile._version import __version__
from resnet_compile.errors import OptionError, inside
from resnet_compile.files import as_path
from resnet_compile.graph import Graph, Verifier, bound
from resnet_compile.labels import align_labels
from resnet_compile.lower import lower
from resnet_compile.metadata import Metadata
from resnet_compile.options import CompileOptions, adapted, options_text
from resnet_compile.passes import AppliedPass, in_older_forms, optimize
from resnet_compile.plan import Plan, plan_network
from resnet_compile.plan.names import resolve_outputs
from resnet_compile.precision import Float32
from resnet_compile.schemes import SCHEMES, find_scheme
from resnet_compile.serialize import ModelFormat, to_proto, write_model
from resnet_compile.spec import NetworkSpec, SpecSource, spec_text
from resnet_compile.targets import TARGET_REQUIREMENTS, Target
from resnet_compile.weights.initial import bind_initial
from resnet_compile.weights.tensor import Bound

if TYPE_CHECKING:
    import onnx

# The options that control how weights are read.
CHOICE = {"naming", "section", "ignore", "averages", "head"}


@dataclass(frozen=True)
class CompiledModel:
    """A compiled network. The values of its weights are computed when it is written.

    Attributes:
        plan: The plan that was compiled.
        graph: The graph, with its initializers bound.
        format: The format in which it is written.
        passes: The passes that rewrote the graph, in order.
        notes: Sentences for the user about the weights: guesses, and tensors that were not used.
    """

    plan: Plan
    graph: Graph
    format: ModelFormat
    passes: tuple[AppliedPass, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the model's outputs, in order."""
        return tuple(output.name for output in self.graph.outputs)

    def __repr__(self) -> str:
        return f"CompiledModel({self.plan} -> {', '.join(self.outputs)}; {sum(1 for _ in self.graph.nodes())} nodes)"

    def _repr_html_(self) -> str:
        # Deferred: only notebooks need it.
        from resnet_compile.notebook import html_table

        return html_table(repr(self), ("", ""), self.format.metadata.facts().items())

    def predict(self, images: Any, *, device: str = "auto", **how: Any) -> Any:
        """Classifies images with `resnet_compile.Model.predict`, to which `how` is passed.

        The first call opens the model on the device; later calls reuse it.

        Raises:
            DeviceError: The device is not usable.
            ResnetCompileError: As `Model.predict`.
        """
        # Imported from the package, because the layer that runs models is above this one.
        import resnet_compile

        if device not in self._open:
            self._open[device] = resnet_compile.load_model(self, device)
        return self._open[device].predict(images, **how)

    @cached_property
    def _open(self) -> dict[str, Any]:
        """The open models, by device."""
        return {}

    def to_proto(self) -> onnx.ModelProto:
        """The model in memory.

        Raises:
            OptionError: The model is too large for a protobuf message.
            WeightsError: A weight is not a finite number.
        """
        return to_proto(self.graph, self.format)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the model to a file, which appears whole or not at all.

        Raises:
            OutputError: The file cannot be written.
            WeightsError: A weight is not a finite number.
        """
        write_model(self.graph, self.format, as_path(path))


def compile(  # noqa: A001  # the verb of this package; callers write resnet_compile.compile
    spec: SpecSource,
    options: CompileOptions | None = None,
    *,
    weights: Mapping[str, ArrayLike] | str | os.PathLike[str] | None = None,
) -> CompiledModel:
    """Compiles a network.

    Args:
        spec: The network: a spec, a name of the catalogue, or a spec's path. The path of an ONNX model also works: the
            network and its weights are read from the model's graph.
        options: How to compile it; None for the defaults.
        weights: A checkpoint, its path, or arrays by name. The names and layouts are our own (`Plan.parameters` lists
            them; convolution weights are OIHW) or those of any naming table. If only the number of classes differs, the
            network takes that of the weights, and a note says so. None draws initial values as the original does, from
            the options' seed.

    Raises:
        SpecError: The spec describes no network.
        OptionError: An option asks for what the network does not have.
        WeightsError: The weights do not fill the network.
    """
    options = CompileOptions.given(options)
    if options.dtype.calibrated:
        raise OptionError(
            f"dtype must need no calibration, got {options.dtype.kind}",
            where="dtype",
            hint="use resnet_compile.quantize.quantize(spec, options)",
        )
    spec, source, read = described_by(spec, weights)
    planned, told = planned_for(spec, options, source)
    graph = lower(
        planned,
        outputs=resolve_outputs(planned, options.outputs),
        batch=None if options.batch == "dynamic" else options.batch,
        dynamic_size=options.size == "dynamic",
        layout=options.layout,
    )
    verifier = Verifier()
    verifier.verify(graph, "lowering")
    parameters, facts = _bind(planned, options, source)
    filled = verifier.verify(bound(graph, parameters.tensors), "binding", bound=True)
    optimized, applied = optimize(
        filled, options.target, options.dtype.passes(), fused_conv=options.fused_conv, verifier=verifier
    )
    fed = verifier.verify(with_ends(optimized, planned, options), "putting ends to it", bound=True)
    fmt = ModelFormat(options.opset, _metadata(planned.spec, options, facts), options.external_data)
    return CompiledModel(planned, fed, fmt, applied, (*read, *told, *parameters.notes))


def with_ends(graph: Graph, planned: Plan, options: CompileOptions) -> Graph:
    """Adds preprocessing before the network and the best classes after it, as the options ask, for the options' opset.

    Raises:
        OptionError: There is no preprocessing scheme, or there are no classes; the opset cannot express an operator, or
            the target cannot run it.
    """
    if options.top is not None:
        # Deferred, like the preprocessing: most models do not need it.
        from resnet_compile.lower.top import with_top

        graph = with_top(graph, options.top)
    if options.preprocess is not None:
        graph = _with_photographs(graph, planned, options)
    if options.target is not None:
        _require_kernels(graph, options.target)
    return in_older_forms(graph, options.opset)


def _require_kernels(graph: Graph, target: Target) -> None:
    for value in graph.values():
        needed = {value.type.dtype, value.node.operator if value.node else None}
        if lacking := needed & TARGET_REQUIREMENTS[target].lacks:
            fault = f"{target} has no kernels for {min(map(str, lacking))}, which {value.name!r} needs"
            raise OptionError(fault, where="target", hint="without a target the runtime gives such nodes to the CPU")


def _with_photographs(graph: Graph, planned: Plan, options: CompileOptions) -> Graph:
    from resnet_compile.lower.preprocess import CHANNELS, with_preprocessing

    named, where = planned.spec.input.preprocess, "preprocess"
    if named is None:
        raise OptionError(
            "preprocess must be named, since the spec names no scheme",
            where=where,
            hint=f"one of {', '.join(SCHEMES)}",
        )
    if planned.input.channels != CHANNELS:
        raise OptionError(
            f"the network must take 3 channels to preprocess photographs, got {planned.input.channels}", where=where
        )
    scheme = find_scheme(named) if isinstance(named, str) else named
    size, image_size = planned.input.size, options.image_size
    return with_preprocessing(graph, scheme, size, image_size=image_size, layout=options.layout)


def described_by(
    spec: SpecSource, weights: Mapping[str, ArrayLike] | str | os.PathLike[str] | None
) -> tuple[SpecSource, Mapping[str, ArrayLike] | None, tuple[str, ...]]:
    """The spec and the opened weights. For the path of an ONNX model, both are read from the model.

    Raises:
        WeightsError: The spec language cannot describe a part of the model.
    """
    if isinstance(spec, str | os.PathLike) and as_path(spec).suffix == ".onnx" and weights is None:
        # Deferred: recognition is needed only for this.
        from resnet_compile.recognise import recognise

        source = opened(spec)
        assert source is not None, "a path was given"
        found = recognise(source)
        assumed = (f"assumed: {'; '.join(found.assumed)}",) if found.assumed else ()
        return found.spec, source, (found.told, *assumed)
    return spec, opened(weights), ()


def opened(weights: Mapping[str, ArrayLike] | str | os.PathLike[str] | None) -> Mapping[str, ArrayLike] | None:
    """The weights; a path is opened as a checkpoint."""
    if not isinstance(weights, str | os.PathLike):
        return weights
    # Deferred: readers are needed only for a file.
    from resnet_compile.checkpoints.formats import open_checkpoint

    return open_checkpoint(as_path(weights))


def planned_for(
    spec: SpecSource, options: CompileOptions, source: Mapping[str, ArrayLike] | None
) -> tuple[Plan, tuple[str, ...]]:
    """The plan, completed from the weights, and notes about that for the user.

    The weights give what the spec and the options leave open: the number of classes, and the preprocessing that a hub's
    folder describes.
    """
    spec = adapted(spec, options)
    if source is None:
        return plan_network(spec), ()
    # Deferred, as below: initial weights need none of the tables.
    from resnet_compile.weights.given import planned_by

    chosen = options.model_dump(include=CHOICE, exclude_defaults=True)
    return planned_by(spec, source, counted=options.num_classes is None and not chosen)


def _bind(planned: Plan, options: CompileOptions, source: Mapping[str, ArrayLike] | None) -> tuple[Bound, Metadata]:
    """The parameters' values, and metadata about their source."""
    if source is None:
        drawn = bind_initial(planned.parameters, options.seed)
        return drawn, Metadata(seed=options.seed, numpy_version=np.__version__)
    from resnet_compile.weights.given import bound_by

    return bound_by(planned, source, options.model_dump(include=CHOICE))


def _metadata(spec: NetworkSpec, options: CompileOptions, source: Metadata) -> Metadata:
    """The model's metadata: that of its weights, and how it was compiled."""
    return replace(
        source,
        spec=spec_text(spec),
        version=__version__,
        options=options_text(options),
        labels=_labels(spec, options.labels) or source.labels,
        licence=options.licence,
        layout=options.layout,
        preprocess=spec.input.preprocess,
        target=options.target,
        dtype=None if isinstance(options.dtype, Float32) else options.dtype.kind,
    )


def _labels(spec: NetworkSpec, labels: tuple[str, ...]) -> tuple[str, ...] | None:
    """A name for each class; None without any."""
    if not labels:
        return None
    with inside("labels"):
        if spec.head.num_classes is None:
            raise OptionError("the network has no classes")
        return align_labels(labels, spec.head.num_classes)
