"""redoubt-cli beside redis-cli: the same output and exit codes, on our server."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from redoubt.cli import quoted, rendered
from redoubt.resp.replies import Boolean, Double, ErrorReply, MapReply, SetReply, SimpleString
from tests.redoubt.harness import ServerProcess, environment, server_process

CALLS = [
    ["PING"],
    ["SET", "k", 'a"b\\c\n\x01é'],
    ["GET", "k"],
    ["GET", "nokey"],
    ["STRLEN", "k"],
    ["INCR", "k"],
    ["NOSUCH"],
    ["MSET", *[word for number in range(12) for word in (f"key:{number}", str(number))]],
    ["MGET", *[f"key:{number}" for number in range(12)], "nokey"],
    ["CONFIG", "GET", "maxm*"],
    ["CONFIG", "GET", "nosuch"],
    ["COMMAND", "INFO", "get"],
    ["COMMAND", "GETKEYSANDFLAGS", "mset", "a", "1", "b", "2"],
    ["DEBUG", "PROTOCOL", "set"],
    ["DEBUG", "PROTOCOL", "map"],
    ["DEBUG", "PROTOCOL", "double"],
]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with server_process("--enable-debug-command", "yes") as process:
        yield process


def run(program: list[str], words: list[str], stdin: str = "") -> tuple[bytes, int]:
    done = subprocess.run(
        [*program, *words],
        capture_output=True,
        input=stdin.encode(),
        env=environment(),
        timeout=60,
        check=False,
    )
    return done.stdout, done.returncode


OURS = [sys.executable, "-m", "redoubt.cli"]


@pytest.mark.differential
@pytest.mark.process
@pytest.mark.skipif(shutil.which("redis-cli") is None, reason="needs a redis-cli to compare with")
@pytest.mark.parametrize("options", [["--no-raw"], ["--no-raw", "-3"], ["--raw"]], ids=" ".join)
def test_replies_are_shown_as_by_redis_cli(server: ServerProcess, options: list[str]) -> None:
    place = ["-p", str(server.port), *options]
    for words in CALLS:
        expected, _ = run(["redis-cli"], [*place, *words])
        found, _ = run(OURS, [*place, *words])
        assert found.rstrip(b"\n") == expected.rstrip(b"\n"), words


@pytest.mark.process
def test_errors_and_refused_connections_have_exit_code_one(server: ServerProcess) -> None:
    assert run(OURS, ["-p", str(server.port), "PING"]) == (b"PONG\n", 0)
    assert run(OURS, ["-p", str(server.port), "NOSUCH"])[1] == 1
    assert run(OURS, ["-p", "1", "PING"]) == (b"", 1)


@pytest.mark.process
def test_commands_come_from_a_pipe_line_by_line(server: ServerProcess) -> None:
    lines = 'SET piped "a b"\n\nGET piped\n'
    assert run(OURS, ["-p", str(server.port)], lines) == (b"OK\na b\n", 0)


def test_nested_replies_are_numbered_and_indented() -> None:
    reply = [1, [b"a", None], SetReply([b"x"]), MapReply([(b"k", Boolean(True))]), [], Double(1.5)]
    assert rendered(reply) == (
        '1) (integer) 1\n2) 1) "a"\n   2) (nil)\n3) 1~ "x"\n'
        '4) 1# "k" => (true)\n5) (empty array)\n6) (double) 1.5'
    )
    assert rendered(ErrorReply(b"ERR x")) == "(error) ERR x"
    assert rendered(SimpleString(b"OK")) == "OK"


def test_bulk_strings_are_quoted_with_escapes() -> None:
    assert quoted(b'a"\\\n\x00\xff') == '"a\\"\\\\\\n\\x00\\xff"'
