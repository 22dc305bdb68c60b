"""Unmodified `redis-cli --cluster` on clusters of ours and on mixed ones, with a writer running.

Every test leaves canary keys before it begins and lets a client write all the while; at the end each canary
and each acknowledged write must be found, under the owner that the whole cluster agrees on.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from redis.cluster import ClusterNode, RedisCluster

from redoubt.resp.replies import OK
from tests.redoubt.cluster.test_processes import Nodes, until
from tests.redoubt.harness import redis_process, server_process

pytestmark = pytest.mark.process

CANARIES = 600
COMMAND_S = 60.0


class Writer:
    """A cluster client that counts up one key after another and remembers what was acknowledged."""

    def __init__(self, port: int) -> None:
        self.client = RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", port)], decode_responses=True)
        self.canaries = {f"canary:{number}": f"{number}" * 20 for number in range(CANARIES)}
        for key, value in self.canaries.items():
            self.client.set(key, value)
        self.acknowledged: dict[str, int] = {}
        self.errors: list[BaseException] = []
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.write)

    def write(self) -> None:
        number = 0
        while not self.is_over.is_set():
            number += 1
            key = f"counter:{number % 400}"
            try:
                self.acknowledged[key] = self.client.incr(key)
            except Exception as error:
                self.errors.append(error)

    def finish(self) -> None:
        """Stop writing; assert that nothing was lost and that no write met an error."""
        self.is_over.set()
        self.thread.join()
        assert not self.errors, self.errors[:3]
        assert len(self.acknowledged) > 20
        lost = [key for key, value in self.canaries.items() if self.client.get(key) != value]
        assert not lost, f"{len(lost)} canaries are lost: {lost[:5]}"
        found = {key: int(self.client.get(key) or 0) for key in self.acknowledged}
        assert found == self.acknowledged


@contextmanager
def writing(nodes: Nodes) -> Iterator[Writer]:
    writer = Writer(nodes.all[0].port)
    writer.thread.start()
    try:
        yield writer
        writer.finish()
    finally:
        writer.is_over.set()
        writer.thread.join()
        writer.client.close()


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with ExitStack() as stack:
        yield Nodes(stack)


def address(nodes: Nodes, at: int) -> str:
    return f"127.0.0.1:{nodes.all[at].port}"


def cluster(*words: str) -> str:
    """Run `redis-cli --cluster`; a failure shows what it printed."""
    done = subprocess.run(
        ["redis-cli", "--cluster", *words], capture_output=True, text=True, timeout=COMMAND_S, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    return done.stdout


def reshard(nodes: Nodes, source: int, target: int, slots: int) -> list[str]:
    """Make the words of a reshard."""
    return [
        "reshard", address(nodes, 1), "--cluster-from", nodes.node_id(source), "--cluster-to",
        nodes.node_id(target), "--cluster-slots", str(slots), "--cluster-yes",
    ]  # fmt: skip


def is_whole(nodes: Nodes) -> bool:
    """Say whether `check` finds nothing to complain about from any node."""
    for at in range(len(nodes.all)):
        words = ["redis-cli", "--cluster", "check", address(nodes, at)]
        text = subprocess.run(words, capture_output=True, text=True, check=False).stdout
        if "All 16384 slots covered" not in text or "[WARNING]" in text or "[ERR]" in text:
            return False
    return True


@pytest.mark.parametrize("kinds", [("ours",) * 3, ("ours", "real", "ours"), ("real", "ours", "real")])
def test_slots_go_to_and_fro_under_a_writer(nodes: Nodes, kinds: tuple[str, ...]) -> None:
    nodes.start(*kinds)
    nodes.meet(3)
    with writing(nodes):
        cluster(*reshard(nodes, 0, 1, 300))
        cluster(*reshard(nodes, 1, 0, 300))
        cluster(*reshard(nodes, 2, 0, 200), "--cluster-pipeline", "50", "--cluster-replace")
        until(lambda: is_whole(nodes), "whole after resharding")
        cluster("rebalance", address(nodes, 0), "--cluster-threshold", "1")
        until(lambda: is_whole(nodes), "whole after the rebalance")


def test_nodes_join_and_leave_under_a_writer(nodes: Nodes) -> None:
    nodes.start("ours", "ours", "ours")
    nodes.meet(3)
    nodes.start("ours", "ours")
    with writing(nodes):
        cluster("add-node", address(nodes, 3), address(nodes, 0))
        until(lambda: all(nodes.node_id(3) in nodes.lines(at) for at in range(3)), "node 3 is known")
        cluster(
            "add-node", address(nodes, 4), address(nodes, 0),
            "--cluster-slave", "--cluster-master-id", nodes.node_id(3),
        )  # fmt: skip
        until(
            lambda: nodes.lines(0).get(nodes.node_id(4), ["", "", "", ""])[3] == nodes.node_id(3), "a replica"
        )
        until(lambda: all(len(nodes.lines(at)) == 5 for at in range(5)), "everybody knows everybody")
        cluster(*reshard(nodes, 0, 3, 150))
        until(lambda: is_whole(nodes), "whole with a fourth shard")
        until(lambda: nodes.ask(4, "DBSIZE") == nodes.ask(3, "DBSIZE"), "copied")
        assert nodes.ask(3, "DBSIZE") > 0
        assert "4 masters" in cluster("info", address(nodes, 1))
        cluster(*reshard(nodes, 3, 1, 150))
        until(lambda: is_whole(nodes), "whole with an empty shard")
        leaving = nodes.node_id(4), nodes.node_id(3)
        for node_id in leaving:
            cluster("del-node", address(nodes, 0), node_id)
        until(lambda: all(not set(leaving) & set(nodes.lines(at)) for at in range(3)), "forgotten")
        del nodes.all[3:]
        until(lambda: is_whole(nodes), "whole as before")


@pytest.mark.parametrize("kinds", [("ours",) * 3, ("real", "ours", "ours")])
def test_a_killed_reshard_is_repaired_by_fix(nodes: Nodes, kinds: tuple[str, ...]) -> None:
    nodes.start(*kinds)
    nodes.meet(3)
    with writing(nodes):
        for source, target, delay_s in ((0, 1, 0.3), (1, 2, 0.5), (2, 0, 0.4)):
            process = subprocess.Popen(
                ["redis-cli", "--cluster", *reshard(nodes, source, target, 1000)], stdout=subprocess.DEVNULL
            )
            time.sleep(delay_s)
            process.kill()
            process.wait()
            # A slot may also be open on one side only, as between the two SETSLOT of its closing.
            first = next(slot for slot in range(16384) if owner_of(nodes, slot) == nodes.node_id(target))
            nodes.ask(target, "CLUSTER", "SETSLOT", first, "MIGRATING", nodes.node_id(source))
            cluster("fix", address(nodes, 1))
            until(lambda: is_whole(nodes), "whole after fix")


def owner_of(nodes: Nodes, slot: int) -> str:
    for first, last, master, *_ in nodes.ask(0, "CLUSTER", "SLOTS"):
        if first <= slot <= last:
            return str(master[2].decode())
    raise AssertionError(slot)


@pytest.mark.parametrize("kind", ["ours", "real"])
def test_a_standalone_server_is_imported(nodes: Nodes, kind: str) -> None:
    nodes.start("ours", "real", "ours")
    nodes.meet(3)
    make = server_process if kind == "ours" else redis_process
    source = nodes.stack.enter_context(make())
    connection = source.connect()
    words = [word for number in range(500) for word in (f"imported:{number}", f"value:{number}")]
    connection.ask("MSET", *words)
    connection.ask("PEXPIRE", "imported:0", 10_000_000)
    with writing(nodes) as writer:
        cluster("import", address(nodes, 0), "--cluster-from", f"127.0.0.1:{source.port}")
        assert {writer.client.get(words[at]) == words[at + 1] for at in range(0, len(words), 2)} == {True}
        assert 9_000_000 < writer.client.pttl("imported:0") < 10_000_001
        assert connection.ask("DBSIZE") == 0


def test_the_other_commands_of_redis_cli_work(nodes: Nodes, tmp_path: Path) -> None:
    config = tmp_path / "node.conf"
    config.write_text("# kept\ncluster-node-timeout 2000\n")
    nodes.start("ours", "ours")
    words = ("--cluster-enabled", "yes", "--bind", "127.0.0.1")
    nodes.all.append(nodes.stack.enter_context(server_process(*words, config=str(config))))
    addresses = [address(nodes, at) for at in range(3)]
    cluster("create", *addresses, "--cluster-yes")
    until(lambda: all(nodes.is_ok(at) for at in range(3)), "all are ok")
    with writing(nodes):
        assert cluster("call", addresses[1], "ECHO", "hello").count("hello") == 4
        shown = cluster("set-timeout", addresses[2], "2500")
        assert "1 OK, 2 ERR" in shown  # two have no file to rewrite
        assert [nodes.ask(at, "CONFIG", "GET", "cluster-node-timeout")[1] for at in range(3)] == [b"2500"] * 3
        cluster("backup", addresses[0], str(tmp_path))
    assert config.read_text().startswith("# kept\ncluster-node-timeout 2500\n")
    saved = json.loads((tmp_path / "nodes.json").read_text())
    assert len(saved) == 3
    assert len(list(tmp_path.glob("*.rdb"))) == 3
    assert nodes.ask(0, "CLUSTER", "SAVECONFIG") == OK
