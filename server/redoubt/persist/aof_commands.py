"""The base of the append-only file as commands, for `aof-use-rdb-preamble no`: what would make each value.

It stands where the RDB writer stands: the snapshot drives it, a bucket at a time. Containers are written in
commands of at most 64 elements, as Redis does, so that loading holds no huge command. Every form is one that
Redis 7.0 loads, but for hash fields that expire (HPEXPIREAT, Redis 7.4).

Source: Redis `src/aof.c` (rewriteAppendOnlyFileRio); the Redis command reference.
"""

from __future__ import annotations

from typing import Final

from redoubt.data import stream_id
from redoubt.data.hash import Hash
from redoubt.data.list import TextList
from redoubt.data.set import MemberSet
from redoubt.data.sorted_set import SortedSet
from redoubt.data.stream import Stream
from redoubt.data.stream_group import Group
from redoubt.data.structure import Structure
from redoubt.data.text import Value, text_bytes
from redoubt.persist.rdb_format import VERSION_WRITTEN
from redoubt.persist.rdb_write import RdbWriter
from redoubt.resp.doubles import double_text
from redoubt.resp.replies import encode_command

# Redis: AOF_REWRITE_ITEMS_PER_CMD
ELEMENTS_PER_COMMAND: Final = 64


class CommandWriter(RdbWriter):
    """Writes commands instead of RDB; see the module's docstring."""

    def __init__(self) -> None:
        super().__init__(False, False)

    def header(self, fields: list[tuple[bytes, bytes]], version: int = VERSION_WRITTEN) -> None:
        """Commands have no header."""

    def function(self, library: bytes) -> None:
        """Write the source of one function library."""
        self._write(b"FUNCTION", b"LOAD", library)

    def resize(self, database: int, key_count: int, expiry_count: int) -> None:
        """Nothing announces how many keys there will be."""

    def select(self, database: int) -> None:
        """Let the entries that follow belong to this database."""
        if database != self._database:
            self._database = database
            self._write(b"SELECT", b"%d" % database)

    def entry(
        self, key: bytes, value: Value, expires_ms: int, idle_s: int = -1, frequency: int = -1
    ) -> None:  # fmt: skip
        """Write the commands that make one key."""
        if isinstance(value, Hash):
            self._hash(key, value)
        elif isinstance(value, TextList):
            self._gathered([b"RPUSH", key], value.slice(0, value.count()))
        elif isinstance(value, MemberSet):
            self._gathered([b"SADD", key], value.members())
        elif isinstance(value, SortedSet):
            pairs = value.slice(0, value.count())
            self._gathered(
                [b"ZADD", key], [word for member, score in pairs for word in (double_text(score), member)], 2
            )
        elif isinstance(value, Stream):
            self._stream(key, value)
        else:
            assert not isinstance(value, Structure), "every data type has its commands"
            self._write(b"SET", key, text_bytes(value))
        if expires_ms:
            self._write(b"PEXPIREAT", key, b"%d" % expires_ms)

    def end(self) -> None:
        """Commands have no end."""

    def _hash(self, key: bytes, value: Hash) -> None:
        pairs = value.pairs()
        self._gathered([b"HSET", key], [word for pair in pairs for word in pair], 2)
        for field, _ in pairs:
            if due_ms := value.due_ms(field):
                self._write(b"HPEXPIREAT", key, b"%d" % due_ms, b"FIELDS", b"1", field)

    def _stream(self, key: bytes, value: Stream) -> None:
        for entry in value.range(0, stream_id.ID_MAX, 0):
            self._write(b"XADD", key, stream_id.text_of(entry.entry_id), *entry.items)
        if not value.length:
            # An entry that is trimmed at once leaves the stream without entries.
            self._write(b"XADD", key, b"MAXLEN", b"0", stream_id.text_of(value.last_id or 1), b"x", b"y")
        self._write(
            b"XSETID", key, stream_id.text_of(value.last_id), b"ENTRIESADDED", b"%d" % value.entries_added,
            b"MAXDELETEDID", stream_id.text_of(value.max_deleted_id),
        )  # fmt: skip
        for name in sorted(value.groups):
            self._group(key, name, value.groups[name])

    def _group(self, key: bytes, name: bytes, group: Group) -> None:
        self._write(
            b"XGROUP", b"CREATE", key, name, stream_id.text_of(group.last_id), b"ENTRIESREAD",
            b"%d" % group.entries_read,
        )  # fmt: skip
        for consumer in group.sorted_consumers():
            self._write(b"XGROUP", b"CREATECONSUMER", key, name, consumer.name)
            for entry_id, pending in consumer.pending.slice(0, stream_id.ID_MAX, 0):
                self._write(
                    b"XCLAIM", key, name, consumer.name, b"0", stream_id.text_of(entry_id), b"TIME",
                    b"%d" % pending.delivered_ms, b"RETRYCOUNT", b"%d" % pending.deliveries, b"JUSTID",
                    b"FORCE",
                )  # fmt: skip

    def _write(self, *words: bytes) -> None:
        self._out.append(encode_command(list(words)))

    def _gathered(self, command: list[bytes], words: list[bytes], width: int = 1) -> None:
        step = ELEMENTS_PER_COMMAND * width
        for start in range(0, len(words), step):
            self._out.append(encode_command(command + words[start : start + step]))
