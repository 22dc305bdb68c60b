"""What one data type must be able to do to be stored in RDB: the two classes that it subclasses.

A later type (hash, list, ...) adds one module like `rdb_text` with a `ValueWriter` and a `ValueReader`, and
one line each to the tables in `rdb_types`; `rdb_write` and `rdb_read` know no type and need no change.
"""

from __future__ import annotations

from redoubt.data.text import Value
from redoubt.persist.rdb_source import RdbSource


class ValueWriter:
    """Turns values of one class into RDB. One instance serves all values: it keeps no state."""

    def type_byte(self, value: Value) -> int:
        """Name the type byte that this value is written under."""
        raise AssertionError

    def write(self, value: Value, is_compressed: bool, out: list[bytes]) -> None:
        """Append the value as it follows its key."""
        raise AssertionError


class ValueReader:
    """Turns the RDB form of one value into the value.

    `read` may be interrupted anywhere by Underrun and is then called again on the same object, from the last
    place at which it called `source.commit()`. A reader of an aggregate keeps what it has in itself and
    commits after each element, so that a huge value costs no second pass; a stateless one never commits.
    """

    def read(self, source: RdbSource) -> Value:
        """Read on; return the whole value once it is complete."""
        raise AssertionError
