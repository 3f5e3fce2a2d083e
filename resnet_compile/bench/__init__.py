"""Timing models: the protocol, what it measured, and what may be concluded from that.

Knows how to time and nothing of how models are built.
"""

from resnet_compile.bench.comparison import Comparison, Verdict
from resnet_compile.bench.options import BenchOptions
from resnet_compile.bench.protocol import Measured, Protocol, measure
from resnet_compile.bench.record import Bench, Row
from resnet_compile.bench.run import Listener, Subject, bench
from resnet_compile.bench.statistics import Interval, Summary, median_ratio, summarize

__all__ = [
    "Bench",
    "BenchOptions",
    "Comparison",
    "Interval",
    "Listener",
    "Measured",
    "Protocol",
    "Row",
    "Subject",
    "Summary",
    "Verdict",
    "bench",
    "measure",
    "median_ratio",
    "summarize",
]
