"""Commands on the members of one sorted set: ZADD, ZREM, ZSCORE, ZRANK, ZPOPMIN and their relatives.

Ranges are in `sorted_set_range`, what combines several sets in `sorted_set_algebra`. A sorted set without
members does not exist: whoever removes the last one removes the key. What ZMPOP took is propagated as ZPOPMIN
or ZPOPMAX of the key that it chose; everything else gives the same result on a replica as it came.

Source: the Redis command reference, group "sorted-set", as of 7.2.
"""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING, Final

from redoubt.commands.arguments import Arguments, integer, number
from redoubt.commands.declare import (
    ACCESS,
    DELETE,
    DENYOOM,
    FAST,
    READONLY,
    RO,
    RW,
    SORTED_SET,
    UPDATE,
    WRITE,
    command,
)
from redoubt.commands.iteration import parse_cursor, parse_scan_options
from redoubt.commands.reading import WRONG_TYPE, read
from redoubt.data.sorted_set import SortedSet
from redoubt.keyspace_events import EVENT_GENERIC, EVENT_SORTED_SET
from redoubt.resp.doubles import double_text
from redoubt.resp.replies import NULL_ARRAY, CommandError, Double, Reply

if TYPE_CHECKING:
    from redoubt.session import Session

NOT_POSITIVE: Final = b"ERR value is out of range, must be positive"
_NOT_A_NUMBER: Final = b"ERR resulting score is not a number (NaN)"
_LONG_MAX: Final = (1 << 63) - 1
_BAD_COUNT: Final = b"ERR value is out of range, value must between %d and %d" % (-_LONG_MAX, _LONG_MAX)
# Above a third of the members, drawing until they differ takes longer than leaving some out.
_SHARE_DRAWN_MAX: Final = 3

Pairs = list[tuple[bytes, float]]


def readable_sorted_set(ctx: Session, key: bytes) -> SortedSet | None:
    """Return the sorted set at `key` for a reading command; raises CommandError for other types."""
    value = read(ctx, key)
    if value is None or isinstance(value, SortedSet):
        return value
    raise CommandError(WRONG_TYPE)


def writable_sorted_set(ctx: Session, key: bytes) -> SortedSet | None:
    """Return the sorted set at `key` for a command that will change it; refuses other types."""
    value = ctx.db.lookup(key, ctx.now_ms)
    if value is None or isinstance(value, SortedSet):
        return value
    raise CommandError(WRONG_TYPE)


def members_reply(ctx: Session, pairs: Pairs, has_scores: bool) -> Reply:
    """Return members, with their scores in turn (RESP2) or in pairs (RESP3) where these are wanted."""
    reply: list[Reply] = []
    for member, score in pairs:
        if not has_scores:
            reply.append(member)
        elif ctx.resp == 3:
            reply.append([member, Double(score)])
        else:
            reply.append(member)
            reply.append(Double(score))
    return reply


def remove_ranks(ctx: Session, key: bytes, found: SortedSet, first: int, past: int, event: bytes) -> Pairs:
    """Remove the members from rank `first` to before `past`, and the key with the last one; return them."""
    if first >= past:
        return []
    if past - first == found.count():
        pairs = found.slice(first, past)
        ctx.db.delete(key)
        ctx.notify(EVENT_SORTED_SET, event, key)
        ctx.notify(EVENT_GENERIC, b"del", key)
        return pairs
    size_before = ctx.db.begin_change(key)
    pairs = found.pop_ranks(first, past)
    ctx.db.end_change(found, size_before)
    ctx.notify(EVENT_SORTED_SET, event, key)
    return pairs


class Addition:
    """What ZADD and ZINCRBY do to each member, and what came of it."""

    def __init__(self) -> None:
        self.only_new = False
        self.only_old = False
        self.only_greater = False
        self.only_less = False
        self.is_increment = False
        self.added = 0
        self.updated = 0
        # The score of the member after an increment; None if a condition forbade it.
        self.result: float | None = None

    def apply(self, ctx: Session, target: SortedSet, score: float, member: bytes) -> None:
        """Add or update one member if the conditions allow it; raises CommandError."""
        self.result = None
        old = target.find_score(member)
        if old is None:
            if not self.only_old:
                target.insert(member, score, ctx.state.limits)
                self.added += 1
                self.result = score
            return
        if self.only_new:
            return
        if self.is_increment:
            score += old
            if isnan(score):
                raise CommandError(_NOT_A_NUMBER)
        if (self.only_less and score >= old) or (self.only_greater and score <= old):
            return
        self.result = score
        if score != old:
            target.put(member, score, ctx.state.limits)
            self.updated += 1

    def notify(self, ctx: Session, key: bytes) -> None:
        """Notify that the sorted set has changed."""
        ctx.notify(EVENT_SORTED_SET, b"zincr" if self.is_increment else b"zadd", key)


def _add(ctx: Session, key: bytes, addition: Addition, scores: list[float], members: list[bytes]) -> None:
    found = writable_sorted_set(ctx, key)
    if found is None:
        if addition.only_old:
            return
        made = SortedSet()
        for place in range(len(members)):
            addition.apply(ctx, made, scores[place], members[place])
        ctx.db.set(key, made)
        addition.notify(ctx, key)
        return
    size_before = ctx.db.begin_change(key)
    try:
        for place in range(len(members)):
            addition.apply(ctx, found, scores[place], members[place])
    finally:
        if addition.added + addition.updated == 0:
            ctx.db.end_quietly(found, size_before, False)
        else:
            ctx.db.end_change(found, size_before)
            addition.notify(ctx, key)


@command("ZADD", "key [NX | XX] [GT | LT] [CH] [INCR] (score:double member)...", group=SORTED_SET,
         flags=WRITE | DENYOOM | FAST, use=RW | UPDATE, since="1.2.0", complexity="O(log N) per member",
         summary="Add members to a sorted set, or change their scores.")  # fmt: skip
def zadd(ctx: Session, argv: list[bytes]) -> Reply:
    addition = Addition()
    counts_changed = False
    arguments = Arguments(argv, 2)
    # No option begins with anything but a letter, and nearly no score with one.
    while arguments.has_more() and argv[arguments.at][:1].isalpha():
        if arguments.skip(b"NX"):
            addition.only_new = True
        elif arguments.skip(b"XX"):
            addition.only_old = True
        elif arguments.skip(b"GT"):
            addition.only_greater = True
        elif arguments.skip(b"LT"):
            addition.only_less = True
        elif arguments.skip(b"CH"):
            counts_changed = True
        elif arguments.skip(b"INCR"):
            addition.is_increment = True
        else:
            break
    words = arguments.rest()
    if not words or len(words) % 2:
        raise arguments.syntax_error()
    _refuse_contradictions(addition, len(words) // 2)
    scores = [number(word) for word in words[::2]]
    _add(ctx, argv[1], addition, scores, words[1::2])
    if addition.is_increment:
        return None if addition.result is None else Double(addition.result)
    return addition.added + addition.updated if counts_changed else addition.added


def _refuse_contradictions(addition: Addition, pairs: int) -> None:
    if addition.only_new and addition.only_old:
        raise CommandError(b"ERR XX and NX options at the same time are not compatible")
    if addition.only_greater + addition.only_less + addition.only_new > 1:
        raise CommandError(b"ERR GT, LT, and/or NX options at the same time are not compatible")
    if addition.is_increment and pairs > 1:
        raise CommandError(b"ERR INCR option supports a single increment-element pair")


@command("ZINCRBY", "key increment member", group=SORTED_SET, flags=WRITE | DENYOOM | FAST,
         use=RW | ACCESS | UPDATE, since="1.2.0", complexity="O(log N)",
         summary="Add a number to the score of a member; a missing one counts as 0.")  # fmt: skip
def zincrby(ctx: Session, argv: list[bytes]) -> Reply:
    addition = Addition()
    addition.is_increment = True
    _add(ctx, argv[1], addition, [number(argv[2])], [argv[3]])
    assert addition.result is not None
    return Double(addition.result)


@command("ZREM", "key member [member ...]", group=SORTED_SET, flags=WRITE | FAST, use=RW | DELETE,
         since="1.2.0", complexity="O(M*log N) for M members",
         summary="Remove members of a sorted set.")  # fmt: skip
def zrem(ctx: Session, argv: list[bytes]) -> Reply:
    key = argv[1]
    found = writable_sorted_set(ctx, key)
    if found is None or not any(found.has(member) for member in argv[2:]):
        return 0
    size_before = ctx.db.begin_change(key)
    removed = 0
    for member in argv[2:]:
        if found.count() and found.remove(member):
            removed += 1
    ctx.db.end_change(found, size_before)
    ctx.notify(EVENT_SORTED_SET, b"zrem", key)
    if found.count() == 0:
        ctx.db.delete(key)
        ctx.notify(EVENT_GENERIC, b"del", key)
    return removed


@command("ZCARD", "key", group=SORTED_SET, flags=READONLY | FAST, use=RO, since="1.2.0", complexity="O(1)",
         summary="Return the number of members of a sorted set.")  # fmt: skip
def zcard(ctx: Session, argv: list[bytes]) -> Reply:
    found = readable_sorted_set(ctx, argv[1])
    return 0 if found is None else found.count()


@command("ZSCORE", "key member", group=SORTED_SET, flags=READONLY | FAST, use=RO | ACCESS, since="1.2.0",
         complexity="O(1)", summary="Return the score of a member.")  # fmt: skip
def zscore(ctx: Session, argv: list[bytes]) -> Reply:
    found = readable_sorted_set(ctx, argv[1])
    return None if found is None or not found.has(argv[2]) else Double(found.score_of(argv[2]))


@command("ZMSCORE", "key member [member ...]", group=SORTED_SET, flags=READONLY | FAST, use=RO | ACCESS,
         since="6.2.0", complexity="O(N) for N members", summary="Return the scores of members.")  # fmt: skip
def zmscore(ctx: Session, argv: list[bytes]) -> Reply:
    found = readable_sorted_set(ctx, argv[1])
    reply: list[Reply] = []
    for member in argv[2:]:
        is_there = found is not None and found.has(member)
        reply.append(Double(found.score_of(member)) if found is not None and is_there else None)
    return reply


@command("ZRANK", "key member [WITHSCORE]", group=SORTED_SET, flags=READONLY | FAST, use=RO | ACCESS,
         since="2.0.0", complexity="O(log N)",
         summary="Return the place of a member, the lowest score first.")  # fmt: skip
def zrank(ctx: Session, argv: list[bytes]) -> Reply:
    return _rank(ctx, argv, False)


@command("ZREVRANK", "key member [WITHSCORE]", group=SORTED_SET, flags=READONLY | FAST, use=RO | ACCESS,
         since="2.0.0", complexity="O(log N)",
         summary="Return the place of a member, the highest score first.")  # fmt: skip
def zrevrank(ctx: Session, argv: list[bytes]) -> Reply:
    return _rank(ctx, argv, True)


def _rank(ctx: Session, argv: list[bytes], is_reversed: bool) -> Reply:
    arguments = Arguments(argv, 3)
    if len(argv) > 4:
        name = b"zrevrank" if is_reversed else b"zrank"
        raise CommandError(b"ERR wrong number of arguments for '%s' command" % name)
    has_score = arguments.skip(b"WITHSCORE")
    arguments.end()
    found = readable_sorted_set(ctx, argv[1])
    if found is None or not found.has(argv[2]):
        return NULL_ARRAY if has_score else None
    rank = found.rank_of(argv[2])
    if is_reversed:
        rank = found.count() - 1 - rank
    return [rank, Double(found.score_of(argv[2]))] if has_score else rank


@command("ZPOPMIN", "key [count]", group=SORTED_SET, flags=WRITE | FAST, use=RW | ACCESS | DELETE,
         since="5.0.0", complexity="O(M*log N) for M members returned",
         summary="Remove the members with the lowest scores and return them.")  # fmt: skip
def zpopmin(ctx: Session, argv: list[bytes]) -> Reply:
    return _pop(ctx, argv, True)


@command("ZPOPMAX", "key [count]", group=SORTED_SET, flags=WRITE | FAST, use=RW | ACCESS | DELETE,
         since="5.0.0", complexity="O(M*log N) for M members returned",
         summary="Remove the members with the highest scores and return them.")  # fmt: skip
def zpopmax(ctx: Session, argv: list[bytes]) -> Reply:
    return _pop(ctx, argv, False)


def _pop(ctx: Session, argv: list[bytes], is_lowest: bool) -> Reply:
    count = 1
    if len(argv) > 2:
        arguments = Arguments(argv, 2)
        if len(argv) > 3:
            raise arguments.syntax_error()
        count = arguments.integer(NOT_POSITIVE)
        if count < 0:
            raise CommandError(NOT_POSITIVE)
    found = writable_sorted_set(ctx, argv[1])
    if found is None:
        return []
    pairs = pop_members(ctx, argv[1], found, count, is_lowest)
    if len(argv) == 2:
        return [pairs[0][0], Double(pairs[0][1])]
    return members_reply(ctx, pairs, True)


def pop_members(ctx: Session, key: bytes, found: SortedSet, count: int, is_lowest: bool) -> Pairs:
    """Remove up to `count` members at one end of an existing set; return them, the outermost first."""
    total = found.count()
    count = min(count, total)
    if is_lowest:
        return remove_ranks(ctx, key, found, 0, count, b"zpopmin")
    pairs = remove_ranks(ctx, key, found, total - count, total, b"zpopmax")
    pairs.reverse()
    return pairs


@command("ZMPOP", "numkeys key [key ...] <MIN | MAX> [COUNT count]", group=SORTED_SET, flags=WRITE,
         use=RW | ACCESS | DELETE, since="7.0.0",
         complexity="O(K+M*log N) for K keys and M members returned",
         summary="Remove members of the first sorted set that has any.")  # fmt: skip
def zmpop(ctx: Session, argv: list[bytes]) -> Reply:
    keys, is_lowest, count = Arguments(argv, 1).keys_end_and_count(b"MIN", b"MAX")
    for key in keys:
        found = writable_sorted_set(ctx, key)
        if found is not None:
            return pop_for_many(ctx, key, found, count, is_lowest)
    return NULL_ARRAY


def pop_for_many(ctx: Session, key: bytes, found: SortedSet, count: int, is_lowest: bool) -> Reply:
    """Remove members for ZMPOP; return key and pairs."""
    pairs = pop_members(ctx, key, found, count, is_lowest)
    ctx.rewrite([b"ZPOPMIN" if is_lowest else b"ZPOPMAX", key, b"%d" % len(pairs)])
    elements: list[Reply] = []
    for member, score in pairs:
        elements.append([member, Double(score)])
    return [key, elements]


@command("ZRANDMEMBER", "key [count [WITHSCORES]]", group=SORTED_SET, flags=READONLY, use=RO | ACCESS,
         since="6.2.0", complexity="O(N) for N members returned",
         summary="Return random members of a sorted set.", tips=("nondeterministic_output",))  # fmt: skip
def zrandmember(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) == 2:
        found = readable_sorted_set(ctx, argv[1])
        return None if found is None else found.random_pair(ctx.db.random)[0]
    count = integer(argv[2])
    if not -_LONG_MAX <= count <= _LONG_MAX:
        raise CommandError(_BAD_COUNT)
    arguments = Arguments(argv, 3)
    has_scores = arguments.skip(b"WITHSCORES")
    arguments.end()
    if has_scores and not -(_LONG_MAX // 2) <= count <= _LONG_MAX // 2:
        raise CommandError(b"ERR value is out of range")
    found = readable_sorted_set(ctx, argv[1])
    pairs: Pairs = [] if found is None else _draw(ctx, found, count)
    return members_reply(ctx, pairs, has_scores)


def _draw(ctx: Session, found: SortedSet, count: int) -> Pairs:
    """Draw pairs: different ones for a positive count, independent ones for a negative."""
    random = ctx.db.random
    total = found.count()
    if count < 0:
        pairs = found.slice(0, total) if found.table is None else []
        if pairs:
            return [pairs[random.randrange(total)] for _ in range(-count)]
        return [found.random_pair(random) for _ in range(-count)]
    if count >= total:
        return found.slice(0, total)
    if found.table is None or count * _SHARE_DRAWN_MAX > total:
        return random.sample(found.slice(0, total), count)
    drawn: dict[bytes, float] = {}
    while len(drawn) < count:
        member, score = found.random_pair(random)
        drawn[member] = score
    return list(drawn.items())


@command("ZSCAN", "key cursor [MATCH pattern] [COUNT count]", group=SORTED_SET, flags=READONLY,
         use=RO | ACCESS, since="2.8.0",
         complexity="O(1) per call, O(N) for a whole iteration over N members",
         summary="Iterate over the members of a sorted set.", tips=("nondeterministic_output",))  # fmt: skip
def zscan(ctx: Session, argv: list[bytes]) -> Reply:
    cursor = parse_cursor(argv[2])
    found = readable_sorted_set(ctx, argv[1])
    if found is None:  # Redis does not look at the options then
        return [b"0", []]
    options = parse_scan_options(Arguments(argv, 3))
    cursor, pairs = found.scan(cursor, options.count)
    words: list[Reply] = []
    for member, score in pairs:
        if options.takes(member):
            words.append(member)
            words.append(double_text(score))
    return [b"%d" % cursor, words]
