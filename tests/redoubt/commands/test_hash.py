"""Hash commands: what they propagate, what they leave behind, and that sums and snapshots stay right."""

from __future__ import annotations

import pytest

from redoubt.data.memory import size_of
from redoubt.resp.replies import ErrorReply
from tests.redoubt.commands.recorded import Recorded


@pytest.mark.parametrize(
    ("line", "propagated"),
    [
        ("HSET h f 1 g 2", ["HSET h f 1 g 2"]),
        ("HMSET h f 1", ["HMSET h f 1"]),
        ("HSETNX h f 1", []),
        ("HSETNX h new 1", ["HSETNX h new 1"]),
        ("HDEL h f nope", ["HDEL h f nope"]),
        ("HDEL h nope", []),
        ("HDEL nope f", []),
        ("HINCRBY h n 5", ["HINCRBY h n 5"]),
        ("HINCRBY h f 5", []),
        ("HINCRBYFLOAT h n 0.5", ["HSET h n 1.5"]),
        ("HINCRBYFLOAT h f 0.5", []),
        ("HGETALL h", []),
        ("COPY h twin", ["COPY h twin"]),
    ],
)
@pytest.mark.parametrize("entries_max", [512, 0])
def test_what_is_propagated_is_a_decision(line: str, propagated: list[str], entries_max: int) -> None:
    recorded = Recorded("--hash-max-listpack-entries", str(entries_max))
    recorded.ask("HSET h f v n 1")
    assert recorded.propagates(line) == propagated


def test_a_hash_without_fields_does_not_exist() -> None:
    recorded = Recorded()
    recorded.ask("HSET h f 1 g 2")
    assert recorded.ask("HDEL h f g f") == 2
    assert recorded.ask("EXISTS h") == 0
    assert recorded.harness.node.state.keyspaces[0].value_bytes == 0


def test_a_refused_command_makes_no_hash() -> None:
    recorded = Recorded()
    assert recorded.ask("HINCRBY h f x") == ErrorReply(b"ERR value is not an integer or out of range")
    assert recorded.ask("HINCRBYFLOAT h f x") == ErrorReply(b"ERR value is not a valid float")
    assert recorded.ask("EXISTS h") == 0


def test_the_sum_of_sizes_follows_every_change() -> None:
    recorded = Recorded("--hash-max-listpack-entries", "20")
    keyspace = recorded.harness.node.state.keyspaces[0]
    for line in (
        *(f"HSET h{number % 3} f{number} {'v' * (number + 1)}" for number in range(100)),
        "HDEL h0 f3 f6 nope",
        "HINCRBY h1 count 7",
        "HINCRBYFLOAT h1 count 0.25",
        "HSETNX h2 x y",
        "HSET h2 x z",
        "COPY h1 twin",
        "RENAME h2 moved",
        "DEL h0",
    ):
        assert not isinstance(recorded.ask(line), ErrorReply)
        values = [keyspace.get(key) for key in keyspace.all_keys()]
        assert keyspace.value_bytes == sum(size_of(value) for value in values if value is not None)


def test_hscan_returns_every_field_of_a_table() -> None:
    recorded = Recorded()
    for number in range(2000):
        recorded.ask(f"HSET h f{number} v{number}")
    cursor, found, calls = b"0", dict[bytes, bytes](), 0
    while True:
        reply = recorded.client.ask("HSCAN", "h", cursor, "COUNT", 50)
        assert isinstance(reply, list)
        cursor, words = reply
        found.update(zip(words[::2], words[1::2], strict=True))
        calls += 1
        if cursor == b"0":
            break
    assert found == {b"f%d" % number: b"v%d" % number for number in range(2000)}
    assert calls > 10


def test_hrandfield_draws_different_fields_for_a_positive_count() -> None:
    recorded = Recorded()
    for number in range(1000):
        recorded.ask(f"HSET table f{number} v{number}")
    recorded.ask("HSET packed " + " ".join(f"f{number} v{number}" for number in range(100)))
    for key, total in (("table", 1000), ("packed", 100)):
        for count in (1, 30, total // 2, total - 1, total, total + 5):
            fields = recorded.client.ask("HRANDFIELD", key, count)
            assert isinstance(fields, list)
            assert len(set(fields)) == len(fields) == min(count, total)
        fields = recorded.client.ask("HRANDFIELD", key, -3 * total)
        assert isinstance(fields, list) and len(fields) == 3 * total
