"""Write golden data of PyTorch's other residual networks: transformers', and those that `torch_networks` states.

The first form writes narrow networks as `torch_<network>.npz`; the second writes full-size ones in the files that their
systems write, and `<network>.npz` with a forward pass of each. Variables as in `golden_timm.py`.
`tests/golden/README.md` describes the layout.

Made with Python 3.11, torch 2.14.1, transformers 5.24.0, timm 1.0.31, safetensors 0.8.0 and numpy 2.4:

    python tools/golden_torch.py tests/golden [NAME...]
    python tools/golden_torch.py --full FOLDER [NAME...]
"""

import argparse
import copy
import json
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from golden_common import Array, Golden, photos, random_input, write_first_good
from golden_timm import channels_first, draw_variables
from safetensors.torch import save_file
from torch import nn
from torch_networks import Affine, Cifar, Classic, DetectronNet, OptionA, Preactivated, TensorpackNet
from torch_originals import ORIGINALS

UNIT = re.compile(r"layer(\d)\.(\d+)|res(\d)\.(\d+)|group(\d)\.block(\d+)|resnet\.encoder\.stages\.(\d)\.layers\.(\d+)")
NARROW: dict[str, dict[str, Any]] = {
    "transformers_basic": {"depths": [2, 1, 1, 1], "hidden_sizes": [6, 6, 8, 10], "layer_type": "basic"},
    "transformers_bottleneck": {"depths": [1, 2, 1, 1], "hidden_sizes": [16, 16, 24, 28]},
    "transformers_caffe": {
        "depths": [1, 2, 1],
        "hidden_sizes": [16, 20, 24],
        "downsample_in_bottleneck": True,
        "downsample_in_first_stage": True,
    },
    "kuangliu_basic": {"layers": [2, 2, 1, 1], "widths": [6, 6, 8, 10], "stem": 6, "expansion": 1},
    "kuangliu_bottleneck": {"layers": [1, 2, 1, 1], "widths": [4, 5, 6, 6], "stem": 8, "expansion": 4},
    "kuangliu_preact_basic": {"layers": [2, 2, 1, 1], "widths": [6, 6, 8, 10], "stem": 6, "expansion": 1},
    # The first unit keeps its shape, and does not project.
    "kuangliu_preact_bottleneck": {"layers": [2, 1, 2, 1], "widths": [4, 5, 6, 6], "stem": 16, "expansion": 4},
    "akamaster": {"layers": [2, 2, 2], "widths": [8, 16, 32], "stem": 8, "expansion": 1},
    "detectron2": {"layers": [1, 2, 1, 1], "widths": [4, 5, 6, 7]},
    "caffe2": {"layers": [1, 2, 1, 1], "widths": [4, 5, 6, 7]},
    "tensorpack_basic": {"layers": [1, 2, 1, 1], "widths": [6, 8, 10, 12], "expansion": 1},
    "tensorpack_bottleneck": {"layers": [1, 2, 1, 1], "widths": [4, 5, 6, 7], "expansion": 4},
}
SIZES = ((32, 32), (45, 26))
NARROW_CLASSES = 7
FULL = ("transformers_resnet26", "kuangliu_resnet18", "kuangliu_preact_resnet18", "akamaster_resnet56")
FULL += ("detectron2_resnet50", "caffe2_resnet50", "tensorpack_resnet50")


def narrow_model(name: str, case: dict[str, Any]) -> nn.Module:
    """The narrow network of a case."""
    system, *kind = name.split("_")
    match system:
        case "transformers":
            from transformers import ResNetConfig, ResNetForImageClassification

            return ResNetForImageClassification(ResNetConfig(**case, embedding_size=6, num_labels=NARROW_CLASSES))
        case "kuangliu":
            preact = kind[0] == "preact"
            return Cifar(Preactivated if preact else Classic, **case, norm=not preact, num_classes=NARROW_CLASSES)
        case "akamaster":
            return Cifar(OptionA, **case, norm=True, num_classes=NARROW_CLASSES)
        case "detectron2":
            return DetectronNet(**case, num_classes=NARROW_CLASSES)
        case "caffe2":
            return DetectronNet(**case, num_classes=NARROW_CLASSES, norm=Affine)
    return TensorpackNet(**case, num_classes=NARROW_CLASSES)


def caffe2_name(name: str) -> str:
    """Detectron's name of a blob."""
    name = re.sub(r"^stem\.conv1\.norm\.", "res_conv1_bn.", name)
    name = re.sub(r"^stem\.conv1\.", "conv1.", name)
    name = re.sub(r"^linear\.", "fc1000.", name)
    name = name.replace(".shortcut.", ".branch1.")
    name = re.sub(r"\.conv(\d)\.", lambda found: f".branch2{'abc'[int(found[1]) - 1]}.", name)
    name = re.sub(r"\.norm\.", "_bn.", name)
    scale = "_bn." in name
    name = re.sub(r"\.weight$", ".s" if scale else ".w", name)
    return re.sub(r"\.bias$", ".b", name).replace(".", "_")


def tensorpack_arrays(state: Mapping[str, torch.Tensor]) -> dict[str, Array]:
    """Tensorpack's names, and TensorFlow's order of axes."""
    arrays = {}
    for name, tensor in state.items():
        value = tensor.numpy()
        norm = ".bn." in name
        words = {"running_mean": "mean/EMA", "running_var": "variance/EMA"}
        words |= {"weight": "gamma", "bias": "beta"} if norm else {"weight": "W", "bias": "b"}
        *path, role = name.split(".")
        path = path[:-1] if path[-1] == "W" else path
        order = {4: (2, 3, 1, 0), 2: (1, 0)}.get(value.ndim)
        if role != "num_batches_tracked":
            arrays["/".join((*path, words[role]))] = np.ascontiguousarray(value.transpose(order) if order else value)
    return arrays


def variables(system: str, model: nn.Module) -> dict[str, Array]:
    """The variables as the system's files have them."""
    state = {name: value.detach().clone() for name, value in model.state_dict().items()}
    match system:
        case "caffe2":
            return {caffe2_name(name): value.numpy() for name, value in state.items()}
        case "tensorpack":
            return tensorpack_arrays(state)
    return {name: value.numpy() for name, value in state.items()}


def unit_name(name: str) -> str | None:
    """What our end points call a unit, but for its kind."""
    if not (found := UNIT.fullmatch(name)):
        return None
    block, unit = (int(each) for each in found.groups() if each is not None)
    first = {"layer": 1, "res": 2, "group": 0, "resnet": 0}[re.match(r"[a-z]+", name)[0]]
    if name.startswith("resnet."):
        first = 0
    return f"block{block - first + 1}/unit_{unit + 1}"


def run(model: nn.Module, x: Array) -> tuple[dict[str, Array], Array]:
    """The outputs of every unit, and what the network gives."""
    end: dict[str, Array] = {}

    def record(key: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
            end[key] = output.numpy().copy()

        return hook

    hooks = [
        module.register_forward_hook(record(key))
        for name, module in model.named_modules()
        if (key := unit_name(name)) is not None
    ]
    with torch.no_grad():
        given = model(torch.from_numpy(x))
    for hook in hooks:
        hook.remove()
    return end, getattr(given, "logits", given).numpy()


def golden(name: str, described: dict[str, Any], seed: int) -> Golden:
    """Run a narrow network at all sizes."""
    model = narrow_model(name, described)
    draw_variables(model, channels_first(random_input(seed, 8, *SIZES[1], 3)), seed)
    result = Golden(variables(name.split("_")[0], model))
    double = copy.deepcopy(model).double()
    for height, width in SIZES:
        x = channels_first(random_input(seed, 1, height, width, 3))
        end, logits = run(model, x)
        exact, _ = run(double, x.astype(np.float64))
        case = {**described, "name": name, "num_classes": NARROW_CLASSES, "height": height, "width": width}
        result.add(case, x, end, exact, logits=logits)
    return result


def write_narrow(folder: Path, seed: int, names: Sequence[str]) -> None:
    """Write the golden files of narrow networks, by default of all."""
    for name in names or NARROW:
        write_first_good(folder / f"torch_{name}.npz", seed, partial(golden, name, NARROW[name]))


def save(system: str, model: nn.Module, path: Path) -> None:
    """Write a checkpoint as the system does."""
    state = OrderedDict((key, value.contiguous()) for key, value in model.state_dict().items())
    match system:
        case "transformers":
            save_file(state, path.with_suffix(".safetensors"))
        case "kuangliu":
            net = {f"module.{key}": value for key, value in state.items()}
            torch.save({"net": net, "acc": 95.0, "epoch": 199}, path.with_suffix(".pth"))
        case "akamaster":
            net = {f"module.{key}": value for key, value in state.items()}
            torch.save({"state_dict": net, "best_prec1": 94.0}, path.with_suffix(".th"))
        case "detectron2":
            net = {f"backbone.bottom_up.{key}": v for key, v in state.items() if "num_batches" not in key}
            torch.save({"model": net, "iteration": 89999}, path.with_suffix(".pth"))
        case "caffe2":
            with path.with_suffix(".pkl").open("wb") as file:
                pickle.dump({"blobs": variables(system, model)}, file, protocol=2)
        case "tensorpack":
            np.savez_compressed(path.with_suffix(".npz").with_stem(f"{path.stem}_weights"), **variables(system, model))


def write_full(folder: Path, seed: int, names: Sequence[str]) -> None:
    """Write full-size networks and a forward pass of each, by default of all."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or FULL:
        model, side = ORIGINALS[name].make(), ORIGINALS[name].side
        draw_variables(model, channels_first(photos(4, side, seed + 1)), seed, about_zero=True)
        save(name.split("_")[0], model, folder / name)
        x = channels_first(photos(1, side, seed))
        end, logits = run(model, x)
        _, exact = run(copy.deepcopy(model).double(), x.astype(np.float64))
        outputs = {f"end/{key}": value for key, value in end.items()}
        case = np.array(json.dumps({"name": name}))
        np.savez(folder / f"{name}.npz", x=x, logits=logits, exact=exact, case=case, **outputs)
        print(f"{name}: {len(end)} end points, standard deviation of the logits {logits.std():.3f}", flush=True)


def main() -> None:
    """Write the golden files of the narrow networks, or the files of the full-size ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the files go")
    parser.add_argument("names", nargs="*", metavar="NAME", help="the networks; by default all")
    parser.add_argument("--full", action="store_true", help="write the full-size networks instead of the narrow ones")
    parser.add_argument("--seed", type=int, default=20151210, help="first seed to try for the variables and the inputs")
    arguments = parser.parse_args()
    torch.use_deterministic_algorithms(True)
    (write_full if arguments.full else write_narrow)(arguments.folder, arguments.seed, arguments.names)


if __name__ == "__main__":
    main()
