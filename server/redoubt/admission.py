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
    GATE_BUSY,
    GATE_CLUSTER,
    GATE_DISK,
    GATE_HELD,
    GATE_LOADING,
    GATE_MEMORY,
    GATE_MIN_REPLICAS,
    GATE_MULTI,
    GATE_NO_TOUCH,
    GATE_PAUSED,
    GATE_PUSHES,
    GATE_REPLICA,
    GATE_STALE,
    GATE_SUBSCRIBER,
    GATE_TRACKING,
)
from redoubt.transaction import Transaction, refused

if TYPE_CHECKING:
    from redoubt.session import Session

# What the dispatcher does for a client, beside what may keep its command from running.
OWN_AFFAIRS: Final = GATE_PUSHES | GATE_TRACKING | GATE_NO_TOUCH
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


LOG_ERROR: Final = b"MISCONF Errors writing to the AOF file: %s"


def admit(ctx: Session, row: Row, argv: list[bytes]) -> Reply:
    """Return None if the command may run, else its reply. Called when `row.gates & ctx.gates`."""
    gates = row.gates & ctx.gates
    if gates & OWN_AFFAIRS:
        if gates & GATE_PUSHES and not ctx.is_atomic:
            # Inside EXEC its reply, which the pushes wait for, is not made yet.
            ctx.release_pushes()
        gates &= ~OWN_AFFAIRS
        if not gates:
            return None
    if gates == GATE_CLUSTER and ctx.state.cluster is not None:
        return ctx.state.cluster.refusal(ctx, row, argv)  # every command with keys of a healthy cluster
    if gates & GATE_ASKING:
        return admit_asking(ctx, row, argv)
    transaction = ctx.transaction
    if transaction is None:
        return admit_as(ctx, row, argv, gates, row.flags)
    if row.name == "exec":
        return admit_exec(ctx, row, argv, transaction)
    if row.flags & NO_MULTI and not gates & GATE_AUTH:
        return NO_MULTI_ERROR
    flags = row.flags
    if not flags & UNQUEUED:
        # Queueing takes memory, whatever the command.
        gates |= ctx.gates & GATE_MEMORY
        flags |= DENYOOM
    reply = admit_as(ctx, row, argv, gates & ~GATE_HELD, flags)
    if reply is None and not row.flags & UNQUEUED:
        return enqueue(ctx, row, argv, transaction)
    return reply


def admit_as(ctx: Session, row: Row, argv: list[bytes], gates: int, flags: int) -> Reply:
    """Ask for what stands behind these gates, on behalf of a command with these flags."""
    if gates & GATE_AUTH:
        return NOAUTH
    if gates & GATE_ACL:
        refusal: Reply = check.refusal(ctx, row, argv)
        if refusal is not None:
            return refusal
    if gates & GATE_AWAITING:
        return AWAITING
    if gates & GATE_CLUSTER:
        cluster = ctx.state.cluster
        refusal = None if cluster is None else cluster.refusal(ctx, row, argv)
        if refusal is not None:
            return refusal
    refusal = refused_by_condition(ctx, gates, flags)
    if refusal is not None:
        return refusal
    if gates & GATE_SUBSCRIBER and not row.flags & SUBSCRIBED:
        return subscriber_refusal(row)
    if gates & GATE_STALE:
        return MASTER_DOWN
    if gates & GATE_LOADING:
        return LOADING
    if gates & GATE_BUSY:
        return ctx.state.scripting.busy_refusal()
    if gates & GATE_PAUSED and is_held(ctx, flags):
        ctx.state.blocking.postpone(ctx, argv)
        return NO_REPLY
    if gates & GATE_HELD and touches_held_keys(ctx, row, argv):
        ctx.state.blocking.postpone(ctx, argv)
        return NO_REPLY
    return None


def admit_exec(ctx: Session, row: Row, argv: list[bytes], transaction: Transaction) -> Reply:
    """Admit EXEC: it needs what any of the queued commands needs, and goes where all their keys are.

    Redirected, it ends the transaction, and is told where to; any other refusal becomes its EXECABORT.
    """
    gates = (row.gates | transaction.gates) & ctx.gates
    flags = row.flags | transaction.flags
    if gates & GATE_CLUSTER and not gates & (GATE_AUTH | GATE_AWAITING) and ctx.state.cluster is not None:
        reply = ctx.state.cluster.refusal_of_transaction(ctx, row, argv, transaction)
        if isinstance(reply, ErrorReply):
            ctx.end_transaction()
        if reply is not None:
            return reply
    # What the user may do with the queued ones is asked when each of them runs.
    left = gates & ~(GATE_MULTI | GATE_CLUSTER | GATE_HELD)
    reply = admit_as(ctx, row, argv, left, flags)
    if reply is None and gates & GATE_HELD and transaction_touches_held_keys(ctx, transaction):
        ctx.state.blocking.postpone(ctx, argv)
        return NO_REPLY
    if isinstance(reply, ErrorReply):
        row.rejected_calls += 1
        return refused(ctx, row, reply)
    return reply


def enqueue(ctx: Session, row: Row, argv: list[bytes], transaction: Transaction) -> Reply:
    """Queue a command for EXEC; one that EXEC will not run anyway need not be remembered."""
    if not transaction.is_broken and (ctx.watched is None or not ctx.watched.is_changed):
        transaction.queue(row, argv)
        if transaction.size_bytes > ctx.state.config.client_query_buffer_limit:
            ctx.state.statistics.query_limit_disconnections += 1
            ctx.state.close(ctx)
            return NO_REPLY
    return QUEUED


def admit_asking(ctx: Session, row: Row, argv: list[bytes]) -> Reply:
    """Admit the one command that ASKING counts for; held back, it finds the gate raised once more."""
    ctx.set_own_gate(GATE_ASKING, False)
    ctx.is_asking = True
    reply: Reply = None
    if row.gates & ctx.gates:
        reply = admit(ctx, row, argv)
    ctx.is_asking = False
    if ctx.postponed is not None or reply is QUEUED or (reply is None and row.name == "multi"):
        # It counts for all of a transaction.
        ctx.set_own_gate(GATE_ASKING, True)
    return reply


def refused_by_condition(ctx: Session, gates: int, flags: int) -> ErrorReply | None:
    """Ask for the conditions of the server that stop writes: memory, disk, replicas, being a replica."""
    if gates & GATE_MEMORY and flags & DENYOOM and not ctx.state.upkeep.has_room():
        return OOM
    if gates & GATE_DISK:
        error = ctx.state.persistence.disk_refusal()
        return ErrorReply(LOG_ERROR % error.encode()) if error else DISK
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


def is_held(ctx: Session, flags: int) -> bool:
    """Say whether a pause in force concerns a command with these flags."""
    if ctx.is_replica:
        return False  # a replica must go on acknowledging, or the pause that waits for it never ends
    return bool(flags & (WRITE | MAY_REPLICATE)) or ctx.state.blocking.holds_reads()


def touches_held_keys(ctx: Session, row: Row, argv: list[bytes]) -> bool:
    """Say whether a write concerns a key that MIGRATE carries away; one without keys concerns all."""
    blocking = ctx.state.blocking
    if not blocking.held_keys:
        return False
    keys = keys_of(row, argv)
    return not keys or blocking.holds_any(ctx.database, keys)


def transaction_touches_held_keys(ctx: Session, transaction: Transaction) -> bool:
    """Say whether a queued write concerns a key that MIGRATE carries away, in the database of its turn."""
    blocking = ctx.state.blocking
    if not blocking.held_keys:
        return False
    database = ctx.database
    for row, argv in zip(transaction.rows, transaction.calls, strict=True):
        if row.name == "select" and argv[1].isdigit():
            database = int(argv[1])
        elif row.gates & GATE_HELD:
            keys = keys_of(row, argv)
            if not keys or blocking.holds_any(database, keys):
                return True
    return False
