"""Which hashes of a keyspace have fields that expire: how that list follows the hashes.

The keyspace keeps, beside the expiry times of keys, one due time for each hash with expiring fields: that of
the field that goes first (`Keyspace.field_deadlines`). It drops a key from the list whenever the key goes or
gets another value; whoever changes times of fields, or stores a hash that may bring some along (RENAME, COPY,
RESTORE, a load, slots that arrive), calls `note_fields`. Active expiry and INFO read the list.
"""

from __future__ import annotations

from redoubt.data.hash import Hash
from redoubt.data.keyspace import Keyspace
from redoubt.data.text import Value


def note_fields(keyspace: Keyspace, key: bytes, value: Value) -> None:
    """Bring the list up to date with the value that now stands under `key`."""
    next_ms = value.next_due_ms() if isinstance(value, Hash) else 0
    if next_ms:
        keyspace.field_deadlines.set(key, next_ms)
    else:
        keyspace.field_deadlines.remove(key)
