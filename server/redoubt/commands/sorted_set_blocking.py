"""Sorted sets that clients wait for: BZPOPMIN, BZPOPMAX, BZMPOP.

As with lists (`redoubt.commands.list_blocking`): what is there is taken at once, else the client waits until
one of its keys holds a sorted set, except where nobody can wait. What is propagated is ZPOPMIN or ZPOPMAX.

Source: the sorted set commands of the Redis documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from redoubt.blocking import KeyWaiter
from redoubt.commands.arguments import Arguments
from redoubt.commands.declare import (
    ACCESS,
    BLOCKING,
    DELETE,
    FAST,
    NOSCRIPT,
    RW,
    SORTED_SET,
    WRITE,
    command,
)
from redoubt.commands.sorted_set import pop_for_many, pop_members, writable_sorted_set
from redoubt.commands.timeouts import deadline_of
from redoubt.data.sorted_set import SortedSet
from redoubt.resp.replies import NO_REPLY, NULL_ARRAY, Double, Reply

if TYPE_CHECKING:
    from redoubt.session import Session


class MemberWaiter(KeyWaiter):
    """A BZPOPMIN or BZPOPMAX that waits (count 0), or a BZMPOP."""

    def __init__(self, deadline_ms: int, is_lowest: bool, count: int) -> None:
        super().__init__(deadline_ms)
        self.is_lowest = is_lowest
        self.count = count

    def serve(self, ctx: Session, key: bytes) -> Reply:
        """Take members of the sorted set at `key`."""
        found = ctx.db.lookup(key, ctx.now_ms)
        if not isinstance(found, SortedSet):
            return NO_REPLY
        if self.count:
            return pop_for_many(ctx, key, found, self.count, self.is_lowest)
        return take(ctx, key, found, self.is_lowest)


@command("BZPOPMIN", "key [key ...] timeout:double", group=SORTED_SET,
         flags=WRITE | NOSCRIPT | BLOCKING | FAST, use=RW | ACCESS | DELETE, since="5.0.0",
         complexity="O(log N)",
         summary="Take the lowest member of the first sorted set that has any, waiting.")  # fmt: skip
def bzpopmin(ctx: Session, argv: list[bytes]) -> Reply:
    return _blocking_pop(ctx, argv, True)


@command("BZPOPMAX", "key [key ...] timeout:double", group=SORTED_SET,
         flags=WRITE | NOSCRIPT | BLOCKING | FAST, use=RW | ACCESS | DELETE, since="5.0.0",
         complexity="O(log N)",
         summary="Take the highest member of the first sorted set that has any, waiting.")  # fmt: skip
def bzpopmax(ctx: Session, argv: list[bytes]) -> Reply:
    return _blocking_pop(ctx, argv, False)


def _blocking_pop(ctx: Session, argv: list[bytes], is_lowest: bool) -> Reply:
    deadline_ms = deadline_of(ctx, argv[-1])
    keys = argv[1:-1]
    for key in keys:
        found = writable_sorted_set(ctx, key)
        if found is not None:
            return take(ctx, key, found, is_lowest)
    return _wait(ctx, keys, MemberWaiter(deadline_ms, is_lowest, 0))


def take(ctx: Session, key: bytes, found: SortedSet, is_lowest: bool) -> Reply:
    """Take one member for BZPOPMIN or BZPOPMAX; return key, member and score."""
    member, score = pop_members(ctx, key, found, 1, is_lowest)[0]
    ctx.rewrite([b"ZPOPMIN" if is_lowest else b"ZPOPMAX", key])
    return [key, member, Double(score)]


@command("BZMPOP", "timeout:double numkeys key [key ...] <MIN | MAX> [COUNT count]", group=SORTED_SET,
         flags=WRITE | BLOCKING, use=RW | ACCESS | DELETE, since="7.0.0",
         complexity="O(K+M*log N) for K keys and M members returned",
         summary="Take members of the first sorted set that has any, waiting for them.")  # fmt: skip
def bzmpop(ctx: Session, argv: list[bytes]) -> Reply:
    keys, is_lowest, count = Arguments(argv, 2).keys_end_and_count(b"MIN", b"MAX")
    deadline_ms = deadline_of(ctx, argv[1])
    for key in keys:
        found = writable_sorted_set(ctx, key)
        if found is not None:
            return pop_for_many(ctx, key, found, count, is_lowest)
    return _wait(ctx, keys, MemberWaiter(deadline_ms, is_lowest, count))


def _wait(ctx: Session, keys: list[bytes], waiter: MemberWaiter) -> Reply:
    if ctx.is_atomic:
        return NULL_ARRAY
    ctx.state.blocking.wait_for_keys(ctx, keys, waiter)
    return NO_REPLY
