"""A key drawn at random from a database, every key as likely as any other.

A bucket is drawn, then a place in it, and again if the place is empty: that is fair however unevenly the
buckets are filled, and takes two tries on average where a bucket holds its usual 64 keys.

Used by RANDOMKEY and by whoever needs some key. It does not ask whether the key has expired.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from redoubt.data.keyspace import Keyspace
    from redoubt.data.table import Bucket

# The places in a bucket, filled or not. Nearly no bucket holds more keys: a split comes at 64 on average.
ROOM_OF_BUCKET: Final = 128
# Redis, too, gives up after 100 tries.
RANDOM_TRIES_MAX: Final = 100


def random_key(keyspace: Keyspace) -> bytes | None:
    """Return a key drawn evenly from all, expired ones included; None if there is none."""
    if keyspace.key_count == 0:
        return None
    random = keyspace.random
    for _ in range(RANDOM_TRIES_MAX):
        bucket = keyspace.random_bucket()
        fill = len(bucket.values)
        place = int(random.random() * max(fill, ROOM_OF_BUCKET))
        if place < fill:
            return _key_at(bucket, place)
    # All buckets are nearly empty, as when few keys are spread over many slots: any key of one will do.
    for _ in range(RANDOM_TRIES_MAX):
        bucket = keyspace.random_bucket()
        if bucket.values:
            return _key_at(bucket, int(random.random() * len(bucket.values)))
    for bucket in keyspace.buckets:
        if bucket.values:
            return _key_at(bucket, 0)
    return None


def _key_at(bucket: Bucket, place: int) -> bytes:
    """Return the key at `place` in the order of the bucket."""
    for key in bucket.values:
        if place == 0:
            return key
        place -= 1
    raise AssertionError("place lies behind the bucket's last key")
