"""What a full synchronization at maxmemory costs in memory, under the limit of a real container.

    REDOUBT_REALNODE=<directory> python -m bench.full_sync_memory [--value-bytes 100] [--limit 256Mi]

One shard with one replica is filled until it begins to evict. Then the replica's process is killed,
and while the new one copies everything, two clients overwrite keys as fast as they can. Printed are the
largest resident size (anonymous memory) and the largest usage of each pod's control group, version 1 or 2,
beside its limit. The exit code is 1 if a container was killed for its memory or no synced copy came about.
Nothing here is part of the product.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

import redis

from bench.report import Report
from devcluster.deployment import Deployment
from devcluster.realnode import Realnode

SAMPLE_S: Final = 0.02
BATCH: Final = 500
OVERWRITERS: Final = 2
CGROUPS: Final = Path("/sys/fs/cgroup")


class PodMemory(threading.Thread):
    """Samples the control group of a pod, which outlives its containers."""

    def __init__(self, pod: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self.pod = str(pod["metadata"]["name"])
        self._group = control_group(pod["metadata"]["uid"])
        self._stopping = threading.Event()
        self.resident_bytes = 0
        self.usage_bytes = 0

    def run(self) -> None:
        """Sample until stopped."""
        while not self._stopping.wait(SAMPLE_S):
            resident, usage = self._read()
            self.resident_bytes = max(self.resident_bytes, resident)
            self.usage_bytes = max(self.usage_bytes, usage)

    def stop(self) -> None:
        """End the sampling."""
        self._stopping.set()
        self.join()

    def _read(self) -> tuple[int, int]:
        lines = (self._group / "memory.stat").read_text().splitlines()
        stat = dict(line.split(" ", 1) for line in lines)
        current = self._group / "memory.current"
        if current.exists():
            return int(stat["anon"]), int(current.read_text())
        return int(stat["total_rss"]), int((self._group / "memory.usage_in_bytes").read_text())


def control_group(uid: str) -> Path:
    """Find the memory group of a pod, whatever driver and version made it."""
    names = (f"pod{uid}", f"*pod{uid.replace('-', '_')}.slice")
    for root in (CGROUPS / "memory", CGROUPS):
        for name in names:
            for depth in ("", "*/", "*/*/"):
                for found in root.glob(f"kubepods*/{depth}{name}"):
                    return found
    raise FileNotFoundError(f"no control group of pod {uid} under {CGROUPS}")


def fill(client: redis.Redis, value_bytes: int) -> int:
    """Write keys until the first is evicted; return how many there are."""
    number = 0
    while not client.info("stats")["evicted_keys"]:
        pipe = client.pipeline(transaction=False)
        for each in range(number, number + BATCH):
            pipe.set(f"key:{each}", os.urandom(value_bytes // 2).hex())
        pipe.execute()
        number += BATCH
    return int(client.dbsize())


def overwrite(deployment: Deployment, host: str, keys: int, value_bytes: int, stop: threading.Event) -> None:
    """Overwrite random keys with other values of the same size."""
    client, pick = deployment.client(host), random.Random(keys)
    while not stop.is_set():
        pipe = client.pipeline(transaction=False)
        for _ in range(BATCH):
            pipe.set(f"key:{pick.randrange(keys)}", os.urandom(value_bytes // 2).hex())
        pipe.execute()
    client.close()


def oom_kills(deployment: Deployment) -> int:
    """Count the containers that Kubernetes says were killed for their memory."""
    statuses = [status for pod in deployment.pods() for status in pod["status"].get("containerStatuses", [])]
    states = [
        status.get(key, {}).get("terminated", {}) for status in statuses for key in ("state", "lastState")
    ]
    return sum(state.get("reason") == "OOMKilled" for state in states)


def measure(deployment: Deployment, report: Report, value_bytes: int) -> bool:
    """Fill, kill the replica, watch the synchronization; return whether all went well."""
    deployment.wait_synced()
    master = deployment.master_of(0)
    host, name = master["status"]["podIP"], master["metadata"]["name"]
    replica = next(pod for pod in deployment.pods() if pod["metadata"]["name"] != name)
    client = deployment.client(host)
    keys = fill(client, value_bytes)
    memory = client.info("memory")
    full, maximum = memory["used_memory"], memory["maxmemory"]
    report.say(f"  {keys} keys of {value_bytes} bytes, used {full / 1e6:.1f} of {maximum / 1e6:.1f} MB")
    watched = [PodMemory(master), PodMemory(replica)]
    stop = threading.Event()
    arguments = (deployment, host, keys, value_bytes, stop)
    writers = [threading.Thread(target=overwrite, args=arguments, daemon=True) for _ in range(OVERWRITERS)]
    for thread in (*watched, *writers):
        thread.start()
    deployment.platform.faults.kill(replica["metadata"]["name"], deployment.namespace)
    began = time.monotonic()
    time.sleep(1)  # until the old process no longer counts as in sync anywhere
    try:
        deployment.wait_synced(120)
        report.say(f"  in sync again {time.monotonic() - began:.1f} s after the kill, under writes")
    finally:
        stop.set()
        for writer in writers:
            writer.join()
        for each in watched:
            each.stop()
            resident, usage = each.resident_bytes / 2**20, each.usage_bytes / 2**20
            report.say(f"  {each.pod}: at most {resident:.0f} MiB resident, {usage:.0f} MiB with page cache")
    kills = oom_kills(deployment)
    report.say(f"  containers killed for their memory: {kills}")
    return kills == 0


def main() -> int:
    """Measure on the real node; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--value-bytes", type=int, default=100)
    parser.add_argument("--limit", default="256Mi")
    parser.add_argument("--write", type=Path, help="append the figures to this file")
    options = parser.parse_args()
    directory = os.environ.get("REDOUBT_REALNODE")
    if not directory:
        print("REDOUBT_REALNODE must name a real node: only there memory limits are the kernel's")
        return 2
    report = Report(f"A full synchronization at maxmemory, limit {options.limit}", options.write)
    node = Realnode(directory)
    node.restrict()
    deployment = Deployment(node, "full-sync")
    deployment.install_operator()
    resources = {"requests": {"cpu": "50m", "memory": options.limit}, "limits": {"memory": options.limit}}
    memory = {"evictionPolicy": "allkeys-lru"}  # so that writes go on when it is full
    deployment.apply(shards=1, replicasPerShard=1, resources=resources, memory=memory)
    deployment.wait_ready()
    try:
        is_well = measure(deployment, report, options.value_bytes)
    finally:
        deployment.delete()
        report.close()
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
