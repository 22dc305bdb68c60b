"""One replica as its master sees it: what it said of itself, how far it is, and what waits for it.

A peer is made at the first REPLCONF of a client and becomes one of the replicas by PSYNC. The list is kept,
and what is done is decided, by `redoubt.replication.master`; here are the facts and the arithmetic on them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.interfaces import LANE_REPLICA
from redoubt.session import CLASS_REPLICA, Session

if TYPE_CHECKING:
    from redoubt.replication.full_sync import FullSync

# The states of a replica, in the words of INFO.
WAITING: Final = "wait_bgsave"  # for its full sync to begin
SENDING: Final = "send_bulk"  # its full sync is under way, or sent and not acknowledged
ONLINE: Final = "online"
# It asked for the snapshot alone (redis-cli --rdb): nothing follows.
SERVED: Final = "rdb_transmitted"


class Peer:
    """One replica of ours. It exists from its first REPLCONF on, and is listed from its PSYNC on."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.state = WAITING
        # What REPLCONF announced.
        self.announced_ip = ""
        self.port = 0
        self.version = ""
        self.can_eof = False
        self.is_redoubt = False
        self.wants_snapshot_only = False
        # SYNC instead of PSYNC: an old replica or a tool; it acknowledges nothing.
        self.is_silent = False
        self.ack_offset = 0
        self.ack_ms = 0
        self.durable_offset = -1  # up to where its append-only file is synced
        # Since when it waits for a full sync.
        self.waiting_since_ms = 0
        self.sync: FullSync | None = None
        self.over_soft_limit_since_ms = 0
        # The history since the snapshot of its full sync, which it gets after it.
        self.queue: list[bytes] = []
        self.queue_bytes = 0

    def ip(self) -> str:
        """Return the address that others shall use for it."""
        return self.announced_ip or self.session.peer.rpartition(":")[0].strip("[]")

    def name(self) -> str:
        """Return how logs name it."""
        return f"{self.ip()}:{self.port or self.session.peer.rpartition(':')[2]}"

    def lag_s(self, now_ms: int) -> int:
        """Return the seconds since its last acknowledgement."""
        return max(0, now_ms - self.ack_ms) // 1000

    def unsent_bytes(self) -> int:
        """Count what its kernel has not taken yet, as of the last sample."""
        session = self.session
        waiting = 0
        for piece in session.out:
            waiting += len(piece)
        return waiting + session.unsent_bytes

    def held_for_copy_bytes(self) -> int:
        """Count what writes during its full sync make us hold: buckets written early, and the history."""
        return self.queue_bytes + (self.sync.pending_bytes() if self.sync is not None else 0)

    def send(self, data: bytes) -> None:
        """Write to its link at the end of this turn."""
        self.session.state.send(self.session, data)

    def enlist(self) -> None:
        """Turn the client into a replica: written before all clients, with the buffer limit of replicas."""
        session = self.session
        session.is_replica = True
        session.lane = LANE_REPLICA
        session.client_class = CLASS_REPLICA


def silent_ms(peer: Peer, now_ms: int) -> int:
    """Return for how long nothing has been heard of a replica, or its full sync has stood still."""
    if peer.sync is not None:
        return now_ms - peer.sync.progressed_ms
    if peer.state in (WAITING, SERVED) or peer.is_silent:
        return 0
    # One that loads its copy sends empty lines instead of acknowledgements.
    heard_ms = peer.session.active_ms if peer.state == SENDING else 0
    return now_ms - max(peer.ack_ms, heard_ms)
