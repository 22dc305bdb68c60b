"""Whole databases: DBSIZE, FLUSHDB, FLUSHALL, SWAPDB.

A flush takes the tables away at once; with ASYNC (or lazyfree-lazy-user-flush) their memory is given back in
pieces by the following ticks. Redis counts these commands to the groups server and connection.
Source: the Redis command reference as of 7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from redoubt.commands.arguments import SYNTAX_ERROR
from redoubt.commands.declare import FAST, READONLY, SERVER, WRITE, command
from redoubt.commands.reading import database_number, database_of
from redoubt.resp.replies import OK, CommandError, ErrorReply, Reply

if TYPE_CHECKING:
    from redoubt.session import Session

_FLUSH_TIPS = ("request_policy:all_shards", "response_policy:all_succeeded")


@command("DBSIZE", group=SERVER, flags=READONLY | FAST, since="1.0.0", complexity="O(1)",
         summary="Return the number of keys in the database.", categories=("keyspace",),
         tips=("request_policy:all_shards", "response_policy:agg_sum"))  # fmt: skip
def dbsize(ctx: Session, argv: list[bytes]) -> Reply:
    return ctx.db.key_count


@command("FLUSHDB", "[ASYNC | SYNC]", group=SERVER, flags=WRITE, since="1.0.0",
         complexity="O(N) for N keys", summary="Delete all keys of the database.",
         categories=("keyspace", "dangerous"), tips=_FLUSH_TIPS)  # fmt: skip
def flushdb(ctx: Session, argv: list[bytes]) -> Reply:
    ctx.db.flush(_is_lazy(argv))
    return OK


@command("FLUSHALL", "[ASYNC | SYNC]", group=SERVER, flags=WRITE, since="1.0.0",
         complexity="O(N) for N keys", summary="Delete all keys of all databases.",
         categories=("keyspace", "dangerous"), tips=_FLUSH_TIPS)  # fmt: skip
def flushall(ctx: Session, argv: list[bytes]) -> Reply:
    is_lazy = _is_lazy(argv)
    for keyspace in ctx.state.keyspaces:
        keyspace.flush(is_lazy)
    return OK


def _is_lazy(argv: list[bytes]) -> bool:
    """Read the one option of a flush; raises CommandError."""
    if len(argv) == 1:
        return False
    word = argv[1].upper()
    if len(argv) > 2 or word not in (b"ASYNC", b"SYNC"):
        raise CommandError(SYNTAX_ERROR)
    return word == b"ASYNC"


@command("SWAPDB", "index1:integer index2:integer", group=SERVER, flags=WRITE | FAST, since="4.0.0",
         complexity="O(1)", summary="Exchange the contents of two databases.",
         categories=("keyspace", "dangerous"))  # fmt: skip
def swapdb(ctx: Session, argv: list[bytes]) -> Reply:
    if ctx.state.config.cluster_enabled:
        return ErrorReply(b"ERR SWAPDB is not allowed in cluster mode")
    numbers = (
        database_number(argv[1], b"ERR invalid first DB index"),
        database_number(argv[2], b"ERR invalid second DB index"),
    )
    first, second = database_of(ctx, numbers[0]), database_of(ctx, numbers[1])
    if first is not second:
        first.swap(second)
    ctx.db.changes += 1  # also if neither is ours, or both are the same: it is propagated as Redis does
    return OK
