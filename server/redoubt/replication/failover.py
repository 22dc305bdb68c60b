"""FAILOVER: a master hands its role to a replica of its, without losing a write.

Writes are held back until the replica has acknowledged everything; then the master becomes its replica, by a
PSYNC that ends with the word FAILOVER, on which the replica becomes the master and both continue in the same
history. The clients that were held back learn from their error where to go.

    waiting for sync -a replica has everything-> in progress -it continues with us-> over
                     -timeout, no FORCE-> over, nothing changed
                     -timeout, FORCE-> in progress

Not in cluster mode, which has CLUSTER FAILOVER. Begun by the command, driven by the ticks and by our link to
the new master (`redoubt.replication.replica`).
Rules: https://redis.io/docs/latest/commands/failover/
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from redoubt.replication.peer import ONLINE, Peer

if TYPE_CHECKING:
    from redoubt.replication.roles import Replication

log = logging.getLogger("redoubt")

WAITING_FOR_SYNC: Final = "waiting-for-sync"
IN_PROGRESS: Final = "failover-in-progress"
PAUSE: Final = "failover"


class Failover:
    """One handing over under way."""

    def __init__(
        self, replication: Replication, target: Peer | None, deadline_ms: int, is_forced: bool
    ) -> None:
        """target: None for whoever has everything first; deadline_ms: 0 for none."""
        self.replication = replication
        self.target = target
        self.deadline_ms = deadline_ms
        self.is_forced = is_forced
        self.stage = WAITING_FOR_SYNC
        replication.state.blocking.pause(PAUSE, False, 0)
        replication.ask_for_acknowledgements()

    def tick(self, now_ms: int) -> None:
        """Hand over as soon as a replica has everything, or when the time is up and it is forced."""
        if self.stage == IN_PROGRESS:
            return
        replication = self.replication
        candidates = replication.master.peers if self.target is None else [self.target]
        for peer in candidates:
            is_here = peer in replication.master.peers and peer.state == ONLINE
            if is_here and peer.ack_offset >= replication.offset:
                self._hand_over(peer, now_ms)
                return
        if 0 < self.deadline_ms <= now_ms:
            if self.is_forced and self.target is not None:
                self._hand_over(self.target, now_ms)
            else:
                log.warning("Replica never caught up before timeout")
                self.abort(now_ms)

    def abort(self, now_ms: int) -> None:
        """Call it off: we stay, or become again, the master."""
        replication = self.replication
        was_handed_over = self.stage == IN_PROGRESS
        self.end()
        if was_handed_over:
            replication.lead(now_ms)

    def end(self) -> None:
        """Let the clients go on, whoever is the master now."""
        self.replication.failover = None
        self.replication.state.blocking.unpause(PAUSE)

    def _hand_over(self, peer: Peer, now_ms: int) -> None:
        self.stage = IN_PROGRESS
        log.warning("Failover target is %s", peer.name())
        self.replication.follow(peer.ip(), peer.port, now_ms)
