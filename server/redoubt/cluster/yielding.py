"""A restarted master that has replicas gives its place up, and looks for its successor.

It first tells every node that it knows of its own failure: a FAIL message about itself, which unmodified
Redis believes at once, so that the replicas need not wait for a timeout. Then it keeps its bus port closed,
since a node whose PONGs arrive is alive for the others, and only dials out. On those streams it pings every
100 ms, and reads who answers: a PONG that claims its slots under a higher config epoch is the successor's.
(Redis would tell it by an UPDATE, which cannot be delivered to a closed port.)

Meanwhile it votes, over the streams that it dialled, for a replica of its own that asks: with one or two
shards there is no other majority. For that it counts itself as failed in its own map.

Called by `role.py`. It does not choose the successor; the election does, or the operator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.cluster import messages
from redoubt.cluster.messages import Message
from redoubt.cluster.topology import FAILED, ClusterNode
from redoubt.interfaces import LISTEN_BUS, CloseListener

if TYPE_CHECKING:
    from redoubt.cluster.cluster import Cluster

PING_EVERY_MS: Final = 100


class Yielding:
    """The yielding of one node, from its start to its new role."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.topology = cluster.topology
        # A claim to slots that we gave away is not our successor's.
        slots = cluster.topology.myself.slots
        self.boot_slots = slots & ~cluster.topology.granted() or slots
        self.boot_epoch = cluster.topology.myself.config_epoch
        self._pinged_ms = 0

    def begin(self, now_ms: int) -> None:
        """Count as failed, and dial everybody."""
        self.topology.myself.flags |= FAILED
        self.cluster.state.effects.append(CloseListener(LISTEN_BUS))
        self.tick(now_ms)

    def end(self) -> None:
        """Count as alive again."""
        self.topology.myself.flags &= ~FAILED

    def tick(self, now_ms: int) -> None:
        """Dial who has no stream and ping who has."""
        if now_ms - self._pinged_ms < PING_EVERY_MS:
            return
        self._pinged_ms = now_ms
        for node in self.topology.sorted_nodes():
            if node is self.topology.myself or not node.is_known or not node.ip:
                continue
            if node.link is None:
                self.cluster.gossip.dial(node, now_ms)
            elif node.link.is_connected:
                self.cluster.gossip.ping(node, now_ms)

    def link_opened(self, node: ClusterNode, now_ms: int) -> None:
        """Tell a node of our failure before anything else."""
        about_me = self.cluster.bus.header(messages.FAIL)
        about_me.about = self.topology.myself.node_id
        self.cluster.bus.send_to(node, about_me, now_ms)
        self.cluster.gossip.ping(node, now_ms)

    def is_successor(self, message: Message) -> bool:
        """Say whether the sender, a master, has taken slots that were ours."""
        if message.master_id or message.config_epoch <= self.boot_epoch:
            return False
        return message.slots & self.boot_slots != 0

    def needs(self) -> str:
        """Say for people what is waited for."""
        return "a successor among its replicas, or its role from the operator"
