"""Throw changed ONNX graphs at the recogniser: a spec, or one line that names what is in the way, must come out.

    python tools/fuzz_graphs.py                          # 20,000 graphs
    python tools/fuzz_graphs.py --count 500 --seed 7
    python tools/fuzz_graphs.py --case 123               # one case again
    python tools/fuzz_graphs.py --prove                  # and run what is recognised beside the spec's network

A case takes a narrow network of the catalogue, or an export of another system, and changes one to three places: an
operator, an attribute, what a node reads, its outputs, a tensor's shape or values, the opset; or it takes a node out,
puts one in, or makes a circle. Any exception but `WeightsError`, a message of several lines, and more than a few
seconds of the processor's time are faults: they are told, leave the model in a folder, and make the exit code 1. With
--prove so does a spec whose network computes something else than the model, where onnxruntime runs the model.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx.compose
import onnx.parser
from onnx import helper, numpy_helper

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.specs import families  # noqa: E402

from resnet_compile import CompileOptions, compile, open_checkpoint, proof  # noqa: E402
from resnet_compile.errors import VerificationError, WeightsError  # noqa: E402
from resnet_compile.recognise import recognise  # noqa: E402

EXPORTS = ROOT / "tests" / "data" / "onnx"
OPERATORS = (
    *("Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "Conv", "Div", "Dropout", "Elu"),
    *(
        "Expand",
        "Flatten",
        "Gather",
        "Gemm",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "Identity",
        "LeakyRelu",
        "MatMul",
        "Max",
        "MaxPool",
    ),
    *("Min", "Mul", "PRelu", "Pad", "ReduceMean", "Relu", "Reshape", "Sigmoid", "Slice", "Softmax", "Split", "Squeeze"),
    *("Sub", "Sum", "Transpose", "Unsqueeze"),
)
PREPARED = """<ir_version: {version}, opset_import: ["": 18]> before ({image} x) => ({image} y)
    <int64[3] i = {{2, 1, 0}}, float[3,1,1] mean = {{0.5, 0.6, 0.7}}, float[1,3,1,1] std = {{0.2, 0.3, 0.4}}>
    {{ a = Gather<axis = 1>(x, i) b = Sub(a, mean) y = Div(b, std) }}"""
NUMBERS = (-3, -1, 0, 1, 2, 3, 7, 1 << 31, 1 << 62)
SLOWEST = 3.0  # seconds for a narrow network; most take a few hundredths

Model = onnx.ModelProto
Change = Callable[[Model, random.Random], None]


def values_of(model: Model) -> list[str]:
    """The names of all values."""
    made = [name for node in model.graph.node for name in node.output]
    return [*(value.name for value in model.graph.input), *(each.name for each in model.graph.initializer), *made]


def another_operator(model: Model, rng: random.Random) -> None:
    """A node of another operator."""
    rng.choice(model.graph.node).op_type = rng.choice(OPERATORS)


def another_attribute(model: Model, rng: random.Random) -> None:
    """An attribute left out, of other numbers, or under another name."""
    node = rng.choice([node for node in model.graph.node if node.attribute])
    attribute = rng.choice(node.attribute)
    match rng.randrange(4):
        case 0:
            node.attribute.remove(attribute)
        case 1 if attribute.ints:
            attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(NUMBERS)
        case 2 if attribute.ints:
            del attribute.ints[rng.randrange(len(attribute.ints))]
        case 3:
            attribute.name = rng.choice(("axes", "axis", "group", "pads", "strides", "kernel_shape", "epsilon"))
        case _:
            attribute.i, attribute.f = rng.choice(NUMBERS), rng.choice((-1.0, 0.0, 0.1, 1e-3, 1e30, float("nan")))


def another_input(model: Model, rng: random.Random) -> None:
    """A node that reads something else, nothing, or one thing less; circles among them."""
    node = rng.choice([node for node in model.graph.node if node.input])
    at = rng.randrange(len(node.input))
    match rng.randrange(4):
        case 0:
            del node.input[at]
        case 1:
            node.input[at] = ""
        case _:
            node.input[at] = rng.choice(values_of(model))


def another_output(model: Model, rng: random.Random) -> None:
    """A node that makes nothing or another value; another output of the graph."""
    node = rng.choice(model.graph.node)
    match rng.randrange(3):
        case 0:
            del node.output[:]
        case 1:
            node.output[0] = rng.choice(values_of(model))
        case _:
            model.graph.output[0].name = rng.choice(values_of(model))


def another_tensor(model: Model, rng: random.Random) -> None:
    """A tensor of another shape, type or value."""
    tensor = rng.choice(model.graph.initializer)
    array = numpy_helper.to_array(tensor)
    match rng.randrange(4):
        case 0:
            array = array.reshape(-1)
        case 1:
            array = array[..., :-1] if array.ndim else array
        case 2:
            array = np.zeros((0,), array.dtype) if rng.random() < 0.3 else array.astype(np.int64)
        case _:
            array = np.full_like(array, rng.choice((0, 1, 2)))
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))


def without_node(model: Model, rng: random.Random) -> None:
    """A node less; what it made is no more, or what it read."""
    node = rng.choice(model.graph.node)
    if node.input and node.output and rng.random() < 0.7:
        for reader in model.graph.node:
            for at, name in enumerate(reader.input):
                if name == node.output[0]:
                    reader.input[at] = node.input[0]
    model.graph.node.remove(node)


def with_node(model: Model, rng: random.Random) -> None:
    """A node more, in front of another's first input."""
    reader = rng.choice([node for node in model.graph.node if node.input])
    operator = rng.choice(OPERATORS)
    name = f"made/{len(model.graph.node)}"
    inputs = [reader.input[0]]
    if rng.random() < 0.5:
        inputs.append(rng.choice(values_of(model)))
    place = [*model.graph.node].index(reader)
    model.graph.node.insert(place, helper.make_node(operator, inputs, [name]))
    reader.input[0] = name


def another_version(model: Model, rng: random.Random) -> None:
    """Another opset, or another domain of a node."""
    if rng.random() < 0.5:
        model.opset_import[0].version = rng.choice((0, 7, 11, 12, 13, 18, 26, 99))
    else:
        rng.choice(model.graph.node).domain = "com.example"


def another_image(model: Model, rng: random.Random) -> None:
    """An input of another shape."""
    axes = model.graph.input[0].type.tensor_type.shape.dim
    if axes:
        axes[rng.randrange(len(axes))].dim_value = rng.choice((0, 1, 3, 16, 33, 1 << 40))


CHANGES: Sequence[Change] = (
    another_operator,
    another_attribute,
    another_attribute,
    another_input,
    another_input,
    another_output,
    another_tensor,
    without_node,
    with_node,
    another_version,
    another_image,
)


def originals() -> list[bytes]:
    """Narrow networks of every family, plain, rewritten and behind nodes that prepare images; others' exports."""
    found = [path.read_bytes() for path in sorted(EXPORTS.glob("*.onnx"))]
    for spec in families():
        for target in (None, "cpu"):
            model = compile(spec, CompileOptions(target=target)).to_proto()
            del model.metadata_props[:]
            found.append(model.SerializeToString())
            image = f"float[N,3,{spec.input.height},{spec.input.width}]"
        before = onnx.parser.parse_model(PREPARED.format(version=model.ir_version, image=image))
        found.append(onnx.compose.merge_models(before, model, io_map=[("y", "input")]).SerializeToString())
    return found


def changed(original: bytes, rng: random.Random) -> Model:
    """A model with a few changes; one that has no place left in the model is passed over."""
    model = onnx.load_from_string(original)
    for _ in range(rng.randint(1, 3)):
        try:
            rng.choice(CHANGES)(model, rng)
        except (IndexError, ValueError):
            continue
    return model


def outcome(path: Path, *, prove: bool) -> str:
    """What became of a model: `recognised`, `proved`, `not run` or `refused`.

    Raises:
        Exception: Whatever must not come out.
    """
    try:
        with open_checkpoint(path) as source:
            spec = recognise(source).spec
    except WeightsError as error:
        if len(str(error).splitlines()) != 1:
            raise AssertionError(f"a message of several lines: {error}") from None
        return "refused"
    if not prove:
        return "recognised"
    try:
        compared = proof.compare_source(spec, path)
    except (VerificationError, WeightsError):
        return "not run"
    wrong = [each for each in compared if not each.agrees and np.isfinite(each.error)]
    if wrong:
        raise AssertionError(f"another function: {wrong[0]}")
    return "proved"


def main() -> int:
    """Parses the command line, runs the cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int)
    parser.add_argument("--prove", action="store_true")
    arguments = parser.parse_args()
    models, counts, slowest = originals(), Counter[str](), 0.0
    cases = range(arguments.count) if arguments.case is None else [arguments.case]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "theirs.onnx"
        for case in cases:
            rng = random.Random(f"{arguments.seed}/{case}")
            path.write_bytes(changed(rng.choice(models), rng).SerializeToString())
            begun, spent = time.thread_time(), 0.0
            try:
                found = outcome(path, prove=arguments.prove)
                spent = time.thread_time() - begun
                if spent > SLOWEST and not arguments.prove:
                    raise AssertionError(f"{spent:.1f} seconds")
            except Exception:  # the one thing that this looks for
                kept = Path(tempfile.mkdtemp(prefix="fuzz_graphs_")) / path.name
                kept.write_bytes(path.read_bytes())
                traceback.print_exc()
                print(f"case {case} of seed {arguments.seed}: {kept}", file=sys.stderr)
                found = "faults"
            slowest = max(slowest, spent)
            counts[found] += 1
    told = ", ".join(f"{number:,} {word}" for word, number in sorted(counts.items()))
    print(f"{sum(counts.values()):,} graphs: {told}; {slowest:.2f} s at most")
    return 1 if counts["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
