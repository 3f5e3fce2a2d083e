"""The plan: the spec with every stride, rate, pad, shape and parameter resolved, before any weight exists."""

from resnet_compile.plan.names import FEATURES, FeatureLevel, end_point_words, feature_levels
from resnet_compile.plan.network import BlockPlan, EndPoint, HeadPlan, Plan, plan_network
from resnet_compile.plan.parameters import Parameter
from resnet_compile.plan.receptive import ReceptiveField, receptive_fields
from resnet_compile.plan.summary import Summary, paired, places, summarize
from resnet_compile.plan.unit import UnitPlan

__all__ = [
    "FEATURES",
    "BlockPlan",
    "EndPoint",
    "FeatureLevel",
    "HeadPlan",
    "Parameter",
    "Plan",
    "ReceptiveField",
    "Summary",
    "UnitPlan",
    "end_point_words",
    "feature_levels",
    "paired",
    "places",
    "plan_network",
    "receptive_fields",
    "summarize",
]
