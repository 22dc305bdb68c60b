"""The servers of the test world: what a node keeps, gossips, votes and takes over, as a model.

Simple where it may be (gossip settles within a step, a sync takes one moment, a move of slots a few) and
exact in what the planner relies on: roles are compare-and-set, a copy that is not synced does not succeed, a
voter is a master with slots or one that kept its map, an owner is whoever has the higher config epoch.

Used by world.py, which adds Kubernetes around it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache

from redoubt_operator import actions as do
from redoubt_operator.observation import Phase, Pod, Role, Sample, SlotMigration, SlotRange
from redoubt_operator.placement import SLOTS

Slots = int
"""A set of slots as one number with a bit for each, as on the bus: cheap to join, cut and compare."""

ALL_SLOTS: Slots = (1 << SLOTS) - 1


class Refusal(Exception):
    """A server or the API refused an action; its lane ends."""


@dataclass
class Line:
    """What one server knows of another."""

    ip: str
    master_id: str = ""
    config_epoch: int = 0
    slots: Slots = 0
    is_failed: bool = False


@dataclass
class Disk:
    """What lies in /data: of a volume or of a pod's emptyDir."""

    node_id: str = ""
    config_epoch: int = 0
    current_epoch: int = 0
    lease: int = 0
    master_id: str = ""
    slots: Slots = 0
    lines: dict[str, Line] = field(default_factory=dict)
    data_epoch: int = 0
    offset: int = 0
    table: dict[int, int] = field(default_factory=dict)  # keys by slot

    @property
    def keys(self) -> int:
        return sum(self.table.values())


@dataclass
class Export:
    """A move of slots away from a server."""

    name: str
    slots: Slots
    target_id: str
    steps_left: int
    state: str = "replicating"
    message: str = ""

    @property
    def is_active(self) -> bool:
        return self.state == "replicating"


@dataclass
class Server:
    """One running process."""

    node_id: str
    ip: str
    phase: Phase = Phase.AWAITING
    role: Role = Role.MASTER
    config_epoch: int = 0
    current_epoch: int = 0
    lease: int = 0
    master_id: str = ""
    slots: Slots = 0
    boot_slots: Slots = 0
    lines: dict[str, Line] = field(default_factory=dict)
    data_epoch: int = 0
    offset: int = 0
    table: dict[int, int] = field(default_factory=dict)
    open_slots: dict[int, str] = field(default_factory=dict)  # by slot: `->-id` or `-<-id` as printed
    forgotten: set[str] = field(default_factory=set)  # ids that gossip does not bring back for a minute
    exports: list[Export] = field(default_factory=list)  # newest last
    synced: bool = False
    link_up: bool = False
    config: dict[str, str] = field(default_factory=dict)
    sample: Sample | None = None
    data_lost: bool = False
    cluster_ok: bool = True

    @property
    def keys(self) -> int:
        return sum(self.table.values())

    @property
    def claimed(self) -> Slots:
        """What it serves, or what its nodes.conf says while it waits for its role."""
        return self.slots if self.phase is Phase.ASSIGNED else self.boot_slots

    @property
    def leads(self) -> bool:
        """Whether it is a master, with slots or without."""
        return self.phase is Phase.ASSIGNED and self.role is Role.MASTER

    @property
    def is_serving(self) -> bool:
        return self.phase is Phase.ASSIGNED and self.role is Role.MASTER and bool(self.slots)


@dataclass
class Host:
    """A pod with what runs in it."""

    pod: Pod
    disk: Disk
    server: Server | None = None
    is_silent: bool = False  # runs, but the operator cannot reach it
    age: int = 0
    down_for: int = 0  # steps until a dead container runs again


class DataPlane:
    """All running servers, by the hosts that the world keeps."""

    def __init__(self, hosts: dict[str, Host]) -> None:
        self.hosts = hosts

    def save_map(self, host: Host) -> None:
        server, disk = host.server, host.disk
        if server is None:
            return
        disk.node_id, disk.config_epoch, disk.current_epoch = (
            server.node_id,
            server.config_epoch,
            server.current_epoch,
        )
        disk.lease, disk.master_id = server.lease, server.master_id
        disk.slots = server.claimed
        disk.lines = {one: replace(line) for one, line in server.lines.items()}
        disk.data_epoch, disk.offset, disk.table = server.data_epoch, server.offset, dict(server.table)

    def running(self) -> list[Server]:
        return [host.server for host in self.hosts.values() if host.server is not None]

    def by_id(self, node_id: str) -> Server:
        return next(one for one in self.running() if one.node_id == node_id)

    def gossip(self) -> None:
        """Until nothing is new: linked servers learn each other's lines, slots by the highest epoch."""
        running = {server.node_id: server for server in self.running()}
        for _ in range(4):
            for server in running.values():
                knows_all = all(
                    node_id in server.lines and server.lines[node_id].ip == one.ip
                    for node_id, one in running.items()
                    if one is not server
                )
                for node_id in list(server.lines):
                    other = running.get(node_id)
                    line = server.lines[node_id]
                    line.is_failed = other is None
                    if other is None or line.ip != other.ip:
                        continue
                    if server.node_id in other.forgotten:
                        continue
                    mine = other.lines.setdefault(server.node_id, Line(server.ip))
                    mine.ip = server.ip
                    for known, its in () if knows_all else other.lines.items():
                        if known in server.forgotten:
                            continue
                        if known != server.node_id and known in running and its.ip == running[known].ip:
                            server.lines.setdefault(known, Line(its.ip)).ip = its.ip
                    self._hear(server, other)
        for host in self.hosts.values():
            self.save_map(host)

    def _hear(self, server: Server, other: Server) -> None:
        """`server` takes in a ping of `other`."""
        line = server.lines[other.node_id]
        line.config_epoch = other.config_epoch
        line.master_id = other.master_id if other.role is Role.REPLICA else ""
        server.current_epoch = max(server.current_epoch, other.current_epoch, other.config_epoch)
        if not other.is_serving:
            if other.phase is Phase.ASSIGNED:  # else it is merely without a role, and keeps its name on them
                line.slots = 0
            return
        won = other.slots
        for node_id, one in server.lines.items():
            if node_id != other.node_id and one.config_epoch < other.config_epoch:
                one.slots &= ~other.slots
            elif node_id != other.node_id:  # a claim under the same epoch does not win
                won &= ~one.slots
        line.slots = won
        lost = server.claimed & other.slots
        if lost and other.config_epoch > server.config_epoch:
            server.slots &= ~lost
            server.boot_slots &= ~lost
            if not server.claimed:
                server.phase, server.role, server.master_id = Phase.ASSIGNED, Role.REPLICA, other.node_id
                server.synced = False
        follows_loser = server.role is Role.REPLICA and server.master_id in server.lines
        if follows_loser and other.node_id != server.master_id:
            master = server.lines[server.master_id]
            is_sibling = self._shard_of(server) == self._shard_of(other)
            if is_sibling and not master.slots and other.config_epoch > master.config_epoch:
                server.master_id = other.node_id

    def _shard_of(self, server: Server) -> int | None:
        return next(host.pod.shard for host in self.hosts.values() if host.server is server)

    def elect(self) -> None:
        for index in {host.pod.shard for host in self.hosts.values() if host.pod.shard is not None}:
            if self.master(index) is None:
                candidates = [host.server for host in self.synced(index) if not host.pod.is_terminating]
                had_slots = [
                    one
                    for one in candidates
                    if one and one.master_id in one.lines and one.lines[one.master_id].slots
                ]
                if had_slots and had_slots[0] is not None:
                    self.force(had_slots[0])

    def promote(self, server: Server) -> None:
        old = server.lines[server.master_id]
        server.current_epoch += 1
        server.config_epoch = server.data_epoch = server.current_epoch
        server.role, server.slots = Role.MASTER, old.slots
        old.slots = 0
        server.phase, server.master_id = Phase.ASSIGNED, ""

    def hand_over_from(self, host: Host) -> None:
        if host.server is None or not host.server.is_serving:
            return
        heirs = [
            one.server
            for one in self.synced(host.pod.shard or 0)
            if not one.pod.is_terminating and one.server is not None
        ]
        if heirs:
            self.promote(heirs[0])
            self.gossip()

    def follow(self) -> None:
        """Replicas of serving masters get in sync; restarted replicas confirm their master."""
        running = {server.node_id: server for server in self.running()}
        for server in running.values():
            master = running.get(server.master_id)
            serves = master is not None and master.leads and server.master_id in server.lines
            if server.phase is Phase.AWAITING and serves:
                server.phase, server.role = Phase.ASSIGNED, Role.REPLICA
            if server.role is Role.REPLICA and server.phase is Phase.ASSIGNED:
                server.link_up = serves
                if serves and master is not None:
                    server.synced = True
                    server.data_epoch, server.offset = master.data_epoch, master.offset
                    server.table = dict(master.table)
        for host in self.hosts.values():
            if host.server is not None:
                self.save_map(host)

    def assign_master(self, server: Server, action: do.AssignMaster) -> None:
        if server.is_serving:
            return
        taken = server.claimed
        if server.master_id in server.lines:
            taken = taken or server.lines[server.master_id].slots
        self._check_fence(server, action.config_epoch_seen, action.lease_transitions, taken)
        if server.role is Role.REPLICA and not server.synced and not action.is_newest:
            raise Refusal("NOTSYNCED")
        server.phase, server.role, server.master_id = Phase.ASSIGNED, Role.MASTER, ""
        if taken:
            server.current_epoch += 1
            server.config_epoch = server.data_epoch = server.current_epoch
            server.slots = taken
            for line in server.lines.values():
                line.slots &= ~taken

    def assign_replica(self, server: Server, action: do.AssignReplica) -> None:
        if action.master_id not in server.lines:
            raise Refusal("UNKNOWNNODE")
        self._check_fence(server, action.config_epoch_seen, action.lease_transitions, server.slots)
        server.phase, server.role = Phase.ASSIGNED, Role.REPLICA
        server.slots = 0
        if server.master_id != action.master_id:
            server.synced = server.link_up = False
        server.master_id = action.master_id

    def _check_fence(self, server: Server, epoch_seen: int, lease: int, slots: Slots) -> None:
        owners = [line.config_epoch for line in server.lines.values() if line.slots & slots]
        if lease < server.lease or max(owners, default=0) > epoch_seen:
            raise Refusal("STALE")
        server.lease = lease

    def add_slots(self, server: Server, slots: tuple[SlotRange, ...]) -> None:
        wanted = mask(slots)
        if server.phase is not Phase.ASSIGNED or any(line.slots & wanted for line in server.lines.values()):
            raise Refusal("ERR Slot is already busy")
        server.slots |= wanted
        server.data_epoch = max(server.config_epoch, 1)

    def migrate_slots(self, server: Server, slots: Slots, target_id: str, steps: int) -> None:
        active = [one for one in server.exports if one.is_active]
        if not server.is_serving or slots & ~server.slots or any(one.slots & slots for one in active):
            raise Refusal("ERR slots are not served by this node, or move already")
        if target_id not in server.lines or server.lines[target_id].master_id:
            raise Refusal("ERR unknown target node")
        server.exports.append(Export(f"move-{len(server.exports)}", slots, target_id, steps))

    def cancel_exports(self, server: Server) -> None:
        for one in server.exports:
            if one.is_active:
                one.state = "cancelled"

    def advance_moves(self, *, fail: bool = False) -> None:
        """One moment of every move: it fails, goes on, or the target takes over with a new epoch."""
        running = {server.node_id: server for server in self.running()}
        for server in list(running.values()):
            for one in [one for one in server.exports if one.is_active]:
                sink = running.get(one.target_id)
                if (
                    fail
                    or sink is None
                    or not sink.leads
                    or not server.is_serving
                    or one.slots & ~server.slots
                ):
                    one.state, one.message = "failed", "the connection to the target ended"
                    continue
                one.steps_left -= 1
                if one.steps_left <= 0:
                    one.state = "success"
                    self.switch(server, sink, one.slots)

    def is_moving(self) -> bool:
        return any(one.is_active for server in self.running() for one in server.exports)

    def switch(self, server: Server, sink: Server, slots: Slots) -> None:
        """The target takes over the slots with their keys, under a new epoch."""
        moved = {slot: keys for slot, keys in server.table.items() if slots >> slot & 1}
        sink.table.update(moved)
        server.table = {slot: keys for slot, keys in server.table.items() if slot not in moved}
        sink.current_epoch = max(sink.current_epoch, server.current_epoch) + 1
        sink.config_epoch = sink.data_epoch = sink.current_epoch
        sink.offset += 1
        server.offset += 1
        sink.slots |= slots
        server.slots &= ~slots
        for line in sink.lines.values():
            line.slots &= ~slots
        server.lines[sink.node_id].slots |= slots
        server.lines[sink.node_id].config_epoch = sink.config_epoch
        server.current_epoch = sink.current_epoch
        self.follow()  # the target's replicas in sync have all of it before it answers for the slots

    def meet(self, server: Server, ip: str) -> None:
        other = next((one for one in self.running() if one.ip == ip), None)
        if other is not None and other is not server:
            server.forgotten.discard(other.node_id)
            other.forgotten.discard(server.node_id)
            server.lines.setdefault(other.node_id, Line(ip)).ip = ip
            other.lines.setdefault(server.node_id, Line(server.ip)).ip = server.ip

    def force(self, server: Server) -> None:
        if server.role is Role.MASTER:
            return
        if not server.synced:
            raise Refusal("NOTSYNCED")
        old = server.lines.get(server.master_id)
        if old is None or not old.slots:
            raise Refusal("ERR my master serves no slots")
        owners = {one for one, line in server.lines.items() if line.slots}
        voters = [one for one in self.running() if one.node_id in owners and (one.is_serving or one.claimed)]
        if len(voters) > len(owners) // 2:
            self.promote(server)

    def shard(self, index: int) -> list[Host]:
        return [host for host in self.hosts.values() if host.pod.shard == index]

    def master(self, index: int) -> Host | None:
        serving = [host for host in self.shard(index) if host.server is not None and host.server.is_serving]
        return max(serving, key=lambda host: host.server.config_epoch if host.server else 0, default=None)

    def synced(self, index: int) -> list[Host]:
        return [
            host
            for host in self.shard(index)
            if host.server is not None and host.server.role is Role.REPLICA and host.server.synced
        ]


@cache
def ranges(slots: Slots) -> tuple[SlotRange, ...]:
    """The ranges of a set, found by its runs of bits."""
    found = []
    while slots:
        first = (slots & -slots).bit_length() - 1
        rest = slots >> first
        length = (~rest & (rest + 1)).bit_length() - 1
        found.append(SlotRange(first, first + length - 1))
        slots &= ~(((1 << length) - 1) << first)
    return tuple(found)


def export_row(server: Server, one: Export) -> SlotMigration:
    return SlotMigration(
        one.name, "EXPORT", ranges(one.slots), server.node_id, one.target_id, one.state, one.message
    )


def mask(slots: Iterable[SlotRange]) -> Slots:
    return sum(((1 << len(one)) - 1) << one.first for one in slots)


def count(slots: Slots) -> int:
    return slots.bit_count()
