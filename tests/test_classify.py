"""Images through a network, from Python."""

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from PIL import Image

from resnet_compile import CompileOptions, classify, compile, load_spec
from resnet_compile.classify import (
    Computed,
    Skipped,
    classification_output,
    probabilities,
    resolve_names,
    run_images,
    top_classes,
)
from resnet_compile.errors import OptionError, ResnetCompileError
from resnet_compile.images import SCHEMES, decode_image
from resnet_compile.runtime import Session, image_input


def network(*outputs: str, shape: Iterable[int | str] = ("N", 3, 4, 6)) -> Session:
    """A network whose outputs are all its input."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["input"], [name]) for name in outputs],
        "net",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return Session.open(model.SerializeToString(), "cpu")


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{index}.png" for index in range(5)]
    for index, path in enumerate(paths):
        Image.new("RGB", (9, 7), (50 * index, 0, 255)).save(path)
    paths[3].write_bytes(b"")
    return paths


def test_batches_hold_preprocessed_images_and_their_positions(paths: list[Path]) -> None:
    events = list(run_images(network("copy"), paths, SCHEMES["vgg"], batch=2, workers=2))
    batches = [event for event in events if isinstance(event, Computed)]
    assert [batch.positions for batch in batches] == [(0, 1), (2, 4)]
    assert [batch.paths for batch in batches] == [(str(paths[0]), str(paths[1])), (str(paths[2]), str(paths[4]))]
    (skipped,) = (event for event in events if isinstance(event, Skipped))
    assert (skipped.position, skipped.path) == (3, str(paths[3]))
    for batch in batches:
        for position, pixels in zip(batch.positions, batch.outputs["copy"], strict=True):
            expected = SCHEMES["vgg"](decode_image(paths[position]), 4, 6)
            np.testing.assert_array_equal(pixels, expected.transpose(2, 0, 1))


def test_a_model_may_leave_one_side_open(paths: list[Path]) -> None:
    session = network("copy", shape=[1, 3, 10, "width"])
    assert (image_input(session).height, image_input(session).width) == (10, None)
    (batch,) = run_images(session, paths[:1], SCHEMES["cifar"])
    assert isinstance(batch, Computed)
    assert batch.outputs["copy"].shape == (1, 3, 10, 32)


def test_stopping_early_decodes_no_more(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = threading.Event()
    decoded: list[str] = []

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            stopped.set()
            super().shutdown(wait=wait)

    def decode(path: str, **how: Any) -> Any:
        decoded.append(path)
        if len(decoded) > 1:
            assert stopped.wait(60)
        return decode_image(path, **how)

    monkeypatch.setattr(classify, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(classify, "decode_image", decode)
    events = run_images(network("copy"), paths[:1] * 50, SCHEMES["vgg"], batch=1, workers=1)
    next(events)
    events.close()  # type: ignore[attr-defined]
    assert len(decoded) <= 2


def test_outputs_need_a_row_for_each_image(paths: list[Path]) -> None:
    node = helper.make_node("ReduceMax", ["input"], ["all"], keepdims=0)
    graph = helper.make_graph(
        [node],
        "net",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 4, 4])],
        [helper.make_tensor_value_info("all", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    session = Session.open(model.SerializeToString(), "cpu")
    with pytest.raises(OptionError, match=r"output 'all' has no row for each image: its shape is \(\)"):
        list(run_images(session, paths[:2], SCHEMES["vgg"]))


def test_output_names_with_and_without_the_network() -> None:
    session = network("net/block1", "net/block1/unit_1", "other/logits", "net/logits", "predictions")
    words = ["block1", "net/block1/", "block1/unit_1"]
    assert resolve_names(session, words) == ("net/block1", "net/block1", "net/block1/unit_1")
    assert resolve_names(session, ["logits", "other/logits"]) == ("net/logits", "other/logits")
    with pytest.raises(OptionError, match=r"the network has no output 'lock1' @ outputs \(did you mean block1"):
        resolve_names(session, ["lock1"])


def test_an_output_is_found_by_the_word_that_it_was_compiled_with() -> None:
    words = ("block2/unit_1", "block1/unit_2/conv1", "tiny/block2", "logits")
    model = compile(load_spec("tiny"), CompileOptions(outputs=words, batch=1))
    session = Session.open(model.to_proto().SerializeToString(), "cpu")
    assert resolve_names(session, words) == model.outputs


@pytest.mark.parametrize(
    ("outputs", "chosen"),
    [
        (["net/logits", "predictions"], "predictions"),
        (["net/logits", "net/predictions"], "net/predictions"),
        (["net/block1", "net/logits"], "net/logits"),
        (["softmax"], "softmax"),
    ],
)
def test_classification_output(outputs: list[str], chosen: str) -> None:
    assert classification_output(network(*outputs)) == chosen


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1, 1), (2, 1, 1, 3)])
def test_softmax_of_logits_neither_overflows_nor_needs_them_flat(shape: tuple[int, ...]) -> None:
    logits = np.array([[1e4, 1e4, -1e4], [0, np.log(2), np.log(5)]], np.float32).reshape(shape)
    np.testing.assert_allclose(probabilities("logits", logits), [[0.5, 0.5, 0], [0.125, 0.25, 0.625]], rtol=1e-6)


def test_predictions_are_taken_as_they_are() -> None:
    np.testing.assert_array_equal(probabilities("any", np.array([[0.25, 0.75]])), [[0.25, 0.75]])
    np.testing.assert_array_equal(probabilities("any", np.array([[0.25, 0.25]]), softmax=True), [[0.25, 0.25]])
    # Neither the sum of one row alone nor a negative value makes probabilities.
    for logits in ([[0.25, 0.75], [2.0, 1.0]], [[-0.5, 1.5]]):
        values = np.array(logits)
        exponentials = np.exp(values)
        expected = exponentials / exponentials.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(probabilities("predictions", values), expected)


def test_maps_and_infinities_are_no_classes() -> None:
    with pytest.raises(OptionError, match=r"logits float64\[1, 3, 2, 2\] is a map, not one row of classes"):
        probabilities("logits", np.zeros((1, 3, 2, 2)))
    with pytest.raises(ResnetCompileError, match="output 'logits' is not finite"):
        probabilities("logits", np.array([[0, np.inf]]))


def test_top_classes_are_ordered_and_ties_go_by_index() -> None:
    row = np.array([0.1, 0.3, 0.1, 0.4, 0.1])
    assert top_classes(row, 4) == [(3, 0.4), (1, 0.3), (0, 0.1), (2, 0.1)]
    assert len(top_classes(row, 9)) == 5
