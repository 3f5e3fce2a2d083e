"""One model in one runtime; `tools/runtimes.py` asks, in an environment that has the runtime and numpy.

    python tools/runtime_worker.py RUNTIME MODEL.onnx INPUT.npy OUTPUT.npy ROUNDS

Writes the first output's values to OUTPUT.npy, and a line of JSON to stdout: the runtime's version and the seconds of
each round. Each runtime computes on one thread, in the precision of the model. `engine_worker.py` takes the runtimes
that can have more threads.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np

Run = Callable[[np.ndarray], np.ndarray]


def onnxruntime(model: Path, x: np.ndarray, threads: int = 1) -> Run:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    names = [session.get_outputs()[0].name]
    return lambda x: session.run(names, {session.get_inputs()[0].name: x})[0]


def onnx(model: Path, x: np.ndarray) -> Run:
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(str(model))
    return lambda x: np.asarray(evaluator.run(None, {evaluator.input_names[0]: x})[0])


def openvino(model: Path, x: np.ndarray, threads: int = 1, precision: str | None = "f32") -> Run:
    import openvino

    # Left to itself it may compute in bfloat16 where the processor can.
    hint = {"INFERENCE_PRECISION_HINT": precision} if precision else {}
    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, **hint}
    request = openvino.Core().compile_model(str(model), "CPU", settings).create_infer_request()
    return lambda x: np.array(request.infer({0: x})[0])


def opencv(model: Path, x: np.ndarray, engine: str = "ENGINE_AUTO") -> Run:
    import cv2

    cv2.setNumThreads(1)
    network = cv2.dnn.readNetFromONNX(str(model), getattr(cv2.dnn, engine))

    def run(x: np.ndarray) -> np.ndarray:
        network.setInput(x)
        return network.forward()

    return run


def opencv_classic(model: Path, x: np.ndarray) -> Run:
    return opencv(model, x, "ENGINE_CLASSIC")


def ncnn(model: Path, x: np.ndarray, threads: int = 1) -> Run:
    """By pnnx, ncnn's own converter, for one image: it has no batches."""
    import ncnn
    import pnnx

    shape = f"inputshape=[{','.join(map(str, (1, *x.shape[1:])))}]{'u8' if x.dtype == np.uint8 else 'f32'}"
    stem = str(model.with_name(model.stem.replace("-", "_")))
    tool = str(Path(pnnx.__file__).parents[4] / "bin" / "pnnx")
    _converted([tool, str(model), shape, "fp16=0"], Path(f"{stem}.ncnn.bin"), model)
    network = ncnn.Net()
    network.opt.num_threads = threads
    network.opt.use_fp16_packed = network.opt.use_fp16_storage = network.opt.use_fp16_arithmetic = False
    if network.load_param(f"{stem}.ncnn.param") or network.load_model(f"{stem}.ncnn.bin"):
        raise ValueError("ncnn does not load what pnnx made")

    def one(image: np.ndarray) -> np.ndarray:
        extractor = network.create_extractor()
        extractor.input("in0", ncnn.Mat(image).clone())
        status, made = extractor.extract("out0")
        if status:
            raise ValueError(f"ncnn's extract returned {status}")
        return np.array(made)

    return lambda x: np.stack([one(image) for image in x])


def mnn(model: Path, x: np.ndarray, threads: int = 1) -> Run:
    from MNN import expr, nn

    made = model.with_suffix(".mnn")
    tool = str(Path(sys.executable).with_name("mnnconvert"))
    _converted([tool, "-f", "ONNX", "--modelFile", str(model), "--MNNModel", str(made), "--bizCode", "x"], made, model)
    manager = nn.create_runtime_manager(({"backend": "CPU", "numThread": threads, "precision": "high"},))
    module = nn.load_module_from_file(str(made), [], [], runtime_manager=manager)
    kind = {"float32": expr.float, "float16": expr.float, "uint8": expr.uint8}[x.dtype.name]

    def run(x: np.ndarray) -> np.ndarray:
        source = expr.placeholder(list(x.shape), expr.NCHW, kind)
        source.write(x.astype(np.float32) if kind == expr.float else x)
        (result, *_) = module.forward([source])
        return np.array(expr.convert(result, expr.NCHW).read())

    return run


def tract(model: Path, x: np.ndarray) -> Run:
    import tract

    runnable = tract.onnx().load(str(model)).into_model().into_runnable()
    return lambda x: runnable.run([x])[0].to_numpy()


def tinygrad(model: Path, x: np.ndarray) -> Run:
    from tinygrad import Tensor
    from tinygrad.nn.onnx import OnnxRunner

    runner = OnnxRunner(str(model))
    (name,) = runner.graph_inputs
    return lambda x: next(iter(runner({name: Tensor(x)}).values())).numpy()


PACKAGES = dict.fromkeys(("opencv", "opencv_classic"), "opencv-python-headless") | {"mnn": "MNN"}
"""Where a runtime's package has another name."""
RUNTIMES = {
    each.__name__: each for each in (onnxruntime, onnx, openvino, opencv, opencv_classic, ncnn, mnn, tract, tinygrad)
}


def _converted(command: list[str], made: Path, model: Path) -> None:
    """Converts a model, unless that was done since it was written."""
    if made.exists() and made.stat().st_mtime >= model.stat().st_mtime:
        return
    done = subprocess.run(command, capture_output=True, text=True, cwd=made.parent)
    if done.returncode or not made.exists():
        raise ValueError((done.stderr or done.stdout).strip().splitlines()[-1])


def main() -> None:
    runtime, model, source, target, rounds = sys.argv[1:]
    x = np.load(source)
    run = RUNTIMES[runtime](Path(model), x)
    np.save(target, run(x))
    seconds = []
    for _ in range(int(rounds)):
        start = time.perf_counter()
        run(x)
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"version": version(PACKAGES.get(runtime, runtime)), "seconds": seconds}))


if __name__ == "__main__":
    main()
