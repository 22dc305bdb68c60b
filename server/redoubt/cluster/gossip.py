"""Pings: when they are sent, what they say about third nodes, and what the answers prove.

Each second one of five random nodes is pinged, the one not heard of for longest; whoever has not answered
for half the node timeout is pinged anyway, so that every node is probed within a timeout at any size. Each
ping carries entries about a tenth of the nodes (at least three) and about every suspected node, so reports
of failures reach a majority within the validity of a report.

The cluster object calls `tick` every 100 ms; failure detection, elections and membership ask for pings out
of turn. What arrives is judged elsewhere. Source: the Redis Cluster specification, "Heartbeat and gossip
messages"; the constants are those of Redis's clusterCron.
"""

from __future__ import annotations

from typing import Final

from redoubt.cluster import messages
from redoubt.cluster import topology as flag
from redoubt.cluster.bus import Bus, BusLink
from redoubt.cluster.messages import GossipEntry, Message
from redoubt.cluster.topology import ClusterNode, Topology
from redoubt.state import ServerState

# Redis: of five random nodes, each second, the one not heard of for longest.
RANDOM_NODES: Final = 5
RANDOM_PING_MS: Final = 1_000
# Redis: entries about a tenth of the nodes, at least three.
ENTRIES_SHARE: Final = 10
ENTRIES_MIN: Final = 3
# Suspected nodes named in one ping: the most that fit the reader's limit with room for the others.
SUSPECTED_ENTRIES_MAX: Final = 2_048
FORGOTTEN_ENTRIES_MAX: Final = 64


class Gossip:
    """Sends this node's pings and pongs."""

    def __init__(self, state: ServerState, topology: Topology, bus: Bus) -> None:
        self.state = state
        self.topology = topology
        self.bus = bus
        self._random_ping_ms = 0

    # When.

    def tick(self, now_ms: int) -> None:
        """Dial whoever has no stream, ping whoever is due, and give up streams that are stuck."""
        self.dial_all(now_ms)
        if now_ms - self._random_ping_ms >= RANDOM_PING_MS:
            self._random_ping_ms = now_ms
            self._ping_one_of_five(now_ms)
        timeout_ms = self.state.config.cluster_node_timeout
        for node in list(self.topology.nodes.values()):
            link = node.link
            if link is None or not link.is_connected or not node.is_known:
                continue
            if self._is_stuck(node, link, now_ms):
                self.bus.drop(node)
            elif not node.ping_sent_ms and now_ms - node.pong_received_ms > timeout_ms // 2:
                self.ping(node, now_ms)

    def dial_all(self, now_ms: int) -> None:
        """Dial whoever has no stream."""
        for node in list(self.topology.nodes.values()):
            if node.link is None and not node.flags & (flag.MYSELF | flag.NOADDR):
                self.dial(node, now_ms)

    def dial(self, node: ClusterNode, now_ms: int) -> None:
        """Connect to a node; the attempt counts as a ping, or a silent host would never be missed."""
        self.bus.dial(node, now_ms)
        if not node.ping_sent_ms:
            node.ping_sent_ms = now_ms

    def _ping_one_of_five(self, now_ms: int) -> None:
        candidates = [node for node in self.topology.nodes.values() if self._may_be_pinged(node)]
        if not candidates:
            return
        sample = self.state.random.sample(candidates, min(RANDOM_NODES, len(candidates)))
        self.ping(min(sample, key=_pong_received_ms), now_ms)

    def _may_be_pinged(self, node: ClusterNode) -> bool:
        if node.flags & (flag.MYSELF | flag.HANDSHAKE) or node.ping_sent_ms:
            return False
        return node.link is not None and node.link.is_connected

    def _is_stuck(self, node: ClusterNode, link: BusLink, now_ms: int) -> bool:
        """Say whether a new stream may help: half the timeout without any sign on an old one."""
        timeout_ms = self.state.config.cluster_node_timeout
        return (
            now_ms - link.created_ms > timeout_ms
            and node.ping_sent_ms > 0
            and now_ms - node.ping_sent_ms > timeout_ms // 2
            and now_ms - node.heard_ms > timeout_ms // 2
        )

    # What.

    def opened(self, link: BusLink, node: ClusterNode, now_ms: int) -> None:
        """Greet on a stream that now stands; the first ping to someone new is a MEET."""
        self.ping(node, now_ms, messages.MEET if node.flags & flag.MEETING else messages.PING)
        node.flags &= ~flag.MEETING

    def ping(self, node: ClusterNode, now_ms: int, kind: int = messages.PING, mark_flags: int = 0) -> None:
        """Send a PING or MEET on our stream to a node.

        `ping_sent_ms` keeps the time of the first ping without an answer: neither asking again nor
        reconnecting is a sign of life.
        """
        link = node.link
        if link is None or not link.is_connected:
            return
        if not node.ping_sent_ms:
            node.ping_sent_ms = now_ms
        message = self.message(kind, node, now_ms)
        message.mark_flags |= mark_flags
        self.bus.send(link, message, now_ms)

    def pong(self, link: BusLink, receiver: ClusterNode | None, now_ms: int, mark_flags: int = 0) -> None:
        """Answer a PING or MEET on the stream it came on."""
        message = self.message(messages.PONG, receiver, now_ms)
        message.mark_flags |= mark_flags
        self.bus.send(link, message, now_ms)

    def announce(self, now_ms: int, is_shard_only: bool = False) -> None:
        """Tell every node, or those of this shard, of a change by an unasked PONG."""
        myself = self.topology.myself
        for node in self.topology.sorted_nodes():
            if node is myself or not node.is_known:
                continue
            if is_shard_only and not self.topology.is_same_shard(node, myself):
                continue
            self.bus.send_to(node, self.message(messages.PONG, node, now_ms), now_ms)

    def message(self, kind: int, receiver: ClusterNode | None, now_ms: int) -> Message:
        """Make a PING, PONG or MEET with entries about others and the extensions that the receiver reads."""
        message = self.bus.header(kind)
        message.gossip = [_entry(node) for node in self._subjects(receiver)]
        config = self.state.config
        message.hostname = config.cluster_announce_hostname or None
        if receiver is not None and receiver.understands_extensions:
            message.human_name = config.cluster_announce_human_nodename or None
            message.shard_id = self.topology.myself.shard_id
            forgotten = list(self.topology.forgotten.items())[:FORGOTTEN_ENTRIES_MAX]
            message.forgotten = [
                (node_id, (until_ms - now_ms) // 1000)
                for node_id, until_ms in forgotten
                if until_ms - now_ms >= 1000
            ]
        return message

    def _subjects(self, receiver: ClusterNode | None) -> list[ClusterNode]:
        """Choose whom to speak about: some random nodes and every suspected one."""
        nodes = self.topology.nodes
        suspected: list[ClusterNode] = []
        others: list[ClusterNode] = []
        for node in nodes.values():
            if node.flags & (flag.MYSELF | flag.HANDSHAKE) or node is receiver:
                continue
            if node.flags & flag.PFAIL:
                suspected.append(node)
            elif not node.flags & flag.NOADDR and (node.slots or _is_linked(node)):
                others.append(node)
        wanted = min(max(ENTRIES_MIN, len(nodes) // ENTRIES_SHARE), len(others))
        return self.state.random.sample(others, wanted) + suspected[:SUSPECTED_ENTRIES_MAX]


def _pong_received_ms(node: ClusterNode) -> int:
    return node.pong_received_ms


def _is_linked(node: ClusterNode) -> bool:
    return node.link is not None


def _entry(node: ClusterNode) -> GossipEntry:
    entry = GossipEntry(
        node.node_id,
        node.ping_sent_ms // 1000,
        node.pong_received_ms // 1000,
        node.ip,
        node.port,
        node.bus_port,
        node.flags & flag.WIRE_FLAGS & ~flag.MYSELF,
    )
    entry.plain_port = node.plain_port
    return entry
