"""ONNX runtimes is plural: what else than onnxruntime runs a compiled model, and to the same result."""

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator
from support.models import run
from support.tolerances import NETWORK, relative_error

from resnet_compile import CompileOptions, compile, load_spec


@pytest.mark.parametrize("opset", [14, 17, 18, 23])
@pytest.mark.parametrize("size", [(32, 32), "dynamic"])
def test_the_reference_implementation_agrees(opset: int, size: tuple[int, int] | str) -> None:
    """Without and with auto_pad, which stands in models of dynamic size alone.

    Before opset 14 the reference normalises by the batch's own statistics, whatever the number of outputs.
    """
    model = compile(load_spec("tiny"), CompileOptions(opset=opset, outputs="all", size=size)).to_proto()
    x = np.random.default_rng(0).random((2, 3, 32, 32), np.float32)
    expected = run(model, x, exact=True)
    results = ReferenceEvaluator(model).run(list(expected), {"input": x})
    for (name, value), result in zip(expected.items(), results, strict=True):
        assert relative_error(np.asarray(result), value) <= NETWORK, name
