"""Commands about the server as a whole: INFO, TIME and SHUTDOWN.

INFO's text is made in `redoubt.info`, the end of the process in `redoubt.shutdown`; here are the arguments
and the replies. CONFIG, MEMORY, LATENCY, SLOWLOG, DEBUG and COMMAND
have modules of their own.

The dispatcher runs these. Source: the pages of the server group in the Redis documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from redoubt import info
from redoubt.commands.declare import (
    ADMIN,
    ALLOW_BUSY,
    FAST,
    LOADING,
    NO_MULTI,
    NOSCRIPT,
    SERVER,
    STALE,
    command,
)
from redoubt.resp.replies import NO_REPLY, OK, ErrorReply, Reply, Verbatim
from redoubt.session import GATE_BUSY

if TYPE_CHECKING:
    from redoubt.session import Session


@command(
    "INFO", "[section [section ...]]", group=SERVER, flags=LOADING | STALE, since="1.0.0", complexity="O(1)",
    categories=("dangerous",), summary="Return figures about the server, by section.",
    tips=("nondeterministic_output", "request_policy:all_shards", "response_policy:special"),
)  # fmt: skip
def info_command(ctx: Session, argv: list[bytes]) -> Reply:
    """INFO: sections that are unknown are passed over."""
    sections = [word.decode("latin-1").lower() for word in argv[1:]]
    return Verbatim(info.render(ctx.state, sections))


@command(
    "TIME", group=SERVER, flags=LOADING | STALE | FAST, since="2.6.0", complexity="O(1)",
    summary="Return the server's clock: seconds since 1970, and microseconds.",
    tips=("nondeterministic_output",),
)  # fmt: skip
def time(ctx: Session, argv: list[bytes]) -> Reply:
    """TIME: the clock is read once in a loop turn, to the millisecond."""
    seconds, milliseconds = divmod(ctx.state.now_ms, 1000)
    return [str(seconds).encode(), str(milliseconds * 1000).encode()]


@command(
    "SHUTDOWN", "[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]", group=SERVER,
    flags=ADMIN | NOSCRIPT | LOADING | STALE | NO_MULTI | ALLOW_BUSY, since="1.0.0",
    complexity="O(N) for N keys when it saves", summary="Hand over, save if that is configured, and exit.",
)  # fmt: skip
def shutdown(ctx: Session, argv: list[bytes]) -> Reply:
    """SHUTDOWN: only a failure is answered; else the connection ends."""
    given = [word.upper() for word in argv[1:]]
    flags = set(given)
    is_abort = b"ABORT" in flags
    is_contradiction = {b"SAVE", b"NOSAVE"} <= flags or (is_abort and len(given) > 1)
    if flags - {b"SAVE", b"NOSAVE", b"NOW", b"FORCE", b"ABORT"} or is_contradiction:
        return ErrorReply(b"ERR syntax error")
    lifecycle = ctx.state.lifecycle
    if is_abort:
        return OK if lifecycle.abort_shutdown() else ErrorReply(b"ERR No shutdown in progress.")
    saves = True if b"SAVE" in flags else False if b"NOSAVE" in flags else None
    is_busy = bool(ctx.gates & GATE_BUSY)
    if is_busy and saves is not False:
        return ctx.state.scripting.busy_refusal()  # half of what the script writes must not be saved
    is_now = b"NOW" in flags or is_busy
    if not lifecycle.begin_shutdown(saves, is_now, b"FORCE" in flags, ctx.now_ms, ctx):
        return ErrorReply(b"ERR Errors trying to SHUTDOWN. Check logs.")
    return NO_REPLY
