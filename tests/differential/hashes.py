"""Hashes side by side: generated calls on few fields, and directed scripts; joined in `words` and `scripts`.

Fields are few, so that calls meet; one of them is too long for a packed hash.
"""

from __future__ import annotations

from hypothesis import strategies as st

from tests.differential.vocabulary import (
    BAD_NUMBERS,
    FLOATS,
    KEYS,
    NUMBERS,
    PATTERNS,
    VALUES,
    Calls,
    call,
    many,
    option,
    with_options,
    words,
)

FIELDS = st.sampled_from([b"f", b"g", b"h", b"1", b"-7", b"007", b"", b"\x00\xff\r\n", b"x" * 64, b"y" * 65])
_COUNTS = st.one_of(
    st.sampled_from([b"0", b"100", b"9223372036854775807", b"-9223372036854775808"]), BAD_NUMBERS
)


def of_hash(name: bytes, *arguments: st.SearchStrategy[bytes]) -> Calls:
    """Generate calls that name a key and then repeat these arguments."""
    return st.tuples(KEYS, many(name, *arguments)).map(lambda parts: [parts[1][0], parts[0], *parts[1][1:]])


HASH: dict[str, Calls] = {
    "hdel": of_hash(b"HDEL", FIELDS),
    "hexists": call(b"HEXISTS", KEYS, FIELDS),
    "hget": call(b"HGET", KEYS, FIELDS),
    "hgetall": call(b"HGETALL", KEYS),
    "hincrby": call(b"HINCRBY", KEYS, FIELDS, NUMBERS),
    "hincrbyfloat": call(b"HINCRBYFLOAT", KEYS, FIELDS, st.one_of(FLOATS, NUMBERS)),
    "hkeys": call(b"HKEYS", KEYS),
    "hlen": call(b"HLEN", KEYS),
    "hmget": of_hash(b"HMGET", FIELDS),
    "hmset": of_hash(b"HMSET", FIELDS, VALUES),
    # Only what is the same whatever is drawn.
    "hrandfield": st.one_of(
        call(b"HRANDFIELD", KEYS, _COUNTS),
        call(b"HRANDFIELD", KEYS, _COUNTS, st.sampled_from([b"WITHVALUES", b"withvalues", b"FOO"])),
    ),
    "hscan": with_options(
        call(b"HSCAN", KEYS, st.sampled_from([b"0", b"x", b""])),
        option(b"MATCH", PATTERNS),
        option(b"COUNT", st.sampled_from([b"1000", b"0", b"-1", b"x"])),
        words(b"FOO"),
    ),
    "hset": of_hash(b"HSET", FIELDS, VALUES),
    "hsetnx": call(b"HSETNX", KEYS, FIELDS, VALUES),
    "hstrlen": call(b"HSTRLEN", KEYS, FIELDS),
    "hvals": call(b"HVALS", KEYS),
}

HASH_SCRIPTS: dict[str, str] = {
    "hashes": """
        HSET h f 1 g 2
        HSET h f 3 i 4 f 5
        HGETALL h
        HSET h f
        HSET h f 1 g
        HMSET h f 1 g
        HMSET h a 1 b 2
        HMGET h a missing b
        HMGET missing a b
        HGET h a
        HGET h missing
        HGET missing a
        HSETNX h a 9
        HSETNX h z 9
        HDEL h z missing z
        HDEL missing z
        HLEN h
        HLEN missing
        HSTRLEN h a
        HSTRLEN h missing
        HEXISTS h a
        HEXISTS h missing
        HKEYS h
        HVALS h
        HKEYS missing
        TYPE h
        OBJECT ENCODING h
        HDEL h a b f g i
        EXISTS h
        TYPE h
    """,
    "hashes and other types": """
        SET s v
        HSET s f v
        HSETNX s f v
        HGET s f
        HMGET s f
        HDEL s f
        HLEN s
        HINCRBY s f 1
        HINCRBYFLOAT s f 1
        HSCAN s 0
        HRANDFIELD s
        HRANDFIELD s 2
        HSET h f v
        GET h
        MGET h s
        APPEND h x
        INCR h
        INCRBYFLOAT h 1
        STRLEN h
        GETRANGE h 0 -1
        SETRANGE h 0 x
        SETNX h x
        GETSET h x
        GETDEL h
        GETEX h
        SET h x GET
        HGETALL h
        SET h x
        GET h
        HSET h2 f v
        EXPIRE h2 1000
        HSET h2 g w
        TTL h2
        COPY h2 h3
        HSET h3 f other
        HGETALL h2
        HGETALL h3
        TTL h3
        RENAME h3 h4
        HGETALL h4
        PERSIST h4
    """,
    "counters in hashes": """
        HINCRBY h f 5
        HINCRBY h f -7
        HINCRBY h f x
        HINCRBY h f 1.5
        HSET h t text e 1e3 m 9223372036854775807
        HINCRBY h t 1
        HINCRBY h e 1
        HINCRBY h m 1
        HINCRBY h m -1
        HINCRBYFLOAT h x 10.5
        HINCRBYFLOAT h x 0.1
        HINCRBYFLOAT h e 5
        HINCRBYFLOAT h t 1
        HINCRBYFLOAT h x text
        HINCRBYFLOAT h x nan
        HGETALL h
    """,
    "hashes become tables": """
        CONFIG SET hash-max-listpack-entries 3
        HSET h a 1 b 2 c 3
        OBJECT ENCODING h
        HSET h a 4
        OBJECT ENCODING h
        HSET h d 4
        OBJECT ENCODING h
        HDEL h a b c
        OBJECT ENCODING h
        HGETALL h
        CONFIG SET hash-max-listpack-value 5
        HSET v f 12345
        OBJECT ENCODING v
        HSET v f 123456
        OBJECT ENCODING v
        HSET w 123456 v
        OBJECT ENCODING w
        HSET x f 12345
        HSETNX x f 1234567
        OBJECT ENCODING x
        HINCRBY y f 1234567
        OBJECT ENCODING y
        COPY v u
        OBJECT ENCODING u
        CONFIG SET hash-max-listpack-entries 512
        CONFIG SET hash-max-listpack-value 64
        CONFIG GET hash-max-*
        CONFIG SET hash-max-ziplist-entries 100
        CONFIG GET hash-max-listpack-entries
        CONFIG SET hash-max-ziplist-entries 512
    """,
    "random fields": """
        HRANDFIELD missing
        HRANDFIELD missing 3
        HSET h f v
        HRANDFIELD h
        HRANDFIELD h 5
        HRANDFIELD h 5 WITHVALUES
        HRANDFIELD h -3
        HRANDFIELD h -2 WITHVALUES
        HRANDFIELD h 0
        HRANDFIELD h x
        HRANDFIELD h 1 FOO
        HRANDFIELD h 1 WITHVALUES FOO
        HRANDFIELD h 9223372036854775807
        HRANDFIELD h -9223372036854775808
        HRANDFIELD h -9223372036854775807 WITHVALUES
        HRANDFIELD h 9223372036854775807 WITHVALUES
        HRANDFIELD h 99999999999999999999
    """,
    "scans of hashes": """
        HSCAN missing 0
        HSCAN missing x
        HSET h f 1 g 2 fg 3
        HSCAN h 0
        HSCAN h 0 MATCH f*
        HSCAN h 0 MATCH f* COUNT 1000
        HSCAN h 0 COUNT 0
        HSCAN h 0 COUNT x
        HSCAN h 0 COUNT
        HSCAN h 0 FOO
        HSCAN h x
    """,
}
