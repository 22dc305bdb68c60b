"""A real Kubernetes node as a platform for the same tests and figures: kubectl with its kubeconfig, its
faults, and volumes for those who ask for some.

The directory holds `bin/kubectl` and `k8s/admin.conf`, as whoever set the node up left them. Nothing is
started or stopped here. Such a node has no provisioner of volumes, so `offer_volumes` makes local ones by
hand. Called where the environment names such a directory in REDOUBT_REALNODE.
"""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any, Final

from devcluster.faults import RealnodeFaults

RESTRICTED: Final = "pod-security.kubernetes.io/enforce=restricted"
VOLUME_LABEL: Final = "redoubt.dev/realnode=volume"


class Realnode:
    """A running real node, identified by its directory."""

    def __init__(self, directory: str | Path) -> None:
        self.directory: Final = Path(directory)
        self.faults: Final = RealnodeFaults(directory)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.directory / "k8s" / "admin.conf"

    def kubectl(
        self, *arguments: str, input: str | None = None, check: bool = True, timeout_s: float = 120
    ) -> str:
        """Run kubectl as the administrator; return its output, RuntimeError if it fails."""
        command = [str(self.directory / "bin" / "kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(command, input=input, capture_output=True, text=True, timeout=timeout_s)
        if check and done.returncode:
            raise RuntimeError(f"kubectl {' '.join(arguments)} failed: {done.stderr.strip()}")
        return done.stdout

    def restrict(self, namespace: str = "default") -> None:
        """Enforce the restricted Pod Security level in a namespace."""
        self.kubectl("label", "namespace", namespace, RESTRICTED, "--overwrite")

    def offer_volumes(self, count: int, size: str = "1Gi") -> None:
        """Make empty local volumes without a class, each for one claim; those of earlier calls go."""
        self.kubectl("delete", "pv", "-l", VOLUME_LABEL, "--wait=false")
        batch = time.strftime("%H%M%S")
        volumes = [self._volume(f"local-{batch}-{number}", size) for number in range(count)]
        self.kubectl(
            "apply", "-f", "-", input=json.dumps({"kind": "List", "apiVersion": "v1", "items": volumes})
        )

    def _volume(self, name: str, size: str) -> dict[str, Any]:
        # A local volume, not a hostPath: the kubelet gives it to the pod's group as it does with real disks.
        path = self.directory / "volumes" / name
        path.mkdir(parents=True)
        node = self.kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
        label, _, value = VOLUME_LABEL.partition("=")
        here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
        return {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name, "labels": {label: value}},
            "spec": {
                "capacity": {"storage": size},
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "",
                "local": {"path": str(path)},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
            },
        }
