"""One full copy on its way in: the payload's frame, the new dataset beside the old one, and the exchange.

The payload is `$EOF:` with a mark of 40 bytes that closes it, or `$` and its size; empty lines before it keep
the link alive. It is parsed as it comes, without a file in between, into new databases; the old ones stay
and can be read, if stale, until the new ones are complete and take their place at once. A replica whose
master dies in the middle of a full sync thus keeps the copy that it had.

Two datasets need memory for two. Where maxmemory is set and both together exceed it, the old one is dropped
early, so that a full sync at maxmemory stays within the limit of its container; without maxmemory there is
no limit to stay within. Loading is done in bounded steps: `advance` says when there is more to do.

Driven by `redoubt.replication.replica`. It sends nothing.
Source: Redis `src/replication.c` (readSyncBulkPayload).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from redoubt.data.keyspace import Keyspace
from redoubt.data.memory import used_memory
from redoubt.persist.load import DatasetLoader
from redoubt.persist.rdb_format import CorruptFile
from redoubt.persist.rdb_read import RdbReader
from redoubt.session import GATE_LOADING

if TYPE_CHECKING:
    from redoubt.state import ServerState

log = logging.getLogger("redoubt")

# Loaded between two looks at other links: some 3 ms of work compiled, 10 interpreted.
ITEMS_PER_STEP: Final = 4000
# The line before the payload; longer ones are not from a Redis.
HEADER_BYTES_MAX: Final = 1024
MARK_BYTES: Final = 40


class Transfer:
    """One full copy; see the module's docstring."""

    def __init__(self, state: ServerState, source: str, replid: str, offset: int) -> None:
        self.state = state
        self.source = source
        self.replid = replid
        self.offset = offset
        self.started_ms = state.now_ms
        self.received_bytes = 0
        self.is_done = False
        # -1 with a mark instead.
        self.size_bytes = -1
        self.keyspaces = [
            Keyspace(keyspace.database, state.random, keyspace.is_cluster) for keyspace in state.keyspaces
        ]
        for keyspace, new in zip(state.keyspaces, self.keyspaces, strict=True):
            new.access = keyspace.access
            new.clock_ms = keyspace.clock_ms
        # What was given up on the way: the old dataset, dropped early.
        self.garbage: list[Keyspace] = []
        self.has_dropped_old = False
        self.loader = DatasetLoader(self.keyspaces, 0)
        self.reader = RdbReader(
            source, self.loader, len(state.keyspaces), state.config.proto_max_bulk_len, state.limits
        )
        self._mark = b""
        self._has_header = False
        # Before the header, and after the RDB part.
        self._rest = b""
        if not any(len(keyspace) for keyspace in state.keyspaces):
            # There is nothing old to answer from.
            state.set_gate(GATE_LOADING, True)

    def feed(self, data: bytes) -> None:
        """Take bytes that arrived. Raises CorruptFile."""
        self.received_bytes += len(data)
        if self._has_header and not self.reader.is_done:
            self.reader.feed(data)
            return
        self._rest += data
        if not self._has_header:
            self._read_header()

    def advance(self) -> bool:
        """Load a bounded part of what has arrived; say whether there is more to load. Raises CorruptFile."""
        if not self._has_header or self.is_done:
            return False
        if not self.reader.is_done:
            has_more = self.reader.advance(ITEMS_PER_STEP)
            self._keep_within_limit()
            if not self.reader.is_done:
                return has_more
            self._rest = self.reader.rest()
        self._read_end()
        if self.is_done:
            complaint = self.state.scripting.install_libraries(self.loader.functions)
            if complaint:
                read_bytes = self.reader.offset()
                raise CorruptFile(self.source, read_bytes, "functions that can be loaded", complaint)
        return False

    def rest(self) -> bytes:
        """Take away the history that followed the copy."""
        rest, self._rest = self._rest, b""
        return rest

    def install(self) -> list[Keyspace]:
        """Put the new dataset in the place of the old one; return what has to be freed."""
        for keyspace, new in zip(self.state.keyspaces, self.keyspaces, strict=True):
            keyspace.swap(new)
        self._end_loading()
        return self.keyspaces + self.garbage

    def abandon(self) -> list[Keyspace]:
        """Give the copy up; return what has to be freed."""
        self._end_loading()
        return self.keyspaces + self.garbage

    def take_garbage(self) -> list[Keyspace]:
        """Take away what can be freed already."""
        garbage, self.garbage = self.garbage, []
        return garbage

    def _end_loading(self) -> None:
        if self.state.gates & GATE_LOADING:
            self.state.set_gate(GATE_LOADING, False)

    def _read_header(self) -> None:
        rest = self._rest.lstrip(b"\r\n")
        end = rest.find(b"\n")
        if end < 0:
            if len(rest) > HEADER_BYTES_MAX:
                raise CorruptFile(self.source, 0, "the size of a full sync", repr(rest[:40]))
            self._rest = rest
            return
        line = rest[:end].rstrip(b"\r")
        if line.startswith(b"$EOF:") and len(line) == 5 + MARK_BYTES:
            self._mark = line[5:]
        elif line.startswith(b"$") and line[1:].isdigit():
            self.size_bytes = int(line[1:])
        else:
            raise CorruptFile(self.source, 0, "the size of a full sync", repr(line[:80]))
        self._has_header = True
        self._rest = b""
        if end + 1 < len(rest):
            self.reader.feed(rest[end + 1 :])

    def _read_end(self) -> None:
        """Check what closes the payload, once it is there."""
        if not self._mark:
            read_bytes = self.reader.offset()
            if read_bytes != self.size_bytes:
                raise CorruptFile(
                    self.source, read_bytes, f"the end at byte {self.size_bytes}", "an RDB that ends here"
                )
        else:
            if len(self._rest) < MARK_BYTES:
                return
            if self._rest[:MARK_BYTES] != self._mark:
                raise CorruptFile(self.source, self.reader.offset(), "the closing mark", "other bytes")
            self._rest = self._rest[MARK_BYTES:]
        self.is_done = True

    def _keep_within_limit(self) -> None:
        """Drop the old dataset if there is no room for both."""
        limit = self.state.config.maxmemory
        if limit == 0 or self.has_dropped_old:
            return
        old = self.state.keyspaces
        if used_memory(old) == 0 or used_memory(old) + used_memory(self.keyspaces) <= limit:
            return
        self.has_dropped_old = True
        log.warning("No room for the old dataset beside the new one: dropping it during the full sync")
        for keyspace in old:
            emptied = Keyspace(keyspace.database, self.state.random, keyspace.is_cluster)
            keyspace.swap(emptied)
            self.garbage.append(emptied)
        self.state.set_gate(GATE_LOADING, True)
