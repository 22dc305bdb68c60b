"""Where the memory of a server goes, in bytes, for INFO memory, MEMORY STATS and the metrics.

The dataset (keys with the tables around them, expiry times, values) is what maxmemory is compared with; its
sums are kept by `redoubt.data.memory`. `used` adds what clients, replicas and the backlog hold, as Redis's
used_memory does, with the difference told as mem_not_counted_for_evict. What the process occupies beyond
that is the interpreter, which was there at the start, and fragmentation.

Called by INFO, MEMORY and the metrics. It changes nothing, decides nothing and walks no keys.
Source of the names: INFO memory and MEMORY STATS of the Redis documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.data.memory import parts_of

if TYPE_CHECKING:
    from redoubt.state import ServerState

# A session with its parser, lists and dictionaries, as sys.getsizeof sums them up on 64-bit CPython.
SESSION_BYTES: Final = 1500


class MemoryReport:
    """The parts of one server's memory at one moment."""

    def __init__(self, state: ServerState) -> None:
        self.parts = parts_of(state.keyspaces)
        self.keys = sum(keyspace.key_count for keyspace in state.keyspaces)
        self.table_bytes = sum(keyspace.table_bytes() for keyspace in state.keyspaces if keyspace.key_count)
        self.client_bytes = 0
        self.replica_bytes = 0
        for session in state.sessions.values():
            buffered = session.parser.pending_bytes() + session.unsent_bytes
            if session.is_replica:
                self.replica_bytes += SESSION_BYTES + buffered
            else:
                self.client_bytes += SESSION_BYTES + buffered
        self.backlog_bytes = state.replication.backlog_bytes()
        self.start_bytes = state.process.resident_start_bytes
        self.resident_bytes = state.process.resident_bytes()
        self.dataset = self.parts.total()
        self.buffers = self.client_bytes + self.replica_bytes + self.backlog_bytes
        self.used = self.dataset + self.buffers
        self.overhead = self.table_bytes + self.parts.expiries + self.buffers
        self.peak = max(state.rates.memory_peak_bytes, self.used)

    def fragmentation_bytes(self) -> int:
        """What the process occupies beyond its start and what is used; 0 where the process is unknown."""
        if not self.resident_bytes:
            return 0
        return max(self.resident_bytes - self.start_bytes - self.used, 0)

    def fragmentation_ratio(self) -> float:
        """The resident size over what is used and was there at the start; 1 where the process is unknown."""
        accounted = self.used + self.start_bytes
        return self.resident_bytes / accounted if self.resident_bytes and accounted else 1.0


def human(size_bytes: int) -> str:
    """Write an amount of bytes as INFO does: 1.50K, 2.00M."""
    size = float(size_bytes)
    if size_bytes < 1024:
        return f"{size_bytes}B"
    for unit in ("K", "M", "G", "T", "P"):
        size /= 1024
        if size < 1024 or unit == "P":
            break
    return f"{size:.2f}{unit}"
