"""Write the small checkpoint files under `tests/data/readers`, and what their own libraries read back from them.

Usage: python tools/make_reader_fixtures.py torch|exported|keras|keras3|averages

`torch` needs torch, safetensors and huggingface_hub (made with 2.13, 0.8 and 2.4); `exported` needs torch alone (made
with 2.14); `keras` needs TensorFlow with Keras 2 and h5py (made with 2.15 and 3.16); `keras3` needs Keras 3, once in a
version that keeps names and once in one before 3.6 (made with 3.15 and 3.3); `averages` needs Keras 3 (3.15). None is a
dependency of this project, so the files are committed. `torch.json`, `exported.json`, `keras.json`, `keras3.json` and
`averages.json` hold each file's tensors: the dtype, the shape and the SHA-256 of the C-order bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "tests" / "data" / "readers"


def truth(dtype: str, shape: tuple[int, ...], data: bytes) -> dict[str, Any]:
    """One tensor's line in a truth file."""
    return {"dtype": dtype, "shape": list(shape), "sha256": hashlib.sha256(data).hexdigest()}


def write_truths(name: str, truths: dict[str, Any]) -> None:
    """One JSON document, a line for each tensor, so that differences can be read."""
    files = [
        f'  "{file}": {{\n' + ",\n".join(f"    {json.dumps(k)}: {json.dumps(v)}" for k, v in tensors.items()) + "\n  }"
        for file, tensors in truths.items()
    ]
    (FOLDER / name).write_text("{\n" + ",\n".join(files) + "\n}\n")


def make_torch() -> None:
    """PyTorch and safetensors files."""
    import torch
    from huggingface_hub import save_torch_state_dict
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, bias=False), torch.nn.BatchNorm2d(4), torch.nn.Flatten(), torch.nn.Linear(4, 5)
    )
    names = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "uint16"]
    names += ["uint32", "uint64", "bool", "complex64", "complex128", "float8_e4m3fn", "float8_e5m2"]
    names += ["float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"]
    dtypes = {name: torch.tensor([0, 1, 2, 4, 1, 0.5]).to(getattr(torch, name)).reshape(2, 3) for name in names}
    dtypes["scalar"] = torch.tensor(2.5)
    dtypes["empty"] = torch.zeros(0, 3)
    base = torch.arange(60, dtype=torch.float32)
    views = {
        "whole": base,
        "slice": base[7:13],
        "transposed": base[:12].reshape(3, 4).t(),
        "strided": base[3::5],
        "overlapping": base.as_strided((4, 5), (2, 1), 20),
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "parameter": torch.nn.Parameter(torch.randn(2, 2)),
    }
    views["parameter with attributes"] = torch.nn.Parameter(torch.randn(3))
    views["parameter with attributes"].note = "kept by PyTorch"
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.randn(2, 3, 3, 3)).sum().backward()
    optimizer.step()
    training = {
        "epoch": 3,
        "arch": "small",
        "state_dict": model.state_dict(),
        "state_dict_ema": {name: value * 2 for name, value in model.state_dict().items()},
        "optimizer": optimizer.state_dict(),
        "device": torch.device("cpu"),
        "size": torch.Size([1, 2]),
        "dtype": torch.float16,
        "best": [0.5, None, True],
    }
    saved: dict[str, Any] = {
        "state_dict.pth": model.state_dict(),
        "dtypes.pth": dtypes,
        "views.pth": views,
        "training.pth": training,
    }
    for name, value in saved.items():
        torch.save(value, FOLDER / name)
    torch.save(model.state_dict(), FOLDER / "protocol4.pth", pickle_protocol=4)
    torch.serialization.set_crc32_options(False)
    torch.save(model.state_dict(), FOLDER / "no_crc.pth")
    torch.serialization.set_crc32_options(True)
    torch.save(model.state_dict(), FOLDER / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(model, FOLDER / "module.pth")
    torch.jit.save(torch.jit.script(model.eval()), FOLDER / "scripted.pt")
    save_beside_tensors(model)

    storable = {name: value for name, value in dtypes.items() if name != "complex128"}
    save_file(storable, FOLDER / "dtypes.safetensors", metadata={"format": "pt"})
    packed = torch.tensor([[0x10, 0x32, 0x54, 0x76], [0x98, 0xBA, 0xDC, 0xFE]], dtype=torch.uint8)
    save_file({"f4": packed.view(torch.float4_e2m1fn_x2)}, FOLDER / "float4.safetensors")
    for old in FOLDER.glob("sharded*"):
        old.unlink()
    save_torch_state_dict(
        model.state_dict(), FOLDER, filename_pattern="sharded{suffix}.safetensors", max_shard_size=300
    )

    write_torch_truths()


def save_beside_tensors(model: Any) -> None:
    """What trainers keep beside weights; tensors that are no plain arrays; arrays in bare pickles."""
    import argparse
    import collections
    import datetime
    import pickle

    import numpy as np
    import torch

    arrays = {name: value.numpy() for name, value in model.state_dict().items()}
    history = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    trainer = {
        "model": model.state_dict(),
        "args": argparse.Namespace(lr=0.1, milestones=(30, 60)),
        "lr_scheduler": {"milestones": collections.Counter([30, 60, 60])},
        "meters": collections.defaultdict(list, loss=[0.5]),
        "frozen": {"conv1", "bn1"},
        "kinds": frozenset([1, 2]),
        "saved": datetime.datetime(2024, 1, 1),
        "accuracy": np.float64(93.1),
        "history": {"loss": history, ("a", "key"): history.astype(">i4")},
        "averaged": [torch.ones(2)],
    }
    torch.save(trainer, FOLDER / "trainer.pth")
    torch.save(trainer, FOLDER / "trainer_legacy.pth", _use_new_zipfile_serialization=False)
    other = {
        "quantised": torch.quantize_per_tensor(torch.ones(2, 2), 0.1, 0, torch.qint8),
        "coordinates": torch.eye(3).to_sparse(),
        "rows": torch.eye(3).to_sparse_csr(),
        "meta": torch.empty(3, device="meta"),
        "conjugated": torch.ones(2, dtype=torch.complex64).conj(),
        "plain": torch.ones(2),
    }
    torch.save(other, FOLDER / "other.pth")
    for protocol in range(6):
        with (FOLDER / f"arrays{protocol}.pkl").open("wb") as file:
            pickle.dump({"model": arrays, "history": history, "__author__": "nobody"}, file, protocol)


def write_torch_truths() -> None:
    """What PyTorch reads back from the files."""
    import pickle

    import torch
    from safetensors.torch import load_file

    def found(value: Any, path: str = "") -> dict[str, Any]:
        if isinstance(value, torch.nn.Module):
            value = value.state_dict()
        if hasattr(value, "shape") and value.shape is not None and type(value).__name__ in ("Tensor", "Parameter"):
            data = value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            return {path: truth(str(value.dtype).removeprefix("torch."), tuple(value.shape), data)}
        if type(value).__name__ == "ndarray":
            return {path: truth(value.dtype.name, value.shape, value.astype(value.dtype.newbyteorder("<")).tobytes())}
        entries = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
        children = ((f"#{at}" if isinstance(key, tuple) else key, child) for at, (key, child) in enumerate(entries))
        return {
            name: line
            for key, child in children
            for name, line in found(child, f"{path}/{key}" if path else str(key)).items()
        }

    # weights_only=False: these files were written a moment ago, above.
    names = [*("state_dict.pth", "dtypes.pth", "views.pth", "training.pth", "protocol4.pth", "no_crc.pth")]
    names += ["legacy.pth", "module.pth", "trainer.pth", "trainer_legacy.pth"]
    truths = {name: found(torch.load(FOLDER / name, weights_only=False)) for name in names}
    truths["scripted.pt"] = found(torch.jit.load(FOLDER / "scripted.pt").state_dict())
    for path in sorted(FOLDER.glob("arrays*.pkl")):
        truths[path.name] = found(pickle.loads(path.read_bytes()))
    for name in ["dtypes.safetensors", *sorted(path.name for path in FOLDER.glob("sharded-*.safetensors"))]:
        truths[name] = found(load_file(FOLDER / name))
    write_truths("torch.json", truths)


def make_exported() -> None:
    """A program of `torch.export` with a tied, a transposed and a bfloat16 weight, and a tensor that it closes over."""
    import torch

    class Model(torch.nn.Module):
        """Every tensor is used."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 3, bias=False)
            self.bn = torch.nn.BatchNorm2d(4)
            self.fc = torch.nn.Linear(4, 4)
            self.tied = torch.nn.Linear(4, 4, bias=False)
            self.tied.weight = self.fc.weight
            self.turned = torch.nn.Parameter(torch.randn(4, 5).t())
            self.register_buffer("scale", torch.randn(4).bfloat16())
            self.register_buffer("mean", torch.randn(3, 1, 1), persistent=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.bn(self.conv(x - self.mean)).mean((2, 3))
            return self.turned @ (self.tied(self.fc(x)) * self.scale)[0]

    torch.manual_seed(0)
    model = Model().eval()
    program = torch.export.export(model, (torch.randn(1, 3, 8, 8),))
    torch.export.save(program, FOLDER / "exported.pt2")
    read = torch.export.load(FOLDER / "exported.pt2")
    tensors = dict(read.state_dict) | {f"constants/{name}": value for name, value in read.constants.items()}
    truths = {}
    for name, value in tensors.items():
        value = value.detach().contiguous()
        data = value.reshape(-1).view(torch.uint8).numpy().tobytes()
        truths[name] = truth(str(value.dtype).removeprefix("torch."), tuple(value.shape), data)
    write_truths("exported.json", {"exported.pt2": truths})


def compress(source: Path, target: Path) -> None:
    """A Keras weights file with its datasets in chunks through shuffle and gzip, as h5repack would make it."""
    import h5py

    with h5py.File(source) as old, h5py.File(target, "w") as new:
        new.attrs.update(old.attrs)
        for layer in old:
            group = new.create_group(layer)
            group.attrs.update(old[layer].attrs)
            for weight in old[layer].attrs["weight_names"]:
                data = old[layer][weight][()]
                chunks = tuple(max(1, size // 2) for size in data.shape)
                group.create_dataset(weight, data=data, chunks=chunks, compression="gzip", shuffle=True)


def make_keras() -> None:
    """Keras `.h5` files; the truths are what a fresh model holds after Keras has loaded each file into it."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import numpy as np
    import tensorflow as tf

    keras = tf.keras

    def network(name: str) -> Any:
        inputs = keras.Input((8, 8, 3))
        x = keras.layers.Conv2D(4, 3, use_bias=False, name="conv1_conv")(inputs)
        x = keras.layers.BatchNormalization(name="conv1_bn")(x)
        x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
        return keras.Model(inputs, keras.layers.Dense(2, name="predictions")(x), name=name)

    def nested() -> Any:
        return keras.Sequential([keras.Input((8, 8, 3)), network("backbone"), keras.layers.Dense(3, name="head")])

    rng = np.random.default_rng(0)

    def fill(model: Any) -> Any:
        model.set_weights([rng.normal(size=weight.shape).astype(np.float32) for weight in model.get_weights()])
        return model

    fill(network("small")).save_weights(FOLDER / "keras_weights.h5")
    fill(nested()).save_weights(FOLDER / "keras_nested.h5")
    model = fill(network("small"))
    model.compile("sgd", "mse")
    model.fit(np.zeros((2, 8, 8, 3)), np.zeros((2, 2)), verbose=0)
    model.save(FOLDER / "keras_model.h5")
    fill(network("small")).save_weights(FOLDER / "keras3.weights.h5")  # which keeps no names
    compress(FOLDER / "keras_weights.h5", FOLDER / "compressed.h5")

    def lines(model: Any, outer: str = "") -> dict[str, Any]:
        found: dict[str, Any] = {}
        for layer in model.layers:
            if isinstance(layer, keras.Model):
                found |= lines(layer, f"{outer}{layer.name}/")
                continue
            for weight in layer.weights:
                value = weight.numpy()
                found[outer + weight.name.removesuffix(":0")] = truth(value.dtype.name, value.shape, value.tobytes())
        return found

    truths = {}
    loaded = [
        ("keras_weights.h5", network("small")),
        ("compressed.h5", network("small")),
        ("keras_nested.h5", nested()),
    ]
    for name, fresh in loaded:
        fresh.load_weights(FOLDER / name)
        truths[name] = lines(fresh)
    truths["keras_model.h5"] = lines(keras.models.load_model(FOLDER / "keras_model.h5"))
    write_truths("keras.json", truths)


def make_keras3() -> None:
    """A model of Keras 3 with a model in it, an optimizer, and with names kept a layer in bfloat16.

    The truth is what a fresh model holds after Keras has loaded the file into it.
    """
    import keras
    import numpy as np

    major, minor = map(int, keras.__version__.split(".")[:2])
    keeps_names = (major, minor) >= (3, 6)

    def network() -> Any:
        inputs = keras.Input((4, 4, 3))
        x = keras.layers.Conv2D(4, 3, name="conv1_conv")(inputs)
        x = keras.layers.BatchNormalization(scale=False, name="conv1_bn")(x)
        inner = keras.Model(inputs, keras.layers.GlobalAveragePooling2D(name="avg_pool")(x), name="backbone")
        outer = keras.Input((4, 4, 3))
        x = keras.layers.BatchNormalization(name="norm")(inner(outer))
        dtype = "bfloat16" if keeps_names else None
        return keras.Model(outer, keras.layers.Dense(3, use_bias=keeps_names, dtype=dtype, name="scores")(x))

    model = network()
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=weight.shape).astype(np.float32) for weight in model.get_weights()])
    model.compile("sgd", "mse")
    model.optimizer.build(model.trainable_variables)
    name = f"keras{major}{minor}.keras"
    truths = json.loads((FOLDER / "keras3.json").read_text()) if (FOLDER / "keras3.json").exists() else {}
    model.save(FOLDER / name)
    fresh = network()
    fresh.load_weights(FOLDER / name)
    inner = fresh.get_layer("backbone")
    layers = [(f"{model.name}/" if model is inner else "", layer) for model in (fresh, inner) for layer in model.layers]
    truths[name] = {}
    for outer, layer in layers:
        for weight in layer.weights if layer is not inner else ():
            value = keras.ops.convert_to_numpy(weight)
            line = truth(value.dtype.name, value.shape, value.tobytes())
            truths[name][f"{outer}{layer.name}/{weight.name}"] = line
    write_truths("keras3.json", truths)


def make_averages() -> None:
    """A model with a frozen layer and a model in it; the truth is the averages that its optimizer has."""
    import keras
    import numpy as np

    keras.utils.set_random_seed(0)
    layers = keras.layers
    inner = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3, name="conv1_conv")], name="backbone")
    x = layers.BatchNormalization(name="conv1_bn")(inner(image := keras.Input((8, 8, 3))))
    x = layers.Conv2D(4, 1, trainable=False, name="frozen_conv")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, layers.Dense(2, name="predictions")(x))
    model.compile(keras.optimizers.Adam(0.1, use_ema=True, ema_momentum=0.5), "mse")
    rng = np.random.default_rng(0)
    model.train_on_batch(rng.random((4, 8, 8, 3)), rng.random((4, 2)))
    model.save(FOLDER / "averages.keras")
    kept = zip(model.trainable_variables, model.optimizer._model_variables_moving_average, strict=True)
    names = {layer.name: "" for layer in model.layers} | {"conv1_conv": "backbone/"}
    truths = {}
    for variable, average in kept:
        value = np.asarray(average)
        name = f"{names[variable.path.split('/')[0]]}{variable.path}/ExponentialMovingAverage"
        truths[name] = truth(value.dtype.name, value.shape, value.tobytes())
    write_truths("averages.json", {"averages.keras": truths})


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    match sys.argv[1:]:
        case ["torch"]:
            make_torch()
        case ["exported"]:
            make_exported()
        case ["keras"]:
            make_keras()
        case ["averages"]:
            make_averages()
        case ["keras3"]:
            make_keras3()
        case _:
            sys.exit(__doc__)
