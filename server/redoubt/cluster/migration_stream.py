"""What a source sends of its slots: a snapshot of their tables, and every change since.

Both are gathered in batches, each the payload of one command. A batch of keys is a row of entries as in an
RDB stream (expiry, type, key, value; no header), so every data type that can be stored can be moved. A batch
of changes is the replicated commands themselves, filtered by slot: decisions, never questions, and also what
expiry, eviction and FLUSHALL did.

Within one batch the keys go before the changes. That is right because a bucket is handed out before its
first change (`redoubt.data.snapshot_cursor`): no change in a batch precedes the snapshot of its bucket, and
a flush, after which nothing of the snapshot may be sent any more, ends the snapshot.

Driven by `migration_export`; the target reads by `read_entries` and `read_commands`. No links, no decisions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.cluster.slots import SLOTS, ranges_of, slots_of
from redoubt.commands.declare import MOVABLE_KEYS, TABLE, Row, find, keys_of
from redoubt.data.snapshot_cursor import SnapshotCursor
from redoubt.data.table import Bucket, Table
from redoubt.data.text import Value
from redoubt.hooks import ChangeListener
from redoubt.persist.rdb_format import OP_EXPIRE_MS
from redoubt.persist.rdb_source import RdbSource, Underrun
from redoubt.persist.rdb_types import READERS
from redoubt.persist.rdb_write import RdbWriter
from redoubt.resp.replies import encode_command
from redoubt.resp.requests import RequestParser

if TYPE_CHECKING:
    from redoubt.data.keyspace import Keyspace

# One batch of keys: large enough that its command costs nothing, small enough to be applied within 2 ms.
BATCH_BYTES: Final = 64 * 1024
FLUSHES: Final = (b"FLUSHALL", b"FLUSHDB")


class SlotCursor(SnapshotCursor):
    """The snapshot of some slots' tables: entries are written into batches as the walk comes along."""

    def __init__(self, keyspace: Keyspace, mask: int, is_moving: bytearray) -> None:
        super().__init__(keyspace)
        tables: list[Table] = []
        for slot in slots_of(mask):
            table = keyspace.tables[slot]
            if table is not None:
                tables.append(table)
        self.tables = tables
        self.batches: list[bytes] = []
        self.pending_bytes = 0
        self.keys_written = 0
        self._is_moving = is_moving
        self._writer = RdbWriter(is_compressed=False, is_checksummed=False)
        self._written: list[bytes] = []
        self._written_bytes = 0

    def take(self, items: list[tuple[bytes, Value, int]], bucket: Bucket) -> None:
        """Write one bucket; a bucket of another slot is of no interest."""
        if not items or not self._is_moving[self.keyspace.slot_of(items[0][0])]:
            return
        writer = self._writer
        for key, value, expires_ms in items:
            writer.entry(key, value, expires_ms)
        self.keys_written += len(items)
        data = writer.take()
        self._written.append(data)
        self._written_bytes += len(data)
        self.pending_bytes += len(data)
        if self._written_bytes >= BATCH_BYTES:
            self.close_batch()

    def close_batch(self) -> None:
        """Let what has been written be sent."""
        if self._written:
            self.batches.append(b"".join(self._written))
            self._written = []
            self._written_bytes = 0


class SlotStream(ChangeListener):
    """Snapshot and changes of a set of slots, as batches to be sent; see the module's docstring."""

    def __init__(self, keyspace: Keyspace, mask: int) -> None:
        self.keyspace = keyspace
        self.is_moving = bytearray(SLOTS)
        for first, last in ranges_of(mask):
            self.is_moving[first : last + 1] = b"\x01" * (last - first + 1)
        self.cursor = SlotCursor(keyspace, mask, self.is_moving)
        self.changes_bytes = 0
        self._change_batches: list[bytes] = []
        self._changes: list[bytes] = []
        self._batch_bytes = 0

    def changed(self, argv: list[bytes]) -> None:
        """Take note of an effective write, if it is about one of the slots."""
        row = TABLE.get(argv[0])
        if row is None:
            found = find(argv)
            if not isinstance(found, Row):
                return
            row = found
        if row.first_key == row.last_key and row.first_key and not row.flags & MOVABLE_KEYS:
            key = argv[row.first_key]
        else:
            keys = keys_of(row, argv)
            if not keys:
                if argv[0].upper() in FLUSHES:
                    self._flushed()
                return
            key = keys[0]
        if self.is_moving[self.keyspace.slot_of(key)]:
            self._append(argv)

    def _flushed(self) -> None:
        """Nothing is left of the slots: what the snapshot still owes must not be sent after this."""
        self.cursor.finish()
        self._append([b"FLUSHALL"])

    def _append(self, argv: list[bytes]) -> None:
        data = encode_command(argv)
        self._changes.append(data)
        self._batch_bytes += len(data)
        self.changes_bytes += len(data)
        if self._batch_bytes >= BATCH_BYTES:
            self._close_changes()

    def _close_changes(self) -> None:
        if self._changes:
            self._change_batches.append(b"".join(self._changes))
            self._changes = []
            self._batch_bytes = 0

    def advance(self, keys_max: int, bytes_max: int) -> None:
        """Go on with the snapshot until so many keys or bytes have been written."""
        cursor = self.cursor
        keys_end = cursor.keys_written + keys_max
        bytes_end = cursor.pending_bytes + bytes_max
        while cursor.keys_written < keys_end and cursor.pending_bytes < bytes_end:
            if not cursor.advance():
                return

    @property
    def is_snapshot_done(self) -> bool:
        """Say whether the walk is over; what it wrote may still have to be sent."""
        return self.cursor.is_finished

    @property
    def pending_bytes(self) -> int:
        """Count what has been written and not been taken away."""
        return self.cursor.pending_bytes + self.changes_bytes

    def take_keys(self) -> list[bytes]:
        """Take away the batches of keys."""
        cursor = self.cursor
        cursor.close_batch()
        batches = cursor.batches
        cursor.batches = []
        cursor.pending_bytes = 0
        return batches

    def take_changes(self) -> list[bytes]:
        """Take away the batches of changes, which belong after the keys taken away before."""
        self._close_changes()
        batches = self._change_batches
        self._change_batches = []
        self.changes_bytes = 0
        return batches

    def end(self) -> None:
        """Release the keyspace."""
        self.cursor.finish()


def read_entries(batch: bytes) -> list[tuple[bytes, Value, int]]:
    """Read a batch of keys: (key, value, expiry in absolute ms or 0). Raises CorruptFile, Underrun."""
    source = RdbSource("a slot migration")
    source.feed(batch)
    source.gather()
    size = len(batch)
    items: list[tuple[bytes, Value, int]] = []
    while source.offset() < size:
        code = source.byte()
        expires_ms = 0
        if code == OP_EXPIRE_MS:
            expires_ms = source.little(8, True)
            code = source.byte()
        reader = READERS.get(code)
        if reader is None:
            raise source.corrupt("a value of a known type", f"the byte {code}")
        key = source.text()
        items.append((key, reader().read(source), expires_ms))
    return items


def read_commands(batch: bytes) -> list[list[bytes]]:
    """Read a batch of changes. Raises ProtocolError, and Underrun for one that is cut off."""
    parser = RequestParser(len(batch))
    parser.feed(batch)
    commands: list[list[bytes]] = []
    argv = parser.next()
    while argv is not None:
        commands.append(argv)
        argv = parser.next()
    if parser.consumed_bytes() != len(batch):
        raise Underrun
    return commands
