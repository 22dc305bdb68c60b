"""What every value that is not a string has in common: the class that hashes, lists and the others subclass.

The keyspace stores structures as it stores strings and knows nothing of their insides. It asks for the size
in bytes, which a structure keeps up to date with every change, and so each change stands between
`Keyspace.begin_change` and `end_change`. A structure is never empty under a key: the command that takes the
last element deletes the key.

Called by the keyspace, by generic commands (TYPE, OBJECT, COPY) and by the snapshot writer through the
tables of `redoubt.persist.rdb_types`.
"""

from __future__ import annotations

from typing import Final

# The object of a structure itself: header, attributes, the collector's part (measured).
STRUCTURE_BYTES: Final = 80


class Structure:
    """A value with elements."""

    def type_name(self) -> bytes:
        """Return the name under which TYPE and SCAN know the value."""
        raise AssertionError

    def encoding_name(self) -> bytes:
        """Return the name under which OBJECT ENCODING reports the value."""
        raise AssertionError

    def size_bytes(self) -> int:
        """Return what the value occupies. O(1)."""
        raise AssertionError

    def copy(self) -> Structure:
        """Return a value that changes independently of this one."""
        raise AssertionError

    def count(self) -> int:
        """Return the number of elements."""
        raise AssertionError
