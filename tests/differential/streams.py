"""Streams side by side: generated calls on few ids and groups, directed scripts, and what counts as the same.

`words` and `scripts` join them. Ids are given, since the clocks of two servers differ; so do times of
delivery, of which only is asked whether they are near. The number of nodes of a radix tree is left out, since
we have none, and what 7.0 does otherwise than 7.2 and later: how far groups lag after deletions, and that a
claim of nothing makes a consumer. A newer judge is asked for these in
`tests/redoubt/commands/test_stream_judged.py`.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from redoubt.resp.replies import MapReply
from tests.differential.vocabulary import (
    BAD_NUMBERS,
    INTEGERS,
    KEYS,
    VALUES,
    Calls,
    call,
    many,
    option,
    with_options,
    words,
)

# Of the fields of XINFO: what differs by nature, and what 7.0 does otherwise.
DIFFERENT = {b"radix-tree-nodes", b"seen-time", b"active-time", b"idle", b"inactive"}
DIFFERENT_IN_7_0 = {b"lag", b"entries-read"}
# Who claims in generated calls, so that one can look away from it.
CLAIMER = b"claimer"
# Idle times and absolute times lie so far apart that a slow machine does not blur them.
LONG_MS = 10_000_000
ABSOLUTE_MS = 1_000_000_000_000

_GOOD_IDS = st.tuples(st.integers(0, 9), st.integers(0, 2)).map(lambda pair: b"%d-%d" % pair)
_SHORT_IDS = st.integers(0, 9).map(lambda number: b"%d" % number)
_NEW_IDS = st.integers(1, 12).map(lambda number: b"%d-*" % number)
_ODD_IDS = st.sampled_from(
    [
        b"-",
        b"+",
        b"$",
        b">",
        b"",
        b"1-",
        b"-1",
        b"01-02",
        b"+3-1",
        b" 4",
        b"4 ",
        b"1-1-1",
        b"1--1",
        b"1-x",
        b"x-1",
        b"5-*",
        b"0-0",
        b"18446744073709551615",
        b"18446744073709551616-0",
        b"1-18446744073709551615",
        b"1" * 200,
    ]
)
IDS = st.one_of(_GOOD_IDS, _GOOD_IDS, _GOOD_IDS, _SHORT_IDS, _ODD_IDS)
ADDED_IDS = st.one_of(_NEW_IDS, _NEW_IDS, _NEW_IDS, _GOOD_IDS, _ODD_IDS)
BOUNDS = st.one_of(
    IDS,
    st.sampled_from(
        [b"-", b"+", b"-", b"+", b"(", b"(-", b"(+", b"(18446744073709551615-18446744073709551615"]
    ),
    IDS.map(lambda text: b"(" + text),
)
GROUPS = st.sampled_from([b"g", b"g", b"h", b""])
CONSUMERS = st.sampled_from([b"alice", b"bob", b"", b"a b"])
COUNTS = st.one_of(st.sampled_from([b"0", b"1", b"2", b"100", b"-1"]), BAD_NUMBERS)
_FEW = st.one_of(st.integers(0, 6).map(lambda number: b"%d" % number), BAD_NUMBERS, INTEGERS)
_LIMITS = st.one_of(st.sampled_from([b"0", b"1", b"5", b"100", b"-1"]), BAD_NUMBERS)
_IDLE = st.one_of(st.sampled_from([b"0", b"0", b"-5", b"%d" % LONG_MS]), BAD_NUMBERS)
_FIELDS = st.sampled_from([b"f", b"g", b"12", b""])


def _trim(name: bytes, threshold: st.SearchStrategy[bytes]) -> st.SearchStrategy[list[bytes]]:
    operator: st.SearchStrategy[list[bytes]] = st.sampled_from([[], [], [b"="], [b"~"], [b"~"]])
    limit: st.SearchStrategy[list[bytes]] = st.one_of(
        st.just([]), st.just([]), _LIMITS.map(lambda number: [b"LIMIT", number])
    )
    return st.tuples(operator, threshold, limit).map(lambda parts: [name, *parts[0], parts[1], *parts[2]])


TRIMS = st.one_of(
    _trim(b"MAXLEN", _FEW), _trim(b"MINID", IDS), st.just([b"LIMIT", b"5"]), st.just([b"MAXLEN"])
)


def _xadd(key: bytes, options: list[list[bytes]], entry_id: bytes, pairs: list[bytes]) -> list[bytes]:
    return [b"XADD", key, *(word for option in options for word in option), entry_id, *pairs]


def _streams(head: Calls, ids: st.SearchStrategy[bytes]) -> Calls:
    """Append STREAMS with as many ids as keys."""
    pairs = st.lists(st.tuples(KEYS, ids), min_size=1, max_size=2)
    return st.tuples(head, pairs).map(
        lambda parts: [
            *parts[0], b"STREAMS", *(key for key, _ in parts[1]), *(entry_id for _, entry_id in parts[1])
        ]
    )  # fmt: skip


_COUNT = option(b"COUNT", COUNTS)
_CLAIM_OPTIONS = (
    option(b"IDLE", _IDLE),
    option(b"TIME", st.one_of(st.just(b"%d" % ABSOLUTE_MS), BAD_NUMBERS)),
    option(b"RETRYCOUNT", st.one_of(st.sampled_from([b"0", b"3", b"-1"]), BAD_NUMBERS)),
    option(b"LASTID", IDS),
    words(b"FORCE", b"FORCE", b"JUSTID", b"FOO"),
)
_GROUP_OPTIONS = (
    words(b"MKSTREAM", b"MKSTREAM", b"FOO"),
    option(b"ENTRIESREAD", st.one_of(st.sampled_from([b"0", b"1", b"5", b"-1", b"-2"]), BAD_NUMBERS)),
)
_READ_OPTIONS = (_COUNT, words(b"FOO"))
_GROUP_READ = st.tuples(GROUPS, CONSUMERS).map(lambda pair: [b"XREADGROUP", b"GROUP", *pair])
_ADD = st.builds(
    _xadd,
    KEYS,
    st.lists(st.one_of(TRIMS, TRIMS, words(b"NOMKSTREAM")), max_size=1),
    ADDED_IDS,
    st.one_of(many(b"", _FIELDS, VALUES, most=3).map(lambda parts: parts[1:]), st.just([b"f"])),
)


def autoclaims(consumers: st.SearchStrategy[bytes]) -> Calls:
    """Generate XAUTOCLAIM by these consumers."""
    return with_options(
        call(b"XAUTOCLAIM", KEYS, GROUPS, consumers, _IDLE, BOUNDS), _COUNT, words(b"JUSTID", b"FOO")
    )


def claims(consumers: st.SearchStrategy[bytes]) -> Calls:
    """Generate XCLAIM by these consumers."""
    ids = many(b"XCLAIM", IDS)
    calls = st.tuples(KEYS, GROUPS, consumers, _IDLE, ids).map(
        lambda parts: [b"XCLAIM", *parts[:4], *parts[4][1:]]
    )
    return with_options(calls, *_CLAIM_OPTIONS, most=3)


STREAM: dict[str, Calls] = {
    "xack": st.tuples(KEYS, GROUPS, many(b"XACK", IDS)).map(
        lambda parts: [b"XACK", *parts[:2], *parts[2][1:]]
    ),
    "xadd": _ADD,
    "xautoclaim": autoclaims(st.just(CLAIMER)),
    "xclaim": claims(st.just(CLAIMER)),
    "xdel": st.tuples(KEYS, many(b"XDEL", IDS)).map(lambda parts: [b"XDEL", parts[0], *parts[1][1:]]),
    "xgroup": st.one_of(
        with_options(call(b"XGROUP", st.just(b"CREATE"), KEYS, GROUPS, IDS), *_GROUP_OPTIONS),
        with_options(call(b"XGROUP", st.just(b"SETID"), KEYS, GROUPS, IDS), *_GROUP_OPTIONS),
        call(b"XGROUP", st.just(b"DESTROY"), KEYS, GROUPS),
        call(b"XGROUP", st.sampled_from([b"CREATECONSUMER", b"DELCONSUMER"]), KEYS, GROUPS, CONSUMERS),
    ),
    "xinfo": st.one_of(
        with_options(call(b"XINFO", st.just(b"STREAM"), KEYS), words(b"FULL", b"FULL", b"FOO"), _COUNT),
        call(b"XINFO", st.just(b"GROUPS"), KEYS),
        call(b"XINFO", st.just(b"CONSUMERS"), KEYS, GROUPS),
    ),
    "xlen": call(b"XLEN", KEYS),
    "xpending": st.one_of(
        call(b"XPENDING", KEYS, GROUPS),
        call(b"XPENDING", KEYS, GROUPS, BOUNDS, BOUNDS, COUNTS),
        call(b"XPENDING", KEYS, GROUPS, BOUNDS, BOUNDS, COUNTS, CONSUMERS),
        call(b"XPENDING", KEYS, GROUPS, st.just(b"idle"), _IDLE, BOUNDS, BOUNDS, COUNTS),
        call(b"XPENDING", KEYS, GROUPS, st.just(b"IDLE"), _IDLE, BOUNDS),
    ),
    "xrange": with_options(call(b"XRANGE", KEYS, BOUNDS, BOUNDS), _COUNT, words(b"FOO")),
    "xread": _streams(with_options(call(b"XREAD"), *_READ_OPTIONS, words(b"NOACK"), most=1), IDS),
    "xreadgroup": _streams(
        with_options(_GROUP_READ, _COUNT, words(b"NOACK"), most=1),
        st.one_of(IDS, st.just(b">"), st.just(b">")),
    ),
    "xrevrange": with_options(call(b"XREVRANGE", KEYS, BOUNDS, BOUNDS), _COUNT, words(b"FOO")),
    "xsetid": with_options(
        call(b"XSETID", KEYS, st.one_of(IDS, st.just(b"20-0"))),
        option(b"ENTRIESADDED", COUNTS), option(b"MAXDELETEDID", IDS), words(b"FOO"),
    ),
    "xtrim": st.tuples(KEYS, TRIMS).map(lambda parts: [b"XTRIM", parts[0], *parts[1]]),
}  # fmt: skip


def comparable(reply: Any, is_newer: bool = False) -> Any:
    """Return a reply of XINFO or XPENDING without what differs; is_newer: compare as with 7.2 or later."""
    if isinstance(reply, MapReply):
        reply = [word for pair in reply.pairs for word in pair]
    if not isinstance(reply, list):
        return reply
    if reply and reply[0] in (b"length", b"name"):
        pairs = zip(reply[::2], reply[1::2], strict=True)
        return [
            (key, comparable(value, is_newer)) for key, value in pairs if is_compared(key, value, is_newer)
        ]
    if len(reply) in (3, 4) and all(isinstance(number, int) for number in reply[-2:]):
        # A pending entry: id, perhaps consumer, time, count.
        return [*reply[:-2], magnitude(reply[-2]), reply[-1]]
    items = [comparable(item, is_newer) for item in reply]
    return items if is_newer else [item for item in items if not is_claimer(item)]


def is_compared(key: bytes, value: Any, is_newer: bool) -> bool:
    """Say whether a field of XINFO must be the same."""
    is_number_of_consumers = key == b"consumers" and isinstance(value, int)
    return key not in DIFFERENT and (is_newer or not (key in DIFFERENT_IN_7_0 or is_number_of_consumers))


def is_claimer(item: Any) -> bool:
    """Say whether something comparable is the consumer who may exist on one side only."""
    if not isinstance(item, list) or (b"name", CLAIMER) not in item:
        return False
    return (b"pel-count", 0) in item or (b"pending", 0) in item


def magnitude(time_ms: int) -> int:
    """Return the power of ten of a time, so that times which are near are equal."""
    return max(len(str(time_ms)), 6)


STREAM_SCRIPTS: dict[str, str] = {
    "streams": """
        XADD s 1-1 a 1
        XADD s 1-1 a 1
        XADD s 0-0 a 1
        XADD s 1-* a 2
        XADD s 5 b 3 c 4
        XADD s 5-0 b 3
        XADD s 4-* b 3
        XADD s 6-1 a
        XADD s 6-1
        XADD s MAXLEN 3 6-1 a 5
        XADD s MAXLEN 3 MINID 1 7-1 a 5
        XADD s MAXLEN -1 7-1 a 5
        XADD s MAXLEN x 7-1 a 5
        XADD s MAXLEN = 3 LIMIT 5 7-1 a 5
        XADD s MAXLEN ~ 3 LIMIT -5 7-1 a 5
        XADD s LIMIT 5 7-1 a 5
        XADD s LIMIT 0 7-1 a 5
        XADD s MINID = 5-0 7-1 a 5
        XADD s MINID ~ 5-0 LIMIT 0 7-2 a 5
        XADD missing NOMKSTREAM 1-1 a 1
        XADD missing NOMKSTREAM x a 1
        XADD missing MAXLEN 0 1-1 a 1
        XLEN missing
        TYPE missing
        XINFO STREAM missing
        XADD missing 0-* a 1
        XADD n 0-* a 1
        XADD n 0-* a 1
        XADD n 18446744073709551615-18446744073709551614 a 1
        XADD n 18446744073709551615-* a 1
        XADD n 18446744073709551615-* a 1
        XADD n * a 1
        XADD w 3-18446744073709551615 a 1
        XADD w 4-1 a 1
        XRANGE w - +
        OBJECT ENCODING s
        XLEN s
        XRANGE s - +
        XRANGE s - + COUNT 0
        XRANGE s - + COUNT -1
        XRANGE s - + COUNT
        XRANGE s - + COUNT x
        XRANGE s 5 6
        XRANGE s (5-0 +
        XRANGE s (5 (7
        XRANGE s ( +
        XRANGE s (- +
        XRANGE s (18446744073709551615-18446744073709551615 +
        XRANGE s - (0-0
        XREVRANGE s + - COUNT 2
        XREVRANGE s (7-1 5
        XREVRANGE s - +
        XDEL s 6-1 6-1 9-9
        XDEL s x
        XDEL missing-key x
        XRANGE s - +
        XINFO STREAM s
        XINFO STREAM s FULL
        XINFO STREAM s FULL COUNT 1
        XINFO STREAM s FULL COUNT x
        XINFO STREAM s FULL COUNT
        XINFO STREAM s FOO
        XINFO STREAM nothing
        XINFO FOO s
        XSETID s 20-0 ENTRIESADDED 2
        XSETID s 20-0 ENTRIESADDED 9 MAXDELETEDID 8-0
        XSETID s 20-0 MAXDELETEDID 21-0
        XSETID s 20-0 ENTRIESADDED -1
        XSETID nothing 1-0
        XSETID s 20-0 FOO
        XINFO STREAM s
        XADD s 20-0 a 1
        XTRIM s MAXLEN 1
        XTRIM s
        XTRIM s MAXLEN
        XTRIM s FOO 1
        XTRIM s LIMIT 3
        XTRIM s LIMIT 0
        XTRIM nothing MAXLEN 1
        XTRIM s MINID 100-0
        XINFO STREAM s
        SET text v
        XADD text 1-1 a 1
        XLEN text
        XRANGE text - +
        XDEL text 1-1
        XTRIM text MAXLEN 1
        XSETID text 1-1
        XGROUP CREATE text g 0
        XACK text g 1-1
        XPENDING text g
        XCLAIM text g c 0 1-1
        XAUTOCLAIM text g c 0 0
        XINFO STREAM text
        XREAD STREAMS text 0
        XREADGROUP GROUP g c STREAMS text 0
    """,
    "streams of many nodes": """
        CONFIG SET stream-node-max-entries 3
        XADD s 1-1 a 1 b 2
        XADD s 1-2 a 1 b 2
        XADD s 2-1 a 1 c 2
        XADD s 3-1 x 1
        XADD s 3-2 x 1 y 2 z 3
        XADD s 3-3 x -5
        XADD s 4-1 x 1
        XADD s 5-1 x 1
        XADD s 5-2 x 1
        XADD s 6-1 x 1
        DUMP s
        XINFO STREAM s
        XDEL s 3-2 2-1
        DUMP s
        XRANGE s - +
        XREVRANGE s + - COUNT 5
        XREVRANGE s 4 2
        XTRIM s MAXLEN ~ 7
        XTRIM s MAXLEN ~ 6
        DUMP s
        XTRIM s MAXLEN ~ 1 LIMIT 2
        XTRIM s MAXLEN ~ 1 LIMIT 3
        DUMP s
        XADD s MAXLEN ~ 2 7-1 x 1
        XADD s MINID ~ 5-2 8-1 x 1
        XADD s MINID 5-2 9-1 x 1
        XINFO STREAM s
        DUMP s
        XDEL s 5-2 6-1
        DUMP s
        XTRIM s MINID 9-0
        DUMP s
        XTRIM s MAXLEN 0
        DUMP s
        CONFIG SET stream-node-max-entries 100
        CONFIG SET stream-node-max-bytes 80
        XADD b 1-1 field 0123456789012345678901234567890123456789
        XADD b 1-2 field 0123456789012345678901234567890123456789
        XADD b 1-3 field 0
        XADD b 1-4 field 0
        XADD b 1-5 field 0
        XADD b 1-6 field 0
        DUMP b
        XINFO STREAM b
        CONFIG SET stream-node-max-bytes 4096
    """,
    "groups": """
        XGROUP CREATE s g $
        XGROUP CREATE s g x MKSTREAM
        XGROUP CREATE s g $ MKSTREAM
        XGROUP CREATE s g $ MKSTREAM
        XGROUP CREATE s g 0
        XGROUP CREATE s h 0 ENTRIESREAD -2
        XGROUP CREATE s h 0 ENTRIESREAD x
        XGROUP CREATE s h 0 FOO
        XGROUP CREATE s h 0 MKSTREAM MKSTREAM ENTRIESREAD 5
        XGROUP CREATE s h 0 ENTRIESREAD 0
        XGROUP SETID s nope 0
        XGROUP SETID nothing g 0
        XGROUP SETID s g + ENTRIESREAD 5
        XGROUP SETID s g x
        XGROUP SETID s g 0 ENTRIESREAD 1 ENTRIESREAD 2
        XGROUP SETID s g 0 MKSTREAM
        XGROUP SETID s g $
        XGROUP DESTROY s nope
        XGROUP DESTROY nothing g
        XGROUP CREATECONSUMER s g c
        XGROUP CREATECONSUMER s g c
        XGROUP CREATECONSUMER s nope c
        XGROUP DELCONSUMER s g nope
        XGROUP DELCONSUMER s nope c
        XGROUP FOO s g
        XINFO GROUPS s
        XINFO CONSUMERS s g
        XINFO CONSUMERS s nope
        XINFO CONSUMERS nothing g
        XADD s 1-1 a 1
        XADD s 2-1 a 2
        XADD s 3-1 a 3
        XADD s 4-1 b 4
        XREADGROUP GROUP g c STREAMS s $
        XREADGROUP GROUP g c STREAMS s x
        XREADGROUP GROUP nope c STREAMS s >
        XREADGROUP GROUP g c STREAMS nothing >
        XREADGROUP COUNT 1 BLOCK 10 NOACK STREAMS s >
        XREADGROUP GROUP g c COUNT x STREAMS s >
        XREADGROUP GROUP g c BLOCK -1 STREAMS s >
        XREADGROUP GROUP g c BLOCK x STREAMS s >
        XREAD GROUP g c STREAMS s 0
        XREAD NOACK STREAMS s 0
        XREAD STREAMS s >
        XREAD FOO 1 STREAMS s 0
        XREAD COUNT 1 STREAMS s nothing 0 0
        XREAD BLOCK 1 STREAMS s 4-1
        XREAD STREAMS s nothing $ $
        XREADGROUP GROUP g c COUNT 1 STREAMS s >
        XINFO GROUPS s
        XREADGROUP GROUP g d COUNT 2 STREAMS s >
        XREADGROUP GROUP g c STREAMS s 0
        XREADGROUP GROUP g d STREAMS s 2-1
        XREADGROUP GROUP g d NOACK STREAMS s >
        XREADGROUP GROUP g d STREAMS s >
        XREADGROUP GROUP g d BLOCK 1 STREAMS s >
        XINFO STREAM s FULL
        XPENDING s g
        XPENDING s g - + 10
        XPENDING s g - + 10 d
        XPENDING s g - + 10 nope
        XPENDING s g IDLE 0 - + 10
        XPENDING s g IDLE 10000000 - + 10 d
        XPENDING s g IDLE 0 - +
        XPENDING s g - +
        XPENDING s g - + x
        XPENDING s g x + 5
        XPENDING s g (1-1 (3-1 5
        XPENDING s nope
        XPENDING nothing g
        XDEL s 2-1
        XREADGROUP GROUP g d STREAMS s 0
        XINFO GROUPS s
        XACK s g 1-1 9-9
        XACK s g 1-1
        XACK s nope 1-1
        XACK nothing g 1-1
        XACK s g x
        XCLAIM s g e 0 2-1 3-1 4-1
        XCLAIM s g e 0 4-1 FORCE
        XCLAIM s g e 0 3-1 JUSTID
        XCLAIM s g e 0 3-1 RETRYCOUNT 7 IDLE 100000000 JUSTID
        XCLAIM s g f 10000000 3-1 4-1 LASTID 9-9
        XCLAIM s g f 0 3-1 TIME 1000000000000
        XCLAIM s g f x 3-1
        XCLAIM s g f 0 3-1 FOO
        XCLAIM s g f 0 3-1 IDLE x
        XCLAIM s g f 0 3-1 TIME x
        XCLAIM s g f 0 3-1 RETRYCOUNT x
        XCLAIM s g f 0 3-1 IDLE
        XCLAIM s g f 0 3-1 LASTID x
        XCLAIM s nope f 0 3-1
        XCLAIM nothing g f 0 3-1
        XPENDING s g - + 10
        XAUTOCLAIM s g a 0 -
        XAUTOCLAIM s g b 0 0 COUNT 1
        XAUTOCLAIM s g b 10000000 0 COUNT 1 JUSTID
        XAUTOCLAIM s g b 0 (3-1 JUSTID
        XAUTOCLAIM s g b x 0
        XAUTOCLAIM s g b 0 x
        XAUTOCLAIM s g b 0 0 COUNT 0
        XAUTOCLAIM s g b 0 0 COUNT x
        XAUTOCLAIM s g b 0 0 COUNT 9223372036854775807
        XAUTOCLAIM s g b 0 0 FOO
        XAUTOCLAIM s nope b 0 0
        XDEL s 3-1
        XAUTOCLAIM s g b 0 0 COUNT 1
        XAUTOCLAIM s g b 0 0
        XPENDING s g
        XINFO STREAM s FULL COUNT 0
        XGROUP DELCONSUMER s g b
        XGROUP DESTROY s g
        XINFO GROUPS s
        COPY s t
        XINFO STREAM t FULL
        RENAME t u
        XLEN u
    """,
}

# For a newer judge.
LAG_SCRIPT = """
    XGROUP CREATE s g 0 MKSTREAM
    XINFO GROUPS s
    XADD s 1-1 a 1
    XADD s 2-1 a 1
    XADD s 3-1 a 1
    XADD s 4-1 a 1
    XADD s 5-1 a 1
    XINFO GROUPS s
    XREADGROUP GROUP g c COUNT 1 STREAMS s >
    XINFO GROUPS s
    XGROUP CREATE s mid 3-1
    XGROUP CREATE s first 1-1
    XGROUP CREATE s last 5-1
    XGROUP CREATE s future 9-1
    XINFO GROUPS s
    XDEL s 3-1
    XINFO GROUPS s
    XREADGROUP GROUP g c COUNT 1 STREAMS s >
    XINFO GROUPS s
    XREADGROUP GROUP g c COUNT 1 STREAMS s >
    XINFO GROUPS s
    XREADGROUP GROUP g c COUNT 1 STREAMS s >
    XINFO GROUPS s
    XDEL s 1-1 2-1
    XINFO GROUPS s
    XTRIM s MAXLEN 1
    XINFO GROUPS s
    XADD s 10-1 a 1
    XINFO GROUPS s
    XTRIM s MAXLEN 0
    XINFO GROUPS s
    XSETID s 20-0 ENTRIESADDED 100
    XINFO GROUPS s
    XGROUP SETID s g 20-0 ENTRIESREAD 50
    XGROUP SETID s mid $
    XINFO GROUPS s
"""
