"""Commands on keys of any type: DEL, EXISTS, TYPE, RENAME, COPY, MOVE and their relatives.

Times to live are in `expiry`, SCAN and KEYS in `iteration`, OBJECT in `object`, whole databases in
`database`. Source: the Redis command reference, group "generic", as of 7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from redoubt.commands.declare import (
    DELETE,
    FAST,
    GENERIC,
    READONLY,
    RM,
    RO,
    WRITE,
    command,
)
from redoubt.commands.reading import read
from redoubt.resp.replies import Reply

if TYPE_CHECKING:
    from redoubt.session import Session


@command("DEL", "key [key ...]", group=GENERIC, flags=WRITE, use=RM | DELETE, since="1.0.0",
         complexity="O(N) for N keys", summary="Delete keys.",
         tips=("request_policy:multi_shard", "response_policy:agg_sum"))  # fmt: skip
def del_(ctx: Session, argv: list[bytes]) -> Reply:
    return _delete(ctx, argv)


@command("UNLINK", "key [key ...]", group=GENERIC, flags=WRITE | FAST, use=RM | DELETE, since="4.0.0",
         complexity="O(N) for N keys", summary="Delete keys, freeing large values in pieces.",
         tips=("request_policy:multi_shard", "response_policy:agg_sum"))  # fmt: skip
def unlink(ctx: Session, argv: list[bytes]) -> Reply:
    return _delete(ctx, argv)


def _delete(ctx: Session, argv: list[bytes]) -> Reply:
    deleted = 0
    for key in argv[1:]:
        # A key that has expired meanwhile is deleted by the lookup and does not count.
        if ctx.db.peek(key, ctx.now_ms) is not None and ctx.db.delete(key):
            deleted += 1
    return deleted


@command("EXISTS", "key [key ...]", group=GENERIC, flags=READONLY | FAST, use=RO, since="1.0.0",
         complexity="O(N) for N keys", summary="Count how many of the keys exist.",
         tips=("request_policy:multi_shard", "response_policy:agg_sum"))  # fmt: skip
def exists(ctx: Session, argv: list[bytes]) -> Reply:
    return sum([read(ctx, key) is not None for key in argv[1:]])
