"""Files that Redoubt and redis-server read from each other, and what redis-check-rdb says of ours."""

import os
import subprocess

import pytest

from redoubt.data.text import text_bytes
from redoubt.persist.rdb_read import RdbReader, RdbSink
from tests.redoubt.harness import redis_process, server_process

pytestmark = pytest.mark.process


class Entries(RdbSink):
    """What a file holds."""

    def __init__(self):
        self.found = {}
        self.fields = {}

    def field(self, name, text):
        self.fields[name] = text

    def entry(self, database, key, value, expires_ms):
        self.found[(database, key)] = (text_bytes(value), expires_ms)


def read_file(path):
    sink = Entries()
    reader = RdbReader(path, sink)
    with open(path, "rb") as file:
        while data := file.read(1000):
            reader.feed(data)
            while reader.advance(10):
                pass
    reader.finish()
    return sink


def fill(client, due_ms):
    """Store strings of every encoding, with and without expiry, in two databases; return them."""
    texts = [b"", b"x", b"x" * 63, b"x" * 64, b"ab" * 40, b"y" * 16383, b"z" * 16384, os.urandom(100_000)]
    texts += [bytes([i]) for i in range(256)]
    for number in (
        0,
        1,
        -1,
        127,
        128,
        -128,
        -129,
        32767,
        32768,
        -32769,
        (1 << 31) - 1,
        1 << 31,
        (1 << 63) - 1,
    ):
        texts += [b"%d" % number, b"%d" % -number, b"0%d" % abs(number), b"+%d" % abs(number)]
    expected = {}
    for database in (0, 9):
        client.ask("SELECT", database)
        for at, text in enumerate(texts):
            key = b"key %d " % at + text[:50]
            if at % 3:
                client.ask("SET", key, text)
                expected[(database, key)] = (text, 0)
            else:
                client.ask("SET", key, text, "PXAT", due_ms + at)
                expected[(database, key)] = (text, due_ms + at)
        client.ask("SET", "appended", "a")
        client.ask("APPEND", "appended", "b" * 100)
        client.ask("INCRBY", "counter", 12345)
        expected[(database, b"appended")] = (b"a" + b"b" * 100, 0)
        expected[(database, b"counter")] = (b"12345", 0)
    return expected


def due_ms(client):
    seconds, _ = client.ask("TIME")
    return int(seconds) * 1000 + 3_600_000


def served(client, expected):
    """Return what a server says of the keys expected, in the same form, and how many it has."""
    found = {}
    for database, key in expected:
        client.ask("SELECT", database)
        found[(database, key)] = (client.ask("GET", key), max(0, client.ask("PEXPIRETIME", key)))
    count = 0
    for database in (0, 9):
        client.ask("SELECT", database)
        count += client.ask("DBSIZE")
    return found, count


def test_redis_loads_our_file_and_its_checker_accepts_it():
    with server_process() as ours, redis_process() as redis:
        client = ours.connect()
        expected = fill(client, due_ms(client))
        for command in ("SAVE", "BGSAVE"):
            client.ask(command)
            while b"rdb_bgsave_in_progress:1" in client.ask("INFO", "persistence"):
                pass
            path = os.path.join(ours.directory, "dump.rdb")
            check = subprocess.run(["redis-check-rdb", path], capture_output=True, text=True, check=False)
            assert check.returncode == 0, check.stdout
            assert "RDB looks OK!" in check.stdout
            assert read_file(path).found == expected
        redis.kill()
        with open(path, "rb") as source, open(os.path.join(redis.directory, "dump.rdb"), "wb") as target:
            target.write(source.read())
        redis.start()
        assert served(redis.connect(), expected) == (expected, len(expected))


def test_we_load_the_file_of_redis():
    with redis_process() as redis, server_process() as ours:
        client = redis.connect()
        expected = fill(client, due_ms(client))
        client.ask(
            "FUNCTION", "LOAD", "#!lua name=mylib\nredis.register_function('f', function() return 1 end)"
        )
        client.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")  # IDLE before each key
        client.ask("SAVE")
        path = os.path.join(redis.directory, "dump.rdb")
        assert read_file(path).found == expected
        client.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")  # FREQ before each key
        client.ask("CONFIG", "SET", "rdbcompression", "no")
        client.ask("SAVE")
        assert read_file(path).found == expected
        ours.kill()
        with open(path, "rb") as source, open(os.path.join(ours.directory, "dump.rdb"), "wb") as target:
            target.write(source.read())
        ours.start()
        assert served(ours.connect(), expected) == (expected, len(expected))


def test_sigterm_saves_where_save_points_are_configured():
    with server_process("--save", "3600", "1000000") as ours:
        client = ours.connect()
        expected = fill(client, due_ms(client))
        assert ours.terminate() == 0
        ours.start()
        assert served(ours.connect(), expected) == (expected, len(expected))


def test_a_value_of_a_type_we_lack_is_refused_by_name():
    # What Redis 7.0 writes we read, so its list is called a value of a module, with 1 as the module's id.
    with redis_process("--rdbchecksum", "no") as redis, server_process() as ours:
        client = redis.connect()
        client.ask("RPUSH", "old list", "1")
        client.ask("SAVE")
        ours.kill()
        path = os.path.join(redis.directory, "dump.rdb")
        with open(path, "rb") as source, open(os.path.join(ours.directory, "dump.rdb"), "wb") as target:
            target.write(source.read().replace(b"\x12\x08old list", b"\x07\x08old list"))
        try:
            ours.start()
            started = True
        except AssertionError:
            started = False
        assert not started
        assert "no matching module type 'AAAAAAAAA' (key b'old list')" in ours.log()
