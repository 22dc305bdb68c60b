"""nodes.conf: our form, Redis's form, and files that contradict themselves."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from bench.ports import free_port
from redoubt.cluster import nodes_conf
from redoubt.cluster.nodes_conf import CorruptNodes
from redoubt.cluster.slots import mask_of_ranges
from tests.redoubt.harness import Connection

A, B, C = "a" * 40, "b" * 40, "c" * 40
FILE = (
    f"{A} 10.0.0.1:6379@16379,one.example.com,nodename=blue,shard-id={A}"
    " myself,master - 0 0 3 connected 0-99 200\n"
    f"{B} 10.0.0.2:6379@16379,,shard-id={B} master,fail - 1 1 2 disconnected 100-199\n"
    f"{C} 10.0.0.3:6379@16379,,shard-id={A} slave {A} 0 1 3 connected\n"
    "vars currentEpoch 3 lastVoteEpoch 2 redoubt-lease-transitions 5\n"
)


def test_a_file_is_read_with_everything_in_it() -> None:
    topology = nodes_conf.parse(FILE, 1000)
    myself, replica = topology.myself, topology.nodes[C]
    assert (myself.node_id, myself.ip, myself.port, myself.bus_port) == (A, "10.0.0.1", 6379, 16379)
    assert (myself.hostname, myself.human_name, myself.shard_id) == ("one.example.com", "blue", A)
    assert myself.slots == mask_of_ranges([(0, 99), (200, 200)])
    assert topology.nodes[B].is_failed
    assert replica.master is myself
    assert myself.replicas == [replica]
    assert (topology.current_epoch, topology.last_vote_epoch, topology.lease_transitions) == (3, 2, 5)
    assert topology.owners[150] is topology.nodes[B]


def test_what_was_read_is_written_back() -> None:
    written = nodes_conf.render(nodes_conf.parse(FILE, 1)).decode()
    again = nodes_conf.render(nodes_conf.parse(written, 1)).decode()
    assert written == again
    assert written.splitlines()[-1] == "vars currentEpoch 3 lastVoteEpoch 2 redoubt-lease-transitions 5"
    assert written.startswith(
        f"{A} 10.0.0.1:6379@16379,one.example.com,nodename=blue,shard-id={A} myself,master - 0 0 3 connected"
    )


def test_open_slots_survive() -> None:
    text = (
        f"{A} :6379@16379 myself,master - 0 0 1 connected 0-5 [3->-{B}] [77-<-{B}]\n"
        f"{B} 10.0.0.2:6379@16379 master - 0 0 2 connected\nvars currentEpoch 2 lastVoteEpoch 0\n"
    )
    topology = nodes_conf.parse(text, 1)
    assert topology.migrating == {3: topology.nodes[B]}
    assert topology.importing == {77: topology.nodes[B]}
    assert f"0-5 [3->-{B}] [77-<-{B}]\n" in nodes_conf.render(topology).decode()


@pytest.mark.parametrize(
    "text",
    [
        "vars currentEpoch 0 lastVoteEpoch 0\n",
        f"{A} :1@2 myself,master - 0 0 0 connected\n{B} :1@2 myself,master - 0 0 0 connected\n",
        f"{A} :1@2 myself,emperor - 0 0 0 connected\n",
        f"{A} :1@2 myself,master - 0 0\n",
        f"{A} :x@2 myself,master - 0 0 0 connected\n",
        f"{A} :1@2 myself,master - 0 0 0 connected 5-3\n",
        f"{A} :1@2 myself,master - 0 0 0 connected [3->\n",
        f"{A} :1@2 myself,master - 0 0 0 connected\nvars currentEpoch\n",
        f"{A} :1@2 myself,master - 0 0 0 connected\nvars currentEpoch x lastVoteEpoch 0\n",
        "\x00\x01 binary",
    ],
)
def test_a_file_that_contradicts_itself_is_refused(text: str) -> None:
    with pytest.raises(CorruptNodes):
        nodes_conf.parse(text, 1)


@pytest.mark.process
def test_a_real_redis_starts_from_our_file_and_we_read_its(tmp_path: Path) -> None:
    port = free_port()
    path = tmp_path / "nodes.conf"
    path.write_text(FILE)
    command = [
        "redis-server", "--port", str(port), "--cluster-enabled", "yes", "--dir", str(tmp_path),
        "--save", "", "--bind", "127.0.0.1", "--cluster-port", str(free_port()),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                connection = Connection(port)
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        assert connection.ask("CLUSTER", "MYID") == A.encode()
        info = connection.ask("CLUSTER", "INFO")
        assert b"cluster_slots_assigned:201\r\n" in info
        assert b"cluster_current_epoch:3\r\n" in info
        assert connection.ask("CLUSTER", "SAVECONFIG").text == b"OK"
        connection.close()
    finally:
        process.kill()
        process.wait()
    topology = nodes_conf.parse(path.read_text(), 1)
    assert topology.myself.slots == mask_of_ranges([(0, 99), (200, 200)])
    assert topology.nodes[C].master is topology.myself
    assert topology.last_vote_epoch == 2
