"""Fills keyspaces from an RDB stream: the sink of the reader for dump.rdb and for full syncs.

Expired keys are dropped where this server decides what has expired (a master outside cluster mode), kept and
hidden where another one does. Auxiliary fields are collected; the place in the replication history is among
them. It reads no files and decides nothing about what happens with the old data.
"""

from __future__ import annotations

from redoubt.data.field_deadlines import note_fields
from redoubt.data.hash import Hash
from redoubt.data.keyspace import Keyspace
from redoubt.data.text import Value
from redoubt.data.use import store_used
from redoubt.persist.rdb_read import RdbSink


class DatasetLoader(RdbSink):
    """Puts what an RDB stream holds into keyspaces, which the caller provides empty."""

    def __init__(self, keyspaces: list[Keyspace], drops_before_ms: int) -> None:
        self.keyspaces = keyspaces
        # Keys whose time came before this moment are dropped; 0 keeps all.
        self.drops_before_ms = drops_before_ms
        self.fields: dict[bytes, bytes] = {}
        # The code of function libraries, which the caller installs at the end.
        self.functions: list[bytes] = []
        # Whether a key may be there already, whose place the loaded one takes.
        self.replaces = False
        self.keys_loaded = 0
        self.keys_expired = 0
        # How the next key was used; -1: nothing was said.
        self._idle_s = -1
        self._frequency = -1

    def field(self, name: bytes, text: bytes) -> None:
        """Remember an auxiliary field."""
        self.fields[name] = text

    def function(self, library: bytes) -> None:
        """Remember a function library."""
        self.functions.append(library)

    def use(self, idle_s: int, frequency: int) -> None:
        """Remember how the next key was used."""
        self._idle_s = idle_s
        self._frequency = frequency

    def entry(self, database: int, key: bytes, value: Value, expires_ms: int) -> None:
        """Store one key."""
        if 0 < expires_ms < self.drops_before_ms:
            self.keys_expired += 1
            self._idle_s = self._frequency = -1
            return
        keyspace = self.keyspaces[database]
        if self.replaces:
            keyspace.delete(key)
        if self._idle_s < 0 and self._frequency < 0:
            keyspace.store(key, value)
        else:
            store_used(keyspace, key, value, self._idle_s, self._frequency)
            self._idle_s = self._frequency = -1
        if isinstance(value, Hash) and value.deadlines is not None:
            note_fields(keyspace, key, value)
        if expires_ms:
            keyspace.set_expire(key, expires_ms)
        self.keys_loaded += 1

    def used_bytes(self) -> int:
        """Sum what the keys loaded so far occupy."""
        return sum(keyspace.key_bytes + keyspace.value_bytes for keyspace in self.keyspaces)
