"""From a spec to a quantised model: `quantize` names every step."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from resnet_compile.compiler import (
    CompiledModel,
    compile,  # noqa: A004  # the verb of this package
    described_by,
    planned_for,
    with_ends,
)
from resnet_compile.errors import OptionError
from resnet_compile.graph import OPERATORS, Graph, Type, rewrite
from resnet_compile.metadata import Metadata
from resnet_compile.options import CompileOptions, adapted, options_text
from resnet_compile.passes import AppliedPass, optimize
from resnet_compile.plan import Plan
from resnet_compile.plan.names import resolve_outputs, resolve_scopes
from resnet_compile.precision import Int8
from resnet_compile.quantize.calibration import METHOD, observe
from resnet_compile.quantize.equalization import equalize
from resnet_compile.quantize.images import CalibrationImages, folder_images, given_images, random_images
from resnet_compile.quantize.insertion import insert
from resnet_compile.quantize.placement import place
from resnet_compile.quantize.report import QuantizationReport, compare_points
from resnet_compile.quantize.tensors import Grid
from resnet_compile.spec import NetworkSpec, SpecSource
from resnet_compile.targets import TARGET_REQUIREMENTS, Integers


@dataclass(frozen=True)
class QuantizedModel:
    """A network in 8 bits.

    Attributes:
        model: The compiled model.
        report: The cost in accuracy.
    """

    model: CompiledModel
    report: QuantizationReport

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the model to a file, which appears whole or not at all.

        Raises:
            OutputError: The file cannot be written.
        """
        self.model.save(path)


def quantize(
    spec: SpecSource,
    options: CompileOptions | None = None,
    *,
    weights: Mapping[str, ArrayLike] | str | os.PathLike[str] | None = None,
    images: NDArray[np.float32] | str | os.PathLike[str] | None = None,
) -> QuantizedModel:
    """Compiles a network and quantises it statically to 8 bits.

    Args:
        spec: The network, as for `compile`.
        options: Options with a `dtype` of int8; None for the defaults.
        weights: The weights, as for `compile`.
        images: The calibration images, instead of `Int8.calibration`: a folder, preprocessed by the spec's scheme, or
            float32 arrays in the network's layout.

    Raises:
        SpecError: The spec describes no network.
        OptionError: An option asks for what the network does not have, or does not apply to int8.
        WeightsError: The weights do not fill the network, or lead to activations that are not finite.
        UsageError: The folder has no images.
        ImageError: More than a tenth of the images cannot be read; for fewer there is a note.
    """
    options = CompileOptions.given({"dtype": "int8"} if options is None else options)
    precision = options.dtype
    if not isinstance(precision, Int8):
        raise OptionError(f"dtype must be int8 to quantise, got {precision.kind}", where="dtype")
    if options.opset < (needed := OPERATORS["DequantizeLinear"].attributes["axis"].since):
        fault = f"opset {options.opset} cannot express weights with a scale for each channel"
        raise OptionError(fault, where="opset", hint=f"opset {needed} can")
    spec, weights, _ = described_by(spec, weights)
    plan, _ = planned_for(spec, options, weights)
    # Logits in 8 bits would cause ties between classes, and the last layer has a thousandth of the multiplications.
    logits = plan.head.logits.scope if plan.head.logits else None
    kept = {*resolve_scopes(plan, precision.keep_float), *filter(None, [logits])}
    calibration = _images(precision.calibration if images is None else images, plan, options)
    requested, points = resolve_outputs(plan, options.outputs), _points(plan)
    plain = _compiled(adapted(spec, options), options, weights, (*requested, *points))
    prepared, applied = optimize(plain.graph, options.target, precision.passes())
    placement = place(prepared, kept)
    seen = observe(prepared, tuple(dict.fromkeys(placement.sources.values())), placement.convolved, calibration)
    equal = equalize(prepared, seen, set(points) - set(requested))
    placement, seen = place(equal.graph, kept), equal.observed(seen)
    applied = (*applied, AppliedPass("equalize", equal.done, equal.refused))
    form = TARGET_REQUIREMENTS[options.target or "portable"].integers or Integers()
    grid = Grid.about_zero if form.symmetric else Grid.over
    grids = {name: grid(*each.range) for name, each in seen.items()}
    shifts = {name: each.mean for name, each in seen.items() if each.mean is not None}
    quantized = insert(equal.graph, placement, grids, shifts, float_biases=form.float_biases)
    before, after = (_outputs(each, points) for each in (plain.graph, quantized))
    report = compare_points(before, after, calibration, logits, equal.factors)
    graph = with_ends(_with_batch(_outputs(quantized, requested), options.batch), plan, options)
    fmt = replace(plain.format, metadata=_metadata(plain.format.metadata, options, precision, calibration))
    return QuantizedModel(CompiledModel(plan, graph, fmt, applied, (*plain.notes, *calibration.notes)), report)


def _images(
    images: NDArray[np.float32] | str | os.PathLike[str] | None, plan: Plan, options: CompileOptions
) -> CalibrationImages:
    if images is None:
        return random_images(plan, options.layout, options.seed)
    if isinstance(images, str | os.PathLike):
        return folder_images(images, plan, options.layout)
    return given_images(images, plan, options.layout)


def _points(plan: Plan) -> tuple[str, ...]:
    """The end points of the report: the blocks and the logits."""
    return (*(block.scope for block in plan.blocks), *([plan.head.logits.scope] if plan.head.logits else ()))


def _compiled(
    spec: NetworkSpec,
    options: CompileOptions,
    weights: Mapping[str, ArrayLike] | str | os.PathLike[str] | None,
    outputs: Sequence[str],
) -> CompiledModel:
    """The network in float32 without rewrites, for any batch size, so that few images can run at a time."""
    changes = {
        "dtype": "float32",
        "target": None,
        "batch": "dynamic",
        "preprocess": None,
        "image_size": None,
        "top": None,
    }
    names = tuple(dict.fromkeys(outputs))
    return compile(spec, options.replace(**changes, outputs=names), weights=weights)


def _outputs(graph: Graph, names: Sequence[str]) -> Graph:
    by_name = {output.name: output for output in graph.outputs}
    return replace(graph, outputs=tuple(by_name[name] for name in names))


def _with_batch(graph: Graph, batch: int | Literal["dynamic"]) -> Graph:
    """The graph with another batch size, its types inferred again."""
    if batch == "dynamic":
        return graph
    (source,) = graph.inputs
    fixed = replace(source, type=Type(source.type.dtype, (batch, *source.shape[1:])))
    return rewrite(graph, lambda value, sources: None, inputs={source: fixed})


def _metadata(plain: Metadata, options: CompileOptions, precision: Int8, images: CalibrationImages) -> Metadata:
    """The model's metadata, completed by facts about the quantisation."""
    return replace(
        plain,
        dtype=precision.kind,
        calibration_method=METHOD,
        calibration_images=len(images.values),
        calibration_data="random" if images.source == "random" else f"sha256:{images.digest}",
        keep_float=precision.keep_float or None,
        target=options.target,
        options=options_text(options),
    )
