"""Hashes with fields that expire in RDB: as Redis 7.4 and later write them, and as their forerunners did.

Two forms, each opened by the earliest due time (8 bytes, milliseconds). Packed: one listpack of field, value
and due time in turn, 0 for none, in the order of the due times with 0 at the end. As a table: the number of
fields, then due time, field and value in turn, where the due time is 0 or counts from the earliest one, plus
1. Before 7.4 was released both came without the earliest due time, and tables with absolute ones. Valkey 9
gave the type byte of that old table a meaning of its own: field, value and due time in turn, -1 for none.

What has expired meanwhile is loaded all the same: it stays hidden, and its master removes it.
Source: Redis `src/rdb.c` (RDB_TYPE_HASH_METADATA, RDB_TYPE_HASH_LISTPACK_EX), Valkey `src/rdb.c` (HASH_2).
"""

from __future__ import annotations

from typing import Final

from redoubt.data import listpack
from redoubt.data.hash import Hash
from redoubt.data.text import Value, parse_integer
from redoubt.persist.rdb_format import VALKEY_VERSION_MIN
from redoubt.persist.rdb_source import RdbSource
from redoubt.persist.rdb_text import write_length, write_text
from redoubt.persist.rdb_value import ValueReader

_TIME_BYTES: Final = 8
_TRIPLE: Final = 3
# Behind everything that has a time.
_NEVER_MS: Final = 1 << 63


def write_with_times(value: Hash, is_compressed: bool, out: list[bytes]) -> None:
    """Append a hash with its due times, of which there is at least one."""
    earliest_ms = value.next_due_ms()
    out.append(earliest_ms.to_bytes(_TIME_BYTES, "little"))
    if value.table is None:
        triples = [(value.due_ms(field), field, text) for field, text in value.pairs()]
        triples.sort(key=_place)
        words: list[bytes] = []
        for due_ms, field, text in triples:
            words += [field, text, b"%d" % due_ms]
        write_text(listpack.build(words), is_compressed, out)
        return
    write_length(value.count(), out)
    for field, text in value.pairs():
        due_ms = value.due_ms(field)
        write_length(due_ms - earliest_ms + 1 if due_ms else 0, out)
        write_text(field, is_compressed, out)
        write_text(text, is_compressed, out)


def _place(triple: tuple[int, bytes, bytes]) -> int:
    return triple[0] or _NEVER_MS


def read_packed(source: RdbSource) -> Value:
    """Read the listpack of fields, values and due times."""
    packed = source.text()
    words = listpack.texts(packed) if listpack.is_sound(packed) else []
    if not words or len(words) % _TRIPLE or len(frozenset(words[::_TRIPLE])) * _TRIPLE != len(words):
        raise source.corrupt("the listpack of a hash with times", f"{len(packed)} bytes that are none")
    value = Hash()
    for place in range(0, len(words), _TRIPLE):
        due_ms = parse_integer(words[place + 2])
        if due_ms is None or due_ms < 0:
            raise source.corrupt("a due time", repr(words[place + 2]))
        value.put(words[place], words[place + 1], source.limits.hash_fields)
        if due_ms:
            value.set_due(words[place], due_ms)
    return value


class PackedTimedHashReader(ValueReader):
    """Reads the packed form; stateless."""

    def read(self, source: RdbSource) -> Value:
        """Read one hash."""
        source.take(_TIME_BYTES)  # the earliest time, which stands with its field as well
        return read_packed(source)


class OldPackedTimedHashReader(ValueReader):
    """Reads the packed form from before the release of 7.4; stateless."""

    def read(self, source: RdbSource) -> Value:
        """Read one hash."""
        return read_packed(source)


class TimedHashReader(ValueReader):
    """Reads the form of a table, a field at a time."""

    def __init__(self) -> None:
        self._hash = Hash()
        self._left = -1
        # Due times count from here, plus 1: with 1 they are absolute. 0: not read yet.
        self.earliest_ms = 0

    def read(self, source: RdbSource) -> Value:
        """Read on; the fields that have been read are kept."""
        if self._left < 0:
            earliest_ms = self.earliest_ms or source.little(_TIME_BYTES)
            self._left = source.length()
            self.earliest_ms = earliest_ms
            if self._left == 0:
                raise source.corrupt("a hash with fields", "one without")
            source.commit()
        while self._left:
            time = source.length()
            field = source.text()
            text = source.text()
            put_loaded(source, self._hash, field, text)
            if time:
                self._hash.set_due(field, self.earliest_ms + time - 1)
            self._left -= 1
            source.commit()
        return self._hash


class OldTimedHashReader(ValueReader):
    """Reads the table from before the release of 7.4, or in a file of Valkey its own form."""

    def __init__(self) -> None:
        self._table = TimedHashReader()
        self._table.earliest_ms = 1
        self._hash = Hash()
        self._left = -1

    def read(self, source: RdbSource) -> Value:
        """Read on; the fields that have been read are kept."""
        if source.version < VALKEY_VERSION_MIN:
            return self._table.read(source)
        if self._left < 0:
            self._left = source.length()
            if self._left == 0:
                raise source.corrupt("a hash with fields", "one without")
            source.commit()
        while self._left:
            field = source.text()
            text = source.text()
            due_ms = source.little(_TIME_BYTES, True)
            put_loaded(source, self._hash, field, text)
            if due_ms > 0:
                self._hash.set_due(field, due_ms)
            self._left -= 1
            source.commit()
        return self._hash


def put_loaded(source: RdbSource, value: Hash, field: bytes, text: bytes) -> None:
    """Add a field that was read; whether the hash stays packed is decided by our own limits."""
    if len(field) > source.limits.hash_bytes or len(text) > source.limits.hash_bytes:
        value.unpack()
    if not value.put(field, text, source.limits.hash_fields):
        raise source.corrupt("each field once", f"{field!r} twice")
