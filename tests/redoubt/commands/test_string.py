"""String commands: what they propagate, and when keys expire. Replies are compared in test_differential."""

from __future__ import annotations

import pytest

from redoubt.resp.replies import OK, ErrorReply
from tests.redoubt.commands.recorded import Recorded
from tests.redoubt.harness import START_MS

LATER = START_MS + 10_000


@pytest.mark.parametrize(
    ("line", "propagated"),
    [
        ("SET k v", ["SET k v"]),
        ("SET k v EX 10", [f"SET k v PXAT {LATER}"]),
        ("SET k v PX 10000", [f"SET k v PXAT {LATER}"]),
        ("SET k v PXAT 1800000000000", ["SET k v PXAT 1800000000000"]),
        ("SET k v EXAT 1800000000", ["SET k v PXAT 1800000000000"]),
        ("SET k v KEEPTTL", ["SET k v KEEPTTL"]),
        ("SET k v XX", []),
        ("SET k v NX GET", ["SET k v"]),
        ("SET old v NX", []),
        ("SET old v XX GET", ["SET old v"]),
        ("SETEX k 10 v", [f"SET k v PXAT {LATER}"]),
        ("PSETEX k 10000 v", [f"SET k v PXAT {LATER}"]),
        ("SETNX k v", ["SET k v"]),
        ("SETNX old v", []),
        ("GETSET old v", ["SET old v"]),
        ("GETDEL old", ["DEL old"]),
        ("GETDEL k", []),
        ("GETEX old", []),
        ("GETEX old EX 10", [f"PEXPIREAT old {LATER}"]),
        ("GETEX old PXAT 5", ["DEL old"]),
        ("GETEX old PERSIST", []),
        ("GETEX expiring PERSIST", ["PERSIST expiring"]),
        ("MSET a 1 b 2", ["MSET a 1 b 2"]),
        ("MSETNX a 1 b 2", ["MSET a 1 b 2"]),
        ("MSETNX a 1 old 2", []),
        ("INCR n", ["INCR n"]),
        ("INCRBYFLOAT n 1.5", ["SET n 1.5 KEEPTTL"]),
        ("INCR old", []),
        ("APPEND old x", ["APPEND old x"]),
        ("SETRANGE old 1 x", ["SETRANGE old 1 x"]),
        ("GET old", []),
    ],
)
def test_what_is_propagated_is_a_decision(line: str, propagated: list[str]) -> None:
    recorded = Recorded()
    recorded.ask("SET old value")
    recorded.ask("SET expiring value EX 100")
    assert recorded.propagates(line) == propagated


def test_a_value_lives_until_its_millisecond_has_passed() -> None:
    recorded = Recorded()
    recorded.harness.node.state.upkeep.is_expiring = False
    recorded.ask("SET k v PX 150")
    recorded.harness.advance(150)
    assert recorded.ask("GET k") == b"v"
    recorded.harness.advance(1)
    assert recorded.propagates("GET k") == ["DEL k"]
    assert recorded.ask("DBSIZE") == 0


def test_a_command_on_an_expired_key_propagates_the_deletion_before_itself() -> None:
    recorded = Recorded()
    recorded.harness.node.state.upkeep.is_expiring = False
    for line, propagated in (
        ("SET k v NX", ["DEL k", "SET k v"]),
        ("SET k v XX", ["DEL k"]),
        ("SET k v KEEPTTL", ["DEL k", "SET k v KEEPTTL"]),
        ("INCR k", ["DEL k", "INCR k"]),
        ("EXPIRE k 100", ["DEL k"]),
        ("DEL k", ["DEL k"]),
        ("RENAME k x", ["DEL k"]),
        ("APPEND k x", ["DEL k", "APPEND k x"]),
        ("GETEX k PERSIST", ["DEL k"]),
    ):
        recorded.ask("SET k 5 PX 10")
        recorded.harness.advance(20)
        assert recorded.propagates(line) == propagated, line
        assert recorded.ask("TTL k") in (-1, -2), line


def test_hits_and_misses_are_counted_for_reads_only() -> None:
    recorded = Recorded()
    statistics = recorded.harness.node.state.statistics
    for line in ("SET k v", "GET k", "GET nope", "INCR n", "MGET k nope", "STRLEN k", "EXISTS nope", "TTL k"):
        recorded.ask(line)
    assert (statistics.keyspace_hits, statistics.keyspace_misses) == (4, 3)


def test_a_string_may_not_grow_beyond_the_limit_of_one_argument() -> None:
    recorded = Recorded("--proto-max-bulk-len", "1mb")
    error = ErrorReply(b"ERR string exceeds maximum allowed size (proto-max-bulk-len)")
    assert recorded.ask("SETRANGE k 1048575 x") == 1 << 20
    assert recorded.ask("APPEND k x") == error
    assert recorded.ask("SETRANGE k 1048576 x") == error
    assert recorded.ask("STRLEN k") == 1 << 20


def test_writes_beyond_maxmemory_are_refused_or_make_room() -> None:
    recorded = Recorded("--maxmemory", "200kb")
    oom = ErrorReply(b"OOM command not allowed when used memory > 'maxmemory'.")
    replies = [recorded.client.ask("SET", f"key:{number}", "x" * 1000) for number in range(300)]
    assert replies[0] == OK
    assert replies[-1] == oom
    assert recorded.ask("GET key:0") == b"x" * 1000
    config = recorded.harness.node.state.config
    config.assign([("maxmemory-policy", ["allkeys-lru"])])
    recorded.propagation.lines.clear()
    assert recorded.ask("SET another v") == OK
    evicted = [line for line in recorded.propagation.lines if line.startswith("DEL ")]
    assert recorded.propagation.lines == [*evicted, "SET another v"]
    assert recorded.harness.node.state.statistics.evicted_keys == len(evicted) > 0
    config.assign([("maxmemory", ["0"])])
    assert recorded.client.ask("SET", "big", "x" * 500_000) == OK


def test_lowering_maxmemory_is_worked_off_by_the_ticks() -> None:
    recorded = Recorded()
    for number in range(5000):
        recorded.client.ask("SET", f"key:{number}", "x" * 100)
    config = recorded.harness.node.state.config
    config.assign([("maxmemory-policy", ["allkeys-random"]), ("maxmemory", ["200kb"])])
    recorded.ask("SET k v")
    recorded.harness.advance(1000)
    left = recorded.ask("DBSIZE")
    assert isinstance(left, int)
    assert left < 1000
