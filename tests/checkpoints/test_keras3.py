"""Weights of Keras 3: names from the file, from the archive's configuration, and from the order of the layers."""

import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from support import checkpoint_seeds as seeds
from support.truths import assert_equals

from resnet_compile.checkpoints.formats import open_checkpoint
from resnet_compile.checkpoints.hdf5.keras import KerasArchive, KerasCheckpoint
from resnet_compile.checkpoints.hdf5.keras3 import scaling
from resnet_compile.errors import CheckpointError

DATA = Path(__file__).parents[1] / "data" / "readers"
TRUTHS: dict[str, dict[str, Any]] = json.loads((DATA / "keras3.json").read_text())


@pytest.mark.parametrize("file", TRUTHS)
def test_equals_what_keras_reads(file: str) -> None:
    """From 3.6 on the weights name the layers, before that the configuration does."""
    with open_checkpoint(DATA / file) as checkpoint:
        assert isinstance(checkpoint, KerasArchive)
        assert checkpoint.keys() == {*TRUTHS[file], "optimizer/0", "optimizer/1"}
        assert_equals(checkpoint, TRUTHS[file])
        assert checkpoint.notes == ()
        version = {"keras315.keras": "3.15.", "keras33.keras": "3.3."}[file]
        assert checkpoint.facts["Keras"].startswith(version)


def test_weights_alone_have_the_same_values(tmp_path: Path) -> None:
    weights, archive = KerasCheckpoint(seeds.keras3_weights().write(tmp_path)), KerasArchive(DATA / "keras315.keras")
    assert len(weights) == len(archive)
    for ours, theirs in zip(weights.values(), archive.values(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_tensors_of_a_stored_archive_are_views() -> None:
    kernel = KerasArchive(DATA / "keras315.keras")["backbone/conv1_conv/kernel"]
    assert not kernel.flags.owndata
    assert not kernel.flags.writeable


def repacked(path: Path, method: int, **changed: bytes | None) -> Path:
    """The archive again, with members replaced, or left out for None; `__` stands for a dot in their names."""
    with zipfile.ZipFile(DATA / "keras33.keras") as old, zipfile.ZipFile(path, "w", method) as new:
        for name in old.namelist():
            data = changed.get(name.replace(".", "__"), old.read(name))
            if data is not None:
                new.writestr(name, data)
    return path


def test_an_archive_that_was_packed_anew(tmp_path: Path) -> None:
    packed, plain = KerasArchive(repacked(tmp_path / "a", zipfile.ZIP_DEFLATED)), KerasArchive(DATA / "keras33.keras")
    assert list(packed) == list(plain)
    assert all((packed[name] == plain[name]).all() for name in plain)


UNNAMED = (
    "the file has no layer names, like all weights of Keras before 3.6: save the whole model, model.save('NAME.keras')"
)


@pytest.mark.parametrize(
    "config",
    [
        None,
        b"{}",
        b'{"config": 3}',
        b'{"config": {"layers": {"a": 1}}}',
        b'{"config": {"layers": [1, {"class_name": 2}, {"class_name": "Dense", "config": []}]}}',
    ],
)
def test_a_configuration_that_says_nothing(tmp_path: Path, config: bytes | None) -> None:
    checkpoint = KerasArchive(repacked(tmp_path / "a", zipfile.ZIP_STORED, config__json=config))
    assert {"dense/kernel", "functional/conv2d/kernel", "functional/batch_normalization/0"} <= checkpoint.keys()
    assert checkpoint.notes == (UNNAMED,)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"config__json": b"{"}, "cannot be parsed"),
        ({"config__json": b"[" * 100_000}, "cannot be parsed"),
        ({"config__json": b"[]"}, "not an object"),
        ({"config__json": b" " * (17 << 20)}, "are allowed"),
        ({"model__weights__h5": None}, r"no model\.weights\.h5"),
        ({"model__weights__h5": b"weights"}, "superblock"),
    ],
)
def test_damaged_archives(tmp_path: Path, changed: dict[str, bytes | None], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        KerasArchive(repacked(tmp_path / "a", zipfile.ZIP_STORED, **changed))


def write(path: Path, tensors: dict[str, Any], names: dict[str, str] | None = None) -> Path:
    """Weights in Keras 3's layout: arrays by `layers/dense/0`, names of layers by `layers/dense`."""
    with h5py.File(path, "w") as file:
        file.create_group("vars")
        for place, value in tensors.items():
            layer, _, number = place.rpartition("/")
            file[f"{layer}/vars/{number}"] = value
        for layer, name in (names or {}).items():
            file.require_group(f"{layer}/vars").attrs["name"] = name
    return path


def vectors(count: int) -> list[np.ndarray]:
    return [np.full(4, number, np.float32) for number in range(count)]


@pytest.mark.parametrize(
    ("layer", "arrays", "words"),
    [
        ("layers/conv2d", [np.ones((3, 3, 2, 4)), np.ones(4)], ["kernel", "bias"]),
        ("layers/dense_12", [np.ones((2, 4))], ["kernel"]),
        ("layers/dense", [np.ones((2, 4)), np.ones(4), np.ones(4)], ["0", "1", "2"]),  # of int8, with scales
        ("layers/batch_normalization", vectors(4), ["gamma", "beta", "moving_mean", "moving_variance"]),
        ("layers/batch_normalization", vectors(3), ["0", "1", "2"]),
        ("layers/gru", [np.ones((2, 4)), np.ones((2, 4)), np.ones(4)], ["0", "1", "2"]),
        ("layers/my_conv2d", [np.ones((3, 3, 2, 4))], ["0"]),
        ("fc", [np.ones((2, 4)), np.ones(4)], ["kernel", "bias"]),
        ("norm", vectors(4), ["gamma", "beta", "moving_mean", "moving_variance"]),
        ("optimizer", vectors(12), [str(number) for number in range(12)]),
    ],
)
def test_what_a_layers_variables_are_called(
    tmp_path: Path, layer: str, arrays: Sequence[np.ndarray], words: list[str]
) -> None:
    tensors = {f"{layer}/{number}": array for number, array in enumerate(arrays)}
    checkpoint = KerasCheckpoint(write(tmp_path / "a", tensors))
    scope = layer.removeprefix("layers/")
    assert list(checkpoint) == [f"{scope}/{word}" for word in words]
    for word, array in zip(words, arrays, strict=True):
        np.testing.assert_array_equal(checkpoint[f"{scope}/{word}"], array)


def test_lists_and_attributes_of_a_model(tmp_path: Path) -> None:
    """What is an attribute keeps its name; two layers of one name keep the names of their groups."""
    one = np.ones((2, 4))
    places = ["backbone/layers/dense", "layers/dense", "layers/dense_1", "layers/dense_2", "stages/dense"]
    names = dict(zip(places, ["inner", "same", "same", "other", "inner"], strict=True))
    checkpoint = KerasCheckpoint(write(tmp_path / "a", {f"{place}/0": one for place in places}, names))
    scopes = ["backbone/inner", "dense", "dense_1", "other", "stages/inner"]
    assert list(checkpoint) == [f"{scope}/kernel" for scope in scopes]


def test_groups_in_two_places_and_too_deep(tmp_path: Path) -> None:
    path = write(tmp_path / "a", {"layers/dense/0": np.ones((2, 4))})
    with h5py.File(path, "a") as file:
        file["layers/again"] = file["layers/dense"]
    with pytest.raises(CheckpointError, match="two places"):
        KerasCheckpoint(path)
    with h5py.File(path, "w") as file:
        file["layers/self"] = file.create_group("vars").parent
    with pytest.raises(CheckpointError, match="two places"):
        KerasCheckpoint(path)
    with pytest.raises(CheckpointError, match="more than 64 deep"):
        KerasCheckpoint(write(path, {"layers/a/" * 100 + "0": np.ones(1)}))


# Names by order.


def residual_network(*, version: int) -> Iterator[tuple[str, list[tuple[int, ...]]]]:
    """The layers of keras.applications' networks, with stacks of 2 and 1 units, in the order of `model.layers`."""

    def norm(name: str, width: int) -> tuple[str, list[tuple[int, ...]]]:
        return name, [(width,)] * 4

    def convolution(name: str, size: int, read: int, width: int, *, bias: bool) -> tuple[str, list[tuple[int, ...]]]:
        return name, [(size, size, read, width), *([(width,)] if bias else [])]

    yield convolution("conv1_conv", 7, 3, 8, bias=True)
    if version == 1:
        yield norm("conv1_bn", 8)
    read = 8
    for stack, units in ((2, 2), (3, 1)):
        inner, width = 4 * stack, 16 * stack
        for unit in range(1, units + 1):
            scope = f"conv{stack}_block{unit}"
            if version == 2:
                yield norm(f"{scope}_preact_bn", read)
            yield convolution(f"{scope}_1_conv", 1, read, inner, bias=version == 1)
            yield norm(f"{scope}_1_bn", inner)
            yield convolution(f"{scope}_2_conv", 3, inner, inner, bias=version == 1)
            yield norm(f"{scope}_2_bn", inner)
            if unit == 1:
                yield convolution(f"{scope}_0_conv", 1, read, width, bias=True)
            yield convolution(f"{scope}_3_conv", 1, inner, width, bias=True)
            if version == 1:
                yield from [norm(f"{scope}_0_bn", width)] if unit == 1 else []
                yield norm(f"{scope}_3_bn", width)
            read = width
    if version == 2:
        yield norm("post_bn", read)


def numbered(layers: Sequence[tuple[str, list[tuple[int, ...]]]]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The layers' variables by class and number, and by what they should be called."""
    rng, places, truth = np.random.default_rng(0), {}, {}
    counts = {"conv2d": 0, "batch_normalization": 0}
    for name, shapes in layers:
        kind = "conv2d" if name.endswith("conv") else "batch_normalization"
        key = f"{kind}_{counts[kind]}" if counts[kind] else kind
        counts[kind] += 1
        words = ["kernel", "bias"] if kind == "conv2d" else ["gamma", "beta", "moving_mean", "moving_variance"]
        for number, shape in enumerate(shapes):
            places[f"layers/{key}/{number}"] = truth[f"{name}/{words[number]}"] = rng.normal(size=shape)
    return places, truth


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("prefix", ["", "layers/functional/"])
def test_networks_of_keras_applications_are_known_by_their_order(tmp_path: Path, version: int, prefix: str) -> None:
    places, truth = numbered([*residual_network(version=version)])
    checkpoint = KerasCheckpoint(write(tmp_path / "a", {prefix + place: value for place, value in places.items()}))
    scope = "functional/" if prefix else ""
    assert checkpoint.keys() == {scope + name for name in truth}
    for name, value in truth.items():
        np.testing.assert_array_equal(checkpoint[scope + name], value, name)
    (note,) = checkpoint.notes
    assert note.startswith("the file has no layer names; guessed from the order")


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("change", ["one more", "one less", "without a bias", "a norm less", "another kernel"])
def test_other_networks_get_no_names(tmp_path: Path, version: int, change: str) -> None:
    layers = [*residual_network(version=version)]
    at = next(index for index, (name, _) in enumerate(layers) if name == "conv2_block2_3_conv")
    name, shapes = layers[at]
    if change == "one more":
        layers.append(("head_conv", [(1, 1, 48, 4)]))
    elif change == "one less":
        del layers[at]
    elif change == "without a bias":
        layers[at] = (name, shapes[:1])
    elif change == "another kernel":
        layers[at] = (name, [(3, 3, *shapes[0][2:]), shapes[1]])
    else:
        del layers[-1 if version == 2 else 1]
    places, truth = numbered(layers)
    checkpoint = KerasCheckpoint(write(tmp_path / "a", places))
    assert "conv2d_3/kernel" in checkpoint
    assert not checkpoint.keys() & truth.keys()
    assert checkpoint.notes == (UNNAMED,)


def test_an_archive_is_no_other_zip(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, config=np.ones(3))
    (tmp_path / "a.keras").write_bytes(buffer.getvalue())
    assert open_checkpoint(tmp_path / "a.keras").format == "NumPy npz"


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([{"class_name": "Rescaling", "config": {"scale": 0.5, "offset": -1}}], "Rescaling(scale=0.5, offset=-1)"),
        ([{"class_name": "Normalization", "config": {"mean": None}}], "Normalization()"),
        (
            [{"class_name": "Functional", "config": {"layers": [{"class_name": "Rescaling", "config": {}}]}}, 3],
            "Rescaling()",
        ),
    ],
)
def test_a_model_that_scales_its_images_is_told(layers: list[object], words: str) -> None:
    assert scaling({"config": {"layers": layers}}) == f"the file's model scales its images itself, by {words}"


@pytest.mark.parametrize("config", [None, {}, {"config": {"layers": [{"class_name": "Dense", "config": {}}, {}]}}])
def test_any_other_model_scales_none(config: dict[str, object] | None) -> None:
    assert scaling(config) is None


def test_the_note_is_the_archive_s(tmp_path: Path) -> None:
    layer = {"class_name": "Rescaling", "config": {"name": "r", "scale": 2}}
    with zipfile.ZipFile(DATA / "keras315.keras") as old, zipfile.ZipFile(tmp_path / "a", "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json":
                config = json.loads(data)
                config["config"]["layers"].append(layer)
                data = json.dumps(config).encode()
            new.writestr(name, data)
    with open_checkpoint(tmp_path / "a") as checkpoint:
        assert checkpoint.notes == ("the file's model scales its images itself, by Rescaling(scale=2)",)
