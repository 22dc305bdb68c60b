"""Real processes: Redis's own tools and clients on a cluster of ours, and clusters mixed with real Redis.

What is proved: `redis-cli --cluster create` and `check`, redis-py's RedisCluster, gossip and slots seen alike
on both kinds of nodes, and failover in both directions: a real replica succeeds our master, ours succeeds a
real one, both in time that depends on Redis's own timers (no bar here).
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from redis.cluster import ClusterNode, RedisCluster

from bench.ports import free_port
from tests.redoubt.harness import ServerProcess, redis_process, server_process

pytestmark = pytest.mark.process

TIMEOUT_MS = 2000
PATIENCE_S = 40.0
CLUSTER = (
    "--cluster-enabled", "yes", "--cluster-node-timeout", str(TIMEOUT_MS), "--repl-diskless-sync-delay", "0",
    "--bind", "127.0.0.1",
)  # fmt: skip


class Nodes:
    """The processes of one cluster."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.all: list[ServerProcess] = []

    def start(self, *kinds: str) -> None:
        """Start a process for each kind, `ours` or `real`."""
        for kind in kinds:
            words = (*CLUSTER, "--cluster-port", str(free_port()))
            make = server_process if kind == "ours" else redis_process
            self.all.append(self.stack.enter_context(make(*words)))

    def ask(self, at: int, *words: str | int) -> Any:
        connection = self.all[at].connect()
        try:
            return connection.ask(*words)
        finally:
            connection.close()

    def node_id(self, at: int) -> str:
        return str(self.ask(at, "CLUSTER", "MYID").decode())

    def lines(self, at: int) -> dict[str, list[str]]:
        """Read CLUSTER NODES: words by node id."""
        text = self.ask(at, "CLUSTER", "NODES").decode()
        return {line.split()[0]: line.split() for line in text.splitlines()}

    def is_ok(self, at: int) -> bool:
        return b"cluster_state:ok" in self.ask(at, "CLUSTER", "INFO")

    def meet(self, masters: int) -> None:
        """Make a cluster of all processes: the first `masters` share the slots, the others know them."""
        for at in range(masters):
            first, last = 16384 * at // masters, 16384 * (at + 1) // masters - 1
            self.ask(at, "CLUSTER", "SET-CONFIG-EPOCH", at + 1)
            self.ask(at, "CLUSTER", "ADDSLOTSRANGE", first, last)
        for node in self.all[1:]:
            self.ask(0, "CLUSTER", "MEET", "127.0.0.1", node.port, self.bus_port(node))
        everyone = range(len(self.all))
        until(lambda: all(len(self.lines(at)) == len(self.all) for at in everyone), "all have met")
        until(lambda: all(self.is_ok(at) for at in everyone), "all are ok")

    def bus_port(self, node: ServerProcess) -> int:
        return int(node.command[node.command.index("--cluster-port") + 1])

    def follow(self, replica: int, master: int) -> None:
        """Make one a replica of another and wait for the first sync."""
        master_id = self.node_id(master)
        until(lambda: master_id in self.lines(replica), "the master is known")
        assert self.ask(replica, "CLUSTER", "REPLICATE", master_id).text == b"OK"
        until(lambda: b"master_link_status:up" in self.ask(replica, "INFO", "replication"), "in sync")
        replica_id = self.node_id(replica)
        running = [at for at in range(len(self.all)) if self.all[at].process.poll() is None]
        until(lambda: all(self.lines(at)[replica_id][3] == master_id for at in running), "all know it")

    def write(self, at: int, count: int) -> dict[str, str]:
        """Write keys through a cluster client and wait until they are on a replica."""
        client = RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", self.all[at].port)])
        written = {f"key:{number}": str(number) for number in range(count)}
        for key, value in written.items():
            client.set(key, value)
        client.close()
        return written

    def read(self, at: int, written: dict[str, str]) -> dict[str, str]:
        start = [ClusterNode("127.0.0.1", self.all[at].port)]
        client = RedisCluster(startup_nodes=start, decode_responses=True)
        found = {key: str(client.get(key)) for key in written}
        client.close()
        return found


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S} s: {what}"
        time.sleep(0.05)


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with ExitStack() as stack:
        yield Nodes(stack)


def test_redis_cli_creates_and_checks_and_redis_py_uses_a_cluster(nodes: Nodes) -> None:
    words = ("--cluster-enabled", "yes", "--cluster-node-timeout", str(TIMEOUT_MS))
    for _ in range(6):
        nodes.all.append(nodes.stack.enter_context(server_process(*words)))
    addresses = [f"127.0.0.1:{node.port}" for node in nodes.all]
    cli(["--cluster", "create", *addresses, "--cluster-replicas", "1", "--cluster-yes"])
    until(lambda: all(nodes.is_ok(at) for at in range(6)), "all are ok")
    checked = cli(["--cluster", "check", addresses[3]])
    assert "All 16384 slots covered" in checked
    assert "All nodes agree about slots configuration" in checked
    assert "3 masters" in cli(["--cluster", "info", addresses[0]])
    written = nodes.write(5, 200)
    assert nodes.read(4, written) == written
    pipeline = RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", nodes.all[0].port)])
    assert pipeline.mset_nonatomic(written)
    pipeline.close()
    assert cli(["-c", "-p", str(nodes.all[0].port), "SET", "foo", "value"]).strip() == "OK"
    assert cli(["-c", "-p", str(nodes.all[1].port), "GET", "foo"]).strip() == "value"


def test_redis_cli_moves_slots_and_closes_open_ones(nodes: Nodes) -> None:
    for _ in range(3):
        words = ("--cluster-enabled", "yes", "--cluster-node-timeout", str(TIMEOUT_MS))
        nodes.all.append(nodes.stack.enter_context(server_process(*words)))
    addresses = [f"127.0.0.1:{node.port}" for node in nodes.all]
    cli(["--cluster", "create", *addresses, "--cluster-yes"])
    until(lambda: all(nodes.is_ok(at) for at in range(3)), "all are ok")
    first, last = nodes.node_id(0), nodes.node_id(2)
    reshard = ["--cluster-from", first, "--cluster-to", last, "--cluster-slots", "50", "--cluster-yes"]
    cli(["--cluster", "reshard", addresses[1], *reshard])
    until(lambda: nodes.lines(1)[last][8:] == ["0-49", "10923-16383"], "the map is everywhere")
    assert nodes.ask(0, "CLUSTER", "SETSLOT", 5000, "MIGRATING", last).text == b"OK"
    cli(["--cluster", "fix", addresses[1]])
    assert "[5000->-" not in " ".join(nodes.lines(0)[first])
    cli(["--cluster", "rebalance", addresses[1], "--cluster-threshold", "0"])
    until(lambda: "All nodes agree" in cli(["--cluster", "check", addresses[2]]), "all agree")


def test_a_killed_master_of_ours_is_replaced_and_comes_back_as_a_replica(nodes: Nodes) -> None:
    nodes.start("ours", "ours", "ours", "ours")
    nodes.meet(3)
    nodes.follow(3, 0)
    written = nodes.write(1, 200)
    old, new = nodes.node_id(0), nodes.node_id(3)
    until(lambda: nodes.ask(3, "DBSIZE") == nodes.ask(0, "DBSIZE"), "copied")
    nodes.all[0].kill()
    killed = time.monotonic()
    until(lambda: "master" in nodes.lines(1)[new][2] and nodes.is_ok(1), "replaced")
    assert time.monotonic() - killed < TIMEOUT_MS / 1000  # long before the node timeout
    assert nodes.read(1, written) == written
    nodes.all[0].start()
    until(lambda: "slave" in nodes.lines(0)[old][2] and nodes.lines(0)[old][3] == new, "a replica now")
    until(lambda: b"master_link_status:up" in nodes.ask(0, "INFO", "replication"), "in sync")


def test_a_real_replica_takes_over_from_our_master_and_ours_from_it(nodes: Nodes) -> None:
    nodes.start("ours", "real", "ours", "real")
    nodes.meet(3)
    nodes.follow(3, 0)
    ours, real = nodes.node_id(0), nodes.node_id(3)
    written = nodes.write(1, 200)
    until(lambda: nodes.ask(3, "DBSIZE") == nodes.ask(0, "DBSIZE"), "copied")
    slots = {at: nodes.ask(at, "CLUSTER", "SLOTS") for at in range(4)}
    shown = {at: [[row[0], row[1], row[2][1]] for row in reply] for at, reply in slots.items()}
    assert all(rows == shown[0] for rows in shown.values())
    nodes.all[0].kill()
    until(lambda: "master" in nodes.lines(2)[real][2] and nodes.is_ok(2) and nodes.is_ok(1), "real took over")
    assert nodes.read(1, written) == written
    nodes.all[0].start()
    until(lambda: nodes.lines(0)[ours][3] == real, "ours follows the real one")
    until(lambda: b"master_link_status:up" in nodes.ask(0, "INFO", "replication"), "in sync")
    until(lambda: nodes.ask(0, "DBSIZE") == nodes.ask(3, "DBSIZE"), "copied back")
    until(lambda: nodes.lines(1)[ours][3] == real and "fail" not in nodes.lines(1)[ours][2], "seen")
    nodes.all[3].kill()
    until(lambda: "master" in nodes.lines(2)[ours][2] and nodes.is_ok(2) and nodes.is_ok(1), "ours took over")
    assert nodes.read(1, written) == written


@pytest.mark.parametrize(("master", "replica"), [("ours", "ours"), ("ours", "real"), ("real", "ours")])
def test_a_planned_failover_loses_nothing(nodes: Nodes, master: str, replica: str) -> None:
    nodes.start(master, "ours", "real", replica)
    nodes.meet(3)
    nodes.follow(3, 0)
    written = nodes.write(1, 100)
    new = nodes.node_id(3)
    assert nodes.ask(3, "CLUSTER", "FAILOVER").text == b"OK"
    until(lambda: all("master" in nodes.lines(at)[new][2] for at in range(4)), "everybody knows")
    until(lambda: nodes.is_ok(1) and nodes.is_ok(3), "ok")
    assert nodes.read(1, written) == written
    until(lambda: b"master_link_status:up" in nodes.ask(0, "INFO", "replication"), "the old master follows")


def cli(words: list[str]) -> str:
    return subprocess.run(
        ["redis-cli", *words], capture_output=True, text=True, check=True, timeout=PATIENCE_S
    ).stdout


def test_names_travel_both_ways_and_nothing_of_ours_annoys_a_real_redis(nodes: Nodes) -> None:
    for kind, name in (("ours", "one.example.com"), ("real", "two.example.com")):
        nodes.start(kind)
        nodes.ask(len(nodes.all) - 1, "CONFIG", "SET", "cluster-announce-hostname", name)
    nodes.meet(2)
    ours, real = nodes.node_id(0), nodes.node_id(1)
    until(lambda: nodes.lines(0)[real][1].endswith(",two.example.com"), "we know its name")
    until(lambda: nodes.lines(1)[ours][1].endswith(",one.example.com"), "it knows ours")
    time.sleep(2)  # some pings more
    log = nodes.all[1].log()
    assert "unknown extension" not in log.lower()
    assert "invalid" not in log.lower()
