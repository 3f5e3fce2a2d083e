"""The contents of a graph's initializers, by name."""

from collections.abc import Mapping

import numpy as np

from resnet_compile.graph import ConstantTensor, Graph, Tensor, Value, bound, initializer


def tensors(graph: Graph) -> dict[str, Tensor]:
    return {value.name: value.tensor for value in graph.initializers()}


def arrays_of(graph: Graph) -> dict[str, np.ndarray]:
    return {name: tensor.array() for name, tensor in tensors(graph).items()}


def with_arrays(graph: Graph, values: Mapping[str, np.ndarray]) -> Graph:
    return bound(graph, {name: ConstantTensor(array) for name, array in values.items()})


def single(name: str, values: np.ndarray) -> Value:
    """An initializer of float32 numbers."""
    return initializer(name, ConstantTensor(values.astype(np.float32)))
