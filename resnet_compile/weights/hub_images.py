"""The preprocessing scheme of a checkpoint, from the files of its hub folder, or from a model's first nodes.

transformers writes `preprocessor_config.json`, the arguments of an image processor. timm writes ``mean``, ``std``,
``crop_pct`` and ``interpolation`` to `config.json`, since 0.9 under ``pretrained_cfg``. Sources: transformers'
`image_processing_*.py` of ConvNeXt (which ResNet uses), BiT and ViT; timm's `transforms_factory.py`. The processors of
transformers round an odd margin down, torchvision's crop rounds it to even.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resnet_compile.checkpoints.base import Checkpoint
from resnet_compile.errors import OptionError
from resnet_compile.schemes import SCHEMES, Scheme
from resnet_compile.spec import NetworkSpec

PREPROCESSOR = "preprocessor_config.json"

_WARPED = 384  # from this size on ConvNeXt's processor crops nothing
# By Pillow's number of the filter, and by timm's name.
_NAMES = ("nearest", "bilinear", "bicubic")
_FILTERS: dict[int | str, str] = {0: "nearest", 2: "bilinear", 3: "bicubic", **{name: name for name in _NAMES}}


class _UnsaidError(Exception):
    """No scheme can express the preprocessing; the message names what is missing."""


def described(spec: NetworkSpec, source: object) -> tuple[NetworkSpec, tuple[str, ...]]:
    """The spec, and notes for the user.

    If the spec has no preprocessing, it takes that of the model's first nodes or of the checkpoint's hub folder.
    """
    if not isinstance(source, Checkpoint):
        return spec, ()
    own, assumed = spec.input.preprocess, tuple[str, ...]()
    scheme, said = hub_scheme(source)
    if source.is_graph:
        # Deferred: only ONNX models have a structure.
        from resnet_compile.weights.graph_images import graph_scheme

        found = graph_scheme(source, own)
        if found[1]:
            scheme, said, assumed = found
    if scheme is None:
        return spec, (said,) if said and (own is None or source.is_graph) else ()
    if own is None:
        note = f"images are preprocessed as {said} says: {scheme_words(scheme)}"
        note += f" (assumed: {'; '.join(assumed)})" if assumed else ""
        return spec.replace(input=spec.input.replace(preprocess=scheme)), (note,)
    if _record(own) == _record(scheme):
        return spec, ()
    own_words, words = scheme_words(own), scheme_words(scheme)
    note = f"the spec preprocesses images as {own_words}, but {said} says: {words}"
    return spec, (f'{note} (an "input" with "preprocess": null in the spec takes the latter)',)


def hub_scheme(source: Checkpoint) -> tuple[str | Scheme | None, str | None]:
    """The preprocessing in a checkpoint's folder: the name of a scheme, or a record if no named scheme equals it.

    Returns:
        The preprocessing and the name of its file; or None and the reason, which is None if no file has preprocessing.
    """
    config = source.config or {}
    timm = config.get("pretrained_cfg", config)
    for name, said, read in (
        (PREPROCESSOR, source.preprocessor, _of_transformers),
        ("config.json", timm if isinstance(timm, dict) else {}, _of_timm),
    ):
        try:
            made = read(said or {})
        except _UnsaidError as unsaid:
            return None, f"no scheme can express {unsaid}, which {name} asks for; set preprocess in the spec's input"
        except (OptionError, TypeError, ValueError, ArithmeticError, LookupError):
            return None, f"the preprocessing in {name} makes no sense"
        if made:
            named = next((key for key, scheme in SCHEMES.items() if scheme == made), None)
            return named or made, name
    return None, None


def _of_transformers(said: Mapping[str, Any]) -> Scheme | None:
    """The scheme for an image processor's arguments; None if they have none."""
    if "image_mean" not in said and "do_normalize" not in said:
        return None
    if said.get("do_pad") or said.get("rescale_offset"):
        raise _UnsaidError("padding" if said.get("do_pad") else "an offset after scaling")
    factor = said.get("rescale_factor", 1 / 255) if said.get("do_rescale", True) else 1.0
    return _scheme(
        _transformers_resize(said),
        divisor=round(1 / factor, 6),
        mean=said.get("image_mean") if said.get("do_normalize", True) else None,
        std=said.get("image_std") if said.get("do_normalize", True) else None,
        channels="bgr" if said.get("do_flip_channel_order") else "rgb",
    )


def _transformers_resize(said: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """How an image processor resizes images, and the side of the result."""
    if not said.get("do_resize", True):
        raise _UnsaidError("images that are not resized")
    size, resample = said.get("size"), said.get("resample", 3)
    kind = str(said.get("image_processor_type", said.get("feature_extractor_type", "")))
    cropped = said.get("crop_size") if said.get("do_center_crop", True) else None
    is_short = not isinstance(size, dict) or "shortest_edge" in size
    side: int = _side(size)
    if kind.startswith("ConvNext"):
        return _resize(resample, (said.get("crop_pct") or 0.875) if side < _WARPED else None), side
    if cropped is None:
        if isinstance(size, dict) and is_short:
            raise _UnsaidError("a short side without a crop")
        return _resize(resample, None), side
    if not is_short or _side(cropped) > side:
        raise _UnsaidError("a crop without scaling by the short side")
    return _resize(resample, _side(cropped) / side), _side(cropped)


def _of_timm(said: Mapping[str, Any]) -> Scheme | None:
    """The scheme for timm's evaluation transform; None if the configuration has none."""
    if not {"mean", "std"} <= said.keys():
        return None
    size = said.get("input_size") or (3, 224, 224)
    mode, crop = said.get("crop_mode") or "center", said.get("crop_pct") or 0.875
    if mode != "center" and not (mode == "squash" and crop == 1):
        raise _UnsaidError(f"the crop mode {str(mode)[:40]!r}")
    resize = _resize(said.get("interpolation") or "bilinear", crop if mode == "center" else None)
    return _scheme((resize, size[-1]), divisor=255.0, mean=said["mean"], std=said["std"], channels="rgb")


def _side(size: Any) -> int:
    """The short side, or the side of a square."""
    if not isinstance(size, dict):
        return int(size)
    if "shortest_edge" in size:
        return int(size["shortest_edge"])
    if size["height"] != size["width"]:
        raise _UnsaidError("a size that is not square")
    return int(size["height"])


def _resize(resample: Any, crop: float | None) -> dict[str, Any]:
    if resample not in _FILTERS:
        raise _UnsaidError(f"the filter {str(resample)[:40]!r}")
    kind = {"kind": "stretch"} if crop is None else {"kind": "short_side", "crop": crop}
    return {**kind, "filter": _FILTERS[resample]}


def _scheme(resize: tuple[dict[str, Any], int], *, divisor: float, mean: Any, std: Any, channels: str) -> Scheme:
    values = {"kind": "normalise", "divisor": divisor} | ({} if mean is None else {"mean": mean, "std": std})
    return Scheme.model_validate({"resize": resize[0], "values": values, "channels": channels, "size": resize[1]})


def _record(scheme: str | Scheme) -> Scheme | str:
    """The record of a scheme, at any size; an unknown name stays a name."""
    record = next((each for name, each in SCHEMES.items() if name == scheme), scheme)
    return record.replace(size=1) if isinstance(record, Scheme) else record


def scheme_words(scheme: str | Scheme) -> str:
    """The name of a scheme, or a one-line description of a record."""
    return scheme if isinstance(scheme, str) else scheme.description
