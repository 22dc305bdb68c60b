"""Managed mode: a process that starts has no role until it is given one (`await-role yes`).

Why. A killed container is back within a second, in the same pod, at the same address, with its nodes.conf
and without its data. A server that then serves as the master it was answers pings before its failure is
agreed on; no election happens, and its replica, which has everything, resynchronises with the emptiness.
So a pod never serves as a master by default, and what it does first depends on what nodes.conf says:

- No file, or no slots: *awaiting*. It knows nothing; the operator tells it.
- A replica: it follows its master again (*assigned*) and starts no election before it has synced.
- A master with replicas, or with any other node in its shard: it *yields*, with its data, without it, or with
  some of it: an append-only file synced every second is older than a synced replica. See `yielding.py`.
- A master that is alone in its shard: nobody can have better data. It asks the others whether its slots are
  still its own (*resuming*, `confirmation.py`), and serves when a majority says so.

Until it is assigned a node refuses data commands and PSYNC with -LOADING (clients retry, replicas keep their
data), claims no slots, and answers everything about itself.

Orders are compare-and-set. `REDOUBT ROLE` carries the highest config epoch that the sender saw for the
shard's slots and the number of lease transitions of the operator that sends it; an order from the past, or
from an operator that has been replaced, is refused as STALE. `REDOUBT ROLE master` takes the shard's slots
under a new epoch, also when they were its own before, so that every other claim loses.

Outside managed mode this module does nothing. Who calls it: the cluster object at its events, and the
REDOUBT commands (`role_commands.py`). The properties are proved in `tests/sim`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.cluster import messages
from redoubt.cluster.confirmation import Confirmation
from redoubt.cluster.leaving import Leaving, Switchover
from redoubt.cluster.messages import Message
from redoubt.cluster.topology import ClusterNode
from redoubt.cluster.yielding import Yielding
from redoubt.resp.replies import OK, ErrorReply, Reply
from redoubt.session import GATE_AWAITING

if TYPE_CHECKING:
    from redoubt.cluster.cluster import Cluster

AWAITING: Final = "awaiting"
YIELDING: Final = "yielding"
RESUMING: Final = "resuming"
ASSIGNED: Final = "assigned"

UNASSIGNED_ERROR: Final = ErrorReply(b"LOADING Redoubt is waiting for its role")


class SyncedHistory:
    """Whose data a replica has: what a full sync from the same master must continue."""

    def __init__(self, master_id: str, epoch: int, replid: str) -> None:
        self.master_id = master_id
        self.epoch = epoch
        self.replid = replid


class ManagedRole:
    """The phase of one node in managed mode; see the module's docstring."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.state = cluster.state
        self.topology = cluster.topology
        self.phase = ASSIGNED
        # The slots and the epoch that nodes.conf gave this node before it started.
        self.boot_slots = 0
        self.boot_epoch = 0
        # Set when a master that had slots before serves again without the data that it had.
        self.data_lost = False
        self.yielding: Yielding | None = None
        self.confirmation: Confirmation | None = None
        self.leaving: Leaving | None = None
        self.switchovers: list[Switchover] = []
        self._history: SyncedHistory | None = None

    @property
    def is_managed(self) -> bool:
        """Say whether managed mode is on."""
        return self.state.config.await_role

    @property
    def is_assigned(self) -> bool:
        """Say whether the node has its role; always true outside managed mode."""
        return self.phase == ASSIGNED

    # The start.

    def boot(self, now_ms: int) -> None:
        """Choose the first phase from what nodes.conf says; called once the map is read."""
        myself = self.topology.myself
        self.boot_slots = myself.slots
        self.boot_epoch = myself.config_epoch
        if not self.is_managed:
            return
        if myself.is_replica and myself.master is not None:
            return
        if not myself.slots:
            self.phase = AWAITING
        elif self._has_heirs():
            self.phase = YIELDING
            self.yielding = Yielding(self.cluster)
            self.yielding.begin(now_ms)
        else:
            self.phase = RESUMING
            self.confirmation = Confirmation(self.state, self.topology)
        self.state.set_gate(GATE_AWAITING, True)

    def _has_heirs(self) -> bool:
        """Say whether somebody may have our data: a replica, or another node of our shard.

        A master that was killed right after its promotion has not heard yet that its siblings follow it.
        """
        myself = self.topology.myself
        others = [node for node in self.topology.nodes.values() if node is not myself and node.is_known]
        return bool(myself.replicas) or any(node.shard_id == myself.shard_id for node in others)

    def may_listen(self) -> bool:
        """Say whether the bus port is open: not while this node wants to be believed dead."""
        return self.phase != YIELDING

    # What happens.

    def tick(self, now_ms: int) -> None:
        """Go on with yielding, asking, remembering whose copy this is."""
        if self.yielding is not None:
            self.yielding.tick(now_ms)
        elif self.confirmation is not None:
            self.confirmation.tick(now_ms)
            self._resume_if_confirmed(now_ms)
        if self.is_managed:
            self._remember_history()
        if self.switchovers:
            self.switchovers = [each for each in self.switchovers if each.tick(now_ms)]

    def link_opened(self, node: ClusterNode, now_ms: int) -> None:
        """Take note that our stream to a node stands."""
        if self.yielding is not None:
            self.yielding.link_opened(node, now_ms)

    def heard(self, node: ClusterNode, message: Message, now_ms: int) -> None:
        """Take a PONG on a stream that we dialled: it may be the successor's."""
        if self.yielding is not None and self.yielding.is_successor(message):
            self._follow(node)

    def claims(self) -> int:
        """Give the slots that our header may claim: none before the role is known."""
        return self.topology.myself.slots if self.is_assigned else 0

    def refusal(self) -> ErrorReply | None:
        """Say why CLUSTER ADDSLOTS, REPLICATE and FAILOVER are refused now, or None."""
        return None if self.is_assigned else UNASSIGNED_ERROR

    def _resume_if_confirmed(self, now_ms: int) -> None:
        assert self.confirmation is not None
        owner_id = self.confirmation.owner()
        if not owner_id:
            return
        self.confirmation.stop()
        owner = self.topology.find(owner_id)
        if owner is self.topology.myself:
            self._assign()
            self._note_lost_data()
            self.cluster.gossip.announce(now_ms)
        elif owner is not None and owner.is_known:
            self._follow(owner)

    def _follow(self, master: ClusterNode) -> None:
        """Become the replica of a master, and let everybody know at once.

        Who does not know it could not elect us; and a master restarted meanwhile would not yield.
        """
        self.cluster.roles.follow(master)
        self._assign()
        self.cluster.gossip.announce(self.state.now_ms)

    def _assign(self) -> None:
        """End the waiting: the role is known."""
        self.phase = ASSIGNED
        if self.yielding is not None:
            self.yielding.end()
        self.yielding = None
        self.confirmation = None
        self.state.set_gate(GATE_AWAITING, False)
        self.cluster.open_bus()
        self.cluster.roles.align()

    def _note_lost_data(self) -> None:
        if self.boot_slots and not any(len(keyspace) for keyspace in self.state.keyspaces):
            self.data_lost = True

    # Orders.

    def raise_lease(self, lease_transitions: int) -> Reply:
        """Remember, durably, that an operator with this many lease transitions leads."""
        if lease_transitions < self.topology.lease_transitions:
            known = self.topology.lease_transitions
            return ErrorReply(b"STALE an operator with %d lease transitions gave orders already" % known)
        if lease_transitions > self.topology.lease_transitions:
            self.topology.lease_transitions = lease_transitions
            self.cluster.file.mark(is_urgent=True)
        return OK

    def order_master(self, epoch_seen: int, lease_transitions: int, is_newest: bool, now_ms: int) -> Reply:
        """Serve the shard's slots under a new epoch, or as a master without slots if the shard is new.

        `is_newest`: the sender has seen every member of the shard, and this copy is the newest.
        """
        myself = self.topology.myself
        refusal = self.raise_lease(lease_transitions)
        if refusal is not OK:
            return refusal
        if self.is_assigned and myself.is_master and (myself.slots or not self.boot_slots):
            return OK
        slots = self._shard_slots()
        refusal = self._stale(slots, epoch_seen) or self._unsynced(slots, is_newest)
        if refusal is not None:
            return refusal
        self.cluster.roles.lead()
        # A master without slots that was restarted has a new history, too: under its old epoch its replicas
        # would refuse the copy of it for ever.
        if slots or self.boot_epoch:
            self.topology.current_epoch = self.topology.config_epoch_max() + 1
            self.topology.set_owners(slots, myself)
            self.cluster.claims.take_epoch(self.topology.current_epoch)
        self._assign()
        self._note_lost_data()
        self.cluster.gossip.announce(now_ms)
        return OK

    def order_replica(self, epoch_seen: int, lease_transitions: int, master_id: str) -> Reply:
        """Follow the node with this id; refused by a master that serves slots."""
        myself = self.topology.myself
        refusal = self.raise_lease(lease_transitions)
        if refusal is not OK:
            return refusal
        master = self.topology.find(master_id)
        if master is None or not master.is_known or master is myself:
            return ErrorReply(b"UNKNOWNNODE I don't know about node " + master_id.encode())
        if not master.is_master:
            return ErrorReply(b"UNKNOWNNODE node " + master_id.encode() + b" is not a master")
        if myself.master is master and self.is_assigned:
            return OK
        if self.is_assigned and myself.slots:
            return ErrorReply(b"STALE this node serves %d slots" % myself.slot_count)
        stale = self._stale(self._shard_slots(), epoch_seen)
        if stale is not None:
            return stale
        self._follow(master)
        return OK

    def _shard_slots(self) -> int:
        """Give the slots of this node's shard, whoever holds them in our map now."""
        head = self.topology.my_master()
        return head.slots & ~self.topology.granted() if head is not None else 0

    def _stale(self, slots: int, epoch_seen: int) -> ErrorReply | None:
        known = max(
            (node.config_epoch for node in self.topology.nodes.values() if node.slots & slots), default=0
        )
        if known > epoch_seen:
            return ErrorReply(b"STALE the slots are held at config epoch %d" % known)
        return None

    def _unsynced(self, slots: int, is_newest: bool) -> ErrorReply | None:
        """Refuse a copy that may lack acknowledged writes, unless the sender has compared all copies."""
        if is_newest or not slots:
            return None
        if self.phase == YIELDING:
            return ErrorReply(b"NOTSYNCED this master was restarted; its replicas come first")
        if self.topology.myself.is_replica and not self.state.replication.is_synced:
            return ErrorReply(b"NOTSYNCED this replica has not completed a sync since it started")
        return None

    # Which full sync a replica accepts.

    def _remember_history(self) -> None:
        """Keep, while in sync, whose history this copy is."""
        replication = self.state.replication
        master = self.topology.myself.master
        if master is None:
            self._history = None
        elif replication.is_synced and replication.link_is_up:
            self._history = SyncedHistory(master.node_id, master.config_epoch, replication.replid)

    def may_full_sync(self, replid: str, replid2: str) -> bool:
        """Refuse to drop a synced copy for another history of the same master under the same epoch.

        A master changes its history together with its epoch; one that offers a new history under the old
        epoch is the same node restarted without its data.
        """
        history = self._history
        master = self.topology.myself.master
        if not self.is_managed or history is None or master is None:
            return True
        if history.master_id != master.node_id or history.epoch != master.config_epoch:
            return True
        return history.replid in (replid, replid2)

    # Leaving.

    def leave(self, now_ms: int, deadline_ms: int) -> bool:
        """Hand over before the process ends; False as soon as nothing is left to do.

        The others are told first, so that nobody chooses this node as a successor.
        """
        bus = self.cluster.bus
        if not bus.mark_flags & messages.MARK_TERMINATING:
            bus.mark_flags |= messages.MARK_TERMINATING
            self.cluster.gossip.announce(now_ms)
        if not self.is_assigned:
            return False
        if self.leaving is None:
            self.cluster.migrations.leaving(now_ms)
            self.leaving = Leaving(self.cluster, deadline_ms, exits=True)
        return self.leaving.tick(now_ms)

    def needs(self) -> str:
        """Say for people what this node waits for; empty if for nothing."""
        if self.phase == AWAITING:
            return "a role from the operator"
        if self.yielding is not None:
            return self.yielding.needs()
        if self.confirmation is not None:
            return "confirmation of its slots: " + self.confirmation.missing()
        if self.topology.myself.is_replica and not self.state.replication.is_synced:
            return "a sync with its master"
        return ""
