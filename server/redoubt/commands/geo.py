"""Places in sorted sets: GEOADD, GEOPOS, GEODIST, GEOHASH.

A place is a member whose score is its geohash (`redoubt.data.geohash`), so everything that works on sorted
sets works on places, and GEOADD is propagated as the ZADD that it is. Searches are in `geo_search`.

Source: the Redis command reference, group "geo", as of 7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.arguments import Arguments, number
from redoubt.commands.declare import (
    ACCESS,
    DENYOOM,
    GEO,
    READONLY,
    RO,
    RW,
    UPDATE,
    WRITE,
    command,
)
from redoubt.commands.sorted_set import readable_sorted_set, zadd
from redoubt.data import geohash
from redoubt.data.geohash import LATITUDE_MAX, LONGITUDE_MAX, Point
from redoubt.resp.replies import NULL_ARRAY, CommandError, Double, Reply

if TYPE_CHECKING:
    from redoubt.session import Session

UNITS_M: Final = {b"m": 1.0, b"km": 1000.0, b"ft": 0.3048, b"mi": 1609.34}
_BAD_UNIT: Final = b"ERR unsupported unit provided. please use M, KM, FT, MI"


def point(longitude_word: bytes, latitude_word: bytes) -> Point:
    """Read a place within the limits; raises CommandError."""
    longitude, latitude = number(longitude_word), number(latitude_word)
    if abs(longitude) > LONGITUDE_MAX or abs(latitude) > LATITUDE_MAX:
        raise CommandError(b"ERR invalid longitude,latitude pair %.6f,%.6f" % (longitude, latitude))
    return longitude, latitude


def unit(word: bytes) -> float:
    """Read a unit of length; return its metres. Raises CommandError."""
    metres = UNITS_M.get(word.lower())
    if metres is None:
        raise CommandError(_BAD_UNIT)
    return metres


def point_reply(place: Point) -> Reply:
    """Return longitude and latitude with the 17 decimals that Redis writes, without trailing zeros."""
    return [_coordinate(place[0]), _coordinate(place[1])]


def _coordinate(value: float) -> Double:
    text = b"%.17f" % value
    return Double(value, text.rstrip(b"0").rstrip(b"."))


def distance_reply(metres: float, unit_m: float) -> bytes:
    """Write a distance with the four decimals of Redis."""
    return b"%.4f" % (metres / unit_m)


@command("GEOADD", "key [NX | XX] [CH] (longitude:double latitude:double member)...", group=GEO,
         flags=WRITE | DENYOOM, use=RW | UPDATE, since="3.2.0", complexity="O(log N) for each member",
         summary="Add members at places to a sorted set, or move them.")  # fmt: skip
def geoadd(ctx: Session, argv: list[bytes]) -> Reply:
    arguments = Arguments(argv, 2)
    adds_only = moves_only = False
    while arguments.peek() in (b"NX", b"XX", b"CH"):
        word = arguments.keyword()
        adds_only = adds_only or word == b"NX"
        moves_only = moves_only or word == b"XX"
    addition = [b"ZADD", *argv[1 : arguments.at]]
    if arguments.left() % 3 or (adds_only and moves_only):
        raise arguments.syntax_error()
    while arguments.has_more():
        place = point(arguments.word(), arguments.word())
        addition.append(b"%d" % geohash.score_of(place))
        addition.append(arguments.word())
    changes = ctx.db.changes
    reply = zadd(ctx, addition)
    if ctx.db.changes != changes:
        ctx.rewrite(addition)
    return reply


@command("GEOPOS", "key [member [member ...]]", group=GEO, flags=READONLY, use=RO | ACCESS, since="3.2.0",
         complexity="O(1) for each member", summary="Return longitude and latitude of members.")  # fmt: skip
def geopos(ctx: Session, argv: list[bytes]) -> Reply:
    found = readable_sorted_set(ctx, argv[1])
    reply: list[Reply] = []
    for member in argv[2:]:
        if found is None or not found.has(member):
            reply.append(NULL_ARRAY)
        else:
            reply.append(point_reply(geohash.point_of(found.score_of(member))))
    return reply


@command("GEOHASH", "key [member [member ...]]", group=GEO, flags=READONLY, use=RO | ACCESS, since="3.2.0",
         complexity="O(1) for each member",
         summary="Return the places of members as standard geohash strings.")  # fmt: skip
def geohash_(ctx: Session, argv: list[bytes]) -> Reply:
    found = readable_sorted_set(ctx, argv[1])
    reply: list[Reply] = []
    for member in argv[2:]:
        if found is None or not found.has(member):
            reply.append(None)
        else:
            reply.append(geohash.standard_text(geohash.point_of(found.score_of(member))))
    return reply


@command("GEODIST", "key member1 member2 [M | KM | FT | MI]", group=GEO, flags=READONLY, use=RO | ACCESS,
         since="3.2.0", complexity="O(1)", summary="Return the distance between two members.")  # fmt: skip
def geodist(ctx: Session, argv: list[bytes]) -> Reply:
    arguments = Arguments(argv, 4)
    if arguments.left() > 1:
        raise arguments.syntax_error()
    unit_m = unit(arguments.word()) if arguments.has_more() else 1.0
    found = readable_sorted_set(ctx, argv[1])
    if found is None or not found.has(argv[2]) or not found.has(argv[3]):
        return None
    one = geohash.point_of(found.score_of(argv[2]))
    other = geohash.point_of(found.score_of(argv[3]))
    return distance_reply(geohash.distance(one, other), unit_m)
