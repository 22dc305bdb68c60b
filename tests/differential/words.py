"""Hypothesis strategies for the arguments of commands: few keys, so that commands meet, and nasty values.

Each entry of `COMMANDS` generates calls of one command, most of them valid, some not. A module that declares
commands of another group adds its own table beside `STRING` and `GENERIC` and joins it in `COMMANDS`.
"""

from __future__ import annotations

from hypothesis import strategies as st

from redoubt.persist import payload

Call = list[bytes]
Calls = st.SearchStrategy[Call]

KEYS = st.sampled_from([b"a", b"b", b"c", b"{a}x", b"", b"a key", b"\x00\xff\r\n"])
NEW_KEYS = st.one_of(KEYS, st.binary(max_size=3))
INTEGERS = st.one_of(
    st.integers(-20, 20),
    st.sampled_from([2**63 - 1, -(2**63), 2**63, 2**31, -(2**31) - 1, 10**18]),
).map(lambda number: b"%d" % number)
BAD_NUMBERS = st.sampled_from(
    [b"", b" 1", b"1 ", b"+1", b"01", b"-0", b"1.0", b"0x10", b"ten", b"1e3", b"99999999999999999999", b"-"]
)
NUMBERS = st.one_of(INTEGERS, INTEGERS, INTEGERS, BAD_NUMBERS)
FLOATS = st.one_of(
    st.sampled_from(
        [b"0.1", b"-0.1", b"1e3", b"5.0e-3", b"3.", b".5", b"1e-18", b"12345678901234567.25", b"1e20", b"0.0",
         b"-0", b"inf", b"-inf", b"nan", b"1e400", b"1e5000", b"0x1p-4", b"1_0", b" 1.5", b"1.5 ", b"1.5e"]
    ),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**6), max_value=10**6, places=7).map(
        lambda number: str(number).encode()
    ),
)  # fmt: skip
VALUES = st.one_of(
    st.binary(max_size=8), INTEGERS, FLOATS, BAD_NUMBERS, st.sampled_from([b"x" * 44, b"y" * 45])
)
# Far enough away that nothing expires while a test runs, or already past; in seconds.
SECONDS = st.one_of(
    st.integers(1000, 5000), st.sampled_from([0, -1, -1000, 2**63 // 1000 - 10, 2**63 // 1000, 2**63 - 1])
).map(lambda number: b"%d" % number)
MILLISECONDS = st.one_of(
    st.integers(1_000_000, 5_000_000), st.sampled_from([0, -1, -(10**12), 2**63 - 10, 2**63 - 1, -(2**63)])
).map(lambda number: b"%d" % number)
FAR_SECONDS = st.sampled_from([b"33177117420", b"33177117421", b"1", b"0", b"-5", b"x"])
FAR_MILLISECONDS = st.sampled_from([b"33177117420000", b"33177117421000", b"1", b"0", b"-5", b"x"])
PATTERNS = st.one_of(
    st.sampled_from(
        [b"*", b"a*", b"*x", b"?", b"[a-c]", b"[^a]", b"\\*", b"[", b"[a", b"[^", b"**", b"{*}?", b""]
    ),
    st.text("*?ab[]^-\\x ", max_size=6).map(str.encode),
)


def call(name: bytes, *arguments: st.SearchStrategy[bytes]) -> Calls:
    """Generate calls with exactly these arguments."""
    return st.tuples(st.just(name), *arguments).map(list)


def many(name: bytes, *arguments: st.SearchStrategy[bytes], most: int = 4) -> Calls:
    """Generate calls that repeat these arguments once to `most` times."""
    group = st.tuples(*arguments)
    return st.lists(group, min_size=1, max_size=most).map(
        lambda groups: [name, *(word for words in groups for word in words)]
    )


def with_options(calls: Calls, *options: st.SearchStrategy[list[bytes]], most: int = 2) -> Calls:
    """Append up to `most` options to a call."""
    return st.tuples(calls, st.lists(st.one_of(*options), max_size=most)).map(
        lambda parts: [*parts[0], *(word for words in parts[1] for word in words)]
    )


def words(*texts: bytes) -> st.SearchStrategy[list[bytes]]:
    """Generate one of these single words, in either case."""
    return st.sampled_from([*texts, *(text.lower() for text in texts)]).map(lambda text: [text])


def option(name: bytes, argument: st.SearchStrategy[bytes]) -> st.SearchStrategy[list[bytes]]:
    """Generate an option with its argument, or rarely without."""
    return st.one_of(*[argument.map(lambda word: [name, word])] * 8, st.just([name]))


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

COMMANDS: dict[str, Calls] = {**STRING, **GENERIC}
