"""What keys and values occupy, in bytes, kept as sums while they change.

`used_memory` must be known at every write once maxmemory is set, so it is never counted by walking: each
change adds and subtracts the sizes of the objects that it touched. The sizes are those of CPython on 64-bit
machines, rounded as its allocator rounds them. Only the small dicts of the buckets have a size that no change
tells; a few of them are measured at each tick, and stand for the others.

The memory of a server has four visible parts: the key space (keys and the tables that hold them), the expiry
times, the values, and the rest of the process: interpreter, buffers, fragmentation. maxmemory limits the
first three; the operator leaves room for the fourth when it chooses maxmemory.

Called by the keyspace at every change, and by INFO, MEMORY USAGE, metrics and eviction.
Source: `Objects/bytesobject.c`, `longobject.c`, `dictobject.c` and `obmalloc.c` of CPython 3.11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.data.deadlines import DEADLINE_BYTES
from redoubt.data.text import Value

if TYPE_CHECKING:
    from redoubt.data.keyspace import Keyspace
    from redoubt.data.table import Bucket

# A bytes object is 33 bytes and its content. Python's allocator rounds up to 16; what is larger than 512
# comes from malloc, which adds 8 first.
BYTES_HEADER_BYTES: Final = 33
SMALL_BYTES_MAX: Final = 512
MALLOC_HEADER_BYTES: Final = 8
INTEGER_BYTES: Final = 32
# The time itself, and its entry in a dict at the usual fill with what the allocator loses on it (measured).
EXPIRY_BYTES: Final = INTEGER_BYTES + 56
# A bucket's own object, its three dicts without their entries, and its places in two lists.
BUCKET_BYTES: Final = 320
# The table of one slot in cluster mode, without its buckets (measured).
TABLE_BYTES: Final = 170
# The dict of a bucket is measured in so many buckets at a time.
BUCKETS_MEASURED: Final = 16


class MemoryParts:
    """Bytes of the three parts of a dataset that maxmemory limits."""

    def __init__(self, keys: int, expiries: int, values: int) -> None:
        self.keys = keys
        self.expiries = expiries
        self.values = values

    def total(self) -> int:
        """Return used_memory as maxmemory limits it."""
        return self.keys + self.expiries + self.values


def size_of_bytes(text: bytes) -> int:
    """Return what a bytes object occupies: a key, or a string that is plain bytes."""
    size = BYTES_HEADER_BYTES + len(text)
    if size > SMALL_BYTES_MAX:
        size += MALLOC_HEADER_BYTES
    return (size + 15) & -16


def size_of(value: Value) -> int:
    """Return what a value occupies, its place in the table not included."""
    if isinstance(value, bytes):
        return size_of_bytes(value)
    if isinstance(value, int):
        return INTEGER_BYTES
    return value.size_bytes()


def parts_of(keyspaces: list[Keyspace]) -> MemoryParts:
    """Sum the parts over all databases."""
    parts = MemoryParts(0, 0, 0)
    for keyspace in keyspaces:
        parts.keys += keyspace.key_bytes + keyspace.table_bytes()
        parts.expiries += keyspace.expiring_count * EXPIRY_BYTES
        parts.expiries += len(keyspace.field_deadlines) * DEADLINE_BYTES
        parts.values += keyspace.value_bytes
        if keyspace.arriving:
            hidden = parts_of(keyspace.arriving)
            parts.keys += hidden.keys
            parts.expiries += hidden.expiries
            parts.values += hidden.values
    return parts


def used_memory(keyspaces: list[Keyspace]) -> int:
    """Return what maxmemory is compared with. Cheap: called before each write when maxmemory is set."""
    used = 0
    for keyspace in keyspaces:
        if keyspace.key_count:
            used += keyspace.key_bytes + keyspace.value_bytes + keyspace.table_bytes()
            used += keyspace.expiring_count * EXPIRY_BYTES
            used += len(keyspace.field_deadlines) * DEADLINE_BYTES
        if keyspace.arriving:
            used += used_memory(keyspace.arriving)
    return used


def usage_of(keyspace: Keyspace, key: bytes, value: Value) -> int:
    """Return what one key and its value occupy, its share of the table included (MEMORY USAGE)."""
    usage = size_of_bytes(key) + size_of(value)
    if keyspace.expire_at(key):
        usage += EXPIRY_BYTES
    return usage + keyspace.table_bytes() // max(1, keyspace.key_count)


def measure_buckets(buckets: list[Bucket]) -> int:
    """Return what a bucket occupies besides keys and values, from a few evenly spread over the list."""
    step = max(1, len(buckets) // BUCKETS_MEASURED)
    total = measured = 0
    for place in range(0, len(buckets), step):
        bucket = buckets[place]
        total += bucket.values.__sizeof__()
        if bucket.frequencies:
            total += bucket.frequencies.__sizeof__() + INTEGER_BYTES * len(bucket.frequencies)
        measured += 1
    return BUCKET_BYTES + total // max(1, measured)
