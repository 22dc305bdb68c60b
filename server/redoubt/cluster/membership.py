"""Who belongs to the cluster: meeting, learning of nodes by gossip, changed addresses, forgetting.

A node becomes known in one of three ways: CLUSTER MEET names its address, it sends us a MEET, or a known
node speaks about it. The first two begin a handshake under a placeholder id, which ends with its first
PONG. Identity is the id, never the address: an id that speaks from a new address has moved; another id at a
known address means that the old one is gone, and it is suspected at once (Redis would only drop the address,
never suspect it, and hold no election). Forgotten ids are not learned again for a minute.

Called by the cluster object with the pings and pongs that arrive, by CLUSTER MEET and FORGET.
Source: the Redis Cluster specification, "Nodes handshake" and "CLUSTER FORGET"; 7.2 for forgotten nodes.
"""

from __future__ import annotations

import logging
from typing import Final

from redoubt.cluster import topology as flag
from redoubt.cluster.bus import Bus, BusLink
from redoubt.cluster.config_file import ConfigFile
from redoubt.cluster.failures import FailureDetector
from redoubt.cluster.messages import GossipEntry, Message
from redoubt.cluster.topology import ClusterNode, Topology, new_id
from redoubt.state import ServerState

# Redis: a handshake has the node timeout to succeed, at least a second.
HANDSHAKE_MS_MIN: Final = 1_000
# Redis: CLUSTER FORGET must reach all nodes within a minute.
FORGET_MS: Final = 60_000
# Gossip times of the future beyond this are another node's wrong clock. Redis: 500 ms.
CLOCK_SKEW_MS_MAX: Final = 500
# Nodes of one cluster: Redis advises at most 1,000; whoever claims more is not believed.
NODES_MAX: Final = 4_096
_ADOPTED_FLAGS: Final = flag.MASTER | flag.REPLICA | flag.NOFAILOVER
log = logging.getLogger("redoubt")


class Membership:
    """Keeps the set of nodes and their addresses."""

    def __init__(
        self, state: ServerState, topology: Topology, bus: Bus, file: ConfigFile, failures: FailureDetector
    ) -> None:
        self.state = state
        self.topology = topology
        self.bus = bus
        self.file = file
        self.failures = failures

    # Meeting.

    def meet(self, ip: str, port: int, bus_port: int, is_invited: bool, now_ms: int) -> bool:
        """Begin a handshake with an address; False if one is under way. `is_invited`: we send a MEET."""
        for node in self.topology.nodes.values():
            if node.flags & flag.HANDSHAKE and node.ip == ip and node.bus_port == bus_port:
                return False
        if len(self.topology.nodes) >= NODES_MAX:
            return False
        flags = flag.HANDSHAKE | (flag.MEETING if is_invited else 0)
        node = ClusterNode(new_id(self.state.random), flags, now_ms)
        node.ip, node.port, node.bus_port = ip, port, bus_port
        self.topology.add(node)
        return True

    def invited(self, link: BusLink, message: Message, now_ms: int) -> None:
        """An unknown node asks us by MEET to join it: shake hands with it."""
        ip = message.ip or host_of(link.peer)
        if self.meet(ip, message.port, message.bus_port or message.port + 10000, False, now_ms):
            self.file.mark()

    def learn_own_address(self, link: BusLink, is_meet: bool) -> None:
        """Take the address under which others reach us from an accepted stream, unless one is configured."""
        myself = self.topology.myself
        if self.state.config.cluster_announce_ip or not (is_meet or not myself.ip):
            return
        ip = host_of(link.local)
        if ip and ip != myself.ip:
            myself.ip = ip
            self.file.mark()

    def expire_handshakes(self, now_ms: int) -> None:
        """Give up handshakes that take too long."""
        limit_ms = max(self.state.config.cluster_node_timeout, HANDSHAKE_MS_MIN)
        for node in list(self.topology.nodes.values()):
            if node.flags & flag.HANDSHAKE and now_ms - node.created_ms > limit_ms:
                self.remove(node)

    def identify(self, link: BusLink, message: Message, now_ms: int) -> ClusterNode | None:
        """Compare who answers on a stream that we dialled with whom we dialled.

        Returns the node that the message is from; None if it must not be used further.
        """
        node = link.node
        assert node is not None
        if node.flags & flag.HANDSHAKE:
            return self._finish_handshake(node, message, now_ms)
        if node.node_id != message.sender:
            self._lose_address(node, now_ms)
            return None
        return node

    def _finish_handshake(self, node: ClusterNode, message: Message, now_ms: int) -> ClusterNode | None:
        known = self.topology.find(message.sender)
        if known is not None:
            # We know it already: the MEET has only told us where it is now.
            if known is not self.topology.myself:
                self.move(known, node.ip, message.port, message.bus_port)
            self.remove(node)
            return None
        self.topology.rename(node, message.sender)
        node.flags &= ~(flag.HANDSHAKE | flag.MEETING)
        node.flags |= message.flags & _ADOPTED_FLAGS
        node.port = message.port
        self.file.mark()
        return node

    def _lose_address(self, node: ClusterNode, now_ms: int) -> None:
        """Another node answers where this one was: it is gone, and its address is worth nothing."""
        log.warning("Another node answers at the address of %s (%s:%d)", node.node_id, node.ip, node.bus_port)
        node.flags |= flag.NOADDR
        node.ip, node.port, node.bus_port, node.plain_port = "", 0, 0, 0
        self.bus.drop(node)
        self.file.mark()
        if self.state.config.cluster_refused_is_down:
            self.failures.suspect_at_once(node, now_ms)

    # Addresses.

    def update_address(self, node: ClusterNode, link: BusLink, message: Message) -> bool:
        """Note where a known node speaks from; True if it has moved."""
        if not link.is_inbound:
            return False
        ip = message.ip or host_of(link.peer)
        return self.move(node, ip, message.port, message.bus_port or message.port + 10000)

    def move(self, node: ClusterNode, ip: str, port: int, bus_port: int) -> bool:
        """Give a node another address; True if it is another. Our stream to the old one is dropped."""
        if not ip or (node.ip == ip and node.port == port and node.bus_port == bus_port):
            return False
        log.warning("Address of node %s is now %s:%d", node.node_id, ip, port)
        node.ip, node.port, node.bus_port = ip, port, bus_port
        node.flags &= ~flag.NOADDR
        self.bus.drop(node)
        self.topology.version += 1
        self.file.mark()
        return True

    # Gossip.

    def learn(self, entry: GossipEntry, now_ms: int) -> None:
        """Take what a known node says about a third one."""
        if entry.flags & flag.NOADDR or not entry.ip or not entry.port:
            return
        node = self.topology.find(entry.node_id)
        if node is None:
            self._adopt(entry, now_ms)
        elif node is not self.topology.myself:
            self._refresh(node, entry, now_ms)

    def _adopt(self, entry: GossipEntry, now_ms: int) -> None:
        if self.topology.is_forgotten(entry.node_id, now_ms) or len(self.topology.nodes) >= NODES_MAX:
            return
        if not entry.flags & (flag.MASTER | flag.REPLICA):
            return
        node = ClusterNode(entry.node_id, entry.flags & _ADOPTED_FLAGS, now_ms)
        node.ip, node.port, node.bus_port = entry.ip, entry.port, entry.bus_port
        node.plain_port = entry.plain_port
        self.topology.add(node)
        self.file.mark()

    def _refresh(self, node: ClusterNode, entry: GossipEntry, now_ms: int) -> None:
        """Believe a fresher pong that somebody else got, and the address of a node that only we miss."""
        is_well = not entry.flags & (flag.PFAIL | flag.FAILED)
        if is_well and not node.is_suspected and not node.ping_sent_ms and not node.reports:
            pong_ms = entry.pong_received_s * 1000
            if node.pong_received_ms < pong_ms <= now_ms + CLOCK_SKEW_MS_MAX:
                node.pong_received_ms = pong_ms
        if is_well and node.is_suspected:
            self.move(node, entry.ip, entry.port, entry.bus_port)

    # Forgetting.

    def forget(self, node: ClusterNode, now_ms: int) -> None:
        """Remove a node and refuse to learn of it again for a minute; the others are told with our pings."""
        self.topology.forget(node.node_id, now_ms + FORGET_MS)
        self.remove(node)

    def told_forgotten(self, pairs: list[tuple[str, int]], now_ms: int) -> None:
        """Forget what a peer has forgotten, unless it is ourselves or our master (7.2's rule)."""
        myself = self.topology.myself
        for node_id, seconds in pairs:
            node = self.topology.find(node_id)
            if node is None or node is myself or node is myself.master or not seconds:
                continue
            self.topology.forget(node_id, now_ms + min(seconds * 1000, FORGET_MS))
            self.remove(node)

    def remove(self, node: ClusterNode) -> None:
        """Drop a node with its streams."""
        self.bus.drop_both(node)
        self.topology.remove(node)
        self.file.mark()


def host_of(address: str) -> str:
    """Take the host of `host:port`; an IPv6 host may stand in brackets."""
    return address.rpartition(":")[0].strip("[]")
