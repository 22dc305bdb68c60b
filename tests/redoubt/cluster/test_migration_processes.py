"""Slot moves between real processes: under writers that check every reply, with replicas, deaths, big values.

The masters run without managed mode, so that what happens is the migration's own doing; `tests/sim` kills
processes at every step of it. Figures are loose here, the machine is shared; bench/ measures.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from bench.ports import free_port
from redoubt.data.key_slot import key_slot
from redoubt.resp.replies import ErrorReply, SimpleString, encode_command
from tests.redoubt.cluster.test_processes import CLUSTER, Nodes, until
from tests.redoubt.harness import Connection, server_process

pytestmark = pytest.mark.process

OK = SimpleString(b"OK")
MIDDLE = 8192
# All slots of the first master but one: without any it would become a replica of the other.
LAST = MIDDLE - 2


class Cluster(Nodes):
    """Two masters that share the slots at MIDDLE, and replicas if asked for."""

    def __init__(self, stack: ExitStack, replicas: int = 0, *words: str) -> None:
        super().__init__(stack)
        for _ in range(2 + replicas):
            process = server_process(*CLUSTER, "--cluster-port", str(free_port()), *words)
            self.all.append(stack.enter_context(process))
        self.meet(2)
        for replica in range(replicas):
            self.follow(2 + replica, replica % 2)

    def fill(self, count: int, size: int) -> list[bytes]:
        """Write keys to the first master; return those of its slots."""
        keys = [key for key in (b"key:%d" % number for number in range(3 * count)) if key_slot(key) <= LAST]
        keys = keys[:count]
        connection = self.all[0].connect()
        for at in range(0, len(keys), 500):
            part = keys[at : at + 500]
            connection.send(b"".join([encode_command([b"SET", key, b"v" * size]) for key in part]))
            assert all(connection.read() == OK for _ in part)
        connection.close()
        return keys

    def move(self, first: int, last: int) -> None:
        assert (
            self.ask(0, "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", first, last, "NODE", self.node_id(1)) == OK
        )

    def row(self, at: int = 0) -> dict[str, Any]:
        (row, *_) = self.ask(at, "CLUSTER", "GETSLOTMIGRATIONS")
        return {key.decode(): value for key, value in zip(row[::2], row[1::2], strict=True)}

    def wait_for(self, state: bytes, at: int = 0) -> dict[str, Any]:
        until(lambda: self.row(at)["state"] in (state, b"success", b"failed", b"cancelled"), f"{state!r}")
        row = self.row(at)
        assert row["state"] == state, row
        return row


@pytest.fixture
def two() -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(stack)


class Writer(threading.Thread):
    """Counts keys up wherever they are; fails on any reply but the number expected or MOVED."""

    def __init__(self, cluster: Cluster, keys: list[bytes]) -> None:
        super().__init__()
        self.connections = [node.connect() for node in cluster.all[:2]]
        self.ports = [node.port for node in cluster.all[:2]]
        self.keys = keys
        self.at = dict.fromkeys(keys, 0)
        self.counts = dict.fromkeys(keys, 0)
        self.moved = 0
        self.longest_s = 0.0
        self.wrong: list[Any] = []
        self.is_over = False

    def run(self) -> None:
        while not self.is_over and not self.wrong:
            for key in self.keys:
                self.step(key)
                time.sleep(0.0002)

    def step(self, key: bytes) -> None:
        began = time.monotonic()
        reply = self.connections[self.at[key]].ask("INCR", key)
        if isinstance(reply, ErrorReply) and reply.text.startswith(b"MOVED "):
            self.moved += 1
            self.at[key] = self.ports.index(int(reply.text.rpartition(b":")[2]))
            reply = self.connections[self.at[key]].ask("INCR", key)
        self.longest_s = max(self.longest_s, time.monotonic() - began)
        self.counts[key] += 1
        if reply != self.counts[key]:
            self.wrong.append((key, reply, self.counts[key]))

    def stop(self) -> None:
        self.is_over = True
        self.join()
        assert self.wrong == []


def test_fifty_thousand_keys_move_under_writers_that_see_nothing_but_a_redirect(two: Cluster) -> None:
    keys = two.fill(50_000, 100)
    writers = [Writer(two, [b"{%s}:count" % key for key in keys[number:200:4]]) for number in range(4)]
    for writer in writers:
        writer.start()
    began = time.monotonic()
    two.move(0, LAST)
    row = two.wait_for(b"success")
    took_s = time.monotonic() - began
    until(lambda: sum(writer.moved for writer in writers) == 200, "every key's writer was redirected")
    for writer in writers:
        writer.stop()
    assert row["remaining_repl_size"] == 0
    assert sum(writer.moved for writer in writers) == 200  # once each
    assert took_s < 15
    assert max(writer.longest_s for writer in writers) < 1
    counted = sum(len(writer.keys) for writer in writers)
    until(lambda: two.ask(0, "DBSIZE") == 0, "nothing is left at the source")
    assert two.ask(1, "DBSIZE") == len(keys) + counted
    target = two.all[1].connect()
    assert all(target.ask("GET", key) == b"v" * 100 for key in keys[::100])
    for writer in writers:
        assert [target.ask("GET", key) for key in writer.keys] == [
            b"%d" % count for count in writer.counts.values()
        ]


def test_slots_move_there_and_back(two: Cluster) -> None:
    keys = two.fill(500, 10)
    two.move(0, 100)
    two.wait_for(b"success")
    assert two.ask(1, "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", 0, 100, "NODE", two.node_id(0)) == OK
    two.wait_for(b"success", at=1)
    until(lambda: two.ask(0, "DBSIZE") == len(keys) and two.ask(1, "DBSIZE") == 0, "all keys are back")


def test_big_values_and_expiries_arrive_as_they_are(two: Cluster) -> None:
    source, target = two.all[0].connect(), two.all[1].connect()
    big = [key for key in (b"big:%d" % number for number in range(40)) if key_slot(key) <= LAST]
    for number, key in enumerate(big):
        assert source.ask("SET", key, bytes([number]) * 3_000_000) == OK
    soon, later = b"{%s}soon" % big[0], b"{%s}later" % big[0]
    source.ask("SET", soon, "1", "PX", 300)
    source.ask("SET", later, "12345", "PXAT", 4_000_000_000_000)
    two.move(0, LAST)
    two.wait_for(b"success")
    for number, key in enumerate(big):
        assert target.ask("GET", key) == bytes([number]) * 3_000_000
    assert (target.ask("GET", later), target.ask("PEXPIRETIME", later)) == (b"12345", 4_000_000_000_000)
    until(lambda: target.ask("EXISTS", soon) == 0, "what was due is gone")


def test_a_cancelled_move_leaves_everything_where_it_was(two: Cluster) -> None:
    keys = two.fill(20_000, 100)
    two.move(0, LAST)
    until(lambda: two.row()["state"] == b"snapshotting", "the move has begun")
    assert two.ask(0, "CLUSTER", "CANCELSLOTMIGRATIONS") == OK
    assert two.row()["state"] == b"cancelled"
    until(lambda: two.row(1)["state"] == b"failed", "the target has heard of it")
    assert (two.ask(0, "DBSIZE"), two.ask(1, "DBSIZE")) == (len(keys), 0)
    assert two.ask(0, "SET", keys[0].decode(), "1") == OK


def test_a_target_that_dies_ends_the_move_and_nothing_else(two: Cluster) -> None:
    keys = two.fill(20_000, 100)
    two.move(0, LAST)
    until(lambda: two.row()["state"] == b"snapshotting", "the move has begun")
    two.all[1].kill()
    row = two.wait_for(b"failed")
    assert b"target" in row["message"].lower()
    assert two.ask(0, "DBSIZE") == len(keys)


def test_a_source_that_dies_leaves_nothing_at_the_target(two: Cluster) -> None:
    two.fill(20_000, 100)
    two.move(0, LAST)
    until(lambda: two.row()["state"] == b"snapshotting", "the move has begun")
    two.all[0].kill()
    row = two.wait_for(b"failed", at=1)
    assert b"source" in row["message"].lower()
    assert two.ask(1, "DBSIZE") == 0


def test_the_replicas_of_both_sides_follow() -> None:
    with ExitStack() as stack:
        four = Cluster(stack, 2)
        keys = four.fill(5_000, 50)
        writer = Writer(four, [b"{%s}:count" % key for key in keys[:50]])
        writer.start()
        four.move(0, 4_000)
        four.wait_for(b"success")
        time.sleep(0.2)
        writer.stop()
        leaving = [key for key in keys if key_slot(key) <= 4_000]
        counted = [key for key in writer.keys if key_slot(key) <= 4_000]
        sizes = [len(keys) - len(leaving) + 50 - len(counted), len(leaving) + len(counted)]
        until(lambda: [four.ask(at, "DBSIZE") for at in range(4)] == sizes * 2, f"{sizes} on each side")
        replica = four.all[3].connect()
        assert replica.ask("READONLY") == OK
        assert [replica.ask("GET", key) for key in counted] == [b"%d" % writer.counts[key] for key in counted]
        # A replica of the target succeeds it with what has arrived.
        assert four.ask(3, "CLUSTER", "FAILOVER") == OK
        until(lambda: four.lines(0)[four.node_id(3)][2] == "master", "the replica is the master")
        until(lambda: isinstance(four.ask(3, "GET", leaving[0].decode()), bytes), "it serves")


def test_moving_the_last_slot_leaves_a_replica_of_the_target(two: Cluster) -> None:
    """As in Redis, with cluster-allow-replica-migration."""
    two.fill(100, 10)
    two.move(0, MIDDLE - 1)
    until(lambda: two.lines(1)[two.node_id(0)][2] == "slave", "the empty master follows the target")


def test_a_handover_in_the_middle_of_a_move_ends_it_first() -> None:
    with ExitStack() as stack:
        three = Cluster(stack, 1)
        keys = three.fill(20_000, 100)
        three.move(0, LAST)
        until(lambda: three.row()["state"] == b"snapshotting", "the move has begun")
        connection: Connection = three.all[0].connect()
        assert connection.ask("REDOUBT", "HANDOVER") == OK
        assert three.row()["state"] == b"cancelled"
        until(lambda: three.ask(2, "DBSIZE") == len(keys), "the successor has everything")
        until(lambda: three.row(1)["state"] == b"failed", "the target has given up")
        assert three.ask(1, "DBSIZE") == 0


def test_times_of_fields_move_with_their_hashes(two: Cluster) -> None:
    far_ms = 33_177_117_420_000
    source = two.all[0].connect()
    keys = [key for key in (b"hash:%d" % number for number in range(60)) if key_slot(key) <= LAST]
    for key in keys:
        source.ask("HSET", key, "f", 1, "g", 2, "h", 3)
        source.ask("HPEXPIREAT", key, far_ms, "FIELDS", 1, "f")
        source.ask("HPEXPIRE", key, 5000, "FIELDS", 1, "g")
    two.move(0, LAST)
    two.wait_for(b"success")
    target = two.all[1].connect()
    until(lambda: target.ask("HLEN", keys[-1]) == 2, "the last g expires on the new owner")
    times = [target.ask("HPEXPIRETIME", key, "FIELDS", 3, "f", "g", "h") for key in keys]
    assert times == [[far_ms, -2, -1]] * len(keys)
    assert b"subexpiry=%d" % len(keys) in target.ask("INFO", "keyspace")
    assert source.ask("DBSIZE") == 0
