"""Places on the earth as numbers of 52 bits whose prefixes are areas: what sorted sets of GEO commands score.

Longitude and latitude are halved in turn, 26 times each; their bits lie interleaved, the longitude's in the
higher place. What has the same first 2n bits lies in the same cell of a grid of 2^n by 2^n, so an area is a
few ranges of scores: `cells_around` finds the cell of the centre at a grid wide enough and its neighbours,
`Shape` decides which points in them count. All arithmetic is that of Redis, operation by operation, so that
scores and distances are equal to the last bit.

Called by the GEO commands. It knows no sorted sets.
Source: Redis `src/geohash.c`, `src/geohash_helper.c`; the haversine formula; EPSG:3785 for the limits.
"""

from __future__ import annotations

from math import asin, cos, fabs, pi, sin, sqrt
from typing import Final

LONGITUDE_MAX: Final = 180.0
LATITUDE_MAX: Final = 85.05112878
# The grid of the standard's geohash strings reaches to the poles.
STANDARD_LATITUDE_MAX: Final = 90.0
STEPS_MAX: Final = 26
BITS_MAX: Final = 2 * STEPS_MAX

_EARTH_RADIUS_M: Final = 6372797.560856
_MERCATOR_MAX_M: Final = 20037726.37
_RADIANS: Final = pi / 180.0
_ALPHABET: Final = b"0123456789bcdefghjkmnpqrstuvwxyz"
_WORD: Final = (1 << 64) - 1

Point = tuple[float, float]  # longitude, latitude


class Cell:
    """One cell of the grid of 2^steps by 2^steps."""

    def __init__(self, column: int, row: int, steps: int) -> None:
        self.column = column
        self.row = row
        self.steps = steps

    def beside(self, columns: int, rows: int) -> Cell:
        """Return a neighbour; beyond an edge lies the other edge.

        A point on the last edge itself lies in a cell behind the last, and stays there if not moved.
        """
        mask = (1 << self.steps) - 1
        column = self.column + columns & mask if columns else self.column
        row = self.row + rows & mask if rows else self.row
        return Cell(column, row, self.steps)

    def scores(self) -> tuple[int, int]:
        """Return the lowest score in the cell, and the lowest behind it."""
        bits = interleave(self.row, self.column)
        shift = BITS_MAX - 2 * self.steps
        return bits << shift, bits + 1 << shift

    def west(self) -> float:
        """Return the lowest longitude."""
        return _edge(self.column, self.steps, LONGITUDE_MAX)

    def east(self) -> float:
        """Return the highest longitude."""
        return _edge(self.column + 1, self.steps, LONGITUDE_MAX)

    def south(self) -> float:
        """Return the lowest latitude."""
        return _edge(self.row, self.steps, LATITUDE_MAX)

    def north(self) -> float:
        """Return the highest latitude."""
        return _edge(self.row + 1, self.steps, LATITUDE_MAX)


def _edge(place: int, steps: int, most: float) -> float:
    return -most + (place / (1 << steps)) * (most - -most)


def interleave(low: int, high: int) -> int:
    """Join two numbers of up to 32 bits, those of `high` in the higher place of each pair."""
    return _spread(low) | _spread(high) << 1


def _spread(number: int) -> int:
    number = (number | number << 16) & 0x0000FFFF0000FFFF
    number = (number | number << 8) & 0x00FF00FF00FF00FF
    number = (number | number << 4) & 0x0F0F0F0F0F0F0F0F
    number = (number | number << 2) & 0x3333333333333333
    return (number | number << 1) & 0x5555555555555555


def even_bits(number: int) -> int:
    """Return the 32 bits of the even places, the other way of `interleave`."""
    number &= 0x5555555555555555
    number = (number | number >> 1) & 0x3333333333333333
    number = (number | number >> 2) & 0x0F0F0F0F0F0F0F0F
    number = (number | number >> 4) & 0x00FF00FF00FF00FF
    number = (number | number >> 8) & 0x0000FFFF0000FFFF
    return (number | number >> 16) & 0x00000000FFFFFFFF


def _place(coordinate: float, most: float, steps: int) -> int:
    return int((coordinate - -most) / (most - -most) * (1 << steps))


def score_of(point: Point) -> int:
    """Return the score of a point within the limits."""
    row = _place(point[1], LATITUDE_MAX, STEPS_MAX)
    return interleave(row, _place(point[0], LONGITUDE_MAX, STEPS_MAX))


def point_of(score: float) -> Point:
    """Return the point that a score stands for: the middle of its smallest cell."""
    bits = int(score) & _WORD if -(2.0**63) <= score < 2.0**63 else 1 << 63
    column = even_bits(bits >> 1)
    row = even_bits(bits)
    # The middle between two edges, with Redis's rounding.
    longitude = (_edge(column, STEPS_MAX, LONGITUDE_MAX) + _edge(column + 1, STEPS_MAX, LONGITUDE_MAX)) / 2
    latitude = (_edge(row, STEPS_MAX, LATITUDE_MAX) + _edge(row + 1, STEPS_MAX, LATITUDE_MAX)) / 2
    return (
        min(max(longitude, -LONGITUDE_MAX), LONGITUDE_MAX),
        min(max(latitude, -LATITUDE_MAX), LATITUDE_MAX),
    )


def standard_text(point: Point) -> bytes:
    """Write a point as a standard geohash string of 11 characters; the last has no bits left and is 0."""
    row = _place(point[1], STANDARD_LATITUDE_MAX, STEPS_MAX)
    bits = interleave(row, _place(point[0], LONGITUDE_MAX, STEPS_MAX))
    text = bytearray()
    for shift in range(BITS_MAX - 5, 0, -5):
        text.append(_ALPHABET[bits >> shift & 31])
    return bytes(text) + b"0"


# Distances, in metres.


def _latitude_distance(one: float, other: float) -> float:
    return _EARTH_RADIUS_M * fabs(other * _RADIANS - one * _RADIANS)


def distance(one: Point, other: Point) -> float:
    """Return the great-circle distance."""
    half = sin((other[0] * _RADIANS - one[0] * _RADIANS) / 2)
    if half == 0.0:
        return _latitude_distance(one[1], other[1])
    one_latitude = one[1] * _RADIANS
    other_latitude = other[1] * _RADIANS
    across = sin((other_latitude - one_latitude) / 2)
    chord = across * across + cos(one_latitude) * cos(other_latitude) * half * half
    return 2.0 * _EARTH_RADIUS_M * asin(sqrt(chord))


class Shape:
    """A circle or a box around a centre, in a unit of so many metres.

    A circle has a radius; a box a width and a height, and a radius of -1.
    """

    def __init__(self, center: Point, unit_m: float, radius: float, width: float, height: float) -> None:
        self.center = center
        self.unit_m = unit_m
        self.radius = radius
        self.width = width
        self.height = height

    def distance_within(self, point: Point) -> float:
        """Return the distance in metres from the centre to a point that is inside; -1: it is not."""
        if self.radius >= 0:
            found = distance(self.center, point)
            return found if found <= self.radius * self.unit_m else -1.0
        # The latitude is cheap to ask first.
        if _latitude_distance(point[1], self.center[1]) > self.height * self.unit_m / 2:
            return -1.0
        if distance(point, (self.center[0], point[1])) > self.width * self.unit_m / 2:
            return -1.0
        return distance(self.center, point)

    def reach_m(self) -> float:
        """Return how far from the centre the furthest point is."""
        if self.radius >= 0:
            return self.radius * self.unit_m
        half_width, half_height = self.width / 2, self.height / 2
        return sqrt(half_width * half_width + half_height * half_height) * self.unit_m

    def bounds(self) -> tuple[float, float, float, float]:
        """Return west, south, east and north of a rectangle around it."""
        longitude, latitude = self.center
        height = self.unit_m * (self.radius if self.radius >= 0 else self.height / 2)
        width = self.unit_m * (self.radius if self.radius >= 0 else self.width / 2)
        up = height / _EARTH_RADIUS_M / _RADIANS
        # A degree of longitude is shortest at the edge nearer to the pole.
        edge = latitude - up if latitude < 0 else latitude + up
        aside = width / _EARTH_RADIUS_M / cos(edge * _RADIANS) / _RADIANS
        return longitude - aside, latitude - up, longitude + aside, latitude + up


def _steps_for(reach_m: float, latitude: float) -> int:
    """Return the grid whose cells are about as large as the search, larger towards the poles."""
    if reach_m == 0:
        return STEPS_MAX
    steps = 1
    while reach_m < _MERCATOR_MAX_M:
        reach_m *= 2
        steps += 1
    steps -= 2
    if latitude > 66 or latitude < -66:
        steps -= 1
        if latitude > 80 or latitude < -80:
            steps -= 1
    return min(max(steps, 1), STEPS_MAX)


def _cell_at(point: Point, steps: int) -> Cell:
    return Cell(_place(point[0], LONGITUDE_MAX, steps), _place(point[1], LATITUDE_MAX, steps), steps)


# The order in which neighbours are searched shows in unsorted results: columns east, rows north.
_NEIGHBOURS: Final = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1))


def cells_around(shape: Shape) -> list[Cell]:
    """Return the cells that cover a shape, in Redis's order, without those that it cannot touch."""
    west, south, east, north = shape.bounds()
    steps = _steps_for(shape.reach_m(), shape.center[1])
    center = _cell_at(shape.center, steps)
    is_short = (
        center.beside(0, 1).north() < north
        or center.beside(0, -1).south() > south
        or center.beside(1, 0).east() < east
        or center.beside(-1, 0).west() > west
    )
    if steps > 1 and is_short:
        steps -= 1
        center = _cell_at(shape.center, steps)
    cells = [center]
    for columns, rows in _NEIGHBOURS:
        if steps >= 2:
            if (rows < 0 and center.south() < south) or (rows > 0 and center.north() > north):
                continue
            if (columns < 0 and center.west() < west) or (columns > 0 and center.east() > east):
                continue
        cell = center.beside(columns, rows)
        # With a huge radius neighbours are the same cell; Redis leaves out what it has just searched.
        before = cells[-1]
        if len(cells) == 1 or cell.column != before.column or cell.row != before.row:
            cells.append(cell)
    return cells
