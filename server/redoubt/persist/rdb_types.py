"""Which class of values is written how, and which type byte is read how: one line for each data type.

`rdb_write` and `rdb_read` look values and type bytes up here and know nothing else of types. A new type adds
its module and its lines; a type byte without a line stops a load with its name.
"""

from __future__ import annotations

from typing import Final

from redoubt.data.hash import Hash
from redoubt.data.list import TextList
from redoubt.data.set import MemberSet
from redoubt.data.sorted_set import SortedSet
from redoubt.data.stream import Stream
from redoubt.data.text import GrowableText
from redoubt.persist.rdb_format import (
    TYPE_HASH,
    TYPE_HASH_LISTPACK,
    TYPE_HASH_LISTPACK_TIMES,
    TYPE_HASH_LISTPACK_TIMES_OLD,
    TYPE_HASH_TIMES,
    TYPE_HASH_TIMES_OLD,
    TYPE_HASH_ZIPLIST,
    TYPE_HASH_ZIPMAP,
    TYPE_LIST,
    TYPE_LIST_QUICKLIST,
    TYPE_LIST_QUICKLIST_2,
    TYPE_LIST_ZIPLIST,
    TYPE_SET,
    TYPE_SET_INTSET,
    TYPE_SET_LISTPACK,
    TYPE_SORTED_SET,
    TYPE_SORTED_SET_2,
    TYPE_SORTED_SET_LISTPACK,
    TYPE_SORTED_SET_ZIPLIST,
    TYPE_STREAM,
    TYPE_STREAM_2,
    TYPE_STREAM_3,
    TYPE_TEXT,
)
from redoubt.persist.rdb_hash import (
    HashReader,
    HashWriter,
    PackedHashReader,
    ZiplistHashReader,
    ZipmapReader,
)
from redoubt.persist.rdb_hash_times import (
    OldPackedTimedHashReader,
    OldTimedHashReader,
    PackedTimedHashReader,
    TimedHashReader,
)
from redoubt.persist.rdb_list import (
    ChunkedListReader,
    ListReader,
    ListWriter,
    ZiplistChunksReader,
    ZiplistListReader,
)
from redoubt.persist.rdb_set import IntsetReader, PackedSetReader, SetReader, SetWriter
from redoubt.persist.rdb_sorted_set import (
    PackedSortedSetReader,
    SortedSetReader,
    SortedSetWriter,
    TextScoreReader,
    ZiplistSortedSetReader,
)
from redoubt.persist.rdb_stream import NewStreamReader, OldStreamReader, StreamReader, StreamWriter
from redoubt.persist.rdb_text import TextReader, TextWriter
from redoubt.persist.rdb_value import ValueReader, ValueWriter

_TEXT_WRITER: Final = TextWriter()

WRITERS: Final[dict[type, ValueWriter]] = {
    bytes: _TEXT_WRITER,
    int: _TEXT_WRITER,
    GrowableText: _TEXT_WRITER,
    Hash: HashWriter(),
    MemberSet: SetWriter(),
    TextList: ListWriter(),
    SortedSet: SortedSetWriter(),
    Stream: StreamWriter(),
}

# Made anew for each value, since the reader of an aggregate remembers how far it has come.
READERS: Final[dict[int, type[ValueReader]]] = {
    TYPE_TEXT: TextReader,
    TYPE_HASH: HashReader,
    TYPE_HASH_LISTPACK: PackedHashReader,
    TYPE_HASH_TIMES: TimedHashReader,
    TYPE_HASH_TIMES_OLD: OldTimedHashReader,
    TYPE_HASH_LISTPACK_TIMES: PackedTimedHashReader,
    TYPE_HASH_LISTPACK_TIMES_OLD: OldPackedTimedHashReader,
    TYPE_HASH_ZIPLIST: ZiplistHashReader,
    TYPE_HASH_ZIPMAP: ZipmapReader,
    TYPE_SET: SetReader,
    TYPE_SET_INTSET: IntsetReader,
    TYPE_SET_LISTPACK: PackedSetReader,
    TYPE_SORTED_SET: TextScoreReader,
    TYPE_SORTED_SET_2: SortedSetReader,
    TYPE_SORTED_SET_LISTPACK: PackedSortedSetReader,
    TYPE_SORTED_SET_ZIPLIST: ZiplistSortedSetReader,
    TYPE_LIST: ListReader,
    TYPE_LIST_ZIPLIST: ZiplistListReader,
    TYPE_LIST_QUICKLIST: ZiplistChunksReader,
    TYPE_LIST_QUICKLIST_2: ChunkedListReader,
    TYPE_STREAM: OldStreamReader,
    TYPE_STREAM_2: StreamReader,
    TYPE_STREAM_3: NewStreamReader,
}
