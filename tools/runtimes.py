"""Which runtimes load our models, how far they are from float64, and how fast they are beside onnxruntime.

    python tools/runtimes.py --environments DIR [--only NAME ...] [--networks NAME ...] [--output results/runtimes]

Each runtime has an environment of its own below DIR, which is made where it is missing: a virtual environment, or a
folder of node's with onnxruntime-web. A browser is found by the name `chromium`; tinygrad needs clang. Every model of
`NETWORKS` is compiled in every form of `FORMS`, for one image, and runs in each runtime on one thread, in a process of
its own (`runtime_worker.py`, `runtime_worker.mjs`).

Errors are norms of the logits' difference over the norm of the float32 network's in float64, as the interpreter of the
tests computes them. A model that runs is right if that is at most what `--verify` allows of its precision. A time is
the least of 20, over that of onnxruntime, which runs before and after the others. Writes OUTPUT.json and OUTPUT.md
after each model; what is in OUTPUT.json already stays unless it is run anew.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from bench_common import environment, markdown, relative

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.interpreter import evaluate
from support.specs import narrowed

import resnet_compile as rc
from resnet_compile.images import find_scheme
from resnet_compile.precision import PRECISIONS

TOOLS = Path(__file__).parent
ROUNDS = 20
PATIENCE = 300
"""Seconds after which a runtime is given up on."""
BASE = "onnxruntime"
_ERROR = re.compile(r"[\w.]*[Ee]rror: ")


class RuntimeFailedError(Exception):
    """What a runtime said last."""


@dataclass(frozen=True)
class Runtime:
    """A runtime, and what its environment holds.

    Attributes:
        label: Its name in tables.
        packages: Of PyPI, or of npm for `worker` of `node` and `chromium`.
        worker: The word of its worker.
    """

    label: str
    packages: tuple[str, ...]
    worker: str

    @property
    def of_node(self) -> bool:
        return self.worker in ("node", "chromium")

    def environment(self, folder: Path) -> Path:
        """Its environment, made where it is missing."""
        home = folder / ("-".join(self.packages).replace("=", "").replace("<", "") or self.label)
        if home.exists():
            return home
        print(f"installing {', '.join(self.packages)}", file=sys.stderr)
        if self.of_node:
            home.mkdir(parents=True)
            subprocess.run(["npm", "install", "--prefix", str(home), *self.packages], check=True, capture_output=True)
        else:
            venv.create(home, with_pip=True)
            pip = [str(home / "bin" / "pip"), "install", "--quiet", "numpy", *self.packages]
            subprocess.run(pip, check=True, capture_output=True)
        return home


RUNTIMES = (
    Runtime(BASE, ("onnxruntime",), "onnxruntime"),
    Runtime("onnxruntime 1.23", ("onnxruntime==1.23.2",), "onnxruntime"),
    Runtime("onnxruntime 1.15", ("onnxruntime==1.15.1", "numpy<2"), "onnxruntime"),
    Runtime("onnxruntime-web, node", ("onnxruntime-web",), "node"),
    Runtime("onnxruntime-web, Chromium", ("onnxruntime-web",), "chromium"),
    Runtime("OpenVINO", ("openvino",), "openvino"),
    Runtime("OpenCV dnn", ("opencv-python-headless",), "opencv"),
    Runtime("OpenCV dnn, its classic engine", ("opencv-python-headless",), "opencv_classic"),
    Runtime("ncnn", ("ncnn", "pnnx"), "ncnn"),
    Runtime("MNN", ("MNN",), "mnn"),
    Runtime("tract", ("tract",), "tract"),
    Runtime("tinygrad", ("tinygrad",), "tinygrad"),
    Runtime("onnx.reference", ("onnx",), "onnx"),
)

FORMS: dict[str, dict[str, Any]] = {
    "float32": {"dtype": "float32", "target": "portable"},
    "float16": {"dtype": "float16", "target": "portable"},
    "int8": {"dtype": "int8", "target": "portable"},
    "int8, symmetric": {"dtype": "int8", "target": "tensorrt"},
}
"""Options of each form."""
OF_PARTS = ("float32", "int8")
"""The forms that the networks with a part each are tried in."""

LARGE, SMALL = "ResNet-50 v2, 64x64", "ResNet-32 of CIFAR"
PHOTOGRAPHS = "photographs in"
NETWORKS: dict[str, Callable[[], rc.NetworkSpec]] = {
    LARGE: lambda: _sized(rc.load_spec("resnet50"), 64),
    SMALL: lambda: rc.load_spec("cifar_resnet32"),
    "squeeze and excitation": lambda: narrowed(rc.load_spec("timm_seresnet50")),
    "efficient channel attention": lambda: narrowed(rc.load_spec("timm_ecaresnet50d")),
    "deep stem, pooled shortcuts": lambda: narrowed(rc.load_spec("timm_resnet50d")),
    "anti-aliased": lambda: _blurred(narrowed(rc.load_spec("torchvision_resnet18"))),
    "groups": lambda: narrowed(rc.load_spec("torchvision_resnext50_32x4d")),
    "biases, SAME padding": lambda: narrowed(rc.load_spec("mlperf_tiny_resnet8")),
    PHOTOGRAPHS: lambda: rc.load_spec("tiny"),
}
"""The networks: two as they are used, and small ones with a part each."""


def _sized(spec: rc.NetworkSpec, side: int) -> rc.NetworkSpec:
    return spec.replace(input=spec.input.replace(height=side, width=side))


def _blurred(spec: rc.NetworkSpec) -> rc.NetworkSpec:
    document = spec.model_dump(mode="json")
    for block in document["blocks"]:
        block["unit"]["anti_aliasing"] = {"kind": "blur"}
    return rc.spec.build_spec(document)


class Case:
    """One network: its models by form, an input and what is right of it."""

    def __init__(self, label: str, folder: Path) -> None:
        self._folder, self._spec = folder, NETWORKS[label]()
        generator, size = np.random.default_rng(0), (self._spec.input.height, self._spec.input.width)
        exact = generator.standard_normal((1, 3, *size))
        self._ends: dict[str, Any] = {}
        self.x: np.ndarray = exact.astype(np.float32)
        if label == PHOTOGRAPHS:
            self.x = generator.integers(0, 256, (1, 37, 51, 3), np.uint8)
            self._ends = {"preprocess": "inception", "image_size": self.x.shape[1:3]}
            exact = find_scheme("inception")(self.x[0], *size).transpose(2, 0, 1)[None]
        plain = rc.compile(self._spec, rc.CompileOptions(outputs=("logits",)))
        (self.logits,) = evaluate(plain.graph, exact.astype(np.float32), rounded=False).values()

    def model(self, form: str) -> Path:
        options = rc.CompileOptions(outputs=("logits",), batch=1, **FORMS[form], **self._ends)
        path = self._folder / "model.onnx"
        if options.dtype.calibrated:
            images = np.random.default_rng(1).standard_normal((8, 3, *self._size()), np.float32)
            rc.quantize.quantize(self._spec, options, images=images).save(path)
        else:
            rc.compile(self._spec, options).save(path)
        return path

    def _size(self) -> tuple[int, int]:
        return self._spec.input.height, self._spec.input.width


def run(runtime: Runtime, home: Path, model: Path, x: np.ndarray) -> dict[str, Any]:
    """The runtime's version, its seconds, and the logits."""
    folder = model.parent
    if runtime.of_node:
        answer = answered(runtime, home, model, x)
        return {**answer, "logits": np.array(next(iter(answer["outputs"].values())))}
    np.save(folder / "x.npy", x)
    arguments = [runtime.worker, *map(str, (model, folder / "x.npy", folder / "y.npy")), str(ROUNDS)]
    told = _finished([str(home / "bin" / "python"), str(TOOLS / "runtime_worker.py"), *arguments])
    return {**json.loads(told.splitlines()[-1]), "logits": np.load(folder / "y.npy")}


def answered(runtime: Runtime, home: Path, model: Path, x: np.ndarray) -> dict[str, Any]:
    """What onnxruntime-web says: its version, its seconds, and the values of every output by name."""
    source = model.with_name("input.json")
    source.write_text(json.dumps({"type": x.dtype.name, "shape": list(x.shape), "values": x.ravel().tolist()}))
    return (_in_node if runtime.worker == "node" else _in_chromium)(home, model, source)


def _finished(command: list[str]) -> str:
    """What a command printed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise RuntimeFailedError(f"no answer in {PATIENCE} s") from None
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["it ended"]
        raise RuntimeFailedError(next((line for line in reversed(lines) if _ERROR.match(line)), lines[-1]))
    return done.stdout


def _in_node(home: Path, model: Path, source: Path) -> dict[str, Any]:
    answer = model.with_name("answer.json")
    _finished(["node", str(TOOLS / "runtime_worker.mjs"), *map(str, (home, model, source, answer)), str(ROUNDS)])
    return dict(json.loads(answer.read_text()))


def _in_chromium(home: Path, model: Path, source: Path) -> dict[str, Any]:
    """A page in a headless browser, which fetches the model here and posts its answer."""
    answers: list[dict[str, Any]] = []
    files = {"/model.onnx": model, "/input.json": source, "/worker.mjs": TOOLS / "runtime_worker.mjs"}
    page = b'<!doctype html><script type="module" src="/worker.mjs"></script>'

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            place = files.get(path, home / path[1:])
            found = path == "/" or place.is_file()
            kind = {".mjs": "text/javascript", ".wasm": "application/wasm"}.get(place.suffix, "text/html")
            self._send(200 if found else 404, (page if path == "/" else place.read_bytes()) if found else b"", kind)

        def do_POST(self) -> None:
            answers.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self._send(200, b"", "text/plain")

        def _send(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Says nothing."""

    with (
        HTTPServer(("127.0.0.1", 0), Handler) as server,
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
    ):
        address = f"http://127.0.0.1:{server.server_port}/?rounds={ROUNDS}"
        flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        browser = subprocess.Popen(["chromium", *flags, address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        server.timeout = 1
        end = time.monotonic() + PATIENCE
        try:
            while not answers:
                server.handle_request()
                if time.monotonic() > end or browser.poll() is not None:
                    raise RuntimeFailedError("no answer from the browser")
        finally:
            browser.terminate()
            browser.wait()
    if "error" in answers[0]:
        raise RuntimeFailedError(answers[0]["error"])
    return answers[0]


def records(
    label: str, form: str, case: Case, chosen: tuple[Runtime, ...], homes: dict[str, Path]
) -> Iterator[dict[str, Any]]:
    """A network in one form, in each runtime, and in the first once more."""
    bound = PRECISIONS[FORMS[form]["dtype"]].bound
    for place, runtime in enumerate((*chosen, chosen[0])):
        # Made anew, since converters write beside it.
        model = case.model(form)
        record = {"network": label, "form": form, "runtime": runtime.label, "again": place == len(chosen)}
        try:
            made = run(runtime, homes[runtime.label], model, case.x)
            error = relative(made["logits"].reshape(1, -1), case.logits)
            seconds = min(made["seconds"])
            record |= {"version": made["version"], "error": error, "right": error <= bound, "seconds": seconds}
        except (RuntimeFailedError, OSError, ValueError) as error:
            record |= {"right": False, "failure": " ".join(str(error).split())[:300]}
        print(record, file=sys.stderr)
        yield record


def page(document: dict[str, Any]) -> str:
    """The table and what failed, in Markdown."""
    made, cpu = document["records"], document["environment"]["cpu"]
    rows = []
    for runtime in dict.fromkeys(record["runtime"] for record in made):
        own = [record for record in made if record["runtime"] == runtime]
        version = next((record["version"] for record in own if "version" in record), "")
        rows.append([f"{runtime} ({version})", *(_cell(own, form) for form in FORMS), _time(made, own)])
    header = ["runtime", *FORMS, "time of ResNet-50, float32"]
    failures: dict[tuple[str, str], dict[str, list[str]]] = {}
    for record in made:
        if not record["right"] and not record["again"]:
            said = record.get("failure") or f"runs, with an error above what --verify allows: {record['error']:.1e}"
            failures.setdefault((record["runtime"], said), {}).setdefault(record["form"], []).append(record["network"])
    told = [
        [runtime, "; ".join(f"{form}: {', '.join(networks)}" for form, networks in where.items()), said]
        for (runtime, said), where in failures.items()
    ]
    return f"""# What runs our models

{document["environment"]["time"][:10]}, {cpu["model"]}, one thread, one image, by `python tools/runtimes.py`: how many
of the networks run right, and the largest error of these against float64. Times are the least
of 20 rounds over onnxruntime's, on a machine that had much other work.

{markdown(header, rows)}

The networks: {"; ".join(NETWORKS)}. The first two are tried in all forms, the others in {" and ".join(OF_PARTS)}.

## What does not

{markdown(["runtime", "what", "what it says"], told)}
"""


def _cell(own: list[dict[str, Any]], form: str) -> str:
    of_form = {record["network"]: record for record in own if record["form"] == form}
    right = [record["error"] for record in of_form.values() if record["right"]]
    return f"{len(right)} of {len(of_form)}" + (f", {max(right):.1e}" if right else "")


def _time(made: list[dict[str, Any]], own: list[dict[str, Any]]) -> str:
    """The time of ResNet-50 in float32 over that of onnxruntime."""

    def mean(records: list[dict[str, Any]]) -> float | None:
        found = [r["seconds"] for r in records if (r["network"], r["form"]) == (LARGE, "float32") and "seconds" in r]
        return statistics.mean(found) if found else None

    one, other = mean(own), mean([record for record in made if record["runtime"] == BASE])
    return f"{one / other:.2f}" if one and other else "-"


def _place(record: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(record[key] for key in ("network", "form", "runtime", "again"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=[each.label for each in RUNTIMES])
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS))
    parser.add_argument("--output", type=Path, default=TOOLS / "results" / "runtimes")
    arguments = parser.parse_args()
    chosen = tuple(each for each in RUNTIMES if each.label in (arguments.only or [each.label]) or each.label == BASE)
    homes = {each.label: each.environment(arguments.environments) for each in chosen}
    written = arguments.output.with_suffix(".json")
    known = (
        {_place(record): record for record in json.loads(written.read_text())["records"]} if written.exists() else {}
    )
    for label in arguments.networks or NETWORKS:
        with tempfile.TemporaryDirectory() as folder:
            case = Case(label, Path(folder))
            for form in FORMS if label in (LARGE, SMALL) else OF_PARTS:
                known |= {_place(record): record for record in records(label, form, case, chosen, homes)}
                document = {"environment": environment(), "records": list(known.values())}
                written.write_text(json.dumps(document, indent=1) + "\n")
                arguments.output.with_suffix(".md").write_text(page(document))


if __name__ == "__main__":
    main()
