"""Clients that wait: blocking commands with their timeouts, and commands held back by a pause.

A handler that cannot answer yet calls `block` with a `Waiter` and returns NO_REPLY; whoever brings what was
waited for calls `unblock` with the reply. While a session is blocked its input is kept, not run. What runs
next always runs at the end of the loop turn (`Dispatcher.resume_later`), never inside the command that
unblocked it, so handlers cannot re-enter one another.

A pause (CLIENT PAUSE, a handover, a master that lost its majority) has a reason, by which it is ended, and
holds either all commands or only those that may write. Several may be in force at once. Single keys are held
while MIGRATE carries them away: who writes to one of them waits, and tries again when it is gone or was left
behind. The node calls `tick`; nothing here reads a clock.

Rules: CLIENT PAUSE and the blocking commands of the Redis documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mypy_extensions import mypyc_attr

from redoubt.key_waits import KeyWaits
from redoubt.resp.replies import NO_REPLY, NULL_ARRAY, ErrorReply, Reply
from redoubt.session import GATE_HELD, GATE_PAUSED

if TYPE_CHECKING:
    from redoubt.session import Session
    from redoubt.state import ServerState


ROLE_CHANGED: Final = ErrorReply(
    b"UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"
)
_NO_KEYS: Final[frozenset[bytes]] = frozenset()


@mypyc_attr(allow_interpreted_subclasses=True)
class Waiter:
    """What one blocked command waits for. Subclassed where a timeout has another answer."""

    def __init__(self, deadline_ms: int) -> None:
        self.deadline_ms = deadline_ms  # 0: for ever
        # Of a wait for keys: which, in which database; it goes on when one is deleted, unless that is an
        # answer (XREADGROUP).
        self.database = 0
        self.keys: list[bytes] = []
        self.sees_deletion = False

    def serve(self, ctx: Session, key: bytes) -> Reply:
        """Answer because of a key that has changed; NO_REPLY: go on waiting. May raise CommandError.

        What is changed must be given to `ctx.rewrite`: replicas do not wait.
        """
        return NO_REPLY

    def forget(self, ctx: Session) -> None:
        """Take note that the wait is over, however it ended."""

    def timed_out(self, ctx: Session) -> Reply:
        """Return the reply for a wait that lasted too long."""
        return NULL_ARRAY

    def abandoned(self, ctx: Session) -> None:
        """Forget the session: it was closed while it waited."""


@mypyc_attr(allow_interpreted_subclasses=True)
class KeyWaiter(Waiter):
    """A wait for keys; subclasses say in `serve` what is taken from one that has changed."""

    def forget(self, ctx: Session) -> None:
        """Leave the lists of who waits for the keys."""
        ctx.state.blocking.key_waits.remove(ctx, self)


class Pause:
    """One reason why commands are held back."""

    def __init__(self, holds_reads: bool, until_ms: int) -> None:
        self.holds_reads = holds_reads
        self.until_ms = until_ms  # 0: until it is ended


class Blocking:
    """The blocked sessions and the pauses of one server."""

    def __init__(self, state: ServerState) -> None:
        self.state = state
        self.waiting: dict[int, Session] = {}
        self.key_waits = KeyWaits(state)
        self.postponed: dict[int, Session] = {}
        self.pauses: dict[str, Pause] = {}
        # By database: the keys that may not be written now.
        self.held_keys: dict[int, set[bytes]] = {}
        # No deadline is earlier; one that was given up may still stand here until the next tick. 0: none.
        self.earliest_ms = 0

    def block(self, ctx: Session, waiter: Waiter) -> None:
        """Hold the session until `unblock` or the waiter's deadline."""
        assert not ctx.is_blocked, "a session waits for one thing at a time"
        ctx.is_blocked = True
        ctx.waiter = waiter
        self.waiting[ctx.session_id] = ctx
        self._expect(waiter.deadline_ms)

    def wait_for_keys(self, ctx: Session, keys: list[bytes], waiter: KeyWaiter) -> None:
        """Hold the session until one of the keys of its database has changed so that it can be served.

        The caller has looked at the keys before, and returns NO_REPLY. Not for a session that `is_atomic`.
        """
        waiter.database = ctx.database
        waiter.keys = keys
        self.block(ctx, waiter)
        self.key_waits.add(ctx, waiter)

    def unblock(self, ctx: Session, reply: Reply) -> None:
        """Answer the blocked command and let the session go on at the end of this turn."""
        del self.waiting[ctx.session_id]
        ctx.is_blocked = False
        waiter, ctx.waiter = ctx.waiter, None
        if waiter is not None:
            waiter.forget(ctx)
        self.state.dispatcher.reply(ctx, reply)
        self.state.dispatcher.resume_later(ctx)

    def end(self, ctx: Session) -> None:
        """End a wait because this server is no master any more, and close the client: it must look around."""
        self.unblock(ctx, ROLE_CHANGED)
        ctx.closes_after_flush = True

    def end_key_waits(self) -> None:
        """End every wait for keys: this server becomes the replica of another."""
        for ctx in self.key_waits.sessions():
            self.end(ctx)

    def postpone(self, ctx: Session, argv: list[bytes]) -> None:
        """Hold a command back until no pause concerns it."""
        ctx.is_blocked = True
        ctx.postponed = argv
        self.postponed[ctx.session_id] = ctx

    def closed(self, ctx: Session) -> None:
        """Forget a session that has ended."""
        if self.waiting.pop(ctx.session_id, None) is not None and ctx.waiter is not None:
            ctx.waiter.forget(ctx)
            ctx.waiter.abandoned(ctx)
            ctx.waiter = None
        self.postponed.pop(ctx.session_id, None)

    def pause(self, reason: str, holds_reads: bool, until_ms: int) -> None:
        """Hold commands back from now on; the same reason again replaces its pause."""
        self.pauses[reason] = Pause(holds_reads, until_ms)
        self._expect(until_ms)
        self.state.set_gate(GATE_PAUSED, True)

    def unpause(self, reason: str) -> None:
        """End the pause of this reason, if there is one."""
        if self.pauses.pop(reason, None) is not None:
            self._release()

    def holds_reads(self) -> bool:
        """Say whether a pause in force holds reading commands, too."""
        return any(pause.holds_reads for pause in self.pauses.values())

    def hold_keys(self, database: int, keys: list[bytes]) -> None:
        """Postpone writes to these keys, none of which is held already, until `release_keys`."""
        self.held_keys.setdefault(database, set()).update(keys)
        if not self.state.gates & GATE_HELD:
            self.state.set_gate(GATE_HELD, True)

    def holds_any(self, database: int, keys: list[bytes]) -> bool:
        """Say whether one of these keys may not be written now."""
        return not self.held_keys.get(database, _NO_KEYS).isdisjoint(keys)

    def release_keys(self, database: int, keys: list[bytes]) -> None:
        """Let writes to these keys go on."""
        held = self.held_keys[database]
        held.difference_update(keys)
        if not held:
            del self.held_keys[database]
        if database in self.key_waits.waiting:
            self.key_waits.database_changed(database)  # BLMOVE may have waited for its target
        self.retry_postponed()

    def tick(self, now_ms: int) -> None:
        """End the pauses and the waits whose time has come."""
        if self.state.gates & GATE_HELD and not self.held_keys:
            # Not at once: a reshard is one MIGRATE after another, and each change walks through all sessions.
            self.state.set_gate(GATE_HELD, False)
        ended = [reason for reason, pause in self.pauses.items() if 0 < pause.until_ms <= now_ms]
        for reason in ended:
            self.unpause(reason)
        for ctx in list(self.waiting.values()):
            waiter = ctx.waiter
            if waiter is not None and 0 < waiter.deadline_ms <= now_ms:
                self.unblock(ctx, waiter.timed_out(ctx))
        self.earliest_ms = 0
        for pause in self.pauses.values():
            self._expect(pause.until_ms)
        for ctx in self.waiting.values():
            if ctx.waiter is not None:
                self._expect(ctx.waiter.deadline_ms)

    def next_deadline_ms(self) -> int:
        """Return a clock reading before which `tick` has nothing to end; 0: never. Asked once a loop turn."""
        return self.earliest_ms

    def _expect(self, deadline_ms: int) -> None:
        if deadline_ms > 0 and (self.earliest_ms == 0 or deadline_ms < self.earliest_ms):
            self.earliest_ms = deadline_ms

    def _release(self) -> None:
        if not self.pauses:
            self.state.set_gate(GATE_PAUSED, False)
        self.retry_postponed()

    def retry_postponed(self) -> None:
        """Let the postponed commands try again; one that something else holds is postponed once more."""
        postponed = list(self.postponed.values())
        self.postponed.clear()
        for ctx in postponed:
            ctx.is_blocked = False
            self.state.dispatcher.resume_later(ctx)
