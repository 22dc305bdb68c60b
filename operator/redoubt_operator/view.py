"""What an observation means: servers with their fate, shards with their master, and who owns which slot.

The planner's rules ask here instead of reading raw lists. Three ideas. A server has a fate: seen (it
answered), starting (it never ran), dead (its process ended), lost (its pod will never run again) or silent,
and silent is not dead. A shard's view is complete when every copy of its data that may exist has been seen.
The owner of a slot is the claim with the highest config epoch over all views, a server's own line counting
before what others say about it, as in Redis Cluster.

Built once per plan by `look`; decides nothing and changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from redoubt_operator.moves import Journal, is_planning, read_journal
from redoubt_operator.observation import (
    Claim,
    ContainerState,
    HostNode,
    KnownNode,
    Member,
    MemberStatus,
    Observation,
    Phase,
    Pod,
    Role,
    Sample,
    Seen,
    SlotFigures,
    SlotMigration,
    SlotRange,
    Unknown,
)
from redoubt_operator.ownership import Owner, effective_slots, newest_claims, overlap, without
from redoubt_operator.placement import read_slots, slot_ranges
from redoubt_operator.pods import revision
from redoubt_operator.spec import ClusterSpec


class Fate(Enum):
    """What is known about the process in a pod."""

    SEEN = "seen"  # it answered in this observation
    STARTING = "starting"  # its container has never run
    DEAD = "dead"  # its container ended and will be restarted in place
    LOST = "lost"  # the pod will never run again: finished, or its node is deleted or out of service
    SILENT = "silent"  # Kubernetes says that it runs, and it does not answer


@dataclass(frozen=True, slots=True)
class Copy:
    """How new a member's data are, in the order in which copies are compared."""

    data_epoch: int
    offset: int
    keys: int


@dataclass(frozen=True, slots=True)
class Server:
    """One pod of the cluster and what its server said."""

    pod: Pod
    shard: int
    serial: int
    fate: Fate
    answer: Seen[MemberStatus]
    status: MemberStatus | None  # the answer, if there is one
    nodes: Seen[tuple[KnownNode, ...]]
    config: Seen[Mapping[str, str]]
    sample: Seen[Sample]
    migrations: Seen[tuple[SlotMigration, ...]]
    slot_figures: Seen[tuple[SlotFigures, ...]]
    recorded_id: str  # node id by the last status, for a server that was not seen now
    recorded_restarts: int | None

    @property
    def known_nodes(self) -> tuple[KnownNode, ...]:
        return () if isinstance(self.nodes, Unknown) else self.nodes

    @property
    def node_id(self) -> str:
        return self.status.node_id if self.status else self.recorded_id

    @property
    def is_staying(self) -> bool:
        """Whether it is meant to go on: neither terminating nor lost."""
        return (
            not self.pod.is_terminating
            and self.fate is not Fate.LOST
            and not (self.status is not None and self.status.terminating)
        )

    @property
    def is_serving_master(self) -> bool:
        status = self.status
        return (
            status is not None
            and status.phase is Phase.ASSIGNED
            and status.role is Role.MASTER
            and status.slots > 0
        )

    @property
    def is_idle_master(self) -> bool:
        """A master without slots: of a shard that has none yet, or none any more."""
        status = self.status
        return (
            status is not None
            and status.phase is Phase.ASSIGNED
            and status.role is Role.MASTER
            and status.slots == 0
        )

    @property
    def exports(self) -> tuple[SlotMigration, ...]:
        """Moves of slots away from this server that are under way."""
        if isinstance(self.migrations, Unknown):
            return ()
        return tuple(one for one in self.migrations if one.is_export and one.is_active)

    @property
    def is_synced_replica(self) -> bool:
        """Whether it could succeed its master: a full sync done, none under way."""
        status = self.status
        return (
            status is not None
            and status.phase is Phase.ASSIGNED
            and status.role is Role.REPLICA
            and status.synced
            and not status.syncing
            and not status.loading
        )

    @property
    def copy(self) -> Copy | None:
        """Its copy of the data; None when there is none or it is not known yet."""
        status = self.status
        if status is None or status.loading:
            return None
        if status.data_epoch == 0 and status.keys == 0:
            return None
        return Copy(status.data_epoch, status.repl_offset, status.keys)

    def knows(self, node_id: str) -> KnownNode | None:
        """Its line about that id, when it has finished the handshake with it."""
        for node in self.known_nodes:
            if node.node_id == node_id and not node.is_handshaking:
                return node
        return None

    @property
    def ids_met(self) -> set[str]:
        """The nodes that it has finished the handshake with, itself included."""
        return {node.node_id for node in self.known_nodes if not node.is_handshaking}

    @property
    def knows_others(self) -> bool:
        return any("myself" not in node.flags for node in self.known_nodes)


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard: its servers by serial, its claims, its slots and who has them."""

    index: int
    servers: tuple[Server, ...]
    claims: tuple[Claim, ...]  # without the retired ones
    serials_retired: tuple[int, ...]  # of volumes that were kept when an earlier shard of the index went
    foreign_pods: tuple[Pod, ...]  # carry our labels but belong to an earlier resource of the name
    slots: tuple[SlotRange, ...]  # empty for one that has none yet, or none any more
    is_founding: bool  # its slots are of the cluster's first split and were never given to anyone
    is_leaving: bool  # the spec wants fewer shards
    is_retiring: bool  # the last status says that it was found empty and is being removed
    owner_ids: tuple[str, ...]  # ids that own any of the slots, highest config epoch first
    epoch_seen: int  # highest config epoch seen for the slots
    was_formed: bool  # whether its slots have ever been given to anyone, as far as is known
    loss_recorded: bool  # the last status already says that this shard's data are lost
    losses_told: tuple[str, ...]  # pods whose server's own report of a loss is in the last status
    unseen: tuple[str, ...]  # servers whose copy is not known, one sentence each
    unmounted: tuple[Claim, ...]  # volumes that no running pod has

    @property
    def is_complete(self) -> bool:
        """Whether every copy of its data that may exist has been seen."""
        return not self.unseen and not self.unmounted

    @property
    def is_waiting_for_none(self) -> bool:
        """Whether nothing is unseen but replicas that leave: they answer for a while before they exit."""
        leaving = (
            one
            for one in self.servers
            if one.pod.is_terminating
            and one.fate is Fate.SEEN
            and one.status is not None
            and one.status.role is Role.REPLICA
        )
        return not self.unmounted and len(self.unseen) == len(list(leaving))

    @property
    def missing_copies(self) -> tuple[str, ...]:
        """Why the view is not complete, one sentence each."""
        volumes = (f"volume {claim.name} is not mounted by a running pod" for claim in self.unmounted)
        return (*self.unseen, *volumes)

    @property
    def is_empty(self) -> bool:
        """Whether it has no slots: it has just come, or it is about to go."""
        return not self.slots

    @property
    def master(self) -> Server | None:
        """The serving master, of two the one with the higher config epoch; without slots the idle one."""
        serving = [server for server in self.servers if server.is_serving_master]
        if not serving and self.is_empty:
            serving = [server for server in self.servers if server.is_idle_master]
        return max(serving, key=_config_epoch, default=None)

    @property
    def replicas(self) -> tuple[Server, ...]:
        """Synced replicas that stay and follow the serving master, if there is one."""
        master = self.master
        return tuple(
            server
            for server in self.servers
            if server.is_synced_replica
            and server.is_staying
            and (master is None or (server.status is not None and server.status.master_id == master.node_id))
        )

    @property
    def healthy_replicas(self) -> tuple[Server, ...]:
        """Synced replicas whose link is up: the gate of every planned step."""
        return tuple(one for one in self.replicas if one.status is not None and one.status.link_up)

    @property
    def staying(self) -> tuple[Server, ...]:
        return tuple(server for server in self.servers if server.is_staying)


@dataclass(frozen=True, slots=True)
class ClusterView:
    """The whole cluster as the planner sees it."""

    seen: Observation
    shards: tuple[Shard, ...]
    nodes: Mapping[str, HostNode] | None  # None: not permitted to see them, or not seen
    owned: Mapping[str, tuple[SlotRange, ...]]  # slots by the node id that owns them
    revision: str  # of pods by the spec as it is
    unseen: tuple[str, ...]  # what of the cluster could not be seen, one sentence each
    current_epoch: int
    shards_recorded: int | None  # number of shards that have slots or members, journalled in status
    journal: Journal  # of moves of slots, as the last status has it
    was_planning: bool  # whether this look asked what the slots hold

    @property
    def servers(self) -> tuple[Server, ...]:
        return tuple(server for shard in self.shards for server in shard.servers)

    @property
    def seen_servers(self) -> tuple[Server, ...]:
        return tuple(server for server in self.servers if server.fate is Fate.SEEN)

    @property
    def is_complete(self) -> bool:
        """Whether every pod, volume and server of the cluster was seen."""
        return not self.unseen and all(shard.is_complete for shard in self.shards)

    def is_moving(self, index: int) -> bool:
        """Whether slots are to move from or to a shard by the journal, or do so whoever ordered it."""
        if any(index in (move.source, move.target) for move in self.journal.unfinished):
            return True
        statuses = (one.status for one in self.servers if one.shard == index)
        return any(status is not None and (status.exports or status.imports) for status in statuses)

    def host(self, server: Server) -> HostNode | None:
        return None if self.nodes is None else self.nodes.get(server.pod.node)


def look(
    spec: ClusterSpec, seen: Observation, pods: tuple[Pod, ...], claims: tuple[Claim, ...]
) -> ClusterView:
    """The view of an observation whose pods and claims are known."""
    nodes = None if isinstance(seen.nodes, Unknown) else {node.name: node for node in seen.nodes}
    recorded = shards_recorded(seen.status)
    count = _shard_count(spec, recorded, pods, claims, seen.meta.uid)
    rows = _recorded_shards(seen.status)
    members = {member.pod_uid: member for member in seen.members}
    servers = [
        _server(pod, members.get(pod.uid), nodes, rows)
        for pod in pods
        if pod.owner_uid == seen.meta.uid and pod.shard is not None and pod.serial is not None
    ]
    owners = newest_claims((one.status, one.known_nodes) for one in servers if one.status is not None)
    owned = effective_slots(owners.values())
    by_shard: list[list[Server]] = [[] for _ in range(count)]
    for server in sorted(servers, key=lambda one: (one.shard, one.serial)):
        if server.shard < count:
            by_shard[server.shard].append(server)
    elsewhere = _slots_elsewhere(count, by_shard, owned, rows)
    founded = recorded if recorded is not None else count
    shards = tuple(
        _shard(
            index,
            by_shard[index],
            pods,
            claims,
            seen,
            owners,
            owned,
            rows.get(index, {}),
            elsewhere[index],
            founded,
            index >= spec.shards,
        )
        for index in range(count)
    )
    statuses = [server.status for server in servers if server.status is not None]
    return ClusterView(
        seen=seen,
        shards=shards,
        nodes=nodes,
        owned=owned,
        revision=revision(spec),
        unseen=_unseen(seen, servers),
        current_epoch=max((status.current_epoch for status in statuses), default=0),
        shards_recorded=recorded,
        journal=read_journal(seen.status),
        was_planning=is_planning(seen.status),
    )


def shards_recorded(status: Mapping[str, Any]) -> int | None:
    """The number of shards that have slots or members, as the status journals it."""
    number = status.get("currentShards")
    return number if isinstance(number, int) and number > 0 else None


def _shard_count(
    spec: ClusterSpec, recorded: int | None, pods: tuple[Pod, ...], claims: tuple[Claim, ...], uid: str
) -> int:
    """Every shard that is wanted, has slots or a pod. Volumes alone make one where nothing is recorded."""
    labels = [pod.shard for pod in pods if pod.owner_uid == uid or recorded is None]
    if recorded is None:
        labels += [claim.shard for claim in claims if not claim.is_retired]
    return max([spec.shards, recorded or 0, *(shard + 1 for shard in labels if shard is not None)])


def _recorded_shards(status: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    rows = status.get("shards") or []
    return {row["shard"]: row for row in rows if isinstance(row, Mapping) and "shard" in row}


def _server(
    pod: Pod,
    member: Member | None,
    nodes: Mapping[str, HostNode] | None,
    rows: Mapping[int, Mapping[str, Any]],
) -> Server:
    assert pod.shard is not None and pod.serial is not None
    nothing = Unknown("the pod has no address yet", pod.created_at_s)
    recorded: Mapping[str, Any] = next(
        (row for row in rows.get(pod.shard, {}).get("members", ()) if row.get("pod") == pod.name), {}
    )
    answer = member.status if member else nothing
    return Server(
        pod=pod,
        shard=pod.shard,
        serial=pod.serial,
        fate=_fate(pod, member, nodes),
        answer=answer,
        status=None if isinstance(answer, Unknown) else answer,
        nodes=member.nodes if member else nothing,
        config=member.config if member else nothing,
        sample=member.sample if member else nothing,
        migrations=member.migrations if member else nothing,
        slot_figures=member.slot_figures if member else nothing,
        recorded_id=recorded.get("nodeId", ""),
        recorded_restarts=recorded.get("restarts"),
    )


def _fate(pod: Pod, member: Member | None, nodes: Mapping[str, HostNode] | None) -> Fate:
    if pod.is_finished:
        return Fate.LOST
    if member is not None and not isinstance(member.status, Unknown):
        return Fate.SEEN
    if nodes is not None and pod.node:
        host = nodes.get(pod.node)
        if host is None or host.is_out_of_service:
            return Fate.LOST
    if pod.container.state is ContainerState.RUNNING:
        return Fate.SILENT
    has_run = pod.container.restart_count > 0 or pod.container.last_termination is not None
    if has_run or pod.container.state is ContainerState.TERMINATED:
        return Fate.DEAD
    return Fate.STARTING


def _shard(
    index: int,
    servers: list[Server],
    pods: tuple[Pod, ...],
    claims: tuple[Claim, ...],
    seen: Observation,
    owners: Mapping[str, Owner],
    owned: Mapping[str, tuple[SlotRange, ...]],
    row: Mapping[str, Any],
    elsewhere: tuple[SlotRange, ...],
    founded: int,
    is_leaving: bool,
) -> Shard:
    mine = tuple(claim for claim in claims if claim.shard == index and not claim.is_retired)
    foreign = tuple(pod for pod in pods if pod.shard == index and pod.owner_uid != seen.meta.uid)
    member_ids = {server.node_id for server in servers if server.node_id}
    mine_now = (one for node_id in sorted(member_ids) for one in owned.get(node_id, ()))
    recorded = without(read_slots(str(row.get("slots", ""))), elsewhere)
    slots = tuple(sorted(mine_now, key=lambda one: one.first)) or recorded
    first_split = slot_ranges(founded)[index : index + 1]
    is_founding = not slots and bool(first_split) and not overlap(first_split, elsewhere)
    slots = first_split if is_founding else slots
    ids = {node_id for node_id, ranges in owned.items() if overlap(slots, ranges)}
    owner_ids = sorted(ids, key=lambda one: (-owners[one].config_epoch, one))
    epochs = [owners[one].config_epoch for one in owner_ids]
    statuses = [server.status for server in servers if server.status is not None]
    epochs += [status.config_epoch for status in statuses if status.slots or status.slots_at_boot]
    mounted = {server.pod.claim for server in servers if server.fate is not Fate.LOST}
    return Shard(
        index=index,
        servers=tuple(servers),
        claims=mine,
        serials_retired=tuple(
            claim.serial
            for claim in claims
            if claim.is_retired and claim.shard == index and claim.serial is not None
        ),
        foreign_pods=foreign,
        slots=slots,
        is_founding=is_founding,
        is_leaving=is_leaving,
        is_retiring=row.get("state") == "Leaving",
        owner_ids=tuple(owner_ids),
        epoch_seen=max(epochs, default=0),
        was_formed=bool(
            recorded
            or (slots and not is_founding)
            or owner_ids
            or any(status.slots_at_boot for status in statuses)
        ),
        loss_recorded=bool(row.get("dataLost")),
        losses_told=tuple(one["pod"] for one in row.get("members", ()) if one.get("resumedEmpty")),
        unseen=tuple(_unseen_copies(servers, foreign)),
        # Without slots there is no data: what lies on a volume then is no copy of anything.
        unmounted=tuple(
            claim for claim in mine if slots and claim.name not in mounted and not claim.is_terminating
        ),
    )


def _slots_elsewhere(
    count: int,
    by_shard: Sequence[Sequence[Server]],
    owned: Mapping[str, tuple[SlotRange, ...]],
    rows: Mapping[int, Mapping[str, Any]],
) -> list[tuple[SlotRange, ...]]:
    """For each shard the slots that belong to others: to their members, or to them by the last status."""
    held: list[tuple[SlotRange, ...]] = []
    for index in range(count):
        ids = sorted({server.node_id for server in by_shard[index] if server.node_id})
        mine = tuple(one for node_id in ids for one in owned.get(node_id, ()))
        held.append(mine or read_slots(str(rows.get(index, {}).get("slots", ""))))
    return [
        tuple(one for other in range(count) if other != index for one in held[other])
        for index in range(count)
    ]


def _unseen_copies(servers: list[Server], foreign: tuple[Pod, ...]) -> list[str]:
    missing = [f"pod {pod.name} of an earlier resource still exists" for pod in foreign]
    for server in servers:
        name = server.pod.name
        if server.fate is Fate.LOST:
            continue  # its volume, if it has one, counts as not mounted
        if server.pod.is_terminating:
            missing.append(f"pod {name} is terminating")
        elif server.fate is Fate.SILENT:
            missing.append(f"pod {name} runs but does not answer")
        elif server.fate is Fate.DEAD:
            missing.append(f"the container of pod {name} has not been restarted yet")
        elif server.fate is Fate.STARTING and server.pod.claim:
            missing.append(f"pod {name} has not started on volume {server.pod.claim}")
        elif server.status is not None and server.status.loading:
            missing.append(f"pod {name} is loading its data")
    return missing


def _unseen(seen: Observation, servers: list[Server]) -> tuple[str, ...]:
    lists = (
        ("services", seen.services),
        ("config maps", seen.config_maps),
        ("disruption budgets", seen.budgets),
        ("the password", seen.auth),
    )
    unseen = [f"{what}: {one.reason}" for what, one in lists if isinstance(one, Unknown)]
    for server in servers:
        if isinstance(server.nodes, Unknown) and server.fate is Fate.SEEN:
            unseen.append(f"CLUSTER NODES of pod {server.pod.name}: {server.nodes.reason}")
    return tuple(unseen)


def _config_epoch(server: Server) -> int:
    return server.status.config_epoch if server.status is not None else 0
