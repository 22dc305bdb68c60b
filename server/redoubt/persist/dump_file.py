"""The snapshot file dump.rdb: loaded at the start, written by SAVE, BGSAVE, save points and at the exit.

SAVE and the exit write the whole dataset in one go, as a generator that the runtime drains, so memory stays
bounded; BGSAVE and the save points write while commands go on (`persist/background.py`). A second BGSAVE is
refused while one runs; SAVE and the exit give a running one up. A file that cannot be loaded ends the
process: serving half of the data, or none, would let replicas and the next save destroy the rest.

The node calls `load` and `tick`, the commands the rest. What the snapshot must say about replication comes
from `state.replication.dump_fields`.
Rules: the persistence page of the Redis documentation; the error texts are Redis's.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from redoubt.hooks import PersistenceHook
from redoubt.interfaces import Exit, FileJob, ReadFile, SaveFile
from redoubt.persist.background import BackgroundSave, ForkedSave, SlicedSave
from redoubt.persist.load import DatasetLoader
from redoubt.persist.rdb_format import CorruptFile
from redoubt.persist.rdb_read import RdbReader
from redoubt.persist.snapshot import begin_snapshot, drained
from redoubt.session import GATE_DISK, GATE_LOADING

if TYPE_CHECKING:
    from redoubt.state import ServerState

log = logging.getLogger("redoubt")

# Items of the dump that are loaded between two looks at what has been loaded.
ITEMS_PER_STEP: Final = 10_000
# Redis: CONFIG_BGSAVE_RETRY_DELAY, seconds before a failed save is tried again.
RETRY_DELAY_MS: Final = 5000
# What the operating system says of a file that does not exist.
MISSING: Final = "No such file or directory"


class DumpFile(PersistenceHook):
    """The snapshot file of one server; see the module's docstring."""

    def __init__(self, state: ServerState) -> None:
        self.state = state
        self.loading: Load | None = None
        self.background: BackgroundSave | None = None
        # A save has been asked for that begins as soon as it may.
        self.is_scheduled = False
        # Saves that wait until the one in the background has been synced.
        self.waiting: list[FileJob] = []
        # As LASTSAVE has it: Redis counts from the start, as if that had been a save.
        self.saved_ms = state.now_ms
        self.changes_saved = 0
        self.saves = 0
        self.is_background_ok = True
        self.tried_ms = 0
        self.background_duration_ms = -1
        # Of forked children: how many there were, how long the last fork took, what the last save copied.
        self.forks = 0
        self.fork_duration_us = 0
        self.copied_bytes = 0
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
        self.state.log.dataset_loaded(now_ms)

    def loaded_otherwise(self, keys_loaded: int, now_ms: int) -> None:
        """Take note that the dataset has come from the append-only file."""
        self.keys_loaded = keys_loaded
        self.changes_saved = self.changes_made()

    def is_saving(self) -> bool:
        """Say whether a save in the background is under way."""
        return self.background is not None

    def save(self, job: FileJob, now_ms: int) -> None:
        """Write the whole dataset at the end of this loop turn; `job.done` is told of the outcome.

        A save in the background is given up; if only its sync is left we wait, since its rename could come
        after ours.
        """
        if self.background is not None and self.background.is_written():
            self.waiting.append(job)
            return
        self.give_up_background()
        save = ForegroundSave(self, job)
        chunks = drained(begin_snapshot(self.state))
        syncs_early = self.state.config.rdb_save_incremental_fsync
        self.state.effects.append(SaveFile(save, self.path(), chunks, True, syncs_early))

    def save_in_background(self, now_ms: int) -> bool:
        """Begin to write the dataset while commands go on; False if such a save runs already."""
        if self.background is not None:
            return False
        self.tried_ms = now_ms
        self.is_scheduled = False
        is_forking = self.state.config.snapshot_mode == "fork"
        self.background = ForkedSave(self, now_ms) if is_forking else SlicedSave(self, now_ms)
        return True

    def background_ended(self, save: BackgroundSave, error: str, now_ms: int) -> None:
        """Take the outcome of the save in the background (called by it); one that was given up has none."""
        if self.background is not save:
            return
        self.background = None
        self.background_duration_ms = now_ms - save.started_ms
        self.copied_bytes = save.private_bytes_max if isinstance(save, ForkedSave) else 0
        if error:
            log.warning("Background saving error: %s", error)
            self.set_background_ok(False)
        else:
            log.info("Background saving terminated with success")
            self.saved(save.changes_made, now_ms)
        waiting, self.waiting = self.waiting, []
        for job in waiting:
            self.save(job, now_ms)

    def note_fork(self, duration_us: int) -> None:
        """Take note of a fork."""
        self.forks += 1
        self.fork_duration_us = duration_us

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
        self.refresh_gate()

    def disk_refusal(self) -> str:
        """Say what the append-only file suffers from; empty if it is the snapshots."""
        return self.state.log.write_error()

    def refresh_gate(self) -> None:
        """Refuse writes while the disk refuses ours, as far as that is configured."""
        config = self.state.config
        refuses = not self.is_background_ok and config.stop_writes_on_bgsave_error and bool(config.save)
        refuses = refuses or bool(self.state.log.write_error())
        if refuses != bool(self.state.gates & GATE_DISK):
            self.state.set_gate(GATE_DISK, refuses)

    def fork_figures(self) -> tuple[int, int]:
        """Return how often a child was forked, and how long the last fork took in microseconds."""
        return (self.forks, self.fork_duration_us)

    def saves_at_exit(self) -> bool:
        """Say whether save points are configured."""
        return bool(self.state.config.save) and self.loading is None

    def tick(self, now_ms: int) -> None:
        """Write a slice of the save that runs, or begin one that is due."""
        if self.background is not None:
            self.background.advance()
        elif self.state.log.is_rewriting or self.state.gates & GATE_LOADING or not self.may_try(now_ms):
            return
        elif self.is_due(now_ms):
            log.info("%d changes. Saving...", self.changes())
            self.save_in_background(now_ms)
        elif self.is_scheduled:
            self.save_in_background(now_ms)

    def next_tick_ms(self) -> int:
        """Ask for the next slice soon."""
        if self.background is None or self.background.is_written():
            return 0
        return self.background.next_slice_ms()

    def may_try(self, now_ms: int) -> bool:
        """Say whether the last failure, if it was one, is some seconds ago."""
        return self.is_background_ok or now_ms - self.tried_ms >= RETRY_DELAY_MS

    def is_due(self, now_ms: int) -> bool:
        """Say whether a save point has been reached."""
        points = self.state.config.save
        changes = self.changes()
        elapsed_ms = now_ms - self.saved_ms
        return any(changes >= count and elapsed_ms > seconds * 1000 for seconds, count in points)


class Load(FileJob):
    """The loading of the file at the start."""

    def __init__(self, dump: DumpFile, now_ms: int) -> None:
        self.dump = dump
        self.started_ms = now_ms
        self.has_failed = False
        self.size_bytes = 0
        state = dump.state
        is_deciding = not state.replication.is_replica and not state.config.cluster_enabled
        self.loader = DatasetLoader(state.keyspaces, now_ms if is_deciding else 0)
        config = state.config
        self.reader = RdbReader(
            dump.path(), self.loader, len(state.keyspaces), config.proto_max_bulk_len, state.limits
        )

    def began(self, size_bytes: int) -> None:
        """Take note of the size of the file."""
        self.size_bytes = size_bytes

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
