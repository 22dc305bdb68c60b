"""Streams against a newer Redis: generated calls that meet on few keys and groups, and how far groups lag.

`tests/test_differential.py` mixes all commands and asks 7.0, which does some things otherwise. Here only the
commands on streams meet, so that groups, pending entries and deleted ones come together often. Nodes are
small, so that there are several.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from redoubt.resp.replies import encode_command
from tests.differential.pair import Pair
from tests.differential.streams import (
    CONSUMERS,
    GROUPS,
    LAG_SCRIPT,
    STREAM,
    autoclaims,
    claims,
    comparable,
)
from tests.differential.vocabulary import Call
from tests.judges import judge_program
from tests.redoubt.harness import PATIENCE_S, ServerProcess, redis_process, server_process

pytestmark = [pytest.mark.differential, pytest.mark.process]

STREAM_KEYS = [b"s", b"t"]
NODE_LIMITS = ("--stream-node-max-entries", "3", "--stream-node-max-bytes", "120")


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[ServerProcess, ServerProcess]]:
    program = judge_program("redis-8.0")
    with redis_process(*NODE_LIMITS, program=program) as judge, server_process(*NODE_LIMITS) as ours:
        yield judge, ours


def on_few_keys(argv: Call, key: bytes) -> Call:
    """Let a call be about one of two streams."""
    place = 2 if argv[0] in (b"XGROUP", b"XINFO") else 1
    if argv[0] in (b"XREAD", b"XREADGROUP"):
        place = argv.index(b"STREAMS") + 1
    return [*argv[:place], key, *argv[place + 1 :]]


def is_of_7_2(argv: Call) -> bool:
    """Leave out what is newer: the id `+` of XREAD."""
    return argv[0] != b"XREAD" or b"+" not in argv


def compare_exactly(pair: Pair, line: bytes) -> None:
    """Ask both for the same information; all of it must be equal that can be."""
    expected, found = pair.both(line.split())
    assert comparable(found, True) == comparable(expected, True), line


class Conversation(RuleBasedStateMachine):
    """Calls to both servers, one after the other; at the end both must hold the same streams."""

    pair: ClassVar[Pair]

    def __init__(self) -> None:
        super().__init__()
        self.pair.reset()
        for key in STREAM_KEYS:
            self.pair.compare("XGROUP", "CREATE", key, "g", "0", "MKSTREAM")
            for number in range(1, 6):
                self.pair.compare("XADD", key, f"{number}-1", "f", number, "g", "x")

    @rule(argv=st.one_of(*STREAM.values()).filter(is_of_7_2), key=st.sampled_from(STREAM_KEYS))
    def ask(self, argv: Call, key: bytes) -> None:
        self.pair.compare(*on_few_keys(argv, key))

    @rule(argv=st.one_of(claims(CONSUMERS), autoclaims(CONSUMERS)), key=st.sampled_from(STREAM_KEYS))
    def claim(self, argv: Call, key: bytes) -> None:
        self.pair.compare(*on_few_keys(argv, key))

    @rule(argv=STREAM["xadd"], key=st.sampled_from(STREAM_KEYS))
    def add(self, argv: Call, key: bytes) -> None:
        self.pair.compare(*on_few_keys(argv, key))

    @rule(group=GROUPS, consumer=CONSUMERS, key=st.sampled_from(STREAM_KEYS), count=st.integers(1, 3))
    def deliver(self, group: bytes, consumer: bytes, key: bytes, count: int) -> None:
        self.pair.compare("XREADGROUP", "GROUP", group, consumer, "COUNT", count, "STREAMS", key, ">")

    @rule(key=st.sampled_from(STREAM_KEYS))
    def look(self, key: bytes) -> None:
        compare_exactly(self.pair, b"XINFO STREAM %s FULL COUNT 0" % key)
        compare_exactly(self.pair, b"XINFO GROUPS %s" % key)

    def teardown(self) -> None:
        self.pair.compare_contents(1)


def test_groups_lag_alike(servers: tuple[ServerProcess, ServerProcess]) -> None:
    pair = Pair(*servers)
    pair.reset()
    for line in LAG_SCRIPT.strip().splitlines():
        compare_exactly(pair, line.strip().encode())
    pair.close()


@pytest.mark.parametrize("resp", [2, 3])
def test_generated_calls_on_streams_are_answered_alike(
    servers: tuple[ServerProcess, ServerProcess], resp: int
) -> None:
    pair = Pair(*servers, resp)
    Conversation.pair = pair
    run_state_machine_as_test(
        Conversation,
        settings=settings(
            max_examples=80,
            stateful_step_count=60,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    pair.close()


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs a redis-server as replica")
def test_what_waiting_consumers_were_given_reaches_a_replica() -> None:
    with server_process() as ours, redis_process() as replica:
        client, follower = ours.connect(), replica.connect()
        client.ask("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
        consumers = [ours.connect() for _ in range(3)]
        for number, consumer in enumerate(consumers):
            name = b"consumer %d" % number
            consumer.send(
                encode_command(
                    [
                        b"XREADGROUP",
                        b"GROUP",
                        b"g",
                        name,
                        b"COUNT",
                        b"2",
                        b"BLOCK",
                        b"0",
                        b"STREAMS",
                        b"s",
                        b">",
                    ]
                )
            )
        follower.ask("REPLICAOF", "127.0.0.1", ours.port)
        deadline = time.monotonic() + PATIENCE_S
        while b"master_link_status:up" not in follower.ask("INFO", "replication"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        client.ask("MULTI")
        for number in range(3):
            client.ask("XADD", "s", "*", "n", number)
        client.ask("EXEC")
        client.ask("XADD", "s", "*", "n", 3)
        given = [[entry[1] for entry in consumer.read()[0][1]] for consumer in consumers]
        assert given == [[[b"n", b"0"], [b"n", b"1"]], [[b"n", b"2"]], [[b"n", b"3"]]]
        assert client.ask("WAIT", 1, 5000) == 1
        for line in (b"XINFO GROUPS s", b"XPENDING s g - + 10", b"XRANGE s - +"):
            words = line.split()
            assert comparable(client.ask(*words), True) == comparable(follower.ask(*words), True)
