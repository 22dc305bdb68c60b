"""What was seen of one cluster, when it was seen, and what could not be seen.

The planner decides on this value alone. Its one idea: unknown is a value. A pod whose server did not answer
is not a dead pod, a list that failed is not an empty list; both are `Unknown`, with the reason and since
when, and every rule of the planner has to say what it does then. Everything is frozen, in the words of
Kubernetes (pods, claims, nodes) and of Redis (node id, config epoch, offset), and free of clients, so that
a test writes a world as a literal.

Built by kube.py (API objects), members.py (servers, asked over RESP) and monitor.py (scrapes); read by plan
and status. It computes nothing but the plain facts that several rules ask for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")

Manifest: TypeAlias = Mapping[str, Any]
"""A Kubernetes object as JSON."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """What could not be seen, why, and since when (Unix seconds)."""

    reason: str
    since_s: float


Seen: TypeAlias = T | Unknown


@dataclass(frozen=True, slots=True)
class SlotRange:
    """Slots `first` to `last`, both included."""

    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1


# --- Kubernetes -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClusterMeta:
    """Metadata of the RedoubtCluster resource."""

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str = ""
    created_at_s: float = 0.0
    is_deleting: bool = False
    annotations: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


class ContainerState(StrEnum):
    """Whether a container waits, runs or has ended."""

    WAITING = "waiting"
    RUNNING = "running"
    TERMINATED = "terminated"


@dataclass(frozen=True, slots=True)
class Termination:
    """How the last run of a container ended."""

    exit_code: int
    reason: str  # OOMKilled, Error, Completed ...
    finished_at_s: float
    started_at_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Container:
    """The container `server` of a pod, from its containerStatuses."""

    state: ContainerState = ContainerState.WAITING
    reason: str = ""  # of the state: CrashLoopBackOff, ImagePullBackOff, ContainerCreating, OOMKilled ...
    message: str = ""
    started_at_s: float | None = None
    restart_count: int = 0
    last_termination: Termination | None = None


class PodPhase(StrEnum):
    """Phase of a pod, as Kubernetes reports it."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod that carries the cluster's label. `shard` and `serial` come from labels; None when they
    are missing.
    """

    name: str
    uid: str
    resource_version: str
    shard: int | None
    serial: int | None
    role_label: str = ""
    revision: str = ""  # annotation redoubt.dev/revision
    template: int = 1  # annotation redoubt.dev/template
    phase: PodPhase = PodPhase.PENDING
    reason: str = ""  # status.reason: Evicted, NodeLost, Preempting ...
    message: str = ""
    unschedulable: str = ""  # message of condition PodScheduled=False with reason Unschedulable, else empty
    is_ready: bool = False
    ip: str = ""
    node: str = ""
    container: Container = Container()
    created_at_s: float = 0.0
    deleting_since_s: float | None = None  # metadata.deletionTimestamp minus the grace period
    grace_period_s: int | None = None  # metadata.deletionGracePeriodSeconds
    claim: str = ""  # name of the PVC mounted at /data, empty for an emptyDir
    owner_uid: str = ""  # uid of the controlling owner
    memory_limit_bytes: int | None = None  # of the container `server`

    @property
    def is_terminating(self) -> bool:
        return self.deleting_since_s is not None

    @property
    def is_finished(self) -> bool:
        """Whether Kubernetes will never run this pod again (failed, evicted, completed)."""
        return self.phase in (PodPhase.FAILED, PodPhase.SUCCEEDED)


@dataclass(frozen=True, slots=True)
class Claim:
    """One PersistentVolumeClaim that carries the cluster's label."""

    name: str
    uid: str
    resource_version: str
    shard: int | None
    serial: int | None
    size_requested: str = ""  # spec.resources.requests.storage
    size_actual: str = ""  # status.capacity.storage
    phase: str = "Bound"  # Pending | Bound | Lost
    is_terminating: bool = False
    owner_uid: str = ""  # uid of the owning RedoubtCluster, empty when there is none
    created_at_s: float = 0.0
    is_retired: bool = False  # label redoubt.dev/retired: kept for people when its shard was removed


@dataclass(frozen=True, slots=True)
class AuthSecret:
    """The Secret with the password: that it exists and a hash of the password, never the password."""

    name: str
    resource_version: str
    password_hash: str  # empty when the key `password` is missing
    owner_uid: str = ""


@dataclass(frozen=True, slots=True)
class HostNode:
    """One Kubernetes node on which a pod of the cluster runs or ran."""

    name: str
    is_ready: bool = True
    is_cordoned: bool = False
    is_out_of_service: bool = False  # taint node.kubernetes.io/out-of-service
    zone: str = ""


# --- Servers ----------------------------------------------------------------------------------------------


class Phase(StrEnum):
    """Phase of a server in managed mode, as REDOUBT STATUS reports it."""

    AWAITING = "awaiting"
    YIELDING = "yielding"
    RESUMING = "resuming"
    ASSIGNED = "assigned"


class Role(StrEnum):
    """Role of a server in its shard."""

    MASTER = "master"
    REPLICA = "replica"


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """The answer of REDOUBT STATUS, field by field (dashes are underscores)."""

    node_id: str
    phase: Phase
    role: Role
    config_epoch: int = 0
    current_epoch: int = 0
    data_epoch: int = 0
    repl_offset: int = 0
    replid: str = ""
    replid2: str = ""
    replid2_offset: int = -1
    synced: bool = False
    syncing: bool = False
    link_up: bool = False
    link_down_ms: int = 0
    master_id: str = ""
    master_address: str = ""
    slots: int = 0
    keys: int = 0
    lease_transitions: int = 0
    shard_id: str = ""
    loading: bool = False
    terminating: bool = False
    data_lost: bool = False
    boot_slots: int = 0
    uptime_ms: int = 0
    exports: int = 0  # moves of slots under way from it, and to it
    imports: int = 0
    cluster_ok: bool = True  # cluster_state as it sees it: it answers CLUSTERDOWN otherwise
    needs: str = ""
    diverged: str = ""

    @property
    def slots_at_boot(self) -> int:
        """Slots that nodes.conf gave it, while it waits for its role; afterwards they are history."""
        return 0 if self.phase is Phase.ASSIGNED else self.boot_slots


@dataclass(frozen=True, slots=True)
class KnownNode:
    """One line of CLUSTER NODES, as the asked member sees that node."""

    node_id: str
    ip: str
    port: int
    bus_port: int
    flags: tuple[str, ...]  # myself, master, slave, fail?, fail, handshake, noaddr, nofailover, noflags
    master_id: str  # empty for a master
    config_epoch: int
    is_connected: bool
    slots: tuple[SlotRange, ...] = ()
    open_slots: tuple[str, ...] = ()  # [93-<-id] and [93->-id] as printed

    @property
    def is_master(self) -> bool:
        return "master" in self.flags

    @property
    def is_failed(self) -> bool:
        """Whether the majority agreed that it failed (FAIL, not merely PFAIL)."""
        return "fail" in self.flags

    @property
    def is_suspected(self) -> bool:
        return "fail" in self.flags or "fail?" in self.flags

    @property
    def is_handshaking(self) -> bool:
        return "handshake" in self.flags

    @property
    def slot_count(self) -> int:
        return sum(len(slots) for slots in self.slots)


@dataclass(frozen=True, slots=True)
class SlotMigration:
    """One move of slots as its source or target reports it (CLUSTER GETSLOTMIGRATIONS)."""

    name: str
    operation: str  # EXPORT or IMPORT
    slots: tuple[SlotRange, ...]
    source_id: str
    target_id: str
    state: str  # as the server words it: a phase while it runs, else success, failed or cancelled
    message: str = ""

    @property
    def is_active(self) -> bool:
        return self.state not in ("success", "failed", "cancelled", "canceled")

    @property
    def is_export(self) -> bool:
        return self.operation == "EXPORT"


@dataclass(frozen=True, slots=True)
class SlotFigures:
    """What one slot holds and costs (CLUSTER SLOT-STATS)."""

    slot: int
    keys: int
    memory_bytes: int = 0
    cpu_us: int = 0


NOT_ASKED: Unknown = Unknown("not asked", 0.0)


@dataclass(frozen=True, slots=True)
class Sample:
    """The newest scrape of a server's metrics, with the rates that the monitor computed from the ones
    before.
    """

    taken_at_s: float
    used_memory_bytes: int
    maxmemory_bytes: int  # 0: no limit
    keys: int = 0
    evicted_keys: int = 0  # since the process started
    evicted_per_s: float = 0.0
    expired_per_s: float = 0.0
    commands_per_s: float = 0.0
    hit_ratio: float | None = None  # over the kept samples; None without lookups
    replica_lag_bytes: int | None = None
    connected_clients: int = 0

    @property
    def memory_share(self) -> float | None:
        """used / maxmemory, None without a limit."""
        return self.used_memory_bytes / self.maxmemory_bytes if self.maxmemory_bytes else None


@dataclass(frozen=True, slots=True)
class Member:
    """The server in one pod. A pod without an address has no member."""

    pod_uid: str
    status: Seen[MemberStatus]
    nodes: Seen[tuple[KnownNode, ...]]
    config: Seen[Mapping[str, str]]
    """CONFIG GET of `directives.watched(spec)`; values as the server printed them."""
    sample: Seen[Sample]
    migrations: Seen[tuple[SlotMigration, ...]] = NOT_ASKED
    """Newest first; asked for only while slots are to move."""
    slot_figures: Seen[tuple[SlotFigures, ...]] = NOT_ASKED
    """Of the slots that it serves; asked of masters, and only when a placement is to be planned."""


@dataclass(frozen=True, slots=True)
class Outage:
    """One measured time without a serving master for a shard's slots.

    It begins when the connection to the master ended or it was found dead, and ends when another member, or
    the same again, was first seen to serve. `ended_at_s` is None while it lasts.
    """

    shard: int
    began_at_s: float
    ended_at_s: float | None
    from_pod: str = ""
    to_pod: str = ""


@dataclass(frozen=True, slots=True)
class ConfigRefusal:
    """A CONFIG SET that a server answered with an error, and its text. Kept until its pod is gone."""

    pod_uid: str
    directives: tuple[tuple[str, str], ...]
    text: str


# --- All of it --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Observation:
    """One look at everything that belongs to a cluster resource."""

    meta: ClusterMeta
    lease_transitions: int
    """Of the Lease under which this operator leads; ROLE is refused by servers that have seen a higher
    number.
    """
    pods: Seen[tuple[Pod, ...]]
    claims: Seen[tuple[Claim, ...]]
    services: Seen[tuple[Manifest, ...]]
    config_maps: Seen[tuple[Manifest, ...]]
    budgets: Seen[tuple[Manifest, ...]]
    auth: Seen[AuthSecret | None]
    """The Secret that the spec names (or the generated one); None when it does not exist."""
    nodes: Seen[tuple[HostNode, ...]]
    """Every node of `pods` that exists; a node that is missing here is deleted. Unknown without the
    permission.
    """
    members: tuple[Member, ...]
    status: Mapping[str, Any]
    """.status of the resource as the last reconciliation left it, {} at first."""
    outages: tuple[Outage, ...] = ()
    refusals: tuple[ConfigRefusal, ...] = ()

    def member(self, pod: Pod) -> Member | None:
        return next((member for member in self.members if member.pod_uid == pod.uid), None)
