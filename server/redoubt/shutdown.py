"""The end of the process in good order: hand over, wait for replicas, save, exit.

SIGTERM and SHUTDOWN begin it. First the cluster may hand its slots to a replica (`ClusterHook.leave`) and a
master's replicas are sent what they lack while writes are held back, for as long as the deadline allows; then
the dataset is saved if that was asked for or is configured; then the process ends. If the save fails and the
shutdown is not forced, it is called off, the client that asked gets an error, and the server goes on, as in
Redis: a server that cannot save keeps what only it has.

The node calls `tick`; the file effects tell the outcome of the save.
Rules: the documentation of SHUTDOWN and of Redis's signal handling.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from redoubt.blocking import Waiter
from redoubt.interfaces import Exit, FileJob
from redoubt.resp.replies import ErrorReply

if TYPE_CHECKING:
    from redoubt.session import Session
    from redoubt.state import ServerState

log = logging.getLogger("redoubt")

FAILED: Final = ErrorReply(b"ERR Errors trying to SHUTDOWN. Check logs.")
# The name of the pause of writes while the replicas are sent what they lack.
PAUSE: Final = "shutdown"
ABORTED: Final = ErrorReply(b"ERR Shutdown was aborted.")


class Shutdown(FileJob):
    """One shutdown under way."""

    def __init__(self, state: ServerState, saves: bool, is_forced: bool, deadline_ms: int) -> None:
        self.state = state
        self.saves = saves
        self.is_forced = is_forced
        self.deadline_ms = deadline_ms
        self.is_saving = False
        self.has_failed = False
        # The clients that sent SHUTDOWN; on success they only see their connection end.
        self.waiting: list[Session] = []

    def wait(self, ctx: Session) -> None:
        """Block the client that asked until the process ends or the shutdown fails."""
        self.waiting.append(ctx)
        self.state.blocking.block(ctx, Waiter(0))

    def tick(self, now_ms: int) -> None:
        """Go on with handing over, and save once there is nothing left to hand over or no time."""
        if self.is_saving:
            return
        if now_ms < self.deadline_ms and self.is_busy(now_ms):
            return
        self.is_saving = True
        if self.saves:
            log.info("Saving the final RDB snapshot before exiting.")
            self.state.persistence.save(self, now_ms)
        else:
            self.done("", now_ms)

    def is_busy(self, now_ms: int) -> bool:
        """Say whether something is still being handed over or sent."""
        state = self.state
        if state.cluster is not None and state.cluster.leave(now_ms, self.deadline_ms):
            return True
        replication = state.replication
        if replication.is_replica or replication.unsent_bytes() == 0:
            return False
        state.blocking.pause(PAUSE, False, self.deadline_ms)
        return True

    def done(self, error: str, now_ms: int) -> None:
        """Take the outcome of the save: exit, or stay because it failed."""
        if error and not self.is_forced:
            log.warning("Error trying to save the DB, can't exit: %s", error)
            self.answer(FAILED)
            return
        if error:
            log.warning("Error trying to save the DB, exiting anyway as asked: %s", error)
        self.state.log.close(now_ms)
        log.warning("Redoubt is now ready to exit, bye bye...")
        self.state.effects.append(Exit(0))

    def answer(self, error: ErrorReply) -> None:
        """End the shutdown without exiting."""
        self.has_failed = True
        self.state.blocking.unpause(PAUSE)
        for ctx in self.waiting:
            if ctx.is_blocked and not ctx.is_closed:
                self.state.blocking.unblock(ctx, error)
