"""Throw damaged checkpoints at the readers: nothing but `CheckpointError` may come out, and memory stays bounded.

    python tools/fuzz_readers.py                                  # 20,000 cases for every reader
    python tools/fuzz_readers.py --reader tensorflow_v2 --count 500 --seed 7
    python tools/fuzz_readers.py --reader tensorflow_v2 --case 123   # one case again

A case takes a right checkpoint, damages it one to four times and reads every tensor that the reader lists. Most damage
is blind. The rest knows the format and makes the checksums right again, so that what stands behind them is reached; of
this, a reader may take what still makes sense. Blind damage to a format whose checksums cover everything must never be
taken. Any other exception (`KeyError` for a listed name, `MemoryError` past the bound and warnings among them), and an
array that is not what `info` says, ends the run with exit code 1 and leaves the damaged files in a folder.

A reader of another format is one more row in `READERS`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import resource
import shutil
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support import checkpoint_seeds  # noqa: E402
from support.checkpoint_seeds import Seed, single_file, tensorflow  # noqa: E402
from support.container_damage import reseal_header, reseal_zip  # noqa: E402
from support.damage import BLIND, Damage, Files  # noqa: E402
from support.tensorflow_damage import rebuild_graph, rebuild_table, reseal_block, reseal_data, reseal_graph  # noqa: E402

from resnet_compile.checkpoints.base import Checkpoint  # noqa: E402
from resnet_compile.checkpoints.hdf5.keras import KerasArchive, KerasCheckpoint  # noqa: E402
from resnet_compile.checkpoints.numpy_npz import NpzCheckpoint  # noqa: E402
from resnet_compile.checkpoints.onnx_file import OnnxCheckpoint  # noqa: E402
from resnet_compile.checkpoints.safetensors_file import SafetensorsCheckpoint, ShardedSafetensorsCheckpoint  # noqa: E402
from resnet_compile.checkpoints.tensorflow.frozen import FrozenGraphCheckpoint  # noqa: E402
from resnet_compile.checkpoints.tensorflow.tflite import TensorFlowLiteCheckpoint  # noqa: E402
from resnet_compile.checkpoints.tensorflow.v1 import TensorFlowV1Checkpoint  # noqa: E402
from resnet_compile.checkpoints.tensorflow.v2 import TensorFlowV2Checkpoint  # noqa: E402
from resnet_compile.checkpoints.torch.file import PickleCheckpoint, PyTorchCheckpoint  # noqa: E402
from resnet_compile.errors import CheckpointError  # noqa: E402


@dataclass(frozen=True)
class Reader:
    """One row: how to open, what to damage, and how to damage it behind its checksums.

    Attributes:
        informed: Damage that knows the format and leaves checksums right.
        sealed: Whether checksums and rules cover every byte, so that no blind damage may pass.
    """

    open: Callable[[Path], Checkpoint]
    seeds: Callable[[], Sequence[Seed]]
    informed: Sequence[Damage] = ()
    sealed: bool = False


READERS: dict[str, Reader] = {
    "tensorflow_v1": Reader(
        TensorFlowV1Checkpoint,
        lambda: [*map(tensorflow, ("dt1", "extra1", "shard1", "cross1"))],
        informed=(reseal_block, rebuild_table),
        sealed=True,
    ),
    "tensorflow_v2": Reader(
        TensorFlowV2Checkpoint,
        lambda: [*map(tensorflow, ("dt2", "dt2sn", "extra2", "shard2", "part2"))],
        informed=(reseal_block, rebuild_table, reseal_data),
        sealed=True,
    ),
    "tensorflow_objects": Reader(
        TensorFlowV2Checkpoint,
        lambda: [*map(tensorflow, ("keras2", "slots2", "two2", "export2", "keras3"))],
        informed=(reseal_graph,),
        sealed=True,
    ),
    "tensorflow_frozen": Reader(
        FrozenGraphCheckpoint, lambda: [single_file("frozen.pb"), single_file("frozen2.pb")], informed=(rebuild_graph,)
    ),
    "tensorflow_lite": Reader(
        TensorFlowLiteCheckpoint,
        lambda: [single_file(f"{name}.tflite") for name in ("float32", "float16", "int8")],
    ),
    "npz": Reader(
        NpzCheckpoint,
        lambda: [checkpoint_seeds.npz(compressed=packed) for packed in (False, True)],
        informed=(reseal_zip,),
    ),
    "safetensors": Reader(
        SafetensorsCheckpoint,
        lambda: [*map(single_file, ("dtypes.safetensors", "float4.safetensors", "sharded-00002-of-00002.safetensors"))],
        informed=(reseal_header,),
    ),
    "safetensors_index": Reader(
        ShardedSafetensorsCheckpoint,
        lambda: [checkpoint_seeds.sharded_safetensors()],
    ),
    "pytorch": Reader(
        PyTorchCheckpoint,
        lambda: [
            *map(single_file, ("dtypes.pth", "views.pth", "training.pth", "protocol4.pth", "no_crc.pth", "trainer.pth"))
        ],
        informed=(reseal_zip,),
    ),
    "pytorch_objects": Reader(
        PyTorchCheckpoint,
        lambda: [*map(single_file, ("module.pth", "scripted.pt"))],
        informed=(reseal_zip,),
    ),
    "pytorch_exported": Reader(PyTorchCheckpoint, lambda: [single_file("exported.pt2")], informed=(reseal_zip,)),
    "pytorch_legacy": Reader(PyTorchCheckpoint, lambda: [*map(single_file, ("legacy.pth", "trainer_legacy.pth"))]),
    "pickle": Reader(PickleCheckpoint, lambda: [single_file(f"arrays{number}.pkl") for number in range(6)]),
    "keras_h5": Reader(
        KerasCheckpoint,
        lambda: [
            *map(single_file, ("keras_weights.h5", "keras_model.h5", "keras_nested.h5", "compressed.h5")),
            *(single_file("keras3.weights.h5"), checkpoint_seeds.keras3_weights()),
        ],
    ),
    "keras_archive": Reader(
        KerasArchive,
        lambda: [*map(single_file, ("keras315.keras", "keras33.keras", "averages.keras"))],
        informed=(reseal_zip,),
    ),
    "onnx": Reader(OnnxCheckpoint, lambda: [checkpoint_seeds.onnx(external=beside) for beside in (False, True)]),
}


# The run.


def damaged(rng: random.Random, reader: Reader, seed: Seed) -> tuple[Files, bool]:
    """A seed's files after one case's damage, and whether all of it was blind."""
    files = dict(seed.files)
    blind = not reader.informed or rng.random() < 0.5
    if not blind:
        rng.choice(reader.informed)(rng, files)
    else:
        for _ in range(rng.choice((1, 1, 2, 4))):
            rng.choice(BLIND)(rng, files)
    return files, blind


def read_all(reader: Reader, path: Path) -> None:
    """Read every tensor that the reader lists, and check that it is what the reader says."""
    with reader.open(path) as checkpoint:
        for name in checkpoint:
            array, info = checkpoint[name], checkpoint.info(name)
            kind = "string" if array.dtype.kind in "OSU" else array.dtype.name
            if (array.shape, kind) != (info.shape, info.dtype):
                raise AssertionError(f"{name!r} is {kind} {array.shape}, and {info} was said")
            array.tolist() if kind == "string" else array.tobytes()  # every byte of a view must be there


def write(folder: Path, files: Files) -> None:
    """Make `folder` hold exactly these files; they are overwritten in place, which disks do fastest."""
    for old in folder.iterdir():
        if old.name not in files:
            old.unlink()
    for name, data in files.items():
        handle = os.open(folder / name, os.O_RDWR | os.O_CREAT)
        os.pwrite(handle, data, 0)
        os.ftruncate(handle, len(data))
        os.close(handle)


@contextlib.contextmanager
def kept_on_failure(folder: Path, save: Path, label: str) -> Iterator[None]:
    """Copy the damaged files aside when anything but what the body catches leaves it."""
    passed = False
    try:
        yield
        passed = True
    finally:
        if not passed:
            shutil.copytree(folder, save / label, dirs_exist_ok=True)
            print(f"FAILED: {label}; its files are in {save / label}", file=sys.stderr)


def fuzz(name: str, reader: Reader, cases: range, seed: int, save: Path) -> Counter[str]:
    """Run these cases for one reader; counts of what came out. Raises what should not have."""
    seeds = reader.seeds()
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for start in seeds:  # a seed that cannot be read would prove nothing
            write(folder, start.files)
            read_all(reader, folder / start.opens)
        for case in cases:
            rng = random.Random(f"{seed} {name} {case}")
            start = rng.choice(seeds)
            files, blind = damaged(rng, reader, start)
            write(folder, files)
            with kept_on_failure(folder, save, f"{name}-{seed}-{case}"):
                try:
                    read_all(reader, folder / start.opens)
                except CheckpointError:
                    counts["refused"] += 1
                    continue
                if blind and reader.sealed and files != start.files:
                    raise AssertionError("damage was taken without an error")
                counts["unchanged" if files == start.files else "taken"] += 1
    return counts


def limit_memory(mebibytes: int) -> None:
    """Bound the address space to what it is now and this much more; passing it raises MemoryError."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + (mebibytes << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main() -> None:
    """Run what the command line asks for; a failure's exception ends it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--reader", action="append", choices=sorted(READERS), help="one of them (default: all)")
    parser.add_argument("--count", type=int, default=20_000, help="cases for each reader")
    parser.add_argument("--seed", type=int, default=0, help="of the random damage")
    parser.add_argument("--case", type=int, help="run this case only")
    parser.add_argument("--memory", type=int, default=256, help="MiB of address space beyond the start's")
    parser.add_argument("--save", type=Path, default=Path("fuzz-failures"), help="folder for the files of a failure")
    options = parser.parse_args()
    warnings.simplefilter("error")
    limit_memory(options.memory)
    cases = range(options.count) if options.case is None else range(options.case, options.case + 1)
    for name in options.reader or READERS:
        counts = fuzz(name, READERS[name], cases, options.seed, options.save)
        print(f"{name}: {len(cases)} cases, " + ", ".join(f"{count} {what}" for what, count in sorted(counts.items())))


if __name__ == "__main__":
    main()
