"""Our models in onnxruntime beside what one would take instead, on a CPU: time and error, in float32 and in 8 bits.

    python tools/compare_engines.py --environments DIR [--engines WORD ...] [--models NAME ...] [--forms float32 int8]
        [--threads 1,2] [--batch 1,8] [--rounds N] [--models-in DIR] [--output tools/results/engines_cpu]

Every engine has an environment of its own below DIR, which is made where it is missing, and every contestant a process
of its own, which is stopped while it has nothing to do: idle threads may wait busily. All contestants of a network take
part in every round, in random order, with one run that is not timed and some that are. A ratio is the engine's time
over that of onnxruntime with our plain model (in 8 bits: our int8 model) in the same round, the median with a bootstrap
95 % interval, beside a second process of the same (A/A). All have the same initial weights, ours, and a fixed batch.

Errors are norms of the logits' difference over the norm of the float32 network's logits in float64, as the interpreter
of the tests computes them. Images to run and to calibrate on are synthetic. `--models-in` keeps models, and what
engines make of them, for the next run; they are not made anew when the compiler changes. Results are written after
each network; what is in OUTPUT.json already stays unless the same network, form, batch and threads are measured anew,
with whatever engines.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bench_common import CONTROL, SYNTHETIC, agreement, environment, interval, markdown, relative, synthetic_images
from compare_training import Contestant, timed
from peers import save_weights
from runtimes import Runtime
from served import WorkerError

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.interpreter import evaluate

import resnet_compile as rc
from resnet_compile.bench import median_ratio, summarize
from resnet_compile.precision import Float32
from resnet_compile.runtime import cpu_state

TOOLS = Path(__file__).parent
NETWORKS = ("resnet50", "resnet152", "torchvision_resnet34", "cifar_resnet32")
CALIBRATED = 32
PART = 0.15
"""Seconds that a part of a round takes of the first contestant, about."""
MOST_STEPS = 30
PATIENCE = 600.0


class Case:
    """A network at one batch size: its models, its images and the logits that are right."""

    def __init__(self, name: str, batch: int, folder: Path) -> None:
        self.spec, self.batch, self.name = rc.load_spec(name), batch, name
        self.folder = folder / f"{name}-{batch}"
        self.folder.mkdir(parents=True, exist_ok=True)
        side = self.spec.input.height
        self.images = self.folder / "images.npy"
        if not self.images.exists():
            np.save(self.folder / "calibration.npy", synthetic_images(CALIBRATED, side, seed=1))
            np.save(self.images, synthetic_images(batch, side, seed=0))
        right = self.folder / "right.npy"
        if not right.exists():
            graph = rc.compile(self.spec, rc.CompileOptions(outputs=("logits",), batch=batch)).graph
            (logits,) = evaluate(graph, np.load(self.images), rounded=False).values()
            np.save(right, logits)
        self.right = np.load(right)

    def compiled(self, word: str, **options: Any) -> Path:
        path = self.folder / f"{word}.onnx"
        chosen = rc.CompileOptions(outputs=("logits",), **{"batch": self.batch, **options})
        if path.exists():
            return path
        if chosen.dtype.calibrated:
            images = np.load(self.folder / "calibration.npy")
            rc.quantize.quantize(self.spec, chosen, images=images).save(path)
        else:
            rc.compile(self.spec, chosen).save(path)
        return path

    def plain(self) -> Path:
        return self.compiled("plain")

    def single(self) -> Path:
        """For one image at a time, where an engine has no batches."""
        return self.plain() if self.batch == 1 else self.compiled("single", batch=1)

    def target(self) -> Path:
        return self.compiled("cpu", target="cpu")

    def winograd(self) -> Path:
        return self.compiled("winograd", target="cpu", dtype=Float32(winograd=True))

    def int8(self) -> Path:
        return self.compiled("int8", target="cpu", dtype="int8")

    def weights(self) -> Path:
        """The unrewritten network's weights under our names."""
        path = self.folder / f"{self.spec.name}.npz"
        if not path.exists():
            save_weights(self.plain(), path)
        return path

    def static(self) -> Path:
        """By onnxruntime's tool and its defaults, after the preprocessing that it asks for."""
        from onnxruntime.quantization import CalibrationDataReader, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process

        path, prepared = self.folder / "static.onnx", self.folder / "prepared.onnx"
        if path.exists():
            return path
        calibration = np.load(self.folder / "calibration.npy")
        batches = (np.resize(image, (self.batch, *image.shape)) for image in calibration)

        class Reader(CalibrationDataReader):  # type: ignore[misc]
            def get_next(self) -> dict[str, Any] | None:
                images = next(batches, None)
                return None if images is None else {"input": images}

        quant_pre_process(str(self.plain()), str(prepared), skip_symbolic_shape=True)
        quantize_static(str(prepared), str(path), Reader())
        return path


@dataclass(frozen=True)
class Engine:
    """An engine, or a way to use one.

    Attributes:
        word: Its name on the command line.
        label: Its name in tables.
        form: The precision.
        worker: Its name in `engine_worker.py`.
        packages: What its environment holds.
        model: Makes its file of a case, if there is none.
    """

    word: str
    label: str
    form: str
    worker: str
    packages: tuple[str, ...]
    model: Callable[[Case], Path]

    def python(self, environments: Path) -> Path:
        """The Python of its environment, which is made where it is missing."""
        return Runtime(self.label, self.packages, self.worker).environment(environments) / "bin" / "python"


ORT, OPENVINO, TORCH = ("onnxruntime",), ("openvino",), ("torch", "torchvision")
ENGINES = (
    Engine("plain", "our model in onnxruntime", "float32", "onnxruntime", ORT, Case.plain),
    Engine("cpu", "our --target cpu", "float32", "onnxruntime", ORT, Case.target),
    Engine("winograd", "our --winograd", "float32", "onnxruntime", ORT, Case.winograd),
    Engine("ncnn", "ncnn", "float32", "ncnn", ("ncnn", "pnnx"), Case.single),
    Engine("openvino", "OpenVINO in float32", "float32", "openvino", OPENVINO, Case.plain),
    Engine("bf16", "OpenVINO by its default", "float32", "openvino_default", OPENVINO, Case.plain),
    Engine("mnn", "MNN", "float32", "mnn", ("MNN",), Case.plain),
    Engine("eager", "PyTorch eager", "float32", "torch", TORCH, Case.weights),
    Engine("compile", "torch.compile", "float32", "torch_compile", TORCH, Case.weights),
    Engine("int8", "our int8 model in onnxruntime", "int8", "onnxruntime", ORT, Case.int8),
    Engine("int8-openvino", "our int8 model in OpenVINO", "int8", "openvino", OPENVINO, Case.int8),
    Engine("static", "onnxruntime's quantize_static", "int8", "onnxruntime", ORT, Case.static),
    Engine("nncf", "NNCF in OpenVINO", "int8", "nncf", ("nncf", "openvino", "onnx"), Case.plain),
    Engine("pt2e", "PyTorch's pt2e", "int8", "torch_pt2e", ("torchao", *TORCH), Case.weights),
)
FORMS = tuple(dict.fromkeys(each.form for each in ENGINES))


def measured(case: Case, engines: list[Engine], pythons: dict[str, Path], threads: int, rounds: int) -> dict[str, Any]:
    """The contest of one form's engines; the first is the base."""
    base, told, before = engines[0], {}, cpu_state()
    environment_variables = {"TORCHINDUCTOR_CACHE_DIR": str(case.folder.parent / "inductor")}
    with ExitStack() as stack:
        started: dict[str, tuple[Contestant, Path]] = {}
        for number, (label, engine) in enumerate([(each.label, each) for each in engines] + [(CONTROL, base)]):
            target = case.folder / f"out{number}.npy"
            words = (engine.worker, engine.model(case), case.images, target, threads)
            command = [pythons[engine.word], TOOLS / "engine_worker.py", *words]
            worker = Contestant(command, target.with_suffix(".log"), environment_variables)
            stack.callback(worker.close)
            worker.send({"do": "open"})  # all at once: opening takes longer than a round
            started[label] = worker, target
        contestants: dict[str, Contestant] = {}
        for label, (worker, target) in started.items():
            try:
                told[label] = {"version": worker.receive(PATIENCE)}
            except WorkerError as error:
                told[label] = {"failure": " ".join(str(error).split())[:300]}
                print(f"{label}: {told[label]['failure']}", file=sys.stderr)
                continue
            logits = np.load(target)
            told[label] |= {"error": relative(logits, case.right), "agreement": agreement(logits, case.right)}
            contestants[label] = worker
        if base.label not in contestants:
            raise SystemExit(f"{base.label}: {told[base.label]['failure']}")
        # Each is stopped after its first answer, and none runs on beside the others from here.
        first = {label: each.ask({"do": "time", "steps": 1}, PATIENCE) for label, each in contestants.items()}
        steps = max(1, min(MOST_STEPS, round(PART / first[base.label])))
        seconds = timed(contestants, rounds, steps)
    after = cpu_state()
    for label, each in seconds.items():
        ratio = asdict(median_ratio(each, seconds[base.label]))
        told[label] |= {"milliseconds": summarize(each).p50 * 1e3, "ratio": ratio}
    conditions = {"load": [before.load, after.load], "stolen": after.stolen_since(before)}
    return {
        "network": case.name,
        "form": base.form,
        "batch": case.batch,
        "threads": threads,
        "rounds": rounds,
        "steps": steps,
        "environment": environment(),
        **conditions,
        "engines": told,
    }


def page(records: list[dict[str, Any]]) -> str:
    """The results as Markdown."""
    parts = []
    for record in records:
        rows = []
        for label, each in record["engines"].items():
            if "failure" in each:
                rows.append([label, None, None, None, each["failure"]])
                continue
            times = (f"{each['milliseconds']:.2f}", interval(each["ratio"]))
            rows.append([f"{label} ({each['version']})", *times, f"{each['error']:.1e}", None])
        about, stolen, (before, after) = record["environment"], record["stolen"], record["load"]
        parts.append(
            f"## {record['network']}, {record['form']}, batch {record['batch']}, {record['threads']} threads\n\n"
            f"{about['time']}, load {before} before and {after} after, "
            f"{'unknown' if stolen is None else f'{stolen:.1%}'} of the processors' time stolen; {record['rounds']} "
            f"rounds, {record['steps']} runs each.\n\n"
            + markdown(["", "ms", "time over ours", "error of the logits", "failure"], rows)
        )
    cpu = records[0]["environment"]["cpu"]
    return (
        f"# Our models beside other engines, on a CPU\n\n{cpu['model']}, {cpu['cores']} cores, by "
        "`python tools/compare_engines.py`, which says how. Times are medians of a round; below 1 an engine is faster "
        f"than our model in onnxruntime. Images: {SYNTHETIC}.\n\n" + "\n\n".join(parts) + "\n"
    )


def _place(record: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(record[key] for key in ("network", "form", "batch", "threads"))


def _numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


def main() -> None:
    """Parses the command line, measures, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", type=Path, required=True)
    parser.add_argument("--engines", nargs="+", choices=[each.word for each in ENGINES], help="and each form's first")
    parser.add_argument("--models", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=FORMS)
    parser.add_argument("--threads", type=_numbers, default=[1, 2])
    parser.add_argument("--batch", type=_numbers, default=[1, 8])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--models-in", type=Path)
    parser.add_argument("--output", type=Path, default=TOOLS / "results" / "engines_cpu")
    arguments = parser.parse_args()
    bases = [next(each for each in ENGINES if each.form == form) for form in arguments.forms]
    wanted = [each for each in ENGINES if each in bases or each.word in (arguments.engines or [each.word])]
    chosen = [each for each in wanted if each.form in arguments.forms]
    pythons = {each.word: each.python(arguments.environments) for each in chosen}
    written, known = arguments.output.with_suffix(".json"), {}
    with suppress(FileNotFoundError):
        known = {_place(record): record for record in json.loads(written.read_text())}
    with tempfile.TemporaryDirectory() as folder:
        for batch in arguments.batch:
            for threads in arguments.threads:
                for name in arguments.models:
                    case = Case(name, batch, arguments.models_in or Path(folder))
                    for base in bases:
                        engines = [each for each in chosen if each.form == base.form]
                        record = measured(case, engines, pythons, threads, arguments.rounds)
                        known[_place(record)] = record
                        print(page([record]), flush=True)
                    written.write_text(json.dumps(list(known.values()), indent=1) + "\n")
                    arguments.output.with_suffix(".md").write_text(page(list(known.values())))


if __name__ == "__main__":
    main()
