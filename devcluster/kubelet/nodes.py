"""The Node objects: made at the start, kept Ready by renewing a Lease, silent when the node is lost.

The node lifecycle controller judges by the age of the Lease alone; conditions are written when they change
and every few minutes. A lost node only falls silent: no API write says so, as no machine announces its
power failure. Called by `kubelet.py`. Rules: "Node heartbeats" in the Kubernetes documentation.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Final

import aiohttp

from devcluster.kubelet.api import MERGE, STRATEGIC_MERGE, ApiClient, ApiError, Object
from devcluster.kubelet.timestamps import micro_time_text, now_text

LOG: Final = logging.getLogger("devcluster.nodes")
LEASE_INTERVAL_S: Final = 2.0  # the controller's grace period is 8 s: three may be lost
LEASE_DURATION_S: Final = 8
STATUS_INTERVAL_S: Final = 120.0
LEASES: Final = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
ZONES: Final = 3
PODS_MAX: Final = 110
CPUS_PER_NODE: Final = 32  # pods share the machine's CPUs; requests must never be what keeps a pod Pending
MEMORY_PER_NODE: Final = "64Gi"


class Node:
    """One node as the API knows it."""

    def __init__(self, client: ApiClient, index: int, name: str, address: str, kubelet_port: int) -> None:
        self._client = client
        self.name: Final = name
        self.index: Final = index
        self.address: Final = address
        self.zone: Final = f"z{index % ZONES + 1}"
        self._kubelet_port = kubelet_port
        self._ready_since = now_text()
        self.is_lost = False

    async def run(self) -> None:
        """Register, then renew for ever; errors are for the next turn."""
        is_registered = False
        status_due = 0.0
        loop = asyncio.get_running_loop()
        while True:
            try:
                if not self.is_lost:
                    if not is_registered:
                        await self._register()
                        is_registered = True
                    await self._renew_lease()
                    if loop.time() >= status_due:
                        await self._client.patch(
                            f"/api/v1/nodes/{self.name}/status", self._status(), STRATEGIC_MERGE
                        )
                        status_due = loop.time() + STATUS_INTERVAL_S
                else:
                    status_due = 0.0
            except (TimeoutError, ApiError, aiohttp.ClientError) as failed:
                LOG.warning("heartbeat of %s: %s", self.name, failed)
                is_registered, status_due = False, 0.0
            await asyncio.sleep(LEASE_INTERVAL_S if is_registered or self.is_lost else 0.2)

    async def restore(self) -> None:
        """Report Ready again after the node was lost."""
        self.is_lost = False
        self._ready_since = now_text()
        await self._renew_lease()
        await self._client.patch(f"/api/v1/nodes/{self.name}/status", self._status(), STRATEGIC_MERGE)

    async def _register(self) -> None:
        labels = {
            "kubernetes.io/hostname": self.name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": "arm64" if os.uname().machine == "aarch64" else "amd64",
            "topology.kubernetes.io/zone": self.zone,
            "topology.kubernetes.io/region": "devcluster",
        }
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.name, "labels": labels}}
        try:
            await self._client.create("/api/v1/nodes", node)
        except ApiError as failed:
            if failed.status != 409:
                raise
            await self._client.patch(f"/api/v1/nodes/{self.name}", {"metadata": {"labels": labels}}, MERGE)

    async def _renew_lease(self) -> None:
        spec = {
            "holderIdentity": self.name,
            "leaseDurationSeconds": LEASE_DURATION_S,
            "renewTime": micro_time_text(),
        }
        try:
            await self._client.patch(f"{LEASES}/{self.name}", {"spec": spec}, MERGE)
        except ApiError as failed:
            if failed.status != 404:
                raise
            lease = {"metadata": {"name": self.name, "namespace": "kube-node-lease"}, "spec": spec}
            await self._client.create(LEASES, lease)

    def _status(self) -> Object:
        seen = now_text()

        def condition(kind: str, status: str, reason: str) -> Object:
            return {
                "type": kind,
                "status": status,
                "reason": reason,
                "message": "devcluster's kubelet is posting ready status" if kind == "Ready" else reason,
                "lastHeartbeatTime": seen,
                "lastTransitionTime": self._ready_since,
            }

        resources = {
            "cpu": str(CPUS_PER_NODE),
            "memory": MEMORY_PER_NODE,
            "pods": str(PODS_MAX),
            "ephemeral-storage": "100Gi",
        }
        return {
            "status": {
                "capacity": resources,
                "allocatable": resources,
                "conditions": [
                    condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
                    condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
                    condition("PIDPressure", "False", "KubeletHasSufficientPID"),
                    condition("Ready", "True", "KubeletReady"),
                ],
                "addresses": [
                    {"type": "InternalIP", "address": self.address},
                    {"type": "Hostname", "address": self.name},
                ],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": self._kubelet_port}},
                # With it the API server passes kubectl's WebSockets on to us; without, it would speak SPDY.
                "declaredFeatures": ["ExtendWebSocketsToKubelet"],
                "nodeInfo": {
                    "architecture": "arm64" if os.uname().machine == "aarch64" else "amd64",
                    "bootID": "",
                    "containerRuntimeVersion": "devcluster://1",
                    "kernelVersion": os.uname().release,
                    "kubeProxyVersion": "",
                    "kubeletVersion": "v1.36.0-devcluster",
                    "machineID": "",
                    "operatingSystem": "linux",
                    "osImage": "devcluster",
                    "systemUUID": "",
                },
            }
        }
