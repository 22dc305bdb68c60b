"""What clients hold in buffers, and closing the largest of them when that is too much (maxmemory-clients).

A client's memory is its session, what it has sent and not yet seen run, what MULTI has queued, and replies
that it has not taken. The sum over all clients is kept in `state.client_bytes`: each client is measured again
at every round of `redoubt.clients`, when its kernel did not take everything, and when it has sent much. The
sum counts against maxmemory; replicas and links to masters are no part of it, since a replica that lags
behind must not evict the keys of its master.

When the sum exceeds maxmemory-clients, the largest client that may go is closed, then the next. Replicas,
masters, and clients that have said CLIENT NO-EVICT stay. It runs no command and owns no socket.
Source: Redis documentation, "Client eviction".
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from redoubt.commands.client_list import client_line
from redoubt.memory_report import session_bytes

if TYPE_CHECKING:
    from redoubt.session import Session
    from redoubt.state import ServerState

# Redis: with a smaller limit no client could be talked to at all.
LIMIT_BYTES_MIN: Final = 128 * 1024
# A client that has sent less than this is measured by the rounds alone.
INPUT_BYTES_NOTED: Final = 16 * 1024

log = logging.getLogger("redoubt")


class ClientMemory:
    """Measures the clients of one server and evicts the largest; see the module's docstring."""

    def __init__(self, state: ServerState) -> None:
        self.state = state

    def limit_bytes(self) -> int:
        """Return maxmemory-clients in bytes; 0: no limit."""
        config = self.state.config
        limit = config.maxmemory_clients
        if limit < 0:
            limit = config.maxmemory * -limit // 100
        return max(limit, LIMIT_BYTES_MIN) if limit else 0

    def measure(self, session: Session) -> None:
        """Count a client as it is now."""
        if session.is_closed:
            return
        is_counted = not session.is_replica and not session.is_master_link
        size = session_bytes(session) if is_counted else 0
        self.state.client_bytes += size - session.counted_bytes
        session.counted_bytes = size

    def received(self, session: Session) -> None:
        """Measure a client that may have sent much, or been counted as one that has."""
        if session.parser.pending_bytes() > INPUT_BYTES_NOTED or session.counted_bytes > INPUT_BYTES_NOTED:
            self.measure(session)
            self.evict()

    def evict(self) -> None:
        """Close the largest clients until what they all occupy is within the limit."""
        limit = self.limit_bytes()
        if not limit or self.state.client_bytes <= limit:
            return
        candidates = [session for session in self.state.sessions.values() if may_be_evicted(session)]
        candidates.sort(key=_counted_bytes, reverse=True)
        for session in candidates:
            if self.state.client_bytes <= limit:
                return
            log.info("Evicting client: %s", client_line(session).decode("latin-1"))
            self.state.client_bytes -= session.counted_bytes
            session.counted_bytes = 0
            self.state.statistics.evicted_clients += 1
            self.state.close(session)


def may_be_evicted(session: Session) -> bool:
    """Say whether a client may be closed to free memory."""
    is_plain = not session.is_replica and not session.is_master_link
    return is_plain and not session.is_eviction_exempt and not session.is_closed


def _counted_bytes(session: Session) -> int:
    return session.counted_bytes
