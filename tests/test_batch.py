"""Classifying columns of images, against the same images prepared and run step by step."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.models import run
from support.tolerances import NETWORK
from support.training_run import narrow_spec

import resnet_compile as rc
from resnet_compile.batch import NO_CLASS, Classifier
from resnet_compile.errors import OptionError
from resnet_compile.images import find_scheme

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 40, 50, 3), np.uint8)
LABELS = tuple("abcdefghij")


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def network() -> rc.CompiledModel:
    return rc.compile(narrow_spec(), rc.CompileOptions(labels=LABELS))


@pytest.fixture(scope="module")
def model(network: rc.CompiledModel) -> bytes:
    return network.to_proto().SerializeToString()


@pytest.fixture(scope="module")
def expected(network: rc.CompiledModel) -> np.ndarray:
    images = np.stack([find_scheme("cifar")(pixels, 32, 32).transpose(2, 0, 1) for pixels in PIXELS])
    return run(network.to_proto(), images)["predictions"]


@pytest.mark.parametrize("kind", ["pixels", "contents", "paths"])
def test_a_column_of_images_becomes_columns_of_classes(
    model: bytes, expected: np.ndarray, tmp_path: Path, kind: str
) -> None:
    column = PIXELS
    if kind != "pixels":
        column = np.array([png(pixels) for pixels in PIXELS], object)
    if kind == "paths":
        for number, contents in enumerate(column):
            (tmp_path / f"{number}.png").write_bytes(contents)
        column = np.array([str(tmp_path / f"{number}.png") for number in range(5)])
    answered = Classifier(model, top=3, device="cpu")({"image": column, "key": np.arange(5)})
    order = np.argsort(-expected)[:, :3]
    assert sorted(answered) == ["class", "error", "key", "label", "probability"]
    assert answered["class"].tolist() == order.tolist()
    np.testing.assert_allclose(answered["probability"], np.take_along_axis(expected, order, 1), rtol=NETWORK)
    assert answered["label"].tolist() == [[LABELS[index] for index in row] for row in order]
    assert answered["error"].tolist() == [""] * 5
    assert answered["key"].tolist() == [0, 1, 2, 3, 4]


def test_decoding_can_be_a_stage_of_its_own(model: bytes) -> None:
    classifier = Classifier(model, device="cpu")
    batch = {"image": np.array([png(PIXELS[0]), b"junk", png(PIXELS[1])], object), "key": np.arange(3)}
    decoded = classifier.decoder(batch)
    assert sorted(decoded) == ["error", "key", "prepared"]
    assert (decoded["prepared"].dtype, decoded["prepared"].shape) == (np.float32, (3, 32, 32, 3))
    staged, whole = classifier(decoded), classifier(batch)
    for name in whole:
        np.testing.assert_array_equal(staged[name], whole[name])
    assert whole["error"].tolist() == ["", "not an image of a known format @ <bytes>", ""]
    assert whole["class"][1].tolist() == [NO_CLASS] * 5
    assert np.isnan(whole["probability"][1]).all()
    assert not np.isnan(whole["probability"][[0, 2]]).any()


def test_photographs_of_several_sizes_go_to_a_model_that_prepares_them() -> None:
    model = rc.compile("tiny", rc.CompileOptions(preprocess="torchvision")).to_proto().SerializeToString()
    photos = np.empty(3, object)
    photos[:] = [PIXELS[0], b"junk", PIXELS[1][:, :30]]
    classifier = Classifier(model, device="cpu")
    answered = classifier({"image": photos})
    alone = [classifier({"image": photos[at : at + 1]}) for at in (0, 2)]
    np.testing.assert_array_equal(answered["class"][[0, 2]], [each["class"][0] for each in alone])
    assert "label" not in answered


def test_ranks_past_the_number_of_classes_are_empty(model: bytes) -> None:
    answered = Classifier(model, top=12, device="cpu")({"image": PIXELS[:1]})
    assert sorted(answered["class"][0][:10]) == list(range(10))
    assert answered["class"][0][10:].tolist() == [NO_CLASS] * 2
    assert answered["label"][0][10:].tolist() == ["", ""]


def test_no_scheme_is_guessed_for_a_million_images(network: rc.CompiledModel) -> None:
    proto = network.to_proto()
    del proto.metadata_props[:]
    with pytest.raises(OptionError, match=r"the model names no preprocessing scheme @ preprocess \(preprocess='tor"):
        Classifier(proto.SerializeToString(), device="cpu")
    Classifier(proto.SerializeToString(), device="cpu", preprocess="cifar")


@pytest.mark.parametrize(("package", "number"), [("daft", 0), ("pyspark", 1)])
def test_the_page_of_engines_does_what_it_says(tmp_path: Path, package: str, number: int) -> None:
    pytest.importorskip(package, reason=f"{package} is not installed")
    page = Path(rc.__file__).parent / "runtime" / "many_images.md"
    example = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)[number]
    told = "[(row['answer']['class'][0], row['answer']['error']) for row in sorted(rows, key=lambda row: row['path'])]"
    (tmp_path / "example.py").write_text(f"{example}\nimport json\nprint(json.dumps({told}))\n")
    rc.compile("tiny").save(tmp_path / "model.onnx")
    (tmp_path / "photos").mkdir()
    for at in range(4):
        Image.fromarray(PIXELS[at]).save(tmp_path / "photos" / f"{at}.jpg")
    (tmp_path / "photos" / "4.jpg").write_bytes(b"junk")
    environment = os.environ | {"PYSPARK_PYTHON": sys.executable, "PYTHONPATH": str(Path(rc.__file__).parents[1])}
    line = [sys.executable, "example.py"]
    done = subprocess.run(line, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
    rows = json.loads(done.stdout.splitlines()[-1])
    model = rc.load_model(tmp_path / "model.onnx", "cpu")
    expected = [model.predict(tmp_path / "photos" / f"{at}.jpg").guesses[0].index for at in range(4)]
    assert [index for index, _ in rows] == [*expected, NO_CLASS]
    assert [error for _, error in rows] == [""] * 4 + ["not an image of a known format @ <bytes>"]
