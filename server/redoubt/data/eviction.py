"""Eviction: making room when the dataset has grown beyond maxmemory.

Before a command that may need memory, `make_room` compares `used_memory` with the limit and, if it is
exceeded, deletes victims until it is not. Which key is a victim is the policy's word:

- *-lru: a key that is used moves to the end of its small dict, so the head of a bucket is the least recently
  used of some 64 keys. Of three random buckets the fullest gives its head. Taking the fullest keeps all
  buckets equally full, and then each bucket's order is a fair sample of the whole: simulated hit rates are
  within 0.2 points of true LRU. While the directory is being doubled, a bucket that has been halved already
  counts double, or the others would pay for it.
- *-lfu: the lowest access counter in a random bucket (some 64 samples, where Redis takes 5).
- *-random: any key. volatile-ttl: the key of a random bucket that expires next.
- volatile-*: only keys that have an expiry; when there are none, nothing can be freed.
- noeviction: nothing is freed, and the command is answered with an OOM error.

One call deletes a limited number of keys, so that lowering maxmemory by half does not stop the server: it
then lets the command pass and says that it is behind, and the ticks go on. Each victim is told to the
listener, which propagates a DEL. A replica does not evict; it follows its master.

Called by the admission of commands and by `redoubt.upkeep`. It reads no clock and sends nothing.
Source: Redis documentation, "Key eviction"; `maxmemory-policy`.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Final

from redoubt.data.frequency import decayed_counter, initial_frequency
from redoubt.data.keyspace import ACCESS_FREQUENT, ACCESS_RECENT, ACCESS_UNORDERED
from redoubt.data.memory import used_memory

if TYPE_CHECKING:
    from redoubt.data.keyspace import Keyspace
    from redoubt.data.table import Bucket

# Victims of one call, about 2 ms compiled.
VICTIMS_MAX: Final = 1_000
# Of so many random buckets the fullest gives the victim.
BUCKETS_COMPARED: Final = 3
# Random buckets tried for one with an expiry before the search goes through all of them in turn.
VOLATILE_TRIES: Final = 16


class Evictor:
    """The eviction of one server."""

    def __init__(self, keyspaces: list[Keyspace], random: Random) -> None:
        self.keyspaces = keyspaces
        self.random = random
        self.limit_bytes = 0
        self.policy = "noeviction"
        # Called with (database, key) after a victim was deleted.
        self.on_evicted: Callable[[int, bytes], None] | None = None
        # The last call stopped at its limit with the dataset still too big: call again soon.
        self.is_behind = False
        self._is_volatile = False
        self._rank = "noeviction"
        self._search_place = 0

    def follow(self, limit_bytes: int, policy: str, lfu_log_factor: int, lfu_decay_minutes: int) -> None:
        """Take over the directives, and have the keyspaces remember accesses as the policy needs it."""
        self.limit_bytes = limit_bytes
        self.policy = policy
        scope, _, rank = policy.partition("-")
        self._is_volatile = scope == "volatile"
        self._rank = rank or "noeviction"
        access = {"lru": ACCESS_RECENT, "lfu": ACCESS_FREQUENT}.get(rank, ACCESS_UNORDERED)
        for keyspace in self.keyspaces:
            keyspace.lfu_log_factor = lfu_log_factor
            keyspace.lfu_decay_minutes = lfu_decay_minutes
            keyspace.remember_accesses(access)

    def make_room(self, now_ms: int) -> bool:
        """Bring the dataset below the limit; False if it is above and nothing can be freed."""
        self.is_behind = False
        if not self.limit_bytes or used_memory(self.keyspaces) <= self.limit_bytes:
            return True
        if self._rank == "noeviction":
            return False
        for _ in range(VICTIMS_MAX):
            if not self._evict_one(now_ms):
                return False
            if used_memory(self.keyspaces) <= self.limit_bytes:
                return True
        self.is_behind = True
        return True

    def _evict_one(self, now_ms: int) -> bool:
        keyspace = self._choose_keyspace()
        if keyspace is None:
            return False
        if self._is_volatile:
            bucket = self._volatile_bucket(keyspace)
        else:
            bucket = self._fullest_bucket(keyspace)
        key = self._choose_key(keyspace, bucket, now_ms)
        keyspace.delete(key)
        if self.on_evicted is not None:
            self.on_evicted(keyspace.database, key)
        return True

    def _choose_keyspace(self) -> Keyspace | None:
        """Choose a database in proportion to its keys that may be evicted; None if there are none."""
        if len(self.keyspaces) == 1:
            return self.keyspaces[0] if self._candidates(self.keyspaces[0]) else None
        total = sum([self._candidates(keyspace) for keyspace in self.keyspaces])
        place = int(self.random.random() * total)
        for keyspace in self.keyspaces:
            place -= self._candidates(keyspace)
            if place < 0:
                return keyspace
        return None

    def _candidates(self, keyspace: Keyspace) -> int:
        return keyspace.expiring_count if self._is_volatile else keyspace.key_count

    def _fullest_bucket(self, keyspace: Keyspace) -> Bucket:
        """Return the fullest of a few random buckets; one with keys exists."""
        best = keyspace.random_bucket()
        best_fill = keyspace.fill_of(best)
        for _ in range(BUCKETS_COMPARED - 1):
            bucket = keyspace.random_bucket()
            fill = keyspace.fill_of(bucket)
            if fill > best_fill:
                best, best_fill = bucket, fill
        return best if best_fill else self._next_bucket(keyspace)

    def _volatile_bucket(self, keyspace: Keyspace) -> Bucket:
        """Return a random bucket that holds an expiry; one exists."""
        best = keyspace.random_bucket()
        for trial in range(VOLATILE_TRIES):
            if trial >= BUCKETS_COMPARED and best.expiries:
                break
            bucket = keyspace.random_bucket()
            if len(bucket.expiries) > len(best.expiries):
                best = bucket
        return best if best.expiries else self._next_bucket(keyspace)

    def _next_bucket(self, keyspace: Keyspace) -> Bucket:
        """Go on through all buckets to the next one that holds a candidate: few do, but one."""
        buckets = keyspace.buckets
        for _ in range(len(buckets)):
            self._search_place = (self._search_place + 1) % len(buckets)
            bucket = buckets[self._search_place]
            if bucket.expiries if self._is_volatile else bucket.values:
                return bucket
        raise AssertionError("the count of keys says there is a candidate, but no bucket holds one")

    def _choose_key(self, keyspace: Keyspace, bucket: Bucket, now_ms: int) -> bytes:
        """Return the victim in a bucket that holds at least one candidate."""
        if self._rank == "ttl":
            return _soonest(bucket)
        # Only LRU needs the order of access; otherwise the expiries can be asked directly.
        if self._rank == "lru":
            return _least_recent(bucket, self._is_volatile)
        candidates = list(bucket.expiries) if self._is_volatile else list(bucket.values)
        if self._rank == "random":
            return candidates[int(self.random.random() * len(candidates))]
        return _least_frequent(bucket, candidates, now_ms, keyspace.lfu_decay_minutes)


def _least_recent(bucket: Bucket, is_volatile: bool) -> bytes:
    for key in bucket.values:
        if not is_volatile or key in bucket.expiries:
            return key
    raise AssertionError("a bucket with candidates has a head")


def _soonest(bucket: Bucket) -> bytes:
    best = b""
    best_ms = 0
    for key, due_ms in bucket.expiries.items():
        if best_ms == 0 or due_ms < best_ms:
            best, best_ms = key, due_ms
    return best


def _least_frequent(bucket: Bucket, candidates: list[bytes], now_ms: int, decay_minutes: int) -> bytes:
    best = candidates[0]
    best_counter = 256
    for key in candidates:
        packed = bucket.frequencies.get(key, -1)
        if packed < 0:
            packed = initial_frequency(now_ms)
        counter = decayed_counter(packed, now_ms, decay_minutes)
        if counter < best_counter:
            best, best_counter = key, counter
    return best
