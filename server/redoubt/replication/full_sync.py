"""A full sync: one snapshot sent to one replica, or to several that asked at the same moment.

The snapshot is taken without a fork and goes straight to the links, closed by a mark of 40 random bytes
(`$EOF:`), since its size is not known before. It is fed in slices: a new one only when every link has taken
the last one nearly whole, so that a slow replica costs no memory. What does cost memory is writing: buckets
that change are written early, and the history since the snapshot waits for each replica. Both count against
client-output-buffer-limit of the class replica, and a replica beyond it is dropped, as in Redis. Under
maxmemory clients' writes wait before that (`redoubt.replication.sync_memory`).

A replica that knows no mark (older than Redis 2.8.18) is sent the snapshot's size first; for it alone the
whole snapshot is gathered in memory.

The history goes on to a replica after it has acknowledged the snapshot: real Redis recognises the mark only
as the last bytes that have arrived.

Driven by `redoubt.replication.master` at each tick. Source: Redis `src/replication.c` (diskless sync).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from redoubt.persist.snapshot import begin_snapshot
from redoubt.replication.peer import SENDING, SERVED, Peer

if TYPE_CHECKING:
    from redoubt.state import ServerState

log = logging.getLogger("redoubt")

# Produced at one tick: about 2 ms of work.
SLICE_BYTES: Final = 128 * 1024
# A link with more than this unsent gets no further slice.
UNSENT_BYTES_MAX: Final = 512 * 1024
MARK_BYTES: Final = 40


class FullSync:
    """One snapshot on its way; see the module's docstring."""

    def __init__(self, state: ServerState, peers: list[Peer], replid: str, replid2: str, offset: int) -> None:
        self.state = state
        self.peers = peers
        self.offset = offset
        self.started_ms = state.now_ms
        self.progressed_ms = state.now_ms
        self.sent_bytes = 0
        self.is_over = False
        self.is_marked = all(peer.can_eof for peer in peers)
        self.mark = b"%040x" % state.random.getrandbits(160)
        self.snapshot = begin_snapshot(state)
        # Of an unmarked transfer: everything, until the size is known.
        self._gathered: list[bytes] = []
        for peer in peers:
            peer.state = SENDING
            peer.sync = self
            peer.queue = []
            peer.queue_bytes = 0
            if not peer.is_silent:
                tail = f" {replid2}" if peer.is_redoubt else ""
                peer.send(f"+FULLRESYNC {replid} {offset}{tail}\r\n".encode())
            if self.is_marked:
                peer.send(b"$EOF:" + self.mark + b"\r\n")

    def tick(self, now_ms: int) -> None:
        """Feed the next slice if every link has room for it."""
        if self.is_over:
            return
        unsent = max((peer.unsent_bytes() for peer in self.peers), default=0)
        if unsent > UNSENT_BYTES_MAX:
            return
        self.progressed_ms = now_ms
        self.snapshot.advance(SLICE_BYTES)
        # What a burst of writes has made appear is not joined at once: that would double it.
        data = b"".join(self.snapshot.take_some(UNSENT_BYTES_MAX))
        is_last = self.snapshot.is_done and not self.snapshot.pending_bytes
        self.sent_bytes += len(data)
        if not self.is_marked:
            self._gathered.append(data)
            if not is_last:
                return
            data = b"".join(self._gathered)
            data = b"$%d\r\n" % len(data) + data
        elif is_last:
            data += self.mark
        for peer in self.peers:
            peer.send(data)
        if is_last:
            self._end()

    def pending_bytes(self) -> int:
        """Count what the snapshot has produced beyond what could be sent."""
        return self.snapshot.pending_bytes

    def lose(self, peer: Peer) -> None:
        """Go on without a replica that has gone; the last one takes the snapshot with it."""
        if peer in self.peers:
            self.peers.remove(peer)
        peer.sync = None
        if not self.peers and not self.is_over:
            self.give_up()

    def give_up(self) -> None:
        """Stop; the caller closes the links."""
        self.is_over = True
        self.snapshot.give_up()

    def _end(self) -> None:
        """Leave the replicas to their acknowledgement."""
        self.is_over = True
        duration_ms = self.state.now_ms - self.started_ms
        for peer in self.peers:
            peer.sync = None
            # Its time to acknowledge runs from here.
            peer.ack_ms = self.state.now_ms
            if peer.wants_snapshot_only:
                peer.state = SERVED
            log.info("Sent %d bytes to replica %s in %d ms", self.sent_bytes, peer.name(), duration_ms)
