"""Whether a command may run now: the particulars behind the gates, asked in Redis's order.

The dispatcher comes here only when a gate of the session fits the command (see `redoubt.session`), which for
most servers is never. The order of the questions is that of Redis's processCommand, since clients see the
first answer only; the texts are Redis's.

It changes nothing but one thing: a command that a pause or a MIGRATE holds back is handed to
`redoubt.blocking`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.access import check
from redoubt.commands.declare import (
    DENYOOM,
    MAY_REPLICATE,
    NO_MULTI,
    SUBSCRIBED,
    UNQUEUED,
    WRITE,
    Row,
    keys_of,
)
from redoubt.resp.replies import NO_REPLY, QUEUED, ErrorReply, Reply
from redoubt.session import (
    GATE_ACL,
    GATE_ASKING,
    GATE_AUTH,
    GATE_AWAITING,
    GATE_CLUSTER,
    GATE_DISK,
    GATE_HELD,
    GATE_LOADING,
    GATE_MEMORY,
    GATE_MIN_REPLICAS,
    GATE_MULTI,
    GATE_PAUSED,
    GATE_PUSHES,
    GATE_REPLICA,
    GATE_STALE,
    GATE_SUBSCRIBER,
)

if TYPE_CHECKING:
    from redoubt.session import Session

NOAUTH: Final = ErrorReply(b"NOAUTH Authentication required.")
NO_MULTI_ERROR: Final = ErrorReply(b"ERR Command not allowed inside a transaction")
OOM: Final = ErrorReply(b"OOM command not allowed when used memory > 'maxmemory'.")
READ_ONLY: Final = ErrorReply(b"READONLY You can't write against a read only replica.")
LOADING: Final = ErrorReply(b"LOADING Redis is loading the dataset in memory")
AWAITING: Final = ErrorReply(b"LOADING Redoubt is waiting for its role")
NO_REPLICAS: Final = ErrorReply(b"NOREPLICAS Not enough good replicas to write.")
MASTER_DOWN: Final = ErrorReply(
    b"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
)
DISK: Final = ErrorReply(
    b"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. "
    b"Commands that may modify the data set are disabled, because this instance is configured to report "
    b"errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check "
    b"the Redis logs for details about the RDB error."
)


def admit(ctx: Session, row: Row, argv: list[bytes]) -> Reply:
    """Return None if the command may run, else its reply. Called when `row.gates & ctx.gates`."""
    gates = row.gates & ctx.gates
    if gates & GATE_PUSHES:
        if not ctx.is_atomic:  # else the reply of EXEC, which the pushes wait for, is not made yet
            ctx.release_pushes()
        gates &= ~GATE_PUSHES
        if not gates:
            return None
    if gates == GATE_CLUSTER and ctx.state.cluster is not None:
        return ctx.state.cluster.refusal(ctx, row, argv)  # every command with keys of a healthy cluster
    if gates & GATE_ASKING:
        return admit_asking(ctx, row, argv)
    if gates & GATE_AUTH:
        return NOAUTH
    if ctx.gates & GATE_MULTI and row.flags & NO_MULTI:
        return NO_MULTI_ERROR
    if gates & GATE_ACL:
        refusal = check.refusal(ctx, row, argv)
        if refusal is not None:
            return refusal
    if gates & GATE_AWAITING:
        return AWAITING
    if gates & GATE_CLUSTER:
        cluster = ctx.state.cluster
        refusal = None if cluster is None else cluster.refusal(ctx, row, argv)
        if refusal is not None:
            return refusal
    refusal = refused_by_condition(ctx, gates, row)
    if refusal is not None:
        return refusal
    if gates & GATE_SUBSCRIBER and not row.flags & SUBSCRIBED:
        return subscriber_refusal(row)
    if gates & GATE_STALE:
        return MASTER_DOWN
    if gates & GATE_LOADING:
        return LOADING
    if gates & GATE_PAUSED and is_held(ctx, row):
        ctx.state.blocking.postpone(ctx, argv)
        return NO_REPLY
    if gates & GATE_HELD and touches_held_keys(ctx, row, argv):
        ctx.state.blocking.postpone(ctx, argv)
        return NO_REPLY
    if gates & GATE_MULTI and not row.flags & UNQUEUED:
        ctx.queued.append(argv)
        return QUEUED
    return None


def admit_asking(ctx: Session, row: Row, argv: list[bytes]) -> Reply:
    """Admit the one command that ASKING counts for; held back, it finds the gate raised once more."""
    ctx.set_own_gate(GATE_ASKING, False)
    ctx.is_asking = True
    reply: Reply = None
    if row.gates & ctx.gates:
        reply = admit(ctx, row, argv)
    ctx.is_asking = False
    if ctx.postponed is not None or reply is QUEUED:
        ctx.set_own_gate(GATE_ASKING, True)
    return reply


def refused_by_condition(ctx: Session, gates: int, row: Row) -> ErrorReply | None:
    """Ask for the conditions of the server that stop writes: memory, disk, replicas, being a replica."""
    if gates & GATE_MEMORY and row.flags & DENYOOM and not ctx.state.upkeep.has_room():
        return OOM
    if gates & GATE_DISK:
        return DISK
    if gates & GATE_MIN_REPLICAS:
        return NO_REPLICAS
    if gates & GATE_REPLICA:
        return READ_ONLY
    return None


def subscriber_refusal(row: Row) -> ErrorReply:
    """Make the error for a command that a RESP2 subscriber may not run."""
    return ErrorReply(
        b"ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed "
        b"in this context" % row.name.encode()
    )


def is_held(ctx: Session, row: Row) -> bool:
    """Say whether a pause in force concerns this command."""
    if ctx.is_replica:
        return False  # a replica must go on acknowledging, or the pause that waits for it never ends
    return bool(row.flags & (WRITE | MAY_REPLICATE)) or ctx.state.blocking.holds_reads()


def touches_held_keys(ctx: Session, row: Row, argv: list[bytes]) -> bool:
    """Say whether a write concerns a key that MIGRATE carries away; one without keys concerns all."""
    blocking = ctx.state.blocking
    if not blocking.held_keys:
        return False
    keys = keys_of(row, argv)
    return not keys or blocking.holds_any(ctx.database, keys)
