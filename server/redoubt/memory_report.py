"""Where the memory of a server goes, in bytes, for INFO memory, MEMORY STATS and the metrics.

The sums of the dataset (keys with the tables around them, expiry times, values) are kept by
`redoubt.data.memory`. `used` adds what clients, replicas and the backlog hold, as Redis's used_memory does.
maxmemory is compared with `used` less what is not counted (mem_not_counted_for_evict): the buffers of
replicas, a backlog that has outgrown its size because a replica lags behind, and what waits to be written to
the append-only file. What the process occupies
beyond `used` is the interpreter, which was there at the start, and fragmentation.

Called by INFO, MEMORY and the metrics. It changes nothing, decides nothing and walks no keys.
Source of the names: INFO memory and MEMORY STATS of the Redis documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.data.memory import parts_of
from redoubt.persist.append_log import AppendLog

if TYPE_CHECKING:
    from redoubt.session import Session
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
            if session.is_replica:
                self.replica_bytes += session_bytes(session)
            else:
                self.client_bytes += session_bytes(session)
        self.backlog_bytes = state.replication.backlog_bytes()
        log = state.log
        self.log_bytes = log.pending_bytes if isinstance(log, AppendLog) else 0
        beyond = max(self.backlog_bytes - state.config.repl_backlog_size, 0)
        self.uncounted = self.replica_bytes + self.log_bytes + beyond
        self.link_bytes = 0 if state.cluster is None else state.cluster.link_bytes()
        self.script_bytes = dict(state.scripting.figures())
        self.start_bytes = state.process.resident_start_bytes
        self.resident_bytes = state.process.resident_bytes()
        self.dataset = self.parts.total()
        self.buffers = self.client_bytes + self.replica_bytes + self.backlog_bytes + self.log_bytes
        self.used = self.dataset + self.buffers
        self.overhead = self.table_bytes + self.parts.expiries + self.buffers
        self.peak = max(state.rates.memory_peak_bytes, self.used)

    def accounted(self) -> int:
        """What is used and was there at the start: what an allocator has been asked for."""
        return self.used + self.start_bytes

    def fragmentation_bytes(self) -> int:
        """What the process occupies beyond its start and what is used; 0 where the process is unknown."""
        if not self.resident_bytes:
            return 0
        return max(self.resident_bytes - self.start_bytes - self.used, 0)

    def fragmentation_ratio(self) -> float:
        """The resident size over what is used and was there at the start; 1 where the process is unknown."""
        accounted = self.accounted()
        return self.resident_bytes / accounted if self.resident_bytes and accounted else 1.0


def session_bytes(session: Session) -> int:
    """Return what a client occupies: its session, input, what MULTI has queued, output not taken yet."""
    size = SESSION_BYTES + session.parser.pending_bytes() + session.unsent_bytes + sum(map(len, session.out))
    if session.postponed is not None:
        size += sum(map(len, session.postponed))
    if session.transaction is not None:
        size += session.transaction.size_bytes
    return size


def counted_buffer_bytes(state: ServerState) -> int:
    """Return what counts against maxmemory beside the dataset: clients, and the backlog up to its size."""
    return state.client_bytes + min(state.replication.backlog_bytes(), state.config.repl_backlog_size)


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
