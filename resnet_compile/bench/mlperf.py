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
"""Of a run of any scenario (rules, "Scenarios"; mlperf.conf, ``min_duration``)."""
SERVER_BOUND = 0.015
"""Seconds within which a server has to answer 99 of 100 queries (mlperf.conf, ``resnet50.Server.target_latency``)."""
OFFLINE_SAMPLES = 24_576
"""The fewest samples of the offline scenario's one query (mlperf.conf, ``resnet50.Offline.min_query_count``)."""
OFFLINE_SLACK = 1.1
"""Its samples over those that the expected rate takes for the duration (``kSlack``, test_settings_internal.cc)."""
LOADED_SAMPLES = 1_024
"""Samples that lie in memory and are drawn from (mlperf.conf, ``performance_sample_count_override`` of resnet50)."""
SAMPLE_SEED = 2_747_215_439_041_700_203
"""``sample_index_rng_seed`` of mlperf.conf. Of our draws: which sample a query gets does not change its work."""
SCHEDULE_SEED = 16_159_082_839_903_944_936
"""``schedule_rng_seed`` of mlperf.conf. The arrivals drawn from it are the load generator's own, to the nanosecond."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario.

    Attributes:
        title: What the rules call it.
        query: Samples of one query; None for all of them.
        percentile: The part of the queries whose longest latency is the result or has to keep the bound.
        batch: Images at a time unless it is asked for.
    """

    title: str
    query: int | None
    percentile: float | None
    batch: int

    @property
    def queries(self) -> int:
        """The fewest queries for which early stopping knows the percentile, one of them over it; of a server, none."""
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
    """When the queries of a server's run arrive: a Poisson process, the load generator's own for the seed.

    The times between arrivals are ``-ln(1 - u) / rate`` in whole nanoseconds, where u is made of two draws of the
    Mersenne Twister, the first of which gives the lower bits (``std::exponential_distribution`` over ``std::mt19937``
    in the GNU C++ library, with which its published packages are built).

    Args:
        rate: Queries a second.
        seconds: How long they arrive; the last one comes at this time or after it.
        queries: How many there are at least.
        seed: Of the draws, of which the lower 32 bits count.

    Returns:
        Seconds from the beginning, float64 [n], the first of them 0.
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
