"""Commands that combine sorted sets: ZUNION, ZINTER, ZDIFF, their STORE forms, and ZINTERCARD.

Sources may be plain sets, too, whose members count as scored 1. A missing key is empty; any other type is
refused before anything is computed. Scores are multiplied by the weight of their source and then added, or
the lowest or highest is taken; where infinities cancel each other the result is 0, as in Redis. Sources are
taken by size, since the order of additions shows in the last digit.

Source: the Redis command reference, group "sorted-set", as of 7.2.
"""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING, Final

from redoubt.commands.arguments import Arguments
from redoubt.commands.declare import (
    ACCESS,
    DENYOOM,
    OW,
    READONLY,
    RO,
    SORTED_SET,
    UPDATE,
    WRITE,
    command,
)
from redoubt.commands.reading import WRONG_TYPE, read
from redoubt.commands.sorted_set import Pairs, members_reply
from redoubt.commands.sorted_set_range import store
from redoubt.data.set import MemberSet
from redoubt.data.sorted_set import SortedSet
from redoubt.resp.replies import CommandError, Reply

if TYPE_CHECKING:
    from redoubt.session import Session

UNION: Final = 0
INTERSECTION: Final = 1
DIFFERENCE: Final = 2

SUM: Final = 0
MINIMUM: Final = 1
MAXIMUM: Final = 2

_NEGATIVE_LIMIT: Final = b"ERR LIMIT can't be negative"
_BAD_WEIGHT: Final = b"ERR weight value is not a float"


class Source:
    """One input of a combination: a sorted set, a set, or nothing."""

    def __init__(self, scored: SortedSet | None, plain: MemberSet | None, weight: float) -> None:
        self.scored = scored
        self.plain = plain
        self.weight = weight

    def count(self) -> int:
        """Return the number of members."""
        if self.scored is not None:
            return self.scored.count()
        return 0 if self.plain is None else self.plain.count()

    def has(self, member: bytes) -> bool:
        """Say whether something is a member."""
        if self.scored is not None:
            return self.scored.has(member)
        return self.plain is not None and self.plain.has(member)

    def score_of(self, member: bytes) -> float:
        """Return the weighted score of a member, which must exist."""
        return self._weigh(1.0 if self.scored is None else self.scored.score_of(member))

    def pairs(self) -> Pairs:
        """Return all members with their weighted scores."""
        if self.scored is not None:
            return [(member, self._weigh(score)) for member, score in self.scored.slice(0, self.count())]
        members = [] if self.plain is None else self.plain.members()
        return [(member, self._weigh(1.0)) for member in members]

    def _weigh(self, score: float) -> float:
        weighted = score * self.weight
        return 0.0 if isnan(weighted) else weighted


class Combination:
    """What a call asks for: the sources, how scores are joined, and what is returned."""

    def __init__(self, ctx: Session, keys: list[bytes], weights: list[float]) -> None:
        self.sources: list[Source] = []
        self.aggregate = SUM
        self.has_scores = False
        self.limit = 0
        for place in range(len(keys)):
            self.sources.append(_source(ctx, keys[place], weights[place]))

    def join(self, one: float, other: float) -> float:
        """Join two scores of one member."""
        if self.aggregate == MINIMUM:
            return min(one, other)
        if self.aggregate == MAXIMUM:
            return max(one, other)
        total = one + other
        return 0.0 if isnan(total) else total

    def union(self) -> Pairs:
        """Return what any source has."""
        joined: dict[bytes, float] = {}
        for source in sorted(self.sources, key=_size):
            for member, score in source.pairs():
                known = joined.get(member)
                joined[member] = score if known is None else self.join(known, score)
        return list(joined.items())

    def intersection(self) -> Pairs:
        """Return what all sources have, at most `limit` members if that is not 0."""
        ordered = sorted(self.sources, key=_size)
        found: Pairs = []
        for member, score in ordered[0].pairs():
            if all(source.has(member) for source in ordered[1:]):
                for source in ordered[1:]:
                    score = self.join(score, source.score_of(member))
                found.append((member, score))
                if len(found) == self.limit:
                    break
        return found

    def difference(self) -> Pairs:
        """Return what the first source has and no other."""
        others = self.sources[1:]
        pairs = self.sources[0].pairs()
        return [pair for pair in pairs if not any(source.has(pair[0]) for source in others)]


def _source(ctx: Session, key: bytes, weight: float) -> Source:
    value = read(ctx, key)
    if isinstance(value, SortedSet):
        return Source(value, None, weight)
    if value is None or isinstance(value, MemberSet):
        return Source(None, value, weight)
    raise CommandError(WRONG_TYPE)


def _size(source: Source) -> int:
    return source.count()


def _by_score(pair: tuple[bytes, float]) -> tuple[float, bytes]:
    return pair[1], pair[0]


def _parse(ctx: Session, argv: list[bytes], at: int, kind: int, returns: bool) -> Combination:
    """Read `numkeys key ...` and the options from `at` on; returns: nothing is stored."""
    arguments = Arguments(argv, at)
    numkeys = arguments.integer()
    if numkeys < 1:
        name = argv[0].lower()
        raise CommandError(b"ERR at least 1 input key is needed for '%s' command" % name)
    if numkeys > arguments.left():
        raise arguments.syntax_error()
    keys = [arguments.word() for _ in range(numkeys)]
    # Redis finds a wrong type before a wrong option.
    combination = Combination(ctx, keys, [1.0] * numkeys)
    while arguments.has_more():
        if kind != DIFFERENCE and arguments.left() > numkeys and arguments.skip(b"WEIGHTS"):
            for source in combination.sources:
                source.weight = arguments.number(_BAD_WEIGHT)
        elif kind != DIFFERENCE and arguments.skip_with_value(b"AGGREGATE"):
            combination.aggregate = _aggregate(arguments)
        elif returns and arguments.skip(b"WITHSCORES"):
            combination.has_scores = True
        else:
            raise arguments.syntax_error()
    return combination


def _aggregate(arguments: Arguments) -> int:
    word = arguments.keyword()
    if word == b"SUM":
        return SUM
    if word == b"MIN":
        return MINIMUM
    if word == b"MAX":
        return MAXIMUM
    raise arguments.syntax_error()


def _combine(ctx: Session, argv: list[bytes], kind: int) -> Reply:
    combination = _parse(ctx, argv, 1, kind, True)
    return members_reply(ctx, sorted(_result(combination, kind), key=_by_score), combination.has_scores)


def _combine_and_store(ctx: Session, argv: list[bytes], kind: int, event: bytes) -> Reply:
    return store(ctx, argv[1], _result(_parse(ctx, argv, 2, kind, False), kind), event)


def _result(combination: Combination, kind: int) -> Pairs:
    if kind == UNION:
        return combination.union()
    return combination.intersection() if kind == INTERSECTION else combination.difference()


@command("ZUNION", "numkeys key [key ...] [WEIGHTS weight:integer [weight ...]]"
         " [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]", group=SORTED_SET, flags=READONLY, use=RO | ACCESS,
         since="6.2.0", complexity="O(N + M*log M) for N members of all sets and M of the result",
         summary="Return the members of several sorted sets.")  # fmt: skip
def zunion(ctx: Session, argv: list[bytes]) -> Reply:
    return _combine(ctx, argv, UNION)


@command("ZINTER", "numkeys key [key ...] [WEIGHTS weight:integer [weight ...]]"
         " [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]", group=SORTED_SET, flags=READONLY, use=RO | ACCESS,
         since="6.2.0", complexity="O(N*K + M*log M) for N members of the smallest of K sets, M returned",
         summary="Return what several sorted sets have in common.")  # fmt: skip
def zinter(ctx: Session, argv: list[bytes]) -> Reply:
    return _combine(ctx, argv, INTERSECTION)


@command("ZDIFF", "numkeys key [key ...] [WITHSCORES]", group=SORTED_SET, flags=READONLY, use=RO | ACCESS,
         since="6.2.0", complexity="O(N*K + M*log M) for N members of the first of K sets, M of the result",
         summary="Return the members of the first sorted set that no other has.")  # fmt: skip
def zdiff(ctx: Session, argv: list[bytes]) -> Reply:
    return _combine(ctx, argv, DIFFERENCE)


@command("ZUNIONSTORE", "destination:key numkeys key [key ...] [WEIGHTS weight:integer [weight ...]]"
         " [AGGREGATE <SUM | MIN | MAX>]", group=SORTED_SET, flags=WRITE | DENYOOM,
         use=(OW | UPDATE, RO | ACCESS), since="2.0.0",
         complexity="O(N + M*log M) for N members of all sets and M of the result",
         summary="Store the members of several sorted sets.")  # fmt: skip
def zunionstore(ctx: Session, argv: list[bytes]) -> Reply:
    return _combine_and_store(ctx, argv, UNION, b"zunionstore")


@command("ZINTERSTORE", "destination:key numkeys key [key ...] [WEIGHTS weight:integer [weight ...]]"
         " [AGGREGATE <SUM | MIN | MAX>]", group=SORTED_SET, flags=WRITE | DENYOOM,
         use=(OW | UPDATE, RO | ACCESS), since="2.0.0",
         complexity="O(N*K + M*log M) for N members of the smallest of K sets, M returned",
         summary="Store what several sorted sets have in common.")  # fmt: skip
def zinterstore(ctx: Session, argv: list[bytes]) -> Reply:
    return _combine_and_store(ctx, argv, INTERSECTION, b"zinterstore")


@command("ZDIFFSTORE", "destination:key numkeys key [key ...]", group=SORTED_SET, flags=WRITE | DENYOOM,
         use=(OW | UPDATE, RO | ACCESS), since="6.2.0",
         complexity="O(N*K + M*log M) for N members of the first of K sets, M of the result",
         summary="Store the members of the first sorted set that no other has.")  # fmt: skip
def zdiffstore(ctx: Session, argv: list[bytes]) -> Reply:
    return _combine_and_store(ctx, argv, DIFFERENCE, b"zdiffstore")


@command("ZINTERCARD", "numkeys key [key ...] [LIMIT limit:integer]", group=SORTED_SET, flags=READONLY,
         use=RO | ACCESS, since="7.0.0", complexity="O(N*K) for N members of the smallest of K sets",
         summary="Count what several sorted sets have in common, up to a limit.")  # fmt: skip
def zintercard(ctx: Session, argv: list[bytes]) -> Reply:
    arguments = Arguments(argv, 1)
    numkeys = arguments.integer()
    if numkeys < 1:
        raise CommandError(b"ERR at least 1 input key is needed for 'zintercard' command")
    if numkeys > arguments.left():
        raise arguments.syntax_error()
    keys = [arguments.word() for _ in range(numkeys)]
    combination = Combination(ctx, keys, [1.0] * numkeys)
    while arguments.has_more():
        if not arguments.skip_with_value(b"LIMIT"):
            raise arguments.syntax_error()
        combination.limit = arguments.integer(_NEGATIVE_LIMIT)
        if combination.limit < 0:
            raise CommandError(_NEGATIVE_LIMIT)
    return len(combination.intersection())
