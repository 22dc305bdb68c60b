"""Slots with keys of every type move to another node and back, under writers, and lose nothing.

Beside the two masters stands a third server outside the cluster, which gets every write, too. Its reply must
be that of the cluster, wherever the key is at that moment; at the end its keys must hold the same, down to
groups, pending entries, times of fields and encodings. There and back: at once (CLUSTER MIGRATESLOTS), and
key by key (SETSLOT and MIGRATE).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from redoubt.data.key_slot import key_slot
from redoubt.resp.replies import ErrorReply, SimpleString
from tests.redoubt.cluster.test_migration_processes import Cluster
from tests.redoubt.cluster.test_processes import until
from tests.redoubt.harness import Connection, ServerProcess, server_process

pytestmark = pytest.mark.process

OK = SimpleString(b"OK")
# Their slots, 3300, 7365 and 7629, belong to the first master.
TAGS = ("{b}", "{c}", "{k}")
KINDS = (
    "text", "count", "list", "long-list", "set", "numbers", "large-set", "hash", "large-hash", "timed-hash",
    "sorted", "large-sorted", "stream", "long-stream", "seen", "many-seen", "bits", "places",
)  # fmt: skip
DUE_MS = 7_258_118_400_000  # in the year 2200
GROUP = "g"


def key_of(kind: str, tag: str) -> str:
    return f"{kind}:{tag}"


def beginnings(kind: str, key: str) -> list[list[Any]]:
    """Return the commands that make a key of a kind; some are large enough for the other encoding."""
    many = 600
    made: dict[str, list[list[Any]]] = {
        "text": [["SET", key, "begin", "PXAT", DUE_MS]],
        "count": [["SET", key, 5]],
        "list": [["RPUSH", key, "a", "b"]],
        "long-list": [["RPUSH", key, *["x" * 100 + str(n) for n in range(many)]]],
        "set": [["SADD", key, "a", "b"]],
        "numbers": [["SADD", key, 1, 2, 300]],
        "large-set": [["SADD", key, *[f"member-{n}" for n in range(many)]]],
        "hash": [["HSET", key, "f", "v"]],
        "large-hash": [["HSET", key, *[word for n in range(many) for word in (f"f{n}", n)]]],
        "timed-hash": [["HSET", key, "f", "v", "g", "w"], ["HPEXPIREAT", key, DUE_MS, "FIELDS", 1, "f"]],
        "sorted": [["ZADD", key, 1, "a", 2.5, "b"]],
        "large-sorted": [["ZADD", key, *[word for n in range(many) for word in (n / 7, f"m{n}")]]],
        "stream": [["XADD", key, "1-1", "f", "v"], ["XGROUP", "CREATE", key, GROUP, 0]],
        "long-stream": [*[["XADD", key, f"1-{n + 1}", "f", "v" * 50] for n in range(300)],
                        ["XGROUP", "CREATE", key, GROUP, 0]],
        "seen": [["PFADD", key, "a", "b"]],
        "many-seen": [["PFADD", key, *range(5000)]],
        "bits": [["SETBIT", key, 7, 1]],
        "places": [["GEOADD", key, 13.36, 38.11, "a"]],
    }  # fmt: skip
    return made[kind]


def writes(kind: str, key: str, n: int) -> list[list[Any]]:
    """Return the n-th writes to a key, whose replies do not depend on the time."""
    if kind.endswith("stream"):
        return [
            ["XADD", key, f"2-{n + 1}", "n", n],
            ["XREADGROUP", "GROUP", GROUP, f"c{n % 3}", "COUNT", 2, "STREAMS", key, ">"],
            ["XACK", key, GROUP, f"2-{n // 2 + 1}"],
            ["XCLAIM", key, GROUP, "thief", 0, f"2-{n}", "JUSTID"],
            ["XDEL", key, f"2-{n // 3 + 1}"],
        ]
    made: dict[str, list[list[Any]]] = {
        "text": [["APPEND", key, n], ["SETRANGE", key, n % 50, "r"]],
        "count": [["INCRBY", key, n]],
        "list": [["RPUSH", key, n], ["LPOP", key]],
        "long-list": [["LPUSH", key, "y" * 50 + str(n)], ["LSET", key, -1 - n % 99, n], ["RPOP", key]],
        "set": [["SADD", key, n], ["SREM", key, n - 3]],
        "numbers": [["SADD", key, n], ["SREM", key, n - 9]],
        "large-set": [["SADD", key, n], ["SREM", key, f"member-{n % 500}"]],
        "hash": [["HSET", key, "f", n], ["HINCRBY", key, "n", 2]],
        "large-hash": [["HSET", key, f"f{n % 900}", n], ["HDEL", key, f"f{(n + 1) % 900}"]],
        "timed-hash": [["HSET", key, f"t{n % 7}", n],
                       ["HPEXPIREAT", key, DUE_MS + n, "FIELDS", 1, f"t{n % 7}"],
                       ["HPERSIST", key, "FIELDS", 1, f"t{(n + 3) % 7}"]],
        "sorted": [["ZINCRBY", key, 0.5, f"m{n % 20}"], ["ZPOPMIN", key]],
        "large-sorted": [["ZADD", key, n, f"m{n % 700}"], ["ZREM", key, f"m{(n + 1) % 700}"]],
        "seen": [["PFADD", key, n]],
        "many-seen": [["PFADD", key, f"x{n}"]],
        "bits": [["SETBIT", key, n % 5000, 1], ["BITFIELD", key, "INCRBY", "u16", n % 20 * 16, 3]],
        "places": [["GEOADD", key, n % 100, n % 50, f"p{n % 30}"]],
    }  # fmt: skip
    return made[kind]


class Client:
    """Follows MOVED and ASK between the two masters, as every client of a cluster does."""

    def __init__(self, nodes: list[ServerProcess]) -> None:
        self.connections = {node.port: node.connect() for node in nodes}
        self.port = nodes[0].port
        self.redirections = {b"MOVED": 0, b"ASK": 0}

    def ask(self, words: list[Any]) -> Any:
        reply = self.connections[self.port].ask(*words)
        for _ in range(5):
            if not isinstance(reply, ErrorReply):
                return reply
            kind, _, rest = reply.text.partition(b" ")
            if kind not in self.redirections:
                return reply
            self.redirections[kind] += 1
            port = int(rest.rpartition(b":")[2])
            if kind == b"MOVED":
                self.port = port
            else:
                assert self.connections[port].ask("ASKING") == OK
            reply = self.connections[port].ask(*words)
        return reply


class Writer(threading.Thread):
    """Writes to the keys of one tag in the cluster and at the witness; the replies must be equal."""

    def __init__(self, nodes: list[ServerProcess], witness: ServerProcess, tag: str) -> None:
        super().__init__()
        self.client = Client(nodes)
        self.witness = witness.connect()
        self.tag = tag
        self.rounds = 0
        self.wrong: list[Any] = []
        self.is_over = False
        for kind in KINDS:
            self.send(beginnings(kind, key_of(kind, tag)))

    def send(self, commands: list[list[Any]]) -> None:
        for words in commands:
            found, expected = self.client.ask(words), self.witness.ask(*words)
            if found != expected:
                self.wrong.append((words[:4], found, expected))

    def run(self) -> None:
        while not self.is_over and not self.wrong:
            for kind in KINDS:
                self.send(writes(kind, key_of(kind, self.tag), self.rounds))
            self.rounds += 1

    def wait(self, rounds: int) -> None:
        """Wait until so many more rounds have been written."""
        past = self.rounds + rounds
        until(lambda: self.rounds >= past or bool(self.wrong), "the writer goes on")

    def stop(self) -> None:
        self.is_over = True
        self.join()
        assert self.wrong == []


def contents(connection: Connection, kind: str, key: str) -> list[Any]:
    """Return everything that a key is, but for when something was delivered or seen."""
    held = [
        connection.ask("TYPE", key),
        connection.ask("OBJECT", "ENCODING", key),
        # MIGRATE sends what is left of a lifetime, as in Redis, and the way takes a few milliseconds.
        (connection.ask("PEXPIRETIME", key) + 5000) // 10_000,
        connection.ask("DEBUG", "DIGEST-VALUE", key),
    ]
    if kind == "timed-hash":
        fields = sorted(connection.ask("HKEYS", key))
        held.append(connection.ask("HPEXPIRETIME", key, "FIELDS", len(fields), *fields))
    if kind.endswith("stream"):
        held.append(without_times(connection.ask("XINFO", "STREAM", key, "FULL", "COUNT", 0)))
    if kind.endswith("seen"):
        held.append(connection.ask("PFCOUNT", key))
    return held


def without_times(reply: Any) -> Any:
    """Drop from a reply of XINFO when consumers were seen and entries delivered, and sizes of the tree."""
    if not isinstance(reply, list):
        return reply
    if len(reply) == 4 and isinstance(reply[0], bytes) and b"-" in reply[0]:
        return [reply[0], reply[1], reply[3]]  # a pending entry: id, consumer, time, deliveries
    if len(reply) == 3 and isinstance(reply[0], bytes) and b"-" in reply[0]:
        return [reply[0], reply[2]]
    kept = []
    skips = False
    for item in reply:
        if not skips and item not in (b"seen-time", b"active-time", b"radix-tree-keys", b"radix-tree-nodes"):
            kept.append(without_times(item))
        skips = not skips and item in (b"seen-time", b"active-time", b"radix-tree-keys", b"radix-tree-nodes")
    return kept


@pytest.fixture
def servers() -> Iterator[tuple[Cluster, ServerProcess]]:
    with ExitStack() as stack:
        words = ("--enable-debug-command", "yes")
        yield Cluster(stack, 0, *words), stack.enter_context(server_process(*words))


def move_key_by_key(cluster: Cluster, source: int, target: int) -> None:
    """Move the slots of the tags as `redis-cli --cluster reshard` does."""
    port = cluster.all[target].port
    for tag in TAGS:
        slot = key_slot(tag.encode())
        assert cluster.ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.node_id(source)) == OK
        assert cluster.ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.node_id(target)) == OK
        while keys := cluster.ask(source, "CLUSTER", "GETKEYSINSLOT", slot, 4):
            reply = cluster.ask(source, "MIGRATE", "127.0.0.1", port, "", 0, 5000, "KEYS", *keys)
            assert reply in (OK, SimpleString(b"NOKEY")), reply
            time.sleep(0.05)  # so that the writers meet the slot half here and half there
        for at in (target, source):
            assert cluster.ask(at, "CLUSTER", "SETSLOT", slot, "NODE", cluster.node_id(target)) == OK


def test_slots_of_every_type_move_at_once_and_key_by_key(servers: tuple[Cluster, ServerProcess]) -> None:
    cluster, witness = servers
    library = "#!lua name=l\nredis.register_function('f', function() return 1 end)"
    assert cluster.ask(0, "FUNCTION", "LOAD", library) == b"l"
    writers = [Writer(cluster.all, witness, tag) for tag in TAGS]
    for writer in writers:
        writer.start()
        writer.wait(5)
    first, last = min(key_slot(tag.encode()) for tag in TAGS), max(key_slot(tag.encode()) for tag in TAGS)
    cluster.move(first, last)
    cluster.wait_for(b"success")
    for writer in writers:
        writer.wait(5)
        assert writer.client.redirections[b"MOVED"] >= 1
    move_key_by_key(cluster, 1, 0)
    for writer in writers:
        writer.wait(5)
        writer.stop()
    assert sum(writer.client.redirections[b"ASK"] for writer in writers) > 0
    ours, theirs = cluster.all[0].connect(), witness.connect()
    for tag in TAGS:
        for kind in KINDS:
            key = key_of(kind, tag)
            assert contents(ours, kind, key) == contents(theirs, kind, key), key
    assert cluster.ask(1, "DBSIZE") == 0
    assert cluster.ask(0, "DBSIZE") == len(TAGS) * len(KINDS) == theirs.ask("DBSIZE")
    assert cluster.ask(1, "FUNCTION", "LIST") == [], "functions belong to nodes, not to slots"
