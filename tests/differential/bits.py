"""Bitmaps and HyperLogLogs side by side: generated calls on few keys, and directed scripts.

`words` and `scripts` join them. What BITCOUNT and BITPOS say to wrong words about a key that does not exist
changed with 7.2 (an error, no longer a number), so such calls are left to unit tests. A HyperLogLog is a
string: GET compares it byte by byte.
"""

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
    with_options,
)

OFFSETS = st.one_of(
    st.integers(0, 200).map(lambda number: b"%d" % number),
    st.sampled_from([b"0", b"7", b"8", b"-1", b"4294967296", b"99999999999", b"#1", b"1.0", b"", b"x"]),
)
FIELD_OFFSETS = st.one_of(OFFSETS, st.integers(0, 20).map(lambda number: b"#%d" % number))
BITS = st.sampled_from([b"0", b"1", b"0", b"1", b"0", b"1", b"2", b"-1", b"x"])
TYPES = st.one_of(
    st.integers(1, 64).map(lambda width: b"i%d" % width),
    st.integers(1, 63).map(lambda width: b"u%d" % width),
    st.sampled_from([b"u64", b"i65", b"i0", b"u0", b"8", b"i", b"", b"u08", b"I8"]),
)
INDEXES = st.one_of(st.integers(-200, 200), st.sampled_from([2**63 - 1, -(2**63), 0, -1])).map(
    lambda number: b"%d" % number
)
UNITS = st.sampled_from([b"BIT", b"BYTE", b"bit", b"byte"])
ELEMENTS = st.one_of(
    st.integers(0, 50).map(lambda number: b"%d" % number),
    st.binary(max_size=20),
    st.sampled_from([b"", b"a", b"12345678", b"123456789"]),
)
# Strings that are nearly HyperLogLogs.
NEARLY = st.sampled_from(
    [
        b"HYLL",
        b"HYLL\x01" + bytes(11),
        b"HYLL\x01" + bytes(10) + b"\x80\x7f\xff",
        b"HYLL\x01" + bytes(10) + b"\x80\x7f\xfe",
        b"HYLL\x01" + bytes(10) + b"\x80\x7f\xff\x00",
        b"HYLL\x02" + bytes(11),
        b"HYLL\x00" + bytes(11),
        b"HYLL\x00" + bytes(10) + b"\x80" + bytes(12288),
        b"HYLL\x00" + bytes(10) + b"\x80" + b"\x41" * 12288,
        b"HYLL\x00" + bytes(10) + b"\x80" + b"\xff" * 12288,
        b"hyll\x00" + bytes(10) + b"\x80" + bytes(12288),
    ]
)


def _indexed(name: bytes, *arguments: st.SearchStrategy[bytes]) -> Calls:
    """Generate calls with no, one or two indexes and perhaps a unit."""
    return st.one_of(
        call(name, *arguments),
        call(name, *arguments, INDEXES, INDEXES),
        call(name, *arguments, INDEXES, INDEXES, UNITS),
    )


_GET = st.tuples(st.sampled_from([b"GET", b"get"]), TYPES, FIELD_OFFSETS).map(list)
_CHANGE = st.tuples(st.sampled_from([b"SET", b"INCRBY", b"incrby"]), TYPES, FIELD_OFFSETS, NUMBERS).map(list)
_OVERFLOW = st.sampled_from([b"WRAP", b"SAT", b"FAIL", b"sat", b"fail", b"FOO"]).map(
    lambda word: [b"OVERFLOW", word]
)

BITMAP: dict[str, Calls] = {
    "bitcount": _indexed(b"BITCOUNT", KEYS),
    "bitfield": with_options(call(b"BITFIELD", KEYS), _GET, _CHANGE, _CHANGE, _OVERFLOW, most=4),
    "bitfield_ro": with_options(call(b"BITFIELD_RO", KEYS), _GET, _GET, _GET, _CHANGE, most=3),
    "bitop": st.one_of(
        many(b"BITOP", NEW_KEYS).map(
            lambda words: [words[0], b"AND", *words[1:]] if len(words) > 2 else [*words, words[1]]
        ),
        st.tuples(
            st.sampled_from([b"AND", b"or", b"XOR", b"NOT", b"FOO"]),
            st.lists(KEYS, min_size=2, max_size=4),
        ).map(lambda parts: [b"BITOP", parts[0], *parts[1]]),
    ),
    "bitpos": st.one_of(_indexed(b"BITPOS", KEYS, st.sampled_from([b"0", b"1"])),
                        call(b"BITPOS", KEYS, st.sampled_from([b"0", b"1"]), INDEXES)),
    "getbit": call(b"GETBIT", KEYS, OFFSETS),
    "setbit": call(b"SETBIT", KEYS, OFFSETS.filter(lambda word: len(word) < 10), BITS),
}  # fmt: skip

HYPERLOGLOG: dict[str, Calls] = {
    "pfadd": st.one_of(
        call(b"PFADD", KEYS),
        many(b"PFADD", ELEMENTS, most=20).flatmap(
            lambda words: KEYS.map(lambda key: [words[0], key, *words[1:]])
        ),
        call(b"SET", KEYS, NEARLY),
    ),
    "pfcount": many(b"PFCOUNT", KEYS),
    "pfdebug": call(
        b"PFDEBUG", st.sampled_from([b"ENCODING", b"decode", b"GETREG", b"TODENSE", b"FOO"]), KEYS
    ),
    "pfmerge": st.one_of(many(b"PFMERGE", KEYS), call(b"PFMERGE", KEYS)),
    "pfselftest": call(b"PFSELFTEST", BAD_NUMBERS),
}

BIT_SCRIPTS: dict[str, str] = {
    "single bits": """
        SETBIT b 7 1
        SETBIT b 7 1
        GETBIT b 7
        GETBIT b 6
        GETBIT b 100000
        GETBIT missing 5
        GET b
        SETBIT b 100 0
        STRLEN b
        SETBIT b 0 2
        SETBIT b 0 x
        SETBIT b -1 1
        SETBIT b x 1
        SETBIT b 4294967296 1
        GETBIT b 4294967296
        GETBIT b 4294967295
        GETBIT b -1
        GETBIT b #1
        SET n 12
        GETBIT n 3
        GETBIT n 2
        SETBIT n 6 1
        GET n
        LPUSH l a
        SETBIT l 0 1
        GETBIT l 0
        SETEX t 1000 abc
        SETBIT t 0 1
        TTL t
        OBJECT ENCODING t
        GET t
    """,
    "counting and finding bits": """
        SET b foobar
        BITCOUNT b
        BITCOUNT b 0 0
        BITCOUNT b 1 1
        BITCOUNT b 0 -5
        BITCOUNT b -2 -1
        BITCOUNT b -1 -2
        BITCOUNT b 5 30 BIT
        BITCOUNT b 5 5 bit
        BITCOUNT b 0 -1 BYTE
        BITCOUNT b 100 200
        BITCOUNT b 3
        BITCOUNT b x 1
        BITCOUNT b 0 x
        BITCOUNT b 0 1 FOO
        BITCOUNT b 0 1 BIT FOO
        BITCOUNT missing
        BITCOUNT missing 0 1 BIT
        BITPOS b 1
        BITPOS b 0
        BITPOS b 1 2
        BITPOS b 0 2 3
        BITPOS b 1 7 15 BIT
        BITPOS b 1 2 1
        BITPOS b 2
        BITPOS b x
        BITPOS b 1 x
        BITPOS b 1 0 x
        BITPOS b 1 0 1 FOO
        BITPOS b 1 0 1 BIT FOO
        BITPOS missing 1
        BITPOS missing 0
        BITPOS missing 0 5 6
        SETBIT ones 0 1
        BITFIELD ones SET i16 0 -1
        BITPOS ones 0
        BITPOS ones 0 0 -1
        BITPOS ones 0 1
        BITPOS ones 0 3
        BITPOS ones 0 0 15 BIT
        SETBIT zeros 20000 0
        BITPOS zeros 1
        BITPOS zeros 1 -1
        BITPOS zeros 0 -1
        BITCOUNT zeros
        SET empty ''
        BITPOS empty 1
        BITPOS empty 0
        BITPOS empty 0 0 -1
        BITCOUNT empty
        BITCOUNT empty 0 -1
        LPUSH l a
        BITCOUNT l
        BITPOS l 1
    """,
    "combining bits": """
        SET a foobar
        SET b abcdefghi
        SET n 255
        BITOP AND d a b
        GET d
        BITOP or d a b n
        GET d
        BITOP XOR d a b
        GET d
        BITOP NOT d a
        GET d
        BITOP NOT d a b
        BITOP NAND d a b
        BITOP AND d missing
        EXISTS d
        BITOP AND d missing missing
        BITOP AND d a missing
        GET d
        BITOP NOT d missing
        EXISTS d
        SETEX a 1000 xyz
        BITOP AND a a b
        TTL a
        LPUSH l a
        BITOP AND d a l
        BITOP AND l a b
        TYPE l
    """,
    "bitfields": """
        BITFIELD f SET i8 0 -1 GET u8 0
        BITFIELD f INCRBY u2 100 1 OVERFLOW SAT INCRBY u2 102 1
        BITFIELD f INCRBY u2 100 1 OVERFLOW SAT INCRBY u2 102 1
        BITFIELD f INCRBY u2 100 1 OVERFLOW SAT INCRBY u2 102 1
        BITFIELD f INCRBY u2 100 1 OVERFLOW SAT INCRBY u2 102 1
        BITFIELD f OVERFLOW FAIL INCRBY u2 102 1
        GET f
        BITFIELD f GET u8 #1 GET i5 3 GET i64 #0
        BITFIELD f SET u8 #2 300
        BITFIELD f OVERFLOW SAT SET u8 #2 300 SET u8 #3 -1 SET i8 #4 -300 SET i8 #5 300
        BITFIELD f OVERFLOW FAIL SET u8 #2 300 SET u8 #3 -1 SET u8 #3 7
        BITFIELD f GET u8 #2 GET u8 #3 GET i8 #4 GET i8 #5
        BITFIELD f SET i64 #3 9223372036854775807 INCRBY i64 #3 1
        BITFIELD f OVERFLOW SAT SET i64 #3 9223372036854775807 INCRBY i64 #3 1 INCRBY i64 #3 -1
        BITFIELD f SET u63 1 -1 INCRBY u63 1 1 INCRBY u63 1 -1
        BITFIELD f INCRBY i5 3 -9223372036854775808
        BITFIELD f OVERFLOW SAT INCRBY i5 3 9223372036854775807
        GET f
        BITFIELD f
        BITFIELD f GET u64 0
        BITFIELD f GET i65 0
        BITFIELD f GET i0 0
        BITFIELD f GET 8 0
        BITFIELD f GET u8 -1
        BITFIELD f GET u8 x
        BITFIELD f GET u8 4294967296
        BITFIELD f GET u8
        BITFIELD f SET u8 0
        BITFIELD f SET u8 0 x
        BITFIELD f FOO u8 0
        BITFIELD f OVERFLOW
        BITFIELD f OVERFLOW FOO
        BITFIELD f OVERFLOW FOO GET u8
        BITFIELD missing GET u8 0
        EXISTS missing
        BITFIELD grown OVERFLOW FAIL SET u8 100 300
        STRLEN grown
        BITFIELD_RO f GET u8 0 GET i4 #3
        BITFIELD_RO f SET u8 0 1
        BITFIELD_RO f
        BITFIELD_RO missing GET u8 0
        SET n 10
        BITFIELD n GET u8 0 SET u8 0 50
        GET n
        LPUSH l a
        BITFIELD l GET u8 0
        BITFIELD l SET u8 0 1
        BITFIELD_RO l GET u8 0
    """,
    "hyperloglogs": """
        PFADD h a b c d e f g
        PFADD h a
        PFADD h
        PFADD new
        EXISTS new
        GET new
        GET h
        PFCOUNT h
        GET h
        PFCOUNT new
        GET new
        PFCOUNT missing
        PFCOUNT h new missing
        PFADD other 1 2 3 a
        PFCOUNT h other
        PFMERGE m h other missing
        GET m
        PFCOUNT m
        PFMERGE m
        GET m
        PFMERGE fresh
        GET fresh
        PFMERGE h other
        GET h
        PFDEBUG ENCODING h
        PFDEBUG DECODE h
        PFDEBUG TODENSE h
        PFDEBUG TODENSE h
        PFDEBUG DECODE h
        PFDEBUG ENCODING h
        PFDEBUG GETREG h
        PFDEBUG FOO h
        PFDEBUG ENCODING missing
        GET h
        PFADD h x y z
        GET h
        PFMERGE m h
        GET m
        PFMERGE h other
        GET h
        PFCOUNT h
        OBJECT ENCODING h
        SET s text
        PFADD s a
        PFCOUNT s
        PFCOUNT h s
        PFMERGE d s
        PFMERGE s h
        PFDEBUG ENCODING s
        SET s 12345
        PFADD s a
        LPUSH l a
        PFADD l a
        PFCOUNT l
        PFMERGE l h
        PFDEBUG ENCODING l
        PFSELFTEST
        CONFIG SET hll-sparse-max-bytes 20
        PFADD tight a b c d
        PFDEBUG ENCODING tight
        GET tight
        CONFIG SET hll-sparse-max-bytes 3000
    """,
}
