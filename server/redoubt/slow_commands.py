"""What becomes of a slow command: an entry of the slow log, a sample of the latency monitor.

The dispatcher finds slow commands without a clock reading for each (see `ClientDispatcher.call`): it times
those whose work grows with the data or the arguments, and between them looks at the clock only at the ends of
a pipeline and at every 64th command. If a stretch of commands that are never slow took long nevertheless (a
huge value was freed, the process was not running), the stretch is reported: as the command, if it was one; as
one of so many commands, if it was several. `threshold_us` is all that the dispatcher compares with.

Measured in docs/performance.md. Source: the documentation of slowlog-log-slower-than.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.declare import FAST, SKIP_SLOWLOG, Row
from redoubt.latency import COMMAND, FAST_COMMAND

if TYPE_CHECKING:
    from redoubt.latency import LatencyMonitor
    from redoubt.session import Session
    from redoubt.slowlog import SlowLog
    from redoubt.state import ServerState

NEVER_US: Final = 1 << 62
# Below this, 64 commands that are not timed could reach the threshold together: then each is timed.
STRETCH_US_MIN: Final = 1000


class SlowCommands:
    """Sorts out what the dispatcher found slow."""

    def __init__(self, state: ServerState, log: SlowLog, monitor: LatencyMonitor) -> None:
        self.state = state
        self.log = log
        self.monitor = monitor
        self.threshold_us = NEVER_US
        state.config.on_change("slowlog-log-slower-than", self.follow_config)
        state.config.on_change("latency-monitor-threshold", self.follow_config)
        self.follow_config()

    def follow_config(self) -> str:
        """Take over the thresholds, and have the dispatcher compare with the lower one."""
        log_us = self.state.config.slowlog_log_slower_than
        monitor_us = self.state.config.latency_monitor_threshold * 1000
        self.threshold_us = min(NEVER_US if log_us < 0 else log_us, monitor_us or NEVER_US)
        self.state.dispatcher.report_from(self.threshold_us, self.threshold_us < STRETCH_US_MIN)
        return ""

    def note(self, ctx: Session, row: Row, argv: list[bytes], duration_us: int) -> None:
        """Take a command that took at least the threshold."""
        self.monitor.note(FAST_COMMAND if row.flags & FAST else COMMAND, duration_us)
        if not row.flags & SKIP_SLOWLOG:
            self._log(ctx, argv, duration_us)

    def note_stretch(self, ctx: Session, argv: list[bytes], count: int, duration_us: int) -> None:
        """Take a stretch of so many commands, the last of which, or the next, is this one."""
        self.monitor.note(FAST_COMMAND, duration_us)
        if count == 1:
            self._log(ctx, argv, duration_us)
        else:
            self._log(ctx, [b"(one of %d pipelined commands up to)" % count, *argv], duration_us)

    def _log(self, ctx: Session, argv: list[bytes], duration_us: int) -> None:
        if 0 <= self.state.config.slowlog_log_slower_than <= duration_us:
            self.log.add(ctx, argv, duration_us)
