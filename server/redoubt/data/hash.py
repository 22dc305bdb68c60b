"""Hashes: fields with values, packed while they are few and short, a table afterwards.

Up to Redis's limits (hash-max-listpack-entries and -value) a hash is one listpack, field and value in turn:
five short fields take 180 bytes where a dict takes 900. Beyond them it is a table of small dicts
(`redoubt.data.elements`). A hash that has become a table stays one, as in Redis. The order of fields is that
of insertion while packed, and none afterwards.

A field may have a time to live. Its due time lies beside the hash (`redoubt.data.deadlines`), so that a hash
without such fields pays nothing for them. A field whose time has passed is hidden from everybody who passes
the time in, until it is removed; 0 as the time hides nothing (writers of files, commands from our master).

A field may have a time to live. Its due time lies beside the hash (`redoubt.data.deadlines`), so that a hash
without such fields pays nothing for them. A field whose time has passed is hidden from everybody who passes
the time in, until it is removed; 0 as the time hides nothing (writers of files, commands from our master).

Called by the commands on hashes and by the readers and writers of RDB. It knows no keys and no limits of its
own. Source: Redis `src/t_hash.c`.
"""

from __future__ import annotations

from random import Random
from typing import Final, cast

from redoubt.data import listpack
from redoubt.data.deadlines import Deadlines
from redoubt.data.elements import Elements
from redoubt.data.listpack import EMPTY, FIRST
from redoubt.data.memory import size_of_bytes
from redoubt.data.structure import STRUCTURE_BYTES, Structure

PAIR: Final = 2
# A random field is drawn again if it is hidden; with very many hidden ones, from those that are not.
RANDOM_TRIES_MAX: Final = 100


class Hash(Structure):
    """One hash; see the module's docstring."""

    def __init__(self, packed: bytes = EMPTY) -> None:
        # The listpack, as long as there is no table.
        self.packed = packed
        self.table: Elements | None = None
        # Due times of fields, from the first one on that had any; as Redis, an encoding does not come back.
        self.deadlines: Deadlines | None = None

    def type_name(self) -> bytes:
        return b"hash"

    def encoding_name(self) -> bytes:
        if self.table is not None:
            return b"hashtable"
        return b"listpack" if self.deadlines is None else b"listpackex"

    def size_bytes(self) -> int:
        size = STRUCTURE_BYTES if self.deadlines is None else STRUCTURE_BYTES + self.deadlines.size_bytes()
        return size + (size_of_bytes(self.packed) if self.table is None else self.table.size_bytes())

    def copy(self) -> Structure:
        twin = Hash(self.packed)
        if self.table is not None:
            twin.unpack()
            for field, value in self.pairs():
                twin.put(field, value, 0)
        if self.deadlines is not None:
            twin.deadlines = self.deadlines.copy()
        return twin

    def count(self) -> int:
        """Return the number of fields, hidden ones included."""
        return listpack.length(self.packed) // PAIR if self.table is None else self.table.key_count

    def get(self, field: bytes, now_ms: int = 0) -> bytes | None:
        """Return the value of a field, or None."""
        if self.deadlines is not None and self.is_hidden(field, now_ms):
            return None
        if self.table is not None:
            return cast("bytes | None", self.table.get(field))
        at = listpack.find(self.packed, field, PAIR)
        if at < 0:
            return None
        return listpack.text_at(self.packed, listpack.next_entry(self.packed, at))

    def put(self, field: bytes, value: bytes, fields_max: int) -> bool:
        """Set a field, keeping its due time; say whether it is new. More than `fields_max` make a table.

        The caller calls `unpack` before if the field or the value is too long for a pack.
        """
        if self.table is not None:
            return self.table.put(field, value)
        packed = self.packed
        entry = listpack.encode(field)
        at = listpack.find_entry(packed, entry, PAIR)
        if at >= 0:
            first = listpack.next_entry(packed, at)
            past = listpack.next_entry(packed, first)
            self.packed = listpack.splice(
                packed, first, past, listpack.encode(value), listpack.length(packed)
            )
            return False
        end = len(packed) - 1
        entries = entry + listpack.encode(value)
        count = listpack.length(packed) + PAIR
        self.packed = listpack.splice(packed, end, end, entries, count)
        if count > fields_max * PAIR:
            self.unpack()
        return True

    def remove(self, field: bytes) -> bool:
        """Remove a field; say whether it was there."""
        if self.deadlines is not None:
            self.deadlines.remove(field)
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

    def pairs(self, now_ms: int = 0) -> list[tuple[bytes, bytes]]:
        """Return all fields with their values."""
        found: list[tuple[bytes, bytes]] = []
        if self.table is None:
            words = listpack.texts(self.packed)
            for place in range(0, len(words), PAIR):
                found.append((words[place], words[place + 1]))
        else:
            for bucket in self.table.buckets:
                for field, value in bucket.values.items():
                    found.append((field, cast(bytes, value)))
        if self.hidden_count(now_ms):
            return [pair for pair in found if not self.is_hidden(pair[0], now_ms)]
        return found

    def fields(self, now_ms: int = 0) -> list[bytes]:
        """Return all fields."""
        found = listpack.texts(self.packed)[::PAIR] if self.table is None else self.table.names()
        if self.hidden_count(now_ms):
            return [field for field in found if not self.is_hidden(field, now_ms)]
        return found

    def random_pair(self, random: Random, now_ms: int = 0) -> tuple[bytes, bytes]:
        """Return a field drawn evenly from all that are not hidden, and its value; there must be one."""
        for _ in range(RANDOM_TRIES_MAX):
            field, value = self._any_pair(random)
            if not self.is_hidden(field, now_ms):
                return field, value
        return random.choice(self.pairs(now_ms))

    def _any_pair(self, random: Random) -> tuple[bytes, bytes]:
        if self.table is not None:
            field = self.table.random_name(random)
            return field, cast(bytes, self.table.get(field))
        at = listpack.at_index(self.packed, PAIR * random.randrange(self.count()))
        return listpack.text_at(self.packed, at), listpack.text_at(
            self.packed, listpack.next_entry(self.packed, at)
        )

    # Times to live of fields.

    def is_hidden(self, field: bytes, now_ms: int) -> bool:
        """Say whether the time of a field has passed."""
        return self.deadlines is not None and 0 < self.deadlines.get(field) < now_ms

    def hidden_count(self, now_ms: int) -> int:
        """Count the fields whose time has passed; O(1) if there is none."""
        return 0 if self.deadlines is None else self.deadlines.count_due(now_ms)

    def visible_count(self, now_ms: int) -> int:
        """Return the number of fields that are not hidden."""
        return self.count() - self.hidden_count(now_ms)

    def due_ms(self, field: bytes) -> int:
        """Return when a field expires, in absolute milliseconds, or 0."""
        return 0 if self.deadlines is None else self.deadlines.get(field)

    def next_due_ms(self) -> int:
        """Return when the first field expires, or 0 if none does."""
        return 0 if self.deadlines is None else self.deadlines.next_ms()

    def set_due(self, field: bytes, due_ms: int) -> None:
        """Let a field expire at an absolute time; there must be such a field."""
        if self.deadlines is None:
            self.deadlines = Deadlines()
        self.deadlines.set(field, due_ms)

    def persist(self, field: bytes) -> bool:
        """Let a field live until it is deleted; say whether it had a time."""
        return self.deadlines is not None and self.deadlines.remove(field)

    def scan(self, cursor: int, count: int) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Return the next cursor (0 at the end) and some pairs; a packed hash comes whole."""
        if self.table is None:
            return 0, self.pairs()
        cursor, fields = self.table.scan_some(cursor, count)
        return cursor, [(field, cast(bytes, self.table.get(field))) for field in fields]


def is_sound_hash(packed: bytes, is_deep: bool = True) -> bool:
    """Say whether a listpack from outside is a hash: sound, of whole pairs, no field twice.

    is_deep: look at each entry, and not only at the frame and the number of entries.
    """
    if not is_deep and listpack.is_framed(packed):
        count = listpack.length(packed)
        return count > 0 and count % PAIR == 0
    if not listpack.is_sound(packed):
        return False
    fields = listpack.texts(packed)[::PAIR]
    count = listpack.count_entries(packed, FIRST, len(packed) - 1)
    return count % PAIR == 0 and count > 0 and len(frozenset(fields)) == len(fields)
