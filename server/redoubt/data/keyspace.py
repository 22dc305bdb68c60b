"""One database: the only table of keys, and everything that must happen when a key changes.

The keys lie in tables of small dicts (`redoubt.data.table`): one table, or in cluster mode one for each hash
slot, so that the slot leads the index and the keys of a slot need no second index. Beside the values each
bucket holds the expiry times and the access counters of its keys. What this structure gives: inserts of
bounded cost, SCAN with Redis's guarantee, random keys in O(1), snapshots bucket by bucket, and LRU without a
clock per key (a key that is used moves to the end of its small dict).

Every change passes through a method of this class, because a change must, in this order: hand the bucket to
the snapshots that lack it, keep the sums of bytes right, and count in `changes` (the dispatcher propagates a
command if `changes` moved). A value that changes in place is announced by `begin_change` and settled by
`end_change`, or by `end_quietly`. Who wants to know which keys change (WATCH, clients that wait for keys,
client tracking) is in `listeners`, which is empty while nobody does.

Called by the command handlers as `ctx.db`, by eviction, active expiry, replication and the cluster. It reads
no clock: `now_ms` is passed in, and 0 means that nothing is expired (commands from our master: the master
decides what has expired). What it does not do: propagate, reply, or decide what to evict.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Final

from redoubt.data.deadlines import Deadlines
from redoubt.data.frequency import frequency_after_access, initial_frequency
from redoubt.data.key_slot import SLOT_BITS, SLOTS, key_slot
from redoubt.data.memory import BUCKET_BYTES, TABLE_BYTES, measure_buckets, size_of, size_of_bytes
from redoubt.data.snapshot_cursor import bucket_items
from redoubt.data.table import Bucket, Table
from redoubt.data.text import Value

if TYPE_CHECKING:
    from redoubt.data.snapshot_cursor import SnapshotCursor
    from redoubt.hooks import KeyListener

# How the policy of maxmemory wants accesses remembered.
ACCESS_UNORDERED: Final = 0
ACCESS_RECENT: Final = 1  # LRU: the order within each bucket
ACCESS_FREQUENT: Final = 2  # LFU: a counter per key


class Keyspace:
    """One numbered database; see the module's docstring."""

    def __init__(self, database: int, random: Random, is_cluster: bool) -> None:
        self.database = database
        self.random = random
        self.is_cluster = is_cluster
        # Called with (database, key) for a key that is found expired; returns whether it may be deleted.
        # A replica only hides such keys (False) and waits for its master's DEL.
        self.on_expired: Callable[[int, bytes], bool] | None = None
        # Called with (database, key) for each key that is created, while somebody wants to be notified.
        self.on_created: Callable[[int, bytes], None] | None = None
        self.changes = 0
        # Who is told of each key that changes; they only take note of it.
        self.listeners: list[KeyListener] = []
        # The time of the latest tick: fine enough for idle times, and for free at every access.
        self.clock_ms = 0
        self.access = ACCESS_UNORDERED
        # Set by the LFU policies; see redoubt.data.eviction.
        self.lfu_log_factor = 10
        self.lfu_decay_minutes = 1
        self.snapshots: list[SnapshotCursor] = []
        # The number of the newest snapshot ever begun; a new bucket owes nothing to it.
        self.snapshot_number = 0
        # Buckets of lazily flushed tables, whose memory is given back little by little.
        self.discarded: list[Bucket] = []
        self._slot_key = b""
        self._slot = 0
        self.tables: list[Table | None] = []
        # Keyspaces of slots that are arriving from another node: nobody sees their keys before `absorb`, but
        # they occupy memory.
        self.arriving: list[Keyspace] = []
        self.start_empty()

    def start_empty(self) -> None:
        self.key_count = 0
        self.expiring_count = 0
        # The average remaining lifetime of keys with an expiry, as active expiry sees it.
        self.average_ttl_ms = 0
        # Hashes with fields that expire, by the field that goes first; see redoubt.data.field_deadlines.
        self.field_deadlines = Deadlines()
        self.key_bytes = 0
        self.value_bytes = 0
        # What one bucket occupies besides keys and values, as last measured.
        self.bucket_bytes = BUCKET_BYTES
        # Slots that hold keys, in cluster mode.
        self.slot_table_count = 0
        # Every bucket of every table, in no order that matters: what random choices are drawn from.
        self.buckets: list[Bucket] = []
        # Outside cluster mode this is the one table; in cluster mode it stays empty.
        self._single = Table(self.snapshot_number)
        self.enlist(self._single.buckets[0])
        # The key that changes in place and its table, between `begin_change` and `end_change`.
        self._changing_key = b""
        self._changing = self._single
        self.tables = [self._single]
        if self.is_cluster:
            self.tables = [None] * SLOTS
            self.buckets = []

    def __len__(self) -> int:
        return self.key_count

    # Finding keys.

    def slot_of(self, key: bytes) -> int:
        """Return the hash slot of `key`; the latest answer is kept, since several parts ask in turn."""
        if key is not self._slot_key:
            self._slot = key_slot(key)
            self._slot_key = key
        return self._slot

    def table_of(self, key: bytes) -> Table | None:
        """Return the table that holds `key` or would; None if its slot is empty."""
        return self.tables[self.slot_of(key)] if self.is_cluster else self._single

    def bucket_of(self, key: bytes) -> Bucket | None:
        """Return the bucket that holds `key` or would; None if its slot is empty."""
        table = self.table_of(key)
        return None if table is None else table.bucket_of(key)

    def lookup(self, key: bytes, now_ms: int) -> Value | None:
        """Return the value of a key that exists and is not expired, and note the access."""
        table = self._single
        if self.is_cluster:
            slot_table = self.tables[self.slot_of(key)]
            if slot_table is None:
                return None
            table = slot_table
        bucket = table.bucket_of(key)
        value = bucket.values.get(key)
        if value is None:
            return None
        if bucket.expiries and self._expire_if_due(bucket, key, now_ms):
            return None
        bucket.touched_ms = self.clock_ms
        if self.access != ACCESS_UNORDERED:
            self._note_access(bucket, key, value)
        return value

    def peek(self, key: bytes, now_ms: int) -> Value | None:
        """Like `lookup`, but leave no trace of the access (TYPE, TTL, OBJECT)."""
        bucket = self.bucket_of(key)
        if bucket is None:
            return None
        value = bucket.values.get(key)
        if value is None or (bucket.expiries and self._expire_if_due(bucket, key, now_ms)):
            return None
        return value

    def get(self, key: bytes) -> Value | None:
        """Return what the table holds under `key`, expired or not, leaving no trace."""
        bucket = self.bucket_of(key)
        return None if bucket is None else bucket.values.get(key)

    def expire_at(self, key: bytes) -> int:
        """Return the absolute expiry time of `key` in milliseconds, or 0 if it has none."""
        bucket = self.bucket_of(key)
        return 0 if bucket is None else bucket.expiries.get(key, 0)

    def _expire_if_due(self, bucket: Bucket, key: bytes, now_ms: int) -> bool:
        """Say whether `key` has expired; delete it if we are the one who decides."""
        due_ms = bucket.expiries.get(key, 0)
        if due_ms == 0 or now_ms <= due_ms:
            return False
        self.delete_expired(key)
        return True

    def delete_expired(self, key: bytes) -> bool:
        """Delete a key whose time has come, if the one who listens to expiries allows it.

        This does not count in `changes`: the listener propagates it, and the command that came across the
        key must not be propagated for having done so.
        """
        if self.on_expired is not None and not self.on_expired(self.database, key):
            return False
        return self._remove(key)

    def _note_access(self, bucket: Bucket, key: bytes, value: Value) -> None:
        if self.access == ACCESS_RECENT:
            del bucket.values[key]
            bucket.values[key] = value
            if bucket.expiries:
                due_ms = bucket.expiries.pop(key, 0)
                if due_ms:
                    bucket.expiries[key] = due_ms  # one key object for both, see `set_expire`
        else:
            packed = bucket.frequencies.get(key, -1)
            bucket.frequencies[key] = frequency_after_access(
                packed, self.clock_ms, self.random, self.lfu_log_factor, self.lfu_decay_minutes
            )

    def _count_overwriting(self, key: bytes) -> None:
        """Count the access of who overwrites a key without having read it; a new key has none yet."""
        bucket = self.bucket_of(key)
        value = None if bucket is None else bucket.values.get(key)
        if bucket is not None and value is not None:
            self._note_access(bucket, key, value)

    # Changing keys.

    def set(self, key: bytes, value: Value) -> None:
        """Store a value under `key`, new or not; an expiry that the key had is dropped."""
        if self.access == ACCESS_FREQUENT:
            self._count_overwriting(key)
        bucket = self.store(key, value)
        if bucket.expiries and bucket.expiries.pop(key, 0):
            self.expiring_count -= 1

    def store(self, key: bytes, value: Value) -> Bucket:
        """Store a value under `key`, new or not, keeping an expiry that the key has; return its bucket."""
        table = self._single
        if self.is_cluster:
            table = self._table_for(key)
        bucket = table.bucket_of(key)
        if self.snapshots and bucket.saved_by < self.snapshot_number:
            self.save_bucket(bucket, table)
        values = bucket.values
        bucket.touched_ms = self.clock_ms
        old = values.get(key)
        if old is not None:
            growth = size_of(value) - size_of(old)
            self.value_bytes += growth
            table.content_bytes += growth
            if self.access == ACCESS_RECENT:
                del values[key]
            values[key] = value
            if self.field_deadlines.due_ms:
                self.field_deadlines.remove(key)
        else:
            value_bytes = size_of(value)
            key_bytes = size_of_bytes(key)
            self.value_bytes += value_bytes
            self.key_bytes += key_bytes
            table.content_bytes += value_bytes + key_bytes
            values[key] = value
            self.key_count += 1
            table.key_count += 1
            if self.access == ACCESS_FREQUENT:
                bucket.frequencies[key] = initial_frequency(self.clock_ms)
            if table.wants_split():
                self._split(table)
                bucket = table.bucket_of(key)
            if self.on_created is not None:
                self.on_created(self.database, key)
        self.changes += 1
        if self.listeners:
            self.tell_key_changed(key)
        return bucket

    def begin_change(self, key: bytes) -> int:
        """Announce that the value of `key` changes in place; return its size for `end_change`."""
        table = self.table_of(key)
        assert table is not None
        bucket = table.bucket_of(key)
        if bucket.saved_by < self.snapshot_number and self.snapshots:
            self.save_bucket(bucket, table)
        self._changing = table
        self._changing_key = key
        return size_of(bucket.values[key])

    def end_change(self, value: Value, size_before: int) -> None:
        """Settle a change in place that `begin_change` announced."""
        growth = size_of(value) - size_before
        self.value_bytes += growth
        self._changing.content_bytes += growth
        self.changes += 1
        if self.listeners:
            self.tell_key_changed(self._changing_key)

    def end_quietly(self, value: Value, size_before: int, has_changed: bool) -> None:
        """Settle what is no change for who watches the key: to its groups, or none at all (has_changed)."""
        growth = size_of(value) - size_before
        self.value_bytes += growth
        self._changing.content_bytes += growth
        if has_changed:
            self.changes += 1

    def delete(self, key: bytes) -> bool:
        """Remove `key`, expired or not; say whether it was there."""
        if self._remove(key):
            self.changes += 1
            return True
        return False

    def _remove(self, key: bytes) -> bool:
        table = self.table_of(key)
        if table is None:
            return False
        bucket = table.bucket_of(key)
        value = bucket.values.get(key)
        if value is None:
            return False
        if self.snapshots and bucket.saved_by < self.snapshot_number:
            self.save_bucket(bucket, table)
        del bucket.values[key]
        value_bytes = size_of(value)
        key_bytes = size_of_bytes(key)
        self.value_bytes -= value_bytes
        self.key_bytes -= key_bytes
        table.content_bytes -= value_bytes + key_bytes
        if bucket.expiries and bucket.expiries.pop(key, 0):
            self.expiring_count -= 1
        if bucket.frequencies:
            bucket.frequencies.pop(key, 0)
        if self.field_deadlines.due_ms:
            self.field_deadlines.remove(key)
        self.key_count -= 1
        table.key_count -= 1
        if table.key_count == 0 and self.is_cluster:
            self.drop_table(self.slot_of(key))
        elif table.wants_merge():
            self._merge(table)
        if self.listeners:
            self.tell_key_changed(key)
        return True

    def set_expire(self, key: bytes, due_ms: int) -> None:
        """Let an existing `key` expire at an absolute time in milliseconds."""
        bucket = self._bucket_to_change(key)
        assert key in bucket.values
        if key not in bucket.expiries:
            self.expiring_count += 1
            # Both dicts then hold one key object, or each expiry would cost a second one.
            value = bucket.values.pop(key)
            bucket.values[key] = value
        bucket.expiries[key] = due_ms
        self.changes += 1
        if self.listeners:
            self.tell_key_changed(key)

    def persist(self, key: bytes) -> bool:
        """Drop the expiry of `key`; say whether it had one."""
        if self.expire_at(key) == 0:
            return False
        del self._bucket_to_change(key).expiries[key]
        self.expiring_count -= 1
        self.changes += 1
        if self.listeners:
            self.tell_key_changed(key)
        return True

    def flush(self, is_lazy: bool = False) -> None:
        """Remove every key at once; snapshots under way keep the old tables.

        is_lazy: give the memory back in pieces, by `release`, instead of now.
        """
        self.tell_database_changed()
        for table in self.tables:
            if table is not None:
                table.detached_at = self.snapshot_number
        if is_lazy:
            self.discarded.extend(self.buckets)
        self.changes += 1
        self.start_empty()

    def release(self, bucket_limit: int) -> None:
        """Give back the memory of some buckets of earlier lazy flushes; called by every tick."""
        del self.discarded[-bucket_limit:]

    def swap(self, other: Keyspace) -> None:
        """Exchange the contents of two databases; sessions keep their keyspace objects."""
        for listener in list(self.listeners):
            listener.database_swapped(self, other)
        for listener in list(other.listeners):
            listener.database_swapped(other, self)
        self.tables, other.tables = other.tables, self.tables
        self._single, other._single = other._single, self._single
        self.buckets, other.buckets = other.buckets, self.buckets
        self.key_count, other.key_count = other.key_count, self.key_count
        self.expiring_count, other.expiring_count = other.expiring_count, self.expiring_count
        self.average_ttl_ms, other.average_ttl_ms = other.average_ttl_ms, self.average_ttl_ms
        self.field_deadlines, other.field_deadlines = other.field_deadlines, self.field_deadlines
        self.bucket_bytes, other.bucket_bytes = other.bucket_bytes, self.bucket_bytes
        self.slot_table_count, other.slot_table_count = other.slot_table_count, self.slot_table_count
        self.key_bytes, other.key_bytes = other.key_bytes, self.key_bytes
        self.value_bytes, other.value_bytes = other.value_bytes, self.value_bytes
        self.snapshots, other.snapshots = other.snapshots, self.snapshots
        self.snapshot_number, other.snapshot_number = other.snapshot_number, self.snapshot_number
        for cursor in self.snapshots:
            cursor.keyspace = self
        for cursor in other.snapshots:
            cursor.keyspace = other
        self.changes += 1
        other.changes += 1

    # Who wants to know.

    def tell_key_changed(self, key: bytes) -> None:
        """Tell the listeners of a key that has changed."""
        for listener in list(self.listeners):  # one that has heard enough leaves
            listener.key_changed(self.database, key)

    def tell_database_changed(self) -> None:
        """Tell the listeners that all keys are about to be dropped, or that keys have arrived."""
        for listener in list(self.listeners):
            listener.database_changed(self.database)

    def listen(self, listener: KeyListener) -> None:
        """Tell the listener of changes from now on; it may be known already."""
        if listener not in self.listeners:
            self.listeners.append(listener)

    def unlisten(self, listener: KeyListener) -> None:
        """Tell the listener nothing more; it need not be known."""
        if listener in self.listeners:
            self.listeners.remove(listener)

    def _bucket_to_change(self, key: bytes) -> Bucket:
        table = self.table_of(key)
        assert table is not None
        bucket = table.bucket_of(key)
        if self.snapshots and bucket.saved_by < self.snapshot_number:
            self.save_bucket(bucket, table)
        return bucket

    def _table_for(self, key: bytes) -> Table:
        """Return the table of the key's slot, which is created if the slot was empty."""
        slot = self.slot_of(key)
        table = self.tables[slot]
        if table is None:
            table = Table(self.snapshot_number)
            self.tables[slot] = table
            self.slot_table_count += 1
            self.enlist(table.buckets[0])
        return table

    def drop_table(self, slot: int) -> None:
        """Forget the table of a slot without keys."""
        table = self.tables[slot]
        assert table is not None
        for bucket in table.buckets:
            self._delist(bucket)
        self.tables[slot] = None
        self.slot_table_count -= 1

    def _split(self, table: Table) -> None:
        # No snapshot needs to be told: both halves are owed, or not, as the whole was, and the new one
        # lies behind every cursor's place.
        self.enlist(table.split())

    def _merge(self, table: Table) -> None:
        if self.snapshots:
            for bucket in (table.merge_target(), table.buckets[-1]):
                if bucket.saved_by < self.snapshot_number:
                    self.save_bucket(bucket, table)
        self._delist(table.merge())

    def enlist(self, bucket: Bucket) -> None:
        bucket.place = len(self.buckets)
        self.buckets.append(bucket)

    def _delist(self, bucket: Bucket) -> None:
        last = self.buckets.pop()
        if last is not bucket:
            self.buckets[bucket.place] = last
            last.place = bucket.place

    # Walking through keys.

    def scan(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """Return the next cursor (0 at the end) and the keys of as many buckets as hold about `count` keys.

        A key that exists throughout an iteration is returned at least once in it. The caller filters what
        has expired. In cluster mode the low bits of the cursor are the slot.
        """
        keys: list[bytes] = []
        if not self.is_cluster:
            # Redis: at most ten buckets are visited for each key asked for, however sparse the table.
            steps = count * 10
            while steps > 0:
                cursor = self._single.scan(cursor, keys)
                steps -= 1
                if cursor == 0 or len(keys) >= count:
                    break
            return cursor, keys
        slot = cursor & (SLOTS - 1)
        cursor >>= SLOT_BITS
        while slot < SLOTS:
            table = self.tables[slot]
            cursor = 0 if table is None else table.scan(cursor, keys)
            if cursor == 0:
                slot += 1
            if len(keys) >= count:
                break
        return (0 if slot >= SLOTS else cursor << SLOT_BITS | slot), keys

    def random_bucket(self) -> Bucket:
        """Return a bucket drawn evenly from all; the keyspace must not be empty."""
        return self.buckets[int(self.random.random() * len(self.buckets))]

    def all_keys(self) -> list[bytes]:
        """Return every key, expired ones included, O(n)."""
        keys: list[bytes] = []
        for bucket in self.buckets:
            keys.extend(bucket.values)
        return keys

    # What eviction and INFO ask.

    def remember_accesses(self, access: int) -> None:
        """Begin or cease to remember accesses as a policy of maxmemory needs it (ACCESS_*)."""
        if self.access == ACCESS_FREQUENT and access != ACCESS_FREQUENT:
            for bucket in self.buckets:
                bucket.frequencies = {}
        self.access = access

    def fill_of(self, bucket: Bucket) -> int:
        """Return how full a bucket is; one that the doubling under way has halved counts double."""
        fill = len(bucket.values)
        for key in bucket.values:
            table = self.table_of(key)
            assert table is not None
            return fill * 2 if table.is_halved(bucket) else fill
        return 0

    def table_bytes(self) -> int:
        """Return what the buckets occupy besides keys and values."""
        return self.bucket_bytes * len(self.buckets) + TABLE_BYTES * self.slot_table_count

    def measure(self) -> None:
        """Measure a few buckets, which stand for all; called by every tick."""
        self.bucket_bytes = measure_buckets(self.buckets)

    # Snapshots.

    def begin_snapshot(self, cursor: SnapshotCursor) -> int:
        """Note a new snapshot and return its number (called by the cursor itself)."""
        self.snapshot_number += 1
        self.snapshots.append(cursor)
        return self.snapshot_number

    def end_snapshot(self, cursor: SnapshotCursor) -> None:
        """Forget a snapshot that is complete or given up."""
        self.snapshots.remove(cursor)

    def save_bucket(self, bucket: Bucket, table: Table) -> None:
        """Hand a bucket to every snapshot that lacks it; called before its first change."""
        newest = self.snapshot_number if table.detached_at < 0 else table.detached_at
        items = bucket_items(bucket)
        for cursor in self.snapshots:
            if bucket.saved_by < cursor.number <= newest:
                cursor.take(items, bucket)
        bucket.saved_by = newest
