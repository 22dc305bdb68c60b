"""What Redis 7.0 does not have, against Redis 8.0: times of fields, and what else 7.4 added; RESP2 and RESP3.

The ways of asking are those of `tests/test_differential.py`: directed scripts and a state machine, whose
calls run alone, inside MULTI and inside EVAL. Where the newer judge cannot be had the tests skip and say why.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from tests.differential.hash_fields import HASH_FIELD_SCRIPTS, HASH_FIELDS
from tests.differential.hashes import HASH
from tests.differential.newer import NEWER_SCRIPTS
from tests.differential.pair import Pair, same_reply
from tests.differential.transactions import compare_transaction
from tests.differential.vocabulary import KEYS, Call, call
from tests.judges import judge_program
from tests.redoubt.harness import ServerProcess, redis_process, server_process

pytestmark = [pytest.mark.differential, pytest.mark.process]

SCRIPTS = HASH_FIELD_SCRIPTS | NEWER_SCRIPTS
KEY_COMMANDS = {
    "copy": call(b"COPY", KEYS, KEYS),
    "del": call(b"DEL", KEYS),
    "rename": call(b"RENAME", KEYS, KEYS),
    "type": call(b"TYPE", KEYS),
}
# 8.0 refuses an empty cursor, which 7.2 takes for 0.
HSCAN = HASH["hscan"].filter(lambda argv: argv[2] != b"")
COMMANDS = {**HASH, **HASH_FIELDS, **KEY_COMMANDS, "hscan": HSCAN}


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[ServerProcess, ServerProcess]]:
    with redis_process(program=judge_program("redis-8.0")) as judge, server_process() as ours:
        yield judge, ours


@contextmanager
def fresh_pair(servers: tuple[ServerProcess, ServerProcess], resp: int) -> Iterator[Pair]:
    pair = Pair(*servers, resp)
    try:
        pair.reset()
        yield pair
    finally:
        pair.close()


def compare_hashes(pair: Pair) -> None:
    """Assert that both hold the same hashes with the same times of fields."""
    for key in sorted(pair.compare("KEYS", "*")):
        if pair.compare("TYPE", key).text != b"hash":
            continue
        pair.compare("HGETALL", key)
        fields = sorted(pair.compare("HKEYS", key))
        times = pair.compare("HPEXPIRETIME", key, "FIELDS", len(fields), *fields)
        encodings = pair.both([b"OBJECT", b"ENCODING", key])
        # Redis makes room for times as soon as they are asked for, even if no field gets one.
        is_without_times = encodings == (b"listpackex", b"listpack") and set(times) == {-1}
        assert encodings[0] == encodings[1] or is_without_times, (key, encodings)


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("name", SCRIPTS)
def test_script_is_answered_alike(servers: tuple[ServerProcess, ServerProcess], name: str, resp: int) -> None:
    with fresh_pair(servers, resp) as pair:
        for line in SCRIPTS[name].strip().splitlines():
            pair.compare(*shlex.split(line))
        compare_hashes(pair)


class Conversation(RuleBasedStateMachine):
    """Generated calls to both servers, one after the other; at the end both must hold the same data."""

    pair: ClassVar[Pair]

    def __init__(self) -> None:
        super().__init__()
        self.pair.both([b"DISCARD"])  # a failure may have left a transaction open
        self.pair.reset()

    @rule(argv=st.one_of(*COMMANDS.values()))
    def ask(self, argv: Call) -> None:
        self.pair.compare(*argv)

    @rule(key=KEYS, argv=st.one_of(*HASH_FIELDS.values()))
    def ask_of_a_hash(self, key: bytes, argv: Call) -> None:
        self.pair.compare("HSET", key, "f", "1", "g", "2", "h", "3")
        self.pair.compare(argv[0], key, *argv[2:])

    @rule(calls=st.lists(st.one_of(*HASH_FIELDS.values()), min_size=1, max_size=4))
    def run_in_a_transaction(self, calls: list[Call]) -> None:
        compare_transaction(self.pair, calls)

    @rule(argv=st.one_of(*HASH_FIELDS.values()))
    def run_in_a_script(self, argv: Call) -> None:
        source = b"return redis.pcall(unpack(ARGV))"
        expected, found = self.pair.both([b"EVAL", source, b"0", *argv])
        assert same_reply(argv, expected, found), f"{argv}: Redis says {expected!r}, we say {found!r}"

    def teardown(self) -> None:
        compare_hashes(self.pair)


@pytest.mark.parametrize("resp", [2, 3])
def test_generated_calls_are_answered_alike(servers: tuple[ServerProcess, ServerProcess], resp: int) -> None:
    with fresh_pair(servers, resp) as pair:
        Conversation.pair = pair
        run_state_machine_as_test(
            Conversation,
            settings=settings(
                max_examples=50,
                stateful_step_count=50,
                derandomize=True,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )


def test_fields_expire_alike(servers: tuple[ServerProcess, ServerProcess]) -> None:
    with fresh_pair(servers, 2) as pair:
        pair.compare("HSET", "h", "f", 1, "g", 2, "i", 3)
        pair.compare("HPEXPIRE", "h", 60, "FIELDS", 2, "f", "g")
        pair.compare("HSETEX", "gone", "PX", 60, "FIELDS", 1, "f", "v")
        time.sleep(0.4)  # the one thing that no fake clock can do for a real server
        for words in (
            "HGETALL h", "HLEN h", "HTTL h FIELDS 2 f i", "HSETNX h f new", "HGET h g", "EXISTS gone",
            "HEXPIRE h 10 FIELDS 1 g", "HINCRBY h g 1", "HTTL h FIELDS 2 f g", "DBSIZE",
        ):  # fmt: skip
            pair.compare(*words.split())


def subexpiry(connection: Any) -> bytes:
    return connection.ask("INFO", "keyspace").split(b"subexpiry=")[1].split()[0]


def test_info_counts_hashes_with_fields_that_expire(servers: tuple[ServerProcess, ServerProcess]) -> None:
    with fresh_pair(servers, 2) as pair:
        for words in (
            "HSET a f 1 g 2", "HSET b f 1", "HEXPIRE a 1000 FIELDS 2 f g", "HEXPIRE b 1000 FIELDS 1 f",
            "COPY a c", "RENAME a d", "DEL d",
        ):  # fmt: skip
            pair.compare(*words.split())
        assert subexpiry(pair.ours) == subexpiry(pair.judge) == b"2"
        # Redis takes its time to notice this one.
        pair.compare("HPERSIST", "b", "FIELDS", 1, "f")
        assert subexpiry(pair.ours) == b"1"
