"""Carries out a plan: one idempotent, fenced effect for each action.

Lanes run at the same time, the actions of one lane in order; the first that fails ends its lane for this
round, the others go on, and the next look decides what is still to do. The cluster's own objects are each a
lane, and lanes that create pods wait for them. The API is fenced by uid and
resourceVersion, the servers by compare-and-set (config epoch, lease transitions); before each action the
Lease must still be ours; and a server is only spoken to over the link on which this look saw it, so an
address that another pod has got meanwhile is never acted on. An answer that says "it is so already" counts
as done.

Every action is logged with its `because`; those that people care about become Events. Called by the
reconciler with what the planner decided; nothing is decided here. `on_boundary` is called before and after
each action, where tests end the process.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, assert_never

from redoubt_operator.actions import (
    Action,
    AddSlots,
    ApplyObject,
    AssignMaster,
    AssignReplica,
    CancelMoves,
    CloseSlot,
    CreateClaim,
    CreatePod,
    CreateSecret,
    DeleteBudget,
    DeleteClaim,
    DeletePod,
    ForceFailover,
    Forget,
    Handover,
    LabelPod,
    Lane,
    Meet,
    MigrateSlots,
    PatchClaim,
    RaiseLease,
    RecordEvent,
    SetConfig,
    SetConfigEpoch,
    Target,
    lane_of,
)
from redoubt_operator.events import Recorder
from redoubt_operator.kube import BUDGETS, CLAIMS, PODS, ApiError, Kube
from redoubt_operator.links import Address, Link, LinkError, Links, Refused, connect
from redoubt_operator.metrics import Metrics
from redoubt_operator.names import PORT_CLIENT, SECRET_KEY
from redoubt_operator.observation import ClusterMeta, Manifest, Observation, Unknown
from redoubt_operator.observer import Look

log = logging.getLogger(__name__)

# A role is written to the server's disk before it answers.
COMMAND_DEADLINE_S: Final = 3.0
# The server gives up by itself before this, in half of its grace period at most.
HANDOVER_DEADLINE_S: Final = 20.0
PASSWORD_BYTES: Final = 24
# More requests at once would only queue in the API server's share for us.
# Keys of a slot that was left open go back in parts; what is left goes with the next look.
KEYS_AT_ONCE: Final = 100
KEY_BATCHES_MAX: Final = 20
MIGRATE_TIMEOUT_MS: Final = 2000
LANES_AT_ONCE_MAX: Final = 32

# Answers that mean: what was asked for holds already.
_EPOCH_SET: Final = ("any other node", "already non-zero")
_NODE_UNKNOWN: Final = ("Unknown node",)
_IS_MASTER: Final = ("FAILOVER to a replica",)
_MOVES_ALREADY: Final = ("already migrating",)
_NOTHING_MOVES: Final = ("No migrations ongoing",)

# What of our work becomes an Event: the kind and reason by action.
_TOLD: Final[Mapping[type[Any], tuple[Literal["Normal", "Warning"], str]]] = {
    CreatePod: ("Normal", "PodCreated"),
    DeletePod: ("Normal", "PodDeleted"),
    DeleteClaim: ("Normal", "VolumeDeleted"),
    AssignMaster: ("Normal", "MasterAssigned"),
    ForceFailover: ("Warning", "FailoverForced"),
    Handover: ("Normal", "HandedOver"),
    MigrateSlots: ("Normal", "SlotsMove"),
    CancelMoves: ("Normal", "MovesCancelled"),
    CloseSlot: ("Warning", "SlotClosed"),
    SetConfig: ("Normal", "ConfigChanged"),
}


@dataclass(frozen=True, slots=True)
class Failure:
    """One action that failed, and why."""

    action: Action
    reason: str
    is_refusal: bool = False  # the server itself said no


# Called with the action and "before" or "after".
Boundary = Callable[[Action, str], None]


class Executor:
    """Carries out plans; see the module's docstring. One for all clusters."""

    def __init__(
        self,
        kube: Kube,
        links: Links,
        recorder: Recorder,
        metrics: Metrics,
        may_act: Callable[[], bool],
        on_boundary: Boundary | None = None,
    ) -> None:
        self._kube = kube
        self._links = links
        self._recorder = recorder
        self._metrics = metrics
        self._may_act = may_act
        self._on_boundary = on_boundary

    async def run(self, actions: Sequence[Action], look: Look) -> list[Failure]:
        """Carry out the actions lane by lane; returns those that failed."""
        supplies: list[list[Action]] = []
        lanes: dict[Lane, list[Action]] = {}
        for action in actions:
            if isinstance(action, ApplyObject | CreateSecret) and action.shard is None:
                supplies.append([action])
            else:
                lanes.setdefault(lane_of(action), []).append(action)
        gate = asyncio.Semaphore(LANES_AT_ONCE_MAX)

        async def run_gated(lane: Sequence[Action]) -> Failure | None:
            async with gate:
                return await self._run_lane(lane, look)

        async def run_supplied(lane: Sequence[Action]) -> Failure | None:
            # A kubelet that does not find what a pod mounts makes it wait, ever longer.
            if supplied and any(isinstance(action, CreatePod) for action in lane):
                await asyncio.wait(supplied)
            return await run_gated(lane)

        # A group, so that no lane is left running when another one breaks: the key is reconciled anew then.
        async with asyncio.TaskGroup() as group:
            supplied = [group.create_task(run_gated(lane)) for lane in supplies]
            running = [group.create_task(run_supplied(lane)) for lane in lanes.values()]
        results = [task.result() for task in [*supplied, *running]]
        return [failure for failure in results if failure is not None]

    async def _run_lane(self, lane: Sequence[Action], look: Look) -> Failure | None:
        meta = look.seen.meta
        for action in lane:
            name = type(action).__name__
            details = {"cluster": f"{meta.namespace}/{meta.name}", "shard": action.shard, **_subject(action)}
            if not self._may_act():
                return Failure(action, "the Lease is not ours any more")
            try:
                if self._on_boundary is not None:
                    self._on_boundary(action, "before")
                is_changed = await self._carry_out(action, look)
                if self._on_boundary is not None:
                    self._on_boundary(action, "after")
            except (ApiError, LinkError, Refused) as error:
                self._metrics.actions.labels(name, "failed").inc()
                log.warning(
                    "%s failed", name, extra=details | {"because": action.because, "error": str(error)}
                )
                return Failure(action, str(error), isinstance(error, Refused))
            self._metrics.actions.labels(name, "done").inc()
            if is_changed:
                log.info(name, extra=details | {"because": action.because})
                if name_of := _TOLD.get(type(action)):
                    await self._recorder.record(meta, name_of[0], name_of[1], action.because)
        return None

    async def _carry_out(self, action: Action, look: Look) -> bool:
        """Have the effect; returns whether anything was asked to change."""
        match action:
            case RecordEvent():
                await self._recorder.record(look.seen.meta, action.kind, action.reason, action.because)
                return False
            case ApplyObject():
                return await self._kube.apply(action.manifest, live_version(look.seen, action.manifest))
            case CreateSecret():
                return await self._kube.create(with_password(action.manifest))
            case CreateClaim() | CreatePod():
                return await self._kube.create(action.manifest)
            case DeletePod() | DeleteClaim() | DeleteBudget():
                return await self._delete(action, look.seen.meta)
            case LabelPod() | PatchClaim():
                await self._patch(action, look.seen.meta)
                return True
            case (
                RaiseLease()
                | SetConfigEpoch()
                | AssignMaster()
                | AssignReplica()
                | AddSlots()
                | Meet()
                | Forget()
                | ForceFailover()
                | MigrateSlots()
                | CancelMoves()
                | SetConfig()
            ):
                await self._command(action.target, command_of(action), done_already(action))
                return True
            case CloseSlot():
                await self._close_slot(action, look.password)
                return True
            case Handover():
                await self._hand_over(action, look.password)
                return True
        assert_never(action)

    async def _delete(self, action: DeletePod | DeleteClaim | DeleteBudget, meta: ClusterMeta) -> bool:
        match action:
            case DeletePod(is_within_budget=True):
                return await self._kube.evict(meta.namespace, action.pod, action.uid)
            case DeletePod():
                return await self._kube.delete(
                    PODS,
                    meta.namespace,
                    action.pod,
                    action.uid,
                    action.resource_version,
                    action.grace_period_s,
                )
            case DeleteClaim():
                return await self._kube.delete(
                    CLAIMS, meta.namespace, action.claim, action.uid, action.resource_version
                )
            case DeleteBudget():
                return await self._kube.delete(BUDGETS, meta.namespace, action.budget, action.uid)
        assert_never(action)

    async def _patch(self, action: LabelPod | PatchClaim, meta: ClusterMeta) -> None:
        match action:
            case LabelPod():
                patch = {"metadata": {"uid": action.uid, "labels": dict(action.labels)}}
                await self._kube.merge_patch(PODS, meta.namespace, action.pod, patch)
            case PatchClaim():
                metadata = {
                    **(action.patch.get("metadata") or {}),
                    "uid": action.uid,
                    "resourceVersion": action.resource_version,
                }
                patch = {**action.patch, "metadata": metadata}
                await self._kube.merge_patch(CLAIMS, meta.namespace, action.claim, patch)

    async def _command(self, target: Target, argv: Sequence[str | int], done: Sequence[str]) -> None:
        link = self._links.seen(target.uid)
        try:
            await link.call(*argv, deadline_s=COMMAND_DEADLINE_S)
        except Refused as error:
            if not any(text in error.text for text in done):
                raise

    async def _close_slot(self, action: CloseSlot, password: str) -> None:
        link = self._links.seen(action.target.uid)
        if action.owner is not None:
            # The owner first: while it migrates the slot it sends back whom it has not got the key of.
            owner = self._links.seen(action.owner.uid)
            await owner.call("CLUSTER", "SETSLOT", action.slot, "STABLE", deadline_s=COMMAND_DEADLINE_S)
            await _send_keys_back(link, action.slot, action.owner.ip, password)
        await link.call("CLUSTER", "SETSLOT", action.slot, "STABLE", deadline_s=COMMAND_DEADLINE_S)

    async def _hand_over(self, action: Handover, password: str) -> None:
        # On a connection of its own: it takes as long as the replica needs, and the link must stay free for
        # questions. Asked only if the link shows that the address is still that of the pod that was seen.
        self._links.seen(action.target.uid)
        address = Address(action.target.uid, action.target.ip, PORT_CLIENT)
        link = await connect(address, password, lambda: None)
        try:
            await link.call("REDOUBT", "HANDOVER", action.to_node_id, deadline_s=HANDOVER_DEADLINE_S)
        finally:
            link.close()


async def _send_keys_back(link: Link, slot: int, ip: str, password: str) -> None:
    """Move the keys of a slot to its owner. Raises Refused while some are left."""
    for _ in range(KEY_BATCHES_MAX):
        keys = await link.call("CLUSTER", "GETKEYSINSLOT", slot, KEYS_AT_ONCE)
        names = [key for key in keys if isinstance(key, bytes)] if isinstance(keys, list) else []
        if not names:
            return
        # Without REPLACE: of a key that both have the owner's is right, and people are told.
        where: list[str | int] = [ip, PORT_CLIENT, "", 0, MIGRATE_TIMEOUT_MS, "AUTH", password, "KEYS"]
        await link.call("MIGRATE", *where, *names, deadline_s=COMMAND_DEADLINE_S)
    raise Refused(f"keys of slot {slot} are still to go back to its owner")


ServerAction = (
    RaiseLease
    | SetConfigEpoch
    | AssignMaster
    | AssignReplica
    | AddSlots
    | Meet
    | Forget
    | ForceFailover
    | MigrateSlots
    | CancelMoves
    | SetConfig
)


def command_of(action: ServerAction) -> list[str | int]:
    """Write the one command of an action."""
    match action:
        case RaiseLease():
            return ["REDOUBT", "LEASE", action.lease_transitions]
        case SetConfigEpoch():
            return ["CLUSTER", "SET-CONFIG-EPOCH", action.config_epoch]
        case AssignMaster():
            force = ["FORCE-NEWEST"] if action.is_newest else []
            return ["REDOUBT", "ROLE", "master", action.config_epoch_seen, action.lease_transitions, *force]
        case AssignReplica():
            return [
                "REDOUBT",
                "ROLE",
                "replica",
                action.config_epoch_seen,
                action.lease_transitions,
                action.master_id,
            ]
        case AddSlots():
            bounds = [bound for slots in action.slots for bound in (slots.first, slots.last)]
            return ["CLUSTER", "ADDSLOTSRANGE", *bounds]
        case Meet():
            return ["CLUSTER", "MEET", action.ip, action.port, action.bus_port]
        case Forget():
            return ["CLUSTER", "FORGET", action.node_id]
        case ForceFailover():
            return ["CLUSTER", "FAILOVER", "FORCE"]
        case MigrateSlots():
            bounds = [bound for slots in action.slots for bound in (slots.first, slots.last)]
            return ["CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", *bounds, "NODE", action.to_node_id]
        case CancelMoves():
            return ["CLUSTER", "CANCELSLOTMIGRATIONS"]
        case SetConfig():
            return ["CONFIG", "SET", *(text for pair in action.directives for text in pair)]
    assert_never(action)


def done_already(action: ServerAction) -> tuple[str, ...]:
    """Return the parts of error texts that mean: what was asked for holds already."""
    match action:
        case SetConfigEpoch():
            return _EPOCH_SET
        case Forget():
            return _NODE_UNKNOWN
        case ForceFailover():
            return _IS_MASTER
        case MigrateSlots():
            return _MOVES_ALREADY
        case CancelMoves():
            return _NOTHING_MOVES
        case _:
            return ()


def live_version(seen: Observation, manifest: Manifest) -> str:
    """Return the resourceVersion under which an object was seen; empty when it was not there."""
    kinds = {"Service": seen.services, "ConfigMap": seen.config_maps, "PodDisruptionBudget": seen.budgets}
    objects = kinds.get(manifest["kind"])
    if objects is None or isinstance(objects, Unknown):
        return ""
    name = manifest["metadata"]["name"]
    found = next((one for one in objects if one["metadata"]["name"] == name), None)
    return "" if found is None else str(found["metadata"].get("resourceVersion", ""))


def with_password(manifest: Manifest) -> Manifest:
    """Put a new random password into a Secret that has none."""
    encoded = base64.b64encode(secrets.token_urlsafe(PASSWORD_BYTES).encode()).decode()
    return {**manifest, "data": {SECRET_KEY: encoded, **(manifest.get("data") or {})}}


def _subject(action: Action) -> dict[str, str]:
    """Name what an action is about, for the log."""
    target = getattr(action, "target", None)
    if isinstance(target, Target):
        return {"pod": target.pod}
    manifest = getattr(action, "manifest", None)
    if manifest is not None:
        return {"object": f"{manifest['kind']}/{manifest['metadata']['name']}"}
    for name in ("pod", "claim", "budget"):
        if value := getattr(action, name, None):
            return {name: value}
    return {}
