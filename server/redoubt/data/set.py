"""Sets: members once each, as an intset, a listpack or a table, whichever Redis would take.

Integers alone are an intset up to set-max-intset-entries; few and short members a listpack
(set-max-listpack-entries, -value); everything else a table of small dicts (`redoubt.data.elements`), from
which members are drawn evenly in O(1). A set never goes back to a smaller form, as in Redis.

Called by the commands on sets and by the readers and writers of RDB. It knows no keys.
Source: Redis `src/t_set.c` as of 7.2.
"""

from __future__ import annotations

from random import Random
from typing import Final

from redoubt.data import intset, listpack
from redoubt.data.elements import Elements
from redoubt.data.limits import Limits
from redoubt.data.memory import size_of_bytes
from redoubt.data.structure import STRUCTURE_BYTES, Structure
from redoubt.data.text import parse_integer

FORM_INTEGERS: Final = 0
FORM_PACKED: Final = 1
FORM_TABLE: Final = 2
# What stands in a table for a member that is there.
PRESENT: Final = 1

_ENCODINGS: Final = (b"intset", b"listpack", b"hashtable")


class MemberSet(Structure):
    """One set; see the module's docstring."""

    def __init__(self) -> None:
        self.form = FORM_INTEGERS
        # The intset or the listpack.
        self.packed = intset.EMPTY
        self.table: Elements | None = None

    def type_name(self) -> bytes:
        return b"set"

    def encoding_name(self) -> bytes:
        return _ENCODINGS[self.form]

    def size_bytes(self) -> int:
        size = STRUCTURE_BYTES
        return size + (size_of_bytes(self.packed) if self.table is None else self.table.size_bytes())

    def copy(self) -> Structure:
        twin = MemberSet()
        twin.form = self.form
        twin.packed = self.packed
        if self.table is not None:
            twin.table = Elements(has_values=False)
            for member in self.table.names():
                twin.table.put(member, PRESENT)
        return twin

    def count(self) -> int:
        """Return the number of members."""
        if self.table is not None:
            return self.table.key_count
        return intset.length(self.packed) if self.form == FORM_INTEGERS else listpack.length(self.packed)

    def has(self, member: bytes) -> bool:
        """Say whether something is a member."""
        if self.table is not None:
            return self.table.get(member) is not None
        if self.form == FORM_PACKED:
            return listpack.find(self.packed, member, 1) >= 0
        number = parse_integer(member)
        return number is not None and intset.has(self.packed, number)

    def expect(self, first: bytes, count: int, limits: Limits) -> None:
        """Take the form that suits `count` members that are about to be added, the first of them `first`."""
        if self.table is not None:
            return
        is_texts = self.form == FORM_PACKED or (self.count() == 0 and parse_integer(first) is None)
        if count > (limits.set_members if is_texts else limits.set_integers):
            self.unpack()

    def add(self, member: bytes, limits: Limits) -> bool:
        """Add a member; say whether it is new."""
        if self.form == FORM_INTEGERS:
            number = parse_integer(member)
            if number is not None:
                return self._add_number(number, limits)
            self._pack_texts(member, limits)
        if self.table is not None:
            return self.table.put(member, PRESENT)
        packed = self.packed
        entry = listpack.encode(member)
        if listpack.find_entry(packed, entry, 1) >= 0:
            return False
        count = listpack.length(packed) + 1
        if count > limits.set_members or len(member) > limits.set_bytes:
            return self.unpack().put(member, PRESENT)
        end = len(packed) - 1
        self.packed = listpack.splice(packed, end, end, entry, count)
        return True

    def remove(self, member: bytes) -> bool:
        """Remove a member; say whether it was there."""
        if self.table is not None:
            return self.table.remove(member)
        if self.form == FORM_INTEGERS:
            number = parse_integer(member)
            if number is None or not intset.has(self.packed, number):
                return False
            self.packed = intset.removed(self.packed, number)
            return True
        at = listpack.find(self.packed, member, 1)
        if at < 0:
            return False
        past = listpack.next_entry(self.packed, at)
        self.packed = listpack.splice(self.packed, at, past, b"", listpack.length(self.packed) - 1)
        return True

    def members(self) -> list[bytes]:
        """Return all members; integers in ascending order, texts as they came, a table's in no order."""
        if self.table is not None:
            return self.table.names()
        if self.form == FORM_PACKED:
            return listpack.texts(self.packed)
        return [b"%d" % number for number in intset.numbers(self.packed)]

    def random_member(self, random: Random) -> bytes:
        """Return a member drawn evenly from all; there must be one."""
        if self.table is not None:
            return self.table.random_name(random)
        place = int(random.random() * self.count())
        if self.form == FORM_INTEGERS:
            return b"%d" % intset.number_at(self.packed, place)
        return listpack.text_at(self.packed, listpack.at_index(self.packed, place))

    def pop_random(self, random: Random) -> bytes:
        """Remove a member drawn evenly from all, and return it; there must be one."""
        if self.table is not None:
            member = self.table.random_name(random)
            self.table.remove(member)
            return member
        packed = self.packed
        place = int(random.random() * self.count())
        if self.form == FORM_INTEGERS:
            number = intset.number_at(packed, place)
            self.packed = intset.removed(packed, number)
            return b"%d" % number
        at = listpack.at_index(packed, place)
        past = listpack.next_entry(packed, at)
        self.packed = listpack.splice(packed, at, past, b"", listpack.length(packed) - 1)
        return listpack.text_at(packed, at)

    def scan(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """Return the next cursor (0 at the end) and some members; a packed set comes whole."""
        return (0, self.members()) if self.table is None else self.table.scan_some(cursor, count)

    def unpack(self) -> Elements:
        """Become a table, if it is none yet, and return it."""
        if self.table is not None:
            return self.table
        table = Elements(has_values=False)
        for member in self.members():
            table.put(member, PRESENT)
        self.table = table
        self.form = FORM_TABLE
        self.packed = b""
        return table

    def _add_number(self, number: int, limits: Limits) -> bool:
        if intset.has(self.packed, number):
            return False
        self.packed = intset.added(self.packed, number)
        if intset.length(self.packed) > limits.set_integers:
            self.unpack()
        return True

    def _pack_texts(self, member: bytes, limits: Limits) -> None:
        """Stop being an intset because of a member that is no integer."""
        if intset.length(self.packed) == 0 and limits.set_members and len(member) <= limits.set_bytes:
            self.form = FORM_PACKED
            self.packed = listpack.EMPTY
            return
        numbers = self.members()
        longest = max([len(member), *[len(number) for number in numbers]])
        if len(numbers) >= limits.set_members or longest > limits.set_bytes:
            self.unpack()
        else:
            self.form = FORM_PACKED
            self.packed = listpack.build(numbers)
