"""The costs of networks for resnet-inspect --csv: one row for each network or each value."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

import resnet_compile as rc

_OF_BOTH = ("macs", "activation_bytes", "bytes_moved", "arithmetic_intensity")
_OF_NETWORKS = (*_OF_BOTH, "activation_bytes_peak")
NETWORK_COLUMNS = ("network", "batch", "height", "width", "parameters", "moving_statistics", *_OF_NETWORKS)
VALUE_COLUMNS = ("network", "batch", "value", "operator", "shape", "weights", *_OF_BOTH)


def costs_document(costs: rc.costs.Costs) -> dict[str, Any]:
    """A network and the cost of one batch, as a JSON document."""
    plan = costs.plan
    document = {name: getattr(costs, name) for name in _OF_NETWORKS}
    return {
        "network": plan.spec.source or plan.name,  # as the user named it: two specs can have the same name
        "batch": costs.batch,
        "height": plan.input.height,
        "width": plan.input.width,
        "parameters": plan.num_parameters,
        "moving_statistics": plan.num_moving_statistics,
        **_rounded(document),
    }


def value_documents(costs: rc.costs.Costs) -> list[dict[str, Any]]:
    """The costs of every value, as JSON documents."""
    return [_value(each) for each in costs.values]


def csv_text(found: Iterable[rc.costs.Costs], *, values: bool) -> str:
    """The costs as CSV with a header: one row for each network, or with `values` for each value."""
    text = io.StringIO()
    writer = csv.DictWriter(text, VALUE_COLUMNS if values else NETWORK_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for costs in found:
        writer.writerows(_value_rows(costs) if values else [costs_document(costs)])
    return text.getvalue().rstrip("\n")


def _value_rows(costs: rc.costs.Costs) -> Iterator[dict[str, Any]]:
    whole = costs_document(costs)
    for value in value_documents(costs):
        shape = "x".join(map(str, value["shape"]))
        yield {"network": whole["network"], "batch": costs.batch, **value, "shape": shape}


def _value(value: rc.costs.ValueCost) -> dict[str, Any]:
    named = {"value": value.name, "operator": value.operator, "shape": list(value.shape), "weights": value.weights}
    return named | _rounded({name: getattr(value, name) for name in _OF_BOTH})


def _rounded(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "arithmetic_intensity": round(document["arithmetic_intensity"], 3)}
