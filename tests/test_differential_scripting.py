"""Scripts and functions against a real redis-server: equal results, equal errors with place, equal data.

The scripts lie in `tests.differential.lua_sources` and `lua_programs`; each is compared in RESP2 and RESP3.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from redoubt.resp.replies import MapReply, SetReply
from tests.differential.function_calls import CALLS, HEAD, WORKING, bodies
from tests.differential.lua_programs import programs
from tests.differential.lua_sources import sources
from tests.differential.pair import Pair, same_reply
from tests.differential.vocabulary import Call
from tests.differential.words import COMMANDS
from tests.redoubt.harness import ServerProcess, redis_process, server_process

pytestmark = [
    pytest.mark.differential,
    pytest.mark.process,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs a redis-server to compare with"),
]


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[ServerProcess, ServerProcess]]:
    with redis_process() as judge, server_process() as ours:
        yield judge, ours


def fill(pair: Pair) -> None:
    pair.reset()
    pair.compare("RPUSH", "list", "a", "b", "c")
    pair.compare("HSET", "hash", "f", "1", "g", "2")
    pair.compare("ZADD", "zset", "1", "x", "2.5", "y")
    pair.compare("SET", "text", "text")


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("source", sources() + programs())
def test_a_script_is_answered_alike(
    servers: tuple[ServerProcess, ServerProcess], source: str, resp: int
) -> None:
    pair = Pair(*servers, resp)
    try:
        fill(pair)
        pair.compare("EVAL", source, "2", "k1", "k2", "a1", "a2")
        pair.compare_contents()
    finally:
        pair.close()


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("body", bodies())
def test_a_library_is_loaded_alike(
    servers: tuple[ServerProcess, ServerProcess], body: str, resp: int
) -> None:
    pair = Pair(*servers, resp)
    try:
        fill(pair)
        pair.compare("FUNCTION", "FLUSH")
        pair.compare("FUNCTION", "LOAD", HEAD + body)
        pair.compare("FCALL", "a", "1", "k", "v")
        pair.compare("FCALL_RO", "a", "0")
        pair.compare("FUNCTION", "LIST", "WITHCODE")
        pair.compare_contents()
    finally:
        pair.close()


@pytest.mark.parametrize("resp", [2, 3])
def test_calls_on_libraries_and_scripts_are_answered_alike(
    servers: tuple[ServerProcess, ServerProcess], resp: int
) -> None:
    pair = Pair(*servers, resp)
    codes = {"LIB": WORKING, "OTHER": WORKING.replace("name=lib", "name=other")}
    try:
        pair.compare("FUNCTION", "FLUSH")
        for line in CALLS.strip().splitlines():
            pair.compare(*[codes.get(word, word) for word in line.split()])
    finally:
        pair.close()


@pytest.mark.parametrize("policy", ["APPEND", "REPLACE", "FLUSH"])
def test_payloads_are_taken_by_the_other_server(
    servers: tuple[ServerProcess, ServerProcess], policy: str
) -> None:
    pair = Pair(*servers)
    try:
        pair.compare("FUNCTION", "FLUSH")
        pair.compare("FUNCTION", "LOAD", WORKING)
        for payload in pair.both([b"FUNCTION", b"DUMP"]):
            pair.compare("FUNCTION", "RESTORE", payload, policy)
            pair.compare("FUNCTION", "LIST", "WITHCODE")
            pair.compare("FUNCTION", "RESTORE", payload[:-1] + b"x", policy)
        pair.compare("FCALL", "f", 1, "k", "v")
    finally:
        pair.close()


class ScriptedConversation(RuleBasedStateMachine):
    """Generated calls, each made by a script, on both servers; at the end both must hold the same data."""

    pair: ClassVar[Pair]

    def __init__(self) -> None:
        super().__init__()
        self.pair.reset()

    @rule(argv=st.one_of(*COMMANDS.values()), resp=st.sampled_from([2, 3]), is_caught=st.booleans())
    def ask(self, argv: Call, resp: int, is_caught: bool) -> None:
        function = "pcall" if is_caught else "call"
        source = f"redis.setresp({resp}) return redis.{function}(unpack(ARGV))"
        words = [word if isinstance(word, bytes) else str(word).encode() for word in argv]
        expected, found = self.pair.both([b"EVAL", source.encode(), b"0", *words])
        is_same = same_reply(words, expected, found) or unordered(expected) == unordered(found)
        assert is_same, f"{words} in a script: Redis says {expected!r}, we say {found!r}"

    def teardown(self) -> None:
        self.pair.compare_contents()


def unordered(reply: object) -> object:
    """Write a reply as text that is the same for any order of its items: tables of Lua have none."""
    if isinstance(reply, list):
        return sorted(str(unordered(item)) for item in reply)
    if isinstance(reply, MapReply):
        return sorted(str((unordered(key), unordered(value))) for key, value in reply.pairs)
    if isinstance(reply, SetReply):
        return sorted(str(unordered(item)) for item in reply.items)
    return repr(reply)


@pytest.mark.parametrize("resp", [2, 3])
def test_generated_calls_in_scripts_are_answered_alike(
    servers: tuple[ServerProcess, ServerProcess], resp: int
) -> None:
    pair = Pair(*servers, resp)
    try:
        ScriptedConversation.pair = pair
        run_state_machine_as_test(
            ScriptedConversation,
            settings=settings(
                max_examples=20, stateful_step_count=40, deadline=None, database=None, derandomize=True,
                suppress_health_check=list(HealthCheck),
            ),
        )  # fmt: skip
    finally:
        pair.close()
