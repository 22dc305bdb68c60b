"""Writes under maxmemory wait for a full copy before it takes more memory than there is."""

from redoubt.replication.sync_memory import SILENCE_MAX_MS
from redoubt.resp.replies import OK
from tests.redoubt.replication.network import Network, dataset, replication_of
from tests.redoubt.replication.test_full_copy import fill

COUNT = 40_000
MAXMEMORY = 10_000_000  # its unused part is the bound:
BOUND = 2_200_000


def copying(*words):
    """A master full of data and the replica that is copying it; all keys count, nothing is evicted."""
    network = Network()
    master, replica = network.add(1, *words), network.add(2)
    fill(master, COUNT)
    replica.connect().ask("REPLICAOF", "127.0.0.1", 1)
    network.settle()
    assert replication_of(replica).is_syncing
    return network, master, replica


def storm(client, number):
    """One pipeline of writes all over the keys; replies come when they come."""
    words = [(b"key %d" % (key % COUNT), b"%d" % number) for key in range(number, number + 500 * 79, 79)]
    client.send(
        b"".join(b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n" % (len(k), k, len(v), v) for k, v in words)
    )
    return len(words)


def held(master):
    return sum(peer.held_for_copy_bytes() for peer in replication_of(master).master.peers)


def test_a_storm_of_writes_waits_for_the_copy_and_loses_nothing():
    network, master, replica = copying("--maxmemory", str(MAXMEMORY))
    clients = [master.connect() for _ in range(20)]
    most, waited = 0, 0
    for number, client in enumerate(clients):
        storm(client, number)
        most = max(most, held(master))
        waited += client.session.is_blocked
    network.run(3000)
    assert replication_of(replica).is_synced
    assert waited > 0
    assert most < BOUND + 50_000  # one bucket beyond it
    for client in clients:
        assert client.replies() == [OK] * 500
    assert dataset(replica) == dataset(master)
    assert "full sync" not in master.node.state.blocking.pauses


def test_reads_go_on_while_writes_wait():
    network, master, _ = copying("--maxmemory", str(MAXMEMORY))
    network.cables[0].ends[1][1].reads = False
    network.cables[0].is_stuck = True
    for number in range(4):
        storm(master.connect(), number)
        network.run(10)
    assert "full sync" in master.node.state.blocking.pauses
    assert master.connect().ask("GET", "no such key") is None


def test_a_replica_that_takes_nothing_is_not_waited_for():
    network, master, _ = copying("--maxmemory", str(MAXMEMORY))
    network.cables[0].ends[1][1].reads = False
    network.cables[0].is_stuck = True
    for number in range(4):
        storm(master.connect(), number)
        network.run(10)
    client = master.connect()
    client.send(b"*3\r\n$3\r\nSET\r\n$3\r\nnew\r\n$1\r\n1\r\n")
    assert client.replies() == []
    master.advance(SILENCE_MAX_MS + 500)
    assert replication_of(master).master.peers == []
    assert len(client.replies()) == 1


def test_without_a_limit_writes_never_wait():
    network, master, _ = copying()
    network.cables[0].ends[1][1].reads = False
    network.cables[0].is_stuck = True
    for number in range(4):
        assert storm(client := master.connect(), number) == len(client.replies())
        network.run(10)
    assert master.node.state.blocking.pauses == {}
