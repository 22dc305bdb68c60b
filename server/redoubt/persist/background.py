"""Saves that are written while commands go on: slice by slice, or by a forked child.

Forkless, the server itself writes a slice of a point-in-time snapshot at each tick (`persist/snapshot.py`).
Forked, a child has the dataset as it was and writes it on its own; it costs the pages that it or the server
touches, and in Python to look at a value is to touch it, since that counts a reference. `snapshot-mode` says
which; both write beside the file's name, sync and rename, so that at the end there is no difference.

A child tells how far it has come, and how many of its pages are its own. One that dies is a failed save. A
save that is given up (SHUTDOWN, SAVE, a new dataset) leaves nothing behind.
Begun and driven by `DumpFile`, which takes note of the outcome. Source: Redis `src/rdb.c`, `src/childinfo.c`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from mypy_extensions import mypyc_attr

from redoubt.interfaces import ForkJob, ForkSave, KillFork, RemoveFile, WriteFile
from redoubt.persist.pace import Pace
from redoubt.persist.snapshot import Snapshot, begin_snapshot, drained

if TYPE_CHECKING:
    from redoubt.persist.dump_file import DumpFile

# Written at once in a save that nobody waits for: about 2 ms of work, so clients hardly notice.
SLICE_BYTES: Final = 128 * 1024


@mypyc_attr(allow_interpreted_subclasses=True)
class BackgroundSave(ForkJob):
    """A save under way; how it is written is said by its two subclasses."""

    def __init__(self, dump: DumpFile, now_ms: int) -> None:
        self.dump = dump
        self.path = dump.path()
        self.started_ms = now_ms
        self.changes_made = dump.changes_made()
        self.key_count = 0
        self.syncs_early = dump.state.config.rdb_save_incremental_fsync

    def advance(self) -> None:
        """Write on, if it is this process that writes."""

    def next_slice_ms(self) -> int:
        """Say when to write on; 0: it is not this process that writes."""
        return 0

    def give_up(self) -> None:
        """Stop writing, and leave nothing behind."""
        raise AssertionError

    def keys_done(self) -> int:
        """Return how many keys have been written."""
        raise AssertionError

    def is_written(self) -> bool:
        """Say whether only the sync and the new name are left to do."""
        raise AssertionError

    def done(self, error: str, now_ms: int) -> None:
        """Take note of the outcome."""
        self.dump.background_ended(self, error, now_ms)


class SlicedSave(BackgroundSave):
    """A save that this process writes, a slice at each tick."""

    def __init__(self, dump: DumpFile, now_ms: int) -> None:
        super().__init__(dump, now_ms)
        self.snapshot = begin_snapshot(dump.state)
        self.key_count = self.snapshot.key_count
        self.pace = Pace(dump.state)

    def advance(self) -> None:
        """Write the next slice, if its time has come."""
        snapshot = self.snapshot
        if not snapshot.is_done and self.pace.is_due():
            snapshot.advance(SLICE_BYTES)
            chunks = snapshot.take()
            write = WriteFile(self, self.path, chunks, snapshot.is_done, self.syncs_early)
            self.dump.state.effects.append(write)

    def give_up(self) -> None:
        """Stop writing."""
        self.snapshot.give_up()
        self.dump.state.effects.append(RemoveFile(self.path, is_temporary=True))

    def keys_done(self) -> int:
        """Return how many keys have been written."""
        return self.snapshot.keys_written

    def next_slice_ms(self) -> int:
        """Say when to write on."""
        return self.pace.due_ms

    def is_written(self) -> bool:
        """Say whether only the sync and the new name are left to do."""
        return self.snapshot.is_done

    def done(self, error: str, now_ms: int) -> None:
        """Release the databases, and take note of the outcome."""
        self.snapshot.give_up()
        super().done(error, now_ms)


class ForkedSave(BackgroundSave):
    """A save that a child writes, which is forked at the end of this loop turn."""

    def __init__(self, dump: DumpFile, now_ms: int) -> None:
        super().__init__(dump, now_ms)
        self.key_count = sum([len(keyspace) for keyspace in dump.state.keyspaces])
        self._keys_done = 0
        # The pages that the child no longer shares, when they were last counted, and at most.
        self.private_bytes = 0
        self.private_bytes_max = 0
        self.counted_ms = now_ms
        # Only in the child.
        self._snapshot: Snapshot | None = None
        dump.state.effects.append(ForkSave(self, self.path, self.syncs_early))

    def chunks(self) -> Iterator[bytes]:
        """Yield the dataset; called in the child."""
        state = self.dump.state
        for keyspace in state.keyspaces:
            keyspace.snapshots = []  # those under way in the parent are no business of the child
        self._snapshot = begin_snapshot(state)
        return drained(self._snapshot)

    def keys_written(self) -> int:
        """Return how far the child has come; called in the child."""
        return 0 if self._snapshot is None else self._snapshot.keys_written

    def forked(self, duration_us: int) -> None:
        """Take note of how long the fork has held everybody up."""
        self.dump.note_fork(duration_us)

    def progressed(self, keys_written: int, private_bytes: int, now_ms: int) -> None:
        """Take note of what the child tells."""
        self._keys_done = keys_written
        self.private_bytes = private_bytes
        self.private_bytes_max = max(self.private_bytes_max, private_bytes)
        self.counted_ms = now_ms

    def give_up(self) -> None:
        """Kill the child."""
        self.dump.state.effects.append(KillFork(self.path))

    def keys_done(self) -> int:
        """Return how many keys have been written."""
        return self._keys_done

    def is_written(self) -> bool:
        """Say that a child can be killed at any time: only this process gives its file the name."""
        return False
