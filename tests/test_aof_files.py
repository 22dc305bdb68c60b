"""Append-only files cross over: what Redoubt logs, a real server loads with equal contents, and back.

Generated datasets of every type and encoding are logged, as commands and behind a base of either kind, by one
server; redis-check-aof finds the files valid; the other server starts from them and is compared key by key.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.differential.datasets import dataset
from tests.judges import judge_program
from tests.redoubt.harness import PATIENCE_S, Connection, ServerProcess, redis_process, server_process

pytestmark = [
    pytest.mark.differential,
    pytest.mark.process,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs a redis-server to compare with"),
]

WORDS = ("--appendonly", "yes", "--enable-debug-command", "yes")
JUDGES = ("redis-7.0", "redis-8.0", "valkey-8.1", "valkey-9")
Contents = dict[tuple[int, bytes], Any]
# What stands in the files: commands alone, a snapshot with commands behind, commands made by a rewrite.
FORMS = ("logged", "snapshot", "commands")


def judge_process(name: str, directory: str) -> AbstractContextManager[ServerProcess]:
    """Run a judge on the files of a directory."""
    program = "redis-server" if name == "redis-7.0" else judge_program(name)
    return redis_process(*WORDS, "--dir", directory, program=program)


def loaded(server: ServerProcess) -> Connection:
    """Return a connection to a server that has loaded its files."""
    client = server.connect()
    deadline = time.monotonic() + PATIENCE_S
    while b"\nloading:1" in client.ask("INFO", "persistence"):
        assert time.monotonic() < deadline
    return client


def rewrite(client: Connection) -> None:
    """Have the files rewritten, and wait for the end of it."""
    assert client.ask("BGREWRITEAOF").text.startswith(b"Background")
    deadline = time.monotonic() + PATIENCE_S
    while b"aof_rewrites:1" not in client.ask("INFO", "persistence"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def fill(client: Connection, seed: int, form: str) -> Contents:
    """Have a server log datasets in the form that is wanted; return everything."""
    client.ask("CONFIG", "SET", "aof-use-rdb-preamble", "no" if form == "commands" else "yes")
    for command in dataset(seed):
        client.ask(*command)
    if form != "logged":
        rewrite(client)
    for command in dataset(seed + 100):
        client.ask(*command)
    return contents(client)


def contents(client: Connection) -> Contents:
    """Return what every key holds, and the libraries; scores as numbers: their text is each server's own."""
    found: Contents = {}
    for database in (0, 7):
        client.ask("SELECT", database)
        for key in client.ask("KEYS", "*"):
            kind = client.ask("TYPE", key).text
            if kind == b"zset":
                words = client.ask("ZRANGE", key, 0, -1, "WITHSCORES")
                value = sorted(zip(words[::2], map(float, words[1::2]), strict=True))
            elif kind == b"stream":
                value = [client.ask("XRANGE", key, "-", "+"), client.ask("XINFO", "GROUPS", key)]
            else:
                value = [reply.text for reply in client.ask("DEBUG", "DIGEST-VALUE", key)]
            found[(database, key)] = (kind, value, client.ask("PEXPIRETIME", key))
    found[(-1, b"")] = sorted(row[1] for row in client.ask("FUNCTION", "LIST"))
    return found


def check(directory: str) -> None:
    """Let redis-check-aof look at the files."""
    [manifest] = Path(directory).glob("appendonlydir/*.manifest")
    checked = subprocess.run(["redis-check-aof", str(manifest)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    assert "All AOF files and manifest are valid" in checked.stdout


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("judge", JUDGES)
def test_what_redoubt_logs_others_load(judge: str, form: str, tmp_path: Path) -> None:
    directory = str(tmp_path)
    with server_process(*WORDS, "--dir", directory) as ours:
        before = fill(loaded(ours), 1, form)
    check(directory)
    with judge_process(judge, directory) as theirs:
        assert contents(loaded(theirs)) == before
    check(directory)
    with server_process(*WORDS, "--dir", directory) as ours:
        assert contents(loaded(ours)) == before


@pytest.mark.parametrize("form", FORMS)
def test_what_redis_logs_redoubt_loads(form: str, tmp_path: Path) -> None:
    directory = str(tmp_path)
    with judge_process("redis-7.0", directory) as theirs:
        fill(loaded(theirs), 3, form)
    with judge_process("redis-7.0", directory) as theirs:
        # Of a stream that was read by groups Redis logs less than it knows.
        before = contents(loaded(theirs))
    with server_process(*WORDS, "--dir", directory) as ours:
        assert contents(loaded(ours)) == before
    check(directory)
    with judge_process("redis-7.0", directory) as theirs:
        assert contents(loaded(theirs)) == before


def test_a_file_with_times_is_cut_off_at_one_by_redis_check_aof(tmp_path: Path) -> None:
    directory = str(tmp_path)
    with server_process(*WORDS, "--aof-timestamp-enabled", "yes", "--dir", directory) as ours:
        client = loaded(ours)
        client.ask("SET", "early", "1")
        cut = int(client.ask("TIME")[0])
        time.sleep(2.1)
        client.ask("SET", "late", "1")
    [increment] = Path(directory).glob("appendonlydir/*.incr.aof")
    [manifest] = Path(directory).glob("appendonlydir/*.manifest")
    command = ["redis-check-aof", "--truncate-to-timestamp", str(cut + 1), str(manifest)]
    subprocess.run(command, input="y\n", capture_output=True, text=True, check=True)
    assert b"late" not in increment.read_bytes()
    with server_process(*WORDS, "--dir", directory) as ours:
        assert loaded(ours).ask("MGET", "early", "late") == [b"1", None]
