"""Events: said once, counted when repeated, and nobody's work waits for them."""

from __future__ import annotations

import pytest

from redoubt_operator import events as events_module
from redoubt_operator.events import Recorder
from redoubt_operator.observation import ClusterMeta
from tests.redoubt_operator.fake_api import FakeApi, run, serve

META = ClusterMeta("ns", "cache", "uid-1", 1)


class Clock:
    """Stands in for the module `time` of the recorder."""

    def __init__(self) -> None:
        self.now_s = 1_700_000_000.0

    def time(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(events_module, "time", clock)
    return clock


def events_of(api: FakeApi) -> list[tuple[str, str, int]]:
    return [
        (event["reason"], event["message"], event["count"])
        for path, event in sorted(api.objects.items())
        if "/events/" in path
    ]


def test_event_names_its_cluster_and_says_why(clock: Clock) -> None:
    async def scenario() -> None:
        api = FakeApi()
        async with serve(api) as kube:
            await Recorder(kube, "op-1").record(META, "Warning", "DataLost", "all copies are empty")
        [event] = [event for path, event in api.objects.items() if "/events/" in path]
        assert event["involvedObject"]["uid"] == "uid-1"
        assert (event["type"], event["reason"]) == ("Warning", "DataLost")
        assert event["firstTimestamp"] == "2023-11-14T22:13:20Z"
        assert event["reportingInstance"] == "op-1"

    run(scenario())


def test_same_sentence_is_counted_and_written_at_most_once_a_minute(clock: Clock) -> None:
    async def scenario() -> None:
        api = FakeApi()
        async with serve(api) as kube:
            recorder = Recorder(kube, "op-1")
            for _ in range(100):
                await recorder.record(META, "Normal", "Waiting", "shard 0 has no master")
                clock.now_s += 1
            assert len(api.writes) == 2
            assert events_of(api) == [("Waiting", "shard 0 has no master", 61)]

    run(scenario())


def test_sentence_that_comes_back_after_a_while_is_a_new_event(clock: Clock) -> None:
    async def scenario() -> None:
        api = FakeApi()
        async with serve(api) as kube:
            recorder = Recorder(kube, "op-1")
            await recorder.record(META, "Normal", "Waiting", "shard 0 has no master")
            clock.now_s += events_module.REPEATED_WITHIN_S
            await recorder.record(META, "Normal", "Waiting", "shard 0 has no master")
            assert events_of(api) == [("Waiting", "shard 0 has no master", 1)] * 2

    run(scenario())


def test_event_that_has_expired_is_written_anew(clock: Clock) -> None:
    async def scenario() -> None:
        api = FakeApi()
        async with serve(api) as kube:
            recorder = Recorder(kube, "op-1")
            await recorder.record(META, "Normal", "Waiting", "shard 0 has no master")
            api.objects.clear()
            clock.now_s += events_module.WRITTEN_EVERY_S
            await recorder.record(META, "Normal", "Waiting", "shard 0 has no master")
            assert events_of(api) == [("Waiting", "shard 0 has no master", 2)]

    run(scenario())


def test_memory_of_what_was_said_is_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "REMEMBERED_MAX", 3)

    async def scenario() -> None:
        api = FakeApi()
        async with serve(api) as kube:
            recorder = Recorder(kube, "op-1")
            for n in range(10):
                await recorder.record(META, "Normal", "Waiting", f"sentence {n}")
            assert len(recorder._written) == 3

    run(scenario())


def test_event_that_cannot_be_written_raises_nothing(clock: Clock) -> None:
    async def scenario() -> None:
        api = FakeApi()
        api.answers = [(403, {})]
        async with serve(api) as kube:
            await Recorder(kube, "op-1").record(META, "Normal", "Waiting", "shard 0 has no master")
        assert events_of(api) == []

    run(scenario())
