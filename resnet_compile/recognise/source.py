"""Recognises the network of a checkpoint or an ONNX model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from numpy.typing import ArrayLike

from resnet_compile.checkpoints.onnx_file import OnnxCheckpoint
from resnet_compile.metadata import read_model
from resnet_compile.recognise.graph import read_graph
from resnet_compile.recognise.names import read_names
from resnet_compile.recognise.recognised import Recognised, in_words
from resnet_compile.spec import catalogue, load_spec, parse_spec
from resnet_compile.weights.graph_images import graph_scheme
from resnet_compile.weights.hub_images import scheme_words
from resnet_compile.weights.source import tensors_of


def recognise(source: Mapping[str, ArrayLike], *, section: Sequence[str] = (), name: str = "network") -> Recognised:
    """The network whose parameters a checkpoint holds, or that an ONNX model computes.

    Args:
        source: A checkpoint, or arrays by name.
        section: The section that holds the network, as for `resnet_compile.bind`; empty searches everywhere.
        name: The name of a network that is not in the catalogue.

    Raises:
        WeightsError: No naming table reads the names, or no network has these parameters; or the spec language cannot
            describe a part of a model, and the message names the node.
    """
    if isinstance(source, OnnxCheckpoint) and not section:
        return _of_a_model(source, name)
    return read_names(tensors_of(source), section, name)


def _of_a_model(source: OnnxCheckpoint, name: str) -> Recognised:
    """The network of an ONNX model: from the metadata of a model of this package, otherwise from the graph."""
    said = read_model(source.files[0]).metadata
    if said.spec is not None and said.kind is None:
        return Recognised(parse_spec(said.spec), "the spec is the one in the model's metadata", ())
    spec = read_graph(source, name)
    known = next((load_spec(each).input.preprocess for each in catalogue() if each == spec.name), None)
    scheme, nodes, assumed = graph_scheme(source, known)
    spec = spec.replace(input=spec.input.replace(preprocess=scheme))
    named = f"{spec.name}, " if spec.name != name else ""
    told = f"read off the graph: {named}{in_words(spec)}"
    if scheme:
        told += f"; images are preprocessed as {nodes} says: {scheme_words(scheme)}; the network takes them "
        told += "preprocessed (--preprocess model adds that again)"
    elif nodes:
        told += f"; {nodes}"
    open_size = len(source.input_shape) != 4 or None in source.input_shape[1:]
    size = [f"images of {spec.input.height}x{spec.input.width} (--size)"] if open_size else []
    return Recognised(spec, told, (*size, *assumed))
