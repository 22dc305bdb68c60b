"""Scrapes: lines read, rates computed, lags added, and the planner woken by notable changes only."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from redoubt_operator import monitor as monitor_module
from redoubt_operator.conditions import MEMORY_HIGH, MEMORY_RELIEVED
from redoubt_operator.metrics import Metrics
from redoubt_operator.monitor import (
    COMMANDS,
    EVICTED,
    HITS,
    LIMIT,
    MISSES,
    OFFSET,
    SERIES,
    USED,
    History,
    Monitor,
    News,
    Target,
    news_of,
    read_series,
)
from redoubt_operator.observation import Sample, Unknown
from redoubt_operator.workqueue import Key
from tests.redoubt_operator.fake_api import run
from tests.redoubt_operator.fake_server import free_address

KEY = Key("ns", "cache")
PORT = 9121


def test_series_are_read_without_labels_with_labels_and_summed() -> None:
    text = """# HELP redis_memory_used_bytes Memory.
# TYPE redis_memory_used_bytes gauge
redis_memory_used_bytes 1048576
redis_memory_max_bytes 4.194304e+06
redis_db_keys{db="db0"} 5
redis_db_keys{db="db1"} 7 1700000000000
redis_something_else{text="redis_db_keys 9"} 3
redis_evicted_keys_total nonsense
redis_connected_clients
"""
    assert read_series(text) == {USED: 1048576.0, LIMIT: 4194304.0, "redis_db_keys": 12.0}


def test_rates_are_over_the_kept_scrapes_and_hits_over_the_lookups() -> None:
    history = History()
    history.add(100.0, {USED: 10, LIMIT: 100, EVICTED: 50, COMMANDS: 1000, HITS: 10, MISSES: 10})
    history.add(105.0, {USED: 50, LIMIT: 100, EVICTED: 60, COMMANDS: 2000, HITS: 40, MISSES: 20})
    assert history.sample() == Sample(
        taken_at_s=105.0,
        used_memory_bytes=50,
        maxmemory_bytes=100,
        evicted_keys=60,
        evicted_per_s=2.0,
        commands_per_s=200.0,
        hit_ratio=0.75,
    )


def test_first_scrape_has_no_rates_and_no_hit_ratio() -> None:
    history = History()
    assert history.sample() is None
    history.add(100.0, {EVICTED: 50, HITS: 5})
    sample = history.sample()
    assert sample is not None and sample.evicted_per_s == 0.0 and sample.hit_ratio is None


def test_counter_that_went_backwards_means_a_restart_and_no_negative_rate() -> None:
    history = History()
    history.add(100.0, {EVICTED: 5000})
    history.add(105.0, {EVICTED: 10})
    history.add(110.0, {EVICTED: 20})
    sample = history.sample()
    assert sample is not None and sample.evicted_per_s == 2.0


def test_history_is_bounded() -> None:
    history = History()
    for n in range(100):
        history.add(n * 5.0, {EVICTED: n})
    assert len(history._scrapes) == monitor_module.SCRAPES_KEPT


QUIET = Sample(0.0, used_memory_bytes=52, maxmemory_bytes=100)
SERVING = {"redoubt_cluster_slots": 100.0, "redoubt_replica_synced": 1.0}


def news(sample: Sample | Unknown, values: dict[str, float] | None = None) -> News:
    history = History()
    history.add(0.0, SERVING if values is None else values)
    return news_of(sample, history)


@pytest.mark.parametrize(
    ("sample", "values", "is_news"),
    [
        (QUIET, SERVING, False),
        (Sample(5.0, 54, 100), SERVING, False),
        (Sample(5.0, 55, 100), SERVING, True),
        (Sample(5.0, 49, 100), SERVING, True),
        (Sample(5.0, 52, 100, evicted_per_s=0.1), SERVING, True),
        (Sample(5.0, 52, 100, commands_per_s=1e6), SERVING, False),
        (QUIET, SERVING | {"redoubt_cluster_slots": 0.0}, True),
        (QUIET, SERVING | {"redoubt_replica_synced": 0.0}, True),
        (Unknown("no answer in time", 5.0), SERVING, True),
    ],
)
def test_what_wakes_the_planner(sample: Sample | Unknown, values: dict[str, float], is_news: bool) -> None:
    assert (news(sample, values) != news(QUIET)) is is_news


def test_thresholds_of_conditions_lie_on_steps_that_wake() -> None:
    for threshold in (MEMORY_HIGH, MEMORY_RELIEVED):
        below, above = int(threshold * 100_000) - 1, int(threshold * 100_000)
        assert news(Sample(0.0, below, 100_000)) != news(Sample(0.0, above, 100_000))


def test_one_kind_of_silence_after_the_other_is_no_news() -> None:
    assert news(Unknown("no answer in time", 0.0)) == news(Unknown("connection refused", 5.0))


class Pod:
    """A pod's /metrics: real HTTP, values by the test."""

    def __init__(self, values: dict[str, float]) -> None:
        self.ip = free_address()
        self.values = values
        self.queries: list[list[str]] = []
        self.is_silent = False
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        application = web.Application()
        application.router.add_get("/metrics", self._render)
        self._runner = web.AppRunner(application)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.ip, PORT).start()

    async def stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _render(self, request: web.Request) -> web.Response:
        self.queries.append(request.query.getall("name[]"))
        if self.is_silent:
            await asyncio.sleep(3600)
        return web.Response(text="".join(f"{name} {value}\n" for name, value in self.values.items()))


async def until(condition: object) -> None:
    assert callable(condition)
    while not condition():
        await asyncio.sleep(0.005)


def test_pods_are_scraped_together_and_replicas_get_their_lag() -> None:
    async def scenario() -> None:
        master = Pod({USED: 50, LIMIT: 100, OFFSET: 1000})
        replica = Pod({USED: 40, LIMIT: 100, OFFSET: 900})
        await master.start()
        await replica.start()
        woken: list[Key] = []
        metrics = Metrics()
        monitor = Monitor(metrics, woken.append, PORT)
        running = asyncio.create_task(monitor.run())
        monitor.watch(
            KEY,
            [Target("m", "cache-0-0", master.ip, 0, True), Target("r", "cache-0-1", replica.ip, 0, False)],
            interval_s=0.02,
        )
        await until(lambda: len(replica.queries) >= 3 and woken)
        samples = monitor.samples(KEY)
        lag = samples["r"]
        assert isinstance(lag, Sample) and lag.replica_lag_bytes == 100
        assert isinstance(samples["m"], Sample) and samples["m"].replica_lag_bytes is None
        assert master.queries[0] == list(SERIES)
        assert woken == [KEY], "the same figures again are no news"
        rendered = metrics.render().decode()
        labels = 'cluster="cache",namespace="ns",pod="cache-0-1",role="replica",shard="0"'
        assert f"redoubt_pod_replica_lag_bytes{{{labels}}} 100.0" in rendered
        monitor.forget(KEY)
        assert "cache-0-1" not in metrics.render().decode(), "a cluster that is gone leaves no series"
        running.cancel()
        await master.stop()
        await replica.stop()

    run(scenario())


def test_pod_that_cannot_be_scraped_is_unknown_since_the_first_failure() -> None:
    async def scenario() -> None:
        woken: list[Key] = []
        monitor = Monitor(Metrics(), woken.append, PORT)
        running = asyncio.create_task(monitor.run())
        monitor.watch(KEY, [Target("gone", "cache-0-0", free_address(), 0, True)], interval_s=0.01)
        await until(lambda: isinstance(monitor.samples(KEY).get("gone"), Unknown))
        first = monitor.samples(KEY)["gone"]
        await asyncio.sleep(0.1)
        again = monitor.samples(KEY)["gone"]
        assert isinstance(first, Unknown) and isinstance(again, Unknown)
        assert again.since_s == first.since_s
        assert woken == [KEY]
        running.cancel()

    run(scenario())


def test_samples_of_pods_that_are_gone_are_dropped() -> None:
    async def scenario() -> None:
        pod = Pod({USED: 1, LIMIT: 2})
        await pod.start()
        monitor = Monitor(Metrics(), lambda _: None, PORT)
        running = asyncio.create_task(monitor.run())
        monitor.watch(KEY, [Target("a", "cache-0-0", pod.ip, 0, True)], interval_s=60)
        await until(lambda: "a" in monitor.samples(KEY))
        monitor.watch(KEY, [], interval_s=60)
        assert dict(monitor.samples(KEY)) == {}
        running.cancel()
        await pod.stop()

    run(scenario())
