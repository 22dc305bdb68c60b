"""Stream commands: what they propagate, who is served when entries come, and what 7.0 refuses otherwise."""

from __future__ import annotations

import pytest

from redoubt.data.memory import size_of
from redoubt.resp.replies import NULL_ARRAY, OK, ErrorReply, MapReply
from tests.redoubt.commands.recorded import Recorded
from tests.redoubt.harness import START_MS, Client

SMALL_NODES = ("--stream-node-max-entries", "2")

UNBALANCED = b"ERR Unbalanced '%s' list of streams: for each stream key an ID or '%s' must be specified."


def with_group(*words: str) -> Recorded:
    """Make a node with six entries in `s`, the group g, and two pending entries of alice."""
    recorded = Recorded(*words)
    for number in range(1, 7):
        recorded.ask(f"XADD s {number}-1 f v{number}")
    recorded.ask("XGROUP CREATE s g 0")
    recorded.ask("XREADGROUP GROUP g alice COUNT 2 STREAMS s >")
    return recorded


def delivery(consumer: str, entry_id: str, count: int, last_id: str = "2-1", at_ms: int = START_MS) -> str:
    return f"XCLAIM s g {consumer} 0 {entry_id} TIME {at_ms} RETRYCOUNT {count} FORCE JUSTID LASTID {last_id}"


@pytest.mark.parametrize(
    ("line", "propagated"),
    [
        ("XADD s * f v", [f"XADD s {START_MS}-0 f v"]),
        ("XADD s 9-* f v", ["XADD s 9-0 f v"]),
        ("XADD s 9-5 f v", ["XADD s 9-5 f v"]),
        ("XADD s NOMKSTREAM MAXLEN 3 9-5 f v", ["XADD s NOMKSTREAM MAXLEN 3 9-5 f v"]),
        ("XADD s MAXLEN ~ 3 9-5 f v", ["XADD s MAXLEN = 3 9-5 f v"]),
        ("XADD s MAXLEN ~ 4 9-5 f v", ["XADD s MAXLEN = 5 9-5 f v"]),
        ("XADD s MINID ~ 4 LIMIT 10 * f v", [f"XADD s MINID = 3-1 {START_MS}-0 f v"]),
        ("XADD missing NOMKSTREAM * f v", []),
        ("XADD s 1-1 f v", []),
        ("XTRIM s MAXLEN ~ 3", ["XTRIM s MAXLEN = 4"]),
        ("XTRIM s MAXLEN ~ 1 LIMIT 3", ["XTRIM s MAXLEN = 4"]),
        ("XTRIM s MINID 3", ["XTRIM s MINID 3"]),
        ("XTRIM s MAXLEN 9", []),
        ("XDEL s 2-1 9-9", ["XDEL s 2-1 9-9"]),
        ("XDEL s 9-9", []),
        ("XSETID s 9-9", ["XSETID s 9-9"]),
        ("XGROUP CREATE new g $ MKSTREAM", ["XGROUP CREATE new g $ MKSTREAM"]),
        ("XGROUP SETID s g 3", ["XGROUP SETID s g 3"]),
        ("XGROUP DESTROY s nope", []),
        ("XGROUP CREATECONSUMER s g alice", []),
        ("XGROUP DELCONSUMER s g alice", ["XGROUP DELCONSUMER s g alice"]),
        ("XACK s g 1-1 5-1", ["XACK s g 1-1 5-1"]),
        ("XACK s g 5-1", []),
        ("XREAD STREAMS s 0", []),
        ("XPENDING s g", []),
        (
            "XREADGROUP GROUP g bob COUNT 1 STREAMS s >",
            [
                "XGROUP CREATECONSUMER s g bob",
                delivery("bob", "3-1", 1, "3-1"),
                "XGROUP SETID s g 3-1 ENTRIESREAD 3",
            ],
        ),
        ("XREADGROUP GROUP g alice NOACK STREAMS s >", ["XGROUP SETID s g 6-1 ENTRIESREAD 6"]),
        ("XREADGROUP GROUP g alice STREAMS s 0", []),
        ("XREADGROUP GROUP g new STREAMS s 0", ["XGROUP CREATECONSUMER s g new"]),
        ("XCLAIM s g alice 0 1-1", [delivery("alice", "1-1", 2)]),
        ("XCLAIM s g alice 1 1-1", []),
        ("XCLAIM s g alice 0 1-1 JUSTID IDLE 1000", [delivery("alice", "1-1", 1, at_ms=START_MS - 1000)]),
        (
            "XCLAIM s g bob 0 9-9 LASTID 7-7",
            ["XGROUP CREATECONSUMER s g bob", "XGROUP SETID s g 7-7 ENTRIESREAD 2"],
        ),
        ("XAUTOCLAIM s g alice 0 2", [delivery("alice", "2-1", 2)]),
    ],
)
def test_what_is_propagated_is_a_decision(line: str, propagated: list[str]) -> None:
    assert with_group(*SMALL_NODES).propagates(line) == propagated


def test_a_claim_of_what_was_deleted_is_propagated_as_its_end() -> None:
    recorded = with_group()
    recorded.ask("XDEL s 1-1 2-1")
    assert recorded.propagates("XCLAIM s g alice 0 1-1") == ["XACK s g 1-1"]
    assert recorded.propagates("XAUTOCLAIM s g alice 0 0") == ["XACK s g 2-1"]
    assert recorded.ask("XPENDING s g") == [0, None, None, NULL_ARRAY]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (
            "XADD full 3-* a 1",
            b"ERR The ID specified in XADD is equal or smaller than the target stream top item",
        ),
        ("XREAD STREAMS s", b"ERR wrong number of arguments for 'xread' command"),
        (
            "XREAD COUNT 1 STREAMS s",
            UNBALANCED % (b"xread", b"$"),
        ),
        (
            "XREADGROUP GROUP g c STREAMS s t 1",
            UNBALANCED % (b"xreadgroup", b">"),
        ),
        ("XREAD BLOCK 9223372036854775807 STREAMS s $", b"ERR timeout is out of range"),
        (
            "XSETID s 6-1 MAXDELETEDID 7-1",
            b"ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
        ),
        (
            "XSETID deleted 4-0",
            b"ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
        ),
    ],
)
def test_errors_are_those_of_7_2(line: str, text: bytes) -> None:
    recorded = with_group()
    recorded.ask("XADD full 3-18446744073709551615 a 1")
    recorded.ask("XADD deleted 5-0 a 1")
    recorded.ask("XDEL deleted 5-0")
    assert recorded.ask(line) == ErrorReply(text)


def test_counters_stop_at_63_bits() -> None:
    most = (1 << 63) - 1
    recorded = with_group()
    recorded.ask(f"XSETID s 6-1 ENTRIESADDED {most}")
    recorded.ask(f"XGROUP SETID s g 2-1 ENTRIESREAD {most}")
    recorded.ask(f"XCLAIM s g alice 0 1-1 RETRYCOUNT {most}")
    recorded.ask("XADD s 7-1 f v")
    assert recorded.propagates("XREADGROUP GROUP g alice COUNT 1 STREAMS s >")[-1].endswith(f"READ {most}")
    assert recorded.propagates("XCLAIM s g alice 0 1-1") == [delivery("alice", "1-1", most, "3-1")]
    dumped = recorded.ask("DUMP s")
    assert isinstance(dumped, bytes) and recorded.client.ask("RESTORE", "t", 0, dumped) == OK
    assert recorded.ask("XPENDING t g - + 1") == [[b"1-1", b"alice", 0, most]]
    assert recorded.ask("XADD t 8-1 f v") == b"8-1"


@pytest.mark.parametrize("nodes", [(), SMALL_NODES])
def test_the_sum_of_sizes_follows_every_change(nodes: tuple[str, ...]) -> None:
    recorded = with_group(*nodes)
    keyspace = recorded.harness.node.state.keyspaces[0]
    for line in (
        "XADD s MAXLEN ~ 4 * a b",
        "XADD s MAXLEN 4 * a b c d",
        "XREADGROUP GROUP g bob STREAMS s >",
        "XREADGROUP GROUP g bob STREAMS s 0",
        "XDEL s 5-1",
        "XACK s g 4-1",
        "XCLAIM s g carol 0 5-1 6-1",
        "XAUTOCLAIM s g dave 0 0",
        "XGROUP CREATE s h $",
        "XGROUP DELCONSUMER s g dave",
        "COPY s t",
        "XTRIM s MAXLEN 1",
        "XTRIM s MINID 99999999999999",
        "XGROUP DESTROY s g",
        "XSETID s 99999999999999-1",
        "RENAME t s",
    ):
        assert not isinstance(recorded.ask(line), ErrorReply), line
        values = [keyspace.get(key) for key in keyspace.all_keys()]
        assert keyspace.value_bytes == sum(size_of(value) for value in values if value is not None), line


# Waiting.


def waiting(recorded: Recorded, line: str) -> Client:
    """Connect a client that waits."""
    client = recorded.harness.connect()
    client.send(b" ".join(word.encode() for word in line.split()) + b"\r\n")
    assert client.replies() == []
    return client


def test_readers_are_served_with_what_is_added_after_they_began() -> None:
    recorded = with_group()
    first = waiting(recorded, "XREAD BLOCK 0 STREAMS missing s $ $")
    second = waiting(recorded, "XREAD BLOCK 0 COUNT 1 STREAMS s 6-1")
    recorded.ask("XADD s 7-1 f new")
    assert first.replies() == second.replies() == [[[b"s", [[b"7-1", [b"f", b"new"]]]]]]


def test_a_reader_in_resp3_gets_a_map() -> None:
    recorded = Recorded()
    client = recorded.harness.connect()
    client.ask("HELLO", 3)
    client.send(b"XREAD BLOCK 0 STREAMS s $\r\n")
    recorded.ask("XADD s 1-1 f v")
    assert client.replies() == [MapReply([(b"s", [[b"1-1", [b"f", b"v"]]])])]


def test_a_reader_sees_what_a_transaction_came_to() -> None:
    recorded = Recorded()
    client = waiting(recorded, "XREAD BLOCK 0 STREAMS s 0")
    for line in ("MULTI", "XADD s 1-1 a 1", "XADD s 1-2 a 2", "XDEL s 1-1"):
        recorded.ask(line)
    assert client.replies() == []
    recorded.ask("EXEC")
    assert client.replies() == [[[b"s", [[b"1-2", [b"a", b"2"]]]]]]


def test_consumers_share_new_entries_in_the_order_in_which_they_came() -> None:
    recorded = Recorded()
    recorded.ask("XGROUP CREATE s g $ MKSTREAM")
    clients = [
        waiting(recorded, f"XREADGROUP GROUP g {name} BLOCK 0 COUNT 1 STREAMS s >") for name in ("one", "two")
    ]
    lines = recorded.propagates("XADD s 1-1 f v")
    assert [len(client.replies()) for client in clients] == [1, 0]
    assert lines == ["XADD s 1-1 f v", delivery("one", "1-1", 1, "1-1"), "XGROUP SETID s g 1-1 ENTRIESREAD 1"]
    recorded.ask("XADD s 2-1 f v")
    assert [client.replies() for client in clients] == [[], [[[b"s", [[b"2-1", [b"f", b"v"]]]]]]]


def test_a_wait_ends_with_nothing_after_its_time() -> None:
    recorded = with_group()
    client = waiting(recorded, "XREAD BLOCK 100 STREAMS s $")
    recorded.harness.advance(99)
    assert client.replies() == []
    recorded.harness.advance(200)
    assert client.replies() == [NULL_ARRAY]
    assert recorded.ask("XADD s 7-1 f v") == b"7-1"
    assert client.replies() == []


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (
            "XGROUP DESTROY s g",
            b"NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option",
        ),
        ("DEL s", b"NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option"),
        ("FLUSHALL", b"NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option"),
        ("RENAME s t", b"NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option"),
        ("SET s v", b"WRONGTYPE Operation against a key holding the wrong kind of value"),
    ],
)
def test_a_consumer_is_told_that_its_group_is_gone(line: str, text: bytes) -> None:
    recorded = with_group()
    recorded.ask("XREADGROUP GROUP g alice STREAMS s >")
    client = waiting(recorded, "XREADGROUP GROUP g alice BLOCK 0 STREAMS s >")
    recorded.ask(line)
    assert client.replies() == [ErrorReply(text)]


def test_a_reader_goes_on_waiting_when_its_stream_is_gone() -> None:
    recorded = with_group()
    client = waiting(recorded, "XREAD BLOCK 0 STREAMS s $")
    for line in ("DEL s", "SET s v", "DEL s", "XADD s 6-1 f v"):
        recorded.ask(line)
        assert client.replies() == []
    recorded.ask("XADD s 6-2 f v")
    assert client.replies() == [[[b"s", [[b"6-2", [b"f", b"v"]]]]]]


def test_changes_that_add_nothing_wake_nobody() -> None:
    recorded = with_group()
    recorded.ask("XREADGROUP GROUP g alice STREAMS s >")
    client = waiting(recorded, "XREADGROUP GROUP g bob BLOCK 0 STREAMS s >")
    for line in (
        "XACK s g 1-1",
        "XDEL s 6-1",
        "XGROUP DELCONSUMER s g bob",
        "XTRIM s MAXLEN 2",
        "XSETID s 9-9",
    ):
        recorded.ask(line)
        assert client.replies() == []
    recorded.ask("XADD s 10-1 f v")
    assert client.replies() == [[[b"s", [[b"10-1", [b"f", b"v"]]]]]]


def test_nothing_waits_inside_a_transaction() -> None:
    recorded = with_group()
    for line in ("MULTI", "XREAD BLOCK 0 STREAMS s $", "XREADGROUP GROUP g alice BLOCK 0 STREAMS s >"):
        recorded.ask(line)
    answered = recorded.ask("EXEC")
    assert isinstance(answered, list)
    assert answered[0] is NULL_ARRAY
    assert len(answered[1][0][1]) == 4


def test_a_script_may_read_but_not_ask_to_wait() -> None:
    recorded = with_group()
    script = "return redis.call('xread', {0}'STREAMS', 's', '5-1')"
    client = recorded.client
    assert client.ask("EVAL", script.format(""), 0) == [[b"s", [[b"6-1", [b"f", b"v6"]]]]]
    refusal = client.ask("EVAL", script.format("'BLOCK', 0, "), 0)
    assert isinstance(refusal, ErrorReply)
    assert b"xread command is not allowed with BLOCK option from scripts" in refusal.text


def test_a_group_is_made_and_read_again_after_an_unblock() -> None:
    recorded = with_group()
    recorded.ask("XREADGROUP GROUP g alice STREAMS s >")
    client = waiting(recorded, "XREADGROUP GROUP g alice BLOCK 0 STREAMS s >")
    recorded.ask("XGROUP DESTROY s g")
    assert isinstance(client.replies()[0], ErrorReply)
    assert recorded.ask("XGROUP CREATE s g 5-1") == OK
    assert client.ask("XREADGROUP", "GROUP", "g", "alice", "STREAMS", "s", ">") == [
        [b"s", [[b"6-1", [b"f", b"v6"]]]]
    ]


# Events.


@pytest.mark.parametrize(
    ("line", "events"),
    [
        ("XADD s MAXLEN 2 9-1 f v", [b"xadd", b"xtrim"]),
        ("XADD s MAXLEN 9 9-1 f v", [b"xadd"]),
        ("XTRIM s MAXLEN 2", [b"xtrim"]),
        ("XTRIM s MAXLEN 9", []),
        ("XDEL s 1-1", [b"xdel"]),
        ("XSETID s 9-9", [b"xsetid"]),
        ("XGROUP CREATE s h 0", [b"xgroup-create"]),
        ("XGROUP SETID s g 0", [b"xgroup-setid"]),
        ("XGROUP DESTROY s g", [b"xgroup-destroy"]),
        ("XGROUP CREATECONSUMER s g c", [b"xgroup-createconsumer"]),
        ("XGROUP DELCONSUMER s g alice", [b"xgroup-delconsumer"]),
        ("XREADGROUP GROUP g bob STREAMS s >", [b"xgroup-createconsumer"]),
        ("XACK s g 1-1", []),
    ],
)
def test_what_happens_to_streams_is_published(line: str, events: list[bytes]) -> None:
    recorded = with_group()
    recorded.ask("CONFIG SET notify-keyspace-events Kt")
    listener = recorded.harness.connect()
    listener.ask("SUBSCRIBE", "__keyspace@0__:s")
    recorded.ask(line)
    assert [message[2] for message in listener.replies() if isinstance(message, list)] == events
