"""Hashes of what the compiler writes, to hold a change that is to alter no model against the code before it.

Every network of the catalogue, at every target and precision, with initial weights and with random ones that a training
might have left; a model's own description of its spec is left out of the hash. In int8 images are 64x64, so that
calibrating takes seconds. Beside them: NHWC, all end points, fixed and dynamic sizes, half-precision inputs, training
steps.

    python tools/artifact_hashes.py hash before.json          # in a checkout of the code before
    python tools/artifact_hashes.py hash after.json
    python tools/artifact_hashes.py diff before.json after.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import resnet_compile as rc
from resnet_compile.quantize import quantize
from resnet_compile.training import compile_step

# What says in the model how it was described and by which version, not what it computes.
_LEFT_OUT = ("resnet_compile.spec", "resnet_compile.spec_sha256", "resnet_compile.version")
_INT8_SIZE = (64, 64)
_TRAINED = ("cifar_resnet20", "cifar_resnet164", "resnet50", "torchvision_resnet18", "tiny")


class Lived(Mapping[str, NDArray[Any]]):
    """Weights as a training might leave them: statistics and scales of their own, some of both signs.

    Args:
        plan: The network.
        seed: Of all values.
    """

    def __init__(self, plan: rc.Plan, seed: int) -> None:
        self._shapes = {parameter.name: parameter for parameter in plan.parameters}
        self._seed = seed

    def __getitem__(self, name: str) -> NDArray[Any]:
        """The values of a parameter, float32."""
        parameter = self._shapes[name]
        generator = np.random.default_rng([self._seed, zlib.crc32(name.encode())])
        noise = generator.standard_normal(parameter.shape, np.float32)
        match parameter.role:
            case "weights":
                return noise * np.float32(np.sqrt(2 / np.prod(parameter.shape[1:])))
            case "gamma":
                scale = 1 + np.float32(0.2) * noise
                return scale if generator.random() < 0.7 else scale * generator.choice([-1, 1], scale.shape)
            case "moving_variance":
                return np.exp(np.float32(0.3) * noise)
            case _:
                return np.float32(0.2) * noise

    def __iter__(self) -> Iterator[str]:
        """The parameters' names."""
        return iter(self._shapes)

    def __len__(self) -> int:
        """How many parameters there are."""
        return len(self._shapes)


def jobs() -> Iterator[tuple[str, str, dict[str, Any], bool]]:
    """What is made: a label, the network, the options, and whether its weights have lived."""
    for name in rc.catalogue():
        for lived in (False, True):
            state = "lived" if lived else "initial"
            for target in (None, "portable", "cpu", "cuda"):
                for dtype in ("float32", "float16"):
                    yield f"{name} {state} {target} {dtype}", name, {"target": target, "dtype": dtype}, lived
        for target in (None, "cpu"):
            yield f"{name} lived {target} int8", name, {"target": target, "dtype": "int8", "size": _INT8_SIZE}, True
        if rc.load_spec(name).input.height == 32:
            continue
        yield f"{name} nhwc all", name, {"layout": "nhwc", "outputs": "all", "size": (97, 65), "batch": 2}, False
        half = {"dtype": rc.Float16(io="float16"), "target": "cuda", "layout": "nhwc"}
        yield f"{name} lived half io", name, half, True
    yield "resnet50 dynamic", "resnet50", {"size": "dynamic", "target": "cuda", "opset": 21}, True
    yield "resnet50 int8 nhwc", "resnet50", {"dtype": "int8", "size": _INT8_SIZE, "layout": "nhwc", "batch": 3}, True


def digest(proto: Any) -> str:
    """The SHA-256 of a model without what describes it."""
    kept = [entry for entry in proto.metadata_props if entry.key not in _LEFT_OUT]
    del proto.metadata_props[:]
    proto.metadata_props.extend(kept)
    proto.producer_version = ""
    return hashlib.sha256(proto.SerializeToString(deterministic=True)).hexdigest()


def hashed(job: tuple[str, str, dict[str, Any], bool]) -> tuple[str, str]:
    """The hash of one job's model, or the message of its error."""
    label, name, asked, lived = job
    spec = rc.load_spec(name)
    options = rc.CompileOptions(**asked)
    weights = Lived(rc.plan_network(spec), 1) if lived else None
    try:
        if options.dtype.calibrated:
            return label, digest(quantize(spec, options, weights=weights).model.to_proto())
        return label, digest(rc.compile(spec, options, weights=weights).to_proto())
    except rc.ResnetCompileError as error:
        return label, str(error)


def steps() -> Iterator[tuple[str, str]]:
    """The hashes of training steps."""
    from resnet_compile.training.options import StepOptions

    for name in _TRAINED:
        for target in ("cpu", "cuda"):
            options = StepOptions(
                batch=2, size=(64, 64), target=target, freeze=("block1",) if name == "resnet50" else ()
            )
            yield f"{name} step {target}", digest(compile_step(rc.load_spec(name), options).to_proto())


def main() -> None:
    """Runs one of the two commands."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["hash", "diff"])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--only", default="", help="labels that hold this text")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.command == "diff":
        before, after = (json.loads(file.read_text()) for file in arguments.files)
        both = before.keys() & after.keys()
        differing = sorted(label for label in both if before[label] != after[label])
        print("\n".join(f"differs: {label}: {before[label][:60]} / {after[label][:60]}" for label in differing))
        print(f"{len(both) - len(differing)} of {len(both)} are the same")
        raise SystemExit(bool(differing) or not both)
    (file,) = arguments.files
    wanted = [job for job in jobs() if arguments.only in job[0]]
    with ProcessPoolExecutor(arguments.jobs) as pool:
        found = dict(pool.map(hashed, wanted))
    found |= {label: value for label, value in steps() if arguments.only in label}
    file.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{len(found)} hashes, {sum(' ' in value for value in found.values())} refusals")


if __name__ == "__main__":
    main()
