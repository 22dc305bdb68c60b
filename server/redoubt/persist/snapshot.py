"""The forkless snapshot: every database as it was at one moment, written while writes go on.

A forked child is simpler (`snapshot-mode fork`), but in Python it copies what it merely looks at: iterating
over 1 M strings turned 138 of 186 MB private, since every look writes a reference count. Here nothing is
forked. The snapshot walks over the databases bucket by bucket, a slice at a time, and writes between two
slices meet a rule instead of a copy:

    Before the first change of a bucket that has not been written, the bucket is written out as it is.

Let S be the state at the moment of creation. Invariant, at every moment: for each bucket that is still owed,
its content equals its content in S; and what has been written is exactly the content in S of the buckets no
longer owed. It holds at creation (nothing written, everything owed). A step of the walk keeps it: the bucket
it writes is owed, so its content is still that of S. A change keeps it: if the bucket is owed it is written
first, by which it is no longer owed, and then may differ; if not, nothing is claimed about it. Splits and
merges of buckets are changes of all buckets they touch. Databases that are flushed or swapped away are not
changed: their tables are cut off and walked on. At the end nothing is owed, so what was written is S: each
key exactly once, with the value and expiry it had.

The price is order and a burst: buckets appear in any order, databases interleaved, and a storm of writes all
over the keys can make the whole rest of the snapshot appear at once. The consumer must therefore look at
`pending_bytes`, not only at what it asked for. Values that change in place are turned into bytes at once.

Driven by SAVE and BGSAVE (`redoubt.persist.dump_file`, `background`) and by full syncs
(`redoubt.replication.full_sync`). The bookkeeping of what is owed lies in `redoubt.data.snapshot_cursor`. It
writes no files and knows no links.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from redoubt.data.keyspace import ACCESS_UNORDERED, Keyspace
from redoubt.data.snapshot_cursor import SnapshotCursor
from redoubt.data.table import Bucket
from redoubt.data.text import Value
from redoubt.data.use import frequency_of, idle_seconds
from redoubt.persist.rdb_format import VERSION_FIELD_TIMES, VERSION_WRITTEN
from redoubt.persist.rdb_write import RdbWriter
from redoubt.version import REDIS_VERSION

if TYPE_CHECKING:
    from redoubt.state import ServerState

# Written at once where everybody waits anyway.
CHUNK_BYTES: Final = 1024 * 1024


def begin_snapshot(state: ServerState, also: list[tuple[bytes, bytes]] | None = None) -> Snapshot:
    """Begin a snapshot of all databases as they are now, with everything a later load wants to know.

    also: further auxiliary fields.
    """
    fields = [
        (b"redis-ver", REDIS_VERSION.encode()),
        (b"redis-bits", b"64"),
        (b"ctime", b"%d" % (state.now_ms // 1000)),
        *state.replication.dump_fields(),
        *(also or []),
    ]
    config = state.config
    writer = RdbWriter(config.rdbcompression, config.rdbchecksum)
    return Snapshot(state.keyspaces, writer, fields, state.scripting.library_codes())


def drained(snapshot: Snapshot) -> Iterator[bytes]:
    """Yield a whole snapshot in chunks."""
    while not snapshot.is_done:
        snapshot.advance(CHUNK_BYTES)
        yield from snapshot.take()


class Snapshot:
    """One point-in-time view of all databases, coming out as RDB; see the module's docstring."""

    def __init__(
        self, keyspaces: list[Keyspace], writer: RdbWriter, fields: list[tuple[bytes, bytes]],
        functions: list[bytes] | None = None,
    ) -> None:  # fmt: skip
        self.is_done = False
        # What has been written and not been taken away.
        self.chunks: list[bytes] = []
        self.pending_bytes = 0
        self.key_count = 0
        self.keys_written = 0
        self._writer = writer
        # Called whenever a bucket has been written and more than so many bytes are pending; 0: never.
        self.alarm_bytes = 0
        self.on_alarm: Callable[[], None] | None = None
        self._cursors: list[DatabaseCursor] = []
        # Older readers still take what has no hash with fields that expire.
        has_field_times = any(len(keyspace.field_deadlines) for keyspace in keyspaces)
        writer.header(fields, VERSION_FIELD_TIMES if has_field_times else VERSION_WRITTEN)
        for library in functions or []:
            writer.function(library)
        for keyspace in keyspaces:
            if len(keyspace):
                cursor = DatabaseCursor(keyspace, self)
                self._cursors.append(cursor)
                self.key_count += cursor.key_count
                writer.resize(keyspace.database, cursor.key_count, cursor.expiring_count)
        self.collect()

    def advance(self, bytes_wanted: int) -> None:
        """Write on until `bytes_wanted` or more are pending, or the snapshot is done."""
        while not self.is_done and self.pending_bytes < bytes_wanted:
            if not self._cursors:
                self._writer.end()
                self.collect()
                self.is_done = True
            elif not self._cursors[-1].advance():
                self._cursors.pop()

    def take(self) -> list[bytes]:
        """Take away the chunks that are pending, in their order."""
        chunks = self.chunks
        self.chunks = []
        self.pending_bytes = 0
        return chunks

    def take_some(self, bytes_wanted: int) -> list[bytes]:
        """Take away the oldest chunks until they make up `bytes_wanted`; the rest stays pending."""
        if self.pending_bytes <= bytes_wanted:
            return self.take()
        count = 0
        taken_bytes = 0
        for chunk in self.chunks:
            if taken_bytes >= bytes_wanted:
                break
            count += 1
            taken_bytes += len(chunk)
        chunks = self.chunks[:count]
        del self.chunks[:count]
        self.pending_bytes -= taken_bytes
        return chunks

    def give_up(self) -> None:
        """Release the databases; nothing more will be written. Idempotent, also after the end."""
        for cursor in self._cursors:
            cursor.finish()
        self._cursors = []
        self.is_done = True

    def write(
        self, database: int, keyspace: Keyspace, items: list[tuple[bytes, Value, int]], bucket: Bucket
    ) -> None:
        """Write the content of one bucket (called by the cursors).

        database: its number when the snapshot began; `keyspace` may have been swapped away from it.
        """
        writer = self._writer
        writer.select(database)
        if keyspace.access == ACCESS_UNORDERED:
            for key, value, expires_ms in items:
                writer.entry(key, value, expires_ms)
        else:
            idle_s = idle_seconds(keyspace, bucket)
            for key, value, expires_ms in items:
                writer.entry(key, value, expires_ms, idle_s, frequency_of(keyspace, bucket, key))
        self.keys_written += len(items)
        self.collect()
        if 0 < self.alarm_bytes < self.pending_bytes and self.on_alarm is not None:
            self.on_alarm()

    def collect(self) -> None:
        """Turn what the writer holds into a chunk."""
        data = self._writer.take()
        if data:
            self.chunks.append(data)
            self.pending_bytes += len(data)


class DatabaseCursor(SnapshotCursor):
    """The part of a snapshot that walks over one database."""

    def __init__(self, keyspace: Keyspace, snapshot: Snapshot) -> None:
        super().__init__(keyspace)
        self._database = keyspace.database
        self._snapshot = snapshot

    def take(self, items: list[tuple[bytes, Value, int]], bucket: Bucket) -> None:
        """Write one bucket, because its turn has come or because it is about to change."""
        if items:
            self._snapshot.write(self._database, self.keyspace, items, bucket)
