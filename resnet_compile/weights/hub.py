"""The network that the `config.json` of a hub folder names.

timm writes ``architecture``, the name of a model function, and ``model_args``; transformers writes ``model_type`` and
the numbers of units. Names and shapes of weights do not identify a network: those of timm's ``resnetblur50`` fill
ResNet-50 too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resnet_compile.checkpoints.base import Checkpoint
from resnet_compile.checkpoints.checked_file import printable
from resnet_compile.errors import SpecError, WeightsError
from resnet_compile.spec import NetworkSpec, catalogue, load_spec, transformers_network
from resnet_compile.spec.catalogue import ALIASES

# Models of timm 1.0.31 with the names and shapes of a network of the catalogue, but anti-aliased, which is another
# function. Found by making every model of timm's `resnet` family.
_OTHER_FUNCTIONS = frozenset({"resnetaa50", "resnetblur18", "resnetblur50"})
_OTHER_LAYERS = ("aa_layer", "act_layer")  # keys of timm's model_args that change the function and no name
# The fields of transformers' ResNetConfig that change the function.
_TRANSFORMERS_FIELDS = (
    *("num_channels", "embedding_size", "hidden_sizes", "depths", "layer_type", "hidden_act"),
    *("downsample_in_first_stage", "downsample_in_bottleneck"),
)
# The networks of the catalogue that a configuration can describe.
_TRANSFORMERS = tuple(f"transformers_resnet{layers}" for layers in (18, 26, 34, 50, 101, 152))


def check_config(spec: NetworkSpec, source: Checkpoint) -> bool:
    """Whether a checkpoint's configuration names this network, or none; raises `WeightsError` if it names another."""
    said, theirs = _architecture(source.config or {})
    if said is None:
        return False
    where = str(source.files[0].with_name("config.json"))
    if theirs is None:
        message = f"the weights are for {said}, which computes another function than {spec.name}"
        raise WeightsError(message, where=where, hint="names and shapes of their weights are the same")
    if _function(theirs) != _function(spec):
        hint = f"give {theirs.name} as SPEC" if theirs.source else None
        raise WeightsError(f"the weights are for {said}, and the spec is {spec.name}", where=where, hint=hint)
    return True


def contradiction(name: str, source: Mapping[str, Any]) -> WeightsError | None:
    """The error of `check_config` for a network of the catalogue; None if there is none."""
    try:
        if isinstance(source, Checkpoint):
            check_config(load_spec(name), source)
    except WeightsError as error:
        return error
    return None


def _architecture(config: Mapping[str, Any]) -> tuple[str | None, NetworkSpec | None]:
    """The name of a configuration's network, and its spec.

    The name is None for an unknown network. The spec is None if no spec expresses the network; it has a source if it is
    a spec of the catalogue.
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
    """As `_architecture`, for a configuration of transformers."""
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
    """A value that is equal for specs that compute the same features, whatever the image size and the head."""
    units = (
        (block.unit, args.replace(repeat=1)) for block in spec.blocks for args in block.args for _ in range(args.repeat)
    )
    return (spec.root, *units)
