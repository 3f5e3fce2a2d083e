"""Types of the JSON documents that the commands print; ``--json-schema`` prints them as JSON Schemas.

Fields that mirror a record of the package are taken from that record; this module only adds the documents around them.
A command that prints one of several documents has a union as its type.
"""

from __future__ import annotations

from typing import Any, Literal

from resnet_compile.checked.describing import described, many, record, schema_of
from resnet_compile.cli.bench_documents import ABSENT, BENCHED, DEVICE, INTERRUPTED, VERSION
from resnet_compile.metrics import PairedComparison, Scores
from resnet_compile.plan import FeatureLevel, Summary
from resnet_compile.runtime import Cpu, Gpu
from resnet_compile.spec.published import PublishedWeights
from resnet_compile.verify import OutputComparison
from resnet_compile.weights.fitting import Near

described(PublishedWeights)

_OPENED: dict[str, Any] = {
    **DEVICE,
    "preprocess": (str, "The preprocessing scheme."),
    "preprocess_in_model": (bool, "Whether the model itself preprocesses the images."),
    "fast_decode": (bool, "Whether large JPEGs were decoded at a fraction of their size.", ABSENT),
    "guessed": (bool, "Whether the scheme is a guess.", ABSENT),
    "untrained": (bool, "Whether the model has initial weights; its classes then mean nothing.", ABSENT),
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
    snr_db=(float | None, "Signal-to-noise ratio over all images, in dB; null if nothing differs."),
    error=(float, "Norm of the difference from the float32 result, divided by the norm of the float32 result."),
)
_QUANTIZATION = record(
    "Quantization",
    "The accuracy that 8 bits cost, measured on the calibration images.",
    method=(str, "The calibration method."),
    source=(Literal["random", "images"], "What the network was calibrated on."),
    images=(int, "Number of calibration images."),
    points=(many(_POINT), "The errors of the blocks, and of the logits if there are any."),
    top1_agreement=(float | None, "Share of images for which both models choose the same class; null without logits."),
)
COMPILED = record(
    "Compiled",
    "A compiled model.",
    schema_version=VERSION,
    name=(str, "The network's name."),
    output=(str, "The file."),
    **_COUNTS,
    outputs=(list[str], "The model's outputs, in order."),
    opset=(int, "The version of ONNX's default operator set."),
    bytes=(int, "The size of the file."),
    notes=(list[str], "Guesses that were made, and tensors of the weights that were left out.", ABSENT),
    recognised=(
        record(
            "Recognised",
            "How the network was recognised from its weights or from an ONNX model.",
            told=(str, "The network that was recognised."),
            assumed=(list[str], "Properties that the file does not show and that were assumed."),
        ),
        "Without SPEC, or if SPEC is an ONNX model.",
        ABSENT,
    ),
    quantization=(_QUANTIZATION, "With --dtype int8.", ABSENT),
    verification=(list[OutputComparison], "With --verify: a comparison for each output.", ABSENT),
    proof=(
        list[OutputComparison],
        "If SPEC is an ONNX model: a comparison for each unit, the logits and the predictions.",
        ABSENT,
    ),
    reference=(list[OutputComparison], "With --reference: a comparison for each output.", ABSENT),
    triton=(str, "With --triton: the model's folder in the repository.", ABSENT),
    prepared=(str, "With --prepare: the model prepared for this machine's CPU.", ABSENT),
    like=(str, "With --like: the model that was rebuilt.", ABSENT),
)

# --- resnet-inspect ---------------------------------------------------------------------------------------------------

_PART = Summary
_NETWORK_FIELDS: dict[str, Any] = {
    "name": (str, "The network's name."),
    "input": (tuple[int, int, int], "Channels, rows and columns of an image."),
    **_COUNTS,
    "end_points": (list[str], "Names of the end points, in order."),
    "model": (dict[str, Any], "The fields of the model's metadata, as text.", ABSENT),
    "published_weights": (list[PublishedWeights], "Files of weights that the network's authors published.", ABSENT),
    "parts": (many(_PART), "The blocks of the network; with --layers they contain units and layers."),
}
_NETWORK = record("Network", "One of several networks.", **_NETWORK_FIELDS)
_COSTS: dict[str, Any] = {
    "macs": (int, "Multiply-accumulates."),
    "activation_bytes": (int, "Size of the computed values, in bytes."),
    "bytes_moved": (int, "Bytes that operators read and write."),
    "arithmetic_intensity": (float, "Operations for each byte moved; a multiply-accumulate counts as two."),
}
_VALUE = record(
    "Value",
    "The cost of computing one value of a network, for the batch.",
    value=(str, "Its name."),
    operator=(str, "The ONNX operator that computes it."),
    shape=(list[int], "Its shape, images first."),
    weights=(int, "Elements of the weights that the operator reads."),
    **_COSTS,
)
_NETWORK_COSTS = record(
    "NetworkCosts",
    "The cost of running a network on a batch in float32.",
    network=(str, "The argument that named the network."),
    batch=(int, "Images in the batch."),
    height=(int, "Rows of an image."),
    width=(int, "Columns of an image."),
    parameters=(int, "Trainable values."),
    moving_statistics=(int, "Values of moving means and variances."),
    **_COSTS,
    activation_bytes_peak=(int, "The most bytes of values that must be held at the same time."),
    values=(many(_VALUE), "The cost of each value, with --layers.", ABSENT),
)
_CATALOGUE_ROW = record(
    "CatalogueRow",
    "A network of the catalogue.",
    name=(str, "Its name."),
    **_COUNTS,
    origin=(str, "Where the network comes from."),
)
_TENSOR = record(
    "Tensor",
    "A tensor of a checkpoint.",
    name=(str, "Its name in the file."),
    dtype=(str, "The type of its elements."),
    shape=(list[int], "The lengths of its axes."),
    bytes=(int | None, "Its size; null if not known."),
)
_FIT = record(
    "Fit",
    "A network of the catalogue that a checkpoint fits.",
    spec=(str, "Its name."),
    naming=(str, 'The naming table that fits, or "structure".'),
    section=(str, "The section of the checkpoint that holds the network."),
    num_classes=(int | None, "Number of classes of the checkpoint's logits; null without logits."),
    head=(str | None, "The scope of the logits, if it differs from that of the naming table."),
    options=(str, "The flags that resnet-compile needs for this fit."),
)
INSPECTED = (
    record("InspectedNetwork", "One network.", schema_version=VERSION, **_NETWORK_FIELDS)
    | record(
        "InspectedNetworks",
        "Several networks, or with --csv their costs.",
        schema_version=VERSION,
        networks=(many(_NETWORK) | many(_NETWORK_COSTS), "The networks, in the order of the arguments."),
    )
    | record(
        "InspectedCatalogue",
        "The catalogue, or a part of it.",
        schema_version=VERSION,
        catalogue=(many(_CATALOGUE_ROW), "The networks, sorted by name."),
    )
    | record(
        "InspectedCheckpoint",
        "A checkpoint.",
        schema_version=VERSION,
        format=(str, "Its format."),
        files=(list[str], "Its files."),
        facts=(dict[str, Any], "What the file states about itself, by name."),
        notes=(list[str], "Remarks about the checkpoint."),
        warnings=(list[str], "Possible faults of the checkpoint."),
        objects=(list[str], "Names of the objects in its pickle; reading calls none of them."),
        tensors=(many(_TENSOR), "All tensors that can be read."),
        unread=(dict[str, str], "The type of each tensor that cannot be read, by name."),
        sections=(list[str], "Sections of the checkpoint that hold a network."),
        fits=(many(_FIT), "Networks of the catalogue that the checkpoint fits."),
        nearest=(
            many(
                record(
                    "NearFit",
                    "A network that fits in part.",
                    Near,
                    spec=(str, "The name of the network."),
                )
            ),
            "The nearest networks, if none fits.",
        ),
    )
)

# --- resnet-run and resnet-eval ---------------------------------------------------------------------------------------

_CLASS = record(
    "Class",
    "A class of an image.",
    **{"class": (int, "Its index.")},
    label=(str, "Its name, if the classes have names.", ABSENT),
    probability=(float, "The probability that the model gives this class."),
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
    "The results of running a model on images.",
    schema_version=VERSION,
    model=(str, "The argument that named the model."),
    **_OPENED,
    height=(int | None, "Rows of an image as the model receives it; null if the model takes any size."),
    width=(int | None, "Columns of an image as the model receives it; null if the model takes any size."),
    images=(many(_IMAGE), "The images, in the order of the arguments."),
    interrupted=(*INTERRUPTED, ABSENT),
    saved=(
        record(
            "Saved",
            "What -o wrote.",
            file=(str, "The file."),
            outputs=(dict[str, list[int]], "The shape of each output, images first."),
            features=(list[FeatureLevel], "With --features: what the arrays are.", ABSENT),
        ),
        "The saved arrays, with -o.",
        ABSENT,
    ),
) | record(
    "Streamed",
    "What --format wrote into a folder.",
    schema_version=VERSION,
    model=(str, "The argument that named the model."),
    **_OPENED,
    ray=(str, "The address of the Ray cluster, with --ray.", ABSENT),
    folder=(str, "The folder of the shards."),
    images=(int, "Number of images done."),
    resumed_at=(int, "Number of images that earlier runs had done."),
    skipped=(int, "Number of images of this run that could not be read."),
    interrupted=(*INTERRUPTED, ABSENT),
)
_PAIR = record(
    "Pair",
    "A class that the model often confuses with another.",
    **{"class": (int, "The true class.")},
    taken_for=(int, "The class that the model gave."),
    label=(str, "The name of the true class, if the classes have names.", ABSENT),
    taken_for_label=(str, "The name of the class that the model gave.", ABSENT),
    times=(int, "Number of images."),
)
_JUDGED: dict[str, Any] = {
    "model": (str, "The argument that named the model."),
    **_OPENED,
    "skipped": (int, "Number of images that could not be read."),
    "note": (str, "How the labels were matched to the classes of the model.", ABSENT),
    "worst_pairs": (many(_PAIR), "The most frequent mistakes, the most frequent first."),
}
EVALUATED = record(
    "Evaluated",
    "The accuracy of a model on labelled images.",
    Scores,
    schema_version=VERSION,
    data=(str, "Where the images come from."),
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
    accuracy=(float | None, "The share of test images classified correctly, at the end."),
    best_accuracy=(float | None, "The highest accuracy of any evaluation."),
    best_step=(int | None, "The step of the highest accuracy."),
    num_classes=(int | None, "Number of classes of the head."),
    class_names=(list[str] | None, "Names of the classes, if the data has them."),
    checkpoint=(str, "The last checkpoint."),
    best_checkpoint=(str | None, "The checkpoint with the highest accuracy."),
    report=(str, "The page."),
    device=(str, "The device that was used."),
) | record(
    "RunEvaluated",
    "An evaluation, with --eval.",
    schema_version=VERSION,
    name=(str, "The network's."),
    weights=(str, "The weights that were evaluated."),
    images=(int, "Number of images."),
    loss=(float | None, "Mean cross-entropy; null if it is not finite."),
    accuracy=(float, "The share of images classified correctly."),
    best_accuracy=(float, "The highest accuracy of this and earlier evaluations."),
)
_VERDICT = record(
    "DeviceVerdict",
    "Whether a device can be used.",
    device=(str, "Its name for --device."),
    usable=(bool, "Whether a tiny network runs on the device and gives the CPU's result."),
    finding=(str, "What was found."),
    hint=(str | None, "How to make the device usable."),
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
            telemetry=(Literal["on", "off"], "Whether onnxruntime sends telemetry."),
        )
        | None,
        "The installed onnxruntime; null if there is none.",
    ),
    gpu=(Gpu | None, "The first GPU that the NVIDIA driver reports.", ABSENT),
    opsets=(
        many(
            record(
                "Opset",
                "An opset that resnet-compile writes.",
                opset=(int, "Its version."),
                ir_version=(int, "The version of the ONNX file format for this opset."),
                runs=(bool, "Whether this onnxruntime runs it."),
            )
        ),
        "The opsets, in ascending order.",
        ABSENT,
    ),
    devices=(many(_VERDICT), "A verdict for each device."),
    faults=(list[str], "Faults of the installation."),
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
"""The type of the JSON document of each command, by the command's name."""


def output_schema(command: str) -> dict[str, Any]:
    """The JSON Schema of the document that a command prints with ``--json``."""
    schema = schema_of(DOCUMENTS[command])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"{command} --json", **schema}
