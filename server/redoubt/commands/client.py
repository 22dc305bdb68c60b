"""CLIENT: who is connected, under which name, and what may be done with connections.

A subcommand that names other connections walks all sessions; there are at most maxclients of them. What a
connection looks like in CLIENT LIST, and which filters choose it, is in `redoubt.commands.client_list`.
CLIENT PAUSE and UNBLOCK only ask `redoubt.blocking`, which holds the clients that wait.

The dispatcher runs these. Tracking is in `redoubt.commands.client_tracking`.
Source: the CLIENT pages of the Redis documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.arguments import Arguments, integer
from redoubt.commands.client_list import Filter, client_line, kill_filter, list_filter
from redoubt.commands.connection import checked_name
from redoubt.commands.declare import (
    ADMIN,
    CONNECTION,
    LOADING,
    NOSCRIPT,
    STALE,
    command,
    container,
    wrong_words,
)
from redoubt.resp.replies import OK, ErrorReply, Reply, Verbatim
from redoubt.session import GATE_NO_TOUCH, REPLIES_OFF, REPLIES_ON, REPLIES_SKIP_NEXT

if TYPE_CHECKING:
    from redoubt.session import Session

OWN: Final = NOSCRIPT | LOADING | STALE
OTHERS: Final = ADMIN | OWN
TIMEOUT_MAX: Final = (1 << 63) - 1

container(
    "CLIENT",
    group=CONNECTION,
    since="2.4.0",
    summary="Look at the connections of this server, and manage them.",
)


@command(
    "CLIENT ID", group=CONNECTION, flags=OWN, since="5.0.0", complexity="O(1)",
    summary="Return the number of this connection.",
)  # fmt: skip
def client_id(ctx: Session, argv: list[bytes]) -> Reply:
    """CLIENT ID."""
    return ctx.session_id


@command(
    "CLIENT GETNAME", group=CONNECTION, flags=OWN, since="2.6.9", complexity="O(1)",
    summary="Return the name of this connection.",
)  # fmt: skip
def client_getname(ctx: Session, argv: list[bytes]) -> Reply:
    """CLIENT GETNAME."""
    return ctx.name or None


@command(
    "CLIENT SETNAME", "connection-name", group=CONNECTION, flags=OWN, since="2.6.9", complexity="O(1)",
    summary="Give this connection a name, or take it away with an empty one.",
)  # fmt: skip
def client_setname(ctx: Session, argv: list[bytes]) -> Reply:
    """CLIENT SETNAME."""
    ctx.name = checked_name(argv[2])
    return OK


@command(
    "CLIENT SETINFO", "<LIB-NAME libname | LIB-VER libver>", group=CONNECTION, flags=OWN, since="7.2.0",
    complexity="O(1)", summary="Note which client library uses this connection, and its version.",
    tips=("request_policy:all_nodes", "response_policy:all_succeeded"),
)  # fmt: skip
def client_setinfo(ctx: Session, argv: list[bytes]) -> Reply:
    """CLIENT SETINFO."""
    attribute = argv[2].lower()
    if attribute == b"lib-name":
        ctx.library_name = checked_name(argv[3], attribute)
    elif attribute == b"lib-ver":
        ctx.library_version = checked_name(argv[3], attribute)
    else:
        return ErrorReply(b"ERR Unrecognized option '%s'" % argv[2][:128])
    return OK


@command(
    "CLIENT INFO", group=CONNECTION, flags=OWN, since="6.2.0", complexity="O(1)",
    summary="Describe this connection.", tips=("nondeterministic_output",),
)  # fmt: skip
def client_info(ctx: Session, argv: list[bytes]) -> Reply:
    """CLIENT INFO."""
    return Verbatim(client_line(ctx) + b"\n")


@command(
    "CLIENT LIST",
    "[TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id:integer [client-id:integer ...]]",
    group=CONNECTION, flags=OTHERS, since="2.4.0", complexity="O(N) for N connections",
    summary="Describe all connections, or those of a kind or with these numbers.",
    tips=("nondeterministic_output",),
)  # fmt: skip
def client_list(ctx: Session, argv: list[bytes]) -> Reply:
    """CLIENT LIST, in the order of the connections' age."""
    chosen = list_filter(Arguments(argv, 2))
    sessions = ctx.state.sessions.values()
    return Verbatim(b"".join([client_line(session) + b"\n" for session in sessions if chosen.fits(session)]))


@command(
    "CLIENT KILL",
    "<old-format:string | ([ID client-id:integer] [TYPE <NORMAL | MASTER | SLAVE | REPLICA | PUBSUB>]"
    " [USER username] [ADDR addr] [LADDR laddr] [SKIPME yes-or-no] [MAXAGE maxage:integer])>",
    group=CONNECTION, flags=OTHERS, since="2.4.0", complexity="O(N) for N connections", arity=-3,
    summary="Close the connection from an address, or all that fit the filters.",
)  # fmt: skip
def client_kill(ctx: Session, argv: list[bytes]) -> Reply:
    """CLIENT KILL: the old form answers OK or an error, the form with filters a number."""
    if len(argv) == 3:
        chosen = Filter()
        chosen.peer = argv[2].decode("latin-1")
        return OK if _kill(ctx, chosen) else ErrorReply(b"ERR No such client")
    return _kill(ctx, kill_filter(Arguments(argv, 2), ctx))


def _kill(ctx: Session, chosen: Filter) -> int:
    """Close what fits; the client that asks gets its reply first."""
    killed = [session for session in ctx.state.sessions.values() if chosen.fits(session)]
    for session in killed:
        if session is ctx:
            ctx.closes_after_flush = True
        else:
            ctx.state.close(session)
    return len(killed)


@command(
    "CLIENT NO-EVICT", "<ON | OFF>", group=CONNECTION, flags=OTHERS, since="7.0.0", complexity="O(1)",
    summary="Exempt this connection from being closed to free memory.",
)  # fmt: skip
def client_no_evict(ctx: Session, argv: list[bytes]) -> Reply:
    """CLIENT NO-EVICT; as long as no client is evicted at all, this is only shown in CLIENT LIST."""
    word = argv[2].upper()
    if word not in (b"ON", b"OFF"):
        return ErrorReply(b"ERR syntax error")
    ctx.is_eviction_exempt = word == b"ON"
    return OK


@command(
    "CLIENT NO-TOUCH", "<ON | OFF>", group=CONNECTION, flags=OWN, since="7.2.0", complexity="O(1)",
    summary="Let commands of this connection leave no trace of what they read.",
)  # fmt: skip
def client_no_touch(ctx: Session, argv: list[bytes]) -> Reply:
    """CLIENT NO-TOUCH; what TOUCH names is touched all the same."""
    word = argv[2].upper()
    if word not in (b"ON", b"OFF"):
        return ErrorReply(b"ERR syntax error")
    ctx.set_own_gate(GATE_NO_TOUCH, word == b"ON")
    return OK


@command(
    "CLIENT REPLY", "<ON | OFF | SKIP>", group=CONNECTION, flags=OWN, since="3.2.0", complexity="O(1)",
    summary="Send replies to this connection, or none, or all but the next.",
)  # fmt: skip
def client_reply(ctx: Session, argv: list[bytes]) -> Reply:
    """CLIENT REPLY; the dispatcher drops what is not wanted, beginning with the reply of OFF and SKIP."""
    word = argv[2].upper()
    if word == b"ON":
        ctx.replies = REPLIES_ON
    elif word == b"OFF":
        ctx.replies = REPLIES_OFF
    elif word == b"SKIP":
        if ctx.replies == REPLIES_ON:
            ctx.replies = REPLIES_SKIP_NEXT
    else:
        return ErrorReply(b"ERR syntax error")
    return OK


@command(
    "CLIENT PAUSE", "timeout:integer [WRITE | ALL]", group=CONNECTION, flags=OTHERS, since="2.9.50",
    complexity="O(1)", summary="Hold the commands of all clients back for some milliseconds, or only writes.",
)  # fmt: skip
def client_pause(ctx: Session, argv: list[bytes]) -> Reply:
    """CLIENT PAUSE; a second pause lengthens the first, never shortens it."""
    timeout_ms = integer(argv[2], b"ERR timeout is not an integer or out of range")
    if timeout_ms < 0:
        return ErrorReply(b"ERR timeout is negative")
    if timeout_ms > TIMEOUT_MAX - ctx.now_ms:
        return ErrorReply(b"ERR timeout is out of range")
    if len(argv) > 4:
        raise wrong_words(argv)
    mode = argv[3].upper() if len(argv) == 4 else b"ALL"
    if mode not in (b"WRITE", b"ALL"):
        return ErrorReply(b"ERR CLIENT PAUSE mode must be WRITE or ALL")
    before = ctx.state.blocking.pauses.get("client")
    until_ms = max(ctx.now_ms + timeout_ms, before.until_ms if before else 0)
    ctx.state.blocking.pause(
        "client", mode == b"ALL" or (before is not None and before.holds_reads), until_ms
    )
    return OK


@command(
    "CLIENT UNPAUSE", group=CONNECTION, flags=OTHERS, since="6.2.0", complexity="O(N) for N held clients",
    summary="End CLIENT PAUSE before its time.",
)  # fmt: skip
def client_unpause(ctx: Session, argv: list[bytes]) -> Reply:
    """CLIENT UNPAUSE; pauses with other reasons (a handover) stay."""
    ctx.state.blocking.unpause("client")
    return OK


@command(
    "CLIENT UNBLOCK", "client-id:integer [TIMEOUT | ERROR]", group=CONNECTION, flags=OTHERS, since="5.0.0",
    complexity="O(1)", summary="Wake another client from a blocking command, as by timeout or with an error.",
)  # fmt: skip
def client_unblock(ctx: Session, argv: list[bytes]) -> Reply:
    """CLIENT UNBLOCK: 1 if the client was in a blocking command, else 0."""
    if len(argv) > 4:
        raise wrong_words(argv)
    reason = argv[3].upper() if len(argv) == 4 else b"TIMEOUT"
    if reason not in (b"TIMEOUT", b"ERROR"):
        return ErrorReply(b"ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
    session = ctx.state.blocking.waiting.get(integer(argv[2]))
    if session is None or session.waiter is None:
        return 0
    if reason == b"ERROR":
        reply: Reply = ErrorReply(b"UNBLOCKED client unblocked via CLIENT UNBLOCK")
    else:
        reply = session.waiter.timed_out(session)
    ctx.state.blocking.unblock(session, reply)
    return 1
