"""``resnet-compile SPEC -o MODEL``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from resnet_compile.cli.common import Report, command, run
from resnet_compile.cli.parameters import batch, names, size


@command("resnet-compile")
@click.argument("spec")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The ONNX file to write.")
@click.option(
    "--seed", type=click.IntRange(0, 2**64 - 1), default=0, show_default=True, help="Seed of the initial weights."
)
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="A checkpoint: TensorFlow V1 or V2, .npz, safetensors, PyTorch or Keras; without it, initial weights.",
)
@click.option("--naming", metavar="TABLE", help="How the checkpoint names its tensors; found by itself.")
@click.option(
    "--outputs",
    callback=names,
    metavar="NAME[,NAME...]|all",
    default=None,
    help="End points to output, with or without the network's name; by default logits and predictions.",
)
@click.option(
    "--batch", callback=batch, metavar="N|dynamic", default="dynamic", show_default=True, help="Images at a time."
)
@click.option(
    "--size", callback=size, metavar="HxW|dynamic", help="Rows and columns of the input; by default the spec's."
)
@click.option(
    "--layout",
    type=click.Choice(["nchw", "nhwc"]),
    default="nchw",
    show_default=True,
    help="Axes of the input and of outputs that have rows and columns.",
)
@click.option(
    "--target",
    type=click.Choice(["portable", "cpu", "cuda"]),
    help="Where it is to run: rewrites the graph to the same function with fewer operators.",
)
@click.option("--opset", type=int, default=18, show_default=True, help="Version of ONNX's operator set.")
@click.option(
    "--external-data/--no-external-data",
    default=None,
    help="Put the weights into a file of their own beside the model; by default only past 2 GB.",
)
def cli(report: Report, spec: str, output: Path, weights: Path | None, **options: Any) -> None:
    """Compile SPEC, a JSON file or a name of the catalogue, to an ONNX model.

    \b
    resnet-compile specs/resnet152.json -o model.onnx
    resnet-compile specs/resnet152.json --weights resnet_v2_152.ckpt -o model.onnx
    resnet-compile resnet50 --outputs block3,logits --batch 32 -o features.onnx
    """  # noqa: D301  # click's mark for text to leave as it is is the character, not the two letters
    # Deferred, so that --help and usage errors need none of it.
    from resnet_compile.compiler import compile as compile_network
    from resnet_compile.options import CompileOptions
    from resnet_compile.spec import load_spec

    model = compile_network(load_spec(spec), CompileOptions(**options), weights=weights)
    report.note(f"planned {model.plan.name}: {len(model.plan.parameters)} tensors, outputs {', '.join(model.outputs)}")
    for each in model.passes:
        report.note(f"{each.name}: {each.done} rewritten, {len(each.refused)} refused")
        for reason in each.refused:
            report.note(f"  {reason}")
    model.save(output)
    document = {
        "name": model.plan.name,
        "output": str(output),
        "parameters": model.plan.num_parameters,
        "moving_statistics": model.plan.num_moving_statistics,
        "macs": model.plan.macs,
        "outputs": list(model.outputs),
        "opset": model.format.opset,
        "bytes": output.stat().st_size,
    }
    report.result(
        document,
        lambda: (
            f"{output}: {model.plan.name}, {model.plan.num_parameters:,} parameters, "
            f"{model.plan.macs:,} multiply-accumulates an image, opset {model.format.opset}, "
            f"{document['bytes']:,} bytes"
        ),
    )


def main() -> None:
    """The console entry point."""
    run(cli)
