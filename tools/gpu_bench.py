"""Everything that is to be known of this package on a GPU, in one command.

    python tools/gpu_bench.py [--networks resnet152 resnet50] [--output tools/results/gpu_bench] [--minutes 8.5]

It needs an NVIDIA GPU, onnxruntime-gpu with its CUDA libraries, and for the comparison PyTorch, in this Python or in
the one that --torch-python names. Nothing is downloaded. Correctness comes first: every end point of small networks,
and training steps, on the device against the CPU's, so that a wrong kernel is a line and not a figure. Then the
original's protocol, 10 and 100 runs of ResNet-152 at batch 32 in float32. Then, for each network and batch size, our
models by target, precision, layout, CUDA's other ways and with a CUDA graph, in TensorRT, and the same network with the
same weights in PyTorch, eager and compiled; all logits are held against onnxruntime's in float32 on the CPU. Beside
each outcome stands what `gpu_predictions.py` expected. A node that would run on the CPU, and a convolution in cuDNN's
slow fallback, is an error.

Every measurement is a request to another process; one that fails, ends its process or takes too long is a row with its
error. What matters most comes first, and what --minutes leave no time for is a row that says so. Writes OUTPUT.json
and OUTPUT.md, after every measurement. Exits with 1 if anything failed.

    python tools/gpu_bench.py --device cpu --networks resnet50 --size 64x64 --batches 1 2 --steps 2

goes the same way without a GPU, to try this script; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bench_common import SYNTHETIC, agreement, environment, relative, synthetic_images
from gpu_page import page
from gpu_predictions import CUDA, FUSED, MOST_ERROR, NO_TARGET, PORTABLE, TRAINING, predicted_seconds
from peers import known_network, save_weights
from served import Request, Worker, WorkerError

from resnet_compile import CompileOptions, compile, load_spec
from resnet_compile.bench import median_ratio
from resnet_compile.bench.options import variant_settings
from resnet_compile.errors import ResnetCompileError
from resnet_compile.quantize import quantize

TOOLS = Path(__file__).parent
BURN_IN = {1: 20, 32: 8}
STEPS = {1: 200, 32: 40}
ORIGINAL = (10, 100)
"""Runs to burn in and timed runs of the original's benchmark."""
CHECKED = ("tiny", "cifar_resnet32", "torchvision_resnet18")
"""Networks whose end points are compared."""
PREPARING = 240
"""Seconds that torch.compile may take, for all networks and batch sizes at once."""
BUILDING = 180
"""Seconds that one measurement may take where TensorRT builds its engine first."""
CALIBRATED = 8
"""Images that the ranges of 8 bits come from."""
MEASURING = 90
"""Seconds that one measurement may take."""
COMMAND = """
import contextlib
with contextlib.suppress(ImportError):
    import torch
from resnet_compile.cli.{} import main
main()
"""


@dataclass(frozen=True)
class Case:
    """A way to run a network.

    Attributes:
        engine: `onnxruntime`, `tensorrt` (onnxruntime's provider of it), `eager`, `compiled` or `autotuned`, the
            latter three PyTorch's.
        target: Of the model that onnxruntime runs.
        precision: `float32`, `tf32`, `float16`, or TensorRT's `int8`.
        channels_last: Whether convolutions run in NHWC.
        graph: Whether a CUDA graph is recorded and replayed.
        tensor_cores: Whether onnxruntime's `use_tf32` is on, which float16 needs too.
        variant: How else CUDA runs it, in a word of `resnet_compile.bench.VARIANTS`.
        original: Whether the runs are as many as the original's.
        again: Whether it is a second measurement, which shows how far two of the same differ.
    """

    engine: str
    target: str
    precision: str
    channels_last: bool = False
    graph: bool = False
    tensor_cores: bool = True
    variant: str = ""
    original: bool = False
    again: bool = False

    @property
    def label(self) -> str:
        """What the table calls it."""
        torch = {"eager": "torch eager", "compiled": "torch.compile", "autotuned": "torch.compile max-autotune"}
        name = torch.get(self.engine, "TensorRT" if self.engine == "tensorrt" else self.target)
        layout = " NHWC" if self.channels_last and self.engine == "onnxruntime" else ""
        cores = "" if self.tensor_cores else " without tensor cores"
        graph = ", graph" if self.graph and self.engine in ("onnxruntime", "tensorrt") else ""
        words = [self.variant, "10 + 100 runs" if self.original else "", "again" if self.again else ""]
        told = f" ({', '.join(filter(None, words))})" if any(words) else ""
        return f"{name} {self.precision}{layout}{cores}{graph}{told}"

    @property
    def dtype(self) -> str:
        """Of the weights."""
        return "float32" if self.precision == "tf32" else self.precision


def cases() -> Iterator[Case]:
    """All, what matters most first."""
    yield Case("onnxruntime", CUDA, "float32", original=True)
    yield Case("compiled", "", "float16", channels_last=True, graph=True)
    for target in (NO_TARGET, CUDA):
        yield Case("onnxruntime", target, "float16", channels_last=True, graph=True)
        yield Case("onnxruntime", target, "float32", graph=True)
    for precision in ("float32", "tf32"):
        yield Case("onnxruntime", FUSED, precision, graph=True)
    for precision in ("float16", "int8", "float32"):
        yield Case("tensorrt", "tensorrt", precision, graph=True)
    yield Case("eager", "", "float16", channels_last=True)
    for variant in ("fused-bias", "heuristic", "small-workspace"):
        yield Case("onnxruntime", CUDA, "float16", channels_last=True, graph=True, variant=variant)
    for graph in (True, False):
        for target in (NO_TARGET, CUDA):
            yield Case("onnxruntime", target, "tf32", graph=graph)
            yield Case("onnxruntime", target, "float16", graph=graph)
    for target in (NO_TARGET, CUDA):
        yield Case("onnxruntime", target, "float16", channels_last=True)
        yield Case("onnxruntime", target, "float32")
    yield Case("onnxruntime", NO_TARGET, "float16", channels_last=True, graph=True, again=True)
    yield Case("onnxruntime", NO_TARGET, "float16", channels_last=True, graph=True, tensor_cores=False)
    yield Case("eager", "", "tf32", channels_last=True)
    yield Case("eager", "", "float32")
    for precision in ("float16", "tf32"):
        yield Case("onnxruntime", PORTABLE, precision, channels_last=True, graph=True)
    yield Case("onnxruntime", PORTABLE, "float32", graph=True)
    yield Case("autotuned", "", "float16", channels_last=True, graph=True)
    for target in (NO_TARGET, CUDA):
        yield Case("onnxruntime", target, "tf32", channels_last=True, graph=True)


def how(target: str) -> dict[str, Any]:
    """The options that make a model for a target of the table."""
    return {"target": {NO_TARGET: None, FUSED: CUDA}.get(target, target), "fused_conv": target == FUSED}


class Bench:
    """The work, and what it has come to so far."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self._arguments, self._folder = arguments, folder
        self._end = time.monotonic() + 60 * arguments.minutes
        self._onnxruntime: Worker | None = None
        self._torch: dict[tuple[str, int], Worker] = {}
        self._uncompiled: dict[tuple[str, int], str] = {}
        self._weights = dict(arguments.weights)
        self.document: dict[str, Any] = {
            "device": arguments.device,
            "environment": environment(),
            "images": SYNTHETIC,
            "size": arguments.size,
            "torch_mode": arguments.torch_mode,
            "checks": [],
            "rows": [],
            "training": [],
            "commands": [],
        }

    def run(self) -> None:
        """Everything, in the order of its weight; `document` grows and is written as it goes."""
        try:
            self._prepare()
            self._attempt("machine", lambda: self.document.update(machine=self._ask({"do": "machine"})))
            self._check()
            self._train()
            for case in cases():
                for network in self._arguments.networks[: 1 if case.original else None]:
                    for batch in [max(self._arguments.batches)] if case.original else self._arguments.batches:
                        self._measure(network, batch, case)
                if case.engine == "eager" and case.dtype == "float16":
                    self._commands()
        finally:
            for worker in (self._onnxruntime, *self._torch.values()):
                if worker:
                    worker.close()

    def _check(self) -> None:
        """Every end point of small networks on the device against the CPU."""
        for network in CHECKED:
            for target, dtype in ((NO_TARGET, "float32"), (CUDA, "float32"), (FUSED, "float32"), (CUDA, "float16")):
                row: dict[str, Any] = {"network": network, "label": f"{target} {dtype}", "most": MOST_ERROR[dtype]}
                request = {"do": "check", "network": network, "device": self._arguments.device, "dtype": dtype}
                try:
                    row |= self._ask({**request, **how(target)})
                    if row["worst"] > row["most"]:
                        row["error"] = f"{row['end_point']} is off by {row['worst']:.1e}"
                except WorkerError as error:
                    row["error"] = " ".join(str(error).split())[:400]
                self.document["checks"].append(row)
                print(f"{network}, {row['label']}: {row.get('error') or 'right'}", flush=True)
                self.write()

    def _attempt(self, what: str, work: Any) -> None:
        """Does something whose failure leaves the rest to be done."""
        try:
            work()
        except (ResnetCompileError, WorkerError, OSError) as error:
            self.document.setdefault("failures", []).append(f"{what}: {error}")
            print(f"{what}: {error}", flush=True)

    def _ask(self, request: Request, seconds: float = MEASURING) -> Any:
        """Asks the process that runs onnxruntime; a new one after any failure, since CUDA may not have got over it."""
        worker = self._onnxruntime = self._onnxruntime or Worker(
            [sys.executable, TOOLS / "gpu_worker.py"], self._folder / "onnxruntime.log"
        )
        try:
            return worker.ask(request, min(seconds, self._left()))
        except WorkerError:
            worker.close()
            self._onnxruntime = None
            raise

    def _left(self) -> float:
        return self._end - time.monotonic()

    def _model(self, network: str, target: str, dtype: str) -> Path:
        return self._folder / f"{network} {target} {dtype}.onnx"

    def _prepare(self) -> None:
        """Models, weights and images; PyTorch compiles in the meantime, every network and batch size in a process."""
        height, width = self._arguments.size
        images = synthetic_images(max(self._arguments.batches), max(height, width), seed=1)
        np.save(self._folder / "images.npy", images[:, :, :height, :width])
        for network in self._arguments.networks:
            self._attempt(network, lambda network=network: self._compile(network, NO_TARGET, "float32"))
            self._attempt(f"{network} in torch", lambda network=network: self._start_torch(network))
        models = dict.fromkeys(
            (case.target, case.dtype) for case in cases() if case.engine in ("onnxruntime", "tensorrt")
        )
        for network in self._arguments.networks:
            for target, dtype in models:
                if not self._model(network, target, dtype).exists():
                    self._attempt(
                        f"{network} {target} {dtype}", lambda n=network, t=target, d=dtype: self._compile(n, t, d)
                    )
            self._attempt(f"{network} on the CPU", lambda network=network: self._reference(network))
        end = time.monotonic() + min(PREPARING, self._left())
        for place, worker in list(self._torch.items()):
            try:
                worker.receive(end - time.monotonic())
            except WorkerError as error:
                self._uncompiled[place] = str(error)
                if not error.alive:
                    del self._torch[place]
        print(f"prepared, {self._left():.0f} s left", flush=True)

    def _compile(self, network: str, target: str, dtype: str) -> None:
        options = CompileOptions(
            outputs=("logits",),
            size=tuple(self._arguments.size),
            **how(target),
            dtype=dtype,
        )
        spec, weights = load_spec(network), self._weights.get(network)
        if options.dtype.calibrated:
            images = np.load(self._folder / "images.npy")[:CALIBRATED]
            model = quantize(spec, options, weights=weights, images=images).model
        else:
            model = compile(spec, options, weights=weights)
        model.save(self._model(network, target, dtype))

    def _start_torch(self, network: str) -> None:
        """Has PyTorch compile the network for every batch size."""
        save_weights(self._model(network, NO_TARGET, "float32"), self._folder / f"{network}.npz")
        case = next(case for case in cases() if case.engine == "compiled")
        for batch in self._arguments.batches:
            self._torch_worker(network, batch).send({"do": "prepare", **self._torch_form(batch, case)})

    def _torch_worker(self, network: str, batch: int) -> Worker:
        """The process that runs a network in PyTorch at a batch size."""
        if (network, batch) not in self._torch:
            weights = self._folder / f"{network}.npz"
            command = [self._arguments.torch_python, TOOLS / "peer_torch_run.py", load_spec(network).name, weights]
            self._torch[network, batch] = Worker(command, self._folder / f"torch_{network}_{batch}.log")
        return self._torch[network, batch]

    def _torch_form(self, batch: int, case: Case) -> dict[str, Any]:
        return {
            "images": str(self._folder / "images.npy"),
            "batch": batch,
            "device": self._arguments.device,
            "dtype": case.dtype,
            "tf32": case.precision != "float32",
            "channels_last": case.channels_last,
            "compile": {"compiled": self._arguments.torch_mode, "autotuned": "max-autotune"}.get(case.engine),
        }

    def _reference(self, network: str) -> None:
        """Logits in float32 on the CPU."""
        self._ask(
            self._onnxruntime_request(network, max(self._arguments.batches), "cpu", {}, 0, self._expected(network))
        )

    def _expected(self, network: str) -> Path:
        return self._folder / f"{network}.npy"

    def _onnxruntime_request(
        self,
        network: str,
        batch: int,
        device: str,
        options: dict[str, Any],
        steps: int,
        logits: Path,
        *,
        model: Path | None = None,
    ) -> dict[str, Any]:
        return {
            "do": "run",
            "model": str(model or self._model(network, NO_TARGET, "float32")),
            "device": device,
            "options": options,
            "images": str(self._folder / "images.npy"),
            "batch": batch,
            "burn_in": min(BURN_IN.get(batch, 2), steps),
            "steps": steps,
            "logits": str(logits),
        }

    def _measure(self, network: str, batch: int, case: Case) -> None:
        """One row."""
        row: dict[str, Any] = {"network": network, "batch": batch, "label": case.label, "case": asdict(case)}
        seconds = predicted_seconds(
            network,
            batch,
            case.engine if case.engine == "tensorrt" else case.target or case.engine,
            case.precision,
            channels_last=case.channels_last,
            host=None if case.graph else "eager" if case.engine == "eager" else "onnxruntime",
        )
        row["predicted_ms"] = seconds and seconds * 1e3
        try:
            self._require_time()
            logits = self._folder / "logits.npy"
            row |= self._time(network, batch, case, logits)
            middle = median_ratio(row["seconds"], [1.0] * len(row["seconds"]))
            row |= {"ms": middle.median * 1e3, "low_ms": middle.low * 1e3, "high_ms": middle.high * 1e3}
            expected, actual = np.load(self._expected(network))[:batch], np.load(logits)
            row |= {"logits_error": relative(actual, expected), "top1_agreement": agreement(actual, expected)}
        except (WorkerError, OSError) as error:
            row["error"] = " ".join(str(error).split())[:400]
        self.document["rows"].append(row)
        said = row.get("error") or f"{row['ms']:.3f} ms, logits {row['logits_error']:.1e}"
        print(f"{network}, batch {batch}, {case.label}: {said}", flush=True)
        self.write()

    def _require_time(self) -> None:
        if self._left() < 10:
            raise WorkerError("not run: no time was left", alive=True)

    def _time(self, network: str, batch: int, case: Case, logits: Path) -> dict[str, Any]:
        steps = self._arguments.steps or (ORIGINAL[1] if case.original else STEPS.get(batch, 40))
        if case.engine in ("onnxruntime", "tensorrt"):
            options = {
                "tf32": case.tensor_cores and case.precision != "float32",
                "nhwc": case.channels_last,
                "cuda_graph": case.graph,
                "cpu_fallback": False,
                **variant_settings(case.variant),
            }
            device = self._arguments.device
            if case.engine == "tensorrt":
                device = device.replace("cuda", "tensorrt")
                options["engine_cache"] = str(self._folder)
            model = self._model(network, case.target, case.dtype)
            request = self._onnxruntime_request(network, batch, device, options, steps, logits, model=model)
            if case.original:
                request["burn_in"] = min(ORIGINAL[0], steps)
            return self._ask(request, BUILDING if case.engine == "tensorrt" else MEASURING)
        place = (network, batch)
        if case.engine == "compiled" and place in self._uncompiled:
            raise WorkerError(self._uncompiled[place], alive=True)
        request = {"do": "time", **self._torch_form(batch, case), "logits": str(logits), "steps": steps}
        request["burn_in"] = min(BURN_IN.get(batch, 2), steps)
        try:
            seconds = PREPARING if case.engine == "autotuned" else MEASURING
            return self._torch_worker(network, batch).ask(request, min(seconds, self._left()))
        except WorkerError as error:
            if not error.alive:
                self._torch.pop(place).close()
            raise

    def _train(self) -> None:
        """Training steps on the device against the CPU's."""
        for network, size, batch in (("cifar_resnet32", [32, 32], 128), ("resnet50", self._arguments.size, 32)):
            for tf32 in (False, True):
                batch = batch if self._arguments.device != "cpu" else 4
                row: dict[str, Any] = {"network": network, "batch": batch, "precision": "tf32" if tf32 else "float32"}
                seconds, row["why"] = TRAINING[network]
                row["predicted_ms"] = None if tf32 else seconds * 1e3
                steps = self._arguments.steps or 20
                request = {"do": "train", "network": network, "size": size, "batch": batch, "tf32": tf32}
                try:
                    self._require_time()
                    row |= self._ask({**request, "device": self._arguments.device, "burn_in": 3, "steps": steps})
                    row["ms"] = float(np.median(row["seconds"])) * 1e3
                except WorkerError as error:
                    row["error"] = " ".join(str(error).split())[:400]
                self.document["training"].append(row)
                print(f"training {network}: {row.get('error') or row['ms']}", flush=True)
                self.write()

    def _commands(self) -> None:
        """The commands themselves on this machine, and that a GPU that cannot be had is exit code 4."""
        bench = ["bench", "tiny", "--device", self._arguments.device, "--batch", "1,32", "--steps", "20"]
        trials: list[tuple[list[str], int, dict[str, str]]] = [
            (["doctor"], 0, {}),
            (bench, 0, {}),
            (["bench", "tiny", "--device", "cuda"], 4, {"CUDA_VISIBLE_DEVICES": "-1"}),
        ]
        if self._arguments.device != "cpu":
            trials.append(([*bench, "--cuda-graph"], 0, {}))
        for words, code, variables in trials:
            if self._left() < 10:
                return
            command = [sys.executable, "-c", COMMAND.format(words[0]), *words[1:]]
            row: dict[str, Any] = {
                "command": " ".join([*(f"{n}={v}" for n, v in variables.items()), f"resnet-{words[0]}", *words[1:]]),
                "expected": code,
                "exit_code": None,
            }
            with contextlib.suppress(subprocess.TimeoutExpired):
                done = subprocess.run(
                    command,
                    capture_output=True,
                    text=True,
                    check=False,
                    env={**os.environ, **variables},
                    timeout=min(MEASURING, self._left()),
                )
                row |= {"exit_code": done.returncode, "output": done.stdout[-4000:], "errors": done.stderr[-1000:]}
            self.document["commands"].append(row)
            self.write()

    def write(self) -> None:
        """The files as they stand."""
        output: Path = self._arguments.output
        output.parent.mkdir(parents=True, exist_ok=True)
        output.with_suffix(".json").write_text(json.dumps(self.document, indent=1) + "\n")
        output.with_suffix(".md").write_text(page(self.document))

    @property
    def failed(self) -> bool:
        """Whether anything is not as it should be."""
        rows = [*self.document["checks"], *self.document["rows"], *self.document["training"]]
        wrong = [one for one in self.document["commands"] if one["exit_code"] != one["expected"]]
        return bool(wrong or self.document.get("failures") or any("error" in row for row in rows))


def size(text: str) -> list[int]:
    """`HxW` of the command line."""
    rows, _, columns = text.partition("x")
    if not (rows.isdecimal() and columns.isdecimal() and int(rows) % 32 == int(columns) % 32 == 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not HxW in multiples of 32")
    return [int(rows), int(columns)]


def checkpoint(text: str) -> tuple[str, Path]:
    """`NETWORK=FILE` of the command line."""
    network, sign, file = text.partition("=")
    if not sign:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NETWORK=FILE")
    return network, Path(file)


def main() -> None:
    """Parses the command line, runs, writes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--networks", nargs="+", type=known_network, default=["resnet152", "resnet50"])
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--output", type=Path, default=TOOLS / "results" / "gpu_bench", help="without .json and .md")
    parser.add_argument("--minutes", type=float, default=8.5, help="what is not done by then is left out")
    parser.add_argument("--weights", type=checkpoint, action="append", default=[], metavar="NETWORK=FILE")
    parser.add_argument("--torch-python", type=Path, default=Path(sys.executable), help="a Python that has PyTorch")
    parser.add_argument("--torch-mode", default="reduce-overhead", help="of torch.compile; max-autotune takes minutes")
    parser.add_argument("--size", type=size, default=[224, 224], metavar="HxW")
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 1])
    parser.add_argument("--steps", type=int, help="timed runs; by default 200 at batch 1, 40 at 32")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(arguments, Path(folder))
        try:
            bench.run()
        finally:
            bench.write()
    sys.exit(1 if bench.failed else 0)


if __name__ == "__main__":
    main()
