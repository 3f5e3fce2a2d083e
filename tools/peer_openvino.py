"""Runs an ONNX model in OpenVINO on request; `tools/peers.py` asks. Needs openvino and numpy.

Requests, as `served.py` carries them: `{"do": "open", "model", "images", "logits", "threads"}`, which writes the logits
of a first run to a file and answers with OpenVINO's version; then `{"do": "run"}`, once for every forward pass.
"""

from typing import Any

import numpy as np
import openvino
from served import serve


class Runner:
    """One model and the images that it runs on."""

    def __init__(self) -> None:
        self._request: Any = None
        self._images: Any = None

    def answer(self, request: dict[str, Any]) -> str | None:
        """Does what is asked."""
        if request["do"] == "open":
            np.save(request["logits"], self.open(request["model"], np.load(request["images"]), request["threads"]))
            return str(openvino.get_version())
        self._request.infer({0: self._images}, share_inputs=True)
        return None

    def open(self, model: str, images: np.ndarray, threads: int) -> np.ndarray:
        """Compiles the model and gives the first of its outputs."""
        core = openvino.Core()
        # Left to itself it may compute in bfloat16 where the processor can.
        settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1}
        network = core.read_model(model)
        network.reshape(list(images.shape))
        self._images, self._request = images, core.compile_model(network, "CPU", settings).create_infer_request()
        return np.array(self._request.infer({0: images}, share_inputs=True)[0])


if __name__ == "__main__":
    serve(Runner().answer)
