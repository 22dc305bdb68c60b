"""Hashes with fields that expire, out of and into Redis 8.0 and Valkey 9: DUMP, full syncs, the old forms."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from redoubt.data import listpack
from redoubt.data.hash import Hash
from redoubt.persist import payload
from redoubt.persist.rdb_format import CorruptFile
from redoubt.persist.rdb_hash_times import PackedTimedHashReader, TimedHashReader
from redoubt.persist.rdb_source import RdbSource
from tests.judges import judge_program
from tests.redoubt.harness import (
    PATIENCE_S,
    Connection,
    Harness,
    ServerProcess,
    redis_process,
    server_process,
)

FAR_MS = 33177117420000
MANY = [word for number in range(600) for word in (f"field:{number}", number)]
FIELDS = ["FIELDS", 3, "field:0", "field:1", "g"]


@pytest.fixture(scope="module")
def redis() -> Iterator[ServerProcess]:
    with redis_process(program=judge_program("redis-8.0")) as server:
        yield server


@pytest.fixture(scope="module")
def ours() -> Iterator[ServerProcess]:
    with server_process() as server:
        yield server


def fill(connection: Connection) -> None:
    """Make a small and a large hash, each with fields that expire and fields that do not."""
    connection.ask("FLUSHALL")
    connection.ask("HSET", "small", "field:0", 1, "field:1", "text", "g", "never")
    connection.ask("HSET", "large", *MANY, "g", "never")
    for key in ("small", "large"):
        # The earliest first: Redis leaves the earliest time that it has noted if a new one is close to it.
        connection.ask("HPEXPIREAT", key, FAR_MS, "FIELDS", 1, "field:1")
        connection.ask("HPEXPIREAT", key, FAR_MS + 7, "FIELDS", 1, "field:0")


def contents(connection: Connection) -> list[Any]:
    """Return what both hashes hold, with times and encodings."""
    found: list[Any] = []
    for key in ("small", "large"):
        pairs = connection.ask("HGETALL", key)
        found.append(sorted(zip(pairs[::2], pairs[1::2], strict=True)))
        found.append(connection.ask("HPEXPIRETIME", key, *FIELDS))
        found.append(connection.ask("OBJECT", "ENCODING", key))
    return found


@pytest.mark.process
@pytest.mark.differential
def test_payloads_are_taken_by_both_and_equal_while_packed(redis: ServerProcess, ours: ServerProcess) -> None:
    judge, mine = redis.connect(), ours.connect()
    fill(judge)
    expected = contents(judge)
    mine.ask("FLUSHALL")
    dumped = {key: judge.ask("DUMP", key) for key in ("small", "large")}
    for key, data in dumped.items():
        assert mine.ask("RESTORE", key, 0, data).text == b"OK"
    assert contents(mine) == expected
    assert mine.ask("DUMP", "small") == dumped["small"]
    judge.ask("FLUSHALL")
    for key in dumped:
        assert judge.ask("RESTORE", key, 0, mine.ask("DUMP", key)).text == b"OK"
    assert contents(judge) == expected


@pytest.mark.process
@pytest.mark.differential
@pytest.mark.parametrize("master_is_ours", [True, False])
def test_full_sync_and_stream_carry_the_times(
    redis: ServerProcess, ours: ServerProcess, master_is_ours: bool
) -> None:
    master, replica = (ours, redis) if master_is_ours else (redis, ours)
    source, target = master.connect(), replica.connect()
    fill(source)
    expected = contents(source)
    try:
        target.ask("REPLICAOF", "127.0.0.1", master.port)
        wait_until(lambda: b"master_link_status:up" in target.ask("INFO", "replication"))
        wait_until(lambda: contents(target) == expected)
        source.ask("HPERSIST", "small", "FIELDS", 1, "field:0")
        source.ask("HSETEX", "small", "PXAT", FAR_MS + 1, "FIELDS", 1, "g", "then")
        source.ask("HGETEX", "large", "PXAT", FAR_MS + 2, "FIELDS", 1, "g")
        if master_is_ours:  # Redis 8.0.2 tells its replicas HSET, which drops the time there
            source.ask("HINCRBYFLOAT", "large", "field:0", 1.5)
        source.ask("HPEXPIRE", "large", 50, "FIELDS", 1, "field:1")
        source.ask("HGETDEL", "small", "FIELDS", 1, "field:1")
        wait_until(lambda: source.ask("HLEN", "large") == 600)
        wait_until(lambda: contents(target) == contents(source))
        assert target.ask("HPEXPIRETIME", "small", *FIELDS) == [-1, -2, FAR_MS + 1]
        assert target.ask("HPEXPIRETIME", "large", *FIELDS) == [FAR_MS + 7, -2, FAR_MS + 2]
    finally:
        target.ask("REPLICAOF", "NO", "ONE")


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.process
@pytest.mark.differential
def test_hash_of_valkey_keeps_its_times(ours: ServerProcess) -> None:
    with redis_process(program=judge_program("valkey-9")) as server:
        judge, mine = server.connect(), ours.connect()
        fill(judge)
        mine.ask("FLUSHALL")
        for key in ("small", "large"):
            assert mine.ask("RESTORE", key, 0, judge.ask("DUMP", key)).text == b"OK"
        found, expected = contents(mine), contents(judge)
        assert [found[0], found[1], found[3], found[4]] == [
            expected[0],
            expected[1],
            expected[3],
            expected[4],
        ]


def test_file_is_of_the_newer_version_only_while_fields_expire() -> None:
    harness = Harness()
    client = harness.connect()
    versions = []
    for words in (
        ["HSET", "h", "f", 1],
        ["HEXPIRE", "h", 10, "FIELDS", 1, "f"],
        ["HPERSIST", "h", "FIELDS", 1, "f"],
    ):
        client.ask(*words)
        client.ask("SAVE")
        versions.append(harness.files["/data/dump.rdb"][:9])
    assert versions == [b"REDIS0010", b"REDIS0012", b"REDIS0010"]


def test_forms_from_before_the_release_have_absolute_times() -> None:
    table = payload.sealed(b"\x16\x02\x40\x64\x01f\x01v\x00\x01g\x01w", 12)
    packed = listpack.build([b"f", b"v", b"100", b"g", b"w", b"0"])
    for data in (table, payload.sealed(b"\x17" + bytes([len(packed)]) + packed, 12)):
        value = payload.restore(data)
        assert isinstance(value, Hash)
        assert (sorted(value.pairs()), value.due_ms(b"f"), value.due_ms(b"g")) == (
            [(b"f", b"v"), (b"g", b"w")], 100, 0,
        )  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [[], [b"f", b"v"], [b"f", b"v", b"x"], [b"f", b"v", b"-1"], [b"f", b"v", b"1", b"f", b"w", b"2"]],
)
def test_pack_that_is_no_hash_with_times_is_refused(words: list[bytes]) -> None:
    packed = listpack.build(words)
    source = RdbSource("file")
    source.feed(bytes(8) + bytes([len(packed)]) + packed)
    source.gather()
    with pytest.raises(CorruptFile):
        PackedTimedHashReader().read(source)


@pytest.mark.parametrize("body", [b"\x00", b"\x02\x00\x01f\x01v\x00\x01f\x01w"])
def test_table_that_is_no_hash_with_times_is_refused(body: bytes) -> None:
    source = RdbSource("file")
    source.feed((100).to_bytes(8, "little") + body)
    source.gather()
    with pytest.raises(CorruptFile):
        TimedHashReader().read(source)
