"""Comparisons of `resnet-compile` before it writes: with the plain network, the source model or a recording."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

import resnet_compile as rc
from resnet_compile.cli.common import Report
from resnet_compile.errors import ImageError
from resnet_compile.report.table import table


def verified(
    report: Report,
    model: rc.CompiledModel,
    spec: rc.NetworkSpec,
    weights: Path | None,
    calibration: Path | None,
    options: dict[str, Any],
) -> dict[str, Any]:
    """Compares with the unrewritten network; gives a part of the JSON document, or prints a table on stderr."""
    plain = rc.CompileOptions(**options).replace(target=None, fused_conv=False, dtype="float32")
    images: Any = None
    if calibration:
        in_model = plain.preprocess is not None
        calibrated = options["dtype"].calibrated
        unseen = not calibrated or rc.quantize.has_held_out(calibration)
        if not unseen:
            warning = "WARNING: verified on the images of its calibration, which proves little; give 65 images or more"
            click.echo(f"resnet-compile: {warning}", err=True)
        how = {"held_out": calibrated}
        made = None if in_model else rc.quantize.folder_images(calibration, model.plan, plain.layout, **how)
        for note in made.notes if made and unseen else ():
            click.echo(f"resnet-compile: {note}", err=True)
        images = made.values if made else rc.quantize.folder_photographs(calibration, _left_out, **how)
    comparisons = rc.verify.compare(model, rc.compile(spec, plain, weights=weights), images=images)
    return judged(report, "verification", comparisons)


def proved(report: Report, spec: rc.NetworkSpec, source: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Compares with the ONNX model that is the source; the table shows only the unit that differs most."""
    chosen = rc.CompileOptions(**options).replace(dtype="float32", target=None, outputs=None)
    found = rc.proof.compare_source(spec, source, chosen)
    worst = max((each for each in found if "/unit_" in each.output), key=lambda each: each.error, default=None)
    shown = tuple(each for each in found if each is worst or "/unit_" not in each.output)
    return judged(report, "proof", found, shown) if found else {}


def judged(
    report: Report,
    key: str,
    comparisons: tuple[rc.verify.OutputComparison, ...],
    shown: tuple[rc.verify.OutputComparison, ...] | None = None,
) -> dict[str, Any]:
    """Gives the comparisons for the JSON document, or prints those in `shown`; raises an error if one fails."""
    if not report.as_json:
        rows = [
            (each.output, each.images, f"{each.error:.2e}", f"{each.largest:.2e}", f"{each.bound:.1e}", each.note or "")
            for each in (comparisons if shown is None else shown)
        ]
        click.echo(table(("output", "images", "relative error", "largest difference", "bound", ""), rows), err=True)
    rc.verify.require_agreement(comparisons)
    return {key: [asdict(each) for each in comparisons]}


def _left_out(error: ImageError) -> None:
    click.echo(f"resnet-compile: left out: {error}", err=True)
