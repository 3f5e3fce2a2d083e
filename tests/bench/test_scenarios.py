"""Scenarios from beginning to end on a small network, by a clock that the test turns."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from onnx import TensorProto, helper
from support.machine import FakeMachine

from resnet_compile.bench import ScenarioListener, ScenarioOptions, ScenarioRun, Subject, run_scenario
from resnet_compile.errors import OptionError
from resnet_compile.runtime import Session


def network(batch: int | str = "batch") -> bytes:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 2, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return model.SerializeToString()


class TickingClock:
    """Every look at it takes as long as any other; nothing else takes time."""

    def __init__(self, tick: float) -> None:
        self.tick, self.looks, self.time = tick, 0, 0.0

    def now(self) -> float:
        self.looks += 1
        self.time += self.tick
        return self.time

    def wait(self, until: float) -> None:
        self.time = max(self.time, until)


def run(tick: float = 0.001, model: bytes | None = None, **options: Any) -> ScenarioRun:
    listener, backend = options.pop("listener", None), options.pop("backend", None)
    settings = {"device": "cpu", "threads": 1, "burn_in": 1, **options}
    return run_scenario(
        Subject("net", model or network()),
        ScenarioOptions(**settings),
        clock=TickingClock(tick),
        listener=listener,
        backend=backend,
    )


class Sizes:
    """What batches a session ran."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batches: list[int] = []
        bind = Session.bind

        def noted(session: Session, inputs: Any, outputs: Any, *, transfer: bool) -> Any:
            self.batches.append(len(next(iter(inputs[0].values()))))
            return bind(session, inputs, outputs, transfer=transfer)

        monkeypatch.setattr(Session, "bind", noted)


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sizes]:
    return Sizes(monkeypatch)


def test_single_stream(sizes: Sizes) -> None:
    found = run(scenario="single", seconds=1.0)
    assert sizes.batches == [1]
    (trial,) = found.trials
    # Each query takes two looks at the clock, one of them within it.
    assert len(trial.queries.latencies) == 501
    assert trial.queries.latencies == pytest.approx((0.001,) * 501)
    assert found.result == pytest.approx(0.001)
    assert found.result_name == "90th percentile latency by early stopping"
    assert [*found.shortened()] == ["1 s, not 600"]
    assert (found.data, found.loaded) == ("host", 1024)


def test_a_whole_run_is_not_shortened() -> None:
    found = run(tick=0.5, scenario="multi")
    assert [*found.shortened()] == []
    assert len(found.trials[0].queries.latencies) == 662  # more than 600 s have, since early stopping needs them
    assert found.result == pytest.approx(0.5)


def test_a_shortened_run_of_few_queries_has_no_result() -> None:
    found = run(scenario="multi", seconds=0.1)
    assert found.result is None
    assert found.missing == "early stopping needs 662 queries, not 51"
    assert [*found.shortened()] == ["0 s, not 600", "51 queries, not 662"]


def test_a_query_of_several_images_may_be_run_in_parts(sizes: Sizes) -> None:
    assert run(scenario="multi", seconds=0.1).trials[0].samples == 51 * 8
    assert run(scenario="multi", seconds=0.1, batches=(4,)).trials[0].batch == 4
    assert run(scenario="multi", seconds=0.1, model=network(2)).trials[0].batch == 2
    assert sizes.batches == [8, 4, 2]
    with pytest.raises(OptionError, match=r"batch must divide a query's 8 images, got 3 @ batches"):
        run(scenario="multi", batches=(3,))


def test_offline_has_as_many_samples_as_the_duration_takes(sizes: Sizes) -> None:
    found = run(scenario="offline", seconds=2.0)
    assert sizes.batches == [32]
    (trial,) = found.trials
    # 1.1 x 2 s x 32 images a ms, in whole batches.
    assert trial.samples == 32 * 2200
    assert found.result == pytest.approx(trial.samples / trial.queries.seconds)
    assert [*found.shortened()] == ["4 s, not 600"]  # the clock's looks between the batches take as long as they
    assert run(tick=1.0, scenario="offline", seconds=100.0).trials[0].samples < 24_576
    assert [*run(tick=2.0, scenario="offline").shortened()] == []
    assert run(tick=2.0, scenario="offline").trials[0].samples == 24_576


def test_a_server_at_a_rate() -> None:
    found = run(scenario="server", seconds=1.0, rate=100.0)
    (trial,) = found.trials
    assert (trial.rate, trial.bound, trial.percentile) == (100.0, 0.015, 0.99)
    assert len(trial.queries.latencies) == 459  # which take 4.6 s at that rate
    assert trial.holds
    assert found.result == 100.0
    assert [*found.shortened()] == ["5 s, not 600"]


def test_the_most_that_a_server_answers_in_time() -> None:
    found = run(scenario="server", seconds=1.0)
    assert len(found.trials) > 4
    best = found.best
    assert best is not None
    assert best.holds
    assert found.result == best.rate == max(trial.rate or 0 for trial in found.trials if trial.holds)
    broken = [trial.rate or 0 for trial in found.trials if not trial.holds]
    assert broken
    assert min(broken) > (best.rate or 0)
    assert min(broken) < 1.2 * (best.rate or 0)


def test_a_server_that_is_too_slow_has_no_result() -> None:
    found = run(tick=0.02, scenario="server", seconds=1.0)
    assert (found.best, found.result) == (None, None)
    assert found.missing == "no trial answered 99 % of its queries within 15 ms"
    assert all(trial.queries.failed for trial in found.trials)


def test_a_servers_batches_are_powers_of_two_unless_the_model_has_one(sizes: Sizes) -> None:
    run(scenario="server", seconds=1.0, rate=100.0, batches=(6,))
    assert sizes.batches == [1, 2, 4, 6]
    sizes.batches.clear()
    run(scenario="server", seconds=1.0, rate=100.0, model=network(6))
    assert sizes.batches == [6]


def test_batch_sizes_are_tried_until_the_bound_is_broken(sizes: Sizes) -> None:
    found = run(bound=1.0, batches=(1, 2, 4))
    assert sizes.batches == [1, 2, 4]
    assert [trial.samples for trial in found.trials] == [459, 918, 1836]
    assert found.best is found.trials[2]
    assert found.result == pytest.approx(1836 / found.trials[2].queries.seconds)
    assert [*found.shortened()] == []
    broken = run(bound=0.0001)
    assert [(trial.batch, trial.holds) for trial in broken.trials] == [(1, False)]
    assert broken.missing == "no trial answered 99 % of its queries within 0.1 ms"


def test_a_model_of_one_batch_size_is_tried_at_that() -> None:
    assert [trial.batch for trial in run(bound=1.0, model=network(3)).trials] == [3]


def test_large_images_are_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resnet_compile.bench.samples._LOADED_BYTES", 100 * 4 * 3 * 2 * 2)
    assert run(scenario="single", seconds=0.1).loaded == 100
    assert run(scenario="offline", seconds=0.1, batches=(200,)).loaded == 200


def test_one_batch_size_and_graphs_where_they_are() -> None:
    with pytest.raises(OptionError, match="a scenario has one batch size @ batches"):
        run(scenario="single", batches=(1, 2))
    with pytest.raises(OptionError, match=r"a CUDA graph needs a CUDA device \(--device cuda\)"):
        run(scenario="single", cuda_graph=True)
    with pytest.raises(OptionError, match="must be a Subject @ subject"):
        run_scenario("net")  # type: ignore[arg-type]  # what it refuses


def test_more_queries_than_memory_holds_are_refused() -> None:
    with pytest.raises(OptionError, match=r"1e\+12 queries a second for 1 s are more than 10,000,000 @ rate"):
        run(scenario="server", rate=1e12, seconds=1.0)


def test_on_a_gpu_the_copies_count() -> None:
    machine = FakeMachine()
    machine.nodes = {"CUDAExecutionProvider": ["Relu"]}
    found = run(scenario="single", seconds=0.01, device="cuda", backend=machine.backend())
    assert (found.data, found.device) == ("host to host", "cuda:0")
    assert machine.events[:4] == ["to cuda:0", "run", "synchronize", "from cuda:0"]


def test_document_is_json_and_has_every_latency() -> None:
    found = run(scenario="single", seconds=1.0)
    document = json.loads(json.dumps(found.document()))
    assert document["trials"][0]["latencies"] == list(found.trials[0].queries.latencies)
    assert document["result"] == {
        "name": "90th percentile latency by early stopping",
        "value": found.result,
        "unit": "s",
        "missing": None,
    }
    assert (document["notice"], document["scenario"]) == ("MLPerf-style, unverified by MLCommons", "single")
    assert document["shortened"] == ["1 s, not 600"]
    assert document["trials"][0]["statistics"]["intervals"]["p90"] == [pytest.approx(0.001)] * 2


class InterruptAt(ScenarioListener):
    def __init__(self, count: int) -> None:
        self._count = count

    def answered(self, count: int, now: float) -> None:
        if count == self._count:
            raise KeyboardInterrupt


def test_an_interrupt_keeps_what_was_answered() -> None:
    found = run(scenario="server", seconds=1.0, listener=InterruptAt(30))
    assert found.interrupted
    assert [(len(trial.queries.latencies), trial.holds) for trial in found.trials] == [(30, False)]
    assert "interrupted" in [*found.shortened()]
