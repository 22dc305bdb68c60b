"""Full copies: shared, sliced, bounded; what the replica has stays until the copy is complete."""

from random import Random

import pytest

from redoubt.replication.master import Master
from redoubt.resp.replies import ErrorReply, SimpleString
from tests.redoubt.replication.network import Network, dataset, follow, replication_of

KEYS = 5000


def fill(node, count=KEYS, size=100):
    keyspace = node.node.state.keyspaces[0]
    random = Random(7)
    for i in range(count):
        keyspace.set(b"key %d" % i, b"%d" % i + b"x" + random.randbytes(size))


def start_copy(network, replica, port):
    """Begin a full copy and stop in its middle."""
    replica.connect().ask("REPLICAOF", "127.0.0.1", port)
    network.settle()
    assert replication_of(replica).is_syncing


def test_writes_during_a_full_copy_are_neither_lost_nor_doubled():
    network = Network()
    master, replica = network.add(1), network.add(2)
    fill(master)
    client = master.connect()
    client.ask("SET", "counter", "0")
    start_copy(network, replica, 1)
    for i in range(200):
        client.ask("INCR", "counter")
        client.ask("APPEND", f"key {i * 20}", "tail")
        client.ask("DEL", f"key {i * 20 + 1}")
        network.run(10)
    network.run(500)
    assert replication_of(replica).is_synced
    assert dataset(replica) == dataset(master)
    assert dataset(replica)[(0, b"counter")] == (b"200", 0)


def test_a_flush_and_a_swap_during_a_full_copy_do_no_harm():
    network = Network()
    master, replica = network.add(1), network.add(2)
    fill(master)
    start_copy(network, replica, 1)
    client = master.connect()
    client.ask("SWAPDB", "0", "1")
    client.ask("SET", "new", "1")
    client.ask("SELECT", "1")
    client.ask("FLUSHDB")
    client.ask("SET", "newer", "1")
    network.run(1000)
    assert dataset(replica) == dataset(master) == {(0, b"new"): (b"1", 0), (1, b"newer"): (b"1", 0)}


def test_a_master_that_dies_in_the_middle_leaves_the_replica_what_it_had():
    network = Network()
    first, second, replica = network.add(1), network.add(2), network.add(3)
    fill(first, 100)
    fill(second)
    follow(network, replica, 1)
    had = dataset(replica)
    start_copy(network, replica, 2)
    assert not replication_of(replica).is_synced
    assert replica.connect().ask("GET", "key 1").startswith(b"1x")  # stale, but served
    network.kill(2)
    network.run(200)
    assert dataset(replica) == had
    assert replication_of(replica).is_synced
    assert replication_of(replica).replid == replication_of(first).replid
    # And it can still go on with the first one.
    first.connect().ask("SET", "later", "1")
    follow(network, replica, 1)
    assert dataset(replica) == dataset(first)
    assert first.node.state.statistics.sync_partial_ok == 1


def test_a_new_replica_does_not_answer_from_nothing():
    network = Network()
    master, replica = network.add(1), network.add(2)
    fill(master)
    start_copy(network, replica, 1)
    reply = replica.connect().ask("GET", "key 1")
    assert reply == ErrorReply(b"LOADING Redis is loading the dataset in memory")
    network.run(1000)
    assert replica.connect().ask("GET", "key 1").startswith(b"1x")


def test_without_room_for_both_the_old_dataset_goes_first():
    network = Network()
    first, second = network.add(1), network.add(2)
    replica = network.add(3, "--maxmemory", "1400000")
    fill(first)
    fill(second, 40_000)
    follow(network, replica, 1)
    start_copy(network, replica, 2)
    for _ in range(200):
        network.run(10)
        if len(replica.node.state.keyspaces[0]) == 0:
            break
    # The old is gone, the new is not there yet: nothing may be continued from here.
    assert replica.connect().ask("GET", "key 1") == ErrorReply(
        b"LOADING Redis is loading the dataset in memory"
    )
    network.kill(2)
    network.run(100)
    replication = replication_of(replica)
    assert not replication.is_synced
    assert replication.has_no_history()
    assert replication.replid != replication_of(first).replid
    follow(network, replica, 1)
    network.run(1000)
    assert dataset(replica) == dataset(first)


def test_a_copy_with_limit_completes_where_one_dataset_fits():
    network = Network()
    first, second = network.add(1), network.add(2)
    replica = network.add(3, "--maxmemory", "1400000")
    fill(first)
    fill(second)
    follow(network, replica, 1)
    replica.connect().ask("REPLICAOF", "127.0.0.1", 2)
    network.run(2000)
    assert dataset(replica) == dataset(second)


def test_replicas_that_ask_within_the_delay_share_one_copy():
    network = Network()
    master = network.add(1, "--repl-diskless-sync-delay", "1")
    replicas = [network.add(port) for port in (2, 3, 4)]
    fill(master)
    for replica in replicas:
        replica.connect().ask("REPLICAOF", "127.0.0.1", 1)
    network.run(900)
    assert [peer.state for peer in replication_of(master).master.peers] == ["wait_bgsave"] * 3
    network.run(110)
    assert len({id(peer.sync) for peer in replication_of(master).master.peers}) == 1
    assert len(replication_of(master).master.syncs[0].peers) == 3
    network.run(2000)
    for replica in replicas:
        assert dataset(replica) == dataset(master)


def test_a_replica_that_does_not_read_gets_no_further_slice():
    network = Network()
    master, replica = network.add(1), network.add(2)
    fill(master, 40_000)
    replica.connect().ask("REPLICAOF", "127.0.0.1", 1)
    network.settle()
    network.cables[0].ends[1][1].reads = False  # the master's end: what it sends piles up
    network.cables[0].is_stuck = True
    network.run(3000)
    (peer,) = replication_of(master).master.peers
    assert peer.unsent_bytes() < 1024 * 1024
    assert replication_of(master).master.syncs[0].snapshot.pending_bytes < 1024 * 1024


def test_a_replica_beyond_its_output_limit_is_dropped():
    network = Network()
    master, replica = network.add(1), network.add(2)
    limit = ["--client-output-buffer-limit", "replica", "2mb", "0", "0"]
    master = network.add(1, *limit)
    fill(master, 10_000)
    replica.connect().ask("REPLICAOF", "127.0.0.1", 1)
    network.settle()
    network.cables[0].ends[1][1].reads = False
    network.cables[0].is_stuck = True
    client = master.connect()
    for i in range(60):
        client.ask("SET", f"big {i}", "x" * 50_000)
    master.advance(200)
    assert replication_of(master).master.peers == []
    assert replication_of(master).master.syncs == []
    assert master.node.state.keyspaces[0].snapshots == []
    assert master.node.state.statistics.output_limit_disconnections == 1


def test_a_full_copy_that_stands_still_is_given_up():
    network = Network()
    master, replica = network.add(1, "--repl-timeout", "5"), network.add(2)
    fill(master, 40_000)
    replica.connect().ask("REPLICAOF", "127.0.0.1", 1)
    network.settle()
    network.cables[0].ends[1][1].reads = False
    network.cables[0].is_stuck = True
    master.advance(4000)
    assert len(replication_of(master).master.peers) == 1
    master.advance(2000)
    assert replication_of(master).master.peers == []


def test_sync_without_mark_gets_the_size_first():
    network = Network()
    master = network.add(1)
    fill(master, 10)
    tool = master.connect()
    tool.send(b"SYNC\r\n")
    master.advance(200)
    head, _, payload = tool.received.partition(b"\r\n")
    assert head.lstrip(b"\n") == b"$%d" % len(payload)
    assert payload.startswith(b"REDIS0010")
    # The history follows at once: such a client acknowledges nothing.
    master.connect().ask("SET", "a", "1")
    assert tool.received.endswith(b"$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n")


def test_a_client_that_wants_only_the_snapshot_gets_only_that():
    network = Network()
    master = network.add(1)
    fill(master, 10)
    tool = master.connect()
    assert tool.ask("REPLCONF", "capa", "eof", "rdb-only", "1") == SimpleString(b"OK")
    tool.received = b""
    tool.send(b"PSYNC ? -1\r\n")
    master.advance(200)
    first, second, rest = tool.received.split(b"\r\n", 2)
    assert first.startswith(b"+FULLRESYNC ")
    assert second.startswith(b"$EOF:")
    assert rest.endswith(second[5:])
    before = tool.received
    tool.send(b"REPLCONF ACK 0\r\n")
    master.connect().ask("SET", "a", "1")
    master.advance(20_000)
    assert tool.received == before


def test_a_lost_replica_releases_the_snapshot():
    network = Network()
    master, replica = network.add(1), network.add(2)
    fill(master)
    start_copy(network, replica, 1)
    assert master.node.state.keyspaces[0].snapshots
    network.kill(2)
    assert master.node.state.keyspaces[0].snapshots == []
    assert isinstance(replication_of(master).master, Master)
    assert replication_of(master).master.syncs[0].is_over
    master.advance(100)
    assert replication_of(master).master.syncs == []


@pytest.mark.parametrize("delay", ["0", "1"])
def test_two_replicas_one_after_the_other_each_get_their_copy(delay):
    network = Network()
    master = network.add(1, "--repl-diskless-sync-delay", delay)
    first, second = network.add(2), network.add(3)
    fill(master)
    client = master.connect()
    first.connect().ask("REPLICAOF", "127.0.0.1", 1)
    network.run(20)
    client.ask("SET", "between", "1")
    second.connect().ask("REPLICAOF", "127.0.0.1", 1)
    network.run(20)
    client.ask("SELECT", "2")
    client.ask("SET", "after", "1")
    network.run(3000)
    assert dataset(first) == dataset(second) == dataset(master)
    assert replication_of(first).offset == replication_of(second).offset == replication_of(master).offset
