"""Planned changes of the master: CLUSTER FAILOVER on a replica, or an order to one from its master.

The master stops taking writes and sends its final offset with a flag in its header; the replica applies the
rest, asks the voters for their consent although nobody has failed, and takes over. Clients' writes are
held meanwhile; they end as MOVED. The replica may begin (MFSTART, as in Redis), or the master may: it pauses
itself and marks its ping as an order, which serves a master that is about to exit. An order may have lain in
a frozen process or a broken network while the master has long gone on: so the replica pings the master, and
obeys if the answer says that writes are still held. Whatever fails, both sides give up after five seconds,
a replica that was ordered after two, and the master goes on.

FORCE does not wait for the master, TAKEOVER not even for votes. Called by the cluster object and CLUSTER
FAILOVER. Source: CLUSTER FAILOVER in the documentation of Redis.
"""

from __future__ import annotations

import logging
from typing import Final

from redoubt.cluster import messages
from redoubt.cluster.bus import Bus
from redoubt.cluster.claims import SlotClaims
from redoubt.cluster.election import ASKING, Election
from redoubt.cluster.gossip import Gossip
from redoubt.cluster.messages import Message
from redoubt.cluster.topology import ClusterNode, Topology
from redoubt.state import ServerState

# Redis: a manual failover has five seconds; the master's pause twice that, ended sooner by its outcome.
HANDOVER_MS: Final = 5_000
PAUSE_FACTOR: Final = 2
# A replica that was ordered to take over does so by then, while the master still holds its writes.
OBEY_MS: Final = 2_000
# While offsets are awaited they are looked at this often.
WATCH_MS: Final = 10
PAUSE_REASON: Final = "cluster failover"
log = logging.getLogger("redoubt")


class Handover:
    """The planned change that is under way on this node, on either side."""

    def __init__(
        self,
        state: ServerState,
        topology: Topology,
        bus: Bus,
        gossip: Gossip,
        claims: SlotClaims,
        election: Election,
    ) -> None:
        self.state = state
        self.topology = topology
        self.bus = bus
        self.gossip = gossip
        self.claims = claims
        self.election = election
        self.deadline_ms = 0  # 0: none is under way
        # As the master: who is to succeed us.
        self.successor: ClusterNode | None = None
        # As the replica: the master's final offset; -1: not told yet.
        self.final_offset = -1
        # When an order arrived whose freshness the master has not confirmed yet; 0: there is none.
        self.ordered_ms = 0

    @property
    def is_under_way(self) -> bool:
        return self.deadline_ms > 0

    # As the replica.

    def begin(self, now_ms: int) -> None:
        """Ask our master to stand by and hand over (CLUSTER FAILOVER)."""
        self._start(now_ms)
        master = self.topology.myself.master
        if master is not None:
            self.bus.send_to(master, self.bus.header(messages.MFSTART), now_ms)

    def force(self, now_ms: int) -> None:
        """Ask for votes without the master's help (FORCE), in the election under way if there is one."""
        self._start(now_ms)
        self._ask(now_ms)

    def take_over(self) -> None:
        """Take the slots under a new epoch without anybody's vote (TAKEOVER)."""
        self.cancel()
        topology = self.topology
        topology.current_epoch = topology.config_epoch_max() + 1
        self.election.promote(topology.current_epoch)

    def _start(self, now_ms: int) -> None:
        is_asking = self.election.is_forced
        self.cancel()
        self.election.is_forced = is_asking
        self.deadline_ms = now_ms + HANDOVER_MS

    def _ask(self, now_ms: int) -> None:
        self.election.is_forced = True
        was_asking = self.election.phase == ASKING
        self.election.tick(now_ms)
        if was_asking:
            # An election is under way in which voters without the FAIL stay silent: now they need none.
            self.election.ask_again(now_ms)

    def heard_master(self, message: Message, now_ms: int) -> None:
        """Take the final offset from our master's header, or its order to succeed it."""
        master = self.topology.myself.master
        if not message.mflags & messages.MASTER_PAUSED or master is None:
            return
        if not self.is_under_way and message.is_redoubt and message.mark_flags & messages.MARK_SUCCEED:
            self._start(now_ms)
            self.deadline_ms = now_ms + OBEY_MS
            self.ordered_ms = now_ms
            self.gossip.ping(master, now_ms)
        elif self.is_under_way and self.final_offset < 0 and not self.ordered_ms:
            self._take_offset(message, now_ms)

    def master_answered(self, message: Message, pinged_ms: int, now_ms: int) -> None:
        """Take our master's answer to a ping: an order that is older than its answer is obeyed or dropped."""
        if not self.is_under_way or not self.ordered_ms or pinged_ms < self.ordered_ms:
            return
        self.ordered_ms = 0
        if message.mflags & messages.MASTER_PAUSED:
            self._take_offset(message, now_ms)
        else:
            self.cancel()

    def _take_offset(self, message: Message, now_ms: int) -> None:
        self.final_offset = message.offset
        self.check_offset(now_ms)

    def check_offset(self, now_ms: int) -> None:
        """Begin the election as soon as everything of the master has been applied."""
        if self.final_offset < 0 or self.election.is_forced:
            return
        if self.state.replication.offset >= self.final_offset:
            self._ask(now_ms)

    # As the master.

    def requested(self, replica: ClusterNode, now_ms: int) -> None:
        """Stand by for a replica that asked (MFSTART): hold writes and tell it the final offset."""
        myself = self.topology.myself
        if not myself.is_master or replica.master is not myself:
            return
        self._stand_by(replica, now_ms)
        self.gossip.ping(replica, now_ms)

    def order(self, replica: ClusterNode, now_ms: int) -> bool:
        """Have a replica take over from us; False if it cannot be told (only Redoubt understands it)."""
        link = replica.link
        if not replica.is_redoubt or link is None or not link.is_connected:
            return False
        self._stand_by(replica, now_ms)
        self.gossip.ping(replica, now_ms, messages.PING, messages.MARK_SUCCEED)
        return True

    def _stand_by(self, replica: ClusterNode, now_ms: int) -> None:
        self.cancel()
        log.warning("Manual failover: writes are held for replica %s.", replica.node_id)
        self.deadline_ms = now_ms + HANDOVER_MS
        self.successor = replica
        self.bus.is_paused_for_handover = True
        self.state.blocking.pause(PAUSE_REASON, False, now_ms + HANDOVER_MS * PAUSE_FACTOR)

    # Both.

    def tick(self, now_ms: int) -> None:
        """Give up in time; meanwhile keep the replica informed, and look at our offset."""
        if not self.is_under_way:
            return
        if now_ms >= self.deadline_ms:
            log.warning("Manual failover timed out.")
            self.cancel()
            return
        if self.successor is not None and not self.successor.ping_sent_ms:
            self.gossip.ping(self.successor, now_ms)
        self.check_offset(now_ms)

    def next_tick_ms(self, now_ms: int) -> int:
        """Say when `tick` is wanted sooner than usual; 0: no wish."""
        return now_ms + WATCH_MS if self.final_offset >= 0 and not self.election.is_forced else 0

    def cancel(self) -> None:
        """End the change, reached or not: writes go on (or meet MOVED), no election is forced."""
        if self.successor is not None:
            self.state.blocking.unpause(PAUSE_REASON)
        self.deadline_ms = 0
        self.successor = None
        self.final_offset = -1
        self.ordered_ms = 0
        self.bus.is_paused_for_handover = False
        if self.election.is_forced:
            self.election.is_forced = False
