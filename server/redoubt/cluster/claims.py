"""Who owns which slots: what headers claim, which claim wins, and how epochs stay unique.

Every header claims slots under a config epoch. For each slot the claim with the highest epoch wins, without
a vote: that is how a failover, a moved slot or a healed partition spreads. Who claims under an epoch that
has been overtaken is told so by an UPDATE. A master whose last slot is taken, and its replicas, follow the
one who took it. Two masters under one epoch can disagree for ever; the one with the smaller id then
takes a new epoch, without asking anybody.

Called by the cluster object with each header; elections and CLUSTER SETSLOT use `bump_epoch`. What a node
becomes (master, replica) is done by `roles.py`. Source: the Redis Cluster specification, "UPDATE messages"
and "Hash slots configuration propagation".
"""

from __future__ import annotations

import logging

from redoubt.cluster import messages
from redoubt.cluster.bus import Bus
from redoubt.cluster.config_file import ConfigFile
from redoubt.cluster.messages import Message
from redoubt.cluster.roles import Roles
from redoubt.cluster.slot_sweeper import SlotSweeper
from redoubt.cluster.topology import ClusterNode, Topology
from redoubt.state import ServerState

log = logging.getLogger("redoubt")


class SlotClaims:
    """Judges claims to slots and to epochs."""

    def __init__(
        self,
        state: ServerState,
        topology: Topology,
        bus: Bus,
        file: ConfigFile,
        roles: Roles,
        sweeper: SlotSweeper,
    ) -> None:
        self.state = state
        self.topology = topology
        self.bus = bus
        self.file = file
        self.roles = roles
        self.sweeper = sweeper

    # What a header says.

    def apply_role(self, sender: ClusterNode, message: Message) -> None:
        """Note whether the sender is a master or whose replica it is."""
        topology = self.topology
        if not message.master_id:
            if not sender.is_master:
                topology.set_master(sender)
                self.file.mark()
            return
        master = topology.find(message.master_id)
        if master is sender:
            return
        if sender.is_master or sender.master is not master or not sender.is_replica:
            topology.set_replica(sender, master)
            self.file.mark()
        if master is not None and topology.myself.master is sender and master is not topology.myself:
            # Our master has become a replica: its master is ours.
            self.roles.follow(master)

    def apply_slots(self, sender: ClusterNode, message: Message, now_ms: int) -> None:
        """Judge the slots that a header claims, and correct who is behind."""
        head = sender if sender.is_master else sender.master
        if head is None or message.slots == head.slots:
            return
        if sender.is_master:
            self.adopt(sender, message.config_epoch, message.slots, now_ms)
        newer = self.overtaker(message.slots, message.config_epoch, head)
        if newer is not None:
            self.send_update(sender, newer, now_ms)

    def overtaker(self, claimed: int, epoch: int, claimant: ClusterNode) -> ClusterNode | None:
        """Find an owner of claimed slots whose epoch is higher; None: the claim is up to date."""
        for node in self.topology.voters():
            if node.config_epoch > epoch and node.slots & claimed and node is not claimant:
                return node
        return None

    def send_update(self, receiver: ClusterNode, owner: ClusterNode, now_ms: int) -> None:
        """Tell a node which slots another one owns, under which epoch."""
        message = self.bus.header(messages.UPDATE)
        message.about = owner.node_id
        message.about_epoch = owner.config_epoch
        message.about_slots = owner.slots
        self.bus.send_to(receiver, message, now_ms)

    def tell_heir(self, candidate: ClusterNode, message: Message, now_ms: int) -> None:
        """Tell a candidate what its dead master owned, if that died before its last claim was heard."""
        master = candidate.master
        if master is not None and master.config_epoch > message.config_epoch:
            self.send_update(candidate, master, now_ms)

    def told_update(self, message: Message, now_ms: int) -> None:
        """Take an UPDATE about a known node under a newer epoch, or under one whose slots we do not know."""
        node = self.topology.find(message.about)
        if node is None or node.config_epoch > message.about_epoch or node is self.topology.myself:
            return
        if node.config_epoch == message.about_epoch and not message.about_slots & ~node.slots:
            return
        self.topology.set_master(node)
        node.config_epoch = message.about_epoch
        self.topology.current_epoch = max(self.topology.current_epoch, message.about_epoch)
        self.file.mark(is_urgent=True)
        self.adopt(node, message.about_epoch, message.about_slots, now_ms)

    # Which claim wins.

    def adopt(self, claimant: ClusterNode, epoch: int, claimed: int, now_ms: int) -> None:
        """Give a master the claimed slots that nobody holds under the same or a higher epoch."""
        topology = self.topology
        myself = topology.myself
        if claimant is myself:
            return
        mine_before = topology.my_master()
        won = self._winnable(claimant, epoch, claimed)
        if not won:
            return
        lost_by_my_shard = won & mine_before.slots if mine_before is not None else 0
        lost_by_me = won & myself.slots
        topology.set_owners(won, claimant)
        for slot in [slot for slot in topology.migrating if won >> slot & 1]:
            del topology.migrating[slot]
        self.file.mark()
        if mine_before is None or not lost_by_my_shard:
            return
        may_move = self.state.config.cluster_allow_replica_migration or lost_by_my_shard == claimant.slots
        heir = claimant if may_move else self._heir()
        if not mine_before.slots and heir is not None:
            # All slots of our shard went to one node, or the rest to its heir: that is our master now.
            self.roles.follow(heir)
        elif lost_by_me:
            self.sweeper.add(lost_by_me)

    def _heir(self) -> ClusterNode | None:
        """Find who serves for our shard now. An heir may own more than we did, or we gave slots to others."""
        myself = self.topology.myself
        for node in self.topology.voters():
            if node is not myself and node.shard_id == myself.shard_id != "":
                return node
        return None

    def _winnable(self, claimant: ClusterNode, epoch: int, claimed: int) -> int:
        """Select from the claimed slots those that the claim wins. Slots being imported stay with us."""
        won = claimed & ~claimant.slots
        for slot in self.topology.importing:
            won &= ~(1 << slot)
        for node in self.topology.nodes.values():
            if node is not claimant and node.slots and node.config_epoch >= epoch:
                won &= ~node.slots
        return won

    # Epochs.

    def resolve_collision(self, sender: ClusterNode, message: Message) -> None:
        """Take a new epoch if another master has ours and our id is the smaller one."""
        myself = self.topology.myself
        if not sender.is_master or not myself.is_master or message.config_epoch != myself.config_epoch:
            return
        if sender.node_id <= myself.node_id or self.topology.grants:
            return  # a higher epoch of ours would beat the claim to slots that we have given away
        self.topology.current_epoch += 1
        self.take_epoch(self.topology.current_epoch)

    def bump_epoch(self) -> bool:
        """Take the highest epoch without consensus, unless we hold it already alone."""
        myself = self.topology.myself
        epoch_max = self.topology.config_epoch_max()
        if myself.config_epoch and myself.config_epoch == epoch_max:
            return False
        self.topology.current_epoch = epoch_max + 1
        self.take_epoch(self.topology.current_epoch)
        return True

    def take_epoch(self, epoch: int) -> None:
        """Serve under this config epoch from now on: it marks our claims and our data."""
        myself = self.topology.myself
        log.info("configEpoch set to %d", epoch)
        myself.config_epoch = epoch
        self.topology.current_epoch = max(self.topology.current_epoch, epoch)
        self.file.mark(is_urgent=True)
        if myself.is_master:
            self.state.replication.set_data_epoch(epoch)
