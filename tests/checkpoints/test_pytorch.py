import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import torch_files as forge
from support.truths import assert_equals

from resnet_compile.checkpoints.formats import open_checkpoint
from resnet_compile.checkpoints.torch.file import PickleCheckpoint, PyTorchCheckpoint, is_pickle, is_pytorch
from resnet_compile.errors import CheckpointError

DATA = Path(__file__).parents[1] / "data" / "readers"
TRUTHS: dict[str, dict[str, Any]] = {
    name: tensors
    for name, tensors in json.loads((DATA / "torch.json").read_text()).items()
    if name.endswith((".pth", ".pt", ".pkl"))
}


@pytest.mark.parametrize("file", TRUTHS)
def test_equals_what_pytorch_reads(file: str) -> None:
    assert (is_pytorch if file.endswith(("pth", "pt")) else is_pickle)(DATA / file)
    with open_checkpoint(DATA / file) as checkpoint:
        assert list(checkpoint) == list(TRUTHS[file])
        assert checkpoint.warnings == ()
        assert_equals(checkpoint, TRUTHS[file])


def test_every_dtype_is_in_the_fixtures() -> None:
    assert len({tensor["dtype"] for tensor in TRUTHS["dtypes.pth"].values()}) == 20


def test_what_a_file_names_beside_tensors() -> None:
    with PyTorchCheckpoint(DATA / "trainer.pth") as checkpoint:
        assert {"argparse.Namespace", "collections.Counter", "datetime.datetime"} <= set(checkpoint.objects)
    assert PyTorchCheckpoint(DATA / "state_dict.pth").objects == ()


@pytest.mark.parametrize(
    ("name", "kind", "shape", "advice"),
    [
        ("quantised", "quantised", (2, 2), "dequantize"),
        ("coordinates", "sparse", (3, 3), "to_dense"),
        ("rows", "sparse", (3, 3), "to_dense"),
        ("meta", "without values", (3,), "load the weights"),
        ("conjugated", "conjugated or negated complex64", (2,), "resolve_conj"),
    ],
)
def test_tensors_that_are_told_of_and_not_read(name: str, kind: str, shape: tuple[int, ...], advice: str) -> None:
    with PyTorchCheckpoint(DATA / "other.pth") as checkpoint:
        unread = checkpoint.unread[name]
        assert (unread.kind, unread.shape, name in checkpoint) == (kind, shape, False)
        with pytest.raises(CheckpointError, match=f"the tensor is {kind}, which is not supported") as caught:
            checkpoint[name]
        assert advice in str(caught.value.hint)
        assert checkpoint["plain"].tolist() == [1, 1]


def test_one_tensor_under_two_names_has_one_place(tmp_path: Path) -> None:
    other = forge.tensor(forge.storage("0", 12), (2,), (1,))
    same = forge.program(forge.mapping({"a": forge.WHOLE, "b": forge.WHOLE, "c": other}))
    with PyTorchCheckpoint(forge.write(tmp_path / "a", same)) as checkpoint:
        assert checkpoint.info("a").place == checkpoint.info("b").place != checkpoint.info("c").place


def test_tensors_are_views() -> None:
    with PyTorchCheckpoint(DATA / "views.pth") as checkpoint:
        whole, transposed = checkpoint["whole"], checkpoint["transposed"]
        assert np.shares_memory(whole, transposed)
        assert checkpoint["channels_last"].strides != np.zeros((2, 3, 4, 5), np.float32).strides
    assert not whole.flags.writeable
    assert transposed[1, 2] == 9


def test_protocol_of_other_writers(tmp_path: Path) -> None:
    """Records that were compressed again, and a tensor by the function of the first versions."""
    first = forge.call(
        forge.name("torch._utils", "_rebuild_tensor"),
        *(forge.storage("0", 12), forge.number(2), forge.numbers(5), forge.numbers(2)),
    )
    path = forge.write(tmp_path / "a", forge.state_dict(first))
    again = tmp_path / "b"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(again, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info))
    for file in (path, again):
        assert PyTorchCheckpoint(file)["w"].tolist() == [2, 4, 6, 8, 10]


def legacy(body: bytes, keys: bytes, storages: bytes) -> bytes:
    head = forge.number(0x1950A86A20F9469CFC6C), forge.number(1001), forge.mapping({"little_endian": b"\x88"})
    return b"".join(map(forge.program, (*head, body, keys))) + storages


ELEMENTS = (12).to_bytes(8, "little") + np.arange(12, dtype=np.float32).tobytes()
KEYS = b"]" + forge.text("0") + b"a"


def test_before_1_6(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(legacy(forge.mapping({"w": forge.WHOLE}), KEYS, ELEMENTS))
    with PyTorchCheckpoint(tmp_path / "a") as checkpoint:
        assert checkpoint["w"].tolist() == np.arange(12.0).reshape(3, 4).tolist()
    view = forge.sequence(forge.text("1"), forge.number(4), forge.number(6))
    part = forge.sequence(
        *(forge.text("storage"), forge.name("torch", "FloatStorage"), forge.text("0"), forge.text("cpu")),
        *(forge.number(12), view),
    )
    (tmp_path / "a").write_bytes(legacy(forge.mapping({"w": forge.tensor(part + b"Q", (3,), (2,))}), KEYS, ELEMENTS))
    assert PyTorchCheckpoint(tmp_path / "a")["w"].tolist() == [4, 6, 8]


@pytest.mark.parametrize(
    ("keys", "storages", "message"),
    [
        (b"]", b"", "storage is missing"),
        (b"]", ELEMENTS, "bytes after the last storage"),
        (KEYS, b"", "storage's size is outside"),
        (KEYS, ELEMENTS[:-1], "a storage is outside"),
        (KEYS, ELEMENTS + b"x", "bytes after the last storage"),
        (KEYS, b"\xff" * 8 + ELEMENTS[8:], "is outside"),
        (KEYS, (1 << 62).to_bytes(8, "little") + ELEMENTS[8:], "is outside"),
        (KEYS, (11).to_bytes(8, "little") + ELEMENTS[8:-4], "claims 12 elements"),
        (b"](" + forge.text("0") * 2 + b"e", ELEMENTS * 2, "keys of the storages"),
        (b"]" + forge.text("1") + b"a", ELEMENTS, "keys of the storages"),
        (b"]N" + b"a", ELEMENTS, "keys of the storages"),
        (b"}", ELEMENTS, "are not a list"),
    ],
)
def test_damaged_storages_before_1_6(tmp_path: Path, keys: bytes, storages: bytes, message: str) -> None:
    (tmp_path / "a").write_bytes(legacy(forge.mapping({"w": forge.WHOLE}), keys, storages))
    with pytest.raises(CheckpointError, match=message):
        PyTorchCheckpoint(tmp_path / "a")


def bare(path: Path, pickled: bytes) -> PickleCheckpoint:
    path.write_bytes(pickled)
    assert is_pickle(path)
    return PickleCheckpoint(path)


def test_arrays_as_python_2_wrote_them(tmp_path: Path) -> None:
    """Byte strings for text and for data, and mappings from lists of pairs."""

    def short(raw: bytes) -> bytes:
        return b"U" + bytes([len(raw)]) + raw

    kind = forge.name("numpy", "dtype") + forge.sequence(short(b"f4"), b"K\0", b"K\1") + b"R"
    kind += forge.sequence(b"K\3", short(b"<"), b"NNN", b"J\xff\xff\xff\xff" * 2, b"K\0") + b"b"
    array = forge.name("numpy.core.multiarray", "_reconstruct")
    array += forge.sequence(forge.name("numpy", "ndarray"), b"K\0\x85", short(b"b")) + b"R"
    array += forge.sequence(b"K\1", b"K\2\x85", kind, b"\x89", short(np.array([1, -2], "<f4").tobytes())) + b"b"
    pairs = b"](](" + short(b"w") + array + b"ee"
    ordered = forge.name("collections", "OrderedDict") + pairs + b"\x85R"
    with bare(tmp_path / "a", b"\x80\x02}" + short(b"blobs") + ordered + b"s.") as checkpoint:
        assert checkpoint["blobs/w"].tolist() == [1, -2]
        assert list(checkpoint) == ["blobs/w"]


def test_an_array_has_the_bytes_of_its_shape(tmp_path: Path) -> None:
    whole = pickle.dumps({"w": np.arange(300, dtype=np.float32)}, protocol=4)
    assert bare(tmp_path / "a", whole)["w"].shape == (300,)
    with pytest.raises(CheckpointError, match="bytes do not match its shape"):
        bare(
            tmp_path / "a", whole.replace((300).to_bytes(2, "little") + b"\x85", (301).to_bytes(2, "little") + b"\x85")
        )


def test_arrays_of_objects_and_fields_are_passed_over(tmp_path: Path) -> None:
    fields = np.zeros(2, [("a", "f4"), ("b", "i4")])
    value = {"o": np.array([None, "x"], object), "f": fields, "s": np.array(["x"]), "w": np.ones(2)}
    assert list(bare(tmp_path / "a", pickle.dumps(value))) == ["w"]


# Nothing executes.
