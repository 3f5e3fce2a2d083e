"""Compiles every network of the catalogue for every target, checks the files, and runs them beside the plain network.

    python tools/verify_catalogue.py [NAME...]

Every model has one image of the spec's size and initial weights in float32. Where hundreds of units would grow them
beyond float32, the norms' scales are a fifth of theirs. The file is checked by onnx in full, its shapes are inferred
strictly and held to the plan's, and it runs on the CPU on one random image beside the network that no pass has touched,
which runs without onnxruntime's own rewrites. Networks of more than 130 million parameters are only counted.

The table is `results/catalogue_cpu.md`. `results/catalogue_cpu.json` has a row as soon as it is measured, so that an
interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import onnx
from bench_common import environment, markdown
from numpy.typing import NDArray

import resnet_compile as rc
from resnet_compile.plan.parameters import Parameter
from resnet_compile.targets import Target
from resnet_compile.weights.initial import InitialTensor

_RESULTS = Path(__file__).resolve().parent / "results"
_MOST_PARAMETERS = 130_000_000
# Units from which on initial weights may give no finite logits.
_DEEP = 300
_TARGETS: tuple[Target, ...] = get_args(Target)


def main() -> None:
    """Measures what has no row yet, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="by default the whole catalogue")
    names = parser.parse_args().names or rc.catalogue()
    path = _RESULTS / "catalogue_cpu.json"
    record = json.loads(path.read_text()) if path.exists() else {"environment": environment(), "networks": {}}
    for name in names:
        if name not in record["networks"]:
            record["networks"][name] = row = network(name)
            path.write_text(json.dumps(record, indent=1) + "\n")
            print(name, row, flush=True)
    path.with_suffix(".md").write_text(page(record))


def network(name: str) -> dict[str, Any]:
    """The parameters of a network, and for each target the nodes of its model and the worst error of its outputs."""
    planned = rc.plan_network(rc.load_spec(name))
    row: dict[str, Any] = {"parameters": planned.num_parameters}
    if planned.num_parameters <= _MOST_PARAMETERS:
        deep = sum(1 for _ in planned.units) > _DEEP
        weights = {parameter.name: values(parameter, deep=deep) for parameter in planned.parameters}
        plain = rc.compile(planned.spec, rc.CompileOptions(batch=1), weights=weights)
        row["targets"] = {target: model(target, plain, weights) for target in _TARGETS}
    return row


def values(parameter: Parameter, *, deep: bool) -> NDArray[Any]:
    """A parameter's initial values; of a deep network, a fifth of those of a norm's scale."""
    array = InitialTensor(parameter, seed=0).array()
    return array / 5 if deep and parameter.role == "gamma" else array


def model(target: Target, plain: rc.CompiledModel, weights: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """What is to tell of one model, once its file is a good one."""
    spec = plain.plan.spec
    made = rc.compile(spec, rc.CompileOptions(batch=1, target=target), weights=weights)
    proto = made.to_proto()
    onnx.checker.check_model(proto, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True)
    shapes = {point.name: (1, *point.shape) for point in made.plan.end_points}
    for output in inferred.graph.output:
        shape = tuple(axis.dim_value for axis in output.type.tensor_type.shape.dim)
        if shapes.get(output.name, shape) != shape:
            raise SystemExit(
                f"{spec.name} for {target}: {output.name} is inferred {shape}, planned {shapes[output.name]}"
            )
    errors = rc.verify.compare(made, plain)
    rc.verify.require_agreement(errors)
    return {
        "nodes": len(proto.graph.node),
        "error": max(each.error for each in errors),
    }


def page(record: dict[str, Any]) -> str:
    """The record as a table: a network a row."""
    rows = [
        [
            name,
            f"{row['parameters'] / 1e6:.2f}",
            *(row["targets"][target]["nodes"] for target in _TARGETS),
            *(f"{row['targets'][target]['error']:.1e}" for target in _TARGETS),
        ]
        for name, row in sorted(record["networks"].items())
        if "targets" in row
    ]
    header = [
        "network",
        "parameters, M",
        *(f"nodes, {each}" for each in _TARGETS),
        *(f"error, {each}" for each in _TARGETS),
    ]
    made = record["environment"]
    runtime = next(version for name, version in made["packages"].items() if name.startswith("onnxruntime"))
    about = (
        f"{len(rows)} networks for {len(_TARGETS)} targets: compiled at full size in float32, "
        "checked, shapes inferred, run on the CPU on a random image. An error is the worst of a model's outputs, norm "
        "of the difference over norm, against the network without passes. "
        f"{made['time'][:10]}, {made['cpu']['model']}, onnxruntime {runtime}; by `python tools/verify_catalogue.py`."
    )
    return f"# Every network for every target\n\n{about}\n\n{markdown(header, rows)}\n"


if __name__ == "__main__":
    main()
