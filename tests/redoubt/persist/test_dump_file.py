"""dump.rdb: loaded at the start, written when asked, when due and at the end; a bad one stops the process."""

import pytest

from redoubt import info
from redoubt.data.text import text_bytes
from redoubt.persist.rdb_write import RdbWriter
from redoubt.resp.replies import NO_REPLY, ErrorReply, SimpleString, encode_command
from tests.redoubt.harness import START_MS, Harness

OK = SimpleString(b"OK")
PATH = "/data/dump.rdb"
MISCONF = b"MISCONF Redis is configured to save RDB snapshots"


def fields(node):
    return {name: str(value) for name, value in info.collect(node.node.state, "persistence")}


def dataset(node):
    return {
        (keyspace.database, key): (text_bytes(keyspace.get(key)), keyspace.expire_at(key))
        for keyspace in node.node.state.keyspaces
        for key in keyspace.all_keys()
    }


def filled(*words, count=3000):
    node = Harness(*words)
    client = node.connect()
    for start in range(0, count, 500):
        client.ask(
            "MSET", *[word for i in range(start, start + 500) for word in (f"key {i}", f"value {i}" * 9)]
        )
    client.ask("SET", "expiring", "x", "PXAT", node.now_ms + 60_000)
    client.ask("SELECT", 2)
    client.ask("SET", "elsewhere", "2")
    return node


def test_what_was_saved_is_there_after_a_restart():
    node = filled()
    assert node.connect().ask("SAVE") == OK
    again = Harness(files=dict(node.files))
    assert dataset(again) == dataset(node)
    assert fields(again)["rdb_last_load_keys_loaded"] == "3002"
    assert fields(again)["rdb_changes_since_last_save"] == "0"


def test_no_file_is_an_empty_dataset():
    node = Harness(files={})
    assert node.connect().ask("DBSIZE") == 0
    assert fields(node)["loading"] == "0"


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[:50],
        lambda data: data[:-3] + b"\x00" + data[-2:],
        lambda data: b"",
        lambda data: b"not an RDB file at all",
    ],
)
def test_a_bad_file_ends_the_process_and_is_not_overwritten(damage):
    node = filled()
    node.connect().ask("SAVE")
    bad = damage(node.files[PATH])
    again = Harness("--save", "1", "1", files={PATH: bad})
    assert again.exit_code == 1
    assert again.files == {PATH: bad}


def test_a_file_with_more_databases_is_refused():
    node = filled()
    node.connect().ask("SAVE")
    assert Harness("--databases", "2", files=dict(node.files)).exit_code == 1


def test_expired_keys_are_dropped_by_a_master_and_kept_by_a_replica():
    writer = RdbWriter()
    writer.header([])
    writer.select(0)
    writer.entry(b"past", b"x", START_MS - 1)
    writer.entry(b"future", b"x", START_MS + 1)
    writer.end()
    data = writer.take()
    master = Harness(files={PATH: data})
    assert dataset(master) == {(0, b"future"): (b"x", START_MS + 1)}
    assert fields(master)["rdb_last_load_keys_expired"] == "1"
    replica = Harness("--replicaof", "127.0.0.1", "1", files={PATH: data})
    assert len(dataset(replica)) == 2
    assert replica.connect().ask("GET", "past") is None


def test_bgsave_writes_the_state_at_its_start_while_writes_go_on():
    node = filled(count=20_000)
    expected = dataset(node)
    client = node.connect()
    assert client.ask("BGSAVE") == SimpleString(b"Background saving started")
    assert client.ask("BGSAVE") == ErrorReply(b"ERR Background save already in progress")
    assert client.ask("SAVE") == ErrorReply(b"ERR Background save already in progress")
    for i in range(0, 20_000, 7):
        client.ask("SET", f"key {i}", "changed")
    client.ask("FLUSHALL")
    client.ask("SET", "new", "1")
    assert PATH not in node.files
    node.advance(1000)
    assert fields(node)["rdb_last_bgsave_status"] == "ok"
    assert fields(node)["rdb_bgsave_in_progress"] == "0"
    assert dataset(Harness(files=dict(node.files))) == expected


def test_bgsave_takes_schedule_and_nothing_else():
    client = Harness().connect()
    assert client.ask("BGSAVE", "SCHEDULE") == SimpleString(b"Background saving started")
    assert client.ask("BGSAVE", "NOW") == ErrorReply(b"ERR syntax error")


def test_a_save_point_is_reached_by_changes_and_seconds():
    node = Harness("--save", "10", "5")
    client = node.connect()
    for i in range(4):
        client.ask("SET", f"key {i}", "x")
    node.advance(11_000)
    assert PATH not in node.files
    client.ask("SET", "fifth", "x")
    node.advance(200)
    assert PATH in node.files
    assert client.ask("LASTSAVE") == node.now_ms // 1000
    assert fields(node)["rdb_changes_since_last_save"] == "0"


def test_a_failed_save_stops_writes_until_one_succeeds():
    node = Harness("--save", "1", "1")
    client = node.connect()
    client.ask("SET", "a", "1")
    node.disk_error = "No space left on device"
    node.advance(2000)
    assert fields(node)["rdb_last_bgsave_status"] == "err"
    reply = client.ask("SET", "a", "2")
    assert isinstance(reply, ErrorReply)
    assert reply.text.startswith(MISCONF)
    assert client.ask("GET", "a") == b"1"
    # It is tried again after five seconds.
    node.disk_error = ""
    node.advance(4000)
    assert client.ask("SET", "a", "2") != OK
    node.advance(2000)
    assert client.ask("SET", "a", "2") == OK


def test_save_answers_with_the_error_of_the_disk():
    node = Harness()
    node.disk_error = "No space left on device"
    assert node.connect().ask("SAVE") == ErrorReply(b"ERR No space left on device")


def test_an_exit_gives_up_the_save_in_the_background_but_not_the_file():
    node = filled("--save", "3600", "1", count=20_000)
    client = node.connect()
    client.ask("SAVE")
    client.ask("SET", "later", "1")
    client.ask("BGSAVE")
    node.advance(3)
    assert node.pieces
    node.node.begin_shutdown(None, True, False, node.now_ms)
    node.turn()
    assert node.exit_code == 0
    assert node.pieces == {}
    assert dataset(Harness(files=dict(node.files))) == dataset(node)


def test_an_exit_without_save_points_saves_nothing():
    node = filled()
    node.node.begin_shutdown(None, True, False, node.now_ms)
    node.turn()
    assert node.exit_code == 0
    assert node.files == {}


def test_save_inside_a_pipeline_is_answered_in_its_place():
    node = Harness()
    client = node.connect()
    client.send(b"".join(encode_command(c) for c in ([b"SET", b"a", b"1"], [b"SAVE"], [b"GET", b"a"])))
    assert client.replies() == [OK, OK, b"1"]
    assert NO_REPLY not in client.replies()
    assert node.now_ms == START_MS


def test_a_save_asked_for_in_a_transaction_holds_all_of_it():
    node = Harness()
    client = node.connect()
    client.ask("MULTI")
    client.ask("SET", "first", "1")
    client.ask("BGSAVE")
    client.ask("SET", "second", "1")
    assert client.ask("EXEC") == [OK, SimpleString(b"Background saving scheduled"), OK]
    assert PATH not in node.files
    node.advance(1000)
    assert dataset(Harness(files=dict(node.files))) == dataset(node)
    assert fields(node)["rdb_saves"] == "1"


def test_a_save_waits_for_the_end_of_a_rewrite_if_it_says_so():
    node = Harness("--save", "1", "1")
    client = node.connect()
    client.ask("SET", "k", "v")
    dump = node.node.state.persistence
    dump.state.log.is_rewriting = True
    assert client.ask("BGSAVE") == ErrorReply(
        b"ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to"
        b" schedule a BGSAVE whenever possible."
    )
    assert client.ask("BGSAVE", "schedule") == SimpleString(b"Background saving scheduled")
    node.advance(10_000)
    assert PATH not in node.files
    dump.state.log.is_rewriting = False
    node.advance(1000)
    assert fields(node)["rdb_saves"] == "1"
    assert not dump.is_scheduled


def test_a_scheduled_save_waits_as_long_as_one_that_failed():
    node = Harness()
    client = node.connect()
    client.ask("SET", "k", "v")
    node.disk_error = "No space left on device"
    client.ask("BGSAVE")
    node.advance(100)
    assert fields(node)["rdb_last_bgsave_status"] == "err"
    node.disk_error = ""
    client.ask("MULTI")
    client.ask("BGSAVE")
    client.ask("EXEC")
    node.advance(4000)
    assert fields(node)["rdb_saves"] == "0"
    node.advance(2000)
    assert fields(node)["rdb_saves"] == "1"


@pytest.mark.parametrize("mode", ["fork", "forkless"])
def test_both_ways_of_saving_report_how_they_ended(mode):
    node = filled("--snapshot-mode", mode, "--save", "3600", "1")
    client = node.connect()
    assert client.ask("BGSAVE") == SimpleString(b"Background saving started")
    node.advance(1000)
    assert fields(node)["rdb_last_bgsave_status"] == "ok"
    assert dataset(Harness(files=dict(node.files))) == dataset(node)
    node.disk_error = "Input/output error"
    client.ask("BGSAVE")
    node.advance(1000)
    assert fields(node)["rdb_last_bgsave_status"] == "err"
    assert client.ask("SET", "k", "v").text.startswith(MISCONF)
    node.disk_error = ""
    client.ask("BGSAVE")
    node.advance(1000)
    assert client.ask("SET", "k", "v") == OK
