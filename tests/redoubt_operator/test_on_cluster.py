"""The operator against a real API server with real servers in its pods: lives cut short, Leases, silence.

`life` is one operator without its watches, which looks again whenever a plan says so. Cutting it short at
the first boundary of an action is the hardest schedule there is: each life gets one action done, or none.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import redis

from devcluster.cluster import DevCluster
from devcluster.faults import DevclusterFaults
from redoubt_operator.actions import Action, RaiseLease
from redoubt_operator.events import Recorder
from redoubt_operator.execute import Executor
from redoubt_operator.kube import CLUSTERS, PODS, Kube, connect
from redoubt_operator.links import Links
from redoubt_operator.metrics import Metrics
from redoubt_operator.monitor import Monitor
from redoubt_operator.observer import Observer
from redoubt_operator.reconciler import Reconciler
from redoubt_operator.workqueue import Key

pytestmark = pytest.mark.cluster

REPOSITORY = Path(__file__).resolve().parents[2]
SPEC = {
    "shards": 3,
    "replicasPerShard": 1,
    "placement": {"spread": {"masters": "Off"}},  # what evens them out a minute later is no idle minute
    "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "160Mi"}},
}
CONVERGED_WITHIN_S = 90
LIVES_MAX = 500


class Killed(BaseException):
    """The operator's process has ended here."""


@pytest.fixture
def key(cluster: DevCluster, namespace: str) -> Key:
    """A new RedoubtCluster in a namespace of its own, with nobody who runs it."""
    cluster.kubectl("apply", "-f", str(REPOSITORY / "manifests" / "crd.yaml"))
    cluster.kubectl("wait", "--for=condition=Established", "crd/redoubtclusters.redoubt.dev")
    manifest = {
        "apiVersion": "redoubt.dev/v1alpha1",
        "kind": "RedoubtCluster",
        "metadata": {"name": "cache", "namespace": namespace},
        "spec": SPEC,
    }
    cluster.kubectl("apply", "-f", "-", input=json.dumps(manifest))
    return Key(namespace, "cache")


def conditions(manifest: dict[str, Any]) -> dict[str, str]:
    listed = (manifest.get("status") or {}).get("conditions") or []
    return {condition["type"]: condition["status"] for condition in listed}


async def is_converged(kube: Kube, key: Key) -> bool:
    manifest = await kube.get(CLUSTERS, key.namespace, key.name)
    assert manifest is not None
    held = conditions(manifest)
    return held.get("Ready") == "True" and held.get("ReplicationHealthy") == "True"


class Boundary:
    """Ends a life at the first boundary of an action, alternately after and before its effect.

    Every life begins with raising the Lease's number on all servers; only some end there, or no life would
    ever get further.
    """

    def __init__(self, life: int) -> None:
        self._where = "after" if life % 2 else "before"
        self._spares_leases = life % 5 != 0
        self.reached: Action | None = None

    def __call__(self, action: Action, where: str) -> None:
        if where == self._where and not (self._spares_leases and isinstance(action, RaiseLease)):
            self.reached = action
            raise Killed


Goal = Callable[[Kube, Key], Awaitable[bool]]


async def life(
    kubeconfig: Path,
    key: Key,
    transitions: int,
    boundary: Boundary | None,
    until_s: float,
    is_reached: Goal = is_converged,
) -> None:
    """One operator's life: reconcile until its goal is reached, or until the boundary ends it."""
    kube = await connect(str(kubeconfig))
    metrics = Metrics()
    links = Links(lambda _: None)
    monitor = Monitor(metrics, lambda _: None)
    observer = Observer(kube, links, monitor, watch_nodes=True)
    executor = Executor(kube, links, Recorder(kube, "test"), metrics, lambda: True, boundary)
    reconciler = Reconciler(
        kube, links, monitor, observer, executor, metrics, lambda: transitions, lambda _: None
    )
    try:
        while time.monotonic() < until_s and not await is_reached(kube, key):
            again_after_s = await reconciler.reconcile(key)
            await asyncio.sleep(min(again_after_s or 1.0, 0.5))
    finally:
        links.close()
        await kube.close()


def is_cut_short(lived: Coroutine[Any, Any, None]) -> bool:
    """Whether a life ended at its boundary instead of by itself."""
    try:
        asyncio.run(lived)
    except BaseExceptionGroup as ends:
        _, others = ends.split(Killed)
        if others is not None:
            raise others from None
        return True
    return False


def cut_lives(cluster: DevCluster, key: Key, first: int, is_reached: Goal) -> list[str]:
    """Live one short life after the other until one reaches the goal; returns at which actions they ended."""
    until_s = time.monotonic() + CONVERGED_WITHIN_S
    boundaries: list[str] = []
    for number in range(first, first + LIVES_MAX):
        boundary = Boundary(number)
        if not is_cut_short(life(cluster.kubeconfig, key, number, boundary, until_s, is_reached)):
            break
        boundaries.append(type(boundary.reached).__name__)
    return boundaries


def test_creation_converges_though_the_operator_dies_at_every_boundary(cluster: DevCluster, key: Key) -> None:
    boundaries = cut_lives(cluster, key, 1, is_converged)
    assert {"CreatePod", "AssignMaster", "Meet", "AssignReplica"} <= set(boundaries), boundaries
    manifest = json.loads(cluster.kubectl("get", "rdc", key.name, "-n", key.namespace, "-o", "json"))
    assert conditions(manifest)["Ready"] == "True", manifest["status"]["message"]
    assert conditions(manifest)["DataLost"] == "False"
    pods = json.loads(cluster.kubectl("get", "pods", "-n", key.namespace, "-o", "json"))["items"]
    assert len(pods) == 6, "no life created what another had created before"


def listed(cluster: DevCluster, key: Key, kinds: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        cluster.kubectl("get", kinds, "-n", key.namespace, "-l", "redoubt.dev/cluster", "-o", "json")
    )["items"]
    return found


def pod_of(cluster: DevCluster, key: Key, role: str) -> str:
    """The name of the only pod with this role."""
    [name] = [
        pod["metadata"]["name"]
        for pod in listed(cluster, key, "pods")
        if pod["metadata"]["labels"]["redoubt.dev/role"] == role
    ]
    return str(name)


def client(cluster: DevCluster, key: Key, pod: str) -> redis.Redis:
    """A client of the server in a pod."""
    ip = cluster.kubectl("get", "pod", pod, "-n", key.namespace, "-o", "jsonpath={.status.podIP}")
    secret = cluster.kubectl(
        "get", "secret", f"{key.name}-auth", "-n", key.namespace, "-o", "jsonpath={.data.password}"
    )
    return redis.Redis(host=ip, password=base64.b64decode(secret).decode(), socket_timeout=5)


def created_with_one_shard(cluster: DevCluster, key: Key) -> None:
    patch = json.dumps({"spec": {"shards": 1}})
    cluster.kubectl("patch", "rdc", key.name, "-n", key.namespace, "--type=merge", "-p", patch)
    until_s = time.monotonic() + CONVERGED_WITHIN_S
    asyncio.run(life(cluster.kubeconfig, key, 1, None, until_s))


def members_are(wanted: Callable[[list[dict[str, Any]]], bool]) -> Goal:
    """Whether the pods are as wanted, two of them, with the status in order and up to date."""

    async def is_reached(kube: Kube, key: Key) -> bool:
        manifest = await kube.get(CLUSTERS, key.namespace, key.name)
        assert manifest is not None
        pods = await kube.list_objects(PODS, key.namespace, {"redoubt.dev/cluster": key.name})
        roles = sorted(pod["metadata"]["labels"].get("redoubt.dev/role", "none yet") for pod in pods)
        is_current = manifest["status"].get("observedGeneration") == manifest["metadata"]["generation"]
        is_whole = is_current and roles == ["master", "replica"] and wanted(pods)
        return is_whole and await is_converged(kube, key)

    return is_reached


def test_healing_and_a_roll_converge_though_the_operator_dies_at_every_boundary(
    cluster: DevCluster, key: Key
) -> None:
    created_with_one_shard(cluster, key)
    master, replica = pod_of(cluster, key, "master"), pod_of(cluster, key, "replica")
    assert client(cluster, key, master).set("canary", "alive")
    DevclusterFaults(cluster).kill(master, key.namespace)

    def is_replaced(pods: list[dict[str, Any]]) -> bool:
        roles = {pod["metadata"]["name"]: pod["metadata"]["labels"]["redoubt.dev/role"] for pod in pods}
        return roles == {replica: "master", master: "replica"}

    healing = cut_lives(cluster, key, 100, members_are(is_replaced))
    assert "LabelPod" in healing, healing
    before = {pod["metadata"]["uid"] for pod in listed(cluster, key, "pods")}
    patch = json.dumps({"spec": {"resources": {"requests": {"cpu": "11m"}}}})
    cluster.kubectl("patch", "rdc", key.name, "-n", key.namespace, "--type=merge", "-p", patch)
    rolling = cut_lives(
        cluster, key, 1000, members_are(lambda pods: not before & {pod["metadata"]["uid"] for pod in pods})
    )
    assert {"CreatePod", "DeletePod", "Handover", "Meet", "AssignReplica"} <= set(rolling), rolling
    assert not before & {pod["metadata"]["uid"] for pod in listed(cluster, key, "pods")}
    assert client(cluster, key, pod_of(cluster, key, "master")).get("canary") == b"alive"
    manifest = json.loads(cluster.kubectl("get", "rdc", key.name, "-n", key.namespace, "-o", "json"))
    assert conditions(manifest)["DataLost"] == "False"


def test_lesson_26_a_resource_deleted_without_an_operator_takes_everything_with_it(
    cluster: DevCluster, key: Key
) -> None:
    created_with_one_shard(cluster, key)
    kinds = "pods,services,configmaps,secrets,pdb"
    assert {one["kind"] for one in listed(cluster, key, kinds)} >= {"Pod", "Service", "PodDisruptionBudget"}
    cluster.kubectl("delete", "rdc", key.name, "-n", key.namespace, "--timeout=30s")
    until_s = time.monotonic() + CONVERGED_WITHIN_S
    while (left := listed(cluster, key, kinds)) and time.monotonic() < until_s:
        time.sleep(0.5)
    assert [f"{one['kind']}/{one['metadata']['name']}" for one in left] == []


class Process:
    """`redoubt-operator` as a process on this machine, leading by a Lease in the test's namespace."""

    def __init__(self, cluster: DevCluster, namespace: str, identity: str) -> None:
        self.identity = identity
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "redoubt_operator.main",
                "--dev",
                f"--namespace={namespace}",
                f"--watch-namespaces={namespace}",
                f"--identity={identity}",
                "--http-address=127.0.0.1",
                "--http-port=0",
            ],
            env=os.environ | {"KUBECONFIG": str(cluster.kubeconfig), "PYTHONPATH": "operator:server"},
            cwd=REPOSITORY,
        )

    def end(self, signum: signal.Signals) -> int:
        self._process.send_signal(signum)
        return self._process.wait(20)

    @property
    def resident_bytes(self) -> int:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        [line] = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1]) * 1024


def lease(cluster: DevCluster, namespace: str) -> dict[str, Any]:
    found = cluster.try_kubectl("get", "lease", "redoubt-operator", "-n", namespace, "-o", "json")
    spec: dict[str, Any] = json.loads(found.stdout)["spec"] if found.returncode == 0 else {}
    return spec


def holder_after(cluster: DevCluster, namespace: str, identity: str, within_s: float) -> float:
    """Wait until `identity` holds the Lease; returns how long that took."""
    begun = time.monotonic()
    while lease(cluster, namespace).get("holderIdentity") != identity:
        assert time.monotonic() - begun < within_s, f"{identity} does not lead: {lease(cluster, namespace)}"
        time.sleep(0.05)
    return time.monotonic() - begun


def test_standby_takes_over_at_once_after_sigterm_and_within_15_s_after_a_kill(
    cluster: DevCluster, namespace: str
) -> None:
    cluster.kubectl("apply", "-f", str(REPOSITORY / "manifests" / "crd.yaml"))
    first = Process(cluster, namespace, "first")
    holder_after(cluster, namespace, "first", 20)
    second = Process(cluster, namespace, "second")
    time.sleep(3)
    assert first.end(signal.SIGTERM) == 0
    assert holder_after(cluster, namespace, "second", 3) < 3
    third = Process(cluster, namespace, "third")
    time.sleep(3)
    second.end(signal.SIGKILL)
    assert holder_after(cluster, namespace, "third", 15) < 15
    assert lease(cluster, namespace)["leaseTransitions"] == 3
    third.end(signal.SIGTERM)
    assert lease(cluster, namespace)["holderIdentity"] == ""


def versions(cluster: DevCluster, key: Key) -> dict[str, str]:
    """The resourceVersions of everything in the namespace but the Lease."""
    kinds = "rdc,pods,services,configmaps,secrets,pdb,pvc,events"
    listed = json.loads(cluster.kubectl("get", kinds, "-n", key.namespace, "-o", "json"))["items"]
    return {
        f"{one['kind']}/{one['metadata']['name']}": one["metadata"]["resourceVersion"]
        for one in listed
        # The kubelet counts its own Events.
        if one["kind"] != "Event" or one.get("reportingComponent") == "redoubt-operator"
    }


def test_quiet_operator_writes_nothing_but_its_lease_and_stays_small(cluster: DevCluster, key: Key) -> None:
    operator = Process(cluster, key.namespace, "only")
    try:
        cluster.kubectl(
            "wait", "--for=condition=Ready", f"rdc/{key.name}", "-n", key.namespace, "--timeout=60s"
        )
        time.sleep(35)  # the figures of the first scrapes may be written once, at most every 30 s
        before, renewed = versions(cluster, key), lease(cluster, key.namespace)["renewTime"]
        time.sleep(65)  # longer than the full resync
        assert versions(cluster, key) == before
        assert lease(cluster, key.namespace)["renewTime"] > renewed
        assert operator.resident_bytes < 120 * 1024 * 1024
    finally:
        assert operator.end(signal.SIGTERM) == 0
