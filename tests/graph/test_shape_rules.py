"""The shape rules that training and quantisation need: against onnx's own, and what they refuse."""

import onnx
import pytest

from resnet_compile import load_spec
from resnet_compile.errors import GraphError
from resnet_compile.graph import Type, Value, apply, unbound
from resnet_compile.training import compile_step
from resnet_compile.training.options import StepOptions

X = Value("x", Type("float32", (2, 3, 8, 8)))
OPEN = Value("open", Type("float32", ("batch", 3, 8, 8)))
UNKNOWN = Value("unknown", Type("float32", ("batch", 3, None, "w")))
W = unbound("w", "float32", (3, 4, 3, 3))
ONE, ZERO = unbound("one", "float32", ()), unbound("zero", "uint8", ())
THREE, TWO = unbound("three", "float32", (3,)), unbound("two", "float32", (2,))


@pytest.mark.parametrize("target", ["cpu", "cuda"])
@pytest.mark.parametrize("name", ["tiny", "cifar_resnet20", "torchvision_resnext50_32x4d", "keras_resnet50v2"])
def test_types_of_a_training_step_are_onnxs(name: str, target: str) -> None:
    step = compile_step(load_spec(name), StepOptions(batch=2, size=(32, 32), target=target))  # type: ignore[arg-type]
    inferred = onnx.shape_inference.infer_shapes(step.to_proto(), check_type=True, strict_mode=True, data_prop=True)
    theirs = {info.name: info.type.tensor_type for info in inferred.graph.value_info}
    inner = [value for value in step.graph.values() if value.node and value not in step.graph.outputs]
    assert inner
    for value in inner:
        dims = theirs[value.name].shape.dim
        assert tuple(dim.dim_value for dim in dims) == value.shape, value


def ints(*values: int) -> Value:
    return apply("Constant", name="ints", value_ints=values)


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes", "words"),
    [
        ("Reshape", (X, ints(2, 3, 8, 9)), {}, "differ in their number of elements"),
        ("Reshape", (X, X), {}, "input 1 must be a Constant"),
        ("Reshape", (X, ints(2, -1, -1)), {}, "is not a shape for"),
        ("Reshape", (X, ints(2, 3, 8, 8, 0)), {}, "is not a shape for"),
        ("Reshape", (X, ints(5, -1)), {}, "do not fill"),
        ("Reshape", (Value("y", Type("float32", ("batch", 3))), ints(0, 2)), {}, "differ in their number of elements"),
        ("Expand", (X, ints(2, 3, 8, 9)), {}, "cannot be expanded to"),
        ("ReduceSum", (X, ints(4)), {}, "lacks some of the axes"),
        ("MatMul", (X, W), {}, "have no product"),
        ("Gather", (X, W), {"axis": 1}, "is not a list of indices"),
        ("Gather", (X, THREE), {"axis": 4}, "is not a list of indices"),
        ("Concat", (X, W), {"axis": 0}, "does not continue"),
        ("Concat", (X, X), {}, "the attribute axis is required"),
        ("ConvTranspose", (X, unbound("v", "float32", (4, 3, 3, 3))), {}, "does not fit weights"),
        ("ConvTranspose", (X, unbound("v", "float16", (3, 4, 3, 3))), {}, "does not fit weights"),
        ("ScatterElements", (X, Value("i", Type("int64", (3,))), X), {"axis": 0}, "does not fit"),
        ("ArgMax", (X,), {"axis": 1, "keepdims": 0}, "keepdims must be 1, got 0"),
        ("Cast", (X,), {"to": 8}, "to must be 1 or 2 or"),
        ("QuantizeLinear", (X, THREE, ZERO), {}, "must be one scale"),
        ("QuantizeLinear", (X, THREE, unbound("z", "uint8", (3,))), {"axis": 0}, "must be one scale"),
        ("QuantizeLinear", (X, TWO, unbound("z", "uint8", (2,))), {"axis": 4}, "must be one scale"),
        ("DequantizeLinear", (X, ONE, ZERO), {}, "have different types"),
        ("DequantizeLinear", (Value("q", Type("uint8", (2, 3))), TWO, ZERO), {"axis": 0}, "must be one scale"),
        ("Conv", (X, unbound("v", "float32", (4, 3, 1, 3, 3))), {}, "both 4-D or both 5-D"),
    ],
)
def test_what_does_not_fit_is_refused(operator: str, inputs: tuple[Value, ...], attributes: dict, words: str) -> None:
    with pytest.raises(GraphError, match=words):
        apply(operator, *inputs, name="y", **attributes)


def test_integers_have_the_type_of_the_zero_point_and_numbers_that_of_the_scale() -> None:
    held = apply("QuantizeLinear", X, ONE, ZERO, name="held")
    assert held.type == Type("uint8", (2, 3, 8, 8))
    assert apply("DequantizeLinear", held, ONE, ZERO, name="read").type == X.type
    weights, zeros = unbound("i", "int8", (3, 4, 3, 3)), unbound("zeros", "int8", (3,))
    assert apply("DequantizeLinear", weights, THREE, zeros, name="w", axis=0).type == W.type


@pytest.mark.parametrize(
    ("operator", "inputs", "shape"),
    [
        ("Reshape", (OPEN, ints(0, -1)), ("batch", 192)),
        ("Reshape", (OPEN, ints(-1, 192)), ("batch", 192)),
        ("Reshape", (OPEN, ints(-1, 96)), (None, 96)),
        ("Reshape", (OPEN, ints(0, 3, -1)), ("batch", 3, 64)),
        ("Reshape", (X, ints(0, -1)), (2, 192)),
        (
            "Reshape",
            (
                X,
                ints(
                    -1,
                ),
            ),
            (384,),
        ),
        ("Reshape", (UNKNOWN, ints(0, -1)), ("batch", None)),
        ("Flatten", (OPEN,), ("batch", 192)),
        ("Flatten", (UNKNOWN,), ("batch", None)),
        ("Expand", (Value("y", Type("float32", ("batch", 1))), ints(4, 3)), (4, 3)),
        ("MatMul", (Value("y", Type("float32", ("batch", 5, 3))), Value("z", Type("float32", (2, 3, 4)))), (2, 5, 4)),
        ("ConvTranspose", (UNKNOWN, W), ("batch", 4, None, None)),
        ("Slice", (UNKNOWN, ints(1), ints(3), ints(2), ints(1)), ("batch", 3, None, "w")),
        ("Slice", (OPEN, ints(1), ints(3), ints(2), ints(1)), ("batch", 3, 2, 8)),
    ],
)
def test_lengths_may_be_names_or_unknown(operator: str, inputs: tuple[Value, ...], shape: tuple) -> None:
    assert apply(operator, *inputs, name="y").shape == shape
