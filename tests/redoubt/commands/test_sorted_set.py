"""Sorted-set commands: what they propagate, and that sums stay right."""

from __future__ import annotations

import pytest

from redoubt.data.memory import size_of
from redoubt.resp.replies import ErrorReply
from tests.redoubt.commands.recorded import Recorded


@pytest.mark.parametrize(
    ("line", "propagated"),
    [
        ("ZADD z 5 a 6 x", ["ZADD z 5 a 6 x"]),
        ("ZADD z 1 a", []),
        ("ZADD z NX 5 a", []),
        ("ZADD z XX 5 nope", []),
        ("ZADD z GT 0 a", []),
        ("ZADD missing XX 1 a", []),
        ("ZADD z INCR 1 a", ["ZADD z INCR 1 a"]),
        ("ZINCRBY z 1 a", ["ZINCRBY z 1 a"]),
        ("ZINCRBY z 0 a", []),
        ("ZREM z a nope", ["ZREM z a nope"]),
        ("ZREM z nope", []),
        ("ZPOPMIN z", ["ZPOPMIN z"]),
        ("ZPOPMAX z 0", []),
        ("ZPOPMAX missing", []),
        ("ZMPOP 2 missing z MAX COUNT 9", ["ZPOPMAX z 3"]),
        ("ZMPOP 1 z MIN", ["ZPOPMIN z 1"]),
        ("ZREMRANGEBYRANK z 0 0", ["ZREMRANGEBYRANK z 0 0"]),
        ("ZREMRANGEBYSCORE z 7 9", []),
        ("ZREMRANGEBYLEX z [a [b", ["ZREMRANGEBYLEX z [a [b"]),
        ("ZRANGESTORE d z 0 1", ["ZRANGESTORE d z 0 1"]),
        ("ZRANGESTORE d missing 0 1", []),
        ("ZUNIONSTORE d 1 z", ["ZUNIONSTORE d 1 z"]),
        ("ZINTERSTORE z 2 z missing", ["ZINTERSTORE z 2 z missing"]),
        ("ZRANGE z 0 -1", []),
    ],
)
@pytest.mark.parametrize("limit", ["128", "0"])
def test_what_is_propagated_is_a_decision(line: str, propagated: list[str], limit: str) -> None:
    recorded = Recorded("--zset-max-listpack-entries", limit)
    recorded.ask("ZADD z 1 a 2 b 3 c")
    assert recorded.propagates(line) == propagated


@pytest.mark.parametrize("limit", ["128", "0"])
def test_an_increment_to_nothing_changes_nothing(limit: str) -> None:
    recorded = Recorded("--zset-max-listpack-entries", limit)
    recorded.ask("ZADD z inf a")
    refusal = ErrorReply(b"ERR resulting score is not a number (NaN)")
    assert recorded.ask("ZINCRBY z -inf a") == refusal
    assert recorded.propagates("ZINCRBY z -inf a") == []
    assert recorded.ask("ZSCORE z a") == b"inf"


def test_rank_with_score() -> None:
    recorded = Recorded()
    recorded.ask("ZADD z 1.5 a 2 b")
    assert recorded.ask("ZRANK z b WITHSCORE") == [1, b"2"]
    assert recorded.ask("ZREVRANK z a WITHSCORE") == [1, b"1.5"]
    assert isinstance(recorded.ask("ZRANK z a FOO"), ErrorReply)
    assert isinstance(recorded.ask("ZRANK z a WITHSCORE more"), ErrorReply)


@pytest.mark.parametrize("limit", ["128", "0"])
@pytest.mark.parametrize("count", [1, 10, 60, 99, 100, 500])
def test_a_positive_count_draws_different_members(limit: str, count: int) -> None:
    recorded = Recorded("--zset-max-listpack-entries", limit)
    recorded.ask("ZADD z " + " ".join(f"{number} m{number}" for number in range(100)))
    drawn = recorded.ask(f"ZRANDMEMBER z {count}")
    assert isinstance(drawn, list) and len(set(drawn)) == len(drawn) == min(count, 100)
    drawn = recorded.ask(f"ZRANDMEMBER z -{count} WITHSCORES")
    assert isinstance(drawn, list) and len(drawn) == 2 * count


def test_zscan_returns_every_member_of_a_table() -> None:
    recorded = Recorded()
    recorded.ask("ZADD z " + " ".join(f"{number}.5 m{number}" for number in range(2000)))
    cursor, found, calls = b"0", dict[bytes, bytes](), 0
    while True:
        reply = recorded.client.ask("ZSCAN", "z", cursor, "COUNT", 50)
        assert isinstance(reply, list)
        cursor, words = reply
        found.update(zip(words[::2], words[1::2], strict=True))
        calls += 1
        if cursor == b"0":
            break
    assert found == {b"m%d" % number: b"%d.5" % number for number in range(2000)}
    assert calls > 10


def test_the_sum_of_sizes_follows_every_change() -> None:
    recorded = Recorded("--zset-max-listpack-entries", "20")
    keyspace = recorded.harness.node.state.keyspaces[0]
    for line in (
        *(f"ZADD z{number % 3} {number % 7} m{number}" for number in range(90)),
        "ZADD z0 100 m3 1.5 new",
        "ZINCRBY z1 0.25 m4",
        "ZREM z2 m2 m5 nope",
        "ZPOPMIN z0 3",
        "ZPOPMAX z1",
        "ZREMRANGEBYRANK z2 0 2",
        "ZRANGESTORE d z1 0 5",
        "ZUNIONSTORE u 2 z0 z1",
        "ZINTERSTORE u 2 u d",
        "COPY z1 twin",
        "ZPOPMAX twin 1000",
        "ZADD z1 GT CH 0 m4",
    ):
        assert not isinstance(recorded.ask(line), ErrorReply)
        values = [keyspace.get(key) for key in keyspace.all_keys()]
        assert keyspace.value_bytes == sum(size_of(value) for value in values if value is not None)
    assert recorded.ask("EXISTS twin") == 0
