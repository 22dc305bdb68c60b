"""Commands that combine sets: SINTER, SUNION, SDIFF, their STORE forms, and SINTERCARD.

A missing key is an empty set; any other type is refused before anything is computed. What is stored replaces
whatever the destination held, and an empty result removes it. Results have no order, but the same one each
time: that of the first set.

Source: the Redis command reference, group "set", as of 7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.arguments import NO_KEYS, Arguments
from redoubt.commands.declare import (
    ACCESS,
    DENYOOM,
    OW,
    READONLY,
    RO,
    RW,
    SET,
    UPDATE,
    WRITE,
    command,
)
from redoubt.commands.set import readable_set
from redoubt.data.set import MemberSet
from redoubt.keyspace_events import EVENT_GENERIC, EVENT_SET
from redoubt.resp.replies import CommandError, Reply, SetReply

if TYPE_CHECKING:
    from redoubt.session import Session

UNORDERED: Final = ("nondeterministic_output_order",)
_NEGATIVE_LIMIT: Final = b"ERR LIMIT can't be negative"
_TOO_MANY_KEYS: Final = b"ERR Number of keys can't be greater than number of args"


def _sets(ctx: Session, keys: list[bytes]) -> list[MemberSet | None]:
    return [readable_set(ctx, key) for key in keys]


def intersection(sets: list[MemberSet | None], limit: int = 0) -> list[bytes]:
    """Return the members that all sets have; at most `limit` of them if that is not 0."""
    present = [one for one in sets if one is not None]
    if len(present) < len(sets):
        return []
    present.sort(key=_size)
    smallest = present[0]
    others = present[1:]
    common: list[bytes] = []
    for member in smallest.members():
        if all(one.has(member) for one in others):
            common.append(member)
            if len(common) == limit:
                break
    return common


def union(sets: list[MemberSet | None]) -> list[bytes]:
    """Return the members that any of the sets has."""
    found: dict[bytes, bool] = {}
    for one in sets:
        if one is not None:
            for member in one.members():
                found[member] = True
    return list(found)


def difference(sets: list[MemberSet | None]) -> list[bytes]:
    """Return the members of the first set that none of the others has."""
    first = sets[0]
    if first is None:
        return []
    others = [one for one in sets[1:] if one is not None]
    if first in others:
        return []
    return [member for member in first.members() if not any(one.has(member) for one in others)]


def _size(one: MemberSet) -> int:
    return one.count()


def _store(ctx: Session, key: bytes, members: list[bytes], event: bytes) -> int:
    """Put the result in place of whatever is at `key`; return its size."""
    if not members:
        if ctx.db.delete(key):
            ctx.notify(EVENT_GENERIC, b"del", key)
        return 0
    made = MemberSet()
    limits = ctx.state.limits
    for member in members:
        made.add(member, limits)
    ctx.overwrite(key, made)
    ctx.notify(EVENT_SET, event, key)
    return len(members)


@command("SINTER", "key [key ...]", group=SET, flags=READONLY, use=RO | ACCESS, since="1.0.0",
         complexity="O(N*M) for N members of the smallest of M sets",
         summary="Return what several sets have in common.", tips=UNORDERED)  # fmt: skip
def sinter(ctx: Session, argv: list[bytes]) -> Reply:
    return SetReply(list[Reply](intersection(_sets(ctx, argv[1:]))))


@command("SUNION", "key [key ...]", group=SET, flags=READONLY, use=RO | ACCESS, since="1.0.0",
         complexity="O(N) for N members of all sets", summary="Return the members of several sets.",
         tips=UNORDERED)  # fmt: skip
def sunion(ctx: Session, argv: list[bytes]) -> Reply:
    return SetReply(list[Reply](union(_sets(ctx, argv[1:]))))


@command("SDIFF", "key [key ...]", group=SET, flags=READONLY, use=RO | ACCESS, since="1.0.0",
         complexity="O(N*M) for N members of the first of M sets",
         summary="Return the members of the first set that no other has.", tips=UNORDERED)  # fmt: skip
def sdiff(ctx: Session, argv: list[bytes]) -> Reply:
    return SetReply(list[Reply](difference(_sets(ctx, argv[1:]))))


@command("SINTERSTORE", "destination:key key [key ...]", group=SET, flags=WRITE | DENYOOM,
         use=(RW | UPDATE, RO | ACCESS), since="1.0.0",
         complexity="O(N*M) for N members of the smallest of M sets",
         summary="Store what several sets have in common.")  # fmt: skip
def sinterstore(ctx: Session, argv: list[bytes]) -> Reply:
    return _store(ctx, argv[1], intersection(_sets(ctx, argv[2:])), b"sinterstore")


@command("SUNIONSTORE", "destination:key key [key ...]", group=SET, flags=WRITE | DENYOOM,
         use=(OW | UPDATE, RO | ACCESS), since="1.0.0", complexity="O(N) for N members of all sets",
         summary="Store the members of several sets.")  # fmt: skip
def sunionstore(ctx: Session, argv: list[bytes]) -> Reply:
    return _store(ctx, argv[1], union(_sets(ctx, argv[2:])), b"sunionstore")


@command("SDIFFSTORE", "destination:key key [key ...]", group=SET, flags=WRITE | DENYOOM,
         use=(OW | UPDATE, RO | ACCESS), since="1.0.0",
         complexity="O(N*M) for N members of the first of M sets",
         summary="Store the members of the first set that no other has.")  # fmt: skip
def sdiffstore(ctx: Session, argv: list[bytes]) -> Reply:
    return _store(ctx, argv[1], difference(_sets(ctx, argv[2:])), b"sdiffstore")


@command("SINTERCARD", "numkeys key [key ...] [LIMIT limit:integer]", group=SET, flags=READONLY,
         use=RO | ACCESS, since="7.0.0", complexity="O(N*M) for N members of the smallest of M sets",
         summary="Count what several sets have in common, up to a limit.")  # fmt: skip
def sintercard(ctx: Session, argv: list[bytes]) -> Reply:
    arguments = Arguments(argv, 1)
    numkeys = arguments.integer(NO_KEYS)
    if numkeys < 1:
        raise CommandError(NO_KEYS)
    if numkeys > arguments.left():
        raise CommandError(_TOO_MANY_KEYS)
    keys = [arguments.word() for _ in range(numkeys)]
    limit = 0
    while arguments.has_more():
        if not arguments.skip_with_value(b"LIMIT"):
            raise arguments.syntax_error()
        limit = arguments.integer(_NEGATIVE_LIMIT)
        if limit < 0:
            raise CommandError(_NEGATIVE_LIMIT)
    return len(intersection(_sets(ctx, keys), limit))
