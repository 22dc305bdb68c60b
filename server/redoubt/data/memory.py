"""What keys and values occupy, in bytes, kept as sums while they change.

`used_memory` must be known at every write once maxmemory is set, so it is never counted by walking: each
change adds and subtracts the sizes of the objects that it touched. The sizes are those of CPython on 64-bit
machines, rounded as its allocator rounds them.

Called by the keyspace at every change, and by INFO, MEMORY USAGE, metrics and eviction.
Source: `Objects/bytesobject.c`, `longobject.c`, `dictobject.c` and `obmalloc.c` of CPython 3.11.
"""

from __future__ import annotations

from typing import Final

from redoubt.data.text import GrowableText, Value

# A bytes object is 33 bytes and its content; the allocator rounds up to 16, which adds 7.5 on average.
BYTES_OVERHEAD_BYTES: Final = 40
INTEGER_BYTES: Final = 32
KEY_OVERHEAD_BYTES: Final = BYTES_OVERHEAD_BYTES


def size_of(value: Value) -> int:
    """Return what a value occupies, its place in the table not included."""
    if isinstance(value, bytes):
        return BYTES_OVERHEAD_BYTES + len(value)
    if isinstance(value, GrowableText):
        return value.size_bytes()
    return INTEGER_BYTES
