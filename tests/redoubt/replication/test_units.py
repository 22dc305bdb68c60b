"""Atomic units: what EXEC changed reaches a replica whole or not at all; pops arrive as decisions."""

from __future__ import annotations

import time

import pytest

from redoubt.replication.roles import Replication
from redoubt.resp.replies import OK
from redoubt.resp.requests import RequestParser
from tests.redoubt.harness import Client, Harness, redis_process, server_process
from tests.redoubt.replication.network import Network, follow, replication_of

SERVERS = {"redoubt": server_process, "redis": redis_process}
PAIRS = [("redoubt", "redoubt"), ("redoubt", "redis"), ("redis", "redoubt")]
PATIENCE_S = 20


def history(node: Harness, offset: int) -> list[str]:
    """Return the commands of the history after a place in it."""
    replication = replication_of(node)
    assert isinstance(replication, Replication) and replication.backlog is not None
    parser = RequestParser()
    parser.feed(b"".join(replication.backlog.since(offset + 1)))
    commands = []
    while (argv := parser.next()) is not None:
        commands.append(b" ".join(argv).decode())
    return commands


def run(client: Client, *lines: str) -> None:
    for line in lines:
        client.ask(*line.split())


def test_one_effective_write_goes_out_as_it_is_and_several_as_a_transaction() -> None:
    network = Network()
    master, replica = network.add(7001), network.add(7002)
    follow(network, replica, 7001)
    client = master.connect()
    run(client, "SET a 1")
    start = replication_of(master).offset
    run(client, "MULTI", "SET a 2", "GET a", "SETNX a 3", "EXEC")
    run(client, "MULTI", "GET a", "SETNX a 3", "EXEC")
    run(client, "MULTI", "SET a 4", "SELECT 1", "SET b 5", "LPUSH l x y", "BLPOP l 0", "EXEC")
    run(client, "SET c 6", "SELECT 0", "MULTI", "SET d 7", "SET e 8", "EXEC")
    assert history(master, start) == [
        "SET a 2",
        *("MULTI", "SET a 4", "SELECT 1", "SET b 5", "LPUSH l x y", "LPOP l", "EXEC"),
        "SET c 6",
        *("SELECT 0", "MULTI", "SET d 7", "SET e 8", "EXEC"),
    ]
    network.settle()
    assert replication_of(replica).offset == replication_of(master).offset
    reader = replica.connect()
    assert reader.ask("MGET", "a", "d", "e") == [b"4", b"7", b"8"]


def test_a_key_found_expired_inside_is_part_of_the_unit() -> None:
    network = Network()
    master, replica = network.add(7001), network.add(7002)
    follow(network, replica, 7001)
    client = master.connect()
    master.node.state.upkeep.is_expiring = False
    run(client, "SET gone x PX 10")
    master.advance(20)
    start = replication_of(master).offset
    run(client, "MULTI", "INCR n", "GET gone", "EXEC")
    assert history(master, start) == ["MULTI", "INCR n", "DEL gone", "EXEC"]


def test_who_waited_is_served_after_the_unit() -> None:
    network = Network()
    master, replica = network.add(7001), network.add(7002)
    follow(network, replica, 7001)
    client, popper = master.connect(), master.connect()
    run(client, "SET a 1")
    popper.send(b"BLMOVE l m LEFT LEFT 0\r\n")
    start = replication_of(master).offset
    run(client, "MULTI", "SET a 2", "RPUSH l x", "EXEC")
    assert history(master, start) == ["MULTI", "SET a 2", "RPUSH l x", "EXEC", "LMOVE l m LEFT LEFT"]
    assert popper.replies() == [b"x"]


@pytest.mark.parametrize("cut_at", [*range(0, 82, 6), 82])
def test_a_unit_that_breaks_off_is_not_applied_and_comes_again(cut_at: int) -> None:
    network = Network()
    master, replica = network.add(7001), network.add(7002)
    follow(network, replica, 7001)
    client, reader = master.connect(), replica.connect()
    run(client, "MSET a 0 b 0")
    network.settle()
    before = replication_of(replica).offset
    run(client, "MULTI", "SET a 1", "SET b 1", "EXEC")
    [cable] = network.cables
    (_, dialled), (_, accepted) = cable.ends
    unit, accepted.received = accepted.received, b""
    replica.node.received(dialled.link, unit[:cut_at], replica.now_ms)
    replica.turn()
    assert reader.ask("MGET", "a", "b") == [b"0", b"0"] and cut_at < len(unit)
    assert replication_of(replica).offset == before
    cable.cut()
    network.run(500)
    assert reader.ask("MGET", "a", "b") == [b"1", b"1"]
    assert replication_of(replica).offset == replication_of(master).offset


@pytest.mark.parametrize("cut_at", [*range(1, 82, 8), 82])
def test_half_a_unit_of_a_master_that_died_is_not_there_when_its_replica_leads(cut_at: int) -> None:
    network = Network()
    master, replica = network.add(7001), network.add(7002)
    follow(network, replica, 7001)
    client, reader = master.connect(), replica.connect()
    run(client, "MSET a 0 b 0")
    network.settle()
    run(client, "MULTI", "SET a 1", "SET b 1", "EXEC")
    [cable] = network.cables
    (_, dialled), (_, accepted) = cable.ends
    replica.node.received(dialled.link, accepted.received[:cut_at], replica.now_ms)
    replica.turn()
    network.kill(7001)
    assert reader.ask("REPLICAOF", "NO", "ONE") == OK
    assert reader.ask("MGET", "a", "b") == [b"0", b"0"]
    assert reader.ask("INCR", "a") == 1


def test_becoming_a_replica_inside_a_transaction_ends_the_unit_there() -> None:
    network = Network()
    master, replica = network.add(7001), network.add(7002)
    follow(network, replica, 7001)
    client = master.connect()
    run(client, "SET a 1")
    start = replication_of(master).offset
    client.ask("MULTI")
    run(client, "SET b 1", "SET c 1", "REPLICAOF 127.0.0.1 7002", "SET d 1")
    client.ask("EXEC")
    assert history(master, start)[:4] == ["MULTI", "SET b 1", "SET c 1", "EXEC"]


@pytest.mark.process
@pytest.mark.parametrize("kinds", PAIRS, ids="-to-".join)
def test_transactions_and_pops_arrive_on_real_replicas(kinds: tuple[str, str]) -> None:
    now = ["--repl-diskless-sync-delay", "0"]
    with SERVERS[kinds[0]](*now) as first, SERVERS[kinds[1]](*now) as second:
        master, popper, replica = first.connect(), first.connect(), second.connect()
        replica.ask("REPLICAOF", "127.0.0.1", first.port)
        deadline = time.monotonic() + PATIENCE_S
        while b"master_link_status:up" not in replica.ask("INFO", "replication"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        for number in range(20):
            popper.send(b"BLPOP l 0\r\nBRPOPLPUSH l m 0\r\nBZMPOP 0 1 z MIN COUNT 2\r\n")
            master.ask("MULTI")
            master.ask("INCR", "n")
            master.ask("RPUSH", "l", number, "b", "c")
            master.ask("SELECT", 1)
            master.ask("SET", "elsewhere", number)
            master.ask("SELECT", 0)
            master.ask("EXEC")
            master.ask("ZADD", "z", 1, "a", 2, "b", 3, f"c{number}")
            assert len([popper.read() for _ in range(3)]) == 3
        assert master.ask("WAIT", 1, PATIENCE_S * 1000) == 1
        for line in ("GET n", "LRANGE l 0 -1", "LRANGE m 0 -1", "ZRANGE z 0 -1", "SELECT 1", "GET elsewhere"):
            question = line.split()
            assert replica.ask(*question) == master.ask(*question)
        assert master.ask("SELECT", 0) == OK
