"""Passes: rewrites of a graph, and the list of them for each target.

A target's passes keep the function exactly. A precision's passes (`resnet_compile.precision`) round it. Dead code needs
no pass, since a graph holds only what its outputs depend on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resnet_compile.graph import Graph, Verifier
from resnet_compile.passes.base import Pass, PassResult
from resnet_compile.passes.depthwise_batch_norm import depthwise_batch_norm
from resnet_compile.passes.fold_batch_norm import fold_batch_norm
from resnet_compile.passes.fuse_convolutions import fuse_convolutions
from resnet_compile.passes.half import half_io, to_half
from resnet_compile.passes.hoist_biases import hoist_biases
from resnet_compile.passes.identities import remove_identities
from resnet_compile.passes.max_after_convolution import max_after_convolution
from resnet_compile.passes.max_preactivation import max_preactivation
from resnet_compile.passes.older_forms import in_older_forms
from resnet_compile.passes.share_constants import share_constants
from resnet_compile.targets import Target

_EVERYWHERE: tuple[Pass, ...] = (remove_identities, fold_batch_norm, share_constants)

TARGETS: Mapping[Target, tuple[Pass, ...]] = {
    "portable": _EVERYWHERE,
    # A batch norm before its convolutions stays as it is: onnxruntime runs it in the blocked layout of the convolutions
    # around it, and has to leave that layout for a Max, or for Mul and Add.
    "cpu": _EVERYWHERE,
    # Offsets that a unit's thresholds leave in its sum are hoisted with the biases; the normalisations that take them
    # become thresholds after that.
    "cuda": (
        remove_identities,
        max_after_convolution,
        hoist_biases,
        max_preactivation,
        fold_batch_norm,
        share_constants,
    ),
    # TensorRT, NPUs' compilers and WebGPU's kernels take a batch norm, a ReLU and a sum as they are.
    "tensorrt": _EVERYWHERE,
    "npu": _EVERYWHERE,
    "web": _EVERYWHERE,
}
"""The passes of each target, in order."""

# A threshold after a convolution would keep its ReLU out of the convolution's kernel.
CUDA_WITH_FUSED_CONVOLUTIONS: tuple[Pass, ...] = (
    *(each for each in TARGETS["cuda"] if each is not max_after_convolution),
    fuse_convolutions,
)
"""The passes of `cuda` where convolutions are to have their ReLUs inside (`CompileOptions.fused_conv`), in order."""


@dataclass(frozen=True, slots=True)
class AppliedPass:
    """The report of one pass.

    Attributes:
        name: The pass.
        done: The number of places that it rewrote.
        refused: The reason for each place that it did not rewrite, one sentence each.
        told: What it chose at each place where it had a choice, one sentence each.
    """

    name: str
    done: int
    refused: tuple[str, ...]
    told: tuple[str, ...] = ()


def optimize(
    graph: Graph,
    target: Target | None,
    rounding: Sequence[Pass] = (),
    *,
    fused_conv: bool = False,
    verifier: Verifier | None = None,
) -> tuple[Graph, tuple[AppliedPass, ...]]:
    """The graph after the passes of a target and of a precision, and a report of each pass.

    Args:
        graph: The graph, with its initializers bound.
        target: Where it is to run; None for no passes.
        rounding: The precision's passes, which come last.
        fused_conv: Whether CUDA's passes are those with fused convolutions.
        verifier: Checks the result of each pass; one that has seen the graph before has less to check.

    Raises:
        GraphError: A pass made a graph that breaks a rule of the IR; the message names the pass.
    """
    applied = []
    verifier = verifier or Verifier()
    listed = CUDA_WITH_FUSED_CONVOLUTIONS if fused_conv else TARGETS[target] if target else ()
    for each in (*listed, *rounding):
        result = each(graph)
        graph = verifier.verify(result.graph, each.__name__, bound=True)
        applied.append(AppliedPass(each.__name__, result.done, result.refused, result.told))
    return graph, tuple(applied)


__all__ = [
    "CUDA_WITH_FUSED_CONVOLUTIONS",
    "TARGETS",
    "AppliedPass",
    "Pass",
    "PassResult",
    "depthwise_batch_norm",
    "fold_batch_norm",
    "half_io",
    "in_older_forms",
    "optimize",
    "share_constants",
    "to_half",
]
