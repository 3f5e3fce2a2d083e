"""The plan: the spec with every stride, rate, pad, shape and parameter resolved, before any weight exists."""

from resnet_compile.plan.network import BlockPlan, EndPoint, Head, Plan, layer_macs, layer_parameters, plan_network
from resnet_compile.plan.parameters import Parameter
from resnet_compile.plan.summary import Summary, summarize
from resnet_compile.plan.unit import UnitPlan

__all__ = [
    "BlockPlan",
    "EndPoint",
    "Head",
    "Parameter",
    "Plan",
    "Summary",
    "UnitPlan",
    "layer_macs",
    "layer_parameters",
    "plan_network",
    "summarize",
]
