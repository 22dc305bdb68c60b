"""Sets side by side: generated calls on few members, and directed scripts; joined in `words` and `scripts`.

What is drawn at random is compared where it is the same whatever is drawn; that draws are even, and what is
left after SPOP, are tests of our own.
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
    st.integers(-3, 8).map(lambda number: b"%d" % number),
    st.sampled_from(
        [b"a", b"b", b"007", b"-0", b"", b"\x00\xff", b"x" * 65, b"40000", b"-9223372036854775808"]
    ),
)
_FAIR_COUNTS = st.one_of(st.sampled_from([b"0", b"100", b"9223372036854775807"]), BAD_NUMBERS)


def of_set(name: bytes, *arguments: st.SearchStrategy[bytes]) -> Calls:
    """Generate calls that name a key and then repeat these arguments."""
    return st.tuples(KEYS, many(name, *arguments)).map(lambda parts: [parts[1][0], parts[0], *parts[1][1:]])


def counted(name: bytes) -> Calls:
    """Generate calls that say how many keys follow, mostly rightly."""
    keys = st.lists(NEW_KEYS, min_size=1, max_size=3)
    return st.tuples(keys, st.sampled_from([0, 0, 0, 0, 1, -1, -5])).map(
        lambda parts: [name, b"%d" % (len(parts[0]) + parts[1]), *parts[0]]
    )


SET: dict[str, Calls] = {
    "sadd": of_set(b"SADD", MEMBERS),
    "scard": call(b"SCARD", KEYS),
    "sdiff": many(b"SDIFF", NEW_KEYS),
    "sdiffstore": many(b"SDIFFSTORE", KEYS),
    "sinter": many(b"SINTER", NEW_KEYS),
    "sintercard": with_options(
        counted(b"SINTERCARD"), option(b"LIMIT", st.one_of(NUMBERS, st.sampled_from([b"1", b"2"]))), most=1
    ),
    "sinterstore": many(b"SINTERSTORE", KEYS),
    "sismember": call(b"SISMEMBER", KEYS, MEMBERS),
    "smembers": call(b"SMEMBERS", KEYS),
    "smismember": of_set(b"SMISMEMBER", MEMBERS),
    "smove": call(b"SMOVE", KEYS, KEYS, MEMBERS),
    # Only what is the same whatever is drawn.
    "spop": st.one_of(call(b"SPOP", KEYS, _FAIR_COUNTS), call(b"SPOP", KEYS, st.just(b"-1"))),
    "srandmember": call(b"SRANDMEMBER", KEYS, _FAIR_COUNTS),
    "srem": of_set(b"SREM", MEMBERS),
    "sscan": with_options(
        call(b"SSCAN", KEYS, st.sampled_from([b"0", b"x"])),
        option(b"MATCH", PATTERNS),
        option(b"COUNT", st.sampled_from([b"1000", b"0", b"x"])),
        words(b"FOO"),
    ),
    "sunion": many(b"SUNION", NEW_KEYS),
    "sunionstore": many(b"SUNIONSTORE", KEYS),
}

SET_SCRIPTS: dict[str, str] = {
    "sets": """
        SADD s a b c a
        SADD s b d
        SMEMBERS s
        SCARD s
        SCARD missing
        SISMEMBER s a
        SISMEMBER s nope
        SISMEMBER missing a
        SMISMEMBER s a nope b
        SMISMEMBER missing a b
        SREM s a nope
        SREM missing a
        TYPE s
        SMOVE s other b
        SMOVE s other nope
        SMOVE s s c
        SMOVE s s nope
        SMOVE missing other b
        SMEMBERS other
        SREM s c d
        EXISTS s
        SADD s
        SREM s
        SMOVE s other
        SSCAN missing x
        SSCAN missing 0 FOO
        SSCAN other x
        SSCAN other 0 COUNT 0
        SSCAN other 0 FOO
        SSCAN other 0 NOVALUES
    """,
    "sets and other types": """
        SET k v
        SADD k a
        SREM k a
        SCARD k
        SISMEMBER k a
        SMISMEMBER k a
        SMEMBERS k
        SPOP k
        SPOP k 1
        SRANDMEMBER k
        SRANDMEMBER k 2
        SSCAN k 0
        SADD s a
        SINTER s k
        SINTER missing k
        SUNION s k
        SDIFF s k
        SDIFF missing k
        SINTERSTORE d s k
        SINTERCARD 2 s k
        SMOVE s k a
        SMOVE k s a
        SMOVE missing k a
        HSET s f v
        GET s
        HSET h f v
        SADD h x
        SUNIONSTORE k s
        SMEMBERS k
    """,
    "encodings of sets": """
        SADD i 3 1 2 -70000
        OBJECT ENCODING i
        SMEMBERS i
        SADD i 9223372036854775807 5000000000
        SMEMBERS i
        SREM i 2
        SMEMBERS i
        DUMP i
        SADD i text
        OBJECT ENCODING i
        SMEMBERS i
        SREM i text
        OBJECT ENCODING i
        CONFIG SET set-max-intset-entries 3
        SADD j 1 2 3
        OBJECT ENCODING j
        SADD j 3
        OBJECT ENCODING j
        SADD j 4
        OBJECT ENCODING j
        SADD k 1 2 3 4
        OBJECT ENCODING k
        CONFIG SET set-max-intset-entries 512
        SADD t a
        OBJECT ENCODING t
        SADD n 007
        OBJECT ENCODING n
        SADD m 9223372036854775808
        OBJECT ENCODING m
        COPY i i2
        SREM i2 1
        SMEMBERS i
        SMEMBERS i2
    """,
    "algebra of sets": """
        SADD a 1 2 3 4 x
        SADD b 2 3 x y
        SADD c 3 x z
        SINTER a b c
        SINTER a missing
        SINTER a
        SUNION a b c missing
        SDIFF a b
        SDIFF a a
        SDIFF a missing
        SDIFF missing a
        SDIFF a b c
        SINTERSTORE d a b
        SMEMBERS d
        SINTERSTORE d a missing
        EXISTS d
        SUNIONSTORE d a b
        SMEMBERS d
        SDIFFSTORE d d c
        SMEMBERS d
        SUNIONSTORE d missing
        EXISTS d
        SINTERCARD 2 a b
        SINTERCARD 2 a b LIMIT 1
        SINTERCARD 2 a b LIMIT 0
        SINTERCARD 2 a missing
        SINTERCARD 0 a b
        SINTERCARD x a b
        SINTERCARD 3 a b
        SINTERCARD -1 a b
        SINTERCARD 2 a b LIMIT -1
        SINTERCARD 2 a b LIMIT x
        SINTERCARD 2 a b LIMIT
        SINTERCARD 2 a b FOO 1
        EXPIRE a 1000
        SINTERSTORE a a b
        TTL a
    """,
    "random members": """
        SPOP missing
        SPOP missing 3
        SPOP missing 0
        SPOP missing -1
        SPOP missing x
        SRANDMEMBER missing
        SRANDMEMBER missing 3
        SRANDMEMBER missing x
        SADD s only
        SRANDMEMBER s
        SRANDMEMBER s 5
        SRANDMEMBER s -3
        SRANDMEMBER s 0
        SRANDMEMBER s 1 2
        SRANDMEMBER s -9223372036854775808
        SPOP s 0
        SPOP s -1
        SPOP s x
        SPOP s 1 2
        SPOP s
        EXISTS s
        SADD s only
        SPOP s 5
        EXISTS s
    """,
}
