"""Runs an ONNX model in OpenVINO whenever a line comes on stdin; `tools/compare_peers.py` talks to it.

    python peer_openvino.py model.onnx images.npy logits.npy THREADS

Writes the logits of the first run to a file, then answers every line with one once the network has run again. Needs
openvino and numpy.
"""

import sys

import numpy as np
import openvino


def main() -> None:
    """Compiles the model, then serves."""
    model, images, logits, threads = sys.argv[1:]
    batch = np.load(images)
    core = openvino.Core()
    # Left to itself it may compute in bfloat16 where the processor can.
    settings = {"INFERENCE_NUM_THREADS": int(threads), "INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1}
    network = core.read_model(model)
    network.reshape(list(batch.shape))
    request = core.compile_model(network, "CPU", settings).create_infer_request()
    result = request.infer({0: batch}, share_inputs=True)
    np.save(logits, result[0])
    print(openvino.get_version(), flush=True)
    for _ in sys.stdin:
        request.infer({0: batch}, share_inputs=True)
        print("done", flush=True)


if __name__ == "__main__":
    main()
