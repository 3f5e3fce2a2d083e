"""What computes in integers in a model of QuantizeLinear and DequantizeLinear, and what does not."""

from collections.abc import Iterator

import onnx

from resnet_compile.graph import OPERATORS

INTEGER = {name for name, row in OPERATORS.items() if row.integer}


class Walk:
    """A model's nodes, and what makes and reads each value."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.nodes = list(model.graph.node)
        self.held = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self.maker = {name: node for node in self.nodes for name in node.output}
        self.outputs = {value.name for value in model.graph.output}

    def readers(self, name: str) -> list[onnx.NodeProto]:
        return [node for node in self.nodes if name in node.input]

    def is_read_back(self, name: str) -> bool:
        return name in self.maker and self.maker[name].op_type == "DequantizeLinear"

    def of(self, *operators: str) -> Iterator[onnx.NodeProto]:
        return (node for node in self.nodes if node.op_type in operators)

    def floats(self) -> set[str]:
        """What computes in float32 though an integer form is there, by the names of the outputs."""
        layers = (node for node in self.of(*INTEGER, "Gemm") if not self._follows_integers(node))
        return {node.output[0] for node in layers if not all(map(self.is_read_back, _operands(node)))}

    def _follows_integers(self, node: onnx.NodeProto) -> bool:
        """Whether an activation or a sum is fused with the integer layer before it."""
        before = self.maker.get(node.input[0])
        fused = node.op_type in ("Relu", "LeakyRelu", "Clip") and before is not None
        return fused and (self.is_read_back(before.input[0]) or self._follows_integers(before))


def _operands(node: onnx.NodeProto) -> list[str]:
    """What a layer computes with, biases aside."""
    return node.input[:2] if node.op_type in ("Add", "Conv", "Gemm", "Mul") else node.input[:1]
