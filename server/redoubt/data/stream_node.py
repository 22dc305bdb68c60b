"""The nodes of a stream: about a hundred entries in one listpack, byte for byte as Redis packs them.

A node is a row of listpack elements. First stands what all its entries refer to, then entry after entry:

    live entries | deleted entries | number of fields | field ... | 0
    flags | ms | sequence | (number of fields | field and value in turn) or values only | elements so far

The id of a node is that of its first entry; each entry holds the difference to it. An entry with the same
fields as the node holds only its values, which makes a stream of equal records about as small as its values.
A deleted entry keeps its place and is flagged. The last element of an entry says how many there are before
it, so that one can walk backwards.

Nothing here changes a pack: each change returns a new one, which for packs of a few KiB is one short copy.
Called by `redoubt.data.stream`, which knows the nodes' ids, and by the reader of RDB. A pack from outside
must pass `is_sound_node` once. Source: Redis `src/t_stream.c` (streamAppendItem, streamIteratorGetID).
"""

from __future__ import annotations

from typing import Final

from redoubt.data import listpack
from redoubt.data.listpack import COUNT_UNKNOWN, FIRST, encode, encode_integer, integer_at, next_entry
from redoubt.data.stream_id import SEQUENCE_BITS, SEQUENCE_MAX, make_id, milliseconds_of, sequence_of

FLAG_DELETED: Final = 1
FLAG_SAME_FIELDS: Final = 2
# Flags, and the two differences of the id.
ELEMENTS_BEFORE_FIELDS: Final = 3
# Differences below need no wrapping.
_SMALL: Final = 1 << 62

_ZERO: Final = encode_integer(0)
_SAME_FIELDS: Final = encode_integer(FLAG_SAME_FIELDS)


def empty_node(items: list[bytes]) -> bytes:
    """Make a node for entries with the fields of these (field, value, ... in turn)."""
    fields = [encode(field) for field in items[::2]]
    head = [_ZERO, _ZERO, encode_integer(len(fields)), *fields, _ZERO]
    return listpack.assemble(b"".join(head), len(head))


def live_count(pack: bytes) -> int:
    """Count the entries that are not deleted."""
    return integer_at(pack, FIRST)


def deleted_count(pack: bytes) -> int:
    """Count the entries that are flagged as deleted."""
    return integer_at(pack, next_entry(pack, FIRST))


def appended(pack: bytes, node_id: int, entry_id: int, items: list[bytes]) -> bytes:
    """Return the node with one entry more: items are field, value, ... in turn."""
    deleted_at = next_entry(pack, FIRST)
    rest_at = next_entry(pack, deleted_at)
    field_count = integer_at(pack, rest_at)
    fields_at = next_entry(pack, rest_at)
    count = len(items) // 2
    is_same = False
    if count == field_count:
        # Encodings say where they end: where the bytes are the same, the fields are.
        is_same = pack.startswith(b"".join([encode(field) for field in items[::2]]), fields_at)
    elements = [
        _SAME_FIELDS if is_same else _ZERO,
        encode_integer(_signed(milliseconds_of(entry_id) - milliseconds_of(node_id))),
        encode_integer(_signed(sequence_of(entry_id) - sequence_of(node_id))),
    ]
    if is_same:
        elements.extend([encode(value) for value in items[1::2]])
    else:
        elements.append(encode_integer(count))
        elements.extend([encode(text) for text in items])
    elements.append(encode_integer(len(elements)))
    live = integer_at(pack, FIRST) + 1
    return _recounted(pack, rest_at, live, integer_at(pack, deleted_at), elements)


def with_deleted(pack: bytes, entries: list[int]) -> bytes:
    """Return the node with the entries at these positions flagged as deleted; none may be deleted already."""
    pieces: list[bytes] = []
    done = 0
    for at in entries:
        # Flags are small numbers: the byte itself.
        pieces.append(pack[done:at])
        pieces.append(bytes([pack[at] | FLAG_DELETED]))
        done = at + 1
    pieces.append(pack[done:])
    count = len(entries)
    rest_at = next_entry(pack, next_entry(pack, FIRST))
    return _recounted(b"".join(pieces), rest_at, live_count(pack) - count, deleted_count(pack) + count, [])


def last_id(pack: bytes, node_id: int) -> int:
    """Return the id of the last entry, deleted or not; the node must have one."""
    at = listpack.previous_entry(pack, len(pack) - 1)
    for _ in range(integer_at(pack, at)):
        at = listpack.previous_entry(pack, at)
    return _id_at(pack, next_entry(pack, at), node_id)


class NodeReader:
    """Walks over the entries of one node that are not deleted, in one direction."""

    def __init__(self, pack: bytes, node_id: int, is_reversed: bool = False) -> None:
        self.pack = pack
        self.node_id = node_id
        # The entry that was read last.
        self.entry_id = 0
        self.entry_at = 0
        self.is_same = False
        at = next_entry(pack, next_entry(pack, FIRST))
        self.field_count = integer_at(pack, at)
        self.fields_at = next_entry(pack, at)
        self._past = len(pack) - 1
        # Forwards: where the next entry begins. Backwards: where the entry before it ends.
        self._edge = self._past
        self._content_at = 0
        self._fields: list[bytes] = []
        if not is_reversed:
            at = self.fields_at
            for _ in range(self.field_count + 1):
                at = next_entry(pack, at)
            self._edge = at

    def next(self) -> bool:
        """Go to the next entry; False at the end."""
        while self._edge < self._past:
            at = self._edge
            flags = self._read_head(at)
            count = self.field_count
            if not self.is_same:
                count = 1 + 2 * integer_at(self.pack, self._content_at)
            end = self._content_at
            for _ in range(count + 1):
                end = next_entry(self.pack, end)
            self._edge = end
            if not flags & FLAG_DELETED:
                return True
        return False

    def previous(self) -> bool:
        """Go to the entry before; False at the start."""
        pack = self.pack
        while True:
            at = listpack.previous_entry(pack, self._edge)
            elements = integer_at(pack, at)
            if elements == 0:  # the end of what stands before the entries
                return False
            for _ in range(elements):
                at = listpack.previous_entry(pack, at)
            self._edge = at
            if not self._read_head(at) & FLAG_DELETED:
                return True

    def items(self) -> list[bytes]:
        """Return field, value, ... of the entry."""
        pack = self.pack
        at = self._content_at
        found: list[bytes] = []
        if self.is_same:
            for field in self._node_fields():
                found.append(field)
                found.append(listpack.text_at(pack, at))
                at = next_entry(pack, at)
            return found
        count = 2 * integer_at(pack, at)
        for _ in range(count):
            at = next_entry(pack, at)
            found.append(listpack.text_at(pack, at))
        return found

    def _read_head(self, at: int) -> int:
        """Take note of the entry at `at`; return its flags."""
        flags = integer_at(self.pack, at)
        self.entry_at = at
        self.is_same = flags & FLAG_SAME_FIELDS != 0
        at = next_entry(self.pack, at)
        self.entry_id = _id_at(self.pack, at, self.node_id)
        self._content_at = next_entry(self.pack, next_entry(self.pack, at))
        return flags

    def _node_fields(self) -> list[bytes]:
        if not self._fields:
            at = self.fields_at
            for _ in range(self.field_count):
                self._fields.append(listpack.text_at(self.pack, at))
                at = next_entry(self.pack, at)
        return self._fields


def is_sound_node(pack: bytes, node_id: int, is_deep: bool = True) -> bool:
    """Say whether a pack from outside is a node: its counts; if deep its elements and ascending ids."""
    is_deep = is_deep or not listpack.is_framed(pack)
    if is_deep and not listpack.is_sound(pack):
        return False
    walk = _Walk(pack)
    live = walk.integer()
    deleted = walk.integer()
    field_count = walk.integer()
    if not is_deep:
        return live >= 0 and deleted >= 0 and field_count >= 0 and not walk.is_broken
    if not walk.skip(field_count) or walk.integer() != 0 or live < 0 or deleted < 0:
        return False
    before = -1
    while walk.has_more():
        flags = walk.integer()
        milliseconds = walk.integer()
        sequence = walk.integer()
        is_same = flags & FLAG_SAME_FIELDS != 0
        count = field_count if is_same else walk.integer()
        elements = ELEMENTS_BEFORE_FIELDS + (count if is_same else 1 + 2 * count)
        entry_id = make_id(milliseconds_of(node_id) + milliseconds, sequence_of(node_id) + sequence)
        if count < 1 or not walk.skip(count if is_same else 2 * count) or walk.integer() != elements:
            return False
        if not 0 <= flags <= 3 or entry_id <= before or walk.is_broken:
            return False
        before = entry_id
        if flags & FLAG_DELETED:
            deleted -= 1
        else:
            live -= 1
    return live == 0 and deleted == 0 and before >= 0 and not walk.is_broken


class _Walk:
    """Takes one element after another of a sound listpack whose content is not known to be a node."""

    def __init__(self, pack: bytes) -> None:
        self.pack = pack
        self.at = FIRST
        self.past = len(pack) - 1
        self.is_broken = False

    def has_more(self) -> bool:
        return self.at < self.past and not self.is_broken

    def integer(self) -> int:
        """Take an integer; -1 if there is none."""
        if self.at >= self.past or not listpack.is_integer_at(self.pack, self.at):
            self.is_broken = True
            return -1
        number = integer_at(self.pack, self.at)
        self.at = next_entry(self.pack, self.at)
        return number

    def skip(self, count: int) -> bool:
        """Pass over so many elements; say whether they are there."""
        if count < 0 or count > self.past - self.at:
            return False
        for _ in range(count):
            if self.at >= self.past:
                return False
            self.at = next_entry(self.pack, self.at)
        return True


def _recounted(pack: bytes, rest_at: int, live: int, deleted: int, added: list[bytes]) -> bytes:
    """Return the pack with other counts of entries, which end at `rest_at`, and more elements at its end."""
    count = pack[4] | pack[5] << 8
    if count != COUNT_UNKNOWN:
        count += len(added)
    # One join, since what stands already is copied at each change.
    tail = b"".join(added)
    counts = encode_integer(live) + encode_integer(deleted)
    size = FIRST + len(counts) + len(pack) - rest_at + len(tail)
    head = size.to_bytes(4, "little") + min(count, COUNT_UNKNOWN).to_bytes(2, "little")
    return b"".join([head, counts, pack[rest_at:-1], tail, b"\xff"])


def _id_at(pack: bytes, at: int, node_id: int) -> int:
    """Return the id whose differences begin at `at`."""
    milliseconds = integer_at(pack, at)
    sequence = integer_at(pack, next_entry(pack, at))
    if milliseconds == 0:
        return node_id & ~SEQUENCE_MAX | (node_id + sequence) & SEQUENCE_MAX
    return make_id((node_id >> SEQUENCE_BITS) + milliseconds, (node_id & SEQUENCE_MAX) + sequence)


def _signed(number: int) -> int:
    """Wrap a difference into 64 bits with a sign, as it is stored."""
    if -_SMALL < number < _SMALL:
        return number
    number &= SEQUENCE_MAX
    return number - (1 << SEQUENCE_BITS) if number >> SEQUENCE_BITS - 1 else number
