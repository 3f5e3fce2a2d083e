"""Static quantisation to 8 bits: a network, calibrated on images, with everything but its last layer in integers.

The stages, each from a value to a value::

    compile  ->  passes of int8  ->  place  ->  calibrate, means  ->  insert  ->  compare_points

`quantize` names them in this order; what it makes is a `CompiledModel` like any other, with what it costs in accuracy.
"""

from resnet_compile.quantize.images import folder_images, folder_photographs, has_held_out
from resnet_compile.quantize.model import QuantizedModel, quantize
from resnet_compile.quantize.report import PointError, QuantizationReport

__all__ = [
    "PointError",
    "QuantizationReport",
    "QuantizedModel",
    "folder_images",
    "folder_photographs",
    "has_held_out",
    "quantize",
]
