"""From plan to graph."""

from resnet_compile.lower.network import INPUT, Layout, lower, resolve_outputs

__all__ = ["INPUT", "Layout", "lower", "resolve_outputs"]
