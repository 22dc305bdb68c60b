"""Set commands: what they propagate, what they leave behind, and that sums stay right."""

from __future__ import annotations

import pytest

from redoubt.data.memory import size_of
from redoubt.resp.replies import ErrorReply
from tests.redoubt.commands.recorded import Recorded


@pytest.mark.parametrize(
    ("line", "propagated"),
    [
        ("SADD s a b", ["SADD s a b"]),
        ("SADD s 1", []),
        ("SADD s 1 2", []),
        ("SREM s 1 nope", ["SREM s 1 nope"]),
        ("SREM s nope", []),
        ("SMOVE s other 1", ["SMOVE s other 1"]),
        ("SMOVE s s 1", []),
        ("SMOVE s other nope", []),
        ("SPOP one", ["SREM one x"]),
        ("SPOP one 7", ["DEL one"]),
        ("SPOP s 0", []),
        ("SPOP missing", []),
        ("SRANDMEMBER s 2", []),
        ("SUNIONSTORE d s one", ["SUNIONSTORE d s one"]),
        ("SINTERSTORE d s one", []),
        ("SINTERSTORE one s missing", ["SINTERSTORE one s missing"]),
        ("SDIFFSTORE d s one", ["SDIFFSTORE d s one"]),
    ],
)
@pytest.mark.parametrize("limit", [512, 0])
def test_what_is_propagated_is_a_decision(line: str, propagated: list[str], limit: int) -> None:
    recorded = Recorded("--set-max-intset-entries", str(limit), "--set-max-listpack-entries", str(limit))
    recorded.ask("SADD s 1 2 3")
    recorded.ask("SADD one x")
    assert recorded.propagates(line) == propagated


@pytest.mark.parametrize("limit", [512, 0])
def test_popped_members_are_those_that_replicas_remove(limit: int) -> None:
    recorded = Recorded("--set-max-listpack-entries", str(limit))
    recorded.ask("SADD s " + " ".join(f"m{number}" for number in range(50)))
    recorded.propagation.lines.clear()
    popped = recorded.ask("SPOP s 20")
    assert isinstance(popped, list)
    single = recorded.ask("SPOP s")
    first, second = recorded.propagation.lines
    assert first.encode().split() == [b"SREM", b"s", *popped]
    assert second.encode().split() == [b"SREM", b"s", single]
    left = recorded.ask("SMEMBERS s")
    assert recorded.ask("SCARD s") == 29
    assert len({*popped, single}) == 21
    assert isinstance(left, list) and not {*popped, single} & set(left)


@pytest.mark.parametrize("count", [1, 10, 60, 99, 100, 500])
@pytest.mark.parametrize("limit", [512, 0])
def test_a_positive_count_draws_different_members(count: int, limit: int) -> None:
    recorded = Recorded("--set-max-listpack-entries", str(limit))
    recorded.ask("SADD s " + " ".join(f"m{number}" for number in range(100)))
    drawn = recorded.ask(f"SRANDMEMBER s {count}")
    assert isinstance(drawn, list)
    assert len(set(drawn)) == len(drawn) == min(count, 100)
    drawn = recorded.ask(f"SRANDMEMBER s -{count}")
    assert isinstance(drawn, list) and len(drawn) == count
    assert recorded.ask("SCARD s") == 100


def test_the_sum_of_sizes_follows_every_change() -> None:
    recorded = Recorded("--set-max-listpack-entries", "20", "--set-max-intset-entries", "30")
    keyspace = recorded.harness.node.state.keyspaces[0]
    for line in (
        *(f"SADD s{number % 3} m{number}" for number in range(90)),
        *(f"SADD i {number}" for number in range(-20, 40, 2)),
        "SADD i text",
        "SREM s0 m3 m6 nope",
        "SPOP s1 5",
        "SPOP s1",
        "SMOVE s1 s2 m4",
        "SUNIONSTORE u s0 s1 i",
        "SINTERSTORE u u s0",
        "SDIFFSTORE d s2 s1",
        "COPY d twin",
        "SPOP d 1000",
    ):
        assert not isinstance(recorded.ask(line), ErrorReply)
        values = [keyspace.get(key) for key in keyspace.all_keys()]
        assert keyspace.value_bytes == sum(size_of(value) for value in values if value is not None)
