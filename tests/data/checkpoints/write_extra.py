"""Write `extra*`, `cross1*` and `blocks*` beside this file, with what TensorFlow itself reads back from them.

Written with TensorFlow 2.15::

    python tests/data/checkpoints/write_extra.py

The files that were here before are by TensorFlow's savers, too: `dt*` have a tensor of every common type (`dt2sn` is
`dt2` with its index compressed, as early versions did), `part*` partitioned variables, `shard*` three shards, and
`many2` 6,000 variables, whose truth is one hash.

`extra1` (V1) and `extra2` (V2) hold every type that their format has; `cross1` (V1) is two files, each with a slice of
`w` and of the strings `s`; `blocks1.gz` and the two `blocks2.*.gz` are compressed because a table only gets a second
block after 256 KiB: of values in V1, of long names in V2. The truth about `dt1` and `dt2` is told here as well, by the
restoring operators, because `CheckpointReader` refuses some types that they take.
"""

import gzip
import hashlib
import json
import os
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import ml_dtypes
import numpy as np
import tensorflow as tf

FOLDER = Path(__file__).parent
RANDOM = np.random.default_rng(7)
ROWS, COLUMNS = 3, 5


def integers(dtype: str) -> np.ndarray:
    limits = np.iinfo(dtype)
    values = RANDOM.integers(limits.min, limits.max, (ROWS, COLUMNS), dtype, endpoint=True)
    values[0, :2] = limits.min, limits.max
    return values


def floats(dtype: type) -> np.ndarray:
    values = RANDOM.standard_normal((ROWS, COLUMNS)).astype(dtype)
    values[0, :3] = np.array([0.0, -0.0, 240.0]).astype(dtype)
    return values


def tensors(version: int) -> dict[str, tf.Tensor]:
    kinds = {name: integers(name) for name in ("int8", "uint8", "int16", "uint16", "int32", "int64")}
    kinds |= {np.dtype(dtype).name: floats(dtype) for dtype in (np.float16, np.float32, np.float64)}
    kinds |= {name: (floats(np.float64) + 1j * floats(np.float64)).astype(name) for name in ("complex64", "complex128")}
    kinds["bool"] = RANDOM.integers(0, 2, (ROWS, COLUMNS)).astype(bool)
    result = {name: tf.constant(values) for name, values in kinds.items()}
    result["string"] = tf.constant([[b"", b"\0\xff", "größe".encode()], [b"x" * 300, b"\n", b"ab"]])
    result["no strings"] = tf.zeros([0, 2], tf.string)
    result["scalar string"] = tf.constant(b"one")
    for source, target in (("int8", tf.qint8), ("uint8", tf.quint8), ("int32", tf.qint32)):
        result[target.name] = tf.bitcast(result[source], target)
    if version == 2:
        result |= {name: tf.constant(integers(name)) for name in ("uint32", "uint64")}
        result["qint16"] = tf.bitcast(result["int16"], tf.qint16)
        for dtype in (ml_dtypes.bfloat16, ml_dtypes.float8_e5m2, ml_dtypes.float8_e4m3fn):
            result[np.dtype(dtype).name] = tf.constant(floats(dtype))
        for dtype, low in ((ml_dtypes.int4, -8), (ml_dtypes.uint4, 0)):
            values = (np.arange(16) + low).astype(dtype)
            result[np.dtype(dtype).name] = tf.constant(values)
    result["größe/naïve"] = tf.constant(np.float32([1, 2, 3]))
    return result


def truth(values: dict[str, tf.Tensor]) -> dict[str, dict]:
    facts = {}
    for name, value in values.items():
        if value.dtype == tf.string:
            strings = [text.hex() for text in tf.reshape(value, [-1]).numpy().tolist()]
            facts[name] = {"dtype": "string", "shape": value.shape.as_list(), "strings": strings}
            continue
        plain = {tf.qint8: tf.int8, tf.quint8: tf.uint8, tf.qint16: tf.int16, tf.qint32: tf.int32}.get(value.dtype)
        array = (tf.bitcast(value, plain) if plain else value).numpy()
        digest = hashlib.sha256(array.tobytes()).hexdigest()
        facts[name] = {"dtype": array.dtype.name, "shape": list(array.shape), "sha256": digest}
    return facts


def write(name: str, facts: dict[str, dict]) -> None:
    (FOLDER / f"{name}.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")


def save_v1(file: str, parts: dict[str, tuple[str, tf.Tensor]]) -> None:
    tf.raw_ops.SaveSlices(
        filename=str(FOLDER / file),
        tensor_names=list(parts),
        shapes_and_slices=[spec for spec, _ in parts.values()],
        data=[value for _, value in parts.values()],
    )


def restore_v1(pattern: str, dtypes: dict[str, tf.DType]) -> dict[str, tf.Tensor]:
    return {
        name: tf.raw_ops.RestoreSlice(
            file_pattern=str(FOLDER / pattern), tensor_name=name, shape_and_slice="", dt=dtype
        )
        for name, dtype in dtypes.items()
    }


def compress(file: str) -> None:
    plain = FOLDER / file
    plain.with_name(f"{file}.gz").write_bytes(gzip.compress(plain.read_bytes(), mtime=0))
    plain.unlink()


def main() -> None:
    plain = tensors(1)
    save_v1("extra1", {name: ("", value) for name, value in plain.items()})
    write("extra1", truth(restore_v1("extra1", {name: value.dtype for name, value in plain.items()})))

    plain = tensors(2)
    prefix = str(FOLDER / "extra2")
    names, empty = list(plain), [""] * len(plain)
    tf.raw_ops.SaveV2(prefix=prefix, tensor_names=names, shape_and_slices=empty, tensors=list(plain.values()))
    read = tf.raw_ops.RestoreV2(
        prefix=prefix, tensor_names=names, shape_and_slices=empty, dtypes=[value.dtype for value in plain.values()]
    )
    write("extra2", truth(dict(zip(names, read, strict=True))))

    w = tf.constant(RANDOM.standard_normal((300, 4)).astype(np.float32))
    s = tf.constant([[f"{row},{column}" for column in range(3)] for row in range(2)])
    save_v1("cross1-00000-of-00002", {"w": ("300 4 0,70:-", w[:70]), "s": ("2 3 -:0,1", s[:, :1])})
    save_v1("cross1-00001-of-00002", {"w": ("300 4 70,230:-", w[70:]), "s": ("2 3 -:1,2", s[:, 1:])})
    write("cross1", truth(restore_v1("cross1-?????-of-00002", {"w": tf.float32, "s": tf.string})))

    filled = {f"filled_{value}": tf.fill([150 + value, 500], np.float32(value)) for value in range(5)}
    save_v1("blocks1", {name: ("", value) for name, value in filled.items()})
    write("blocks1", truth(restore_v1("blocks1", dict.fromkeys(filled, tf.float32))))
    compress("blocks1")

    long = {f"{value:03d}{'/scope' * 300}": tf.constant([value]) for value in range(300)}
    prefix, names, empty = str(FOLDER / "blocks2"), list(long), [""] * len(long)
    tf.raw_ops.SaveV2(prefix=prefix, tensor_names=names, shape_and_slices=empty, tensors=list(long.values()))
    compress("blocks2.index")
    compress("blocks2.data-00000-of-00001")

    types = {name: dt_type(name) for name in json.loads((FOLDER / "dt1.json").read_text())}
    write("dt1", truth(restore_v1("dt1", types)))
    types = {name: dt_type(name) for name in json.loads((FOLDER / "dt2.json").read_text())}
    read = tf.raw_ops.RestoreV2(
        prefix=str(FOLDER / "dt2"),
        tensor_names=list(types),
        shape_and_slices=[""] * len(types),
        dtypes=list(types.values()),
    )
    write("dt2", truth(dict(zip(types, read, strict=True))))


def dt_type(name: str) -> tf.DType:
    """The type of a tensor of `dt1` or `dt2`, which its name tells."""
    known = {"d_c64": tf.complex64, "d_str": tf.string, "global_step": tf.int64}
    return known.get(name) or tf.as_dtype(name.removeprefix("d_") if name.startswith("d_") else "float32")


if __name__ == "__main__":
    main()
