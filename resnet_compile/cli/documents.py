"""What the commands print with ``--json``, as types, of which ``--json-schema`` makes a JSON Schema.

What a record of the package has is taken from there; what stands here are the documents around the records. Where a
command prints one of several documents, its type is a union.
"""

from __future__ import annotations

from typing import Any, Literal

from resnet_compile.checked.describing import described, many, record, schema_of
from resnet_compile.cli.bench_documents import ABSENT, BENCHED, DEVICE, INTERRUPTED, VERSION
from resnet_compile.metrics import PairedComparison, Scores
from resnet_compile.plan import Summary
from resnet_compile.runtime import Cpu, Gpu
from resnet_compile.spec.published import PublishedWeights
from resnet_compile.verify import OutputComparison
from resnet_compile.weights.fitting import Near

described(PublishedWeights)

_OPENED: dict[str, Any] = {
    **DEVICE,
    "preprocess": (str, "The preprocessing scheme."),
    "preprocess_in_model": (bool, "Whether the model preprocesses by itself."),
    "fast_decode": (bool, "Whether large JPEGs were decoded at a fraction of their size.", ABSENT),
    "guessed": (bool, "Whether the scheme is a guess.", ABSENT),
    "untrained": (bool, "Whether the model has initial weights, whose classes mean nothing.", ABSENT),
}
_COUNTS: dict[str, Any] = {
    "parameters": (int, "Trainable values."),
    "moving_statistics": (int, "Values of moving means and variances."),
    "macs": (int, "Multiply-accumulates for one image."),
}

# --- resnet-compile ---------------------------------------------------------------------------------------------------

_POINT = record(
    "QuantizedPoint",
    "An end point of a network in 8 bits.",
    name=(str, "The end point."),
    snr_db=(float | None, "Signal-to-noise ratio over all images, in dB; null without a difference."),
    error=(float, "Norm of the difference from float32 over norm of the reference."),
)
_QUANTIZATION = record(
    "Quantization",
    "What 8 bits cost, on the images that the network was calibrated on.",
    method=(str, "The calibration method."),
    source=(Literal["random", "images"], "What it was calibrated on."),
    images=(int, "How many of them."),
    points=(many(_POINT), "The errors of the blocks, and of the logits if there are any."),
    top1_agreement=(float | None, "The share of images with the same largest logit; null without logits."),
)
COMPILED = record(
    "Compiled",
    "A model that was written.",
    schema_version=VERSION,
    name=(str, "The network's."),
    output=(str, "The file."),
    **_COUNTS,
    outputs=(list[str], "The model's outputs, in order."),
    opset=(int, "The version of ONNX's default operator set."),
    bytes=(int, "The size of the file."),
    notes=(list[str], "What was guessed, or left out of the weights.", ABSENT),
    recognised=(
        record(
            "Recognised",
            "How a network was read off its weights, or off an ONNX model.",
            told=(str, "What they tell."),
            assumed=(list[str], "What they do not tell, and was assumed."),
        ),
        "Without SPEC, and where it is an ONNX model.",
        ABSENT,
    ),
    quantization=(_QUANTIZATION, "With --dtype int8.", ABSENT),
    verification=(list[OutputComparison], "With --verify: a comparison for each output.", ABSENT),
    proof=(
        list[OutputComparison],
        "Of an ONNX model as the source: a comparison for each unit, the logits and the predictions.",
        ABSENT,
    ),
    reference=(list[OutputComparison], "With --reference: a comparison for each output.", ABSENT),
    triton=(str, "With --triton: the model's folder in the repository.", ABSENT),
    prepared=(str, "With --prepare: what was made ready for this machine's CPU.", ABSENT),
    like=(str, "With --like: the model that was made again.", ABSENT),
)

# --- resnet-inspect ---------------------------------------------------------------------------------------------------

_PART = Summary
_NETWORK_FIELDS: dict[str, Any] = {
    "name": (str, "The network's."),
    "input": (tuple[int, int, int], "Channels, rows and columns of an image."),
    **_COUNTS,
    "end_points": (list[str], "Their names, in order."),
    "model": (dict[str, Any], "What a model says of itself: the fields of its metadata, as texts.", ABSENT),
    "published_weights": (list[PublishedWeights], "Files of weights that its makers give away.", ABSENT),
    "parts": (many(_PART), "Its blocks; with --layers in them units and layers."),
}
_NETWORK = record("Network", "A network of several.", **_NETWORK_FIELDS)
_COSTS: dict[str, Any] = {
    "macs": (int, "Multiply-accumulates."),
    "activation_bytes": (int, "The size of what is computed."),
    "bytes_moved": (int, "Bytes that operators read and write."),
    "arithmetic_intensity": (float, "Operations, two a multiply-accumulate, for a byte moved."),
}
_VALUE = record(
    "Value",
    "What one value of a network costs, for the batch.",
    value=(str, "Its name."),
    operator=(str, "The ONNX operator that computes it."),
    shape=(list[int], "Its shape, images first."),
    weights=(int, "Elements of the weights that the operator reads."),
    **_COSTS,
)
_NETWORK_COSTS = record(
    "NetworkCosts",
    "What a network costs for a batch in float32.",
    network=(str, "As it was given."),
    batch=(int, "Images."),
    height=(int, "Rows of an image."),
    width=(int, "Columns of an image."),
    parameters=(int, "Trainable values."),
    moving_statistics=(int, "Values of moving means and variances."),
    **_COSTS,
    activation_bytes_peak=(int, "The most bytes that the values take which are needed at one time."),
    values=(many(_VALUE), "With --layers.", ABSENT),
)
_CATALOGUE_ROW = record(
    "CatalogueRow",
    "A network of the catalogue.",
    name=(str, "Its name."),
    **_COUNTS,
    origin=(str, "Whose network it is."),
)
_TENSOR = record(
    "Tensor",
    "A tensor of a checkpoint.",
    name=(str, "As the file has it."),
    dtype=(str, "The type of its elements."),
    shape=(list[int], "The lengths of its axes."),
    bytes=(int | None, "Its size; null where that is not known."),
)
_FIT = record(
    "Fit",
    "A network of the catalogue that a checkpoint fills.",
    spec=(str, "Its name."),
    naming=(str, "The naming table, or structure."),
    section=(str, "The part of the checkpoint."),
    num_classes=(int | None, "Classes of the checkpoint's logits; null without any."),
    head=(str | None, "The scope of the logits, where it is another than the table's."),
    options=(str, "The flags of resnet-compile that it needs."),
)
INSPECTED = (
    record("InspectedNetwork", "One network.", schema_version=VERSION, **_NETWORK_FIELDS)
    | record(
        "InspectedNetworks",
        "Several networks, or with --csv what they cost.",
        schema_version=VERSION,
        networks=(many(_NETWORK) | many(_NETWORK_COSTS), "In the order in which they were given."),
    )
    | record(
        "InspectedCatalogue",
        "The catalogue, or a part of it.",
        schema_version=VERSION,
        catalogue=(many(_CATALOGUE_ROW), "By name."),
    )
    | record(
        "InspectedCheckpoint",
        "A checkpoint.",
        schema_version=VERSION,
        format=(str, "Its format."),
        files=(list[str], "Its files."),
        facts=(dict[str, Any], "What it says of itself, by name."),
        notes=(list[str], "What there is to know of it."),
        warnings=(list[str], "What may be wrong with it."),
        objects=(list[str], "Names of objects in its pickle, none of them called."),
        tensors=(many(_TENSOR), "All that can be read."),
        unread=(dict[str, str], "What the others are, by name."),
        sections=(list[str], "Where networks are in it."),
        fits=(many(_FIT), "Networks that it fills."),
        nearest=(
            many(record("NearFit", "A network that it fills in part.", Near, spec=(str, "Its name, once more."))),
            "Those that it nearly fills, where it fills none.",
        ),
    )
)

# --- resnet-run and resnet-eval ---------------------------------------------------------------------------------------

_CLASS = record(
    "Class",
    "A class of an image.",
    **{"class": (int, "Its index.")},
    label=(str, "Its name, where there are names.", ABSENT),
    probability=(float, "How probable the model holds it."),
)
_IMAGE = record(
    "Image",
    "An image.",
    image=(str, "Its path."),
    top=(many(_CLASS), "The most probable classes, unless --outputs are saved.", ABSENT),
    error=(str, "Why it could not be read.", ABSENT),
)
RAN = record(
    "Ran",
    "What a model made of images.",
    schema_version=VERSION,
    model=(str, "As it was given."),
    **_OPENED,
    height=(int | None, "Rows that images are brought to; null where the model takes them as they are."),
    width=(int | None, "Columns that they are brought to."),
    images=(many(_IMAGE), "In the order in which they were given."),
    interrupted=(*INTERRUPTED, ABSENT),
    saved=(
        record(
            "Saved",
            "What -o wrote.",
            file=(str, "The file."),
            outputs=(dict[str, list[int]], "The shape of each output, images first."),
        ),
        "With -o.",
        ABSENT,
    ),
) | record(
    "Streamed",
    "What --format wrote into a folder.",
    schema_version=VERSION,
    model=(str, "As it was given."),
    **_OPENED,
    folder=(str, "The folder of the shards."),
    images=(int, "How many are done."),
    resumed_at=(int, "How many of them earlier runs had done."),
    skipped=(int, "How many of this run could not be read."),
    interrupted=(*INTERRUPTED, ABSENT),
)
_PAIR = record(
    "Pair",
    "A class that is often taken for another.",
    **{"class": (int, "The right one.")},
    taken_for=(int, "The model's."),
    label=(str, "The right one's name, where there are names.", ABSENT),
    taken_for_label=(str, "The model's name for its own.", ABSENT),
    times=(int, "How often."),
)
_JUDGED: dict[str, Any] = {
    "model": (str, "As it was given."),
    **_OPENED,
    "skipped": (int, "Images that could not be read."),
    "note": (str, "What there is to know of how labels were taken.", ABSENT),
    "worst_pairs": (many(_PAIR), "The most frequent mistakes, the most frequent first."),
}
EVALUATED = record(
    "Evaluated",
    "A model judged on labelled images.",
    Scores,
    schema_version=VERSION,
    data=(str, "The images."),
    **_JUDGED,
    vs=(record("EvaluatedToo", "The other model.", Scores, **_JUDGED), "With --vs.", ABSENT),
    comparison=(PairedComparison, "With --vs, on the images that both read.", ABSENT),
    interrupted=(*INTERRUPTED, ABSENT),
)

# --- resnet-train and resnet-doctor -----------------------------------------------------------------------------------

TRAINED = record(
    "Trained",
    "A run of training.",
    schema_version=VERSION,
    name=(str, "The network's."),
    out=(str, "The run's folder."),
    steps=(int, "Steps in all."),
    accuracy=(float | None, "The share of test images that is right, at the end."),
    best_accuracy=(float | None, "The highest that it was."),
    best_step=(int | None, "After how many steps."),
    num_classes=(int | None, "Classes of the head."),
    class_names=(list[str] | None, "Their names, where the data has them."),
    checkpoint=(str, "The last checkpoint."),
    best_checkpoint=(str | None, "The best."),
    report=(str, "The page."),
    device=(str, "What it ran on."),
) | record(
    "RunEvaluated",
    "An evaluation, with --eval.",
    schema_version=VERSION,
    name=(str, "The network's."),
    weights=(str, "What was judged."),
    images=(int, "How many."),
    loss=(float | None, "Mean cross-entropy; null where it is no number."),
    accuracy=(float, "The share that is right."),
    best_accuracy=(float, "The highest that it was."),
)
_VERDICT = record(
    "DeviceVerdict",
    "Whether a device can be used.",
    device=(str, "Its name for --device."),
    usable=(bool, "Whether a tiny network runs on it with the CPU's result."),
    finding=(str, "What was found."),
    hint=(str | None, "What helps."),
)
DOCTOR = record(
    "Doctor",
    "What this machine can run.",
    schema_version=VERSION,
    python=(str, "Its version."),
    system=(str, "The operating system."),
    packages=(dict[str, str], "Versions by name."),
    cpu=(Cpu, "The processor."),
    onnxruntime=(
        record(
            "Onnxruntime",
            "The installed onnxruntime.",
            version=(str, "Its version."),
            cuda=(str | None, "The CUDA that it was built with."),
            providers_built_in=(list[str], "Its execution providers."),
            telemetry=(Literal["on", "off"], "Whether it sends any."),
        )
        | None,
        "Null where there is none.",
    ),
    gpu=(Gpu | None, "The first, as the NVIDIA driver tells of it.", ABSENT),
    opsets=(
        many(
            record(
                "Opset",
                "An opset that resnet-compile writes.",
                opset=(int, "Its version."),
                ir_version=(int, "The version of the file format that goes with it."),
                runs=(bool, "Whether this onnxruntime runs it."),
            )
        ),
        "In order.",
        ABSENT,
    ),
    devices=(many(_VERDICT), "A verdict for each."),
    faults=(list[str], "What is wrong with the installation."),
)

DOCUMENTS: dict[str, Any] = {
    "resnet-bench": BENCHED,
    "resnet-compile": COMPILED,
    "resnet-doctor": DOCTOR,
    "resnet-eval": EVALUATED,
    "resnet-inspect": INSPECTED,
    "resnet-run": RAN,
    "resnet-train": TRAINED,
}
"""The type of what each command prints."""


def output_schema(command: str) -> dict[str, Any]:
    """The JSON Schema of what a command prints with ``--json``."""
    schema = schema_of(DOCUMENTS[command])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"{command} --json", **schema}
