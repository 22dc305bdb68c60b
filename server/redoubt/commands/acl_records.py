"""ACL LOG, ACL LOAD and ACL SAVE: what was refused to users, and the file that keeps them.

The log is `redoubt.access.denials`; the file has a line for each user, as ACL LIST shows them. It is read at
once, as a configuration is, and written whole: beside the old one, then in its place.

The dispatcher runs these. Source: the ACL pages of the Redis documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.access.denials import REASONS, Denial
from redoubt.blocking import Waiter
from redoubt.commands.acl import EVERYWHERE, MANAGEMENT
from redoubt.commands.arguments import integer
from redoubt.commands.declare import SERVER, command
from redoubt.interfaces import FileJob, SaveFile
from redoubt.resp.replies import NO_REPLY, OK, Double, ErrorReply, MapReply, Reply

if TYPE_CHECKING:
    from redoubt.session import Session

LOG_ENTRIES_SHOWN: Final = 10
NO_FILE: Final = ErrorReply(
    b"ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the "
    b"ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file "
    b"set) in order to store users in the Redis configuration."
)
NOT_SAVED: Final = ErrorReply(
    b"ERR There was an error trying to save the ACLs. Please check the server logs for more information"
)


@command(
    "ACL LOG", "[count:integer | RESET]", group=SERVER, flags=MANAGEMENT, since="6.0.0",
    complexity="O(N) for N entries", summary="Return the latest refusals, or forget them all.",
)  # fmt: skip
def acl_log(ctx: Session, argv: list[bytes]) -> Reply:
    """ACL LOG: ten entries unless otherwise said, the latest first."""
    denials = ctx.state.users.denials
    if len(argv) > 3:
        return ErrorReply(
            b"ERR unknown subcommand or wrong number of arguments for '%s'. Try ACL HELP." % argv[1][:128]
        )
    if len(argv) == 3 and argv[2].lower() == b"reset":
        denials.entries = []
        return OK
    count = max(integer(argv[2]), 0) if len(argv) == 3 else LOG_ENTRIES_SHOWN
    return [_described(entry, ctx.now_ms) for entry in denials.entries[:count]]


def _described(entry: Denial, now_ms: int) -> MapReply:
    return MapReply(
        [
            (b"count", entry.count),
            (b"reason", REASONS[entry.reason]),
            (b"context", entry.context),
            (b"object", entry.what),
            (b"username", entry.username),
            (b"age-seconds", Double((now_ms - entry.updated_ms) / 1000)),
            (b"client-info", entry.client),
            (b"entry-id", entry.number),
            (b"timestamp-created", entry.created_ms),
            (b"timestamp-last-updated", entry.updated_ms),
        ]
    )


@command(
    "ACL LOAD", group=SERVER, flags=MANAGEMENT, since="6.0.0", complexity="O(N) for N users",
    summary="Replace all users by those of the file, or none if it has an error.",
)  # fmt: skip
def acl_load(ctx: Session, argv: list[bytes]) -> Reply:
    """ACL LOAD: the connections of all users but `default` are closed, this one after the reply."""
    if not ctx.state.config.aclfile:
        return NO_FILE
    errors = ctx.state.users.load(ctx)
    return ErrorReply(b"ERR " + errors.encode("utf-8", "surrogateescape")) if errors else OK


class _Saving(FileJob):
    """Answers who asked for an ACL SAVE once the file stands."""

    def __init__(self, ctx: Session, waiter: Waiter) -> None:
        self.ctx = ctx
        self.waiter = waiter

    def done(self, error: str, now_ms: int) -> None:
        """Answer, if the client is still there."""
        if self.ctx.waiter is self.waiter:
            self.ctx.state.blocking.unblock(self.ctx, NOT_SAVED if error else OK)


@command(
    "ACL SAVE", group=SERVER, flags=MANAGEMENT, since="6.0.0", complexity="O(N) for N users",
    summary="Write all users into the file.", tips=EVERYWHERE,
)  # fmt: skip
def acl_save(ctx: Session, argv: list[bytes]) -> Reply:
    """ACL SAVE: answered when the file is durable; inside MULTI at once, as nothing may wait there."""
    path = ctx.state.config.aclfile
    if not path:
        return NO_FILE
    chunks = [line + b"\n" for line in ctx.state.users.lines(for_file=True)]
    if ctx.is_atomic:
        ctx.state.effects.append(SaveFile(FileJob(), path, chunks))
        return OK
    waiter = Waiter(0)
    ctx.state.blocking.block(ctx, waiter)
    ctx.state.effects.append(SaveFile(_Saving(ctx, waiter), path, chunks))
    return NO_REPLY
