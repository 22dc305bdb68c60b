"""CLUSTER SLOT-STATS: what each slot holds, what it costs while that is counted, and the refusals."""

from __future__ import annotations

from typing import Any

import pytest

from redoubt.cluster.slot_usage import command_bytes
from redoubt.resp.replies import ErrorReply, encode_command
from tests.redoubt.cluster.peers import Stage
from tests.redoubt.cluster.test_routing import ALONE, HALF
from tests.redoubt.harness import Client

# Slots: bar 5061, hello 866, foo 12182.
BAR, HELLO, FOO = 5061, 866, 12182
BAD_LIMIT = b"ERR Limit has to lie in between 1 and 16384 (maximum number of slots)."
BAD_FORM = b"ERR unknown subcommand or wrong number of arguments for 'SLOT-STATS'. Try CLUSTER HELP."


def served(text: str = ALONE, *words: str) -> Client:
    stage = Stage(text, *words)
    stage.talk(300)
    return stage.connect()


def stats(client: Client, *words: str | int) -> dict[int, dict[str, int]]:
    """Ask for statistics; the order of the reply is that of the dictionary."""
    rows: Any = client.ask("CLUSTER", "SLOT-STATS", *words)
    assert isinstance(rows, list), rows
    return {
        slot: dict(zip([word.decode() for word in pairs[::2]], pairs[1::2], strict=True))
        for slot, pairs in rows
    }


def test_keys_and_bytes_are_those_of_the_slot() -> None:
    client = served()
    client.ask("SET", "bar", "x" * 1000)
    client.ask("SET", "{bar}2", "x", "EX", 100)
    client.ask("SET", "foo", "y")
    found = stats(client, "SLOTSRANGE", 0, 16383)
    assert len(found) == 16384
    assert {slot: row["key-count"] for slot, row in found.items() if row["key-count"]} == {BAR: 2, FOO: 1}
    assert found[HELLO] == {"key-count": 0, "memory-bytes": 0}
    keyspace = client.harness.node.state.keyspaces[0]
    whole = keyspace.key_bytes + keyspace.value_bytes + keyspace.table_bytes() + 88  # one expiry time
    assert sum(row["memory-bytes"] for row in found.values()) == whole
    assert found[BAR]["memory-bytes"] > 1000 > found[FOO]["memory-bytes"] > 100
    client.ask("DEL", "bar", "{bar}2")
    assert stats(client, "SLOTSRANGE", BAR, BAR) == {BAR: {"key-count": 0, "memory-bytes": 0}}


def test_only_slots_of_this_shard_are_shown() -> None:
    client = served(HALF)
    assert list(stats(client, "SLOTSRANGE", 8190, 8193)) == [8190, 8191]
    assert stats(client, "SLOTSRANGE", 9000, 9001) == {}
    assert len(stats(client, "ORDERBY", "key-count")) == 8192


def test_slots_are_ordered_by_a_figure_and_then_by_number() -> None:
    client = served()
    for number in range(3):
        client.ask("SET", f"{{bar}}{number}", "x")
    client.ask("SET", "foo", "x" * 5000)
    assert list(stats(client, "ORDERBY", "key-count", "LIMIT", 4)) == [BAR, FOO, 0, 1]
    assert list(stats(client, "ORDERBY", "memory-bytes", "DESC", "LIMIT", 2)) == [FOO, BAR]
    assert list(stats(client, "ORDERBY", "KEY-COUNT", "asc", "limit", 2)) == [0, 1]
    assert list(stats(client, "ORDERBY", "key-count", "ASC"))[-2:] == [FOO, BAR]


def test_cost_is_counted_only_where_it_is_wanted_and_for_the_slot_of_the_key() -> None:
    client = served()
    client.ask("SET", "bar", "1")
    assert client.ask("CLUSTER", "SLOT-STATS", "ORDERBY", "network-bytes-in") == ErrorReply(
        b"ERR Unrecognized sort metric for ORDERBY."
    )
    client.ask("CONFIG", "SET", "cluster-slot-stats-enabled", "yes")
    client.ask("PING")
    client.ask("SET", "bar", "x" * 100)
    client.ask("GET", "bar")
    row = stats(client, "SLOTSRANGE", BAR, BAR)[BAR]
    asked = len(encode_command([b"SET", b"bar", b"x" * 100])) + len(encode_command([b"GET", b"bar"]))
    assert row["network-bytes-in"] == asked
    assert row["network-bytes-out"] == len(b"+OK\r\n") + len(b"$100\r\n" + b"x" * 100 + b"\r\n")
    assert row["cpu-usec"] == 0  # there is no clock here
    assert list(stats(client, "ORDERBY", "network-bytes-in", "LIMIT", 1)) == [BAR]
    client.ask("CONFIG", "RESETSTAT")
    assert stats(client, "SLOTSRANGE", BAR, BAR)[BAR]["network-bytes-in"] == 0
    client.ask("GET", "bar")
    client.ask("CLUSTER", "DELSLOTS", HELLO)
    assert stats(client, "SLOTSRANGE", BAR, BAR)[BAR]["network-bytes-in"] > 0
    client.ask("CLUSTER", "DELSLOTS", BAR)
    client.ask("CLUSTER", "ADDSLOTS", BAR)
    assert stats(client, "SLOTSRANGE", BAR, BAR)[BAR]["network-bytes-in"] == 0
    client.ask("CONFIG", "SET", "cluster-slot-stats-enabled", "no")
    assert set(stats(client, "SLOTSRANGE", BAR, BAR)[BAR]) == {"key-count", "memory-bytes"}


def test_cpu_time_is_that_of_every_command_of_the_slot() -> None:
    client = served(ALONE, "--cluster-slot-stats-enabled", "yes")
    readings = iter(range(0, 10**6, 7))
    client.harness.node.dispatcher.clock_us = lambda: next(readings)
    for _ in range(5):
        client.ask("SET", "bar", "x")
    client.ask("GET", "foo")
    found = stats(client, "ORDERBY", "cpu-usec", "LIMIT", 3)
    assert [(slot, row["cpu-usec"]) for slot, row in found.items()] == [(BAR, 35), (FOO, 7), (0, 0)]


def test_the_size_of_a_command_is_that_on_the_wire() -> None:
    for argv in ([b"PING"], [b"SET", b"k" * 10, b"v" * 12345], [b""] * 100):
        assert command_bytes(argv) == len(encode_command(argv))


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("SLOTSRANGE 5 4", b"ERR Start slot number 5 is greater than end slot number 4"),
        ("SLOTSRANGE 0 16384", b"ERR Invalid or out of range slot"),
        ("SLOTSRANGE x 1", b"ERR Invalid or out of range slot"),
        (
            "SLOTSRANGE 0",
            b"ERR unknown subcommand or wrong number of arguments for 'SLOT-STATS'. Try CLUSTER HELP.",
        ),
        ("ORDERBY speed", b"ERR Unrecognized sort metric for ORDERBY."),
        ("ORDERBY key-count LIMIT", b"ERR syntax error"),
        (
            "ORDERBY key-count LIMIT 0",
            b"ERR Limit has to lie in between 1 and 16384 (maximum number of slots).",
        ),
        (
            "ORDERBY key-count LIMIT 16385",
            b"ERR Limit has to lie in between 1 and 16384 (maximum number of slots).",
        ),
        ("ORDERBY key-count LIMIT x", b"ERR value is not an integer or out of range"),
        ("ORDERBY key-count ASC DESC", b"ERR Multiple filters of the same type are disallowed."),
        ("ORDERBY key-count LIMIT 1 LIMIT 2", b"ERR Multiple filters of the same type are disallowed."),
        ("ORDERBY key-count UP", b"ERR syntax error"),
    ],
)
def test_what_is_malformed_is_refused(line: str, error: bytes) -> None:
    assert served().ask("CLUSTER", "SLOT-STATS", *line.split()) == ErrorReply(error)
