"""MIGRATE between processes: from Redoubt to a real redis-server, the other way round, and among ours."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from redoubt.resp.replies import OK, ErrorReply, SimpleString
from tests.redoubt.cluster.test_processes import until
from tests.redoubt.harness import ServerProcess, redis_process, server_process

pytestmark = pytest.mark.process

TEXTS = {
    b"empty": b"", b"raw": b"hello", b"int8": b"-7", b"int16": b"30000", b"int32": b"2000000000",
    b"digits": b"9223372036854775807", b"not canonical": b"007", b"lzf": b"ab" * 5000,
    b"noise": os.urandom(70_000),
}  # fmt: skip


class Servers:
    """One process of each kind that a test asks for, by name."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack

    def start(self, kind: str, *words: str) -> ServerProcess:
        return self.stack.enter_context(server_process(*words) if kind == "ours" else redis_process(*words))


@pytest.fixture
def servers() -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(stack)


PAIRS = [("ours", "real"), ("real", "ours"), ("ours", "ours")]


@pytest.mark.parametrize(("source_kind", "target_kind"), PAIRS)
def test_strings_of_every_encoding_move_with_their_expiry(
    servers: Servers, source_kind: str, target_kind: str
) -> None:
    source, target = servers.start(source_kind), servers.start(target_kind, "--requirepass", "secret")
    at, there = source.connect(), target.connect()
    there.ask("AUTH", "secret")
    for key, text in TEXTS.items():
        at.ask("SET", key, text)
    due_ms = 1000 * (int(at.ask("TIME")[0]) + 1000)
    at.ask("SET", "expiring", "x", "PXAT", due_ms)
    keys = [*TEXTS, b"expiring"]
    access = ("127.0.0.1", target.port)
    refused = at.ask("MIGRATE", *access, "raw", 2, 5000)
    assert refused == ErrorReply(b"ERR Target instance replied with error: NOAUTH Authentication required.")
    for _ in range(2):  # the second time over the link that was kept
        assert (
            at.ask("MIGRATE", *access, "", 2, 5000, "AUTH", "secret", "REPLACE", "COPY", "KEYS", *keys) == OK
        )
    assert at.ask("DBSIZE") == len(keys)
    assert (
        at.ask("MIGRATE", *access, "", 2, 5000, "AUTH2", "default", "secret", "REPLACE", "KEYS", *keys) == OK
    )
    assert at.ask("DBSIZE") == 0
    there.ask("SELECT", 2)
    assert {key: there.ask("GET", key) for key in TEXTS} == TEXTS
    assert abs(there.ask("PEXPIRETIME", "expiring") - due_ms) < 2000


@pytest.mark.parametrize(("source_kind", "target_kind"), PAIRS)
def test_payloads_are_taken_by_the_other(servers: Servers, source_kind: str, target_kind: str) -> None:
    at, there = servers.start(source_kind).connect(), servers.start(target_kind).connect()
    for key, text in TEXTS.items():
        at.ask("SET", key, text)
        payload = at.ask("DUMP", key)
        assert there.ask("RESTORE", key, 0, payload) == OK
        assert there.ask("GET", key) == text
        assert there.ask("DUMP", key) == payload
        assert there.ask("OBJECT", "ENCODING", key) == at.ask("OBJECT", "ENCODING", key)


def test_errors_are_those_of_redis(servers: Servers) -> None:
    ours, real = servers.start("ours"), servers.start("real")
    target = servers.start("real")
    holder = target.connect()
    holder.ask("SET", "k", "busy")
    replies: list[list[Any]] = []
    for source in (ours, real):
        at = source.connect()
        at.ask("MSET", "k", "v", "k2", "v")
        calls = (
            ("127.0.0.1", target.port, "k", 0, 1000),
            ("127.0.0.1", target.port, "k", 99, 1000),
            ("127.0.0.1", target.port, "k", -1, 1000),
            ("127.0.0.1", target.port, "k", 0, 1000, "AUTH", "nonsense"),
            ("127.0.0.1", target.port, "k", 0, 1000, "AUTH2", "nobody", "nonsense"),
            ("127.0.0.1", target.port, "", 1, 1000, "COPY", "KEYS", "k", "k2", "nope"),
            ("no-such-host.invalid", target.port, "k", 0, 1000),
            ("127.0.0.1", 1, "k", 0, 1000),
            ("127.0.0.1", 99999, "k", 0, 1000),
            ("127.0.0.1", target.port, "nope", 0, 1000),
        )
        replies.append([at.ask("MIGRATE", *call) for call in calls])
        replies[-1].append(at.ask("MGET", "k", "k2"))
        holder.ask("SELECT", 1)
        holder.ask("FLUSHDB")
    assert replies[0] == replies[1]


def test_no_write_is_lost_while_its_key_moves_to_and_fro(servers: Servers) -> None:
    """One client counts in a key, wherever it is; it moves all the time, and no increment is lost."""
    pair = [servers.start("ours"), servers.start("ours")]
    mover = [server.connect() for server in pair]
    counter = [server.connect() for server in pair]
    mover[0].ask("SET", "k", 0)
    counted = 0
    is_over = threading.Event()

    def count() -> None:
        nonlocal counted
        while not is_over.is_set():
            for connection in counter:
                value = connection.ask("GET", "k")
                # XX: where the key has gone meanwhile, it is not made again.
                if value is not None and connection.ask("SET", "k", int(value) + 1, "XX") == OK:
                    counted += 1

    writer = threading.Thread(target=count)
    writer.start()
    try:
        turn = 0
        while turn < 100 or counted < 100:
            target = pair[1 - turn % 2]
            assert mover[turn % 2].ask("MIGRATE", "127.0.0.1", target.port, "k", 0, 5000) == OK
            turn += 1
    finally:
        is_over.set()
        writer.join()
    values = [connection.ask("GET", "k") for connection in mover]
    assert sorted(value is None for value in values) == [False, True]
    assert next(int(value) for value in values if value is not None) == counted


def test_a_stopped_target_blocks_only_who_asked(servers: Servers) -> None:
    source, target = servers.start("ours"), servers.start("real")
    at, other = source.connect(), source.connect()
    at.ask("MSET", "k", "v", "other", "x")
    target.process.send_signal(19)  # SIGSTOP
    try:
        at.send(b"MIGRATE 127.0.0.1 %d k 0 700\r\n" % target.port)
        assert other.ask("GET", "k") == b"v"
        assert other.ask("SET", "other", "y") == OK
        assert other.ask("SET", "k", "w") == OK  # waits for the end
        assert at.read() == ErrorReply(b"IOERR error or timeout reading to target instance")
    finally:
        target.process.send_signal(18)
    assert other.ask("GET", "k") == b"w"
    assert at.ask("PING") == SimpleString(b"PONG")


@pytest.mark.parametrize(
    ("master_kind", "replica_kind"), [("ours", "real"), ("real", "ours"), ("ours", "ours")]
)
def test_replicas_follow_what_is_restored_and_moved(
    servers: Servers, master_kind: str, replica_kind: str
) -> None:
    master, target = servers.start(master_kind, "--repl-diskless-sync-delay", "0"), servers.start("ours")
    replica = servers.start(replica_kind, "--replicaof", f"127.0.0.1 {master.port}")
    at, copy, there = master.connect(), replica.connect(), target.connect()
    until(lambda: b"master_link_status:up" in copy.ask("INFO", "replication"), "in sync")
    for key, text in TEXTS.items():
        there.ask("SET", key, text)
        assert at.ask("RESTORE", key, 5_000_000, there.ask("DUMP", key), "IDLETIME", 5) == OK
    assert at.ask("RESTORE", "gone", 1, there.ask("DUMP", "raw"), "ABSTTL") == OK
    at.ask("WAIT", 1, 5000)
    assert {key: copy.ask("GET", key) for key in TEXTS} == TEXTS
    assert [copy.ask("PEXPIRETIME", key) for key in TEXTS] == [at.ask("PEXPIRETIME", key) for key in TEXTS]
    assert at.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "REPLACE", "KEYS", *TEXTS) == OK
    at.ask("WAIT", 1, 5000)
    assert copy.ask("DBSIZE") == at.ask("DBSIZE") == 0
