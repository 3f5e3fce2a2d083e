"""From what somebody has of a network to its description: a checkpoint's names and shapes to a `NetworkSpec`."""

from resnet_compile.recognise.names import Recognised, recognise

__all__ = ["Recognised", "recognise"]
