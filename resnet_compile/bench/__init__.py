"""Timing models: the protocol, what it measured, and what may be concluded from that.

Knows how to time and nothing of how models are built.
"""

from resnet_compile.bench.options import BenchOptions
from resnet_compile.bench.protocol import Measured, Protocol, measure
from resnet_compile.bench.record import Bench, Row
from resnet_compile.bench.run import BenchListener, Subject, bench
from resnet_compile.bench.statistics import Comparison, Interval, TimingSummary, Verdict, median_ratio, summarize

__all__ = [
    "Bench",
    "BenchListener",
    "BenchOptions",
    "Comparison",
    "Interval",
    "Measured",
    "Protocol",
    "Row",
    "Subject",
    "TimingSummary",
    "Verdict",
    "bench",
    "measure",
    "median_ratio",
    "summarize",
]
