"""What the dataset needs from time to time: expiry, eviction, measuring, freeing.

Every tick deletes a bounded number of expired keys and expired fields, goes on with an interrupted eviction,
gives back memory of lazily flushed databases, and measures a few buckets. The maxmemory directives are
followed here: while a limit is set, the memory gate is raised, and `has_room` is asked before each command
that may need memory. What is deleted here is counted and propagated as DEL.

The node creates it and calls `tick`; the admission of commands calls `has_room`. It decides nothing about
which keys go: that is `redoubt.data.expires` and `redoubt.data.eviction`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from redoubt.data.eviction import Evictor
from redoubt.data.expires import ActiveExpiry
from redoubt.data.memory import used_memory
from redoubt.field_expiry import FIELDS_PER_ACCESS, FieldExpiry
from redoubt.hooks import UpkeepHook
from redoubt.keyspace_events import EVENT_EVICTED
from redoubt.latency import EVICTION_CYCLE, EXPIRE_CYCLE
from redoubt.memory_report import counted_buffer_bytes
from redoubt.session import GATE_MEMORY, GATE_PAUSED

if TYPE_CHECKING:
    from redoubt.data.hash import Hash
    from redoubt.data.keyspace import Keyspace
    from redoubt.state import ServerState

# Buckets of a lazily flushed database that one tick gives back: about 64,000 keys, 5 ms.
BUCKETS_RELEASED: Final = 1_000
# Memory is given back once the dataset has shrunk by this much, and by this share of what it was.
TRIMMED_BYTES_MIN: Final = 16 * 1024 * 1024
TRIMMED_SHARE: Final = 8
TRIM_PERIOD_MS: Final = 5_000
_DIRECTIVES: Final = (
    "maxmemory", "maxmemory-policy", "maxmemory-samples", "maxmemory-eviction-tenacity", "lfu-log-factor",
    "lfu-decay-time", "active-expire-effort", "repl-backlog-size",
)  # fmt: skip


def no_clock() -> int:
    """Stand in for the clock where time stands still."""
    return 0


class Upkeep(UpkeepHook):
    """The periodic work of one server on its dataset; see the module's docstring."""

    def __init__(self, state: ServerState, clock_us: Callable[[], int] = no_clock) -> None:
        super().__init__()
        self.state = state
        # The size of the dataset above which falling a good deal makes the allocator give memory back.
        self.trimmed_at_bytes = 0
        self.trimmed_ms = 0
        self.expiry = ActiveExpiry(state.keyspaces)
        self.fields = FieldExpiry(state)
        # Where time stands still, as in simulations, victims are counted instead.
        self.evictor = Evictor(state.keyspaces, state.random, clock_us if clock_us() else None)
        self.evictor.on_evicted = self.key_evicted
        for keyspace in state.keyspaces:
            keyspace.clock_ms = state.now_ms
        for name in _DIRECTIVES:
            state.config.on_change(name, self.follow_config)
        self.follow_config()

    def follow_config(self) -> str:
        """Take over the directives; called at the start and after each change of one."""
        config = self.state.config
        self.expiry.effort = config.active_expire_effort
        self.evictor.follow(
            config.maxmemory, config.maxmemory_policy, config.lfu_log_factor, config.lfu_decay_time
        )
        self.evictor.pace(config.maxmemory_eviction_tenacity, config.maxmemory_samples)
        self.state.set_gate(GATE_MEMORY, config.maxmemory > 0)
        return ""

    def has_room(self) -> bool:
        """Evict if the dataset is too big; False if it stays so, and the command must be refused."""
        if self.state.replication.is_replica:
            if self.state.config.replica_ignore_maxmemory:
                return True  # the master evicts for its replicas
            # A replica never evicts by itself; told to mind the limit, it refuses.
            return self.evictor.counted_bytes() <= self.evictor.limit_bytes
        return self.make_room(self.state.now_ms)

    def make_room(self, now_ms: int) -> bool:
        """Evict if the dataset is too big; the latency monitor sees how long that takes."""
        self.evictor.buffer_bytes = counted_buffer_bytes(self.state)
        begun_us = self.state.latency.begin()
        has_room = self.evictor.make_room(now_ms)
        self.state.latency.end(EVICTION_CYCLE, begun_us)
        return has_room

    def tick(self, now_ms: int) -> None:
        """Do a bounded amount of everything."""
        for keyspace in self.state.keyspaces:
            keyspace.clock_ms = now_ms
            if keyspace.discarded:
                keyspace.release(BUCKETS_RELEASED)
            if keyspace.key_count:
                keyspace.measure()
        self.give_back(now_ms)
        self.expiry.is_behind = self.fields.is_behind = False
        if self.state.replication.is_replica or self.state.gates & GATE_PAUSED:
            self.evictor.is_behind = False
            return
        if self.is_expiring:
            begun_us = self.state.latency.begin()
            self.expiry.run(now_ms)
            self.fields.run(now_ms)
            self.state.latency.end(EXPIRE_CYCLE, begun_us)
        if self.evictor.is_behind:
            self.make_room(now_ms)

    def give_back(self, now_ms: int) -> None:
        """Have the allocator return what it holds without use, after much has been deleted."""
        used = used_memory(self.state.keyspaces)
        if used > self.trimmed_at_bytes:
            self.trimmed_at_bytes = used
        fallen = self.trimmed_at_bytes - used
        if fallen < TRIMMED_BYTES_MIN or fallen < self.trimmed_at_bytes // TRIMMED_SHARE:
            return
        # Not while a wave of deletions is under way: once it is over, or now and then.
        is_over = not (self.is_behind() or self.is_releasing())
        if is_over or now_ms - self.trimmed_ms > TRIM_PERIOD_MS:
            self.trimmed_ms = now_ms
            self.trimmed_at_bytes = used
            self.state.process.give_back_memory()

    def is_releasing(self) -> bool:
        """Say whether memory of lazily flushed databases is still being given back."""
        return sum([len(keyspace.discarded) for keyspace in self.state.keyspaces]) > 0

    def is_behind(self) -> bool:
        """Say whether a tick sooner than the next regular one would find work."""
        return self.expiry.is_behind or self.fields.is_behind or self.evictor.is_behind

    def reap_fields(
        self, keyspace: Keyspace, key: bytes, found: Hash, now_ms: int, named: list[bytes]
    ) -> bool:
        """Remove due fields of a hash that is being opened, if we may; say whether it is gone with them.

        named: fields that go in any case if they are due; of the others some.
        """
        if not 0 < found.next_due_ms() < now_ms or not self.fields.may_reap():
            return False
        hidden = [field for field in named if found.is_hidden(field, now_ms)]
        if hidden:
            self.fields.remove(keyspace, key, found, list(dict.fromkeys(hidden)))
        if found.count():
            self.fields.reap(keyspace, key, found, now_ms, FIELDS_PER_ACCESS)
        return found.count() == 0

    def key_evicted(self, database: int, key: bytes) -> None:
        """Count and propagate the deletion of a victim."""
        self.state.statistics.evicted_keys += 1
        self.state.events.notify(database, EVENT_EVICTED, b"evicted", key)
        if self.state.replication.is_feeding:
            self.state.replication.feed(database, [b"DEL", key])
