"""Eviction: making room when the dataset has grown beyond maxmemory.

Before a command that may need memory, `make_room` compares `used_memory` with the limit and, if it is
exceeded, deletes victims until it is not. Which key is a victim is the policy's word:

- *-lru: a key that is used moves to the end of its small dict, so the head of a bucket is the least recently
  used of some 64 keys. Of three random buckets the fullest gives its head. Taking the fullest keeps all
  buckets equally full, and then each bucket's order is a fair sample of the whole: simulated hit rates are
  within 0.2 points of true LRU. While the directory is being doubled, a bucket that has been halved already
  counts double, or the others would pay for it.
- *-lfu: the lowest access counter of 40 keys that lie together in a random bucket. The lowest of all 64 is
  better by half a point while popularity stays what it is, but counters forget slowly, and when it drifts
  costs 14 points: what was popular must have a chance to go. Redis's 5 samples and pool do as well as 40.
- *-random: any key. volatile-ttl: of 40 such keys the one that expires next.
- volatile-*: only keys that have an expiry; when there are none, nothing can be freed.
- noeviction: nothing is freed, and the command is answered with an OOM error.

maxmemory-samples scales what is looked at: 5 stands for the three buckets of LRU and the one bucket of LFU
and TTL, 10 for twice as many.

One call takes a limited time (maxmemory-eviction-tenacity), so that lowering maxmemory by half does not stop
the server: it then lets the command pass and says that it is behind, and the ticks go on. But writers must
not outrun it: once the dataset is an overshoot above the limit, a call goes on until it is no larger than it
was, whatever the time. Each victim is told to the listener, which propagates a DEL. A replica does not evict;
it follows its master.

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

# Redis: maxmemory-eviction-tenacity. Up to 10 a step is worth 50 us, above it 15 % more; 100 is no limit.
TENACITY_LINEAR_MAX: Final = 10
TENACITY_STEP_US: Final = 50
TENACITY_GROWTH: Final = 1.15
TENACITY_ENDLESS: Final = 100
# The clock is read after so many victims, as in Redis.
VICTIMS_PER_READING: Final = 16
# Where there is no clock, a victim counts so much: 1,000 victims at the usual tenacity.
VICTIM_US: Final = 0.5
VICTIMS_MAX: Final = 1_000
# How far the dataset may be above the limit before writers must wait for eviction: a part of the limit.
OVERSHOOT_SHARE: Final = 64
OVERSHOOT_BYTES_MIN: Final = 64 * 1024
# maxmemory-samples as Redis and we have it, and what it stands for: of so many random buckets the fullest
# gives the victim of LRU, and in one bucket so many keys are looked at for LFU and TTL.
SAMPLES_USUAL: Final = 5
BUCKETS_COMPARED: Final = 3
COUNTERS_COMPARED: Final = 40
# Random buckets tried for one with an expiry before the search goes through all of them in turn.
VOLATILE_TRIES: Final = 16


class Evictor:
    """The eviction of one server."""

    def __init__(
        self, keyspaces: list[Keyspace], random: Random, clock_us: Callable[[], int] | None = None
    ) -> None:
        """clock_us: None where the time that eviction takes does not matter; then victims are counted."""
        self.keyspaces = keyspaces
        self.random = random
        self.clock_us = clock_us
        self.limit_bytes = 0
        # What counts against the limit beside the dataset (clients, backlog), as last measured.
        self.buffer_bytes = 0
        # Above this a call does not stop for time.
        self.ceiling_bytes = 0
        self.time_limit_us = 0.0
        self.victims_max = 0
        self.tenacity = TENACITY_LINEAR_MAX
        self.policy = "noeviction"
        # Called with (database, key) after a victim was deleted.
        self.on_evicted: Callable[[int, bytes], None] | None = None
        # The last call stopped at its limit with the dataset still too big: call again soon.
        self.is_behind = False
        self._is_volatile = False
        self._rank = "noeviction"
        self._search_place = 0
        # How many buckets are compared (LRU) and searched (LFU, TTL) for a victim.
        self._compared = BUCKETS_COMPARED
        self._searched = 1
        self._counters = COUNTERS_COMPARED
        self.pace(TENACITY_LINEAR_MAX, SAMPLES_USUAL)

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

    def pace(self, tenacity: int, samples: int) -> None:
        """Take over how long a call may take, and how much is looked at for each victim."""
        self.tenacity = tenacity
        self._compared = max(1, samples * BUCKETS_COMPARED // SAMPLES_USUAL)
        self._searched = max(1, samples // SAMPLES_USUAL)
        self._counters = min(COUNTERS_COMPARED, samples * COUNTERS_COMPARED // SAMPLES_USUAL)
        self.time_limit_us = time_limit_us(tenacity)
        self.victims_max = max(VICTIMS_PER_READING, int(self.time_limit_us / VICTIM_US))

    def counted_bytes(self) -> int:
        """Return what is compared with the limit."""
        return used_memory(self.keyspaces) + self.buffer_bytes

    def make_room(self, now_ms: int) -> bool:
        """Bring memory below the limit; False if it is above and nothing can be freed."""
        self.is_behind = False
        limit = self.limit_bytes
        if not limit:
            return True
        used = self.counted_bytes()
        if used <= limit:
            self.ceiling_bytes = 0
            return True
        if self._rank == "noeviction":
            return False
        self.ceiling_bytes = self._ceiling(used)
        begun_us = 0 if self.clock_us is None else self.clock_us()
        victims = 0
        while self._evict_one(now_ms):
            victims += 1
            used = self.counted_bytes()
            if used <= limit:
                self.ceiling_bytes = 0
                return True
            if used <= self.ceiling_bytes and self._has_taken_its_time(begun_us, victims):
                self.ceiling_bytes = self._ceiling(used)
                self.is_behind = True
                return True
        return False

    def _ceiling(self, used: int) -> int:
        """Return above which size a call does not stop for time.

        Where a lower maxmemory or a grown buffer left more than the overshoot, it is what there was then, so
        that it shrinks in pieces; but it never rises again by writing.
        """
        highest = self.limit_bytes + max(self.limit_bytes // OVERSHOOT_SHARE, OVERSHOOT_BYTES_MIN)
        return max(highest, min(used, self.ceiling_bytes) if self.ceiling_bytes else used)

    def _has_taken_its_time(self, begun_us: int, victims: int) -> bool:
        if self.tenacity >= TENACITY_ENDLESS:
            return False
        if self.clock_us is None:
            return victims >= self.victims_max
        return victims % VICTIMS_PER_READING == 0 and self.clock_us() - begun_us > self.time_limit_us

    def _evict_one(self, now_ms: int) -> bool:
        keyspace = self._choose_keyspace()
        if keyspace is None:
            return False
        key = self._choose_key(keyspace, self._candidate_bucket(keyspace), now_ms)
        for _ in range(self._searched - 1):
            if self._rank in ("lfu", "ttl"):
                other = self._choose_key(keyspace, self._candidate_bucket(keyspace), now_ms)
                if self._goes_before(keyspace, other, key, now_ms):
                    key = other
        keyspace.delete(key)
        if self.on_evicted is not None:
            self.on_evicted(keyspace.database, key)
        return True

    def _candidate_bucket(self, keyspace: Keyspace) -> Bucket:
        return self._volatile_bucket(keyspace) if self._is_volatile else self._fullest_bucket(keyspace)

    def _goes_before(self, keyspace: Keyspace, key: bytes, other: bytes, now_ms: int) -> bool:
        """Say whether a key is a better victim of LFU or TTL than another one."""
        if self._rank == "ttl":
            return keyspace.expire_at(key) < keyspace.expire_at(other)
        return _frequency_of(keyspace, key, now_ms) < _frequency_of(keyspace, other, now_ms)

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
        for _ in range(self._compared - 1):
            bucket = keyspace.random_bucket()
            fill = keyspace.fill_of(bucket)
            if fill > best_fill:
                best, best_fill = bucket, fill
        return best if best_fill else self._next_bucket(keyspace)

    def _volatile_bucket(self, keyspace: Keyspace) -> Bucket:
        """Return a random bucket that holds an expiry; one exists."""
        best = keyspace.random_bucket()
        for trial in range(max(VOLATILE_TRIES, self._compared + 1)):
            if trial >= self._compared and best.expiries:
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
            return _soonest(bucket.expiries, self._window(list(bucket.expiries)))
        # Only LRU needs the order of access; otherwise the expiries can be asked directly.
        if self._rank == "lru":
            return _least_recent(bucket, self._is_volatile)
        candidates = list(bucket.expiries) if self._is_volatile else list(bucket.values)
        if self._rank == "random":
            return candidates[int(self.random.random() * len(candidates))]
        return _least_frequent(bucket, self._window(candidates), now_ms, keyspace.lfu_decay_minutes)

    def _window(self, candidates: list[bytes]) -> list[bytes]:
        """Return as many of the keys of a bucket as LFU and TTL look at, from a random one on."""
        left_out = len(candidates) - self._counters
        if left_out <= 0:
            return candidates
        first = int(self.random.random() * (left_out + 1))
        return candidates[first : first + self._counters]


def time_limit_us(tenacity: int) -> float:
    """Return how long one call may take (maxmemory-eviction-tenacity); for 100 it is not asked."""
    if tenacity <= TENACITY_LINEAR_MAX:
        return float(TENACITY_STEP_US * tenacity)
    return float(TENACITY_STEP_US * TENACITY_LINEAR_MAX * TENACITY_GROWTH ** (tenacity - TENACITY_LINEAR_MAX))


def _frequency_of(keyspace: Keyspace, key: bytes, now_ms: int) -> int:
    bucket = keyspace.bucket_of(key)
    packed = -1 if bucket is None else bucket.frequencies.get(key, -1)
    if packed < 0:
        packed = initial_frequency(now_ms)
    return decayed_counter(packed, now_ms, keyspace.lfu_decay_minutes)


def _least_recent(bucket: Bucket, is_volatile: bool) -> bytes:
    for key in bucket.values:
        if not is_volatile or key in bucket.expiries:
            return key
    raise AssertionError("a bucket with candidates has a head")


def _soonest(expiries: dict[bytes, int], candidates: list[bytes]) -> bytes:
    best = b""
    best_ms = 0
    for key in candidates:
        due_ms = expiries[key]
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
