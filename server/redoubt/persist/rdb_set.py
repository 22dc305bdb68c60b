"""Sets in RDB: an intset as it lies in memory, or the number of members and the members.

Redis has a type for packed sets, too, but only since 7.2 (RDB 11); it is read, and not written, so that files
stay readable for Redis 7.0. What comes from outside is checked before it is believed, and takes the form that
the limits in force give it.

Source: Redis `src/rdb.c` (RDB_TYPE_SET, RDB_TYPE_SET_INTSET, RDB_TYPE_SET_LISTPACK).
"""

from __future__ import annotations

from redoubt.data import intset, listpack
from redoubt.data.set import FORM_INTEGERS, FORM_PACKED, MemberSet
from redoubt.data.text import Value
from redoubt.persist.rdb_format import TYPE_SET, TYPE_SET_INTSET
from redoubt.persist.rdb_source import RdbSource
from redoubt.persist.rdb_text import write_length, write_text
from redoubt.persist.rdb_value import ValueReader, ValueWriter


class SetWriter(ValueWriter):
    """Writes sets."""

    def type_byte(self, value: Value) -> int:
        """Name the type byte of the form."""
        assert isinstance(value, MemberSet)
        return TYPE_SET_INTSET if value.form == FORM_INTEGERS else TYPE_SET

    def write(self, value: Value, is_compressed: bool, out: list[bytes]) -> None:
        """Append the set."""
        assert isinstance(value, MemberSet)
        if value.form == FORM_INTEGERS:
            write_text(value.packed, is_compressed, out)
            return
        members = value.members()
        write_length(len(members), out)
        for member in members:
            write_text(member, is_compressed, out)


class IntsetReader(ValueReader):
    """Reads intsets; stateless."""

    def read(self, source: RdbSource) -> Value:
        """Read one set."""
        packed = source.text()
        if not intset.is_sound(packed, source.checks_packs) or intset.length(packed) == 0:
            raise source.corrupt("an intset with members", f"{len(packed)} bytes that are none")
        value = MemberSet()
        value.packed = packed
        if value.count() > source.limits.set_integers:
            value.unpack()
        return value


class PackedSetReader(ValueReader):
    """Reads listpacks of members; stateless."""

    def read(self, source: RdbSource) -> Value:
        """Read one set."""
        packed = source.text()
        if not _is_sound_set(packed, source.checks_packs):
            raise source.corrupt("the listpack of a set", f"{len(packed)} bytes that are none")
        value = MemberSet()
        value.form = FORM_PACKED
        value.packed = packed
        if value.count() > source.limits.set_members:
            value.unpack()
        return value


def _is_sound_set(packed: bytes, is_deep: bool) -> bool:
    """Say whether a listpack from outside is a set: sound, not empty, no member twice."""
    if not is_deep and listpack.is_framed(packed):
        return listpack.length(packed) > 0
    members = listpack.texts(packed) if listpack.is_sound(packed) else []
    return 0 < len(frozenset(members)) == len(members)


class SetReader(ValueReader):
    """Reads members one at a time."""

    def __init__(self) -> None:
        self._set = MemberSet()
        self._left = -1

    def read(self, source: RdbSource) -> Value:
        """Read on; the members that have been read are kept."""
        if self._left < 0:
            self._left = source.length()
            if self._left == 0:
                raise source.corrupt("a set with members", "one without")
            if self._left > max(source.limits.set_integers, source.limits.set_members):
                self._set.unpack()
            source.commit()
        while self._left:
            member = source.text()
            if not self._set.add(member, source.limits):
                raise source.corrupt("each member once", f"{member!r} twice")
            self._left -= 1
            source.commit()
        return self._set
