"""Fields that expire: what is propagated, who hides and who removes, in which slices, and what it costs."""

from __future__ import annotations

import pytest

from redoubt.data.deadlines import DEADLINE_BYTES, DEADLINES_BYTES
from redoubt.data.hash import Hash
from redoubt.data.memory import size_of
from redoubt.field_expiry import FIELDS_PER_ACCESS, FIELDS_PER_TICK
from tests.redoubt.commands.recorded import Recorded
from tests.redoubt.harness import START_MS, Client, Harness

SOON = START_MS + 1000
LATER = START_MS + 60_000


@pytest.mark.parametrize(
    ("line", "propagated"),
    [
        ("HEXPIRE h 60 FIELDS 3 f none f", [f"HPEXPIREAT h {LATER} FIELDS 1 f"]),
        ("HPEXPIRE h 60000 NX FIELDS 2 f timed", [f"HPEXPIREAT h {LATER} FIELDS 1 f"]),
        ("HEXPIREAT h 1700000060 XX FIELDS 2 f timed", [f"HPEXPIREAT h {LATER} FIELDS 1 timed"]),
        (f"HPEXPIREAT h {LATER} GT FIELDS 2 f timed", [f"HPEXPIREAT h {LATER} FIELDS 1 timed"]),
        (f"HPEXPIREAT h {LATER} LT FIELDS 1 timed", []),
        ("HEXPIRE h 0 FIELDS 2 f n", ["HDEL h f n"]),
        ("HEXPIRE none 60 FIELDS 1 f", []),
        ("HPERSIST h FIELDS 2 f timed", ["HPERSIST h FIELDS 1 timed"]),
        ("HPERSIST h FIELDS 1 f", []),
        ("HSETEX h EX 60 FNX FIELDS 1 new v", [f"HSETEX h PXAT {LATER} FIELDS 1 new v"]),
        ("HSETEX h KEEPTTL FIELDS 1 timed v", ["HSETEX h KEEPTTL FIELDS 1 timed v"]),
        ("HSETEX h FIELDS 1 timed v", ["HSETEX h FIELDS 1 timed v"]),
        ("HSETEX h FNX FIELDS 1 f v", []),
        ("HSETEX h PXAT 1 FIELDS 1 f v", ["HDEL h f"]),
        ("HGETEX h FIELDS 1 f", []),
        ("HGETEX h EX 60 FIELDS 2 f none", [f"HPEXPIREAT h {LATER} FIELDS 1 f"]),
        ("HGETEX h PERSIST FIELDS 2 f timed", ["HPERSIST h FIELDS 1 timed"]),
        ("HGETEX h PXAT 1 FIELDS 2 f f", ["HDEL h f"]),
        ("HGETDEL h FIELDS 3 f none f", ["HDEL h f"]),
        ("HGETDEL h FIELDS 1 none", []),
        ("HINCRBYFLOAT h n 0.5", ["HSET h n 1.5"]),
        ("HINCRBYFLOAT h timed 0.5", ["HSETEX h KEEPTTL FIELDS 1 timed 2.5"]),
        ("HTTL h FIELDS 1 timed", []),
    ],
)
@pytest.mark.parametrize("entries_max", [512, 0])
def test_what_is_propagated_is_a_decision(line: str, propagated: list[str], entries_max: int) -> None:
    recorded = Recorded("--hash-max-listpack-entries", str(entries_max))
    recorded.ask("HSET h f v n 1 timed 2")
    recorded.ask(f"HPEXPIREAT h {SOON} FIELDS 1 timed")
    assert recorded.propagates(line) == propagated


def test_field_is_gone_for_a_client_before_the_cycle_runs() -> None:
    recorded = Recorded()
    recorded.ask("HSET h f 1 g 2")
    recorded.ask("HPEXPIRE h 5 FIELDS 1 f")
    recorded.harness.now_ms += 6
    recorded.harness.node.state.now_ms = recorded.harness.now_ms
    assert recorded.propagates("HLEN h") == ["HDEL h f"]
    assert recorded.ask("HGETALL h") == [b"g", b"2"]
    assert recorded.propagates("HSET h f new") == ["HSET h f new"]
    assert recorded.ask("HTTL h FIELDS 1 f") == [-1]


def test_cycle_removes_fields_and_the_hash_with_its_last_one() -> None:
    recorded = Recorded()
    recorded.ask("HSET h f 1 g 2")
    recorded.ask("HPEXPIRE h 500 FIELDS 2 f g")
    recorded.ask("HSET kept f 1 g 2")
    recorded.ask("HPEXPIRE kept 500 FIELDS 1 g")
    recorded.propagation.lines.clear()
    recorded.harness.advance(400)
    assert recorded.propagation.lines == []
    recorded.harness.advance(300)
    assert sorted(recorded.propagation.lines) == ["HDEL h f g", "HDEL kept g"]
    database = recorded.harness.node.state.keyspaces[0]
    assert (len(database), len(database.field_deadlines)) == (1, 0)
    assert recorded.harness.node.state.statistics.expired_fields == 3


def test_removing_does_not_count_as_a_change_of_the_command_that_came_across() -> None:
    recorded = Recorded()
    recorded.ask("HSET h f 1 g 2")
    recorded.ask("HPEXPIRE h 5 FIELDS 1 f")
    recorded.harness.node.state.now_ms = recorded.harness.now_ms = START_MS + 6
    assert recorded.propagates("HDEL h f") == ["HDEL h f"]
    assert recorded.propagates("HSETNX h g 3") == []


@pytest.mark.parametrize("entries_max", [100_000, 0])
def test_work_of_one_call_is_bounded(entries_max: int) -> None:
    recorded = Recorded("--hash-max-listpack-entries", str(entries_max))
    count = FIELDS_PER_TICK + 500
    recorded.client.ask("HSET", "h", *[word for number in range(count) for word in (f"f{number}", 1)])
    recorded.client.ask("HPEXPIRE", "h", 50, "FIELDS", count, *[f"f{number}" for number in range(count)])
    recorded.client.ask("HSET", "h", "stays", 1)
    state = recorded.harness.node.state
    state.now_ms = recorded.harness.now_ms = START_MS + 51
    assert recorded.ask("HGETALL h") == [b"stays", b"1"]
    assert state.statistics.expired_fields == FIELDS_PER_ACCESS
    assert [recorded.ask("HLEN h"), recorded.ask("HRANDFIELD h"), recorded.ask("HSCAN h 0 COUNT 99999")] == [
        1, b"stays", [b"0", [b"stays", b"1"]],
    ]  # fmt: skip
    # One that is still only hidden counts as new when it is set again.
    assert recorded.ask(f"HSET h f{count - 1} 1") == 1
    before = state.statistics.expired_fields
    recorded.harness.node.tick(recorded.harness.now_ms)
    assert 0 < state.statistics.expired_fields - before <= FIELDS_PER_TICK
    recorded.harness.advance(200)
    assert recorded.ask("HLEN h") == 2
    assert state.statistics.expired_fields == count


def test_replica_hides_and_waits_for_its_master() -> None:
    recorded = Recorded()
    recorded.ask("HSET h f 1 g 2")
    recorded.ask("HPEXPIRE h 5 FIELDS 1 f")
    recorded.propagation.is_replica = True
    recorded.harness.now_ms += 6
    assert recorded.propagates("HGETALL h") == []
    assert [recorded.ask("HGETALL h"), recorded.ask("HLEN h"), recorded.ask("HTTL h FIELDS 1 f")] == [
        [b"g", b"2"], 1, [-2],
    ]  # fmt: skip
    recorded.harness.advance(1000)
    found = recorded.harness.node.state.keyspaces[0].get(b"h")
    assert isinstance(found, Hash)
    assert found.count() == 2


def subscribed(harness: Harness) -> Client:
    listener = harness.connect()
    listener.send(b"PSUBSCRIBE __key*\r\n")
    listener.replies()
    return listener


def test_events_are_those_of_redis() -> None:
    harness = Harness("--notify-keyspace-events", "Eh" + "g")
    listener, client = subscribed(harness), harness.connect()
    client.ask("HSETEX", "h", "EX", 1, "FIELDS", 1, "f", 1)
    client.ask("HPERSIST", "h", "FIELDS", 1, "f")
    client.ask("HGETEX", "h", "PX", 500, "FIELDS", 1, "f")
    harness.advance(1000)
    client.ask("HSET", "h", "f", 1)
    client.ask("HGETDEL", "h", "FIELDS", 1, "f")
    events = [reply[2].rpartition(b":")[2] for reply in listener.replies()]  # type: ignore[index]
    assert events == [
        b"hset", b"hexpire", b"hpersist", b"hexpire", b"hexpired", b"del", b"hset", b"hdel", b"del",
    ]  # fmt: skip


def test_sums_of_bytes_stay_right_and_cost_nothing_without_times() -> None:
    recorded = Recorded()
    database = recorded.harness.node.state.keyspaces[0]
    recorded.ask("HSET h f 1 g 2 i 3")
    bare = database.value_bytes
    recorded.ask("HEXPIRE h 10 FIELDS 2 f g")
    assert database.value_bytes == bare + DEADLINES_BYTES + 2 * DEADLINE_BYTES
    for line in ("HPERSIST h FIELDS 1 f", "HSET h g 9", "COPY h c", "HGETDEL h FIELDS 1 i", "RENAME c d"):
        recorded.ask(line)
        values = [database.get(key) for key in database.all_keys()]
        assert database.value_bytes == sum(size_of(value) for value in values if value is not None)


def test_list_of_hashes_with_times_follows_keys() -> None:
    recorded = Recorded()
    database = recorded.harness.node.state.keyspaces[0]
    recorded.ask("HSETEX h EX 100 FIELDS 1 f 1")
    for line, expected in (
        ("COPY h c", {b"h", b"c"}), ("RENAME c d", {b"h", b"d"}), ("MOVE d 1", {b"h"}),
        ("SET h text", set()), ("SWAPDB 0 1", {b"d"}), ("HPERSIST d FIELDS 1 f", set()),
        ("HEXPIRE d 10 FIELDS 1 f", {b"d"}), ("HSET d f 1", set()), ("HEXPIRE d 10 FIELDS 1 f", {b"d"}),
        ("HDEL d f", set()), ("HSETEX e PX 100 FIELDS 1 f 1", {b"e"}), ("FLUSHDB", set()),
    ):  # fmt: skip
        recorded.ask(line)
        assert set(database.field_deadlines.due_ms) == expected, line
