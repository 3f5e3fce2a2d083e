"""Model cards: a description of a model as Markdown, for the page where it is published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from resnet_compile.metadata import UNTRAINED, Metadata, ModelInterface
from resnet_compile.plan import Plan
from resnet_compile.schemes import find_scheme
from resnet_compile.serialize import OLDEST_ONNXRUNTIME

_LABELS_SHOWN = 10


def model_card(model: ModelInterface, planned: Plan) -> str:
    """The card of a model.

    Args:
        model: The inputs, outputs and metadata of the model's file.
        planned: The network of the model.

    Returns:
        Markdown, with the YAML header that model hubs read.
    """
    said = model.metadata
    sections = (_summary(planned, said), _signature(model), _images(said), _classes(said), _making(said))
    return "\n".join([*_head(said), f"# {planned.name}", *(line for each in sections for line in each)]) + "\n"


def _head(said: Metadata) -> Iterator[str]:
    yield "---"
    if said.licence:
        yield f"license: {said.licence}"
    yield from ("library_name: onnx", "pipeline_tag: image-classification", "---", "")


def _summary(planned: Plan, said: Metadata) -> Iterator[str]:
    yield ""
    if said.untrained:
        yield f"**{UNTRAINED[0].upper()}{UNTRAINED[1:]}.**"
        yield ""
    origin = f" It is the network of `{planned.spec.origin}`." if planned.spec.origin else ""
    yield (
        f"A residual network of {planned.num_parameters:,} parameters, which takes {planned.macs:,} "
        f"multiply-accumulates an image of {planned.input.height}x{planned.input.width}.{origin}"
    )


def _signature(model: ModelInterface) -> Iterator[str]:
    yield from ("", "## Inputs and outputs", "", "| | name | shape |", "|---|---|---|")
    for kind, values in (("input", model.inputs), ("output", model.outputs)):
        yield from (f"| {kind} | `{name}` | {_shape(shape)} |" for name, shape in values.items())
    oldest = OLDEST_ONNXRUNTIME.get(model.opset)
    runs = f"; onnxruntime {oldest} or newer runs it" if oldest else ""
    yield from ("", f"ONNX opset {model.opset}, IR version {model.ir_version}{runs}.")


def _shape(shape: tuple[int | str, ...]) -> str:
    return " x ".join(map(str, shape))


def _images(said: Metadata) -> Iterator[str]:
    if said.preprocess is None:
        return
    named = isinstance(said.preprocess, str)
    scheme = find_scheme(said.preprocess) if isinstance(said.preprocess, str) else said.preprocess
    yield from ("", "## Images", "", f"RGB. {f'Scheme `{said.preprocess}`: ' if named else ''}{scheme.description}.")
    yield from ("", "```json", scheme.model_dump_json(indent=2), "```")


def _classes(said: Metadata) -> Iterator[str]:
    if said.labels:
        more = len(said.labels) - _LABELS_SHOWN
        rest = f" and {more} more" if more > 0 else ""
        yield from ("", "## Classes", "", f"{len(said.labels)}: {', '.join(said.labels[:_LABELS_SHOWN])}{rest}.")


def _making(said: Metadata) -> Iterator[str]:
    yield from ("", "## How it was made", "", "| | |", "|---|---|")
    yield from (f"| {key} | {_cell(text)} |" for key, text in _told(said).items())
    yield from ("", "The network:", "", "```json", said.spec or "", "```")
    yield from ("", "`resnet-compile --like` makes it again, byte for byte.")


def _told(said: Metadata) -> Mapping[str, str]:
    shown_above = ("spec", "labels", "preprocess", "untrained")
    return {key: text for key, text in said.facts().items() if key not in shown_above}


def _cell(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"
