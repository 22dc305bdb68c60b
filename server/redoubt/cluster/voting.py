"""How this node, as a master with slots, votes when a replica asks to take over from its failed master.

One vote in each epoch, remembered in nodes.conf before it leaves. A vote is refused if the epoch is over,
if the candidate's master has not failed (unless it asks by force, in a manual failover), or if somebody
already owns a claimed slot under a higher epoch than the candidate knows.

Redis adds a pause of two node timeouts between votes for replicas of one master, so that a winner has time
to tell the others. Between Redoubt nodes a winner needs milliseconds: the same candidate may be elected again
at once (its first attempt lost a race), another one after half a second. And two things make a round short:
a request that comes before the FAIL is answered when the FAIL comes, and a vote that was lost on the way is
repeated to the candidate that asks again in the same epoch. A candidate that is a real Redis counts packets
instead of voters, but it asks once only.

Who has just become a master gives no vote for the length of an election: its predecessor may have voted in
those under way, and then the shard would count twice, for two winners. (In a handover there is one candidate
only, and the vote is given.)

Called by the cluster object. Source: the Redis Cluster specification, "Masters reply to slave vote request".
"""

from __future__ import annotations

import logging
from typing import Final

from redoubt.cluster import messages
from redoubt.cluster.bus import Bus
from redoubt.cluster.config_file import ConfigFile
from redoubt.cluster.messages import Message
from redoubt.cluster.topology import ClusterNode, Topology
from redoubt.state import ServerState

# Redis: two node timeouts between votes for replicas of the same master.
VOTE_PAUSE_TIMEOUTS: Final = 2
# Between Redoubt nodes: the length of an election, so that two candidates do not win one after the other.
RIVAL_PAUSE_MS: Final = 500
# A request whose master has not failed yet waits this many node timeouts for the FAIL.
PENDING_TIMEOUTS: Final = 2
log = logging.getLogger("redoubt")


class PendingRequest:
    """A request that came before the failure it is about."""

    def __init__(self, candidate_id: str, message: Message, since_ms: int) -> None:
        self.candidate_id = candidate_id
        self.message = message
        self.since_ms = since_ms


class Voter:
    """Gives this node's votes."""

    def __init__(self, state: ServerState, topology: Topology, bus: Bus, file: ConfigFile) -> None:
        self.state = state
        self.topology = topology
        self.bus = bus
        self.file = file
        # Who got the vote of last_vote_epoch; unknown after a restart, so it is not repeated then.
        self._candidate_id = ""
        self._pending: dict[str, PendingRequest] = {}  # by the failed master's id: the latest request
        self.master_since_ms = 0
        # Why the last request was refused, for logs and tests.
        self.refusal = ""

    def role_changed(self, now_ms: int) -> None:
        """Take note that this node has become a master, or the replica of somebody."""
        self.master_since_ms = now_ms if self.topology.myself.is_master else 0

    def requested(self, candidate: ClusterNode, message: Message, now_ms: int) -> None:
        """Answer a request for our vote, now or when its master fails; a refusal is silence."""
        master = candidate.master
        if not self.topology.myself.is_voter:
            self.refusal = "no slots, no vote"
            return
        if master is None or not candidate.is_replica:
            self.refusal = "the candidate is not a replica of a known master"
            return
        if self._is_repeat(candidate, message):
            self._send(candidate, now_ms)
            return
        if not master.is_failed and not message.mflags & messages.FORCE_ACK:
            self.refusal = "its master has not failed"
            self._pending[master.node_id] = PendingRequest(candidate.node_id, message, now_ms)
            return
        objection = self._objection(candidate, master, message, now_ms)
        if objection and objection != self.refusal:
            log.warning("Failover auth denied to %s: %s", candidate.node_id, objection)
        self.refusal = objection
        if objection:
            return
        self._pending.pop(master.node_id, None)
        self._vote(candidate, master, now_ms)

    def node_failed(self, master: ClusterNode, now_ms: int) -> None:
        """Answer the request that waited for this failure."""
        pending = self._pending.pop(master.node_id, None)
        if pending is None:
            return
        candidate = self.topology.find(pending.candidate_id)
        patience_ms = self.state.config.cluster_node_timeout * PENDING_TIMEOUTS
        if candidate is not None and now_ms - pending.since_ms <= patience_ms:
            self.requested(candidate, pending.message, now_ms)

    def _is_repeat(self, candidate: ClusterNode, message: Message) -> bool:
        """Say whether the candidate asks again for the vote that it has."""
        return (
            message.is_redoubt
            and message.current_epoch == self.topology.last_vote_epoch
            and candidate.node_id == self._candidate_id
        )

    def _objection(self, candidate: ClusterNode, master: ClusterNode, message: Message, now_ms: int) -> str:
        """Name the reason against a vote; empty if there is none."""
        topology = self.topology
        if message.current_epoch < topology.current_epoch:
            return "its epoch is over"
        if topology.last_vote_epoch >= message.current_epoch:
            return "already voted in this epoch"
        if any(node.config_epoch >= message.current_epoch for node in topology.nodes.values()):
            return "somebody was elected in this epoch already"
        if message.mark_flags & messages.MARK_TERMINATING:
            return "the candidate is about to exit"
        if now_ms - master.voted_ms < self._pause_ms(candidate, master, message) and master.voted_ms:
            return "voted for a replica of this master a moment ago"
        is_forced = message.mflags & messages.FORCE_ACK
        if self.master_since_ms and now_ms - self.master_since_ms < RIVAL_PAUSE_MS and not is_forced:
            return "this node's predecessor may have voted"
        for node in topology.nodes.values():
            # A later claim of the dead master itself is the candidate's inheritance.
            if node is not master and node.slots & message.slots and node.config_epoch > message.config_epoch:
                return "a claimed slot has an owner under a higher epoch"
        return ""

    def _pause_ms(self, candidate: ClusterNode, master: ClusterNode, message: Message) -> int:
        if not message.is_redoubt:
            return self.state.config.cluster_node_timeout * VOTE_PAUSE_TIMEOUTS
        return 0 if master.voted_for == candidate.node_id else RIVAL_PAUSE_MS

    def _vote(self, candidate: ClusterNode, master: ClusterNode, now_ms: int) -> None:
        self.topology.last_vote_epoch = self.topology.current_epoch
        self._candidate_id = candidate.node_id
        master.voted_ms = now_ms
        master.voted_for = candidate.node_id
        self.file.mark(is_urgent=True)
        log.warning(
            "Failover auth granted to %s for epoch %d", candidate.node_id, self.topology.current_epoch
        )
        self._send(candidate, now_ms)

    def _send(self, candidate: ClusterNode, now_ms: int) -> None:
        self.bus.send_to(candidate, self.bus.header(messages.AUTH_ACK), now_ms)
