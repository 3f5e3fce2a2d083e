"""Compares compiled full-size networks with the original systems' own runs, value by value.

    python tools/compare_full.py FOLDER [NAME...]

FOLDER is what `golden_full.py`, `golden_timm.py --full`, `golden_torch.py --full`, `golden_keras.py`,
`golden_official.py` and `golden_mlperf_tiny.py` wrote: checkpoints by the original systems, and for each network an
.npz with an image and what the original computed from it: TF-slim every end point, the others every unit and the
logits. Each checkpoint is compiled by the installed package and run by onnxruntime on the CPU; the table gives the
relative error (norm of the difference over norm) of the logits and of the worst of all values, and where the file has
logits in float64 too, how far the original's own in float32 are from them.
"""

import argparse
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resnet_compile import CompileOptions, compile, load_spec, plan_network
from resnet_compile.runtime import Session


@dataclass(frozen=True)
class Network:
    """A golden network: its spec, the checkpoints that hold it, the order of its maps' axes."""

    spec: str
    checkpoints: tuple[str, ...]
    layout: str = "nchw"


def torch_network(name: str) -> Network:
    """One of PyTorch's whose files are called as its spec."""
    return Network(name, (f"{name}.safetensors", f"{name}.pth"))


NETWORKS = {
    "resnet_v2_50": Network("resnet50", ("resnet_v2_50.ckpt", "resnet_v2_50_v2"), "nhwc"),
    "resnet_v2_152": Network("resnet152", ("resnet_v2_152.ckpt", "resnet_v2_152_v2"), "nhwc"),
    "resnet_v1_50": Network("resnet_v1_50", ("resnet_v1_50.ckpt", "resnet_v1_50_v2"), "nhwc"),
    "timm_resnet18": Network("torchvision_resnet18", ("timm_resnet18.safetensors", "timm_resnet18.pth")),
    "timm_resnet50": Network("torchvision_resnet50", ("timm_resnet50.safetensors", "timm_resnet50.pth")),
    "timm_resnext50_32x4d": Network(
        "torchvision_resnext50_32x4d", ("timm_resnext50_32x4d.safetensors", "timm_resnext50_32x4d.pth")
    ),
    "timm_wide_resnet50_2": Network(
        "torchvision_wide_resnet50_2", ("timm_wide_resnet50_2.safetensors", "timm_wide_resnet50_2.pth")
    ),
    "timm_resnet18d": torch_network("timm_resnet18d"),
    "timm_resnet50d": torch_network("timm_resnet50d"),
    "timm_seresnet50": torch_network("timm_seresnet50"),
    "timm_ecaresnet50d": torch_network("timm_ecaresnet50d"),
    "transformers_resnet26": Network("transformers_resnet26", ("transformers_resnet26.safetensors",)),
    "kuangliu_resnet18": Network("kuangliu_resnet18", ("kuangliu_resnet18.pth",)),
    "kuangliu_preact_resnet18": Network("kuangliu_preact_resnet18", ("kuangliu_preact_resnet18.pth",)),
    "akamaster_resnet56": Network("akamaster_resnet56", ("akamaster_resnet56.th",)),
    "detectron2_resnet50": Network("detectron2_resnet50", ("detectron2_resnet50.pth",)),
    "caffe2_resnet50": Network("caffe2_resnet50", ("caffe2_resnet50.pkl",)),
    "tensorpack_resnet50": Network("tensorpack_resnet50", ("tensorpack_resnet50_weights.npz",)),
    "timm_resnetv2_50": Network("timm_resnetv2_50", ("timm_resnetv2_50.safetensors", "timm_resnetv2_50.pth")),
    "keras_resnet50": Network("keras_resnet50", ("keras_resnet50.h5", "keras_resnet50_model.h5"), "nhwc"),
    "keras_resnet50v2": Network("keras_resnet50v2", ("keras_resnet50v2.h5", "keras_resnet50v2_model.h5"), "nhwc"),
    **{
        name: Network(name, (name, f"{name}.pb"), "nhwc")
        for version in ("v1", "v2")
        for name in (f"tf_official_resnet50_{version}", f"tf_official_cifar_resnet56_{version}")
    },
    "mlperf_tiny_resnet8": Network("mlperf_tiny_resnet8", ("mlperf_tiny_resnet8.h5",), "nhwc"),
}
# How the originals number the units, and from what.
UNITS = (
    (re.compile(r"layer(\d)\.(\d+)"), 0, 1),
    (re.compile(r"stages\.(\d)\.blocks\.(\d+)"), 1, 1),
    (re.compile(r"conv(\d)_block(\d+)_out"), -1, 0),
    (re.compile(r"block(\d)/unit_(\d+)"), 0, 0),
)


def ours(name: str, network: str, kind: str) -> str:
    """The end point that the original calls by another name."""
    for pattern, block, unit in UNITS:
        if found := pattern.fullmatch(name):
            return f"{network}/block{int(found[1]) + block}/unit_{int(found[2]) + unit}/{kind}"
    return {"conv1": f"{network}/conv1", "stem.conv": f"{network}/conv1"}.get(name, name)


def errors(network: Network, golden: Path, checkpoint: Path, scratch: Path) -> Iterator[tuple[str, float]]:
    """Every value's name and relative error."""
    spec = load_spec(network.spec)
    arrays = np.load(golden)
    kind = spec.blocks[0].unit.kind
    names = {key: ours(key.removeprefix("end/"), spec.name, kind) for key in arrays.files if key.startswith("end/")}
    if "logits" in arrays.files:
        names["logits"] = f"{spec.name}/logits"
    known = {point.name for point in plan_network(spec).end_points}
    path = scratch / "model.onnx"
    options = CompileOptions(outputs=tuple(name for name in names.values() if name in known), layout=network.layout)
    compile(spec, options, weights=checkpoint).save(path)
    actual = Session.open(path, "cpu").run({"input": arrays["x"]})
    for key, name in names.items():
        if name in known:
            yield name, relative_error(actual[name], arrays[key])


def own_error(golden: Path) -> str:
    """How far the original's logits are from those in float64, in words; nothing where the file does not have them."""
    arrays = np.load(golden)
    return f" (its own {relative_error(arrays['logits'], arrays['exact']):.1e})" if "exact" in arrays.files else ""


def relative_error(actual: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Norm of the difference over norm, in float64; axes of length 1 may be missing."""
    difference = actual.reshape(expected.shape).astype(np.float64) - expected
    return float(np.linalg.norm(difference) / np.linalg.norm(expected.astype(np.float64)))


def main() -> None:
    """Parses the command line, compares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NETWORKS)}; by default all")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for name in arguments.names or NETWORKS:
            for checkpoint in NETWORKS[name].checkpoints:
                found = dict(
                    errors(
                        NETWORKS[name], arguments.folder / f"{name}.npz", arguments.folder / checkpoint, Path(scratch)
                    )
                )
                worst = max(found, key=lambda key: found[key])
                # A backbone has no logits; its last map is what it gives.
                logits = next((each for key, each in found.items() if key.endswith("/logits")), [*found.values()][-1])
                own = own_error(arguments.folder / f"{name}.npz")
                print(
                    f"{checkpoint:32} {len(found):4} values, logits {logits:.1e}{own}, "
                    f"worst {found[worst]:.1e} ({worst})"
                )


if __name__ == "__main__":
    main()
