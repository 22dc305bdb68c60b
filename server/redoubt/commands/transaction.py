"""Transactions: MULTI, EXEC, DISCARD, WATCH, UNWATCH.

What is queued has been admitted already (`redoubt.admission`), and EXEC was admitted for all of it together;
so here the commands run one after the other without further questions, except those whose answer may have
changed between: what the user may do, and whether this server is still a master. Everything that they change
goes out as one unit, which replicas apply whole, and clients that wait for keys are served afterwards.

Source: the page on transactions in the Redis documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.access import check
from redoubt.access.denials import DENIED_CHANNEL, DENIED_COMMAND, DENIED_KEY, IN_MULTI
from redoubt.commands.declare import (
    ALLOW_BUSY,
    FAST,
    LOADING,
    NOSCRIPT,
    RO,
    SKIP_SLOWLOG,
    STALE,
    TRANSACTIONS,
    UNQUEUED,
    Row,
    command,
)
from redoubt.resp.replies import NO_REPLY, NULL_ARRAY, OK, ErrorReply, Reply
from redoubt.session import GATE_ACL, GATE_MULTI, GATE_REPLICA, GATE_TRACKING
from redoubt.transaction import Transaction

if TYPE_CHECKING:
    from redoubt.session import Session

NESTED: Final = ErrorReply(b"ERR MULTI calls can not be nested")
WATCH_INSIDE: Final = ErrorReply(b"ERR WATCH inside MULTI is not allowed")
NO_EXEC: Final = ErrorReply(b"ERR EXEC without MULTI")
NO_DISCARD: Final = ErrorReply(b"ERR DISCARD without MULTI")
BROKEN: Final = ErrorReply(b"EXECABORT Transaction discarded because of previous errors.")
READ_ONLY: Final = ErrorReply(b"READONLY You can't write against a read only replica.")
DENIALS: Final = {
    DENIED_COMMAND: b"no permission to execute the command or subcommand",
    DENIED_KEY: b"no permission to touch the specified keys",
    DENIED_CHANNEL: b"no permission to access one of the channels used as arguments to the command",
}
AT_ANY_TIME: Final = NOSCRIPT | LOADING | STALE | ALLOW_BUSY | UNQUEUED


@command("MULTI", group=TRANSACTIONS, flags=AT_ANY_TIME | FAST, since="1.2.0", complexity="O(1)",
         summary="Queue the following commands, for EXEC to run them all.")  # fmt: skip
def multi(ctx: Session, argv: list[bytes]) -> Reply:
    if ctx.transaction is not None:
        return NESTED
    ctx.transaction = Transaction()
    ctx.set_own_gate(GATE_MULTI, True)
    return OK


@command("EXEC", group=TRANSACTIONS, flags=NOSCRIPT | LOADING | STALE | UNQUEUED | SKIP_SLOWLOG,
         since="1.2.0", complexity="Depends on commands in the transaction",
         summary="Run what has been queued since MULTI, unless a watched key has changed.")  # fmt: skip
def execute(ctx: Session, argv: list[bytes]) -> Reply:
    transaction = ctx.transaction
    if transaction is None:
        return NO_EXEC
    has_changed = ctx.state.watches.has_changed(ctx)
    ctx.end_transaction()
    if transaction.is_broken:
        return BROKEN
    if has_changed:
        return NULL_ARRAY
    dispatcher = ctx.state.dispatcher
    replies: list[Reply] = []
    dispatcher.begin_unit()
    ctx.is_atomic = True
    try:
        for row, call in zip(transaction.rows, transaction.calls, strict=True):
            refusal = _refusal(ctx, row, call)
            reply = dispatcher.call_admitted(ctx, row, call) if refusal is None else refusal
            if isinstance(reply, ErrorReply):
                dispatcher.count_error(reply)
            if reply is not NO_REPLY:
                replies.append(reply)
    finally:
        ctx.is_atomic = False
        dispatcher.end_unit()
    ctx.state.statistics.commands_processed += len(transaction.rows)
    return replies


def _refusal(ctx: Session, row: Row, argv: list[bytes]) -> ErrorReply | None:
    """Ask again what a command before this one, or somebody else since it was queued, may have changed."""
    gates = row.gates & ctx.gates
    if gates & GATE_ACL:
        denied = check.denied_to(ctx, row, argv, IN_MULTI)
        if denied is not None:
            row.rejected_calls += 1
            return ErrorReply(
                b"NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC "
                b"call. This command is no longer allowed for the following reason: " + DENIALS[denied.reason]
            )
    if gates & GATE_REPLICA:
        return READ_ONLY
    if gates & GATE_TRACKING:
        ctx.state.tracking.remember(ctx, row, argv)
    return None


@command("DISCARD", group=TRANSACTIONS, flags=AT_ANY_TIME | FAST, since="2.0.0",
         complexity="O(N), when N is the number of queued commands",
         summary="Drop what has been queued since MULTI, and watch nothing.")  # fmt: skip
def discard(ctx: Session, argv: list[bytes]) -> Reply:
    if ctx.transaction is None:
        return NO_DISCARD
    ctx.end_transaction()
    return OK


@command("WATCH", "key [key ...]", group=TRANSACTIONS, flags=AT_ANY_TIME | FAST, use=RO, since="2.2.0",
         complexity="O(1) for every key.",
         summary="Have the next EXEC do nothing if one of these keys has changed by then.")  # fmt: skip
def watch(ctx: Session, argv: list[bytes]) -> Reply:
    if ctx.transaction is not None:
        return WATCH_INSIDE
    for key in argv[1:]:
        ctx.state.watches.watch(ctx, key)
    return OK


@command("UNWATCH", group=TRANSACTIONS, flags=NOSCRIPT | LOADING | STALE | ALLOW_BUSY | FAST, since="2.2.0",
         complexity="O(1)", summary="Watch nothing any more.")  # fmt: skip
def unwatch(ctx: Session, argv: list[bytes]) -> Reply:
    ctx.state.watches.forget(ctx)
    return OK
