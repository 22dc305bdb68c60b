"""Slots on the move, against a real Redis cluster in the same state: every reply, redirection and refusal.

Two clusters of two nodes, one of redis-server and one of ours, get the same commands at the same nodes; ids,
ports and epochs of addresses are replaced by names before the replies are compared.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from redoubt.resp.replies import ErrorReply, SimpleString
from tests.redoubt.harness import ServerProcess, redis_process, server_process

pytestmark = pytest.mark.process

# Slots: bar 5061, hello 866 (node 0); foo 12182 (node 1).
BAR, FOO = 5061, 12182
PATIENCE_S = 30.0
WORDS = ("--cluster-enabled", "yes", "--cluster-node-timeout", "60000", "--bind", "127.0.0.1")


class TwoNodes:
    """A cluster of two masters; node 0 has slots 0-8191."""

    def __init__(self, processes: list[ServerProcess]) -> None:
        self.processes = processes
        self.connections = [process.connect() for process in processes]
        self.ids = [connection.ask("CLUSTER", "MYID").decode() for connection in self.connections]
        self.form()

    def form(self) -> None:
        for at, connection in enumerate(self.connections):
            connection.ask("CLUSTER", "SET-CONFIG-EPOCH", 2 - at)
            connection.ask("CLUSTER", "ADDSLOTSRANGE", 8192 * at, 8192 * at + 8191)
        self.connections[0].ask("CLUSTER", "MEET", "127.0.0.1", self.processes[1].port)
        self.wait_for(b"cluster_state:ok")

    def wait_for(self, text: bytes) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not all(text in connection.ask("CLUSTER", "INFO") for connection in self.connections):
            assert time.monotonic() < deadline, text
            time.sleep(0.05)

    def ask(self, at: int, line: str) -> Any:
        words = line.replace("$0", self.ids[0]).replace("$1", self.ids[1])
        words = words.replace("@0", str(self.processes[0].port)).replace("@1", str(self.processes[1].port))
        return self.named(self.connections[at].ask(*words.split()))

    def named(self, reply: Any) -> Any:
        """Replace ids and ports by what the test calls them."""
        if isinstance(reply, ErrorReply | SimpleString):
            return f"{type(reply).__name__} {self.text(reply.text.decode())}"
        if isinstance(reply, list):
            return [self.named(item) for item in reply]
        return self.text(reply.decode()) if isinstance(reply, bytes) else reply

    def text(self, text: str) -> str:
        for at in (0, 1):
            text = text.replace(self.ids[at], f"${at}").replace(f":{self.processes[at].port}", f":@{at}")
        return text

    def slots(self, at: int) -> list[str]:
        """Read the slots, with those on the move, of both nodes as node `at` sees them."""
        lines = sorted(self.named(self.connections[at].ask("CLUSTER", "NODES")).splitlines())
        return [" ".join([line.split()[0], *line.split()[8:]]) for line in lines]


@pytest.fixture
def clusters() -> Iterator[tuple[TwoNodes, TwoNodes]]:
    with ExitStack() as stack:
        yield (
            TwoNodes([stack.enter_context(redis_process(*WORDS)) for _ in range(2)]),
            TwoNodes([stack.enter_context(server_process(*WORDS)) for _ in range(2)]),
        )


def compare(clusters: tuple[TwoNodes, TwoNodes], script: str) -> None:
    """Run `node: command` lines on both clusters; each reply and each node's slots must be equal."""
    judge, ours = clusters
    for line in script.strip().splitlines():
        at, _, words = line.strip().partition(": ")
        expected, found = judge.ask(int(at), words), ours.ask(int(at), words)
        assert expected == found, f"{words} at node {at}: Redis says {expected!r}, we say {found!r}"
    for at in (0, 1):
        assert judge.slots(at) == ours.slots(at)


MOVING = f"""
    0: SET {{bar}}1 a
    0: SET {{bar}}2 b
    1: CLUSTER SETSLOT {BAR} IMPORTING $0
    1: GET {{bar}}1
    1: MIGRATE 127.0.0.1 @0 {{bar}}1 0 1000
    0: CLUSTER SETSLOT {BAR} MIGRATING $1
    0: GET {{bar}}1
    0: GET {{bar}}3
    0: MGET {{bar}}1 {{bar}}2
    0: MGET {{bar}}1 {{bar}}3
    0: MGET {{bar}}3 {{bar}}4
    0: MGET {{bar}}3 {{bar}}3
    0: MSET {{bar}}1 x {{bar}}3 y
    0: MGET {{bar}}1 hello
    0: DEL {{bar}}3
    0: SET {{bar}}3 z
    0: EXISTS {{bar}}1 {{bar}}1
    0: RENAME {{bar}}1 {{bar}}3
    0: MIGRATE 127.0.0.1 @1 {{bar}}3 0 1000
    0: MIGRATE 127.0.0.1 @1 {{bar}}1 0 1000
    0: GET {{bar}}1
    1: GET {{bar}}1
    1: ASKING
    1: GET {{bar}}1
    1: GET {{bar}}1
    1: ASKING
    1: PING
    1: GET {{bar}}1
    1: ASKING
    1: MGET {{bar}}1 {{bar}}1
    1: ASKING
    1: MGET {{bar}}1 {{bar}}2
    1: ASKING
    1: MGET {{bar}}9 {{bar}}9
    1: ASKING
    1: SET {{bar}}3 z
    1: ASKING
    1: GET hello
    1: ASKING
    1: MGET {{bar}}1 hello
    1: ASKING
    1: MGET {{bar}}1 {{bar}}3
    1: RESTORE-ASKING {{bar}}5 0 x
    0: RESTORE-ASKING {{bar}}5 0 x
    0: CLUSTER COUNTKEYSINSLOT {BAR}
    1: CLUSTER COUNTKEYSINSLOT {BAR}
    0: CLUSTER SETSLOT {BAR} NODE $1
    0: MIGRATE 127.0.0.1 @1 "" 0 1000 KEYS {{bar}}2
    0: CLUSTER GETKEYSINSLOT {BAR} 10
    0: MIGRATE 127.0.0.1 @1 {{bar}}2 0 1000
    1: CLUSTER SETSLOT {BAR} NODE $1
    0: CLUSTER SETSLOT {BAR} NODE $1
    0: GET {{bar}}1
    1: MGET {{bar}}1 {{bar}}2 {{bar}}3
    1: CLUSTER BUMPEPOCH
    0: CLUSTER BUMPEPOCH
"""

REFUSALS = f"""
    0: CLUSTER SETSLOT
    0: CLUSTER SETSLOT {BAR}
    0: CLUSTER SETSLOT {BAR} STABLE extra
    0: CLUSTER SETSLOT {BAR} FOO
    0: CLUSTER SETSLOT {BAR} FOO $1
    0: CLUSTER SETSLOT x STABLE
    0: CLUSTER SETSLOT 16384 STABLE
    0: CLUSTER SETSLOT -1 STABLE
    0: CLUSTER SETSLOT {FOO} MIGRATING $1
    0: CLUSTER SETSLOT {BAR} IMPORTING $1
    0: CLUSTER SETSLOT {BAR} MIGRATING
    0: CLUSTER SETSLOT {BAR} MIGRATING nobody
    0: CLUSTER SETSLOT {FOO} IMPORTING nobody
    0: CLUSTER SETSLOT {BAR} NODE nobody
    0: CLUSTER SETSLOT {BAR} NODE
    0: CLUSTER SETSLOT {BAR} MIGRATING $0
    0: CLUSTER SETSLOT {FOO} IMPORTING $0
    0: CLUSTER SETSLOT {FOO} STABLE
    0: CLUSTER SETSLOT {BAR} STABLE
    0: SET {{bar}} x
    0: CLUSTER SETSLOT {BAR} NODE $1
    0: CLUSTER SETSLOT {BAR} NODE $0
    0: CLUSTER ADDSLOTS {BAR}
    0: CLUSTER ADDSLOTS {FOO}
    0: CLUSTER ADDSLOTS 1 x
    0: CLUSTER DELSLOTS {BAR} {BAR}
    0: CLUSTER DELSLOTS 16384
    0: CLUSTER DELSLOTSRANGE 5 4
    0: CLUSTER DELSLOTSRANGE 5
    0: CLUSTER FLUSHSLOTS
    0: CLUSTER FLUSHSLOTS extra
    0: CLUSTER RESET
    0: CLUSTER RESET FOO
    0: CLUSTER RESET HARD extra
    0: CLUSTER SAVECONFIG
    0: CLUSTER BUMPEPOCH extra
    0: CLUSTER COUNT-FAILURE-REPORTS $1
    0: CLUSTER COUNT-FAILURE-REPORTS nobody
    0: CLUSTER REPLICATE $0
    0: CLUSTER REPLICATE $1
    0: CLUSTER REPLICATE nobody
    0: CLUSTER REPLICAS $1
    0: CLUSTER FORGET $0
    0: CLUSTER FORGET nobody
    0: CLUSTER SET-CONFIG-EPOCH 9
    0: CLUSTER FAILOVER
    0: CLUSTER GETKEYSINSLOT {BAR} -1
    0: CLUSTER GETKEYSINSLOT 16384 1
    0: CLUSTER COUNTKEYSINSLOT 16384
    0: CLUSTER COUNTKEYSINSLOT x
    0: CLUSTER NOSUCH
"""

UNASSIGNING = f"""
    0: SET {{bar}} x
    0: CLUSTER SETSLOT {BAR} MIGRATING $1
    0: CLUSTER DELSLOTS {BAR}
    0: CLUSTER SETSLOT {FOO} IMPORTING $1
    0: CLUSTER DELSLOTS {FOO}
    0: CLUSTER ADDSLOTS {FOO}
    0: CLUSTER DELSLOTS 1 2 3 1
    0: CLUSTER DELSLOTS 1 2 3
    0: CLUSTER DELSLOTS 1
    0: CLUSTER ADDSLOTS 1 2 1
    0: CLUSTER ADDSLOTSRANGE 1 3
"""


@pytest.mark.parametrize("script", [MOVING, REFUSALS, UNASSIGNING], ids=["moving", "refusals", "unassigning"])
def test_slots_on_the_move_are_answered_alike(clusters: tuple[TwoNodes, TwoNodes], script: str) -> None:
    compare(clusters, script)


def test_an_import_that_is_closed_takes_a_new_epoch_and_both_nodes_learn_of_it(
    clusters: tuple[TwoNodes, TwoNodes],
) -> None:
    for cluster in clusters:
        cluster.ask(1, f"CLUSTER SETSLOT {BAR} IMPORTING $0")
        cluster.ask(0, f"CLUSTER SETSLOT {BAR} MIGRATING $1")
        assert cluster.ask(1, f"CLUSTER SETSLOT {BAR} NODE $1") == "SimpleString OK"
        # The importing side alone has closed it: the old owner learns by gossip.
        deadline = time.monotonic() + PATIENCE_S
        while cluster.ask(0, "GET bar") != f"ErrorReply MOVED {BAR} 127.0.0.1:@1":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        cluster.wait_for(b"cluster_current_epoch:3")
    # Redis goes on calling the slot migrating at its old owner, whose it no longer is.
    assert [line.partition(" [")[0] for line in clusters[0].slots(0)] == clusters[1].slots(0)
    assert [cluster.ask(1, "CLUSTER BUMPEPOCH") for cluster in clusters] == ["SimpleString STILL 3"] * 2


def test_flushing_and_resetting_leave_the_same_behind(clusters: tuple[TwoNodes, TwoNodes]) -> None:
    compare(
        clusters,
        f"""
        0: CLUSTER SETSLOT {BAR} MIGRATING $1
        0: CLUSTER SETSLOT {FOO} IMPORTING $1
        0: CLUSTER FLUSHSLOTS
        0: CLUSTER RESET SOFT
        0: CLUSTER ADDSLOTS 5
        """,
    )
    epochs = [
        re.findall(r"cluster_(?:current|my)_epoch:\d+", cluster.ask(0, "CLUSTER INFO"))
        for cluster in clusters
    ]
    assert epochs[0] == epochs[1]
    for cluster in clusters:
        assert cluster.ask(0, "CLUSTER RESET HARD") == "SimpleString OK"
        assert cluster.ask(0, "CLUSTER MYID") != "$0"
        info = cluster.ask(0, "CLUSTER INFO")
        assert "cluster_current_epoch:0" in info
        assert "cluster_known_nodes:1" in info
