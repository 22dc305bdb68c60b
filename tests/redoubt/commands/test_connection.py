"""What the connection commands do to connections, on a node with a fake clock."""

from __future__ import annotations

from redoubt.commands.connection import HELLO_NEEDS_AUTH, WRONG_PASSWORD
from redoubt.resp.replies import OK, ErrorReply, SimpleString
from tests.redoubt.harness import Harness

NOAUTH = ErrorReply(b"NOAUTH Authentication required.")


def test_a_password_is_asked_for_and_opens_the_connection() -> None:
    client = Harness("--requirepass", "secret").connect()
    assert client.ask("GET", "a") == NOAUTH
    assert client.ask("HELLO") == HELLO_NEEDS_AUTH
    assert client.ask("AUTH", "wrong") == WRONG_PASSWORD
    assert client.ask("AUTH", "stranger", "secret") == WRONG_PASSWORD
    assert client.ask("AUTH", "secret") == OK
    assert client.ask("GET", "a") is None
    assert client.harness.node.state.statistics.authentications_denied == 2


def test_hello_that_fails_changes_nothing() -> None:
    client = Harness("--requirepass", "secret").connect()
    assert client.ask("HELLO", 3, "AUTH", "default", "wrong", "SETNAME", "x") == WRONG_PASSWORD
    assert (client.session.resp, client.session.name) == (2, b"")
    assert isinstance(client.ask("HELLO", 3, "AUTH", "default", "secret", "SETNAME", "a b"), ErrorReply)
    assert client.ask("PING") == NOAUTH


def test_taking_the_password_away_opens_waiting_connections_and_setting_one_closes_none() -> None:
    harness = Harness("--requirepass", "secret")
    admin, waiting = harness.connect(), harness.connect()
    admin.ask("AUTH", "secret")
    assert admin.ask("CONFIG", "SET", "requirepass", "") == OK
    assert waiting.ask("PING") == SimpleString(b"PONG")
    assert admin.ask("CONFIG", "SET", "requirepass", "other") == OK
    assert waiting.ask("PING") == SimpleString(b"PONG")
    assert harness.connect().ask("PING") == NOAUTH


def test_reset_forgets_what_the_client_has_set_up() -> None:
    client = Harness().connect()
    for words in (("SELECT", 3), ("CLIENT", "SETNAME", "x"), ("CLIENT", "NO-EVICT", "ON"), ("HELLO", 3)):
        client.ask(*words)
    assert client.ask("RESET") == SimpleString(b"RESET")
    session = client.session
    assert (session.database, session.name, session.resp, session.is_eviction_exempt) == (0, b"", 2, False)


def test_quit_answers_and_closes() -> None:
    client = Harness().connect()
    assert client.send(b"QUIT\r\nPING\r\n") == b"+OK\r\n"
    assert client.is_closed


def test_client_reply_off_and_skip_silence_exactly_what_they_should() -> None:
    client = Harness().connect()
    assert client.send(b"CLIENT REPLY OFF\r\nPING\r\nCLIENT REPLY ON\r\n") == b"+OK\r\n"
    assert client.send(b"CLIENT REPLY SKIP\r\nPING\r\nECHO a\r\n") == b"$1\r\na\r\n"


def test_client_kill_closes_what_fits_and_spares_the_asking_client() -> None:
    harness = Harness()
    asking, other, third = (harness.connect(f"127.0.0.1:{port}") for port in (1001, 1002, 1003))
    assert asking.ask("CLIENT", "KILL", "ADDR", "127.0.0.1:1002") == 1
    assert other.is_closed
    assert asking.ask("CLIENT", "KILL", "TYPE", "normal") == 1
    assert third.is_closed
    assert asking.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no") == 1
    assert asking.is_closed


def test_client_pause_holds_writes_and_its_end_lets_them_run() -> None:
    harness = Harness()
    asking, writing = harness.connect(), harness.connect()
    assert asking.ask("CLIENT", "PAUSE", 500, "WRITE") == OK
    assert writing.send(b"GET a\r\nSET a 1\r\n") == b"$-1\r\n"
    harness.advance(499)
    assert writing.received == b"$-1\r\n"
    harness.advance(2)
    assert writing.received == b"$-1\r\n+OK\r\n"


def test_client_list_shows_library_name_flags_and_age() -> None:
    harness = Harness()
    client = harness.connect("127.0.0.1:1001")
    client.ask("CLIENT", "SETINFO", "LIB-NAME", "redis-py")
    client.ask("CLIENT", "SETINFO", "lib-ver", "1.2")
    assert isinstance(client.ask("CLIENT", "SETINFO", "nosuch", "x"), ErrorReply)
    client.ask("CLIENT", "NO-EVICT", "ON")
    harness.advance(2500)
    line = client.ask("CLIENT", "LIST", "ID", 1)
    assert isinstance(line, bytes)
    values = dict(pair.split(b"=", 1) for pair in line.split())
    assert (values[b"addr"], values[b"age"], values[b"flags"]) == (b"127.0.0.1:1001", b"2", b"e")
    assert (values[b"lib-name"], values[b"lib-ver"], values[b"cmd"]) == (b"redis-py", b"1.2", b"client|list")


def test_config_resetstat_lets_counters_begin_again() -> None:
    harness = Harness()
    client = harness.connect()
    client.ask("NOSUCH")
    before = harness.node.state.statistics
    assert before.error_replies == 1
    client.ask("CONFIG", "RESETSTAT")
    assert harness.node.state.statistics is before
    assert (before.error_replies, before.errors_by_code) == (0, {})


def test_protected_configs_and_debug_need_permission() -> None:
    client = Harness("--protected-mode", "no").connect()
    reply = client.ask("CONFIG", "SET", "dbfilename", "x")
    assert isinstance(reply, ErrorReply)
    assert reply.text.endswith(b"can't set protected config")
    assert isinstance(client.ask("DEBUG", "SLEEP", 0), ErrorReply)
    local = Harness("--enable-debug-command", "local", "--protected-mode", "no")
    assert isinstance(local.connect("10.0.0.1:5").ask("DEBUG", "SLEEP", 0), ErrorReply)
    assert local.connect("127.0.0.1:5").ask("DEBUG", "SLEEP", 1.5) == OK
    assert local.slept_ms == 1500
