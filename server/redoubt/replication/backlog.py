"""The latest part of the replication history, kept for replicas that were away for a moment.

The history is one stream of bytes; byte number `offset` is the newest. The backlog holds the newest
`size_bytes_max` bytes, as a ring of immutable chunks: the same objects that were handed to the replicas'
links, so a byte is stored once however many replicas there are. A replica that asks for the byte after the
last one it has gets everything since, if its byte is still here; otherwise it needs a full copy.

Owned by `redoubt.replication.roles`. It knows nothing of histories' names, links and commands.
Source: the replication page of the Redis documentation; positions count from 1, as in PSYNC.
"""

from __future__ import annotations

from collections import deque


class Backlog:
    """The newest bytes of the history; see the module's docstring."""

    def __init__(self, size_bytes_max: int, offset: int) -> None:
        self.size_bytes_max = size_bytes_max
        # The number of the newest byte of the history, kept or not.
        self.offset = offset
        # How many of the newest bytes are kept: between the maximum and a chunk more, once it is full.
        self.size_bytes = 0
        self._chunks: deque[bytes] = deque()

    def first_offset(self) -> int:
        """Return the number of the oldest byte that is kept (of the next one to come if none is)."""
        return self.offset - self.size_bytes + 1

    def append(self, data: bytes) -> None:
        """Add bytes at the end, dropping what is no longer needed at the front."""
        self._chunks.append(data)
        self.offset += len(data)
        self.size_bytes += len(data)
        self._trim()

    def resize(self, size_bytes_max: int) -> None:
        """Keep so many bytes from now on."""
        self.size_bytes_max = size_bytes_max
        self._trim()

    def has(self, offset: int) -> bool:
        """Say whether a replica that wants everything from byte `offset` on can get it."""
        return self.first_offset() <= offset <= self.offset + 1

    def since(self, offset: int) -> list[bytes]:
        """Return the bytes from number `offset` on; `has(offset)` must hold. O(chunks)."""
        assert self.has(offset)
        missing = offset - self.first_offset()
        found: list[bytes] = []
        for chunk in self._chunks:
            size = len(chunk)
            if missing >= size:
                missing -= size
            elif missing:
                found.append(chunk[missing:])
                missing = 0
            else:
                found.append(chunk)
        return found

    def _trim(self) -> None:
        chunks = self._chunks
        while chunks and self.size_bytes - len(chunks[0]) >= self.size_bytes_max:
            self.size_bytes -= len(chunks.popleft())
