"""Generic commands: what they propagate, and what only a fake clock can show."""

from __future__ import annotations

import pytest

from redoubt.resp.replies import OK, ErrorReply
from tests.redoubt.commands.recorded import Recorded
from tests.redoubt.harness import START_MS


@pytest.mark.parametrize(
    ("line", "propagated"),
    [
        ("EXPIRE k 10", [f"PEXPIREAT k {START_MS + 10_000}"]),
        ("PEXPIRE k 10", [f"PEXPIREAT k {START_MS + 10}"]),
        ("EXPIREAT k 1800000000", ["PEXPIREAT k 1800000000000"]),
        ("PEXPIREAT k 1800000000000 NX", ["PEXPIREAT k 1800000000000"]),
        ("EXPIRE k 10 XX", []),
        ("EXPIRE k -1", ["DEL k"]),
        ("EXPIREAT k 1", ["DEL k"]),
        ("EXPIRE nope 10", []),
        ("PERSIST k", []),
        ("PERSIST expiring", ["PERSIST expiring"]),
        ("DEL k nope", ["DEL k nope"]),
        ("DEL nope", []),
        ("UNLINK k", ["UNLINK k"]),
        ("RENAME k x", ["RENAME k x"]),
        ("RENAME k k", []),
        ("RENAMENX k expiring", []),
        ("COPY k x", ["COPY k x"]),
        ("COPY k x DB 1", ["COPY k x DB 1"]),
        ("COPY k expiring", []),
        ("MOVE k 1", ["MOVE k 1"]),
        ("TOUCH k", []),
        ("FLUSHDB", ["FLUSHDB"]),
        ("FLUSHALL ASYNC", ["FLUSHALL ASYNC"]),
        ("SWAPDB 1 2", ["SWAPDB 1 2"]),
        ("SCAN 0", []),
    ],
)
def test_what_is_propagated_is_a_decision(line: str, propagated: list[str]) -> None:
    recorded = Recorded()
    recorded.ask("SET k v")
    recorded.ask("SET expiring v EX 100")
    assert recorded.propagates(line) == propagated


def test_keys_expire_without_being_asked_for() -> None:
    recorded = Recorded()
    for number in range(200):
        recorded.client.ask("SET", f"key:{number}", "v", "PX", 500)
    recorded.ask("SET stays v")
    recorded.propagation.lines.clear()
    recorded.harness.advance(1000)
    assert recorded.ask("DBSIZE") == 1
    assert sorted(recorded.propagation.lines) == sorted(f"DEL key:{number}" for number in range(200))
    assert recorded.harness.node.state.statistics.expired_keys == 200


def test_a_replica_hides_expired_keys_and_waits_for_its_master() -> None:
    recorded = Recorded()
    recorded.ask("SET k v PX 100")
    recorded.propagation.is_replica = True
    recorded.harness.advance(1000)
    assert recorded.propagates("GET k") == []
    assert recorded.ask("GET k") is None
    assert recorded.ask("EXISTS k") == 0
    assert recorded.ask("KEYS *") == []
    assert recorded.ask("SCAN 0") == [b"0", []]
    assert recorded.ask("DBSIZE") == 1


def test_ttl_counts_down_and_rounds_to_the_nearest_second() -> None:
    recorded = Recorded()
    recorded.ask("SET k v PX 10000")
    recorded.harness.advance(1_499)
    assert (recorded.ask("TTL k"), recorded.ask("PTTL k")) == (9, 8_501)
    recorded.harness.advance(2)
    assert (recorded.ask("TTL k"), recorded.ask("PTTL k")) == (8, 8_499)
    assert recorded.ask("PEXPIRETIME k") == START_MS + 10_000


def test_a_renamed_copied_or_moved_key_keeps_its_expiry() -> None:
    recorded = Recorded()
    recorded.ask("SET k v EX 100")
    recorded.ask("SET target w EX 500")
    recorded.ask("RENAME k target")
    assert recorded.ask("TTL target") == 100
    recorded.ask("COPY target copied")
    assert recorded.ask("TTL copied") == 100
    recorded.ask("MOVE copied 1")
    recorded.ask("SELECT 1")
    assert recorded.ask("TTL copied") == 100
    assert recorded.propagates("PERSIST copied") == ["1: PERSIST copied"]


def test_idle_time_is_that_of_the_latest_use() -> None:
    recorded = Recorded()
    recorded.ask("SET k v")
    recorded.harness.advance(5_000)
    assert recorded.ask("OBJECT IDLETIME k") in (4, 5)
    recorded.ask("GET k")
    assert recorded.ask("OBJECT IDLETIME k") == 0
    assert isinstance(recorded.ask("OBJECT FREQ k"), ErrorReply)


def test_access_frequency_is_known_under_an_lfu_policy() -> None:
    recorded = Recorded("--maxmemory-policy", "allkeys-lfu")
    recorded.ask("SET k v")
    assert recorded.ask("OBJECT FREQ k") == 5
    for _ in range(20):
        recorded.ask("GET k")
    frequency = recorded.ask("OBJECT FREQ k")
    assert isinstance(frequency, int)
    assert frequency > 5
    assert isinstance(recorded.ask("OBJECT IDLETIME k"), ErrorReply)


def test_databases_swap_under_the_sessions_that_use_them() -> None:
    recorded = Recorded()
    other = recorded.harness.connect()
    other.ask("SELECT", 1)
    recorded.ask("SET k zero")
    other.ask("SET", "k", "one")
    assert recorded.ask("SWAPDB 0 1") == OK
    assert recorded.ask("GET k") == b"one"
    assert other.ask("GET", "k") == b"zero"


def test_a_lazy_flush_gives_memory_back_by_and_by() -> None:
    recorded = Recorded()
    for number in range(1000):
        recorded.client.ask("SET", f"key:{number}", "v")
    recorded.ask("FLUSHALL ASYNC")
    keyspace = recorded.harness.node.state.keyspaces[0]
    assert recorded.ask("DBSIZE") == 0
    assert keyspace.discarded
    recorded.harness.advance(200)
    assert keyspace.discarded == []


def test_cluster_mode_has_one_database() -> None:
    recorded = Recorded("--cluster-enabled", "yes")
    for line, text in (
        ("SWAPDB 0 1", b"ERR SWAPDB is not allowed in cluster mode"),
        ("SWAPDB 0 0", b"ERR SWAPDB is not allowed in cluster mode"),
    ):
        assert recorded.ask(line) == ErrorReply(text)


def test_expiry_and_eviction_rest_while_writes_are_paused() -> None:
    recorded = Recorded()
    recorded.ask("SET k v PX 100")
    recorded.propagation.lines.clear()
    recorded.ask("CLIENT PAUSE 5000 WRITE")
    recorded.harness.advance(1000)
    assert recorded.ask("GET k") is None
    assert recorded.propagation.lines == []
    recorded.harness.advance(5000)
    assert recorded.propagation.lines == ["DEL k"]
