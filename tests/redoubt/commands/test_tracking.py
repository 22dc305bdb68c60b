"""Client tracking and MONITOR on one node: what is told, to whom, and that others pay and hear nothing."""

from __future__ import annotations

from redoubt.resp.replies import OK, Push, SimpleString
from tests.redoubt.harness import Client, Harness


def tracker(harness: Harness, *options: str | int) -> Client:
    client = harness.connect()
    client.ask("HELLO", 3)
    assert client.ask("CLIENT", "TRACKING", "ON", *options) == OK
    return client


def invalidated(*keys: bytes) -> Push:
    return Push([b"invalidate", list(keys)])


def test_a_key_that_was_read_is_told_once_when_it_changes() -> None:
    harness = Harness()
    client, other = tracker(harness), harness.connect()
    client.ask("GET", "k")
    other.send(b"SET k 1\r\nSET k 2\r\nSET unread 1\r\n")
    assert client.replies() == [invalidated(b"k")]


def test_keys_that_expire_are_told() -> None:
    harness = Harness()
    client, other = tracker(harness), harness.connect()
    other.ask("SET", "k", "1", "PX", 50)
    client.ask("GET", "k")
    harness.advance(1000)
    assert client.replies() == [invalidated(b"k")]


def test_evicted_keys_are_told() -> None:
    harness = Harness("--maxmemory-policy", "allkeys-lru")
    client, other = tracker(harness), harness.connect()
    other.ask("SET", "k", "1")
    client.ask("GET", "k")
    other.ask("CONFIG", "SET", "maxmemory", 1)
    other.ask("SET", "x", 1)
    assert invalidated(b"k") in client.replies()


def test_ones_own_change_is_told_behind_the_reply_unless_noloop() -> None:
    harness = Harness()
    client = tracker(harness)
    client.ask("GET", "k")
    client.send(b"SET k 1\r\nPING\r\n")
    assert client.replies() == [OK, invalidated(b"k"), SimpleString(b"PONG")]
    client.ask("CLIENT", "TRACKING", "ON", "NOLOOP")
    client.ask("GET", "k")
    client.send(b"SET k 2\r\n")
    assert client.replies() == [OK]


def test_what_a_script_reads_is_remembered_for_its_caller() -> None:
    harness = Harness()
    client, other = tracker(harness), harness.connect()
    client.ask("EVAL", "return redis.call('get', KEYS[1])", 1, "k")
    other.ask("SET", "k", 1)
    assert client.replies() == [invalidated(b"k")]


def test_the_table_is_bounded_and_what_is_dropped_is_told() -> None:
    harness = Harness("--tracking-table-max-keys", "10")
    client, other = tracker(harness), harness.connect()
    for number in range(30):
        client.ask("GET", f"k{number}")
    assert client.replies() == []
    harness.advance(200)
    assert client.replies() == [invalidated(b"k%d" % number) for number in range(20)]
    text = other.ask("INFO", "stats")
    assert isinstance(text, bytes)
    assert b"tracking_total_keys:10\r\ntracking_total_items:10\r\ntracking_total_prefixes:0\r\n" in text


def test_a_flush_is_told_as_nothing_is_known() -> None:
    harness = Harness()
    client, broad, other = tracker(harness), tracker(harness, "BCAST"), harness.connect()
    other.ask("FLUSHALL")
    assert client.replies() == broad.replies() == [Push([b"invalidate", None])]


def test_a_broadcast_tells_each_key_once_a_turn() -> None:
    harness = Harness()
    client, other = tracker(harness, "BCAST", "PREFIX", "u:"), harness.connect()
    other.send(b"SET u:1 1\r\nSET u:1 2\r\nSET v 1\r\nSET u:2 1\r\n")
    assert client.replies() == [invalidated(b"u:1", b"u:2")]


def test_nothing_is_remembered_when_the_last_tracker_has_gone() -> None:
    harness = Harness()
    client = tracker(harness)
    client.ask("GET", "k")
    client.close()
    tracking = harness.node.state.tracking
    assert not tracking.readers and not tracking.clients and tracking.reader_count == 0
    assert tracking not in harness.node.state.keyspaces[0].listeners


def test_a_redirection_whose_target_has_gone_is_told_as_broken() -> None:
    harness = Harness()
    target, other = harness.connect(), harness.connect()
    target.ask("HELLO", 3)
    number = target.ask("CLIENT", "ID")
    assert isinstance(number, int)
    client = tracker(harness, "REDIRECT", number)
    client.ask("GET", "k")
    other.ask("SET", "k", 1)
    assert target.replies() == [invalidated(b"k")]
    client.ask("GET", "k")
    target.close()
    other.ask("SET", "k", 2)
    assert client.replies() == [Push([b"tracking-redir-broken", number])]
    shown = other.ask("CLIENT", "LIST")
    assert isinstance(shown, bytes)
    assert b" flags=tR " in shown


def test_no_touch_leaves_no_trace_of_reading() -> None:
    harness = Harness()
    client, other = harness.connect(), harness.connect()
    other.ask("SET", "k", 1)
    assert client.ask("CLIENT", "NO-TOUCH", "ON") == OK
    harness.advance(5000)
    client.ask("GET", "k")
    assert other.ask("OBJECT", "IDLETIME", "k") == 5
    for words in (["MULTI"], ["GET", "k"], ["EXEC"], ["EVAL", "return redis.call('get', 'k')", "0"]):
        client.ask(*words)
    assert other.ask("OBJECT", "IDLETIME", "k") == 5
    client.ask("TOUCH", "k")
    assert other.ask("OBJECT", "IDLETIME", "k") == 0
    harness.advance(5000)
    for words in (["MULTI"], ["TOUCH", "k"], ["EXEC"]):
        client.ask(*words)
    assert other.ask("OBJECT", "IDLETIME", "k") == 0
    harness.advance(5000)
    client.ask("CLIENT", "NO-TOUCH", "OFF")
    client.ask("GET", "k")
    assert other.ask("OBJECT", "IDLETIME", "k") == 0


def shown_by_monitor(*lines: bytes) -> list[bytes]:
    harness = Harness("--protected-mode", "no")
    monitor, client = harness.connect(), harness.connect("10.0.0.9:5000")
    assert monitor.ask("MONITOR") == OK
    for line in lines:
        client.send(line + b"\r\n")
    return monitor.received.removeprefix(b"+OK\r\n").splitlines()


def test_monitor_shows_commands_as_redis_writes_them() -> None:
    start = b"+1700000000.000000 [0 10.0.0.9:5000] "
    assert shown_by_monitor(b'SET k "a\\n\\"\\x01\xff\\\\"', b"GET k", b"NOSUCH", b"GET") == [
        start + b'"SET" "k" "a\\n\\"\\x01\\xff\\\\"',
        start + b'"GET" "k"',
    ]


def test_monitor_shows_no_secrets_and_nothing_administrative() -> None:
    start = b"+1700000000.000000 [0 10.0.0.9:5000] "
    assert shown_by_monitor(
        b"AUTH secret", b"AUTH u secret", b"HELLO 2 AUTH u secret", b"CONFIG GET port", b"ACL SETUSER u >pw",
        b"MIGRATE 127.0.0.1 1 k 0 100 AUTH2 u secret",
    ) == [
        start + b'"AUTH" "(redacted)"',
        start + b'"AUTH" "(redacted)" "(redacted)"',
        start + b'"HELLO" "2" "AUTH" "(redacted)" "(redacted)"',
        start + b'"MIGRATE" "127.0.0.1" "1" "k" "0" "100" "AUTH2" "(redacted)" "(redacted)"',
    ]  # fmt: skip


def test_monitor_shows_transactions_and_scripts_command_by_command() -> None:
    lines = shown_by_monitor(
        b"MULTI", b"SET k 1", b"EXEC", b"EVAL \"return redis.call('get', 'k')\" 0", b"SELECT 2"
    )
    shown = [line.split(b"] ", 1)[1].split()[0] for line in lines]
    assert shown == [b'"MULTI"', b'"SET"', b'"EXEC"', b'"EVAL"', b'"get"', b'"SELECT"']
    assert b" [0 lua] " in lines[4]
    assert b" [2 10.0.0.9:5000] " in lines[5]


def test_monitoring_ends_with_reset_or_the_connection_and_costs_nothing_afterwards() -> None:
    harness = Harness()
    dispatcher = harness.node.dispatcher
    usual = dispatcher.sample_every
    first, second, client = harness.connect(), harness.connect(), harness.connect()
    first.ask("MONITOR")
    second.ask("MONITOR")
    first.send(b"MONITOR\r\n")
    assert first.replies() == []  # as Redis: who monitors already gets no answer
    shown = client.ask("CLIENT", "LIST")
    assert isinstance(shown, bytes) and shown.count(b" flags=O ") == 2
    first.send(b"RESET\r\n")
    second.close()
    first.replies()
    client.ask("PING")
    assert first.replies() == []
    assert dispatcher.sample_every == usual
