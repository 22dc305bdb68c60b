"""Keeps the memory that full syncs take within bounds while clients write: writes wait, or a replica goes.

A write to a bucket that the snapshot still owes makes the whole bucket appear at once, so writes all over
the keys bring the rest of the snapshot into memory within a second, beside the history that waits for the
replica. Under maxmemory that would take more than the container may have, and the kernel would kill the
only complete copy. So above a bound writes wait until the replica has taken half of it, which slows them to
the pace of the copy; reads go on. The snapshot itself rings when it passes the bound, since one turn of
pipelined writes can make all of it appear. A replica that has taken nothing for a while is not waited for:
it is dropped and may ask again.

The bound is what maxmemory leaves unused, and at least an eighth of it: the operator leaves a fourth of
maxmemory for snapshots. Without maxmemory nothing is held back, as in Redis.

Called by `redoubt.replication.master` when a full sync begins and at each tick. It counts nothing itself: the
replicas do.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from redoubt.data.memory import used_memory
from redoubt.replication.peer import SENDING, Peer, silent_ms

if TYPE_CHECKING:
    from redoubt.replication.full_sync import FullSync
    from redoubt.state import ServerState

log = logging.getLogger("redoubt")

REASON: Final = "full sync"
SHARE_MIN: Final = 8  # at least an eighth of maxmemory
SILENCE_MAX_MS: Final = 3000  # a loading replica gives a sign of life every second


class SyncMemory:
    """Whether writes wait for full syncs; see the module's docstring."""

    def __init__(self, state: ServerState) -> None:
        self.state = state
        self.is_holding = False

    def tick(self, peers: list[Peer], now_ms: int) -> None:
        """Look at every replica whose full sync is not over: hold writes back, or let them go."""
        holds = False
        for peer in peers:
            if peer.state != SENDING or peer.session.is_closed:
                continue
            held = peer.held_for_copy_bytes()
            if held == 0 or not 0 < self._bound(self.is_holding) < held:
                continue
            if silent_ms(peer, now_ms) > SILENCE_MAX_MS:
                log.warning("Replica %s takes nothing of its full sync, %d bytes wait", peer.name(), held)
                self.state.statistics.output_limit_disconnections += 1
                self.state.close(peer.session)
            else:
                holds = True
        if holds:
            self.hold()
        elif self.is_holding:
            self.is_holding = False
            self.state.blocking.unpause(REASON)

    def guard(self, sync: FullSync) -> None:
        """Hold writes back in the middle of a turn if its snapshot passes the bound there."""
        sync.snapshot.alarm_bytes = self._bound(False)
        sync.snapshot.on_alarm = self.hold

    def hold(self) -> None:
        """Let the writes of clients wait from the next command on; `tick` ends it."""
        if not self.is_holding and not self.state.replication.is_replica:
            self.is_holding = True
            self.state.blocking.pause(REASON, holds_reads=False, until_ms=0)

    def _bound(self, is_holding: bool) -> int:
        """Return from how many bytes on writes wait; half of it once they do. 0: they never do."""
        # What a replica applies was admitted by its master.
        limit = 0 if self.state.replication.is_replica else self.state.config.maxmemory
        bound = max(limit - used_memory(self.state.keyspaces), limit // SHARE_MIN) if limit else 0
        return bound // 2 if is_holding else bound
