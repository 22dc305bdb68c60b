"""List commands: what they propagate, and that sums stay right."""

from __future__ import annotations

import pytest

from redoubt.data.memory import size_of
from redoubt.resp.replies import ErrorReply
from tests.redoubt.commands.recorded import Recorded


@pytest.mark.parametrize(
    ("line", "propagated"),
    [
        ("LPUSH l x y", ["LPUSH l x y"]),
        ("RPUSH new x", ["RPUSH new x"]),
        ("LPUSHX missing x", []),
        ("RPUSHX l x", ["RPUSHX l x"]),
        ("LPOP l", ["LPOP l"]),
        ("RPOP l 2", ["RPOP l 2"]),
        ("RPOP l 0", []),
        ("LPOP missing", []),
        ("LSET l 0 x", ["LSET l 0 x"]),
        ("LSET l 99 x", []),
        ("LINSERT l BEFORE b x", ["LINSERT l BEFORE b x"]),
        ("LINSERT l BEFORE nope x", []),
        ("LREM l 0 a", ["LREM l 0 a"]),
        ("LREM l 0 nope", []),
        ("LTRIM l 1 1", ["LTRIM l 1 1"]),
        ("LTRIM l 9 1", ["LTRIM l 9 1"]),
        ("LMOVE l other LEFT RIGHT", ["LMOVE l other LEFT RIGHT"]),
        ("RPOPLPUSH l l", ["RPOPLPUSH l l"]),
        ("LMOVE missing l LEFT LEFT", []),
        ("LMPOP 2 missing l RIGHT COUNT 9", ["RPOP l 3"]),
        ("LMPOP 1 l LEFT", ["LPOP l 1"]),
        ("LRANGE l 0 -1", []),
    ],
)
@pytest.mark.parametrize("size", ["-2", "1"])
def test_what_is_propagated_is_a_decision(line: str, propagated: list[str], size: str) -> None:
    recorded = Recorded("--list-max-listpack-size", size)
    recorded.ask("RPUSH l a b c")
    assert recorded.propagates(line) == propagated


def test_the_lowest_rank_is_refused() -> None:
    recorded = Recorded()
    refusal = recorded.ask("LPOS l c RANK -9223372036854775808")
    assert isinstance(refusal, ErrorReply) and refusal.text.startswith(b"ERR value is out of range")


@pytest.mark.parametrize("size", ["-2", "4"])
def test_the_sum_of_sizes_follows_every_change(size: str) -> None:
    recorded = Recorded("--list-max-listpack-size", size)
    keyspace = recorded.harness.node.state.keyspaces[0]
    for line in (
        *(f"RPUSH l{number % 3} element:{number}" for number in range(60)),
        "LPUSH l0 a b c",
        "LSET l0 4 replaced",
        "LINSERT l0 AFTER replaced behind",
        "LREM l0 0 replaced",
        "LTRIM l1 2 -3",
        "LPOP l1",
        "RPOP l1 3",
        "LMOVE l1 l2 LEFT RIGHT",
        "RPOPLPUSH l2 l2",
        "LMPOP 1 l2 LEFT COUNT 4",
        "COPY l2 twin",
        "RPUSH twin x",
        "LPOP twin 1000",
    ):
        assert not isinstance(recorded.ask(line), ErrorReply)
        values = [keyspace.get(key) for key in keyspace.all_keys()]
        assert keyspace.value_bytes == sum(size_of(value) for value in values if value is not None)
    assert recorded.ask("EXISTS twin") == 0
