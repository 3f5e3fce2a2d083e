"""The operators' rows: against onnx's own schemas, and what they refuse."""

from typing import Any

import onnx
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema

from resnet_compile.errors import GraphError
from resnet_compile.graph import ONNX_TYPES, OPERATORS, Attributes, Type, Value, apply, domain_and_type
from resnet_compile.graph.attributes import AttributeRule
from resnet_compile.serialize import NEWEST_OPSET, OLDEST_OPSET

X = Value("x", Type("float32", ("batch", 3, 8, 8)))
_KINDS = {"int": "INT", "float": "FLOAT", "text": "STRING", "ints": "INTS"}


OWN = [name for name in OPERATORS if domain_and_type(name)[0]]


def schemas(name: str) -> dict[int, onnx.defs.OpSchema]:
    return {opset: onnx.defs.get_schema(name, opset) for opset in range(OLDEST_OPSET, NEWEST_OPSET + 1)}


@pytest.mark.parametrize("name", OWN)
def test_a_row_of_onnxruntimes_own_agrees_with_its_schema(name: str) -> None:
    row, domain_and_name = OPERATORS[name], domain_and_type(name)
    (schema,) = (each for each in get_all_operator_schema() if (each.domain, each.name) == domain_and_name)
    assert schema.since_version == 1
    assert schema.min_input <= row.inputs[0] <= row.inputs[1] <= schema.max_input
    for attribute, rule in row.attributes.items():
        assert schema.attributes[attribute].type.name == _KINDS[rule.kind]
    assert {each.name for each in schema.attributes.values() if each.required} <= row.attributes.keys()


@pytest.mark.parametrize("name", [name for name in OPERATORS if name not in OWN])
def test_a_row_agrees_with_every_schema_of_onnx(name: str) -> None:
    row = OPERATORS[name]
    for opset, schema in schemas(name).items():
        assert schema.min_input <= row.inputs[0] <= row.inputs[1]
        # Another form of the operator may take more.
        assert row.inputs[1] <= schema.max_input or any(opset < form.since for form in row.later)
        for attribute, rule in row.attributes.items():
            has = rule.since <= opset < (rule.before or NEWEST_OPSET + 1)
            assert (attribute in schema.attributes) == has, (attribute, opset)
            if not has:
                continue
            theirs = schema.attributes[attribute]
            assert theirs.type.name == _KINDS[rule.kind]
            assert rule.required or not theirs.required
            if theirs.default_value.name and rule.default is not None:
                default = onnx.helper.get_attribute_value(theirs.default_value)
                shown = default.decode() if isinstance(default, bytes) else default
                assert shown == pytest.approx(rule.default) if isinstance(shown, float) else shown == rule.default


def test_element_types_have_onnxs_numbers() -> None:
    names = {"float32": "FLOAT", "float64": "DOUBLE"}
    for dtype, number in ONNX_TYPES.items():
        assert onnx.TensorProto.DataType.Name(number) == names.get(dtype, dtype.upper())


@pytest.mark.parametrize("name", OPERATORS)
def test_an_attribute_that_an_operator_has_not_is_refused(name: str) -> None:
    with pytest.raises(GraphError, match="no attribute strydes"):
        Attributes({"strydes": (2, 2)}, OPERATORS[name].attributes)


@pytest.mark.parametrize(
    ("operator", "attributes", "words"),
    [
        (
            "MaxPool",
            {"kernel_shape": (1, 1), "strydes": (2, 2)},
            r"MaxPool: no attribute strydes \(it has kernel_shape,",
        ),
        ("Relu", {"alpha": 3}, r"Relu: no attribute alpha \(it has none\)"),
        ("MaxPool", {}, "the attribute kernel_shape is required"),
        ("MaxPool", {"kernel_shape": 3}, "kernel_shape must be integers, got 3"),
        ("MaxPool", {"kernel_shape": (3, 3.0)}, "kernel_shape must be integers"),
        ("MaxPool", {"kernel_shape": (3, 3, 3)}, r"kernel_shape must be 2 integers, got \[3, 3, 3\]"),
        ("MaxPool", {"kernel_shape": (3, 3), "pads": (1, 1)}, "pads must be 4 integers"),
        ("MaxPool", {"kernel_shape": (3, 3), "auto_pad": "SAME_LOWER"}, "auto_pad must be 'NOTSET' or 'SAME_UPPER'"),
        ("LeakyRelu", {"alpha": 1}, "alpha must be a float, got 1"),
        ("Flatten", {"axis": True}, "axis must be an integer, got True"),
        ("Flatten", {"axis": 2}, "axis must be 1, got 2"),
    ],
)
def test_an_attribute_of_another_kind_is_refused(operator: str, attributes: dict[str, Any], words: str) -> None:
    with pytest.raises(GraphError, match=words) as caught:
        apply(operator, X, name="y", **attributes)
    assert caught.value.where == "y"


def test_attributes_are_read_with_their_defaults_and_hold_those_given() -> None:
    rules = {
        "strides": AttributeRule("ints", 1),
        "alpha": AttributeRule("float", 0.01),
        "axis": AttributeRule("int", -1),
    }
    attributes = Attributes({"axis": 2}, rules)
    assert dict(attributes) == {"axis": 2}
    assert attributes.integers("strides", 2) == (1, 1)
    assert (attributes.number("alpha"), attributes.integer("axis")) == (0.01, 2)


def test_what_half_and_8_bits_need_to_know_stands_in_the_rows() -> None:
    """No operator both moves numbers and makes others; sums and exponentials are what half cannot hold."""
    assert not [name for name, row in OPERATORS.items() if row.moves and (row.integer or row.single)]
    single = {name for name, row in OPERATORS.items() if row.single}
    assert single == {"CumSum", "GlobalAveragePool", "LogSoftmax", "ReduceSum", "Softmax"}
