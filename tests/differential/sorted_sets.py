"""Sorted sets side by side: generated calls on few members, and directed scripts.

`words` and `scripts` join them. Scores are compared as numbers, since 7.0 writes them with 17 digits.
"""

from __future__ import annotations

from hypothesis import strategies as st

from tests.differential.vocabulary import (
    BAD_NUMBERS,
    KEYS,
    NEW_KEYS,
    NUMBERS,
    PATTERNS,
    Calls,
    call,
    many,
    option,
    with_options,
    words,
)

MEMBERS = st.one_of(
    st.integers(-2, 4).map(lambda number: b"%d" % number),
    st.sampled_from([b"a", b"b", b"ab", b"", b"\x00\xff", b"x" * 65]),
)
SCORES = st.one_of(
    st.integers(-3, 5).map(lambda number: b"%d" % number),
    st.sampled_from(
        [
            b"0.1",
            b"-0.5",
            b"1e3",
            b"inf",
            b"-inf",
            b"+inf",
            b"infinity",
            b"1e300",
            b"0x10",
            b"3.",
            b".5",
            b"-0",
        ]
    ),
    st.sampled_from([b"nan", b"x", b"", b" 1", b"1 ", b"1e400", b"1_0", b"--1"]),
)
FAIR_SCORES = SCORES.filter(lambda score: score not in (b"nan", b"x", b"", b" 1", b"1 ", b"1_0", b"--1"))
SCORE_BOUNDS = st.one_of(SCORES, FAIR_SCORES, FAIR_SCORES.map(lambda score: b"(" + score))
# Where scores differ, what lies between two members is nobody's promise; directed scripts ask for that.
MEMBER_BOUNDS = st.sampled_from([b"-", b"+", b"-", b"+", b"-", b"+", b"a", b"", b"-x"])
_LIMIT = st.tuples(NUMBERS, NUMBERS).map(lambda pair: [b"LIMIT", *pair])
_WITHSCORES = words(b"WITHSCORES")
_COUNTS = st.one_of(st.sampled_from([b"0", b"1", b"2", b"100", b"-1"]), BAD_NUMBERS)
_FAIR_COUNTS = st.one_of(st.sampled_from([b"0", b"100", b"9223372036854775807"]), BAD_NUMBERS)
_ENDS = st.sampled_from([b"MIN", b"max", b"MIN", b"MAX", b"FOO"])


def of_sorted_set(name: bytes, *arguments: st.SearchStrategy[bytes]) -> Calls:
    """Generate calls that name a key and then repeat these arguments."""
    return st.tuples(KEYS, many(name, *arguments)).map(lambda parts: [parts[1][0], parts[0], *parts[1][1:]])


def zadd(flags: list[list[bytes]], pairs: list[bytes], key: bytes) -> list[bytes]:
    """Put a ZADD together."""
    return [b"ZADD", key, *(word for flag in flags for word in flag), *pairs[1:]]


def counted(*head: st.SearchStrategy[bytes]) -> Calls:
    """Generate calls that say how many keys follow, mostly rightly."""
    keys = st.lists(NEW_KEYS, min_size=1, max_size=3)
    return st.tuples(st.tuples(*head), keys, st.sampled_from([0] * 8 + [1, -1, -5])).map(
        lambda parts: [*parts[0], b"%d" % (len(parts[1]) + parts[2]), *parts[1]]
    )


def combined(*head: st.SearchStrategy[bytes]) -> Calls:
    """Generate calls with weights and an aggregate."""
    weights = st.lists(FAIR_SCORES, min_size=1, max_size=3).map(lambda scores: [b"WEIGHTS", *scores])
    aggregate = st.sampled_from([b"SUM", b"min", b"MAX", b"FOO"]).map(lambda word: [b"AGGREGATE", word])
    return with_options(counted(*head), weights, aggregate, aggregate, _WITHSCORES, most=2)


_ZADD = st.builds(
    zadd,
    st.lists(words(b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR"), max_size=2),
    many(b"ZADD", SCORES, MEMBERS),
    KEYS,
)
_BY = words(b"BYSCORE", b"BYLEX", b"REV", b"REV", b"FOO")

SORTED_SET: dict[str, Calls] = {
    "zadd": _ZADD,
    "zcard": call(b"ZCARD", KEYS),
    "zcount": call(b"ZCOUNT", KEYS, SCORE_BOUNDS, SCORE_BOUNDS),
    "zdiff": with_options(counted(st.just(b"ZDIFF")), _WITHSCORES, most=1),
    "zdiffstore": counted(st.just(b"ZDIFFSTORE"), KEYS),
    "zincrby": call(b"ZINCRBY", KEYS, SCORES, MEMBERS),
    "zinter": combined(st.just(b"ZINTER")),
    "zintercard": with_options(counted(st.just(b"ZINTERCARD")), option(b"LIMIT", NUMBERS), most=1),
    "zinterstore": combined(st.just(b"ZINTERSTORE"), KEYS),
    "zlexcount": call(b"ZLEXCOUNT", KEYS, MEMBER_BOUNDS, MEMBER_BOUNDS),
    "zmpop": with_options(
        st.tuples(counted(st.just(b"ZMPOP")), _ENDS).map(lambda parts: [*parts[0], parts[1]]),
        option(b"COUNT", _COUNTS),
    ),
    "zmscore": of_sorted_set(b"ZMSCORE", MEMBERS),
    "zpopmax": st.one_of(call(b"ZPOPMAX", KEYS), call(b"ZPOPMAX", KEYS, _COUNTS)),
    "zpopmin": st.one_of(call(b"ZPOPMIN", KEYS), call(b"ZPOPMIN", KEYS, _COUNTS)),
    # Only what is the same whatever is drawn; members come in an order of their own.
    "zrandmember": call(b"ZRANDMEMBER", KEYS, st.one_of(st.just(b"0"), BAD_NUMBERS)),
    "zrange": st.one_of(
        with_options(call(b"ZRANGE", KEYS, NUMBERS, NUMBERS), words(b"REV"), _WITHSCORES, _BY, _LIMIT),
        with_options(
            call(b"ZRANGE", KEYS, SCORE_BOUNDS, SCORE_BOUNDS, st.just(b"BYSCORE")),
            words(b"REV"), _WITHSCORES, _LIMIT, most=3,
        ),
        with_options(
            call(b"ZRANGE", KEYS, MEMBER_BOUNDS, MEMBER_BOUNDS, st.just(b"BYLEX")),
            words(b"REV"), _WITHSCORES, _LIMIT,
        ),
    ),
    "zrangebylex": with_options(
        call(b"ZRANGEBYLEX", KEYS, MEMBER_BOUNDS, MEMBER_BOUNDS), _LIMIT, _WITHSCORES
    ),
    "zrangebyscore": with_options(
        call(b"ZRANGEBYSCORE", KEYS, SCORE_BOUNDS, SCORE_BOUNDS), _LIMIT, _WITHSCORES, words(b"REV")
    ),
    "zrangestore": st.one_of(
        with_options(call(b"ZRANGESTORE", KEYS, KEYS, NUMBERS, NUMBERS), _BY, _WITHSCORES),
        with_options(
            call(b"ZRANGESTORE", KEYS, KEYS, SCORE_BOUNDS, SCORE_BOUNDS, st.just(b"BYSCORE")), _LIMIT
        ),
    ),
    "zrank": call(b"ZRANK", KEYS, MEMBERS),
    "zrem": of_sorted_set(b"ZREM", MEMBERS),
    "zremrangebylex": call(b"ZREMRANGEBYLEX", KEYS, MEMBER_BOUNDS, MEMBER_BOUNDS),
    "zremrangebyrank": call(b"ZREMRANGEBYRANK", KEYS, NUMBERS, NUMBERS),
    "zremrangebyscore": call(b"ZREMRANGEBYSCORE", KEYS, SCORE_BOUNDS, SCORE_BOUNDS),
    "zrevrange": with_options(call(b"ZREVRANGE", KEYS, NUMBERS, NUMBERS), _WITHSCORES, _LIMIT),
    "zrevrangebylex": with_options(call(b"ZREVRANGEBYLEX", KEYS, MEMBER_BOUNDS, MEMBER_BOUNDS), _LIMIT),
    "zrevrangebyscore": with_options(
        call(b"ZREVRANGEBYSCORE", KEYS, SCORE_BOUNDS, SCORE_BOUNDS), _LIMIT, _WITHSCORES
    ),
    "zrevrank": call(b"ZREVRANK", KEYS, MEMBERS),
    "zscan": with_options(
        call(b"ZSCAN", KEYS, st.sampled_from([b"0", b"x"])),
        option(b"MATCH", PATTERNS),
        option(b"COUNT", st.sampled_from([b"1000", b"0", b"x"])),
        words(b"FOO"),
    ),
    "zscore": call(b"ZSCORE", KEYS, MEMBERS),
    "zunion": combined(st.just(b"ZUNION")),
    "zunionstore": combined(st.just(b"ZUNIONSTORE"), KEYS),
}  # fmt: skip

SORTED_SET_SCRIPTS: dict[str, str] = {
    "sorted sets": """
        ZADD z 1 a 2 b 3 c
        ZADD z 5 a 4 d
        ZADD z CH 6 a 7 e
        ZADD z NX 100 a 8 f
        ZADD z XX 9 a 9 g
        ZADD z GT 1 a 20 b
        ZADD z LT 1 b 100 c
        ZADD z GT CH 50 new
        ZADD z INCR 1 a
        ZADD z NX INCR 1 a
        ZADD z XX INCR 1 missing
        ZADD z GT INCR -1 a
        ZADD z NX XX 1 a
        ZADD z GT LT 1 a
        ZADD z GT NX 1 a
        ZADD z INCR 1 a 2 b
        ZADD z 1
        ZADD z 1 a 2
        ZADD z x a
        ZADD z nan a
        ZADD z FOO 1 a
        ZADD missing XX 1 a
        EXISTS missing
        ZRANGE z 0 -1 WITHSCORES
        ZSCORE z a
        ZSCORE z missing
        ZSCORE missing a
        ZMSCORE z a missing b
        ZMSCORE missing a b
        ZRANK z a
        ZREVRANK z a
        ZRANK z missing
        ZRANK missing a
        ZINCRBY z 1.5 a
        ZINCRBY z x a
        ZINCRBY z -inf i
        ZINCRBY z +inf i
        ZINCRBY z nan i
        ZADD z INCR inf i
        ZCARD z
        ZCARD missing
        ZREM z a missing
        ZREM missing a
        TYPE z
        OBJECT ENCODING z
        ZPOPMIN z
        ZPOPMAX z
        ZPOPMIN z 2
        ZPOPMAX z 0
        ZPOPMAX z -1
        ZPOPMAX z x
        ZPOPMAX z 1 2
        ZPOPMIN missing
        ZPOPMIN missing 3
        ZPOPMAX z 100
        EXISTS z
    """,
    "sorted sets and other types": """
        SET k v
        ZADD k 1 a
        ZINCRBY k 1 a
        ZREM k a
        ZCARD k
        ZSCORE k a
        ZMSCORE k a
        ZRANK k a
        ZRANGE k 0 -1
        ZRANGEBYSCORE k 0 1
        ZCOUNT k 0 1
        ZPOPMIN k
        ZPOPMIN k 0
        ZMPOP 1 k MIN
        ZRANDMEMBER k
        ZSCAN k 0
        ZUNION 1 k
        ZUNIONSTORE d 1 k
        ZINTERCARD 1 k
        ZRANGESTORE d k 0 -1
        ZADD z 1 a
        GET z
        SADD z a
        LPUSH z a
        SADD s a b c
        ZUNION 2 z s WITHSCORES
        ZINTER 2 z s WITHSCORES
        ZDIFF 2 s z WITHSCORES
        ZUNIONSTORE s 2 z s
        TYPE s
        ZRANGE s 0 -1 WITHSCORES
    """,
    "ranges of sorted sets": """
        ZADD z 1 a 2 b 2 bb 3 c 4 d -inf low inf high
        ZRANGE z 0 -1
        ZRANGE z -2 -1 WITHSCORES
        ZRANGE z 5 1
        ZRANGE z 0 -1 REV WITHSCORES
        ZRANGE z 1 2 REV
        ZRANGE z (1 3 BYSCORE
        ZRANGE z 3 (1 BYSCORE REV
        ZRANGE z -inf +inf BYSCORE LIMIT 1 2 WITHSCORES
        ZRANGE z +inf -inf BYSCORE REV LIMIT 1 2
        ZRANGE z 2 2 BYSCORE
        ZRANGE z (2 2 BYSCORE
        ZRANGE z (2 (2 BYSCORE
        ZRANGE z 0 -1 LIMIT 0 1
        ZRANGE z 0 1 BYSCORE BYLEX
        ZRANGE z 0 1 REV rev
        ZRANGE z 0 1 BYLEX
        ZRANGE z [a [c BYLEX WITHSCORES
        ZRANGE z x 1
        ZRANGE z x 1 BYSCORE
        ZRANGE z ( 1 BYSCORE
        ZRANGE missing x 1
        ZRANGE missing 0 1
        ZREVRANGE z 0 2 WITHSCORES
        ZREVRANGE z 0 2 REV
        ZREVRANGE z 0 2 LIMIT 0 1
        ZRANGEBYSCORE z 1 3 WITHSCORES LIMIT 1 2
        ZRANGEBYSCORE z 1 3 LIMIT 1 -1
        ZRANGEBYSCORE z 1 3 LIMIT -1 1
        ZRANGEBYSCORE z 1 3 LIMIT 100 1
        ZRANGEBYSCORE z 1 3 LIMIT 1
        ZRANGEBYSCORE z 1 3 LIMIT x 1
        ZREVRANGEBYSCORE z 3 1 LIMIT 1 2
        ZREVRANGEBYSCORE z +inf (1 WITHSCORES
        ZCOUNT z 1 3
        ZCOUNT z (1 (3
        ZCOUNT z 3 1
        ZCOUNT z nan 1
        ZCOUNT missing 1 3
        ZADD l 0 a 0 b 0 c 0 d
        ZRANGEBYLEX l - +
        ZRANGEBYLEX l [b +
        ZRANGEBYLEX l (b [d
        ZRANGEBYLEX l + -
        ZRANGEBYLEX l - + LIMIT 1 2
        ZRANGEBYLEX l - + WITHSCORES
        ZREVRANGEBYLEX l + [b
        ZREVRANGEBYLEX l + - LIMIT 1 2
        ZRANGE l + - BYLEX REV
        ZRANGE l - + BYLEX REV
        ZRANGEBYLEX l b c
        ZLEXCOUNT l - +
        ZLEXCOUNT l [b (d
        ZLEXCOUNT l + -
        ZLEXCOUNT missing - +
        ZRANGESTORE d z 1 3
        ZRANGE d 0 -1 WITHSCORES
        ZRANGESTORE d z (1 +inf BYSCORE LIMIT 1 2
        ZRANGE d 0 -1 WITHSCORES
        ZRANGESTORE d z 0 1 REV
        ZRANGE d 0 -1 WITHSCORES
        ZRANGESTORE d missing 0 -1
        EXISTS d
        ZRANGESTORE d z 0 1 WITHSCORES
        ZREMRANGEBYRANK z 0 0
        ZREMRANGEBYSCORE z (3 +inf
        ZREMRANGEBYSCORE z x 1
        ZREMRANGEBYLEX l [b [c
        ZREMRANGEBYLEX l b c
        ZREMRANGEBYRANK missing 0 1
        ZRANGE z 0 -1
        ZREMRANGEBYRANK z 0 -1
        EXISTS z
    """,
    "sorted sets become tables": """
        CONFIG SET zset-max-listpack-entries 3
        ZADD z 1 a 2 b 3 c
        OBJECT ENCODING z
        ZADD z 4 a
        OBJECT ENCODING z
        ZADD z 4 d
        OBJECT ENCODING z
        ZREM z a b
        OBJECT ENCODING z
        ZRANGE z 0 -1 WITHSCORES
        ZADD z 3 b 3 a 3 d 2.5 e
        ZRANGE z 0 -1 WITHSCORES
        ZRANK z d
        ZREVRANK z d
        ZRANGE z (2.5 3 BYSCORE
        ZRANGE z 3 3 BYSCORE REV LIMIT 1 2
        ZCOUNT z 3 3
        ZPOPMIN z
        ZPOPMAX z 2
        ZINCRBY z 10 b
        ZRANGE z 0 -1 WITHSCORES
        COPY z y
        ZADD y 1 new
        ZRANGE z 0 -1
        ZRANGE y 0 -1
        CONFIG SET zset-max-listpack-entries 128
        ZADD v 1 12345
        CONFIG SET zset-max-listpack-value 4
        ZADD w 1 12345
        OBJECT ENCODING v
        OBJECT ENCODING w
        CONFIG SET zset-max-listpack-value 64
    """,
    "algebra of sorted sets": """
        ZADD a 1 x 2 y 3 z
        ZADD b 10 y 20 z 30 w
        ZUNION 2 a b WITHSCORES
        ZUNION 2 a b WEIGHTS 2 0.5 WITHSCORES
        ZUNION 2 a b AGGREGATE MIN WITHSCORES
        ZUNION 2 a b AGGREGATE MAX WITHSCORES
        ZUNION 2 a missing
        ZINTER 2 a b WITHSCORES
        ZINTER 2 a b WEIGHTS -1 1 AGGREGATE MAX WITHSCORES
        ZINTER 2 a a WITHSCORES
        ZINTER 2 a missing
        ZDIFF 2 a b WITHSCORES
        ZDIFF 2 a a
        ZDIFF 2 missing a
        ZUNIONSTORE d 2 a b WEIGHTS 2 3 AGGREGATE SUM
        ZRANGE d 0 -1 WITHSCORES
        ZINTERSTORE d 2 d b
        ZRANGE d 0 -1 WITHSCORES
        ZDIFFSTORE d 2 a b
        ZRANGE d 0 -1 WITHSCORES
        ZDIFFSTORE d 2 a a
        EXISTS d
        ZINTERCARD 2 a b
        ZINTERCARD 2 a b LIMIT 1
        ZINTERCARD 2 a b LIMIT -1
        ZINTERCARD 0 a
        ZINTERCARD x a
        ZINTERCARD 3 a b
        ZUNION 0 a
        ZUNION x a
        ZUNION 3 a b
        ZUNION 2 a b WEIGHTS 1
        ZUNION 2 a b WEIGHTS 1 x
        ZUNION 2 a b AGGREGATE FOO
        ZUNION 2 a b AGGREGATE
        ZUNION 2 a b FOO
        ZUNIONSTORE d 0 a
        ZUNIONSTORE d 1 a WITHSCORES
        ZDIFF 1 a WEIGHTS 1
        ZADD i inf p -inf m
        ZADD j -inf p inf m
        ZUNION 2 i j WITHSCORES
        ZUNION 1 i WEIGHTS 0 WITHSCORES
        ZMPOP 1 a MIN
        ZMPOP 2 missing a MAX COUNT 5
        ZMPOP 1 missing MIN
        ZMPOP 0 b MIN
        ZMPOP 1 b
        ZMPOP 1 b FOO
        ZMPOP 1 b MIN COUNT 0
        ZMPOP 1 b MIN COUNT 1 COUNT 1
    """,
    "random members of sorted sets": """
        ZRANDMEMBER missing
        ZRANDMEMBER missing 3
        ZADD z 1.5 only
        ZRANDMEMBER z
        ZRANDMEMBER z 5
        ZRANDMEMBER z 5 WITHSCORES
        ZRANDMEMBER z -2 WITHSCORES
        ZRANDMEMBER z 0
        ZRANDMEMBER z x
        ZRANDMEMBER z 1 FOO
        ZRANDMEMBER z 1 WITHSCORES FOO
        ZRANDMEMBER z -9223372036854775808
        ZRANDMEMBER z 9223372036854775807 WITHSCORES
        ZSCAN z 0
        ZSCAN z 0 MATCH x*
        ZSCAN missing 0 FOO
        ZSCAN z 0 FOO
        ZSCAN z x
    """,
}
