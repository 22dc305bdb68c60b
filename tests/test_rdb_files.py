"""Files cross over: what Redoubt writes, real servers load with equal contents, and the other way round.

Generated datasets of every type and encoding (`tests/differential/datasets.py`) are filled into one server,
saved, checked by the other's own checker, loaded by the other (DEBUG RELOAD NOSAVE) and compared: DEBUG
DIGEST over everything, and what the digest does not cover over the wire: times, groups of streams, functions,
times of fields, encodings. Judges are Redis 7.0 and 8.0, Valkey 8.1 and 9; those that cannot be had skip.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.differential.datasets import dataset
from tests.judges import judge_program
from tests.redoubt.harness import Connection, ServerProcess, redis_process, server_process

pytestmark = [
    pytest.mark.differential,
    pytest.mark.process,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs a redis-server to compare with"),
]

SEEDS = range(6)
DEBUG = ("--enable-debug-command", "yes")
JUDGES = ("redis-7.0", "redis-8.0", "valkey-8.1", "valkey-9")
WITH_FIELD_TIMES = ("redis-8.0", "valkey-9")
# Redis 7.0 does not pack sets of texts; how many chunks a list has depends on how it was filled; and Valkey
# knows no form of its own for times of fields.
OWN_ENCODINGS = (
    {b"hashtable", b"listpack"}, {b"listpack", b"quicklist"}, {b"hashtable", b"listpackex"},
)  # fmt: skip
COUNTERS = (
    b"length", b"last-generated-id", b"max-deleted-entry-id", b"entries-added", b"recorded-first-entry-id",
    b"groups",
)  # fmt: skip


@pytest.fixture(scope="module", params=JUDGES)
def judge(request: pytest.FixtureRequest) -> Iterator[tuple[str, str, ServerProcess]]:
    name = request.param
    program = "redis-server" if name == "redis-7.0" else judge_program(name)
    with redis_process(*DEBUG, program=program) as server:
        yield name, program, server


@pytest.fixture(scope="module")
def ours() -> Iterator[ServerProcess]:
    with server_process(*DEBUG) as server:
        yield server


def fill(client: Connection, seed: int, has_field_times: bool) -> None:
    client.ask("FLUSHALL")
    client.ask("FUNCTION", "FLUSH")
    for command in dataset(seed, has_field_times):
        client.ask(*command)


def hand_over(source: ServerProcess, target: ServerProcess) -> tuple[Connection, Connection]:
    """Let the target load what the source saves; return a connection to each."""
    theirs, client = source.connect(), target.connect()
    assert theirs.ask("SAVE").text == b"OK"
    shutil.copy(f"{source.directory}/dump.rdb", f"{target.directory}/dump.rdb")
    assert client.ask("DEBUG", "RELOAD", "NOSAVE").text == b"OK", target.log()[-500:]
    return theirs, client


def compare(one: Connection, other: Connection, judge: str, has_field_times: bool) -> None:
    """Assert that two servers hold the same."""

    def both(*words: Any) -> Any:
        first, second = one.ask(*words), other.ask(*words)
        assert first == second, words
        return first

    if judge == "redis-7.0":
        both("DEBUG", "DIGEST")
    assert libraries(one) == libraries(other)
    for database in (0, 7):
        one.ask("SELECT", database)
        other.ask("SELECT", database)
        assert both("DBSIZE") == 30
        for key in sorted(one.ask("KEYS", "*")):
            both("PEXPIRETIME", key)
            kind = both("TYPE", key).text
            if kind == b"zset":
                # Newer digests have another text of a score.
                assert scores(one, key) == scores(other, key)
            elif not (kind == b"hash" and has_field_times):
                both("DEBUG", "DIGEST-VALUE", key)
            else:
                # The digest of Valkey says nothing of times.
                assert contents(one, key) == contents(other, key)
            if kind == b"stream":
                compare_stream(one, other, key)
            elif kind != b"string":
                encodings = {one.ask("OBJECT", "ENCODING", key), other.ask("OBJECT", "ENCODING", key)}
                assert len(encodings) == 1 or encodings in OWN_ENCODINGS, (key, encodings)


def scores(client: Connection, key: bytes) -> list[tuple[bytes, float]]:
    """Return the members of a sorted set in their order, with their scores."""
    words = client.ask("ZRANGE", key, 0, -1, "WITHSCORES")
    return [(words[at], float(words[at + 1])) for at in range(0, len(words), 2)]


def libraries(client: Connection) -> list[Any]:
    """Return the function libraries with their code, by name."""
    return sorted(client.ask("FUNCTION", "LIST", "WITHCODE"), key=lambda row: bytes(row[1]))


def contents(client: Connection, key: bytes) -> dict[bytes, tuple[bytes, int]]:
    """Return the fields of a hash with their values and times."""
    words = client.ask("HGETALL", key)
    fields = words[::2]
    times = client.ask("HPEXPIRETIME", key, "FIELDS", len(fields), *fields)
    return dict(zip(fields, zip(words[1::2], times, strict=True), strict=True))


def compare_stream(one: Connection, other: Connection, key: bytes) -> None:
    """Assert that two streams have the same entries, counters, groups and pending entries."""
    for words in (["XRANGE", key, "-", "+"], ["XINFO", "GROUPS", key]):
        assert one.ask(*words) == other.ask(*words), words
    for group in [dict(zip(row[::2], row[1::2], strict=True)) for row in one.ask("XINFO", "GROUPS", key)]:
        words = ["XPENDING", key, group[b"name"]]
        assert one.ask(*words) == other.ask(*words)
        detailed = [[row[:2] + row[3:] for row in each.ask(*words, "-", "+", 1000)] for each in (one, other)]
        assert detailed[0] == detailed[1]
        names = [
            [row[1] for row in each.ask("XINFO", "CONSUMERS", key, group[b"name"])] for each in (one, other)
        ]
        assert names[0] == names[1]
    counters = []
    for client in (one, other):
        row = client.ask("XINFO", "STREAM", key)
        told = dict(zip(row[::2], row[1::2], strict=True))
        counters.append({name: told[name] for name in COUNTERS})
    assert counters[0] == counters[1]


def check_rdb(program: str, path: str) -> None:
    """Assert that a server's own checker has no objections."""
    checker = program.replace("-server", "-check-rdb")
    done = subprocess.run([checker, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "RDB looks OK" in done.stdout, done.stdout[-800:]


@pytest.mark.parametrize("seed", SEEDS)
def test_our_file_is_theirs(judge: tuple[str, str, ServerProcess], ours: ServerProcess, seed: int) -> None:
    name, program, server = judge
    has_field_times = name == "redis-8.0"
    fill(ours.connect(), seed, has_field_times)
    compare(*hand_over(ours, server), name, has_field_times)
    check_rdb(program, f"{ours.directory}/dump.rdb")


@pytest.mark.parametrize("seed", SEEDS)
def test_their_file_is_ours(judge: tuple[str, str, ServerProcess], ours: ServerProcess, seed: int) -> None:
    name, _, server = judge
    has_field_times = name in WITH_FIELD_TIMES
    fill(server.connect(), seed + 100, has_field_times)
    compare(*hand_over(server, ours), name, has_field_times)


# One judge is enough for what follows: the forms are the same for all.


@pytest.fixture(scope="module")
def redis() -> Iterator[ServerProcess]:
    with redis_process(*DEBUG) as server:
        yield server


@pytest.fixture
def pair(redis: ServerProcess, ours: ServerProcess) -> Iterator[tuple[Connection, Connection]]:
    """Connections to the judge and to us, whose directives are put back afterwards."""
    clients = redis.connect(), ours.connect()
    yield clients
    for client in clients:
        client.ask("CONFIG", "SET", "rdbcompression", "yes", "maxmemory-policy", "noeviction")
        client.ask("CONFIG", "SET", "list-max-listpack-size", "-2", "hash-max-listpack-entries", "512")
    clients[0].ask("DEBUG", "QUICKLIST-PACKED-THRESHOLD", "0")
    clients[1].ask("CONFIG", "SET", "snapshot-mode", "forkless", "sanitize-dump-payload", "clients")


def test_nodes_of_one_large_element_are_read(
    redis: ServerProcess, ours: ServerProcess, pair: tuple[Connection, Connection]
) -> None:
    assert pair[0].ask("DEBUG", "QUICKLIST-PACKED-THRESHOLD", "100b").text == b"OK"
    fill(pair[0], 300, False)
    compare(*hand_over(redis, ours), "redis-7.0", False)


@pytest.mark.parametrize("words", [
    ("rdbcompression", "no"), ("list-max-listpack-size", "3", "hash-max-listpack-entries", "10"),
])  # fmt: skip
def test_files_written_under_other_directives(
    redis: ServerProcess, ours: ServerProcess, pair: tuple[Connection, Connection], words: tuple[str, ...]
) -> None:
    for client in pair:
        client.ask("CONFIG", "SET", *words)
    fill(pair[0], 301, False)
    compare(*hand_over(redis, ours), "redis-7.0", False)
    fill(pair[1], 302, False)
    compare(*hand_over(ours, redis), "redis-7.0", False)
    check_rdb("redis-server", f"{ours.directory}/dump.rdb")


def test_packs_of_files_are_checked_entry_by_entry_when_asked(
    redis: ServerProcess, ours: ServerProcess, pair: tuple[Connection, Connection]
) -> None:
    pair[1].ask("CONFIG", "SET", "sanitize-dump-payload", "yes")
    fill(pair[0], 303, False)
    compare(*hand_over(redis, ours), "redis-7.0", False)


@pytest.mark.parametrize("mode", ["fork", "forkless"])
def test_what_is_written_in_the_background_is_theirs(
    redis: ServerProcess, ours: ServerProcess, pair: tuple[Connection, Connection], mode: str
) -> None:
    client = pair[1]
    client.ask("CONFIG", "SET", "snapshot-mode", mode)
    fill(client, 304, False)
    saves = saved(client)
    client.ask("BGSAVE")
    while b"rdb_bgsave_in_progress:1" in client.ask("INFO", "persistence"):
        pass
    assert saved(client) == saves + 1
    check_rdb("redis-server", f"{ours.directory}/dump.rdb")
    shutil.copy(f"{ours.directory}/dump.rdb", f"{redis.directory}/dump.rdb")
    assert pair[0].ask("DEBUG", "RELOAD", "NOSAVE").text == b"OK"
    compare(client, pair[0], "redis-7.0", False)


def saved(client: Connection) -> int:
    """Return how many saves have succeeded."""
    lines = client.ask("INFO", "persistence").splitlines()
    return next(int(line.split(b":")[1]) for line in lines if line.startswith(b"rdb_saves:"))


@pytest.mark.parametrize(("policy", "option", "question"), [
    ("allkeys-lfu", "FREQ", "FREQ"), ("allkeys-lru", "IDLETIME", "IDLETIME"),
])  # fmt: skip
def test_how_keys_were_used_crosses_over(
    redis: ServerProcess, ours: ServerProcess, pair: tuple[Connection, Connection], policy: str, option: str,
    question: str,
) -> None:  # fmt: skip
    for source, target, writer in ((redis, ours, pair[0]), (ours, redis, pair[1])):
        for client in pair:
            client.ask("CONFIG", "SET", "maxmemory-policy", policy)
        writer.ask("FLUSHALL")
        writer.ask("SELECT", 0)
        writer.ask("SET", "other", "v")
        payload = writer.ask("DUMP", "other")
        writer.ask("FLUSHALL")
        # Ours keeps idle times of buckets: one key has one of its own.
        for number in [200] if policy.endswith("lru") else [0, 5, 100, 255]:
            writer.ask("RESTORE", f"key:{number}", 0, payload, option, number)
        for client in hand_over(source, target):
            client.ask("SELECT", 0)
            for key in client.ask("KEYS", "*"):
                told = client.ask("OBJECT", question, key)
                assert abs(told - int(key.split(b":")[1])) <= 2, (key, told)
