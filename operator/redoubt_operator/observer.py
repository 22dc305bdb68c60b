"""Looks at everything that belongs to one cluster, at once, and says what could not be seen.

One look is one LIST for each kind of object (by the cluster's label, from the watch cache), the password
Secret and the nodes by name, then one round of questions to all servers. Whatever fails becomes `Unknown`
in its own place: a Secret that may not be read does not hide the pods. What has been unknown keeps the time
since when.

Called by the reconciler; returns the planner's `Observation`, with the password beside it for the executor,
since it belongs in no observation, log or status. It changes nothing and decides nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from redoubt_operator import directives, members, projection
from redoubt_operator.kube import (
    BUDGETS,
    CLAIMS,
    CONFIG_MAPS,
    NODES,
    PODS,
    SECRETS,
    SERVICES,
    ApiError,
    Json,
    Kube,
    Resource,
)
from redoubt_operator.links import Address, Links
from redoubt_operator.monitor import Monitor
from redoubt_operator.moves import is_moving, is_planning
from redoubt_operator.names import PORT_CLIENT, auth_secret_name, cluster_selector
from redoubt_operator.observation import (
    AuthSecret,
    HostNode,
    Member,
    MemberStatus,
    Observation,
    Pod,
    Sample,
    Seen,
    Unknown,
)
from redoubt_operator.spec import ClusterSpec, InvalidSpec
from redoubt_operator.workqueue import Key

T = TypeVar("T")

NODES_NOT_WATCHED = "this operator may not read nodes"


@dataclass(frozen=True, slots=True)
class Look:
    """One observation, with the password that the servers were asked with."""

    seen: Observation
    password: str


class Observer:
    """Makes observations; see the module's docstring. One for all clusters."""

    def __init__(self, kube: Kube, links: Links, monitor: Monitor, *, watch_nodes: bool) -> None:
        self._kube = kube
        self._links = links
        self._monitor = monitor
        self._watch_nodes = watch_nodes
        self._passwords: dict[Key, str] = {}
        # Since when something is unknown: by cluster, then by what.
        self._unknown_since: dict[Key, dict[str, float]] = {}

    def forget(self, key: Key) -> None:
        """Drop what is kept of a cluster that is gone."""
        self._unknown_since.pop(key, None)
        self._passwords.pop(key, None)

    async def look(self, manifest: Json, spec: ClusterSpec | InvalidSpec, lease_transitions: int) -> Look:
        """Look at everything that belongs to the cluster of this manifest."""
        meta = projection.cluster_meta(manifest)
        key = Key(meta.namespace, meta.name)
        secret_name = _secret_name(meta.name, spec)
        pods, claims, services, config_maps, budgets, secret = await asyncio.gather(
            self._list(PODS, key, projection.pod),
            self._list(CLAIMS, key, projection.claim),
            self._list(SERVICES, key, _whole),
            self._list(CONFIG_MAPS, key, _whole),
            self._list(BUDGETS, key, _whole),
            _seen(self._kube.get(SECRETS, meta.namespace, secret_name)),
        )
        password = self._password(key, secret)
        zone_label = projection.LABEL_ZONE if isinstance(spec, InvalidSpec) else spec.placement.zone_label
        nodes, asked = await asyncio.gather(
            self._nodes(pods, zone_label),
            self._members(key, spec, manifest.get("status") or {}, pods, password),
        )
        seen = Observation(
            meta=meta,
            lease_transitions=lease_transitions,
            pods=pods,
            claims=claims,
            services=services,
            config_maps=config_maps,
            budgets=budgets,
            auth=_auth(secret),
            nodes=nodes,
            members=asked,
            status=manifest.get("status") or {},
        )
        return Look(self._since(key, seen), password)

    def _password(self, key: Key, secret: Seen[Json | None]) -> str:
        """Read the password; one that cannot be read now is taken to be the one that was read last."""
        if not isinstance(secret, Unknown):
            self._passwords[key] = projection.password(secret) if secret is not None else ""
        return self._passwords.get(key, "")

    async def _list(self, resource: Resource, key: Key, project: Callable[[Json], T]) -> Seen[tuple[T, ...]]:
        items = await _seen(self._kube.list_objects(resource, key.namespace, cluster_selector(key.name)))
        if isinstance(items, Unknown):
            return items
        items.sort(key=lambda item: str(item["metadata"]["name"]))
        # Items of a typed list carry no kind of their own.
        return tuple(
            project({"apiVersion": resource.api_version, "kind": resource.kind} | item) for item in items
        )

    async def _nodes(self, pods: Seen[tuple[Pod, ...]], zone_label: str) -> Seen[tuple[HostNode, ...]]:
        if not self._watch_nodes:
            return Unknown(NODES_NOT_WATCHED, time.time())
        if isinstance(pods, Unknown):
            return pods
        names = sorted({pod.node for pod in pods if pod.node})
        found = await asyncio.gather(*(_seen(self._kube.get(NODES, "", name)) for name in names))
        nodes = []
        for node in found:
            if isinstance(node, Unknown):
                return node
            if node is not None:
                nodes.append(projection.host_node(node, zone_label))
        return tuple(nodes)

    async def _members(
        self,
        key: Key,
        spec: ClusterSpec | InvalidSpec,
        status: Json,
        pods: Seen[tuple[Pod, ...]],
        password: str,
    ) -> tuple[Member, ...]:
        if isinstance(pods, Unknown):
            return ()
        addresses = [Address(pod.uid, pod.ip, PORT_CLIENT) for pod in pods if pod.ip and not pod.is_finished]
        if not password:
            unknown = Unknown("the password is not known", time.time())
            return tuple(Member(a.uid, unknown, unknown, unknown, unknown) for a in addresses)
        asked = await members.ask_all(self._links, addresses, password, questions(spec, status))
        samples = self._monitor.samples(key)
        return tuple(_with_sample(member, samples.get(member.pod_uid)) for member in asked)

    def _since(self, key: Key, seen: Observation) -> Observation:
        """Give everything unknown the time since when it has been so, look after look."""
        before = self._unknown_since.get(key, {})
        now: dict[str, float] = {}

        def keep(what: str, value: Any) -> Any:
            if not isinstance(value, Unknown):
                return value
            now[what] = before.get(what, value.since_s)
            return replace(value, since_s=now[what])

        kinds = {
            kind: keep(kind, getattr(seen, kind))
            for kind in ("pods", "claims", "services", "config_maps", "budgets", "auth", "nodes")
        }
        kept = tuple(
            replace(
                member,
                status=keep(f"{member.pod_uid} status", member.status),
                nodes=keep(f"{member.pod_uid} nodes", member.nodes),
                config=keep(f"{member.pod_uid} config", member.config),
            )
            for member in seen.members
        )
        self._unknown_since[key] = now
        return replace(seen, members=kept, **kinds)


async def _seen(asked: Awaitable[T]) -> Seen[T]:
    try:
        return await asked
    except ApiError as error:
        return Unknown(str(error), time.time())


def questions(spec: ClusterSpec | InvalidSpec, status: Json) -> members.Questions:
    """What this look has to ask, by what the last one has written into the status."""
    is_planned = is_planning(status)
    return members.Questions(
        directives=() if isinstance(spec, InvalidSpec) else directives.watched(spec),
        migrations=is_planned or is_moving(status),
        slot_figures=is_planned,
    )


def _whole(manifest: Json) -> Json:
    return manifest


def _secret_name(cluster: str, spec: ClusterSpec | InvalidSpec) -> str:
    given = None if isinstance(spec, InvalidSpec) else spec.auth.secret_name
    return given or auth_secret_name(cluster)


def _auth(secret: Seen[Json | None]) -> Seen[AuthSecret | None]:
    if secret is None or isinstance(secret, Unknown):
        return secret
    return projection.auth_secret(secret)


def _with_sample(member: Member, sample: Seen[Sample] | None) -> Member:
    return member if sample is None else replace(member, sample=sample)


def statuses(seen: Observation) -> Mapping[str, MemberStatus]:
    """Return the status of each pod whose server answered, by the pod's uid."""
    return {
        member.pod_uid: member.status for member in seen.members if not isinstance(member.status, Unknown)
    }
