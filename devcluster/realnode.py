"""A real Kubernetes node as a platform for the same tests and figures: kubectl with its kubeconfig, and its
faults.

The directory holds `bin/kubectl` and `k8s/admin.conf`, as whoever set the node up left them. Nothing is
started or stopped here. Called where the environment names such a directory in REDOUBT_REALNODE.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from devcluster.faults import RealnodeFaults


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
