"""Active expiry: forgetting keys whose time has come although nobody asks for them.

A key that is asked for after its time is deleted on the spot (`Keyspace.lookup`). What nobody asks for would
stay for ever, so a cycle walks through the buckets ten times a second and deletes what is due. How far it
walks is decided by what it finds, as in Redis: it goes on while more than 10 % of the expiry times it looked
at had passed, and stops as soon as fewer had. So an idle database costs a glance at a few buckets, while a
million keys that expire together are gone within seconds, and the share of dead keys in memory stays bounded
at about the share that it tolerates.

The core has no clock, so the bound on one call's work is a count: keys deleted, expiry times looked at and
buckets visited each have a limit, chosen so that a call takes a few milliseconds. A call that stopped at a
limit says that it is behind, and is called again sooner than the next regular tick.

The cursor counts through the keyspace's list of all buckets. Splits append to that list and merges fill a gap
with its last bucket, so a bucket may be met twice or late, which does no harm.

Called by `redoubt.upkeep`, on masters only: a replica waits for its master's DEL. The remaining lifetimes
that it sees on its way make the average that INFO keyspace reports.
Source: Redis documentation, EXPIRE, "How Redis expires keys"; `active-expire-effort`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from redoubt.data.keyspace import Keyspace
    from redoubt.data.table import Bucket

# Redis: keys per loop, and the share of stale ones that ends the cycle (10 % at effort 1, 1 % at effort 10).
KEYS_PER_LOOP: Final = 20
STALE_PERCENT: Final = 10
# Deleting and propagating a key takes 1 to 2 us compiled, 3 us interpreted: at most 4 ms a call at effort 1,
# and 2.5 times that at effort 10. Looking at an expiry time takes a fiftieth of it, at an empty bucket less.
KEYS_DELETED_MAX: Final = 2_000
KEYS_EXAMINED_MAX: Final = 100_000
BUCKETS_VISITED_MAX: Final = 20_000
# A loop that finds few expiry times ends after so many buckets (Redis: 20 buckets per key of the loop).
BUCKETS_PER_LOOP: Final = 400


class ActiveExpiry:
    """The cycle over all databases of one server, and where it stands."""

    def __init__(self, keyspaces: list[Keyspace]) -> None:
        self.keyspaces = keyspaces
        self.effort = 1
        # The last call stopped at a limit although keys are due: call again soon.
        self.is_behind = False
        self._cursors = [0] * len(keyspaces)
        self._first = 0
        self._deleted = 0
        self._examined = 0
        self._visited = 0

    def run(self, now_ms: int) -> int:
        """Delete a bounded number of keys that are due; return how many. Called by every tick."""
        self._deleted = self._examined = self._visited = 0
        self.is_behind = False
        count = len(self.keyspaces)
        for step in range(count):
            index = (self._first + step) % count
            if self.keyspaces[index].expiring_count:
                self._run_in(index, now_ms)
                if self.is_behind:
                    # The next call begins here, so that no database starves behind a busy one.
                    self._first = index
                    break
        return self._deleted

    def _run_in(self, index: int, now_ms: int) -> None:
        """Walk on through one database while the share of stale keys is too high."""
        keyspace = self.keyspaces[index]
        effort = self.effort - 1
        stale_percent = STALE_PERCENT - effort
        keys_per_loop = KEYS_PER_LOOP + KEYS_PER_LOOP // 4 * effort
        limit_percent = 100 + effort * 150 // 9
        while keyspace.expiring_count:
            examined = deleted = visited = 0
            while examined < keys_per_loop and visited < BUCKETS_PER_LOOP and keyspace.expiring_count:
                if self._cursors[index] >= len(keyspace.buckets):
                    self._cursors[index] = 0
                bucket = keyspace.buckets[self._cursors[index]]
                self._cursors[index] += 1
                visited += 1
                if bucket.expiries:
                    examined += len(bucket.expiries)
                    deleted += self._expire_bucket(keyspace, bucket, now_ms)
            self._visited += visited
            self._examined += examined
            self._deleted += deleted
            if deleted * 100 <= examined * stale_percent:
                return
            if (
                self._deleted * 100 >= KEYS_DELETED_MAX * limit_percent
                or self._examined >= KEYS_EXAMINED_MAX
                or self._visited >= BUCKETS_VISITED_MAX
            ):
                self.is_behind = True
                return

    def _expire_bucket(self, keyspace: Keyspace, bucket: Bucket, now_ms: int) -> int:
        """Delete what is due in one bucket; return how many keys that were."""
        due: list[bytes] = []
        left_ms = 0
        expiries = bucket.expiries
        for key, due_ms in expiries.items():
            if due_ms < now_ms:
                due.append(key)
            else:
                left_ms += due_ms - now_ms
        alive = len(expiries) - len(due)
        if alive:
            self._average(keyspace, left_ms // alive)
        deleted = 0
        for key in due:
            if keyspace.delete_expired(key):
                deleted += 1
        return deleted

    def _average(self, keyspace: Keyspace, left_ms: int) -> None:
        """Move the average of remaining lifetimes by a fiftieth towards a new sample, as Redis does."""
        if keyspace.average_ttl_ms == 0:
            keyspace.average_ttl_ms = left_ms
        else:
            keyspace.average_ttl_ms += (left_ms - keyspace.average_ttl_ms) // 50
