"""Transactions side by side: generated calls between MULTI and EXEC, blocking ones among them.

`tests/test_differential_transactions.py` plays them on both servers. What EXEC gathers is compared call by
call, as if each had been answered alone.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from redoubt.resp.replies import QUEUED as QUEUED_REPLY
from redoubt.resp.replies import ErrorReply
from tests.differential.lists import ENDS
from tests.differential.pair import Pair, same_reply
from tests.differential.vocabulary import BAD_NUMBERS, KEYS, Call, Calls, call
from tests.differential.words import COMMANDS

_ENDS = st.sampled_from([b"MIN", b"MAX", b"min", b"FOO"])
# 7.2 says of the largest numbers that they are out of range, 7.0 that they are negative.
_TIMEOUTS = st.one_of(
    st.sampled_from([b"0", b"1", b"0.5", b"1e3", b".01", b"-1", b"-0.5", b"nan", b"x"]),
    BAD_NUMBERS.filter(lambda number: len(number) < 19),
)
_COUNTS = st.sampled_from([b"1", b"2", b"0", b"-1", b"x"])


def _pop(name: bytes) -> Calls:
    """Generate calls of BLPOP and its kin."""
    keys = st.lists(KEYS, min_size=1, max_size=3)
    return st.tuples(keys, _TIMEOUTS).map(lambda parts: [name, *parts[0], parts[1]])


def _many(name: bytes, ends: st.SearchStrategy[bytes]) -> Calls:
    """Generate calls of BLMPOP and BZMPOP, some with a wrong number of keys."""
    keys = st.lists(KEYS, min_size=1, max_size=3)
    wrong = st.sampled_from([0, 0, 0, 1, -1])
    count = st.one_of(st.just([]), _COUNTS.map(lambda word: [b"COUNT", word]))
    return st.tuples(_TIMEOUTS, keys, wrong, ends, count).map(
        lambda parts: [name, parts[0], b"%d" % (len(parts[1]) + parts[2]), *parts[1], parts[3], *parts[4]]
    )


BLOCKING: dict[str, Calls] = {
    "blpop": _pop(b"BLPOP"),
    "brpop": _pop(b"BRPOP"),
    "bzpopmin": _pop(b"BZPOPMIN"),
    "bzpopmax": _pop(b"BZPOPMAX"),
    "blmpop": _many(b"BLMPOP", ENDS),
    "bzmpop": _many(b"BZMPOP", _ENDS),
    "blmove": call(b"BLMOVE", KEYS, KEYS, ENDS, ENDS, _TIMEOUTS),
    "brpoplpush": call(b"BRPOPLPUSH", KEYS, KEYS, _TIMEOUTS),
}
# The encoding of small lists and sets of texts has changed since 7.0; `Pair` knows it only outside of EXEC.
# Redis reads a payload that is cut off into its own footer; RESTORE is compared with whole ones elsewhere.
QUEUED: dict[str, Calls] = {
    **{name: calls for name, calls in COMMANDS.items() if not name.startswith(("object", "restore"))},
    **BLOCKING,
}
REFUSED = [[b"SET", b"a"], [b"NOSUCH", b"x"], [b"GET"], [b"OBJECT", b"FOO"]]


def compare_transaction(pair: Pair, calls: list[Call]) -> None:
    """Queue and run the calls on both servers, and compare every answer."""
    pair.compare("MULTI")
    queued: list[Call] = []
    for argv in calls:
        expected, found = pair.both(argv)
        assert expected == found, f"in MULTI, {argv}: Redis says {expected!r}, we say {found!r}"
        if expected == QUEUED_REPLY:
            queued.append(argv)
    expected, found = pair.both([b"EXEC"])
    if not isinstance(expected, list) or not isinstance(found, list):
        assert expected == found, f"EXEC of {calls}: Redis says {expected!r}, we say {found!r}"
        return
    assert len(expected) == len(found) == len(queued)
    for argv, theirs, ours in zip(queued, expected, found, strict=True):
        assert _is_same(argv, theirs, ours), f"in EXEC, {argv}: Redis says {theirs!r}, we say {ours!r}"


def _is_same(argv: Call, expected: Any, found: Any) -> bool:
    if isinstance(expected, ErrorReply) and isinstance(found, ErrorReply):
        return expected == found
    name = argv[0][1:] if argv[0].upper().startswith(b"BZ") else argv[0]
    return same_reply([name, *argv[1:]], expected, found)
