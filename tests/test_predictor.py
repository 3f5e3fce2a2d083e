"""Predictions in Python, against the same images prepared and run step by step."""

import base64
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.models import run
from support.tolerances import JPEG, NETWORK
from support.training_run import narrow_spec, write_cifar

import resnet_compile as rc
from resnet_compile.errors import ImageError, OptionError, UsageError
from resnet_compile.images import decode_image, find_scheme
from resnet_compile.metadata import UNTRAINED


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(rng.integers(0, 256, (40, 50 + number, 3)).astype(np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def model() -> rc.CompiledModel:
    return rc.compile(narrow_spec(), rc.CompileOptions(labels=tuple("abcdefghij")))


def expected(model: rc.CompiledModel, path: Path) -> np.ndarray:
    image = find_scheme("cifar")(decode_image(path), 32, 32).transpose(2, 0, 1)[None]
    (row,) = run(model.to_proto(), image)["predictions"]
    return np.asarray(row)


def test_a_photo_is_prepared_by_the_models_scheme(model: rc.CompiledModel, photos: Path) -> None:
    prediction = model.predict(photos / "1.png", top=3)
    row = expected(model, photos / "1.png")
    order = np.argsort(-row)[:3]
    assert [guess.index for guess in prediction.guesses] == order.tolist()
    assert [guess.probability for guess in prediction.guesses] == pytest.approx(row[order].tolist(), rel=NETWORK)
    assert [guess.label for guess in prediction.guesses] == ["abcdefghij"[index] for index in order]
    assert prediction.label == prediction.guesses[0].label
    assert str(prediction) == f"{photos / '1.png'}: {', '.join(map(str, prediction.guesses))} ({UNTRAINED})"


def test_images_are_files_folders_and_pixels(model: rc.CompiledModel, photos: Path) -> None:
    one_by_one = [model.predict(path).guesses for path in sorted(photos.iterdir())]
    assert len(one_by_one[0]) == 5
    pixels = [np.asarray(Image.open(path)) for path in sorted(photos.iterdir())]
    for images in (photos, [*sorted(photos.iterdir())], pixels):
        found = model.predict(images, batch=2)
        assert isinstance(found, rc.Predictions)
        for each, alone in zip(found, one_by_one, strict=True):
            assert [guess.index for guess in each.guesses] == [guess.index for guess in alone]
    assert model.predict(np.stack([pixels[0]] * 2))[1].image == "image 1"
    assert isinstance(model.predict(pixels[0]), rc.Prediction)


def test_a_file_predicts_as_what_was_compiled(model: rc.CompiledModel, photos: Path, tmp_path: Path) -> None:
    model.save(tmp_path / "model.onnx")
    loaded = rc.load_model(tmp_path / "model.onnx", "cpu")
    assert loaded.labels == tuple("abcdefghij")
    assert loaded.predict(photos) == model.predict(photos, device="cpu")
    (tmp_path / "names.txt").write_text("\n".join("ABCDEFGHIJ"))
    assert loaded.predict(photos / "0.png", labels=tmp_path / "names.txt").label.isupper()
    assert repr(loaded).startswith("Model(input float32[batch, 3, 32, 32] -> narrow/logits")


def test_a_guess_of_how_to_prepare_is_told(photos: Path) -> None:
    """A large image without marks: the last resort; and a model that prepares by itself has nothing to guess."""
    spec = narrow_spec()
    spec = spec.replace(input=spec.input.replace(preprocess=None, height=96, width=96))
    guessed = rc.compile(spec).predict(photos / "0.png")
    told = "the model does not say how to preprocess; guessed inception, as nothing tells"
    assert guessed.note == f"{UNTRAINED}; {told}"
    named = rc.compile(spec, rc.CompileOptions(preprocess="inception"))
    assert named.predict(photos / "0.png").note == UNTRAINED
    unnamed = spec.replace(input=spec.input.replace(preprocess="inception"))
    assert rc.compile(unnamed).predict(photos / "0.png").guesses == guessed.guesses


def test_a_model_without_names_tells_numbers(photos: Path) -> None:
    prediction = rc.compile(narrow_spec()).predict(photos / "0.png")
    assert prediction.label == str(prediction.guesses[0].index)


def test_a_model_of_a_run_has_its_class_names_and_is_trained(photos: Path, tmp_path: Path) -> None:
    data = write_cifar(tmp_path / "data")
    (data / "batches.meta.txt").write_text("\n".join("klmnopqrst"))
    options = rc.training.TrainOptions(batch=4, steps=1)
    rc.training.train(narrow_spec(), data, tmp_path / "run", options, device="cpu")
    made = rc.compile(narrow_spec(), weights=tmp_path / "run")
    assert made.format.metadata.labels == tuple("klmnopqrst")
    prediction = made.predict(photos / "0.png")
    assert prediction.label in "klmnopqrst"
    assert prediction.note is None
    own = rc.compile(narrow_spec(), rc.CompileOptions(labels=tuple("ABCDEFGHIJ")), weights=tmp_path / "run")
    assert own.format.metadata.labels == tuple("ABCDEFGHIJ")


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (3, OptionError, "must be files or arrays of pixels, not int @ images"),
        (np.zeros((4, 4, 3)), OptionError, r"float64 \[4, 4, 3\] is no image @ images"),
        (np.zeros((4, 4), np.uint8), OptionError, "is no image"),
        ("missing.jpg", ImageError, "cannot read the image: No such file"),
        (["missing.jpg"], ImageError, "cannot read the image: No such file"),
    ],
)
def test_what_is_no_image(model: rc.CompiledModel, images: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        model.predict(images)


def test_impossible_settings(model: rc.CompiledModel, photos: Path) -> None:
    with pytest.raises(OptionError, match="@ top"):
        model.predict(photos, top=0)
    with pytest.raises(UsageError, match="labels must be as many as the network's 10 classes, got 2"):
        model.predict(photos, labels=["a", "b"])


def test_a_prediction_shows_its_picture(model: rc.CompiledModel, photos: Path, tmp_path: Path) -> None:
    Image.new("RGB", (50, 40), (200, 100, 0)).save(tmp_path / "orange.png")
    one = model.predict(tmp_path / "orange.png")._repr_html_()
    shown = Image.open(io.BytesIO(base64.b64decode(one.split("base64,")[1].split('"')[0])))
    assert shown.size == (50, 40)
    assert np.abs(np.asarray(shown, float) - (200, 100, 0)).max() <= JPEG
    pixels = np.zeros((400, 200, 3), np.uint8)
    assert [Image.open(io.BytesIO(each.jpeg)).size for each in model.predict(pixels[None])] == [(80, 160)]
    assert model.predict(pixels) == model.predict(pixels)
    several = model.predict([photos / "0.png", photos / "1.png"])
    assert several._repr_html_().count("<img ") == 2
    gone = replace(several[0], image=str(tmp_path / "gone.png"))
    assert "<img " not in gone._repr_html_()
    assert "<table>" in gone._repr_html_()


def test_results_are_tables_in_a_notebook(model: rc.CompiledModel) -> None:
    options = rc.bench.BenchOptions(device="cpu", protocol=rc.bench.Protocol(steps=3, burn_in=0), batches=(1, 2))
    subject = rc.bench.Subject("<m>", model.to_proto().SerializeToString())
    timed = rc.bench.bench([subject], options)._repr_html_()
    assert timed.count("<tr>") == 1 + 2
    assert "&lt;m&gt;" in timed
    wanted = rc.bench.ScenarioOptions(scenario="single", device="cpu", seconds=0.1, burn_in=0)
    assert "MLPerf-style, unverified" in rc.bench.run_scenario(subject, wanted)._repr_html_()
    swept = rc.sweep.sweep(["tiny"], rc.sweep.Axes(batch=(1, 2)), options, roofs=False)
    assert swept._repr_html_().count("<tr>") == 1 + 2
    report = rc.quantize.quantize("tiny").report._repr_html_()
    assert "SNR dB" in report
    scores = rc.metrics.Scores(100, 0.5, (0.4, 0.6), 0.9, 0.7, 0.1)._repr_html_()
    assert "50.00% (95 % interval 40.00% to 60.00%)" in scores


def test_tables_for_notebooks_are_escaped_and_whole(model: rc.CompiledModel, photos: Path) -> None:
    shown = model.predict([photos / "0.png"], labels=[f"<{letter}>" for letter in "abcdefghij"])
    assert "&lt;" in shown._repr_html_()
    assert "<a>" not in shown._repr_html_()
    assert shown[0]._repr_html_().count("<tr>") == 1 + 5
    plan = model.plan
    assert plan._repr_html_().count("<tr>") == 1 + 5, "root, two blocks, head and the whole"
    assert f"{plan.num_parameters:,}" in plan._repr_html_()
    assert (
        repr(plan) == f"Plan(narrow: 3x32x32, {plan.num_parameters:,} parameters, {plan.macs:,} multiply-accumulates)"
    )
    assert '<td style="text-align: left">Conv<' in rc.costs.costs("tiny")._repr_html_()
    assert "\n" not in repr(model)
    assert "spec_sha256" in model._repr_html_()
    assert "spec_sha256" in rc.load_model(model)._repr_html_()
