"""Batch normalisation as a depthwise 1x1 convolution, for 8-bit runtimes, which have no batch normalisation.

With a = gamma / sqrt(variance + epsilon) and b = beta - a mean, channel by channel::

    BatchNormalization(x) = a x + b = Conv(x, W) + b,  group = C,  W of shape [C, 1, 1, 1],  W[c] = a[c]

A depthwise convolution has one weight per channel. So its 8-bit form, with a scale per channel, holds every a exactly:
it needs only the integers -127, 0 and 127. Both forms round the product and the sum once each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from resnet_compile.graph import Graph, Node, Value, Vector, VectorTensor, apply, initializer, made_by, rewrite
from resnet_compile.passes.base import PassResult
from resnet_compile.passes.batch_norm import affine


def depthwise_batch_norm(graph: Graph) -> PassResult:
    """Replaces every batch normalisation of a map by a convolution of its name; run `fold_batch_norm` before.

    The initializers are called `.../scale` and `.../shift`, in the scope of the old ones.
    """
    refused: list[str] = []
    done = 0

    def rule(value: Value, sources: Sequence[Value | None]) -> Value | None:
        nonlocal done
        norm = made_by(value, "BatchNormalization")
        if norm is None:
            return None
        if len(value.shape) != 4:
            refused.append(f"{value.name}: its input has no rows and columns")
            return None
        if not affine(norm).finite:
            refused.append(f"{value.name}: its scale or shift is not a finite number")
            return None
        done += 1
        (channels,) = norm.input(2).static_shape
        parameters = _parameters(norm, channels)
        return apply("Conv", sources[0], *parameters, name=value.name, kernel_shape=(1, 1), group=channels)

    return PassResult(rewrite(graph, rule), done, tuple(refused))


def _parameters(norm: Node, channels: int) -> tuple[Value, Value]:
    # Ones may stand for the gammas of several norms, so the scope of the new names is that of beta.
    scope = norm.input(2).name.rpartition("/")[0]

    def vector(role: str, shape: tuple[int, ...], compute: Callable[[], Vector]) -> Value:
        name = f"{scope}/{role}"
        return initializer(name, VectorTensor(name, shape, compute))

    return (
        vector("scale", (channels, 1, 1, 1), lambda: affine(norm).scale),
        vector("shift", (channels,), lambda: affine(norm).shift),
    )
