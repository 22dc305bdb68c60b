"""One reconciliation: read the resource, look, plan, act, write the status, and say when to look again.

This is the loop's body and the only place where the parts meet: the observer sees, the planner decides, the
executor acts. It is called by the work queue for one key at a time and remembers nothing that a restart may
not lose: measured outages, how often the same actions were asked for without effect, and how many rounds
failed. Both counts only slow the next look down.

It holds the rule of pace and nothing else: events wake it at once; after actions on servers, which cause no
event, it looks again soon, and ever later while the plan stays the same.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from redoubt_operator import projection
from redoubt_operator.actions import Action, Plan, RecordEvent, SetConfig
from redoubt_operator.execute import Executor, Failure
from redoubt_operator.kube import CLUSTERS, ApiError, Json, Kube
from redoubt_operator.links import Links
from redoubt_operator.metrics import Metrics
from redoubt_operator.monitor import Monitor, Target
from redoubt_operator.observation import ConfigRefusal, Observation, Role, Unknown
from redoubt_operator.observer import Observer, statuses
from redoubt_operator.outages import Outages
from redoubt_operator.plan import plan
from redoubt_operator.spec import ClusterSpec, InvalidSpec, read_spec
from redoubt_operator.workqueue import Key

log = logging.getLogger(__name__)

# After actions: time enough for a server to have done what it was told.
LOOK_AFTER_ACTING_S: Final = 0.1
# After rounds that failed, or that asked for the same again and again.
LOOK_AFTER_ACTING_MAX_S: Final = 5.0


@dataclass(slots=True)
class _Cluster:
    """What is remembered of one cluster between two looks."""

    outages: Outages = field(default_factory=Outages)
    uids: frozenset[str] = frozenset()
    nodes: frozenset[str] = frozenset()
    actions: Sequence[Action] = ()
    rounds_alike: int = 0
    # What servers refused to take over, by pod and names: at most one for each combination that was sent.
    refusals: dict[tuple[str, tuple[str, ...]], ConfigRefusal] = field(default_factory=dict)

    def note_refusals(self, failures: Sequence[Failure]) -> None:
        """Keep what servers said no to, for the planner."""
        for failure in failures:
            action = failure.action
            if failure.is_refusal and isinstance(action, SetConfig):
                names = tuple(name for name, _ in action.directives)
                refusal = ConfigRefusal(action.target.uid, action.directives, failure.reason)
                self.refusals[action.target.uid, names] = refusal


class Reconciler:
    """Reconciles clusters; see the module's docstring. One for all clusters."""

    def __init__(
        self,
        kube: Kube,
        links: Links,
        monitor: Monitor,
        observer: Observer,
        executor: Executor,
        metrics: Metrics,
        lease_transitions: Callable[[], int],
        raise_transitions: Callable[[int], None],
    ) -> None:
        self._kube = kube
        self._links = links
        self._monitor = monitor
        self._observer = observer
        self._executor = executor
        self._metrics = metrics
        self._lease_transitions = lease_transitions
        self._raise_transitions = raise_transitions
        self._clusters: dict[Key, _Cluster] = {}
        self._cluster_of_pod: dict[str, Key] = {}

    def link_ended(self, pod_uid: str) -> Key | None:
        """Take note that the link to a server has ended; returns the cluster to look at at once."""
        key = self._cluster_of_pod.get(pod_uid)
        if key is not None and key in self._clusters:
            was_master = self._clusters[key].outages.link_ended(pod_uid, time.time())
            log.info(
                "a server's connection has ended",
                extra={"cluster": str(key), "pod_uid": pod_uid, "was_master": was_master},
            )
        return key

    def clusters_on_node(self, node: str) -> list[Key]:
        """Return the clusters that have a pod on a node."""
        return [key for key, cluster in self._clusters.items() if node in cluster.nodes]

    async def reconcile(self, key: Key) -> float | None:
        """Do the next safe steps for one cluster; returns in how many seconds to look again."""
        begun_s = time.perf_counter()
        try:
            again_after_s = await self._reconcile(key)
        except Exception:
            self._metrics.reconciles.labels("failed").inc()
            raise
        finally:
            self._metrics.reconcile_seconds.labels("all").observe(time.perf_counter() - begun_s)
        self._metrics.reconciles.labels("done").inc()
        return again_after_s

    async def _reconcile(self, key: Key) -> float | None:
        manifest = await self._kube.get(CLUSTERS, key.namespace, key.name)
        if manifest is None:
            self._forget(key)
            return None
        cluster = self._clusters.setdefault(key, _Cluster())
        spec = read_spec(manifest.get("spec") or {})
        begun_s = time.perf_counter()
        look = await self._observer.look(manifest, spec, self._lease_transitions())
        now_s = time.time()
        cluster.outages.looked(look.seen, now_s)
        look = replace(
            look,
            seen=replace(look.seen, outages=cluster.outages.all(), refusals=tuple(cluster.refusals.values())),
        )
        self._take_note(key, cluster, look.seen, spec)
        seen_s = time.perf_counter()
        wanted = plan(spec, look.seen, now_s)
        planned_s = time.perf_counter()
        # The status must not wait for a handover, nor a failover for the status.
        failures, is_written = await asyncio.gather(
            self._executor.run(wanted.actions, look), self._write_status(manifest, wanted)
        )
        cluster.note_refusals(failures)
        self._metrics.reconcile_seconds.labels("observe").observe(seen_s - begun_s)
        self._metrics.reconcile_seconds.labels("plan").observe(planned_s - seen_s)
        self._metrics.reconcile_seconds.labels("act").observe(time.perf_counter() - planned_s)
        return self._again_after_s(cluster, wanted, has_failed=bool(failures) or not is_written)

    def _take_note(
        self, key: Key, cluster: _Cluster, seen: Observation, spec: ClusterSpec | InvalidSpec
    ) -> None:
        """Let the links, the monitor and the election know what was seen."""
        if isinstance(seen.pods, Unknown):
            return
        uids = frozenset(pod.uid for pod in seen.pods)
        for gone in sorted(cluster.uids - uids):
            self._links.drop(gone)
            self._cluster_of_pod.pop(gone, None)
        for uid in uids:
            self._cluster_of_pod[uid] = key
        cluster.uids = uids
        cluster.refusals = {key: one for key, one in cluster.refusals.items() if one.pod_uid in uids}
        cluster.nodes = frozenset(pod.node for pod in seen.pods)
        answered = statuses(seen)
        if answered:
            self._raise_transitions(max(status.lease_transitions for status in answered.values()))
        targets = [
            Target(
                pod.uid,
                pod.name,
                pod.ip,
                pod.shard if pod.shard is not None else -1,
                is_master=pod.uid in answered and answered[pod.uid].role is Role.MASTER,
            )
            for pod in seen.pods
            if pod.ip and not pod.is_finished
        ]
        if not isinstance(spec, InvalidSpec):
            self._monitor.watch(key, targets, float(spec.monitor.interval_seconds))
        for outage in seen.outages:
            if outage.ended_at_s is not None:
                labels = (key.namespace, key.name, str(outage.shard))
                self._metrics.last_outage.labels(*labels).set(outage.ended_at_s - outage.began_at_s)

    async def _write_status(self, manifest: Json, wanted: Plan) -> bool:
        """Write the status if it changes; False when it could not be. Healing goes on without it."""
        if wanted.status is None or wanted.status == (manifest.get("status") or {}):
            return True
        meta = projection.cluster_meta(manifest)
        try:
            await self._kube.apply_status(meta.namespace, meta.name, meta.uid, wanted.status)
        except ApiError as error:
            cluster = f"{meta.namespace}/{meta.name}"
            log.warning("status not written", extra={"cluster": cluster, "error": str(error)})
            return False
        return True

    def _again_after_s(self, cluster: _Cluster, wanted: Plan, *, has_failed: bool) -> float:
        again_after_s = wanted.again_after_s
        acted = [action for action in wanted.actions if not isinstance(action, RecordEvent)]
        is_alike = has_failed or (bool(acted) and acted == list(cluster.actions))
        cluster.rounds_alike = cluster.rounds_alike + 1 if is_alike else 0
        cluster.actions = acted
        if acted or has_failed:
            pause_s = LOOK_AFTER_ACTING_S * 2.0 ** min(cluster.rounds_alike, 8)
            again_after_s = min(again_after_s, pause_s, LOOK_AFTER_ACTING_MAX_S)
        measuring_s = cluster.outages.look_again_s(time.time())
        return again_after_s if measuring_s is None else min(again_after_s, measuring_s)

    def _forget(self, key: Key) -> None:
        """Drop everything that is kept of a cluster whose resource is gone; its objects go by ownership."""
        cluster = self._clusters.pop(key, None)
        if cluster is not None:
            for uid in sorted(cluster.uids):
                self._links.drop(uid)
                self._cluster_of_pod.pop(uid, None)
            for outage in cluster.outages.all():
                if outage.ended_at_s is not None:
                    self._metrics.last_outage.remove(key.namespace, key.name, str(outage.shard))
        self._monitor.forget(key)
        self._observer.forget(key)
