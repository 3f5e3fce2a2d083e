"""What the `config.json` of a hub's folder says of a network: the function that its weights were trained for.

timm writes ``architecture``, the name of its function, and ``model_args``; transformers ``model_type`` and the numbers
of units. Names and shapes of weights cannot tell all of it: timm's ``resnetblur50`` fills ResNet-50.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resnet_compile.checkpoints.base import Checkpoint
from resnet_compile.checkpoints.checked_file import printable
from resnet_compile.errors import SpecError, WeightsError
from resnet_compile.spec import NetworkSpec, catalogue, load_spec, transformers_network
from resnet_compile.spec.catalogue import ALIASES

# Those of timm 1.0.31 whose names and shapes are those of a network of the catalogue, though they compute another
# function: they are anti-aliased. Found by making every model of timm's `resnet` family.
_OTHER_FUNCTIONS = frozenset({"resnetaa50", "resnetblur18", "resnetblur50"})
_OTHER_LAYERS = ("aa_layer", "act_layer")  # of timm's model_args: they change the function, and no name
# The fields of transformers' ResNetConfig that change the function.
_TRANSFORMERS_FIELDS = (
    *("num_channels", "embedding_size", "hidden_sizes", "depths", "layer_type", "hidden_act"),
    *("downsample_in_first_stage", "downsample_in_bottleneck"),
)
# The networks of the catalogue that a configuration could be of.
_TRANSFORMERS = tuple(f"transformers_resnet{layers}" for layers in (18, 26, 34, 50, 101, 152))


def check_config(spec: NetworkSpec, source: Checkpoint) -> bool:
    """Whether a checkpoint's configuration says that it is of a network; False where it does not say.

    Raises:
        WeightsError: It says that it is another's.
    """
    said, theirs = _architecture(source.config or {})
    if said is None:
        return False
    where = str(source.files[0].with_name("config.json"))
    hint: str | None
    if theirs is None:
        hint = "names and shapes of their weights are the same"
        raise WeightsError(
            f"the weights are for {said}, which is another function than {spec.name}", where=where, hint=hint
        )
    if _function(theirs) != _function(spec):
        hint = f"give {theirs.name} as SPEC" if theirs.source else None
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


def _architecture(config: Mapping[str, Any]) -> tuple[str | None, NetworkSpec | None]:
    """What a configuration calls its network, and its spec, which has a source where it is of the catalogue; no words
    where it is not known here, and no spec where it computes what no spec of it says.
    """
    said, args = config.get("architecture"), config.get("model_args")
    if isinstance(said, str):
        names = {*catalogue(), *ALIASES}
        known = next((name for name in (f"torchvision_{said}", f"timm_{said}") if name in names), None)
        said = printable(said)
        others = [key for key in _OTHER_LAYERS if isinstance(args, dict) and args.get(key)]
        if said in _OTHER_FUNCTIONS or (known and others):
            return " with ".join([said, *others]), None
        return (said, load_spec(known)) if known else (None, None)
    if config.get("model_type") == "resnet" and isinstance(config.get("depths"), list):
        return _transformers(config)
    return None, None


def _transformers(config: Mapping[str, Any]) -> tuple[str | None, NetworkSpec | None]:
    """The same of transformers' configuration."""
    fields = {field: config[field] for field in _TRANSFORMERS_FIELDS if field in config}
    activation = fields.pop("hidden_act", "relu")
    try:
        spec = transformers_network("resnet", **fields)
    except SpecError:
        return None, None
    extra = [field for field in _TRANSFORMERS_FIELDS[-2:] if fields.get(field)]
    said = f"resnet of {fields.get('layer_type', 'bottleneck')} units {list(config['depths'])}"
    said = " with ".join([said, *extra])
    if activation != "relu":
        return f"{said} with {printable(str(activation))}", None
    named = (load_spec(name) for name in _TRANSFORMERS)
    return said, next((each for each in named if _function(each) == _function(spec)), spec)


def _function(spec: NetworkSpec) -> tuple[Any, ...]:
    """What two specs have in common that compute the same on images of any size, with heads of any width."""
    units = (
        (block.unit, args.replace(repeat=1)) for block in spec.blocks for args in block.args for _ in range(args.repeat)
    )
    return (spec.root, *units)
