"""Hypothesis strategies for whole calls, a table for each group of commands.

Each entry of `COMMANDS` generates calls of one command, most of them valid, some not. A module that declares
commands of another group adds its own table beside `STRING` and `GENERIC` and joins it in `COMMANDS`.
"""

from __future__ import annotations

from hypothesis import strategies as st

from redoubt.persist import payload
from tests.differential.bits import BITMAP, HYPERLOGLOG
from tests.differential.geos import GEO
from tests.differential.hashes import HASH
from tests.differential.lists import LIST
from tests.differential.sets import SET
from tests.differential.sorted_sets import SORTED_SET
from tests.differential.sorting import AMONG_ALL as SORT
from tests.differential.streams import STREAM
from tests.differential.vocabulary import (
    BAD_NUMBERS,
    FAR_MILLISECONDS,
    FAR_SECONDS,
    FLOATS,
    KEYS,
    MILLISECONDS,
    NEW_KEYS,
    NUMBERS,
    PATTERNS,
    SECONDS,
    VALUES,
    Calls,
    call,
    many,
    option,
    with_options,
    words,
)

_TIMES = (
    option(b"EX", SECONDS),
    option(b"PX", MILLISECONDS),
    option(b"EXAT", FAR_SECONDS),
    option(b"PXAT", FAR_MILLISECONDS),
)
_CONDITION = words(b"NX", b"XX", b"GT", b"LT")
_DATABASES = st.sampled_from([b"0", b"1", b"2", b"-1", b"99", b"x", b"99999999999"])

STRING: dict[str, Calls] = {
    "append": call(b"APPEND", KEYS, VALUES),
    "decr": call(b"DECR", KEYS),
    "decrby": call(b"DECRBY", KEYS, NUMBERS),
    "get": call(b"GET", KEYS),
    "getdel": call(b"GETDEL", KEYS),
    "getex": with_options(call(b"GETEX", KEYS), words(b"PERSIST", b"NX"), *_TIMES),
    "getrange": call(b"GETRANGE", KEYS, NUMBERS, NUMBERS),
    "getset": call(b"GETSET", KEYS, VALUES),
    "incr": call(b"INCR", KEYS),
    "incrby": call(b"INCRBY", KEYS, NUMBERS),
    "incrbyfloat": call(b"INCRBYFLOAT", KEYS, st.one_of(FLOATS, NUMBERS)),
    "mget": many(b"MGET", NEW_KEYS),
    "mset": many(b"MSET", KEYS, VALUES),
    "msetnx": many(b"MSETNX", NEW_KEYS, VALUES),
    "psetex": call(b"PSETEX", KEYS, st.one_of(MILLISECONDS, BAD_NUMBERS), VALUES),
    "set": with_options(
        call(b"SET", KEYS, VALUES), words(b"NX", b"XX", b"GET", b"KEEPTTL", b"FOO"), *_TIMES, most=3
    ),
    "setex": call(b"SETEX", KEYS, st.one_of(SECONDS, BAD_NUMBERS), VALUES),
    "setnx": call(b"SETNX", NEW_KEYS, VALUES),
    "setrange": call(
        b"SETRANGE", KEYS, st.sampled_from([b"0", b"3", b"60", b"-1", b"536870912", b"x", b"01"]), VALUES
    ),
    "strlen": call(b"STRLEN", KEYS),
    "substr": call(b"SUBSTR", KEYS, NUMBERS, NUMBERS),
}

# Payloads that both servers read, that both distrust, and that both find bad behind a right checksum.
_PAYLOADS = st.one_of(
    VALUES.map(payload.dump),
    st.binary(max_size=40).map(lambda text: payload.dump(text * 20)),
    st.binary(max_size=30),
    st.one_of(
        VALUES, st.sampled_from([b"\x00\x05ab", b"\x00\xc0", b"\xfc", b"\x00\xc3\x01", b"\x00\x01ab"])
    ).map(payload.sealed),
    VALUES.map(lambda value: payload.dump(value)[:-1] + b"?"),
    VALUES.map(lambda value: payload.sealed(payload.dump(value)[:-10], 13)),
)
_RESTORE = (
    words(b"REPLACE", b"ABSTTL", b"FOO"),
    words(b"REPLACE"),
    option(b"IDLETIME", st.sampled_from([b"0", b"1000", b"-1", b"x"])),
    option(b"FREQ", st.sampled_from([b"0", b"255", b"256", b"-1", b"x"])),
)
_RESTORE_TTL = st.one_of(st.just(b"0"), MILLISECONDS, FAR_MILLISECONDS, BAD_NUMBERS)

GENERIC: dict[str, Calls] = {
    "copy": with_options(
        call(b"COPY", KEYS, KEYS), words(b"REPLACE", b"FOO"), option(b"DB", _DATABASES), most=2
    ),
    "dbsize": call(b"DBSIZE"),
    "del": many(b"DEL", KEYS),
    "dump": call(b"DUMP", KEYS),
    "exists": many(b"EXISTS", KEYS),
    "expire": with_options(call(b"EXPIRE", KEYS, st.one_of(SECONDS, BAD_NUMBERS)), _CONDITION),
    "expireat": with_options(call(b"EXPIREAT", KEYS, FAR_SECONDS), _CONDITION),
    "expiretime": call(b"EXPIRETIME", KEYS),
    "flushall": with_options(call(b"FLUSHALL"), words(b"SYNC", b"ASYNC", b"FOO"), most=1),
    "flushdb": with_options(call(b"FLUSHDB"), words(b"SYNC", b"ASYNC", b"FOO"), most=1),
    "keys": call(b"KEYS", PATTERNS),
    # Nobody listens at these ports: what moves is judged between processes.
    "migrate": with_options(
        call(
            b"MIGRATE",
            st.just(b"127.0.0.1"),
            st.sampled_from([b"1", b"x", b"0"]),
            KEYS,
            _DATABASES,
            st.sampled_from([b"100", b"0", b"-5", b"x"]),
        ),
        words(b"COPY", b"REPLACE", b"FOO"),
        words(b"AUTH"),
        option(b"AUTH", VALUES),
        option(b"KEYS", KEYS),
        most=3,
    ),
    "move": call(b"MOVE", KEYS, _DATABASES),
    "object": st.one_of(
        call(b"OBJECT", st.sampled_from([b"REFCOUNT", b"IDLETIME", b"FREQ", b"encoding", b"FOO"]), NEW_KEYS),
        call(b"OBJECT", st.sampled_from([b"ENCODING", b"IDLETIME"])),
    ),
    "persist": call(b"PERSIST", KEYS),
    "pexpire": with_options(call(b"PEXPIRE", KEYS, st.one_of(MILLISECONDS, BAD_NUMBERS)), _CONDITION),
    "pexpireat": with_options(call(b"PEXPIREAT", KEYS, FAR_MILLISECONDS), _CONDITION),
    "pexpiretime": call(b"PEXPIRETIME", KEYS),
    "pttl": call(b"PTTL", KEYS),
    "randomkey": call(b"RANDOMKEY"),
    "rename": call(b"RENAME", KEYS, KEYS),
    "renamenx": call(b"RENAMENX", KEYS, KEYS),
    "restore": with_options(call(b"RESTORE", KEYS, _RESTORE_TTL, _PAYLOADS), *_RESTORE, most=3),
    "swapdb": call(b"SWAPDB", _DATABASES, _DATABASES),
    "touch": many(b"TOUCH", KEYS),
    "ttl": call(b"TTL", KEYS),
    "type": call(b"TYPE", KEYS),
    "unlink": many(b"UNLINK", KEYS),
    # Without replicas only a call that waits for none returns.
    "wait": call(b"WAIT", st.sampled_from([b"0", b"-5", b"x"]), st.sampled_from([b"0", b"10", b"-1", b"x"])),
}

COMMANDS: dict[str, Calls] = {
    **STRING,
    **GENERIC,
    **HASH,
    **SET,
    **LIST,
    **SORTED_SET,
    **STREAM,
    **BITMAP,
    **HYPERLOGLOG,
    **GEO,
    **SORT,
}
