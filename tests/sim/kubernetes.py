"""Pods, containers, volumes and nodes in a `World`: what Kubernetes does for a cluster, as far as servers and
operator can tell.

A pod has an address of its own and a disk: an emptyDir, which lives as long as the pod, or a volume, which
outlives it. Its kubelet starts the container, restarts it in place when it ends, reports both up to a second
late, and on deletion sends SIGTERM and waits. A pod that is created anew has a new address, always.

`act` carries out what the planner wants of the API. Faults are methods: `kill`, `hold` (the container is not
restarted until `release`), `delete` (gracefully), `lose_node`. The servers run with the redis.conf that the
operator wrote into the ConfigMap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any, Final

from redoubt_operator import actions as do
from redoubt_operator import names
from redoubt_operator.actions import Action
from redoubt_operator.observation import (
    AuthSecret,
    Claim,
    Container,
    ContainerState,
    HostNode,
    Pod,
    PodPhase,
    Termination,
)
from tests.sim.world import Host, World

# A container that ended is started again, and the API told of either, within these times.
RESTART_MS_MAX: Final = 1_000
REPORT_MS_MAX: Final = 1_000
GRACE_MS: Final = 30_000
# Directives that name what a pod mounts; the simulation has no passwords.
MOUNTED: Final = frozenset({"requirepass-file", "masterauth-file"})


class Placed:
    """One pod on its node: what the API says of it, and what is true."""

    def __init__(self, pod: Pod, address: str, disk: dict[str, bytes]) -> None:
        self.pod = pod
        self.address = address
        self.disk = disk
        self.container = Container()  # the truth; `pod.container` is what was reported
        self.is_held = False
        self.is_gone = False


class Kubernetes:
    """The API server and every kubelet."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random = Random(world.random.getrandbits(64))
        self.pods: dict[str, Placed] = {}
        self.volumes: dict[str, tuple[Claim, dict[str, bytes]]] = {}
        self.objects: dict[tuple[str, str], Mapping[str, Any]] = {}
        self.auth: AuthSecret | None = None
        self.nodes: dict[str, HostNode] = {}
        self.status: Mapping[str, Any] = {}
        # Counts changes that wake the operator.
        self.changes = 0
        self._serial = 0
        world.exit_listeners.append(self._ended)

    # What people and nature do.

    def kill(self, name: str) -> None:
        """SIGKILL the process of a pod; its container is restarted in place."""
        host = self.world.hosts.get(self.pods[name].address)
        if host is not None and host.node is not None:
            self.world.kill(host.address)

    def hold(self, name: str) -> None:
        """Kill the process and keep the container from being restarted."""
        self.pods[name].is_held = True
        self.kill(name)

    def release(self, name: str) -> None:
        """Restart the container of a held pod, as soon as its kubelet gets to it."""
        placed = self.pods[name]
        if placed.is_held:
            placed.is_held = False
            self._restart_later(placed)

    def delete(self, name: str, grace_ms: int = GRACE_MS) -> None:
        """Delete a pod: SIGTERM, and SIGKILL after the grace period."""
        placed = self.pods[name]
        if placed.pod.is_terminating:
            return
        self.changes += 1
        placed.pod = replace(
            placed.pod, deleting_since_s=self.world.now_ms / 1000, grace_period_s=grace_ms // 1000
        )
        host = self.world.hosts.get(placed.address)
        if grace_ms == 0 or (host is not None and host.node is None):
            self._remove(placed)
            return
        if host is not None:
            self.world.terminate(placed.address)
        self.world.after(grace_ms, lambda: self._remove(placed))

    def lose_node(self, name: str) -> None:
        """The machine under a pod is gone without a word, and so is its Node object."""
        placed = self.pods[name]
        self.nodes.pop(placed.pod.node, None)
        self.world.vanish(placed.address)
        placed.is_held = True
        self.changes += 1

    def find(self, address: str) -> Placed | None:
        """Return the pod that has an address now."""
        return next((one for one in self.pods.values() if one.address == address), None)

    # What the operator wants.

    def act(self, action: Action) -> None:
        """Carry out an action on Kubernetes objects, idempotently, fenced by uid."""
        match action:
            case do.ApplyObject(manifest=manifest):
                self.objects[manifest["kind"], manifest["metadata"]["name"]] = manifest
            case do.CreateSecret(manifest=manifest):
                self.auth = AuthSecret(manifest["metadata"]["name"], "1", "hash")
            case do.CreateClaim(manifest=manifest):
                self._create_claim(manifest)
            case do.CreatePod(manifest=manifest):
                self._create_pod(manifest)
            case do.DeletePod(pod=name, uid=uid, grace_period_s=grace_s):
                if name in self.pods and self.pods[name].pod.uid == uid:
                    self.delete(name, GRACE_MS if grace_s is None else grace_s * 1000)
            case do.DeleteClaim(claim=name):
                if name in self.volumes:
                    self.world.discard(self.volumes.pop(name)[1])
            case do.DeleteBudget(budget=name):
                self.objects.pop(("PodDisruptionBudget", name), None)
            case do.LabelPod(pod=name, uid=uid, labels=labels):
                if name in self.pods and self.pods[name].pod.uid == uid:
                    placed = self.pods[name]
                    placed.pod = replace(placed.pod, role_label=labels[names.LABEL_ROLE])
            case _:
                assert isinstance(action, do.RecordEvent), action
        self.changes += 1

    def _create_claim(self, manifest: Mapping[str, Any]) -> None:
        metadata = manifest["metadata"]
        if metadata["name"] in self.volumes:
            return
        claim = Claim(
            name=metadata["name"],
            uid=f"uid-{metadata['name']}",
            resource_version="1",
            shard=int(metadata["labels"][names.LABEL_SHARD]),
            serial=int(metadata["labels"][names.LABEL_SERIAL]),
            size_requested=manifest["spec"]["resources"]["requests"]["storage"],
            owner_uid=metadata.get("ownerReferences", [{}])[0].get("uid", ""),
        )
        self.volumes[claim.name] = (claim, {})

    def _create_pod(self, manifest: Mapping[str, Any]) -> None:
        metadata = manifest["metadata"]
        if metadata["name"] in self.pods:
            return
        self._serial += 1
        shard = int(metadata["labels"][names.LABEL_SHARD])
        address = f"10.1.{shard}.{self._serial}"
        node = f"node-{self._serial}"
        self.nodes[node] = HostNode(node)
        volume = manifest["spec"]["volumes"][0].get("persistentVolumeClaim", {}).get("claimName", "")
        pod = Pod(
            name=metadata["name"],
            uid=f"uid-{self._serial}",
            resource_version=str(self._serial),
            shard=shard,
            serial=int(metadata["labels"][names.LABEL_SERIAL]),
            revision=metadata["annotations"][names.ANNOTATION_REVISION],
            node=node,
            created_at_s=self.world.now_ms / 1000,
            claim=volume,
            owner_uid=metadata["ownerReferences"][0]["uid"],
        )
        placed = Placed(pod, address, self.volumes[volume][1] if volume else {})
        self.pods[pod.name] = placed
        self.world.after(self.random.randint(50, 400), lambda: self._start(placed))

    # The kubelets.

    def _directives(self) -> dict[str, str]:
        (conf,) = [one for (kind, _), one in self.objects.items() if kind == "ConfigMap"]
        lines = [line.partition(" ") for text in conf["data"].values() for line in text.splitlines()]
        return {name: "" if value == '""' else value for name, _, value in lines if name not in MOUNTED}

    def _start(self, placed: Placed) -> None:
        """Start the container, the first time or again."""
        if placed.is_gone or placed.is_held or placed.pod.is_terminating:
            return
        host = self.world.hosts.get(placed.address)
        if host is None:
            host = self.world.place(placed.address, self._directives(), placed.disk)
        elif host.node is not None:
            return
        self.world.start(placed.address)
        last = placed.container.last_termination
        placed.container = Container(
            ContainerState.RUNNING,
            started_at_s=self.world.now_ms / 1000,
            restart_count=placed.container.restart_count + (last is not None),
            last_termination=last,
        )
        self._report_later(placed)

    def _ended(self, host: Host) -> None:
        """A process has ended, by whatever."""
        placed = self.find(host.address)
        if placed is None or placed.is_gone or placed.container.state is not ContainerState.RUNNING:
            return
        if placed.pod.is_terminating:
            self._remove(placed)
            return
        code = 137 if host.exit_code is None else host.exit_code
        began_s = placed.container.started_at_s or 0.0
        last = Termination(code, "Error", self.world.now_ms / 1000, began_s)
        placed.container = Container(
            ContainerState.TERMINATED, "Error", restart_count=placed.container.restart_count,
            last_termination=last,
        )  # fmt: skip
        self._report_later(placed)
        self._restart_later(placed)

    def _restart_later(self, placed: Placed) -> None:
        self.world.after(self.random.randint(0, RESTART_MS_MAX), lambda: self._start(placed))

    def _report_later(self, placed: Placed) -> None:
        def report() -> None:
            if not placed.is_gone:
                placed.pod = replace(
                    placed.pod, container=placed.container, phase=PodPhase.RUNNING, ip=placed.address
                )
                self.changes += 1

        is_first = not placed.pod.ip
        self.world.after(self.random.randint(0, 100 if is_first else REPORT_MS_MAX), report)

    def _remove(self, placed: Placed) -> None:
        if placed.is_gone:
            return
        placed.is_gone = True
        self.changes += 1
        del self.pods[placed.pod.name]
        host = self.world.hosts.get(placed.address)
        if host is not None and host.node is not None:
            self.world.kill(placed.address)
        self.world.hosts.pop(placed.address, None)
        if not placed.pod.claim:
            self.world.discard(placed.disk)
