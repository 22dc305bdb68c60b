"""MULTI and WATCH on one node: what breaks a transaction, what stops EXEC, and what it leaves behind."""

from __future__ import annotations

import pytest

from redoubt.resp.replies import NULL_ARRAY, OK, PONG, QUEUED, ErrorReply, SimpleString, encode_command
from tests.redoubt.harness import Client, Harness

OOM = b"OOM command not allowed when used memory > 'maxmemory'."
BROKEN = ErrorReply(b"EXECABORT Transaction discarded because of previous errors.")


def begin(client: Client, *lines: str) -> None:
    """Open a transaction and queue these commands."""
    assert client.ask("MULTI") == OK
    for line in lines:
        assert client.ask(*line.split()) == QUEUED


def test_commands_run_together_and_fail_alone() -> None:
    client = Harness().connect()
    begin(client, "SET k text", "LPUSH k x", "INCR n", "GET k")
    wrong = b"WRONGTYPE Operation against a key holding the wrong kind of value"
    assert client.ask("EXEC") == [OK, ErrorReply(wrong), 1, b"text"]
    assert client.ask("EXEC") == ErrorReply(b"ERR EXEC without MULTI")


@pytest.mark.parametrize("line", ["SET k", "NOSUCH", "CLIENT NOSUCH", "SYNC"])
def test_a_refused_command_breaks_the_transaction(line: str) -> None:
    client = Harness().connect()
    begin(client, "SET a 1")
    assert isinstance(client.ask(*line.split()), ErrorReply)
    assert client.ask("SET", "b", "2") == QUEUED
    assert client.ask("EXEC") == BROKEN
    assert client.ask("EXISTS", "a", "b") == 0
    assert client.ask("INCR", "n") == 1


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("MULTI", b"ERR MULTI calls can not be nested"),
        ("WATCH k", b"ERR WATCH inside MULTI is not allowed"),
    ],
)
def test_what_is_only_wrong_inside_does_not_break_it(line: str, text: bytes) -> None:
    client = Harness().connect()
    begin(client, "SET a 1")
    assert client.ask(*line.split()) == ErrorReply(text)
    assert client.ask("EXEC") == [OK]


def test_exec_with_words_ends_the_transaction() -> None:
    client = Harness().connect()
    begin(client, "SET a 1")
    text = b"EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command"
    assert client.ask("EXEC", "now") == ErrorReply(text)
    assert client.ask("EXEC") == ErrorReply(b"ERR EXEC without MULTI")


def test_without_memory_nothing_is_queued_and_exec_refuses_what_was() -> None:
    harness = Harness()
    client, other = harness.connect(), harness.connect()
    begin(client, "SET a 1")
    other.ask("SET", "filler", "x" * 1000)
    other.ask("CONFIG", "SET", "maxmemory", "100")
    assert client.ask("EXEC") == ErrorReply(b"EXECABORT Transaction discarded because of: " + OOM)
    client.ask("MULTI")
    assert client.ask("GET", "a") == ErrorReply(OOM)
    assert client.ask("EXEC") == BROKEN
    other.ask("CONFIG", "SET", "maxmemory", "0")
    begin(client, "GET a")
    other.ask("CONFIG", "SET", "maxmemory", "100")
    assert client.ask("EXEC") == [None]


def test_a_server_that_became_a_replica_refuses_what_would_write() -> None:
    harness = Harness()
    client, other = harness.connect(), harness.connect()
    begin(client, "SET a 1")
    other.ask("REPLICAOF", "127.0.0.1", "1")
    read_only = b"READONLY You can't write against a read only replica."
    assert client.ask("EXEC") == ErrorReply(b"EXECABORT Transaction discarded because of: " + read_only)
    begin(client, "GET a")
    assert client.ask("EXEC") == [None]


def test_a_transaction_that_makes_a_replica_writes_no_further() -> None:
    client = Harness().connect()
    begin(client, "SET a 1", "REPLICAOF 127.0.0.1 1", "SET a 2")
    assert client.ask("EXEC") == [
        OK,
        OK,
        ErrorReply(b"READONLY You can't write against a read only replica."),
    ]
    assert client.ask("GET", "a") == b"1"


def test_a_pause_of_writes_holds_exec_only_if_it_writes() -> None:
    harness = Harness()
    writer, reader, other = harness.connect(), harness.connect(), harness.connect()
    begin(writer, "SET a 1")
    begin(reader, "GET a")
    other.ask("CLIENT", "PAUSE", "1000", "WRITE")
    assert reader.ask("EXEC") == [None]
    assert writer.send(b"EXEC\r\n") == b""
    harness.advance(1000)
    assert writer.replies() == [[OK]]


def test_held_keys_hold_exec_in_the_database_of_their_turn() -> None:
    harness = Harness()
    blocking = harness.node.state.blocking
    held, free = harness.connect(), harness.connect()
    begin(held, "SELECT 1", "SET k 1")
    begin(free, "SET k 0", "SELECT 1", "GET k")
    blocking.hold_keys(1, [b"k"])
    assert free.ask("EXEC") == [OK, OK, None]
    assert held.send(b"EXEC\r\n") == b""
    blocking.release_keys(1, [b"k"])
    harness.turn()
    assert held.replies() == [[OK, OK]]


def test_a_transaction_is_bounded_like_what_a_client_may_send() -> None:
    harness = Harness("--client-query-buffer-limit", str(1024 * 1024))
    client = harness.connect()
    client.ask("MULTI")
    call = encode_command([b"SET", b"k", b"x" * 200_000])
    for _ in range(10):
        if not client.is_closed:
            client.send(call)
    assert client.is_closed
    assert harness.node.state.statistics.query_limit_disconnections == 1


def test_a_user_who_lost_a_right_is_refused_that_command_only() -> None:
    harness = Harness()
    admin, client = harness.connect(), harness.connect()
    admin.ask("ACL", "SETUSER", "ann", "on", "nopass", "allkeys", "+@all")
    client.ask("AUTH", "ann", "x")
    begin(client, "SET a 1", "GET a")
    admin.ask("ACL", "SETUSER", "ann", "-get")
    text = (
        b"NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. "
        b"This command is no longer allowed for the following reason: no permission to execute the command "
        b"or subcommand"
    )
    assert client.ask("EXEC") == [OK, ErrorReply(text)]


def test_a_user_who_may_not_exec_loses_the_transaction() -> None:
    harness = Harness()
    admin, client = harness.connect(), harness.connect()
    admin.ask("ACL", "SETUSER", "ann", "on", "nopass", "allkeys", "+@all")
    client.ask("AUTH", "ann", "x")
    begin(client, "SET a 1")
    admin.ask("ACL", "SETUSER", "ann", "-exec")
    assert client.ask("EXEC") == ErrorReply(
        b"EXECABORT Transaction discarded because of: NOPERM User ann has no permissions to run the 'exec' "
        b"command"
    )
    assert client.ask("GET", "a") is None


def test_reset_and_discard_leave_nothing() -> None:
    harness = Harness()
    client, other = harness.connect(), harness.connect()
    for ending in ("RESET", "DISCARD"):
        client.ask("WATCH", "k")
        begin(client, "SET a 1")
        client.ask(ending)
        other.ask("SET", "k", "changed")
        begin(client, "PING")
        assert client.ask("EXEC") == [PONG]
    assert harness.node.state.watches.watching == {}
    assert harness.node.state.keyspaces[0].listeners == []
    assert client.ask("EXISTS", "a") == 0


def test_a_client_that_goes_watches_nothing() -> None:
    harness = Harness()
    client = harness.connect()
    client.ask("WATCH", "k", "l")
    client.ask("SELECT", "1")
    client.ask("WATCH", "k")
    client.close()
    assert harness.node.state.watches.watching == {}
    assert all(keyspace.listeners == [] for keyspace in harness.node.state.keyspaces)


@pytest.mark.parametrize(
    ("line", "is_changed"),
    [
        ("SET k 2", True),
        ("APPEND k x", True),
        ("EXPIRE k 100", True),
        ("DEL k", True),
        ("RENAME other k", True),
        ("FLUSHDB", True),
        ("SWAPDB 0 1", True),
        ("GET k", False),
        ("SET other 2", False),
        ("SETNX k 2", False),
        ("SET k 1 NX", False),
    ],
)
def test_exec_answers_nil_when_a_watched_key_has_changed(line: str, is_changed: bool) -> None:
    harness = Harness()
    client, other = harness.connect(), harness.connect()
    other.ask("MSET", "k", "1", "other", "1")
    client.ask("WATCH", "k", "missing")
    other.ask(*line.split())
    begin(client, "PING")
    assert client.ask("EXEC") == (NULL_ARRAY if is_changed else [PONG])


def test_one_s_own_change_counts_too_and_unwatch_forgets_it() -> None:
    client = Harness().connect()
    client.ask("WATCH", "k")
    client.ask("SET", "k", "1")
    begin(client, "PING")
    assert client.ask("EXEC") == NULL_ARRAY
    client.ask("WATCH", "k")
    client.ask("SET", "k", "2")
    assert client.ask("UNWATCH") == OK
    begin(client, "PING")
    assert client.ask("EXEC") == [PONG]


def test_a_watched_key_that_expires_has_changed_before_it_is_deleted() -> None:
    harness = Harness()
    client = harness.connect()
    harness.node.state.upkeep.is_expiring = False
    client.ask("SET", "k", "1", "PX", "50")
    client.ask("WATCH", "k")
    harness.advance(100)
    begin(client, "PING")
    assert client.ask("EXEC") == NULL_ARRAY


def test_a_key_that_had_expired_before_it_was_watched_may_be_deleted() -> None:
    harness = Harness()
    client, other = harness.connect(), harness.connect()
    harness.node.state.upkeep.is_expiring = False
    other.ask("SET", "k", "1", "PX", "50")
    harness.advance(100)
    client.ask("WATCH", "k")
    assert other.ask("GET", "k") is None
    begin(client, "PING")
    assert client.ask("EXEC") == [PONG]


def test_replies_that_are_not_wanted_are_dropped_as_a_whole() -> None:
    client = Harness().connect()
    begin(client, "CLIENT REPLY OFF", "SET a 1")
    assert client.send(b"EXEC\r\n") == b""
    assert client.send(b"CLIENT REPLY ON\r\n") == b"+OK\r\n"
    assert client.ask("GET", "a") == b"1"


def test_errors_inside_are_counted() -> None:
    harness = Harness()
    client = harness.connect()
    begin(client, "SET k text", "INCR k", "LPUSH k x")
    client.ask("EXEC")
    assert harness.node.state.statistics.errors_by_code == {b"ERR": 1, b"WRONGTYPE": 1}


def test_a_transaction_shows_in_the_client_list() -> None:
    harness = Harness()
    client, other = harness.connect(), harness.connect()
    client.ask("WATCH", "k")
    begin(client, "GET k", "GET k")
    other.ask("SET", "k", "1")
    line = other.ask("CLIENT", "LIST", "ID", client.session.session_id)
    assert isinstance(line, bytes)
    assert b" flags=xd " in line and b" multi=2 " in line
    assert client.ask("RESET") == SimpleString(b"RESET")
