"""The main job, shown from beginning to end: `make demo`.

A real Kubernetes control plane starts on loopback, the operator is installed from manifests/, one
RedoubtCluster is applied, and a cluster of three shards serves. 100,000 keys are written through
redis-py's own cluster client, a master is killed with SIGKILL while writers are at work, and everything
that was acknowledged is read back. Nothing here is simulated: the same manifests and commands work on any
Kubernetes. `KEEP=1 make demo` leaves it running.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Final

from redis.cluster import RedisCluster

from devcluster.cluster import DevCluster
from devcluster.deployment import REPOSITORY, Deployment

KEYS: Final = 100_000
BATCH: Final = 500
KILLED_SHARD: Final = 0
WRITING_BEFORE_KILL_S: Final = 1.0
WRITING_AFTER_KILL_S: Final = 3.0


def say(text: str = "") -> None:
    """Print one line of the demo's story."""
    print(text, flush=True)


def headline(text: str) -> None:
    """Print what comes next."""
    say(f"\n\033[1m== {text}\033[0m" if sys.stdout.isatty() else f"\n== {text}")


def write_keys(client: RedisCluster) -> None:
    """Write KEYS keys in pipelines, with progress."""
    began = time.monotonic()
    for first in range(0, KEYS, BATCH):
        pipeline = client.pipeline()
        for number in range(first, first + BATCH):
            pipeline.set(f"demo:{number}", f"value-{number}")
        pipeline.execute()
        done = first + BATCH
        if done % 20_000 == 0:
            say(f"   {done:>7,} keys, {done / (time.monotonic() - began):,.0f} a second")


def count_lost(client: RedisCluster) -> int:
    """Read every key of `write_keys` back and count the missing ones."""
    lost = 0
    for first in range(0, KEYS, BATCH):
        pipeline = client.pipeline()
        for number in range(first, first + BATCH):
            pipeline.get(f"demo:{number}")
        for number, value in enumerate(pipeline.execute(), first):
            lost += value != f"value-{number}".encode()
    return lost


def show_shards(deployment: Deployment) -> None:
    """Print each member with its memory and evictions, as scraped now from its Prometheus endpoint."""
    head = f"{'SHARD':<6}{'POD':<12}{'ROLE':<9}{'STATE':<9}{'SLOTS':<13}"
    say(f"   {head}{'KEYS':>8}{'MEMORY':>12}{'OF MAX':>8}{'EVICTED':>9}")
    addresses = {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in deployment.pods()}
    for shard in deployment.resource()["status"]["shards"]:
        for member in shard["members"]:
            figures = deployment.scrape(addresses[member["pod"]])
            used, most = figures["redis_memory_used_bytes"], figures["redis_memory_max_bytes"]
            share = f"{used / most:.0%}" if most else "-"
            slots = shard["slots"] if member["role"] == "master" else ""
            say(
                f"   {shard['shard']:<6}{member['pod']:<12}{member['role']:<9}{member['state']:<9}{slots:<13}"
                f"{figures['redis_db_keys']:>8,.0f}{used / 1_048_576:>8.1f} MiB{share:>8}"
                f"{figures['redis_evicted_keys_total']:>9,.0f}"
            )


def show_failover(deployment: Deployment) -> int:
    """Kill a master under writers; say what happened; return the number of acknowledged keys lost."""
    victim = deployment.master_of(KILLED_SHARD)["metadata"]["name"]
    with deployment.writer(KILLED_SHARD) as writer, deployment.writer(1) as bystander:
        time.sleep(WRITING_BEFORE_KILL_S)
        killed = time.monotonic()
        deployment.platform.faults.kill(victim, deployment.namespace)
        say(f"   killed {victim}, the master of shard {KILLED_SHARD} (SIGKILL)")
        time.sleep(WRITING_AFTER_KILL_S)
    successor = deployment.master_of(KILLED_SHARD)["metadata"]["name"]
    say(f"   {successor} was promoted; the shard took no write for {writer.longest_gap_s:.2f} s")
    say(f"   the longest gap of shard 1 in the same time: {bystander.longest_gap_s:.2f} s")
    deployment.wait_synced()
    status = deployment.member_status(deployment.pods_of(KILLED_SHARD)[0]["status"]["podIP"])
    say(
        f"   {victim} is back as a synced replica after {time.monotonic() - killed:.1f} s ({status['phase']})"
    )
    lost = len(deployment.missing_keys(writer)) + len(deployment.missing_keys(bystander))
    acknowledged = len(writer.acknowledged) + len(bystander.acknowledged)
    say(f"   acknowledged by the writers: {acknowledged:,} keys; lost: {lost}")
    return lost


def play(cluster: DevCluster) -> int:
    """Run the demo on a started devcluster; return the exit code."""
    deployment = Deployment(cluster)
    headline("the operator, installed from manifests/")
    began = time.monotonic()
    deployment.install_operator()
    say(f"   CRD, RBAC and the operator are there after {time.monotonic() - began:.1f} s")

    headline("kubectl apply -f manifests/samples/cluster.yaml")
    began = time.monotonic()
    cluster.kubectl("apply", "-f", str(REPOSITORY / "manifests" / "samples" / "cluster.yaml"))
    deployment.wait_ready()
    say(f"   Ready after {time.monotonic() - began:.1f} s: 3 masters, 3 replicas, 16384 slots")
    say(cluster.kubectl("get", "rdc"))
    say(cluster.kubectl("get", "pods", "-L", "redoubt.dev/shard,redoubt.dev/role", "-o", "wide"))

    headline(f"{KEYS:,} keys through redis-py's RedisCluster")
    client = deployment.cluster_client()
    write_keys(client)

    headline("a master is killed while clients write")
    lost = show_failover(deployment)
    lost += count_lost(client)
    client.close()
    say(f"   all {KEYS:,} keys read back; acknowledged keys missing: {lost}")

    headline("what the resource says")
    deployment.wait_ready()
    show_shards(deployment)
    failover = deployment.resource()["status"]["lastFailover"]
    way = f"{failover['from']} -> {failover['to']}"
    say(f"   last failover: {way}, unavailable for {failover['unavailableSeconds']} s as the operator saw it")
    say("\n" + cluster.kubectl("get", "rdc"))
    return 1 if lost else 0


def main() -> int:
    """Run the demo from nothing to nothing."""
    began = time.monotonic()
    headline("a Kubernetes control plane on loopback (built once, then cached)")
    cluster = DevCluster(nodes=3)
    try:
        cluster.up()
        code = play(cluster)
    finally:
        if os.environ.get("KEEP"):
            say(f"\nLeft running: export KUBECONFIG={cluster.kubeconfig}")
            say("Stop it with: python -m devcluster down")
        else:
            cluster.down()
    say(f"\nDone in {time.monotonic() - began:.0f} s (servers interpreted; the image's build is compiled).")
    return code


if __name__ == "__main__":
    sys.exit(main())
