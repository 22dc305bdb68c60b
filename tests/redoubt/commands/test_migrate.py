"""MIGRATE between nodes without processes: outcomes, errors, timeouts, and what others do meanwhile."""

from __future__ import annotations

import pytest

from redoubt.cluster.routing import HELD_WRITES
from redoubt.cluster.slots import key_slot
from redoubt.commands.declare import ROWS, keys_of
from redoubt.data.slot_tables import count_in_slot
from redoubt.interfaces import Link
from redoubt.resp.replies import OK, ErrorReply, SimpleString, encode_command
from tests.redoubt.cluster.peers import Stage
from tests.redoubt.cluster.test_routing import ALONE
from tests.redoubt.harness import Client, Harness
from tests.redoubt.replication.network import Network, dataset, follow

TARGET = 7002
MIGRATE = ("MIGRATE", "127.0.0.1", TARGET)
NOT_CONNECTED = ErrorReply(b"IOERR error or timeout connecting to the client")
NOT_READ = ErrorReply(b"IOERR error or timeout reading to target instance")


class Pair:
    """A source and a target, and a client of the source that migrates."""

    def __init__(self, *words: str) -> None:
        self.network = Network()
        self.source = self.network.add(7001)
        self.target = self.network.add(TARGET, *words)
        self.client = self.source.connect()

    def begin(self, *words: str | int) -> None:
        """Send a MIGRATE; nothing is carried yet."""
        self.client.send(encode_command([str(word).encode() for word in (*MIGRATE, *words)]))

    def end(self) -> object:
        """Carry everything; return the reply of the MIGRATE."""
        self.network.settle()
        [reply] = self.client.replies()
        return reply

    def migrate(self, *words: str | int) -> object:
        self.begin(*words)
        return self.end()

    def holds(self) -> tuple[list[bytes], list[bytes]]:
        """List the keys of source and target."""
        return sorted(key for _, key in dataset(self.source)), sorted(key for _, key in dataset(self.target))


def answers(client: Client) -> list[object]:
    client.harness.turn()
    return list(client.replies())


def test_a_key_is_moved_with_its_value_and_expiry() -> None:
    pair = Pair()
    pair.client.ask("SET", "k", "v", "PX", 5000)
    assert pair.migrate("k", 0, 1000) == OK
    assert pair.holds() == ([], [b"k"])
    assert dataset(pair.target) == {(0, b"k"): (b"v", pair.source.now_ms + 5000)}


def test_several_keys_move_to_another_database_and_missing_ones_do_not_matter() -> None:
    pair = Pair()
    pair.client.ask("MSET", "a", "1", "b", "2", "c", "3")
    assert pair.migrate("", 3, 1000, "KEYS", "a", "nope", "b", "a") == OK
    assert dataset(pair.target) == {(3, b"a"): (b"1", 0), (3, b"b"): (b"2", 0)}
    assert pair.holds()[0] == [b"c"]
    assert pair.migrate("", 3, 1000, "KEYS", "nope") == SimpleString(b"NOKEY")
    assert pair.migrate("nope", 3, 1000) == SimpleString(b"NOKEY")


def test_a_copy_stays() -> None:
    pair = Pair()
    pair.client.ask("SET", "k", "v")
    assert pair.migrate("k", 0, 1000, "COPY") == OK
    assert pair.holds() == ([b"k"], [b"k"])


def test_a_key_that_the_target_has_stays_unless_it_is_replaced() -> None:
    pair = Pair()
    pair.client.ask("MSET", "a", "new", "b", "new")
    pair.target.connect().ask("SET", "a", "old")
    busy = ErrorReply(b"ERR Target instance replied with error: BUSYKEY Target key name already exists.")
    assert pair.migrate("", 0, 1000, "KEYS", "a", "b") == busy
    assert pair.holds() == ([b"a"], [b"a", b"b"])
    assert pair.migrate("a", 0, 1000, "REPLACE") == OK
    assert dataset(pair.target)[(0, b"a")] == (b"new", 0)


def test_a_target_with_a_password_wants_it_and_keeps_nothing_without() -> None:
    pair = Pair("--requirepass", "secret")
    pair.client.ask("SET", "k", "v")
    refused = pair.migrate("k", 0, 1000)
    assert refused == ErrorReply(b"ERR Target instance replied with error: NOAUTH Authentication required.")
    wrong = pair.migrate("k", 0, 1000, "AUTH", "wrong")
    assert isinstance(wrong, ErrorReply) and b"error: WRONGPASS" in wrong.text
    assert pair.holds() == ([b"k"], [])
    assert pair.migrate("k", 0, 1000, "AUTH2", "default", "secret") == OK
    pair.client.ask("SET", "k2", "v")
    assert pair.migrate("k2", 0, 1000, "AUTH", "secret") == OK
    pair.client.ask("SET", "k3", "v")
    # A link that was opened with a password is not lent to those who do not know it.
    assert pair.migrate("k3", 0, 1000) == refused
    assert pair.holds() == ([b"k3"], [b"k", b"k2"])


def test_writes_to_the_keys_wait_and_everything_else_goes_on() -> None:
    pair = Pair()
    pair.client.ask("MSET", "k", "old", "other", "x")
    writer, flusher, reader = (pair.source.connect() for _ in range(3))
    pair.begin("k", 0, 1000)
    assert reader.ask("GET", "k") == b"old"
    assert reader.ask("SET", "other", "y") == OK
    writer.send(b"APPEND k new\r\n")
    flusher.send(b"FLUSHALL\r\n")
    assert answers(writer) == answers(flusher) == []
    assert pair.end() == OK
    # The append found no key any more: it made a new one, and nothing of it is at the target.
    assert answers(writer) == [3]
    assert dataset(pair.target) == {(0, b"k"): (b"old", 0)}
    assert answers(flusher) == [OK]


def test_writes_that_waited_find_the_key_where_the_move_failed() -> None:
    pair = Pair()
    pair.client.ask("SET", "k", "old")
    writer = pair.source.connect()
    pair.begin("k", 0, 1000)
    writer.send(b"APPEND k new\r\n")
    pair.network.closed.add(TARGET)
    assert pair.end() == ErrorReply(b"IOERR error or timeout writing to target instance")
    assert answers(writer) == [6]
    assert pair.holds() == ([b"k"], [])


def test_two_moves_of_one_key_follow_one_another() -> None:
    pair = Pair()
    pair.client.ask("SET", "k", "v")
    second = pair.source.connect()
    pair.begin("k", 0, 1000)
    second.send(b"MIGRATE 127.0.0.1 7002 k 0 1000\r\n")
    assert pair.end() == OK
    assert answers(second) == [SimpleString(b"NOKEY")]


def test_the_deletion_is_propagated_as_del_and_only_of_what_arrived() -> None:
    pair = Pair()
    replica = pair.network.add(7003)
    follow(pair.network, replica, 7001)
    pair.client.ask("MSET", "a", "1", "b", "2")
    pair.target.connect().ask("SET", "a", "busy")
    pair.migrate("", 0, 1000, "KEYS", "a", "b")
    pair.network.run(50)
    assert sorted(key for _, key in dataset(replica)) == [b"a"]
    assert replica.node.state.replication.offset == pair.source.node.state.replication.offset


def test_the_link_is_kept_for_the_next_move_and_closed_after_ten_seconds() -> None:
    pair = Pair()
    for number in range(3):
        pair.client.ask("SET", "k", number)
        assert pair.migrate("k", 0, 1000, "REPLACE") == OK
    assert len(pair.network.cables) == 1
    assert pair.source.node.state.transfers.kept_count() == 1
    pair.network.run(9_000)
    assert pair.source.node.state.transfers.kept_count() == 1
    pair.network.run(2_000)
    assert pair.source.node.state.transfers.kept_count() == 0


def test_a_kept_link_that_the_target_has_closed_is_replaced() -> None:
    pair = Pair()
    pair.client.ask("SET", "a", "1")
    assert pair.migrate("a", 0, 1000) == OK
    pair.client.ask("SET", "b", "1")
    pair.begin("b", 0, 1000)
    pair.network.cables[0].cut()  # only now does the source hear of it
    assert pair.end() == OK
    assert pair.holds() == ([], [b"a", b"b"])


def test_a_target_that_does_not_answer_costs_the_timeout_and_no_key() -> None:
    pair = Pair()
    pair.client.ask("SET", "k", "v")
    pair.migrate("k", 0, 300, "COPY")
    pair.network.cables[0].is_stuck = True
    pair.begin("k", 0, 300, "REPLACE")
    pair.source.advance(290)
    assert answers(pair.client) == []
    pair.source.advance(20)
    assert answers(pair.client) == [NOT_READ]
    assert pair.client.ask("SET", "k", "w") == OK
    silent = pair.source.connect()
    silent.send(b"MIGRATE 127.0.0.1 7002 k 0 300\r\n")  # nobody connects
    pair.source.advance(310)
    assert answers(silent) == [NOT_CONNECTED]


def test_a_target_that_is_no_redis_is_not_believed() -> None:
    pair = Pair()
    pair.client.ask("SET", "k", "v")
    pair.begin("k", 0, 1000)
    [dial] = pair.source.dials
    pair.source.dials.clear()
    link: Link = dial.link
    pair.source.node.opened(link, pair.source.now_ms)
    pair.source.turn()
    pair.source.node.received(link, b"HTTP/1.1 400 Bad Request\r\n\r\n", pair.source.now_ms)
    assert answers(pair.client) == [NOT_READ]
    assert pair.holds()[0] == [b"k"]


def test_a_client_that_leaves_takes_nothing_back() -> None:
    pair = Pair()
    pair.client.ask("SET", "k", "v")
    pair.begin("k", 0, 1000)
    pair.client.close()
    pair.network.settle()
    assert pair.holds() == ([], [b"k"])
    assert pair.source.connect().ask("SET", "k", "v") == OK


def test_nothing_is_deleted_while_a_pause_forbids_changes() -> None:
    pair = Pair()
    pair.client.ask("SET", "k", "v")
    pair.begin("k", 0, 1000)
    other = pair.source.connect()
    other.ask("CLIENT", "PAUSE", 5000, "WRITE")
    pair.network.settle()
    assert pair.holds() == ([b"k"], [b"k"])
    assert answers(pair.client) == []
    other.ask("CLIENT", "UNPAUSE")
    pair.source.advance(100)
    assert answers(pair.client) == [OK]
    assert pair.holds() == ([], [b"k"])


def test_nothing_is_deleted_while_its_slot_passes_to_another_node() -> None:
    stage = Stage(ALONE)
    stage.talk(300)
    client = stage.connect()
    client.ask("SET", "bar", "v")
    client.send(encode_command([b"MIGRATE", b"127.0.0.1", b"7002", b"bar", b"0", b"1000"]))
    [dial] = [dial for dial in stage.dials if dial.port == TARGET]
    stage.node.opened(dial.link, stage.now_ms)
    assert b"RESTORE-ASKING" in b"".join(dial.link.out)
    stage.cluster.routing.hold(1 << key_slot(b"bar"), HELD_WRITES)
    stage.node.received(dial.link, b"+OK\r\n+OK\r\n", stage.now_ms)  # to SELECT and RESTORE
    stage.advance(200)
    assert answers(client) == []
    assert count_in_slot(stage.node.state.keyspaces[0], key_slot(b"bar")) == 1
    stage.cluster.routing.release(1 << key_slot(b"bar"))
    stage.advance(200)
    assert answers(client) == [OK]
    assert count_in_slot(stage.node.state.keyspaces[0], key_slot(b"bar")) == 0


def test_a_master_that_became_a_replica_meanwhile_deletes_nothing() -> None:
    pair = Pair()
    pair.client.ask("SET", "k", "v")
    pair.begin("k", 0, 1000)
    pair.source.connect().ask("REPLICAOF", "127.0.0.1", 9999)
    reply = pair.end()
    assert isinstance(reply, ErrorReply) and reply.text.startswith(b"UNBLOCKED ")
    assert pair.holds() == ([b"k"], [b"k"])


def test_a_key_that_expires_on_the_way_is_gone_in_both() -> None:
    pair = Pair()
    pair.client.ask("SET", "k", "v", "PX", 50)
    pair.begin("k", 0, 1000)
    pair.source.advance(100)
    pair.target.advance(100)
    assert pair.end() == OK
    assert pair.client.ask("EXISTS", "k") == 0
    assert dataset(pair.target) == {}


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("k 0 x", b"ERR value is not an integer or out of range"),
        ("k x 1000", b"ERR value is not an integer or out of range"),
        ("k 0 1000 FOO", b"ERR syntax error"),
        ("k 0 1000 AUTH", b"ERR syntax error"),
        ("k 0 1000 AUTH2 user", b"ERR syntax error"),
        (
            "k 0 1000 KEYS k",
            b"ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
        ),
    ],
)
def test_what_is_malformed_is_refused(line: str, error: bytes) -> None:
    source = Harness().connect()
    source.ask("SET", "k", "v")
    assert source.ask(*MIGRATE, *line.split()) == ErrorReply(error)


@pytest.mark.parametrize(
    ("line", "keys"),
    [
        ("k 0 1000", [b"k"]),
        ("k 0 1000 COPY AUTH KEYS", [b"k"]),
        (" 0 1000 COPY AUTH2 KEYS keys KEYS a b", [b"a", b"b"]),
        ("k 0 1000 KEYS a", []),
    ],
)
def test_the_keys_of_a_call_are_found_in_either_form(line: str, keys: list[bytes]) -> None:
    argv = [b"MIGRATE", b"host", b"1", *line.encode().split(b" ")]
    assert keys_of(ROWS[b"migrate"], argv) == keys
