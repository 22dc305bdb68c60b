"""What went wrong in other operators and was not yet a test elsewhere; see docs/operator-lessons.md."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from redoubt_operator import kube as kube_module
from redoubt_operator.actions import ApplyObject, CreateClaim, CreatePod, DeletePod
from redoubt_operator.workqueue import Key, Schedule, Workqueue
from tests.redoubt_operator.fake_api import run
from tests.redoubt_operator.test_reconciler import CLUSTER, KEY
from tests.redoubt_operator.test_reconciler import world as served_world
from tests.redoubt_operator.world import running

# Enough to keep four workers busy many times over; the report was about ninety.
RESOURCES = 24
LOOKS = 12
REFUSALS = [429, 500, 503, 504]


def test_lesson_02_the_two_copies_of_a_shard_are_never_away_together_in_a_roll() -> None:
    world = running()
    keys = [world.master(index).disk.keys for index in range(3)]
    first = {host.pod.uid for host in world.hosts.values()}
    world.edit(image="redoubt-server:next", podTemplate={"metadata": {"labels": {"edited": "yes"}}})
    for _ in range(120):
        world.reconcile()
        for index in range(3):
            assert any(host.server is not None for host in world.shard(index)), "a shard without any copy"
        world.step()
        if world.condition("Reconciling") == "False" and not first & {
            h.pod.uid for h in world.hosts.values()
        }:
            break
    assert not first & {host.pod.uid for host in world.hosts.values()}
    assert [world.master(index).disk.keys for index in range(3)] == keys


def test_lesson_13_many_new_resources_are_begun_while_one_is_stalled() -> None:
    async def scenario() -> None:
        async with served_world({"shards": 1, "replicasPerShard": 0}) as w:
            stalled, answered = asyncio.Event(), asyncio.Event()

            async def stall() -> None:
                if w.api.requests[-1][1] == CLUSTER:
                    stalled.set()
                    await answered.wait()

            w.api.gate = stall
            keys = [Key("ns", f"cache{number}") for number in range(RESOURCES)]
            for key in keys:
                path = CLUSTER.replace("cache", key.name)
                w.api.put(path, {"kind": "RedoubtCluster", "spec": {"shards": 1, "replicasPerShard": 0}})
                w.api.objects[path]["metadata"]["generation"] = 1
            queue = Workqueue(w.reconciler.reconcile, workers=4, schedule=Schedule(settle_s=0.0))
            queue.start()
            queue.add(KEY)
            await stalled.wait()
            for key in keys:
                queue.add(key)
            while len(w.pods()) < RESOURCES:
                await asyncio.sleep(0.01)
            assert "cache-0-0" not in w.pods()
            answered.set()
            while "cache-0-0" not in w.pods():
                await asyncio.sleep(0.01)
            while queue.working:
                await asyncio.sleep(0.01)
            await queue.stop()

    run(scenario())


@pytest.mark.parametrize("spec", [{}, {"storage": {"size": "1Gi"}}], ids=["emptyDir", "volumes"])
def test_lesson_26_nothing_that_we_make_has_a_finalizer(spec: dict[str, Any]) -> None:
    world = running(spec)
    made = [one.manifest for one in world.log if isinstance(one, ApplyObject | CreatePod | CreateClaim)]
    kinds = {manifest["kind"] for manifest in made}
    assert {"Pod", "Service", "ConfigMap", "PodDisruptionBudget"} <= kinds
    assert [manifest["metadata"]["name"] for manifest in made if "finalizers" in manifest["metadata"]] == []
    # What is owned goes with the resource; only a volume that is to be retained has no owner.
    ownerless = {one["kind"] for one in made if not one["metadata"].get("ownerReferences")}
    assert ownerless <= {"PersistentVolumeClaim"}


def deletable() -> list[tuple[str, str]]:
    return sorted(running().objects)


@pytest.mark.parametrize("lost", deletable(), ids="-".join)
def test_lesson_31_what_somebody_deletes_is_there_again_after_the_next_look(lost: tuple[str, str]) -> None:
    world = running()
    manifest = world.objects.pop(lost)
    wanted = world.reconcile()
    assert [one.manifest for one in wanted.actions if isinstance(one, ApplyObject)] == [manifest]
    assert [one for one in wanted.actions if isinstance(one, DeletePod)] == []
    assert world.objects[lost] == manifest


@pytest.mark.parametrize("shards", [1, 3])
def test_a_partition_between_operator_and_pods_changes_nothing_and_ends_well(shards: int) -> None:
    world = running({"shards": shards})
    before = {name: (host.pod.uid, host.server.role) for name, host in world.hosts.items()}
    for host in world.hosts.values():
        host.is_silent = True
    acted = len(world.log)
    for _ in range(30):
        world.reconcile()
        world.now_s += 10.0
    # Whatever is written to the API (labels, Events, the status), no pod goes and no server is commanded.
    allowed = {"LabelPod", "ApplyObject", "RecordEvent"}
    assert {type(action).__name__ for action in world.log[acted:]} <= allowed
    assert world.condition("Ready") == "False"
    for host in world.hosts.values():
        host.is_silent = False
    world.converge()
    assert {name: (host.pod.uid, host.server.role) for name, host in world.hosts.items()} == before


def comparable(objects: dict[str, Any]) -> dict[str, Any]:
    """What was made, without what differs from one run to the next by its nature."""
    made = {}
    for path, manifest in objects.items():
        metadata = manifest["metadata"]
        kept = {name: metadata.get(name) for name in ("labels", "annotations", "ownerReferences")}
        for owner in kept["ownerReferences"] or ():
            owner.pop("uid", None)
        is_told = "/events" not in path and not path.endswith("/cache-auth")
        if is_told:
            made[path] = (kept, manifest.get("spec") if "/pods/" in path else manifest.get("data"))
    return made


def test_a_storm_of_refusals_delays_the_objects_and_changes_none_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kube_module, "PAUSE_FIRST_S", 0.001)
    outcomes: list[dict[str, Any]] = []

    async def scenario(share: float, seed: int) -> None:
        chance = random.Random(seed)
        async with served_world({"shards": 2, "replicasPerShard": 1}) as w:
            refused = 0

            async def refuse() -> None:
                nonlocal refused
                status = chance.choice(REFUSALS)
                w.api.answers = [(status, {})] if chance.random() < share else []
                refused += len(w.api.answers)

            w.api.gate = refuse
            for look in range(LOOKS):
                if look == LOOKS - 3:
                    w.api.gate, w.api.answers = None, []
                try:
                    await w.reconciler.reconcile(KEY)
                except kube_module.ApiError as error:
                    assert error.status in REFUSALS
            written = len(w.api.writes)
            await w.reconciler.reconcile(KEY)
            assert w.api.writes[written:] == []
            assert (refused > 50) == (share > 0)
            outcomes.append(comparable(w.api.objects))

    for share, seed in ((0.0, 0), (0.75, 1)):
        run(scenario(share, seed))
    assert outcomes[1] == outcomes[0]
