"""Redoubt on a Kubernetes: the operator installed from manifests/, one RedoubtCluster, and what people ask
of it.

`Deployment` works on any `Platform` (a devcluster, or a real node through its kubeconfig): it applies the
manifests exactly as an administrator would, applies a resource, waits, and answers where the master of a
shard is. The demo, the end-to-end tests and the benchmark share it. It knows nothing of how processes
run.
"""

from __future__ import annotations

import base64
import json
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

import redis
from redis.cluster import ClusterNode, RedisCluster

from devcluster.cluster_writer import ClusterWriter
from devcluster.dataset import reader
from devcluster.faults import Faults
from devcluster.writer import ShardWriter, tags_over_slots

REPOSITORY: Final = Path(__file__).resolve().parent.parent
MANIFESTS: Final = REPOSITORY / "manifests"
OPERATOR_NAMESPACE: Final = "redoubt-system"
CLIENT_PORT: Final = 6379
METRICS_PORT: Final = 9121


class Platform(Protocol):
    """A Kubernetes with kubectl and faults; `DevCluster` and `Realnode` are two."""

    @property
    def faults(self) -> Faults:
        """What can be broken here."""
        ...

    def kubectl(
        self, *arguments: str, input: str | None = None, check: bool = True, timeout_s: float = 120
    ) -> str:
        """Run kubectl as the administrator and return its output."""
        ...


class Deployment:
    """One RedoubtCluster on a platform."""

    def __init__(self, platform: Platform, name: str = "demo", namespace: str = "default") -> None:
        self.platform = platform
        self.name = name
        self.namespace = namespace
        self._password = ""

    def install_operator(self, wait: bool = True) -> None:
        """Apply manifests/ and wait until an operator leads."""
        self.platform.kubectl("apply", "-k", str(MANIFESTS))
        self.platform.kubectl(
            "wait", "--for=condition=Established", "crd/redoubtclusters.redoubt.dev", "--timeout=60s"
        )
        if wait:
            self.scale_operator(None)

    def scale_operator(self, replicas: int | None) -> None:
        """Set the number of operator pods (None: leave it) and wait until they run."""
        target = ["deployment/redoubt-operator", "-n", OPERATOR_NAMESPACE]
        if replicas is not None:
            self.platform.kubectl("scale", *target, f"--replicas={replicas}")
        if replicas == 0:
            self.wait_until(lambda: not self._operator_pods(), 60, "operator pods are gone")
        else:
            self.platform.kubectl("rollout", "status", *target, "--timeout=120s")

    def operator_leader(self) -> str:
        """Name the pod of the operator that leads now; empty if none does."""
        words = ("get", "lease", "redoubt-operator", "-n", OPERATOR_NAMESPACE, "--ignore-not-found")
        holder = self.platform.kubectl(*words, "-o", "jsonpath={.spec.holderIdentity}")
        return holder.split("_")[0]

    def apply(self, **spec: Any) -> float:
        """Apply the resource with this spec; return the monotonic time of the apply."""
        resource = {
            "apiVersion": "redoubt.dev/v1alpha1",
            "kind": "RedoubtCluster",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": spec,
        }
        began = time.monotonic()
        self.platform.kubectl("apply", "-f", "-", input=json.dumps(resource))
        return began

    def delete(self) -> None:
        """Delete the resource, its volumes too, and wait until its pods are gone."""
        self.platform.kubectl("delete", "rdc", self.name, "-n", self.namespace, "--ignore-not-found")
        self.wait_until(lambda: not self.pods(), 90, f"pods of {self.name} are gone")
        selector = f"redoubt.dev/cluster={self.name}"
        self.platform.kubectl("delete", "pvc", "-n", self.namespace, "-l", selector, "--wait=false")
        self._password = ""

    def wait_ready(self, timeout_s: float = 120) -> None:
        """Wait for condition Ready as a person would, with kubectl."""
        self._wait_for("condition=Ready", timeout_s)

    def wait_shards(self, shards: int, timeout_s: float = 300) -> None:
        """Wait, with kubectl's watches and so without a load of its own, until that many shards are settled.

        Settled: the slots are split over them, nothing is left to do, and no pod of another shard is there.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            left_s = deadline - time.monotonic()
            for goal in (f"jsonpath={{.status.currentShards}}={shards}", "condition=Reconciling=False"):
                self._wait_for(goal, left_s)
            self._wait_for("condition=Ready", left_s)
            members = shards * (1 + int(self.resource()["spec"].get("replicasPerShard", 1)))
            status = self.resource()["status"]
            if int(status["currentShards"]) == shards and len(self.pods()) == members:
                return
            if left_s < 0:
                raise TimeoutError(f"not within {timeout_s} s: {shards} shards; last seen: {status}")
            time.sleep(0.2)

    def _wait_for(self, goal: str, timeout_s: float) -> None:
        limit = f"--timeout={max(1, int(timeout_s))}s"
        words = ("wait", f"--for={goal}", f"rdc/{self.name}", "-n", self.namespace, limit)
        self.platform.kubectl(*words, timeout_s=max(1, timeout_s) + 10)

    def resource(self) -> dict[str, Any]:
        """Read the resource as the API server has it now."""
        parsed: dict[str, Any] = json.loads(
            self.platform.kubectl("get", "rdc", self.name, "-n", self.namespace, "-o", "json")
        )
        return parsed

    def condition(self, kind: str) -> str:
        """Read the status of a condition: True, False, Unknown, or empty."""
        conditions = self.resource().get("status", {}).get("conditions", [])
        return next((str(each["status"]) for each in conditions if each["type"] == kind), "")

    def pods(self) -> list[dict[str, Any]]:
        """List the cluster's pods by name."""
        text = self.platform.kubectl(
            "get", "pods", "-n", self.namespace, "-l", f"redoubt.dev/cluster={self.name}", "-o", "json"
        )
        items: list[dict[str, Any]] = json.loads(text)["items"]
        return items

    def pods_of(self, shard: int) -> list[dict[str, Any]]:
        """List the pods of one shard."""
        return [
            pod for pod in self.pods() if pod["metadata"]["labels"].get("redoubt.dev/shard") == str(shard)
        ]

    def addresses(self, shard: int | None = None) -> list[tuple[str, int]]:
        """List the client addresses of the pods that have one."""
        pods = self.pods() if shard is None else self.pods_of(shard)
        return [(pod["status"]["podIP"], CLIENT_PORT) for pod in pods if pod["status"].get("podIP")]

    @property
    def password(self) -> str:
        """The password from the resource's Secret."""
        if not self._password:
            reference = self.resource()["spec"].get("auth", {}).get("secretName") or f"{self.name}-auth"
            encoded = self.platform.kubectl(
                "get", "secret", reference, "-n", self.namespace, "-o", "jsonpath={.data.password}"
            )
            self._password = base64.b64decode(encoded).decode()
        return self._password

    def client(self, host: str, port: int = CLIENT_PORT) -> redis.Redis:
        """Connect to one member."""
        return redis.Redis(host=host, port=port, password=self.password, socket_timeout=5, protocol=2)

    def cluster_client(self) -> RedisCluster:
        """Connect as applications do: redis-py's own cluster client with its defaults."""
        nodes = [ClusterNode(host, port) for host, port in self.addresses()]
        return RedisCluster(startup_nodes=nodes, password=self.password)

    def member_status(self, host: str) -> dict[str, str]:
        """Ask one member for REDOUBT STATUS."""
        flat = self.client(host).execute_command("REDOUBT", "STATUS")
        texts = [item.decode() if isinstance(item, bytes) else str(item) for item in flat]
        return dict(zip(texts[::2], texts[1::2], strict=True))

    def scrape(self, host: str) -> dict[str, float]:
        """Scrape one member's Prometheus endpoint; return the values by series name, labels summed up."""
        with urllib.request.urlopen(f"http://{host}:{METRICS_PORT}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        figures: dict[str, float] = {}
        for line in lines:
            if line and not line.startswith("#"):
                series, _, value = line.rpartition(" ")
                name = series.partition("{")[0]
                figures[name] = figures.get(name, 0.0) + float(value)
        return figures

    def master_of(self, shard: int) -> dict[str, Any]:
        """Find the pod that serves a shard as its master now, by asking the members."""
        for pod in self.pods_of(shard):
            address = pod["status"].get("podIP")
            if not address:
                continue
            try:
                status = self.member_status(address)
            except (redis.exceptions.RedisError, OSError):
                continue
            if status["role"] == "master" and status["phase"] == "assigned" and int(status["slots"]) > 0:
                return pod
        raise LookupError(f"no master of shard {shard} found")

    def are_replicas_synced(self) -> bool:
        """Say whether every pod that stays answers, with a master in each shard and all replicas in sync."""
        pods = [pod for pod in self.pods() if "deletionTimestamp" not in pod["metadata"]]
        try:
            states = [self.member_status(pod["status"]["podIP"]) for pod in pods]
        except (redis.exceptions.RedisError, OSError, KeyError):
            return False
        replicas = [state for state in states if state["role"] == "replica"]
        masters = [state for state in states if state["role"] == "master" and state["phase"] == "assigned"]
        spec = self.resource()["spec"]
        wanted = int(spec.get("shards", 3))
        return (
            len(masters) == wanted
            and len(replicas) == wanted * int(spec.get("replicasPerShard", 1))
            and all(state["synced"] == "1" and state["link-up"] == "1" for state in replicas)
            and all(state["cluster-ok"] == "1" for state in states)
        )

    def wait_synced(self, timeout_s: float = 60) -> None:
        """Wait until every replica is in sync."""
        self.wait_until(self.are_replicas_synced, timeout_s, "every replica is in sync")

    def slots_of(self, shard: int) -> list[int]:
        """List the slots of a shard's master."""
        host = self.master_of(shard)["status"]["podIP"]
        slots: list[int] = []
        for first, last, master, *_ in self.client(host).execute_command("CLUSTER", "SLOTS"):
            if master[0].decode() == host:
                slots += range(int(first), int(last) + 1)
        return sorted(slots)

    def writer(self, shard: int, **options: Any) -> ShardWriter:
        """Make a writer for one shard; it starts with the addresses of now and learns more by MOVED."""
        known = self.addresses(shard)
        return ShardWriter(lambda: known, self.password, tags_over_slots(self.slots_of(shard)), **options)

    def cluster_writer(self, **options: Any) -> ClusterWriter:
        """Make an application that writes to all slots through redis-py's cluster client."""
        return ClusterWriter(self.cluster_client(), **options)

    def missing_keys(self, writer: ShardWriter | ClusterWriter) -> list[str]:
        """List the acknowledged keys of a writer that the cluster no longer has."""
        client = self.cluster_client()
        try:
            return writer.missing(reader(client))
        finally:
            client.close()

    def wait_until(self, condition: Callable[[], Any], timeout_s: float, what: str) -> float:
        """Wait until a condition holds; return the seconds that took."""
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > timeout_s:
                raise TimeoutError(f"not within {timeout_s} s: {what}")
            time.sleep(0.1)
        return time.monotonic() - began

    def _operator_pods(self) -> list[Any]:
        text = self.platform.kubectl("get", "pods", "-n", OPERATOR_NAMESPACE, "-o", "json")
        return [pod for pod in json.loads(text)["items"] if "operator" in pod["metadata"]["name"]]
