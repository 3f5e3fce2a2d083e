"""What each pass makes of a graph, what it refuses and why, and what a target comes to."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from support.adversarial import calibrated
from support.contents import arrays_of, single, with_arrays
from support.interpreter import evaluate
from support.models import run
from support.specs import narrowed, parsed, tiny_document
from support.tolerances import NETWORK, REWRITE, REWRITE_GROWTH, relative_error

from resnet_compile import CompiledModel, CompileOptions, compile, load_spec, plan_network
from resnet_compile.checkpoints.formats import open_checkpoint
from resnet_compile.errors import GraphError, OptionError, WeightsError
from resnet_compile.graph import Graph, Type, Value, apply, listing, rewrite
from resnet_compile.passes import TARGETS, Pass, PassResult
from resnet_compile.passes.cancellation import Load, Moments, growth, relu_moments
from resnet_compile.passes.fold_batch_norm import fold_batch_norm
from resnet_compile.passes.fuse_convolutions import fuse_convolutions
from resnet_compile.passes.half import to_half
from resnet_compile.passes.hoist_biases import hoist_biases
from resnet_compile.passes.max_after_convolution import max_after_convolution
from resnet_compile.passes.max_preactivation import max_preactivation
from resnet_compile.weights.binding import StoredTensor, bind
from resnet_compile.weights.initial import InitialTensor

X = Value("x", Type("float32", ("batch", 8, 6, 6)))


def operators(model: CompiledModel) -> Counter[str]:
    return Counter(node.operator for node, _ in model.graph.nodes())


def biased(model: CompiledModel) -> int:
    return sum(node.operator == "Conv" and len(node.inputs) == 3 for node, _ in model.graph.nodes())


def preactivation(gamma: np.ndarray, beta: np.ndarray) -> Graph:
    """Batch normalisation of mean 0 and variance 1, ReLU and a 1x1 convolution."""
    rng = np.random.default_rng(0)
    contents = {"gamma": gamma, "beta": beta, "mean": np.zeros(8), "variance": np.ones(8)}
    statistics = [single(name, values) for name, values in contents.items()]
    normed = apply("BatchNormalization", X, *statistics, name="norm", epsilon=1e-5)
    weights = single("weights", rng.standard_normal((16, 8, 1, 1)))
    made = apply("Conv", apply("Relu", normed, name="relu"), weights, name="conv", kernel_shape=(1, 1))
    return Graph("g", (X,), (made,))


def test_portable_leaves_the_batch_norms_that_no_convolution_precedes() -> None:
    plain, folded = compile(load_spec("resnet50")), compile(load_spec("resnet50"), CompileOptions(target="portable"))
    assert operators(plain)["BatchNormalization"] == 49
    assert operators(folded)["BatchNormalization"] == 17
    assert operators(plain) - operators(folded) == Counter(BatchNormalization=32)


def test_cuda_leaves_neither_batch_norms_nor_biases_on_the_stream() -> None:
    portable, cuda = (compile(load_spec("resnet152"), CompileOptions(target=target)) for target in ("portable", "cuda"))
    assert operators(cuda)["BatchNormalization"] == 0
    assert operators(cuda)["Relu"] == 50
    assert operators(cuda)["Max"] == 50 + 51
    # conv1 of 50 units, the logits, and the projections that open the four blocks.
    assert (biased(portable), biased(cuda)) == (156, 55)


def test_requested_outputs_stay_what_they_are() -> None:
    graph, x = calibrated(parsed(tiny_document()), CompileOptions(outputs="all"), "positive", 1)
    for target in ("portable", "cuda"):
        options = CompileOptions(outputs="all", target=target)
        model = compile(parsed(tiny_document()), options, weights=arrays_of(graph))
        expected, actual = evaluate(graph, x, rounded=True), run(model.to_proto(), x)
        assert list(actual) == list(expected)
        for name, value in expected.items():
            assert relative_error(actual[name], value) <= NETWORK, (target, name)


def test_a_requested_output_is_not_folded_into_and_the_reason_is_told() -> None:
    model = compile(load_spec("cifar_resnet20"), CompileOptions(outputs=("conv1", "logits"), target="portable"))
    (fold,) = [each for each in model.passes if each.name == "fold_batch_norm"]
    assert "preact/BatchNormalization: cifar_resnet20/conv1 is a requested output" in "\n".join(fold.refused)
    assert fold.done == 9


def test_a_block_that_is_requested_alone_needs_no_identity() -> None:
    model = compile(parsed(tiny_document()), CompileOptions(outputs=("block1",), target="portable"))
    assert model.outputs == ("tiny/block1",)
    assert operators(model)["Identity"] == 0
    both = compile(parsed(tiny_document()), CompileOptions(outputs="all", target="portable"))
    assert operators(both)["Identity"] == 2


def test_equal_constants_are_one() -> None:
    document = tiny_document() | {"norm": {"scale": False}}
    model = compile(parsed(document), CompileOptions(target="portable"))
    scales = [value.name for value in model.graph.initializers() if value.name.endswith("/ones")]
    assert len(scales) == 3  # of 5 pre-activations, which have three widths
    assert operators(compile(load_spec("cifar_resnet20")))["Constant"] == 2
    assert operators(compile(load_spec("cifar_resnet32"), CompileOptions(target="portable")))["Constant"] == 2


def test_a_folded_model_is_read_back_by_structure(tmp_path: Path) -> None:
    graph, x = calibrated(parsed(tiny_document()), CompileOptions(), "both", 0)
    folded = compile(parsed(tiny_document()), CompileOptions(target="portable"), weights=arrays_of(graph))
    folded.save(tmp_path / "folded.onnx")
    with open_checkpoint(tmp_path / "folded.onnx") as checkpoint:
        assert bind(plan_network(parsed(tiny_document())), checkpoint).facts["weights_naming"] == "structure"
    again = compile(parsed(tiny_document()), weights=tmp_path / "folded.onnx")
    expected = evaluate(graph, x, rounded=True)
    for name, value in run(again.to_proto(), x).items():
        assert relative_error(value, expected[name]) <= NETWORK, name


def test_untouched_parameters_keep_their_names() -> None:
    model = compile(parsed(tiny_document()), CompileOptions(target="portable"))
    names = {value.name for value in model.graph.initializers()}
    assert {"tiny/logits/weights", "tiny/postnorm/gamma", "tiny/conv1/weights"} <= names
    assert "tiny/block1/unit_1/bottleneck_v2/conv1/weights/folded" in names


@pytest.mark.parametrize(
    ("gamma", "beta", "operator"), [(1.0, -0.3, "Max"), (-1.0, -0.3, "Min"), (1.0, 0.0, "Max"), (0.0, -0.5, "Max")]
)
def test_the_sign_of_the_scale_chooses_the_operator(gamma: float, beta: float, operator: str) -> None:
    result = max_preactivation(preactivation(np.full(8, gamma), np.full(8, beta)))
    assert (result.done, result.refused) == (1, ())
    assert f"= {operator}(x, relu/threshold/preactivated)" in listing(result.graph)


@pytest.mark.parametrize(
    ("gamma", "beta", "words"),
    [
        ([1, -1] * 4, [0.1] * 8, "channels of both signs"),
        ([1] * 8, [-5] * 8, "squared errors would grow by"),
        ([1] * 7 + [1e-10], [0.1] * 7 + [-0.1], "a threshold is above 1024"),
        ([1] * 8, [np.inf] * 8, "not a finite number"),
    ],
)
def test_what_would_not_be_precise_is_refused(gamma: list[float], beta: list[float], words: str) -> None:
    result = max_preactivation(preactivation(np.array(gamma), np.array(beta)))
    assert result.done == 0
    assert len(result.refused) == 1
    assert words in result.refused[0]


def test_a_channel_that_hardly_depends_on_its_input_has_a_threshold_that_none_passes() -> None:
    for sign, lowest in ((1, np.finfo(np.float32).min), (-1, np.finfo(np.float32).max)):
        gamma = sign * np.r_[np.ones(7), 1e-42]
        result = max_preactivation(preactivation(gamma, np.full(8, 0.2)))
        threshold = arrays_of(result.graph)["relu/threshold/preactivated"].ravel()
        assert threshold[-1] == lowest
        assert np.abs(threshold[:-1]).max() < 1


def test_a_convolution_with_another_reader_keeps_its_batch_norm() -> None:
    weights = single("weights", np.ones((8, 8, 1, 1)))
    conv = apply("Conv", X, weights, name="conv", kernel_shape=(1, 1))
    statistics = [single(name, np.ones(8)) for name in ("gamma", "beta", "mean", "variance")]
    normed = apply("BatchNormalization", conv, *statistics, name="norm", epsilon=1e-5)
    result = fold_batch_norm(Graph("g", (X,), (apply("Add", normed, conv, name="sum"),)))
    assert (result.done, result.refused) == (0, ("norm: conv has other readers",))


def two_convolutions(beta: float) -> Graph:
    """A biased convolution, batch normalisation, ReLU and an unpadded convolution."""
    rng = np.random.default_rng(0)
    contents = {"first": rng.standard_normal((8, 8, 1, 1)) / 3, "biases": rng.standard_normal(8)}
    made = apply("Conv", X, *(single(name, values) for name, values in contents.items()), name="conv1")
    graph = preactivation(rng.choice([-1.0, 1.0], 8), np.full(8, beta))
    return rewrite(graph, lambda value, _: made if value is X else None)


@pytest.mark.parametrize("each", [fold_batch_norm, max_after_convolution])
def test_biases_of_a_convolution_before_a_batch_norm_count(each: Pass) -> None:
    graph = two_convolutions(0.5)
    graph = with_arrays(graph, {"mean": arrays_of(graph)["biases"]})  # what moving statistics would be
    result = each(graph)
    assert (result.done, result.refused) == (1, ())
    x = np.random.default_rng(1).standard_normal((2, 8, 6, 6)).astype(np.float32)
    exact, rewritten = (evaluate(g, x, rounded=False)["conv"] for g in (graph, result.graph))
    assert relative_error(rewritten, exact) <= REWRITE
    moved = two_convolutions(0.5)
    assert relative_error(evaluate(moved, x, rounded=False)["conv"], exact) > 0.1


def test_a_large_offset_after_a_convolution_is_refused() -> None:
    result = max_after_convolution(two_convolutions(-5.0))
    assert result.done == 0
    assert "squared errors would grow by" in result.refused[0]


def test_an_offset_far_beyond_the_stream_ends_in_its_unit() -> None:
    arrays = arrays_of(compile(load_spec("tiny")).graph)
    arrays["tiny/block1/unit_2/bottleneck_v2/conv3/biases"][:] = 100
    plain = compile(load_spec("tiny"), weights=arrays)
    result = hoist_biases(plain.graph)
    # Of the root, a projection, two units of block1 and in block2 a projection and two units one stays.
    assert result.done == 6
    (refused,) = [each for each in result.refused if each.startswith("tiny/block1/unit_2/bottleneck_v2:")]
    assert "squared errors would grow by" in refused
    x = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)
    expected = evaluate(plain.graph, x, rounded=False)
    for name, value in evaluate(result.graph, x, rounded=False).items():
        assert relative_error(value, expected[name]) <= REWRITE, name


POINTWISE, WIDE = single("pointwise", np.ones((16, 8, 1, 1))), single("wide", np.ones((16, 8, 3, 3)))
FLAT = single("flat", np.ones((8, 16)))


@pytest.mark.parametrize(
    ("read", "reason"),
    [
        (lambda x: apply("Sqrt", x, name="y"), "y, a Sqrt, reads it"),
        (
            lambda x: apply("Conv", x, single("w", np.ones((16, 4, 1, 1))), name="y", group=2),
            "its reader y is a grouped convolution",
        ),
        (
            lambda x: apply("Conv", x, WIDE, name="y", pads=(1, 1, 1, 1)),
            "its reader y is padded, and the padding lacks the offset",
        ),
        (
            lambda x: apply("Conv", x, WIDE, name="y", auto_pad="SAME_UPPER"),
            "its reader y is padded, and the padding lacks the offset",
        ),
        (
            lambda x: apply("Add", *(apply("Conv", x, POINTWISE, name=n) for n in "ab"), name="y"),
            "other nodes share the weights of a",
        ),
        (
            lambda x: apply("Conv", x, apply("Sqrt", POINTWISE, name="root"), name="y"),
            "the weights of y are computed",
        ),
        (
            lambda x: apply("Conv", POINTWISE, x, name="y"),
            "y reads it as its weights or biases",
        ),
        (
            lambda x: apply(
                "Gemm", apply("Flatten", apply("GlobalAveragePool", x, name="p"), name="f"), FLAT, name="y"
            ),
            "its reader y is a product with a matrix that is not transposed",
        ),
    ],
)
def test_a_reader_that_takes_no_offset_is_named_with_the_reason(read: Callable[[Value], Value], reason: str) -> None:
    x = Value("x", Type("float32", (16, 8, 1, 1) if "as its weights" in reason else (2, 8, 6, 6)))
    statistics = [single(name, np.ones(8)) for name in ("gamma", "beta", "mean", "variance")]
    relu = apply("Relu", apply("BatchNormalization", x, *statistics, name="norm", epsilon=1e-5), name="relu")
    result = max_preactivation(Graph("g", (x,), (read(relu),)))
    assert (result.done, result.refused) == (0, (f"relu: {reason}",))


@pytest.mark.parametrize("beta", np.linspace(-3, 3, 13))
def test_the_bound_on_offsets_holds_for_one_layer(beta: float) -> None:
    """Inputs with the statistics that the normalisation claims; where it is accepted, errors stay within the factor."""
    graph = preactivation(np.ones(8), np.full(8, beta))
    result = max_preactivation(graph)
    x = np.random.default_rng(1).standard_normal((4, 8, 6, 6)).astype(np.float32)
    expected = evaluate(graph, x, rounded=False)["conv"]
    before, after = (relative_error(evaluate(g, x, rounded=True)["conv"], expected) for g in (graph, result.graph))
    assert after <= REWRITE_GROWTH * before
    assert result.done == (beta > -0.5)


def test_the_moments_of_activations_are_those_of_normal_ones() -> None:
    rng = np.random.default_rng(0)
    deviation, mean = np.array([1.0, 0.5, 2.0, 0.0, 0.0]), np.array([0.0, 1.0, -2.0, 3.0, -3.0])
    y = np.maximum(rng.standard_normal((1_000_000, 5)) * deviation + mean, 0)
    moments = relu_moments(deviation, mean)
    np.testing.assert_allclose(moments.second, np.square(y).mean(axis=0), rtol=0.02)
    np.testing.assert_allclose(moments.first, y.mean(axis=0), rtol=0.02)


def test_the_growth_of_errors_by_an_offset() -> None:
    weights = np.array([[1.0, 2.0], [-1.0, 0.0]])
    moments = Moments(np.array([0.5, 0.5]), np.ones(2))
    nothing, ones = Load.of(weights, np.zeros(2)), Load.of(weights, np.ones(2))
    assert growth([(nothing, False)], np.zeros(2), moments) == 1
    # (2 + 4) (1 - 1 + 2) + 3^2 + 1^2 over (2 + 4) 1
    assert growth([(ones, False)], np.ones(2), moments) == pytest.approx(22 / 6)
    # (2 + 4) (1/4 - 1 + 2) + 3^2 + 1^2 over (2 + 4) / 4
    assert growth([(ones, True)], np.ones(2), moments) == pytest.approx(17.5 / 1.5)
    assert growth([(ones, False)], np.ones(2), Moments(np.zeros(2), np.zeros(2))) == math.inf


def test_half_stores_halves_and_keeps_the_signature() -> None:
    plain, half = (
        compile(load_spec("tiny"), CompileOptions(dtype=dtype)).to_proto() for dtype in ("float32", "float16")
    )
    assert half.graph.input == plain.graph.input
    assert half.graph.output == plain.graph.output
    assert {tensor.data_type for tensor in half.graph.initializer} == {onnx.TensorProto.FLOAT16}
    onnx.checker.check_model(half, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(half, strict_mode=True)
    types = {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}
    pooled = next(node for node in half.graph.node if node.op_type == "GlobalAveragePool")
    assert types[pooled.output[0]] == onnx.TensorProto.FLOAT


def test_a_weight_beyond_half_is_named() -> None:
    arrays = arrays_of(compile(load_spec("tiny")).graph)
    arrays["tiny/logits/biases"] = np.full(10, 7e4, np.float32)
    model = compile(load_spec("tiny"), CompileOptions(dtype="float16"), weights=arrays)
    with pytest.raises(WeightsError, match=r"overflow float16, up to 7e\+04 @ tiny/logits/biases"):
        model.to_proto()


def test_variances_beyond_half_are_no_matter() -> None:
    arrays = arrays_of(compile(load_spec("tiny")).graph)
    for name, values in arrays.items():
        if name.endswith("moving_variance"):
            arrays[name] = np.full_like(values, 1e6)
        if name.endswith(("conv1/weights", "gamma")):
            arrays[name] = values * 100
    x = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)
    single, half = (
        compile(load_spec("tiny"), CompileOptions(dtype=dtype, outputs=("postnorm",)), weights=arrays)
        for dtype in ("float32", "float16")
    )
    expected = evaluate(single.graph, x, rounded=True)["tiny/postnorm"]
    assert relative_error(evaluate(half.graph, x, rounded=True)["tiny/postnorm"], expected) < 1e-2


def test_a_threshold_beyond_half_is_brought_into_its_range() -> None:
    graph = preactivation(np.r_[np.ones(7), 1e-10], np.full(8, 0.2))
    half = to_half(max_preactivation(graph).graph)
    threshold = arrays_of(half.graph)["relu/threshold/preactivated"]
    assert np.isfinite(threshold).all()
    assert threshold.min() == np.finfo(np.float16).min
    x = np.random.default_rng(0).standard_normal((1, 8, 6, 6)).astype(np.float32)
    expected = evaluate(graph, x, rounded=False)["conv"]
    assert relative_error(evaluate(half.graph, x, rounded=True)["conv"], expected) < 2e-3


def test_a_weight_that_folding_makes_infinite_is_named() -> None:
    arrays = arrays_of(compile(load_spec("tiny")).graph)
    name = "tiny/block1/unit_1/bottleneck_v2/conv1"
    arrays[f"{name}/BatchNorm/gamma"] = np.full(8, 3e38, np.float32)
    arrays[f"{name}/weights"] = np.full(arrays[f"{name}/weights"].shape, 1e10, np.float32)
    model = compile(load_spec("tiny"), CompileOptions(target="portable"), weights=arrays)
    with pytest.raises(WeightsError, match=f"not finite float32 numbers @ {name}/weights/folded"):
        model.to_proto()


def test_the_same_model_twice_is_the_same_bytes() -> None:
    options = CompileOptions(target="cuda", dtype="float16")
    first, second = (compile(load_spec("tiny"), options).to_proto().SerializeToString() for _ in range(2))
    assert first == second
    assert replace(compile(load_spec("tiny"), options)).passes


def test_a_pass_that_breaks_a_rule_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def mistaken(graph: Graph) -> PassResult:
        (output, *others) = graph.outputs
        wrong = replace(output, type=Type("float16", output.shape))
        return PassResult(replace(graph, outputs=(wrong, *others)), 1)

    monkeypatch.setitem(TARGETS, "portable", (fold_batch_norm, mistaken))  # type: ignore[arg-type]
    with pytest.raises(GraphError, match=r"^mistaken breaks a rule: .*has type float16"):
        compile(load_spec("tiny"), CompileOptions(target="portable"))


def test_lowering_and_what_is_written_are_judged_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = compile(load_spec("tiny"))
    (logits, predictions) = model.graph.outputs
    twice = replace(model.graph, outputs=(logits, replace(predictions, name=logits.name)))
    with pytest.raises(GraphError, match="tiny/logits: two values have this name"):
        replace(model, graph=twice).save(tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
    with pytest.raises(GraphError, match="two values have this name"):
        replace(model, graph=twice).to_proto()
    monkeypatch.setattr("resnet_compile.compiler.lower", lambda *args, **kwargs: twice)
    with pytest.raises(GraphError, match=r"^lowering breaks a rule"):
        compile(load_spec("tiny"))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_every_tensor_is_made_once(target: Any, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for matrices against which a pass has to weigh an offset that is not zero: those are looked at before."""
    spec, options = load_spec("tiny"), CompileOptions(target=target, dtype=dtype, batch=2)
    lived = arrays_of(calibrated(spec, CompileOptions(), "positive", 0)[0])
    made: Counter[str] = Counter()
    for kind in (InitialTensor, StoredTensor):
        monkeypatch.setattr(kind, "array", counting(kind.array, made))
    compile(spec, options).to_proto()
    assert len(made) == len(plan_network(spec).parameters)
    assert set(made.values()) == {1}
    made.clear()
    compile(spec, options, weights=lived).to_proto()
    assert {made[p.name] for p in plan_network(spec).parameters if p.role != "weights"} == {1}
    assert max(made.values()) == (2 if target == "cuda" else 1)


def counting(method: Callable[[Any], np.ndarray], made: Counter[str]) -> Callable[[Any], np.ndarray]:
    def array(tensor: Any) -> np.ndarray:
        made[tensor.parameter.name] += 1
        return method(tensor)

    return array


FUSED = CompileOptions(target="cuda", fused_conv=True)


@pytest.mark.parametrize(
    ("name", "left"),
    [
        # Every convolution of v1 ends in a ReLU but the projections, whose sums the residual's convolution takes in.
        ("torchvision_resnet50", Counter({"Conv": 4, "com.microsoft:FusedConv": 49})),
        # In v2 the root and the last convolution of every unit have none, and neither have the projections.
        ("resnet50", Counter({"Conv": 1 + 16 + 4 + 1, "com.microsoft:FusedConv": 32})),
    ],
)
def test_convolutions_take_in_their_relus(name: str, left: Counter[str]) -> None:
    found = operators(compile(load_spec(name), FUSED))
    assert Counter({key: found[key] for key in left}) == left
    assert not found["Relu"]
    assert not found["BatchNormalization"]


@pytest.mark.parametrize("name", ["torchvision_resnet18", "resnet50", "torchvision_resnext50_32x4d"])
def test_onnxruntime_computes_the_same_with_fused_convolutions(name: str) -> None:
    spec = narrowed(load_spec(name))
    x = np.random.default_rng(0).standard_normal((2, 3, spec.input.height, spec.input.width), np.float32)
    expected = run(compile(spec, CompileOptions(outputs="all")).to_proto(), x)
    proto = compile(spec, FUSED.replace(outputs="all")).to_proto()
    onnx.checker.check_model(proto)
    assert [(each.domain, each.version) for each in proto.opset_import] == [("", 18), ("com.microsoft", 1)]
    assert {node.op_type for node in proto.graph.node if node.domain} == {"FusedConv"}
    for output, values in run(proto, x, exact=True).items():
        assert relative_error(values, expected[output]) <= NETWORK, output


def test_a_convolution_that_is_needed_before_its_relu_is_not_fused() -> None:
    weights = single("weights", np.ones((8, 8, 1, 1)))
    conv = apply("Conv", X, weights, name="conv", kernel_shape=(1, 1))
    total = apply("Add", conv, X, name="sum")
    relu = apply("Relu", total, name="relu")
    fused = fuse_convolutions(Graph("g", (X,), (relu,)))
    assert [value.name for value in fused.graph.outputs[0].maker.inputs if value] == ["x", "weights", "x"]
    assert fuse_convolutions(Graph("g", (X,), (relu, conv))).refused == (
        "relu: sum is no sum with a convolution that it alone reads",
    )
    kept = fuse_convolutions(Graph("g", (X,), (relu, total)))
    assert (kept.done, kept.refused) == (0, ("relu: sum is needed before its ReLU too",))


def test_fused_convolutions_are_of_cuda_in_float32() -> None:
    for wrong in ({"target": "cpu"}, {}, {"target": "cuda", "dtype": "float16"}):
        with pytest.raises(OptionError, match=r"is for target cuda in float32, got .* @ \$\.fused_conv"):
            CompileOptions(fused_conv=True, **wrong)
    conv = apply("Conv", X, single("weights", np.ones((8, 8, 1, 1))), name="conv", kernel_shape=(1, 1))
    row = Type("float32", ("batch", 8, 1, 6))
    with pytest.raises(GraphError, match="must be of the result's type"):
        apply("com.microsoft:FusedConv", X, conv.maker.input(1), None, Value("row", row), name="y", activation="Relu")
