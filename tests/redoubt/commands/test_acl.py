"""ACL's commands, and how a user's restrictions meet every way of running a command."""

from __future__ import annotations

import time

import pytest

from redoubt.commands.declare import CATEGORIES
from redoubt.resp.replies import OK, QUEUED, ErrorReply
from tests.redoubt.harness import PATIENCE_S, Client, Harness, server_process

REASON = (
    b"NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This "
)


def guest(harness: Harness, *rules: str) -> Client:
    harness.connect().ask("ACL", "SETUSER", "guest", "on", "nopass", *rules)
    client = harness.connect()
    client.ask("AUTH", "guest", "")
    return client


def test_a_command_that_is_refused_breaks_the_transaction() -> None:
    client = guest(Harness(), "+@all", "-set", "~*")
    assert client.ask("MULTI") == OK
    assert isinstance(client.ask("SET", "k", "v"), ErrorReply)
    assert client.ask("EXEC") == ErrorReply(b"EXECABORT Transaction discarded because of previous errors.")


def test_what_was_queued_is_asked_again_at_exec() -> None:
    harness = Harness()
    client = guest(harness, "+@all", "~*")
    client.ask("MULTI")
    assert client.ask("SET", "k", "v") == client.ask("GET", "k") == QUEUED
    harness.connect().ask("ACL", "SETUSER", "guest", "-set")
    replies = client.ask("EXEC")
    assert isinstance(replies, list)
    refused = replies[0]
    assert isinstance(refused, ErrorReply) and refused.text.startswith(REASON)
    assert replies[1] is None


def test_subscribing_asks_for_every_channel() -> None:
    client = guest(Harness(), "+@all", "&a*")
    refused = ErrorReply(b"NOPERM No permissions to access a channel")
    assert client.ask("SUBSCRIBE", "a1", "b") == refused
    assert client.ask("PSUBSCRIBE", "a?") == refused
    assert client.ask("SPUBLISH", "b", "m") == refused
    assert client.ask("PUBLISH", "a1", "m") == 0


def test_refusals_are_counted_by_reason() -> None:
    harness = Harness()
    client = guest(harness, "+get", "+publish", "~a")
    for words in (
        ("SET", "a", "b"),
        ("GET", "b"),
        ("GET", "c"),
        ("PUBLISH", "c", "m"),
        ("AUTH", "guest2", "x"),
    ):
        client.ask(*words)
    counted = harness.node.state.statistics
    assert (
        counted.acl_commands_denied, counted.acl_keys_denied, counted.acl_channels_denied,
        counted.authentications_denied,
    ) == (1, 2, 1, 1)  # fmt: skip


def test_the_log_is_bounded_and_groups_what_is_alike_within_a_minute() -> None:
    harness = Harness("--acllog-max-len", "3")
    client = guest(harness, "+get", "~a")
    for key in ("b", "b", "c", "d", "e"):
        client.ask("GET", key)
    entries = harness.node.state.users.denials.entries
    assert [(entry.what, entry.count) for entry in entries] == [(b"e", 1), (b"d", 1), (b"c", 1)]
    harness.advance(61_000)
    client.ask("GET", "e")
    assert [(entry.what, entry.count) for entry in entries] == [(b"e", 1), (b"e", 1), (b"d", 1)]


def test_every_category_has_commands_that_cat_lists() -> None:
    client = Harness().connect()
    assert client.ask("ACL", "CAT") == [category.encode() for category in CATEGORIES]
    listed = client.ask("ACL", "CAT", "dangerous")
    assert isinstance(listed, list)
    assert {b"flushall", b"acl|setuser", b"config|set"} <= set(listed)


def test_killing_clients_by_user_spares_the_others() -> None:
    harness = Harness()
    client = guest(harness, "+@all")
    admin = harness.connect()
    assert admin.ask("CLIENT", "KILL", "USER", "guest") == 1
    assert (client.is_closed, admin.is_closed) == (True, False)
    assert admin.ask("CLIENT", "KILL", "USER", "nobody") == ErrorReply(b"ERR No such user 'nobody'")


def test_the_list_of_clients_names_the_user() -> None:
    harness = Harness()
    client = guest(harness, "+client|info")
    assert b" user=guest " in client.ask("CLIENT", "INFO")  # type: ignore[operator]


@pytest.mark.process
def test_generated_passwords_are_as_long_as_asked_and_never_the_same() -> None:
    with server_process() as server:
        connection = server.connect()
        drawn = [connection.ask("ACL", "GENPASS") for _ in range(3)]
        assert len(set(drawn)) == 3 and {len(password) for password in drawn} == {64}
        assert len(connection.ask("ACL", "GENPASS", 5)) == 2
        connection.close()


@pytest.mark.process
def test_an_error_in_the_users_ends_the_start() -> None:
    with (
        pytest.raises(AssertionError, match="Unknown command or category name"),
        server_process("--user", "a", "on", "+nosuch"),
    ):
        pass


@pytest.mark.process
def test_a_replica_follows_as_a_user_who_may_do_nothing_else() -> None:
    rules = ("on", ">pw", "+psync", "+replconf", "+ping")
    with (
        server_process("--user", "replicator", *rules, "--requirepass", "secret") as master,
        server_process(
            "--replicaof", "127.0.0.1", str(master.port), "--masteruser", "replicator", "--masterauth", "pw"
        ) as replica,
    ):
        writer, reader = master.connect(), replica.connect()
        assert writer.ask("AUTH", "secret") == OK
        assert writer.ask("SET", "k", "v") == OK
        deadline = time.monotonic() + PATIENCE_S
        while reader.ask("GET", "k") != b"v":
            assert time.monotonic() < deadline, replica.log()
            time.sleep(0.02)
        assert writer.ask("ACL", "LOG") == []
        assert reader.ask("ACL", "USERS") == [b"default"]  # users are each server's own
        writer.close()
        reader.close()
