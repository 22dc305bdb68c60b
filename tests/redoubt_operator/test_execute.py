"""Actions carried out against a small API server and scripted servers: fences, lanes, idempotence."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from redoubt.resp.replies import OK, ErrorReply
from redoubt_operator.actions import (
    Action,
    AddSlots,
    ApplyObject,
    AssignMaster,
    AssignReplica,
    CreatePod,
    CreateSecret,
    DeleteClaim,
    DeletePod,
    ForceFailover,
    Forget,
    Handover,
    LabelPod,
    Meet,
    PatchClaim,
    RaiseLease,
    RecordEvent,
    SetConfig,
    SetConfigEpoch,
    Target,
)
from redoubt_operator.events import Recorder
from redoubt_operator.execute import Executor, Failure, command_of, done_already
from redoubt_operator.links import Address, Links
from redoubt_operator.metrics import Metrics
from redoubt_operator.names import PORT_CLIENT
from redoubt_operator.observation import ClusterMeta, Observation, SlotRange
from redoubt_operator.observer import Look
from tests.redoubt_operator.fake_api import FakeApi, run, serve
from tests.redoubt_operator.fake_server import PASSWORD, FakeServer, free_address, server

META = ClusterMeta("ns", "cache", "uid-of-cache", 1)
LOOK = Look(Observation(META, 5, (), (), (), (), (), None, (), (), {}), PASSWORD)
PODS = "/api/v1/namespaces/ns/pods"
TARGET = Target("cache-0-0", "uid-1", "10.0.0.1")
BECAUSE = "the test wants it"


@dataclass
class World:
    """An executor with everything that it acts on."""

    api: FakeApi
    links: Links
    executor: Executor
    boundaries: list[tuple[str, str]]
    leads: bool = True

    async def do(self, *actions: Action) -> list[Failure]:
        return await self.executor.run(actions, LOOK)

    async def see(self, fake: FakeServer, uid: str = "uid-1") -> Target:
        """Ask a server as an observer does, so that it may be acted on."""
        await self.links.get(Address(uid, fake.ip, PORT_CLIENT), PASSWORD)
        return Target("cache-0-0", uid, fake.ip)

    def reasons(self) -> list[str]:
        """Return the reasons of the Events that were written."""
        return [body["reason"] for body in self.api.bodies if body and body.get("kind") == "Event"]


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    api = FakeApi()
    async with serve(api) as kube:
        links = Links(lambda _: None)
        boundaries: list[tuple[str, str]] = []
        executor = Executor(
            kube,
            links,
            Recorder(kube, "test"),
            Metrics(),
            lambda: made.leads,
            lambda action, where: boundaries.append((type(action).__name__, where)),
        )
        made = World(api, links, executor, boundaries)
        yield made
        links.close()


def pod_manifest(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "ns", "name": name}, "spec": {}}


COMMANDS = [
    (RaiseLease(TARGET, 5, BECAUSE), "REDOUBT LEASE 5"),
    (SetConfigEpoch(TARGET, 3, BECAUSE), "CLUSTER SET-CONFIG-EPOCH 3"),
    (AssignMaster(TARGET, 7, 5, BECAUSE), "REDOUBT ROLE master 7 5"),
    (AssignMaster(TARGET, 7, 5, BECAUSE, is_newest=True), "REDOUBT ROLE master 7 5 FORCE-NEWEST"),
    (AssignReplica(TARGET, 7, 5, "m" * 40, BECAUSE), f"REDOUBT ROLE replica 7 5 {'m' * 40}"),
    (
        AddSlots(TARGET, (SlotRange(0, 5460), SlotRange(9999, 9999)), BECAUSE),
        "CLUSTER ADDSLOTSRANGE 0 5460 9999 9999",
    ),
    (Meet(TARGET, "10.0.0.2", 6379, 16379, BECAUSE), "CLUSTER MEET 10.0.0.2 6379 16379"),
    (Forget(TARGET, "f" * 40, BECAUSE), f"CLUSTER FORGET {'f' * 40}"),
    (ForceFailover(TARGET, BECAUSE), "CLUSTER FAILOVER FORCE"),
    (
        SetConfig(TARGET, (("maxmemory", "100"), ("maxmemory-policy", "allkeys-lru")), BECAUSE),
        "CONFIG SET maxmemory 100 maxmemory-policy allkeys-lru",
    ),
]


@pytest.mark.parametrize(("action", "command"), COMMANDS)
def test_each_action_on_a_server_is_one_command(action: Any, command: str) -> None:
    assert " ".join(str(word) for word in command_of(action)) == command


def test_command_goes_over_the_link_on_which_the_server_was_seen() -> None:
    async def scenario() -> None:
        async with world() as w, server() as fake:
            fake.replies["REDOUBT ROLE"] = OK
            target = await w.see(fake)
            assert await w.do(AssignMaster(target, 7, 5, BECAUSE, shard=0)) == []
            assert fake.asked("REDOUBT", "ROLE") == [["REDOUBT", "ROLE", "master", "7", "5"]]
            assert fake.connections == 1
            assert w.reasons() == ["MasterAssigned"]

    run(scenario())


def test_server_whose_link_has_ended_since_is_not_acted_on_even_if_its_address_answers() -> None:
    async def scenario() -> None:
        ip = free_address()
        async with world() as w:
            async with server(ip) as before:
                target = await w.see(before)
            await asyncio.sleep(0.05)
            async with server(ip) as successor:
                [failure] = await w.do(AssignMaster(target, 7, 5, BECAUSE))
                assert "ended since the server was seen" in failure.reason
                assert successor.commands == []

    run(scenario())


@pytest.mark.parametrize(
    ("action", "answer"),
    [
        (
            SetConfigEpoch,
            b"ERR The user can assign a config epoch only when the node does not know any other node.",
        ),
        (SetConfigEpoch, b"ERR Node config epoch is already non-zero"),
        (Forget, b"ERR Unknown node ffff"),
        (ForceFailover, b"ERR You should send CLUSTER FAILOVER to a replica"),
    ],
)
def test_answer_that_says_it_is_so_already_counts_as_done(action: type[Any], answer: bytes) -> None:
    async def scenario() -> None:
        async with world() as w, server() as fake:
            for name in ("CLUSTER SET-CONFIG-EPOCH", "CLUSTER FORGET", "CLUSTER FAILOVER"):
                fake.replies[name] = ErrorReply(answer)
            target = await w.see(fake)
            given: tuple[Any, ...] = (target, 3, BECAUSE) if action is SetConfigEpoch else (target, BECAUSE)
            if action is Forget:
                given = (target, "f" * 40, BECAUSE)
            assert await w.do(action(*given)) == []

    run(scenario())


def test_refusal_by_compare_and_set_fails_and_is_never_done() -> None:
    async def scenario() -> None:
        async with world() as w, server() as fake:
            fake.replies["REDOUBT ROLE"] = ErrorReply(b"STALE the map is newer")
            action = AssignMaster(await w.see(fake), 7, 5, BECAUSE, shard=0)
            assert await w.do(action) == [Failure(action, "STALE the map is newer", True)]
            assert done_already(action) == ()
            assert w.reasons() == []

    run(scenario())


def test_failed_action_ends_its_lane_and_no_other() -> None:
    async def scenario() -> None:
        async with world() as w, server() as fake:
            fake.replies |= {"CLUSTER MEET": ErrorReply(b"ERR no"), "REDOUBT LEASE": OK}
            target = await w.see(fake)
            failing = Meet(target, "10.0.0.2", 6379, 16379, BECAUSE, shard=0)
            failures = await w.do(
                failing,
                RaiseLease(target, 5, BECAUSE, shard=0),
                CreatePod(pod_manifest("cache-1-0"), BECAUSE, shard=1),
                RaiseLease(target, 6, BECAUSE, shard=1),
            )
            assert [failure.action for failure in failures] == [failing]
            assert fake.asked("REDOUBT", "LEASE") == [["REDOUBT", "LEASE", "6"]]
            assert f"{PODS}/cache-1-0" in w.api.objects

    run(scenario())


def test_lane_waits_for_nobody_elses_handover() -> None:
    async def scenario() -> None:
        async with world() as w, server() as slow, server() as fast:
            slow.silent_from = "REDOUBT"
            fast.replies["REDOUBT LEASE"] = OK
            slow_target, fast_target = await w.see(slow, "uid-1"), await w.see(fast, "uid-2")
            running = asyncio.create_task(
                w.do(
                    Handover(slow_target, "r", BECAUSE, shard=0), RaiseLease(fast_target, 5, BECAUSE, shard=1)
                )
            )
            while not fast.asked("REDOUBT", "LEASE"):
                await asyncio.sleep(0.005)
            assert not running.done()
            running.cancel()

    run(scenario())


def test_handover_has_a_connection_of_its_own_and_leaves_the_link_free() -> None:
    async def scenario() -> None:
        async with world() as w, server() as fake:
            fake.replies["REDOUBT HANDOVER"] = OK
            target = await w.see(fake)
            assert await w.do(Handover(target, "r" * 40, BECAUSE, shard=0)) == []
            assert fake.asked("REDOUBT", "HANDOVER") == [["REDOUBT", "HANDOVER", "r" * 40]]
            assert fake.connections == 2
            assert w.reasons() == ["HandedOver"]

    run(scenario())


def test_nothing_is_done_once_the_lease_is_lost() -> None:
    async def scenario() -> None:
        async with world() as w:
            w.leads = False
            [failure] = await w.do(CreatePod(pod_manifest("cache-0-0"), BECAUSE, shard=0))
            assert "Lease" in failure.reason
            assert w.api.requests == []

    run(scenario())


def test_boundaries_lie_before_and_after_each_action() -> None:
    async def scenario() -> None:
        async with world() as w:
            w.api.put(f"{PODS}/cache-0-1", pod_manifest("cache-0-1"))
            gone = DeletePod("cache-0-1", "another uid", "1", BECAUSE, shard=0)
            await w.do(CreatePod(pod_manifest("cache-0-0"), BECAUSE, shard=0), gone)
            assert w.boundaries == [("CreatePod", "before"), ("CreatePod", "after"), ("DeletePod", "before")]

    run(scenario())


def test_pod_is_created_once_and_told_of_once() -> None:
    async def scenario() -> None:
        async with world() as w:
            action = CreatePod(pod_manifest("cache-0-0"), BECAUSE, shard=0)
            assert await w.do(action) == []
            assert await w.do(action) == []
            assert w.reasons() == ["PodCreated"]

    run(scenario())


def test_delete_of_a_pod_that_changed_since_fails() -> None:
    async def scenario() -> None:
        async with world() as w:
            pod = w.api.put(f"{PODS}/cache-0-0", pod_manifest("cache-0-0"))
            uid = pod["metadata"]["uid"]
            assert len(await w.do(DeletePod("cache-0-0", uid, "1", BECAUSE, shard=0))) == 1
            assert f"{PODS}/cache-0-0" in w.api.objects
            version = pod["metadata"]["resourceVersion"]
            assert await w.do(DeletePod("cache-0-0", uid, version, BECAUSE, shard=0)) == []
            assert f"{PODS}/cache-0-0" not in w.api.objects

    run(scenario())


def test_labels_and_claims_are_patched_only_where_they_were_seen() -> None:
    async def scenario() -> None:
        async with world() as w:
            pod = w.api.put(f"{PODS}/cache-0-0", pod_manifest("cache-0-0"))
            path = "/api/v1/namespaces/ns/persistentvolumeclaims/data"
            claim = w.api.put(path, {"kind": "PersistentVolumeClaim", "spec": {"resources": {}}})["metadata"]
            label = LabelPod(
                "cache-0-0", pod["metadata"]["uid"], {"redoubt.dev/role": "master"}, BECAUSE, shard=0
            )
            grow = {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}
            patch = PatchClaim("data", claim["uid"], claim["resourceVersion"], grow, BECAUSE, shard=1)
            assert await w.do(label, patch) == []
            assert w.api.objects[f"{PODS}/cache-0-0"]["metadata"]["labels"] == {"redoubt.dev/role": "master"}
            assert w.api.objects[path]["spec"] == grow["spec"]
            assert len(await w.do(patch)) == 1, "it has another resourceVersion now"
            stranger = LabelPod(
                "cache-0-0", "uid of another", {"redoubt.dev/role": "replica"}, BECAUSE, shard=0
            )
            assert len(await w.do(stranger)) == 1
            assert w.api.objects[f"{PODS}/cache-0-0"]["metadata"]["labels"] == {"redoubt.dev/role": "master"}

    run(scenario())


def test_secret_gets_a_password_that_is_never_written_again() -> None:
    async def scenario() -> None:
        async with world() as w:
            manifest = {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"namespace": "ns", "name": "cache-auth"},
                "type": "Opaque",
            }
            path = "/api/v1/namespaces/ns/secrets/cache-auth"
            assert await w.do(CreateSecret(manifest, BECAUSE)) == []
            first = w.api.objects[path]["data"]["password"]
            assert len(base64.b64decode(first)) >= 24
            assert await w.do(CreateSecret(manifest, BECAUSE)) == []
            assert w.api.objects[path]["data"]["password"] == first

    run(scenario())


def service_manifest() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": "ns", "name": "cache"},
        "spec": {"ports": []},
    }


def test_pods_are_created_after_what_they_mount_even_if_some_of_it_fails() -> None:
    async def scenario() -> None:
        async with world() as w:
            w.api.answers = [(403, {})]
            failures = await w.do(
                CreatePod(pod_manifest("cache-0-0"), BECAUSE, shard=0),
                ApplyObject(service_manifest(), BECAUSE),
                CreateSecret(
                    {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "ns", "name": "a"}},
                    BECAUSE,
                ),
            )
            assert len(failures) == 1
            order = [body["kind"] for body in w.api.bodies if body["kind"] != "Event"]
            assert order[-1] == "Pod" and sorted(order[:-1]) == ["Secret", "Service"]

    run(scenario())


def test_apply_that_changes_nothing_asks_for_nothing() -> None:
    async def scenario() -> None:
        async with world() as w:
            service = service_manifest()
            assert await w.do(ApplyObject(service, BECAUSE)) == []
            live = w.api.objects["/api/v1/namespaces/ns/services/cache"]
            seen = Observation(META, 5, (), (), (live,), (), (), None, (), (), {})
            before = len(w.api.requests)
            assert await w.executor.run([ApplyObject(service, BECAUSE)], Look(seen, PASSWORD)) == []
            assert len(w.api.requests) == before

    run(scenario())


def test_claim_that_is_gone_already_is_no_failure() -> None:
    async def scenario() -> None:
        async with world() as w:
            assert await w.do(DeleteClaim("data", "uid", "1", BECAUSE, shard=0)) == []
            assert w.reasons() == []

    run(scenario())


def test_event_that_cannot_be_written_stops_nobody() -> None:
    async def scenario() -> None:
        async with world() as w:
            w.api.answers, w.api.answers_to = [(403, {})], "/events"
            event = RecordEvent("Warning", "DataLost", "all copies are empty")
            assert await w.do(event, CreatePod(pod_manifest("cache-0-0"), BECAUSE)) == []
            assert f"{PODS}/cache-0-0" in w.api.objects
            assert w.api.answers == []

    run(scenario())
