"""When a master must hold its writes: it cannot know whether it has been replaced.

A master with slots may take a write only while it can believe that a majority of the voters still takes it
for the owner. It stops believing when it has not heard from a majority for two thirds of the node timeout
(the others need the whole timeout to fail it), when its own loop stood still for half of it (a frozen
process wakes up with old beliefs), when too many voters refuse it or seem down, and at the start. Then
writes are held, not refused: a client sees a pause, and afterwards its write succeeds or is moved. Belief
returns when a majority has answered a ping that was sent after the doubt began, and none of these answers
says that our claim has been overtaken. If the cluster's state becomes `fail` meanwhile, held writes end as
CLUSTERDOWN.

`deadline_ms` is the one number the path of a command compares; the tick moves it on. The cluster object
calls the rest. This rule is Redoubt's own: Redis serves such writes for a while and loses them.
"""

from __future__ import annotations

import logging
from typing import Final

from redoubt.cluster.gossip import Gossip
from redoubt.cluster.topology import ClusterNode, Topology
from redoubt.state import ServerState

PAUSE_REASON: Final = "cluster majority"
# Not heard of a majority for this share of the node timeout: two thirds.
SILENCE_SHARE: Final = (2, 3)
# A voter not heard of for this share is pinged out of turn: a third.
PROBE_DIVISOR: Final = 3
# A loop that stood still for this share has frozen: half.
STALL_DIVISOR: Final = 2
FOREVER_MS: Final = 1 << 62
# While in doubt, voters that have not answered are pinged again this often.
PROBE_AGAIN_MS: Final = 100
log = logging.getLogger("redoubt")


class MajorityWatch:
    """Whether this master may still believe in itself."""

    def __init__(self, state: ServerState, topology: Topology, gossip: Gossip, now_ms: int) -> None:
        self.state = state
        self.topology = topology
        self.gossip = gossip
        # Writes after this clock reading must ask `doubt_if_late` first.
        self.deadline_ms = FOREVER_MS
        self.doubts_begun = 0
        self._doubt_since_ms = 0  # 0: no doubt
        self._asked_ms = now_ms
        self._ticked_ms = now_ms
        # When doubt last ended: voters that answer and still count as failed must not renew it at once.
        self._trusted_ms = 0

    @property
    def is_in_doubt(self) -> bool:
        return self._doubt_since_ms > 0

    def tick(self, now_ms: int) -> None:
        """Look for a reason to doubt, ping those whose voice is needed, and move the deadline on."""
        self.doubt_if_late(now_ms)
        if not self._needs_others():
            self.trust()
            self.deadline_ms = FOREVER_MS
            return
        self._probe(now_ms)
        timeout_ms = self.state.config.cluster_node_timeout
        silence_ms = timeout_ms * SILENCE_SHARE[0] // SILENCE_SHARE[1]
        self.deadline_ms = min(self._heard_majority_ms() + silence_ms, now_ms + timeout_ms // STALL_DIVISOR)
        self.doubt_if_late(now_ms)

    def doubt_if_late(self, now_ms: int) -> bool:
        """Begin to doubt if the deadline has passed; say whether there is doubt."""
        if now_ms > self.deadline_ms and not self.is_in_doubt and self._needs_others():
            self.doubt(now_ms)
        return self.is_in_doubt

    def stood_still(self, now_ms: int) -> bool:
        """Say whether the loop has just slept through half a node timeout."""
        return now_ms - self._ticked_ms > self.state.config.cluster_node_timeout // STALL_DIVISOR

    def ticked(self, now_ms: int) -> None:
        """Take note that the loop goes on, also while the node has no role."""
        self._ticked_ms = now_ms

    def check_reach(self, now_ms: int) -> None:
        """Doubt at once if too few voters are left that do not seem down."""
        if self.is_in_doubt or not self._needs_others() or now_ms - self._trusted_ms < PROBE_AGAIN_MS:
            return
        reachable = [voter for voter in self._others() if not voter.is_suspected]
        if len(reachable) + 1 < self.topology.quorum():
            self.doubt(now_ms)

    def doubt(self, now_ms: int) -> None:
        """Hold writes and ask the voters."""
        self._doubt_since_ms = now_ms
        self._asked_ms = now_ms
        self.doubts_begun += 1
        log.warning("Writes are held until a majority of the masters has answered.")
        self.state.blocking.pause(PAUSE_REASON, False, 0)
        for voter in self._others():
            self.gossip.ping(voter, now_ms)

    def trust(self) -> None:
        """Let writes go on."""
        if self.is_in_doubt:
            self._doubt_since_ms = 0
            self._trusted_ms = self.state.now_ms
            log.warning("Writes go on.")
            self.state.blocking.unpause(PAUSE_REASON)

    def release(self) -> None:
        """Stop holding writes though the doubt goes on: the cluster's state refuses them now."""
        self.state.blocking.unpause(PAUSE_REASON)

    def answered(self, now_ms: int) -> None:
        """A voter has answered a ping (its `answered_ms` is set): see whether that makes a majority."""
        if not self.is_in_doubt:
            return
        if not self._needs_others():
            self.trust()
            return
        answers = [voter for voter in self._others() if voter.answered_ms >= self._doubt_since_ms]
        if len(answers) + 1 >= self.topology.quorum():
            self.trust()
            self.deadline_ms = now_ms + self.state.config.cluster_node_timeout // STALL_DIVISOR

    def _others(self) -> list[ClusterNode]:
        myself = self.topology.myself
        return [voter for voter in self.topology.voters() if voter is not myself]

    def _needs_others(self) -> bool:
        """Say whether the rule applies: a voter that is not a majority alone."""
        return self.topology.myself.is_voter and self.topology.quorum() > 1

    def _heard_majority_ms(self) -> int:
        """Find since when, at the latest, a majority with us in it has been heard."""
        heard = sorted([voter.heard_ms for voter in self._others()], reverse=True)
        return heard[self.topology.quorum() - 2]

    def _probe(self, now_ms: int) -> None:
        quiet_ms = self.state.config.cluster_node_timeout // PROBE_DIVISOR
        is_asking = self.is_in_doubt and now_ms - self._asked_ms >= PROBE_AGAIN_MS
        if is_asking:
            self._asked_ms = now_ms
        for voter in self._others():
            owes_answer = is_asking and voter.answered_ms < self._doubt_since_ms
            is_quiet = not voter.ping_sent_ms and now_ms - voter.heard_ms > quiet_ms
            if owes_answer or is_quiet:
                self.gossip.ping(voter, now_ms)
