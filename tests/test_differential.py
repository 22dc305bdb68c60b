"""Every command against a real redis-server: equal values, equal errors, equal types, in RESP2 and RESP3.

Three ways of asking: directed scripts (`tests.differential.scripts`) for what is known to be delicate, a
state machine that lets generated calls meet on a few keys (`tests.differential.words`), and what holds for
every command of the table by itself (the number of its arguments, its declaration in COMMAND INFO). Seeds
are fixed, so that a failure is the same everywhere.
"""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

import redoubt.node  # noqa: F401 - imports, and so declares, every command of a node
from redoubt.commands.declare import ROWS
from redoubt.resp.replies import ErrorReply
from tests.differential.hash_fields import HASH_FIELDS
from tests.differential.pair import Pair
from tests.differential.scripts import SCRIPTS
from tests.differential.vocabulary import KEYS, PATTERNS, VALUES, Call
from tests.differential.words import COMMANDS
from tests.redoubt.harness import ServerProcess, redis_process, server_process

pytestmark = [
    pytest.mark.differential,
    pytest.mark.process,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs a redis-server to compare with"),
]

# Commands of the table that are not compared here, and why.
# With several clients, in test_differential_blocking.py.
BLOCKING_POPS = {"blmove", "blmpop", "blpop", "brpop", "brpoplpush", "bzmpop", "bzpopmax", "bzpopmin"}
SCAN_IS_COMPARED_AS_A_WHOLE = {"scan"}
# Redis 7.0 does not have it: tests/redoubt/persist/test_append_log.py.
UNKNOWN_TO_THE_JUDGE = {"waitaof"}
GROUPS_COMPARED = {
    *("string", "generic", "hash", "set", "list", "sorted-set", "stream", "bitmap", "hyperloglog", "geo"),
}
DATABASE_COMMANDS = {"dbsize", "flushall", "flushdb", "swapdb"}


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[ServerProcess, ServerProcess]]:
    with redis_process() as judge, server_process() as ours:
        yield judge, ours


@contextmanager
def fresh_pair(servers: tuple[ServerProcess, ServerProcess], resp: int) -> Iterator[Pair]:
    pair = Pair(*servers, resp)
    try:
        pair.reset()
        yield pair
    finally:
        pair.close()


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("name", SCRIPTS)
def test_script_is_answered_alike(servers: tuple[ServerProcess, ServerProcess], name: str, resp: int) -> None:
    with fresh_pair(servers, resp) as pair:
        for line in SCRIPTS[name].strip().splitlines():
            pair.compare(*shlex.split(line))
        pair.compare_contents()


class Conversation(RuleBasedStateMachine):
    """Generated calls to both servers, one after the other; at the end both must hold the same data."""

    pair: ClassVar[Pair]

    def __init__(self) -> None:
        super().__init__()
        self.pair.reset()

    @rule(argv=st.one_of(*COMMANDS.values()))
    def ask(self, argv: Call) -> None:
        self.pair.compare(*argv)

    @rule(keys=st.lists(KEYS, min_size=1, max_size=4), value=VALUES)
    def fill(self, keys: list[bytes], value: bytes) -> None:
        for key in keys:
            self.pair.compare("SET", key, value)

    @rule(database=st.sampled_from([0, 0, 1]))
    def select(self, database: int) -> None:
        self.pair.compare("SELECT", database)

    @rule(pattern=PATTERNS, count=st.sampled_from([1, 3, 10, 1000]))
    def scan_everything(self, pattern: bytes, count: int) -> None:
        options: list[Any] = ["MATCH", pattern, "COUNT", count]
        expected, found = (scan_all(connection, options) for connection in (self.pair.judge, self.pair.ours))
        assert expected == found, f"SCAN {options}: Redis finds {expected}, we find {found}"

    def teardown(self) -> None:
        self.pair.compare_contents()


@pytest.mark.parametrize("resp", [2, 3])
def test_generated_calls_are_answered_alike(servers: tuple[ServerProcess, ServerProcess], resp: int) -> None:
    with fresh_pair(servers, resp) as pair:
        Conversation.pair = pair
        run_state_machine_as_test(
            Conversation,
            settings=settings(
                max_examples=60,
                stateful_step_count=50,
                derandomize=True,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )


@pytest.mark.parametrize("name", sorted(name.decode() for name in ROWS))
def test_wrong_number_of_arguments_is_refused_alike(
    servers: tuple[ServerProcess, ServerProcess], name: str
) -> None:
    row = ROWS[name.encode()]
    with fresh_pair(servers, 2) as pair:
        expected, found = pair.both([name.encode()]) if row.argc_min > 1 else (None, None)
        if isinstance(expected, ErrorReply) and b"unknown command" in expected.text:
            pytest.skip("the judge does not have this command")
        assert expected == found
        if row.argc_max < 64:
            pair.compare(name, *["x"] * row.argc_max)


def test_scan_returns_each_of_many_keys_on_both(servers: tuple[ServerProcess, ServerProcess]) -> None:
    with fresh_pair(servers, 2) as pair:
        keys = [b"key:%d" % number for number in range(5000)]
        for connection in (pair.judge, pair.ours):
            connection.ask("MSET", *[word for key in keys for word in (key, b"v")])
        pair.compare("DBSIZE")
        for options in ([], ["COUNT", 1000], ["MATCH", "*7*"], ["TYPE", "string"]):
            assert scan_all(pair.judge, options) == scan_all(pair.ours, options)


def test_keys_expire_alike(servers: tuple[ServerProcess, ServerProcess]) -> None:
    with fresh_pair(servers, 2) as pair:
        pair.compare("SET", "k", "v", "PX", 60)
        pair.compare("SET", "forever", "v")
        time.sleep(0.1)  # the one thing that no fake clock can do for a real server
        for words in (
            "GET k", "EXISTS k", "TTL k", "TYPE k", "INCR k", "TTL k", "PEXPIRE k 60", "KEYS *",
        ):  # fmt: skip
            pair.compare(*words.split())
        time.sleep(0.1)
        for words in (
            "SET k new XX", "SET k new NX GET", "GETEX k PERSIST", "APPEND k x", "PEXPIRE k 60",
        ):  # fmt: skip
            pair.compare(*words.split())
        time.sleep(0.1)
        for words in ("RENAME k x", "COPY k x", "PERSIST k", "DEL k", "DBSIZE", "RANDOMKEY"):
            pair.compare(*words.split())


def test_every_command_of_the_groups_is_compared() -> None:
    of_groups = {
        name.decode() for name, row in ROWS.items() if row.documentation.group in GROUPS_COMPARED
    } | DATABASE_COMMANDS
    compared = (
        set(COMMANDS) | SCAN_IS_COMPARED_AS_A_WHOLE | set(HASH_FIELDS) | BLOCKING_POPS | UNKNOWN_TO_THE_JUDGE
    )
    assert of_groups - compared == set()


def scan_all(connection: Any, options: list[Any]) -> set[bytes]:
    """Run a whole iteration; return the keys."""
    cursor = b"0"
    found: set[bytes] = set()
    for _ in range(100_000):
        cursor, keys = connection.ask("SCAN", cursor, *options)
        found.update(keys)
        if cursor == b"0":
            return found
    raise AssertionError("the iteration does not end")
