"""Hashes in RDB: a listpack as it lies in memory, or the number of fields and then field and value in turn.

Old files have ziplists (2.6 to 6.2) and zipmaps (before) in the place of the listpack.

What comes from outside is checked before it is believed: a listpack by its structure, and both forms for
fields that stand twice. Which form the value has here is decided anew by the limits in force, as in Redis: a
table that fits is packed, and a pack of too many fields becomes a table. Hashes with fields that expire have
forms of their own (`rdb_hash_times`).

Source: Redis `src/rdb.c` (RDB_TYPE_HASH, RDB_TYPE_HASH_LISTPACK, _ZIPLIST, _ZIPMAP).
"""

from __future__ import annotations

from redoubt.data import listpack
from redoubt.data.hash import PAIR, Hash, is_sound_hash
from redoubt.data.text import Value
from redoubt.persist.rdb_format import (
    TYPE_HASH,
    TYPE_HASH_LISTPACK,
    TYPE_HASH_LISTPACK_TIMES,
    TYPE_HASH_TIMES,
)
from redoubt.persist.rdb_hash_times import put_loaded, write_with_times
from redoubt.persist.rdb_source import RdbSource
from redoubt.persist.rdb_text import write_length, write_text
from redoubt.persist.rdb_value import ValueReader, ValueWriter
from redoubt.persist.rdb_ziplist import ziplist_texts, zipmap_texts


class HashWriter(ValueWriter):
    """Writes hashes in the form that they have."""

    def type_byte(self, value: Value) -> int:
        """Name the type byte of the form."""
        assert isinstance(value, Hash)
        if value.next_due_ms():
            return TYPE_HASH_LISTPACK_TIMES if value.table is None else TYPE_HASH_TIMES
        return TYPE_HASH_LISTPACK if value.table is None else TYPE_HASH

    def write(self, value: Value, is_compressed: bool, out: list[bytes]) -> None:
        """Append the hash."""
        assert isinstance(value, Hash)
        if value.next_due_ms():
            write_with_times(value, is_compressed, out)
            return
        if value.table is None:
            write_text(value.packed, is_compressed, out)
            return
        write_length(value.count(), out)
        for field, text in value.pairs():
            write_text(field, is_compressed, out)
            write_text(text, is_compressed, out)


class PackedHashReader(ValueReader):
    """Reads the packed form; stateless."""

    def read(self, source: RdbSource) -> Value:
        """Read one hash."""
        packed = source.text()
        if not is_sound_hash(packed, source.checks_packs):
            raise source.corrupt("the listpack of a hash", f"{len(packed)} bytes that are none")
        value = Hash(packed)
        if value.count() > source.limits.hash_fields:
            value.unpack()
        return value


class ZiplistHashReader(ValueReader):
    """Reads the packed form of files before Redis 7.0; stateless."""

    def read(self, source: RdbSource) -> Value:
        """Read one hash."""
        return _hash_of(source, ziplist_texts(source.text()), "the ziplist of a hash")


class ZipmapReader(ValueReader):
    """Reads the packed form of files before Redis 2.6; stateless."""

    def read(self, source: RdbSource) -> Value:
        """Read one hash."""
        return _hash_of(source, zipmap_texts(source.text()), "a zipmap")


def _hash_of(source: RdbSource, words: list[bytes] | None, expected: str) -> Value:
    """Make a hash of fields and values in turn; it is packed if our limits allow it."""
    if not words or len(words) % PAIR or len(frozenset(words[::PAIR])) * PAIR != len(words):
        raise source.corrupt(expected, "bytes that are none")
    value = Hash(listpack.build(words))
    limits = source.limits
    if len(words) > limits.hash_fields * PAIR or max([len(word) for word in words]) > limits.hash_bytes:
        value.unpack()
    return value


class HashReader(ValueReader):
    """Reads the form of a table, a pair at a time."""

    def __init__(self) -> None:
        self._hash = Hash()
        self._left = -1

    def read(self, source: RdbSource) -> Value:
        """Read on; the pairs that have been read are kept."""
        if self._left < 0:
            self._left = source.length()
            if self._left == 0:
                raise source.corrupt("a hash with fields", "one without")
            if self._left > source.limits.hash_fields:
                self._hash.unpack()
            source.commit()
        value = self._hash
        while self._left:
            field = source.text()
            text = source.text()
            put_loaded(source, value, field, text)
            self._left -= 1
            source.commit()
        return value
