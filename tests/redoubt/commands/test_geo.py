"""Places: what is propagated and stored, how coordinates are written, and the grid against its definition."""

from __future__ import annotations

from math import asin, atan2, cos, degrees, radians, sin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redoubt.data import geohash
from redoubt.data.geohash import LATITUDE_MAX, LONGITUDE_MAX, Shape
from redoubt.resp.replies import Double, ErrorReply, encoded
from tests.redoubt.commands.recorded import Recorded

SICILY = "GEOADD s 13.361389 38.115556 Palermo 15.087269 37.502669 Catania"
ONE_TWO = geohash.score_of((1.0, 2.0))
THREE_FOUR = geohash.score_of((3.0, 4.0))
NOWHERE = "GEOSEARCHSTORE s s FROMLONLAT 0 0 BYRADIUS 1 km"
POINTS = st.tuples(st.floats(-LONGITUDE_MAX, LONGITUDE_MAX), st.floats(-LATITUDE_MAX, LATITUDE_MAX))


def sicily() -> Recorded:
    recorded = Recorded()
    recorded.ask(SICILY)
    return recorded


@pytest.mark.parametrize(
    ("line", "propagated"),
    [
        ("GEOADD s 13.361389 38.115556 Palermo", []),
        ("GEOADD s NX CH 1 2 Palermo 3 4 new", [f"ZADD s NX CH {ONE_TWO} Palermo {THREE_FOUR} new"]),
        ("GEOADD s XX 1 2 nobody", []),
        ("GEOPOS s Palermo", []),
        ("GEORADIUS s 15 37 200 km", []),
        ("GEORADIUS s 15 37 200 km STORE d", ["GEORADIUS s 15 37 200 km STORE d"]),
        ("GEORADIUS s 0 0 1 km STORE d", []),
        (NOWHERE, [NOWHERE]),
    ],
)  # fmt: skip
def test_what_is_propagated(line: str, propagated: list[str]) -> None:
    assert sicily().propagates(line) == propagated


def test_an_addition_that_changed_nothing_leaves_nothing_to_propagate_later() -> None:
    recorded = sicily()
    recorded.ask("GEOADD s 13.361389 38.115556 Palermo")
    assert recorded.propagates("SET k v") == ["SET k v"]


def test_coordinates_are_written_with_17_decimals_in_both_protocols() -> None:
    recorded = sicily()
    place = recorded.ask("GEOPOS s Palermo")
    assert place == [[b"13.36138933897018433", b"38.11555639549629859"]]
    longitude = Double(13.361389338970184, b"13.36138933897018433")
    assert encoded(longitude, 3) == b",13.36138933897018433\r\n"
    assert encoded(longitude, 2) == b"$20\r\n13.36138933897018433\r\n"


def test_the_stored_result_has_scores_or_distances_of_the_unit() -> None:
    recorded = sicily()
    recorded.ask("GEOSEARCHSTORE d s FROMMEMBER Palermo BYRADIUS 200 km")
    assert recorded.ask("ZSCORE d Catania") == recorded.ask("ZSCORE s Catania")
    recorded.ask("GEOSEARCHSTORE d s FROMMEMBER Palermo BYRADIUS 200 km STOREDIST")
    distance = recorded.ask("ZSCORE d Catania")
    assert isinstance(distance, bytes) and f"{float(distance):.4f}" == "166.2742"
    assert recorded.ask("GEODIST s Palermo Catania km") == b"166.2742"


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("GEOSEARCH s FROMLONLAT 1 2 BYRADIUS 1 km WITHDIST STOREDIST", b"ERR syntax error"),
        ("GEOSEARCHSTORE d s FROMLONLAT 1 2 BYRADIUS 1 km WITHDIST",
         b"ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options"),
        ("GEORADIUS s 1 2 1 km WITHHASH STORE d",
         b"ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options"),
        ("GEOADD s 180.5 2 a", b"ERR invalid longitude,latitude pair 180.500000,2.000000"),
        ("GEOADD s nan 2 a", b"ERR value is not a valid float"),
        ("GEODIST s Palermo Catania yards", b"ERR unsupported unit provided. please use M, KM, FT, MI"),
        ("GEOSEARCH s FROMMEMBER Palermo BYRADIUS 1 km ANY", b"ERR the ANY argument requires COUNT argument"),
    ],
)  # fmt: skip
def test_wrong_calls_are_refused_and_change_nothing(line: str, error: bytes) -> None:
    recorded = sicily()
    assert recorded.ask(line) == ErrorReply(error)
    assert recorded.ask("ZCARD s") == 2 and recorded.ask("EXISTS d") == 0


@given(POINTS)
def test_a_score_stands_for_a_point_within_half_a_metre(point: tuple[float, float]) -> None:
    score = geohash.score_of(point)
    found = geohash.point_of(float(score))
    assert geohash.distance(point, found) < 0.6
    assert len(geohash.standard_text(found)) == 11


@given(st.integers(0, 2**26 - 1), st.integers(0, 2**26 - 1))
def test_bits_lie_in_turn(low: int, high: int) -> None:
    joined = geohash.interleave(low, high)
    assert f"{joined:052b}"[1::2] == f"{low:026b}" and f"{joined:052b}"[0::2] == f"{high:026b}"
    assert geohash.even_bits(joined) == low and geohash.even_bits(joined >> 1) == high


@given(POINTS, st.floats(0, 3e6), st.floats(0, 2 * 3.14159), st.floats(0, 0.98))
def test_what_is_inside_lies_in_the_cells(
    center: tuple[float, float], radius_m: float, direction: float, share: float
) -> None:
    # A point at this share of the radius, in some direction.
    angle = share * radius_m / 6372797.560856
    latitude = radians(center[1])
    other = asin(sin(latitude) * cos(angle) + cos(latitude) * sin(angle) * cos(direction))
    aside = atan2(sin(direction) * sin(angle) * cos(latitude), cos(angle) - sin(latitude) * sin(other))
    point = (center[0] + degrees(aside), degrees(other))
    shape = Shape(center, 1.0, radius_m, 0.0, 0.0)
    is_searchable = abs(center[1]) < 60 and abs(point[0]) <= 180 and abs(point[1]) <= LATITUDE_MAX
    if is_searchable and abs(point[0] - center[0]) < 90:
        score = geohash.score_of(point)
        found = geohash.point_of(float(score))
        if shape.distance_within(found) >= 0:
            assert any(low <= score < past for low, past in (c.scores() for c in geohash.cells_around(shape)))
