"""DEBUG RELOAD: what comes back from the file, what stays, and who has to wait meanwhile."""

from __future__ import annotations

import pytest

from redoubt.hooks import ChangeListener
from redoubt.resp.replies import OK, ErrorReply
from tests.redoubt.harness import Client, Harness

PATH = "/data/dump.rdb"


class Listener(ChangeListener):
    def __init__(self) -> None:
        self.heard: list[list[bytes]] = []

    def changed(self, argv: list[bytes]) -> None:
        self.heard.append(argv)


def client() -> Client:
    return Harness("--enable-debug-command", "yes").connect()


def test_everything_comes_back_from_the_file() -> None:
    ours = client()
    ours.ask("SET", "k", "v", "PXAT", "1800000000000")
    ours.ask("RPUSH", "l", *range(1000))
    ours.ask("HSET", "h", "f", "1")
    before = ours.ask("DEBUG", "DIGEST")
    assert ours.ask("DEBUG", "RELOAD") == OK
    assert ours.ask("DEBUG", "DIGEST") == before
    assert ours.ask("PEXPIRETIME", "k") == 1_800_000_000_000
    assert ours.ask("DBSIZE") == 3
    assert b"rdb_changes_since_last_save:0" in ours.ask("INFO", "persistence")


def test_without_saving_the_file_as_it_lies_counts() -> None:
    ours = client()
    ours.ask("SET", "saved", "1")
    ours.ask("SAVE")
    ours.ask("SET", "later", "1")
    assert ours.ask("DEBUG", "RELOAD", "NOSAVE") == OK
    assert ours.ask("KEYS", "*") == [b"saved"]


@pytest.mark.parametrize("option", ["MERGE", "NOFLUSH"])
def test_what_is_kept_is_merged_with_the_file(option: str) -> None:
    ours = client()
    ours.ask("SET", "both", "old")
    ours.ask("SAVE")
    ours.ask("SET", "both", "new", "EX", "100")
    ours.ask("SET", "mine", "1")
    assert ours.ask("DEBUG", "RELOAD", "NOSAVE", option) == OK
    assert ours.ask("MGET", "both", "mine") == [b"old", b"1"]
    assert ours.ask("TTL", "both") == -1


def test_functions_come_back() -> None:
    ours = client()
    ours.ask("FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function() return 7 end)")
    assert ours.ask("DEBUG", "RELOAD") == OK
    assert ours.ask("FCALL", "f", 0) == 7


def test_a_file_that_cannot_be_loaded_is_an_error_and_the_server_goes_on() -> None:
    ours = client()
    ours.ask("SET", "k", "v")
    assert ours.ask("DEBUG", "RELOAD", "NOSAVE") == ErrorReply(b"ERR Error trying to load the RDB dump")
    ours.harness.files[PATH] = b"REDIS0010\xfe\x00\x07"
    assert ours.ask("DEBUG", "RELOAD", "NOSAVE") == ErrorReply(b"ERR Error trying to load the RDB dump")
    assert ours.ask("SET", "k", "v") == OK


def test_a_save_that_fails_leaves_everything_as_it_was() -> None:
    ours = client()
    ours.ask("SET", "k", "v")
    ours.harness.disk_error = "No space left on device"
    assert isinstance(ours.ask("DEBUG", "RELOAD"), ErrorReply)
    assert ours.ask("GET", "k") == b"v"


@pytest.mark.parametrize("words", [["FOO"], ["MERGE", "SAVE"]])
def test_other_options_are_refused(words: list[str]) -> None:
    refusal = ErrorReply(b"ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.")
    assert client().ask("DEBUG", "RELOAD", *words) == refusal


def test_a_transaction_cannot_wait_for_it() -> None:
    ours = client()
    ours.ask("MULTI")
    ours.ask("DEBUG", "RELOAD")
    (reply,) = ours.ask("EXEC")
    assert isinstance(reply, ErrorReply)


def test_nothing_of_it_is_told_to_replicas() -> None:
    ours = client()
    ours.ask("SET", "k", "v")
    listener = Listener()
    ours.harness.node.state.replication.watch(listener)
    ours.ask("DEBUG", "RELOAD")
    assert listener.heard == []
    ours.ask("SET", "k", "w")
    assert listener.heard == [[b"SET", b"k", b"w"]]
