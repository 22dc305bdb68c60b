"""Removes fields of hashes whose time has passed: when somebody comes across them, and in bounded slices.

As with whole keys, the master decides: it removes the fields, tells the replicas with one HDEL, and removes
the hash with its last field. A replica, and a master whose writes are paused, only hide them
(`redoubt.data.hash`). Whoever opens a hash has a few due fields removed on the way; the rest stay hidden
until the cycle, which walks the hashes in the order of their first due field, has come to them. So the work
of any one call is bounded however many fields expire at once.

Called by the commands on hashes through `UpkeepHook.reap_fields`, and by `redoubt.upkeep` at every tick. What
is removed here does not count as a change of the command that came across it: it is propagated here.
Source: the Redis documentation, HEXPIRE; `src/t_hash.c` of Redis 7.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.data.field_deadlines import note_fields
from redoubt.data.hash import Hash
from redoubt.keyspace_events import EVENT_GENERIC, EVENT_HASH
from redoubt.session import GATE_PAUSED

if TYPE_CHECKING:
    from redoubt.data.keyspace import Keyspace
    from redoubt.state import ServerState

# Removing a field takes some microseconds, in a pack about ten: at most 20 ms a tick, 1 ms an access.
FIELDS_PER_TICK: Final = 2_000
FIELDS_PER_ACCESS: Final = 100


class FieldExpiry:
    """The expiry of fields on one server; see the module's docstring."""

    def __init__(self, state: ServerState) -> None:
        self.state = state
        # The last call stopped at its limit although fields are due: call again soon.
        self.is_behind = False

    def may_reap(self) -> bool:
        """Say whether we are the one who decides, and may tell the replicas."""
        return not (self.state.replication.is_replica or self.state.gates & GATE_PAUSED)

    def run(self, now_ms: int) -> int:
        """Remove a bounded number of fields that are due; return how many."""
        removed = 0
        self.is_behind = False
        for keyspace in self.state.keyspaces:
            deadlines = keyspace.field_deadlines
            while removed < FIELDS_PER_TICK:
                keys = deadlines.due(now_ms, 1)
                if not keys:
                    break
                found = keyspace.get(keys[0])
                if isinstance(found, Hash):
                    removed += self.reap(keyspace, keys[0], found, now_ms, FIELDS_PER_TICK - removed)
                else:
                    deadlines.remove(keys[0])
            if removed >= FIELDS_PER_TICK:
                self.is_behind = True
                break
        return removed

    def reap(self, keyspace: Keyspace, key: bytes, found: Hash, now_ms: int, limit: int) -> int:
        """Remove up to `limit` due fields of one hash; return how many."""
        fields = [] if found.deadlines is None else found.deadlines.due(now_ms, limit)
        if not fields:
            note_fields(keyspace, key, found)
            return 0
        self.remove(keyspace, key, found, fields)
        return len(fields)

    def remove(self, keyspace: Keyspace, key: bytes, found: Hash, fields: list[bytes]) -> None:
        """Remove fields whose time has passed, and the hash with its last one; tell the replicas."""
        changes = keyspace.changes
        size_before = keyspace.begin_change(key)
        for field in fields:
            found.remove(field)
        keyspace.end_change(found, size_before)
        note_fields(keyspace, key, found)
        replication = self.state.replication
        if replication.is_feeding:
            replication.feed(keyspace.database, [b"HDEL", key, *fields])
        self.state.statistics.expired_fields += len(fields)
        events = self.state.events
        events.notify(keyspace.database, EVENT_HASH, b"hexpired", key)
        if found.count() == 0:
            keyspace.delete(key)
            events.notify(keyspace.database, EVENT_GENERIC, b"del", key)
        # Not the doing of the command that came across it.
        keyspace.changes = changes
