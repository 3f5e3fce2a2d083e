"""One network by every target and precision, against the peers' graphs, on the CPU: speed, size, kernels, accuracy.

    python tools/compare_targets.py [resnet50 resnet152] [--weights resnet50=FILE ...] [--calibration DIR]
        [--variant LABEL=OPTIONS ...] [--output tools/results/targets_cpu]

A variant is a row of options given to `resnet-compile`; `--variant` adds one, or puts other options under a label that
is there. One that cannot be made or run is a row with its error. Rows with `int8` among their options are calibrated on
the images of `--calibration`, or on synthetic ones, which are others than those that accuracy is measured on.

Forward passes are timed in turn, every contestant once a round in random order, none while another runs, sessions
without spinning threads, OpenVINO in a process of its own; ratios are of the same round, with bootstrap 95 % intervals,
beside a second session of the base (A/A). Accuracy is held against PyTorch in float64 on the same weights. Kernels are
the nodes that onnxruntime runs after its own rewrites, by its profile; one counts as integer when its first input and
its output are of 8 bits. Writes OUTPUT.json and OUTPUT.md.

Peers' models are kept under --cache, and made anew for other weights only (tf2onnx needs 20 GB for ResNet-152).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from bench_common import CONTROL, SYNTHETIC, Step, agreement, environment, interleaved, relative
from bench_common import synthetic_images as draw
from peers import (
    MAKERS,
    OPENVINO,
    TOOLS,
    TORCH,
    Made,
    MakingError,
    OpenVino,
    add_options,
    known_network,
    made_by,
    made_by_us,
    pythons,
    save_weights,
    versions,
)
from PIL import Image
from served import Worker, WorkerError
from targets_page import BASE, BATCHES, IMAGES, INT8, OURS, PLAIN, page

from resnet_compile import load_spec, plan_network
from resnet_compile.bench import Protocol, median_ratio, summarize
from resnet_compile.errors import ResnetCompileError
from resnet_compile.runtime import Session, SessionOptions

VARIANTS: dict[str, str] = {
    PLAIN: "",
    BASE: "--target portable",
    OURS: "--target cpu",
    "cuda": "--target cuda",
    "float16": "--target cpu --dtype float16",
    "int8": "--dtype int8",
}
SIDE = 224
PROTOCOLS = dict(zip(BATCHES, ((Protocol(steps=40, burn_in=1), 4), (Protocol(steps=5, burn_in=0), 1)), strict=True))
"""Rounds and openings by batch size; opening a session runs it once more than these say."""
MOST_SECONDS = 900
BYTES = ("int8", "uint8")


@dataclass
class Contestant:
    """A model file and what is known of it; `error` says why there is no more."""

    label: str
    made_with: str
    path: Path
    made: Made | None = None
    error: str | None = None
    kernels: dict[str, Any] = field(default_factory=dict)
    accuracy: dict[str, float] = field(default_factory=dict)
    milliseconds: dict[int, float] = field(default_factory=dict)
    ratios: dict[int, dict[str, dict[str, float]]] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """As JSON values, without the place on this machine."""
        return {name: value for name, value in asdict(self).items() if name != "path"}

    def attempt(self, work: Callable[[], None]) -> None:
        """Does a part of the work unless an earlier part failed; keeps why it fails."""
        if self.error is None:
            try:
                work()
            except (MakingError, ResnetCompileError, WorkerError) as error:
                self.error = " ".join(str(error).split())[-400:]


class Comparison:
    """All contestants of one network."""

    def __init__(self, network: str, homes: Mapping[str, Path], arguments: argparse.Namespace, folder: Path) -> None:
        self._network, self._homes, self._arguments, self._folder = network, homes, arguments, folder
        self._name = load_spec(network).name
        self._settings = SessionOptions(threads=arguments.threads, spinning=False)
        self._images = draw(IMAGES, SIDE, seed=1)
        self._weights = dict(arguments.weights).get(network)
        self._openvino: dict[str, OpenVino] = {}
        self.contestants: list[Contestant] = []

    def run(self) -> dict[str, Any]:
        """Makes, checks and times; the result as JSON values."""
        self._make()
        reference = self._reference()
        for each in self.contestants:
            each.attempt(lambda each=each: self._judge(each, reference))
            each.attempt(lambda each=each: self._count(each))
        controls = {batch: self._time(batch) for batch in PROTOCOLS}
        return {
            "network": self._name,
            "weights": str(self._weights.name) if self._weights else "initial values, seed 0",
            "macs": plan_network(load_spec(self._network)).macs,
            "images": SYNTHETIC,
            "calibration": str(self._arguments.calibration.name) if self._arguments.calibration else "synthetic images",
            "rounds": {batch: protocol.steps for batch, (protocol, _) in self._protocols().items()},
            "controls": controls,
            "contestants": [each.record() for each in self.contestants],
        }

    def _protocols(self) -> dict[int, tuple[Protocol, int]]:
        rounds = self._arguments.rounds
        return PROTOCOLS if rounds is None else {batch: (Protocol(steps=rounds, burn_in=0), 1) for batch in PROTOCOLS}

    def _make(self) -> None:
        """Our variants, then the peers' graphs of the same weights, then OpenVINO on two of ours."""
        weights = ["--weights", str(self._weights)] if self._weights else []
        for number, (label, options) in enumerate({**VARIANTS, **dict(self._arguments.variant)}.items()):
            path = self._folder / f"variant{number}.onnx"
            words = [*weights, *shlex.split(options)]
            if INT8 in words:
                words += ["--calibration", str(self._calibration())]
            self._add(Contestant(label, options, path), lambda path=path, words=words: self._ours(words, path))
        if self._of(PLAIN).error:
            raise SystemExit(f"{self._network}: {self._of(PLAIN).error}")
        save_weights(self._file(PLAIN), self._folder / "weights.npz")
        digest = hashlib.sha256((self._folder / "weights.npz").read_bytes()).hexdigest()[:8]
        for peer in MAKERS:
            path = self._arguments.cache / "models" / f"{self._name}.{digest}.{peer}.onnx"
            path.parent.mkdir(parents=True, exist_ok=True)
            made = (peer, self._homes[peer], self._name, self._folder / "weights.npz", path)
            self._add(Contestant(peer, "", path), lambda made=made: made_by(*made))
        for label in (BASE, INT8):
            self._add(Contestant(f"{OPENVINO} on {label}", "", self._file(label)), lambda: None)
            self.contestants[-1].error = self._of(label).error

    def _calibration(self) -> Path:
        """A folder of images for the int8 rows."""
        folder = self._folder / "calibration"
        if self._arguments.calibration:
            return Path(self._arguments.calibration)
        if not folder.exists():
            folder.mkdir()
            for number, image in enumerate(draw(IMAGES, SIDE * 8 // 7, seed=2)):
                pixels = np.rint((image.transpose(1, 2, 0) + 1) * 127.5).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
        return folder

    def _ours(self, words: list[str], path: Path) -> Made:
        return made_by_us(self._network, words, path)

    def _add(self, contestant: Contestant, make: Callable[[], Made | None]) -> None:
        def work() -> None:
            contestant.made = make()

        print(f"  {contestant.label}", flush=True)
        contestant.attempt(work)
        self.contestants.append(contestant)

    def _of(self, label: str) -> Contestant:
        return next(each for each in self.contestants if each.label == label)

    def _file(self, label: str) -> Path:
        return self._of(label).path

    def _reference(self) -> np.ndarray:
        """The images' logits in float64, by PyTorch."""
        images, logits = self._folder / "images.npy", self._folder / "float64.npy"
        np.save(images, self._images)
        script = [self._homes[TORCH], TOOLS / "peer_torch_run.py", self._name, self._folder / "weights.npz"]
        worker = Worker(script, self._folder / "torch.log")
        form = {"batch": IMAGES, "device": "cpu", "dtype": "float64", "tf32": False, "channels_last": False}
        request = {
            "do": "time",
            "images": str(images),
            "logits": str(logits),
            "compile": None,
            "burn_in": 0,
            "steps": 0,
        }
        worker.ask({**request, **form}, MOST_SECONDS)
        worker.close()
        return np.load(logits)

    def _session(self, each: Contestant, settings: SessionOptions, images: np.ndarray) -> tuple[Session, Any, Any]:
        session = Session.open(each.path, "cpu", settings)
        feeds = {next(iter(session.inputs)): images}
        return session, feeds, session.run(feeds)

    def _judge(self, each: Contestant, reference: np.ndarray) -> None:
        """Logits against the reference; OpenVINO's come when it is opened."""
        if each.label.startswith(OPENVINO):
            logits = self._open_openvino(each, IMAGES).logits
        else:
            _, _, outputs = self._session(each, self._settings, self._images)
            (logits,) = outputs.values()
        each.accuracy = {"logits_error": relative(logits, reference), "top1_agreement": agreement(logits, reference)}

    def _open_openvino(self, each: Contestant, batch: int) -> OpenVino:
        images = self._folder / f"images{batch}.npy"
        np.save(images, self._images[:batch])
        if each.label in self._openvino:
            self._openvino[each.label].close()
        self._openvino[each.label] = OpenVino(
            self._homes[OPENVINO], each.path, images, self._arguments.threads, self._folder
        )
        return self._openvino[each.label]

    def _count(self, each: Contestant) -> None:
        """What onnxruntime makes of the model, by the profile of one run."""
        if each.label.startswith(OPENVINO):
            return
        settings = SessionOptions(threads=self._arguments.threads, profile=str(self._folder / "profile"))
        session, _, _ = self._session(each, settings, self._images[:1])
        each.kernels = kernels(json.loads(session.end_profile().read_text("utf-8")))

    def _time(self, batch: int) -> dict[str, float]:
        """Times all that can run, and gives the A/A control's interval."""
        print(f"  timing at batch {batch}", flush=True)
        protocol, openings = self._protocols()[batch]
        running = [each for each in self.contestants if each.error is None]
        openers = {each.label: self._opener(each, batch) for each in running}
        openers[CONTROL] = self._opener(self._of(BASE), batch)
        seconds = interleaved(openers, protocol, openings)
        against = [label for label in (BASE, PLAIN, OURS, INT8, *MAKERS) if label in seconds]
        for each in running:
            each.milliseconds[batch] = summarize(seconds[each.label]).p50 * 1e3
            each.ratios[batch] = {label: asdict(median_ratio(seconds[each.label], seconds[label])) for label in against}
        for other in self._openvino.values():
            other.close()
        self._openvino.clear()
        return asdict(median_ratio(seconds[BASE], seconds[CONTROL]))

    def _opener(self, each: Contestant, batch: int) -> Callable[[], Step]:
        if each.label.startswith(OPENVINO):
            process = self._open_openvino(each, batch)
            return lambda: process.run

        def opened() -> Step:
            session, feeds, outputs = self._session(each, self._settings, self._images[:batch])
            return session.bind([feeds], outputs, transfer=False).run

        return opened


def kernels(events: list[dict[str, Any]]) -> dict[str, Any]:
    """What ran in one profiled run: how many kernels, how many of them in integers, and the operators of the others.

    Args:
        events: onnxruntime's profile, in the trace event format.
    """
    ran = [event["args"] for event in events if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")]
    others = Counter(
        args["op_name"]
        for args in ran
        if not (_is_bytes(args["input_type_shape"]) and _is_bytes(args["output_type_shape"]))
    )
    return {"count": len(ran), "integer": len(ran) - others.total(), "others": dict(sorted(others.items()))}


def _is_bytes(types: list[Mapping[str, Any]]) -> bool:
    return bool(types) and next(iter(types[0])) in BYTES


def pair(text: str) -> tuple[str, str]:
    """`A=B` of the command line."""
    label, sign, value = text.partition("=")
    if not sign:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form A=B")
    return label, value


def checkpoint(text: str) -> tuple[str, Path]:
    """`NETWORK=FILE` of the command line."""
    network, file = pair(text)
    return known_network(network), Path(file)


def main() -> None:
    """Parses the command line, compares, prints and writes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("networks", nargs="*", type=known_network, default=["resnet50", "resnet152"])
    add_options(parser)
    parser.add_argument("--weights", type=checkpoint, action="append", default=[], metavar="NETWORK=FILE")
    parser.add_argument("--variant", type=pair, action="append", default=[], metavar="LABEL=OPTIONS")
    parser.add_argument("--calibration", type=Path, help="a folder of images for int8")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, help="at every batch size; for a trial")
    parser.add_argument("--output", type=Path, default=TOOLS / "results" / "targets_cpu", help="without .json and .md")
    arguments = parser.parse_args()

    homes = pythons(arguments)
    document: dict[str, Any] = {
        "command": shlex.join(["python", "tools/compare_targets.py", *_own_words(arguments)]),
        "environment": environment() | {"peers": {peer: versions(python) for peer, python in homes.items()}},
        "threads": arguments.threads,
        "networks": [],
    }
    packages = document["environment"]["packages"]
    document["onnxruntime"] = next(version for name, version in packages.items() if name.startswith("onnxruntime"))
    for network in arguments.networks:
        print(network, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            document["networks"].append(Comparison(network, homes, arguments, Path(folder)).run())
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
        arguments.output.with_suffix(".md").write_text(page(document))
    print(page(document))


def _own_words(arguments: argparse.Namespace) -> list[str]:
    """The command line without places on this machine."""
    words = [*arguments.networks, "--threads", str(arguments.threads)]
    words += [word for label, path in arguments.weights for word in ("--weights", f"{label}={path.name}")]
    words += [word for label, options in arguments.variant for word in ("--variant", f"{label}={options}")]
    words += ["--calibration", arguments.calibration.name] if arguments.calibration else []
    return words + (["--rounds", str(arguments.rounds)] if arguments.rounds else [])


if __name__ == "__main__":
    main()
