"""The operator's figures: how long until a cluster serves, and what clients notice when a master dies.

    python -m bench.operator_times [--rounds 5] [--kills 20] [--alone 6] [--only rolls,drains]
                                    [--compiled] [--write FILE]

Each figure is a median over rounds, printed with every single value, beside the longest gap of an
undisturbed writer in the same run: the machine's own pauses are in both. Runs on a devcluster of its own,
or on a real node named by REDOUBT_REALNODE. Every round of kills begins with all replicas in sync and
ends with every acknowledged key read back; a lost key makes the exit code 1, and so does an error that
redis-py's cluster client sees during planned work (rolls and drains).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import redis

from bench.report import Report
from devcluster.clients import Clients, clients, undisturbed_gap_s
from devcluster.cluster import DevCluster
from devcluster.deployment import METRICS_PORT, Deployment, Platform
from devcluster.faults import Fault
from devcluster.realnode import Realnode

SPEC: Final[dict[str, Any]] = {
    "shards": 3,
    "replicasPerShard": 1,
    "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
}
UNDISTURBED_S: Final = 5.0
WARMUP_S: Final = 1.0
# A container that dies again within ten minutes waits in back-off; its pod is replaced meanwhile.
SYNC_LIMIT_S: Final = 120


DRAIN: Final = ("--ignore-daemonsets", "--delete-emptydir-data", "--timeout=120s")


class Figures:
    """The measurements of one run, and whether anything was lost."""

    def __init__(self, platform: Platform, report: Report) -> None:
        self.platform = platform
        self.report = report
        self.lost = 0
        self.complaints = 0

    def fresh(self, name: str) -> tuple[Deployment, float]:
        """Apply a new cluster and wait for Ready; return it and the seconds that took."""
        deployment = Deployment(self.platform, name)
        began = deployment.apply(**SPEC)
        deployment.wait_ready()
        return deployment, time.monotonic() - began

    def apply_to_ready(self, rounds: int) -> None:
        """Measure apply to condition Ready for 3 x 2."""
        times = []
        for number in range(rounds):
            deployment, took_s = self.fresh(f"ready-{number}")
            times.append(took_s)
            deployment.delete()
        self.report.times("apply to Ready, 3 shards x 2", times)

    def undisturbed(self, deployment: Deployment, rounds: int) -> None:
        """Measure the longest gap while nothing happens."""
        gaps = []
        for number in range(rounds):
            with deployment.writer(0, prefix=f"calm-{number}") as writer:
                time.sleep(UNDISTURBED_S)
            gaps.append(writer.longest_gap_s)
        self.report.times("longest gap, undisturbed", gaps)

    def kill(self, deployment: Deployment, label: str) -> float:
        """Kill the master of shard 0 under two writers, one of which waits for a replica each time.

        Returns the longest gap of the writer that does not wait: the other one takes no acknowledgement
        before the killed container is back as a replica. Nothing that either was told may be lost.
        """
        deployment.wait_synced(SYNC_LIMIT_S)
        victim = deployment.master_of(0)["metadata"]["name"]
        with (
            deployment.writer(0, prefix=label) as writer,
            deployment.writer(0, prefix=f"{label}-wait", wait_replicas=1) as waiter,
        ):
            time.sleep(WARMUP_S)
            before = len(writer.acknowledged)
            self.platform.faults.kill(victim, deployment.namespace)
            deployment.wait_until(lambda: len(writer.acknowledged) > before + 200, 60, "writable again")
        missing = deployment.missing_keys(writer) + deployment.missing_keys(waiter)
        self.lost += len(missing)
        counts = f"{len(writer.acknowledged)} + {len(waiter.acknowledged)} with WAIT 1 acknowledged"
        self.report.say(f"  {label}: {writer.longest_gap_s:.3f} s, {counts}, {len(missing)} lost")
        return writer.longest_gap_s

    def kills(self, rounds: int) -> None:
        """Kill masters with the operator running, each time with all replicas in sync again."""
        deployment, _ = self.fresh("kills")
        self.undisturbed(deployment, 3)
        gaps = [self.kill(deployment, f"kill-{n}") for n in range(rounds)]
        self.report.times(f"SIGKILL to writable, operator running ({rounds} rounds)", gaps)
        deployment.delete()

    def back_in_sync(self) -> None:
        """Kill the master of each shard once: how long until its container is a replica in sync."""
        deployment, _ = self.fresh("back")
        times = []
        for shard in range(SPEC["shards"]):
            deployment.wait_synced(SYNC_LIMIT_S)
            victim = deployment.master_of(shard)
            self.platform.faults.kill(victim["metadata"]["name"], deployment.namespace)
            is_back = partial(is_synced_replica, deployment, victim["status"]["podIP"])
            times.append(deployment.wait_until(is_back, SYNC_LIMIT_S, "the killed container is a replica"))
        self.report.times("SIGKILL of a master to the same container in sync as a replica", times)
        deployment.delete()

    def kills_alone(self, rounds: int) -> None:
        """Kill masters with the operator scaled to 0, each on fresh pods."""
        gaps = []
        for number in range(rounds):
            deployment, _ = self.fresh(f"alone-{number}")
            deployment.wait_synced(SYNC_LIMIT_S)
            deployment.scale_operator(0)
            try:
                gaps.append(self.kill(deployment, f"alone-{number}"))
            finally:
                deployment.scale_operator(2)
            deployment.delete()
        self.report.times(f"SIGKILL to writable, operator scaled to 0 ({rounds} rounds)", gaps)

    def graceful_deletes(self, rounds: int) -> None:
        """Delete masters with their grace period: the gap, and errors at redis-py's cluster client."""
        deployment, _ = self.fresh("graceful")
        self.undisturbed(deployment, 3)
        gaps, errors = [], 0
        for number in range(rounds):
            deployment.wait_synced(SYNC_LIMIT_S)
            victim = deployment.master_of(0)["metadata"]["name"]
            client = deployment.cluster_client()
            with deployment.writer(0, prefix=f"graceful-{number}") as writer:
                time.sleep(WARMUP_S)
                self.platform.kubectl("delete", "pod", victim, "-n", deployment.namespace, "--wait=false")
                until = time.monotonic() + 5
                while time.monotonic() < until:
                    try:
                        client.set(f"client:{number}", "x")
                    except redis.exceptions.RedisError as error:
                        errors += 1
                        self.report.say(f"  client error: {error}")
            client.close()
            deployment.wait_synced(SYNC_LIMIT_S)
            missing = deployment.missing_keys(writer)
            self.lost += len(missing)
            gaps.append(writer.longest_gap_s)
        self.report.times(f"graceful delete of a master, longest gap ({rounds} rounds)", gaps)
        self.report.say(f"  errors at redis-py RedisCluster: {errors}")
        deployment.delete()

    def rolls(self, rounds: int) -> None:
        """Roll all six pods: how long it takes, and what clients of all shards notice."""
        deployment, _ = self.fresh("rolls")
        times, gaps, calm = [], [], []
        for number in range(rounds):
            deployment.wait_synced(SYNC_LIMIT_S)
            calm.append(undisturbed_gap_s(deployment))
            with clients(deployment, f"roll-{number}") as working:
                template = {"annotations": {"roll": f"{number}"}}
                began = deployment.apply(**SPEC, podTemplate=template)
                deployment.wait_shards(SPEC["shards"])
                times.append(time.monotonic() - began)
            gaps.append(working.gap_s)
            self.judge(f"roll-{number}", working)
        self.report.times(f"roll of 6 pods ({rounds} rounds)", times)
        self.report.times("  longest gap", gaps)
        self.report.times("  longest gap, undisturbed", calm)
        deployment.delete()

    def drains(self, rounds: int) -> None:
        """Drain two of four nodes at once: how long until both are empty, and what clients notice."""
        if reason := self.platform.faults.lacking.get(Fault.LOSE_NODE):
            self.report.say(f"no drains: {reason}")
            return
        deployment, _ = self.fresh("drains")
        times, gaps, calm = [], [], []
        for number in range(rounds):
            deployment.wait_synced(SYNC_LIMIT_S)
            calm.append(undisturbed_gap_s(deployment))
            nodes = sorted({pod["spec"]["nodeName"] for pod in deployment.pods()})[:2]
            with clients(deployment, f"drain-{number}") as working:
                began = time.monotonic()
                self.platform.kubectl("drain", *nodes, *DRAIN, timeout_s=SYNC_LIMIT_S)
                times.append(time.monotonic() - began)
                deployment.wait_synced(SYNC_LIMIT_S)
            self.platform.kubectl("uncordon", *nodes)
            gaps.append(working.gap_s)
            self.judge(f"drain-{number}", working)
        self.report.times(f"drain of two of four nodes ({rounds} rounds)", times)
        self.report.times("  longest gap", gaps)
        self.report.times("  longest gap, undisturbed", calm)
        deployment.delete()

    def judge(self, label: str, working: Clients) -> None:
        """Count what clients of planned work complain about: it must be nothing."""
        for complaint in working.complaints():
            self.report.say(f"  {label}: {complaint}")
            self.complaints += 1

    def memory(self) -> None:
        """Print the resident memory of an empty server and of the operator with one cluster."""
        deployment, _ = self.fresh("memory")
        for pod in deployment.pods()[:1]:
            address = pod["status"]["podIP"]
            info = deployment.client(address).info("memory")
            self.report.say(f"  server, empty: {info['used_memory_rss'] / 1e6:.1f} MB resident")
            self.report.say(f"  metrics: http://{address}:{METRICS_PORT}/metrics")
        deployment.delete()


def main() -> int:
    """Measure everything; return 1 if an acknowledged key was lost."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--alone", type=int, default=6)
    parser.add_argument(
        "--only", default="", help="of ready, kills, back, alone, graceful, rolls, drains, memory"
    )
    parser.add_argument("--compiled", action="store_true", help="run the compiled servers in devcluster")
    parser.add_argument("--write", type=Path, help="append the figures to this file")
    options = parser.parse_args()
    if options.compiled:
        os.environ["REDOUBT_COMPILED"] = "1"
    report = Report("The operator", options.write)
    if directory := os.environ.get("REDOUBT_REALNODE"):
        node = Realnode(directory)
        node.restrict()
        return measure(node, report, options)
    with tempfile.TemporaryDirectory() as state, DevCluster(nodes=4, state=state) as cluster:
        return measure(cluster, report, options)


def is_synced_replica(deployment: Deployment, host: str) -> bool:
    """Ask one member whether it is a replica whose copy is complete and followed."""
    try:
        status = deployment.member_status(host)
    except (redis.exceptions.RedisError, OSError):
        return False
    return status["role"] == "replica" and status["synced"] == "1" and status["link-up"] == "1"


def measure(platform: Platform, report: Report, options: argparse.Namespace) -> int:
    """Run every measurement on a platform."""
    Deployment(platform).install_operator()
    report.say(f"platform: {platform.faults.provider}")
    figures = Figures(platform, report)
    parts: dict[str, Callable[[], None]] = {
        "ready": lambda: figures.apply_to_ready(options.rounds),
        "kills": lambda: figures.kills(options.kills),
        "back": figures.back_in_sync,
        "alone": lambda: figures.kills_alone(options.alone),
        "graceful": lambda: figures.graceful_deletes(options.rounds),
        "rolls": lambda: figures.rolls(options.rounds),
        "drains": lambda: figures.drains(options.rounds),
        "memory": figures.memory,
    }
    for name in options.only.split(",") if options.only else parts:
        parts[name]()
    report.say(f"acknowledged keys lost in all rounds: {figures.lost}")
    report.say(f"complaints of clients in planned work: {figures.complaints}")
    report.close()
    return 1 if figures.lost or figures.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
