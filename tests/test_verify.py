"""Verification: two models that agree, two that do not, and the command that tells."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from support.commands import command

from resnet_compile import CompileOptions, compile, load_spec
from resnet_compile.cli.compile import cli
from resnet_compile.errors import VerificationError
from resnet_compile.graph import ConstantTensor
from resnet_compile.verify import Comparison, compare, require_agreement


@pytest.mark.parametrize(
    "options",
    [
        CompileOptions(target="cuda", outputs="all", layout="nhwc"),
        CompileOptions(target="cuda", dtype="float16", size="dynamic"),
        CompileOptions(target="portable", batch=3),
    ],
)
def test_a_rewritten_model_agrees(options: CompileOptions) -> None:
    plain = options.model_copy(update={"target": None, "dtype": "float32"})
    comparisons = compare(compile(load_spec("tiny"), options), compile(load_spec("tiny"), plain))
    require_agreement(comparisons)
    assert all(each.error > 0 for each in comparisons[:1])
    assert {each.bound for each in comparisons} == {5e-2 if options.dtype == "float16" else 1e-4}


def test_another_function_does_not_agree() -> None:
    model = compile(load_spec("tiny"))
    name = "tiny/logits/biases"
    moved = replace(model.graph, data={**model.graph.data, name: ConstantTensor(np.full(10, 9, np.float32))})
    comparisons = compare(replace(model, graph=moved), model)
    with pytest.raises(VerificationError, match=r"1 of 2 outputs differ .* by up to 1\.9.* @ tiny/logits"):
        require_agreement(comparisons)


def test_no_number_is_no_agreement() -> None:
    with pytest.raises(VerificationError, match="nan"):
        require_agreement((Comparison("y", float("nan"), float("nan"), 1e-4),))


def test_the_command_prints_a_table(tmp_path: Path) -> None:
    done = command("resnet-compile", "tiny", "--target", "cuda", "--verify", "-o", "model.onnx", cwd=tmp_path)
    assert done.code == 0
    assert [line.split()[0] for line in done.err.splitlines()] == ["output", "tiny/logits", "predictions"]
    assert (tmp_path / "model.onnx").exists()


def test_the_command_puts_it_into_the_json_document(tmp_path: Path) -> None:
    flags = ["--dtype", "float16", "--verify", "--json"]
    done = command("resnet-compile", "tiny", *flags, "-o", "model.onnx", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    document = json.loads(done.out)["verification"]
    assert [each["output"] for each in document] == ["tiny/logits", "predictions"]
    assert all(0 < each["error"] <= each["bound"] for each in document)


def test_a_model_that_fails_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resnet_compile.verify._BOUNDS", {"float32": 0.0, "float16": 0.0})
    output = tmp_path / "model.onnx"
    output.write_bytes(b"before")
    done = CliRunner().invoke(cli, ["tiny", "--target", "cuda", "--verify", "-o", str(output)])
    assert isinstance(done.exception, VerificationError)
    assert done.exception.exit_code == 3
    assert output.read_bytes() == b"before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.onnx"]


def test_v_tells_what_was_refused(tmp_path: Path) -> None:
    done = command("resnet-compile", "tiny", "--target", "portable", "-v", "-o", "model.onnx", cwd=tmp_path)
    assert "fold_batch_norm: 8 rewritten, 5 refused" in done.err
    assert "  tiny/postnorm/BatchNormalization: no convolution stands before it" in done.err
