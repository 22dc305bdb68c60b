"""Nodes are drained as administrators do it, and neither a shard nor a client suffers.

Two of four nodes at once, by `kubectl drain` with its usual flags: the eviction API asks the disruption
budgets, and the real scheduler keeps the new pods off the cordoned nodes. The clusters of different sizes of
one test stand side by side, so that one drain tries them all: what holds for each must hold for all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from devcluster.clients import Clients, at_work
from devcluster.dataset import Dataset
from devcluster.deployment import Deployment, Platform
from devcluster.faults import Fault
from tests.e2e.conftest import RESOURCES

pytestmark = pytest.mark.cluster

CANARIES = 2000
# A shard that takes no write for longer has had no master.
GAP_LIMIT_S = 1.5
DRAIN = ("--ignore-daemonsets", "--delete-emptydir-data", "--timeout=180s")


class Drained:
    """One cluster on the nodes that are drained, and its clients."""

    def __init__(self, platform: Platform, shards: int, replicas: int) -> None:
        self.deployment = Deployment(platform, f"drain-{shards}x{1 + replicas}")
        self._dataset = Dataset(CANARIES)
        self.deployment.apply(shards=shards, replicasPerShard=replicas, resources=RESOURCES)

    def begin(self) -> None:
        """Wait until all is well, and make the data and the clients."""
        self.deployment.wait_ready()
        self.deployment.wait_synced()
        client = self.deployment.cluster_client()
        self._dataset.write(client)
        client.close()
        self.clients = Clients(self.deployment, "drain", pause_s=0.005)

    def complaints(self) -> list[str]:
        """Say what a client of this cluster has to complain about."""
        client = self.deployment.cluster_client()
        lost = self._dataset.lost(client)
        client.close()
        found = self.clients.complaints()
        found += [f"{lost} of {CANARIES} keys are lost"] if lost else []
        found += [
            f"{one.name} had no master for {one.longest_gap_s:.2f} s"
            for one in self.clients.writers
            if one.longest_gap_s > GAP_LIMIT_S
        ]
        return found


@pytest.fixture
def side_by_side(platform: Platform, needs: Callable[..., None]) -> Iterator[Callable[[int], list[Drained]]]:
    """Make clusters of a number of shards with 0, 1 and 2 replicas each; they are gone afterwards."""
    needs(Fault.LOSE_NODE)  # stands for: more than one node
    made: list[Drained] = []

    def make(shards: int) -> list[Drained]:
        made.extend(Drained(platform, shards, replicas) for replicas in range(3))
        for one in made:
            one.begin()
        return made

    yield make
    for one in made:
        one.deployment.delete()


def nodes_of(clusters: list[Drained]) -> dict[str, int]:
    """Count the pods of these clusters by node."""
    nodes: dict[str, int] = {}
    for one in clusters:
        for pod in one.deployment.pods():
            if name := pod["spec"].get("nodeName"):
                nodes[name] = nodes.get(name, 0) + 1
    return nodes


@pytest.mark.parametrize("shards", [1, 3])
def test_lesson_20_two_of_four_nodes_are_drained_at_once(
    platform: Platform, side_by_side: Callable[[int], list[Drained]], shards: int
) -> None:
    clusters = side_by_side(shards)
    crowded = nodes_of(clusters)
    nodes = sorted(crowded, key=lambda node: (-crowded[node], node))[:2]
    failed: list[str] = []

    def drain(node: str) -> None:
        try:
            platform.kubectl("drain", node, *DRAIN, timeout_s=200)
        except RuntimeError as refused:
            failed.append(str(refused))

    drains = [threading.Thread(target=drain, args=(node,)) for node in nodes]
    try:
        with at_work(*(cluster.clients for cluster in clusters)):
            began = time.monotonic()
            for each in drains:
                each.start()
            for each in drains:
                each.join()
            took_s = time.monotonic() - began
        assert failed == []
        assert not set(nodes) & set(nodes_of(clusters))
        for cluster in clusters:
            cluster.deployment.wait_synced(120)
            gap = f"longest gap {cluster.clients.gap_s:.3f} s"
            print(f"{cluster.deployment.name}: {gap}; both drains took {took_s:.1f} s")
        assert {one.deployment.name: one.complaints() for one in clusters if one.complaints()} == {}
        assert all(one.deployment.condition("DataLost") == "False" for one in clusters)
    finally:
        platform.kubectl("uncordon", *nodes)
