"""The cluster bus: streams between this node and every other one, and what goes out on them.

Each node dials each other node and keeps that stream: it sends its own messages on it and reads nothing
there but the PONGs to its own PINGs. What the others send arrives on the streams that they dialled. So the
n-th PONG on a dialled stream answers the n-th PING, and its sending time says since when at the latest the
other is known to be alive: `BusLink.pings_sent_ms` keeps those times.

`Bus` owns the streams, frames and decodes what arrives and hands it to one `BusHandler` (the cluster
object), and fills in the header of what leaves. It decides nothing about nodes.

Source: "The cluster bus" in the Redis Cluster specification.
"""

from __future__ import annotations

from typing import Final

from redoubt.cluster import messages
from redoubt.cluster.messages import BadPacket, Message
from redoubt.cluster.packets import PacketReader
from redoubt.cluster.topology import WIRE_FLAGS, ClusterNode, Topology
from redoubt.interfaces import LANE_BUS, Dial, Link, LinkOwner
from redoubt.state import ServerState

# Streams from strangers (no known node has spoken on them) that may stand at once, and for how long.
STRANGERS_MAX: Final = 256
STRANGER_IDLE_MS_MAX: Final = 15_000
# A connect that is neither taken nor refused is given up after this share of the node timeout.
DIAL_TIMEOUT_DIVISOR: Final = 2
DIAL_TIMEOUT_MS_MIN: Final = 200
# What a stream may bring while a script runs, to be taken in afterwards; more is left in the kernel.
POSTPONED_BYTES_MAX: Final = 1024 * 1024
# PINGs whose answer is awaited on one stream; a peer that answers none of so many is silent anyway.
UNANSWERED_MAX: Final = 1_000


class BusLink(Link):
    """One stream of the bus. `node` is whom we dialled, or who has spoken on a stream that we accepted."""

    def __init__(self, owner: LinkOwner, node: ClusterNode | None, is_inbound: bool, now_ms: int) -> None:
        super().__init__(owner, LANE_BUS)
        self.node = node
        self.is_inbound = is_inbound
        self.is_connected = is_inbound
        self.created_ms = now_ms
        self.reader = PacketReader()
        self.pings_sent_ms: list[int] = []
        self.pongs_received = 0
        self.sent_bytes_now = 0
        # Packets that arrived while a script ran.
        self.postponed: list[bytes] = []
        self.postponed_bytes = 0

    def buffered_bytes(self) -> int:
        """Count what waits: what is to leave at the end of this turn, and what has not left yet."""
        return sum([len(piece) for piece in self.out]) + self.unsent_bytes


class BusHandler:
    """Receives what the bus has understood. The one implementation is `redoubt.cluster.cluster`."""

    def link_opened(self, link: BusLink, node: ClusterNode, now_ms: int) -> None:
        """Take note that the stream to a node stands."""
        raise AssertionError

    def link_lost(self, node: ClusterNode, was_alive: bool, now_ms: int) -> None:
        """Take note that the stream to a node has ended; `was_alive`: it had answered on it."""
        raise AssertionError

    def refused(self, node: ClusterNode, now_ms: int) -> None:
        """Take note that a node's kernel refuses our connection: nobody listens there."""
        raise AssertionError

    def packet(self, link: BusLink, message: Message, now_ms: int) -> None:
        """Take one decoded message."""
        raise AssertionError

    def pinged_while_busy(self, link: BusLink, now_ms: int) -> None:
        """Answer a PING of a known node, and do no more: a script is running."""
        raise AssertionError

    def settle(self, now_ms: int) -> None:
        """Do what the messages of one reading made necessary: state, nodes.conf."""
        raise AssertionError


class Bus(LinkOwner):
    """All streams of one node."""

    def __init__(self, state: ServerState, topology: Topology, handler: BusHandler) -> None:
        self.state = state
        self.topology = topology
        self.handler = handler
        self.inbound: list[BusLink] = []
        # Streams to client ports whose bytes, too, must not leave before nodes.conf is durable.
        self.bound_links: list[Link] = []
        self.sent = [0] * messages.KINDS
        self.received_count = [0] * messages.KINDS
        self.links_over_limit = 0
        # What every header carries beside the map.
        self.mark_flags = 0
        self.is_paused_for_handover = False
        self.state_is_ok = False
        # Managed mode without a role: our slots stand in the map, but no header claims them.
        self.hides_slots = False

    # Streams.

    def dial(self, node: ClusterNode, now_ms: int) -> None:
        """Open our stream to a node, dropping the one that stands."""
        self.drop(node)
        timeout_ms = max(self.state.config.cluster_node_timeout // DIAL_TIMEOUT_DIVISOR, DIAL_TIMEOUT_MS_MIN)
        link = BusLink(self, node, False, now_ms)
        node.link = link
        self.state.effects.append(Dial(link, node.ip, node.bus_port, timeout_ms))

    def drop(self, node: ClusterNode) -> None:
        """Close our stream to a node."""
        link = node.link
        if link is not None:
            node.link = None
            link.node = None
            self.state.close(link)

    def drop_both(self, node: ClusterNode) -> None:
        """Close our stream to a node and the one it dialled (it is being removed)."""
        self.drop(node)
        inbound = node.inbound
        if inbound is not None:
            node.inbound = None
            inbound.node = None
            self.state.close(inbound)

    def accepted(self, peer: str, local: str, now_ms: int) -> BusLink:
        """Make the link of a stream that the bus listener accepted; a crowd of strangers is turned away."""
        link = BusLink(self, None, True, now_ms)
        link.peer = peer
        link.local = local
        self.inbound.append(link)
        if sum(1 for other in self.inbound if other.node is None) > STRANGERS_MAX:
            self.state.close(link)
        return link

    def expire_strangers(self, now_ms: int) -> None:
        """Close accepted streams on which no known node has spoken for long."""
        for link in self.inbound:
            if link.node is None and now_ms - link.created_ms > STRANGER_IDLE_MS_MAX:
                self.state.close(link)

    def limit_buffers(self) -> None:
        """Close the streams that hold more than cluster-link-sendbuf-limit unsent; called each tick."""
        limit = self.state.config.cluster_link_sendbuf_limit
        if limit:
            dialled = [node.link for node in self.topology.nodes.values() if node.link is not None]
            for link in [*dialled, *self.inbound]:
                if link.unsent_bytes > limit and not link.is_closed:
                    self.links_over_limit += 1
                    self.state.close(link)

    def bind_inbound(self, link: BusLink, node: ClusterNode) -> None:
        """Remember that a known node speaks on this accepted stream; its older one is closed."""
        if link.node is node:
            return
        old = node.inbound
        if old is not None and old is not link:
            old.node = None
            self.state.close(old)
        if link.node is not None and link.node.inbound is link:
            link.node.inbound = None
        link.node = node
        node.inbound = link
        link.reader.may_publish = True

    # LinkOwner.

    def opened(self, link: Link, now_ms: int) -> None:
        assert isinstance(link, BusLink)
        if link.node is not None:
            link.is_connected = True
            link.created_ms = now_ms
            self.handler.link_opened(link, link.node, now_ms)
            self.handler.settle(now_ms)

    def failed(self, link: Link, is_refused: bool, now_ms: int) -> None:
        assert isinstance(link, BusLink)
        link.is_closed = True
        node = link.node
        if node is None:
            return
        link.node = None
        node.link = None
        if is_refused:
            self.handler.refused(node, now_ms)
        self.handler.settle(now_ms)

    def received(self, link: Link, data: bytes, now_ms: int) -> None:
        assert isinstance(link, BusLink)
        if link.is_closed:
            return
        try:
            packets = link.reader.feed(data)
            if link.postponed:
                packets = link.postponed + packets
                link.postponed = []
                link.postponed_bytes = 0
            for packet in packets:
                message = messages.decode(packet)
                if message is None:
                    continue
                self.received_count[message.kind] += 1
                self.handler.packet(link, message, now_ms)
                if link.is_closed:
                    break
        except BadPacket:
            self.state.close(link)
        self.handler.settle(now_ms)

    def received_while_busy(self, link: BusLink, data: bytes, now_ms: int) -> None:
        """Answer the PINGs of a known node, and keep the rest until `received` is called again.

        The others see that this node lives. What they say must not change the map, the roles or the data
        under a running script; the claims and the gossip of an answered PING come again with the next one.
        """
        node = link.node
        try:
            for packet in link.reader.feed(data):
                message = messages.decode(packet)
                is_ping = message is not None and message.kind == messages.PING
                if message is not None and is_ping and node is not None and message.sender == node.node_id:
                    self.received_count[messages.PING] += 1
                    self.handler.pinged_while_busy(link, now_ms)
                else:
                    link.postponed.append(packet)
                    link.postponed_bytes += len(packet)
        except BadPacket:
            self.state.close(link)

    def closed(self, link: Link, now_ms: int) -> None:
        assert isinstance(link, BusLink)
        link.is_closed = True
        link.is_connected = False
        if link.is_inbound:
            if link in self.inbound:
                self.inbound.remove(link)
            if link.node is not None and link.node.inbound is link:
                link.node.inbound = None
            return
        node = link.node
        if node is not None and node.link is link:
            node.link = None
            self.handler.link_lost(node, link.pongs_received > 0, now_ms)
            self.handler.settle(now_ms)

    # Sending.

    def header(self, kind: int) -> Message:
        """Begin a message: who we are, our role, epochs, slots (a replica shows its master's) and offset."""
        topology = self.topology
        myself = topology.myself
        config = self.state.config
        head = topology.my_master() or myself
        message = Message(kind, myself.node_id)
        message.port = myself.port
        message.plain_port = myself.plain_port
        message.bus_port = myself.bus_port
        message.ip = config.cluster_announce_ip
        message.flags = myself.flags & WIRE_FLAGS
        message.current_epoch = topology.current_epoch
        # An epoch without its slots would keep others from believing an UPDATE about them.
        message.config_epoch = 0 if self.hides_slots else head.config_epoch
        message.slots = 0 if self.hides_slots else head.slots & ~topology.granted()
        if myself.is_replica and myself.master is not None:
            message.master_id = myself.master.node_id
        message.offset = self.state.replication.offset
        message.state_is_ok = self.state_is_ok
        message.mflags = messages.EXTENSIONS if kind in (messages.PING, messages.PONG, messages.MEET) else 0
        if myself.is_master and self.is_paused_for_handover:
            message.mflags |= messages.MASTER_PAUSED
        message.is_redoubt = True
        message.mark_flags = self.mark_flags
        if self.state.replication.is_synced:
            message.mark_flags |= messages.MARK_SYNCED
        message.data_epoch = self.state.replication.data_epoch
        return message

    def send(self, link: BusLink, message: Message, now_ms: int) -> None:
        """Send on a given stream; nothing happens where it does not stand."""
        if link.is_closed or not link.is_connected:
            return
        if not link.is_inbound and message.kind in (messages.PING, messages.MEET):
            if len(link.pings_sent_ms) >= UNANSWERED_MAX:
                return
            link.pings_sent_ms.append(now_ms)
        self.sent[message.kind] += 1
        self._push(link, messages.encode(message))

    def send_to(self, node: ClusterNode, message: Message, now_ms: int) -> None:
        """Send on the stream that we dialled to a node."""
        link = self._way_to(node, message.kind)
        if link is not None:
            self.send(link, message, now_ms)

    def broadcast(self, message: Message, now_ms: int) -> None:
        """Send one message, encoded once, to every known node."""
        packet = messages.encode(message)
        for node in self.topology.nodes.values():
            link = self._way_to(node, message.kind)
            if node.is_known and link is not None and link.is_connected and not link.is_closed:
                self.sent[message.kind] += 1
                self._push(link, packet)

    def _way_to(self, node: ClusterNode, kind: int) -> BusLink | None:
        """Choose the stream to a node: ours, or for a vote's request the one that it dialled.

        A restarted master that yields keeps its bus port closed and still has a vote.
        """
        if kind == messages.AUTH_REQUEST and (node.link is None or not node.link.is_connected):
            return node.inbound
        return node.link

    def _push(self, link: BusLink, packet: bytes) -> None:
        self.state.send(link, packet)

    def buffered_bytes(self) -> int:
        """Count what waits to be sent on all streams."""
        dialled = [node.link for node in self.topology.nodes.values() if node.link is not None]
        return sum([link.buffered_bytes() for link in [*dialled, *self.inbound]])

    def drop_unsent(self) -> None:
        """Forget what this loop turn wanted to send: what it promised could not be made durable."""
        for node in self.topology.nodes.values():
            if node.link is not None:
                node.link.out.clear()
        for link in self.inbound:
            link.out.clear()
        for bound in self.bound_links:
            bound.out.clear()
