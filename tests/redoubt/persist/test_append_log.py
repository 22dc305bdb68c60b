"""The append-only file of one server on a disk that the test plays: what is written, what is loaded."""

from __future__ import annotations

import pytest

from redoubt.resp.replies import ErrorReply, SimpleString, encode_command
from tests.redoubt.harness import Harness

OK = SimpleString(b"OK")
DIRECTORY = "/data/appendonlydir"
MANIFEST = f"{DIRECTORY}/appendonly.aof.manifest"
FULL = "No space left on device"


def server(*words: str, files: dict[str, bytes] | None = None) -> Harness:
    """A server that logs, with its files; started and loaded."""
    return Harness("--appendonly", "yes", "--enable-debug-command", "yes", *words, files=dict(files or {}))


def restarted(old: Harness, *words: str) -> Harness:
    """Another process on the same disk."""
    return server(*words, files=old.files)


def increment(made: Harness) -> bytes:
    """The increment that is being written."""
    name = made.files[MANIFEST].split(b"\n")[-2].split()[1].decode()
    return made.files[f"{DIRECTORY}/{name}"]


def test_a_server_begins_with_a_base_and_an_increment_that_the_manifest_names():
    made = server()
    assert made.files[MANIFEST] == (
        b"file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n"
    )
    assert made.files[f"{DIRECTORY}/appendonly.aof.1.base.rdb"].startswith(b"REDIS0010")


def test_what_was_answered_is_there_after_a_restart():
    made = server()
    client = made.connect()
    client.ask("SET", "text", "1")
    client.ask("SELECT", "3")
    client.ask("RPUSH", "list", "a", "b")
    client.ask("SET", "short", "x", "PX", "100")
    made.advance(200)
    again = restarted(made).connect()
    assert again.ask("GET", "text") == b"1"
    again.ask("SELECT", "3")
    assert again.ask("LRANGE", "list", "0", "-1") == [b"a", b"b"]
    assert again.ask("EXISTS", "short") == 0


def test_decisions_are_logged_and_nothing_expires_while_they_are_replayed():
    made = server()
    client = made.connect()
    client.ask("SET", "key", "1", "PX", "50")
    client.ask("APPEND", "key", "2")
    files = dict(made.files)  # of what follows in this process nothing is on the disk
    made.advance(1000)
    again = server(files=files)
    again.advance(1000)
    assert again.connect().ask("EXISTS", "key") == 0


def test_a_transaction_is_logged_whole_and_a_torn_one_is_cut_off():
    made = server()
    client = made.connect()
    client.ask("SET", "before", "1")
    client.ask("MULTI")
    client.ask("SET", "a", "1")
    client.ask("SET", "b", "1")
    client.ask("EXEC")
    logged = increment(made)
    start, end = logged.index(b"*1\r\n$5\r\nMULTI"), logged.index(b"*1\r\n$4\r\nEXEC")
    path = f"{DIRECTORY}/appendonly.aof.1.incr.aof"
    for cut in range(start, len(logged)):
        files = made.files | {path: logged[:cut]}
        again = server(files=files)
        client = again.connect()
        assert client.ask("MGET", "before", "a", "b") == [b"1", None, None], cut
        assert again.files[path] == logged[:start]
    assert end > start


def test_a_torn_tail_ends_the_start_if_that_is_wanted():
    made = server()
    made.connect().ask("SET", "key", "1")
    path = f"{DIRECTORY}/appendonly.aof.1.incr.aof"
    made.files[path] = made.files[path][:-3]
    assert restarted(made, "--aof-load-truncated", "no").exit_code == 1
    assert restarted(made).exit_code is None


@pytest.mark.parametrize("garbage", [b"SET key 2\r\n", b"*2\r\nx", b"*1\r\n$7\r\nNONSENSE\r\n"])
def test_garbage_ends_the_start(garbage, caplog):
    made = server()
    made.connect().ask("SET", "key", "1")
    path = f"{DIRECTORY}/appendonly.aof.1.incr.aof"
    made.files[path] += garbage + b"*1\r\n$4\r\nPING\r\n"
    assert restarted(made).exit_code == 1
    assert f"{path} at byte" in caplog.text


def test_a_file_that_the_manifest_names_must_be_there(caplog):
    made = server()
    del made.files[f"{DIRECTORY}/appendonly.aof.1.base.rdb"]
    assert restarted(made).exit_code == 1
    assert "appendonly.aof.1.base.rdb cannot be read: No such file or directory" in caplog.text


@pytest.mark.parametrize(
    "text",
    [b"", b"file x seq 1\n", b"file a/b seq 1 type b\n", b"file a seq 0 type b\n", b"file a seq 1 type z\n",
     b"file a seq 2 type i\nfile b seq 1 type i\n", b"file a seq 1 type b\nfile b seq 2 type b\n"],
)  # fmt: skip
def test_a_manifest_that_is_none_ends_the_start(text, caplog):
    made = server()
    made.files[MANIFEST] = text
    assert restarted(made).exit_code == 1
    assert "appendonly.aof.manifest at byte" in caplog.text


def test_without_a_log_the_snapshot_is_loaded_and_becomes_its_base():
    made = Harness()
    client = made.connect()
    client.ask("SET", "key", "1")
    assert client.ask("SAVE") == OK
    logging = server(files=made.files)
    assert logging.connect().ask("GET", "key") == b"1"
    del logging.files["/data/dump.rdb"]
    assert restarted(logging).connect().ask("GET", "key") == b"1"


def test_the_one_file_of_older_versions_is_loaded():
    old = b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$1\r\n1\r\n"
    made = server(files={"/data/appendonly.aof": old})
    assert made.connect().ask("GET", "key") == b"1"
    assert MANIFEST in made.files


@pytest.mark.parametrize("preamble", ["yes", "no"])
def test_a_rewrite_replaces_what_was_logged_and_writes_go_on(preamble):
    made = server("--aof-use-rdb-preamble", preamble)
    client = made.connect()
    for number in range(200):
        client.ask("SET", "key", str(number))
    assert client.ask("BGREWRITEAOF") == SimpleString(b"Background append only file rewriting started")
    client.ask("SET", "other", "1")
    made.advance(1000)
    assert made.files[MANIFEST].count(b"\n") == 2
    assert len(increment(made)) < 500
    assert sorted(path for path in made.files if "seq" not in path and ".1." in path) == []
    client.ask("SET", "last", "1")
    again = restarted(made).connect()
    assert again.ask("MGET", "key", "other", "last") == [b"199", b"1", b"1"]


def test_a_log_that_has_doubled_is_rewritten_by_itself():
    made = server("--auto-aof-rewrite-min-size", "1000")
    client = made.connect()
    for _ in range(100):
        client.ask("SET", "key", "x" * 100)
    made.advance(1000)
    assert b"base.rdb seq 2" in made.files[MANIFEST]
    assert client.ask("INFO", "persistence").count(b"aof_rewrites:1") == 1


def test_logging_is_switched_on_and_off_while_the_server_runs():
    made = Harness()
    client = made.connect()
    client.ask("SET", "before", "1")
    assert client.ask("CONFIG", "SET", "appendonly", "yes") == OK
    client.ask("SET", "after", "1")
    made.advance(500)
    assert restarted(made).connect().ask("MGET", "before", "after") == [b"1", b"1"]
    assert client.ask("CONFIG", "SET", "appendonly", "no") == OK
    client.ask("SET", "unlogged", "1")
    made.advance(500)
    assert restarted(made).connect().ask("MGET", "before", "unlogged") == [b"1", None]
    assert client.ask("CONFIG", "SET", "appendonly", "yes") == OK
    made.advance(500)
    assert restarted(made).connect().ask("MGET", "before", "unlogged") == [b"1", b"1"]


@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
def test_a_full_disk_refuses_writes_serves_reads_and_is_recovered_from(policy):
    made = server("--appendfsync", policy)
    client = made.connect()
    client.ask("SET", "key", "1")
    made.disk_error = FULL
    client.send(encode_command([b"SET", b"key", b"2"]))
    if policy == "always":
        assert client.is_closed  # it was not told OK
        client = made.connect()
    else:
        assert client.replies() == [OK]
    refusal = client.ask("SET", "key", "3")
    assert refusal == ErrorReply(b"MISCONF Errors writing to the AOF file: " + FULL.encode())
    assert client.ask("GET", "key") == b"2"
    assert b"aof_last_write_status:err" in client.ask("INFO", "persistence")
    made.disk_error = ""
    made.advance(1500)
    assert client.ask("SET", "other", "1") == OK
    assert b"aof_last_write_status:ok" in client.ask("INFO", "persistence")
    assert restarted(made).connect().ask("MGET", "key", "other") == [b"2", b"1"]


def test_a_restart_goes_on_in_the_history_under_a_new_name():
    made = server()
    client = made.connect()
    client.ask("SET", "key", "1")
    replication = made.node.state.replication
    again = restarted(made)
    client = again.connect()
    client.ask("SET", "key", "2")
    now = again.node.state.replication
    assert (now.replid2, now.offset2) == (replication.replid, replication.offset + 1)
    third = restarted(again).node.state.replication
    assert third.replid2 == now.replid
    assert third.offset2 == now.offset + 1


def test_functions_and_every_type_survive_both_kinds_of_base():
    for preamble in ("yes", "no"):
        made = server("--aof-use-rdb-preamble", preamble)
        client = made.connect()
        code = "#!lua name=lib\nredis.register_function('f', function() return 7 end)"
        client.ask("FUNCTION", "LOAD", code)
        client.ask("HSET", "hash", "f", "v", "g", "w")
        client.ask("HPEXPIRE", "hash", "1000000", "FIELDS", "1", "g")
        client.ask("SADD", "set", *[str(n) for n in range(1000)], "x")
        client.ask("ZADD", "zset", "1.5", "a", "-inf", "b")
        client.ask("XADD", "stream", "1-1", "f", "v")
        client.ask("XADD", "stream", "2-1", "f", "v")
        client.ask("XGROUP", "CREATE", "stream", "group", "0")
        client.ask("XREADGROUP", "GROUP", "group", "me", "COUNT", "1", "STREAMS", "stream", ">")
        client.ask("XADD", "empty", "5-5", "f", "v")
        client.ask("XDEL", "empty", "5-5")
        client.ask("PFADD", "hll", "a", "b")
        client.ask("SETBIT", "bits", "100", "1")
        client.ask("BGREWRITEAOF")
        made.advance(1000)
        digest = client.ask("DEBUG", "DIGEST")
        again = restarted(made).connect()
        assert again.ask("FCALL", "f", "0") == 7
        assert again.ask("XINFO", "STREAM", "empty") == client.ask("XINFO", "STREAM", "empty")
        assert again.ask("XPENDING", "stream", "group") == client.ask("XPENDING", "stream", "group")
        assert again.ask("HPEXPIRETIME", "hash", "FIELDS", "2", "f", "g") == client.ask(
            "HPEXPIRETIME", "hash", "FIELDS", "2", "f", "g"
        )
        for key in ("hash", "set", "zset", "stream", "hll", "bits"):
            assert again.ask("DUMP", key) is not None
        assert again.ask("DEBUG", "DIGEST") == digest


def test_waitaof_says_what_is_durable():
    made = server("--appendfsync", "always")
    client = made.connect()
    client.ask("SET", "key", "1")
    assert client.ask("WAITAOF", "1", "0", "0") == [1, 0]
    assert client.ask("WAITAOF", "2", "0", "0") == ErrorReply(
        b"ERR value is out of range, must be between 0 and 1"
    )
    off = Harness()
    assert off.connect().ask("WAITAOF", "1", "0", "0") == ErrorReply(
        b"ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."
    )


def test_waitaof_waits_for_the_sync_of_the_second():
    made = server("--appendfsync", "everysec")
    client = made.connect()
    client.ask("SET", "key", "1")
    client.send(encode_command([b"WAITAOF", b"1", b"0", b"0"]))
    assert client.replies() == []
    made.advance(1500)
    assert client.replies() == [[1, 0]]


def test_timestamps_are_noted_once_a_second():
    made = server("--aof-timestamp-enabled", "yes")
    client = made.connect()
    client.ask("SET", "key", "1")
    client.ask("SET", "key", "2")
    assert increment(made).count(b"#TS:") == 1
    made.advance(2000)
    client.ask("SET", "key", "3")
    assert increment(made).count(b"#TS:") == 2
    assert restarted(made).connect().ask("GET", "key") == b"3"


def test_nobody_is_followed_before_the_own_place_is_known():
    """The copy of a master that arrived while the log was still read was overwritten by it."""
    made = server("--replicaof", "127.0.0.1", "7000")
    assert [effect.port for effect in made.dials] == []
    made.advance(200)
    assert [effect.port for effect in made.dials] == [7000]
