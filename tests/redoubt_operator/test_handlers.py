"""Events become keys: the right cluster, the right lane, and nobody is woken by what says nothing new."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from redoubt_operator.handlers import Waker, kopf_settings
from redoubt_operator.workqueue import Key, Schedule, Workqueue

KEY = Key("ns", "cache")


async def nothing(_: Key) -> None:
    return None


def woken(events: Callable[[Waker], None], clusters: list[Key] | None = None) -> list[Key]:
    """Return which keys a worker would find at once, that is in the fast lane, after some events."""

    async def scenario() -> tuple[list[Key], list[Key]]:
        schedule = Schedule(settle_s=1000.0)
        waker = Waker(Workqueue(nothing, 1, schedule), lambda _: clusters or [])
        events(waker)
        now_s = asyncio.get_running_loop().time()
        return taken(schedule, now_s), taken(schedule, now_s + 2000.0)

    fast, slow = asyncio.run(scenario())
    return [*(Key(key.namespace, f"{key.name}!") for key in fast), *slow]


def taken(schedule: Schedule, now_s: float) -> list[Key]:
    keys = []
    while (key := schedule.take(now_s)) is not None:
        keys.append(key)
    return keys


FAST = [Key("ns", "cache!")]


def cluster(generation: int = 1, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "ns", "name": "cache", "uid": "u", "generation": generation} | metadata}


def pod(restarts: int = 0, state: str = "running", label: str | None = "cache") -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "ns",
            "name": "cache-0-0",
            "uid": "pod-uid",
            "labels": {} if label is None else {"redoubt.dev/cluster": label},
        },
        "status": {
            "phase": "Running",
            "containerStatuses": [{"name": "server", "state": {state: {}}, "restartCount": restarts}],
        },
    }


def node(
    name: str = "node-1", *, ready: bool = True, cordoned: bool = False, heartbeat: int = 0
) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "resourceVersion": str(heartbeat)},
        "spec": {"unschedulable": cordoned},
        "status": {"conditions": [{"type": "Ready", "status": "True" if ready else "Unknown"}]},
    }


def test_new_resource_wakes_its_key() -> None:
    assert woken(lambda waker: waker.resource(None, cluster())) == [KEY]


def test_our_own_status_patch_wakes_nobody() -> None:
    def events(waker: Waker) -> None:
        waker.resource("ADDED", cluster())
        waker.resource("MODIFIED", cluster() | {"status": {"message": "fine"}})

    assert woken(events) == [KEY]

    async def second() -> None:
        schedule = Schedule(settle_s=0.0)
        waker = Waker(Workqueue(nothing, 1, schedule), lambda _: [])
        waker.resource("ADDED", cluster())
        later_s = asyncio.get_running_loop().time() + 1
        assert schedule.take(later_s) == KEY
        schedule.done(KEY, later_s)
        waker.resource("MODIFIED", cluster() | {"status": {"message": "fine"}})
        assert schedule.next_due_s() is None
        for news in (
            cluster(generation=2),
            cluster(generation=2, annotations={"redoubt.dev/paused": "true"}),
            cluster(generation=2, deletionTimestamp="2026-01-01T00:00:00Z"),
        ):
            waker.resource("MODIFIED", news)
            assert schedule.take(later_s) == KEY
            schedule.done(KEY, later_s)

    asyncio.run(second())


def test_deleted_resource_wakes_its_key_so_that_it_is_forgotten() -> None:
    assert woken(lambda waker: waker.resource("DELETED", cluster())) == [KEY]


def test_pod_wakes_the_cluster_of_its_label() -> None:
    assert woken(lambda waker: waker.pod("MODIFIED", pod())) == [KEY]
    assert woken(lambda waker: waker.pod("MODIFIED", pod(label=None))) == []


def test_container_that_ended_goes_into_the_fast_lane() -> None:
    assert woken(lambda waker: waker.pod("MODIFIED", pod(state="terminated"))) == FAST


def test_restart_that_was_missed_goes_into_the_fast_lane() -> None:
    def events(waker: Waker) -> None:
        waker.pod("MODIFIED", pod(restarts=0))
        waker.pod("MODIFIED", pod(restarts=1))

    assert woken(events) == FAST


def test_restarts_from_before_our_start_are_no_news() -> None:
    assert woken(lambda waker: waker.pod(None, pod(restarts=7))) == [KEY]


def test_pod_that_is_gone_goes_into_the_fast_lane() -> None:
    assert woken(lambda waker: waker.pod("DELETED", pod())) == FAST


def test_claim_wakes_its_cluster() -> None:
    assert woken(lambda waker: waker.claim(pod())) == [KEY]


def test_heartbeat_of_a_node_wakes_nobody() -> None:
    def events(waker: Waker) -> None:
        waker.node(None, node())
        waker.node("MODIFIED", node(heartbeat=1))

    assert woken(events, [KEY]) == []


def test_cordon_and_loss_of_a_node_wake_the_clusters_on_it() -> None:
    def cordon(waker: Waker) -> None:
        waker.node(None, node())
        waker.node("MODIFIED", node(cordoned=True))

    def loss(waker: Waker) -> None:
        waker.node(None, node())
        waker.node("MODIFIED", node(ready=False))

    assert woken(cordon, [KEY]) == [KEY]
    assert woken(loss, [KEY]) == [KEY]
    assert woken(lambda waker: waker.node("DELETED", node()), [KEY]) == FAST


def test_kopf_posts_scans_and_filters_nothing_by_itself() -> None:
    settings = kopf_settings()
    assert not settings.posting.enabled
    assert settings.scanning.disabled
    selectors = dict(settings.watching.label_selectors.items())
    assert sorted(selectors.values()) == ["redoubt.dev/cluster", "redoubt.dev/cluster"]
