"""What every reader promises, over one small checkpoint of every format and variant."""

import gc
import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from support import checkpoint_seeds as seeds
from support.checkpoint_seeds import Seed
from support.damage import BLIND
from support.memory import memory_below
from support.onnx_files import tensors
from support.tensorflow_files import fixture_truth

from resnet_compile.checkpoints.base import Checkpoint
from resnet_compile.checkpoints.formats import FORMATS, CheckpointFormat, is_checkpoint, open_checkpoint
from resnet_compile.errors import CheckpointError

TORCH = json.loads((seeds.DATA / "readers" / "torch.json").read_text())
EXPORTED = json.loads((seeds.DATA / "readers" / "exported.json").read_text())
LITE = json.loads((seeds.DATA / "readers" / "tflite.json").read_text())
FROZEN = json.loads((seeds.DATA / "readers" / "frozen.json").read_text())
# By the keys, which are paths through objects.
OBJECTS = [
    "_CHECKPOINTABLE_OBJECT_GRAPH",
    "conv1_conv/kernel",
    "conv1_conv/kernel/.OPTIMIZER_SLOT/optimizer/momentum",
    "conv1_bn/beta",
    "conv1_bn/beta/.OPTIMIZER_SLOT/optimizer/momentum",
    "conv1_bn/gamma",
    "conv1_bn/gamma/.OPTIMIZER_SLOT/optimizer/momentum",
    "conv1_bn/moving_mean",
    "conv1_bn/moving_variance",
    "predictions/bias",
    "predictions/bias/.OPTIMIZER_SLOT/optimizer/momentum",
    "predictions/kernel",
    "predictions/kernel/.OPTIMIZER_SLOT/optimizer/momentum",
    *(f"{name}/.ATTRIBUTES/VARIABLE_VALUE" for name in ("optimizer/decay", "optimizer/iter")),
    *(f"{name}/.ATTRIBUTES/VARIABLE_VALUE" for name in ("optimizer/learning_rate", "optimizer/momentum")),
    "save_counter/.ATTRIBUTES/VARIABLE_VALUE",
]
KERAS = json.loads((seeds.DATA / "readers" / "keras.json").read_text())
SHARDED = seeds.sharded_safetensors()


@dataclass(frozen=True)
class Variant:
    """One row: the format that takes it, its files, and the names of its tensors in the file's order.

    Attributes:
        given: The files read, the first the one that is named; in the order of their names where that is it.
        may_end: Whether a file that ends early can be a right one of fewer tensors, as protobuf's messages can.
    """

    format: str
    seed: Seed
    names: Sequence[str]
    given: Sequence[str] = ()
    may_end: bool = False


def tensorflow(version: int, fixture: str, given: Sequence[str] = (), truth: str | None = None) -> Variant:
    """Both formats are sorted by names."""
    seed = seeds.tensorflow(fixture)
    return Variant(f"TensorFlow V{version} checkpoint", seed, sorted(fixture_truth(truth or fixture)), given)


def torch(name: str, kind: str = "PyTorch") -> Variant:
    return Variant(kind, seeds.single_file(name), list(TORCH[name]))


def bundle(fixture: str, shards: int = 1, truth: str | None = None) -> Variant:
    data = [f"{fixture}.data-{shard:05}-of-{shards:05}" for shard in range(shards)]
    return tensorflow(2, fixture, [f"{fixture}.index", *data], truth)


KERAS3_NORM = ("gamma", "beta", "moving_mean", "moving_variance")
KERAS3_NAMES = [
    *(f"norm/{word}" for word in KERAS3_NORM),
    *("scores/kernel", "scores/bias"),
    *(f"backbone/conv1_bn/{word}" for word in KERAS3_NORM[1:]),
    *("backbone/conv1_conv/kernel", "backbone/conv1_conv/bias"),
    *("optimizer/0", "optimizer/1"),
]
ONNX_NAMES = [*(tensor.name for tensor in tensors()), "weights"]


def numbered(name: str) -> str:
    """Without a model's configuration three variables of a norm are any three."""
    scope, _, word = name.rpartition("/")
    return f"{scope}/{KERAS3_NORM.index(word) - 1}" if scope.endswith("conv1_bn") else name


VARIANTS = {
    "V1": tensorflow(1, "dt1"),
    "V1 sharded": tensorflow(1, "shard1"),
    "V1 partitioned": tensorflow(1, "part1"),
    "V1 partitioned over shards": tensorflow(1, "cross1"),
    "V2": bundle("dt2"),
    "V2 with Snappy": bundle("dt2sn", truth="dt2"),
    "V2 sharded": bundle("shard2", 3),
    "V2 partitioned": bundle("part2"),
    "V2 of objects": Variant(
        "TensorFlow V2 checkpoint",
        seeds.tensorflow("slots2"),
        OBJECTS,
        ["slots2.index", "slots2.data-00000-of-00001"],
    ),
    "frozen graph": Variant("TensorFlow frozen graph", seeds.single_file("frozen.pb"), list(FROZEN), may_end=True),
    "TensorFlow Lite": Variant(
        "TensorFlow Lite", seeds.single_file("float32.tflite"), list(LITE["float32.tflite"]), may_end=True
    ),
    "TensorFlow Lite in half precision": Variant(
        "TensorFlow Lite", seeds.single_file("float16.tflite"), list(LITE["float16.tflite"]), may_end=True
    ),
    "run": Variant("training run", seeds.npz("checkpoint-00000012.npz"), list(seeds.ARRAYS)),
    "npz": Variant("NumPy npz", seeds.npz(), list(seeds.ARRAYS)),
    "npz compressed": Variant("NumPy npz", seeds.npz(compressed=True), list(seeds.ARRAYS)),
    "PyTorch": torch("dtypes.pth"),
    "PyTorch training": torch("training.pth"),
    "PyTorch of a trainer": torch("trainer.pth"),
    "PyTorch before 1.6": torch("trainer_legacy.pth"),
    "PyTorch module": torch("module.pth"),
    "TorchScript": torch("scripted.pt"),
    "torch.export": Variant("PyTorch", seeds.single_file("exported.pt2"), list(EXPORTED["exported.pt2"])),
    **{f"pickle of protocol {number}": torch(f"arrays{number}.pkl", "pickle") for number in (0, 2, 4, 5)},
    "PyTorch without CRC": torch("no_crc.pth"),
    "safetensors": Variant("safetensors", seeds.single_file("dtypes.safetensors"), list(TORCH["dtypes.safetensors"])),
    "safetensors sharded": Variant(
        "safetensors, sharded",
        SHARDED,
        list(json.loads(SHARDED.files[SHARDED.opens])["weight_map"]),
        [SHARDED.opens, "sharded-00001-of-00002.safetensors", "sharded-00002-of-00002.safetensors"],
    ),
    "Keras": Variant("Keras HDF5", seeds.single_file("keras_weights.h5"), list(KERAS["keras_weights.h5"])),
    "Keras model": Variant("Keras HDF5", seeds.single_file("keras_model.h5"), list(KERAS["keras_model.h5"])),
    "Keras compressed": Variant("Keras HDF5", seeds.single_file("compressed.h5"), list(KERAS["compressed.h5"])),
    "Keras 3 weights": Variant("Keras HDF5", seeds.keras3_weights(), [*map(numbered, KERAS3_NAMES)]),
    "Keras 3 archive": Variant("Keras archive", seeds.single_file("keras315.keras"), KERAS3_NAMES),
    "Keras 3.3 archive": Variant(
        "Keras archive",
        seeds.single_file("keras33.keras"),
        [name for name in KERAS3_NAMES if name != "scores/bias"],
    ),
    "ONNX": Variant("ONNX", seeds.onnx(), ONNX_NAMES, may_end=True),
    "ONNX external": Variant(
        "ONNX", seeds.onnx(external=True), ONNX_NAMES, ["external.onnx", "external.data"], may_end=True
    ),
}


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> Variant:
    return VARIANTS[request.param]


@pytest.fixture
def path(variant: Variant, tmp_path: Path) -> Path:
    """What to open: the files are alone in their folder, which is itself what is opened of a training run."""
    place = variant.seed.write(tmp_path)
    return tmp_path if variant.format == "training run" else place


def contents(checkpoint: Checkpoint) -> dict[str, object]:
    """Every tensor's type and bytes, checked against what `info` says; strings as a list, since theirs are pointers."""
    found: dict[str, object] = {}
    for name in checkpoint:
        array, info = checkpoint[name], checkpoint.info(name)
        kind = "string" if array.dtype.kind in "OSU" else array.dtype.name
        assert (info.dtype, info.shape) == (kind, array.shape), name
        assert info.nbytes == (None if kind == "string" else array.nbytes)
        found[name] = kind, array.shape, array.tolist() if kind == "string" else array.tobytes()
    return found


def test_every_format_is_here() -> None:
    assert {row.name for row in FORMATS} == {variant.format for variant in VARIANTS.values()}


def test_exactly_its_own_format_takes_it(variant: Variant, path: Path) -> None:
    assert [row.name for row in FORMATS if row.matches(path)] == [variant.format]
    assert is_checkpoint(path)
    assert is_checkpoint(str(path))
    with open_checkpoint(str(path)) as checkpoint:
        assert checkpoint.format == ("NumPy npz" if variant.format == "training run" else variant.format)


def test_it_is_a_mapping_in_the_order_of_the_file(variant: Variant, path: Path) -> None:
    with open_checkpoint(path) as checkpoint:
        assert list(checkpoint) == list(variant.names)
        assert len(checkpoint) == len(variant.names)
        assert all(name in checkpoint for name in variant.names)
        assert list(contents(checkpoint)) == list(variant.names)


def test_unknown_names(path: Path) -> None:
    with open_checkpoint(path) as checkpoint:
        for unknown in ("nothing", "", "\0"):
            assert unknown not in checkpoint
            with pytest.raises(KeyError):
                checkpoint[unknown]
            with pytest.raises(KeyError):
                checkpoint.info(unknown)
        assert 3 not in checkpoint


def test_asking_for_a_name_reads_no_values(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_checkpoint(path) as checkpoint:
        monkeypatch.setattr(type(checkpoint), "_read", lambda *_: pytest.fail("values were read"))
        assert all(name in checkpoint and checkpoint.info(name) for name in checkpoint)


def test_arrays_outlive_the_checkpoint_and_its_files(path: Path, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(path)
    truth = contents(checkpoint)
    arrays = {name: checkpoint[name] for name in checkpoint}
    checkpoint.close()
    checkpoint.close()
    for name in truth:  # a reader may keep what it has looked up, but must not give it
        with pytest.raises(CheckpointError, match="closed"):
            checkpoint[name]
    with pytest.raises(KeyError):
        checkpoint["nothing"]
    assert list(checkpoint) == list(truth)
    del checkpoint
    for file in tmp_path.iterdir():
        file.unlink()
    gc.collect()
    for name, (kind, shape, values) in truth.items():
        array = arrays[name]
        assert (array.shape, array.tolist() if kind == "string" else array.tobytes()) == (shape, values)


def test_files_and_digests(variant: Variant, path: Path, tmp_path: Path) -> None:
    given = variant.given or sorted(variant.seed.files)
    sums = {name: hashlib.sha256(variant.seed.files[name]).hexdigest() for name in given}
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.files == tuple(tmp_path / name for name in given)
        assert checkpoint.digests() == (json.dumps(sums) if len(sums) > 1 else sums[given[0]])


def read_damaged(variant: Variant, path: Path) -> dict[str, object] | str:
    """What its own reader finds in a damaged checkpoint, or the error with which it is refused, at whatever point."""
    (row,) = (row for row in FORMATS if row.name == variant.format)
    try:
        with row.open(path) as checkpoint:
            return contents(checkpoint)
    except CheckpointError as error:
        return str(error)


def test_truncation_is_refused(variant: Variant, path: Path, tmp_path: Path) -> None:
    """Each file cut off at its ends and at places all over it."""
    truth = read_damaged(variant, path)
    assert isinstance(truth, dict)
    rng = random.Random(path.name)
    refused = tried = 0
    for name, data in variant.seed.files.items():
        sizes = {0, 1, len(data) - 1, *rng.sample(range(len(data)), min(160, len(data)))}
        for size in sorted(sizes, reverse=True):
            (tmp_path / name).write_bytes(data[:size])
            found = read_damaged(variant, path)
            tried += 1
            if isinstance(found, str):
                refused += 1
                assert found.isprintable()
            else:
                assert variant.may_end, f"{name} of {size} bytes was taken"
                assert found.items() <= truth.items()  # what is listed is whole
        (tmp_path / name).write_bytes(data)
    assert refused > 0.9 * tried
    assert read_damaged(variant, path) == truth


def test_damage_is_bounded(variant: Variant, path: Path, tmp_path: Path) -> None:
    """Whatever blind damage makes of the files, nothing but `CheckpointError` comes out, and memory stays small."""
    rng = random.Random(path.name)
    with memory_below(32 << 20):
        found = []
        for _ in range(40):
            files = dict(variant.seed.files)
            rng.choice(BLIND)(rng, files)
            for name, data in files.items():
                (tmp_path / name).write_bytes(data)
            found.append(read_damaged(variant, path))
        assert any(isinstance(result, str) for result in found)


@pytest.mark.parametrize("row", FORMATS, ids=lambda row: row.name)
@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "text", "no path"])
def test_what_is_of_no_format(row: CheckpointFormat, kind: str, tmp_path: Path) -> None:
    path = tmp_path / ("a\0b" if kind == "no path" else "a")
    if kind == "folder":
        path.mkdir()
    elif kind in ("empty", "text"):
        path.write_bytes(b"" if kind == "empty" else b"weights" * 100)
    assert not row.matches(path)
    with pytest.raises(CheckpointError) as caught:
        row.open(path)
    assert str(caught.value).isprintable()
    assert not is_checkpoint(path)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    assert caught.value.message == {
        "folder": "a folder without a checkpoint in it",
        "empty": "an empty file",
        "text": "not a checkpoint of a known format",
    }.get(kind, "no such checkpoint")
    if kind == "text":
        assert row.name in str(caught.value.hint)


def test_another_format_is_refused(path: Path, variant: Variant) -> None:
    """Every reader, given a checkpoint of each other one."""
    for row in FORMATS:
        if row.name != variant.format and {row.name, variant.format} != {"NumPy npz", "training run"}:
            with pytest.raises(CheckpointError):
                row.open(path)


def test_arrays_do_not_depend_on_the_order_of_look_ups(path: Path) -> None:
    with open_checkpoint(path) as first, open_checkpoint(path) as second:
        forward = {name: np.array(first[name]) for name in first}
        for name in reversed(list(second)):
            np.testing.assert_array_equal(second[name], forward[name])
