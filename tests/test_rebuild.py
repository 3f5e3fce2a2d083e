"""A model made again from what it says of itself, byte for byte, and what cannot be."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image
from support.commands import command

import resnet_compile as rc
from resnet_compile.errors import ResnetCompileError, UsageError, VerificationError
from resnet_compile.rebuild import rebuild, save_like

NAMES = tuple(f"class {index}, or \N{SNOWMAN}" for index in range(10))
OPTIONS: dict[str, dict[str, Any]] = {
    "the defaults": {},
    "what a command can ask for": {
        "seed": 3,
        "num_classes": 7,
        "outputs": ("block1", "logits", "predictions"),
        "batch": 2,
        "size": (40, 48),
        "layout": "nhwc",
        "target": "cuda",
        "dtype": {"kind": "float16", "io": "float16"},
        "opset": 21,
    },
    "what stands around a network": {
        "preprocess": "timm",
        "image_size": (50, 60),
        "top": 3,
        "labels": NAMES,
        "licence": "CC0-1.0",
    },
    "minimal filtering": {"target": "cpu", "batch": 1, "dtype": {"kind": "float32", "winograd": True}},
    "any size": {"size": "dynamic", "external_data": False},
    "8 bits": {"dtype": {"kind": "int8", "keep_float": ("conv1",)}, "target": "cpu", "top": 2},
}


def saved(path: Path, options: dict[str, Any], **how: Any) -> Path:
    asked = rc.CompileOptions.model_validate(options)
    spec = rc.load_spec("tiny")
    made = rc.quantize.quantize(spec, asked, **how) if asked.dtype.calibrated else rc.compile(spec, asked, **how)
    made.save(path)
    return path


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_same_bytes_come_of_what_a_model_says(options: dict[str, Any], tmp_path: Path) -> None:
    path = saved(tmp_path / "model.onnx", options)
    save_like(rebuild(path), path, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["again.onnx", "model.onnx"]


def test_external_data_come_again_under_their_name(tmp_path: Path) -> None:
    path = saved(tmp_path / "model.onnx", {"external_data": True})
    (tmp_path / "there").mkdir()
    save_like(rebuild(path), path, tmp_path / "there" / "again.onnx")
    data = tmp_path / "there" / "model.onnx.data"
    assert data.read_bytes() == (tmp_path / "model.onnx.data").read_bytes()
    onnx.load(tmp_path / "there" / "again.onnx")


def checkpoint(path: Path, scale: float = 1.0) -> Path:
    parameters = rc.plan_network(rc.load_spec("tiny")).parameters
    np.savez(path, **{each.name: np.full(each.shape, scale, np.float32) for each in parameters})
    return path


def test_a_checkpoint_is_known_by_its_contents(tmp_path: Path) -> None:
    weights = checkpoint(tmp_path / "weights.npz")
    path = saved(tmp_path / "model.onnx", {}, weights=weights)
    moved = weights.rename(tmp_path / "moved.npz")
    save_like(rebuild(path, weights=moved), path, tmp_path / "again.onnx")
    with pytest.raises(UsageError, match=r"was made from weights\.npz, NumPy npz, SHA-256 .* @ .*--weights FILE"):
        rebuild(path)
    other = checkpoint(tmp_path / "other.npz", scale=2.0)
    with pytest.raises(UsageError, match=r"cannot be rebuilt: weights_sha256 was .* and is "):
        rebuild(path, weights=other)
    initial = saved(tmp_path / "initial.onnx", {})
    with pytest.raises(UsageError, match="was made from initial weights"):
        rebuild(initial, weights=moved)


def test_images_are_known_by_their_contents(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for index in range(3):
        Image.new("RGB", (40, 40), (index * 90, 30, 200)).save(photos / f"{index}.png")
    path = saved(tmp_path / "model.onnx", {"dtype": {"kind": "int8", "calibration": str(photos)}})
    moved = photos.rename(tmp_path / "moved")
    save_like(rebuild(path, calibration=moved), path, tmp_path / "again.onnx")
    with pytest.raises(UsageError, match=r"was calibrated on 3 images .*--calibration DIR"):
        rebuild(path)
    (moved / "0.png").unlink()
    with pytest.raises(UsageError, match=r"calibration_data was .*; calibration_images was 3 and is 2"):
        rebuild(path, calibration=moved)
    with pytest.raises(UsageError, match="was made without images"):
        rebuild(saved(tmp_path / "plain.onnx", {}), calibration=moved)


def changed(path: Path, **entries: str | None) -> Path:
    model = onnx.load(path)
    said = {each.key: each.value for each in model.metadata_props}
    for key, text in entries.items():
        said.pop(f"resnet_compile.{key}", None)
        if text is not None:
            said[f"resnet_compile.{key}"] = text
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, said)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"version": "0.0.1"}, r"cannot be rebuilt: version was 0\.0\.1 and is "),
        ({"seed": None}, "made from arrays"),
        ({"spec": None}, "was not made by resnet-compile"),
        ({"kind": "training_step"}, "was not made by resnet-compile"),
        ({"options": '{"seeed": 1}'}, r"unknown key @ .*\$\.seeed"),
    ],
)
def test_what_cannot_be_made_again_is_told(entries: dict[str, str | None], words: str, tmp_path: Path) -> None:
    path = changed(saved(tmp_path / "model.onnx", {}), **entries)
    with pytest.raises(ResnetCompileError, match=words) as caught:
        rebuild(path)
    assert str(path) in str(caught.value)


def test_a_file_of_other_bytes_is_not_written(tmp_path: Path) -> None:
    path = changed(saved(tmp_path / "model.onnx", {}))
    with path.open("ab") as file:
        file.write(b"\xa2\x06\x00")  # an unknown field, empty
    with pytest.raises(VerificationError, match="the rebuilt model differs in its bytes"):
        save_like(rebuild(path), path, tmp_path / "again.onnx")
    assert [each.name for each in tmp_path.iterdir()] == ["model.onnx"]


def test_the_command_makes_a_model_like_another_and_its_card(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\n".join(NAMES), encoding="utf-8")
    flags = ["--labels", "names.txt", "--top", "3", "--licence", "CC0-1.0", "--preprocess", "model"]
    done = command("resnet-compile", "tiny", "-o", "model.onnx", *flags, cwd=tmp_path)
    assert done.code == 0, done.err
    again = command(
        "resnet-compile", "--like", "model.onnx", "-o", "again.onnx", "--card", "card.md", "--json", cwd=tmp_path
    )
    assert (again.code, again.err) == (0, "")
    assert json.loads(again.out)["like"] == "model.onnx"
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "model.onnx").read_bytes()
    card = (tmp_path / "card.md").read_text(encoding="utf-8")
    for words in (
        "license: CC0-1.0",
        "**Initial weights: these classes mean nothing.**",
        "| input | `input` | batch x height x width x 3 |",
        "| output | `top_classes` | batch x 3 |",
        "ONNX opset 18, IR version 8; onnxruntime 1.14 or newer runs it.",
        "Scheme `inception`: central 0.875 of each side, legacy bilinear to the size, x / 255, mean 0.5, std 0.5.",
        f"10: {', '.join(NAMES)}.",
        '{"preprocess":"model","top":3}',
    ):
        assert words in card
    seen = command("resnet-inspect", "again.onnx", "--json", cwd=tmp_path)
    model = json.loads(seen.out)["model"]
    assert model["labels"] == list(NAMES)
    assert {key: model[key] for key in ("licence", "oldest_onnxruntime", "untrained")} == {
        "licence": "CC0-1.0",
        "oldest_onnxruntime": "1.14",
        "untrained": "initial weights: these classes mean nothing",
    }
    assert f"labels: 10: {', '.join(NAMES[:3])}, ..." in command("resnet-inspect", "again.onnx", cwd=tmp_path).out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tiny", "--like", "model.onnx"], "SPEC cannot be combined with --like"),
        (["--like", "model.onnx", "--top", "3"], "--top cannot be combined with --like"),
        (["--like", "absent.onnx"], "cannot read the model: No such file or directory @ absent.onnx"),
        ([], "Missing argument 'SPEC', or --weights FILE to read it off, or --like MODEL."),
        (["tiny", "--labels", "two.txt"], "labels must be as many as the network's 10 classes, got 2 @ labels"),
        (["tiny", "--labels", "two.txt", "--num-classes", "none"], "the network has no classes @ labels"),
        (["tiny", "--top", "11"], "top must be at most 10, the number of classes, got 11 @ top"),
        (
            ["tiny", "--top", "3", "--outputs", "block1"],
            "neither predictions nor logits with one row of classes",
        ),
    ],
)
def test_wrong_arguments_are_told_in_a_line(arguments: list[str], words: str, tmp_path: Path) -> None:
    (tmp_path / "two.txt").write_text("cat\ndog\n")
    done = command("resnet-compile", *arguments, "-o", "again.onnx", cwd=tmp_path)
    assert done.code == 2
    assert words in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "again.onnx").exists()


def test_a_network_without_predictions_tells_its_best_classes_too() -> None:
    options = rc.CompileOptions(outputs=("logits",), top=10)
    session = rc.runtime.Session.open(rc.compile(rc.load_spec("tiny"), options).to_proto().SerializeToString(), "cpu")
    x = np.random.default_rng(3).standard_normal((2, 3, 32, 32), np.float32)
    made = session.run({"input": x})
    exponentials = np.exp(made["tiny/logits"].astype(np.float64))
    expected = np.sort(exponentials / exponentials.sum(axis=1, keepdims=True), axis=1)[:, ::-1]
    np.testing.assert_allclose(made["top_probabilities"], expected, rtol=1e-5)
    np.testing.assert_array_equal(made["top_classes"], np.argsort(-exponentials, axis=1))


@pytest.mark.parametrize("options", [{}, {"dtype": {"kind": "float16", "io": "float16"}}, {"layout": "nhwc"}], ids=str)
def test_the_best_classes_are_those_of_the_predictions(options: dict[str, Any]) -> None:
    model = rc.compile(rc.load_spec("tiny"), rc.CompileOptions.model_validate({**options, "top": 4}))
    assert model.outputs == ("tiny/logits", "predictions", "top_classes", "top_probabilities")
    session = rc.runtime.Session.open(model.to_proto().SerializeToString(), "cpu")
    source = rc.runtime.image_input(session)
    x = np.random.default_rng(2).standard_normal(source.shape(3, (32, 32)), np.float32)
    made = session.run(source.feed(x))
    probabilities = made["predictions"].astype(np.float32)
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :4]
    np.testing.assert_array_equal(made["top_classes"], best)
    np.testing.assert_array_equal(made["top_probabilities"], np.take_along_axis(probabilities, best, axis=1))
    assert made["top_classes"].dtype == np.int64
