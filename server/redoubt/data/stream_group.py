"""Consumer groups of streams: how far a group has read, its consumers, and what they have not acknowledged.

Every pending entry stands in two maps: the group's, which finds it by id, and its consumer's, which is that
consumer's history. Both hold the same object, which only names its consumer, so that the graph has no cycle.

What a group occupies is counted in the tally of its stream, since a stream must know its size at any time.
Called by the commands on groups, by `redoubt.data.stream` and by the readers and writers of RDB. It knows no
keys and no entries.
"""

from __future__ import annotations

from typing import Final

from redoubt.data.id_map import IdMap, Pending
from redoubt.data.memory import size_of_bytes
from redoubt.data.stream_id import ID_MAX
from redoubt.data.text import INTEGER_MAX

# Of `entries_read`: what the group has read cannot be told.
READ_UNKNOWN: Final = -1
# Objects, maps without their entries, and places in a dict (measured).
GROUP_BYTES: Final = 700
CONSUMER_BYTES: Final = 600
# The id and the pending entry, two places in lists of both maps (measured).
PENDING_BYTES: Final = 170


class Tally:
    """The bytes of all groups of one stream."""

    def __init__(self) -> None:
        self.size_bytes = 0


class Consumer:
    """One consumer of a group."""

    def __init__(self, name: bytes, seen_ms: int) -> None:
        self.name = name
        # When it last asked for something, and when it last got something (-1: never).
        self.seen_ms = seen_ms
        self.active_ms = -1
        self.pending = IdMap()


class Group:
    """One consumer group; see the module's docstring."""

    def __init__(self, last_id: int, entries_read: int, tally: Tally) -> None:
        # The last entry that was delivered to anybody.
        self.last_id = last_id
        # How many entries of the stream had ever been added up to `last_id`.
        self.entries_read = entries_read
        self.pending = IdMap()
        self.consumers: dict[bytes, Consumer] = {}
        self.tally = tally
        tally.size_bytes += GROUP_BYTES

    def add_consumer(self, name: bytes, now_ms: int) -> Consumer:
        """Make a consumer, which must not exist yet."""
        consumer = Consumer(name, now_ms)
        self.consumers[name] = consumer
        self.tally.size_bytes += CONSUMER_BYTES + size_of_bytes(name)
        return consumer

    def delete_consumer(self, name: bytes) -> int:
        """Remove a consumer with everything that is pending for it; return how much that was, -1: no such."""
        consumer = self.consumers.pop(name, None)
        if consumer is None:
            return -1
        for entry_id, _ in consumer.pending.slice(0, ID_MAX, 0):
            self.pending.remove(entry_id)
        count = consumer.pending.total
        self.tally.size_bytes -= CONSUMER_BYTES + size_of_bytes(name) + PENDING_BYTES * count
        return count

    def sorted_consumers(self) -> list[Consumer]:
        """Return the consumers by name."""
        return [self.consumers[name] for name in sorted(self.consumers)]

    def assign(self, entry_id: int, consumer: Consumer, delivered_ms: int, deliveries: int) -> Pending:
        """Let an entry be pending for a consumer, whoever had it before."""
        deliveries = min(deliveries, INTEGER_MAX)
        pending = self.pending.get(entry_id)
        if pending is None:
            pending = Pending(consumer.name, delivered_ms, deliveries)
            self.pending.put(entry_id, pending)
            consumer.pending.put(entry_id, pending)
            self.tally.size_bytes += PENDING_BYTES
            return pending
        if pending.owner != consumer.name:
            self.consumers[pending.owner].pending.remove(entry_id)
            consumer.pending.put(entry_id, pending)
            pending.owner = consumer.name
        pending.delivered_ms = delivered_ms
        pending.deliveries = deliveries
        return pending

    def release(self, entry_id: int) -> bool:
        """Let an entry be pending no more; say whether it was."""
        pending = self.pending.remove(entry_id)
        if pending is None:
            return False
        self.consumers[pending.owner].pending.remove(entry_id)
        self.tally.size_bytes -= PENDING_BYTES
        return True

    def copy(self, tally: Tally) -> Group:
        """Return a group that changes independently, counted in the tally of another stream."""
        twin = Group(self.last_id, self.entries_read, tally)
        for name, consumer in self.consumers.items():
            other = twin.add_consumer(name, consumer.seen_ms)
            other.active_ms = consumer.active_ms
        for entry_id, pending in self.pending.slice(0, ID_MAX, 0):
            owner = twin.consumers[pending.owner]
            twin.assign(entry_id, owner, pending.delivered_ms, pending.deliveries)
        return twin

    def own_bytes(self) -> int:
        """Return what the group occupies, without the place under its name."""
        names = sum([CONSUMER_BYTES + size_of_bytes(name) for name in self.consumers])
        return GROUP_BYTES + names + PENDING_BYTES * self.pending.total
