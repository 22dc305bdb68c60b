"""The command of the append-only file, BGREWRITEAOF, and what INFO and the metrics say of it.

The work is done by `redoubt.persist.append_log`. A rewrite begins at the next tick, never in the middle of a
transaction or a script. (WAITAOF stands beside WAIT, in `redoubt.replication.commands`.)
Rules: the Redis command reference; INFO's field names are Redis's, metric names the community exporter's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt import metrics
from redoubt.commands.declare import ADMIN, NO_ASYNC_LOADING, NOSCRIPT, SERVER, command
from redoubt.persist.append_log import AppendLog
from redoubt.resp.replies import CommandError, Reply, SimpleString

if TYPE_CHECKING:
    from redoubt.info import Fields
    from redoubt.metrics import Sample
    from redoubt.session import Session
    from redoubt.state import ServerState

UNDER_WAY: Final = b"ERR Background append only file rewriting already in progress"
STARTED: Final = SimpleString(b"Background append only file rewriting started")
SCHEDULED: Final = SimpleString(b"Background append only file rewriting scheduled")


def append_log(state: ServerState) -> AppendLog:
    """Return the server's append-only file."""
    log = state.log
    assert isinstance(log, AppendLog)
    return log


@command("BGREWRITEAOF", group=SERVER, flags=ADMIN | NOSCRIPT | NO_ASYNC_LOADING, since="1.0.0",
         complexity="O(1)",
         summary="Write the append-only file anew, without what has been overwritten.")  # fmt: skip
def bgrewriteaof(ctx: Session, argv: list[bytes]) -> Reply:
    log = append_log(ctx.state)
    if log.is_rewriting:
        raise CommandError(UNDER_WAY)
    log.schedule()
    return SCHEDULED if ctx.state.persistence.is_saving() or ctx.is_atomic else STARTED


def append_only_fields(state: ServerState) -> Fields:
    """Make what INFO persistence says of the append-only file."""
    log = append_log(state)
    rewrite = log.rewrite
    return [
        ("aof_enabled", int(log.wants_history)),
        ("aof_rewrite_in_progress", int(rewrite is not None)),
        ("aof_rewrite_scheduled", int(log.is_scheduled)),
        ("aof_last_rewrite_time_sec", _seconds(log.rewrite_duration_ms)),
        (
            "aof_current_rewrite_time_sec",
            -1 if rewrite is None else _seconds(state.now_ms - rewrite.started_ms),
        ),
        ("aof_last_bgrewrite_status", "ok" if log.is_rewrite_ok else "err"),
        ("aof_rewrites", log.rewrites),
        ("aof_rewrites_consecutive_failures", log.rewrite_failures),
        ("aof_last_write_status", "err" if log.error else "ok"),
        ("aof_last_cow_size", 0),
    ]


def append_only_sizes(state: ServerState) -> Fields:
    """Make what INFO persistence says only of a server that logs."""
    log = append_log(state)
    if not log.wants_history:
        return []
    return [
        ("aof_current_size", log.size),
        ("aof_base_size", log.base_size),
        ("aof_pending_rewrite", int(log.is_scheduled)),
        ("aof_buffer_length", log.pending_bytes),
        ("aof_pending_bio_fsync", int(log.is_syncing)),
        ("aof_delayed_fsync", log.delayed_syncs),
    ]


def _seconds(duration_ms: int) -> int:
    return -1 if duration_ms < 0 else duration_ms // 1000


_ENABLED: Final = metrics.gauge("redis_aof_enabled", "Whether changes are logged in the append-only file.")
_REWRITING: Final = metrics.gauge("redis_aof_rewrite_in_progress", "Whether the file is being rewritten.")
_SCHEDULED: Final = metrics.gauge("redis_aof_rewrite_scheduled", "Whether a rewrite waits to begin.")
_LAST_REWRITE: Final = metrics.gauge(
    "redis_aof_last_rewrite_duration_sec", "Seconds that the last rewrite took; -1: none yet."
)
_REWRITE_OK: Final = metrics.gauge("redis_aof_last_bgrewrite_status", "Whether the last rewrite succeeded.")
_WRITE_OK: Final = metrics.gauge("redis_aof_last_write_status", "Whether the last write succeeded.")
_SIZE: Final = metrics.gauge("redis_aof_current_size_bytes", "Bytes of the append-only file.")
_BASE: Final = metrics.gauge(
    "redis_aof_base_size_bytes", "Its bytes after the last rewrite, or at the start."
)
_WAITING: Final = metrics.gauge("redis_aof_buffer_length", "Bytes that wait to be written.")
_DELAYED: Final = metrics.counter("redis_aof_delayed_fsync", "Writes that did not wait for a slow sync.")


def append_only_samples(state: ServerState) -> list[Sample]:
    """Measure the append-only file for the metrics."""
    log = append_log(state)
    return [
        _ENABLED.sample(int(log.wants_history)),
        _REWRITING.sample(int(log.is_rewriting)),
        _SCHEDULED.sample(int(log.is_scheduled)),
        _LAST_REWRITE.sample(_seconds(log.rewrite_duration_ms)),
        _REWRITE_OK.sample(int(log.is_rewrite_ok)),
        _WRITE_OK.sample(int(not log.error)),
        _SIZE.sample(log.size),
        _BASE.sample(log.base_size),
        _WAITING.sample(log.pending_bytes),
        _DELAYED.sample(log.delayed_syncs),
    ]


metrics.register(
    append_only_samples,
    [
        _ENABLED, _REWRITING, _SCHEDULED, _LAST_REWRITE, _REWRITE_OK, _WRITE_OK, _SIZE, _BASE, _WAITING,
        _DELAYED,
    ],
)  # fmt: skip
