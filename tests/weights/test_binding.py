"""Binding a mapping: all or nothing, and every fault told at once."""

import numpy as np
import pytest
from support.specs import parsed, tiny_document

from resnet_compile import CompileOptions, compile, plan_network
from resnet_compile.errors import WeightsError

SPEC = parsed(tiny_document())


def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {p.name: rng.standard_normal(p.shape, np.float32) for p in plan_network(SPEC).parameters}


def test_given_values_stand_in_the_model() -> None:
    given = weights()
    model = compile(SPEC, weights=given).to_proto()
    for initializer in model.graph.initializer:
        assert np.array_equal(np.frombuffer(initializer.raw_data, np.float32), given[initializer.name].ravel())


def test_numbers_of_other_types_are_converted() -> None:
    given = weights()
    name = "tiny/logits/biases"
    given[name] = np.arange(10)
    (stored,) = (t for t in compile(SPEC, weights=given).to_proto().graph.initializer if t.name == name)
    assert np.frombuffer(stored.raw_data, np.float32).tolist() == list(range(10))


def test_every_fault_is_in_one_message() -> None:
    given = weights()
    del given["tiny/logits/biases"]
    given["tiny/logits/bias"] = np.zeros(10)
    given["tiny/conv1/weights"] = given["tiny/conv1/weights"].transpose(2, 3, 1, 0)
    given["tiny/conv1/biases"] = np.array(["a"] * 8)
    with pytest.raises(WeightsError) as caught:
        compile(SPEC, weights=given)
    message = str(caught.value)
    assert "tiny/logits/biases is missing (there is tiny/logits/bias)" in message
    assert "tiny/logits/bias is no parameter of this network" in message
    assert "tiny/conv1/weights has shape [7, 7, 3, 8], not [8, 3, 7, 7]" in message
    assert "tiny/conv1/biases holds <U1, not numbers" in message
    assert caught.value.where == "tiny/logits/biases"


def test_many_faults_are_counted_not_listed() -> None:
    with pytest.raises(WeightsError, match="; and 72 more @ tiny/conv1/weights"):
        compile(SPEC, weights={"a": np.zeros(1)})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(value: float, tmp_path) -> None:
    given = weights()
    given["tiny/postnorm/gamma"][3] = value
    model = compile(SPEC, CompileOptions(), weights=given)
    with pytest.raises(WeightsError, match="not finite numbers @ tiny/postnorm/gamma"):
        model.save(tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
