"""Derives a network's spec from a checkpoint's names and shapes, or from an ONNX model's graph."""

from resnet_compile.recognise.recognised import Recognised
from resnet_compile.recognise.source import recognise
from resnet_compile.weights.binding import UNTOLD

__all__ = ["UNTOLD", "Recognised", "recognise"]
