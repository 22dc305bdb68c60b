"""The keys of one call, each with its place and what the call does with it.

The key specifications of a command say both, with two kinds of exceptions: commands whose keys only a
function of their own finds (MIGRATE), and commands that do more or less with their key as their options say
(SET with GET, BITFIELD that only reads), which the specification marks as variable.

Called by COMMAND GETKEYSANDFLAGS and for restricted users by `redoubt.access`. Where the keys alone are
wanted, `declare.keys_of` is faster.
"""

from __future__ import annotations

from typing import Final

from redoubt.commands.declare import Row
from redoubt.commands.keyspecs import ACCESS, NOT_KEY, OW, RO, RW, UPDATE, VARIABLE_FLAGS

# What of a BITFIELD changes nothing, with its number of words.
_READING_OPERATIONS: Final = {b"GET": 3, b"OVERFLOW": 2}


class UsedKey:
    """A key, where it stands, and what is done with it (bits of `keyspecs`)."""

    def __init__(self, key: bytes, at: int, use: int) -> None:
        self.key = key
        self.at = at
        self.use = use


def used_keys(row: Row, argv: list[bytes]) -> list[UsedKey] | None:
    """List the keys of a call in the order of the specifications; None if the call is malformed."""
    if row.find_keys is not None:
        keys = row.find_keys(argv)
        if keys is None:
            return None
        use = row.key_specs[0].use if row.key_specs else RW | ACCESS | UPDATE
        used = [UsedKey(key, argv.index(key, 1), use) for key in keys]
        if row.name == "sort" and len(used) > 1:
            used[1].use = row.key_specs[-1].use  # what STORE names
        return used
    found: list[UsedKey] = []
    for spec in row.key_specs:
        positions = spec.positions(argv)
        if positions is None:
            return None
        if spec.use & NOT_KEY:
            continue
        use = _use_of_call(row, argv) if spec.use & VARIABLE_FLAGS else spec.use
        found.extend([UsedKey(argv[at], at, use) for at in positions])
    return found


def _use_of_call(row: Row, argv: list[bytes]) -> int:
    """Say what this call of a command whose use varies does with its key."""
    if row.name == "set":
        gets = any(word.upper() == b"GET" for word in argv[3:])
        return RW | ACCESS | UPDATE if gets else OW | UPDATE
    if row.name == "bitfield" and _reads_only(argv):
        return RO | ACCESS
    return RW | ACCESS | UPDATE


def _reads_only(argv: list[bytes]) -> bool:
    """Say whether the operations of a BITFIELD are all GET; one that is malformed counts as a write."""
    at = 2
    while at < len(argv):
        length = _READING_OPERATIONS.get(argv[at].upper(), 0)
        if not length or at + length > len(argv):
            return False
        at += length
    return True
