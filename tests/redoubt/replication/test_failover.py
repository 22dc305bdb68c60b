"""FAILOVER hands the role over without losing a write, and changes nothing when it cannot."""

import pytest

from redoubt import info
from redoubt.resp.replies import ErrorReply, SimpleString, encode_command
from tests.redoubt.harness import redis_process, server_process
from tests.redoubt.replication.network import Network, dataset, follow, replication_of
from tests.redoubt.replication.test_with_redis import NOW, caught_up, contents, information, until, write_some

OK = SimpleString(b"OK")
FORCE_ALONE = b"ERR FAILOVER with force option requires both a timeout and target HOST and IP."


def trio():
    network = Network()
    master, first, second = network.add(1), network.add(2), network.add(3)
    follow(network, first, 1)
    follow(network, second, 1)
    return network, master, first, second


def state_of(node):
    return dict(info.collect(node.node.state, "replication"))["master_failover_state"]


def test_the_replica_that_has_everything_takes_over_and_nothing_is_copied():
    network, master, first, second = trio()
    client = master.connect()
    client.ask("SET", "a", "1")
    assert client.ask("FAILOVER", "TO", "127.0.0.1", 3, "TIMEOUT", 5000) == OK
    assert state_of(master) == "waiting-for-sync"
    client.send(encode_command([b"SET", b"b", b"2"]))
    assert client.replies() == []
    network.run(1000)
    assert state_of(master) == "no-failover"
    # The write that was held back learns that it came to the wrong place.
    assert client.replies() == [ErrorReply(b"READONLY You can't write against a read only replica.")]
    assert not replication_of(second).is_replica
    assert replication_of(master).link_is_up
    second.connect().ask("SET", "c", "3")
    follow(network, first, 3)
    assert dataset(first) == dataset(master) == dataset(second)
    statistics = second.node.state.statistics
    assert (statistics.sync_full, statistics.sync_partial_ok) == (0, 2)
    # And back again, though nothing was written in between.
    second.connect().ask("FAILOVER", "TO", "127.0.0.1", 1)
    network.run(1000)
    assert not replication_of(master).is_replica
    second.connect()
    assert replication_of(second).link_is_up
    assert master.node.state.statistics.sync_full == 2


def test_a_replica_that_is_behind_is_waited_for_until_the_timeout():
    network, master, _, _ = trio()
    for cable in network.cables:
        cable.is_stuck = True
    client = master.connect()
    client.ask("SET", "a", "1")
    client.ask("FAILOVER", "TIMEOUT", 300)
    client.send(encode_command([b"SET", b"b", b"2"]))
    master.advance(250)
    assert client.replies() == []
    master.advance(100)
    assert client.replies() == [OK]
    assert state_of(master) == "no-failover"
    assert not replication_of(master).is_replica


def test_a_failover_can_be_called_off():
    network, master, _, _ = trio()
    for cable in network.cables:
        cable.is_stuck = True
    client = master.connect()
    client.ask("SET", "a", "1")
    client.ask("FAILOVER")
    assert client.ask("FAILOVER") == ErrorReply(b"ERR FAILOVER already in progress.")
    assert client.ask("FAILOVER", "ABORT") == OK
    assert client.ask("FAILOVER", "ABORT") == ErrorReply(b"ERR No failover in progress.")
    assert client.ask("SET", "b", "2") == OK


def test_force_hands_over_at_the_timeout_whatever_is_missing():
    network, master, first, _ = trio()
    network.cables[0].is_stuck = True
    client = master.connect()
    client.ask("SET", "a", "1")
    client.ask("FAILOVER", "TO", "127.0.0.1", 2, "FORCE", "TIMEOUT", 300)
    network.run(200)
    assert not replication_of(master).is_replica
    network.run(2000)
    assert replication_of(master).is_replica
    assert not replication_of(first).is_replica
    assert dataset(master) == dataset(first)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("TO", "127.0.0.1", "9"), b"ERR FAILOVER target HOST and PORT is not a replica."),
        (("TIMEOUT", "0"), b"ERR FAILOVER timeout must be greater than 0"),
        (("TO", "127.0.0.1", "2", "FORCE"), FORCE_ALONE),
        (("FORCE",), b"ERR syntax error"),
        (("TO", "127.0.0.1"), b"ERR syntax error"),
    ],
)  # fmt: skip
def test_wrong_arguments(words, text):
    _, master, _, _ = trio()
    assert master.connect().ask("FAILOVER", *words) == ErrorReply(text)


def test_only_a_master_with_replicas_can_hand_over():
    _, _, first, _ = trio()
    refusal = first.connect().ask("FAILOVER")
    assert refusal == ErrorReply(b"ERR FAILOVER is not valid when server is a replica.")
    alone = Network().add(1).connect()
    assert alone.ask("FAILOVER") == ErrorReply(b"ERR FAILOVER requires connected replicas.")
    assert alone.ask("PSYNC", "x", "1", "FAILOVER") == ErrorReply(
        b"ERR PSYNC FAILOVER can't be sent to a master."
    )


@pytest.mark.process
@pytest.mark.parametrize("ours_leads", [True, False])
def test_a_real_redis_hands_over_to_us_and_takes_over_from_us(ours_leads):
    with server_process(*NOW) as ours, redis_process(*NOW) as redis:
        first, second = (ours, redis) if ours_leads else (redis, ours)
        master, replica = first.connect(), second.connect()
        write_some(master, 1)
        replica.ask("REPLICAOF", "127.0.0.1", first.port)
        caught_up(master, replica)
        write_some(master, 2)
        assert master.ask("FAILOVER", "TIMEOUT", "5000") == OK
        until(lambda: information(replica)["role"] == "master", "the replica leads")
        until(lambda: information(master).get("master_link_status") == "up", "the master follows")
        write_some(replica, 3)
        caught_up(replica, master)
        assert contents(master) == contents(replica)
        assert information(replica, "stats")["sync_full"] == "0"
