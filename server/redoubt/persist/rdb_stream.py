"""Streams in RDB: the nodes as they lie in memory, the counters, then each group with what is pending in it.

    nodes: id (16 bytes) and listpack | length | last id | first id | highest deleted id | entries added
    groups: name | last id | entries read | pending: id, time, count | consumers: name | seen | active | ids

What is pending stands once in the group, and by its id again in its consumer's list. Three types have grown
out of each other: 15 (Redis 5) lacks the counters, 21 (Redis 7.2) adds when a consumer was last given
something. Type 19 (Redis 7.0) is written, so that files stay readable for 7.0. What comes from outside is
checked before it is believed.

Source: Redis `src/rdb.c` (RDB_TYPE_STREAM_LISTPACKS, _2 and _3).
"""

from __future__ import annotations

from typing import Final

from redoubt.data.id_map import IdMap
from redoubt.data.stream import Stream
from redoubt.data.stream_group import READ_UNKNOWN, Consumer, Group
from redoubt.data.stream_id import (
    ID_BYTES,
    ID_MAX,
    SEQUENCE_MAX,
    make_id,
    milliseconds_of,
    sequence_of,
)
from redoubt.data.stream_node import is_sound_node, live_count
from redoubt.data.text import INTEGER_MAX, Value
from redoubt.persist.rdb_format import TYPE_STREAM_2
from redoubt.persist.rdb_source import RdbSource
from redoubt.persist.rdb_text import write_length, write_text
from redoubt.persist.rdb_value import ValueReader, ValueWriter

TIME_BYTES: Final = 8

# What the reader of a stream reads next.
_NODES: Final = 0
_COUNTERS: Final = 1
_GROUP: Final = 2
_PENDING: Final = 3
_CONSUMER: Final = 4
_OWNED: Final = 5


class StreamWriter(ValueWriter):
    """Writes streams."""

    def type_byte(self, value: Value) -> int:
        """Name the type byte of streams."""
        return TYPE_STREAM_2

    def write(self, value: Value, is_compressed: bool, out: list[bytes]) -> None:
        """Append the stream."""
        assert isinstance(value, Stream)
        write_length(len(value.packs), out)
        for node_id, pack in zip(value.node_ids, value.packs, strict=True):
            write_text(node_id.to_bytes(ID_BYTES, "big"), is_compressed, out)
            write_text(pack, is_compressed, out)
        write_length(value.length, out)
        for entry_id in (value.last_id, value.first_id, value.max_deleted_id):
            _write_id(entry_id, out)
        write_length(value.entries_added, out)
        write_length(len(value.groups), out)
        for name in sorted(value.groups):
            _write_group(name, value.groups[name], is_compressed, out)


def _write_group(name: bytes, group: Group, is_compressed: bool, out: list[bytes]) -> None:
    write_text(name, is_compressed, out)
    _write_id(group.last_id, out)
    write_length(group.entries_read & SEQUENCE_MAX, out)
    write_length(group.pending.total, out)
    for entry_id, pending in group.pending.slice(0, ID_MAX, 0):
        out.append(entry_id.to_bytes(ID_BYTES, "big"))
        out.append(pending.delivered_ms.to_bytes(TIME_BYTES, "little", signed=True))
        write_length(pending.deliveries, out)
    write_length(len(group.consumers), out)
    for consumer in group.sorted_consumers():
        write_text(consumer.name, is_compressed, out)
        out.append(consumer.seen_ms.to_bytes(TIME_BYTES, "little", signed=True))
        _write_ids(consumer.pending, out)


def _write_ids(pending: IdMap, out: list[bytes]) -> None:
    write_length(pending.total, out)
    for entry_id, _ in pending.slice(0, ID_MAX, 0):
        out.append(entry_id.to_bytes(ID_BYTES, "big"))


def _write_id(entry_id: int, out: list[bytes]) -> None:
    write_length(milliseconds_of(entry_id), out)
    write_length(sequence_of(entry_id), out)


class StreamReader(ValueReader):
    """Reads the form of Redis 7.0, a node or a pending entry at a time."""

    def __init__(self) -> None:
        self._has_counters = True
        self._has_active_times = False
        self._stream = Stream()
        self._step = _NODES
        self._left = -1  # of what the present step reads one by one; -1: not known yet
        self._groups_left = 0
        self._consumers_left = 0
        self._group: Group | None = None
        self._consumer: Consumer | None = None
        # What is pending in the group and has found no consumer yet: time and count.
        self._unowned: dict[int, tuple[int, int]] = {}

    def read(self, source: RdbSource) -> Value:
        """Read on; what has been read is kept."""
        while True:
            if self._step == _NODES:
                self._read_nodes(source)
            elif self._step == _COUNTERS:
                self._read_counters(source)
            elif self._step == _GROUP:
                if self._groups_left == 0:
                    return self._stream
                self._read_group(source)
            elif self._step == _PENDING:
                self._read_pending(source)
            elif self._step == _CONSUMER:
                self._read_consumer(source)
            else:
                self._read_owned(source)

    def _go_on(self, step: int, source: RdbSource) -> None:
        self._step = step
        self._left = -1
        source.commit()

    def _read_nodes(self, source: RdbSource) -> None:
        stream = self._stream
        if self._left < 0:
            self._left = source.length()
            source.commit()
        while self._left:
            key = source.text()
            pack = source.text()
            node_id = int.from_bytes(key, "big")
            is_behind = not stream.node_ids or node_id > stream.node_ids[-1]
            if len(key) != ID_BYTES or not is_behind or not is_sound_node(pack, node_id, source.checks_packs):
                raise source.corrupt("a node of a stream", f"{len(pack)} bytes that are none")
            stream.take_node(node_id, pack)
            stream.length += live_count(pack)
            self._left -= 1
            source.commit()
        self._go_on(_COUNTERS, source)

    def _read_counters(self, source: RdbSource) -> None:
        stream = self._stream
        length = source.length()
        last_id = _read_id(source)
        max_deleted_id = 0
        entries_added = length
        if self._has_counters:
            _read_id(source)  # the first id, which the nodes tell as well
            max_deleted_id = _read_id(source)
            entries_added = source.length()
        groups = source.length()
        if length != stream.length:
            raise source.corrupt(f"a stream of {length} entries", f"{stream.length}")
        stream.find_first()
        if stream.last_valid_id() > last_id:
            raise source.corrupt("counters of a stream", "what its entries contradict")
        stream.last_id = last_id
        stream.max_deleted_id = max_deleted_id
        stream.entries_added = min(entries_added, INTEGER_MAX)
        self._groups_left = groups
        self._go_on(_GROUP, source)

    def _read_group(self, source: RdbSource) -> None:
        name = source.text()
        last_id = _read_id(source)
        if self._has_counters:
            entries_read = source.length()
            if entries_read > INTEGER_MAX:
                entries_read = READ_UNKNOWN
        else:
            entries_read = self._stream.entries_up_to(last_id)
        if name in self._stream.groups:
            raise source.corrupt("each group once", f"{name!r} twice")
        self._group = self._stream.add_group(name, last_id, entries_read)
        self._unowned = {}
        self._go_on(_PENDING, source)

    def _read_pending(self, source: RdbSource) -> None:
        if self._left < 0:
            self._left = source.length()
            source.commit()
        while self._left:
            entry_id = int.from_bytes(source.take(ID_BYTES), "big")
            delivered_ms = source.little(TIME_BYTES, True)
            deliveries = source.length()
            if entry_id in self._unowned:
                raise source.corrupt("each pending entry once", "one twice")
            self._unowned[entry_id] = (delivered_ms, deliveries)
            self._left -= 1
            source.commit()
        self._consumers_left = source.length()
        self._go_on(_CONSUMER, source)

    def _read_consumer(self, source: RdbSource) -> None:
        group = self._group
        assert group is not None
        if self._consumers_left == 0:
            if self._unowned:
                raise source.corrupt("a consumer for each pending entry", f"{len(self._unowned)} without")
            self._groups_left -= 1
            self._go_on(_GROUP, source)
            return
        name = source.text()
        seen_ms = source.little(TIME_BYTES, True)
        active_ms = source.little(TIME_BYTES, True) if self._has_active_times else seen_ms
        if name in group.consumers:
            raise source.corrupt("each consumer once", f"{name!r} twice")
        self._consumer = group.add_consumer(name, seen_ms)
        self._consumer.active_ms = active_ms
        self._go_on(_OWNED, source)

    def _read_owned(self, source: RdbSource) -> None:
        group = self._group
        consumer = self._consumer
        assert group is not None and consumer is not None
        if self._left < 0:
            self._left = source.length()
            source.commit()
        while self._left:
            entry_id = int.from_bytes(source.take(ID_BYTES), "big")
            delivery = self._unowned.pop(entry_id, None)
            if delivery is None:
                raise source.corrupt("a consumer's share of what is pending", "an id that is not")
            group.assign(entry_id, consumer, delivery[0], delivery[1])
            self._left -= 1
            source.commit()
        self._consumers_left -= 1
        self._go_on(_CONSUMER, source)


class OldStreamReader(StreamReader):
    """Reads the form of Redis 5, without counters."""

    def __init__(self) -> None:
        super().__init__()
        self._has_counters = False


class NewStreamReader(StreamReader):
    """Reads the form of Redis 7.2, with the times at which consumers were last given something."""

    def __init__(self) -> None:
        super().__init__()
        self._has_active_times = True


def _read_id(source: RdbSource) -> int:
    milliseconds = source.length()
    return make_id(milliseconds, source.length())
