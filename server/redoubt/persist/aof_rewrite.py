"""One rewrite of the append-only file: a new base, written in slices while commands go on.

The increment that goes with the base begins at the moment of the snapshot, so base and increment together
are the dataset again. A rewrite that fails leaves what there was: the old base and one increment more.

Begun and told by `redoubt.persist.append_log`. Source of the names: Redis `src/aof.c`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from redoubt.interfaces import FileJob, RemoveFile, WriteFile
from redoubt.persist.aof_commands import CommandWriter
from redoubt.persist.pace import Pace
from redoubt.persist.snapshot import Snapshot, begin_snapshot

if TYPE_CHECKING:
    from redoubt.persist.aof_manifest import ManifestEntry
    from redoubt.persist.append_log import AppendLog

log = logging.getLogger("redoubt")

# Written at one tick: about 2 ms of work.
SLICE_BYTES: Final = 128 * 1024


def begin_base(owner: AppendLog, is_snapshot: bool) -> Snapshot:
    """Begin to write the dataset as it is now: as RDB, or as the commands that would make it."""
    state = owner.state
    if is_snapshot:
        return begin_snapshot(state, [(b"aof-base", b"1")])
    return Snapshot(state.keyspaces, CommandWriter(), [], state.scripting.library_codes())


class Rewrite(FileJob):
    """One rewrite under way; see the module's docstring."""

    def __init__(self, owner: AppendLog, base: ManifestEntry, increment: ManifestEntry, now_ms: int) -> None:
        self.owner = owner
        self.base = base
        self.increment = increment
        self.started_ms = now_ms
        self.path = owner.path_of(base)
        self.size_bytes = 0
        self.syncs_early = owner.state.config.aof_rewrite_incremental_fsync
        self.snapshot = begin_base(owner, base.name.endswith(".rdb"))

        self.pace = Pace(owner.state)

    def advance(self) -> None:
        """Write the next slice, if its time has come."""
        snapshot = self.snapshot
        if not snapshot.is_done and self.pace.is_due():
            snapshot.advance(SLICE_BYTES)
            self.size_bytes += snapshot.pending_bytes
            chunks = snapshot.take()
            write = WriteFile(self, self.path, chunks, snapshot.is_done, self.syncs_early)
            self.owner.state.effects.append(write)

    def give_up(self) -> None:
        """Stop writing, and leave nothing behind."""
        self.snapshot.give_up()
        self.owner.state.effects.append(RemoveFile(self.path, is_temporary=True))

    def done(self, error: str, now_ms: int) -> None:
        """Take note of the outcome."""
        self.snapshot.give_up()
        self.owner.rewritten(self, error, now_ms)
