"""The watches: kopf delivers events, and each becomes a key in the work queue, nothing more.

Events only wake. What is true is read by the reconciliation itself, so an event may be lost, late or doubled
without harm. Only plain event handlers are used: kopf's handlers of changes would put finalizers and
annotations on people's objects and repeat errors after a minute. The watches are filtered by label at the
API server, so that an operator in a cluster of ten thousand pods sees its own alone.

A container that ended goes into the fast lane. Events that say nothing new (our own status patch, a node's
heartbeat) wake nobody. `main.py` starts kopf with `registry()` and `kopf_settings()`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import kopf

from redoubt_operator import projection
from redoubt_operator.kube import Kube
from redoubt_operator.names import GROUP, LABEL_CLUSTER, PLURAL, VERSION
from redoubt_operator.observation import ContainerState, HostNode
from redoubt_operator.workqueue import Key, Workqueue

# Hosts beyond this are watched without remembering them: they wake somebody too often instead of too rarely.
NODES_MAX: Final = 20_000
# An idle kopf worker for an object costs a task; events come in bursts of less than this.
KOPF_WORKER_IDLE_S: Final = 1.0

Body = Mapping[str, Any]


class Waker:
    """Turns events into keys."""

    def __init__(self, queue: Workqueue, clusters_on_node: Callable[[str], list[Key]]) -> None:
        self._queue = queue
        self._clusters_on_node = clusters_on_node
        # What an event was last about: to tell the ones that say something new.
        self._resources: dict[Key, tuple[Any, ...]] = {}
        self._restarts: dict[str, int] = {}
        self._nodes: dict[str, HostNode] = {}

    def resource(self, kind: str | None, body: Body) -> None:
        """Take an event of a RedoubtCluster; those of our own status patches say nothing new."""
        metadata = body["metadata"]
        key = Key(metadata["namespace"], metadata["name"])
        if kind == "DELETED":
            self._resources.pop(key, None)
            self._queue.add(key)
            return
        annotations = (metadata.get("annotations") or {}).items()
        orders = tuple(sorted(one for one in annotations if one[0].startswith(f"{GROUP}/")))
        news = (metadata["uid"], metadata.get("generation"), metadata.get("deletionTimestamp"), orders)
        if self._resources.get(key) != news:
            self._resources[key] = news
            self._queue.add(key)

    def pod(self, kind: str | None, body: Body) -> None:
        """Take an event of a pod with our label."""
        pod = projection.pod(body)
        restarts_before = self._restarts.get(pod.uid, pod.container.restart_count)
        self._restarts[pod.uid] = pod.container.restart_count
        is_gone = kind == "DELETED"
        if is_gone:
            del self._restarts[pod.uid]
        is_dead = pod.container.state is ContainerState.TERMINATED
        is_fast = is_gone or is_dead or pod.container.restart_count > restarts_before
        self._add_owner(body, is_fast=is_fast)

    def claim(self, body: Body) -> None:
        """Take an event of a PersistentVolumeClaim with our label."""
        self._add_owner(body, is_fast=False)

    def node(self, kind: str | None, body: Body) -> None:
        """Take an event of a node: its clusters are woken when it got lost, came back or was cordoned."""
        node = projection.host_node(body)
        before = self._nodes.pop(node.name, None)
        if kind != "DELETED" and len(self._nodes) < NODES_MAX:
            self._nodes[node.name] = node
        # The first list of all nodes is no news: the first look reads them anyway.
        if kind is None or (before == node and kind != "DELETED"):
            return
        for key in self._clusters_on_node(node.name):
            self._queue.add(key, is_fast=kind == "DELETED" or node.is_out_of_service)

    def _add_owner(self, body: Body, *, is_fast: bool) -> None:
        metadata = body["metadata"]
        cluster = (metadata.get("labels") or {}).get(LABEL_CLUSTER)
        if cluster:
            self._queue.add(Key(metadata["namespace"], cluster), is_fast=is_fast)


def registry(waker: Waker, kube: Kube, *, watch_nodes: bool) -> kopf.OperatorRegistry:
    """Make kopf's registry: who is called for which events, and how kopf logs in."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        credentials = await kube.credentials()
        return kopf.ConnectionInfo(
            server=credentials.server,
            ca_path=credentials.ca_file,
            insecure=credentials.is_insecure,
            token=credentials.token,
            certificate_path=credentials.certificate_file,
            private_key_path=credentials.key_file,
        )

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=handlers)
    async def cluster_changed(type: str | None, body: Body, **_: Any) -> None:
        waker.resource(type, body)

    @kopf.on.event("", "v1", "pods", labels={LABEL_CLUSTER: kopf.PRESENT}, registry=handlers)
    async def pod_changed(type: str | None, body: Body, **_: Any) -> None:
        waker.pod(type, body)

    @kopf.on.event(
        "", "v1", "persistentvolumeclaims", labels={LABEL_CLUSTER: kopf.PRESENT}, registry=handlers
    )
    async def claim_changed(body: Body, **_: Any) -> None:
        waker.claim(body)

    if watch_nodes:

        @kopf.on.event("", "v1", "nodes", registry=handlers)
        async def node_changed(type: str | None, body: Body, **_: Any) -> None:
            waker.node(type, body)

    return handlers


def kopf_settings() -> kopf.OperatorSettings:
    """Make kopf's settings: nothing is posted or scanned, and the watches are filtered by the API server."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False
    # Which kinds exist is known, and rights to list all kinds and namespaces are not needed then.
    chosen.scanning.disabled = True
    chosen.peering.standalone = True
    chosen.queueing.idle_timeout = KOPF_WORKER_IDLE_S
    for plural in ("pods", "persistentvolumeclaims"):
        chosen.watching.label_selectors["", "v1", plural] = LABEL_CLUSTER
    return chosen
