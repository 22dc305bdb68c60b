"""SLOWLOG: the latest slow commands.

What is logged, and how it is shortened, is in `redoubt.slowlog`; what counts as slow in
`redoubt.slow_commands`. The dispatcher runs these. Source: the SLOWLOG pages of the Redis documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.arguments import integer
from redoubt.commands.declare import ADMIN, LOADING, SERVER, STALE, command, container
from redoubt.resp.replies import OK, CommandError, Reply

if TYPE_CHECKING:
    from redoubt.session import Session

MANAGEMENT: Final = ADMIN | LOADING | STALE
SHOWN: Final = 10
BAD_COUNT: Final = b"ERR count should be greater than or equal to -1"

container("SLOWLOG", group=SERVER, since="2.2.12", summary="Look at the commands that took long.")


@command(
    "SLOWLOG GET", "[count:integer]", group=SERVER, flags=MANAGEMENT, since="2.2.12",
    complexity="O(N) for N entries", summary="Return the latest slow commands: 10, or so many, -1 for all.",
    tips=("request_policy:all_nodes", "nondeterministic_output"),
)  # fmt: skip
def slowlog_get(ctx: Session, argv: list[bytes]) -> Reply:
    """SLOWLOG GET: number, second of the clock, microseconds, words, address and name of the client."""
    if len(argv) > 3:
        raise CommandError(
            b"ERR unknown subcommand or wrong number of arguments for '%s'. Try SLOWLOG HELP." % argv[1][:128]
        )
    count = integer(argv[2], BAD_COUNT) if len(argv) == 3 else SHOWN
    if count < -1:
        raise CommandError(BAD_COUNT)
    entries = list(ctx.state.slow_log.entries)
    shown = entries if count == -1 else entries[:count]
    return [
        [entry.number, entry.started_s, entry.duration_us, list(entry.words), entry.peer, entry.client_name]
        for entry in shown
    ]


@command(
    "SLOWLOG LEN", group=SERVER, flags=MANAGEMENT, since="2.2.12", complexity="O(1)",
    summary="Count the entries of the slow log.",
    tips=("request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"),
)  # fmt: skip
def slowlog_len(ctx: Session, argv: list[bytes]) -> Reply:
    """SLOWLOG LEN."""
    return len(ctx.state.slow_log.entries)


@command(
    "SLOWLOG RESET", group=SERVER, flags=MANAGEMENT, since="2.2.12", complexity="O(N) for N entries",
    summary="Forget the entries of the slow log.",
    tips=("request_policy:all_nodes", "response_policy:all_succeeded"),
)  # fmt: skip
def slowlog_reset(ctx: Session, argv: list[bytes]) -> Reply:
    """SLOWLOG RESET: numbers go on counting."""
    ctx.state.slow_log.entries.clear()
    return OK
