"""Models that take photographs, through the commands: compiled, verified, run, timed."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from support.commands import command
from support.specs import tiny_document

from resnet_compile.images import SCHEMES, decode_image

PHOTOS = np.load(Path(__file__).parents[1] / "golden" / "photos.npz")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A spec with a scheme of its own and, in `photos`, three photographs of two sizes."""
    document = tiny_document()
    document["input"] |= {"height": 64, "width": 64, "preprocess": "torchvision"}
    (tmp_path / "tiny.json").write_text(json.dumps(document))
    (tmp_path / "photos").mkdir()
    for name in ("chelsea", "coffee"):
        (tmp_path / "photos" / f"{name}.jpg").write_bytes(PHOTOS[f"photo/{name}"].tobytes())
    Image.open(tmp_path / "photos" / "chelsea.jpg").rotate(180).save(tmp_path / "photos" / "turned.png")
    return tmp_path


def test_a_photograph_gets_the_classes_that_its_numbers_get(folder: Path) -> None:
    assert command("resnet-compile", "tiny.json", "-o", "numbers.onnx", cwd=folder).code == 0
    flags = ["--preprocess", "model", "--verify", "--calibration", "photos"]
    done = command("resnet-compile", "tiny.json", "-o", "photos.onnx", *flags, cwd=folder)
    assert (done.code, "given" in done.err) == (0, True), done.err
    answers = {}
    for model in ("numbers", "photos"):
        ran = command("resnet-run", f"{model}.onnx", "photos", "--json", "--device", "cpu", cwd=folder)
        assert ran.code == 0, ran.err
        answers[model] = json.loads(ran.out)
    assert answers["numbers"]["preprocess_in_model"] is False
    assert {key: answers["photos"][key] for key in ("preprocess", "preprocess_in_model", "height", "width")} == {
        "preprocess": "torchvision",
        "preprocess_in_model": True,
        "height": None,
        "width": None,
    }
    for ours, theirs in zip(answers["photos"]["images"], answers["numbers"]["images"], strict=True):
        assert ours["image"] == theirs["image"]
        assert [place["class"] for place in ours["top"]] == [place["class"] for place in theirs["top"]]
        assert [place["probability"] for place in ours["top"]] == pytest.approx(
            [place["probability"] for place in theirs["top"]], rel=0.05
        )


def test_plain_onnxruntime_takes_a_batch_of_one_size(folder: Path) -> None:
    """And what the option names goes before the spec's scheme."""
    flags = ["--preprocess", "keras", "--image-size", "300x451", "--outputs", "logits"]
    assert command("resnet-compile", "tiny.json", "-o", "photos.onnx", *flags, cwd=folder).code == 0
    session = onnxruntime.InferenceSession(folder / "photos.onnx", providers=["CPUExecutionProvider"])
    (source,) = session.get_inputs()
    assert (source.name, source.type, source.shape) == ("input", "tensor(uint8)", ["batch", 300, 451, 3])
    images = np.stack([decode_image(folder / "photos" / name) for name in ("chelsea.jpg", "turned.png")])
    (logits,) = session.run(None, {"input": images})
    assert command("resnet-compile", "tiny.json", "-o", "numbers.onnx", "--outputs", "logits", cwd=folder).code == 0
    plain = onnxruntime.InferenceSession(folder / "numbers.onnx", providers=["CPUExecutionProvider"])
    numbers = np.stack([SCHEMES["keras"](image, 64, 64).transpose(2, 0, 1) for image in images])
    (expected,) = plain.run(None, {"input": numbers})
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("size", "shape"), [("dynamic", ["batch", "height", "width", 3]), ("48", ["batch", 48, 48, 3])]
)
def test_photographs_of_one_size_or_of_any(folder: Path, size: str, shape: list[str | int]) -> None:
    flags = ["--preprocess", "model", "--image-size", size]
    assert command("resnet-compile", "tiny.json", "-o", "photos.onnx", *flags, cwd=folder).code == 0
    session = onnxruntime.InferenceSession(folder / "photos.onnx", providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == shape


def test_photographs_of_another_size_than_the_models_are_told(folder: Path) -> None:
    flags = ["--preprocess", "model", "--image-size", "300x451"]
    assert command("resnet-compile", "tiny.json", "-o", "photos.onnx", *flags, cwd=folder).code == 0
    ran = command("resnet-run", "photos.onnx", "photos", "--json", "--device", "cpu", cwd=folder)
    assert ran.code == 1
    entries = json.loads(ran.out)["images"]
    assert [("top" in each) for each in entries] == [True, False, True]
    assert "the image must be 300x451 for this model, got 397x599 @ photos/coffee.jpg" in entries[1]["error"]
    asked = command("resnet-run", "photos.onnx", "photos", "--preprocess", "vgg", cwd=folder)
    assert (asked.code, asked.err.strip()) == (
        2,
        "resnet-run: error: the model preprocesses by itself @ preprocess (leave it out)",
    )


@pytest.mark.parametrize("flags", [["--dtype", "int8"], ["--dtype", "float16", "--io-dtype", "float16"]])
def test_every_precision_takes_photographs(folder: Path, flags: list[str]) -> None:
    done = command("resnet-compile", "tiny.json", "-o", "model.onnx", "--preprocess", "model", *flags, cwd=folder)
    assert done.code == 0, done.err
    ran = command("resnet-run", "model.onnx", "photos", "--json", "--device", "cpu", cwd=folder)
    assert ran.code == 0, ran.err
    timed = command("resnet-bench", "model.onnx", "--device", "cpu", "--batch", "1", "--steps", "2", cwd=folder)
    assert timed.code == 0, timed.err


def test_a_scheme_of_the_specs_own_is_what_is_computed(folder: Path) -> None:
    document = json.loads((folder / "tiny.json").read_text())
    document["input"]["preprocess"] = {
        "resize": {"kind": "stretch", "filter": "bilinear"},
        "values": {"kind": "normalise", "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
    }
    (folder / "tiny.json").write_text(json.dumps(document))
    assert command("resnet-compile", "tiny.json", "-o", "model.onnx", cwd=folder).code == 0
    ran = command("resnet-run", "model.onnx", "photos", "--json", "-v", "--device", "cpu", cwd=folder)
    assert json.loads(ran.out)["preprocess"] == "custom"
    assert "preprocessing custom (from the model): bilinear to the size, x / 255, mean 0.5, std 0.25" in ran.err
