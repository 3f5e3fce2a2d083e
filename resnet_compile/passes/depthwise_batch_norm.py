"""Batch normalisation as a depthwise 1x1 convolution, which 8-bit runtimes have and batch normalisation they have not.

With a = gamma / sqrt(variance + epsilon) and b = beta - a mean, channel by channel::

    BatchNormalization(x) = a x + b = Conv(x, W) + b,  group = C,  W of shape [C, 1, 1, 1],  W[c] = a[c]

A depthwise convolution has one weight a channel, so that its 8-bit form, with a scale for each channel, holds every a
exactly: of the integers it needs only -127, 0 and 127. Both forms round the product and the sum once each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from resnet_compile.graph import Graph, Node, Tensor, Value, apply, constant, rewrite
from resnet_compile.passes.base import PassResult, Vector, VectorTensor, made_by
from resnet_compile.passes.batch_norm import affine


def depthwise_batch_norm(graph: Graph) -> PassResult:
    """Replaces every batch normalisation of a map by a convolution under its name; `fold_batch_norm` comes before.

    The initializers are called `.../scale` and `.../shift`, beside those that they are derived from.
    """
    data, refused = dict(graph.data), []
    done = 0

    def rule(value: Value, sources: Sequence[Value | None]) -> Value | None:
        nonlocal done
        norm = made_by(value, "BatchNormalization")
        if norm is None:
            return None
        if len(value.shape) != 4:
            refused.append(f"{value.name}: its input has no rows and columns")
            return None
        if not affine(norm, graph.data).finite:
            refused.append(f"{value.name}: its scale or shift is not a finite number")
            return None
        done += 1
        channels = graph.data[_beta(norm).name].shape[0]
        parameters = _initializers(norm, channels, graph, data)
        return apply("Conv", sources[0], *parameters, name=value.name, kernel_shape=(1, 1), group=channels)

    made = rewrite(graph, rule)
    return PassResult(replace(made, data=data), done, tuple(refused))


def _initializers(norm: Node, channels: int, graph: Graph, data: dict[str, Tensor]) -> tuple[Value, Value]:
    """Scale and shift of a normalisation; enters their contents."""
    # Ones may stand for the gammas of several norms, so the scope of the new names is that of beta.
    scope = _beta(norm).name.rpartition("/")[0]

    def entered(role: str, shape: tuple[int, ...], compute: Callable[[], Vector]) -> Value:
        name = f"{scope}/{role}"
        data[name] = VectorTensor(name, shape, compute)
        return constant(name, "float32", shape)

    return (
        entered("scale", (channels, 1, 1, 1), lambda: affine(norm, graph.data).scale),
        entered("shift", (channels,), lambda: affine(norm, graph.data).shift),
    )


def _beta(norm: Node) -> Value:
    beta = norm.inputs[2]
    assert beta is not None
    return beta
