"""``resnet-inspect CHECKPOINT``: its content, and the networks of the catalogue that it fits or nearly fits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from resnet_compile.checkpoints.base import Checkpoint
from resnet_compile.checkpoints.checked_file import printable
from resnet_compile.checkpoints.formats import is_checkpoint, open_checkpoint
from resnet_compile.checkpoints.onnx_file import OnnxCheckpoint, is_onnx
from resnet_compile.errors import WeightsError
from resnet_compile.report.scopes import ROWS, scopes
from resnet_compile.report.table import Cell, table
from resnet_compile.weights.fitting import Fit, fitting_specs, nearest
from resnet_compile.weights.hub import contradiction
from resnet_compile.weights.hub_images import hub_scheme, scheme_words
from resnet_compile.weights.naming import STRUCTURE
from resnet_compile.weights.sections import ROOT
from resnet_compile.weights.source import Tensors, tensors_of

__all__ = ["checkpoint_document", "checkpoint_text", "is_checkpoint", "is_onnx"]

# The most names that a line lists, and their greatest length together; further names are only counted.
_SHOWN, _LINE = 3, 50


def checkpoint_document(source: str) -> dict[str, Any]:
    """The content of a checkpoint and the networks that it fits, as a JSON document."""
    with open_checkpoint(source) as checkpoint:
        infos = {name: checkpoint.info(name) for name in checkpoint}
        model = checkpoint if isinstance(checkpoint, OnnxCheckpoint) else None
        notes = [*checkpoint.notes]
        try:
            tensors = tensors_of(checkpoint)
        except WeightsError as error:  # a checkpoint of adapters, which fit no network
            tensors, notes = Tensors(), [*notes, str(error)]
        filled = list(fitting_specs(tensors, model))
        faults = [contradiction(fit.name, checkpoint) for fit in filled]
        fits = [fit for fit, fault in zip(filled, faults, strict=True) if fault is None]
        notes += [str(fault) for fault in faults[:1] if fault and not fits]
        return {
            "format": checkpoint.format,
            "files": [str(path) for path in checkpoint.files],
            "facts": {**checkpoint.facts, **_images(checkpoint)},
            "notes": notes,
            "warnings": list(checkpoint.warnings),
            "objects": list(checkpoint.objects),
            "tensors": [
                {"name": name, "dtype": info.dtype, "shape": list(info.shape), "bytes": info.nbytes}
                for name, info in infos.items()
            ],
            "unread": {name: unread.kind for name, unread in checkpoint.unread.items()},
            "sections": list(dict.fromkeys(fit.section for fit in fits)),
            "fits": [_fit(fit) for fit in fits],
            "nearest": [] if filled else [{"spec": near.name, **asdict(near)} for near in nearest(tensors)],
        }


def _images(checkpoint: Checkpoint) -> dict[str, str]:
    """The preprocessing that the checkpoint's folder states."""
    scheme, said = hub_scheme(checkpoint)
    return {"images": f"{scheme_words(scheme)} ({said})" if scheme else said} if said else {}


def _fit(fit: Fit) -> dict[str, Any]:
    return {
        "spec": fit.name,
        "naming": fit.naming,
        "section": fit.section,
        "num_classes": fit.num_classes,
        "head": fit.head,
        "options": fit.options,
    }


def checkpoint_text(source: str, document: dict[str, Any], *, layers: bool) -> str:
    """The document as text: a table of scopes, or with `layers` of tensors, and then the networks that fit."""
    tensors = document["tensors"]
    size = sum(tensor["bytes"] or 0 for tensor in tensors)
    lines = [f"{source}: {document['format']}, {len(tensors)} tensors, {size:,} bytes"]
    lines += [f"  {key}: {value}" for key, value in document["facts"].items()]
    lines += [f"  warning: {warning}" for warning in document["warnings"]]
    if tensors:
        lines += ["", _tensor_table(tensors) if layers else _scope_table(tensors)]
    lines += ["", *document["notes"], *_unread(document["unread"], layers=layers)]
    if document["objects"]:
        lines.append(f"other names in its pickle, none of them called: {_some(document['objects'])}")
    fits = [_words(fit) for fit in document["fits"]] or ["fits no network of the catalogue"]
    return "\n".join([*lines, *fits, *(line for near in document["nearest"] for line in _near(near))])


def _tensor_table(tensors: Sequence[dict[str, Any]]) -> str:
    rows: list[list[Cell]] = [
        [
            printable(tensor["name"]),
            tensor["dtype"],
            _shape(tensor["shape"]),
            "" if tensor["bytes"] is None else f"{tensor['bytes']:,}",
        ]
        for tensor in tensors
    ]
    return table(["tensor", "type", "shape", "bytes"], rows)


def _scope_table(tensors: Sequence[dict[str, Any]]) -> str:
    found = scopes((t["name"], math.prod(t["shape"]), f"{t['dtype']} {_shape(t['shape'])}") for t in tensors)
    rows: list[list[Cell]] = []
    for level, scope in found[:ROWS]:
        kinds = [*scope.kinds] if scope.names == 1 else [*dict.fromkeys(kind.split()[0] for kind in scope.kinds)]
        name = f"{printable(scope.name)}{f' ({scope.merged} alike)' if scope.merged > 1 else ''}"
        rows.append(["  " * level + name, scope.names, scope.size, _some(kinds)])
    if len(found) > ROWS:
        rows.append([f"and {len(found) - ROWS} more (--layers)", "", "", ""])
    return table(["scope", "tensors", "numbers", "type"], rows)


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _unread(unread: dict[str, str], *, layers: bool) -> Iterator[str]:
    """A line of the tensors that cannot be read, with their types."""
    if unread:
        named = [f"{printable(name)} ({kind})" for name, kind in unread.items()]
        yield f"not read: {', '.join(named) if layers else _some(named)}"


def _words(fit: dict[str, Any]) -> str:
    options = f" with {fit['options']}" if fit["options"] else ""
    how = "by structure" if fit["naming"] == STRUCTURE else f"{fit['naming']} naming"
    section = f", in section {fit['section']}" if fit["section"] != ROOT else ""
    head = f", head {fit['head']}" if fit["head"] else ""
    return f"fits {fit['spec']}{options} ({how}{section}{head})"


def _near(near: dict[str, Any]) -> Iterator[str]:
    section = f", in section {near['section']}" if near["section"] != ROOT else ""
    fit = f"{near['filled']} of {near['parameters']} parameters fit"
    yield f"nearly {near['spec']}: {fit} ({near['naming']} naming{section})"
    for words, names in (("missing", near["missing"]), ("in the way", near["in_the_way"])):
        if names:
            yield f"  {words}: {_some([printable(name) for name in names])}"


def _some(names: Sequence[str]) -> str:
    """As many names as fit in a line, and the number of the others."""
    shown = 1
    while shown < min(_SHOWN, len(names)) and sum(map(len, names[: shown + 1])) <= _LINE:
        shown += 1
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f"{', '.join(names[:shown])}{more}"
