"""A hash table of small dicts that grows and shrinks one small dict at a time.

One dict of ten million keys stops the server for a second whenever it is resized. Here the keys are spread
over buckets, each a dict of about 64 keys, found by the low bits of the key's hash (which the bytes object
caches, and which the dict needs anyway). The directory of buckets is a power of two that is doubled
incrementally, as in linear hashing (Litwin, 1980): each split moves half of one bucket into one new bucket
at the end of the directory, so that while a doubling is under way the buckets that it has not reached yet
are found by one bit less.

SCAN walks the buckets by a cursor whose bits are incremented from the top down (Pieter Noordhuis's reverse
binary iteration, Redis `dictScan`): a key that stays in the table from the first call to the last is
returned at least once, whatever splits and merges happen between the calls.

Called by the keyspace, which owns one table, or one for each slot in cluster mode. A table knows nothing of
expiry, of snapshots or of sizes in bytes.
"""

from __future__ import annotations

from typing import Final

from redoubt.data.text import Value

# Small enough that moving half of one goes unnoticed, large enough that the order of access within one
# bucket is a good guess of the order within all (buckets of 16 lose up to a point of hit rate).
KEYS_PER_BUCKET: Final = 64
# Merging begins far below, so that a table whose size swings does not split and merge all the time.
KEYS_PER_BUCKET_MIN: Final = 16


class Bucket:
    """About 64 keys with their values, and beside them what only some keys have."""

    def __init__(self, depth: int, saved_by: int) -> None:
        self.values: dict[bytes, Value] = {}
        # Absolute expiry times in milliseconds of those keys that have one.
        self.expiries: dict[bytes, int] = {}
        # Access counters, only under an LFU policy: minutes << 8 | logarithmic counter.
        self.frequencies: dict[bytes, int] = {}
        # When a key of this bucket was last read or written.
        self.touched_ms = 0
        # By how many bits of the hash this bucket is found.
        self.depth = depth
        # The number of the newest snapshot that needs nothing more from this bucket.
        self.saved_by = saved_by
        # Where the keyspace's list of all buckets holds this one.
        self.place = -1


class Table:
    """A directory of buckets; see the module's docstring."""

    def __init__(self, saved_by: int) -> None:
        self.buckets = [Bucket(0, saved_by)]
        # All bits that the doubling under way, or just completed, looks at:
        # mask < 2 * len(buckets) and len(buckets) <= mask + 1.
        self.mask = 0
        self.key_count = 0
        # What the keys and their values occupy; kept by the keyspace, as `key_count` is.
        self.content_bytes = 0
        # When the table has been cut off by a flush: the newest snapshot that still includes it.
        self.detached_at = -1

    def bucket_of(self, key: bytes) -> Bucket:
        """Return the bucket in which `key` is or would be."""
        buckets = self.buckets
        index = hash(key) & self.mask
        if index >= len(buckets):
            index &= self.mask >> 1
        return buckets[index]

    def split(self) -> Bucket:
        """Divide the next bucket in turn; return the new half, which is the last bucket."""
        index = len(self.buckets)
        if index > self.mask:
            self.mask = self.mask * 2 + 1
        source = self.buckets[index & (self.mask >> 1)]
        source.depth += 1
        half = Bucket(source.depth, source.saved_by)
        half.touched_ms = source.touched_ms
        mask = self.mask
        # The order of both halves stays the order of access, which the LRU policies rely on.
        stays: dict[bytes, Value] = {}
        for key, value in source.values.items():
            if hash(key) & mask == index:
                half.values[key] = value
            else:
                stays[key] = value
        source.values = stays
        source.expiries = _divide(source.expiries, half.expiries, half.values)
        source.frequencies = _divide(source.frequencies, half.frequencies, half.values)
        self.buckets.append(half)
        return half

    def merge_target(self) -> Bucket:
        """Return the bucket that takes the keys of the last one at the next `merge`."""
        return self.buckets[(len(self.buckets) - 1) & (self.mask >> 1)]

    def merge(self) -> Bucket:
        """Undo the latest split; return the emptied bucket, which is no longer part of the table."""
        target = self.merge_target()
        last = self.buckets.pop()
        if len(self.buckets) <= (self.mask >> 1) + 1:
            self.mask >>= 1
        target.depth -= 1
        target.values.update(last.values)
        target.expiries.update(last.expiries)
        target.frequencies.update(last.frequencies)
        target.touched_ms = max(target.touched_ms, last.touched_ms)
        target.saved_by = max(target.saved_by, last.saved_by)
        return last

    def wants_split(self) -> bool:
        """Say whether the buckets hold too many keys on average."""
        return self.key_count > KEYS_PER_BUCKET * len(self.buckets)

    def wants_merge(self) -> bool:
        """Say whether the buckets hold too few keys on average."""
        return len(self.buckets) > 1 and self.key_count < KEYS_PER_BUCKET_MIN * (len(self.buckets) - 1)

    def is_halved(self, bucket: Bucket) -> bool:
        """Say whether the doubling under way has already divided this bucket."""
        return bucket.depth == self.mask.bit_length() and len(self.buckets) <= self.mask

    def scan(self, cursor: int, keys: list[bytes]) -> int:
        """Append the keys of the bucket at `cursor` to `keys`; return the next cursor, 0 at the end."""
        buckets = self.buckets
        count = len(buckets)
        mask = self.mask if count == self.mask + 1 else self.mask >> 1
        index = cursor & mask
        keys.extend(buckets[index].values)
        if index + mask + 1 < count:  # already divided: its other half is part of this step
            keys.extend(buckets[index + mask + 1].values)
        return _next_reversed(index, mask.bit_length())


def _divide(source: dict[bytes, int], half: dict[bytes, int], moved: dict[bytes, Value]) -> dict[bytes, int]:
    """Put the entries whose keys have moved into `half`; return the others, in a dict of fitting size."""
    stays: dict[bytes, int] = {}
    for key, number in source.items():
        if key in moved:
            half[key] = number
        else:
            stays[key] = number
    return stays


def _next_reversed(index: int, bits: int) -> int:
    """Increment a number of `bits` bits whose lowest bit counts most; 0 after the last."""
    bit = 1 << bits >> 1
    while bit and index & bit:
        index &= ~bit
        bit >>= 1
    return index | bit
