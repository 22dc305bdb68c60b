"""Ranges of sorted sets by rank, score or member: ZRANGE in all its forms, ZCOUNT, ZREMRANGEBY*.

The older commands (ZREVRANGEBYSCORE, ...) are ZRANGE with options that are part of the name. A range is
parsed into `RangeQuery`, resolved into ranks, and only then read or removed.

Source: the Redis command reference, group "sorted-set", as of 7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.arguments import Arguments, integer, loose_number
from redoubt.commands.declare import (
    ACCESS,
    DELETE,
    DENYOOM,
    FAST,
    OW,
    READONLY,
    RO,
    RW,
    SORTED_SET,
    UPDATE,
    WRITE,
    command,
)
from redoubt.commands.sorted_set import (
    Pairs,
    members_reply,
    readable_sorted_set,
    remove_ranks,
    writable_sorted_set,
)
from redoubt.data.sorted_set import Bound, SortedSet
from redoubt.keyspace_events import EVENT_GENERIC, EVENT_SORTED_SET
from redoubt.resp.replies import CommandError, Reply

if TYPE_CHECKING:
    from redoubt.session import Session

BY_RANK: Final = 0
BY_SCORE: Final = 1
BY_MEMBER: Final = 2

_NOT_FLOATS: Final = b"ERR min or max is not a float"
_NOT_ITEMS: Final = b"ERR min or max not valid string range item"
_LIMIT_ALONE: Final = b"ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"
_SCORES_WITH_LEX: Final = b"ERR syntax error, WITHSCORES not supported in combination with BYLEX"


class MemberRange:
    """Two ends of a range by member; None is without end, is_empty: nothing can lie between."""

    def __init__(self, low: Bound | None, high: Bound | None, is_empty: bool) -> None:
        self.low = low
        self.high = high
        self.is_empty = is_empty


def score_bound(word: bytes) -> Bound:
    """Read `5`, `(5`, `-inf` or `+inf`; raises CommandError."""
    is_included = word[:1] != b"("
    return Bound(loose_number(word if is_included else word[1:], _NOT_FLOATS), b"", is_included)


def member_range(low: bytes, high: bytes) -> MemberRange:
    """Read `-`, `+`, `[member` or `(member`; raises CommandError."""
    for word in (low, high):
        if word[:1] not in (b"[", b"(") and word not in (b"-", b"+"):
            raise CommandError(_NOT_ITEMS)
    return MemberRange(_member_bound(low), _member_bound(high), low == b"+" or high == b"-")


def _member_bound(word: bytes) -> Bound | None:
    return None if word in (b"-", b"+") else Bound(0.0, word[1:], word[:1] == b"[")


class RangeQuery:
    """A range as a command names it."""

    def __init__(self, low: bytes, high: bytes) -> None:
        self.low = low
        self.high = high
        self.kind = BY_RANK
        self.is_reversed = False
        self.offset = 0
        self.limit = -1
        self.has_limit = False
        self.has_scores = False

    def take_option(self, arguments: Arguments, takes_scores: bool, is_general: bool) -> bool:
        """Read one option; is_general: ZRANGE's own, too. Says whether there was one."""
        if takes_scores and arguments.skip(b"WITHSCORES"):
            self.has_scores = True
        elif arguments.left() >= 3 and arguments.skip(b"LIMIT"):
            self.offset, self.limit = arguments.integer(), arguments.integer()
            self.has_limit = True
        elif is_general and not self.is_reversed and arguments.skip(b"REV"):
            self.is_reversed = True
        elif is_general and self.kind == BY_RANK and arguments.skip(b"BYSCORE"):
            self.kind = BY_SCORE
        elif is_general and self.kind == BY_RANK and arguments.skip(b"BYLEX"):
            self.kind = BY_MEMBER
        else:
            return False
        return True

    def resolve(self) -> Resolved:
        """Read the two ends; raises CommandError."""
        low, high = self.low, self.high
        if self.kind == BY_RANK:
            return Resolved(self, integer(low), integer(high))
        if self.is_reversed:
            low, high = high, low
        resolved = Resolved(self, 0, 0)
        if self.kind == BY_SCORE:
            resolved.low_score, resolved.high_score = score_bound(low), score_bound(high)
        else:
            resolved.members = member_range(low, high)
        return resolved


class Resolved:
    """A range whose ends have been read, ready for any sorted set."""

    def __init__(self, query: RangeQuery, start: int, stop: int) -> None:
        self.query = query
        self.start = start
        self.stop = stop
        self.low_score: Bound | None = None
        self.high_score: Bound | None = None
        self.members: MemberRange | None = None

    def ranks(self, found: SortedSet) -> tuple[int, int]:
        """Return the ranks first and past, in ascending order of scores, before any LIMIT."""
        if self.low_score is not None and self.high_score is not None:
            return found.ranks_by_score(self.low_score, self.high_score)
        if self.members is not None:
            if self.members.is_empty:
                return 0, 0
            return found.ranks_by_member(self.members.low, self.members.high)
        total = found.count()
        start = max(0, self.start + total if self.start < 0 else self.start)
        past = min(self.stop + total if self.stop < 0 else self.stop, total - 1) + 1
        if start >= past:
            return 0, 0
        return (total - past, total - start) if self.query.is_reversed else (start, past)

    def pairs(self, found: SortedSet) -> Pairs:
        """Return the pairs in the order and number asked for."""
        query = self.query
        first, past = self.ranks(found)
        if query.has_limit:
            if query.offset < 0 or query.offset >= past - first:
                return []
            left = past - first - query.offset
            wanted = left if query.limit < 0 else min(query.limit, left)
            if query.is_reversed:
                past -= query.offset
                first = past - wanted
            else:
                first += query.offset
                past = first + wanted
        pairs = found.slice(first, past)
        if query.is_reversed:
            pairs.reverse()
        return pairs


def _general_query(argv: list[bytes], at: int, takes_scores: bool) -> RangeQuery:
    """Read ZRANGE's range and options from `at` on."""
    query = RangeQuery(argv[at], argv[at + 1])
    arguments = Arguments(argv, at + 2)
    while arguments.has_more():
        if not query.take_option(arguments, takes_scores, True):
            raise arguments.syntax_error()
    _refuse_misplaced(query)
    return query


def _named_query(argv: list[bytes], kind: int, is_reversed: bool) -> RangeQuery:
    """Read the range of a command whose name says by what and in which direction."""
    query = RangeQuery(argv[2], argv[3])
    query.kind = kind
    query.is_reversed = is_reversed
    arguments = Arguments(argv, 4)
    while arguments.has_more():
        if not query.take_option(arguments, True, False):
            raise arguments.syntax_error()
    _refuse_misplaced(query)
    return query


def _refuse_misplaced(query: RangeQuery) -> None:
    if query.has_limit and query.kind == BY_RANK:
        raise CommandError(_LIMIT_ALONE)
    if query.has_scores and query.kind == BY_MEMBER:
        raise CommandError(_SCORES_WITH_LEX)


def _read(ctx: Session, key: bytes, query: RangeQuery) -> Reply:
    resolved = query.resolve()
    found = readable_sorted_set(ctx, key)
    return members_reply(ctx, [] if found is None else resolved.pairs(found), query.has_scores)


@command("ZRANGE", "key start:string stop:string [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]",
         group=SORTED_SET, flags=READONLY, use=RO | ACCESS, since="1.2.0",
         complexity="O(log N + M) for M members returned",
         summary="Return members in a range of ranks, scores or members.")  # fmt: skip
def zrange(ctx: Session, argv: list[bytes]) -> Reply:
    return _read(ctx, argv[1], _general_query(argv, 2, True))


@command("ZREVRANGE", "key start stop [WITHSCORES]", group=SORTED_SET, flags=READONLY, use=RO | ACCESS,
         since="1.2.0", complexity="O(log N + M) for M members returned",
         summary="Return members in a range of ranks, the highest score first.")  # fmt: skip
def zrevrange(ctx: Session, argv: list[bytes]) -> Reply:
    return _read(ctx, argv[1], _named_query(argv, BY_RANK, True))


@command("ZRANGEBYSCORE", "key min:double max:double [WITHSCORES] [LIMIT offset count]", group=SORTED_SET,
         flags=READONLY, use=RO | ACCESS, since="1.0.5", complexity="O(log N + M) for M members returned",
         summary="Return members in a range of scores.")  # fmt: skip
def zrangebyscore(ctx: Session, argv: list[bytes]) -> Reply:
    return _read(ctx, argv[1], _named_query(argv, BY_SCORE, False))


@command("ZREVRANGEBYSCORE", "key max:double min:double [WITHSCORES] [LIMIT offset count]", group=SORTED_SET,
         flags=READONLY, use=RO | ACCESS, since="2.2.0", complexity="O(log N + M) for M members returned",
         summary="Return members in a range of scores, the highest first.")  # fmt: skip
def zrevrangebyscore(ctx: Session, argv: list[bytes]) -> Reply:
    return _read(ctx, argv[1], _named_query(argv, BY_SCORE, True))


@command("ZRANGEBYLEX", "key min max [LIMIT offset count]", group=SORTED_SET, flags=READONLY,
         use=RO | ACCESS, since="2.8.9", complexity="O(log N + M) for M members returned",
         summary="Return members in a range of members of one score.")  # fmt: skip
def zrangebylex(ctx: Session, argv: list[bytes]) -> Reply:
    return _read(ctx, argv[1], _named_query(argv, BY_MEMBER, False))


@command("ZREVRANGEBYLEX", "key max min [LIMIT offset count]", group=SORTED_SET, flags=READONLY,
         use=RO | ACCESS, since="2.8.9", complexity="O(log N + M) for M members returned",
         summary="Return members in a range of members of one score, the last first.")  # fmt: skip
def zrevrangebylex(ctx: Session, argv: list[bytes]) -> Reply:
    return _read(ctx, argv[1], _named_query(argv, BY_MEMBER, True))


@command("ZRANGESTORE", "dst:key src:key min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]",
         group=SORTED_SET, flags=WRITE | DENYOOM, use=(OW | UPDATE, RO | ACCESS), since="6.2.0",
         complexity="O(log N + M) for M members stored",
         summary="Store members in a range of ranks, scores or members.")  # fmt: skip
def zrangestore(ctx: Session, argv: list[bytes]) -> Reply:
    resolved = _general_query(argv, 3, False).resolve()
    found = readable_sorted_set(ctx, argv[2])
    return store(ctx, argv[1], [] if found is None else resolved.pairs(found), b"zrangestore")


def store(ctx: Session, key: bytes, pairs: Pairs, event: bytes) -> int:
    """Put a result in place of whatever is at `key`; return its size."""
    if not pairs:
        if ctx.db.delete(key):
            ctx.notify(EVENT_GENERIC, b"del", key)
        return 0
    made = SortedSet()
    for member, score in pairs:
        made.put(member, score, ctx.state.limits)
    ctx.overwrite(key, made)
    ctx.notify(EVENT_SORTED_SET, event, key)
    return len(pairs)


@command("ZCOUNT", "key min:double max:double", group=SORTED_SET, flags=READONLY | FAST, use=RO | ACCESS,
         since="2.0.0", complexity="O(log N)", summary="Count members in a range of scores.")  # fmt: skip
def zcount(ctx: Session, argv: list[bytes]) -> Reply:
    return _count(ctx, argv, BY_SCORE)


@command("ZLEXCOUNT", "key min max", group=SORTED_SET, flags=READONLY | FAST, use=RO | ACCESS, since="2.8.9",
         complexity="O(log N)", summary="Count members in a range of members of one score.")  # fmt: skip
def zlexcount(ctx: Session, argv: list[bytes]) -> Reply:
    return _count(ctx, argv, BY_MEMBER)


def _count(ctx: Session, argv: list[bytes], kind: int) -> Reply:
    query = RangeQuery(argv[2], argv[3])
    query.kind = kind
    resolved = query.resolve()
    found = readable_sorted_set(ctx, argv[1])
    if found is None:
        return 0
    first, past = resolved.ranks(found)
    return past - first


@command("ZREMRANGEBYRANK", "key start stop", group=SORTED_SET, flags=WRITE, use=RW | DELETE, since="2.0.0",
         complexity="O(log N + M) for M members removed",
         summary="Remove members in a range of ranks.")  # fmt: skip
def zremrangebyrank(ctx: Session, argv: list[bytes]) -> Reply:
    return _remove(ctx, argv, BY_RANK, b"zremrangebyrank")


@command("ZREMRANGEBYSCORE", "key min:double max:double", group=SORTED_SET, flags=WRITE, use=RW | DELETE,
         since="1.2.0", complexity="O(log N + M) for M members removed",
         summary="Remove members in a range of scores.")  # fmt: skip
def zremrangebyscore(ctx: Session, argv: list[bytes]) -> Reply:
    return _remove(ctx, argv, BY_SCORE, b"zremrangebyscore")


@command("ZREMRANGEBYLEX", "key min max", group=SORTED_SET, flags=WRITE, use=RW | DELETE, since="2.8.9",
         complexity="O(log N + M) for M members removed",
         summary="Remove members in a range of members of one score.")  # fmt: skip
def zremrangebylex(ctx: Session, argv: list[bytes]) -> Reply:
    return _remove(ctx, argv, BY_MEMBER, b"zremrangebylex")


def _remove(ctx: Session, argv: list[bytes], kind: int, event: bytes) -> Reply:
    query = RangeQuery(argv[2], argv[3])
    query.kind = kind
    resolved = query.resolve()
    found = writable_sorted_set(ctx, argv[1])
    if found is None:
        return 0
    first, past = resolved.ranks(found)
    return len(remove_ranks(ctx, argv[1], found, first, past, event))
