"""How a key has been used, as far as files and other servers tell and want to know it.

A policy of maxmemory remembers accesses in one of two ways: LRU as the order within a bucket with one idle
time for the whole bucket, LFU as a counter for each key. RDB files and RESTORE carry one number per key:
seconds without use, or the counter. Here the two meet; where the policy does not keep account of what a
hint says, the hint is dropped, as in Redis.

Called by the loader, by the snapshot and by RESTORE. It evicts nothing.
Source: Redis `src/rdb.c` (RDB_OPCODE_IDLE, RDB_OPCODE_FREQ) and `src/object.c` (objectSetLRUOrLFU).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from redoubt.data.frequency import decayed_counter, initial_frequency, packed_counter
from redoubt.data.keyspace import ACCESS_FREQUENT, ACCESS_RECENT
from redoubt.data.text import Value

if TYPE_CHECKING:
    from redoubt.data.keyspace import Keyspace
    from redoubt.data.table import Bucket


def idle_seconds(keyspace: Keyspace, bucket: Bucket) -> int:
    """Return for how long no key of a bucket was used, or -1 unless the policy is one of LRU."""
    if keyspace.access != ACCESS_RECENT:
        return -1
    return max(0, keyspace.clock_ms - bucket.touched_ms) // 1000


def frequency_of(keyspace: Keyspace, bucket: Bucket, key: bytes) -> int:
    """Return the logarithmic counter of a key as it stands now, or -1 unless the policy is one of LFU."""
    if keyspace.access != ACCESS_FREQUENT:
        return -1
    packed = bucket.frequencies.get(key, -1)
    if packed < 0:
        packed = initial_frequency(keyspace.clock_ms)
    return decayed_counter(packed, keyspace.clock_ms, keyspace.lfu_decay_minutes)


def store_used(keyspace: Keyspace, key: bytes, value: Value, idle_s: int, frequency: int) -> None:
    """Store a new key with the account of its use that came with it; -1: nothing was said."""
    if keyspace.access == ACCESS_FREQUENT or idle_s < 0:
        keyspace.store(key, value)
        if frequency >= 0 and keyspace.access == ACCESS_FREQUENT:
            bucket = keyspace.bucket_of(key)
            assert bucket is not None
            bucket.frequencies[key] = packed_counter(keyspace.clock_ms, frequency)
        return
    before = keyspace.bucket_of(key)
    touched_ms = 0 if before is None or not before.values else before.touched_ms
    used_ms = max(0, keyspace.clock_ms - idle_s * 1000)
    # The keyspace stamps the bucket, and the half that a split may make of it, with its clock.
    clock_ms = keyspace.clock_ms
    keyspace.clock_ms = max(touched_ms, used_ms)
    bucket = keyspace.store(key, value)
    keyspace.clock_ms = clock_ms
    if used_ms < touched_ms:
        put_first(bucket, key)


def take_over_use(keyspace: Keyspace, key: bytes, idle_s: int, frequency: int) -> None:
    """Let a key that has just been stored count as used so often or so long ago; -1: nothing was said.

    A key that comes idle goes to the front of its bucket, and only if it is alone does its idle time become
    the bucket's.
    """
    bucket = keyspace.bucket_of(key)
    assert bucket is not None
    if frequency >= 0 and keyspace.access == ACCESS_FREQUENT:
        bucket.frequencies[key] = packed_counter(keyspace.clock_ms, frequency)
    if idle_s > 0 and keyspace.access != ACCESS_FREQUENT:
        put_first(bucket, key)
        if len(bucket.values) == 1:
            bucket.touched_ms = keyspace.clock_ms - idle_s * 1000


def put_first(bucket: Bucket, key: bytes) -> None:
    """Make a key the one of its bucket that was used longest ago."""
    value = bucket.values.pop(key)
    bucket.values = {key: value, **bucket.values}
