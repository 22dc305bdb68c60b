"""Lists side by side: generated calls on few elements, and directed scripts; joined in `words`, `scripts`."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.differential.vocabulary import (
    BAD_NUMBERS,
    KEYS,
    NEW_KEYS,
    NUMBERS,
    Calls,
    call,
    many,
    option,
    with_options,
    words,
)

ELEMENTS = st.one_of(
    st.integers(-3, 6).map(lambda number: b"%d" % number),
    st.sampled_from([b"a", b"b", b"007", b"", b"\x00\xff", b"x" * 70, b"y" * 3000]),
)
ENDS = st.sampled_from([b"LEFT", b"RIGHT", b"left", b"rIGHT", b"LEFT", b"RIGHT", b"FOO"])
_COUNTS = st.one_of(st.sampled_from([b"0", b"1", b"2", b"100", b"-1"]), BAD_NUMBERS)


def of_list(name: bytes, *arguments: st.SearchStrategy[bytes]) -> Calls:
    """Generate calls that name a key and then repeat these arguments."""
    return st.tuples(KEYS, many(name, *arguments)).map(lambda parts: [parts[1][0], parts[0], *parts[1][1:]])


_LMPOP = st.tuples(
    st.lists(NEW_KEYS, min_size=1, max_size=3), st.sampled_from([0, 0, 0, 0, 1, -1, -5]), ENDS
).map(lambda parts: [b"LMPOP", b"%d" % (len(parts[0]) + parts[1]), *parts[0], parts[2]])

LIST: dict[str, Calls] = {
    "lindex": call(b"LINDEX", KEYS, NUMBERS),
    "linsert": call(b"LINSERT", KEYS, st.sampled_from([b"BEFORE", b"after", b"FOO"]), ELEMENTS, ELEMENTS),
    "llen": call(b"LLEN", KEYS),
    "lmove": call(b"LMOVE", KEYS, KEYS, ENDS, ENDS),
    "lmpop": with_options(_LMPOP, option(b"COUNT", _COUNTS), words(b"FOO")),
    "lpop": st.one_of(call(b"LPOP", KEYS), call(b"LPOP", KEYS, _COUNTS)),
    "lpos": with_options(
        call(b"LPOS", KEYS, ELEMENTS),
        # The lowest rank overflows in 7.0; since 7.2 it is refused, as here.
        option(b"RANK", NUMBERS.filter(lambda number: number != b"-9223372036854775808")),
        option(b"COUNT", NUMBERS),
        option(b"MAXLEN", NUMBERS),
        words(b"FOO"),
        most=3,
    ),
    "lpush": of_list(b"LPUSH", ELEMENTS),
    "lpushx": of_list(b"LPUSHX", ELEMENTS),
    "lrange": call(b"LRANGE", KEYS, NUMBERS, NUMBERS),
    "lrem": call(b"LREM", KEYS, NUMBERS, ELEMENTS),
    "lset": call(b"LSET", KEYS, NUMBERS, ELEMENTS),
    "ltrim": call(b"LTRIM", KEYS, NUMBERS, NUMBERS),
    "rpop": st.one_of(call(b"RPOP", KEYS), call(b"RPOP", KEYS, _COUNTS)),
    "rpoplpush": call(b"RPOPLPUSH", KEYS, KEYS),
    "rpush": of_list(b"RPUSH", ELEMENTS),
    "rpushx": of_list(b"RPUSHX", ELEMENTS),
}

LIST_SCRIPTS: dict[str, str] = {
    "lists": """
        RPUSH l a b c
        LPUSH l z y
        LRANGE l 0 -1
        LRANGE l 1 2
        LRANGE l -2 -1
        LRANGE l 5 10
        LRANGE l 3 1
        LRANGE l -100 100
        LRANGE missing 0 -1
        LRANGE l x 1
        LLEN l
        LLEN missing
        LINDEX l 0
        LINDEX l -1
        LINDEX l 99
        LINDEX l -99
        LINDEX missing x
        LINDEX l x
        LSET l 0 first
        LSET l -1 last
        LSET l 99 x
        LSET l x y
        LSET missing 0 x
        LSET missing x y
        LINSERT l BEFORE b new
        LINSERT l after b newer
        LINSERT l BEFORE nope x
        LINSERT l FOO b x
        LINSERT missing BEFORE b x
        LRANGE l 0 -1
        LPUSHX l head
        RPUSHX l tail
        LPUSHX missing x
        RPUSHX missing x
        EXISTS missing
        LPOP l
        RPOP l
        LPOP l 2
        RPOP l 2
        LPOP l 0
        LPOP l -1
        LPOP l x
        LPOP l 1 2
        RPOP l 1 2
        LPOP missing
        LPOP missing 0
        LPOP missing 1
        RPOP l 100
        EXISTS l
        TYPE l
    """,
    "lists and other types": """
        SET k v
        LPUSH k a
        RPUSHX k a
        LPOP k
        LPOP k 1
        LPOP k 0
        LRANGE k 0 -1
        LLEN k
        LINDEX k 0
        LSET k 0 a
        LINSERT k BEFORE a b
        LREM k 0 a
        LTRIM k 0 1
        LPOS k a
        LMOVE k l LEFT LEFT
        LMPOP 1 k LEFT
        RPUSH l a
        LMOVE l k LEFT LEFT
        RPOPLPUSH l k
        LMPOP 2 missing k LEFT
        LRANGE l 0 -1
        SADD l x
        HSET l f v
        GET l
    """,
    "removing from lists": """
        RPUSH l a b a c a d a
        LREM l 2 a
        LRANGE l 0 -1
        LREM l -1 a
        LRANGE l 0 -1
        LREM l 0 nope
        LREM l x a
        LREM missing 0 a
        LREM l 0 a
        LRANGE l 0 -1
        LREM l -9223372036854775808 b
        LTRIM l 0 0
        LRANGE l 0 -1
        LTRIM l 5 9
        EXISTS l
        LTRIM missing 0 1
        LTRIM l x 1
        RPUSH l a b c d e f
        LTRIM l -3 -2
        LRANGE l 0 -1
        LREM l 0 d
        LREM l 0 e
        EXISTS l
    """,
    "positions in lists": """
        RPUSH l a b c 1 2 3 c c
        LPOS l c
        LPOS l c RANK 2
        LPOS l c RANK -1
        LPOS l c RANK -3
        LPOS l c RANK 4
        LPOS l c COUNT 2
        LPOS l c COUNT 0
        LPOS l c RANK -1 COUNT 2
        LPOS l c COUNT 0 MAXLEN 3
        LPOS l c RANK -1 COUNT 0 MAXLEN 1
        LPOS l c MAXLEN 0
        LPOS l nope
        LPOS l nope COUNT 1
        LPOS missing a
        LPOS missing a COUNT 1
        LPOS l c RANK 0
        LPOS l c RANK x
        LPOS l c COUNT -1
        LPOS l c COUNT x
        LPOS l c MAXLEN -1
        LPOS l c FOO 1
        LPOS l c RANK
    """,
    "moving between lists": """
        RPUSH a 1 2 3
        LMOVE a b LEFT RIGHT
        LMOVE a b RIGHT LEFT
        LMOVE a a LEFT RIGHT
        LMOVE b b LEFT RIGHT
        LMOVE b b left right
        LMOVE missing b LEFT LEFT
        LMOVE a b FOO LEFT
        LMOVE a b LEFT
        RPOPLPUSH a b
        EXISTS a
        RPOPLPUSH a b
        LRANGE b 0 -1
        LMPOP 1 b LEFT
        LMPOP 2 missing b RIGHT COUNT 5
        LMPOP 1 missing LEFT
        RPUSH c 1 2 3
        LMPOP 0 c LEFT
        LMPOP x c LEFT
        LMPOP 2 c LEFT
        LMPOP 1 c
        LMPOP 1 c FOO
        LMPOP 1 c LEFT COUNT 0
        LMPOP 1 c LEFT COUNT -1
        LMPOP 1 c LEFT COUNT x
        LMPOP 1 c LEFT COUNT
        LMPOP 1 c LEFT COUNT 1 COUNT 1
        LMPOP 1 c LEFT FOO
        LRANGE c 0 -1
        EXPIRE c 1000
        RPUSH c 4
        TTL c
        COPY c d
        RPUSH d 5
        LRANGE c 0 -1
    """,
}
