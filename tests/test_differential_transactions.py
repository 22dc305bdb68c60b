"""MULTI and WATCH against a real redis-server: generated calls of every command, alone and between others."""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Iterator
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from redoubt.commands.declare import BLOCKING as BLOCKS
from redoubt.commands.declare import ROWS
from redoubt.resp.replies import OK
from tests.differential.no_changes import GROUP_CALLS, GROUPS, NO_CHANGES
from tests.differential.pair import Pair
from tests.differential.transactions import BLOCKING, QUEUED, REFUSED, compare_transaction
from tests.differential.vocabulary import KEYS, Call
from tests.differential.words import COMMANDS
from tests.redoubt.harness import ServerProcess, redis_process, server_process

pytestmark = [
    pytest.mark.differential,
    pytest.mark.process,
    pytest.mark.filterwarnings("ignore:Generating overly large repr"),
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs a redis-server to compare with"),
]
CALLS = st.one_of(*QUEUED.values())
ALONE = st.one_of(*[calls for name, calls in COMMANDS.items() if name in QUEUED])
# Compared elsewhere: XREAD and XREADGROUP with the streams, WAIT in the stories. 7.0 has no WAITAOF.
COMPARED_ELSEWHERE = {"xread", "xreadgroup", "wait", "waitaof"}


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[ServerProcess, ServerProcess]]:
    words = ("--enable-debug-command", "yes")
    with redis_process(*words) as judge, server_process(*words) as ours:
        yield judge, ours


class Transactions(RuleBasedStateMachine):
    """Transactions of generated calls, while another client changes watched keys."""

    pair: ClassVar[Pair]
    other: ClassVar[Pair]

    def __init__(self) -> None:
        super().__init__()
        for words in ([b"DISCARD"], [b"UNWATCH"]):
            self.pair.both(words)  # a failure may have left one open
        self.pair.reset()
        self.other.reset()

    @rule(calls=st.lists(CALLS, max_size=8))
    def run(self, calls: list[Call]) -> None:
        compare_transaction(self.pair, calls)

    @rule(calls=st.lists(st.one_of(CALLS, st.sampled_from(REFUSED)), max_size=5))
    def run_with_what_is_refused(self, calls: list[Call]) -> None:
        compare_transaction(self.pair, calls)

    @rule(
        keys=st.lists(KEYS, min_size=1, max_size=3),
        between=st.lists(ALONE, max_size=3),
        database=st.sampled_from([0, 0, 0, 1]),
        calls=st.lists(CALLS, min_size=1, max_size=3),
    )
    def run_if_unchanged(
        self, keys: list[bytes], between: list[Call], database: int, calls: list[Call]
    ) -> None:
        self.pair.compare("WATCH", *keys)
        self.other.compare("SELECT", database)
        for argv in between:
            self.other.compare(*argv)
        compare_transaction(self.pair, calls)

    @rule(argv=ALONE)
    def ask(self, argv: Call) -> None:
        self.pair.compare(*argv)

    def teardown(self) -> None:
        self.pair.compare_contents()


@pytest.mark.parametrize("resp", [2, 3])
def test_generated_transactions_are_answered_alike(
    servers: tuple[ServerProcess, ServerProcess], resp: int
) -> None:
    Transactions.pair = Pair(*servers, resp)
    Transactions.other = Pair(*servers, resp)
    run_state_machine_as_test(
        Transactions,
        settings=settings(
            max_examples=40,
            stateful_step_count=20,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],  # what fails is said by its last call
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    Transactions.pair.close()
    Transactions.other.close()


def test_watched_keys_that_expire_count_as_changed(servers: tuple[ServerProcess, ServerProcess]) -> None:
    pair, other = Pair(*servers), Pair(*servers)
    for before, after in (
        ("SET k v PX 30", "PING"),
        ("SET k v PX 30", "GET k"),
        ("SET k v PX 30", "DEL k"),
        ("SET k v PX 30", "FLUSHALL"),
        ("SET k v PX 30", "SWAPDB 0 1"),
        ("SET k v PX 30000", "PEXPIRE k 1"),
        ("SET k v PX 30000", "PERSIST k"),
    ):
        pair.reset()
        other.compare(*before.split())
        pair.compare("WATCH", "k")
        other.compare(*after.split())
        time.sleep(0.04)  # the one thing that no fake clock can do for a real server
        compare_transaction(pair, [[b"PING"]])
    pair.close()
    other.close()


@pytest.mark.parametrize("before", [*NO_CHANGES, "a group"])
def test_what_changes_nothing_counts_as_in_redis(
    servers: tuple[ServerProcess, ServerProcess], before: str
) -> None:
    pair, other = Pair(*servers), Pair(*servers)
    unequal: list[str] = []
    for line in " ".join(NO_CHANGES.get(before, GROUP_CALLS).split()).split(" ; "):
        pair.reset()
        for earlier in GROUPS if before == "a group" else [before]:
            other.both([word.encode() for word in shlex.split(earlier)])
        pair.compare("WATCH", "k")
        other.both([word.encode() for word in shlex.split(line)])
        pair.compare("MULTI")
        theirs, ours = pair.both([b"EXEC"])
        if theirs != ours:
            unequal.append(f"{line}: {'kept' if theirs is not None else 'told'} by Redis")
    assert not unequal
    pair.close()
    other.close()


def test_keys_that_had_expired_when_they_were_watched_may_go(
    servers: tuple[ServerProcess, ServerProcess],
) -> None:
    pair, other = Pair(*servers), Pair(*servers)
    for connection in (pair.judge, pair.ours):
        assert connection.ask("DEBUG", "SET-ACTIVE-EXPIRE", 0) == OK
    for after in ("PING", "GET k", "DEL k", "FLUSHALL", "SET k new", "RPUSH k new", "SWAPDB 0 1"):
        pair.reset()
        other.compare("SET", "k", "v", "PX", 1)
        time.sleep(0.01)
        pair.compare("WATCH", "k")
        other.compare(*after.split())
        compare_transaction(pair, [[b"PING"]])
    for connection in (pair.judge, pair.ours):
        assert connection.ask("DEBUG", "SET-ACTIVE-EXPIRE", 1) == OK
    pair.close()
    other.close()


def test_every_blocking_command_is_compared() -> None:
    blocking = {name.decode() for name, row in ROWS.items() if row.flags & BLOCKS}
    assert blocking - set(BLOCKING) - COMPARED_ELSEWHERE == set()
