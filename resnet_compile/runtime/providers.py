"""The execution providers and engines that models can be run on."""

from resnet_compile.runtime.cuda import CUDA
from resnet_compile.runtime.openvino import OPENVINO, OPENVINO_BF16
from resnet_compile.runtime.provider import CPU
from resnet_compile.runtime.tensorrt import TENSORRT

PROVIDERS = (CPU, OPENVINO, OPENVINO_BF16, CUDA, TENSORRT)
"""All providers, in the order of messages."""

AUTO = (CUDA, CPU)
"""The providers that the device `auto` tries, in order; the last one always works."""
