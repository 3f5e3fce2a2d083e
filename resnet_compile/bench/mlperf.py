"""MLPerf inference's scenarios for ResNet-50, as its rules and its load generator's configuration define them.

Sources, both of MLCommons: `inference_rules.adoc` of github.com/mlcommons/inference_policies (sections "Scenarios" and
"Early Stopping Criterion"), and `loadgen/mlperf.conf` of github.com/mlcommons/inference, each as of August 2026. What
this package measures by them was not reviewed by MLCommons: its results are MLPerf-style and unverified.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from resnet_compile.bench.binomial import queries_needed

ScenarioName = Literal["single", "multi", "offline", "server"]

MINIMUM_SECONDS = 600.0
"""The shortest valid run of any scenario (rules, "Scenarios"; mlperf.conf, ``min_duration``)."""
SERVER_BOUND = 0.015
"""Seconds within which a server must answer 99 % of its queries (mlperf.conf, ``resnet50.Server.target_latency``)."""
OFFLINE_SAMPLES = 24_576
"""The fewest samples of the offline scenario's one query (mlperf.conf, ``resnet50.Offline.min_query_count``)."""
OFFLINE_SLACK = 1.1
"""Its samples over those that the expected rate answers in the duration (``kSlack``, test_settings_internal.cc)."""
LOADED_SAMPLES = 1_024
"""Samples in memory, from which queries draw (mlperf.conf, ``performance_sample_count_override`` of resnet50)."""
SAMPLE_SEED = 2_747_215_439_041_700_203
"""``sample_index_rng_seed`` of mlperf.conf. The draws are ours: a query's work is the same for any sample."""
SCHEDULE_SEED = 16_159_082_839_903_944_936
"""``schedule_rng_seed`` of mlperf.conf. The arrivals drawn from it are the load generator's own, to the nanosecond."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario.

    Attributes:
        title: Its name in the rules.
        query: Samples in one query; None if one query holds all samples.
        percentile: The percentile of the latencies, as a fraction, that is the result or must keep the bound.
        batch: The default batch size.
    """

    title: str
    query: int | None
    percentile: float | None
    batch: int

    @property
    def queries(self) -> int:
        """The fewest queries for which early stopping gives a result: with one late query, for a server with none."""
        if self.percentile is None:
            return 1
        return queries_needed(0 if self is SCENARIOS["server"] else 1, self.percentile)


SCENARIOS: Mapping[ScenarioName, Scenario] = {
    "single": Scenario("Single stream", 1, 0.90, 1),
    "multi": Scenario("Multistream", 8, 0.99, 8),
    "offline": Scenario("Offline", None, None, 32),
    "server": Scenario("Server", 1, 0.99, 1),
}


def arrivals(rate: float, seconds: float, queries: int, seed: int = SCHEDULE_SEED) -> NDArray[np.float64]:
    """Arrival times of a server's queries: a Poisson process, equal to the load generator's for the same seed.

    The time between two arrivals is ``-ln(1 - u) / rate``, in whole nanoseconds. Two draws of the Mersenne Twister make
    u; the first gives the lower bits. (This is ``std::exponential_distribution`` over ``std::mt19937`` in the GNU C++
    library, with which the load generator's published packages are built.)

    Args:
        rate: Queries a second.
        seconds: How long queries arrive; the last one arrives at this time or after it.
        queries: The fewest queries.
        seed: The seed of the draws; only its lower 32 bits count.

    Returns:
        Seconds from the start, float64 [n]; the first is 0.
    """
    generator = np.random.RandomState(seed % 2**32)  # the seeding is that of std::mt19937
    times = np.zeros(1, np.int64)
    while times[-1] < seconds * 1e9 or len(times) < queries:
        draws = generator.randint(0, 2**32, 2 * 4096, np.uint32).astype(np.float64)
        u = (draws[0::2] + draws[1::2] * 2.0**32) / 2.0**64
        between = np.floor(-np.log(1.0 - u) / rate * 1e9).astype(np.int64)
        times = np.concatenate([times, times[-1] + np.cumsum(between)])
    last = int(np.searchsorted(times, seconds * 1e9))
    return times[: max(last + 1, queries)] / 1e9
