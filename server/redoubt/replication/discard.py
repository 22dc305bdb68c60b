"""Frees big databases a little at each tick: dropping ten million keys at once stops the server for a second.

A full sync replaces the dataset, or fails and leaves half of one; either way a dataset becomes garbage. Its
buckets are put here and dropped in slices. Reference counting then frees keys and values at once; nothing
waits for the garbage collector.

Called by `redoubt.replication.roles` at each tick.
"""

from __future__ import annotations

from typing import Final

from redoubt.data.keyspace import Keyspace
from redoubt.data.table import Bucket

# About 16,000 keys of 64 a bucket: some 2 ms.
BUCKETS_PER_TICK: Final = 256


class Discard:
    """What is still to be freed."""

    def __init__(self) -> None:
        self._buckets: list[Bucket] = []

    def add(self, keyspaces: list[Keyspace]) -> None:
        """Take over the contents of databases; they are empty afterwards."""
        for keyspace in keyspaces:
            self._buckets += keyspace.buckets
            keyspace.flush()

    def is_empty(self) -> bool:
        """Say whether everything has been freed."""
        return not self._buckets

    def tick(self) -> None:
        """Free a slice."""
        del self._buckets[-BUCKETS_PER_TICK:]
