"""A history goes on where it was: after a cut, after a failover, after a restart, through chains."""

from tests.redoubt.replication.network import Network, dataset, follow, replication_of


def pair(*words):
    network = Network()
    master, replica = network.add(1, *words), network.add(2, *words)
    follow(network, replica, 1)
    return network, master, replica


def syncs(node):
    statistics = node.node.state.statistics
    return statistics.sync_full, statistics.sync_partial_ok, statistics.sync_partial_err


def test_a_new_replica_gets_a_full_copy_and_then_every_write():
    network = Network()
    master, replica = network.add(1), network.add(2)
    client = master.connect()
    client.ask("SET", "before", "1")
    client.ask("SET", "expiring", "x", "PXAT", master.now_ms + 60_000)
    client.ask("SELECT", 3)
    client.ask("SET", "in three", "3")
    follow(network, replica, 1)
    client.ask("APPEND", "in three", "33")
    client.ask("SELECT", 0)
    client.ask("INCR", "before")
    network.settle()
    assert dataset(replica) == dataset(master)
    assert dataset(replica)[(3, b"in three")] == (b"333", 0)
    assert replication_of(replica).offset == replication_of(master).offset
    assert replication_of(replica).replid == replication_of(master).replid
    assert syncs(master) == (1, 0, 0)


def test_a_cut_link_costs_only_what_was_missed():
    network, master, replica = pair()
    client = master.connect()
    client.ask("SET", "a", "1")
    network.settle()
    network.cables[0].cut()
    client.ask("SET", "b", "2")
    network.run(300)
    assert dataset(replica) == dataset(master)
    assert syncs(master) == (1, 1, 0)
    assert replication_of(replica).is_synced


def test_bytes_in_flight_when_the_link_breaks_are_asked_for_again():
    network, master, replica = pair()
    client = master.connect()
    network.cables[0].is_stuck = True
    client.ask("SET", "a", "1")
    lost = network.cables[0].ends[1][1].received
    assert b"SET" in lost
    # Half a command arrives before the link ends.
    source, end = network.cables[0].ends[0]
    source.node.received(end.link, lost[:-5], source.now_ms)
    network.cables[0].cut()
    network.cables.clear()
    network.run(300)
    assert dataset(replica) == dataset(master)
    assert syncs(master) == (1, 1, 0)


def test_more_missed_than_the_backlog_holds_needs_a_full_copy():
    network, master, replica = pair("--repl-backlog-size", "1000")
    network.closed.add(1)
    network.cables[0].cut()
    client = master.connect()
    for i in range(100):
        client.ask("SET", f"key {i}", "x" * 50)
    network.run(500)
    assert not replication_of(replica).link_is_up
    network.closed.clear()
    network.run(1500)
    assert dataset(replica) == dataset(master)
    assert syncs(master) == (2, 0, 1)


def test_siblings_continue_with_the_one_that_was_promoted():
    network = Network()
    master, first, second = network.add(1), network.add(2), network.add(3)
    follow(network, first, 1)
    follow(network, second, 1)
    master.connect().ask("SET", "a", "1")
    network.settle()
    network.kill(1)
    history = replication_of(first).replid
    first.connect().ask("REPLICAOF", "NO", "ONE")
    assert replication_of(first).replid2 == history
    first.connect().ask("SET", "b", "2")
    follow(network, second, 2)
    assert dataset(second) == dataset(first) == {(0, b"a"): (b"1", 0), (0, b"b"): (b"2", 0)}
    assert syncs(first) == (0, 1, 0)
    assert replication_of(second).replid == replication_of(first).replid
    assert replication_of(second).replid2 == history


def test_an_old_master_that_was_not_ahead_continues_with_its_successor():
    network, master, replica = pair()
    client = master.connect()
    client.ask("SET", "a", "1")
    network.settle()
    replica.connect().ask("REPLICAOF", "NO", "ONE")
    network.run(100)
    replica.connect().ask("SET", "b", "2")
    follow(network, master, 2)
    assert dataset(master) == dataset(replica)
    assert syncs(replica) == (0, 1, 0)


def test_an_old_master_that_was_ahead_copies_everything():
    network, master, replica = pair()
    client = master.connect()
    client.ask("SET", "a", "1")
    network.settle()
    network.cables[0].is_stuck = True
    client.ask("SET", "lost", "1")  # never reaches the replica
    replica.connect().ask("REPLICAOF", "NO", "ONE")
    replica.connect().ask("SET", "b", "2")
    network.cables[0].cut()
    network.cables.clear()
    follow(network, master, 2)
    assert dataset(master) == dataset(replica) == {(0, b"a"): (b"1", 0), (0, b"b"): (b"2", 0)}
    assert syncs(replica) == (1, 0, 1)


def test_a_chain_has_one_history():
    network = Network()
    master, middle, last = network.add(1), network.add(2), network.add(3)
    follow(network, middle, 1)
    follow(network, last, 2)
    client = master.connect()
    client.ask("SELECT", 5)
    for i in range(50):
        client.ask("SET", f"key {i}", i)
    network.settle()
    assert dataset(last) == dataset(master)
    offsets = {replication_of(node).offset for node in (master, middle, last)}
    assert len(offsets) == 1
    # The middle one dies; the last one goes on with the master from its own place.
    network.kill(2)
    client.ask("SET", "later", "1")
    last.connect().ask("REPLICAOF", "127.0.0.1", 1)
    network.run(500)
    assert dataset(last) == dataset(master)
    assert syncs(master) == (1, 1, 0)


def test_a_chain_survives_a_full_copy_in_its_middle():
    network = Network()
    _, middle, last = network.add(1), network.add(2), network.add(3)
    follow(network, middle, 1)
    follow(network, last, 2)
    other = network.add(4)
    other.connect().ask("SET", "other", "1")
    middle.connect().ask("REPLICAOF", "127.0.0.1", 4)
    network.run(3000)
    assert dataset(last) == dataset(middle) == dataset(other)


def test_a_replica_that_restarts_with_its_file_continues():
    network, master, replica = pair()
    client = master.connect()
    client.ask("SET", "a", "1")
    network.settle()
    replica.connect().ask("SAVE")
    files = dict(replica.files)
    network.kill(2)
    client.ask("SET", "b", "2")
    again = network.add(2, "--replicaof", "127.0.0.1", "1", files=files)
    network.run(500)
    assert dataset(again) == dataset(master)
    assert syncs(master) == (1, 1, 0)


def test_replicas_of_a_master_that_restarts_with_its_file_continue():
    network, master, replica = pair()
    master.connect().ask("SET", "a", "1")
    network.settle()
    master.connect().ask("SAVE")
    files = dict(master.files)
    network.kill(1)
    again = network.add(1, files=files)
    network.run(2000)
    assert dataset(again) == dataset(replica) == {(0, b"a"): (b"1", 0)}
    assert syncs(again) == (0, 1, 0)
    assert replication_of(replica).link_is_up


def test_a_lone_master_forgets_its_history_after_the_time_to_live():
    network, master, _ = pair("--repl-backlog-ttl", "5")
    before = replication_of(master).replid
    network.kill(2)
    master.advance(4000)
    assert replication_of(master).replid == before
    master.advance(2000)
    assert replication_of(master).replid != before
    assert replication_of(master).backlog is None
    assert not replication_of(master).is_feeding


def test_time_to_live_zero_keeps_the_history():
    network, master, _ = pair("--repl-backlog-ttl", "0")
    before = replication_of(master).replid
    network.kill(2)
    master.advance(3_600_000)
    assert replication_of(master).replid == before
    assert replication_of(master).is_feeding
