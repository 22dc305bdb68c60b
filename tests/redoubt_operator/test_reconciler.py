"""Whole reconciliations against a small API server and scripted servers: pace, writes, outages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from redoubt_operator.events import Recorder
from redoubt_operator.execute import Executor
from redoubt_operator.links import Links
from redoubt_operator.metrics import Metrics
from redoubt_operator.monitor import Monitor
from redoubt_operator.observer import Observer
from redoubt_operator.reconciler import LOOK_AFTER_ACTING_MAX_S, Reconciler
from redoubt_operator.workqueue import Key
from tests.redoubt_operator.fake_api import FakeApi, run, serve
from tests.redoubt_operator.fake_server import FakeServer, server, status_reply

KEY = Key("ns", "cache")
CLUSTER = "/apis/redoubt.dev/v1alpha1/namespaces/ns/redoubtclusters/cache"
PODS = "/api/v1/namespaces/ns/pods"
SECRET = "/api/v1/namespaces/ns/secrets/cache-auth"


class World:
    """A reconciler, the API server under it, and what it told others."""

    def __init__(
        self,
        api: FakeApi,
        reconciler: Reconciler,
        monitor: Monitor,
        links: Links,
        transitions_seen: list[int],
    ) -> None:
        self.api = api
        self.reconciler = reconciler
        self.monitor = monitor
        self.links = links
        self.ended: list[Key | None] = []
        self.transitions_seen = transitions_seen

    def pods(self) -> list[str]:
        return sorted(path.rpartition("/")[2] for path in self.api.objects if path.startswith(PODS))

    def place(self, fake: FakeServer, pod: str, shard: int) -> None:
        """Let a pod that was created run, with a scripted server in it."""
        live = self.api.objects[f"{PODS}/{pod}"]
        live["spec"]["nodeName"] = "node-1"
        live["status"] = {
            "phase": "Running",
            "podIP": fake.ip,
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "server", "state": {"running": {}}, "restartCount": 0}],
        }
        self.api.put(f"{PODS}/{pod}", live)
        node_id = f"{pod[-1]}" * 40
        fake.replies["REDOUBT STATUS"] = status_reply(node_id=node_id, lease_transitions=5)


@asynccontextmanager
async def world(spec: dict[str, Any]) -> AsyncIterator[World]:
    api = FakeApi()
    manifest = {"apiVersion": "redoubt.dev/v1alpha1", "kind": "RedoubtCluster", "spec": spec}
    api.put(CLUSTER, manifest)
    api.objects[CLUSTER]["metadata"]["generation"] = 1
    async with serve(api) as kube:
        metrics = Metrics()
        transitions_seen: list[int] = []
        links = Links(lambda uid: made.ended.append(made.reconciler.link_ended(uid)))
        monitor = Monitor(metrics, lambda _: None)
        observer = Observer(kube, links, monitor, watch_nodes=False)
        executor = Executor(kube, links, Recorder(kube, "test"), metrics, lambda: True)
        reconciler = Reconciler(
            kube,
            links,
            monitor,
            observer,
            executor,
            metrics,
            lambda: 5,
            transitions_seen.append,
        )
        made = World(api, reconciler, monitor, links, transitions_seen)
        yield made
        links.close()


def test_new_resource_gets_its_objects_and_a_second_look_writes_nothing() -> None:
    async def scenario() -> None:
        async with world({"shards": 2, "replicasPerShard": 1}) as w:
            assert await w.reconciler.reconcile(KEY) is not None
            assert w.pods() == ["cache-0-0", "cache-0-1", "cache-1-0", "cache-1-1"]
            assert SECRET in w.api.objects
            await w.reconciler.reconcile(KEY)
            written = len(w.api.writes)
            versions = {path: one["metadata"]["resourceVersion"] for path, one in w.api.objects.items()}
            await w.reconciler.reconcile(KEY)
            assert w.api.writes[written:] == []
            assert {p: one["metadata"]["resourceVersion"] for p, one in w.api.objects.items()} == versions
            assert w.api.objects[CLUSTER]["status"]["observedGeneration"] == 1

    run(scenario())


def test_spec_of_the_user_is_never_written() -> None:
    async def scenario() -> None:
        async with world({"shards": 1}) as w:
            await w.reconciler.reconcile(KEY)
            assert w.api.objects[CLUSTER]["spec"] == {"shards": 1}
            own = [(verb, path) for verb, path in w.api.writes if path.startswith(CLUSTER)]
            assert own == [("PATCH", f"{CLUSTER}/status")]

    run(scenario())


def test_resource_that_is_gone_is_forgotten() -> None:
    async def scenario() -> None:
        async with world({"shards": 1}) as w, server() as fake:
            await w.reconciler.reconcile(KEY)
            w.place(fake, "cache-0-0", 0)
            await w.reconciler.reconcile(KEY)
            assert len(w.links) == 1
            del w.api.objects[CLUSTER]
            assert await w.reconciler.reconcile(KEY) is None
            assert len(w.links) == 0
            assert dict(w.monitor.samples(KEY)) == {}
            assert w.reconciler.clusters_on_node("node-1") == []

    run(scenario())


def test_status_that_is_refused_stops_no_action_and_is_tried_again() -> None:
    async def scenario() -> None:
        async with world({"shards": 1, "replicasPerShard": 0}) as w:

            async def refuse() -> None:
                w.api.answers = [(422, {})] if w.api.requests[-1][1] == f"{CLUSTER}/status" else []

            w.api.gate = refuse
            first = await w.reconciler.reconcile(KEY)
            assert w.pods() == ["cache-0-0"]
            second = await w.reconciler.reconcile(KEY)
            assert first is not None and second is not None and first <= second <= LOOK_AFTER_ACTING_MAX_S
            w.api.gate = None
            await w.reconciler.reconcile(KEY)
            assert "status" in w.api.objects[CLUSTER]

    run(scenario())


def test_same_failing_actions_are_tried_ever_more_slowly() -> None:
    async def scenario() -> None:
        async with world({"shards": 1, "replicasPerShard": 0}) as w:

            async def refuse() -> None:
                method, path, _ = w.api.requests[-1]
                w.api.answers = [(403, {})] if (method, path) == ("POST", PODS) else []

            w.api.gate = refuse
            pauses = [await w.reconciler.reconcile(KEY) for _ in range(8)]
            assert w.pods() == []
            assert None not in pauses
            growing = [pause for pause in pauses if pause is not None]
            assert growing == sorted(growing)
            assert growing[0] <= 0.2 < growing[-1] <= LOOK_AFTER_ACTING_MAX_S

    run(scenario())


def test_end_of_a_masters_link_names_its_cluster_and_the_outage_is_measured() -> None:
    async def scenario() -> None:
        async with world({"shards": 1, "replicasPerShard": 1}) as w, server() as master, server() as other:
            await w.reconciler.reconcile(KEY)
            w.place(master, "cache-0-0", 0)
            w.place(other, "cache-0-1", 0)
            other.replies["REDOUBT STATUS"] = status_reply(
                node_id="1" * 40, role="replica", slots=0, master_id="0" * 40, synced=1, link_up=1
            )
            await w.reconciler.reconcile(KEY)
            assert w.transitions_seen == [5]
            master.die()
            while not w.ended:
                await asyncio.sleep(0.005)
            assert w.ended == [KEY]
            again_after_s = await w.reconciler.reconcile(KEY)
            assert again_after_s is not None and again_after_s <= 0.2, "an outage is looked at often"
            await asyncio.sleep(0.1)
            other.replies["REDOUBT STATUS"] = status_reply(node_id="1" * 40, config_epoch=9, slots=16384)
            await w.reconciler.reconcile(KEY)
            rendered = w.reconciler._metrics.render().decode()
            [line] = [
                line
                for line in rendered.splitlines()
                if line.startswith("redoubt_operator_last_outage_seconds{")
            ]
            assert 0.1 <= float(line.split()[-1]) < 5.0
            del w.api.objects[CLUSTER]
            await w.reconciler.reconcile(KEY)
            rendered = w.reconciler._metrics.render().decode()
            assert "redoubt_operator_last_outage_seconds{" not in rendered

    run(scenario())


def test_secret_that_cannot_be_read_for_a_while_does_not_blind_us() -> None:
    async def scenario() -> None:
        async with world({"shards": 1, "replicasPerShard": 0}) as w, server() as fake:
            await w.reconciler.reconcile(KEY)
            w.place(fake, "cache-0-0", 0)
            await w.reconciler.reconcile(KEY)

            async def refuse() -> None:
                w.api.answers = [(403, {})] if w.api.requests[-1][1] == SECRET else []

            w.api.gate = refuse
            asked = len(fake.asked("REDOUBT", "STATUS"))
            await w.reconciler.reconcile(KEY)
            assert len(fake.asked("REDOUBT", "STATUS")) == asked + 1

    run(scenario())
