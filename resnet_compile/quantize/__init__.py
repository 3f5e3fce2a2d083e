"""Static quantisation to 8 bits: every layer but the last in integers, calibrated on images.

The stages, each from a value to a value::

    compile  ->  passes of int8  ->  place  ->  observe  ->  equalize  ->  insert  ->  compare_points

`quantize` calls them in this order. It makes a `CompiledModel`, and a report of the cost in accuracy.
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
