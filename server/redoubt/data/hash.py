"""Hashes: fields with values, packed while they are few and short, a table afterwards.

Up to Redis's limits (hash-max-listpack-entries and -value) a hash is one listpack, field and value in turn:
five short fields take 180 bytes where a dict takes 900. Beyond them it is a table of small dicts
(`redoubt.data.elements`). A hash that has become a table stays one, as in Redis. The order of fields is that
of insertion while packed, and none afterwards.

Called by the commands on hashes and by the readers and writers of RDB. It knows no keys and no limits of its
own. Source: Redis `src/t_hash.c`.
"""

from __future__ import annotations

from random import Random
from typing import Final, cast

from redoubt.data import listpack
from redoubt.data.elements import Elements
from redoubt.data.listpack import EMPTY, FIRST
from redoubt.data.memory import size_of_bytes
from redoubt.data.structure import STRUCTURE_BYTES, Structure

PAIR: Final = 2


class Hash(Structure):
    """One hash; see the module's docstring."""

    def __init__(self, packed: bytes = EMPTY) -> None:
        # The listpack, as long as there is no table.
        self.packed = packed
        self.table: Elements | None = None

    def type_name(self) -> bytes:
        return b"hash"

    def encoding_name(self) -> bytes:
        return b"listpack" if self.table is None else b"hashtable"

    def size_bytes(self) -> int:
        if self.table is None:
            return STRUCTURE_BYTES + size_of_bytes(self.packed)
        return STRUCTURE_BYTES + self.table.size_bytes()

    def copy(self) -> Structure:
        twin = Hash(self.packed)
        if self.table is not None:
            twin.unpack()
            for field, value in self.pairs():
                twin.put(field, value, 0)
        return twin

    def count(self) -> int:
        """Return the number of fields."""
        return listpack.length(self.packed) // PAIR if self.table is None else self.table.key_count

    def get(self, field: bytes) -> bytes | None:
        """Return the value of a field, or None."""
        if self.table is not None:
            return cast("bytes | None", self.table.get(field))
        at = listpack.find(self.packed, field, PAIR)
        if at < 0:
            return None
        return listpack.text_at(self.packed, listpack.next_entry(self.packed, at))

    def put(self, field: bytes, value: bytes, fields_max: int) -> bool:
        """Set a field; say whether it is new. More than `fields_max` fields make a table of the pack.

        The caller calls `unpack` before if the field or the value is too long for a pack.
        """
        if self.table is not None:
            return self.table.put(field, value)
        packed = self.packed
        at = listpack.find(packed, field, PAIR)
        if at >= 0:
            first = listpack.next_entry(packed, at)
            past = listpack.next_entry(packed, first)
            self.packed = listpack.splice(
                packed, first, past, listpack.encode(value), listpack.length(packed)
            )
            return False
        end = len(packed) - 1
        entries = listpack.encode(field) + listpack.encode(value)
        count = listpack.length(packed) + PAIR
        self.packed = listpack.splice(packed, end, end, entries, count)
        if count > fields_max * PAIR:
            self.unpack()
        return True

    def remove(self, field: bytes) -> bool:
        """Remove a field; say whether it was there."""
        if self.table is not None:
            return self.table.remove(field)
        packed = self.packed
        at = listpack.find(packed, field, PAIR)
        if at < 0:
            return False
        past = listpack.next_entry(packed, listpack.next_entry(packed, at))
        self.packed = listpack.splice(packed, at, past, b"", listpack.length(packed) - PAIR)
        return True

    def unpack(self) -> None:
        """Become a table, if it is none yet."""
        if self.table is not None:
            return
        table = Elements()
        words = listpack.texts(self.packed)
        for place in range(0, len(words), PAIR):
            table.put(words[place], words[place + 1])
        self.table = table
        self.packed = EMPTY

    def pairs(self) -> list[tuple[bytes, bytes]]:
        """Return all fields with their values."""
        if self.table is None:
            words = listpack.texts(self.packed)
            return [(words[place], words[place + 1]) for place in range(0, len(words), PAIR)]
        found: list[tuple[bytes, bytes]] = []
        for bucket in self.table.buckets:
            for field, value in bucket.values.items():
                found.append((field, cast(bytes, value)))
        return found

    def fields(self) -> list[bytes]:
        """Return all fields."""
        return listpack.texts(self.packed)[::PAIR] if self.table is None else self.table.names()

    def random_pair(self, random: Random) -> tuple[bytes, bytes]:
        """Return a field drawn evenly from all, and its value."""
        if self.table is not None:
            field = self.table.random_name(random)
            return field, cast(bytes, self.table.get(field))
        at = listpack.at_index(self.packed, PAIR * random.randrange(self.count()))
        return listpack.text_at(self.packed, at), listpack.text_at(
            self.packed, listpack.next_entry(self.packed, at)
        )

    def scan(self, cursor: int, count: int) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Return the next cursor (0 at the end) and some pairs; a packed hash comes whole."""
        if self.table is None:
            return 0, self.pairs()
        cursor, fields = self.table.scan_some(cursor, count)
        return cursor, [(field, cast(bytes, self.table.get(field))) for field in fields]


def is_sound_hash(packed: bytes) -> bool:
    """Say whether a listpack from outside is a hash: sound, of whole pairs, no field twice."""
    if not listpack.is_sound(packed):
        return False
    fields = listpack.texts(packed)[::PAIR]
    count = listpack.count_entries(packed, FIRST, len(packed) - 1)
    return count % PAIR == 0 and count > 0 and len(frozenset(fields)) == len(fields)
