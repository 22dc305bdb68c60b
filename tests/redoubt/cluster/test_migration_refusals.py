"""What CLUSTER MIGRATESLOTS, CANCELSLOTMIGRATIONS and SYNCSLOTS refuse, in Valkey's words."""

from __future__ import annotations

import pytest

from redoubt.resp.replies import ErrorReply, SimpleString
from tests.redoubt.cluster.movers import COPY, ME, NAME, OTHER, THIRD, Source, migrations_at, stage_of
from tests.redoubt.cluster.peers import Stage
from tests.redoubt.harness import Harness


def refused(text: str) -> ErrorReply:
    return ErrorReply(b"ERR " + text.encode())


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("SLOTSRANGE 0 10 NODE 123", "Invalid node name: 123"),
        (f"SLOTSRANGE 0 10 NODE {'9' * 40}", f"Unknown node name: {'9' * 40}"),
        (f"SLOTSRANGE 0 10 NODE {ME}", "Target node can not be this node."),
        (f"SLOTSRANGE 0 10 NODE {COPY}", "Target node is not a master"),
        (f"SLOTSRANGE 6000 6001 NODE {OTHER}", "Slots are not served by this node."),
        (f"SLOTSRANGE 5460 5461 NODE {OTHER}", "Requested slots span multiple shards"),
        (f"SLOTSRANGE 9 3 NODE {OTHER}", "Start slot number 9 is greater than end slot number 3."),
        (f"SLOTSRANGE 0 10 5 20 NODE {OTHER}", "Slot range 5-20 overlaps with previous range 0-10."),
        (f"SLOTSRANGE 0 16384 NODE {OTHER}", "Invalid or out of range slot"),
        (f"SLOTSRANGE -1 3 NODE {OTHER}", "Invalid or out of range slot"),
        (f"SLOTSRANGE 0 5 7 NODE {OTHER}", "Invalid or out of range slot"),
        (f"SLOTSRANGE NODE {OTHER} x", "No slot ranges specified"),
        (f"SLOTS 0 10 NODE {OTHER}", "syntax error"),
        (f"SLOTSRANGE 0 10 NODE {OTHER} SLOTSRANGE 10 12 NODE {THIRD}", "Slot ranges in migrations overlap"),
        (f"SLOTSRANGE 0 10 NODE {OTHER} SLOTSRANGE 11 12 AT {THIRD}", "syntax error"),
    ],
)
def test_a_move_that_cannot_be_is_refused_and_nothing_begins(words: str, text: str) -> None:
    client = stage_of().connect()
    assert client.ask("CLUSTER", "MIGRATESLOTS", *words.split()) == refused(text)
    assert migrations_at(client) == []


def test_a_last_range_without_its_end_is_refused() -> None:
    client = stage_of().connect()
    assert client.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", 0, 5, 7, 8, 9) == refused(
        "No end slot for final slot range"
    )


def test_a_slot_without_an_owner_is_refused() -> None:
    stage = stage_of("--cluster-require-full-coverage", "no")
    client = stage.connect()
    assert client.ask("CLUSTER", "DELSLOTS", 7) == SimpleString(b"OK")
    assert client.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", 0, 10, "NODE", OTHER) == refused(
        "Slot 7 has no node served."
    )


def test_a_slot_takes_part_in_one_move_only() -> None:
    client = stage_of().connect()
    assert client.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", 0, 10, "NODE", OTHER) == SimpleString(b"OK")
    assert client.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", 8, 20, "NODE", THIRD) == refused(
        "I am already migrating slot 8."
    )
    assert client.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", 11, 20, "NODE", THIRD) == SimpleString(b"OK")
    assert [row["slot_ranges"] for row in migrations_at(client)] == [b"11-20", b"0-10"]


def test_a_replica_moves_no_slots() -> None:
    stage = Stage(
        f"{OTHER} 10.0.0.2:6379@16379 master - 0 0 1 connected 0-16383\n"
        f"{ME} 10.0.0.1:6379@16379 myself,slave {OTHER} 0 0 1 connected\n"
        "vars currentEpoch 1 lastVoteEpoch 0\n"
    )
    client = stage.connect()
    only_masters = refused("Slot migration can only be used on primary nodes.")
    assert client.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", 0, 1, "NODE", OTHER) == only_masters
    assert Source(stage).establish(0, 1) == [only_masters]


def test_slots_that_are_open_by_setslot_are_refused() -> None:
    client = stage_of().connect()
    assert client.ask("CLUSTER", "SETSLOT", 3, "MIGRATING", OTHER) == SimpleString(b"OK")
    assert client.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", 9, 9, "NODE", OTHER) == refused(
        "Slots are being manually migrated"
    )
    assert client.ask("CLUSTER", "SETSLOT", 3, "STABLE") == SimpleString(b"OK")
    assert client.ask("CLUSTER", "SETSLOT", 6000, "IMPORTING", OTHER) == SimpleString(b"OK")
    assert client.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", 9, 9, "NODE", OTHER) == refused(
        "Slots are being manually imported"
    )


def test_a_node_without_its_role_moves_no_slots() -> None:
    client = Harness("--cluster-enabled", "yes", "--await-role", "yes").connect()
    assert client.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", 0, 1, "NODE", OTHER) == ErrorReply(
        b"LOADING Redoubt is waiting for its role"
    )


def test_nothing_to_cancel_is_said_so() -> None:
    client = stage_of().connect()
    assert client.ask("CLUSTER", "CANCELSLOTMIGRATIONS") == refused("No migrations ongoing")


def test_a_target_believes_only_the_owner_that_it_knows() -> None:
    stage = stage_of()
    assert Source(stage, "9" * 40).establish(5461, 5470) == [
        refused("Target node does not know the source node")
    ]
    assert Source(stage, ME).establish(0, 10) == [refused("Source node is target node itself")]
    assert Source(stage, THIRD).establish(5461, 5470) == [
        refused("Target node does not agree about current slot ownership")
    ]
    assert Source(stage).establish(5461, 5470) == [SimpleString(b"OK")]
    assert Source(stage, name="f" * 40).establish(5465, 5480) == [
        refused("Slot is already being imported on the target by a different migration")
    ]


def test_a_stranger_cannot_speak_in_a_move_of_others() -> None:
    stage = stage_of()
    assert Source(stage).establish(5461, 5470) == [SimpleString(b"OK")]
    stranger = stage.connect()
    for words in (("KEYS", NAME, ""), ("GRANT", "9"), ("CANCEL", "x"), ("GRANTED", NAME, OTHER, ME, 9, 0, 1)):
        reply = stranger.ask("CLUSTER", "SYNCSLOTS", *words)
        assert reply == refused(f"CLUSTER SYNCSLOTS {words[0]} should only be used by slot migration clients")
    assert stage.cluster.migrations.active_imports() == 1
