"""A consistent view of one keyspace, walked bucket by bucket while writes go on.

No fork and no copy of everything: the cursor goes through the buckets at its own pace, and a bucket that is
about to change before the cursor has reached it is handed out first, as it still is. So every key is handed
out exactly once, with the value and expiry it had when the snapshot began.

Which snapshots a bucket still owes is one number: `Bucket.saved_by` is the number of the newest snapshot that
has it, and all older ones have it too, since a bucket is always handed to every snapshot that lacks it. A
bucket born by a split inherits the number, and two buckets are handed out before they merge. A flush does
not copy: the tables are cut off from the keyspace (`Table.detached_at`), never change again, and the cursors
go on walking them.

The writer of RDB files and full syncs (`redoubt.persist.snapshot`) subclasses `SnapshotCursor`; the keyspace
calls it before changes. It knows nothing of files and formats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mypy_extensions import mypyc_attr

from redoubt.data.table import Bucket, Table
from redoubt.data.text import Value

if TYPE_CHECKING:
    from redoubt.data.keyspace import Keyspace


@mypyc_attr(allow_interpreted_subclasses=True)
class SnapshotCursor:
    """One snapshot of one keyspace. Created by its user, who calls `advance` until it returns False."""

    def __init__(self, keyspace: Keyspace) -> None:
        self.keyspace = keyspace
        # The tables as they are now; a flush gives the keyspace new ones and leaves these to us.
        self.tables: list[Table] = [table for table in keyspace.tables if table is not None]
        self.key_count = keyspace.key_count
        self.expiring_count = keyspace.expiring_count
        self._table_index = 0
        self._bucket_index = 0
        self.is_finished = False
        self.number = keyspace.begin_snapshot(self)

    def take(self, items: list[tuple[bytes, Value, int]], bucket: Bucket) -> None:
        """Take (key, value, expiry in absolute ms or 0) of one bucket; must copy growable values at once."""
        raise AssertionError(f"{type(self).__name__} takes nothing")

    def advance(self) -> bool:
        """Hand out the next bucket that is still owed, if any; return False when the snapshot is complete."""
        while self._table_index < len(self.tables):
            table = self.tables[self._table_index]
            if self._bucket_index >= len(table.buckets):
                self._table_index += 1
                self._bucket_index = 0
                continue
            bucket = table.buckets[self._bucket_index]
            self._bucket_index += 1
            if bucket.saved_by < self.number:
                self.keyspace.save_bucket(bucket, table)
                return True
        self.finish()
        return False

    def finish(self) -> None:
        """Stop: complete or given up, the keyspace owes this snapshot nothing more. Idempotent."""
        if not self.is_finished:
            self.is_finished = True
            self.tables = []
            self.keyspace.end_snapshot(self)


def bucket_items(bucket: Bucket) -> list[tuple[bytes, Value, int]]:
    """Return (key, value, expiry in absolute ms or 0) of each key of the bucket."""
    expiries = bucket.expiries
    if not expiries:
        return [(key, value, 0) for key, value in bucket.values.items()]
    return [(key, value, expiries.get(key, 0)) for key, value in bucket.values.items()]
