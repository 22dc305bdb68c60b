"""The writer of RDB files and streams: entries in, chunks of bytes out, the checksum kept on the way.

It is driven by the snapshot (`redoubt.persist.snapshot`) for files and full syncs alike, a bucket at a time,
and holds only what has not been taken away. Databases may be announced repeatedly: a forkless snapshot
writes a bucket of one database in the middle of another one. It knows no files and no data types.

Source: Redis `src/rdb.c` (rdbSaveRio); version 10 is the newest that Redis 7.0 and every Valkey read.
"""

from __future__ import annotations

from redoubt.data.text import Value
from redoubt.persist.checksum import crc64
from redoubt.persist.rdb_format import (
    OP_AUX,
    OP_END,
    OP_EXPIRE_MS,
    OP_FREQUENCY,
    OP_FUNCTION,
    OP_IDLE,
    OP_RESIZE,
    OP_SELECT,
    VERSION_WRITTEN,
)
from redoubt.persist.rdb_text import write_length, write_text
from redoubt.persist.rdb_types import WRITERS


class RdbWriter:
    """Writes one RDB stream; see the module's docstring."""

    def __init__(self, is_compressed: bool = True, is_checksummed: bool = True) -> None:
        self.is_compressed = is_compressed
        self.is_checksummed = is_checksummed
        # Bytes that have been taken away.
        self.taken_bytes = 0
        self._crc = 0
        self._database = -1
        self._out: list[bytes] = []

    def header(self, fields: list[tuple[bytes, bytes]], version: int = VERSION_WRITTEN) -> None:
        """Begin the stream; `fields`: auxiliary (name, text), ignored by readers that do not know them."""
        self._out.append(b"REDIS%04d" % version)
        for name, text in fields:
            self._out.append(bytes([OP_AUX]))
            write_text(name, self.is_compressed, self._out)
            write_text(text, self.is_compressed, self._out)

    def function(self, library: bytes) -> None:
        """Write the source of one function library."""
        self._out.append(bytes([OP_FUNCTION]))
        write_text(library, self.is_compressed, self._out)

    def resize(self, database: int, key_count: int, expiry_count: int) -> None:
        """Announce how many keys, and how many with expiry, a database will get."""
        self.select(database)
        self._out.append(bytes([OP_RESIZE]))
        write_length(key_count, self._out)
        write_length(expiry_count, self._out)

    def select(self, database: int) -> None:
        """Let the entries that follow belong to this database."""
        if database != self._database:
            self._database = database
            self._out.append(bytes([OP_SELECT]))
            write_length(database, self._out)

    def entry(
        self, key: bytes, value: Value, expires_ms: int, idle_s: int = -1, frequency: int = -1
    ) -> None:  # fmt: skip
        """Write one key with its value; `expires_ms`: absolute, 0 for none.

        idle_s, frequency: how it was used, for the policies of LRU and LFU; -1 says nothing.
        """
        out = self._out
        writer = WRITERS[type(value)]
        if expires_ms:
            out.append(bytes([OP_EXPIRE_MS]) + expires_ms.to_bytes(8, "little", signed=True))
        if idle_s >= 0:
            out.append(bytes([OP_IDLE]))
            write_length(idle_s, out)
        if frequency >= 0:
            out.append(bytes([OP_FREQUENCY, frequency]))
        out.append(bytes([writer.type_byte(value)]))
        write_text(key, self.is_compressed, out)
        writer.write(value, self.is_compressed, out)

    def end(self) -> None:
        """Finish the stream with its checksum; 0 says that none was computed."""
        self._out.append(bytes([OP_END]))
        rest = self.take()
        self.taken_bytes -= len(rest)
        self._out.append(rest + self._crc.to_bytes(8, "little"))
        self.is_checksummed = False

    def take(self) -> bytes:
        """Take away what has been written since the last call."""
        data = b"".join(self._out)
        self._out = []
        self.taken_bytes += len(data)
        if self.is_checksummed:
            self._crc = crc64(data, self._crc)
        return data
