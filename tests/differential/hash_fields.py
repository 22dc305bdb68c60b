"""Hashes with fields that expire, side by side with a newer judge: generated calls and directed scripts.

Redis 7.0 knows none of this, so the calls are not among those of `words` and `scripts`; the tests against
Redis 8.0 take them, together with the older commands on hashes. No field expires while a test runs: times lie
far ahead or have passed.
"""

from __future__ import annotations

from hypothesis import strategies as st

from tests.differential.hashes import FIELDS
from tests.differential.vocabulary import BAD_NUMBERS, KEYS, VALUES, Call, Calls, words

_SECONDS = st.one_of(
    st.sampled_from([b"1000", b"1001", b"5000", b"0", b"-1", b"70368744177", b"70368744178"]), BAD_NUMBERS
)
_MILLISECONDS = st.one_of(
    st.sampled_from([b"1000000", b"1001000", b"5000000", b"0", b"-1", b"70368744177663"]), BAD_NUMBERS
)
_UNIX_SECONDS = st.one_of(st.sampled_from([b"33177117420", b"33177117421", b"1", b"0", b"-5"]), BAD_NUMBERS)
_UNIX_MILLISECONDS = st.one_of(
    st.sampled_from([b"33177117420000", b"33177117420001", b"1", b"0", b"70368744177664"]), BAD_NUMBERS
)
_CONDITION = st.one_of(st.just([]), st.just([]), words(b"NX", b"XX", b"GT", b"LT"), words(b"FOO"))
_WORD = st.sampled_from([b"FIELDS", b"FIELDS", b"fields", b"FIELDS", b"FIELDS", b"FIELD"])
_TIME = st.one_of(
    st.just([]),
    st.tuples(st.sampled_from([b"EX", b"ex"]), _SECONDS).map(list),
    st.tuples(st.sampled_from([b"PX"]), _MILLISECONDS).map(list),
    st.tuples(st.sampled_from([b"EXAT"]), _UNIX_SECONDS).map(list),
    st.tuples(st.sampled_from([b"PXAT", b"pxat"]), _UNIX_MILLISECONDS).map(list),
)


def counted(*arguments: st.SearchStrategy[bytes]) -> st.SearchStrategy[list[bytes]]:
    """Generate FIELDS, a count that is mostly right, and groups of these arguments."""
    groups = st.lists(st.tuples(*arguments), min_size=1, max_size=3)
    wrong = st.sampled_from([None] * 12 + [b"0", b"-1", b"x", b"9"])
    return st.tuples(_WORD, wrong, groups).map(
        lambda parts: [
            parts[0],
            b"%d" % len(parts[2]) if parts[1] is None else parts[1],
            *(word for group in parts[2] for word in group),
        ]
    )


def joined(name: bytes, *parts: st.SearchStrategy[list[bytes]]) -> Calls:
    """Generate calls on a key made of these parts."""
    return st.tuples(KEYS, *parts).map(lambda found: _flat(name, found[0], list(found[1:])))


def _flat(name: bytes, key: bytes, parts: list[list[bytes]]) -> Call:
    return [name, key, *(word for part in parts for word in part)]


def _one(strategy: st.SearchStrategy[bytes]) -> st.SearchStrategy[list[bytes]]:
    return strategy.map(lambda word: [word])


_SET_WORDS = st.one_of(st.just([]), words(b"FNX"), words(b"FXX"), words(b"FOO"), words(b"KEEPTTL"))

HASH_FIELDS: dict[str, Calls] = {
    "hexpire": joined(b"HEXPIRE", _one(_SECONDS), _CONDITION, counted(FIELDS)),
    "hpexpire": joined(b"HPEXPIRE", _one(_MILLISECONDS), _CONDITION, counted(FIELDS)),
    "hexpireat": joined(b"HEXPIREAT", _one(_UNIX_SECONDS), _CONDITION, counted(FIELDS)),
    "hpexpireat": joined(b"HPEXPIREAT", _one(_UNIX_MILLISECONDS), _CONDITION, counted(FIELDS)),
    "hpersist": joined(b"HPERSIST", counted(FIELDS)),
    "httl": joined(b"HTTL", counted(FIELDS)),
    "hpttl": joined(b"HPTTL", counted(FIELDS)),
    "hexpiretime": joined(b"HEXPIRETIME", counted(FIELDS)),
    "hpexpiretime": joined(b"HPEXPIRETIME", counted(FIELDS)),
    "hgetdel": joined(b"HGETDEL", counted(FIELDS)),
    "hgetex": joined(b"HGETEX", st.one_of(_TIME, words(b"PERSIST"), words(b"FOO")), counted(FIELDS)),
    "hsetex": joined(b"HSETEX", _SET_WORDS, _TIME, counted(FIELDS, VALUES)),
}

HASH_FIELD_SCRIPTS: dict[str, str] = {
    "times of fields": """
        HSET h f 1 g 2 i 3
        HEXPIRE h 1000 FIELDS 3 f missing f
        HTTL h FIELDS 3 f g missing
        HEXPIRE h 500 NX FIELDS 2 f g
        HEXPIRE h 2000 XX FIELDS 2 f i
        HEXPIRE h 1500 GT FIELDS 3 f g i
        HEXPIRE h 1500 LT FIELDS 3 f g i
        HPTTL h FIELDS 3 f g i
        OBJECT ENCODING h
        HPERSIST h FIELDS 4 f f i missing
        OBJECT ENCODING h
        HEXPIREAT h 33177117420 FIELDS 1 f
        HPEXPIREAT h 33177117420001 FIELDS 1 g
        HEXPIRETIME h FIELDS 3 f g i
        HPEXPIRETIME h FIELDS 3 f g i
        HEXPIRE h 0 FIELDS 3 f f g
        HGETALL h
        HPEXPIREAT h 1 FIELDS 1 i
        HPEXPIREAT h 1 FIELDS 2 i i
        EXISTS h
        HEXPIRE h 10 FIELDS 2 a b
        HTTL h FIELDS 1 a
        HPERSIST h FIELDS 2 a b
    """,
    "what becomes of times": """
        HSET h f 1 g 2 i 3
        HEXPIREAT h 33177117420 FIELDS 2 f g
        HSET h f 9
        HTTL h FIELDS 2 f g
        HINCRBY h g 1
        HINCRBYFLOAT h g 1.5
        HSETNX h g 1
        HEXPIRETIME h FIELDS 2 f g
        COPY h copied
        HEXPIRETIME copied FIELDS 3 f g i
        OBJECT ENCODING copied
        RENAME copied renamed
        HEXPIRETIME renamed FIELDS 3 f g i
        MOVE renamed 1
        SELECT 1
        HEXPIRETIME renamed FIELDS 3 f g i
        SELECT 0
        HDEL h g
        HSET h g 5
        HTTL h FIELDS 1 g
        HMSET h g 6
        EXPIRE h 1000
        HEXPIREAT h 33177117420 FIELDS 1 f
        PERSIST h
        HEXPIRETIME h FIELDS 1 f
        DEL h
        HSET h f 1
        HTTL h FIELDS 1 f
        HLEN h
    """,
    "times in tables": """
        CONFIG SET hash-max-listpack-entries 3
        HSET h a 1 b 2 c 3
        HEXPIREAT h 33177117420 FIELDS 1 b
        OBJECT ENCODING h
        HSET h d 4
        OBJECT ENCODING h
        HEXPIRETIME h FIELDS 4 a b c d
        HEXPIREAT h 33177117421 FIELDS 2 d a
        HEXPIRETIME h FIELDS 4 a b c d
        COPY h copied
        HEXPIRETIME copied FIELDS 4 a b c d
        HPERSIST h FIELDS 4 a b c d
        OBJECT ENCODING h
        HEXPIRE h 0 FIELDS 4 a b c d
        EXISTS h
        HSETEX n EXAT 33177117420 FIELDS 4 a 1 b 2 c 3 d 4
        OBJECT ENCODING n
        HGETEX n PERSIST FIELDS 2 a zz
        HEXPIRETIME n FIELDS 2 a b
        CONFIG SET hash-max-listpack-entries 512
    """,
    "values with times": """
        HSETEX h FIELDS 1 f 1
        OBJECT ENCODING h
        HSETEX h EXAT 33177117420 FIELDS 2 f 2 g 3
        OBJECT ENCODING h
        HSETEX h FNX FIELDS 2 f 9 new 9
        HSETEX h FXX FIELDS 2 f 9 new 9
        HSETEX h FXX KEEPTTL FIELDS 2 f 8 g 8
        HEXPIRETIME h FIELDS 2 f g
        HSETEX h FXX FIELDS 1 f 7
        HEXPIRETIME h FIELDS 2 f g
        HSETEX h FNX PXAT 33177117420000 FIELDS 2 x 1 x 2
        HSETEX h PXAT 1 FIELDS 1 x 9
        HSETEX gone PXAT 1 FIELDS 1 x 9
        EXISTS gone
        HGETALL h
        HGETEX h FIELDS 3 f missing g
        HGETEX h PXAT 33177117420000 FIELDS 3 f missing f
        HEXPIRETIME h FIELDS 2 f g
        HGETEX h PERSIST FIELDS 2 f f
        HGETEX h EXAT 1 FIELDS 2 f f
        HGETALL h
        HGETDEL h FIELDS 3 g g missing
        EXISTS h
        HGETDEL h FIELDS 2 g g
        HGETEX h FIELDS 2 g g
    """,
    "wrong calls about fields": """
        HEXPIRE h x FIELDS 1 f
        HEXPIRE h 10 FOO 1 f
        HEXPIRE h 10 FIELDS 0 f
        HEXPIRE h 10 FIELDS 2 f
        HEXPIRE h 10 NX XX FIELDS 1 f
        HEXPIRE h -1 FIELDS 1 f
        HEXPIRE h 70368744178 FIELDS 1 f
        HTTL h FOO 1 f
        HTTL h FIELDS x f
        HTTL h FIELDS 2 f
        HPERSIST h FIELDS -1 f
        HGETDEL h FIELDS 2 f
        HGETEX h EX 10
        HGETEX h EX 10 FIELDS 1
        HGETEX h PERSIST EX 10 FIELDS 1 f
        HGETEX h EX x FIELDS 1 f
        HSETEX h EX 10
        HSETEX h EX 10 FIELDS 1 f
        HSETEX h EX 10 PX 10 FIELDS 1 f v
        HSETEX h FNX FXX FIELDS 1 f v
        HSETEX h FIELDS 1 f v FNX
        HSETEX h FOO FIELDS 1 f v
        HSETEX h 1 2 3 4
        HSETEX h FNX KEEPTTL FNX EX
        HSETEX h FNX KEEPTTL FNX FIELDS
        SET s v
        HEXPIRE s x FIELDS 1 f
        HTTL s FOO 1 f
        HPERSIST s FOO 1 f
        HGETEX s FOO 1 f
        HSETEX s FIELDS 1 f v
        HGETDEL s FOO 1 f
    """,
}
