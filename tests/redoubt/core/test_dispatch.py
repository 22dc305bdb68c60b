"""The life of a command and of a pipeline, on a node without a process."""

from __future__ import annotations

import pytest

from redoubt import dispatch
from redoubt.blocking import Waiter
from redoubt.commands.declare import TABLE
from redoubt.resp.replies import OK, PONG, ErrorReply, SimpleString, encode_command
from redoubt.session import GATE_LOADING, GATE_MIN_REPLICAS, GATE_REPLICA, GATE_STALE, REPLIES_OFF
from tests.redoubt.commands.recorded import Recorded
from tests.redoubt.harness import Harness


def test_replies_come_in_the_order_of_the_commands() -> None:
    client = Harness().connect()
    client.send(b"SET k 1\r\n" + encode_command([b"GET", b"k"]) + b"PING\r\nINCR k\r\n")
    assert client.replies() == [OK, b"1", PONG, 2]


def test_ten_thousand_pipelined_commands_are_answered_in_one_turn() -> None:
    client = Harness().connect()
    client.send(b"".join(encode_command([b"SET", b"k%d" % n, b"v"]) for n in range(10_000)))
    assert client.replies() == [OK] * 10_000


def test_unknown_commands_and_wrong_arity_are_refused_with_redis_texts() -> None:
    client = Harness().connect()
    unknown = client.ask("nosuch", "a", "b")
    assert unknown == ErrorReply(b"ERR unknown command 'nosuch', with args beginning with: 'a' 'b' ")
    assert client.ask("GET") == ErrorReply(b"ERR wrong number of arguments for 'get' command")
    assert client.ask("gEt", "a", "b") == ErrorReply(b"ERR wrong number of arguments for 'get' command")


def test_a_protocol_error_is_said_and_ends_the_connection() -> None:
    client = Harness().connect()
    assert client.send(b"PING\r\n*1\r\n+x\r\nPING\r\n") == (
        b"+PONG\r\n-ERR Protocol error: expected '$', got '+'\r\n"
    )
    assert client.is_closed


def test_commands_after_quit_are_not_run() -> None:
    harness = Harness()
    client = harness.connect()
    assert client.send(b"QUIT\r\nSET k 1\r\n") == b"+OK\r\n"
    assert client.is_closed
    assert harness.connect().ask("GET", "k") is None


def test_errors_are_counted_by_their_code() -> None:
    harness = Harness()
    client = harness.connect()
    client.ask("SET", "k", "x")
    client.ask("INCR", "k")
    client.ask("NOSUCH")
    assert harness.node.state.statistics.errors_by_code == {b"ERR": 2}
    assert harness.node.state.statistics.error_replies == 2
    assert TABLE[b"INCR"].failed_calls > 0


def test_every_64th_command_is_timed_for_all() -> None:
    harness = Harness()
    ticks = iter(range(0, 10_000, 5))
    harness.node.dispatcher.clock_us = lambda: next(ticks)
    row = TABLE[b"PING"]
    calls, usec = row.calls, row.usec
    client = harness.connect()
    client.send(b"PING\r\n" * (2 * dispatch.SAMPLE_EVERY))
    assert row.calls == calls + 2 * dispatch.SAMPLE_EVERY
    assert row.usec == usec + 2 * dispatch.SAMPLE_EVERY * 5


def test_effective_writes_are_fed_to_the_replication_and_others_are_not() -> None:
    recorded = Recorded()
    for line in ("SET k v", "GET k", "DEL gone", "SETNX k w", "DEL k"):
        recorded.ask(line)
    assert recorded.propagation.lines == ["SET k v", "DEL k"]


def test_a_key_that_is_found_expired_is_fed_as_its_deletion() -> None:
    recorded = Recorded()
    recorded.ask("SET k v PX 10")
    recorded.harness.now_ms += 11
    assert recorded.propagates("GET k") == ["DEL k"]


@pytest.mark.parametrize(
    ("gate", "words", "code"),
    [
        (GATE_LOADING, ("GET", "k"), b"LOADING Redis is loading the dataset in memory"),
        (GATE_REPLICA, ("SET", "k", "v"), b"READONLY You can't write against a read only replica."),
        (GATE_MIN_REPLICAS, ("SET", "k", "v"), b"NOREPLICAS Not enough good replicas to write."),
        (
            GATE_STALE,
            ("GET", "k"),
            b"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        ),
    ],
)
def test_gates_stop_the_commands_they_concern_with_redis_texts(
    gate: int, words: tuple[str, ...], code: bytes
) -> None:
    harness = Harness()
    client = harness.connect()
    harness.node.state.set_gate(gate, True)
    assert client.ask(*words) == ErrorReply(code)
    harness.node.state.set_gate(gate, False)
    assert not isinstance(client.ask(*words), ErrorReply)


def test_reading_goes_on_where_only_writes_are_refused() -> None:
    harness = Harness()
    client = harness.connect()
    harness.node.state.set_gate(GATE_REPLICA | GATE_MIN_REPLICAS, True)
    assert client.ask("GET", "k") is None


def test_unauthenticated_clients_may_only_authenticate() -> None:
    client = Harness("--requirepass", "secret").connect()
    assert client.ask("GET", "k") == ErrorReply(b"NOAUTH Authentication required.")
    assert client.ask("AUTH", "secret") == OK
    assert client.ask("GET", "k") is None


def test_unauthenticated_clients_have_tight_limits_until_they_authenticate() -> None:
    harness = Harness("--requirepass", "secret")
    client = harness.connect()
    assert client.send(b"*11\r\n").endswith(b"unauthenticated multibulk length\r\n")
    assert client.is_closed
    client = harness.connect()
    client.ask("AUTH", "secret")
    assert client.ask("MSET", *["k"] * 20) == OK


def test_replies_that_nobody_wants_are_not_sent() -> None:
    client = Harness().connect()
    client.session.replies = REPLIES_OFF
    assert client.send(b"SET k 1\r\nGET k\r\n") == b""


def test_the_replies_of_one_turn_are_bounded_and_the_rest_follows() -> None:
    harness = Harness()
    client = harness.connect()
    size = dispatch.TURN_OUTPUT_BYTES_MAX // 2
    client.ask("SET", "k", b"x" * size)
    session = client.session
    longest = 0

    def flush(link: object) -> None:
        nonlocal longest
        longest = max(longest, sum(map(len, session.out)))
        original(session)

    original = harness.flush
    harness.flush = flush  # type: ignore[method-assign, assignment]
    client.send(b"GET k\r\n" * 20)
    assert client.replies() == [b"x" * size] * 20
    assert longest < 2 * dispatch.TURN_OUTPUT_BYTES_MAX


def test_a_client_that_does_not_read_is_not_read_from() -> None:
    harness = Harness()
    client = harness.connect()
    client.ask("SET", "k", b"x" * dispatch.TURN_OUTPUT_BYTES_MAX)
    client.reads = False
    client.send(b"GET k\r\n" * 100)
    assert client.link.is_paused
    assert client.link.unsent_bytes < 2 * dispatch.UNSENT_BYTES_PAUSE
    client.read_again()
    assert not client.link.is_paused
    client.replies()
    assert client.ask("PING") == PONG


def test_a_command_that_outgrows_the_query_buffer_ends_the_connection() -> None:
    harness = Harness("--client-query-buffer-limit", "2mb")
    client = harness.connect()
    client.send(b"*2\r\n$4\r\nECHO\r\n$100000000\r\n")
    for _ in range(40):
        if not client.is_closed:
            client.send(b"x" * 100_000)
    assert client.is_closed
    assert harness.node.state.statistics.query_limit_disconnections == 1


def test_what_a_blocked_client_sends_is_kept_up_to_a_limit_and_then_run() -> None:
    harness = Harness()
    client = harness.connect()
    blocking = harness.node.state.blocking
    blocking.block(client.session, Waiter(0))
    payload = encode_command([b"ECHO", b"x" * 60_000])
    for _ in range(40):
        assert client.send(payload) == b""
    assert client.link.is_paused
    blocking.unblock(client.session, SimpleString(b"DONE"))
    harness.turn()
    assert not client.link.is_paused
    assert client.replies() == [SimpleString(b"DONE"), *[b"x" * 60_000] * 40]


def test_a_closed_client_is_forgotten() -> None:
    harness = Harness()
    client = harness.connect()
    harness.node.state.blocking.block(client.session, Waiter(0))
    client.close()
    assert harness.node.state.sessions == {}
    assert harness.node.state.blocking.waiting == {}
