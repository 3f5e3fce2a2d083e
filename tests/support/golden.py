"""Golden data of one run of an original system, in our names and layouts."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from resnet_compile import CompileOptions, NetworkSpec, compile, plan_network
from resnet_compile.plan import Parameter
from support.models import run
from support.tolerances import NETWORK, relative_error

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
Rules = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class GoldenRun:
    """What an original computed.

    Attributes:
        label: A name for the test.
        spec: The network.
        weights: By parameter name, in our layouts.
        x: The image, NCHW.
        expected: By the names of our values; maps are NCHW.
    """

    label: str
    spec: NetworkSpec
    weights: Mapping[str, np.ndarray]
    x: np.ndarray
    expected: Mapping[str, np.ndarray]

    def check(self, edit: Callable[[onnx.ModelProto], None] = lambda model: None) -> None:
        """Asserts that a model of the network, which may be edited first, computes what the original did."""
        model = compile(self.spec, CompileOptions(outputs=tuple(self.expected)), weights=self.weights).to_proto()
        edit(model)
        actual = run(model, self.x)
        errors = {name: relative_error(actual[name][: len(value)], value) for name, value in self.expected.items()}
        assert max(errors.values()) <= NETWORK, {name: error for name, error in errors.items() if error > NETWORK}


def golden_runs(path: Path) -> Iterator[tuple[dict[str, Any], dict[str, np.ndarray], dict[str, np.ndarray]]]:
    """Of every case of a file: its description; its variables; its input, end points and outputs by the names there."""
    arrays = np.load(path)
    for text in arrays["case"]:
        case = json.loads(str(text))
        values = {name: arrays[case[name]] for name in ("x", "logits", "predictions") if name in case}
        yield case, variables(arrays), values | {name: arrays[key] for name, key in case["end"].items()}


def variables(arrays: Any) -> dict[str, np.ndarray]:
    """The variables in a golden file, by the original's names."""
    return {key.removeprefix("var/"): arrays[key] for key in arrays.files if key.startswith("var/")}


def translated(
    spec: NetworkSpec, source: Mapping[str, np.ndarray], rules: Rules, *, hwio: bool
) -> dict[str, np.ndarray]:
    """A network's weights from the original's variables, every one of which has to be used.

    Args:
        spec: The network.
        source: Variables by the original's names, without counters and the like.
        rules: Regular expressions of our names, without the network's, and templates of the original's; each is tried
            in turn until its outcome is a variable.
        hwio: Whether kernels are HWIO and IO, not OIHW and OI.
    """
    names = {p: _find(p, spec.name, source, rules) for p in plan_network(spec).parameters}
    assert sorted(names.values()) == sorted(source)
    order = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}
    return {
        p.name: source[name].transpose(order[source[name].ndim]) if hwio else source[name] for p, name in names.items()
    }


def _find(parameter: Parameter, network: str, source: Mapping[str, np.ndarray], rules: Rules) -> str:
    name = parameter.name.removeprefix(f"{network}/")
    for pattern, template in rules:
        if (match := re.fullmatch(pattern, name)) and (found := match.expand(template)) in source:
            return found
    raise AssertionError(f"no rule gives {name}")
