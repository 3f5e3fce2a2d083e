"""A right checkpoint of every format and variant, as the bytes of its files."""

import io
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from support.damage import Files
from support.onnx_files import model, tensors, write_external

DATA = Path(__file__).resolve().parents[1] / "data"


@dataclass(frozen=True)
class Seed:
    """A right checkpoint: its files by name, and the name that the reader is given."""

    opens: str
    files: Files

    def write(self, folder: Path) -> Path:
        """Put the files into a folder; the path to open."""
        for name, data in self.files.items():
            (folder / name).write_bytes(data)
        return folder / self.opens


def tensorflow(opens: str) -> Seed:
    """A fixture with every file there that is of that name or goes on with ``.`` or ``-``."""
    patterns = [opens, *(f"{opens}{mark}*" for mark in ".-")]
    found = {file.name: file.read_bytes() for pattern in patterns for file in (DATA / "checkpoints").glob(pattern)}
    return Seed(opens, {name: data for name, data in sorted(found.items()) if not name.endswith(".json")})


def single_file(name: str) -> Seed:
    """A fixture of another reader."""
    return Seed(name, {name: (DATA / "readers" / name).read_bytes()})


def keras3_weights() -> Seed:
    """The weights in an archive of Keras 3, as `save_weights` writes them."""
    with zipfile.ZipFile(DATA / "readers" / "keras315.keras") as archive:
        return Seed("a.weights.h5", {"a.weights.h5": archive.read("model.weights.h5")})


def sharded_safetensors() -> Seed:
    """An index and its shards."""
    files = sorted((DATA / "readers").glob("sharded*"))
    return Seed("sharded.safetensors.index.json", {file.name: file.read_bytes() for file in files})


ARRAYS = {"f": np.asfortranarray(np.eye(3)), "i": np.arange(300), "s": np.array(["text"]), "b": np.ones(4, bool)}


def npz(name: str = "a.npz", *, compressed: bool = False) -> Seed:
    """An archive of arrays of several dtypes and orders."""
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **ARRAYS)
    return Seed(name, {name: file.getvalue()})


def onnx(*, external: bool = False) -> Seed:
    """A model that holds its tensors itself, or has them in a file beside it."""
    if not external:
        return Seed("embedded.onnx", {"embedded.onnx": model(tensors()).SerializeToString()})
    with tempfile.TemporaryDirectory() as folder:
        path = write_external(Path(folder))
        return Seed(path.name, {file.name: file.read_bytes() for file in sorted(path.parent.iterdir())})
