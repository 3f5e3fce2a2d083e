"""A model's metadata and interface, read from a file without reading its weights."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from resnet_compile.errors import ModelFileError
from resnet_compile.files import map_file
from resnet_compile.schemes import Scheme, scheme_of_text, scheme_text
from resnet_compile.wire import Message

UNTRAINED = "initial weights: these classes mean nothing"
"""The note in an untrained model."""

# The prefix of every key, since other programs write entries too.
_PREFIX = "resnet_compile."


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """How a model was made, according to its metadata; None for what they do not say.

    Attributes:
        kind: `training_step` for a training step; None for a network.
        spec: The network's spec as JSON text.
        version: The version of this package.
        options: The compiler's options, as JSON, without those at their defaults.
        labels: The names of the classes, by index.
        licence: The licence of the weights.
        layout: Order of the input's axes: `nchw` or `nhwc`.
        preprocess: The preprocessing scheme that the weights were trained with: its name, or the scheme itself.
        normalization: The means and standard deviations for normalising images, as JSON, if the weights come from a
            model that normalised them itself.
        target: The target that the graph was rewritten for.
        dtype: The type of weights and activations, unless float32.
        seed: The seed of the initial weights.
        numpy_version: The version of NumPy that drew the initial weights.
        weights_format: The format of the checkpoint with the weights.
        weights_file: The name of the checkpoint's file.
        weights_sha256: The SHA-256 of the checkpoint's file; for several files, a JSON object of digests by file name.
        weights_naming: The naming table that read the weights; empty if they had our own names.
        weights_section: The section of the checkpoint that held the network.
        weights_head: The scope of the logits in the checkpoint, if it is not the naming table's.
        weights_averages: `true` if the weights are moving averages.
        weights_ignored: The tensors that the user chose to ignore.
        weights_left: The scopes of the checkpoint that were not used.
        calibration_method: The method that set the ranges of 8-bit activations.
        calibration_images: The number of calibration images.
        calibration_data: `random`, or the SHA-256 of the images.
        keep_float: The scopes of an 8-bit model that stay in float32.
        optimizer: The optimizer of a training step.
        others: Unknown entries, unchanged, by key.
    """

    kind: str | None = None
    spec: str | None = None
    version: str | None = None
    options: str | None = None
    labels: tuple[str, ...] | None = None
    licence: str | None = None
    layout: str | None = None
    preprocess: str | Scheme | None = None
    normalization: str | None = None
    target: str | None = None
    dtype: str | None = None
    seed: int | None = None
    numpy_version: str | None = None
    weights_format: str | None = None
    weights_file: str | None = None
    weights_sha256: str | None = None
    weights_naming: str | None = None
    weights_section: str | None = None
    weights_head: str | None = None
    weights_averages: str | None = None
    weights_ignored: tuple[str, ...] | None = None
    weights_left: tuple[str, ...] | None = None
    calibration_method: str | None = None
    calibration_images: int | None = None
    calibration_data: str | None = None
    keep_float: tuple[str, ...] | None = None
    optimizer: str | None = None
    others: Mapping[str, str] = field(default_factory=dict)

    @property
    def untrained(self) -> bool:
        """Whether the weights are initial values."""
        return self.seed is not None and self.kind is None

    @classmethod
    def from_entries(cls, entries: Mapping[str, str]) -> Self:
        """Reads metadata from key and value pairs, such as `Session.metadata`. Entries of other programs are ignored; a
        value that is invalid for its key goes to `others`.
        """
        said = {key.removeprefix(_PREFIX): text for key, text in entries.items() if key.startswith(_PREFIX)}
        known = {key: value for key, text in said.items() if (value := _read(key, text)) is not None}
        others = {key: text for key, text in said.items() if key not in known and key not in _DERIVED}
        return cls(**known, others=others)

    def facts(self) -> dict[str, str]:
        """Every known fact as text, by key in order. A spec's SHA-256 is added, and a warning if weights are initial
        values.
        """
        said = {key: _text(key, getattr(self, key)) for key in _KEYS if getattr(self, key) is not None}
        if self.spec is not None:
            said["spec_sha256"] = hashlib.sha256(self.spec.encode()).hexdigest()
        if self.untrained:
            said["untrained"] = UNTRAINED
        return dict(sorted({**self.others, **said}.items()))

    def entries(self) -> dict[str, str]:
        """The key and value pairs for a model file."""
        return {f"{_PREFIX}{key}": text for key, text in self.facts().items()}


def _labels(text: str) -> tuple[str, ...]:
    """Reads names from a JSON list, since names may hold commas."""
    try:
        names = json.loads(text)
    except RecursionError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("no list of names")
    return tuple(names)


# The entries that `facts` adds.
_DERIVED = ("spec_sha256", "untrained")
_KEYS = tuple(each.name for each in dataclasses.fields(Metadata) if each.name != "others")
# Readers of the fields that are not text.
_READERS: Mapping[str, Callable[[str], Any]] = {
    "seed": int,
    "calibration_images": int,
    "labels": _labels,
    "preprocess": scheme_of_text,
    **dict.fromkeys(("keep_float", "weights_ignored", "weights_left"), lambda text: tuple(text.split(","))),
}


def _text(key: str, value: Any) -> str:
    if key == "labels":
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Scheme):
        return scheme_text(value)
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _read(key: str, text: str) -> Any:
    """The value of a key; None if this package would not have written that text."""
    try:
        value = _READERS.get(key, str)(text) if key in _KEYS else None
    except ValueError:
        return None
    return value if _text(key, value) == text else None


@dataclass(frozen=True, slots=True)
class ModelInterface:
    """An ONNX model without its weights.

    Attributes:
        metadata: How it was made.
        ir_version: ONNX's IR version.
        opset: The version of ONNX's default operator set.
        nodes: The number of nodes in its graph.
        inputs: The shapes of its inputs by name. Each axis is a number, a symbol, or ``?`` if unknown.
        outputs: The shapes of its outputs, likewise.
        producer: The program that wrote it.
        softmaxes: The outputs that come from a Softmax, directly or through copies, casts and reshapes.
        external: The names of the files beside it that hold weights.
    """

    metadata: Metadata
    ir_version: int
    opset: int
    nodes: int
    inputs: Mapping[str, tuple[int | str, ...]]
    outputs: Mapping[str, tuple[int | str, ...]]
    producer: str = ""
    softmaxes: frozenset[str] = frozenset()
    external: tuple[str, ...] = ()


def read_model(source: Path | bytes) -> ModelInterface:
    """Reads the interface of a model from its file or its bytes. Weights are skipped, so gigabytes take milliseconds.

    Raises:
        ModelFileError: The file cannot be read or is not an ONNX model.
    """
    where = "<bytes>" if isinstance(source, bytes) else str(source)

    def fail(reason: str) -> ModelFileError:
        return ModelFileError(f"not an ONNX model: {reason}", where=where)

    try:
        model = Message(memoryview(source) if isinstance(source, bytes) else map_file(source), fail)
    except OSError as error:
        raise ModelFileError(f"cannot read the model: {error.strerror}", where=where) from None
    # The numbers are field numbers of onnx.proto.
    ir_version, graph = model.int64(1), model.message(7)
    opsets = {each.text(1): each.int64(2) for each in model.messages(8)}
    if not ir_version or not opsets:
        raise fail("it has no IR version or no opset")
    return ModelInterface(
        Metadata.from_entries({each.text(1): each.text(2) for each in model.messages(14)}),
        ir_version,
        opset=opsets.get("", next(iter(opsets.values()))),
        nodes=len(graph.all_bytes(1)),
        inputs={value.text(1): _shape(value) for value in graph.messages(11)},
        outputs={value.text(1): _shape(value) for value in graph.messages(12)},
        producer=model.text(2),
        softmaxes=_softmaxes(graph),
        external=_external(graph),
    )


# Operators that change no value except for its precision.
_COPIES = ("Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze", "DequantizeLinear", "QuantizeLinear")


def _softmaxes(graph: Message) -> frozenset[str]:
    """The outputs of a graph that come from a Softmax."""
    made: dict[str, tuple[str, str]] = {}
    for node in graph.messages(1):
        sources, results = ([str(text, "utf-8", "replace") for text in node.all_bytes(field)] for field in (1, 2))
        made |= dict.fromkeys(results, (node.text(4), sources[0] if sources else ""))
    found = []
    for value in graph.messages(12):
        name = value.text(1)
        operator, source = made.get(name, ("", ""))
        # A damaged graph may have a cycle.
        for _ in range(len(made)):
            if operator not in _COPIES:
                break
            operator, source = made.get(source, ("", ""))
        if operator == "Softmax":
            found.append(name)
    return frozenset(found)


def _external(graph: Message) -> tuple[str, ...]:
    """The external files that hold initializers."""
    entries = (entry for tensor in graph.messages(5) for entry in tensor.messages(13))
    return tuple(dict.fromkeys(entry.text(2) for entry in entries if entry.text(1) == "location"))


def _shape(value: Message) -> tuple[int | str, ...]:
    dims = value.message(2).message(1).message(2).messages(1)
    return tuple(dim.text(2) or dim.int64(1) or "?" for dim in dims)
