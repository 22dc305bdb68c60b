"""The closed set of things that the operator can do, each with the reason why it is done now.

An action is one idempotent effect: repeated after a crash it does no harm, and it carries what fences it (uid
and resourceVersion for the API; the config epoch seen and the lease transitions for servers). `because` is
the one text that logs, Events and tests share.

Actions of one lane (`lane_of`) are executed in order, and the first that fails ends its lane for this round;
lanes are independent of each other. A shard has one lane for its objects and one for its servers, so that
neither a bad shard nor a refused pod (a quota) keeps a failover from happening. Shard None is the cluster as
a whole.

Made by the planner, carried out by execute.py. Nothing here knows a client.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from redoubt_operator.observation import Manifest, SlotRange


@dataclass(frozen=True, slots=True)
class Target:
    """The server in a pod. The executor refuses to act when the address now belongs to another pod."""

    pod: str
    uid: str
    ip: str


# --- Kubernetes objects -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ApplyObject:
    """Server-side apply of a Service, ConfigMap or PodDisruptionBudget."""

    manifest: Manifest
    because: str
    shard: int | None = None


@dataclass(frozen=True, slots=True)
class CreateSecret:
    """Create the Secret with a new random password under the key `password`; one that exists is left as
    it is.
    """

    manifest: Manifest
    because: str
    shard: int | None = None


@dataclass(frozen=True, slots=True)
class CreateClaim:
    """Create a PersistentVolumeClaim; one that exists is left as it is."""

    manifest: Manifest
    because: str
    shard: int | None = None


@dataclass(frozen=True, slots=True)
class CreatePod:
    """Create a pod; one of that name that exists is left as it is."""

    manifest: Manifest
    because: str
    shard: int | None = None


@dataclass(frozen=True, slots=True)
class DeletePod:
    """Delete a pod, fenced by uid and resourceVersion. `grace_period_s` None means the pod's own, 0
    means force. With `is_within_budget` it is evicted: the shard's budget then counts us among all others
    who take members away, and two can never take the last copies at the same time.
    """

    pod: str
    uid: str
    resource_version: str
    because: str
    grace_period_s: int | None = None
    shard: int | None = None
    is_within_budget: bool = False


@dataclass(frozen=True, slots=True)
class DeleteClaim:
    """Delete a PersistentVolumeClaim of a member that was removed, fenced by uid and resourceVersion."""

    claim: str
    uid: str
    resource_version: str
    because: str
    shard: int | None = None


@dataclass(frozen=True, slots=True)
class DeleteBudget:
    """Delete a PodDisruptionBudget that belongs to no shard any more."""

    budget: str
    uid: str
    because: str
    shard: int | None = None


@dataclass(frozen=True, slots=True)
class LabelPod:
    """Merge labels into a pod's metadata, fenced by uid."""

    pod: str
    uid: str
    labels: Mapping[str, str]
    because: str
    shard: int | None = None


@dataclass(frozen=True, slots=True)
class PatchClaim:
    """Merge-patch a claim: its owner reference (reclaim policy changed) or its requested size (it grows)."""

    claim: str
    uid: str
    resource_version: str
    patch: Manifest
    because: str
    shard: int | None = None


# --- Servers ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RaiseLease:
    """REDOUBT LEASE <transitions>: from now on the server refuses roles from a leader before this one."""

    target: Target
    lease_transitions: int
    because: str
    shard: int | None = None


@dataclass(frozen=True, slots=True)
class SetConfigEpoch:
    """CLUSTER SET-CONFIG-EPOCH. Servers refuse it once they know others; that answer counts as done."""

    target: Target
    config_epoch: int
    because: str
    shard: int | None = None


@dataclass(frozen=True, slots=True)
class AssignMaster:
    """REDOUBT ROLE master <config epoch seen> <lease transitions> [FORCE-NEWEST]."""

    target: Target
    config_epoch_seen: int
    lease_transitions: int
    because: str
    is_newest: bool = False  # all members of the shard were seen, and this copy is the newest
    shard: int | None = None


@dataclass(frozen=True, slots=True)
class AssignReplica:
    """REDOUBT ROLE replica <config epoch seen> <lease transitions> <master id>."""

    target: Target
    config_epoch_seen: int
    lease_transitions: int
    master_id: str
    because: str
    shard: int | None = None


@dataclass(frozen=True, slots=True)
class AddSlots:
    """CLUSTER ADDSLOTSRANGE. Only ever for slots that no node of a complete view owns."""

    target: Target
    slots: tuple[SlotRange, ...]
    because: str
    shard: int | None = None


@dataclass(frozen=True, slots=True)
class Meet:
    """CLUSTER MEET ip port bus-port, from `target` to one other."""

    target: Target
    ip: str
    port: int
    bus_port: int
    because: str
    shard: int | None = None


@dataclass(frozen=True, slots=True)
class Forget:
    """CLUSTER FORGET of a node id whose pod and volume are gone. An id that is unknown already counts as
    done.
    """

    target: Target
    node_id: str
    because: str
    shard: int | None = None


@dataclass(frozen=True, slots=True)
class ForceFailover:
    """CLUSTER FAILOVER FORCE on a synced replica whose master is known to be dead. Needs the majority's
    votes.
    """

    target: Target
    because: str
    shard: int | None = None


@dataclass(frozen=True, slots=True)
class Handover:
    """REDOUBT HANDOVER <node id> on a master: it switches over without losing a command."""

    target: Target
    to_node_id: str
    because: str
    shard: int | None = None


@dataclass(frozen=True, slots=True)
class MigrateSlots:
    """CLUSTER MIGRATESLOTS on the master that has the slots. Until the target owns them the source does."""

    target: Target
    slots: tuple[SlotRange, ...]
    to_node_id: str
    because: str
    shard: int | None = None


@dataclass(frozen=True, slots=True)
class CancelMoves:
    """CLUSTER CANCELSLOTMIGRATIONS: ends all moves away from a server that can still be ended."""

    target: Target
    because: str
    shard: int | None = None


@dataclass(frozen=True, slots=True)
class CloseSlot:
    """CLUSTER SETSLOT STABLE; before it MIGRATE of the keys that had gone ahead, back to the slot's owner."""

    target: Target
    slot: int
    owner: Target | None  # None where no key can have gone ahead
    because: str
    shard: int | None = None


@dataclass(frozen=True, slots=True)
class SetConfig:
    """CONFIG SET of directives that can change live, all in one command."""

    target: Target
    directives: tuple[tuple[str, str], ...]
    because: str
    shard: int | None = None


# --- People -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RecordEvent:
    """A Kubernetes Event on the RedoubtCluster."""

    kind: Literal["Normal", "Warning"]
    reason: str
    because: str  # the Event's message
    shard: int | None = None


Action: TypeAlias = (
    ApplyObject
    | CreateSecret
    | CreateClaim
    | CreatePod
    | DeletePod
    | DeleteClaim
    | DeleteBudget
    | LabelPod
    | PatchClaim
    | RaiseLease
    | SetConfigEpoch
    | AssignMaster
    | AssignReplica
    | AddSlots
    | Meet
    | Forget
    | ForceFailover
    | Handover
    | MigrateSlots
    | CancelMoves
    | CloseSlot
    | SetConfig
    | RecordEvent
)


Lane: TypeAlias = tuple[Literal["objects", "servers", "people"], int | None]

_OBJECTS: Final = (
    ApplyObject,
    CreateSecret,
    CreateClaim,
    CreatePod,
    DeletePod,
    DeleteClaim,
    DeleteBudget,
    LabelPod,
    PatchClaim,
)


def lane_of(action: Action) -> Lane:
    """The lane in which an action is executed; see the module's docstring."""
    if isinstance(action, RecordEvent):
        return ("people", None)
    return ("objects" if isinstance(action, _OBJECTS) else "servers", action.shard)


@dataclass(frozen=True, slots=True)
class Plan:
    """The next safe steps, the status to write, and when to look again.

    `status` is the whole new .status, or None when what is there may stay (then nothing is written).
    `again_after_s` is the longest time until the next look; the full resync comes on top.
    """

    actions: tuple[Action, ...]
    status: Mapping[str, Any] | None
    again_after_s: float
