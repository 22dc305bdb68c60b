"""A real redis-server and Redoubt side by side: the same command to both, and what counts as the same answer.

Replies are compared as decoded values, which keep every RESP type apart (a status is not a bulk string, the
two nulls of RESP2 differ). Three kinds of answers cannot be equal word for word: times to live, which pass;
unordered lists; and random picks, of which only the membership can be asked. `same_reply` knows them by the
name of the command.

The state machine and the directed cases of `tests/test_differential.py` use it. The judge is Redis 7.0.15;
what 7.2 changed is left out of the comparison, with the reason beside it.
"""

from __future__ import annotations

import re
from typing import Any

from redoubt.data.hash import Hash
from redoubt.data.set import MemberSet
from redoubt.data.sorted_set import SortedSet
from redoubt.persist import payload
from redoubt.persist.rdb_format import TYPE_HASH, TYPE_SET, TYPE_SORTED_SET_2, TYPE_SORTED_SET_LISTPACK
from redoubt.resp.replies import ErrorReply, MapReply, SetReply
from tests.differential import streams
from tests.redoubt.harness import Connection, ServerProcess

# Both servers are asked one after the other, on a machine that may be busy.
TIME_TOLERANCE_MS = 3000

SECONDS = {b"TTL", b"EXPIRETIME"}
MILLISECONDS = {b"PTTL", b"PEXPIRETIME"}
# One time for each field, in milliseconds or, where that is given, in others.
FIELD_TIMES = {b"HTTL": 1000, b"HPTTL": 1, b"HEXPIRETIME": 1000, b"HPEXPIRETIME": 1}
# Replies that are lists in no order, or that hold one.
UNORDERED = {b"KEYS", b"HKEYS", b"HVALS", b"SMEMBERS", b"SINTER", b"SUNION", b"SDIFF"}
# Maps in no order, and what returns them in RESP2 as a flat array.
UNORDERED_PAIRS = {b"HGETALL"}
RANDOM = {b"RANDOMKEY"}
# What goes through a hash, whose order is its own as soon as it is a table or fields have times.
ENUMERATIONS = {b"HSCAN", b"HRANDFIELD"}
# Tables have no order, and scores are written with more digits than needed by 7.0.
DUMPED_OTHERWISE = (TYPE_HASH, TYPE_SET, TYPE_SORTED_SET_2, TYPE_SORTED_SET_LISTPACK)
# The command that reads a whole value, by type.
READERS = {b"string": ("GET",), b"hash": ("HGETALL",), b"set": ("SMEMBERS",), b"list": ("LRANGE", 0, -1),
           b"zset": ("ZRANGE", 0, -1, "WITHSCORES"), b"stream": ("XRANGE", "-", "+")}  # fmt: skip
# What differs by nature: addresses, clocks, memory, versions.
INCOMPARABLE = {b"OBJECT IDLETIME"}


class Pair:
    """One connection to each of the two servers, with the same protocol version."""

    def __init__(self, judge: ServerProcess, ours: ServerProcess, resp: int = 2) -> None:
        self.judge: Connection = judge.connect()
        self.ours: Connection = ours.connect()
        self.resp = resp
        if resp == 3:
            self.judge.ask("HELLO", 3)
            self.ours.ask("HELLO", 3)

    def close(self) -> None:
        self.judge.close()
        self.ours.close()

    def both(self, words: list[bytes]) -> tuple[Any, Any]:
        """Ask both; return the judge's reply and ours."""
        return self.judge.ask(*words), self.ours.ask(*words)

    def compare(self, *words: bytes | str | int) -> Any:
        """Ask both and assert that they answer alike; return the judge's reply."""
        argv = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        expected, found = self.both(argv)
        is_same = same_reply(argv, expected, found) or self._is_packed_since_7_2(argv, expected, found)
        assert is_same, f"{argv}: Redis says {expected!r}, we say {found!r}"
        return expected

    def _is_packed_since_7_2(self, argv: list[bytes], expected: Any, found: Any) -> bool:
        """Say whether this is the encoding of a small list or set of texts, which 7.0 did not pack yet."""
        if b" ".join(argv[:2]).upper() != b"OBJECT ENCODING" or found != b"listpack":
            return False
        kind = self.ours.ask("TYPE", argv[2]).text
        return (kind, expected) in ((b"set", b"hashtable"), (b"list", b"quicklist"))

    def reset(self) -> None:
        """Empty both and go back to database 0."""
        for words in ([b"FLUSHALL"], [b"SELECT", b"0"]):
            self.both(words)

    def compare_contents(self, databases: int = 3) -> None:
        """Assert that both hold the same keys with the same values, encodings and expiry times."""
        for database in range(databases):
            self.compare("SELECT", database)
            for key in sorted(self.compare("KEYS", "*")):
                name, *options = READERS[self.compare("TYPE", key).text]
                self.compare(name, key, *options)
                self.compare("PEXPIRETIME", key)
                if name == "XRANGE":
                    self.compare("XINFO", "STREAM", key, "FULL", "COUNT", 0)
                if name != "GET":  # what a string is called depends on how it came to be
                    self.compare("OBJECT", "ENCODING", key)
            self.compare("DBSIZE")
        self.compare("SELECT", 0)


def same_reply(argv: list[bytes], expected: Any, found: Any) -> bool:
    """Say whether two replies to this command count as the same."""
    name = argv[0].upper()
    full_name = b" ".join(argv[:2]).upper()
    if isinstance(expected, ErrorReply) or isinstance(found, ErrorReply):
        return bool(expected == found)
    if full_name in INCOMPARABLE:
        return type(expected) is type(found)
    if name in SECONDS:
        return _near(expected, found, TIME_TOLERANCE_MS // 1000)
    if name in MILLISECONDS:
        return _near(expected, found, TIME_TOLERANCE_MS)
    if name in FIELD_TIMES:
        tolerance = TIME_TOLERANCE_MS // FIELD_TIMES[name]
        near = (_near(*times, tolerance) for times in zip(expected, found, strict=False))
        return len(expected) == len(found) and all(near)
    if name in ENUMERATIONS and isinstance(expected, list):
        return _enumerated(expected) == _enumerated(found)
    if name in UNORDERED and isinstance(expected, list) and isinstance(found, list):
        return sorted(expected) == sorted(found)
    if name in UNORDERED and isinstance(expected, SetReply) and isinstance(found, SetReply):
        return sorted(expected.items) == sorted(found.items)
    if full_name == b"CONFIG GET" or (name in UNORDERED_PAIRS and type(expected) is type(found)):
        return _pairs(expected) == _pairs(found)
    if name == b"DUMP" and isinstance(expected, bytes) and expected[0] in DUMPED_OTHERWISE:
        return _elements(expected) == _elements(found)
    if name in (b"XINFO", b"XPENDING"):
        return bool(streams.comparable(expected) == streams.comparable(found))
    if name in RANDOM:
        return (expected is None) == (found is None)
    if name.startswith(b"Z") and full_name not in INCOMPARABLE:
        return same_scores(expected, found)
    return type(expected) is type(found) and bool(expected == found)


def same_scores(expected: Any, found: Any) -> bool:
    """Compare replies that may hold doubles: 7.0 writes them with 17 digits, 7.2 as short as possible."""
    if type(expected) is not type(found):
        return False
    if isinstance(expected, list):
        return len(expected) == len(found) and all(map(same_scores, expected, found))
    if isinstance(expected, bytes) and expected != found:
        return _is_double(expected) and _is_double(found) and float(expected) == float(found)
    return bool(expected == found)


def _is_double(text: bytes) -> bool:
    return re.fullmatch(rb"-?(\d+\.?\d*|\d*\.\d+)(e[+-]?\d+)?|-?inf", text) is not None


def _pairs(reply: Any) -> list[tuple[Any, Any]]:
    """Return the pairs of a map, which RESP2 sends as a flat array, in a fixed order."""
    if isinstance(reply, MapReply):
        return sorted(reply.pairs)
    return sorted(zip(reply[::2], reply[1::2], strict=True))


def _elements(dumped: bytes) -> list[Any]:
    """Return the elements of a structure that was dumped, in a fixed order."""
    value = payload.restore(dumped)
    if isinstance(value, Hash):
        return [Hash, *sorted(value.pairs())]
    if isinstance(value, SortedSet):
        return [SortedSet, *value.slice(0, value.count())]
    assert isinstance(value, MemberSet)
    return [MemberSet, *sorted(value.members())]


def _enumerated(reply: Any) -> Any:
    """Put what was enumerated into a fixed order; each value counts, whatever it stands beside."""
    return sorted(map(_enumerated, reply), key=repr) if isinstance(reply, list) else reply


def _near(expected: Any, found: Any, tolerance: int) -> bool:
    if expected < 0 or found < 0:
        return bool(expected == found)
    return bool(abs(expected - found) <= tolerance)
