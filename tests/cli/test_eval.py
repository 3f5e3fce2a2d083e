"""``resnet-eval``: models judged on images whose classes are known, on networks small enough to know the answer."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli.test_run import COLOURS, colour_network
from PIL import Image
from support.commands import Ran

from resnet_compile.cli.eval import main

LABELS = {"resnet_compile.preprocess": "inception", "resnet_compile.labels": '["red", "green, verdant", "blue"]'}


@pytest.fixture
def resnet_eval(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    return lambda *arguments: Ran(main, arguments, capfd)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Models, and images of three colours in folders by their names, of which one green one lies with the blue."""
    monkeypatch.chdir(tmp_path)
    for colour, value in COLOURS.items():
        (tmp_path / "photos" / colour).mkdir(parents=True)
        for index in range(3):
            Image.new("RGB", (20, 16), value).save(tmp_path / "photos" / colour / f"{index}.png")
    Image.new("RGB", (20, 16), COLOURS["green"]).save(tmp_path / "photos" / "blue" / "leaf.png")
    save(tmp_path / "model.onnx")
    return tmp_path


def save(path: Path, swapped: bool = False, **options: Any) -> None:
    """The network of colours; swapped, one to which blue is red."""
    model = colour_network(**{"metadata": LABELS, **options})
    if swapped:
        model.graph.node[2].output[0] = "means"
        model.graph.node.insert(3, type(model.graph.node[2])())
        model.graph.node[3].op_type = "Gather"
        model.graph.node[3].input.extend(["means", "order"])
        model.graph.node[3].output.append("net/logits")
        model.graph.node[3].attribute.add(name="axis", type=2, i=1)
        model.graph.initializer.add(name="order", data_type=7, dims=[3], int64_data=[0, 1, 1])
    path.write_bytes(model.SerializeToString())


def test_a_tree_of_classes_is_judged_by_their_names(folder: Path, resnet_eval: Callable[..., Ran]) -> None:
    ran = resnet_eval("model.onnx", "photos", "--json", "--device", "cpu")
    assert (ran.code, ran.err) == (0, "")
    document = ran.document
    assert (document["images"], document["top1"], document["top5"], document["skipped"]) == (10, 0.9, 1.0, 0)
    best = np.exp(2) / (np.exp(2) + 2)
    assert document["loss"] == pytest.approx(-(9 * np.log(best) + np.log((1 - best) / 2)) / 10)
    assert document["calibration_error"] == pytest.approx(0.9 - best)
    assert document["worst_pairs"] == [
        {"class": 2, "taken_for": 1, "label": "blue", "taken_for_label": "green, verdant", "times": 1}
    ]
    text = resnet_eval("model.onnx", "photos", "--device", "cpu").out
    for words in ("top-1", "90.00%", "59.58% to 98.21%", "blue", "green, verdant"):
        assert words in text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.csv", "path,label\nphotos/red/0.png,red\nphotos/green/1.png,green\nphotos/blue/leaf.png,blue\n"),
        ("list.csv", "photos/red/0.png,0\nphotos/green/1.png,1\nphotos/blue/leaf.png,2\n"),
        ("list.tsv", "class\tfile\n0\tphotos/red/0.png\n1\tphotos/green/1.png\n2\tphotos/blue/leaf.png\n"),
        (
            "list.jsonl",
            '{"path": "photos/red/0.png", "label": 0}\n{"image": "photos/green/1.png", "class": 1}\n\n'
            '{"path": "photos/blue/leaf.png", "label": 2}\n',
        ),
    ],
)
def test_lists_of_images(folder: Path, resnet_eval: Callable[..., Ran], name: str, text: str) -> None:
    (folder / name).write_text(text)
    document = resnet_eval("model.onnx", name, "--json").document
    assert (document["images"], document["top1"]) == (3, pytest.approx(2 / 3))


def test_arrays_are_judged_on_those_held_out(folder: Path, resnet_eval: Callable[..., Ran]) -> None:
    colours = np.array([*COLOURS.values()], np.uint8)
    images = np.broadcast_to(colours[:, None, None], (3, 8, 8, 3)).copy()
    np.savez(folder / "data.npz", x_train=images, y_train=[2, 2, 2], x_test=images, y_test=[0, 1, 1])
    document = resnet_eval("model.onnx", "data.npz", "--json").document
    assert (document["images"], document["top1"]) == (3, pytest.approx(2 / 3))


def test_two_models_are_compared_on_the_same_images(folder: Path, resnet_eval: Callable[..., Ran]) -> None:
    save(folder / "other.onnx", swapped=True)
    (folder / "photos" / "red" / "broken.png").write_bytes(b"no image")
    ran = resnet_eval("model.onnx", "photos", "--vs", "other.onnx", "--html", "page.html", "--json")
    assert ran.code == 1
    assert ran.err.splitlines()[-1] == "resnet-eval: error: 1 of 11 images could not be read"
    compared = ran.document["comparison"]
    assert (ran.document["vs"]["top1"], compared["images"]) == (pytest.approx(0.6), 10)
    assert (compared["only_first"], compared["only_second"]) == (3, 0)
    assert (compared["difference"], compared["p_value"]) == (pytest.approx(-0.3), pytest.approx(0.25))
    html = (folder / "page.html").read_text()
    assert compared["agreement"] == 0.7
    assert html.count("data:image/jpeg;base64,") == 3
    for words in ("Images that changed", "McNemar", "model.onnx", "other.onnx"):
        assert words in html
    assert "The second's accuracy is -30.00%" in resnet_eval("model.onnx", "photos", "--vs", "other.onnx").out


def test_a_page_of_one_model_shows_what_it_is_wrong_about(folder: Path, resnet_eval: Callable[..., Ran]) -> None:
    assert resnet_eval("model.onnx", "photos", "--html", "page.html").code == 0
    html = (folder / "page.html").read_text()
    assert "Most mistaken" in html
    assert html.count("data:image/jpeg;base64,") == 1
    assert "blue: green, verdant" in html


def test_classes_without_names_go_by_their_order_which_is_told(folder: Path, resnet_eval: Callable[..., Ran]) -> None:
    save(folder / "bare.onnx", metadata={"resnet_compile.preprocess": "inception"})
    ran = resnet_eval("bare.onnx", "photos", "--json")
    # blue, green, red in order of their names, where the model has red, green, blue
    assert ran.document["top1"] == pytest.approx(0.3)
    assert ran.err == "resnet-eval: classes are taken in the order of their names\n"
    (folder / "names.txt").write_text("red\ngreen\nblue\n")
    assert resnet_eval("bare.onnx", "photos", "--json", "--labels", "names.txt").document["top1"] == 0.9


def test_an_untrained_model_is_told(folder: Path, resnet_eval: Callable[..., Ran]) -> None:
    ran = resnet_eval("tiny", "photos", "--json", "--device", "cpu")
    assert ran.code == 2
    assert "resnet-eval: tiny: initial weights: these classes mean nothing" in ran.err
    assert "the data has 3 classes, the model 10 (name the model's classes with --labels)" in ran.err


@pytest.mark.parametrize(
    ("data", "content", "message"),
    [
        ("absent.csv", None, "cannot read the images' list: No such file or directory @ absent.csv"),
        ("absent", None, "no such file or folder @ absent"),
        ("a.csv", "", "no images in this file @ a.csv"),
        ("a.csv", "photos/red/0.png\n", "an image and its label are required @ a.csv: row 1"),
        ("a.csv", "photos/red/0.png,7\n", "label 7 is not among the model's 3 classes, 0 to 2"),
        ("a.csv", "photos/red/0.png,pink\n", "the data has 1 classes, the model 3 (the model has no class 'pink')"),
        ("a.csv", "nothing.png,1\n", "none of 1 images could be read, the first: cannot read the image"),
        ("a.jsonl", "{", "not JSON: "),
        ("a.jsonl", '{"path": "x"}', "an object with a path and a label is required @ a.jsonl: line 1"),
    ],
)
def test_faulty_data_are_told_in_a_line(
    folder: Path, resnet_eval: Callable[..., Ran], data: str, content: str | None, message: str
) -> None:
    if content is not None:
        (folder / data).write_text(content)
    ran = resnet_eval("model.onnx", data, "--html", "page.html")
    assert ran.code in (1, 2)
    assert ran.err.splitlines()[-1].startswith(f"resnet-eval: error: {message}")
    assert not (folder / "page.html").exists()


def test_an_interrupt_judges_what_was_done(
    folder: Path, resnet_eval: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    from resnet_compile.runtime import Session

    run, calls = Session.run, []

    def interrupted(session: Session, *arguments: Any) -> Any:
        calls.append(1)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return run(session, *arguments)

    monkeypatch.setattr(Session, "run", interrupted)
    ran = resnet_eval("model.onnx", "photos", "--batch", 2, "--json")
    assert (ran.code, ran.err) == (1, "resnet-eval: error: interrupted after 4 of 10 images\n")
    assert json.loads(ran.out)["images"] == 4


def test_models_are_kept_prepared_and_large_photographs_decoded_fast(
    folder: Path, resnet_eval: Callable[..., Ran]
) -> None:
    generator = np.random.default_rng(0)
    for colour in ("red", "green", "blue"):
        noise = generator.integers(0, 256, (400, 400, 3), np.uint8)
        Image.fromarray(noise).save(folder / "photos" / colour / "large.jpg")
    plain = resnet_eval("model.onnx", "photos", "--json")
    fast = resnet_eval("model.onnx", "photos", "--json", "--cache", "--fast-decode", "--device", "cpu")
    assert fast.code == 0
    assert "large JPEGs are decoded at a fraction of their size" in fast.err
    assert fast.document["fast_decode"] is True
    assert fast.document["loss"] != plain.document["loss"]
    assert (folder / "model.onnx.prepared").is_dir()
