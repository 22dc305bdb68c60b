"""The table of a large hash, set or sorted set: elements with a value each, without any pause at any size.

It is the structure that holds the keys of a database (`redoubt.data.table`), for the same reasons: an insert
never resizes a million entries, SCAN has a cursor with Redis's guarantee, and a random element costs O(1).
What is added here: the growing and shrinking itself, and the bytes of the elements as a sum.

Owned by one structure (`hash`, `set`, `sorted_set`). It knows no commands and no snapshots.
"""

from __future__ import annotations

from itertools import islice
from random import Random
from typing import Final

from redoubt.data.memory import BUCKET_BYTES, size_of, size_of_bytes
from redoubt.data.table import Bucket, Table
from redoubt.data.text import Value

# The place of an entry in a bucket's dict, at the usual fill (measured).
ENTRY_BYTES: Final = 46
# As in the keyspace: a bucket is drawn, then a place in it, and again if the place is empty.
ROOM_OF_BUCKET: Final = 128
RANDOM_TRIES_MAX: Final = 100


class Elements(Table):
    """Elements by name; see the module's docstring."""

    def __init__(self, has_values: bool = True) -> None:
        super().__init__(0)
        # Without values one and the same small integer stands behind every name, and counts nothing.
        self.has_values = has_values
        self.element_bytes = 0

    def get(self, name: bytes) -> Value | None:
        """Return the value of an element, or None."""
        return self.bucket_of(name).values.get(name)

    def put(self, name: bytes, value: Value) -> bool:
        """Store an element; say whether it is new."""
        values = self.bucket_of(name).values
        old = values.get(name)
        values[name] = value
        if old is not None:
            if self.has_values:
                self.element_bytes += size_of(value) - size_of(old)
            return False
        self.element_bytes += self._size_of(name, value)
        self.key_count += 1
        if self.wants_split():
            self.split()
        return True

    def remove(self, name: bytes) -> bool:
        """Remove an element; say whether it was there."""
        value = self.bucket_of(name).values.pop(name, None)
        if value is None:
            return False
        self.element_bytes -= self._size_of(name, value)
        self.key_count -= 1
        if self.wants_merge():
            self.merge()
        return True

    def names(self) -> list[bytes]:
        """Return the names of all elements, in no order."""
        found: list[bytes] = []
        for bucket in self.buckets:
            found.extend(bucket.values)
        return found

    def random_name(self, random: Random) -> bytes:
        """Return the name of an element drawn evenly from all; there must be one."""
        for _ in range(RANDOM_TRIES_MAX):
            # One number draws both, the bucket by its high part and the place by the rest.
            drawn = int(random.random() * (len(self.buckets) * ROOM_OF_BUCKET))
            bucket = self.buckets[drawn // ROOM_OF_BUCKET]
            place = drawn % ROOM_OF_BUCKET
            fill = len(bucket.values)
            if fill > ROOM_OF_BUCKET:
                place = int(random.random() * fill)
            if place < fill:
                return _name_at(bucket, place)
        # Nearly all buckets are empty: the table has shrunk and not been merged yet.
        fullest = self.buckets[0]
        for bucket in self.buckets:
            if len(bucket.values) > len(fullest.values):
                fullest = bucket
        return _name_at(fullest, int(random.random() * len(fullest.values)))

    def scan_some(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """Return the next cursor (0 at the end) and the names of as many buckets as hold about `count`."""
        found: list[bytes] = []
        while True:
            cursor = self.scan(cursor, found)
            if cursor == 0 or len(found) >= count:
                return cursor, found

    def size_bytes(self) -> int:
        """Return what the table and its elements occupy."""
        return BUCKET_BYTES * len(self.buckets) + ENTRY_BYTES * self.key_count + self.element_bytes

    def _size_of(self, name: bytes, value: Value) -> int:
        return size_of_bytes(name) + size_of(value) if self.has_values else size_of_bytes(name)


def _name_at(bucket: Bucket, place: int) -> bytes:
    return next(islice(bucket.values, place, None))
