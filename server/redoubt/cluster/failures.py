"""Who has failed: this node's own suspicion (PFAIL), the majority's verdict (FAIL), and its end.

A node is suspected when it is silent for the node timeout although pinged, when its kernel refuses our
connection (the process is gone: no timer is needed; `cluster-refused-is-down`), or when another node answers
at its address. Masters with slots report their suspicions in the gossip; as soon as a majority of them, this
node included, suspects the same node, it is failed, and everybody is told by a FAIL message, which is
believed at once. A suspicion by refusal is gossiped at once instead of with the next ping, so a majority
agrees within a few round trips of a death.

FAIL ends when the node answers again: at once for replicas, for masters without slots and for masters that
nobody can replace; else after two node timeouts in which nobody took its slots.

The cluster object calls this with what the bus brings and at every tick. Elections and routing only read
the flags. Source: the Redis Cluster specification, "Failure detection".
"""

from __future__ import annotations

import logging
from typing import Final

from redoubt.cluster import messages
from redoubt.cluster import topology as flag
from redoubt.cluster.bus import Bus
from redoubt.cluster.config_file import ConfigFile
from redoubt.cluster.gossip import Gossip
from redoubt.cluster.messages import GossipEntry
from redoubt.cluster.topology import ClusterNode, Topology
from redoubt.state import ServerState

# Redis: how many node timeouts a report counts, and after how many a failed master may come back by itself.
REPORT_VALIDITY_TIMEOUTS: Final = 2
FAIL_UNDO_TIMEOUTS: Final = 2
log = logging.getLogger("redoubt")


class FailureListener:
    """Told of verdicts. The one implementation is `redoubt.cluster.cluster`."""

    def node_failed(self, node: ClusterNode, now_ms: int) -> None:
        raise AssertionError

    def suspicion_changed(self, now_ms: int) -> None:
        raise AssertionError


class FailureDetector:
    """This node's view of who has failed."""

    def __init__(
        self,
        state: ServerState,
        topology: Topology,
        bus: Bus,
        gossip: Gossip,
        file: ConfigFile,
        listener: FailureListener,
    ) -> None:
        self.state = state
        self.topology = topology
        self.bus = bus
        self.gossip = gossip
        self.file = file
        self.listener = listener

    # What we see ourselves.

    def refused(self, node: ClusterNode, now_ms: int) -> None:
        """Suspect a node whose kernel refuses our connection, and tell the other voters at once."""
        node.is_refusing = True
        if not self.state.config.cluster_refused_is_down or not node.is_known:
            return
        self.suspect_at_once(node, now_ms)

    def suspect_at_once(self, node: ClusterNode, now_ms: int) -> None:
        """Suspect a node on evidence instead of silence, and gossip it now."""
        if node.is_suspected or node is self.topology.myself:
            return
        self.suspect(node, now_ms)
        if self.topology.myself.is_voter and not node.is_failed:
            self._tell_voters(node, now_ms)

    def suspect(self, node: ClusterNode, now_ms: int) -> None:
        """Set PFAIL and see whether that makes a majority."""
        if node.is_suspected or node is self.topology.myself:
            return
        node.flags |= flag.PFAIL
        self.listener.suspicion_changed(now_ms)
        self._judge(node, now_ms)

    def _tell_voters(self, about: ClusterNode, now_ms: int) -> None:
        """Ping those who need the report: every voter, and the replicas that could take over."""
        for node in self.topology.sorted_nodes():
            if node.link is None or node.is_suspected or not node.is_known:
                continue
            if node.is_voter or node.master is about:
                self.gossip.ping(node, now_ms)

    def watch_silence(self, now_ms: int) -> None:
        """Suspect whoever owes an answer for longer than the node timeout."""
        timeout_ms = self.state.config.cluster_node_timeout
        for node in list(self.topology.nodes.values()):
            if node.flags & (flag.MYSELF | flag.NOADDR | flag.HANDSHAKE) or not node.ping_sent_ms:
                continue
            silence_ms = min(now_ms - node.ping_sent_ms, now_ms - node.heard_ms)
            if silence_ms > timeout_ms:
                self.suspect(node, now_ms)

    def answered(self, node: ClusterNode, now_ms: int) -> None:
        """A node has answered our ping: it is not suspected any more, and perhaps not failed."""
        node.is_refusing = False
        if node.flags & flag.PFAIL:
            node.flags &= ~flag.PFAIL
            self.listener.suspicion_changed(now_ms)
        if node.is_failed and self._may_return(node, now_ms):
            log.warning("Clear FAIL state for node %s: it is reachable again.", node.node_id)
            node.flags &= ~flag.FAILED
            self.file.mark()
            self.listener.suspicion_changed(now_ms)

    def _may_return(self, node: ClusterNode, now_ms: int) -> bool:
        if not node.is_voter or not node.replicas:
            return True
        return now_ms - node.fail_ms > self.state.config.cluster_node_timeout * FAIL_UNDO_TIMEOUTS

    # What others say.

    def report(self, reporter: ClusterNode, entry: GossipEntry, now_ms: int) -> None:
        """Take one gossip entry about a known node: a report, or its withdrawal, if the reporter counts."""
        node = self.topology.find(entry.node_id)
        if node is None or node is self.topology.myself or not reporter.is_voter:
            return
        if entry.flags & (flag.PFAIL | flag.FAILED):
            node.reports[reporter.node_id] = now_ms
            self._judge(node, now_ms)
        else:
            node.reports.pop(reporter.node_id, None)

    def report_count(self, node: ClusterNode, now_ms: int) -> int:
        """Count the valid reports of other voters about a node."""
        oldest_ms = now_ms - self.state.config.cluster_node_timeout * REPORT_VALIDITY_TIMEOUTS
        for reporter_id in [key for key, sent_ms in node.reports.items() if sent_ms < oldest_ms]:
            del node.reports[reporter_id]
        return len(node.reports)

    def _judge(self, node: ClusterNode, now_ms: int) -> None:
        """Fail a node that we and a majority of the voters suspect, and tell everybody."""
        if not node.flags & flag.PFAIL or node.is_failed:
            return
        suspecting = self.report_count(node, now_ms)
        if self.topology.myself.is_voter:
            suspecting += 1
        if suspecting < self.topology.quorum():
            return
        log.warning("Marking node %s as failing (quorum reached).", node.node_id)
        self.fail(node, now_ms)
        message = self.bus.header(messages.FAIL)
        message.about = node.node_id
        self.bus.broadcast(message, now_ms)

    def told_failed(self, teller: ClusterNode, node_id: str, now_ms: int) -> None:
        """Believe a FAIL message."""
        node = self.topology.find(node_id)
        if node is not None and not node.flags & (flag.FAILED | flag.MYSELF | flag.HANDSHAKE):
            log.warning("FAIL message received from %s about %s", teller.node_id, node_id)
            self.fail(node, now_ms)

    def fail(self, node: ClusterNode, now_ms: int) -> None:
        """Set FAIL in our map."""
        node.flags = (node.flags & ~flag.PFAIL) | flag.FAILED
        node.fail_ms = now_ms
        self.file.mark()
        self.listener.suspicion_changed(now_ms)
        self.listener.node_failed(node, now_ms)
