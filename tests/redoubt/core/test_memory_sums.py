"""The sums of bytes are what a recount finds, whatever commands have run.

Random commands of all types go to a node; then every key is walked, and each structure is counted anew from
what it holds, without asking it for its own sums.
"""

from __future__ import annotations

from random import Random

import pytest

from redoubt.data.elements import ENTRY_BYTES as TABLE_ENTRY_BYTES
from redoubt.data.elements import Elements
from redoubt.data.hash import Hash
from redoubt.data.keyspace import Keyspace
from redoubt.data.list import CHUNK_BYTES, LISTS_BYTES, TextList
from redoubt.data.memory import BUCKET_BYTES, size_of, size_of_bytes
from redoubt.data.order import ENTRY_BYTES as ORDER_ENTRY_BYTES
from redoubt.data.set import MemberSet
from redoubt.data.sorted_set import SortedSet
from redoubt.data.stream import NODE_BYTES, STREAM_BYTES, Stream
from redoubt.data.stream_group import CONSUMER_BYTES, GROUP_BYTES, PENDING_BYTES
from redoubt.data.structure import STRUCTURE_BYTES
from redoubt.data.text import Value
from tests.redoubt.harness import Client, Harness

KEYS = 12
STEPS = 1500


def recounted(value: Value) -> int:
    """Count a value from what it holds."""
    if isinstance(value, TextList):
        chunks = sum(size_of_bytes(chunk) + CHUNK_BYTES for chunk in value.chunks)
        return STRUCTURE_BYTES + LISTS_BYTES + chunks
    if isinstance(value, Stream):
        return recounted_stream(value)
    if isinstance(value, (Hash, MemberSet, SortedSet)):
        size = STRUCTURE_BYTES
        size += size_of_bytes(value.packed) if value.table is None else recounted_table(value.table)
        if isinstance(value, Hash) and value.deadlines is not None:
            size += value.deadlines.size_bytes()
        if isinstance(value, SortedSet) and value.order is not None:
            assert sum(map(len, value.order.members)) == value.count()
            size += ORDER_ENTRY_BYTES * value.count()
        return size
    return size_of(value)


def recounted_table(table: Elements) -> int:
    size = BUCKET_BYTES * len(table.buckets)
    for bucket in table.buckets:
        for name, value in bucket.values.items():
            size += TABLE_ENTRY_BYTES + size_of_bytes(name)
            size += size_of(value) if table.has_values else 0
    return size


def recounted_stream(stream: Stream) -> int:
    size = STRUCTURE_BYTES + STREAM_BYTES
    size += sum(size_of_bytes(pack) + NODE_BYTES for pack in stream.packs)
    for name, group in stream.groups.items():
        size += size_of_bytes(name) + GROUP_BYTES + PENDING_BYTES * group.pending.total
        size += sum(CONSUMER_BYTES + size_of_bytes(consumer) for consumer in group.consumers)
    return size


def check_sums(keyspaces: list[Keyspace]) -> None:
    for keyspace in keyspaces:
        keys = keyspace.all_keys()
        assert keyspace.key_count == len(keys)
        assert keyspace.key_bytes == sum(map(size_of_bytes, keys))
        values = [(key, keyspace.get(key)) for key in keys]
        wrong = [key for key, value in values if value is not None and recounted(value) != size_of(value)]
        assert wrong == []
        assert keyspace.value_bytes == sum(recounted(value) for _, value in values if value is not None)
        assert keyspace.expiring_count == sum(len(bucket.expiries) for bucket in keyspace.buckets)
        content = sum(table.content_bytes for table in keyspace.tables if table is not None)
        assert content == keyspace.key_bytes + keyspace.value_bytes


class Writer:
    """Draws commands; most of them fit the type of their key, some do not."""

    def __init__(self, seed: int, tag: str) -> None:
        self.random = Random(seed)
        self.tag = tag
        self.payloads: list[bytes] = []

    def text(self) -> bytes:
        return b"%d" % self.random.randrange(300) * self.random.choice((1, 1, 2, 40))

    def key(self, kind: str = "") -> bytes:
        kind = kind or self.random.choice(("s", "h", "l", "i", "z", "x", "p"))
        return f"{kind}{self.random.randrange(KEYS)}{self.tag}".encode()

    def command(self) -> list[bytes | str | int]:
        text, many, number = self.text, range(self.random.choice((1, 3, 60))), self.random.randrange(50)
        s, h, li, i, z, x, p = (self.key(kind) for kind in "shlizxp")
        entry = f"{number}-{self.random.randrange(1, 9)}"
        choices: list[list[bytes | str | int]] = [
            ["SET", s, text()], ["SET", s, text(), "PX", 1000 + number * 100], ["APPEND", s, text()],
            ["SETRANGE", s, number, text()], ["INCR", f"n{number}{self.tag}"], ["SETBIT", s, number * 9, 1],
            ["HSET", h, *[text() for _ in many for _ in "fv"]], ["HDEL", h, *[text() for _ in many]],
            ["HINCRBY", h, f"c{number}", 1], ["HPEXPIRE", h, 500 + number, "FIELDS", 2, text(), text()],
            ["HPERSIST", h, "FIELDS", 1, text()],
            ["RPUSH", li, *[text() for _ in many]], ["LPUSH", li, text()], ["LPOP", li, number],
            ["LTRIM", li, 1, 40], ["LSET", li, 0, text()], ["LREM", li, 0, text()],
            ["RPOPLPUSH", li, self.key("l")],
            ["SADD", i, *[self.random.randrange(10**6) for _ in many]], ["SADD", i, text()],
            ["SPOP", i, number], ["SUNIONSTORE", i, self.key("i"), self.key("i")], ["SREM", i, text()],
            ["ZADD", z, *[word for _ in many for word in (self.random.randrange(99), text())]],
            ["ZREM", z, text()], ["ZPOPMIN", z, number], ["ZINCRBY", z, 1, text()],
            ["ZREMRANGEBYRANK", z, 0, number], ["ZUNIONSTORE", z, 2, self.key("z"), self.key("z")],
            ["XADD", x, "*", text(), text()], ["XADD", x, "MAXLEN", number, "*", "f", text()],
            ["XGROUP", "CREATE", x, f"g{number % 3}", "0", "MKSTREAM"], ["XDEL", x, entry],
            ["XREADGROUP", "GROUP", f"g{number % 3}", text(), "COUNT", 5, "STREAMS", x, ">"],
            ["XACK", x, f"g{number % 3}", entry], ["XTRIM", x, "MAXLEN", number],
            ["XGROUP", "DELCONSUMER", x, f"g{number % 3}", text()],
            ["XGROUP", "DESTROY", x, f"g{number % 3}"],
            ["XAUTOCLAIM", x, f"g{number % 3}", text(), 0, "0"], ["PFADD", p, *[text() for _ in many]],
            ["PFMERGE", p, self.key("p")],
            ["RENAME", self.key(), self.key()], ["COPY", self.key(), self.key(), "REPLACE"],
            ["DEL", self.key()], ["PEXPIRE", self.key(), number * 40], ["PERSIST", self.key()],
            ["SORT", li, "ALPHA", "STORE", self.key("l")],
        ]  # fmt: skip
        if self.tag == "":
            choices += [["MOVE", self.key(), 1], ["SWAPDB", 0, 1], ["SELECT", self.random.randrange(2)]]
        return self.random.choice(choices)

    def dump_or_restore(self, client: Client) -> None:
        if self.payloads and self.random.random() < 0.5:
            client.ask("RESTORE", self.key(), 0, self.random.choice(self.payloads), "REPLACE")
        elif isinstance(payload := client.ask("DUMP", self.key()), bytes):
            self.payloads.append(payload)


def run(harness: Harness, writer: Writer, steps: int) -> None:
    client = harness.connect()
    for step in range(steps):
        client.ask(*writer.command())
        if step % 10 == 0:
            writer.dump_or_restore(client)
        if step % 25 == 0:
            harness.advance(120)
        if step % 100 == 0:
            check_sums(harness.node.state.keyspaces)
    check_sums(harness.node.state.keyspaces)


@pytest.mark.parametrize("seed", range(3))
def test_sums_are_what_a_recount_finds(seed: int) -> None:
    harness = Harness("--hash-max-listpack-entries", "40", "--set-max-listpack-entries", "30", seed=seed)
    run(harness, Writer(seed, ""), STEPS)
    assert sum(keyspace.key_count for keyspace in harness.node.state.keyspaces) > 10
    assert harness.node.state.statistics.expired_keys > 0


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "volatile-ttl"])
def test_sums_hold_while_keys_are_evicted(policy: str) -> None:
    harness = Harness(
        "--maxmemory", "60kb", "--maxmemory-policy", policy, "--zset-max-listpack-entries", "20"
    )
    run(harness, Writer(7, ""), STEPS)
    assert harness.node.state.statistics.evicted_keys > 0


def test_everything_deleted_leaves_nothing() -> None:
    harness = Harness()
    run(harness, Writer(11, ""), 300)
    client = harness.connect()
    for database, keyspace in enumerate(harness.node.state.keyspaces[:2]):
        client.ask("SELECT", database)
        for key in keyspace.all_keys():
            client.ask("DEL", key)
        assert (keyspace.key_bytes, keyspace.value_bytes, keyspace.expiring_count) == (0, 0, 0)
        assert len(keyspace.field_deadlines) == 0
