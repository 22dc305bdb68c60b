"""Searches for places: GEOSEARCH, GEOSEARCHSTORE, and GEORADIUS, GEORADIUSBYMEMBER with their _RO forms.

All are one search with other words: a shape around a centre, an order, a limit, and what is returned of each
member or stored of all. The shape gives a few ranges of scores, whose members are then measured. Without an
order and a limit members come as the ranges do, as in Redis.

Source: the Redis command reference, group "geo", as of 7.2.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from redoubt.commands.arguments import Arguments
from redoubt.commands.declare import (
    ACCESS,
    DENYOOM,
    GEO,
    OW,
    READONLY,
    RO,
    UPDATE,
    WRITE,
    command,
)
from redoubt.commands.geo import distance_reply, point, point_reply, unit
from redoubt.commands.sorted_set import Pairs, readable_sorted_set
from redoubt.commands.sorted_set_range import store
from redoubt.data import geohash
from redoubt.data.geohash import Point, Shape
from redoubt.data.sorted_set import Bound, SortedSet
from redoubt.resp.replies import CommandError, Reply

if TYPE_CHECKING:
    from redoubt.session import Session

UNSORTED: Final = 0
NEAREST_FIRST: Final = 1
FURTHEST_FIRST: Final = 2

_NO_MEMBER: Final = b"ERR could not decode requested zset member"
_SEARCH_COMPLEXITY: Final = "O(N+log(M)) for N members near the shape and M of the sorted set"


class Found:
    """A member inside the shape."""

    def __init__(self, member: bytes, score: float, place: Point, distance_m: float) -> None:
        self.member = member
        self.score = score
        self.place = place
        self.distance_m = distance_m


class Search:
    """What a call asks for. Which words it may have depends on the command: see the handlers."""

    def __init__(self, ctx: Session, key: bytes, is_general: bool, may_store: bool) -> None:
        self.source: SortedSet | None = readable_sorted_set(ctx, key)
        # GEOSEARCH names centre and shape by options; GEORADIUS may name a key to store to.
        self.is_general = is_general
        self.may_store = may_store
        self.target: bytes | None = None
        self.stores_distances = False
        self.has_center = False
        self.has_shape = False
        self.center: Point = (0.0, 0.0)
        self.unit_m = 1.0
        # A circle has a radius of at least 0, a box one of -1.
        self.radius = -1.0
        self.width = 0.0
        self.height = 0.0
        self.order = UNSORTED
        self.limit = 0
        self.is_any = False
        self.has_coordinates = False
        self.has_distance = False
        self.has_hash = False

    # Reading the words.

    def take_center_of(self, member: bytes) -> None:
        """Search around a member; without a source there is nothing to find anyway."""
        if self.source is not None:
            if not self.source.has(member):
                raise CommandError(_NO_MEMBER)
            self.center = geohash.point_of(self.source.score_of(member))

    def take_radius(self, arguments: Arguments) -> None:
        """Read `radius unit`."""
        self.radius = arguments.number(b"ERR need numeric radius")
        if self.radius < 0:
            raise CommandError(b"ERR radius cannot be negative")
        self.unit_m = unit(arguments.word())

    def take_box(self, arguments: Arguments) -> None:
        """Read `width height unit`."""
        self.width = arguments.number(b"ERR need numeric width")
        self.height = arguments.number(b"ERR need numeric height")
        if self.width < 0 or self.height < 0:
            raise CommandError(b"ERR height or width cannot be negative")
        self.unit_m = unit(arguments.word())

    def take_options(self, arguments: Arguments) -> None:
        """Read the words behind those with a fixed place; raises CommandError."""
        from_member = from_point = in_circle = in_box = False
        while arguments.has_more():
            left = arguments.left()
            if self._take_option(arguments):
                continue
            if not self.is_general:
                raise arguments.syntax_error()
            if not from_point and left > 1 and arguments.skip(b"FROMMEMBER"):
                self.take_center_of(arguments.word())
                from_member = True
            elif not from_member and left > 2 and arguments.skip(b"FROMLONLAT"):
                self.center = point(arguments.word(), arguments.word())
                from_point = True
            elif not in_box and left > 2 and arguments.skip(b"BYRADIUS"):
                self.take_radius(arguments)
                in_circle = True
            elif not in_circle and left > 3 and arguments.skip(b"BYBOX"):
                self.take_box(arguments)
                in_box = True
            else:
                raise arguments.syntax_error()
        self.has_center = from_member or from_point
        self.has_shape = in_circle or in_box

    def _take_option(self, arguments: Arguments) -> bool:
        """Read an option that has nothing to do with the shape; say whether there was one."""
        if arguments.skip(b"WITHDIST"):
            self.has_distance = True
        elif arguments.skip(b"WITHHASH"):
            self.has_hash = True
        elif arguments.skip(b"WITHCOORD"):
            self.has_coordinates = True
        elif arguments.skip(b"ANY"):
            self.is_any = True
        elif arguments.skip(b"ASC"):
            self.order = NEAREST_FIRST
        elif arguments.skip(b"DESC"):
            self.order = FURTHEST_FIRST
        elif arguments.skip_with_value(b"COUNT"):
            self.limit = arguments.integer()
            if self.limit <= 0:
                raise CommandError(b"ERR COUNT must be > 0")
        else:
            return self._take_target(arguments)
        return True

    def _take_target(self, arguments: Arguments) -> bool:
        if self.is_general:
            if self.target is None or not arguments.skip(b"STOREDIST"):
                return False
            self.stores_distances = True
            return True
        for word in (b"STORE", b"STOREDIST"):
            if self.may_store and arguments.skip_with_value(word):
                self.target = arguments.word()
                self.stores_distances = word == b"STOREDIST"
                return True
        return False

    def refuse_contradictions(self, name: bytes) -> None:
        """Refuse options that do not go together, in Redis's order; name: as the client wrote it."""
        if self.target is not None and (self.has_distance or self.has_hash or self.has_coordinates):
            what = b"GEOSEARCHSTORE" if self.is_general else b"STORE option in GEORADIUS"
            options = b"WITHDIST, WITHHASH and WITHCOORD options"
            raise CommandError(b"ERR %s is not compatible with %s" % (what, options))
        if self.is_general and not self.has_center:
            options = b"FROMMEMBER or FROMLONLAT"
            raise CommandError(b"ERR exactly one of %s can be specified for %s" % (options, name))
        if self.is_general and not self.has_shape:
            options = b"BYRADIUS and BYBOX"
            raise CommandError(b"ERR exactly one of %s can be specified for %s" % (options, name))
        if self.is_any and not self.limit:
            raise CommandError(b"ERR the ANY argument requires COUNT argument")

    # Searching.

    def run(self) -> list[Found]:
        """Return what was asked for, in order, at most as many members as the limit says."""
        if self.source is None:
            return []
        found = self._within(self.source)
        order = self.order
        if order == UNSORTED and self.limit and not self.is_any:
            order = NEAREST_FIRST  # the limit means the nearest, if not any
        if order != UNSORTED:
            found.sort(key=_distance, reverse=order == FURTHEST_FIRST)
        return found[: self.limit] if self.limit else found

    def _within(self, source: SortedSet) -> list[Found]:
        shape = Shape(self.center, self.unit_m, self.radius, self.width, self.height)
        enough = self.limit if self.is_any else 0
        # A packed set is read once, not once for each range.
        packed: Pairs = [] if source.table is not None else source.slice(0, source.count())
        scores = [score for _, score in packed]
        found: list[Found] = []
        for cell in geohash.cells_around(shape):
            low, past = cell.scores()
            if source.table is None:
                pairs = packed[bisect_left(scores, low) : bisect_left(scores, past)]
            else:
                ranks = source.ranks_by_score(Bound(float(low), b"", True), Bound(float(past), b"", False))
                pairs = source.slice(ranks[0], ranks[1])
            for member, score in pairs:
                place = geohash.point_of(score)
                distance_m = shape.distance_within(place)
                if distance_m >= 0:
                    found.append(Found(member, score, place, distance_m))
                    if len(found) == enough:
                        return found
        return found

    # Answering.

    def answer(self, ctx: Session) -> Reply:
        """Return the members found, or store them."""
        found = self.run()
        if self.target is not None:
            pairs: Pairs = []
            for one in found:
                score = one.distance_m / self.unit_m if self.stores_distances else one.score
                pairs.append((one.member, score))
            store(ctx, self.target, pairs, b"geosearchstore" if self.is_general else b"georadiusstore")
            return len(found)
        if not (self.has_distance or self.has_hash or self.has_coordinates):
            return [one.member for one in found]
        return [self._described(one) for one in found]

    def _described(self, one: Found) -> Reply:
        described: list[Reply] = [one.member]
        if self.has_distance:
            described.append(distance_reply(one.distance_m, self.unit_m))
        if self.has_hash:
            described.append(int(one.score))
        if self.has_coordinates:
            described.append(point_reply(one.place))
        return described


def _distance(one: Found) -> float:
    return one.distance_m


@command("GEOSEARCH",
         "key <FROMMEMBER member | FROMLONLAT longitude:double latitude:double>"
         " <BYRADIUS radius:double <M | KM | FT | MI> |"
         " BYBOX width:double height:double <M | KM | FT | MI>>"
         " [ASC | DESC] [COUNT count [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]",
         group=GEO, flags=READONLY, use=RO | ACCESS, since="6.2.0", complexity=_SEARCH_COMPLEXITY,
         summary="Return members inside a circle or a box.")  # fmt: skip
def geosearch(ctx: Session, argv: list[bytes]) -> Reply:
    search = Search(ctx, argv[1], True, False)
    search.take_options(Arguments(argv, 2))
    search.refuse_contradictions(argv[0])
    return search.answer(ctx)


@command("GEOSEARCHSTORE",
         "destination:key source:key <FROMMEMBER member | FROMLONLAT longitude:double latitude:double>"
         " <BYRADIUS radius:double <M | KM | FT | MI> |"
         " BYBOX width:double height:double <M | KM | FT | MI>>"
         " [ASC | DESC] [COUNT count [ANY]] [STOREDIST]",
         group=GEO, flags=WRITE | DENYOOM, use=(OW | UPDATE, RO | ACCESS), since="6.2.0",
         complexity=_SEARCH_COMPLEXITY, summary="Store members inside a circle or a box.")  # fmt: skip
def geosearchstore(ctx: Session, argv: list[bytes]) -> Reply:
    search = Search(ctx, argv[2], True, False)
    search.target = argv[1]
    search.take_options(Arguments(argv, 3))
    search.refuse_contradictions(argv[0])
    return search.answer(ctx)


@command("GEORADIUS",
         "key longitude:double latitude:double radius:double <M | KM | FT | MI> [WITHCOORD] [WITHDIST]"
         " [WITHHASH] [COUNT count [ANY]] [ASC | DESC] [STORE key | STOREDIST key]",
         group=GEO, flags=WRITE | DENYOOM, use=(RO | ACCESS, OW | UPDATE), since="3.2.0",
         complexity=_SEARCH_COMPLEXITY, summary="Return or store members around a place.")  # fmt: skip
def georadius(ctx: Session, argv: list[bytes]) -> Reply:
    return _around_point(ctx, argv, True)


@command("GEORADIUS_RO",
         "key longitude:double latitude:double radius:double <M | KM | FT | MI> [WITHCOORD] [WITHDIST]"
         " [WITHHASH] [COUNT count [ANY]] [ASC | DESC]",
         group=GEO, flags=READONLY, use=RO | ACCESS, since="3.2.10", complexity=_SEARCH_COMPLEXITY,
         summary="Return members around a place.")  # fmt: skip
def georadius_ro(ctx: Session, argv: list[bytes]) -> Reply:
    return _around_point(ctx, argv, False)


def _around_point(ctx: Session, argv: list[bytes], may_store: bool) -> Reply:
    search = Search(ctx, argv[1], False, may_store)
    search.center = point(argv[2], argv[3])
    arguments = Arguments(argv, 4)
    search.take_radius(arguments)
    search.take_options(arguments)
    search.refuse_contradictions(argv[0])
    return search.answer(ctx)


@command("GEORADIUSBYMEMBER",
         "key member radius:double <M | KM | FT | MI> [WITHCOORD] [WITHDIST]"
         " [WITHHASH] [COUNT count [ANY]] [ASC | DESC] [STORE key | STOREDIST key]",
         group=GEO, flags=WRITE | DENYOOM, use=(RO | ACCESS, OW | UPDATE), since="3.2.0",
         complexity=_SEARCH_COMPLEXITY, summary="Return or store members around another one.")  # fmt: skip
def georadiusbymember(ctx: Session, argv: list[bytes]) -> Reply:
    return _around_member(ctx, argv, True)


@command("GEORADIUSBYMEMBER_RO",
         "key member radius:double <M | KM | FT | MI> [WITHCOORD] [WITHDIST]"
         " [WITHHASH] [COUNT count [ANY]] [ASC | DESC]",
         group=GEO, flags=READONLY, use=RO | ACCESS, since="3.2.10", complexity=_SEARCH_COMPLEXITY,
         summary="Return members around another one.")  # fmt: skip
def georadiusbymember_ro(ctx: Session, argv: list[bytes]) -> Reply:
    return _around_member(ctx, argv, False)


def _around_member(ctx: Session, argv: list[bytes], may_store: bool) -> Reply:
    search = Search(ctx, argv[1], False, may_store)
    # Without a source Redis does not look at radius and unit.
    if search.source is not None:
        search.take_center_of(argv[2])
        search.take_radius(Arguments(argv, 3))
    search.take_options(Arguments(argv, 5))
    search.refuse_contradictions(argv[0])
    return search.answer(ctx)
