"""The snapshot file dump.rdb: loaded at the start, written by SAVE, BGSAVE, save points and at the exit.

Every way of writing takes a forkless snapshot. SAVE and the exit write it out in one go, as a generator that
the runtime drains, so memory stays bounded; BGSAVE and the save points write a slice at each tick into a
temporary file, which is synced and renamed off the loop. A second BGSAVE is refused while one runs; SAVE and
the exit give a running one up. A file that cannot be loaded ends the process: serving half of the data, or
none, would let replicas and the next save destroy the rest.

The node calls `load` and `tick`, the commands the rest. What the snapshot must say about replication comes
from `state.replication.dump_fields`.
Rules: the persistence page of the Redis documentation; the error texts are Redis's.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from redoubt.hooks import PersistenceHook
from redoubt.interfaces import Exit, FileJob, ReadFile, RemoveFile, SaveFile, WriteFile
from redoubt.persist.load import DatasetLoader
from redoubt.persist.rdb_format import CorruptFile
from redoubt.persist.rdb_read import RdbReader
from redoubt.persist.rdb_write import RdbWriter
from redoubt.persist.snapshot import Snapshot
from redoubt.session import GATE_DISK, GATE_LOADING
from redoubt.version import REDIS_VERSION

if TYPE_CHECKING:
    from redoubt.state import ServerState

log = logging.getLogger("redoubt")

# Written at once in a save that nobody waits for: about 2 ms of work, so clients hardly notice.
SLICE_BYTES: Final = 128 * 1024
# Written at once where everybody waits anyway.
CHUNK_BYTES: Final = 1024 * 1024
# Items of the dump that are loaded between two looks at what has been loaded.
ITEMS_PER_STEP: Final = 10_000
# Redis: CONFIG_BGSAVE_RETRY_DELAY, seconds before a failed save is tried again.
RETRY_DELAY_MS: Final = 5000
# What the operating system says of a file that does not exist.
MISSING: Final = "No such file or directory"


def begin_snapshot(state: ServerState) -> Snapshot:
    """Begin a snapshot of all databases as they are now, with everything a later load wants to know."""
    fields = [
        (b"redis-ver", REDIS_VERSION.encode()),
        (b"redis-bits", b"64"),
        (b"ctime", b"%d" % (state.now_ms // 1000)),
        *state.replication.dump_fields(),
    ]
    config = state.config
    writer = RdbWriter(config.rdbcompression, config.rdbchecksum)
    return Snapshot(state.keyspaces, writer, fields, state.scripting.library_codes())


def drained(snapshot: Snapshot) -> Iterator[bytes]:
    """Yield a whole snapshot in chunks."""
    while not snapshot.is_done:
        snapshot.advance(CHUNK_BYTES)
        yield from snapshot.take()


class DumpFile(PersistenceHook):
    """The snapshot file of one server; see the module's docstring."""

    def __init__(self, state: ServerState) -> None:
        self.state = state
        self.loading: Load | None = None
        self.background: BackgroundSave | None = None
        # Saves that wait until the one in the background has been synced.
        self.waiting: list[FileJob] = []
        # As LASTSAVE has it: Redis counts from the start, as if that had been a save.
        self.saved_ms = state.now_ms
        self.changes_saved = 0
        self.saves = 0
        self.is_background_ok = True
        self.tried_ms = 0
        self.background_duration_ms = -1
        self.keys_loaded = 0
        self.keys_expired_at_load = 0

    def path(self) -> str:
        """Return where the file lies."""
        return f"{self.state.config.dir}/{self.state.config.dbfilename}"

    def changes(self) -> int:
        """Count the changes since the last save that succeeded."""
        return self.changes_made() - self.changes_saved

    def changes_made(self) -> int:
        """Count the changes since the start."""
        return sum(keyspace.changes for keyspace in self.state.keyspaces)

    def load(self, now_ms: int) -> None:
        """Begin to load the file, if there is one; until it is done data commands are refused."""
        state = self.state
        self.loading = Load(self, now_ms)
        state.set_gate(GATE_LOADING, True)
        state.effects.append(ReadFile(self.loading, self.path()))

    def loaded(self, loader: DatasetLoader, now_ms: int) -> None:
        """Take note that the dataset is complete (called by the load)."""
        self.loading = None
        self.keys_loaded = loader.keys_loaded
        self.keys_expired_at_load = loader.keys_expired
        self.changes_saved = self.changes_made()
        self.state.set_gate(GATE_LOADING, False)
        self.state.replication.restore(loader.fields, now_ms)

    def save(self, job: FileJob, now_ms: int) -> None:
        """Write the whole dataset at the end of this loop turn; `job.done` is told of the outcome.

        A save in the background is given up; if only its sync is left we wait, since its rename could come
        after ours.
        """
        if self.background is not None and self.background.snapshot.is_done:
            self.waiting.append(job)
            return
        self.give_up_background()
        save = ForegroundSave(self, job)
        chunks = drained(begin_snapshot(self.state))
        self.state.effects.append(SaveFile(save, self.path(), chunks))

    def save_in_background(self, now_ms: int) -> bool:
        """Begin to write the dataset while commands go on; False if such a save runs already."""
        if self.background is not None:
            return False
        self.tried_ms = now_ms
        self.background = BackgroundSave(self, now_ms)
        return True

    def give_up_background(self) -> None:
        """Stop the save that runs, if any, and remove what it has written."""
        if self.background is not None:
            self.background.give_up()
            self.background = None

    def saved(self, changes_made: int, now_ms: int) -> None:
        """Take note of a save that succeeded; `changes_made`: those that it holds."""
        self.saved_ms = now_ms
        self.changes_saved = changes_made
        self.saves += 1
        self.set_background_ok(True)

    def set_background_ok(self, is_ok: bool) -> None:
        """Remember how the last save ended, and refuse writes after a failure where configured."""
        self.is_background_ok = is_ok
        config = self.state.config
        refuses = not is_ok and config.stop_writes_on_bgsave_error and bool(config.save)
        if refuses != bool(self.state.gates & GATE_DISK):
            self.state.set_gate(GATE_DISK, refuses)

    def saves_at_exit(self) -> bool:
        """Say whether save points are configured."""
        return bool(self.state.config.save) and self.loading is None

    def tick(self, now_ms: int) -> None:
        """Write a slice of the save that runs, or begin one that is due."""
        if self.background is not None:
            self.background.advance()
        elif not self.state.gates & GATE_LOADING and self.is_due(now_ms):
            log.info("%d changes. Saving...", self.changes())
            self.save_in_background(now_ms)

    def next_tick_ms(self) -> int:
        """Ask for the next slice soon."""
        return self.state.now_ms + 1 if self.background is not None else 0

    def is_due(self, now_ms: int) -> bool:
        """Say whether a save point has been reached, and the last failure is some seconds ago."""
        points = self.state.config.save
        if not points or (not self.is_background_ok and now_ms - self.tried_ms < RETRY_DELAY_MS):
            return False
        changes = self.changes()
        elapsed_ms = now_ms - self.saved_ms
        return any(changes >= count and elapsed_ms > seconds * 1000 for seconds, count in points)


class Load(FileJob):
    """The loading of the file at the start."""

    def __init__(self, dump: DumpFile, now_ms: int) -> None:
        self.dump = dump
        self.started_ms = now_ms
        self.has_failed = False
        state = dump.state
        is_deciding = not state.replication.is_replica and not state.config.cluster_enabled
        self.loader = DatasetLoader(state.keyspaces, now_ms if is_deciding else 0)
        config = state.config
        self.reader = RdbReader(
            dump.path(), self.loader, len(state.keyspaces), config.proto_max_bulk_len, state.limits
        )

    def chunk(self, data: bytes, now_ms: int) -> None:
        """Load what one piece of the file holds."""
        if self.has_failed or self.reader.is_done:
            return
        self.reader.feed(data)
        try:
            while self.reader.advance(ITEMS_PER_STEP):
                pass
        except CorruptFile as corrupt:
            self.fail(str(corrupt))

    def done(self, error: str, now_ms: int) -> None:
        """End the load: a missing file is an empty dataset, any other error ends the process."""
        if self.has_failed:
            return
        if error and MISSING not in error:
            self.fail(f"{self.dump.path()}: {error}")
            return
        if not error:
            try:
                self.reader.finish()
            except CorruptFile as corrupt:
                self.fail(str(corrupt))
                return
            complaint = self.dump.state.scripting.install_libraries(self.loader.functions)
            if complaint:
                self.fail(complaint)
                return
            count = self.loader.keys_loaded
            log.info("DB loaded from disk: %d keys in %d ms", count, now_ms - self.started_ms)
        self.dump.loaded(self.loader, now_ms)

    def fail(self, reason: str) -> None:
        """End the process: what is on disk must not be overwritten by what little was loaded."""
        self.has_failed = True
        log.critical("Fatal error loading the DB, check server logs. Exiting. %s", reason)
        self.dump.state.effects.append(Exit(1))


class ForegroundSave(FileJob):
    """A save for which somebody waits."""

    def __init__(self, dump: DumpFile, job: FileJob) -> None:
        self.dump = dump
        self.job = job
        self.changes_made = dump.changes_made()

    def done(self, error: str, now_ms: int) -> None:
        """Pass the outcome on."""
        if error:
            log.warning("Error saving the DB: %s", error)
        else:
            log.info("DB saved on disk")
            self.dump.saved(self.changes_made, now_ms)
        self.job.done(error, now_ms)


class BackgroundSave(FileJob):
    """A save that is written in slices while commands go on."""

    def __init__(self, dump: DumpFile, now_ms: int) -> None:
        self.dump = dump
        self.path = dump.path()
        self.started_ms = now_ms
        self.changes_made = dump.changes_made()
        self.snapshot = begin_snapshot(dump.state)

    def advance(self) -> None:
        """Write the next slice."""
        snapshot = self.snapshot
        if not snapshot.is_done:
            snapshot.advance(SLICE_BYTES)
            write = WriteFile(self, self.path, snapshot.take(), snapshot.is_done)
            self.dump.state.effects.append(write)

    def give_up(self) -> None:
        """Stop writing."""
        self.snapshot.give_up()
        self.dump.state.effects.append(RemoveFile(self.path, is_temporary=True))

    def done(self, error: str, now_ms: int) -> None:
        """Take note of the outcome."""
        dump = self.dump
        if dump.background is not self:
            return
        dump.background = None
        self.snapshot.give_up()
        dump.background_duration_ms = now_ms - self.started_ms
        if error:
            log.warning("Background saving error: %s", error)
            dump.set_background_ok(False)
        else:
            log.info("Background saving terminated with success")
            dump.saved(self.changes_made, now_ms)
        waiting, dump.waiting = dump.waiting, []
        for job in waiting:
            dump.save(job, now_ms)
