"""Write golden data by running the residual networks of timm: its `resnet`, which is torchvision's, and its `resnetv2`.

The first form writes narrow networks; the second writes full-size ones as `timm_<network>.safetensors`,
`timm_<network>.pth` and `timm_<network>.npz`, which are too big to keep in the repository. All run in float32 and in
evaluation mode with random variables: gammas of both signs, non-zero betas and biases, moving statistics near those of
the activations but not equal to them. `tests/golden/README.md` describes the layout of the `.npz` files.

Made with Python 3.11, torch 2.13.0, timm 1.0.31, safetensors 0.8.0 and numpy 2.4, in an environment of its own; the few
names of torchvision that timm imports are replaced by empty ones:

    python3.11 -m venv timm
    timm/bin/pip install torch==2.13.0 safetensors numpy pyyaml huggingface_hub
    timm/bin/pip install --no-deps timm==1.0.31
    timm/bin/python tools/golden_timm.py tests/golden [NAME...]
    timm/bin/python tools/golden_timm.py --full FOLDER [NAME...]

The networks with attention, deep stems or pooled shortcuts were made with torch 2.14.1.
"""

import argparse
import copy
import json
import re
import sys
from collections import OrderedDict
from collections.abc import Sequence
from enum import Enum
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from golden_common import (
    Array,
    Golden,
    disturbed_mean,
    disturbed_variance,
    photos,
    random_gamma,
    random_input,
    random_offset,
    random_weights,
    variance_about_zero,
    write_first_good,
)
from safetensors.torch import save_file
from torch import nn

TORCHVISION: dict[str, tuple[str, ...]] = {
    "torchvision": (),
    "torchvision.datasets": ("CIFAR100", "CIFAR10", "MNIST", "KMNIST", "FashionMNIST", "ImageFolder"),
    "torchvision.ops": (),
    "torchvision.ops.misc": ("FrozenBatchNorm2d",),
    "torchvision.transforms": ("CenterCrop", "Compose", "Normalize", "PILToTensor", "Resize", "ToTensor"),
    "torchvision.transforms.functional": (),
}
UNIT = re.compile(r"layer\d+\.\d+|stages\.\d+\.blocks\.\d+")
NARROW: dict[str, dict[str, Any]] = {
    "resnet_basic": {
        "kind": "basic",
        "layers": [2, 2, 1, 1],
        "widths": [6, 6, 8, 8],
        "cardinality": 1,
        "base_width": 64,
    },
    "resnet_bottleneck": {
        "kind": "bottleneck",
        "layers": [2, 1, 2, 1],
        "widths": [4, 5, 6, 6],
        "cardinality": 1,
        "base_width": 64,
    },
    "resnext": {
        "kind": "bottleneck",
        "layers": [1, 2, 1, 1],
        "widths": [8, 8, 12, 10],
        "cardinality": 4,
        "base_width": 24,
    },
    "wide_resnet": {
        "kind": "bottleneck",
        "layers": [1, 1, 2, 1],
        "widths": [4, 5, 6, 4],
        "cardinality": 1,
        "base_width": 128,
    },
    # The channels that squeezing leaves are no multiples of 8: 24 / 2 = 12 becomes 16, 40 / 2 = 20 becomes 24.
    "seresnet_basic": {
        "kind": "basic",
        "layers": [1, 1, 1, 1],
        "widths": [24, 8, 40, 16],
        "cardinality": 1,
        "base_width": 64,
        "attention": {"kind": "se", "rd_ratio": 0.5},
    },
    "seresnet_bottleneck": {
        "kind": "bottleneck",
        "layers": [1, 1, 2, 1],
        "widths": [12, 6, 20, 10],
        "cardinality": 1,
        "base_width": 64,
        "attention": {"kind": "se", "rd_ratio": 0.25},
    },
    # Outputs of 16, 32, 128 and 144 channels, whose kernels have 3, 3, 5 and 5 taps.
    "ecaresnet_d": {
        "kind": "bottleneck",
        "layers": [1, 2, 1, 1],
        "widths": [4, 8, 32, 36],
        "cardinality": 1,
        "base_width": 16,
        "stem_type": "deep",
        "stem_width": 8,
        "avg_down": True,
        "attention": {"kind": "eca"},
    },
    "resnet_d_basic": {
        "kind": "basic",
        "layers": [1, 2, 1, 1],
        "widths": [6, 6, 8, 8],
        "cardinality": 1,
        "base_width": 64,
        "stem_type": "deep",
        "stem_width": 8,
        "avg_down": True,
    },
    "resnet_t": {
        "kind": "bottleneck",
        "layers": [1, 1, 2, 1],
        "widths": [4, 5, 6, 6],
        "cardinality": 1,
        "base_width": 64,
        "stem_type": "deep_tiered",
        "stem_width": 8,
        "avg_down": True,
    },
    "resnetblur_basic": {
        "kind": "basic",
        "layers": [1, 2, 1, 1],
        "widths": [6, 6, 8, 8],
        "cardinality": 1,
        "base_width": 64,
        "aa_layer": "blur",
    },
    "resnetblur": {
        "kind": "bottleneck",
        "layers": [1, 1, 2, 1],
        "widths": [4, 5, 6, 6],
        "cardinality": 1,
        "base_width": 64,
        "aa_layer": "blur",
    },
    "resnet_strided_stem": {
        "kind": "basic",
        "layers": [1, 1, 1, 1],
        "widths": [6, 6, 8, 8],
        "cardinality": 1,
        "base_width": 64,
        "replace_stem_pool": True,
    },
    "resnetv2": {
        "kind": "preactivation",
        "layers": [2, 1, 2, 1],
        "widths": [24, 32, 32, 40],
        "bottle_ratio": 0.25,
    },
}
SIZES = ((32, 32), (45, 26))
NARROW_CLASSES = 7
FULL = (
    *("resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2", "resnetv2_50"),
    *("resnet18d", "resnet50d", "seresnet50", "ecaresnet50d"),
)
FULL_SIDE = 224


def import_timm() -> ModuleType:
    """Import timm's models with a torchvision that has nothing but the names they ask for."""
    for path, names in TORCHVISION.items():
        module = ModuleType(path)
        for name in names:
            setattr(module, name, type(name, (), {}))
        sys.modules[path] = module
        parent, _, child = path.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
    modes = Enum("InterpolationMode", ["NEAREST", "BILINEAR", "BICUBIC", "BOX", "HAMMING", "LANCZOS"])
    setattr(sys.modules["torchvision.transforms.functional"], modes.__name__, modes)
    import timm

    return timm


def channels_first(x: Array) -> Array:
    """NCHW from NHWC."""
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def narrow_model(timm: ModuleType, case: dict[str, Any]) -> nn.Module:
    """The narrow network of a case."""
    models = timm.models
    if case["kind"] == "preactivation":
        return models.resnetv2.ResNetV2(
            layers=case["layers"],
            channels=tuple(case["widths"]),
            num_classes=NARROW_CLASSES,
            bottle_ratio=case["bottle_ratio"],
            conv_layer=timm.layers.create_conv2d,
            norm_layer=timm.layers.BatchNormAct2d,
        )
    return models.resnet.ResNet(
        {"basic": models.resnet.BasicBlock, "bottleneck": models.resnet.Bottleneck}[case["kind"]],
        case["layers"],
        num_classes=NARROW_CLASSES,
        channels=tuple(case["widths"]),
        cardinality=case["cardinality"],
        base_width=case["base_width"],
        avg_down=case.get("avg_down", False),
        aa_layer=timm.layers.BlurPool2d if case.get("aa_layer") == "blur" else None,
        **{key: case[key] for key in ("stem_type", "stem_width", "replace_stem_pool") if key in case},
        **attention_arguments(timm, **case["attention"]) if "attention" in case else {},
    )


def attention_arguments(timm: ModuleType, kind: str, **options: float) -> dict[str, Any]:
    """The arguments that give every unit this attention."""
    module = {"se": timm.layers.SEModule, "eca": timm.layers.EcaModule}[kind]
    return {"block_args": {"attn_layer": partial(module, **options)}}


def stages(model: nn.Module) -> list[nn.Sequential]:
    """The model's stages, each a sequence of residual units."""
    if hasattr(model, "stages"):
        return [stage.blocks for stage in model.stages]
    return [model.layer1, model.layer2, model.layer3, model.layer4]


def draw_variables(model: nn.Module, batch: Array, seed: int, *, about_zero: bool = False) -> None:
    """Give the model random variables, with moving statistics near those of the batch, variances about 0 if asked."""
    norms = {name: module for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            shape = tuple(parameter.shape)
            if len(shape) > 1:
                value = random_weights(seed, name, shape, fan_in=int(np.prod(shape[1:])))
            elif name.endswith(".weight"):
                value = random_gamma(seed, name, shape)
            else:
                value = random_offset(seed, name, shape)
            parameter.copy_(torch.from_numpy(value))
        for module in norms.values():
            module.momentum = 1.0
        model.train()
        model(torch.from_numpy(batch))
        for name, module in norms.items():
            mean, variance = module.running_mean.numpy(), module.running_var.numpy()
            new_mean = disturbed_mean(seed, f"{name}.running_mean", mean, variance)
            spread = variance_about_zero(mean, variance) if about_zero else variance
            new_variance = disturbed_variance(seed, f"{name}.running_var", spread)
            module.running_mean.copy_(torch.from_numpy(new_mean))
            module.running_var.copy_(torch.from_numpy(new_variance))
    model.eval()


def run(model: nn.Module, x: Array) -> tuple[dict[str, Array], Array]:
    """The outputs of the root convolution (after its normalisation, if any) and of every unit, and the logits."""
    end: dict[str, Array] = {}

    def record(key: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
            end[key] = output.numpy().copy()

        return hook

    roots = {"act1": "conv1", "stem.conv": "stem.conv"}
    hooks = [
        module.register_forward_hook(record(roots.get(name, name)))
        for name, module in model.named_modules()
        if name in roots or UNIT.fullmatch(name)
    ]
    with torch.no_grad():
        logits = model(torch.from_numpy(x)).numpy()
    for hook in hooks:
        hook.remove()
    return end, logits


def golden(timm: ModuleType, described: dict[str, Any], seed: int) -> Golden:
    """Run a narrow network at all sizes."""
    model = narrow_model(timm, described)
    draw_variables(model, channels_first(random_input(seed, 8, *SIZES[1], 3)), seed)
    result = Golden({key: value.numpy().copy() for key, value in model.state_dict().items()})
    double = copy.deepcopy(model).double()
    for height, width in SIZES:
        x = channels_first(random_input(seed, 1, height, width, 3))
        end, logits = run(model, x)
        exact, _ = run(double, x.astype(np.float64))
        case = {
            **described,
            "bottlenecks": [stage[0].conv1.out_channels for stage in stages(model)],
            "num_classes": NARROW_CLASSES,
            "height": height,
            "width": width,
        }
        result.add(case, x, end, exact, logits=logits)
    return result


def write_narrow(timm: ModuleType, folder: Path, seed: int, names: Sequence[str]) -> None:
    """Write the golden files of narrow networks, by default of all."""
    for name in names or NARROW:
        write_first_good(folder / f"timm_{name}.npz", seed, partial(golden, timm, NARROW[name]))


def write_full(timm: ModuleType, folder: Path, seed: int, names: Sequence[str]) -> None:
    """Write full-size networks and a forward pass of each, by default of all."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or FULL:
        model = timm.create_model(name, pretrained=False)
        draw_variables(model, channels_first(photos(4, FULL_SIDE, seed + 1)), seed, about_zero=True)
        state = OrderedDict((key, value.contiguous()) for key, value in model.state_dict().items())
        save_file(state, folder / f"timm_{name}.safetensors")
        torch.save(state, folder / f"timm_{name}.pth")
        x = channels_first(photos(1, FULL_SIDE, seed))
        end, logits = run(model, x)
        _, exact = run(copy.deepcopy(model).double(), x.astype(np.float64))
        outputs = {f"end/{key}": value for key, value in end.items()}
        np.savez(
            folder / f"timm_{name}.npz",
            x=x,
            logits=logits,
            exact=exact,
            case=np.array(json.dumps({"name": name})),
            **outputs,
        )
        print(f"{name}: {len(end)} end points, standard deviation of the logits {logits.std():.3f}")


def main() -> None:
    """Write the golden files of the narrow networks, or the files of the full-size ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the files go")
    parser.add_argument("names", nargs="*", metavar="NAME", help="the networks; by default all")
    parser.add_argument("--full", action="store_true", help="write the full-size networks instead of the narrow ones")
    parser.add_argument("--seed", type=int, default=20151210, help="first seed to try for the variables and the inputs")
    arguments = parser.parse_args()
    torch.use_deterministic_algorithms(True)
    timm = import_timm()
    (write_full if arguments.full else write_narrow)(timm, arguments.folder, arguments.seed, arguments.names)


if __name__ == "__main__":
    main()
