"""The commands of the snapshot file: SAVE, BGSAVE, LASTSAVE; and what INFO and the metrics say of it.

The work is done by `redoubt.persist.dump_file`; here are the replies. SAVE is answered when the file is
durable. BGSAVE within a transaction begins after it, as in Redis, since it must not hold half of one; and
while an append-only file is rewritten it begins after that, if it says SCHEDULE.
Rules: the Redis command reference; INFO's field names are Redis's, metric names the community exporter's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt import info, metrics
from redoubt.blocking import Waiter
from redoubt.commands.append_only import append_log, append_only_fields, append_only_sizes
from redoubt.commands.declare import (
    ADMIN,
    FAST,
    LOADING,
    NO_ASYNC_LOADING,
    NO_MULTI,
    NOSCRIPT,
    SERVER,
    STALE,
    command,
)
from redoubt.interfaces import FileJob
from redoubt.persist.background import ForkedSave
from redoubt.persist.dump_file import DumpFile
from redoubt.resp.replies import NO_REPLY, OK, CommandError, ErrorReply, Reply, SimpleString
from redoubt.session import GATE_LOADING

if TYPE_CHECKING:
    from redoubt.info import Fields
    from redoubt.metrics import Sample
    from redoubt.session import Session
    from redoubt.state import ServerState

UNDER_WAY: Final = b"ERR Background save already in progress"
REWRITING: Final = (
    b"ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to"
    b" schedule a BGSAVE whenever possible."
)
SCHEDULED: Final = SimpleString(b"Background saving scheduled")
STARTED: Final = SimpleString(b"Background saving started")


def dump_file(state: ServerState) -> DumpFile:
    """Return the server's snapshot file."""
    dump = state.persistence
    assert isinstance(dump, DumpFile)
    return dump


class SaveWaiter(FileJob):
    """Answers SAVE when the file is durable or could not be written."""

    def __init__(self, ctx: Session) -> None:
        self.ctx = ctx

    def done(self, error: str, now_ms: int) -> None:
        """Answer the client, if it is still there."""
        if self.ctx.is_blocked and not self.ctx.is_closed:
            reply: Reply = ErrorReply(b"ERR " + error.encode()) if error else OK
            self.ctx.state.blocking.unblock(self.ctx, reply)


@command("SAVE", group=SERVER, flags=ADMIN | NOSCRIPT | NO_MULTI | NO_ASYNC_LOADING, since="1.0.0",
         complexity="O(N) for N keys",
         summary="Write the dataset to disk, and answer when it is durable.")  # fmt: skip
def save(ctx: Session, argv: list[bytes]) -> Reply:
    dump = dump_file(ctx.state)
    if dump.background is not None:
        raise CommandError(UNDER_WAY)
    ctx.state.blocking.block(ctx, Waiter(0))
    dump.save(SaveWaiter(ctx), ctx.now_ms)
    return NO_REPLY


@command("BGSAVE", "[SCHEDULE]", group=SERVER, flags=ADMIN | NOSCRIPT | NO_ASYNC_LOADING, since="1.0.0",
         complexity="O(1)", summary="Write the dataset to disk while commands go on.")  # fmt: skip
def bgsave(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) > 1 and (len(argv) > 2 or argv[1].upper() != b"SCHEDULE"):
        raise CommandError(b"ERR syntax error")
    dump = dump_file(ctx.state)
    if dump.background is not None:
        raise CommandError(UNDER_WAY)
    if ctx.state.log.is_rewriting or ctx.is_atomic:
        if len(argv) == 1 and not ctx.is_atomic:
            raise CommandError(REWRITING)
        dump.is_scheduled = True
        return SCHEDULED
    dump.save_in_background(ctx.state.now_ms)
    return STARTED


@command("LASTSAVE", group=SERVER, flags=LOADING | STALE | FAST, since="1.0.0", complexity="O(1)",
         summary="Return the Unix time of the last successful save.", categories=("admin", "dangerous"),
         tips=("nondeterministic_output",))  # fmt: skip
def lastsave(ctx: Session, argv: list[bytes]) -> Reply:
    return dump_file(ctx.state).saved_ms // 1000


def persistence_fields(state: ServerState) -> Fields:
    """Make the section `persistence` of INFO."""
    dump = dump_file(state)
    background = dump.background
    child = background if isinstance(background, ForkedSave) else None
    keys_done = 0 if background is None else background.keys_done()
    keys_total = 0 if background is None else background.key_count
    fields: Fields = [
        ("loading", int(bool(state.gates & GATE_LOADING))),
        ("async_loading", 0),
        ("current_cow_peak", 0 if child is None else child.private_bytes_max),
        ("current_cow_size", 0 if child is None else child.private_bytes),
        ("current_cow_size_age", 0 if child is None else (state.now_ms - child.counted_ms) // 1000),
        ("current_fork_perc", f"{100 * keys_done / max(keys_total, 1):.2f}"),
        ("current_save_keys_processed", keys_done),
        ("current_save_keys_total", keys_total),
        ("rdb_changes_since_last_save", dump.changes()),
        ("rdb_bgsave_in_progress", int(background is not None)),
        ("rdb_last_save_time", dump.saved_ms // 1000),
        ("rdb_last_bgsave_status", "ok" if dump.is_background_ok else "err"),
        ("rdb_last_bgsave_time_sec", _seconds(dump.background_duration_ms)),
        ("rdb_current_bgsave_time_sec", _running_seconds(dump)),
        ("rdb_saves", dump.saves),
        ("rdb_last_cow_size", dump.copied_bytes),
        ("rdb_last_load_keys_expired", dump.keys_expired_at_load),
        ("rdb_last_load_keys_loaded", dump.keys_loaded),
        *append_only_fields(state),
        ("module_fork_in_progress", 0),
        ("module_fork_last_cow_size", 0),
    ]
    fields += append_only_sizes(state)
    if state.gates & GATE_LOADING:
        fields += loading_fields(state)
    return fields


def loading_fields(state: ServerState) -> Fields:
    """Make what INFO says of the files that are being loaded, and how long that may still take."""
    log, load = append_log(state).loading, dump_file(state).loading
    started_ms, loaded, total = state.now_ms, 0, 0
    if log is not None:
        started_ms, loaded, total = log.started_ms, log.loaded_bytes, log.total_bytes
    elif load is not None:
        started_ms, loaded, total = load.started_ms, load.reader.offset(), load.size_bytes
    elapsed_s = (state.now_ms - started_ms) // 1000
    left_s = elapsed_s * (total - loaded) // loaded if loaded else 1
    return [
        ("loading_start_time", started_ms // 1000),
        ("loading_total_bytes", total),
        ("loading_rdb_used_mem", 0),
        ("loading_loaded_bytes", loaded),
        ("loading_loaded_perc", f"{100 * loaded / max(total, 1):.2f}"),
        ("loading_eta_seconds", max(left_s, 0)),
    ]


def _seconds(duration_ms: int) -> int:
    return -1 if duration_ms < 0 else duration_ms // 1000


def _running_seconds(dump: DumpFile) -> int:
    if dump.background is None:
        return -1
    return _seconds(dump.state.now_ms - dump.background.started_ms)


_LOADING: Final = metrics.gauge("redis_loading_dump_file", "Whether the dataset is being loaded.")
_CHANGES: Final = metrics.gauge(
    "redis_rdb_changes_since_last_save", "Changes of data since the last successful save."
)
_RUNNING: Final = metrics.gauge(
    "redis_rdb_bgsave_in_progress", "Whether a save in the background is under way."
)
_SAVED: Final = metrics.gauge(
    "redis_rdb_last_save_timestamp_seconds", "Unix time of the last successful save."
)
_STATUS: Final = metrics.gauge("redis_rdb_last_bgsave_status", "Whether the last save succeeded.")
_LAST_DURATION: Final = metrics.gauge(
    "redis_rdb_last_bgsave_duration_sec", "Seconds that the last save in the background took; -1: none yet."
)
_CURRENT_DURATION: Final = metrics.gauge(
    "redis_rdb_current_bgsave_duration_sec", "Seconds since the save under way began; -1: none is."
)


def persistence_samples(state: ServerState) -> list[Sample]:
    """Measure the snapshot file for the metrics."""
    dump = dump_file(state)
    return [
        _LOADING.sample(int(bool(state.gates & GATE_LOADING))),
        _CHANGES.sample(dump.changes()),
        _RUNNING.sample(int(dump.background is not None)),
        _SAVED.sample(dump.saved_ms // 1000),
        _STATUS.sample(int(dump.is_background_ok)),
        _LAST_DURATION.sample(_seconds(dump.background_duration_ms)),
        _CURRENT_DURATION.sample(_running_seconds(dump)),
    ]


info.register("persistence", persistence_fields)
metrics.register(
    persistence_samples,
    [_LOADING, _CHANGES, _RUNNING, _SAVED, _STATUS, _LAST_DURATION, _CURRENT_DURATION],
)
