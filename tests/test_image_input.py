"""How a model takes images: by its metadata, by its signature, and what does not take any."""

from collections.abc import Mapping

import numpy as np
import pytest
from onnx import TensorProto, helper
from support.commands import command

from resnet_compile import classify
from resnet_compile.bench.inputs import DEFAULT_BATCH
from resnet_compile.errors import ModelFileError, OptionError
from resnet_compile.runtime import ImageInput, Session, image_input

Axis = int | str | None


def session(*shape: Axis, metadata: Mapping[str, str] | None = None, dtype: int = TensorProto.FLOAT) -> Session:
    """A network that does nothing to its input."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info("y", dtype, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(model, {f"resnet_compile.{key}": text for key, text in (metadata or {}).items()})
    return Session.open(model.SerializeToString(), "cpu")


@pytest.mark.parametrize(
    ("shape", "layout", "expected"),
    [
        (("n", 3, 4, 6), None, (None, 3, 4, 6, False)),
        (("n", 4, 6, 3), None, (None, 3, 4, 6, True)),
        (("n", 3, 4, 3), None, (None, 3, 4, 3, False)),
        ((7, 3, 4, 3), "nhwc", (7, 3, 3, 4, True)),
        (("n", 4, 6, 3), "nchw", (None, 4, 6, 3, False)),
        (("n", "h", "w", 5), None, (None, 5, None, None, True)),
        (("n", 5, "h", None), None, (None, 5, None, None, False)),
        (("n", 8, "w", 3), None, (None, 3, 8, None, True)),
        (("n", 1, 4, 6), None, (None, 1, 4, 6, False)),
    ],
)
def test_the_metadata_tells_the_layout_or_else_the_shape(
    shape: tuple[Axis, ...], layout: str | None, expected: tuple[int | None, ...]
) -> None:
    metadata = {"preprocess": "vgg", **({"layout": layout} if layout else {})}
    batch, channels, height, width, channels_last = expected
    assert image_input(session(*shape, metadata=metadata)) == ImageInput(
        "x", "float32", batch, channels or 0, height, width, bool(channels_last), "vgg"
    )


@pytest.mark.parametrize(
    ("shape", "batch", "size", "expected"),
    [
        (("n", 3, 4, 6), None, None, (32, 3, 4, 6)),
        (("n", 3, 4, 6), 5, (9, 9), (5, 3, 4, 6)),
        ((7, 3, 4, 6), None, None, (7, 3, 4, 6)),
        ((7, 3, 4, 6), 7, None, (7, 3, 4, 6)),
        (("n", 3, "h", "w"), 2, None, (2, 3, 224, 224)),
        (("n", 3, "h", "w"), 2, (5, 8), (2, 3, 5, 8)),
        (("n", "h", "w", 3), 2, (5, 8), (2, 5, 8, 3)),
        (("n", 1, 4, 6), 2, None, (2, 1, 4, 6)),
    ],
)
def test_shapes_of_image_networks(
    shape: tuple[Axis, ...], batch: int | None, size: tuple[int, int] | None, expected: tuple[int, ...]
) -> None:
    source = image_input(session(*shape))
    assert source.shape(source.batch_size(batch, 32), size or (224, 224)) == expected


def test_another_batch_size_than_the_models_own_is_refused() -> None:
    source = image_input(session(7, 3, 4, 6))
    with pytest.raises(OptionError, match="batch must be the model's 7, got 8"):
        source.batch_size(8, 32)


def test_what_does_not_take_the_images_is_refused() -> None:
    for shape, dtype in ((("n", 3), TensorProto.FLOAT), (("n", 3, 4, 6), TensorProto.INT32), (("n", "c", "h", "w"), 1)):
        with pytest.raises(ModelFileError, match=r"not an image network: its input is x \w+\[n, "):
            image_input(session(*shape, dtype=dtype))
    with pytest.raises(ModelFileError, match="the network must take 3 channels, got 1: its input is x float32"):
        image_input(session("n", 1, 4, 6), channels=3)
    assert image_input(session("n", 3, 4, 6), channels=3).channels == 3


@pytest.mark.parametrize("channels_last", [False, True])
def test_images_are_laid_out_and_a_batch_is_filled_with_its_own(channels_last: bool) -> None:
    source = ImageInput("x", "float16", 4, 3, 2, 5, channels_last)
    images = np.arange(90, dtype=np.float32).reshape(3, 2, 5, 3)
    fed = source.feed(source.laid_out(images))["x"]
    assert fed.dtype == np.float16
    assert fed.shape == source.shape(4, (9, 9))
    back = fed if channels_last else fed.transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(back, images[[0, 1, 2, 0]])
    assert len(ImageInput("x", "float32", None, 3, 2, 5, channels_last).feed(images)["x"]) == 3


@pytest.mark.parametrize(("name", "default"), [("resnet-run", classify.DEFAULT_BATCH), ("resnet-bench", DEFAULT_BATCH)])
def test_a_commands_help_tells_the_batch_that_is_taken_where_it_is_open(name: str, default: int) -> None:
    assert f"the model's own, or {default}." in " ".join(command(name, "--help").out.split())
