"""Keyspace notifications beside a real redis-server: the same events, in the same order and database.

Beside the two connections that run the generated calls, each server has one that listens to every event.
After each call both are told to publish a mark; what came before it are the events of the call. Keys whose
time is up are noticed at moments of each server's own, so `expired` is compared in a case of its own.
"""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from redoubt.resp.replies import Push
from tests.differential.pair import Pair
from tests.differential.vocabulary import Call
from tests.differential.words import COMMANDS
from tests.redoubt.harness import Connection, ServerProcess, redis_process, server_process

pytestmark = [
    pytest.mark.differential,
    pytest.mark.process,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs a redis-server to compare with"),
]

MARK = b"end of the call"
# What they take away is drawn at random, and so is what follows from it.
RANDOM = {"spop", "randomkey"}
# Redis looks a missing key of XREAD up twice, and notifies twice that it is missing; that of XAUTOCLAIM
# before it reads the options, which may be wrong.
NOTIFIED_OTHERWISE = {"xread", "xautoclaim"}
CALLS = [calls for name, calls in COMMANDS.items() if name not in RANDOM | NOTIFIED_OTHERWISE]


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[ServerProcess, ServerProcess]]:
    words = ("--notify-keyspace-events", "AKEmn")
    with redis_process(*words) as judge, server_process(*words) as ours:
        yield judge, ours


class Witness:
    """A connection that hears every event of one server."""

    def __init__(self, server: ServerProcess, resp: int) -> None:
        self.connection: Connection = server.connect()
        if resp == 3:
            self.connection.ask("HELLO", 3)
        self.connection.ask("PSUBSCRIBE", "__key*")
        self.connection.ask("SUBSCRIBE", MARK)

    def events(self, with_expired: bool = False) -> list[Any]:
        """Return what was heard before the mark: channel and message."""
        heard = []
        while True:
            message = self.connection.read()
            parts = message.items if isinstance(message, Push) else message
            if parts[:2] == [b"message", MARK]:
                return heard
            if with_expired or (not parts[2].endswith(b":expired") and parts[3] != b"expired"):
                heard.append((parts[2], parts[3]))


class Witnesses:
    """Both servers with a witness each."""

    def __init__(self, servers: tuple[ServerProcess, ServerProcess], resp: int) -> None:
        self.pair = Pair(*servers, resp)
        self.witnesses = [Witness(server, resp) for server in servers]

    def events(self) -> tuple[list[Any], list[Any]]:
        """Return the events since the last time: the judge's, and ours."""
        self.pair.both([b"PUBLISH", MARK, b""])
        return self.witnesses[0].events(), self.witnesses[1].events()

    def reset(self) -> None:
        self.pair.reset()
        self.events()

    def compare(self, argv: Call) -> None:
        """Run a call on both; replies and events must be alike."""
        self.pair.compare(*argv)
        expected, found = self.events()
        assert expected == found, f"{argv}: Redis notifies {expected!r}, we notify {found!r}"

    def close(self) -> None:
        self.pair.close()
        for witness in self.witnesses:
            witness.connection.close()


class Conversation(RuleBasedStateMachine):
    """Generated calls to both servers, whose events must be alike after each."""

    both: ClassVar[Witnesses]

    def __init__(self) -> None:
        super().__init__()
        self.both.reset()

    @rule(argv=st.one_of(*CALLS))
    def ask(self, argv: Call) -> None:
        self.both.compare(argv)

    @rule(database=st.sampled_from([0, 0, 1]))
    def select(self, database: int) -> None:
        self.both.compare([b"SELECT", b"%d" % database])


@pytest.mark.parametrize("resp", [2, 3])
def test_generated_calls_notify_alike(servers: tuple[ServerProcess, ServerProcess], resp: int) -> None:
    Conversation.both = Witnesses(servers, resp)
    try:
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
    finally:
        Conversation.both.close()


@pytest.mark.parametrize(
    "lines",
    [
        ["SADD s a b c", "SPOP s", "SPOP s 9"],
        ["SADD s a", "SPOP s", "SPOP s 0", "SPOP s"],
        ["SADD s a b c d", "SPOP s 2", "SRANDMEMBER s", "SRANDMEMBER no"],
        ["RPUSH l a", "RPOPLPUSH l m", "LMOVE m m LEFT RIGHT", "RPUSH m b", "LMOVE m l LEFT RIGHT"],
        ["SET a 1", "SET b 1", "RENAME a b", "RENAME b b", "COPY b c", "COPY b c REPLACE", "MOVE c 1"],
        ["SET a 1 EX 100", "SET a 1 KEEPTTL", "GETEX a PERSIST", "GETEX a EX 10", "EXPIRE a -1", "TTL a"],
        ["SETEX a 100 1", "PERSIST a", "PERSIST a", "EXPIRE a 100 XX", "EXPIRE a 100", "UNLINK a a"],
    ],
)
def test_directed_calls_notify_alike(servers: tuple[ServerProcess, ServerProcess], lines: list[str]) -> None:
    both = Witnesses(servers, 2)
    both.reset()
    for line in lines:
        argv = line.encode().split()
        both.pair.both(argv)
        expected, found = both.events()
        assert expected == found, line
    both.close()


def test_a_key_whose_time_is_up_is_notified_as_expired(servers: tuple[ServerProcess, ServerProcess]) -> None:
    heard = []
    for server in servers:
        client, listener = server.connect(), server.connect()
        client.ask("FLUSHALL")
        listener.ask("PSUBSCRIBE", "__key*@0__:*")
        client.ask("SET", "k", "v", "PX", 1)
        messages = [listener.read() for _ in range(8)]
        time.sleep(0.02)
        client.ask("SET", "k", "w")  # whoever notices first, the time or this
        messages += [listener.read() for _ in range(4)]
        heard.append([message[2:] for message in messages])
        client.close()
        listener.close()
    assert heard[0] == heard[1]


OVERWRITERS = """
    SET k w ; SET k w KEEPTTL ; SET k w NX ; SET k w XX ; SET k w GET ; SET k w EX 100 ; SETEX k 100 w ;
    PSETEX k 100000 w ; SETNX k w ; GETSET k w ; GETDEL k ; GETEX k EX 5 ; MSET k w j w ;
    MSETNX k w j w ; APPEND k w ; SETRANGE k 1 w ; SETBIT k 1 1 ; BITFIELD k SET u8 0 1 ; INCR k ;
    INCRBYFLOAT k 1 ; BITOP NOT k s ; DEL k ; UNLINK k ; EXPIRE k 100 ; PERSIST k ; RENAME k j ;
    RENAME s k ; RENAMENX s k ; COPY s k ; COPY k j ; COPY s k REPLACE ; MOVE k 1 ; SADD k a ;
    SUNIONSTORE k u ; SINTERSTORE k u nope ; SDIFFSTORE k u ; SMOVE u k a ; HSET k f v ; HSETNX k f v ;
    HINCRBY k f 1 ; LPUSH k a ; LPUSHX k a ; RPUSHX k a ; LMOVE l k LEFT LEFT ; RPOPLPUSH l k ;
    LINSERT k BEFORE a b ; ZADD k 1 a ; ZUNIONSTORE k 1 z ; ZINTERSTORE k 2 z nope ; ZDIFFSTORE k 1 z ;
    ZRANGESTORE k z 0 -1 ; ZRANGESTORE k z 5 6 ; ZINCRBY k 1 a ; GEOADD k 1 1 a ;
    GEOSEARCHSTORE k g FROMMEMBER a BYRADIUS 1 km ; SORT l STORE k ; SORT nope STORE k ; PFADD k a ;
    PFMERGE k p ; XADD k 1-1 f v ; XADD k NOMKSTREAM 1-1 f v ; XGROUP CREATE k g 0 MKSTREAM ; GET k ;
    TTL k ; TYPE k ; EXISTS k ; TOUCH k ; OBJECT ENCODING k ; STRLEN k ; LRANGE k 0 1 ; SORT k ;
    RESTORE k 0 PAYLOAD ; RESTORE k 0 PAYLOAD REPLACE ; DUMP k ;
    EVAL "return redis.call('set','k','w')" 1 k
"""


def test_what_comes_across_an_expired_key_notifies_alike() -> None:
    words = ("--notify-keyspace-events", "AKEmn", "--enable-debug-command", "yes")
    with redis_process(*words) as judge, server_process(*words) as ours:
        both = Witnesses((judge, ours), 2)
        for connection in (both.pair.judge, both.pair.ours):
            connection.ask("DEBUG", "SET-ACTIVE-EXPIRE", 0)
        unequal: list[str] = []
        for line in " ".join(OVERWRITERS.split()).split(" ; "):
            both.reset()
            for earlier in ("SET s t", "SADD u a", "RPUSH l a", "ZADD z 1 a", "GEOADD g 1 1 a", "PFADD p a"):
                both.pair.both(earlier.encode().split())
            payload = both.pair.judge.ask("DUMP", "s")
            both.pair.both([b"SET", b"k", b"v", b"PX", b"1"])
            time.sleep(0.003)
            both.pair.both([b"PUBLISH", MARK, b""])
            for witness in both.witnesses:
                witness.events()
            replies = both.pair.both(
                [payload if word == "PAYLOAD" else word.encode() for word in shlex.split(line)]
            )
            both.pair.both([b"PUBLISH", MARK, b""])
            theirs, found = [witness.events(True) for witness in both.witnesses]
            if theirs != found or (replies[0] != replies[1] and not line.startswith("DUMP")):
                unequal.append(f"{line}: {replies[0]} {theirs}, ours {replies[1]} {found}")
        both.close()
    assert unequal == []


def test_events_can_be_chosen_and_are_off_by_default() -> None:
    with server_process() as server:
        client, listener = server.connect(), server.connect()
        listener.ask("PSUBSCRIBE", "*")
        client.ask("SET", "a", 1)
        client.ask("CONFIG", "SET", "notify-keyspace-events", "El")
        client.ask("SET", "a", 1)
        client.ask("LPUSH", "l", 1)
        assert listener.read()[2:] == [b"__keyevent@0__:lpush", b"l"]
        client.ask("CONFIG", "SET", "notify-keyspace-events", "Kg")
        client.ask("LPOP", "l")
        assert listener.read()[2:] == [b"__keyspace@0__:l", b"del"]
        client.ask("CONFIG", "SET", "notify-keyspace-events", "g$lshzx")  # neither K nor E
        client.ask("DEL", "a")
        client.ask("PUBLISH", "c", "end")
        assert listener.read()[2:] == [b"c", b"end"]
