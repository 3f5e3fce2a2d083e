"""Parts of made-up benchmark results."""

from resnet_compile.bench.environment import Environment
from resnet_compile.runtime import Cpu, Gpu

CPU = Cpu("Slow & Sons <1>", 4, 2600, "powersave", 16000, 0.5)
GPU = Gpu("NVIDIA H100", "580.65.06", "13.0", 81559, 1024, 345, 1980)
SESSION = {"device": "cpu", "engine": "onnxruntime 1.31.1", "options": {"threads": 0, "profile": None}, "nodes": None}
ENVIRONMENT = Environment("2030-01-02T03:04:05+00:00", "Linux", "3.11", {"numpy": "2.0"}, CPU, None)
