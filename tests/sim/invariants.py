"""What must hold after every single event of a simulated cluster, not even briefly otherwise.

- `one owner`: under one config epoch a slot has one owner, now and in all of history; a node whose disk
  is gone with it does not count.
- `no role, no service`: a node without a role refuses data commands and claims nothing.
- `only a synced copy succeeds`: who becomes a master with slots was in sync when it was last a replica, or
  was ordered by name as the newest copy, or had the slots before.
- `one writer` (where it is watched): at no moment do two processes take writes to one slot, whatever they
  believe about epochs.
- `own data are kept`: a former master with writes of its own has its file `diverged-<epoch>.rdb` on the disk
  before a full copy replaces them.

`Invariants.watch` begins; a breach is an AssertionError out of `World.run`. `note_order` is told of orders
that excuse an exception.
"""

from __future__ import annotations

from redoubt.cluster.cluster import Cluster
from redoubt.cluster.slots import mask_of
from redoubt.replication.roles import Replication
from redoubt.session import GATE_AWAITING
from tests.sim.world import Host, World


class Seen:
    """What a process was at the last event, as far as rules compare."""

    def __init__(self, host: Host, cluster: Cluster) -> None:
        replication = cluster.state.replication
        assert isinstance(replication, Replication)
        self.incarnation = host.incarnation
        self.is_serving = is_serving(cluster)
        self.was_unsynced_replica = replication.is_replica and not replication.is_synced
        self.has_own_writes = replication.has_own_writes and any(map(len, cluster.state.keyspaces))
        self.is_syncing = replication.is_syncing


class Invariants:
    """The watcher of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        # config epoch -> node id -> slots that it ever claimed under it.
        self.owners: dict[int, dict[str, int]] = {}
        # Addresses that were ordered to serve as the newest copy of all.
        self.newest: set[str] = set()
        self.successions = 0
        self._seen: dict[str, Seen] = {}
        self._watches_writers = False

    def watch_writers(self) -> None:
        """Look for slots with two writers as well; for clusters whose faults leave no old master frozen."""
        self._watches_writers = True

    def watch(self) -> None:
        """Look after every event from now on."""
        self.world.watchers.append(lambda world: self.look())

    def note_order(self, address: str) -> None:
        """Excuse a node that was ordered with FORCE-NEWEST."""
        self.newest.add(address)

    def look(self) -> None:
        """Assert everything about every process that had a turn."""
        for address, host in self.world.turned.items():
            cluster = host.node.state.cluster if host.node is not None else None
            if isinstance(cluster, Cluster):
                self._look_at(address, host, cluster)
                if self._watches_writers:
                    self._one_writer(address, cluster)

    def _one_writer(self, address: str, cluster: Cluster) -> None:
        slots = writable_slots(cluster, self.world.now_ms)
        if not slots:
            return
        for other, host in self.world.hosts.items():
            if other == address or host.node is None or host.is_frozen:
                continue
            theirs = host.node.state.cluster
            if isinstance(theirs, Cluster) and slots & writable_slots(theirs, self.world.now_ms):
                raise AssertionError(f"{address} and {other} both take writes to a slot")

    def _look_at(self, address: str, host: Host, cluster: Cluster) -> None:
        if not cluster.role.is_assigned:
            assert cluster.state.gates & GATE_AWAITING, f"{address} takes data commands without a role"
            assert not cluster.bus.header(0).slots or cluster.topology.myself.is_replica
        self._one_owner(address, cluster)
        seen = Seen(host, cluster)
        before = self._seen.get(address)
        self._seen[address] = seen
        if before is None or before.incarnation != seen.incarnation:
            return
        if seen.is_serving and not before.is_serving:
            self.successions += 1
            is_excused = address in self.newest
            self.newest.discard(address)
            assert is_excused or not before.was_unsynced_replica, f"{address} succeeds without a synced copy"
        if seen.is_syncing and not before.is_syncing and before.has_own_writes:
            kept = [path for path in host.disk if "/diverged-" in path]
            assert kept, f"{address} drops writes of its own without keeping them"

    def _one_owner(self, address: str, cluster: Cluster) -> None:
        if not is_serving(cluster):
            return
        myself = cluster.topology.myself
        claims = self.owners.setdefault(myself.config_epoch, {})
        if claims.get(myself.node_id) == myself.slots:
            return
        for node_id, slots in claims.items():
            if node_id != myself.node_id and self._may_return(node_id):
                overlap = slots & myself.slots
                assert not overlap, (
                    f"{address} and node {node_id} own one slot under epoch {myself.config_epoch}"
                )
        claims[myself.node_id] = claims.get(myself.node_id, 0) | myself.slots

    def _may_return(self, node_id: str) -> bool:
        """Say whether a node runs or could be started from a disk; else its epochs are gone with it."""
        for disk in self.world.disks:
            for path, data in disk.items():
                if path.endswith("nodes.conf") and any(
                    line.startswith(node_id.encode()) and b"myself" in line for line in data.splitlines()
                ):
                    return True
        return False


def is_serving(cluster: Cluster) -> bool:
    """Say whether a node is a master with slots that has its role."""
    return cluster.role.is_assigned and cluster.topology.myself.is_voter


def writable_slots(cluster: Cluster, now_ms: int) -> int:
    """Give the slots to which a process would take a write now."""
    if not is_serving(cluster) or not cluster.availability.is_ok or now_ms > cluster.watch.deadline_ms:
        return 0
    if cluster.state.blocking.pauses:
        return 0
    return cluster.topology.myself.slots & ~mask_of(cluster.routing.held)
