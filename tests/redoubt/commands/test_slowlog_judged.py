"""SLOWLOG, LATENCY and LOLWUT against a real redis-server: what is logged and how, and the errors."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from redoubt.resp.replies import Verbatim
from tests.differential.pair import Pair
from tests.redoubt.harness import ServerProcess, redis_process, server_process

pytestmark = [
    pytest.mark.differential,
    pytest.mark.process,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs a redis-server to compare with"),
]

ERRORS = r"""
SLOWLOG
SLOWLOG NOSUCH
SLOWLOG GET -2
SLOWLOG GET x
SLOWLOG GET 0
SLOWLOG LEN x
SLOWLOG RESET x
LATENCY
LATENCY NOSUCH
LATENCY LATEST
LATENCY HISTORY nosuch
LATENCY HISTORY
LATENCY GRAPH nosuch
LATENCY RESET
LATENCY RESET nosuch
LATENCY HISTOGRAM nosuch
CONFIG SET slowlog-log-slower-than x
CONFIG SET slowlog-log-slower-than -1
CONFIG SET slowlog-max-len -1
CONFIG SET latency-monitor-threshold -1
CONFIG GET latency-monitor-threshold
COMMAND GETKEYS EVAL x 0
COMMAND GETKEYS GET k
COMMAND GETKEYS GET
COMMAND GETKEYSANDFLAGS SET k v
COMMAND GETKEYSANDFLAGS SET k v GET
COMMAND GETKEYSANDFLAGS SORT a STORE b
COMMAND GETKEYSANDFLAGS EVAL x 1 k
REPLICAOF h x
MEMORY USAGE k SAMPLES x
MEMORY USAGE k SAMPLES -1
OBJECT FREQ nokey
SWAPDB 0 x
SWAPDB 0 99
MOVE k x
MOVE k 0
"""


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[ServerProcess, ServerProcess]]:
    with redis_process() as judge, server_process() as ours:
        yield judge, ours


@pytest.mark.parametrize("resp", [2, 3])
def test_every_line_is_answered_alike(servers: tuple[ServerProcess, ServerProcess], resp: int) -> None:
    pair = Pair(*servers, resp)
    for line in ERRORS.strip().splitlines():
        pair.compare(*shlex.split(line))
    pair.close()


def words(entries: Any) -> list[tuple[Any, Any]]:
    """Take from each entry what does not depend on time: the words and the client's name."""
    return [(entry[3], entry[5]) for entry in entries]


LINES = [
    ["PING"], ["GET", "k"], ["nosuch"], ["GET"], ["SET", "k", "v"], ["INCR", "k"],
    ["CLIENT", "SETNAME", "me"], ["ACL", "WHOAMI"],
    ["AUTH", "secret"], ["AUTH", "user", "secret"], ["ACL", "SETUSER", "alice", ">pw", "on"],
    ["CONFIG", "SET", "masterauth", "secret"], ["CONFIG", "SET", "maxmemory", "0"], ["CONFIG", "GET", "dir"],
    ["MULTI"], ["EXEC"], ["DISCARD"], ["MSET", *["x"] * 32], ["DEL", *["x"] * 31], ["DEL", *["x"] * 60],
    ["ECHO", "x" * 128], ["ECHO", "x" * 129], ["SET", "k", "y" * 5000], ["SLOWLOG", "LEN"], ["HELLO", "3"],
    ["EVAL", "return redis.call('SET', 'k', 'v')", "1", "k"], ["HELLO", "2", "AUTH", "default", "secret"],
]  # fmt: skip


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.sampled_from(LINES), max_size=12))
def test_the_same_commands_are_logged_in_the_same_form(
    servers: tuple[ServerProcess, ServerProcess], calls: list[list[str]]
) -> None:
    pair = Pair(*servers)
    control = Pair(*servers)
    control.both([b"CONFIG", b"SET", b"slowlog-log-slower-than", b"0"])
    control.both([b"SLOWLOG", b"RESET"])
    try:
        for call in calls:
            pair.both([word.encode() for word in call])
        expected, found = control.both([b"SLOWLOG", b"GET", b"-1"])
        assert words(found) == words(expected)
    finally:
        control.both([b"CONFIG", b"SET", b"slowlog-log-slower-than", b"-1"])
        control.close()
        pair.close()


def test_lolwut_is_text_for_people(servers: tuple[ServerProcess, ServerProcess]) -> None:
    pair = Pair(*servers, 3)
    for call in ([b"LOLWUT"], [b"LOLWUT", b"VERSION", b"5"], [b"LOLWUT", b"VERSION", b"6", b"3"]):
        expected, found = pair.both(call)
        assert isinstance(expected, Verbatim) and isinstance(found, Verbatim)
        assert found.form == expected.form
        assert found.text.splitlines()[-1].startswith(b"Redis ver. ")
    pair.compare("LOLWUT", "VERSION", "x")
    for call in ([b"LOLWUT", b"VERSION"], [b"LOLWUT", b"x", b"y"]):
        expected, found = pair.both(call)
        assert isinstance(expected, Verbatim) and isinstance(found, Verbatim)
    pair.close()
