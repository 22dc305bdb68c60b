"""Whole clusters without processes and outside managed mode: several nodes on a fake network and clock.

What needs more than one real node stands here: that views converge, that deaths, moves, forgetting and
planned failovers reach everybody. Managed mode has its own properties in `tests/sim`.
"""

from __future__ import annotations

from random import Random

import pytest

from redoubt.cluster import topology as flag
from redoubt.cluster.cluster import Cluster
from redoubt.resp.replies import ErrorReply, SimpleString
from tests.sim.shards import Client
from tests.sim.world import CLIENT_PORT, World

TIMEOUT_MS = 3000
OK = SimpleString(b"OK")


class Net:
    """A plain cluster: `masters` share the slots, each with `replicas`."""

    def __init__(self, masters: int, replicas: int, seed: int = 1, **config: str) -> None:
        self.world = World(seed)
        self.client = Client(self.world)
        self.masters = [f"10.0.0.{at + 1}" for at in range(masters)]
        self.replicas = {
            master: [f"10.0.{copy + 1}.{at + 1}" for copy in range(replicas)]
            for at, master in enumerate(self.masters)
        }
        for address in self.addresses():
            self.world.add(
                address, cluster_node_timeout=str(TIMEOUT_MS), repl_diskless_sync_delay="0",
                protected_mode="no", **config,
            )  # fmt: skip
        self.world.run(10)
        for at, master in enumerate(self.masters):
            self.ask(master, "CLUSTER", "SET-CONFIG-EPOCH", at + 1)
            first, last = 16384 * at // masters, 16384 * (at + 1) // masters - 1
            self.ask(master, "CLUSTER", "ADDSLOTSRANGE", first, last)
        for address in self.addresses()[1:]:
            assert self.ask(self.masters[0], "CLUSTER", "MEET", address, CLIENT_PORT) == OK
        self.until(lambda: all(self.knows_all(address) for address in self.addresses()))
        for master, copies in self.replicas.items():
            for copy in copies:
                assert self.ask(copy, "CLUSTER", "REPLICATE", self.node_id(master)) == OK
        self.until(lambda: all(self.is_settled(address) for address in self.addresses()))

    def addresses(self) -> list[str]:
        return self.masters + [copy for copies in self.replicas.values() for copy in copies]

    def ask(self, address: str, *words: str | int) -> object:
        return self.client.ask(address, *words)

    def cluster(self, address: str) -> Cluster:
        node = self.world.hosts[address].node
        assert node is not None
        assert isinstance(node.state.cluster, Cluster)
        return node.state.cluster

    def node_id(self, address: str) -> str:
        return self.cluster(address).topology.myself.node_id

    def knows_all(self, address: str) -> bool:
        nodes = self.cluster(address).topology.nodes
        return len(nodes) == len(self.addresses()) and all(node.is_known for node in nodes.values())

    def is_settled(self, address: str) -> bool:
        cluster = self.cluster(address)
        is_linked = cluster.topology.myself.is_master or cluster.state.replication.link_is_up
        copies = sum(len(node.replicas) for node in cluster.topology.nodes.values())
        return (
            cluster.availability.is_ok and is_linked and copies == len(self.addresses()) - len(self.masters)
        )

    def until(self, condition: object, limit_ms: int = 20_000) -> int:
        assert callable(condition)
        return self.world.run_until(condition, limit_ms)

    def running(self) -> list[str]:
        return [address for address in self.world.hosts if self.world.hosts[address].node is not None]

    def everybody_sees(self, node_id: str, flags: int) -> bool:
        """Say whether every running node has these flags for a node."""
        views = [self.cluster(address).topology.find(node_id) for address in self.running()]
        return all(view is not None and view.flags & flags == flags for view in views)

    def maps(self) -> set[tuple[str | None, ...]]:
        """Give the different slot maps there are."""
        maps = set()
        for address in self.running():
            owners = self.cluster(address).topology.owners
            maps.add(tuple(None if owner is None else owner.node_id for owner in owners))
        return maps


@pytest.mark.parametrize("seed", range(4))
def test_views_converge(seed: int) -> None:
    net = Net(3, 1, seed)
    net.until(lambda: len(net.maps()) == 1)
    epochs = [net.cluster(master).topology.myself.config_epoch for master in net.masters]
    assert len(set(epochs)) == 3


@pytest.mark.parametrize("seed", range(4))
def test_a_death_is_agreed_on_and_healed_in_a_few_round_trips(seed: int) -> None:
    net = Net(3, 1, seed)
    victim = net.masters[0]
    dead, heir = net.node_id(victim), net.replicas[victim][0]
    net.world.kill(victim)
    assert net.until(lambda: net.everybody_sees(dead, flag.FAILED)) <= 50
    assert net.until(lambda: net.cluster(heir).topology.myself.is_voter) <= 120
    net.until(lambda: len(net.maps()) == 1)
    net.world.start(victim)
    net.until(lambda: net.cluster(victim).topology.myself.master is not None)
    net.until(lambda: all(not node.is_suspected for node in net.cluster(heir).topology.nodes.values()))


def test_of_two_replicas_the_one_with_all_the_data_takes_over() -> None:
    net = Net(3, 2)
    master = net.masters[0]
    near, far = net.replicas[master]
    net.world.cut(master, far)
    assert net.ask(master, "SET", "bar{3}", "1") is not None
    net.world.run(1500)
    net.world.kill(master)
    net.until(lambda: net.cluster(near).topology.myself.is_voter, 5000)
    assert net.cluster(far).topology.myself.is_replica
    net.world.heal()
    net.until(lambda: net.cluster(far).topology.myself.master is not None)
    net.until(lambda: net.cluster(far).state.replication.link_is_up)


def test_a_partitioned_master_is_replaced_after_the_timeout_and_follows_when_healed() -> None:
    net = Net(3, 1)
    victim = net.masters[1]
    old, heir = net.node_id(victim), net.replicas[victim][0]
    for address in net.addresses():
        if address != victim:
            net.world.cut(victim, address)
    took_ms = net.until(lambda: net.cluster(heir).topology.myself.is_voter)
    assert TIMEOUT_MS <= took_ms <= 3 * TIMEOUT_MS
    reply = net.client.ask(victim, "SET", "hello{7}", "1", limit_ms=500)
    assert reply is None or isinstance(reply, ErrorReply)
    net.world.heal()
    net.until(lambda: net.cluster(victim).topology.myself.master is not None)
    net.until(lambda: len(net.maps()) == 1 and net.everybody_sees(old, flag.REPLICA), 5_000)


def test_a_pod_that_comes_back_empty_at_the_same_address_is_not_its_old_self() -> None:
    net = Net(3, 1)
    victim = net.masters[0]
    old, heir = net.node_id(victim), net.replicas[victim][0]
    net.world.kill(victim)
    net.world.lose_disk(victim)
    net.world.start(victim)
    assert net.until(lambda: net.cluster(heir).topology.myself.is_voter) <= 500
    assert net.node_id(victim) != old


def test_a_node_that_restarts_at_another_address_is_found_again_by_its_id() -> None:
    net = Net(3, 0)
    old, new = net.masters[2], "10.0.9.9"
    node_id = net.node_id(old)
    net.world.kill(old)
    net.world.add(new, cluster_node_timeout=str(TIMEOUT_MS), protected_mode="no")
    net.world.kill(new)
    net.world.hosts[new].disk = net.world.hosts.pop(old).disk
    net.world.start(new)
    assert net.node_id(new) == node_id

    def is_found() -> bool:
        views = [net.cluster(address).topology.find(node_id) for address in net.running()]
        return all(view is not None and view.ip == new and not view.is_suspected for view in views)

    net.until(is_found)
    net.until(lambda: all(net.cluster(address).availability.is_ok for address in net.running()))


def test_forgetting_on_one_node_reaches_all_of_them() -> None:
    net = Net(3, 1)
    gone = net.replicas[net.masters[0]][0]
    gone_id = net.node_id(gone)
    net.world.kill(gone)
    net.world.run(500)
    assert net.ask(net.masters[1], "CLUSTER", "FORGET", gone_id) == OK
    net.until(lambda: all(net.cluster(a).topology.find(gone_id) is None for a in net.running()))
    net.world.run(5_000)
    assert all(net.cluster(address).topology.find(gone_id) is None for address in net.running())


@pytest.mark.parametrize("way", ["", "FORCE", "TAKEOVER"])
def test_a_planned_failover_reaches_everybody(way: str) -> None:
    net = Net(3, 1)
    master = net.masters[0]
    heir = net.replicas[master][0]
    net.ask(master, "SET", "hello{2}", "1")
    net.world.run(100)
    began_ms = net.world.now_ms
    assert net.ask(heir, "CLUSTER", "FAILOVER", *([way] if way else [])) == OK
    net.until(lambda: net.cluster(master).topology.myself.is_replica)
    assert net.world.now_ms - began_ms <= 100
    net.until(lambda: len(net.maps()) == 1)
    net.until(lambda: net.cluster(master).state.replication.link_is_up)


def test_a_manual_failover_of_a_lone_shard_works() -> None:
    net = Net(1, 1)
    heir = net.replicas[net.masters[0]][0]
    assert net.ask(heir, "CLUSTER", "FAILOVER") == OK
    net.until(lambda: net.cluster(heir).topology.myself.is_voter)


def test_equal_epochs_are_told_apart() -> None:
    net = Net(2, 0)
    first, second = (net.cluster(master) for master in net.masters)
    second.topology.myself.config_epoch = first.topology.myself.config_epoch
    for cluster in (first, second):
        for node in cluster.topology.nodes.values():
            node.config_epoch = first.topology.myself.config_epoch
    net.until(lambda: first.topology.myself.config_epoch != second.topology.myself.config_epoch)


def test_after_a_restart_of_all_at_new_addresses_one_node_that_meets_all_heals_the_cluster() -> None:
    net = Net(3, 1)
    ids = {address: net.node_id(address) for address in net.addresses()}
    for address in net.addresses():
        net.world.kill(address)
    moved = {old: old.replace("10.0.", "10.7.") for old in net.addresses()}
    for old, new in moved.items():
        net.world.add(
            new, cluster_node_timeout=str(TIMEOUT_MS), protected_mode="no", repl_diskless_sync_delay="0"
        )
        net.world.kill(new)
        net.world.hosts[new].disk = net.world.hosts.pop(old).disk
        net.world.start(new)
    net.world.run(5000)
    first = moved[net.masters[0]]
    for new in moved.values():
        assert net.ask(first, "CLUSTER", "MEET", new, CLIENT_PORT) == OK

    def is_healed() -> bool:
        for viewer in net.running():
            nodes = net.cluster(viewer).topology.nodes
            if not net.cluster(viewer).availability.is_ok or len(nodes) != 6:
                return False
            for old, new in moved.items():
                if nodes[ids[old]].ip != new or nodes[ids[old]].is_suspected:
                    return False
        return True

    net.until(is_healed, 15_000)
    # Who was silent too long has been replaced; but each shard still has its two members.
    nodes = net.cluster(first).topology.nodes
    assert sorted(len(node.replicas) for node in nodes.values() if node.slots) == [1, 1, 1]


def owners_by_epoch(net: Net, seen: dict[tuple[int, int], str]) -> None:
    """Assert that under one config epoch a slot never has two owners who claim it themselves."""
    for address in net.running():
        myself = net.cluster(address).topology.myself
        if myself.is_master and myself.slots:
            lowest = (myself.slots & -myself.slots).bit_length() - 1
            owner = seen.setdefault((lowest, myself.config_epoch), myself.node_id)
            assert owner == myself.node_id, f"slot {lowest} has two owners in epoch {myself.config_epoch}"


@pytest.mark.parametrize("seed", range(8))
def test_after_any_faults_all_views_agree_again(seed: int) -> None:
    net = Net(3, 1, seed)
    chance = Random(seed)
    seen: dict[tuple[int, int], str] = {}
    net.world.watchers.append(lambda world: owners_by_epoch(net, seen))
    for _ in range(8):
        victim = chance.choice(net.addresses())
        kind = chance.choice(["kill", "freeze", "cut"])
        duration_ms = chance.choice([50, 400, 2500, 7000])
        if kind == "kill":
            net.world.kill(victim)
        elif kind == "freeze":
            net.world.freeze(victim)
        else:
            for other in chance.sample(net.addresses(), chance.randint(1, 5)):
                net.world.cut(victim, other)
        net.world.run(duration_ms)
        if kind == "kill":
            net.world.start(victim)
        elif kind == "freeze":
            net.world.thaw(victim)
        else:
            net.world.heal()
        net.world.run(chance.choice([0, 100, 3000]))

    def agrees() -> bool:
        if len(net.maps()) != 1:
            return False
        views = [net.cluster(address) for address in net.running()]
        return all(view.availability.is_ok and not view.watch.is_in_doubt for view in views)

    net.until(agrees, 30_000)
