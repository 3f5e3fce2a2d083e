"""``resnet-run``: images in, classes or features out, on networks small enough to know the answer."""

import csv
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image
from support.commands import Ran as CommandRan

from resnet_compile import CompileOptions, compile
from resnet_compile.cli.run import cli, main
from resnet_compile.images import SCHEMES, decode_image

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def colour_network(
    *,
    batch: int | str = "batch",
    size: tuple[int | str, int | str] = (8, 8),
    nhwc: bool = False,
    outputs: Sequence[str] = ("net/logits", "predictions"),
    metadata: dict[str, str] | None = None,
    dtype: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """A network whose logits are the means of the three channels, so that the class is the image's colour.

    Its outputs can be ``net/logits`` [N, 3], ``predictions`` [N, 3], ``net/block1`` (the ReLU of the input) and
    ``net/map`` (the input).
    """
    axes = [1, 2] if nhwc else [2, 3]
    shape = [batch, *size, 3] if nhwc else [batch, 3, *size]
    nodes = [
        helper.make_node("Relu", ["input"], ["net/block1"]),
        helper.make_node("Identity", ["input"], ["net/map"]),
        helper.make_node("ReduceMean", ["input", "axes"], ["net/logits"], keepdims=0),
        helper.make_node("Softmax", ["net/logits"], ["predictions"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("input", dtype, shape)],
        [helper.make_tensor_value_info(name, dtype, None) for name in outputs],
        [helper.make_tensor("axes", TensorProto.INT64, [2], axes)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(model, {"resnet_compile.preprocess": "inception"} if metadata is None else metadata)
    return model


@pytest.fixture
def network(tmp_path: Path) -> Callable[..., str]:
    def save(**options: Any) -> str:
        path = tmp_path / "net.onnx"
        path.write_bytes(colour_network(**options).SerializeToString())
        return str(path)

    return save


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with red.png, green.png, blue.png and, deeper, another green one, besides what is no image."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    for name, colour in COLOURS.items():
        Image.new("RGB", (20, 16), colour).save(folder / f"{name}.png")
    Image.new("RGB", (20, 16), COLOURS["green"]).save(folder / "more" / "leaf.JPG")
    Image.new("RGB", (20, 16)).save(folder / ".hidden" / "no.png")
    (folder / "notes.txt").write_text("not an image")
    return folder


class Ran(CommandRan):
    """One run of the command."""

    def classes(self) -> list[int | None]:
        return [entry["top"][0]["class"] if "top" in entry else None for entry in self.document["images"]]


@pytest.fixture
def resnet_run(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    return lambda *arguments: Ran(main, arguments, capfd)


def test_table_lists_the_most_probable_classes(
    network: Callable[..., str], photos: Path, tmp_path: Path, resnet_run: Callable[..., Ran]
) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("tomato\nfrog, tree frog\nsky\n")
    ran = resnet_run(network(), photos / "green.png", photos / "red.png", "--labels", labels, "--top", 2)
    assert (ran.code, ran.err) == (0, "")
    # Means of 1 for the colour's channel and -1 for the others: e^2 to 1 to 1.
    best, rest = np.exp(2) / (np.exp(2) + 2), 1 / (np.exp(2) + 2)
    assert ran.out.splitlines() == [
        str(photos / "green.png"),
        f"  {best:8.4f}      1  frog, tree frog",
        f"  {rest:8.4f}      0  tomato",
        str(photos / "red.png"),
        f"  {best:8.4f}      0  tomato",
        f"  {rest:8.4f}      1  frog, tree frog",
    ]


@pytest.mark.parametrize("outputs", [["net/logits"], ["predictions"], ["net/logits", "predictions"]])
def test_json_is_one_document(
    network: Callable[..., str], photos: Path, resnet_run: Callable[..., Ran], outputs: list[str]
) -> None:
    model = network(outputs=outputs)
    ran = resnet_run(model, photos / "blue.png", "--json", "--device", "cpu")
    assert (ran.code, ran.err) == (0, "")
    (image,) = ran.document.pop("images")
    assert image["image"] == str(photos / "blue.png")
    assert [place["class"] for place in image["top"]] == [2, 0, 1]  # no more classes than there are
    assert sum(place["probability"] for place in image["top"]) == pytest.approx(1)
    assert image["top"][0]["probability"] == pytest.approx(np.exp(2) / (np.exp(2) + 2))
    document = ran.document
    assert {key: document[key] for key in ("model", "device", "device_reason", "preprocess", "height", "width")} == {
        "model": model,
        "device": "cpu",
        "device_reason": "asked for",
        "preprocess": "inception",
        "height": 8,
        "width": 8,
    }


@pytest.mark.parametrize("batch", [None, 1, 2, 3, 64])
@pytest.mark.parametrize("nhwc", [False, True])
def test_every_batch_size_and_layout_classifies_alike(
    network: Callable[..., str], photos: Path, resnet_run: Callable[..., Ran], nhwc: bool, batch: int | None
) -> None:
    arguments = ["--batch", batch] if batch else []
    ran = resnet_run(network(nhwc=nhwc, size=(8, 12)), photos, photos / "red.png", "--json", *arguments)
    assert ran.classes() == [2, 1, 0, 1, 0]  # blue, green, red; more/leaf; red
    assert [Path(entry["image"]).name for entry in ran.document["images"]] == [
        "blue.png",
        "green.png",
        "red.png",
        "leaf.JPG",
        "red.png",
    ]
    assert (ran.document["height"], ran.document["width"]) == (8, 12)


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_fixed_batch_is_filled_up_and_nothing_of_the_filling_is_shown(
    network: Callable[..., str], photos: Path, resnet_run: Callable[..., Ran], batch: int
) -> None:
    model = network(batch=batch)
    ran = resnet_run(model, photos, "--json")
    assert ran.classes() == [2, 1, 0, 1]
    refused = resnet_run(model, photos, "--batch", batch + 1)
    assert refused.code == 2
    assert f"batch must be the model's {batch}, got {batch + 1}" in refused.err


@pytest.mark.parametrize(("scheme", "side"), [("inception", 299), ("vgg", 224), ("cifar", 32)])
def test_dynamic_size_is_the_schemes(
    network: Callable[..., str], photos: Path, resnet_run: Callable[..., Ran], scheme: str, side: int
) -> None:
    model = network(size=("height", "width"))
    ran = resnet_run(model, photos / "red.png", "--json", "--preprocess", scheme)
    assert (ran.document["height"], ran.document["width"]) == (side, side)
    assert ran.classes() == [0]


@pytest.mark.parametrize(
    ("stored", "asked", "used", "reason"),
    [
        (None, None, "cifar", "guessed: its images are 8x8"),
        ("caffe", None, "caffe", "from the model"),
        ("caffe", "vgg", "vgg", "asked for"),
    ],
)
def test_scheme_is_the_one_asked_for_or_the_models(
    network: Callable[..., str],
    photos: Path,
    resnet_run: Callable[..., Ran],
    stored: str | None,
    asked: str | None,
    used: str,
    reason: str,
) -> None:
    model = network(
        metadata={"resnet_compile.preprocess": stored} if stored else {}, outputs=["net/map", "predictions"]
    )
    output = Path(model).with_name("map.npy")
    arguments = ["--preprocess", asked] if asked else []
    ran = resnet_run(model, photos / "red.png", "--outputs", "map", "-o", output, "--json", "-v", *arguments)
    assert ran.document["preprocess"] == used
    assert f"preprocessing {used} ({reason}): " in ran.err
    expected = SCHEMES[used](decode_image(photos / "red.png"), 8, 8)
    np.testing.assert_array_equal(np.load(output)[0], expected.transpose(2, 0, 1))


def test_layout_in_the_metadata_decides_where_the_shape_does_not(
    network: Callable[..., str], photos: Path, resnet_run: Callable[..., Ran]
) -> None:
    for layout in ("nchw", "nhwc"):
        model = network(nhwc=layout == "nhwc", size=(3, 3), metadata={"resnet_compile.layout": layout})
        assert resnet_run(model, photos / "green.png", "--json").classes() == [1]


def test_fast_decoding_is_told_and_is_another_run(
    network: Callable[..., str], tmp_path: Path, resnet_run: Callable[..., Ran]
) -> None:
    model, photo = network(size=(3, 3)), tmp_path / "large.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)).save(photo)
    plain, fast = (resnet_run(model, photo, "--json", *flags) for flags in ((), ("--fast-decode",)))
    assert "fast_decode" not in plain.document
    assert fast.document["fast_decode"] is True
    assert "resnet-run: large JPEGs are decoded at a fraction of their size, and give other numbers" in fast.err
    assert fast.document["images"] != plain.document["images"]
    answers = (model, photo, "--format", "jsonl", "-o", tmp_path / "answers")
    assert resnet_run(*answers).code == 0
    assert resnet_run(*answers, "--resume", "--fast-decode").code == 2


def test_a_model_that_takes_photographs_takes_them_whole(tmp_path: Path, resnet_run: Callable[..., Ran]) -> None:
    compile("tiny", CompileOptions(preprocess="torchvision")).save(tmp_path / "model.onnx")
    Image.new("RGB", (300, 400)).save(tmp_path / "photo.jpg")
    refused = resnet_run(tmp_path / "model.onnx", tmp_path / "photo.jpg", "--fast-decode")
    assert refused.code == 2
    assert "the model takes photographs as they are @ fast_decode (leave it out)" in refused.err


def test_half_precision_input(network: Callable[..., str], photos: Path, resnet_run: Callable[..., Ran]) -> None:
    ran = resnet_run(network(dtype=TensorProto.FLOAT16), photos / "green.png", "--json")
    assert ran.classes() == [1]


def test_broken_images_are_reported_and_the_others_done(
    network: Callable[..., str], photos: Path, resnet_run: Callable[..., Ran]
) -> None:
    (photos / "broken.png").write_bytes((photos / "red.png").read_bytes()[:-30])
    paths = [photos / "red.png", photos / "broken.png", photos / "absent.png", photos / "blue.png"]
    ran = resnet_run(network(), *paths, "--json")
    assert ran.code == 1
    assert ran.classes() == [0, None, None, 2]
    errors = [entry.get("error") for entry in ran.document["images"]]
    assert errors[0] is errors[3] is None
    assert errors[1].startswith("damaged image: ")
    assert errors[2].startswith("cannot read the image: No such file")
    lines = ran.err.splitlines()
    assert lines[:2] == [f"skipped: {errors[1]}", f"skipped: {errors[2]}"]
    assert lines[2:] == ["resnet-run: error: 2 of 4 images could not be read"]
    table = resnet_run(network(), *paths)
    assert table.code == 1
    assert [line for line in table.out.splitlines() if not line.startswith(" ")] == [str(paths[0]), str(paths[3])]


def test_list_on_stdin(
    network: Callable[..., str], photos: Path, resnet_run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"red.png\n\nblue.png\n")))
    monkeypatch.chdir(photos)
    assert resnet_run(network(), "green.png", "-", "--json").classes() == [1, 0, 2]


def test_features_are_saved_as_npz(network: Callable[..., str], photos: Path, resnet_run: Callable[..., Ran]) -> None:
    model = network(outputs=["net/block1", "net/logits", "predictions"])
    (photos / "broken.png").write_bytes(b"")
    output = Path(model).with_name("features.npz")
    ran = resnet_run(model, photos, "--outputs", "block1,net/logits", "-o", output, "--batch", 3, "--json")
    assert ran.code == 1
    saved = ran.document["saved"]
    assert saved == {"file": str(output), "outputs": {"net/block1": [4, 3, 8, 8], "net/logits": [4, 3]}}
    assert all("top" not in entry for entry in ran.document["images"])
    with np.load(output) as arrays:
        assert sorted(arrays) == ["images", "net/block1", "net/logits"]
        assert [Path(path).name for path in arrays["images"]] == ["blue.png", "green.png", "red.png", "leaf.JPG"]
        np.testing.assert_array_equal(arrays["net/logits"][:3], [[-1, -1, 1], [-1, 1, -1], [1, -1, -1]])
        np.testing.assert_array_equal(arrays["net/block1"][2], np.broadcast_to([[[1]], [[0]], [[0]]], (3, 8, 8)))
        assert arrays["net/block1"].dtype == np.float32


def test_features_are_saved_as_npy(network: Callable[..., str], photos: Path, resnet_run: Callable[..., Ran]) -> None:
    output = photos / "features.npy"
    ran = resnet_run(network(outputs=["net/block1"]), photos, "--outputs", "all", "-o", output)
    assert (ran.code, ran.out) == (0, f"{output}: net/block1 (4, 3, 8, 8)\n")
    assert np.load(output).shape == (4, 3, 8, 8)
    assert sorted(path.name for path in photos.iterdir() if path.name.startswith(".")) == [".hidden"]


def test_classification_is_saved_besides_the_table(
    network: Callable[..., str], photos: Path, resnet_run: Callable[..., Ran]
) -> None:
    output = photos / "predictions.npy"
    ran = resnet_run(network(), photos / "red.png", "-o", output)
    assert ran.out.splitlines()[0] == str(photos / "red.png")
    assert ran.out.splitlines()[-1] == f"{output}: predictions (1, 3)"
    assert np.load(output).argmax() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--outputs", "block1"], "--outputs needs a file to save them in (-o features.npz)"),
        (
            ["--outputs", "block9", "-o", "f.npy"],
            "the network has no output 'block9' @ outputs (there is logits, predictions)",
        ),
        (["--outputs", "logits,predictions", "-o", "f.npy"], "a .npy holds one output, got 2 @ f.npy (save as .npz)"),
        (["-o", "f.csv"], "outputs must be saved as .npy or .npz, got .csv @ f.csv"),
        (["-o", "f"], "outputs must be saved as .npy or .npz, got no suffix @ f"),
        (["--preprocess", "vgg16"], "preprocess must be one of inception, "),
        (["--embed"], "--embed needs a file to save them in (-o features.npz)"),
        (["--embed", "--features", "-o", "f.npz"], "--embed and --features both say what to save @ features"),
        (["--resume"], "--resume needs --format and -o FOLDER"),
        (["--format", "jsonl", "--json"], "--format with --json needs -o FOLDER"),
        (
            ["--format", "csv", "--embed", "-o", "f"],
            "--format cannot be combined with --outputs, --embed or --features",
        ),
        (["--format", "csv", "-o", "red.png"], "the output must be a folder, got a file @ red.png"),
        (["--format", "csv", "-o", "more"], "the folder already has other files @ more (name another folder)"),
        (["--device", "tpu"], "device must be one of auto, cpu, "),
        (["--labels", "absent.txt"], "cannot read the labels: No such file or directory @ absent.txt"),
        (["--top", "0"], "Invalid value for '--top'"),
        (["--batch", "0"], "Invalid value for '--batch'"),
        (["empty"], "no images in this folder @ empty"),
        (["--frobnicate"], "No such option"),
    ],
)
def test_bad_usage_is_one_line_with_exit_code_2(
    network: Callable[..., str],
    photos: Path,
    resnet_run: Callable[..., Ran],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    (photos / "empty").mkdir()
    monkeypatch.chdir(photos)
    before = sorted(photos.iterdir())
    ran = resnet_run(network(), "red.png", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"resnet-run: error: {message}")
    assert ran.err.count("\n") == 1
    assert sorted(photos.iterdir()) == before


def test_labels_that_do_not_fit(network: Callable[..., str], photos: Path, resnet_run: Callable[..., Ran]) -> None:
    labels = photos / "labels.txt"
    labels.write_text("one\ntwo\n")
    ran = resnet_run(network(), photos / "red.png", "--labels", labels)
    assert (ran.code, ran.err) == (2, "resnet-run: error: labels must be as many as the network's 3 classes, got 2\n")


def test_models_that_are_no_image_networks(
    network: Callable[..., str], photos: Path, resnet_run: Callable[..., Ran]
) -> None:
    def error(model: onnx.ModelProto) -> str:
        path = photos / "model.onnx"
        path.write_bytes(model.SerializeToString())
        ran = resnet_run(path, photos / "red.png")
        assert ran.code == 2
        return ran.err.removeprefix("resnet-run: error: ").rstrip("\n")

    two = colour_network()
    two.graph.input.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, [1]))
    assert error(two) == "not an image network: it has 2 inputs, not one"
    integers = colour_network(dtype=TensorProto.INT64, outputs=["net/map"])
    del integers.graph.node[2:]
    assert error(integers) == "not an image network: its input is input int64[batch, 3, 8, 8]"
    grey = colour_network()
    grey.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1
    assert error(grey).startswith("the network must take 3 channels, got 1: its input is input float32[")
    flat = colour_network(outputs=["net/block1"])
    del flat.graph.node[1:]
    del flat.graph.input[0].type.tensor_type.shape.dim[2:]
    assert error(flat) == "not an image network: its input is input float32[batch, 3]"
    assert error(colour_network(outputs=["net/map", "net/block1"])).startswith(
        "the model has no output 'predictions' or 'logits'"
    )
    assert error(colour_network(outputs=["net/block1"])).startswith(
        "net/block1 float32[1, 3, 8, 8] is a map, not one row"
    )
    (photos / "model.onnx").write_bytes(b"junk")
    ran = resnet_run(photos / "model.onnx", photos / "red.png")
    assert ran.code == 2
    assert ran.err.startswith("resnet-run: error: not a model that onnxruntime takes: ")


def test_outputs_that_are_not_finite_are_an_error(
    network: Callable[..., str], photos: Path, resnet_run: Callable[..., Ran]
) -> None:
    model = colour_network(outputs=["predictions"])
    model.graph.node[3].CopyFrom(helper.make_node("Sqrt", ["net/logits"], ["predictions"]))
    path = photos / "model.onnx"
    path.write_bytes(model.SerializeToString())
    ran = resnet_run(path, photos / "red.png", "--json")
    assert (ran.code, ran.out, ran.err) == (1, "", "resnet-run: error: output 'predictions' is not finite\n")


def test_cuda_that_cannot_be_had_exits_with_4(
    network: Callable[..., str], photos: Path, resnet_run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    model = network()
    ran = resnet_run(model, photos / "red.png", "--device", "cuda")
    assert (ran.code, ran.out) == (4, "")
    assert ran.err.startswith("resnet-run: error: CUDA is not usable: the installed onnxruntime")
    assert 'pip install ".[cuda]"' in ran.err
    auto = resnet_run(model, photos / "red.png", "-v")
    assert auto.code == 0
    assert auto.err.startswith("device cpu (auto: CUDA is not usable: the installed onnxruntime")


def test_failed_run_leaves_an_existing_output_alone(
    network: Callable[..., str], photos: Path, resnet_run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = photos / "out.npz"
    output.write_bytes(b"precious")
    before = sorted(photos.iterdir())
    ran = resnet_run(network(), photos / "absent.png", "-o", output)
    assert ran.code == 1
    assert ran.err.splitlines()[-1] == "resnet-run: error: no image could be read, so there is nothing to save"

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("resnet_compile.runtime.Session.run", interrupted)
    ran = resnet_run(network(), photos / "red.png", "-o", output)
    assert (ran.code, ran.out, ran.err.strip()) == (1, "", "resnet-run: error: interrupted")
    assert output.read_bytes() == b"precious"
    assert sorted(photos.iterdir()) == before


def test_unwritable_output(network: Callable[..., str], photos: Path, resnet_run: Callable[..., Ran]) -> None:
    ran = resnet_run(network(), photos / "red.png", "-o", photos / "absent" / "out.npy")
    assert (ran.code, ran.out) == (1, "")
    assert "cannot write here: No such file or directory" in ran.err


def test_names_and_labels_cannot_drive_the_terminal(
    network: Callable[..., str], photos: Path, resnet_run: Callable[..., Ran]
) -> None:
    strange = photos / "a\x1b[31mb[bold].png"
    (photos / "red.png").rename(strange)
    labels = photos / "labels.json"
    labels.write_text(json.dumps(["\x1b]0;title\x07", "two", "three"]))
    ran = resnet_run(network(), strange, "--labels", labels)
    assert ran.code == 0
    assert "\x1b" not in ran.out
    assert "a\ufffd[31mb[bold].png" in ran.out


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are Unicode there")
def test_file_names_that_are_not_text(
    network: Callable[..., str], photos: Path, resnet_run: Callable[..., Ran]
) -> None:
    strange = (photos / "red.png").rename(photos / os.fsdecode(b"\xff.png"))
    output = photos / "out.npz"
    ran = resnet_run(network(), strange, "-o", output)
    assert ran.code == 0
    assert "\ufffd.png" in ran.out
    with np.load(output) as arrays:
        assert list(arrays["images"]) == [str(strange)]
    assert resnet_run(network(), strange, "--json").classes() == [0]


def test_progress_bar_only_on_a_terminal(
    network: Callable[..., str], photos: Path, resnet_run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    (photos / "broken.png").write_bytes(b"[bold]")
    ran = resnet_run(network(), photos, "--json")
    assert ran.code == 1
    assert "images" in ran.err
    assert "skipped: not an image of a known format" in ran.err
    assert ran.classes() == [2, None, 1, 0, 1]


def test_decoding_overlaps_inference_and_stays_bounded(
    network: Callable[..., str], photos: Path, resnet_run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    from resnet_compile import classify
    from resnet_compile.runtime import Session

    decoded = threading.Semaphore(0)
    runs: list[int] = []
    run = Session.run

    def decode(path: str, **how: Any) -> Any:
        decoded.release()
        return decode_image(path, **how)

    def watched(session: Session, *arguments: Any) -> Any:
        # While a batch of 2 is in the network, the next two batches are decoded, and no more.
        for _ in range(6 if not runs else 2 if len(runs) < 8 else 0):
            assert decoded.acquire(timeout=60)
        assert not decoded.acquire(blocking=False)
        runs.append(len(arguments[0]["input"]))
        return run(session, *arguments)

    monkeypatch.setattr(classify, "decode_image", decode)
    monkeypatch.setattr(Session, "run", watched)
    ran = resnet_run(network(), *[photos / "red.png"] * 20, "--batch", 2, "--json")
    assert ran.classes() == [0] * 20
    assert runs == [2] * 10


def test_the_graph_tells_a_softmax_and_the_name_does_not(
    photos: Path, tmp_path: Path, resnet_run: Callable[..., Ran]
) -> None:
    """Under names that say the contrary, and behind what only copies."""
    model = colour_network(outputs=["net/logits"])
    del model.graph.node[2:]
    model.graph.node.extend(
        [
            helper.make_node("ReduceMean", ["input", "axes"], ["means"], keepdims=0),
            helper.make_node("Softmax", ["means"], ["soft"], axis=1),
            helper.make_node("Cast", ["soft"], ["cast"], to=TensorProto.FLOAT),
            helper.make_node("Identity", ["cast"], ["net/logits"]),
        ]
    )
    (tmp_path / "soft.onnx").write_bytes(model.SerializeToString())
    model.graph.node[2].output[0] = "predictions"
    del model.graph.node[3:]
    model.graph.output[0].name = "predictions"
    (tmp_path / "bare.onnx").write_bytes(model.SerializeToString())
    for name in ("soft", "bare"):
        ran = resnet_run(tmp_path / f"{name}.onnx", photos / "red.png", "--json")
        best = ran.document["images"][0]["top"][0]
        assert best == {"class": 0, "probability": pytest.approx(np.exp(2) / (np.exp(2) + 2))}


@pytest.mark.parametrize(
    ("producer", "size", "scheme", "reason"),
    [
        ("", (8, 8), "cifar", "its images are 8x8"),
        ("pytorch", (96, 96), "torchvision", "PyTorch exported it"),
        ("tf2onnx", (96, 96), "keras", "tf2onnx exported it"),
        ("", (299, 299), "inception", "it takes images of 299, as TF-slim's second version does"),
        ("", (96, 96), "inception", "nothing tells"),
    ],
)
def test_a_guess_is_told_as_one(
    photos: Path,
    tmp_path: Path,
    resnet_run: Callable[..., Ran],
    producer: str,
    size: tuple[int, int],
    scheme: str,
    reason: str,
) -> None:
    model = colour_network(size=size, metadata={})
    model.producer_name = producer
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    ran = resnet_run(tmp_path / "model.onnx", photos / "red.png", "--json")
    assert (ran.document["preprocess"], ran.document["guessed"]) == (scheme, True)
    assert ran.err == (
        f"resnet-run: the model does not say how to preprocess; guessed {scheme}, as {reason} "
        "(--preprocess SCHEME says it)\n"
    )
    asked = resnet_run(tmp_path / "model.onnx", photos / "red.png", "--json", "--preprocess", "vgg")
    assert (asked.err, "guessed" in asked.document) == ("", False)


def test_the_models_own_labels_are_told_and_others_go_before(
    network: Callable[..., str], photos: Path, resnet_run: Callable[..., Ran]
) -> None:
    model = network(metadata={"resnet_compile.preprocess": "vgg", "resnet_compile.labels": '["a", "b", "c"]'})
    (photos / "labels.txt").write_text("0:x\n1:y\n2:z\n")
    for flags, label in (([], "b"), (["--labels", photos / "labels.txt"], "y")):
        ran = resnet_run(model, photos / "green.png", "--json", *flags)
        assert ran.document["images"][0]["top"][0]["label"] == label


def test_a_spec_is_compiled_and_says_that_it_is_untrained(photos: Path, resnet_run: Callable[..., Ran]) -> None:
    ran = resnet_run("tiny", photos / "red.png", "--json", "--device", "cpu")
    assert (ran.code, ran.err) == (0, "resnet-run: initial weights: these classes mean nothing\n")
    assert ran.document["untrained"] is True
    features = resnet_run("tiny", photos / "red.png", "--outputs", "logits", "-o", photos / "f.npy", "--device", "cpu")
    assert (features.code, features.err) == (0, "")


def test_an_output_that_the_network_has_and_the_model_not_is_to_be_compiled(
    photos: Path, tmp_path: Path, resnet_run: Callable[..., Ran]
) -> None:
    import resnet_compile as rc

    model = tmp_path / "model.onnx"
    rc.compile(rc.load_spec("tiny")).save(model)
    ran = resnet_run(model, photos / "red.png", "--outputs", "block1,logits", "-o", photos / "f.npz")
    assert (ran.code, ran.err) == (
        2,
        "resnet-run: error: the model does not output block1, logits, which its network has @ outputs "
        "(compile it with --outputs block1,logits)\n",
    )
    assert resnet_run("tiny", photos / "red.png", "--outputs", "block1", "-o", photos / "f.npz").code == 0
    unknown = resnet_run(model, photos / "red.png", "--outputs", "block9", "-o", photos / "f.npz")
    assert "has no output 'block9'" in unknown.err


def test_an_interrupt_loses_nothing_that_was_computed(
    network: Callable[..., str], photos: Path, resnet_run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    from resnet_compile.runtime import Session

    run, calls = Session.run, []

    def interrupted(session: Session, *arguments: Any) -> Any:
        calls.append(1)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return run(session, *arguments)

    monkeypatch.setattr(Session, "run", interrupted)
    output = photos / "out.npz"
    ran = resnet_run(network(), *[photos / "red.png"] * 9, "--batch", 2, "--json", "-o", output)
    assert (ran.code, ran.err) == (1, "resnet-run: error: interrupted after 4 of 9 images\n")
    assert ran.classes() == [0] * 4
    assert ran.document["interrupted"] is True
    with np.load(output) as arrays:
        assert arrays["predictions"].shape == (4, 3)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_answers_stream_to_stdout_a_line_an_image(
    network: Callable[..., str], photos: Path, resnet_run: Callable[..., Ran]
) -> None:
    (photos / "broken.png").write_bytes(b"")
    paths = [photos / "red.png", photos / "broken.png", photos / "green.png"]
    ran = resnet_run(network(), *paths, "--format", "jsonl", "--batch", 2, "--top", 1)
    assert ran.code == 1
    told = lines(ran.out)
    assert [each["image"] for each in told] == list(map(str, paths))
    assert [each["top"][0]["class"] if "top" in each else None for each in told] == [0, None, 1]
    assert told[1]["error"].startswith("not an image of a known format")
    rows = list(csv.reader(io.StringIO(resnet_run(network(), *paths, "--format", "csv", "--top", 2).out)))
    assert rows[0] == ["image", "error", "class_1", "label_1", "probability_1", "class_2", "label_2", "probability_2"]
    assert [row[2] for row in rows[1:]] == ["0", "", "1"]
    assert float(rows[1][4]) == pytest.approx(np.exp(2) / (np.exp(2) + 2))


def told(folder: Path, kind: str) -> list[dict[str, Any]]:
    """The rows of all shards."""
    shards = sorted(folder.glob(f"*.{kind}"))
    if kind == "parquet":
        from pyarrow import parquet

        return [row for shard in shards for row in parquet.read_table(shard).to_pylist()]
    texts = [shard.read_text() for shard in shards]
    if kind == "jsonl":
        return [each for text in texts for each in lines(text)]
    return [row for text in texts for row in csv.DictReader(io.StringIO(text, newline=""))]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_a_killed_run_is_gone_on_with_and_every_image_answered_once(
    network: Callable[..., str],
    photos: Path,
    resnet_run: Callable[..., Ran],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    from resnet_compile.runtime import Session

    if kind == "parquet":
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    monkeypatch.setattr("resnet_compile.shards.SHARD", 3)
    (photos / "a\nb.png").write_bytes(b"no image")  # a name with a line's end, unreadable
    paths = [photos / name for name in ("red.png", "green.png", "a\nb.png", "blue.png")] * 4
    folder = photos / "answers"
    arguments = [network(), *paths, "--format", kind, "-o", folder, "--batch", 2, "--top", 1, "--json"]
    run, calls = Session.run, []

    def dies(session: Session, *arguments: Any) -> Any:
        calls.append(1)
        if len(calls) in (5, 7):
            raise SystemExit(137)
        return run(session, *arguments)

    monkeypatch.setattr(Session, "run", dies)
    assert resnet_run(*arguments).code == 137
    assert sorted(path.name for path in folder.iterdir()) == [*(f"{at:09}.{kind}" for at in (0, 3, 6)), "run.json"]
    refused = resnet_run(*arguments)
    assert (refused.code, refused.err) == (
        2,
        f"resnet-run: error: the folder has shards already @ {folder} (--resume goes on with them)\n",
    )
    assert resnet_run(*arguments, "--resume").code == 137
    ran = resnet_run(*arguments, "--resume")
    assert ran.code == 1
    assert (ran.document["images"], ran.document["resumed_at"], ran.document["skipped"]) == (16, 12, 1)
    again = resnet_run(*arguments, "--resume")
    assert (again.code, again.document["images"], again.document["resumed_at"]) == (0, 16, 16)
    assert [row["image"] for row in told(folder, kind)] == list(map(str, paths))
    changed = resnet_run(network(), *paths[1:], *arguments[-9:], "--resume")
    assert (changed.code, changed.err) == (
        2,
        f"resnet-run: error: the shards were made with another images @ {folder}\n",
    )


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are Unicode there")
def test_parquet_has_typed_columns(
    network: Callable[..., str], photos: Path, tmp_path: Path, resnet_run: Callable[..., Ran]
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    strange = (photos / "red.png").rename(photos / os.fsdecode(b"\xff.png"))
    (photos / "blue.png").write_bytes(b"")
    (photos / "labels.txt").write_text("tomato\nfrog\nsky\n")
    words = ("--format", "parquet", "-o", tmp_path / "answers", "--top", 4, "--labels", photos / "labels.txt")
    assert resnet_run(network(), strange, photos / "blue.png", *words).code == 1
    table = parquet.read_table(tmp_path / "answers" / "000000000.parquet")
    kinds = {field.name: str(field.type) for field in table.schema}
    assert [*kinds][:5] == ["image", "error", "class_1", "label_1", "probability_1"]
    assert [*kinds.values()] == ["string", "string", *["int64", "string", "double"] * 4]
    red, broken = table.to_pylist()
    assert red["image"] == str(photos / r"\udcff.png")
    assert (red["error"], red["class_1"], red["label_1"], red["class_4"]) == (None, 0, "tomato", None)
    assert red["probability_1"] == pytest.approx(np.exp(2) / (np.exp(2) + 2))
    assert broken["error"].startswith("not an image of a known format")
    assert broken["class_1"] is broken["probability_1"] is None
    (tmp_path / "answers" / "000000000.parquet").write_bytes(b"PAR1 and no more")
    damaged = resnet_run(network(), strange, photos / "blue.png", *words, "--resume")
    assert damaged.code == 1
    assert "cannot read the shard: Parquet magic bytes" in damaged.err


def test_an_interrupted_stream_leaves_a_short_shard_and_goes_on(
    network: Callable[..., str], photos: Path, resnet_run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    from resnet_compile.runtime import Session

    folder = photos / "answers"
    arguments = [network(), *[photos / "red.png"] * 9, "--format", "jsonl", "-o", folder, "--batch", 2]
    run, calls = Session.run, []

    def interrupted(session: Session, *arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return run(session, *arguments)

    monkeypatch.setattr(Session, "run", interrupted)
    ran = resnet_run(*arguments)
    assert (ran.code, ran.err) == (1, "resnet-run: error: interrupted after 4 of 9 images (--resume goes on)\n")
    ran = resnet_run(*arguments, "--resume")
    assert (ran.code, ran.out) == (0, f"{folder}: 9 images, 5 of them now\n")
    assert sorted(path.name for path in folder.glob("*.jsonl")) == ["000000000.jsonl", "000000004.jsonl"]


def test_embeddings_are_the_vectors_before_the_logits(
    photos: Path, tmp_path: Path, resnet_run: Callable[..., Ran]
) -> None:
    import resnet_compile as rc

    output = tmp_path / "vectors.npz"
    ran = resnet_run("tiny", photos / "red.png", photos / "blue.png", "--embed", "-o", output, "--device", "cpu")
    assert (ran.code, ran.err) == (0, "")
    spec = rc.load_spec("tiny")
    model = rc.compile(spec, rc.CompileOptions(outputs=("pool5", "logits")))
    with np.load(output) as arrays:
        (name,) = set(arrays) - {"images"}
        assert (name, arrays[name].shape[:2]) == ("tiny/pool5", (2, 64))
    model.save(tmp_path / "model.onnx")
    assert resnet_run(tmp_path / "model.onnx", photos, "--embed", "-o", tmp_path / "v.npy").code == 0
    rc.compile(spec).save(tmp_path / "classes.onnx")
    refused = resnet_run(tmp_path / "classes.onnx", photos, "--embed", "-o", tmp_path / "w.npy")
    assert (refused.code, "compile it with --outputs tiny/pool5" in refused.err) == (2, True)


def test_features_are_the_maps_at_every_reduction(photos: Path, tmp_path: Path, resnet_run: Callable[..., Ran]) -> None:
    import resnet_compile as rc

    output = tmp_path / "maps.npz"
    images = (photos / "red.png", photos / "blue.png")
    ran = resnet_run("tiny", *images, "--features", "-o", output, "--device", "cpu", "--json")
    assert (ran.code, ran.err) == (0, "")
    unit = "tiny/block1/unit_1/bottleneck_v2"
    assert json.loads(ran.out)["saved"]["features"] == [
        {"name": "C2", "output": unit, "reduction": 4},
        {"name": "C3", "output": "tiny/block2", "reduction": 8},
    ]
    own = tmp_path / "own.npz"
    assert resnet_run("tiny", *images, "--outputs", "block1/unit_1,block2", "-o", own, "--device", "cpu").code == 0
    with np.load(output) as arrays, np.load(own) as named:
        assert set(arrays) == {"C2", "C3", "images"}
        assert arrays["C2"].shape == (2, 32, 8, 8)
        assert np.array_equal(arrays["C2"], named[unit])
        assert np.array_equal(arrays["C3"], named["tiny/block2"])
    model = tmp_path / "features.onnx"
    rc.compile(rc.load_spec("tiny"), rc.CompileOptions(outputs=("features", "predictions"))).save(model)
    told = resnet_run(model, *images, "--features", "-o", output, "--device", "cpu")
    assert told.out.splitlines()[0] == f"{output}: C2 (2, 32, 8, 8), reduction 4, {unit}"
    rc.compile(rc.load_spec("tiny")).save(model)
    refused = resnet_run(model, photos, "--features", "-o", output)
    assert (refused.code, "(compile it with --outputs features)" in refused.err) == (2, True)
    onnx.save(colour_network(), model)
    assert resnet_run(model, photos, "--features", "-o", output).code == 2
    assert resnet_run("tiny", photos, "--features", "-o", tmp_path / "maps.npy").code == 2


def test_help_lists_every_scheme_and_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['resnet-run', '--help']\n"
        "from resnet_compile.cli.run import main\n"
        "try: main()\n"
        "finally: print([name for name in ('onnxruntime', 'PIL', 'rich') if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.splitlines()[-1] == "[]"
    help_text = " ".join(printed.split())
    for scheme in SCHEMES:
        assert scheme in help_text
    declared = {option for parameter in cli.params for option in parameter.opts if option.startswith("--")}
    assert declared >= {"--device", "--batch", "--top", "--labels", "--preprocess", "--outputs", "--output", "--json"}
    assert declared >= {"--verbose", "--debug", "--version"}
