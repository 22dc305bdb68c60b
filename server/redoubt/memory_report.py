"""Where the memory of a server goes, in bytes, for INFO memory, MEMORY STATS and the metrics.

`used` is what the keys, the values, the expiry times and the tables around them occupy, and what clients and
replicas hold. Keys and values are kept as sums by the keyspaces; the tables are measured on a few buckets
and scaled, since what a dict takes depends on how full it happens to be. The resident size comes from the
process. Nothing here walks the keys.

Called by INFO, MEMORY, the metrics and the node's tick. It changes nothing and decides nothing.
Source of the names: INFO memory and MEMORY STATS of the Redis documentation.
"""

from __future__ import annotations

from sys import getsizeof
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from redoubt.data.keyspace import Keyspace
    from redoubt.data.table import Bucket
    from redoubt.state import ServerState

# A session with its parser, lists and dictionaries, as sys.getsizeof sums them up on 64-bit CPython.
SESSION_BYTES: Final = 1500
# A bucket without its three dicts, and its place in two lists.
BUCKET_BYTES: Final = 120
# How many buckets of a database are measured; their mean stands for all.
BUCKETS_MEASURED: Final = 8


class MemoryReport:
    """The parts of one server's memory at one moment."""

    def __init__(self, state: ServerState) -> None:
        keyspaces = state.keyspaces
        self.keys = sum(keyspace.key_count for keyspace in keyspaces)
        self.key_bytes = sum(keyspace.key_bytes for keyspace in keyspaces)
        self.value_bytes = sum(keyspace.value_bytes for keyspace in keyspaces)
        self.table_bytes = 0
        self.expiry_bytes = 0
        for keyspace in keyspaces:
            tables, expiries = _measured(keyspace)
            self.table_bytes += tables
            self.expiry_bytes += expiries
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
        self.dataset = self.key_bytes + self.value_bytes
        self.overhead = (
            self.table_bytes + self.expiry_bytes + self.client_bytes + self.replica_bytes + self.backlog_bytes
        )
        self.used = self.dataset + self.overhead
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


def _measured(keyspace: Keyspace) -> tuple[int, int]:
    """Estimate what the tables and the expiry times of one database occupy."""
    buckets = keyspace.buckets
    if not keyspace.key_count:
        return 0, 0
    stride = max(len(buckets) // BUCKETS_MEASURED, 1)
    measured = buckets[::stride]
    tables = sum(
        BUCKET_BYTES + getsizeof(bucket.values) + getsizeof(bucket.frequencies) for bucket in measured
    )
    expiries = sum(_expiry_bytes(bucket) for bucket in measured)
    return tables * len(buckets) // len(measured), expiries * len(buckets) // len(measured)


def _expiry_bytes(bucket: Bucket) -> int:
    """An empty dict is as good as none; each time is an integer object of 32 bytes."""
    return getsizeof(bucket.expiries) + 32 * len(bucket.expiries) if bucket.expiries else 0


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
