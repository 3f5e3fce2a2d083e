"""``resnet-compile SPEC -o MODEL``."""

from __future__ import annotations

import gc
from functools import partial
from pathlib import Path
from typing import Any, get_args

import click
from click.core import ParameterSource

import resnet_compile as rc
from resnet_compile.cli.common import Report, command, run
from resnet_compile.cli.compile_checks import judged, proved, verified
from resnet_compile.cli.compile_source import Source, find_source, is_model
from resnet_compile.cli.parameters import COUNT, PATH, SEED, batch, classes, image_size, names, scopes, size
from resnet_compile.errors import OptionError
from resnet_compile.report.table import table
from resnet_compile.targets import Target


@command("resnet-compile")
@click.argument("spec", required=False)
@click.option(
    "-o",
    "--output",
    type=PATH,
    help="The ONNX file to write; by default SPEC's name and .onnx, in this folder.",
)
@click.option("--seed", type=SEED, default=0, help="Seed of the initial weights.")
@click.option(
    "--weights",
    type=PATH,
    help="A checkpoint: a TensorFlow, .npz, safetensors, PyTorch or Keras file, or the folder of a SavedModel, a hub "
    "model or a training run. Without it the weights are initial.",
)
@click.option("--naming", metavar="TABLE", help="Naming table of the checkpoint's tensors; detected by default.")
@click.option(
    "--section",
    callback=scopes,
    metavar="NAME[,NAME...]",
    help="Section of the checkpoint that holds the network, such as encoder_q or state_dict_ema; several if the "
    "network is split among them.",
)
@click.option(
    "--ignore",
    callback=scopes,
    metavar="NAME[,NAME...]",
    help="Tensors of the checkpoint to ignore: names, scopes or patterns such as '*.total_ops'.",
)
@click.option("--averages", is_flag=True, help="Use the moving averages of the weights in the checkpoint.")
@click.option(
    "--num-classes",
    callback=classes,
    metavar="N|none",
    help="Number of classes; none leaves the head out. By default that of the weights, else that of the spec.",
)
@click.option("--head", metavar="NAME", help="Scope of the logits in the checkpoint; detected by default.")
@click.option(
    "--outputs",
    callback=names,
    metavar="NAME[,NAME...]|all",
    default=None,
    help="End points to output, with or without the network's name; features outputs the last map at every reduction, "
    "C2 to C5 of a network for ImageNet; by default logits and predictions.",
)
@click.option("--batch", callback=batch, metavar="N|dynamic", default="dynamic", help="Images at a time.")
@click.option(
    "--size", callback=size, metavar="HxW|dynamic", help="Rows and columns of the input; by default the spec's."
)
@click.option(
    "--preprocess",
    metavar="SCHEME|model",
    help="Make the model accept photographs (uint8, NHWC, any size) and preprocess them itself, by the named scheme or "
    "else the spec's.",
)
@click.option(
    "--image-size",
    callback=image_size,
    metavar="HxW|dynamic",
    help="With --preprocess: rows and columns of every photograph; by default dynamic (any size).",
)
@click.option(
    "--top",
    type=COUNT,
    help="Add outputs top_classes and top_probabilities with the most probable classes.",
)
@click.option(
    "--labels",
    type=PATH,
    help="Class names to store in the model: a file with one a line, or JSON. 1000 names also fit 1001 classes; the "
    "first class is then background.",
)
@click.option("--licence", "--license", metavar="TEXT", help="Licence of the weights, to store in the model.")
@click.option(
    "--like",
    type=PATH,
    metavar="MODEL",
    help="Instead of SPEC: rebuild this model byte for byte from its metadata. Add --weights and --calibration if it "
    "was made from a checkpoint and images.",
)
@click.option(
    "--triton",
    type=PATH,
    metavar="DIR",
    help="Write the model into a repository for a Triton server: NAME/1/model.onnx, config.pbtxt and labels. With -o "
    "it is written to that file as well.",
)
@click.option("--card", type=PATH, metavar="FILE.md", help="Write a model card too.")
@click.option(
    "--layout",
    type=click.Choice(["nchw", "nhwc"]),
    default="nchw",
    help="Order of the axes of the input, and of outputs with rows and columns.",
)
@click.option(
    "--target",
    type=click.Choice(get_args(Target)),
    help="Device that the model is for: the graph is rewritten to the same function with fewer operators.",
)
@click.option(
    "--fused-conv",
    is_flag=True,
    help="With --target cuda: join each convolution and its ReLU into onnxruntime's operator com.microsoft.FusedConv.",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16", "int8"]),
    default="float32",
    help="Type of weights and activations; int8 runs the network to calibrate it.",
)
@click.option(
    "--calibration",
    type=PATH,
    metavar="DIR",
    help="Images to calibrate int8 and to verify with, at most 64; without it, random numbers.",
)
@click.option(
    "--keep-float",
    callback=scopes,
    metavar="NAME[,NAME...]",
    help="End points or scopes that an int8 model computes in float32, such as conv1 or block4; the logits always are.",
)
@click.option(
    "--io-dtype",
    type=click.Choice(["float32", "float16"]),
    default="float32",
    help="Type of the input and the outputs; float16 needs --dtype float16.",
)
@click.option(
    "--winograd",
    is_flag=True,
    help="Compute 3x3 convolutions with fewer multiplications where that is faster; rounding errors are larger. Needs "
    "--target cpu, --batch N and a fixed size; -v lists them.",
)
@click.option("--opset", type=int, default=18, help="Version of ONNX's operator set.")
@click.option(
    "--external-data/--no-external-data",
    default=None,
    help="Store the weights in a separate file next to the model; by default only above 2 GB.",
)
@click.option(
    "--prepare",
    is_flag=True,
    help="Also prepare the model for this machine's CPU, in the folder MODEL.prepared; resnet-run --cache then opens "
    "it faster.",
)
@click.option(
    "--training-step",
    is_flag=True,
    help="Compile a training step with momentum 0.9: old state in, new state out. Needs --batch N.",
)
@click.option(
    "--verify/--no-verify",
    default=None,
    help="Compare the model with the unrewritten float32 network, on random images and those of --calibration, and "
    "with SPEC if that is an ONNX model; write nothing if they differ. On by default if SPEC is an ONNX model.",
)
@click.option(
    "--reference",
    type=PATH,
    metavar="FILE.npz",
    help="Recorded results of the original: an array named input with the images, and one array for each output. Write "
    "nothing if the model's results differ.",
)
def cli(
    report: Report,
    spec: str | None,
    output: Path | None,
    weights: Path | None,
    dtype: str,
    io_dtype: str,
    keep_float: tuple[str, ...],
    calibration: Path | None,
    winograd: bool,
    prepare: bool,
    training_step: bool,
    verify: bool | None,
    reference: Path | None,
    like: Path | None,
    card: Path | None,
    triton: Path | None,
    labels: Path | None,
    **options: Any,
) -> None:
    """Compile SPEC, a JSON file or a name of the catalogue, to an ONNX model. SPEC may also be an ONNX model; its graph
    then gives the network and the weights. Without SPEC the network is recognised from --weights.

    \b
    resnet-compile resnet50
    resnet-compile specs/resnet152.json -o model.onnx
    resnet-compile specs/resnet152.json --weights resnet_v2_152.ckpt -o model.onnx
    resnet-compile --weights mine.pth -o model.onnx
    resnet-compile theirs.onnx -o ours.onnx --target cuda
    resnet-compile resnet50 --outputs block3,logits --batch 32 -o features.onnx
    resnet-compile resnet50 --weights r50.ckpt --dtype int8 --calibration photos/ -o model.onnx
    resnet-compile cifar_resnet32 --training-step --batch 128 -o step.onnx
    """  # noqa: D301  # click keeps a paragraph's line breaks after the backspace character itself
    # What a compilation makes lives until its end: looking for garbage in it took 4 % of the time of ResNet-152.
    gc.disable()
    click.get_current_context().call_on_close(gc.enable)
    if output is not None and output.suffix not in ("", ".onnx"):
        hint = f"-o {output.with_suffix('.onnx')}"
        raise OptionError(f"the output must be an ONNX file, got {output.suffix}", where=str(output), hint=hint)
    if like is not None:
        output = output or Path(f"{like.stem}-again.onnx")
        model = _rebuilt(like, spec, weights, calibration, output)
        _told(report, model, output, card, {"like": str(like)})
        return
    options["labels"] = rc.images.load_labels(labels) if labels else ()
    source = find_source(spec, weights, options["section"])
    told: dict[str, Any] = {"recognised": source.recognised} if source.recognised else {}
    options["dtype"] = _precision(dtype, io_dtype, keep_float, calibration, winograd)
    if training_step:
        unmeant: dict[str, Any] = {
            "weights": None if source.recognised else source.weights,
            "calibration": calibration,
            "verify": verify or None,
            "reference": reference,
            "card": card,
            "triton": triton,
            "prepare": prepare or None,
        }
        model = _training_step(source.network, **unmeant, **options)
    elif options["dtype"].calibrated:
        model, told["quantization"] = _quantized(report, source, options)
    elif calibration and not verify:
        raise OptionError("--calibration needs --dtype int8 or --verify", where="calibration")
    else:
        model = rc.compile(source.network, rc.CompileOptions(**options), weights=source.weights)
    _note(report, model, source)
    if verify is not False and source.weights and is_model(source.weights) and not training_step:
        told |= proved(report, source.network, source.weights, options)
        verify = verify or options["target"] is not None or dtype != "float32"
    if verify:
        told |= verified(report, model, source.network, source.weights, calibration, options)
    if reference is not None:
        told |= judged(report, "reference", rc.verify.compare_recorded(model, reference))
    place = None if triton is None else rc.triton.write_repository(model, triton)
    if place:
        told["triton"] = str(place)
    if place is None or output:
        model.save(output := output or source.output)
    else:
        output = place / rc.triton.MODEL
    if prepare:
        told["prepared"] = str(rc.runtime.prepare(output))
    _told(report, model, output, card, told)


def _note(report: Report, model: rc.CompiledModel, source: Source) -> None:
    """Reports what was done to the weights, and with --verbose the plan and the passes."""
    for note in model.notes:
        if source.recognised and (note.startswith(rc.recognise.UNTOLD) or note in source.recognised["told"]):
            continue  # already reported, as an assumption or with the network
        click.echo(f"resnet-compile: {note}", err=True)
    report.note(f"planned {model.plan.name}: {len(model.plan.parameters)} tensors, outputs {', '.join(model.outputs)}")
    for each in model.passes:
        report.note(f"{each.name}: {each.done} rewritten, {len(each.refused)} refused")
        for reason in (*each.told, *each.refused):
            report.note(f"  {reason}")


def _rebuilt(
    like: Path, spec: str | None, weights: Path | None, calibration: Path | None, output: Path
) -> rc.CompiledModel:
    """Rebuilds and saves the model; options that would change it are refused."""
    context = click.get_current_context()
    kept = ("like", "weights", "calibration", "output", "card", "as_json", "verbose", "debug")
    given = [
        name
        for name in context.params
        if name not in kept and context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if spec is not None or given:
        flag = "SPEC" if spec is not None else f"--{given[0].replace('_', '-')}"
        raise OptionError(f"{flag} cannot be combined with --like")
    model = rc.rebuild.rebuild(like, weights=weights, calibration=calibration)
    rc.rebuild.save_like(model, like, output)
    return model


def _told(report: Report, model: rc.CompiledModel, output: Path, card: Path | None, told: dict[str, Any]) -> None:
    """Reports the result of a compilation, and writes the model's card."""
    if card is not None:
        # Deferred: only --card needs it.
        from resnet_compile.report.card import model_card

        with rc.files.replacing(card) as file:
            file.write(model_card(rc.metadata.read_model(output), model.plan).encode())
    document = {
        "name": model.plan.name,
        "output": str(output),
        "parameters": model.plan.num_parameters,
        "moving_statistics": model.plan.num_moving_statistics,
        "macs": model.plan.macs,
        "outputs": list(model.outputs),
        "opset": model.format.opset,
        "bytes": output.stat().st_size,
        **({"notes": list(model.notes)} if model.notes else {}),
        **told,
    }
    report.result(
        document,
        lambda: (
            f"{output}: {model.plan.name}, {model.plan.num_parameters:,} parameters, "
            f"{model.plan.macs:,} multiply-accumulates an image, opset {model.format.opset}, "
            f"{document['bytes']:,} bytes"
        ),
    )


def _precision(word: str, io: str, keep_float: tuple[str, ...], calibration: Path | None, winograd: bool) -> Any:
    """The precision named by `word`, with its flags; flags of other precisions are refused."""
    precisions = rc.precision.PRECISIONS
    kind = precisions[word]
    own = {"io": io, "keep_float": keep_float, "calibration": calibration, "winograd": winograd}
    flags = (
        ("io_dtype", "io", io != "float32"),
        ("keep_float", "keep_float", keep_float),
        ("winograd", "winograd", winograd),
    )
    for flag, field, given in flags:
        if given and field not in kind.model_fields:
            owner = next(name for name, each in precisions.items() if field in each.model_fields)
            raise OptionError(f"--{flag.replace('_', '-')} is for --dtype {owner}, got {word}", where=flag)
    return kind(**{field: value for field, value in own.items() if field in kind.model_fields})


def _quantized(report: Report, source: Source, options: dict[str, Any]) -> tuple[rc.CompiledModel, dict[str, Any]]:
    """The int8 model, and its errors for the JSON document; without --json a table of them goes to stderr."""
    made = rc.quantize.quantize(source.network, rc.CompileOptions(**options), weights=source.weights)
    if made.report.source == "random":
        warning = "WARNING: calibrated on random numbers, which suit random weights only; give --calibration DIR"
        click.echo(f"resnet-compile: {warning}", err=True)
    if not report.as_json:
        rows = [(each.name, f"{each.snr:.1f}", f"{each.error:.2e}") for each in made.report.points]
        click.echo(table(("end point", "SNR dB", "relative error"), rows), err=True)
        on = f"{made.report.images} {'random images' if made.report.source == 'random' else 'images'}"
        top1 = "" if made.report.top1 is None else f"top-1 agreement {made.report.top1:.1%}, "
        click.echo(f"{top1}against float32 on {on}", err=True)
    return made.model, made.report.document()


def _training_step(
    spec: rc.NetworkSpec, *, batch: Any, size: Any, target: str | None, opset: int, **others: Any
) -> Any:
    """The training step for these options; options that it does not have are refused."""
    if batch == "dynamic":
        raise OptionError(
            "batch must be a number for a training step, got dynamic", where="batch", hint="give --batch N"
        )
    if size == "dynamic":
        raise OptionError("size must be fixed for a training step, got dynamic", where="size")
    for name, value in others.items():
        field = rc.CompileOptions.model_fields.get(name)
        if value != (field.default if field else None):
            raise OptionError(f"--{name.replace('_', '-')} does not apply to a training step")
    asked = {} if target in (None, "portable") else {"target": target}
    chosen = rc.training.StepOptions(batch=batch, size=size, opset=opset, **asked)
    return rc.training.compile_step(spec, chosen)


main = partial(run, cli)
