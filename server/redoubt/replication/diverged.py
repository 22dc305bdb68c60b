"""Keeps what an old master had before the first full sync replaces it: `diverged-<epoch>.rdb`.

A master that was cut off may have taken writes that its successor never saw. When it comes back as a replica
and its history turns out to have forked, a full sync is the only way on, and its own writes would be gone
without a trace. So its dataset is first written to a file, for people to look at: one file, named by the
config epoch under which the data were written, of at most diverged-size-max bytes. REDOUBT STATUS reports it.

Used by `redoubt.replication.replica`, in cluster mode only (elsewhere everything is as in Redis). It is
written in slices, while the replica waits with its full sync.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from redoubt.interfaces import FileJob, RemoveFile, WriteFile
from redoubt.persist.snapshot import begin_snapshot

if TYPE_CHECKING:
    from redoubt.state import ServerState

log = logging.getLogger("redoubt")

# Written at one tick: some 5 ms of work; nobody waits for this server, but the loop must answer.
SLICE_BYTES: Final = 512 * 1024
PREFIX: Final = "diverged-"
SUFFIX: Final = ".rdb"


class KeptFiles(FileJob):
    """Looks at the start for what earlier processes have kept: the newest is reported, older ones go."""

    def __init__(self, state: ServerState) -> None:
        self.state = state
        self._names: dict[int, str] = {}

    def chunk(self, data: bytes, now_ms: int) -> None:
        """Take the name of one file."""
        name = data.decode("utf-8", "surrogateescape")
        digits = name[len(PREFIX) : -len(SUFFIX)]
        if name.startswith(PREFIX) and name.endswith(SUFFIX) and digits.isdigit():
            self._names[int(digits)] = name

    def done(self, error: str, now_ms: int) -> None:
        """Keep the file of the highest epoch."""
        names = [self._names[epoch] for epoch in sorted(self._names)]
        for name in names[:-1]:
            self.state.effects.append(RemoveFile(f"{self.state.config.dir}/{name}"))
        if names:
            self.state.replication.diverged = names[-1]


class DivergedCopy(FileJob):
    """The writing of one such file."""

    def __init__(self, state: ServerState, epoch: int, then: Callable[[str, int], None]) -> None:
        """then: told of the file's name, empty if it could not be kept, and the time."""
        self.state = state
        self.name = f"{PREFIX}{epoch}{SUFFIX}"
        self.path = f"{state.config.dir}/{self.name}"
        self.then = then
        self.snapshot = begin_snapshot(state)
        self.written_bytes = 0
        self.is_over = False

    def tick(self) -> None:
        """Write the next slice."""
        snapshot = self.snapshot
        if self.is_over or snapshot.is_done:
            return
        snapshot.advance(SLICE_BYTES)
        self.written_bytes += snapshot.pending_bytes
        limit = self.state.config.diverged_size_max
        if self.written_bytes > limit:
            self.give_up()
            self.end(f"it is larger than diverged-size-max {limit}", self.state.now_ms)
            return
        self.state.effects.append(WriteFile(self, self.path, snapshot.take(), snapshot.is_done))

    def done(self, error: str, now_ms: int) -> None:
        """Take note of the outcome."""
        if not self.is_over:
            self.snapshot.give_up()
            self.end(error, now_ms)

    def give_up(self) -> None:
        """Stop, and remove what has been written."""
        self.is_over = True
        self.snapshot.give_up()
        self.state.effects.append(RemoveFile(self.path, is_temporary=True))

    def end(self, error: str, now_ms: int) -> None:
        """Tell the outcome."""
        self.is_over = True
        if error:
            log.warning("The diverged dataset is not kept: %s", error)
            self.then("", now_ms)
        else:
            log.warning("The diverged dataset is kept as %s (%d bytes)", self.name, self.written_bytes)
            self.then(self.name, now_ms)
