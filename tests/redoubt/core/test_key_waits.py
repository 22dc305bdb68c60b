"""Clients that wait for keys: how a wait ends other than by being served, and what it leaves behind.

Who is served with what is compared with a real server (`tests/test_differential_blocking.py`).
"""

from __future__ import annotations

import pytest

from redoubt.resp.replies import NULL_ARRAY, OK, ErrorReply
from tests.redoubt.cluster.peers import Stage
from tests.redoubt.commands.recorded import Recorded
from tests.redoubt.harness import START_MS, Harness

FORCED = ErrorReply(
    b"UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"
)
ME, OTHER = "a" * 40, "b" * 40
ALONE = (
    f"{ME} 10.0.0.1:6379@16379 myself,master - 0 0 1 connected 0-8191\n"
    f"{OTHER} 10.0.0.2:6379@16379,,shard-id={OTHER} master - 0 1 2 connected 8192-16383\n"
    "vars currentEpoch 2 lastVoteEpoch 0\n"
)
BAR = 5061


def assert_nothing_left(harness: Harness) -> None:
    waits = harness.node.state.blocking.key_waits
    assert waits.waiting == {} and waits.sessions() == []
    assert harness.node.state.blocking.waiting == {}
    assert all(keyspace.listeners == [] for keyspace in harness.node.state.keyspaces)


@pytest.mark.parametrize(
    ("wait", "push", "told"),
    [
        ("BLPOP x l 0", "RPUSH l 1 2", "LPOP l"),
        ("BRPOP l 0", "RPUSH l 1 2", "RPOP l"),
        ("BLMPOP 0 1 l LEFT COUNT 9", "RPUSH l 1 2", "LPOP l 2"),
        ("BLMOVE l m LEFT RIGHT 0", "RPUSH l 1 2", "LMOVE l m LEFT RIGHT"),
        ("BRPOPLPUSH l m 0", "RPUSH l 1 2", "RPOPLPUSH l m"),
        ("BZPOPMIN z 0", "ZADD z 1 a 2 b", "ZPOPMIN z"),
        ("BZPOPMAX z 0", "ZADD z 1 a 2 b", "ZPOPMAX z"),
        ("BZMPOP 0 1 z MAX", "ZADD z 1 a 2 b", "ZPOPMAX z 1"),
    ],
)
def test_what_is_taken_is_propagated_as_a_decision(wait: str, push: str, told: str) -> None:
    recorded = Recorded()
    assert recorded.propagates(push) == [push]
    assert recorded.propagates(wait) == [told]
    recorded.ask("FLUSHALL")
    other = recorded.harness.connect()
    other.send(wait.encode() + b"\r\n")
    assert recorded.propagates(push) == [push, told]
    assert_nothing_left(recorded.harness)


def test_a_wait_that_ends_by_time_leaves_nothing() -> None:
    harness = Harness()
    client = harness.connect()
    client.send(b"BLPOP a b a 0.0501\r\n")
    assert harness.node.next_tick_ms() == START_MS + 51
    harness.advance(51)
    assert client.replies() == [NULL_ARRAY]
    assert_nothing_left(harness)


def test_a_client_that_goes_leaves_nothing() -> None:
    harness = Harness()
    client = harness.connect()
    client.send(b"BZMPOP 0 2 a b MIN\r\n")
    client.close()
    assert_nothing_left(harness)


def test_a_server_that_becomes_a_replica_ends_every_wait_and_the_connection() -> None:
    harness = Harness()
    popper, waiter, other = harness.connect(), harness.connect(), harness.connect()
    popper.send(b"BLPOP l 0\r\n")
    waiter.send(b"WAIT 1 0\r\n")
    other.ask("REPLICAOF", "127.0.0.1", "1")
    assert popper.replies() == [FORCED] and popper.is_closed
    assert waiter.replies() == [FORCED] and waiter.is_closed
    assert_nothing_left(harness)


def test_wait_that_is_unblocked_with_an_error_is_not_answered_again() -> None:
    harness = Harness()
    client, other = harness.connect(), harness.connect()
    client.send(b"WAIT 1 0\r\n")
    assert other.ask("CLIENT", "UNBLOCK", client.session.session_id, "ERROR") == 1
    assert client.replies() == [ErrorReply(b"UNBLOCKED client unblocked via CLIENT UNBLOCK")]
    assert harness.node.state.replication.master.waiters == []


def test_who_waits_is_shown() -> None:
    harness = Harness()
    client, other = harness.connect(), harness.connect()
    client.send(b"BLPOP a b 0\r\n")
    line = other.ask("CLIENT", "LIST", "ID", client.session.session_id)
    info = other.ask("INFO", "clients")
    assert isinstance(line, bytes) and isinstance(info, bytes)
    assert b" flags=b " in line
    assert b"blocked_clients:1\r\n" in info and b"total_blocking_keys:2\r\n" in info
    assert b"total_blocking_keys_on_nokey:0\r\n" in info


def test_a_move_waits_while_its_target_is_carried_away() -> None:
    harness = Harness()
    client, other = harness.connect(), harness.connect()
    blocking = harness.node.state.blocking
    client.send(b"BLMOVE l target LEFT LEFT 0\r\n")
    blocking.hold_keys(0, [b"target"])
    assert other.ask("RPUSH", "l", "1") == 1
    assert client.replies() == []
    blocking.release_keys(0, [b"target"])
    harness.turn()
    assert client.replies() == [b"1"]
    assert_nothing_left(harness)


def test_who_waits_for_a_key_of_a_slot_that_leaves_is_told_where_it_went() -> None:
    stage = Stage(ALONE)
    stage.talk(300)
    popper, other = stage.connect(), stage.connect()
    popper.send(b"BLPOP bar 0\r\n")
    assert popper.session.is_blocked
    assert other.ask("CLUSTER", "SETSLOT", BAR, "NODE", OTHER) == OK
    stage.turn()
    assert popper.replies() == [ErrorReply(b"MOVED 5061 10.0.0.2:6379")]


def test_who_waits_for_a_key_when_the_cluster_goes_down_is_told() -> None:
    stage = Stage(ALONE)
    stage.talk(300)
    popper, other = stage.connect(), stage.connect()
    popper.send(b"BLPOP bar 0\r\n")
    other.ask("CLUSTER", "DELSLOTS", 1)
    stage.advance(200)
    assert popper.replies() == [ErrorReply(b"CLUSTERDOWN The cluster is down")]


def test_who_waits_at_a_master_that_becomes_a_replica_is_sent_to_its_successor() -> None:
    stage = Stage(ALONE)
    stage.talk(300)
    popper, waiter = stage.connect(), stage.connect()
    popper.send(b"BLPOP bar 0\r\n")
    waiter.send(b"WAIT 1 0\r\n")
    topology = stage.cluster.topology
    successor = topology.nodes[OTHER]
    topology.set_owners(topology.myself.slots, successor)
    stage.cluster.roles.follow(successor)
    stage.turn()
    assert popper.replies() == [ErrorReply(b"MOVED 5061 10.0.0.2:6379")] and not popper.is_closed
    assert waiter.replies() == [FORCED] and waiter.is_closed
