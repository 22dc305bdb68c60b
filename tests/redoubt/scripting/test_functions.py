"""Function libraries as part of the dataset: snapshots, full syncs, payloads, and changes made whole."""

from __future__ import annotations

import shutil
import time
from typing import Any

import pytest

from redoubt.resp.replies import ErrorReply, SimpleString
from tests.redoubt.commands.recorded import Recorded
from tests.redoubt.harness import Harness, redis_process, server_process
from tests.redoubt.replication.network import Network, follow

OK = SimpleString(b"OK")
PATIENCE_S = 20.0


def library(name: str, *functions: str) -> str:
    """Write a library whose functions return their names."""
    lines = [f"redis.register_function('{each}', function() return '{each}' end)" for each in functions]
    return f"#!lua name={name}\n" + "\n".join(lines)


def test_changes_are_propagated_as_they_came() -> None:
    recorded = Recorded()
    client = recorded.client
    code = library("lib", "f")
    for words in (
        ["FUNCTION", "LOAD", code], ["FUNCTION", "LOAD", "REPLACE", code], ["FUNCTION", "DELETE", "lib"],
        ["FUNCTION", "FLUSH"],
    ):  # fmt: skip
        recorded.propagation.lines.clear()
        assert not isinstance(client.ask(*words), ErrorReply)
        assert recorded.propagation.lines == [" ".join(words)]
    recorded.propagation.lines.clear()
    assert isinstance(client.ask("FUNCTION", "LOAD", "#!lua name=x\n"), ErrorReply)
    assert recorded.propagation.lines == []


def test_a_snapshot_holds_the_libraries_and_a_flush_of_keys_does_not_touch_them() -> None:
    files: dict[str, bytes] = {}
    harness = Harness(files=files)
    client = harness.connect()
    client.ask("FUNCTION", "LOAD", library("one", "f", "g"))
    client.ask("FUNCTION", "LOAD", library("two", "h"))
    client.ask("FLUSHALL")
    assert client.ask("SAVE") == OK
    again = Harness(files=files).connect()
    assert again.ask("FCALL", "g", 0) == b"g"
    assert again.ask("FUNCTION", "DUMP") == client.ask("FUNCTION", "DUMP")


def test_a_file_with_a_library_that_cannot_run_is_not_served() -> None:
    files: dict[str, bytes] = {}
    client = Harness("--rdbcompression", "no", "--rdbchecksum", "no", files=files).connect()
    client.ask("FUNCTION", "LOAD", library("one", "f"))
    client.ask("SAVE")
    path = next(path for path in files if path.endswith(".rdb"))
    files[path] = files[path].replace(b"redis.register_function", b"redis.register_Function")
    assert Harness(files=files).exit_code == 1


def test_a_full_copy_replaces_the_libraries() -> None:
    network = Network()
    master, replica = network.add(7001), network.add(7002)
    master.connect().ask("FUNCTION", "LOAD", library("ours", "f"))
    reader = replica.connect()
    reader.ask("FUNCTION", "LOAD", library("theirs", "g"))
    follow(network, replica, 7001)
    network.settle()
    assert reader.ask("FCALL_RO", "g", 0) == ErrorReply(b"ERR Function not found")
    assert reader.ask("FUNCTION", "DUMP") == master.connect().ask("FUNCTION", "DUMP")
    master.connect().ask("FUNCTION", "LOAD", library("more", "h"))
    master.connect().ask("FUNCTION", "DELETE", "ours")
    network.settle()
    assert reader.ask("FUNCTION", "DUMP") == master.connect().ask("FUNCTION", "DUMP")


def test_a_change_is_made_whole_or_not_at_all() -> None:
    client = Harness().connect()
    client.ask("FUNCTION", "LOAD", library("one", "f"))
    client.ask("FUNCTION", "LOAD", library("two", "g"))
    before = client.ask("FUNCTION", "DUMP")
    other = Harness().connect()
    other.ask("FUNCTION", "LOAD", library("three", "h"))
    other.ask("FUNCTION", "LOAD", library("four", "g"))
    payload: Any = other.ask("FUNCTION", "DUMP")
    assert client.ask("FUNCTION", "LOAD", "REPLACE", library("one", "x", "g")) == ErrorReply(
        b"ERR Function g already exists"
    )
    assert client.ask("FUNCTION", "RESTORE", payload) == ErrorReply(b"ERR Function g already exists")
    assert client.ask("FUNCTION", "RESTORE", payload, "REPLACE") == ErrorReply(
        b"ERR Function g already exists"
    )
    assert client.ask("FUNCTION", "DUMP") == before
    assert client.ask("FCALL", "f", 0) == b"f"
    assert client.ask("FUNCTION", "RESTORE", payload, "FLUSH") == OK
    assert client.ask("FUNCTION", "DUMP") == payload


def test_the_state_of_a_library_lives_until_it_is_replaced() -> None:
    client = Harness().connect()
    code = "#!lua name=l\nlocal n = 0\nredis.register_function('next', function() n = n + 1 return n end)"
    client.ask("FUNCTION", "LOAD", code)
    assert [client.ask("FCALL", "next", 0) for _ in range(3)] == [1, 2, 3]
    client.ask("FUNCTION", "LOAD", "REPLACE", code)
    assert client.ask("FCALL", "next", 0) == 1


@pytest.mark.process
@pytest.mark.differential
@pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs a redis-server")
@pytest.mark.parametrize("is_ours_master", [True, False])
def test_libraries_and_effects_travel_between_redoubt_and_redis(is_ours_master: bool) -> None:
    make_master, make_replica = (
        (server_process, redis_process) if is_ours_master else (redis_process, server_process)
    )
    with make_master() as master, make_replica() as replica:
        writer, reader = master.connect(), replica.connect()
        code = "#!lua name=l\nredis.register_function('put', function(keys, args) "
        code += "redis.call('set', keys[1], args[1]) return redis.call('incr', 'n') end)"
        assert writer.ask("FUNCTION", "LOAD", code) == b"l"
        reader.ask("REPLICAOF", "127.0.0.1", master.port)
        deadline = time.monotonic() + PATIENCE_S
        while b"master_link_status:up" not in reader.ask("INFO", "replication"):
            assert time.monotonic() < deadline, "the replica never came up"
            time.sleep(0.05)
        assert reader.ask("FUNCTION", "LIST", "WITHCODE") == writer.ask("FUNCTION", "LIST", "WITHCODE")
        assert writer.ask("FCALL", "put", 1, "k", "v") == 1
        writer.ask("EVAL", "redis.call('sadd', 's', 'a', 'b') redis.call('spop', 's', 2) return 1", 0)
        writer.ask("FUNCTION", "LOAD", "REPLACE", code + "\n-- changed")
        assert writer.ask("WAIT", 1, 5000) == 1
        assert reader.ask("MGET", "k", "n") == [b"v", b"1"]
        assert reader.ask("EXISTS", "s") == 0
        assert reader.ask("FUNCTION", "DUMP") is not None
        assert reader.ask("FUNCTION", "LIST", "WITHCODE") == writer.ask("FUNCTION", "LIST", "WITHCODE")
