"""In a cluster: the epoch travels with the data, own writes are kept, a suspicious copy is refused."""

from redoubt.hooks import ClusterHook
from redoubt.persist.rdb_read import RdbReader
from tests.redoubt.persist.test_snapshot import Contents
from tests.redoubt.replication.network import Network, dataset, follow, replication_of


class Open(ClusterHook):
    """A cluster that routes nothing and trusts everybody, or nobody."""

    def __init__(self, trusts=True):
        self.trusts = trusts
        self.offered = []

    def refusal(self, ctx, row, argv):
        return None

    def may_full_sync(self, replid, replid2, offset):
        self.offered.append((replid, replid2, offset))
        return self.trusts


def attach(network, node, port):
    """Follow as the cluster does it: REPLICAOF is refused there."""
    replication_of(node).follow("127.0.0.1", port, node.now_ms)
    node.turn()
    network.run(1000)


def trio():
    network = Network()
    nodes = [network.add(port) for port in (1, 2, 3)]
    for node in nodes:
        node.node.state.cluster = Open()
    return network, *nodes


def test_the_epoch_comes_with_a_full_copy():
    network, master, replica, _ = trio()
    replication_of(master).set_data_epoch(7)
    attach(network, replica, 1)
    assert replication_of(replica).data_epoch == 7


def test_a_new_epoch_comes_with_the_history_at_its_place():
    network, master, replica, last = trio()
    attach(network, replica, 1)
    attach(network, last, 2)
    client = master.connect()
    client.ask("SET", "a", "1")
    replication_of(master).set_data_epoch(8)
    assert replication_of(replica).data_epoch == 0
    client.ask("SET", "b", "1")
    network.settle()
    assert [replication_of(node).data_epoch for node in (replica, last)] == [8, 8]
    assert dataset(last) == dataset(master)


def test_a_new_epoch_comes_with_a_partial_resync():
    network, master, replica, sibling = trio()
    attach(network, replica, 1)
    attach(network, sibling, 1)
    master.connect().ask("SET", "a", "1")
    network.settle()
    network.kill(1)
    replication_of(replica).lead(replica.now_ms)
    replication_of(replica).set_data_epoch(9)
    attach(network, sibling, 2)
    assert replication_of(sibling).data_epoch == 9
    assert replica.node.state.statistics.sync_partial_ok == 1


def test_the_epoch_survives_a_restart_with_the_file():
    network, master, _, _ = trio()
    replication_of(master).set_data_epoch(7)
    master.connect().ask("SET", "a", "1")
    master.connect().ask("SAVE")
    again = network.add(4, files=dict(master.files))
    assert replication_of(again).data_epoch == 7


def test_own_writes_are_kept_before_a_full_copy_replaces_them():
    network, old, new, _ = trio()
    attach(network, new, 1)
    replication_of(old).set_data_epoch(5)
    old.connect().ask("SET", "shared", "1")
    network.settle()
    network.cables[0].is_stuck = True
    old.connect().ask("SET", "only here", "2")
    replication_of(new).lead(new.now_ms)
    replication_of(new).set_data_epoch(6)
    new.connect().ask("SET", "there", "3")
    network.cables[0].cut()
    network.cables.clear()
    attach(network, old, 2)
    assert dataset(old) == dataset(new)
    replication = replication_of(old)
    assert replication.diverged == "diverged-5.rdb"
    assert replication.data_epoch == 6
    sink = Contents()
    reader = RdbReader("diverged", sink)
    reader.feed(old.files["/data/diverged-5.rdb"])
    while reader.advance(100):
        pass
    reader.finish()
    assert sink.databases == {0: {b"shared": (b"1", 0), b"only here": (b"2", 0)}}


def test_only_one_such_file_is_kept():
    network, old, new, _ = trio()
    for epoch in (5, 6):
        replication_of(old).lead(old.now_ms)
        replication_of(old).set_data_epoch(epoch)
        old.connect().ask("SET", "only here", epoch)
        new.connect().ask("SET", "there", epoch)
        attach(network, old, 2)
        assert replication_of(old).diverged == f"diverged-{epoch}.rdb"
    assert [path for path in old.files if "diverged" in path] == ["/data/diverged-6.rdb"]


def test_nothing_is_kept_beyond_its_limit():
    network = Network()
    old, new = network.add(1, "--diverged-size-max", "1000"), network.add(2)
    for node in (old, new):
        node.node.state.cluster = Open()
    for i in range(100):
        old.connect().ask("SET", f"key {i}", f"value {i}" * 5)
    attach(network, old, 2)
    assert replication_of(old).link_is_up
    assert replication_of(old).diverged == ""
    assert old.files == {}
    assert old.pieces == {}


def test_a_copy_of_a_copy_is_not_kept():
    network, master, replica, other = trio()
    master.connect().ask("SET", "a", "1")
    attach(network, replica, 1)
    attach(network, replica, 3)
    assert dataset(replica) == dataset(other) == {}
    assert replica.files == {}


def test_outside_a_cluster_nothing_is_kept():
    network = Network()
    old = network.add(1)
    network.add(2)
    old.connect().ask("SET", "a", "1")
    follow(network, old, 2)
    assert dataset(old) == {}
    assert old.files == {}


def test_a_refused_copy_leaves_everything_as_it_was():
    network, master, replica, _ = trio()
    master.connect().ask("SET", "a", "1")
    attach(network, replica, 1)
    history = replication_of(replica).replid
    network.kill(1)
    hook = Open(trusts=False)
    replica.node.state.cluster = hook
    empty = network.add(1)
    network.run(3000)
    assert dataset(replica) == {(0, b"a"): (b"1", 0)}
    assert replication_of(replica).replid == history
    assert replication_of(replica).is_synced
    offered = {replid for replid, _, _ in hook.offered}
    assert history not in offered
    assert all(len(replid2) == 40 for _, replid2, _ in hook.offered)
    hook.trusts = True
    network.run(2000)
    assert dataset(replica) == dataset(empty) == {}


def test_a_kept_file_is_reported_after_a_restart_and_older_ones_go():
    files = {
        f"/data/{name}": b"x" for name in ("diverged-9.rdb", "diverged-10.rdb", "diverged-x.rdb", "dump.txt")
    }
    node = Network().add(1, "--cluster-enabled", "yes", files=files)
    assert replication_of(node).diverged == "diverged-10.rdb"
    assert {path for path in node.files if "rdb" in path} == {"/data/diverged-10.rdb", "/data/diverged-x.rdb"}
