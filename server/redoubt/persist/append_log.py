"""The append-only file: every change, in the order in which it happened, on disk before it is answered.

What is logged is the replication history itself, byte for byte: decisions, with their transactions, as the
replicas get them. It is written at the end of each loop turn, before the replicas' links and the clients'
replies, in one write; with `appendfsync always` it is synced there, too, so a group of commands costs one
sync. With `everysec` a thread syncs once a second; a write that would run into a sync waits for it, two
seconds at most.

    off -appendonly yes, or a full copy of a master-> founding -first base done-> on
    (start) -loaded, or a first base written at once-> on         on -appendonly no-> off

The dataset on disk is what the manifest names (`aof_manifest`): a base and increments. A rewrite begins a new
increment and a new base at the same moment (`aof_rewrite`); until the manifest names the new base, the old
one and all increments are valid. Each increment says where in the history it stands (`aof_place`).

If the disk refuses, nothing is lost and nothing wrong is promised: what could not be written waits and is
tried again at each tick, writes are refused with MISCONF, and under `always` the clients whose replies would
have been promises are closed. Redis ends its process in the last case.

Driven by the node (`tick`) and the runtime (`flush`). It knows no sockets and no commands but SELECT.
Source: Redis `src/aof.c` and the persistence page of the Redis documentation.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from redoubt.hooks import AppendLogHook
from redoubt.interfaces import LANE_CLIENT, AppendFile, CloseFile, FileJob, RemoveFile, SaveFile, SyncFile
from redoubt.persist.aof_jobs import Append, Attempt, Closing, Creation, SavedManifest, Sync
from redoubt.persist.aof_load import LogLoad
from redoubt.persist.aof_manifest import Manifest, ManifestEntry
from redoubt.persist.aof_place import place_line
from redoubt.persist.aof_rewrite import Rewrite, begin_base
from redoubt.persist.snapshot import drained
from redoubt.resp.replies import encode_command
from redoubt.session import GATE_LOADING

if TYPE_CHECKING:
    from redoubt.state import ServerState

log = logging.getLogger("redoubt")

OFF: Final = "off"
FOUNDING: Final = "founding"  # the first base is being written: what is on disk is not ours yet
ON: Final = "on"

SYNC_PERIOD_MS: Final = 1000
# Redis: a write that a running sync would block is put off for so long at most.
POSTPONED_MS_MAX: Final = 2000
RETRY_MS: Final = 1000
# Redis: AOF_REWRITE_LIMITE_THRESHOLD; from so many failures on the automatic rewrite waits longer each time.
FAILURES_TOLERATED: Final = 3
PAUSE_MS: Final = 60_000
PAUSE_MS_MAX: Final = 3_600_000


class AppendLog(AppendLogHook):
    """The append-only file of one server; see the module's docstring."""

    def __init__(self, state: ServerState) -> None:
        super().__init__()
        self.state = state
        self.stage = OFF
        self.manifest = Manifest(state.config.appendfilename)
        self.loading: LogLoad | None = None
        self.rewrite: Rewrite | None = None
        # A rewrite is wanted: begun at the next tick that may.
        self.is_scheduled = False
        # Why the disk refused the last time, and whether syncing it failed rather than writing.
        self.error = ""
        self.rewrites = 0
        self.rewrite_failures = 0
        self.is_rewrite_ok = True
        self._is_damaged = False
        self.rewrite_duration_ms = -1
        self.delayed_syncs = 0
        self.base_size = 0  # of all files when the last rewrite ended, or at the start
        self.size = 0  # of all files
        self.is_syncing = False
        self._current: ManifestEntry | None = None
        self._at = 0  # the size of the current increment
        self._closed_at = 0  # the size of the one before
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._pending_offset = 0  # of the history, behind what is pending
        self._written_offset = -1
        self._place: tuple[str, bool] = ("", False)  # what the last annotation said
        self._stamped_s = 0
        self._synced_ms = 0
        self._postponed_ms = 0
        self._is_unsynced = False
        self._tried_ms = 0
        self._is_manifest_stale = False
        self._is_damaged = False  # only a new base is to be trusted
        self._retry_rewrite_ms = 0
        self._is_resuming = False  # a full copy is arriving: what is logged stays as it is meanwhile
        for name, act in (("appendonly", self._switch), ("appendfsync", self._changed_sync)):
            state.config.on_change(name, act)

    def directory(self) -> str:
        """Return where the files lie."""
        return f"{self.state.config.dir}/{self.state.config.appenddirname}"

    def manifest_path(self) -> str:
        """Return where the manifest lies."""
        return f"{self.directory()}/{self.state.config.appendfilename}.manifest"

    def path_of(self, entry: ManifestEntry) -> str:
        """Return where a file of the dataset lies."""
        return f"{self.directory()}/{entry.name}"

    @property
    def pending_bytes(self) -> int:
        return self._pending_bytes

    def write_error(self) -> str:
        """Say why nothing can be logged; empty if it can, or need not."""
        return self.error if self.stage != OFF else ""

    # The start.

    def load(self, now_ms: int) -> None:
        """Begin to load what the manifest names; without one the snapshot file is loaded instead.

        Redis begins with nothing then, and a server whose `appendonly` was switched on in its configuration
        has lost its dump.
        """
        self.loading = LogLoad(self, now_ms)
        self.loading.begin()

    def loaded(self, load: LogLoad, now_ms: int) -> None:
        """Take note that the files are loaded (called by the load)."""
        self.loading = None
        self.manifest = load.manifest
        self.size = self.base_size = load.total_bytes
        state = self.state
        state.persistence.loaded_otherwise(load.keys_loaded, now_ms)
        state.replication.restore(load.place(), now_ms)
        if load.increment is None:
            self._begin_increment()
            assert self._current is not None
            self.manifest.increments.append(self._current)
            self._save_manifest()
        else:
            self._current = load.increment
            self._at = load.increment_bytes
            # Cuts off the torn tail, so that the file is whole from here on.
            self._append_file([], True)
        self._start(now_ms)

    def loaded_old(self, load: LogLoad, now_ms: int) -> None:
        """Take note that the one file of an older version is loaded; a new base makes a manifest of it."""
        self.loading = None
        self.state.persistence.loaded_otherwise(load.keys_loaded, now_ms)
        self.state.replication.restore(load.place(), now_ms)
        self.dataset_loaded(now_ms)

    def nothing_found(self, now_ms: int) -> None:
        """Load the snapshot file, since there is no log (called by the load)."""
        self.loading = None
        self.state.persistence.load(now_ms)

    def dataset_loaded(self, now_ms: int) -> None:
        """Begin the log with a base of what the snapshot file held, before the first command is served."""
        if self.state.config.appendonly != "yes" or self.stage != OFF:
            return
        self.manifest = Manifest(self.state.config.appendfilename)
        self._begin_increment()
        assert self._current is not None
        self.manifest.increments.append(self._current)
        self._start(now_ms)
        base = self.manifest.next_base(self.state.config.aof_use_rdb_preamble)
        log.info("Creating AOF base file %s on server start", base.name)
        self._flush_all(True)
        snapshot = begin_base(self, base.name.endswith(".rdb"))
        self.manifest.base = base
        job = Attempt(self, "Error writing the AOF base file")
        self.state.effects.append(SaveFile(job, self.path_of(base), drained(snapshot)))
        self._save_manifest()

    def _start(self, now_ms: int) -> None:
        self.stage = ON
        self.is_on = self.wants_history = True
        self._synced_ms = now_ms
        self.state.replication.log_begins()

    # What is logged.

    def append(self, data: bytes) -> None:
        """Take bytes of the history that have just been counted in the replication offset."""
        if self._current is None or self._is_resuming:
            return  # the base that is to come will hold it
        replication = self.state.replication
        config = self.state.config
        if config.aof_timestamp_enabled and self.state.now_ms // 1000 != self._stamped_s:
            self._stamped_s = self.state.now_ms // 1000
            self._put(b"#TS:%d\r\n" % self._stamped_s)
        place = (replication.replid, replication.has_own_writes)
        if place != self._place:
            self._place = place
            self._put(place_line(dict(replication.dump_fields()), replication.offset - len(data)))
        self._put(data)
        self._pending_offset = replication.offset

    def _put(self, data: bytes) -> None:
        self._pending.append(data)
        self._pending_bytes += len(data)
        self.is_dirty = True

    def flush(self, now_ms: int) -> None:
        """Wish for what is pending to be written, and synced under `always`."""
        if not self._pending or (self.error and now_ms - self._tried_ms < RETRY_MS):
            self.is_dirty = False
            return
        policy = self.state.config.appendfsync
        if self.is_syncing and policy == "everysec" and not self.error:
            if not self._postponed_ms:
                self._postponed_ms = now_ms
            if now_ms - self._postponed_ms < POSTPONED_MS_MAX:
                self.is_dirty = False
                return
            self.delayed_syncs += 1
            log.info("Asynchronous AOF fsync is taking too long (disk is busy?).")
        self._flush_all(policy == "always")

    def _flush_all(self, is_synced: bool) -> None:
        self._postponed_ms = 0
        self.is_dirty = False
        chunks, self._pending = self._pending, []
        self._pending_bytes = 0
        self._append_file(chunks, is_synced)

    def _append_file(self, chunks: list[bytes], is_synced: bool) -> None:
        assert self._current is not None
        job = Append(self, self._current, self._at, chunks, self._pending_offset, is_synced)
        path = self.path_of(self._current)
        self.state.effects.append(AppendFile(job, path, self._at, chunks, is_synced))

    def appended(self, job: Append, error: str, now_ms: int) -> None:
        """Take the outcome of a write: what failed waits, first in line."""
        self._tried_ms = now_ms
        if error:
            if job.entry is not self._current:
                self._go_back(job.entry, job.at)
            self._pending[:0] = job.chunks
            self._pending_bytes += job.size_bytes
            self._failed(f"Error writing to the AOF file: {error}", error)
            return
        if job.entry is self._current:
            self._at += job.size_bytes
        else:
            self._closed_at = job.at + job.size_bytes
        self.size += job.size_bytes
        self._written_offset = job.offset
        if job.is_synced:
            self._synced_ms = now_ms
            self._is_unsynced = False
            self._is_durable(job.offset)
        elif job.size_bytes:
            self._is_unsynced = True
        if not self._is_manifest_stale and not self._is_damaged:
            self._recovered()

    def _failed(self, text: str, error: str) -> None:
        if not self.error:
            log.warning("%s", text)
        self.error = error
        self.state.persistence.refresh_gate()
        if self.state.config.appendfsync == "always" and self.stage == ON:
            self._break_promise()

    def _recovered(self) -> None:
        if self.error:
            self.error = ""
            log.warning("AOF write error looks solved. The server can write again.")
            self.state.persistence.refresh_gate()

    def _break_promise(self) -> None:
        """Close the clients whose replies would say that their writes are durable."""
        for link in self.state.dirty_lanes[LANE_CLIENT]:
            link.out.clear()
            self.state.close(link)

    # Time passes.

    def tick(self, now_ms: int) -> None:
        """Try again what failed, sync what is due, write a slice of the rewrite or begin one."""
        if self.stage == OFF:
            return
        if self._pending:
            self.is_dirty = True
        if self._is_manifest_stale and now_ms - self._tried_ms >= RETRY_MS:
            self._tried_ms = now_ms
            self._save_manifest()
        self._sync_if_due(now_ms)
        if self.rewrite is not None:
            self.rewrite.advance()
        elif self._may_rewrite(now_ms) and (self.is_scheduled or self._has_grown()):
            self._begin_rewrite(now_ms)

    def next_tick_ms(self) -> int:
        """Ask for the next slice of a rewrite soon."""
        if self.rewrite is None or self.rewrite.snapshot.is_done:
            return 0
        return self.rewrite.pace.due_ms or self.state.now_ms + 1

    def _sync_if_due(self, now_ms: int) -> None:
        config = self.state.config
        if config.appendfsync != "everysec" or not self._is_unsynced or self.is_syncing:
            return
        if self._current is None or now_ms - self._synced_ms < SYNC_PERIOD_MS:
            return
        if config.no_appendfsync_on_rewrite and (self.is_rewriting or self.state.persistence.is_saving()):
            return
        self.is_syncing = True
        self._is_unsynced = False
        self._synced_ms = now_ms
        self.state.effects.append(SyncFile(Sync(self, self._written_offset), self.path_of(self._current)))

    def synced(self, offset: int, error: str, now_ms: int) -> None:
        """Take the outcome of a sync; after a failed one only a new base is to be trusted."""
        self.is_syncing = False
        if self._pending:
            self.is_dirty = True
        if error:
            self.damaged("Can't persist AOF for fsync error", error)
        else:
            self._is_durable(offset)

    def _is_durable(self, offset: int) -> None:
        if self.stage == ON and offset > self.synced_offset:
            self.synced_offset = offset
            self.state.replication.log_synced()

    def _go_back(self, entry: ManifestEntry, at: int) -> None:
        """Stay with an increment whose end is not on disk: nothing may follow it in the manifest."""
        if self._current in (None, entry) or entry not in self.manifest.increments:
            return
        self._give_up_rewrite()
        self.is_scheduled = True
        if self._current in self.manifest.increments:
            self.manifest.increments.remove(self._current)
        # Of the new one only its head is pending, since this turn has not been flushed yet.
        self._pending = []
        self._pending_bytes = 0
        self._place = ("", False)
        self._current = entry
        self._at = at

    def closed(self, entry: ManifestEntry, error: str) -> None:
        """Take the outcome of closing an increment."""
        if error:
            self._go_back(entry, self._closed_at)
            self.damaged("Can't persist AOF for fsync error", error)
        else:
            self._is_durable(self._written_offset)

    def created(self, before: ManifestEntry | None, error: str, now_ms: int) -> None:
        """Take the outcome of creating an increment."""
        if error:
            if before is not None and before in self.manifest.increments:
                self._go_back(before, self._closed_at)
            self._give_up_rewrite()
            self._rewrite_failed(now_ms)
            self.is_scheduled = True
            self._failed(f"Error creating the AOF file: {error}", error)

    def damaged(self, what: str, error: str) -> None:
        """Write a new base: what is on disk cannot be relied on."""
        self.is_scheduled = True
        self._is_damaged = True
        self._failed(f"{what}: {error}", error)

    # Rewrites.

    def schedule(self) -> None:
        """Have the log rewritten as soon as that may begin."""
        if self.stage == OFF:
            self._found()
        self.is_scheduled = True
        self._retry_rewrite_ms = 0

    def _may_rewrite(self, now_ms: int) -> bool:
        state = self.state
        if state.gates & GATE_LOADING or state.persistence.is_saving() or self._is_resuming:
            return False
        # Of slots that are arriving a base holds nothing.
        if state.cluster is not None and state.cluster.is_importing():
            return False
        return now_ms >= self._retry_rewrite_ms

    def _has_grown(self) -> bool:
        config = self.state.config
        if self.stage != ON or not config.auto_aof_rewrite_percentage or self.error:
            return False
        growth = self.size - self.base_size
        is_large = self.size > config.auto_aof_rewrite_min_size
        return is_large and growth * 100 >= max(self.base_size, 1) * config.auto_aof_rewrite_percentage

    def _begin_rewrite(self, now_ms: int) -> None:
        """Begin a new increment and, with the dataset as it is now, a new base."""
        self.is_scheduled = False
        self.state.replication.before_flush(now_ms)
        is_apart = self.stage == FOUNDING or self._is_damaged
        before = self._current
        if self.stage == FOUNDING:
            self._forget_increment()
        else:
            if self._pending:
                self._flush_all(True)
            self._close_current()
        self._begin_increment()
        assert self._current is not None
        # What the manifest will name must exist.
        created = AppendFile(Creation(self, before), self.path_of(self._current), 0, [], True)
        self.state.effects.append(created)
        if not is_apart:
            self.manifest.increments.append(self._current)
            self._save_manifest()
        base = self.manifest.next_base(self.state.config.aof_use_rdb_preamble)
        log.info("Background append only file rewriting started")
        self.rewrite = Rewrite(self, base, self._current, now_ms)
        self.is_rewriting = True

    def rewritten(self, rewrite: Rewrite, error: str, now_ms: int) -> None:
        """Let the dataset begin with the new base, or stay with what there is (called by the rewrite)."""
        if rewrite is not self.rewrite:
            return
        self.rewrite = None
        self.is_rewriting = False
        self.rewrite_duration_ms = now_ms - rewrite.started_ms
        if error:
            log.warning("Background AOF rewrite failed: %s", error)
            self._rewrite_failed(now_ms)
            return
        log.info("Background AOF rewrite finished successfully")
        self.rewrites += 1
        self.rewrite_failures = 0
        self.is_rewrite_ok = True
        self.manifest.rebase(rewrite.base, rewrite.increment)
        self.size = self.base_size = rewrite.size_bytes + self._at
        if self.stage == FOUNDING:
            self._start(now_ms)
        self._save_manifest()
        if self.state.config.appendonly != "yes":
            self.close(now_ms)  # BGREWRITEAOF of a server that does not log
            self._stop()

    def _rewrite_failed(self, now_ms: int) -> None:
        self.is_rewrite_ok = False
        self.rewrite_failures += 1
        if self.stage == FOUNDING or self.error:
            self.is_scheduled = True
        excess = self.rewrite_failures - FAILURES_TOLERATED
        pause_ms = RETRY_MS if excess < 0 else min(PAUSE_MS << min(excess, 10), PAUSE_MS_MAX)
        self._retry_rewrite_ms = now_ms + pause_ms

    def _give_up_rewrite(self) -> None:
        if self.rewrite is not None:
            self.rewrite.give_up()
            self.rewrite = None
            self.is_rewriting = False

    # Files.

    def _begin_increment(self) -> None:
        """Log into a new file from here on; it begins with its database and its place."""
        self._current = self.manifest.next_increment()
        self._at = 0
        replication = self.state.replication
        self._place = ("", False)
        self._put(encode_command([b"SELECT", b"%d" % replication.stream_database()]))
        self.is_dirty = True

    def _forget_increment(self) -> None:
        """Leave an increment that never became part of the dataset."""
        self._pending = []
        self._pending_bytes = 0
        current, self._current = self._current, None
        if current is not None:
            path = self.path_of(current)
            self.state.effects += [CloseFile(FileJob(), path), RemoveFile(path)]

    def _close_current(self) -> None:
        current, self._current = self._current, None
        if current is not None:
            self._closed_at = self._at
            job = Closing(self, current)
            self.state.effects.append(CloseFile(job, self.path_of(current)))
            self._is_unsynced = False

    def _save_manifest(self) -> None:
        self._is_manifest_stale = True
        job = SavedManifest(self, self.manifest)
        self.state.effects.append(SaveFile(job, self.manifest_path(), job.chunks()))

    def manifest_saved(self, history: list[ManifestEntry], error: str, now_ms: int) -> None:
        """Remove what the manifest has ceased to name as part of the dataset."""
        if error:
            self._failed(f"Error writing the AOF manifest: {error}", error)
            return
        self._is_manifest_stale = False
        if not self._is_damaged:
            self._recovered()
        if history:
            for entry in history:
                self.state.effects.append(RemoveFile(self.path_of(entry)))
            self.manifest.history = []
            self._save_manifest()

    # Switched on and off.

    def _switch(self) -> str:
        if self.state.gates & GATE_LOADING:
            return ""  # `dataset_loaded` looks at it
        if self.state.config.appendonly == "yes":
            if self.stage == OFF:
                self._found()
        elif self.stage != OFF:
            self.close(self.state.now_ms)
            self._stop()
        return ""

    def _found(self) -> None:
        """Begin the log of a server that runs: with the first base, what is on disk is replaced."""
        self.stage = FOUNDING
        old = self.manifest
        self.manifest = Manifest(self.state.config.appendfilename)
        self.manifest.history = [*old.increments, *old.history]
        if old.base is not None:
            self.manifest.history.append(old.base)
        self.manifest.base_sequence = old.base_sequence
        self.manifest.increment_sequence = old.increment_sequence
        self.wants_history = True
        self.state.replication.log_begins()
        self.schedule()

    def _stop(self) -> None:
        self._give_up_rewrite()
        self._current = None
        self._pending = []
        self._pending_bytes = 0
        self.is_dirty = self.is_on = self.wants_history = False
        self.is_scheduled = False
        self.stage = OFF
        self.synced_offset = -1
        self.error = ""
        self.state.persistence.refresh_gate()

    def _changed_sync(self) -> str:
        if self.state.config.appendfsync == "always" and self.stage == ON and self._current is not None:
            self._flush_all(True)  # what was promised so far under a weaker policy
        return ""

    # A full copy of a master's data.

    def copy_begins(self) -> None:
        """Keep what is on disk as it is while our data are being replaced."""
        if self.stage != OFF:
            self._give_up_rewrite()
            self._is_resuming = True

    def copy_ended(self, is_installed: bool) -> None:
        """Go on, or begin anew with the data that have replaced ours."""
        if not self._is_resuming:
            return
        self._is_resuming = False
        if is_installed or self.stage == FOUNDING:
            if self.stage == ON:
                self._close_current()
            else:
                self._forget_increment()
            self.is_on = False
            self._found()

    # The end.

    def close(self, now_ms: int) -> None:
        """Make everything durable."""
        if self.stage == ON and self._current is not None:
            self.state.replication.before_flush(now_ms)
            if self._pending:
                self._flush_all(True)
            log.info("Calling fsync() on the AOF file.")
            self._close_current()
