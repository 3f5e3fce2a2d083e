"""What the `config.json` of a hub's folder says of a network: the function that its weights were trained for.

timm writes ``architecture``, the name of its function, and ``model_args``; transformers ``model_type`` and the numbers
of units. Names and shapes of weights cannot tell all of it: timm's ``resnetblur50`` fills ResNet-50.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resnet_compile.checkpoints.base import Checkpoint
from resnet_compile.checkpoints.checked_file import printable
from resnet_compile.errors import WeightsError
from resnet_compile.spec import NetworkSpec, catalogue, load_spec

# Those of timm 1.0.31 whose names and shapes are those of a network of the catalogue, though they compute another
# function: they are anti-aliased. Found by making every model of timm's `resnet` family.
_OTHER_FUNCTIONS = frozenset({"resnetaa50", "resnetblur18", "resnetblur50"})
_OTHER_LAYERS = ("aa_layer", "act_layer")  # of timm's model_args: they change the function, and no name
# `layer_type` and `depths` of transformers' ResNetConfig.
_DEPTHS = {
    ("basic", (2, 2, 2, 2)): "torchvision_resnet18",
    ("basic", (3, 4, 6, 3)): "torchvision_resnet34",
    ("bottleneck", (3, 4, 6, 3)): "torchvision_resnet50",
    ("bottleneck", (3, 4, 23, 3)): "torchvision_resnet101",
    ("bottleneck", (3, 8, 36, 3)): "torchvision_resnet152",
}


def check_config(spec: NetworkSpec, source: Checkpoint) -> bool:
    """Whether a checkpoint's configuration says that it is of a network; False where it does not say.

    Raises:
        WeightsError: It says that it is another's.
    """
    said, name = _architecture(source.config or {})
    if said is None:
        return False
    where = str(source.files[0].with_name("config.json"))
    if name is None:
        hint = "names and shapes of their weights are the same"
        raise WeightsError(
            f"the weights are for {said}, which is another function than {spec.name}", where=where, hint=hint
        )
    if _function(load_spec(name)) != _function(spec):
        hint = f"give {name} as SPEC"
        raise WeightsError(f"the weights are for {said}, and the spec is {spec.name}", where=where, hint=hint)
    return True


def contradiction(name: str, source: Mapping[str, Any]) -> WeightsError | None:
    """What is wrong with a network of the catalogue where a source's configuration says that it is of another one."""
    try:
        if isinstance(source, Checkpoint):
            check_config(load_spec(name), source)
    except WeightsError as error:
        return error
    return None


def _architecture(config: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """What a configuration calls its network, and the catalogue's name for it; no words where it is not known here."""
    said, args = config.get("architecture"), config.get("model_args")
    if isinstance(said, str):
        known = next((name for name in (f"torchvision_{said}", f"timm_{said}") if name in catalogue()), None)
        said = printable(said)
        others = [key for key in _OTHER_LAYERS if isinstance(args, dict) and args.get(key)]
        if said in _OTHER_FUNCTIONS or (known and others):
            return " with ".join([said, *others]), None
        return (said, known) if known else (None, None)
    if config.get("model_type") == "resnet" and isinstance(depths := config.get("depths"), list):
        kind = config.get("layer_type", "bottleneck")
        known = next((name for (layer, units), name in _DEPTHS.items() if (layer, [*units]) == (kind, depths)), None)
        said = f"resnet of {kind} units {depths}"
        if known and (config.get("downsample_in_bottleneck") or config.get("hidden_act", "relu") != "relu"):
            return said, None
        return (said, known) if known else (None, None)
    return None, None


def _function(spec: NetworkSpec) -> tuple[Any, ...]:
    """What two specs have in common that compute the same on images of any size, with heads of any width."""
    units = (
        (block.unit, args.replace(repeat=1)) for block in spec.blocks for args in block.args for _ in range(args.repeat)
    )
    return (spec.root, *units)
