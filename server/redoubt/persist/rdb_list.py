"""Lists in RDB: the number of chunks, then each chunk, a listpack as it lies in memory.

Redis marks each chunk as packed, or as plain for one element too large for a listpack. Files before 7.0 hold
chunks that are ziplists (type 14), one ziplist (10), or elements one by one (1); all are read, too. Chunks
from outside are checked before they are believed, and kept as they came.

Source: Redis `src/rdb.c` (RDB_TYPE_LIST, _LIST_ZIPLIST, _LIST_QUICKLIST, _LIST_QUICKLIST_2).
"""

from __future__ import annotations

from typing import Final

from redoubt.data import listpack
from redoubt.data.list import TextList
from redoubt.data.text import Value
from redoubt.persist.rdb_format import TYPE_LIST_QUICKLIST_2
from redoubt.persist.rdb_source import RdbSource
from redoubt.persist.rdb_text import write_length, write_text
from redoubt.persist.rdb_value import ValueReader, ValueWriter
from redoubt.persist.rdb_ziplist import ziplist_texts

PLAIN: Final = 1
PACKED: Final = 2


class ListWriter(ValueWriter):
    """Writes lists."""

    def type_byte(self, value: Value) -> int:
        """Name the type byte of lists."""
        return TYPE_LIST_QUICKLIST_2

    def write(self, value: Value, is_compressed: bool, out: list[bytes]) -> None:
        """Append the list."""
        assert isinstance(value, TextList)
        write_length(len(value.chunks), out)
        for chunk in value.chunks:
            write_length(PACKED, out)
            write_text(chunk, is_compressed, out)


class ChunkedListReader(ValueReader):
    """Reads lists a chunk at a time."""

    def __init__(self) -> None:
        self._list = TextList()
        self._left = -1

    def read(self, source: RdbSource) -> Value:
        """Read on; the chunks that have been read are kept."""
        if self._left < 0:
            self._left = source.length()
            source.commit()
        while self._left:
            chunk = self._chunk(source)
            count = listpack.length(chunk)
            if count:
                self._list.take_chunk(chunk, count)
            self._left -= 1
            source.commit()
        if self._list.total == 0:
            raise source.corrupt("a list with elements", "one without")
        return self._list

    def _chunk(self, source: RdbSource) -> bytes:
        container = source.length()
        chunk = source.text()
        if container == PLAIN:
            return listpack.build([chunk])
        if container != PACKED:
            raise source.corrupt("a chunk of a list, plain or packed", f"the container {container}")
        if (source.checks_packs or not listpack.is_framed(chunk)) and not listpack.is_sound(chunk):
            raise source.corrupt("the listpack of a list", f"{len(chunk)} bytes that are none")
        return chunk


class ZiplistChunksReader(ChunkedListReader):
    """Reads the chunks of Redis 3.2 to 6.2."""

    def _chunk(self, source: RdbSource) -> bytes:
        words = ziplist_texts(source.text())
        if words is None:
            raise source.corrupt("the ziplist of a list", "bytes that are none")
        return listpack.build(words)


class ZiplistListReader(ValueReader):
    """Reads the packed lists of Redis up to 3.0; stateless."""

    def read(self, source: RdbSource) -> Value:
        """Read one list, whose chunks are as large as our limits say."""
        words = ziplist_texts(source.text())
        if not words:
            raise source.corrupt("the ziplist of a list", "bytes that are none")
        value = TextList()
        for word in words:
            value.push(word, False, source.limits)
        return value


class ListReader(ValueReader):
    """Reads the form of the oldest files, an element at a time."""

    def __init__(self) -> None:
        self._list = TextList()
        self._left = -1

    def read(self, source: RdbSource) -> Value:
        """Read on; the elements that have been read are kept."""
        if self._left < 0:
            self._left = source.length()
            if self._left == 0:
                raise source.corrupt("a list with elements", "one without")
            source.commit()
        while self._left:
            self._list.push(source.text(), False, source.limits)
            self._left -= 1
            source.commit()
        return self._list
