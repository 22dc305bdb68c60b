"""Sorted sets in RDB: a listpack as it lies in memory, or the number of members, each with a binary double.

Files before version 8 hold scores as text (type 3), and those before Redis 7.0 ziplists instead of listpacks;
both are read, too. What comes from outside is checked
before it is believed, and takes the form that the limits in force give it.

Source: Redis `src/rdb.c` (RDB_TYPE_ZSET, RDB_TYPE_ZSET_2, _LISTPACK, _ZIPLIST, rdbLoadDoubleValue).
"""

from __future__ import annotations

import struct
from math import inf, isnan
from typing import Final

from redoubt.data import listpack
from redoubt.data.sorted_set import PAIR, SortedSet, is_sound_sorted_set
from redoubt.data.text import Value
from redoubt.persist.rdb_format import TYPE_SORTED_SET_2, TYPE_SORTED_SET_LISTPACK
from redoubt.persist.rdb_source import RdbSource
from redoubt.persist.rdb_text import write_length, write_text
from redoubt.persist.rdb_value import ValueReader, ValueWriter
from redoubt.persist.rdb_ziplist import ziplist_texts

SCORE_BYTES: Final = 8
# What stands for the length of a score as text: not a number, the two infinities.
_NAN: Final = 253
_INFINITE: Final = 254
_MINUS_INFINITE: Final = 255


class SortedSetWriter(ValueWriter):
    """Writes sorted sets in the form that they have."""

    def type_byte(self, value: Value) -> int:
        """Name the type byte of the form."""
        assert isinstance(value, SortedSet)
        return TYPE_SORTED_SET_LISTPACK if value.table is None else TYPE_SORTED_SET_2

    def write(self, value: Value, is_compressed: bool, out: list[bytes]) -> None:
        """Append the sorted set; the highest score first, which is what Redis loads fastest."""
        assert isinstance(value, SortedSet)
        if value.table is None:
            write_text(value.packed, is_compressed, out)
            return
        pairs = value.slice(0, value.count())
        pairs.reverse()
        write_length(len(pairs), out)
        for member, score in pairs:
            write_text(member, is_compressed, out)
            out.append(struct.pack("<d", score))


class PackedSortedSetReader(ValueReader):
    """Reads the packed form; stateless."""

    def read(self, source: RdbSource) -> Value:
        """Read one sorted set."""
        packed = source.text()
        if not is_sound_sorted_set(packed, source.checks_packs):
            raise source.corrupt("the listpack of a sorted set", f"{len(packed)} bytes that are none")
        value = SortedSet(packed)
        if value.count() > source.limits.zset_members:
            value.unpack()
        return value


class ZiplistSortedSetReader(ValueReader):
    """Reads the packed form of files before Redis 7.0; stateless."""

    def read(self, source: RdbSource) -> Value:
        """Read one sorted set; it is packed if our limits allow it."""
        words = ziplist_texts(source.text())
        packed = listpack.build(words) if words else b""
        if not words or not is_sound_sorted_set(packed):
            raise source.corrupt("the ziplist of a sorted set", "bytes that are none")
        value = SortedSet(packed)
        limits = source.limits
        longest = max([len(member) for member in words[::PAIR]])
        if value.count() > limits.zset_members or longest > limits.zset_bytes:
            value.unpack()
        return value


class SortedSetReader(ValueReader):
    """Reads members with binary scores, one at a time."""

    def __init__(self) -> None:
        self._set = SortedSet()
        self._left = -1

    def read(self, source: RdbSource) -> Value:
        """Read on; the members that have been read are kept."""
        value = self._set
        if self._left < 0:
            self._left = source.length()
            if self._left == 0:
                raise source.corrupt("a sorted set with members", "one without")
            if self._left > source.limits.zset_members:
                value.unpack()
            source.commit()
        while self._left:
            member = source.text()
            score = self._score(source)
            if isnan(score) or value.has(member):
                raise source.corrupt("each member once, with a score", f"{member!r} with {score}")
            value.put(member, score, source.limits)
            self._left -= 1
            source.commit()
        return value

    def _score(self, source: RdbSource) -> float:
        score: float = struct.unpack("<d", source.take(SCORE_BYTES))[0]
        return score


class TextScoreReader(SortedSetReader):
    """Reads the form of old files, with scores as text."""

    def _score(self, source: RdbSource) -> float:
        size = source.byte()
        if size == _NAN:
            return float("nan")
        if size in (_INFINITE, _MINUS_INFINITE):
            return inf if size == _INFINITE else -inf
        try:
            return float(source.take(size))
        except ValueError:
            raise source.corrupt("a score", "another text") from None
