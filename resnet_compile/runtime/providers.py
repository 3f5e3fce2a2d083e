"""The execution providers that models can be run on."""

from resnet_compile.runtime.cuda import CUDA
from resnet_compile.runtime.provider import CPU
from resnet_compile.runtime.tensorrt import TENSORRT

PROVIDERS = (CPU, CUDA, TENSORRT)
"""All of them, in the order in which users read of them."""

AUTO = (CUDA, CPU)
"""What the device `auto` tries, in turn; the last one always works."""
