"""One model in one engine, kept open; `tools/compare_engines.py` asks, in an environment that has the engine and numpy.

    python tools/engine_worker.py ENGINE MODEL INPUT.npy OUTPUT.npy THREADS

Answers requests as `served.py` carries them: `{"do": "open"}`, which writes the first output's values to OUTPUT.npy,
with the engine's version, and `{"do": "time", "steps": N}` with the seconds of N runs after one that is not timed. The
runtimes of `runtime_worker.py` take ONNX models. PyTorch's network is written down in the tools; its MODEL is
NETWORK.npz, the weights under our names. What quantises calibrates on `calibration.npy` beside the model.
"""

import sys
import time
from collections.abc import Iterator
from functools import partial
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import numpy as np
from runtime_worker import Run, mnn, ncnn, onnxruntime, openvino
from served import serve


def nncf(model: Path, x: np.ndarray, threads: int) -> Run:
    """By NNCF's own defaults, in OpenVINO."""
    made = model.with_suffix(".nncf.xml")
    if not made.exists():
        import nncf
        import openvino as ov

        data = nncf.Dataset([image[None] for image in _calibration(model)])
        ov.save_model(nncf.quantize(ov.Core().read_model(model), data), made, compress_to_fp16=False)
    return openvino(made, x, threads)


def torch(model: Path, x: np.ndarray, threads: int, mode: str = "eager") -> Run:
    """PyTorch with channels last in memory, which its convolutions are fastest in on a CPU."""
    import torch
    import torch._inductor.config

    # Weights as constants: without it torch.compile folds nothing into them, and finds no products of integers.
    torch._inductor.config.freezing = True
    torch.set_num_threads(threads)
    network = _network(model).eval().to(memory_format=torch.channels_last)

    def prepared(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values).to(memory_format=torch.channels_last)

    run: Any = network
    with torch.no_grad():
        if mode == "pt2e":
            network = _quantised(network, [prepared(image[None]) for image in _calibration(model)], prepared(x))
        if mode != "eager":
            run = torch.compile(network)

    def step(values: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return run(prepared(values)).numpy()

    return step


def _quantised(network: Any, images: list[Any], example: Any) -> Any:
    """By PyTorch 2's export, with the quantizer that torchao has for x86 and its defaults."""
    import torch
    import torchao.quantization.pt2e
    import torchao.quantization.pt2e.quantizer.x86_inductor_quantizer as x86
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    quantizer = x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config())
    observed = prepare_pt2e(torch.export.export(network, (example,)).module(), quantizer)
    for image in images:
        observed(image.expand(len(example), -1, -1, -1))
    converted = convert_pt2e(observed)
    torchao.quantization.pt2e.move_exported_model_to_eval(converted)
    return converted


def _network(model: Path) -> Any:
    from peer_torch import fill
    from peer_torch_training import built

    values = np.load(model)
    if model.stem != "torchvision_resnet34":
        return built(model.stem, values)
    from torchvision.models import resnet34

    network = resnet34()
    for scope, layer in _torchvision_layers(network):
        fill(layer, f"{model.stem}/{scope}", values)
    return network


def _torchvision_layers(network: Any) -> Iterator[tuple[str, Any]]:
    """Every layer of a ResNet of basic units that has parameters, with our scope below the network's name."""
    yield from (("conv1", network.conv1), ("conv1/BatchNorm", network.bn1), ("logits", network.fc))
    for block in range(1, 5):
        for number, unit in enumerate(getattr(network, f"layer{block}"), 1):
            scope = f"block{block}/unit_{number}/torchvision_basic"
            pairs = [("conv1", unit.conv1, unit.bn1), ("conv2", unit.conv2, unit.bn2)]
            pairs += [("shortcut", *unit.downsample)] if unit.downsample else []
            for name, convolution, norm in pairs:
                yield from ((f"{scope}/{name}", convolution), (f"{scope}/{name}/BatchNorm", norm))


def _calibration(model: Path) -> np.ndarray:
    return np.load(model.with_name("calibration.npy"))


ENGINES = {
    "onnxruntime": (onnxruntime, "onnxruntime"),
    "openvino": (openvino, "openvino"),
    "openvino_default": (partial(openvino, precision=None), "openvino"),
    "ncnn": (ncnn, "ncnn"),
    "mnn": (mnn, "MNN"),
    "nncf": (nncf, "nncf"),
    "torch": (torch, "torch"),
    "torch_compile": (partial(torch, mode="compile"), "torch"),
    "torch_pt2e": (partial(torch, mode="pt2e"), "torchao"),
}
"""The function that opens a model, and the module whose version counts."""


class Opened:
    """A model in its engine, once it was asked for."""

    def __init__(self, engine: str, model: str, source: str, target: str, threads: str) -> None:
        self._engine, self._model, self._target = engine, Path(model), target
        self._x, self._threads = np.load(source), int(threads)
        self._run: Any = None

    def answer(self, request: dict[str, Any]) -> Any:
        """Does what is asked."""
        if request["do"] == "open":
            opened, package = ENGINES[self._engine]
            self._run = opened(self._model, self._x, self._threads)
            np.save(self._target, self._run(self._x))
            return version(packages_distributions()[package][0])  # onnxruntime is of several packages
        self._run(self._x)
        start = time.perf_counter()
        for _ in range(request["steps"]):
            self._run(self._x)
        return time.perf_counter() - start


if __name__ == "__main__":
    serve(Opened(*sys.argv[1:]).answer)
