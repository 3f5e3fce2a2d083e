"""Object-based checkpoints under the names of their variables, and frozen graphs by the names of their nodes."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from support.checkpoint_seeds import DATA
from support.tensorflow_files import CHECKPOINTS, FLOAT, field, fixture_truth, number, shape_proto
from support.truths import assert_equals

from resnet_compile.checkpoints.formats import open_checkpoint
from resnet_compile.checkpoints.tensorflow.frozen import is_frozen_graph
from resnet_compile.checkpoints.tensorflow.frozen_names import Use, variable_names
from resnet_compile.checkpoints.tensorflow.objects import object_names
from resnet_compile.errors import CheckpointError
from resnet_compile.weights.source import tensors_of

VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


@pytest.mark.parametrize("fixture", ["keras2", "slots2", "two2", "export2", "keras3"])
def test_variables_have_their_own_names(fixture: str) -> None:
    """All else stands below the name of a variable, or keeps its key."""
    truth = fixture_truth(fixture)
    with open_checkpoint(CHECKPOINTS / fixture) as checkpoint:
        assert_equals(checkpoint, truth)
        others = [name for name in checkpoint if name not in truth and not name.endswith(VALUE)]
        others += [name for name in checkpoint if "/_all_variables/" in name]
        assert all(name == "_CHECKPOINTABLE_OBJECT_GRAPH" or parent(name) in truth for name in others)


def parent(name: str) -> str:
    """The variable below whose name a slot or a copy stands."""
    return "/".join(name.split("/")[:2])


def graph(variables: Iterable[tuple[str, str]]) -> bytes:
    """A graph of objects that gives keys their variables' names."""
    attributes = (field(2, name.encode()) + field(3, key.encode()) for key, name in variables)
    return b"".join(field(1, field(2, field(1, b"VARIABLE_VALUE") + attribute)) for attribute in attributes)


def names_of(variables: dict[str, str], same: Iterable[str] = (), scalars: Iterable[str] = ()) -> dict[str, str]:
    keys = {key + VALUE: name for key, name in variables.items()}
    contents = {key: (0 if key.removesuffix(VALUE) in same else key) for key in keys}
    made = object_names(graph(keys.items()), contents, frozenset(f"{key}{VALUE}" for key in scalars), CheckpointError)
    assert set(made) == set(keys)
    assert len(set(made.values())) == len(made)
    return {key.removesuffix(VALUE): name for key, name in made.items()}


def test_a_key_without_a_name_is_kept() -> None:
    assert names_of({"a/kernel": "", "b/kernel": "conv/kernel"}) == {
        "a/kernel": f"a/kernel{VALUE}",
        "b/kernel": "conv/kernel",
    }


def test_variables_of_one_name_are_told_apart_by_where_they_are() -> None:
    found = names_of({"m/a/k": "conv/k", "m/b/k": "conv/k", "m/b/x": "x", "m/c/y": "y"})
    assert found == {"m/a/k": "m/a/conv/k", "m/b/k": "m/b/conv/k", "m/b/x": "m/b/x", "m/c/y": "y"}


def test_variables_that_nothing_tells_apart_keep_their_keys() -> None:
    found = names_of({"l/0": "Variable", "l/1": "Variable", "w": "weights"})
    assert found == {"l/0": f"l/0{VALUE}", "l/1": f"l/1{VALUE}", "w": "weights"}


def test_a_variable_that_is_saved_twice_has_one_name() -> None:
    keys = {"variables/0": "conv/k", "_all_variables/3": "conv/k"}
    found = names_of(keys, same=keys)
    assert found == {"variables/0": "conv/k", "_all_variables/3": f"conv/k/_all_variables/3{VALUE}"}


def test_scalars_keep_their_keys() -> None:
    """Names such as `count` do not say whose they are."""
    assert names_of({"keras_api/metrics/0/count": "count"}, scalars=["keras_api/metrics/0/count"]) == {
        "keras_api/metrics/0/count": f"keras_api/metrics/0/count{VALUE}"
    }


def test_a_name_that_is_another_s_key_is_not_taken() -> None:
    found = names_of({"a": f"b{VALUE}", "b": ""})
    assert found == {"a": f"a{VALUE}", "b": f"b{VALUE}"}


def test_a_saved_model_is_its_folder_or_its_graph(tmp_path: Path) -> None:
    folder = tmp_path / "variables"
    folder.mkdir()
    for ending in ("index", "data-00000-of-00001"):
        (folder / f"variables.{ending}").write_bytes((CHECKPOINTS / f"export2.{ending}").read_bytes())
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01\x12\x00")
    for path in (tmp_path, tmp_path / "saved_model.pb", folder, folder / "variables"):
        with open_checkpoint(path) as checkpoint:
            assert_equals(checkpoint, fixture_truth("export2"))


# Frozen graphs.

FROZEN = DATA / "readers" / "frozen.pb"


def test_constants_are_what_tensorflow_reads() -> None:
    """Of every type, whole, by one value for all, and through the `Identity` that reads a variable."""
    with open_checkpoint(FROZEN) as checkpoint:
        truth = json.loads(FROZEN.with_suffix(".json").read_text())
        assert_equals(checkpoint, truth)
        assert len(checkpoint) == len(truth) == 51


def test_variables_of_tensorflow_2_have_their_own_names() -> None:
    """The graph calls them by how they are read; the truth is the model's."""
    path = DATA / "readers" / "frozen2.pb"
    truth = json.loads(path.with_suffix(".json").read_text())
    with open_checkpoint(path) as checkpoint:
        assert_equals(checkpoint, truth)
        assert checkpoint.keys() - truth.keys() == {"model/avg_pool/Mean/reduction_indices"}
        assert tensors_of(checkpoint).keys() == truth.keys()  # without the arguments of operators


def named(uses: dict[str, tuple[str, ...]], reads: dict[str, str] | None = None) -> dict[str, str]:
    made = [Use(name, name.rpartition("/")[2], inputs) for name, inputs in uses.items()]
    return variable_names(made, reads or {})


def test_names_by_what_is_done_with_a_variable() -> None:
    read = "ReadVariableOp"
    assert named({"a/Conv2D": ("x", f"a/Conv2D/{read}/resource"), "a/BiasAdd": ("x", f"a/BiasAdd/{read}")}) == {
        f"a/Conv2D/{read}/resource": "a/kernel",
        f"a/BiasAdd/{read}": "a/bias",
    }
    norm = {"n/BatchNorm/FusedBatchNormV3": ("x", f"n/{read}", f"n/{read}_1", "mean", f"n/F/{read}_1")}
    slim = {"c/Conv2D": ("x", "copied"), "c/BiasAdd": ("x", f"c/BiasAdd/{read}")}
    assert named(norm | slim, {"copied": f"c/{read}"}) == {
        f"n/{read}": "n/BatchNorm/gamma",
        f"n/{read}_1": "n/BatchNorm/beta",
        f"n/F/{read}_1": "n/BatchNorm/moving_variance",
        f"c/{read}": "c/weights",
        f"c/BiasAdd/{read}": "c/biases",
    }


def test_a_name_that_is_not_sure_is_not_given() -> None:
    two = {"a/Conv2D": ("x", "a/ReadVariableOp"), "a/MatMul": ("x", "a/ReadVariableOp_1")}
    assert named(two) == {}
    assert named({"Conv2D": ("x", "ReadVariableOp"), "b/Conv2D": ("x",), "c/Conv2D": ("x", "c/kernel")}) == {}


def test_a_graph_that_is_not_frozen_is_told() -> None:
    with pytest.raises(CheckpointError, match="not frozen: its VariableV2 nodes") as caught:
        open_checkpoint(DATA / "readers" / "not_frozen.pb")
    assert "give that checkpoint" in str(caught.value.hint)


def constant(values: bytes, shape: tuple[int, ...], dtype: int = FLOAT) -> bytes:
    tensor = number(1, dtype) + field(2, shape_proto(shape)) + values
    attribute = field(5, field(1, b"value") + field(2, field(8, tensor)))
    return field(1, field(1, b"w") + field(2, b"Const") + attribute)


def test_a_variable_that_kept_its_name_is_not_listed_by_how_it_is_read_too(tmp_path: Path) -> None:
    """`convert_variables_to_constants` leaves TensorFlow 2's reads as an `Identity` each."""
    read = field(1, field(1, b"conv/Conv2D/ReadVariableOp_1") + field(2, b"Identity") + field(3, b"w"))
    path = tmp_path / "graph.pb"
    path.write_bytes(constant(field(4, bytes(12)), (3,)) + read)
    with open_checkpoint(path) as checkpoint:
        assert [*checkpoint] == ["w"]


@pytest.mark.parametrize(
    ("values", "shape", "words"),
    [
        (field(4, bytes(8)), (3,), "8 bytes are stored where the shape asks for 12"),
        (field(5, bytes(16)), (3,), "4 values are stored where the shape asks for 3"),
        (field(5, bytes(7)), (3,), "7 bytes where 2 float32 take 8"),
        (field(5, bytes(4)), (1 << 20, 1 << 10), "a few values claim to fill 4294967296 bytes"),
        (b"", (-1,), "not a list of sizes"),
        (b"", (1 << 40, 1 << 40), "larger than any memory"),
    ],
)
def test_a_wrong_constant_is_refused(values: bytes, shape: tuple[int, ...], words: str, tmp_path: Path) -> None:
    path = tmp_path / "graph.pb"
    path.write_bytes(constant(values, shape))
    assert is_frozen_graph(path)
    with pytest.raises(CheckpointError, match=words), open_checkpoint(path) as checkpoint:
        checkpoint["w"]


@pytest.mark.parametrize(
    ("values", "expected"), [(b"", [0, 0, 0]), (field(5, np.float32([1, 2]).tobytes()), [1, 2, 2])]
)
def test_the_last_value_stands_for_what_follows(values: bytes, expected: list[int], tmp_path: Path) -> None:
    (tmp_path / "graph.pb").write_bytes(constant(values, (3,)))
    with open_checkpoint(tmp_path / "graph.pb") as checkpoint:
        assert checkpoint["w"].tolist() == expected
