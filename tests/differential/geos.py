"""Places side by side: generated calls on few members and coordinates, and directed scripts.

`words` and `scripts` join them. The judge says nothing of the order of members that are equally far where a
limit cuts between them, so each coordinate of the generated calls belongs to one member.
"""

from __future__ import annotations

from hypothesis import strategies as st

from tests.differential.vocabulary import KEYS, Call, Calls, call, option, words

_NAMES = (b"p", b"q", b"r", b"s", b"t", b"pole", b"edge", b"x" * 65)
_PLACES = {
    b"p": (b"13.361389", b"38.115556"),
    b"q": (b"15.087269", b"37.502669"),
    b"r": (b"-122.27652", b"37.805186"),
    b"s": (b"13.583333", b"37.316667"),
    b"t": (b"0.1", b"-0.1"),
    b"pole": (b"20.5", b"85.01"),
    b"edge": (b"179.99", b"-84.5"),
    b"x" * 65: (b"-179.99", b"51.25"),
}
MEMBERS = st.sampled_from([*_NAMES, b"nobody"])
LONGITUDES = st.one_of(
    st.floats(-180, 180).map(lambda degrees: b"%.6f" % degrees),
    st.sampled_from([b"13.4", b"15", b"-180", b"180", b"0", b"180.1", b"x", b"nan"]),
)
LATITUDES = st.one_of(
    st.floats(-85, 85).map(lambda degrees: b"%.6f" % degrees),
    st.sampled_from([b"38", b"37.5", b"85.05112878", b"-85.05112878", b"0", b"86", b"x", b"inf"]),
)
UNITS = st.sampled_from([b"m", b"km", b"ft", b"mi", b"KM", b"M", b"km", b"parsec"])
LENGTHS = st.one_of(
    st.floats(0, 1e4).map(lambda length: b"%.3f" % length),
    st.sampled_from([b"0", b"1", b"200", b"1000", b"100000", b"1e8", b"-1", b"x"]),
)
_COUNT = option(b"COUNT", st.sampled_from([b"1", b"2", b"3", b"100", b"0", b"-1", b"x"]))
_SHOWN = words(b"WITHDIST", b"WITHCOORD", b"WITHHASH")
_ORDER = words(b"ASC", b"DESC")
_ANY = words(b"ANY")
_STORE = st.tuples(st.sampled_from([b"STORE", b"STOREDIST", b"storedist"]), KEYS).map(list)


def _options(calls: Calls, *options: st.SearchStrategy[list[bytes]], most: int = 3) -> Calls:
    """Append options, each at most once: which of two orders counts is asked by a script."""
    return st.tuples(calls, *[st.one_of(st.just([]), each) for each in options[:most]]).map(
        lambda parts: [word for part in parts for word in part]
    )


_CENTERS = st.one_of(
    st.tuples(st.just(b"FROMMEMBER"), MEMBERS),
    st.tuples(st.just(b"FROMLONLAT"), LONGITUDES, LATITUDES),
).map(list)
_SHAPES = st.one_of(
    st.tuples(st.just(b"BYRADIUS"), LENGTHS, UNITS),
    st.tuples(st.just(b"BYBOX"), LENGTHS, LENGTHS, UNITS),
).map(list)


def _added(members: list[bytes]) -> Call:
    return [word for member in members for word in (*_PLACES[member], member)]


def _search(*start: st.SearchStrategy[bytes]) -> Calls:
    return st.tuples(st.tuples(*start), _CENTERS, _SHAPES).map(
        lambda parts: [*parts[0], *parts[1], *parts[2]]
    )


_ADDITIONS: Calls = st.tuples(
    KEYS,
    st.lists(st.sampled_from([b"NX", b"XX", b"CH", b"ch"]), max_size=2),
    st.lists(st.sampled_from(_NAMES), min_size=1, max_size=8),
).map(lambda parts: [b"GEOADD", parts[0], *parts[1], *_added(parts[2])])

GEO: dict[str, Calls] = {
    "geoadd": st.one_of(_ADDITIONS, _ADDITIONS, call(b"GEOADD", KEYS, LONGITUDES, LATITUDES, MEMBERS)),
    "geodist": st.one_of(
        call(b"GEODIST", KEYS, MEMBERS, MEMBERS), call(b"GEODIST", KEYS, MEMBERS, MEMBERS, UNITS)
    ),
    "geohash": st.one_of(call(b"GEOHASH", KEYS, MEMBERS, MEMBERS), call(b"GEOHASH", KEYS)),
    "geopos": st.one_of(call(b"GEOPOS", KEYS, MEMBERS, MEMBERS), call(b"GEOPOS", KEYS)),
    "geosearch": _options(_search(st.just(b"GEOSEARCH"), KEYS), _COUNT, _ANY, _ORDER, _SHOWN, _SHOWN, most=5),
    "geosearchstore": _options(
        _search(st.just(b"GEOSEARCHSTORE"), KEYS, KEYS), _COUNT, _ORDER, words(b"STOREDIST"), _SHOWN, most=3
    ),
    "georadius": _options(
        call(b"GEORADIUS", KEYS, LONGITUDES, LATITUDES, LENGTHS, UNITS),
        _COUNT,
        _ORDER,
        _SHOWN,
        _STORE,
        most=4,
    ),
    "georadius_ro": _options(
        call(b"GEORADIUS_RO", KEYS, LONGITUDES, LATITUDES, LENGTHS, UNITS), _COUNT, _SHOWN, _STORE
    ),
    "georadiusbymember": _options(
        call(b"GEORADIUSBYMEMBER", KEYS, MEMBERS, LENGTHS, UNITS), _COUNT, _ORDER, _STORE, _SHOWN, most=4
    ),
    "georadiusbymember_ro": _options(
        call(b"GEORADIUSBYMEMBER_RO", KEYS, MEMBERS, LENGTHS, UNITS), _COUNT, _ANY, _STORE
    ),
}

GEO_SCRIPTS: dict[str, str] = {
    "places": """
        GEOADD s 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
        GEOADD s 13.361389 38.115556 Palermo
        GEOADD s CH 13.361389 38.2 Palermo
        GEOADD s NX 1 2 Palermo 3 4 new
        GEOADD s XX CH 1 2 Catania 3 4 other
        GEOADD s NX XX 1 2 Catania
        GEOADD s 1 2
        GEOADD s 1 2 a 3 4
        GEOADD s CH CH CH
        GEOADD s 181 2 a
        GEOADD s 1 86 a
        GEOADD s x 2 a
        GEOADD s 1 2 a 1 99 b
        GEOADD s 180 85.05112878 corner -180 -85.05112878 opposite 0 0 zero
        ZRANGE s 0 -1 WITHSCORES
        GEOPOS s Palermo Catania nobody corner opposite zero
        GEOPOS s
        GEOPOS missing a b
        GEOHASH s Palermo Catania nobody corner opposite zero
        GEOHASH missing a
        GEODIST s Palermo Catania
        GEODIST s Palermo Catania KM
        GEODIST s Palermo Catania mi
        GEODIST s Palermo Catania ft
        GEODIST s Palermo Catania furlong
        GEODIST s Palermo Catania km km
        GEODIST s Palermo nobody
        GEODIST missing a b
        GEODIST s Palermo Palermo
        GEODIST s corner opposite
        SET k v
        GEOADD k 1 2 a
        GEOPOS k a
        GEOHASH k a
        GEODIST k a b
        GEOSEARCH k FROMLONLAT 1 2 BYRADIUS 1 m
        GEORADIUS k 1 2 1 m
        GEORADIUSBYMEMBER k a 1 m
        ZADD z 1 low -5 negative 1e300 huge inf endless 1.5 half
        GEOPOS z low half
    """,
    "searches": """
        GEOADD s 13.361389 38.115556 Palermo 15.087269 37.502669 Catania 13.583333 37.316667 Agrigento
        GEOADD s 12.758489 38.788135 edge1 17.241510 38.788135 edge2
        GEOSEARCH s FROMLONLAT 15 37 BYRADIUS 200 km ASC
        GEOSEARCH s FROMLONLAT 15 37 BYBOX 400 400 km ASC WITHCOORD WITHDIST
        GEOSEARCH s FROMLONLAT 15 37 BYBOX 400 400 km DESC WITHCOORD WITHDIST WITHHASH
        GEOSEARCH s FROMMEMBER Palermo BYRADIUS 100 mi WITHDIST
        GEOSEARCH s FROMMEMBER Palermo BYRADIUS 200 km COUNT 1
        GEOSEARCH s FROMMEMBER Palermo BYRADIUS 200 km COUNT 1 DESC
        GEOSEARCH s FROMMEMBER Palermo BYRADIUS 200 km ASC DESC
        GEOSEARCH s FROMMEMBER Palermo BYRADIUS 200 km COUNT 2 ANY
        GEOSEARCH s FROMMEMBER Palermo BYRADIUS 200 km ANY
        GEOSEARCH s FROMMEMBER nobody BYRADIUS 200 km
        GEOSEARCH missing FROMMEMBER nobody BYRADIUS 200 km
        GEOSEARCH s FROMMEMBER Palermo
        GEOSEARCH s BYRADIUS 200 km ASC ASC ASC
        GEOSEARCH s FROMMEMBER Palermo FROMLONLAT 1 2 BYRADIUS 200 km
        GEOSEARCH s FROMLONLAT 1 2 FROMMEMBER Palermo BYRADIUS 200 km
        GEOSEARCH s FROMLONLAT 1 2 BYRADIUS 200 km BYBOX 1 2 km
        GEOSEARCH s FROMLONLAT 1 2 BYBOX 1 2 km BYRADIUS 1 km
        geosearch s FROMLONLAT 1 2 ASC ASC ASC
        gEOsearch s BYBOX 1 2 km ASC
        GEOSEARCH s FROMLONLAT 15 37 BYRADIUS -1 km
        GEOSEARCH s FROMLONLAT 15 37 BYRADIUS x km
        GEOSEARCH s FROMLONLAT 15 37 BYRADIUS 1 x
        GEOSEARCH s FROMLONLAT 15 37 BYBOX x 1 km
        GEOSEARCH s FROMLONLAT 15 37 BYBOX 1 x km
        GEOSEARCH s FROMLONLAT 15 37 BYBOX -1 1 km
        GEOSEARCH s FROMLONLAT 15 37 BYBOX 1 1 x
        GEOSEARCH s FROMLONLAT 15 x BYBOX 1 1 km
        GEOSEARCH s FROMLONLAT 15 99 BYBOX 1 1 km
        GEOSEARCH s FROMLONLAT 15 37 BYRADIUS 1 km COUNT
        GEOSEARCH s FROMLONLAT 15 37 BYRADIUS 1 km COUNT 0
        GEOSEARCH s FROMLONLAT 15 37 BYRADIUS 1 km COUNT x
        GEOSEARCH s FROMLONLAT 15 37 BYRADIUS 1 km STORE d
        GEOSEARCH s FROMLONLAT 15 37 BYRADIUS 1 km STOREDIST
        GEOSEARCH s FROMLONLAT 15 37 BYRADIUS 1 km FOO
        GEOSEARCH s FROMLONLAT 15 37 BYRADIUS 0 km
        GEOSEARCH s FROMMEMBER Palermo BYRADIUS 0 km
        GEOSEARCH s FROMLONLAT 15 37 BYRADIUS 30000 km ASC
        GEOSEARCHSTORE d s FROMLONLAT 15 37 BYRADIUS 200 km
        ZRANGE d 0 -1 WITHSCORES
        GEOSEARCHSTORE d s FROMLONLAT 15 37 BYBOX 400 400 km COUNT 2 STOREDIST
        ZRANGE d 0 -1 WITHSCORES
        GEOSEARCHSTORE d s FROMLONLAT 15 37 BYBOX 400 400 km WITHDIST
        GEOSEARCHSTORE d s FROMLONLAT 1 1 BYRADIUS 1 km
        EXISTS d
        GEOSEARCHSTORE s missing FROMMEMBER a BYRADIUS 1 km
        EXISTS s
    """,
    "searches around": """
        GEOADD s 13.361389 38.115556 Palermo 15.087269 37.502669 Catania 13.583333 37.316667 Agrigento
        GEORADIUS s 15 37 200 km WITHDIST
        GEORADIUS s 15 37 200 km WITHCOORD WITHDIST WITHHASH COUNT 1 ASC
        GEORADIUS s 15 37 200 KM COUNT 2 ANY
        GEORADIUS s 15 37 200 km DESC
        GEORADIUS s 15 37 200 km STORE d
        ZRANGE d 0 -1 WITHSCORES
        GEORADIUS s 15 37 200 km STOREDIST d COUNT 2
        ZRANGE d 0 -1 WITHSCORES
        GEORADIUS s 15 37 200 km STORE d WITHDIST
        GEORADIUS s 15 37 200 km STORE
        GEORADIUS s 15 37 200 km STORE d STOREDIST e
        EXISTS e
        GEORADIUS s 1 1 1 m STORE d
        EXISTS d
        GEORADIUS s x 37 200 km
        GEORADIUS s 15 37 x km
        GEORADIUS s 15 37 -1 km
        GEORADIUS s 15 37 1 x
        GEORADIUS s 15 37 1 km FROMMEMBER Palermo
        GEORADIUS missing 15 37 200 km
        GEORADIUS missing 15 37 200 km STORE d
        GEORADIUS missing 15 x 200 km
        GEORADIUS_RO s 15 37 200 km
        GEORADIUS_RO s 15 37 200 km STORE d
        GEORADIUSBYMEMBER s Agrigento 100 km
        GEORADIUSBYMEMBER s Agrigento 100 km STOREDIST d
        ZRANGE d 0 -1 WITHSCORES
        GEORADIUSBYMEMBER s nobody 100 km
        GEORADIUSBYMEMBER missing nobody x x
        GEORADIUSBYMEMBER missing nobody x x COUNT 0
        GEORADIUSBYMEMBER missing nobody 1 km STORE d
        EXISTS d
        GEORADIUSBYMEMBER s Agrigento x km
        GEORADIUSBYMEMBER_RO s Agrigento 100 km WITHDIST
        GEORADIUSBYMEMBER_RO s Agrigento 100 km STORE d
        COMMAND GETKEYS GEORADIUS s 15 37 200 km STORE d
        COMMAND GETKEYS GEORADIUSBYMEMBER s a 200 km STOREDIST d
        COMMAND GETKEYS GEOSEARCHSTORE d s FROMLONLAT 1 1 BYRADIUS 1 km
    """,
}
