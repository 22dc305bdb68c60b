"""Slow commands are noticed, whatever they are, without a clock reading for each; how they are shown."""

from __future__ import annotations

from redoubt.commands.declare import TABLE
from redoubt.hooks import KeyListener
from redoubt.resp.replies import OK, ErrorReply, Verbatim, encode_command
from redoubt.slowlog import redacted, shortened
from tests.redoubt.harness import Client, Harness

SLOW_US = 20_000


class SlowKeys(KeyListener):
    """A clock that stands still while commands run, except that changing a key `slow...` takes 20 ms."""

    def __init__(self) -> None:
        self.us = 1
        self.readings = 0

    def read(self) -> int:
        self.readings += 1
        return self.us

    def key_changed(self, database: int, key: bytes) -> None:
        if key.startswith(b"slow"):
            self.us += SLOW_US


def slow_server(*words: str) -> tuple[Client, SlowKeys]:
    harness = Harness(*words)
    clock = SlowKeys()
    harness.node.dispatcher.clock_us = clock.read
    harness.node.state.latency.clock_us = clock.read
    harness.node.state.keyspaces[0].listen(clock)
    return harness.connect(), clock


def pipeline(client: Client, *lines: str) -> None:
    client.send(b"".join([encode_command(line.encode().split()) for line in lines]))
    client.replies()


def logged(client: Client) -> list[tuple[int, bytes]]:
    """Return duration and words of each entry, the oldest first."""
    entries = client.harness.node.state.slow_log.entries
    return [(entry.duration_us, b" ".join(entry.words)) for entry in reversed(entries)]


def test_a_slow_command_is_logged_with_its_duration_and_its_client() -> None:
    client, _ = slow_server()
    client.ask("CLIENT", "SETNAME", "me")
    client.ask("SET", "quick", "v")
    client.ask("MSET", "slow", "v")
    client.ask("SET", "slow", "v")
    assert client.ask("SLOWLOG", "GET") == [
        [1, 1_700_000_000, SLOW_US, [b"SET", b"slow", b"v"], b"127.0.0.1:50000", b"me"],
        [0, 1_700_000_000, SLOW_US, [b"MSET", b"slow", b"v"], b"127.0.0.1:50000", b"me"],
    ]


def test_slow_commands_of_a_pipeline_are_named_where_each_is_timed() -> None:
    client, _ = slow_server()
    pipeline(client, "SET a 1", "MSET slow1 v", "SET b 1", "SET c 1", "MSET slow2 v", "SET d 1")
    assert logged(client) == [(SLOW_US, b"MSET slow1 v"), (SLOW_US, b"MSET slow2 v")]


def test_a_slow_one_among_commands_that_are_not_timed_is_told_with_how_many_it_may_be() -> None:
    client, _ = slow_server()
    pipeline(client, "SET a 1", "SET slow 1", "SET b 1")
    assert logged(client) == [(SLOW_US, b"(one of 3 pipelined commands up to) SET b 1")]
    client.ask("SLOWLOG", "RESET")
    pipeline(client, "SET slow 1", "SET b 1", "MSET c 1")
    assert logged(client) == [(SLOW_US, b"(one of 2 pipelined commands up to) MSET c 1")]


def test_a_pipeline_of_any_length_is_no_slow_command() -> None:
    client, clock = slow_server()
    start = clock.readings
    pipeline(client, *["SET a 1"] * 1000)
    assert logged(client) == []
    assert clock.readings - start < 50  # two, and two for one in 64


def test_what_exec_runs_is_logged_and_exec_is_not() -> None:
    client, _ = slow_server()
    pipeline(client, "MULTI", "SET a 1", "MSET slow v", "EXEC")
    assert logged(client) == [(SLOW_US, b"MSET slow v")]
    pipeline(client, "MULTI", "SET slow 1", "EXEC")
    assert logged(client)[1:] == [(SLOW_US, b"SET slow 1")]


def test_a_low_threshold_has_every_command_timed_and_zero_logs_all() -> None:
    client, _ = slow_server("--slowlog-log-slower-than", "0")
    pipeline(client, "SET a 1", "SET slow 1", "GET a")
    assert logged(client) == [(0, b"SET a 1"), (SLOW_US, b"SET slow 1"), (0, b"GET a")]
    client.ask("CONFIG", "SET", "slowlog-log-slower-than", "-1")
    client.ask("SLOWLOG", "RESET")
    client.ask("SET", "slow", "v")
    assert logged(client) == []


def test_the_length_of_the_log_is_bounded_and_numbers_go_on() -> None:
    client, _ = slow_server("--slowlog-max-len", "2")
    for key in ("slow1", "slow2", "slow3"):
        client.ask("SET", key, "v")
    entries = client.harness.node.state.slow_log.entries
    assert [entry.number for entry in entries] == [2, 1]
    assert (client.ask("SLOWLOG", "LEN"), client.ask("SLOWLOG", "RESET"), client.ask("SLOWLOG", "LEN")) == (
        2,
        OK,
        0,
    )
    client.ask("SET", "slow", "v")
    assert entries[0].number == 3


def test_a_bad_count_is_refused() -> None:
    client = Harness().connect()
    refused = ErrorReply(b"ERR count should be greater than or equal to -1")
    assert client.ask("SLOWLOG", "GET", "-2") == client.ask("SLOWLOG", "GET", "x") == refused
    assert isinstance(client.ask("SLOWLOG", "GET", "1", "2"), ErrorReply)


def test_long_calls_are_shortened_as_redis_does() -> None:
    words = shortened([b"x" * 130, *[b"%d" % number for number in range(40)]])
    assert words[0] == b"x" * 128 + b"... (2 more bytes)"
    assert (len(words), words[-1]) == (32, b"... (10 more arguments)")
    assert len(shortened([b"a"] * 32)) == 32


def test_secrets_are_not_shown() -> None:
    lines = (
        b"AUTH u p",
        b"acl setuser u >p",
        b"HELLO 3 AUTH u p SETNAME n",
        b"MIGRATE h 1 k 0 1 AUTH p",
        b"MIGRATE h 1 k 0 1 AUTH2 u p",
        b"CONFIG SET maxmemory 1 requirepass p",
        b"SET auth p",
    )
    shown = [b" ".join(redacted(line.split())) for line in lines]
    assert shown == [
        b"AUTH (redacted) (redacted)",
        b"acl setuser (redacted) (redacted)",
        b"HELLO 3 AUTH (redacted) (redacted) SETNAME n",
        b"MIGRATE h 1 k 0 1 AUTH (redacted)",
        b"MIGRATE h 1 k 0 1 AUTH2 (redacted) (redacted)",
        b"CONFIG SET maxmemory 1 requirepass (redacted)",
        b"SET auth p",
    ]


def test_commands_that_visit_many_elements_are_timed_each_and_others_in_samples() -> None:
    timed = {name for name in (b"KEYS", b"MSET", b"LRANGE", b"DEL", b"SORT") if TABLE[name].is_timed}
    sampled = {
        name for name in (b"GET", b"SET", b"INCR", b"LPUSH", b"ZADD", b"PING") if not TABLE[name].is_timed
    }
    assert (len(timed), len(sampled)) == (5, 6)


# LATENCY.


def test_the_monitor_takes_events_from_the_threshold_on() -> None:
    client, _ = slow_server("--latency-monitor-threshold", "20")
    client.ask("SET", "slow", "v")
    client.ask("MSET", "slow", "v", "slow2", "v")
    client.ask("MSET", "quick", "v")
    assert client.ask("LATENCY", "LATEST") == [
        [b"fast-command", 1_700_000_000, 20, 20],
        [b"command", 1_700_000_000, 40, 40],
    ]
    client.harness.advance(1000)
    client.ask("MSET", "slow", "v")
    assert client.ask("LATENCY", "HISTORY", "command") == [[1_700_000_000, 40], [1_700_000_001, 20]]
    assert client.ask("LATENCY", "HISTORY", "nosuch") == []
    assert client.ask("LATENCY", "RESET", "command", "nosuch", "command") == 1
    assert client.ask("LATENCY", "RESET") == 1
    assert client.ask("LATENCY", "LATEST") == []


def test_without_a_threshold_nothing_is_taken() -> None:
    client, _ = slow_server()
    client.ask("SET", "slow", "v")
    assert client.ask("LATENCY", "LATEST") == []


def test_the_expire_cycle_is_an_event() -> None:
    client, _ = slow_server("--latency-monitor-threshold", "1")
    client.ask("SET", "slow", "v", "PX", 50)
    client.ask("LATENCY", "RESET")
    client.harness.advance(500)
    assert client.ask("LATENCY", "LATEST") == [[b"expire-cycle", 1_700_000_000, 20, 20]]


def test_samples_are_kept_by_the_second_and_bounded() -> None:
    client, _ = slow_server("--latency-monitor-threshold", "1")
    for _ in range(170):
        client.ask("SET", "slow", "v")
        client.ask("SET", "slow", "v")
        client.harness.advance(1000)
    history = client.ask("LATENCY", "HISTORY", "fast-command")
    assert isinstance(history, list) and len(history) == 160


def test_graph_and_doctor_tell_of_the_events() -> None:
    client, _ = slow_server("--latency-monitor-threshold", "1")
    assert client.ask("LATENCY", "GRAPH", "command") == ErrorReply(
        b"ERR No samples available for event 'command'"
    )
    assert client.ask("LATENCY", "DOCTOR") == b"Nothing took longer than latency-monitor-threshold so far.\n"
    client.ask("MSET", "slow", "v")
    client.harness.advance(1000)
    client.ask("MSET", "slow", "v", "slow2", "v")
    assert client.ask("LATENCY", "GRAPH", "command") == (
        b"command - high 40 ms, low 20 ms (all time high 40 ms)\n"
        + b"-" * 80
        + b"\n #\n #\n #\n##\n\n10\nss\n"
    )
    client.ask("HELLO", 3)
    told = client.ask("LATENCY", "DOCTOR")
    assert isinstance(told, Verbatim)
    assert told.text.startswith(b"command: 2 slow seconds within 1s, 30 ms on average, 40 ms at worst")


# LOLWUT.


def test_lolwut_draws_something_else_each_time_and_names_the_version() -> None:
    client = Harness().connect()
    one, two = client.ask("LOLWUT"), client.ask("LOLWUT", "VERSION", 5, 6)
    assert isinstance(one, bytes) and isinstance(two, bytes)
    assert one != client.ask("LOLWUT")
    assert one.splitlines()[-1].startswith(b"Redis ver. 7.4.0 (Redoubt ")
    assert (len(one.splitlines()), len(two.splitlines())) == (18, 26)
    assert client.ask("LOLWUT", "VERSION", "x") == ErrorReply(b"ERR value is not an integer or out of range")
