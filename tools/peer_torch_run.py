"""Runs TF-slim's ResNet v2 in PyTorch on request: as a reference in float64, or against the clock. Needs torch, numpy.

    python peer_torch_run.py resnet_v2_50 weights.npz

A request, as `served.py` carries it, says how: `{"do": "prepare" or "time", "images": FILE.npy, "batch", "device",
"dtype", "tf32", "channels_last", "compile": null or a mode of torch.compile}`. Preparing runs the network once, upon
which PyTorch compiles it. `time` adds `"logits": FILE.npy`, to which the logits of the images go, and `burn_in` and
`steps`; the answer gives the seconds of each step, from the start of the forward pass until the device is done.
"""

import copy
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from peer_torch import ResNetV2, build
from served import serve

Step = Callable[[], torch.Tensor]
WARMING = 0.3
"""Seconds that a network runs at least before it is timed, for the clocks to rise."""


class Runner:
    """The network, and the forms of it that were asked for."""

    def __init__(self, network: ResNetV2) -> None:
        self._network = network
        self._prepared: dict[str, tuple[Step, float]] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Does what is asked."""
        step, prepared = self._step(request)
        result: dict[str, Any] = {"torch": torch.__version__, "prepare_seconds": prepared}
        if request["do"] == "time":
            _set_tf32(request["tf32"])
            with torch.inference_mode():
                np.save(request["logits"], step().double().cpu().numpy())
                _warm(step, request)
                result["seconds"] = [_timed(step, request["device"]) for _ in range(request["steps"])]
        return result

    def _step(self, request: dict[str, Any]) -> tuple[Step, float]:
        form = ("images", "batch", "device", "dtype", "tf32", "channels_last", "compile")
        key = json.dumps([request[name] for name in form])
        if key not in self._prepared:
            start = time.perf_counter()
            self._prepared[key] = (self._prepare(*(request[name] for name in form)), 0.0)
            self._prepared[key] = (self._prepared[key][0], time.perf_counter() - start)
        return self._prepared[key]

    def _prepare(
        self,
        images: str,
        batch: int,
        device: str,
        dtype: str,
        tf32: bool,
        channels_last: bool,
        mode: str | None,
    ) -> Step:
        _set_tf32(tf32)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        kind = getattr(torch, dtype)
        network = copy.deepcopy(self._network).to(device=device, dtype=kind, memory_format=layout)
        batches = torch.from_numpy(np.load(images)[:batch]).to(device=device, dtype=kind, memory_format=layout)
        run: Callable[[torch.Tensor], torch.Tensor] = torch.compile(network, mode=mode) if mode else network

        def step() -> torch.Tensor:
            return run(batches)

        with torch.inference_mode():
            step()
            _wait(device)
        return step


def _set_tf32(allowed: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cudnn.benchmark = True


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def _warm(step: Step, request: dict[str, Any]) -> None:
    runs, end = 0, time.perf_counter() + (WARMING if request["burn_in"] else 0)
    while runs < request["burn_in"] or time.perf_counter() < end:
        step()
        _wait(request["device"])
        runs += 1


def _timed(step: Step, device: str) -> float:
    start = time.perf_counter()
    step()
    _wait(device)
    return time.perf_counter() - start


def main() -> None:
    """Builds the network, then serves."""
    name, weights = sys.argv[1:]
    serve(Runner(build(name, np.load(weights))).answer)


if __name__ == "__main__":
    main()
