"""Commands that look at lists or change their middle: LRANGE, LINDEX, LSET, LINSERT, LREM, LTRIM, LPOS.

Indexes count from 0, negative ones from the end.

Source: the Redis command reference, group "list", as of 7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.arguments import Arguments, integer
from redoubt.commands.declare import (
    ACCESS,
    DELETE,
    DENYOOM,
    FAST,
    INSERT,
    LIST,
    READONLY,
    RO,
    RW,
    UPDATE,
    WRITE,
    command,
)
from redoubt.commands.list import writable_list
from redoubt.commands.reading import NO_SUCH_KEY, WRONG_TYPE, read
from redoubt.data.list import TextList
from redoubt.keyspace_events import EVENT_GENERIC, EVENT_LIST
from redoubt.resp.replies import OK, CommandError, ErrorReply, Reply

if TYPE_CHECKING:
    from redoubt.session import Session

_LONG_MAX: Final = (1 << 63) - 1
_NO_RANK: Final = (
    b"ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to"
    b" start from the end of the list"
)


def readable_list(ctx: Session, key: bytes) -> TextList | None:
    """Return the list at `key` for a reading command; raises CommandError for other types."""
    value = read(ctx, key)
    if value is None or isinstance(value, TextList):
        return value
    raise CommandError(WRONG_TYPE)


def bounds(start: int, stop: int, total: int) -> tuple[int, int]:
    """Turn an inclusive range, negative from the end, into first and past within 0..total."""
    if start < 0:
        start = max(0, start + total)
    if stop < 0:
        stop += total
    past = min(stop, total - 1) + 1
    return (start, past) if start < past else (0, 0)


@command("LRANGE", "key start stop", group=LIST, flags=READONLY, use=RO | ACCESS, since="1.0.0",
         complexity="O(S+N) for N elements returned, the first of them S away from an end",
         summary="Return a range of elements of a list.")  # fmt: skip
def lrange(ctx: Session, argv: list[bytes]) -> Reply:
    start, stop = integer(argv[2]), integer(argv[3])
    found = readable_list(ctx, argv[1])
    if found is None:
        return []
    first, past = bounds(start, stop, found.total)
    return list[Reply](found.slice(first, past))


@command("LLEN", "key", group=LIST, flags=READONLY | FAST, use=RO, since="1.0.0", complexity="O(1)",
         summary="Return the length of a list.")  # fmt: skip
def llen(ctx: Session, argv: list[bytes]) -> Reply:
    found = readable_list(ctx, argv[1])
    return 0 if found is None else found.total


@command("LINDEX", "key index", group=LIST, flags=READONLY, use=RO | ACCESS, since="1.0.0",
         complexity="O(N) for an element N away from an end",
         summary="Return one element of a list.")  # fmt: skip
def lindex(ctx: Session, argv: list[bytes]) -> Reply:
    found = readable_list(ctx, argv[1])
    if found is None:
        return None
    return found.at(integer(argv[2]))


@command("LPOS", "key element [RANK rank:integer] [COUNT num-matches:integer] [MAXLEN len]", group=LIST,
         flags=READONLY, use=RO | ACCESS, since="6.0.6", complexity="O(N) for N elements",
         summary="Return where in a list an element stands.")  # fmt: skip
def lpos(ctx: Session, argv: list[bytes]) -> Reply:
    rank, count, looked_max = 1, -1, 0
    arguments = Arguments(argv, 3)
    while arguments.has_more():
        if arguments.skip_with_value(b"RANK"):
            rank = arguments.integer()
            if rank < -_LONG_MAX:
                text = b"ERR value is out of range, value must between %d and %d"
                raise CommandError(text % (-_LONG_MAX, _LONG_MAX))
            if rank == 0:
                raise CommandError(_NO_RANK)
        elif arguments.skip_with_value(b"COUNT"):
            count = _natural(arguments, b"COUNT")
        elif arguments.skip_with_value(b"MAXLEN"):
            looked_max = _natural(arguments, b"MAXLEN")
        else:
            raise arguments.syntax_error()
    found = readable_list(ctx, argv[1])
    if found is None:
        return None if count < 0 else []
    positions = found.positions(argv[2], rank, abs(count), looked_max)
    if count >= 0:
        return list[Reply](positions)
    return positions[0] if positions else None


def _natural(arguments: Arguments, name: bytes) -> int:
    error = b"ERR %s can't be negative" % name
    number = arguments.integer(error)
    if number < 0:
        raise CommandError(error)
    return number


@command("LSET", "key index element", group=LIST, flags=WRITE | DENYOOM, use=RW | UPDATE, since="1.0.0",
         complexity="O(N) for an element N away from an end",
         summary="Replace one element of a list.")  # fmt: skip
def lset(ctx: Session, argv: list[bytes]) -> Reply:
    key = argv[1]
    found = writable_list(ctx, key)
    if found is None:
        raise CommandError(NO_SUCH_KEY)
    index = integer(argv[2])
    if index < 0:
        index += found.total
    if not 0 <= index < found.total:
        return ErrorReply(b"ERR index out of range")
    size_before = ctx.db.begin_change(key)
    found.put(index, argv[3], ctx.state.limits)
    ctx.db.end_change(found, size_before)
    ctx.notify(EVENT_LIST, b"lset", key)
    return OK


@command("LINSERT", "key <BEFORE | AFTER> pivot element", group=LIST, flags=WRITE | DENYOOM, use=RW | INSERT,
         since="2.2.0", complexity="O(N) for N elements before the pivot",
         summary="Insert an element before or behind another.")  # fmt: skip
def linsert(ctx: Session, argv: list[bytes]) -> Reply:
    where = argv[2].upper()
    if where not in (b"BEFORE", b"AFTER"):
        raise CommandError(b"ERR syntax error")
    key = argv[1]
    found = writable_list(ctx, key)
    if found is None:
        return 0
    if not found.positions(argv[3], 1, 1, 0):
        return -1
    size_before = ctx.db.begin_change(key)
    found.insert_beside(argv[3], argv[4], where == b"BEFORE", ctx.state.limits)
    ctx.db.end_change(found, size_before)
    ctx.notify(EVENT_LIST, b"linsert", key)
    return found.total


@command("LREM", "key count element", group=LIST, flags=WRITE, use=RW | DELETE, since="1.0.0",
         complexity="O(N) for N elements",
         summary="Remove elements of a list that equal a given one.")  # fmt: skip
def lrem(ctx: Session, argv: list[bytes]) -> Reply:
    key = argv[1]
    count = integer(argv[2])
    found = writable_list(ctx, key)
    if found is None or not found.positions(argv[3], 1, 1, 0):
        return 0
    size_before = ctx.db.begin_change(key)
    removed = found.remove_equal(argv[3], max(count, -_LONG_MAX))
    ctx.db.end_change(found, size_before)
    ctx.notify(EVENT_LIST, b"lrem", key)
    if found.total == 0:
        ctx.db.delete(key)
        ctx.notify(EVENT_GENERIC, b"del", key)
    return removed


@command("LTRIM", "key start stop", group=LIST, flags=WRITE, use=RW | DELETE, since="1.0.0",
         complexity="O(N) for N elements removed", summary="Keep only a range of a list.")  # fmt: skip
def ltrim(ctx: Session, argv: list[bytes]) -> Reply:
    start, stop = integer(argv[2]), integer(argv[3])
    key = argv[1]
    found = writable_list(ctx, key)
    if found is None:
        return OK
    first, past = bounds(start, stop, found.total)
    if first >= past:
        ctx.db.delete(key)
        ctx.notify(EVENT_LIST, b"ltrim", key)
        ctx.notify(EVENT_GENERIC, b"del", key)
        return OK
    size_before = ctx.db.begin_change(key)
    found.trim(first, past)
    ctx.db.end_change(found, size_before)
    ctx.notify(EVENT_LIST, b"ltrim", key)
    return OK
