"""Streams: entries under ascending ids, in packed nodes, with the groups of consumers that read them.

The entries lie in nodes of up to stream-node-max-bytes and -entries, each one listpack (`stream_node`), found
by bisection over the ids of the nodes. Entries are added at the end, trimmed from the start, and deleted by a
flag in their place; a node without live entries goes. A stream may be empty and still exist: its counters and
groups are part of the value.

The counters: `last_id` never goes back; `entries_added` counts every entry there ever was; `max_deleted_id`
is the highest id that was deleted from the middle. From them follows how far a group lags behind without
counting entries, as long as nothing was deleted ahead of it. Counters that a client has set stop at 63 bits.

Called by the commands on streams and by the readers and writers of RDB. It knows no keys; what is trimmed is
decided in `stream_trim`. Source: Redis 7.2 `src/t_stream.c`.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from redoubt.data import stream_node
from redoubt.data.limits import Limits
from redoubt.data.memory import size_of_bytes
from redoubt.data.stream_group import READ_UNKNOWN, Group, Tally
from redoubt.data.stream_id import ID_MAX, SEQUENCE_BITS, milliseconds_of
from redoubt.data.stream_node import NodeReader
from redoubt.data.structure import STRUCTURE_BYTES, Structure
from redoubt.data.text import INTEGER_MAX

# The stream's own lists, numbers, tally, and map of groups, all empty (measured).
STREAM_BYTES: Final = 400
# A node's id, and its place in two lists, beside its pack.
NODE_BYTES: Final = 64
# Where no directive limits a node: Redis goes up to 1 GiB, but here a node is copied at each change.
NODE_BYTES_MAX: Final = 1 << 16


class StreamEntry:
    """An entry as it was read: `items` are field, value, ... in turn."""

    def __init__(self, entry_id: int, items: list[bytes]) -> None:
        self.entry_id = entry_id
        self.items = items


class Stream(Structure):
    """One stream; see the module's docstring."""

    def __init__(self) -> None:
        # The nodes in order, and the ids that they begin with.
        self.packs: list[bytes] = []
        self.node_ids: list[int] = []
        self.bytes_of_packs = 0
        self.length = 0
        self.last_id = 0
        self.first_id = 0  # of the live entries; 0: none
        self.max_deleted_id = 0
        self.entries_added = 0
        self.groups: dict[bytes, Group] = {}
        self.tally = Tally()

    def type_name(self) -> bytes:
        return b"stream"

    def encoding_name(self) -> bytes:
        return b"stream"

    def size_bytes(self) -> int:
        nodes = self.bytes_of_packs + NODE_BYTES * len(self.packs)
        return STRUCTURE_BYTES + STREAM_BYTES + nodes + self.tally.size_bytes

    def count(self) -> int:
        """Return the number of entries, which may be 0."""
        return self.length

    def copy(self) -> Structure:
        twin = Stream()
        twin.packs = list(self.packs)
        twin.node_ids = list(self.node_ids)
        twin.bytes_of_packs = self.bytes_of_packs
        twin.length = self.length
        twin.last_id = self.last_id
        twin.first_id = self.first_id
        twin.max_deleted_id = self.max_deleted_id
        twin.entries_added = self.entries_added
        for name, group in self.groups.items():
            twin.groups[name] = group.copy(twin.tally)
            twin.tally.size_bytes += size_of_bytes(name)
        return twin

    # Entries.

    def next_id(self, now_ms: int) -> int:
        """Return the id that an entry added now gets by itself; beyond ID_MAX if there is none left."""
        if now_ms > milliseconds_of(self.last_id):
            return now_ms << SEQUENCE_BITS
        return self.last_id + 1

    def append(self, entry_id: int, items: list[bytes], limits: Limits) -> None:
        """Add an entry, whose id must be higher than `last_id`."""
        place = len(self.packs) - 1
        if place >= 0 and _has_room(self.packs[place], items, limits):
            pack = stream_node.appended(self.packs[place], self.node_ids[place], entry_id, items)
            self.replace_node(place, pack)
        else:
            pack = stream_node.appended(stream_node.empty_node(items), entry_id, entry_id, items)
            self.take_node(entry_id, pack)
        self.length += 1
        self.entries_added = min(self.entries_added + 1, INTEGER_MAX)
        self.last_id = entry_id
        if self.length == 1:
            self.first_id = entry_id

    def has(self, entry_id: int) -> bool:
        """Say whether there is an entry under this id."""
        return self._find(entry_id) is not None

    def range(self, first: int, last: int, count: int, is_reversed: bool = False) -> list[StreamEntry]:
        """Return up to `count` (0: all) entries with ids from `first` to `last`, or from `last` down."""
        found: list[StreamEntry] = []
        if first > last:
            return found
        place = bisect_right(self.node_ids, last if is_reversed else first) - 1
        if is_reversed:
            while place >= 0 and self._take_backwards(place, first, last, count, found):
                place -= 1
            return found
        place = max(place, 0)
        while place < len(self.packs) and self._take_forwards(place, first, last, count, found):
            place += 1
        return found

    def last_valid_id(self) -> int:
        """Return the highest id of the live entries; 0 if there is none."""
        place = len(self.packs) - 1
        while place >= 0:
            reader = NodeReader(self.packs[place], self.node_ids[place], True)
            if reader.previous():
                return reader.entry_id
            place -= 1
        return 0

    def delete(self, entry_id: int) -> bool:
        """Delete an entry from wherever it stands; say whether it was there."""
        reader = self._find(entry_id)
        if reader is None:
            return False
        place = bisect_right(self.node_ids, entry_id) - 1
        if stream_node.live_count(reader.pack) == 1:
            self.remove_nodes(place, place + 1)
        else:
            self.replace_node(place, stream_node.with_deleted(reader.pack, [reader.entry_at]))
        self.length -= 1
        self.max_deleted_id = max(self.max_deleted_id, entry_id)
        if entry_id == self.first_id or self.length == 0:
            self.find_first()
        return True

    def find_first(self) -> None:
        """Set `first_id` anew, after entries at the start have gone."""
        self.first_id = 0
        if self.length:
            self.first_id = self.range(0, ID_MAX, 1)[0].entry_id

    def _find(self, entry_id: int) -> NodeReader | None:
        """Return a reader that stands at an entry, or None."""
        place = bisect_right(self.node_ids, entry_id) - 1
        if place < 0:
            return None
        reader = NodeReader(self.packs[place], self.node_ids[place])
        while reader.next():
            if reader.entry_id >= entry_id:
                return reader if reader.entry_id == entry_id else None
        return None

    def _take_forwards(self, place: int, first: int, last: int, count: int, found: list[StreamEntry]) -> bool:
        """Append the entries of one node that lie in the range; say whether to go on."""
        reader = NodeReader(self.packs[place], self.node_ids[place])
        while reader.next():
            if reader.entry_id > last:
                return False
            if reader.entry_id >= first:
                found.append(StreamEntry(reader.entry_id, reader.items()))
                if len(found) == count:
                    return False
        return True

    def _take_backwards(
        self, place: int, first: int, last: int, count: int, found: list[StreamEntry]
    ) -> bool:
        reader = NodeReader(self.packs[place], self.node_ids[place], True)
        while reader.previous():
            if reader.entry_id < first:
                return False
            if reader.entry_id <= last:
                found.append(StreamEntry(reader.entry_id, reader.items()))
                if len(found) == count:
                    return False
        return True

    # Groups.

    def add_group(self, name: bytes, last_id: int, entries_read: int) -> Group:
        """Make a group, which must not exist yet."""
        group = Group(last_id, entries_read, self.tally)
        self.groups[name] = group
        self.tally.size_bytes += size_of_bytes(name)
        return group

    def delete_group(self, name: bytes) -> bool:
        """Remove a group; say whether it was there."""
        group = self.groups.pop(name, None)
        if group is None:
            return False
        self.tally.size_bytes -= size_of_bytes(name) + group.own_bytes()
        return True

    def note_delivered(self, group: Group, entry_id: int) -> None:
        """Let a group have read up to an entry that lies ahead of it."""
        is_known = group.entries_read != READ_UNKNOWN
        if is_known and group.last_id >= self.first_id and not self._has_deleted_from(group.last_id):
            group.entries_read = min(group.entries_read + 1, INTEGER_MAX)
        elif self.entries_added:
            group.entries_read = self.entries_up_to(entry_id)
        group.last_id = entry_id

    def lag_of(self, group: Group) -> int | None:
        """Return how many entries a group has not read yet; None if deletions make that unknown."""
        if self.entries_added == 0 or self.length == 0:
            return 0
        if group.last_id < self.first_id and self.max_deleted_id < self.first_id:
            return self.length
        entries_read = group.entries_read
        if entries_read == READ_UNKNOWN or self._has_deleted_from(group.last_id):
            entries_read = self.entries_up_to(group.last_id)
        return None if entries_read == READ_UNKNOWN else self.entries_added - entries_read

    def entries_up_to(self, entry_id: int) -> int:
        """Return how many entries were ever added up to this id; READ_UNKNOWN if that needs counting."""
        if self.entries_added == 0:
            return 0
        if self.length == 0 and entry_id <= self.last_id:
            return self.entries_added
        if 0 < entry_id < self.max_deleted_id:
            return READ_UNKNOWN
        if entry_id == self.last_id:
            return self.entries_added
        if entry_id > self.last_id or (self.max_deleted_id and self.max_deleted_id >= self.first_id):
            return READ_UNKNOWN
        if entry_id < self.first_id:
            return self.entries_added - self.length
        return self.entries_added - self.length + 1 if entry_id == self.first_id else READ_UNKNOWN

    def _has_deleted_from(self, entry_id: int) -> bool:
        """Say whether an entry at this id or behind it has been deleted."""
        return self.length > 0 and self.max_deleted_id > 0 and entry_id <= self.max_deleted_id

    # Nodes.

    def take_node(self, node_id: int, pack: bytes) -> None:
        """Put a whole node behind the last (also for the reader of RDB); the counters are the caller's."""
        self.node_ids.append(node_id)
        self.packs.append(pack)
        self.bytes_of_packs += size_of_bytes(pack)

    def replace_node(self, place: int, pack: bytes) -> None:
        """Put a changed node in the place of what it was."""
        self.bytes_of_packs += size_of_bytes(pack) - size_of_bytes(self.packs[place])
        self.packs[place] = pack

    def remove_nodes(self, place: int, past: int) -> None:
        """Remove the nodes from `place` to before `past`."""
        for pack in self.packs[place:past]:
            self.bytes_of_packs -= size_of_bytes(pack)
        del self.packs[place:past]
        del self.node_ids[place:past]


def _has_room(pack: bytes, items: list[bytes], limits: Limits) -> bool:
    """Say whether a node may take one entry more: the rule of Redis, so that nodes end at the same places."""
    size = len(pack)
    for text in items:
        size += len(text)
    if size >= (limits.stream_bytes or NODE_BYTES_MAX):
        return False
    if not limits.stream_entries:
        return True
    return stream_node.live_count(pack) + stream_node.deleted_count(pack) < limits.stream_entries
