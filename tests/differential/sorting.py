"""SORT and LCS side by side: generated calls over lists, sets, sorted sets and the keys that patterns name.

`words` and `scripts` join them. Where weights are equal or nothing orders a set, Redis promises no order, so
the generated calls give every element a weight of its own, and sets are asked with an order. Redis looks at
an errno that an earlier command may have left (any number too large for a double), and then refuses numbers
that are right; so among all commands only texts are sorted, and no number here is too large. Sorting unpacks
a sorted set in Redis but not here, so those here are never packed.
"""

from __future__ import annotations

from hypothesis import strategies as st

from tests.differential.vocabulary import (
    KEYS,
    NUMBERS,
    VALUES,
    Call,
    Calls,
    call,
    many,
    option,
    with_options,
    words,
)

NUMBERS_OR_TEXTS = st.one_of(
    st.integers(-9, 9).map(lambda number: b"%d" % number),
    st.sampled_from([b"1.5", b"-2.25", b"1e2", b"0x10", b"inf", b" 7", b"", b"a", b"b", b"nan"]),
)
_LIMIT = st.tuples(NUMBERS, NUMBERS).map(lambda pair: [b"LIMIT", *pair])
_ORDER = words(b"ASC", b"DESC")
_ALPHA = words(b"ALPHA")
# `w*` are the weights; `h*->f` is a field of a hash; the others name nothing, or the wrong type.
_PATTERNS = st.sampled_from([b"w*", b"h*->f", b"h*->", b"*", b"#", b"nope*", b"w*x", b"l*", b"fixed"])
_GET = option(b"GET", _PATTERNS)
_BY = option(b"BY", st.sampled_from([b"w*", b"h*->f", b"nope*", b"nosort"]))
_SORTED = st.sampled_from([b"list", b"list", b"zset", b"set", b"missing", b"w1"])


def _sort(name: bytes, *more: st.SearchStrategy[list[bytes]]) -> Calls:
    options = (_LIMIT, _ORDER, _ORDER, _ALPHA, _ALPHA, _GET, _GET, _BY, *more)
    return with_options(call(name, _SORTED), *options, most=5).filter(_has_one_order)


def _has_one_order(argv: Call) -> bool:
    """Say whether Redis promises an order: of texts without a weight it does not if a limit cuts them."""
    is_by = b"BY" in argv
    return not (is_by and (argv[1] == b"set" or (b"LIMIT" in argv and {b"ALPHA", b"alpha"} & {*argv})))


_FILLING: Calls = st.one_of(
    many(b"RPUSH", NUMBERS_OR_TEXTS).map(lambda argv: [argv[0], b"list", *argv[1:]]),
    many(b"SADD", NUMBERS_OR_TEXTS).map(lambda argv: [argv[0], b"set", *argv[1:]]),
    many(b"ZADD", st.integers(-5, 5).map(lambda score: b"%d" % score), NUMBERS_OR_TEXTS).map(
        lambda argv: [argv[0], b"zset", b"0", b"1" * 65, *argv[1:]]
    ),
)
# An element's weight is not another's: its own number, or its own bytes as a number.
_WEIGHING: Calls = NUMBERS_OR_TEXTS.map(
    lambda word: [b"SET", b"w" + word, b"%d" % int.from_bytes(word, "big")]
)
_FIELDS: Calls = NUMBERS_OR_TEXTS.map(
    lambda word: [b"HSET", b"h" + word, b"f", b"%d" % -int.from_bytes(word, "big")]
)
_LCS = with_options(
    call(b"LCS", KEYS, KEYS),
    words(b"LEN", b"IDX", b"WITHMATCHLEN"),
    words(b"IDX", b"WITHMATCHLEN", b"FOO"),
    option(b"MINMATCHLEN", st.one_of(NUMBERS, st.sampled_from([b"0", b"1", b"2"]))),
    most=3,
)

SORT: dict[str, Calls] = {
    "lcs": st.one_of(_LCS, _LCS, call(b"SET", KEYS, st.text("abc", max_size=40).map(str.encode))),
    "sort": st.one_of(_FILLING, _FILLING, _WEIGHING, _FIELDS, _sort(b"SORT"),
                      _sort(b"SORT", option(b"STORE", KEYS))),
    "sort_ro": _sort(b"SORT_RO", option(b"STORE", KEYS)),
}  # fmt: skip
AMONG_ALL: dict[str, Calls] = {
    "lcs": SORT["lcs"],
    "sort": st.one_of(_FILLING, _sort(b"SORT").map(lambda argv: [*argv, b"ALPHA"]).filter(_has_one_order)),
    "sort_ro": SORT["sort_ro"].map(lambda argv: [*argv, b"ALPHA"]).filter(_has_one_order),
}
LCS: dict[str, Calls] = {"lcs": SORT["lcs"], "set": call(b"SET", KEYS, VALUES)}

SORT_SCRIPTS: dict[str, str] = {
    "sorting": """
        RPUSH l 3 1 2 10 -1 2
        SORT l
        SORT l DESC
        SORT l ALPHA
        SORT l ALPHA DESC
        SORT l LIMIT 1 2
        SORT l LIMIT 1 -1
        SORT l LIMIT -1 2
        SORT l LIMIT 10 2
        SORT l LIMIT 0 0
        SORT l LIMIT 1
        SORT l LIMIT x 1
        SORT l LIMIT 1 9223372036854775808
        SORT l LIMIT 1 9223372036854775807
        SORT l BY nosort
        SORT l BY nosort DESC
        SORT l BY nosort LIMIT 1 2
        SORT l BY nosort DESC LIMIT 1 2
        SORT l BY nosort GET # GET nope
        SORT l BY
        SORT l GET
        SORT l FOO
        SORT l STORE
        SORT l STORE d
        LRANGE d 0 -1
        SORT l DESC LIMIT 0 2 STORE l
        LRANGE l 0 -1
        OBJECT ENCODING l
        SORT missing
        SORT missing STORE d
        EXISTS d
        SORT_RO d STORE e
        RPUSH texts b a c
        SORT texts
        SORT texts ALPHA
        SORT_RO texts ALPHA DESC
        RPUSH odd ' 1' 0x10 '' inf -inf 1.5
        SORT odd
        RPUSH odd nan
        SORT odd
        RPUSH odd '1 '
        SORT odd
        SET s v
        SORT s
        SORT s FOO
        HSET h a b
        SORT h
        ZADD z 3 a 1 b 2 c
        SORT z ALPHA
        SORT z ALPHA DESC LIMIT 0 2
        SORT z BY nosort
        SORT z BY nosort DESC
        SORT z BY nosort DESC LIMIT 1 1
        SORT z BY nosort LIMIT 1 1
        DEL z
        SADD members 5 3 1
        SORT members
        SORT members DESC
        SORT members BY nosort STORE d
        LRANGE d 0 -1
        SORT members BY nosort DESC STORE d
        LRANGE d 0 -1
        SORT l STORE s
        TYPE s
    """,
    "sorting by other keys": """
        RPUSH l 1 2 3 4
        MSET w1 40 w2 30 w3 20 w4 10 name1 one name2 two name3 three
        HSET h1 rank 2 text b
        HSET h2 rank 1 text a
        HSET h3 rank 4 text d
        SORT l BY w*
        SORT l BY w* DESC
        SORT l BY w* GET name*
        SORT l BY w* GET # GET name* GET w* LIMIT 1 2
        SORT l BY h*->rank GET h*->text
        SORT l BY h*->rank GET h*->nope GET h*-> GET h*
        SORT l BY h*->text ALPHA GET #
        SORT l BY name* ALPHA DESC LIMIT 0 3
        SORT l BY name*
        SORT l BY missing*
        SORT l BY missing* DESC
        SORT l GET w*->f GET *->f GET ->* GET h*->rank->x
        SORT l BY w* GET name* STORE d
        LRANGE d 0 -1
        SORT l GET #
        SORT l GET nope
        SORT l GET *1
        RPUSH names ame
        SORT names BY nosort GET n*1
        LPUSH wl x
        SORT l GET wl*
        EXPIRE l 1000
        SORT l STORE l
        TTL l
        COMMAND GETKEYS SORT l BY w* STORE d
        COMMAND GETKEYS SORT l GET STORE LIMIT 1 2 STORE d STORE e
        COMMAND GETKEYS SORT l
        COMMAND GETKEYS SORT_RO l BY w*
        COMMAND GETKEYSANDFLAGS SORT l BY w* STORE d
        COMMAND GETKEYSANDFLAGS SET k v GET
    """,
    "what strings have in common": """
        MSET a ohmytext b mynewtext
        LCS a b
        LCS a b LEN
        LCS a b IDX
        LCS a b IDX MINMATCHLEN 4
        LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN
        LCS a b IDX WITHMATCHLEN MINMATCHLEN -3
        LCS a b WITHMATCHLEN
        LCS a b LEN IDX
        LCS a b FOO
        LCS a b MINMATCHLEN
        LCS a b MINMATCHLEN x
        LCS a a IDX WITHMATCHLEN
        LCS a missing
        LCS a missing LEN
        LCS missing a IDX
        LCS missing other IDX
        SET n 12345
        SET m 23x45
        LCS n m IDX WITHMATCHLEN
        LPUSH l x
        LCS l a
        LCS a l LEN IDX
        SETRANGE big 20000 x
        LCS big big LEN
        COMMAND GETKEYS LCS a b IDX
    """,
}
