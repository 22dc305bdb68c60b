"""Clients that write while something is done to a cluster, and what they have to say about it afterwards.

A writer on every shard measures gaps; an application with redis-py's cluster client, whose every exception
counts, goes over all slots. `clients(...)` lets them write before, during and after what happens inside it.
Used by the end-to-end tests and the benchmarks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from devcluster.cluster_writer import ClusterWriter
from devcluster.deployment import Deployment
from devcluster.writer import ShardWriter

WARMUP_S: Final = 1.0
UNDISTURBED_S: Final = 2.0


class Clients:
    """A writer on every shard and one application over all slots, and what they saw."""

    def __init__(self, deployment: Deployment, label: str, pause_s: float = 0.001) -> None:
        self._deployment = deployment
        self.application: ClusterWriter = deployment.cluster_writer(prefix=f"{label}-app", pause_s=pause_s)
        self.writers: list[ShardWriter] = [
            deployment.writer(shard, prefix=f"{label}-{shard}", pause_s=pause_s)
            for shard in shards_of(deployment)
        ]

    @property
    def all(self) -> list[ShardWriter | ClusterWriter]:
        """The application first, then a writer for each shard."""
        return [self.application, *self.writers]

    @property
    def gap_s(self) -> float:
        """The longest gap that any of them noticed."""
        return max(one.longest_gap_s for one in self.all)

    def complaints(self) -> list[str]:
        """Errors of the application, and acknowledged keys that are missing."""
        found = [f"error at the application: {error}" for error in self.application.errors]
        for one in self.all:
            if not one.acknowledged:
                found.append(f"{one.name} never wrote")
            if missing := self._deployment.missing_keys(one):
                found.append(f"{one.name} lost {len(missing)} acknowledged keys: {missing[:3]}")
        return found


@contextmanager
def clients(deployment: Deployment, label: str) -> Iterator[Clients]:
    """Let clients write for a while before, during and after what happens inside."""
    with at_work(Clients(deployment, label)) as working:
        yield working


@contextmanager
def at_work(*teams: Clients) -> Iterator[Clients]:
    """Let several clusters' clients write at the same time; yields the first team."""
    with ExitStack() as running:
        for team in teams:
            for one in team.all:
                running.enter_context(one)
        time.sleep(WARMUP_S)
        yield teams[0]
        time.sleep(WARMUP_S)


def undisturbed_gap_s(deployment: Deployment) -> float:
    """The longest gap of a few seconds in which nothing happens: the machine's own."""
    with clients(deployment, "calm") as working:
        time.sleep(UNDISTURBED_S)
    assert working.complaints() == []
    return working.gap_s


def shards_of(deployment: Deployment) -> list[int]:
    """List the shards that have pods."""
    return sorted({int(pod["metadata"]["labels"]["redoubt.dev/shard"]) for pod in deployment.pods()})
