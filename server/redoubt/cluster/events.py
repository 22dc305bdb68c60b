"""What the bus brings and what follows from it, message by message.

The order within one message is Redis's: what the header proves about its sender (it lives, its epochs, its
offset), the answer to a ping, who answers on a stream that we dialled, role and slots, then what it says
about third nodes. Messages of strangers do nothing but MEET. An UPDATE or a vote of a node that is not
known is not believed.

`cluster.py` owns the parts that are called here; the bus calls this. Source: the Redis Cluster
specification, "Heartbeat and gossip messages".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from redoubt.cluster import messages
from redoubt.cluster import topology as flag
from redoubt.cluster.bus import BusHandler, BusLink
from redoubt.cluster.failures import FailureListener
from redoubt.cluster.messages import Message
from redoubt.cluster.topology import ClusterNode

if TYPE_CHECKING:
    from redoubt.cluster.cluster import Cluster


class ClusterEvents(BusHandler):
    """Hands what the bus understood to the parts of the cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    # Streams.

    def link_opened(self, link: BusLink, node: ClusterNode, now_ms: int) -> None:
        self.cluster.gossip.opened(link, node, now_ms)
        self.cluster.role.link_opened(node, now_ms)

    def link_lost(self, node: ClusterNode, was_alive: bool, now_ms: int) -> None:
        """Dial again at once: if the process is gone its kernel says so now."""
        if was_alive and not node.flags & (flag.NOADDR | flag.HANDSHAKE):
            self.cluster.gossip.dial(node, now_ms)

    def refused(self, node: ClusterNode, now_ms: int) -> None:
        self.cluster.failures.refused(node, now_ms)

    def pinged_while_busy(self, link: BusLink, now_ms: int) -> None:
        self.cluster.gossip.pong(link, link.node, now_ms)

    def settle(self, now_ms: int) -> None:
        self.cluster.settle(now_ms)

    # Messages.

    def packet(self, link: BusLink, message: Message, now_ms: int) -> None:
        cluster = self.cluster
        sender = cluster.topology.find(message.sender)
        if sender is not None and (not sender.is_known or sender is cluster.topology.myself):
            sender = None
        if sender is not None:
            self._note(sender, message, now_ms)
            if link.is_inbound:
                cluster.bus.bind_inbound(link, sender)
        kind = message.kind
        if kind in (messages.PING, messages.MEET):
            self._pinged(link, sender, message, now_ms)
        elif kind == messages.PONG:
            self._ponged(link, sender, message, now_ms)
        elif sender is not None:
            self._ordered(sender, message, now_ms)

    def _note(self, sender: ClusterNode, message: Message, now_ms: int) -> None:
        """Note what the header of a known node proves."""
        cluster = self.cluster
        topology = cluster.topology
        sender.heard_ms = now_ms
        sender.is_redoubt = message.is_redoubt
        sender.is_terminating = bool(message.mark_flags & messages.MARK_TERMINATING)
        sender.is_synced = not message.is_redoubt or bool(message.mark_flags & messages.MARK_SYNCED)
        sender.data_epoch = message.data_epoch
        if message.shard_id or message.is_redoubt:
            # Redis 7.0 reads host names only and logs a warning for anything else; 7.2 sends its shard id.
            sender.understands_extensions = True
        if message.current_epoch > topology.current_epoch:
            topology.current_epoch = message.current_epoch
            cluster.file.mark()
        if message.config_epoch > sender.config_epoch and not message.master_id:
            sender.config_epoch = message.config_epoch
            cluster.file.mark()
        sender.offset = message.offset
        sender.offset_ms = now_ms
        if topology.myself.master is sender:
            cluster.handover.heard_master(message, now_ms)

    def _pinged(self, link: BusLink, sender: ClusterNode | None, message: Message, now_ms: int) -> None:
        """Answer a PING or MEET, then take what it says."""
        cluster = self.cluster
        is_meet = message.kind == messages.MEET
        if link.is_inbound:
            cluster.membership.learn_own_address(link, is_meet)
        mark_flags = 0
        if sender is not None and not message.master_id:
            overtaker = cluster.claims.overtaker(message.slots, message.config_epoch, sender)
            mark_flags = messages.MARK_STALE_CLAIM if overtaker is not None else 0
        cluster.gossip.pong(link, sender, now_ms, mark_flags)
        if sender is None:
            if is_meet and message.sender != cluster.topology.myself.node_id:
                cluster.membership.invited(link, message, now_ms)
            return
        if link.is_inbound and cluster.membership.update_address(sender, link, message):
            cluster.roles.align()
        self._take(sender, message, now_ms)

    def _ponged(self, link: BusLink, sender: ClusterNode | None, message: Message, now_ms: int) -> None:
        """Take a PONG: the answer to our ping, or, on a stream that the sender dialled, its announcement."""
        cluster = self.cluster
        if link.is_inbound:
            if sender is not None:
                self._take(sender, message, now_ms)
            return
        sent_ms = link.pings_sent_ms.pop(0) if link.pings_sent_ms else 0
        link.pongs_received += 1
        node = cluster.membership.identify(link, message, now_ms) if link.node is not None else None
        if node is None:
            return
        if sender is None:
            self._note(node, message, now_ms)
        node.pong_received_ms = now_ms
        node.ping_sent_ms = 0
        if not message.mark_flags & messages.MARK_STALE_CLAIM:
            node.answered_ms = max(node.answered_ms, sent_ms)
        if cluster.topology.myself.master is node:
            cluster.handover.master_answered(message, sent_ms, now_ms)
        self._take(node, message, now_ms)
        cluster.failures.answered(node, now_ms)
        cluster.watch.answered(now_ms)
        cluster.role.heard(node, message, now_ms)
        cluster.election.tick_if_comparing(now_ms)

    def _take(self, sender: ClusterNode, message: Message, now_ms: int) -> None:
        """Take role, slots, third nodes and names from a ping or pong of a known node."""
        cluster = self.cluster
        if bool(message.flags & flag.NOFAILOVER) != bool(sender.flags & flag.NOFAILOVER):
            sender.flags ^= flag.NOFAILOVER
        cluster.claims.apply_role(sender, message)
        cluster.claims.apply_slots(sender, message, now_ms)
        cluster.claims.resolve_collision(sender, message)
        known = len(cluster.topology.nodes)
        for entry in message.gossip:
            cluster.failures.report(sender, entry, now_ms)
            cluster.membership.learn(entry, now_ms)
        if len(cluster.topology.nodes) > known:
            # A replica that has not heard its new master knows none of its slots and could not succeed it.
            cluster.gossip.dial_all(now_ms)
        cluster.membership.told_forgotten(message.forgotten, now_ms)
        hostname = message.hostname or ""
        human_name = message.human_name or ""
        if hostname != sender.hostname or human_name != sender.human_name:
            sender.hostname = hostname
            sender.human_name = human_name
            cluster.file.mark()
        if message.shard_id and message.shard_id != sender.shard_id:
            sender.shard_id = message.shard_id
            cluster.file.mark()
            self._share_shard(sender)

    def _share_shard(self, sender: ClusterNode) -> None:
        """A replica's shard is its master's, also where the replica cannot say so."""
        myself = self.cluster.topology.myself
        if myself.master is sender:
            myself.shard_id = sender.shard_id

    def _ordered(self, sender: ClusterNode, message: Message, now_ms: int) -> None:
        """Take a message that only a known node may send."""
        cluster = self.cluster
        kind = message.kind
        if kind == messages.FAIL:
            cluster.failures.told_failed(sender, message.about, now_ms)
        elif kind == messages.UPDATE:
            cluster.claims.told_update(message, now_ms)
        elif kind == messages.AUTH_REQUEST:
            # Its last ping may not have reached us since it became a replica; the header says so, too.
            cluster.claims.apply_role(sender, message)
            cluster.claims.tell_heir(sender, message, now_ms)
            cluster.voter.requested(sender, message, now_ms)
            cluster.election.heard_rival(sender, message.current_epoch)
        elif kind == messages.AUTH_ACK:
            cluster.election.voted(sender, message, now_ms)
        elif kind == messages.MFSTART:
            cluster.handover.requested(sender, now_ms)
        elif kind == messages.PUBLISH:
            cluster.state.pubsub.publish(message.channel, message.payload)
        elif kind == messages.PUBLISH_SHARD:
            cluster.state.pubsub.publish_to_shard(message.channel, message.payload)


class VerdictListener(FailureListener):
    """Hands the verdicts of the failure detector to elections, votes and state."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def node_failed(self, node: ClusterNode, now_ms: int) -> None:
        self.cluster.voter.node_failed(node, now_ms)
        if self.cluster.topology.myself.master is node:
            self.cluster.election.tick(now_ms)

    def suspicion_changed(self, now_ms: int) -> None:
        self.cluster.availability.update(now_ms)
