"""Lowering: from plan to graph."""

from resnet_compile.lower.network import INPUT, Layout, lower

__all__ = ["INPUT", "Layout", "lower"]
