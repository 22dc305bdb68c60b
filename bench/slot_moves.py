"""Slots that move while clients write: 3 -> 4 shards and back, ours beside redis-server with redis-cli.

    python -m bench.slot_moves [--rounds 5] [--keys 200000] [--only NAME,...] [--interpreted] [--write FILE]

Every contender gets the same data (200,000 keys of 100 bytes) and the same clients: a writer on every shard,
and redis-py's cluster client over all slots, whose every exception counts. Measured each time: how long the
move takes, the moved keys per second, the longest gap of any shard's writer beside the gap of an undisturbed
time in the same run, and what was lost. Contenders: `redis-cli` on redis-server, `redis-cli` on our server,
CLUSTER MIGRATESLOTS on our server, and the operator, by an edit of `spec.shards`, on a devcluster (on a real
node if REDOUBT_REALNODE names one). A lost key or an error of a client makes the exit code 1.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Protocol

from redis.cluster import RedisCluster

from bench.cluster_processes import SHARDS, ProcessCluster
from bench.report import Report
from bench.server import commands
from devcluster.cluster import DevCluster
from devcluster.cluster_writer import ClusterWriter
from devcluster.dataset import Dataset, reader
from devcluster.deployment import Deployment, Platform
from devcluster.realnode import Realnode
from devcluster.writer import ShardWriter

SPEC: Final[dict[str, Any]] = {
    "replicasPerShard": 1,
    "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
}
VALUE_BYTES: Final = 100
UNDISTURBED_S: Final = 3.0
WARMUP_S: Final = 0.7


class Contender(Protocol):
    """A cluster of three shards whose keys can be spread over four and gathered again."""

    name: str

    def client(self) -> RedisCluster:
        """Connect as applications do."""
        ...

    def writers(self, prefix: str) -> Sequence[ShardWriter]:
        """Make a writer for each shard."""
        ...

    def spread(self) -> None:
        """Go from 3 shards to 4, and return when it is done."""
        ...

    def gather(self) -> None:
        """Go back to 3."""
        ...

    def moved_keys(self) -> int:
        """Count the keys of the fourth shard."""
        ...


class Processes:
    """Bare processes, moved `how`: `reshard` (redis-cli) or `migrate` (CLUSTER MIGRATESLOTS)."""

    def __init__(self, name: str, cluster: ProcessCluster, how: str) -> None:
        self.name = name
        self._cluster = cluster
        self._how = how

    def client(self) -> RedisCluster:
        """Connect as applications do."""
        return self._cluster.client()

    def writers(self, prefix: str) -> Sequence[ShardWriter]:
        """Make a writer for each master with slots."""
        return self._cluster.writers(prefix)

    def spread(self) -> None:
        """Give the fourth master a quarter of the slots."""
        self._cluster.spread(self._how)

    def gather(self) -> None:
        """Give them back."""
        self._cluster.gather(self._how)

    def moved_keys(self) -> int:
        """Count the keys of the fourth master."""
        return self._cluster.keys_of(SHARDS)


class Resource:
    """A RedoubtCluster whose `spec.shards` is edited; each shard has a replica."""

    def __init__(self, name: str, platform: Platform) -> None:
        self.name = name
        self._deployment = Deployment(platform, "moves")
        self._deployment.apply(shards=SHARDS, **SPEC)
        self._deployment.wait_ready()
        self._deployment.wait_synced()

    def client(self) -> RedisCluster:
        """Connect as applications do."""
        return self._deployment.cluster_client()

    def writers(self, prefix: str) -> Sequence[ShardWriter]:
        """Make a writer for each shard."""
        shards = {int(pod["metadata"]["labels"]["redoubt.dev/shard"]) for pod in self._deployment.pods()}
        return [self._deployment.writer(shard, prefix=f"{prefix}-{shard}") for shard in sorted(shards)]

    def spread(self) -> None:
        """Ask for four shards and wait until the operator has nothing left to do."""
        self._deployment.apply(shards=SHARDS + 1, **SPEC)
        self._deployment.wait_shards(SHARDS + 1)

    def gather(self) -> None:
        """Ask for three again."""
        self._deployment.apply(shards=SHARDS, **SPEC)
        self._deployment.wait_shards(SHARDS)

    def moved_keys(self) -> int:
        """Count the keys of the fourth shard's master."""
        host = self._deployment.master_of(SHARDS)["status"]["podIP"]
        return int(self._deployment.client(host).dbsize())

    def close(self) -> None:
        """Delete the resource."""
        self._deployment.delete()


class Round:
    """What one move cost its clients."""

    def __init__(self, seconds: float, writers: Sequence[ShardWriter], application: ClusterWriter) -> None:
        self.seconds = seconds
        self.gap_s = max([application.longest_gap_s, *(one.longest_gap_s for one in writers)])
        self.errors = application.errors


class Trial:
    """All rounds of one contender."""

    def __init__(self, contender: Contender, keys: int, report: Report) -> None:
        self.contender = contender
        self._dataset = Dataset(keys, VALUE_BYTES)
        self._report = report
        self.calm: list[Round] = []
        self.spread: list[Round] = []
        self.gather: list[Round] = []
        self.moved: list[int] = []
        self.lost = 0

    def load(self) -> None:
        """Write the data."""
        client = self.contender.client()
        self._dataset.write(client)
        client.close()

    def run(self, number: int) -> None:
        """Measure one undisturbed time, one move there and one back; then read everything."""
        self.calm.append(self._during(f"calm-{number}", lambda: time.sleep(UNDISTURBED_S)))
        self.spread.append(self._during(f"spread-{number}", self.contender.spread))
        self.moved.append(self.contender.moved_keys())
        self.gather.append(self._during(f"gather-{number}", self.contender.gather))
        client = self.contender.client()
        self.lost += self._dataset.lost(client)
        client.close()
        there, back = self.spread[-1], self.gather[-1]
        self._report.say(
            f"  {self.contender.name}, round {number}: there {there.seconds:.2f} s, gap {there.gap_s:.3f} s;"
            f" back {back.seconds:.2f} s, gap {back.gap_s:.3f} s; undisturbed {self.calm[-1].gap_s:.3f} s;"
            f" {self.moved[-1]} keys moved; lost so far {self.lost}"
        )

    @property
    def errors(self) -> list[str]:
        """Every exception of the application's client."""
        return [error for one in (*self.calm, *self.spread, *self.gather) for error in one.errors]

    def row(self) -> str:
        """Write the line of the table."""
        there_s, back_s = (
            _median(one.seconds for one in self.spread),
            _median(one.seconds for one in self.gather),
        )
        moved = statistics.median(self.moved)
        return (
            f"| {self.contender.name} | {there_s:.2f} s | {moved / there_s:,.0f} | {self._gap(self.spread)} "
            f"| {back_s:.2f} s | {moved / back_s:,.0f} | {self._gap(self.gather)} | {self._gap(self.calm)} "
            f"| {len(self.errors)} | {self.lost} |"
        )

    def _gap(self, rounds: Sequence[Round]) -> str:
        return f"{_median(one.gap_s for one in rounds):.3f} s"

    def _during(self, label: str, action: Callable[[], None]) -> Round:
        """Run the writers, and meanwhile the action; lost acknowledged writes are counted."""
        writers = self.contender.writers(label)
        application = ClusterWriter(self.contender.client(), prefix=f"app-{label}")
        with ExitStack() as running:
            for one in (*writers, application):
                running.enter_context(one)
            time.sleep(WARMUP_S)
            began = time.monotonic()
            action()
            seconds = time.monotonic() - began
            time.sleep(WARMUP_S)
        client = self.contender.client()
        for one in (*writers, application):
            missing = one.missing(reader(client))
            self.lost += len(missing)
            if missing:
                self._report.say(f"  {label}: {len(missing)} acknowledged keys lost, {missing[:5]}")
        client.close()
        for error in application.errors:
            self._report.say(f"  {label}: client error: {error}")
        return Round(seconds, writers, application)


def _median(values: Any) -> float:
    return statistics.median(values)


HEAD: Final = (
    "| | 3 -> 4 | keys/s | gap | 4 -> 3 | keys/s | gap | undisturbed | client errors | keys lost |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def main() -> int:
    """Run all contenders in alternating rounds; return 1 if a key was lost or our client saw an error."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keys", type=int, default=200_000)
    parser.add_argument("--only", default="", help="of redis, reshard, migrate, operator")
    parser.add_argument("--interpreted", action="store_true", help="our servers interpreted, not compiled")
    parser.add_argument("--write", type=Path, help="write the figures into this file")
    options = parser.parse_args()
    build = "interpreted" if options.interpreted else "compiled"
    wanted = options.only.split(",") if options.only else ["redis", "reshard", "migrate", "operator"]
    if build == "compiled":
        os.environ["REDOUBT_COMPILED"] = "1"
    report = Report("Slot moves", options.write)
    report.say(f"{options.keys:,} keys of {VALUE_BYTES} bytes, {options.rounds} rounds, {build} server")
    with ExitStack() as resources:
        contenders = _contenders(wanted, build, resources)
        trials = [Trial(one, options.keys, report) for one in contenders]
        for trial in trials:
            trial.load()
        for number in range(options.rounds):
            for trial in trials if number % 2 == 0 else reversed(trials):
                trial.run(number)
    report.say("\n".join([HEAD, *(trial.row() for trial in trials)]))
    report.close()
    is_ours = [trial for trial in trials if "redis-server" not in trial.contender.name]
    return 1 if any(trial.lost or trial.errors for trial in is_ours) else 0


def _contenders(wanted: list[str], build: str, resources: ExitStack) -> list[Contender]:
    found = commands([build])
    if build not in found:
        raise SystemExit(f"the {build} server is not installed: make install, make compiled")
    contenders: list[Contender] = []
    for kind, program, how, name in (
        ("redis", "redis-server", "reshard", "redis-cli reshard on redis-server"),
        ("reshard", build, "reshard", "redis-cli reshard on Redoubt"),
        ("migrate", build, "migrate", "CLUSTER MIGRATESLOTS"),
    ):
        if kind in wanted:
            cluster = ProcessCluster(name, found[program])
            resources.callback(cluster.stop)
            contenders.append(Processes(name, cluster, how))
    if "operator" in wanted:
        resource = Resource("operator, spec.shards", platform(resources))
        resources.callback(resource.close)
        contenders.append(resource)
    return contenders


def platform(resources: ExitStack) -> Platform:
    """Start a devcluster, or take the real node, and install the operator."""
    if directory := os.environ.get("REDOUBT_REALNODE"):
        node = Realnode(directory)
        node.restrict()
        Deployment(node).install_operator()
        return node
    state = resources.enter_context(tempfile.TemporaryDirectory())
    cluster = resources.enter_context(DevCluster(nodes=4, state=state))
    Deployment(cluster).install_operator()
    return cluster


if __name__ == "__main__":
    sys.exit(main())
