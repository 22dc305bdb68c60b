"""The map of the cluster as this node sees it: nodes, their roles, flags, slots, shards and epochs.

One `Topology` per node. It keeps the redundant views consistent (the owner of each slot, each node's mask
of slots, each master's replicas) and answers questions about them; it sends nothing, decides nothing and
knows no time. Bus, failure detection, elections and commands read it and change it through its methods.

`owners[slot]` is the one array that routing reads. Flags have the values that the bus and nodes.conf use.

Source: the Redis Cluster specification, "Cluster nodes attributes" and "Nodes handshake".
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final

from redoubt.cluster.slot_grants import SlotGrant, mask_of_grants
from redoubt.cluster.slots import ALL_SLOTS, SLOTS, count, slots_of

if TYPE_CHECKING:
    from redoubt.cluster.bus import BusLink

# Node flags, as on the bus.
MASTER: Final = 1
REPLICA: Final = 2
PFAIL: Final = 4  # I believe it has failed
FAILED: Final = 8  # the majority believes so
MYSELF: Final = 16
HANDSHAKE: Final = 32  # its first PONG is awaited; the id is a placeholder
NOADDR: Final = 64
MEETING: Final = 128  # the next message to it is a MEET
MIGRATE_TO: Final = 256  # may get a replica from another master
NOFAILOVER: Final = 512
# Flags that travel on the bus; the others are private to a node.
WIRE_FLAGS: Final = 0xFFFF

_FLAG_NAMES: Final = [
    (MYSELF, "myself"),
    (MASTER, "master"),
    (REPLICA, "slave"),
    (PFAIL, "fail?"),
    (FAILED, "fail"),
    (HANDSHAKE, "handshake"),
    (NOADDR, "noaddr"),
    (NOFAILOVER, "nofailover"),
]


class ClusterNode:
    """One node of the cluster, this one included."""

    def __init__(self, node_id: str, flags: int, now_ms: int) -> None:
        self.node_id = node_id
        self.shard_id = ""
        self.flags = flags
        self.config_epoch = 0
        self.slots = 0  # mask; changed by Topology only
        self.master: ClusterNode | None = None
        self.replicas: list[ClusterNode] = []
        self.created_ms = now_ms
        self.ip = ""
        self.port = 0
        self.plain_port = 0
        self.bus_port = 0
        self.hostname = ""
        self.human_name = ""
        # Failure detection. ping_sent_ms 0: no ping is under way.
        self.ping_sent_ms = 0
        self.pong_received_ms = 0
        self.heard_ms = 0
        self.answered_ms = 0  # when the last ping was sent that it has answered
        self.fail_ms = 0
        self.is_refusing = False  # its kernel refuses connections: the process is gone
        self.reports: dict[str, int] = {}  # reporter's id -> ms
        # Elections.
        self.voted_ms = 0  # as a master: when we last voted for one of its replicas
        self.voted_for = ""
        self.offset = 0
        self.offset_ms = 0
        # What its last message said of itself.
        self.is_redoubt = False
        self.is_terminating = False
        self.is_synced = True
        self.understands_extensions = False
        self.data_epoch = 0
        # Streams: the one we dialled (we ping on it) and the one it dialled.
        self.link: BusLink | None = None
        self.inbound: BusLink | None = None

    @property
    def is_master(self) -> bool:
        return self.flags & MASTER != 0

    @property
    def is_replica(self) -> bool:
        return self.flags & REPLICA != 0

    @property
    def is_failed(self) -> bool:
        return self.flags & FAILED != 0

    @property
    def is_suspected(self) -> bool:
        return self.flags & (PFAIL | FAILED) != 0

    @property
    def is_known(self) -> bool:
        """True once its id is the real one."""
        return self.flags & HANDSHAKE == 0

    @property
    def is_voter(self) -> bool:
        """True for a master with slots: they alone count in majorities."""
        return self.flags & MASTER != 0 and self.slots != 0

    @property
    def slot_count(self) -> int:
        return count(self.slots)

    def flag_names(self) -> str:
        """Write the flags as CLUSTER NODES does."""
        names = [name for bit, name in _FLAG_NAMES if self.flags & bit]
        return ",".join(names) or "noflags"


def new_id(random: Random) -> str:
    """Draw a node or shard id: 40 hexadecimal digits."""
    return f"{random.getrandbits(160):040x}"


class Topology:
    """All nodes by id, the slot map, and the epochs."""

    def __init__(self, myself: ClusterNode) -> None:
        self.myself = myself
        self.nodes: dict[str, ClusterNode] = {myself.node_id: myself}
        self.owners: list[ClusterNode | None] = [None] * SLOTS
        self.migrating: dict[int, ClusterNode] = {}
        self.importing: dict[int, ClusterNode] = {}
        # Slots between their owners, by the name of the migration: given away by our shard, taken by it.
        self.grants: dict[str, SlotGrant] = {}
        self.takings: dict[str, SlotGrant] = {}
        self.current_epoch = 0
        self.last_vote_epoch = 0
        # The highest number of lease transitions of the operators that gave us orders (managed mode).
        self.lease_transitions = 0
        # Forgotten nodes: id -> when they may be learned of again.
        self.forgotten: dict[str, int] = {}
        # Counts every change of slots, nodes or roles, so that who caches a view can compare.
        self.version = 0
        self._voters: list[ClusterNode] = []
        self._voters_version = -1

    # Nodes.

    def add(self, node: ClusterNode) -> None:
        self.nodes[node.node_id] = node
        self.version += 1

    def remove(self, node: ClusterNode) -> None:
        """Drop a node with its slots, its reports about others, and its place as master or replica."""
        self.clear_slots(node)
        for slot in [slot for slot, other in self.migrating.items() if other is node]:
            del self.migrating[slot]
        for slot in [slot for slot, other in self.importing.items() if other is node]:
            del self.importing[slot]
        for other in self.nodes.values():
            other.reports.pop(node.node_id, None)
        for replica in node.replicas:
            replica.master = None
        node.replicas = []
        if node.master is not None:
            node.master.replicas.remove(node)
            node.master = None
        self.nodes.pop(node.node_id, None)
        self.version += 1

    def rename(self, node: ClusterNode, node_id: str) -> None:
        """Give a node its real id after the handshake."""
        self.nodes.pop(node.node_id, None)
        node.node_id = node_id
        self.nodes[node_id] = node
        self.version += 1

    def find(self, node_id: str) -> ClusterNode | None:
        return self.nodes.get(node_id)

    def sorted_nodes(self) -> list[ClusterNode]:
        """List all nodes by id: an order that does not depend on who met whom first."""
        return [self.nodes[node_id] for node_id in sorted(self.nodes)]

    def voters(self) -> list[ClusterNode]:
        """List the masters with slots; the list is kept until the map changes and must not be changed."""
        if self._voters_version != self.version:
            self._voters_version = self.version
            self._voters = [node for node in self.nodes.values() if node.is_voter]
        return self._voters

    def quorum(self) -> int:
        """Count the voters that make a majority."""
        return len(self.voters()) // 2 + 1

    def config_epoch_max(self) -> int:
        """Find the highest epoch that this node has seen anywhere."""
        return max(self.current_epoch, *[node.config_epoch for node in self.nodes.values()])

    # Roles.

    def set_master(self, node: ClusterNode) -> None:
        """Make a node a master in the map; its slots are given separately."""
        if node.is_master:
            return
        self._detach(node)
        node.flags = (node.flags & ~REPLICA) | MASTER
        self.version += 1

    def set_replica(self, node: ClusterNode, master: ClusterNode | None) -> None:
        """Make a node the replica of `master`, or of a master that is not known yet; it loses its slots."""
        if node.is_replica and node.master is master and master is not None:
            return
        if node.slots:
            self.clear_slots(node)
        self._detach(node)
        node.flags = (node.flags & ~(MASTER | MIGRATE_TO)) | REPLICA
        node.master = master
        if master is not None:
            master.replicas.append(node)
            if master.shard_id:
                node.shard_id = master.shard_id
        self.version += 1

    def _detach(self, node: ClusterNode) -> None:
        if node.master is not None:
            node.master.replicas.remove(node)
            node.master = None

    def is_same_shard(self, node: ClusterNode, other: ClusterNode) -> bool:
        """Say whether one replicates the other, or both the same master."""
        if node is other:
            return True
        head = node if node.is_master else node.master
        other_head = other if other.is_master else other.master
        return head is not None and head is other_head

    def my_master(self) -> ClusterNode | None:
        """Find who owns the slots of this node's shard: itself as a master, else its master."""
        return self.myself if self.myself.is_master else self.myself.master

    # Slots.

    def owned_by_shard(self) -> int:
        """Give the mask of the slots of this node's shard."""
        head = self.my_master()
        return 0 if head is None else head.slots

    def set_owner(self, slot: int, node: ClusterNode | None) -> None:
        """Give a slot to a node, taking it from its owner."""
        owner = self.owners[slot]
        if owner is node:
            return
        if owner is not None:
            owner.slots &= ~(1 << slot)
        self.owners[slot] = node
        if node is not None:
            node.slots |= 1 << slot
        self.version += 1

    def set_owners(self, mask: int, node: ClusterNode | None) -> None:
        """Give a set of slots to a node, each taken from its owner."""
        for slot in slots_of(mask):
            self.owners[slot] = node
        for other in self.nodes.values():
            if other is not node and other.slots & mask:
                other.slots &= ~mask
        if node is not None:
            node.slots |= mask
        self.version += 1

    def clear_slots(self, node: ClusterNode) -> None:
        """Leave the slots of a node without an owner."""
        if node.slots:
            self.set_owners(node.slots, None)

    def granted(self) -> int:
        """Give the mask of the slots that our shard gave away without knowing yet whether they arrived."""
        return mask_of_grants(self.grants) if self.grants else 0

    def unowned(self) -> int:
        """Give the mask of the slots without an owner."""
        covered = 0
        for node in self.nodes.values():
            covered |= node.slots
        return ALL_SLOTS & ~covered

    # Forgetting.

    def forget(self, node_id: str, until_ms: int) -> None:
        """Do not learn of this node again before `until_ms`."""
        self.forgotten[node_id] = until_ms

    def is_forgotten(self, node_id: str, now_ms: int) -> bool:
        until_ms = self.forgotten.get(node_id)
        if until_ms is None:
            return False
        if now_ms < until_ms:
            return True
        del self.forgotten[node_id]
        return False
