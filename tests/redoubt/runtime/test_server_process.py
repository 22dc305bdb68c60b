"""A real process on real sockets: start, hostile clients, signals, files, and the errors of the start."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import time
from random import Random

import pytest

from redoubt.resp.replies import OK, PONG, ErrorReply, encode_command
from tests.redoubt.harness import Connection, ServerProcess, environment, server_process

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def server():
    with server_process() as running:
        yield running


@pytest.fixture
def connection(server: ServerProcess):
    connection = server.connect()
    yield connection
    connection.close()


def test_commands_travel_over_tcp(connection: Connection) -> None:
    assert connection.ask("SET", "k", "v") == OK
    assert connection.ask("GET", "k") == b"v"


def test_a_command_byte_by_byte_is_understood(connection: Connection) -> None:
    for byte in encode_command([b"ECHO", b"slow"]):
        connection.send(bytes([byte]))
        time.sleep(0.001)
    assert connection.read() == b"slow"


def test_ten_thousand_pipelined_commands_over_tcp(connection: Connection) -> None:
    connection.send(b"".join(encode_command([b"ECHO", b"%d" % n]) for n in range(10_000)))
    assert [connection.read() for _ in range(10_000)] == [b"%d" % n for n in range(10_000)]


def test_a_big_value_travels_both_ways(connection: Connection) -> None:
    big = os.urandom(1 << 20) * 40
    assert connection.ask("SET", "big", big) == OK
    assert connection.ask("GET", "big") == big
    assert connection.ask("DEL", "big") == 1


def test_a_half_closed_client_still_gets_its_replies(connection: Connection) -> None:
    connection.send(b"PING\r\nECHO hello\r\n")
    connection.socket.shutdown(socket.SHUT_WR)
    assert connection.read_to_end() == b"+PONG\r\n$5\r\nhello\r\n"


def test_a_client_that_resets_the_connection_harms_nobody(server: ServerProcess) -> None:
    for _ in range(20):
        rude = server.connect()
        rude.send(b"ECHO x\r\n" * 1000)
        rude.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        rude.close()
    assert server.connect().ask("PING") == PONG


@pytest.mark.parametrize(
    ("stream", "answer"),
    [
        (b"*3\r\n$3\r\nSET\r\n+x\r\n", b"-ERR Protocol error: expected '$', got '+'\r\n"),
        (b"*999999999999\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*1\r\n$-5\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
        (b'SET "k\r\n', b"-ERR Protocol error: unbalanced quotes in request\r\n"),
        (b"x" * 70_000, b"-ERR Protocol error: too big inline request\r\n"),
    ],
)
def test_malformed_input_gets_the_error_of_redis_and_the_end(
    server: ServerProcess, stream: bytes, answer: bytes
) -> None:
    connection = server.connect()
    connection.send(stream)
    assert connection.read_to_end() == answer


def test_random_bytes_never_end_the_server(server: ServerProcess) -> None:
    random = Random(5)
    pieces = [
        b"*",
        b"$",
        b"\r\n",
        b"3",
        b"-1",
        b"GET",
        b"SET",
        b"k",
        b" ",
        b'"',
        b"\0",
        b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
    ]
    for _ in range(150):
        hostile = server.connect()
        noise = b"".join(random.choice(pieces) for _ in range(random.randrange(60)))
        hostile.send(noise + random.randbytes(random.randrange(200)))
        hostile.close()
    assert server.connect().ask("PING") == PONG
    assert "Fault" not in server.log()


def test_a_slow_reader_does_not_grow_the_server_without_bound(server: ServerProcess) -> None:
    connection = server.connect()
    connection.ask("SET", "big", b"x" * (1 << 20))
    before = server.resident_kib()
    slow = server.connect()
    slow.socket.setblocking(False)
    sent = 0
    deadline = time.monotonic() + 5
    while sent < 20_000 and time.monotonic() < deadline:
        try:
            sent += slow.socket.send(b"GET big\r\n" * 100) // 9
        except BlockingIOError:
            time.sleep(0.05)
    # 20,000 replies would be 20 GB.
    assert server.resident_kib() - before < 200 * 1024
    assert connection.ask("PING") == PONG
    slow.close()
    connection.ask("DEL", "big")


def test_a_slow_reader_gets_every_reply_when_it_reads_at_last(server: ServerProcess) -> None:
    connection = server.connect()
    big = os.urandom(1 << 16)
    connection.ask("SET", "some", big)
    slow = server.connect()
    slow.send(b"GET some\r\n" * 400 + b"PING\r\n")
    time.sleep(0.3)
    for _ in range(400):
        assert slow.read() == big
    assert slow.read() == PONG
    connection.ask("DEL", "some")


def test_many_connections_come_and_go(server: ServerProcess) -> None:
    for _ in range(3):
        connections = [server.connect() for _ in range(200)]
        for number, connection in enumerate(connections):
            connection.send(encode_command([b"ECHO", b"%d" % number]))
        for number, connection in enumerate(connections):
            assert connection.read() == b"%d" % number
            connection.close()


def test_a_unix_socket_serves_too(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = str(tmp_path_factory.mktemp("s") / "redoubt.sock")
    with server_process("--unixsocket", path, "--unixsocketperm", "700"):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.connect(path)
        client.sendall(b"PING\r\n")
        assert client.recv(100) == b"+PONG\r\n"
        assert os.stat(path).st_mode & 0o777 == 0o700
        client.close()


def test_an_address_with_a_dash_may_be_missing() -> None:
    with server_process("--bind", "127.0.0.1", "-192.0.2.1", "-::1") as running:
        assert running.connect().ask("PING") == PONG


def test_a_taken_port_ends_the_start_as_in_redis(server: ServerProcess) -> None:
    words = ["--port", str(server.port), "--bind", "127.0.0.1"]
    result = run(*words)
    assert result.returncode == 1
    expected = (
        f"Could not create server TCP listening socket 127.0.0.1:{server.port}: bind: Address already in use"
    )
    assert expected in result.stdout


def test_a_bad_directive_ends_the_start_with_its_line() -> None:
    result = run("--nosuch", "1")
    assert result.returncode == 1
    assert ">>> 'nosuch \"1\"'" in result.stderr


def test_version_and_help_are_printed() -> None:
    assert run("--version").stdout.startswith("Redoubt server v=")
    assert "Usage: redoubt-server" in run("--help").stdout


def test_the_configuration_may_come_from_standard_input() -> None:
    result = run("-", text="port nonsense\n")
    assert result.returncode == 1
    assert "port nonsense" in result.stderr


def test_sigterm_saves_and_the_next_start_loads() -> None:
    with server_process("--save", "900", "1") as running:
        running.connect().ask("SET", "k", "v")
        assert running.terminate() == 0
        assert os.path.exists(os.path.join(running.directory, "dump.rdb"))
        running.start()
        assert running.connect().ask("GET", "k") == b"v"


def test_a_killed_server_starts_again_on_what_was_saved() -> None:
    with server_process() as running:
        connection = running.connect()
        connection.ask("SET", "saved", "1")
        assert connection.ask("SAVE") == OK
        connection.ask("SET", "unsaved", "1")
        running.kill()
        running.start()
        connection = running.connect()
        assert connection.ask("GET", "saved") == b"1"
        assert connection.ask("GET", "unsaved") is None


def test_an_unwritable_directory_makes_save_fail_and_not_the_server() -> None:
    with server_process() as running:
        connection = running.connect()
        os.mkdir(os.path.join(running.directory, "dump.rdb"))  # cannot be replaced by a file
        assert isinstance(connection.ask("SAVE"), ErrorReply)
        assert connection.ask("PING") == PONG
        os.rmdir(os.path.join(running.directory, "dump.rdb"))
        assert connection.ask("SAVE") == OK


def test_sighup_reads_the_password_file_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    secret = tmp_path_factory.mktemp("s") / "password"
    secret.write_text("first\n", encoding="utf-8")
    with server_process("--requirepass-file", str(secret)) as running:
        assert running.connect().ask("AUTH", "first") == OK
        secret.write_text("second\n", encoding="utf-8")
        running.process.send_signal(1)
        deadline = time.monotonic() + 5
        while running.connect().ask("AUTH", "second") != OK:
            assert time.monotonic() < deadline
        assert isinstance(running.connect().ask("AUTH", "first"), ErrorReply)


def run(*words: str, text: str = "") -> subprocess.CompletedProcess[str]:
    build = os.environ.get("REDOUBT_SERVER")
    command = [build] if build else [sys.executable, "-m", "redoubt.main"]
    return subprocess.run(
        [*command, *words],
        input=text,
        capture_output=True,
        text=True,
        timeout=30,
        env=environment(),
        check=False,
    )
