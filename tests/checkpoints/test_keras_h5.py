import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from support.damage import patched
from support.memory import memory_below
from support.truths import assert_equals

from resnet_compile.checkpoints.base import Unread
from resnet_compile.checkpoints.checked_file import CheckedFile
from resnet_compile.checkpoints.hdf5.file import MAX_RECORDS, Hdf5File
from resnet_compile.checkpoints.hdf5.keras import KerasCheckpoint, is_keras_h5
from resnet_compile.errors import CheckpointError

DATA = Path(__file__).parents[1] / "data" / "readers"
TRUTHS: dict[str, dict[str, Any]] = json.loads((DATA / "keras.json").read_text())
KERNEL = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def write(path: Path, fill: Callable[[h5py.Group], object], **options: Any) -> Path:
    """A file with the layer `conv`, whose only tensor is what `fill` puts at `conv/kernel:0` in its group."""
    with h5py.File(path, "w", **options) as file:
        file.attrs["layer_names"] = np.array([b"conv"])
        layer = file.create_group("conv")
        layer.attrs["weight_names"] = np.array([b"conv/kernel:0"])
        fill(layer)
    return path


def plain(layer: h5py.Group) -> None:
    layer["conv/kernel:0"] = KERNEL


@pytest.mark.parametrize("file", TRUTHS)
def test_equals_what_keras_reads(file: str) -> None:
    assert is_keras_h5(DATA / file)
    with KerasCheckpoint(DATA / file) as checkpoint:
        assert checkpoint.keys() == TRUTHS[file].keys()
        assert_equals(checkpoint, TRUTHS[file])


def test_names_are_in_the_order_of_the_layers() -> None:
    names = list(KerasCheckpoint(DATA / "keras_weights.h5"))
    assert names[:3] == ["conv1_conv/kernel", "conv1_bn/gamma", "conv1_bn/beta"]
    assert names[-2:] == ["predictions/kernel", "predictions/bias"]
    assert "backbone/conv1_conv/kernel" in KerasCheckpoint(DATA / "keras_nested.h5")


def test_tensors_are_views() -> None:
    with KerasCheckpoint(DATA / "keras_weights.h5") as checkpoint:
        kernel = checkpoint["conv1_conv/kernel"]
    assert not kernel.flags.owndata
    assert not kernel.flags.writeable
    assert kernel.sum() != 0


def test_h5py_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert len(KerasCheckpoint(DATA / "keras_weights.h5")) == 7


@pytest.mark.parametrize(
    "dtype", ["<f2", "<f4", "<f8", ">f4", ">i8", "i1", "u1", "<i2", "<i4", "<i8", "<u2", "<u4", "<u8"]
)
@pytest.mark.parametrize(
    "storage",
    [
        {},
        {"chunks": (1, 2, 3)},
        {"chunks": (2, 2, 3), "compression": "gzip"},
        {"chunks": (2, 3, 4), "shuffle": True},
        {"chunks": (1, 3, 3), "compression": "gzip", "shuffle": True},
        {"chunks": (4, 5, 6), "maxshape": (None, None, None)},
    ],
)
def test_equals_what_h5py_reads(tmp_path: Path, dtype: str, storage: dict[str, Any]) -> None:
    data = KERNEL.astype(dtype)
    path = write(tmp_path / "a", lambda layer: layer.create_dataset("conv/kernel:0", data=data, **storage))
    array = KerasCheckpoint(path)["conv/kernel"]
    np.testing.assert_array_equal(array, data)
    assert array.dtype.isnative
    assert KerasCheckpoint(path).info("conv/kernel").dtype == data.dtype.name == array.dtype.name


@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (2, 1, 1, 1, 1, 2)])
def test_shapes(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = write(tmp_path / "a", lambda layer: layer.create_dataset("conv/kernel:0", data=np.ones(shape, "f4")))
    assert KerasCheckpoint(path)["conv/kernel"].tolist() == np.ones(shape).tolist()


def test_large_groups_and_lists_of_names(tmp_path: Path) -> None:
    """B-trees of several levels, headers with continuations, and names in parts, as Keras writes lists over 64 KiB."""
    names = [f"layer_{index:04}_{'x' * 40}" for index in range(1500)]
    with h5py.File(tmp_path / "a", "w") as file:
        parts = np.array_split(np.array([name.encode() for name in names]), 3)
        for index, part in enumerate(parts):
            file.attrs[f"layer_names{index}"] = part
        for index, name in enumerate(names):
            layer = file.create_group(name)
            layer.attrs["weight_names"] = [f"{name}/w:0"]  # of variable length
            layer[f"{name}/w:0"] = np.float32(index)
    checkpoint = KerasCheckpoint(tmp_path / "a")
    assert list(checkpoint) == [f"{name}/w" for name in names]
    assert [float(array) for array in checkpoint.values()] == list(range(1500))


def test_names_that_do_not_repeat_the_layer(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a", "w") as file:
        file.attrs["layer_names"] = np.array([b"outer/conv", b"relu"])
        layer = file.create_group("outer/conv")
        layer.attrs["weight_names"] = np.array([b"kernel:0", b"outer/conv/bias:0", b"inner/gamma"])
        for index, name in enumerate(["kernel:0", "outer/conv/bias:0", "inner/gamma"]):
            layer[name] = float(index)
        file.create_group("relu").attrs["weight_names"] = np.array([])
        top = file.create_group("top_level_model_weights")
        top.attrs["weight_names"] = np.array([b"scale:0"])
        top["scale:0"] = 3.0
    found = {name: float(array) for name, array in KerasCheckpoint(tmp_path / "a").items()}
    assert found == {
        "outer/conv/kernel": 0,
        "outer/conv/bias": 1,
        "outer/conv/inner/gamma": 2,
        "top_level_model_weights/scale": 3,
    }


# Nothing but the file itself is read.


def virtual(layer: h5py.Group) -> None:
    layout = h5py.VirtualLayout((10,), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "x", (10,))
    layer.create_virtual_dataset("conv/kernel:0", layout)


@pytest.mark.parametrize("latest", [False, True])
@pytest.mark.parametrize(
    "fill",
    [
        lambda layer: layer.create_dataset("conv/kernel:0", (10,), "f8", external=[("other.bin", 0, 80)]),
        lambda layer: layer.update({"conv/kernel:0": h5py.ExternalLink("other.h5", "/x")}),
        lambda layer: layer.update({"conv/kernel:0": h5py.SoftLink("/conv/elsewhere"), "elsewhere": KERNEL}),
        lambda layer: layer.file.update({"conv2": layer, "conv3": h5py.ExternalLink("other.h5", "/")}),
        virtual,
    ],
)
def test_what_leads_elsewhere_is_refused(tmp_path: Path, fill: Any, latest: bool) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["x"] = np.arange(10.0)
    (tmp_path / "other.bin").write_bytes(np.arange(10.0).tobytes())
    path = write(tmp_path / "a", fill, **({"libver": "latest"} if latest else {}))
    opened: list[str] = []
    watching = [True]

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event == "open":
            opened.append(str(arguments[0]))

    sys.addaudithook(watch)  # which can never be removed
    try:
        with pytest.raises(CheckpointError, match=r"refused|neither contiguous|newer|version|no such object"):
            KerasCheckpoint(path)
    finally:
        watching.clear()
    assert opened
    assert not [name for name in opened if "other" in name]


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (lambda layer: None, "no such object"),
        (lambda layer: layer.create_group("conv/kernel:0"), "no dataset"),
        (
            lambda layer: layer.create_dataset("conv/kernel:0", data=h5py.Empty("f4")),
            "no plain numbers|the dataset has",
        ),
        (lambda layer: layer.create_dataset("conv/kernel:0", (1 << 50,), "f4"), "outside the file"),
        (
            lambda layer: layer.create_dataset("conv/kernel:0", (1 << 50,), "f4", chunks=(1 << 20,)),
            "outside|do not tile",
        ),
        (lambda layer: layer.create_dataset("conv/kernel:0", data=KERNEL, fletcher32=True), "other filters"),
        (lambda layer: layer.create_dataset("conv/kernel:0", data=KERNEL, compression="lzf"), "other filters"),
        (lambda layer: layer.create_dataset("conv/kernel:0", data=KERNEL, scaleoffset=2), "other filters"),
    ],
)
def test_datasets_that_are_refused(tmp_path: Path, fill: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        KerasCheckpoint(write(tmp_path / "a", fill))


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (np.bytes_(b"text"), "string"),
        (["a", "b"], "variable length"),
        (np.ones(3, bool), "enumeration"),
        (np.ones(3, "c8"), "compound"),
        (np.ones(3, "V2"), "opaque"),
    ],
)
def test_types_that_are_not_read_are_listed(tmp_path: Path, data: Any, kind: str) -> None:
    path = write(tmp_path / "a", lambda layer: layer.create_dataset("conv/kernel:0", data=data))
    checkpoint = KerasCheckpoint(path)
    assert (list(checkpoint), checkpoint.unread) == ([], {"conv/kernel": Unread(f"of type {kind}", np.shape(data))})
    with pytest.raises(CheckpointError, match=f"the tensor is of type {kind}, which is not supported"):
        checkpoint["conv/kernel"]


def test_chunks_that_were_never_written(tmp_path: Path) -> None:
    def part(layer: h5py.Group) -> None:
        layer.create_dataset("conv/kernel:0", (4,), "f4", chunks=(2,))[:2] = 1

    with pytest.raises(CheckpointError, match="do not tile"):
        KerasCheckpoint(write(tmp_path / "a", part))


def test_one_dataset_under_two_names(tmp_path: Path) -> None:
    def twice(layer: h5py.Group) -> None:
        plain(layer)
        layer["again"] = layer["conv/kernel:0"]
        layer.attrs["weight_names"] = np.array([b"conv/kernel:0", b"again"])

    with pytest.raises(CheckpointError, match="shares its bytes with another"):
        KerasCheckpoint(write(tmp_path / "a", twice))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (np.array([b"conv/kernel:0", b"conv/kernel:0"]), "two tensors have the same name"),
        (np.array([b"conv/kernel:0", b"conv/kernel"]), "no such object"),
        (np.array([b"conv//kernel:0"]), "no such object"),
        (np.array([b"../conv/kernel:0"]), "no such object"),
        (np.array([b"\xff"]), "not UTF-8"),
        (np.array([1.0]), "not a list of strings"),
        (np.array([[b"conv/kernel:0"]]), "not a list of strings"),
        ("conv/kernel:0", "not a list of strings"),
        (None, "has no weight_names"),
    ],
)
def test_damaged_lists_of_names(tmp_path: Path, names: Any, message: str) -> None:
    def fill(layer: h5py.Group) -> None:
        plain(layer)
        del layer.attrs["weight_names"]
        if names is not None:
            layer.attrs["weight_names"] = names

    with pytest.raises(CheckpointError, match=message):
        KerasCheckpoint(write(tmp_path / "a", fill))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"libver": "latest"}, "classic layout"),
        ({"userblock_size": 512}, "damaged"),
        ({"track_order": True}, "newer|version"),
    ],
)
def test_files_in_other_layouts(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        KerasCheckpoint(write(tmp_path / "a", plain, **options))


def test_hdf5_that_is_not_of_keras(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a", "w") as file:
        file["x"] = KERNEL
    assert is_keras_h5(tmp_path / "a")
    with pytest.raises(CheckpointError, match="no Keras weights"):
        KerasCheckpoint(tmp_path / "a")


# Damage.


def address_of(path: Path, signature: bytes) -> bytes:
    return struct.pack("<Q", path.read_bytes().index(signature))


@pytest.mark.parametrize(
    ("signature", "offset", "value", "message"),
    [
        (b"\x89HDF", 8, b"\2", "superblock version 2"),
        (b"\x89HDF", 13, b"\4", "superblock is damaged"),
        (b"\x89HDF", 24, b"\1", "user block"),
        (b"\x89HDF", 40, b"\xff\xff\xff\xff", "truncated"),
        (b"\x89HDF", 48, bytes(8), "several parts"),
        (b"\x89HDF", 64, b"\xff" * 8, "outside the file"),
        (b"\x89HDF", 64, bytes(8), "object header version"),
        (b"TREE", 0, b"LEAF", "B-tree node is damaged"),
        (b"TREE", 4, b"\1", "B-tree node is damaged"),
        (b"TREE", 6, b"\xff\xff", "outside the file"),
        (b"TREE", 32, b"\xff" * 8, "outside the file"),
        (b"SNOD", 6, b"\xff\xff", "outside the file"),
        (b"SNOD", 8, b"\xff" * 8, "outside the file"),
        (b"SNOD", 8, b"\1", "no such object"),
        (b"SNOD", 16, b"\xff" * 8, "outside the file"),
        (b"SNOD", 24, b"\2", "soft link"),
        (b"HEAP", 4, b"\1", "local heap is damaged"),
        (b"HEAP", 24, b"\xff" * 8, "outside the file"),
    ],
)
def test_damaged_structure(tmp_path: Path, signature: bytes, offset: int, value: bytes, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        KerasCheckpoint(patched(write(tmp_path / "a", plain), signature, offset, value))


def test_endless_tree(tmp_path: Path) -> None:
    """A node that is its own child, on the same level and on one below."""
    path = write(tmp_path / "a", plain)
    patched(path, b"TREE", 32, address_of(path, b"TREE"))
    with pytest.raises(CheckpointError, match="damaged"):
        KerasCheckpoint(path)
    patched(path, b"TREE", 5, b"\7")
    with pytest.raises(CheckpointError, match="not one level below"):
        KerasCheckpoint(path)


def test_endless_header(tmp_path: Path) -> None:
    """A continuation that leads back to itself ends with the number of messages that the header claims."""
    path = tmp_path / "a"
    superblock = write(path, plain).read_bytes()[:96]
    header = struct.pack("<2BH2I4x", 1, 0, 0xFFFF, 1, 24) + struct.pack("<2HB3x2Q", 0x10, 16, 0, 112, 24)
    body = bytearray(superblock + header)
    body[64:72], body[40:48] = struct.pack("<Q", 96), struct.pack("<Q", 136)
    path.write_bytes(body)
    with pytest.raises(CheckpointError, match="not a group"):
        KerasCheckpoint(path)


def test_work_is_bounded(tmp_path: Path) -> None:
    hdf5 = Hdf5File(CheckedFile(write(tmp_path / "a", plain)))
    hdf5.count(MAX_RECORDS - 100)
    for _ in range(5):
        hdf5.messages(hdf5.root)
    hdf5.count(50)
    with pytest.raises(CheckpointError, match="records"):
        [hdf5.messages(hdf5.root) for _ in range(20)]


def test_many_names_that_are_one_long_string(tmp_path: Path) -> None:
    """4,000 references to one string of a megabyte would be 4 GB of names."""
    path = tmp_path / "a"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["x" * (1 << 20)] + ["y"] * 3999
    raw = bytearray(path.read_bytes())
    long = raw.rindex(b"GCOL", 0, raw.index(b"x" * 100))
    start = raw.index(struct.pack("<IQ", 1 << 20, long))
    reference = bytes(raw[start : start + 16])
    for index in range(4000):
        raw[start + 16 * index : start + 16 * (index + 1)] = reference
    path.write_bytes(raw)
    with memory_below(100 << 20), pytest.raises(CheckpointError, match="records"):
        KerasCheckpoint(path)


@pytest.mark.parametrize("mebibytes", [40, 100])
def test_compressed_zeros(tmp_path: Path, mebibytes: int) -> None:
    """A dataset that grows a thousandfold is read where it is small enough, and is a bomb where it is not."""
    zeros = np.zeros(mebibytes << 20, np.uint8)
    options = {"chunks": (1 << 20,), "compression": "gzip", "compression_opts": 1}
    path = write(tmp_path / "a", lambda layer: layer.create_dataset("conv/kernel:0", data=zeros, **options))
    if mebibytes == 40:
        assert not KerasCheckpoint(path)["conv/kernel"].any()
        return
    with memory_below(4 << 20), pytest.raises(CheckpointError, match="zip bomb"):
        KerasCheckpoint(path)


def test_damaged_chunk(tmp_path: Path) -> None:
    def fill(layer: h5py.Group) -> None:
        layer.create_dataset("conv/kernel:0", data=KERNEL, chunks=KERNEL.shape, compression="gzip")

    path = write(tmp_path / "a", fill)
    with h5py.File(path) as file:
        chunk = file["conv/conv/kernel:0"].id.get_chunk_info(0)
    raw = bytearray(path.read_bytes())
    refused = 0
    for at in range(chunk.byte_offset, chunk.byte_offset + chunk.size):
        raw[at] ^= 16
        path.write_bytes(raw)
        raw[at] ^= 16
        checkpoint = KerasCheckpoint(path)
        try:
            np.testing.assert_array_equal(checkpoint["conv/kernel"], KERNEL)  # the flip met a bit without a meaning
        except CheckpointError:
            refused += 1
    assert refused >= chunk.size - 2
