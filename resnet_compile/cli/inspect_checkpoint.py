"""``resnet-inspect CHECKPOINT``: the tensors, and the networks of the catalogue that they fit."""

from __future__ import annotations

from typing import Any

from resnet_compile.checkpoints.base import Checkpoint
from resnet_compile.checkpoints.formats import open_checkpoint
from resnet_compile.checkpoints.onnx_file import OnnxCheckpoint
from resnet_compile.errors import WeightsError
from resnet_compile.report.table import Cell, table
from resnet_compile.spec import load_spec
from resnet_compile.weights.fitting import Fit, fitting_specs
from resnet_compile.weights.hub import check_config
from resnet_compile.weights.sections import ROOT
from resnet_compile.weights.source import tensors_of
from resnet_compile.weights.structure import STRUCTURE

_SHOWN = 8


def checkpoint_document(source: str) -> dict[str, Any]:
    """What a checkpoint holds and fits, as plain values."""
    with open_checkpoint(source) as checkpoint:
        tensors = {name: checkpoint.info(name) for name in checkpoint}
        model = checkpoint if isinstance(checkpoint, OnnxCheckpoint) else None
        return {
            "format": checkpoint.format,
            "files": [str(path) for path in checkpoint.files],
            "warnings": list(checkpoint.warnings),
            "objects": list(checkpoint.objects),
            "tensors": [
                {"name": name, "dtype": info.dtype, "shape": list(info.shape), "bytes": info.nbytes}
                for name, info in tensors.items()
            ],
            "fits": [
                _fit(fit) for fit in fitting_specs(tensors_of(checkpoint), model) if _is_its_function(fit, checkpoint)
            ],
        }


def checkpoint_text(source: str, document: dict[str, Any]) -> str:
    """The document as a table and a line for each network that fits."""
    tensors = document["tensors"]
    rows: list[list[Cell]] = [
        [
            tensor["name"],
            tensor["dtype"],
            "x".join(map(str, tensor["shape"])) or "scalar",
            "" if tensor["bytes"] is None else f"{tensor['bytes']:,}",
        ]
        for tensor in tensors
    ]
    rows.append(["total", "", "", f"{sum(tensor['bytes'] or 0 for tensor in tensors):,}"])
    fits = [_words(fit) for fit in document["fits"]] or ["fits no network of the catalogue"]
    head = [f"{source}: {document['format']}, {len(tensors)} tensors"]
    head += [f"warning: {warning}" for warning in document["warnings"]]
    if document["objects"]:
        head.append(f"other names in its pickle, none of them called: {', '.join(document['objects'][:_SHOWN])}")
    return "\n".join([*head, "", table(["tensor", "type", "shape", "bytes"], rows), "", *fits])


def _is_its_function(fit: Fit, checkpoint: Checkpoint) -> bool:
    """Whether the checkpoint's configuration does not say that it is of another function."""
    try:
        check_config(load_spec(fit.name), checkpoint)
    except WeightsError:
        return False
    return True


def _fit(fit: Fit) -> dict[str, Any]:
    return {"spec": fit.name, "naming": fit.naming, "section": fit.section, "num_classes": fit.num_classes}


def _words(fit: dict[str, Any]) -> str:
    classes = f" with --num-classes {fit['num_classes']}" if fit["num_classes"] else ""
    how = "by structure" if fit["naming"] == STRUCTURE else f"{fit['naming']} naming"
    section = f", in section {fit['section']}" if fit["section"] != ROOT else ""
    return f"fits {fit['spec']}{classes} ({how}{section})"
