"""Rounds of an experiment: the number of shards changes, and the operator and a random server are killed.

Each round edits `spec.shards` between 3 and 4 under a writer on every shard, waits until slots move, and
then sends SIGKILL to the leading operator and to a server picked at random, in either order, after random
pauses. It ends when the cluster has settled on the number asked for, and every key that was acknowledged,
now or in an earlier round, has been read back. What an application's client saw meanwhile is kept, not
judged: a killed server is no planned work. Used by the end-to-end tests and by bench/move_kills.py.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from random import Random
from typing import Any, Final

from devcluster.cluster_writer import ClusterWriter
from devcluster.dataset import Dataset
from devcluster.deployment import OPERATOR_NAMESPACE, Deployment
from devcluster.writer import ShardWriter

SHARDS: Final = (3, 4)
SPEC: Final[dict[str, Any]] = {
    "replicasPerShard": 1,
    "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
}
# Enough for a move to last longer than the pauses before the kills.
KEYS: Final = 60_000
VALUE_BYTES: Final = 500
WARMUP_S: Final = 0.5
# Between the beginning of a move and the first kill, and between the two kills, at most.
PAUSE_MAX_S: Final = 1.5
BEGIN_LIMIT_S: Final = 90
SETTLE_LIMIT_S: Final = 240


class MoveKills:
    """The rounds on one RedoubtCluster; `begin` once, then `run` as often as wanted."""

    def __init__(self, deployment: Deployment, random: Random, keys: int = KEYS) -> None:
        self._deployment = deployment
        self._random = random
        self._dataset = Dataset(keys, VALUE_BYTES)
        self._shards = SHARDS[0]
        self.lost: list[str] = []
        self.errors: list[str] = []
        self.settle_s: list[float] = []

    def begin(self) -> None:
        """Make the cluster and its data."""
        self._deployment.apply(shards=self._shards, **SPEC)
        self._deployment.wait_ready()
        self._deployment.wait_synced()
        client = self._deployment.cluster_client()
        self._dataset.write(client)
        client.close()

    def run(self, number: int) -> str:
        """Run one round; return a line about it. Raises TimeoutError if the cluster does not settle."""
        deployment = self._deployment
        wanted = SHARDS[1] if self._shards == SHARDS[0] else SHARDS[0]
        writers = [
            deployment.writer(shard, prefix=f"round-{number}-{shard}") for shard in range(self._shards)
        ]
        application = deployment.cluster_writer(prefix=f"round-{number}")
        clients: list[ShardWriter | ClusterWriter] = [*writers, application]
        with ExitStack() as running:
            for one in clients:
                running.enter_context(one)
            time.sleep(WARMUP_S)
            began = deployment.apply(shards=wanted, **SPEC)
            deployment.wait_until(self._has_begun, BEGIN_LIMIT_S, "slots begin to move")
            story = self._kill_both()
            deployment.wait_shards(wanted, SETTLE_LIMIT_S)
            took_s = time.monotonic() - began
            deployment.wait_synced(SETTLE_LIMIT_S)
        self._shards = wanted
        self.settle_s.append(took_s)
        self.errors += application.errors
        missing = [key for one in clients for key in deployment.missing_keys(one)]
        client = deployment.cluster_client()
        missing += ["canary"] * self._dataset.lost(client)
        client.close()
        self.lost += missing
        acknowledged = sum(len(one.acknowledged) for one in clients)
        return (
            f"round {number}: {wanted} shards after {took_s:.1f} s, {story}; {acknowledged} acknowledged, "
            f"{len(missing)} lost, {len(application.errors)} errors at redis-py"
        )

    def _has_begun(self) -> bool:
        return bool(self._deployment.resource()["status"].get("moves"))

    def _kill_both(self) -> str:
        """Kill the operator and a server, in either order; return what was done."""
        kills = [self._kill_operator, self._kill_server]
        self._random.shuffle(kills)
        story = []
        for kill in kills:
            pause_s = self._random.uniform(0, PAUSE_MAX_S)
            time.sleep(pause_s)
            story.append(f"{kill()} killed {pause_s:.2f} s later")
        return ", ".join(story)

    def _kill_operator(self) -> str:
        pod = self._deployment.operator_leader()
        if not pod:
            return "no operator led, none"
        with suppress(RuntimeError):  # its container has just ended by itself: it lost the Lease
            self._deployment.platform.faults.kill(pod, OPERATOR_NAMESPACE)
        # A fresh pod for the next round: this one would wait in back-off, ever longer.
        words = ("delete", "pod", pod, "-n", OPERATOR_NAMESPACE, "--grace-period=0", "--force")
        self._deployment.platform.kubectl(*words, "--wait=false")
        return f"operator {pod}"

    def _kill_server(self) -> str:
        pods = [
            pod["metadata"]["name"]
            for pod in self._deployment.pods()
            if pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]
        ]
        victim = str(self._random.choice(pods))
        self._deployment.platform.faults.kill(victim, self._deployment.namespace)
        return victim
