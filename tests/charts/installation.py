"""A devcluster with helm, as a person at a terminal has it, and the objects that docs/ shows."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

from devcluster.cluster import DevCluster

ROOT = Path(__file__).resolve().parents[2]
OPERATOR_CHART = ROOT / "charts" / "redoubt-operator"
CLUSTER_CHART = ROOT / "charts" / "redoubt-cluster"
SYSTEM = "redoubt-system"
SMALL = {
    "shards": 1,
    "replicasPerShard": 1,
    "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "160Mi"}},
}
Json = dict[str, Any]


class Installed:
    """A devcluster with helm: what a person does at a terminal."""

    def __init__(self, cluster: DevCluster, helm: str) -> None:
        self.cluster = cluster
        self._helm = helm

    def helm(self, *arguments: str, values: Json | None = None) -> str:
        """Run helm as administrator; RuntimeError with its message if it fails."""
        command = [self._helm, f"--kubeconfig={self.cluster.kubeconfig}", *arguments]
        if values is not None:
            command += ["--values", "-"]
        text = None if values is None else json.dumps(values)
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=180)
        if done.returncode:
            raise RuntimeError(f"helm {' '.join(arguments)} failed: {done.stderr.strip()}")
        return done.stdout

    def apply(self, manifest: Json, *options: str) -> str:
        """Apply an object in the namespace that it names."""
        return self.cluster.kubectl("apply", "-f", "-", *options, input=json.dumps(manifest))

    def install_operator(
        self, chart: Path = OPERATOR_CHART, options: tuple[str, ...] = (), **values: Any
    ) -> None:
        """Install or upgrade the operator's release and wait until it runs."""
        place = ["--namespace", SYSTEM, "--create-namespace", "--wait", "--timeout=90s"]
        self.helm("upgrade", "--install", "redoubt-operator", str(chart), *place, *options, values=values)

    def uninstall_operator(self) -> None:
        place = ["--namespace", SYSTEM, "--ignore-not-found", "--wait", "--timeout=60s"]
        self.helm("uninstall", "redoubt-operator", *place)
        # helm waits for the Deployment; its pods go after it.
        self.cluster.wait_until(lambda: not self.operator_pods(), 60, "operator pods are gone")

    def has_operator(self) -> bool:
        """Whether the chart's operator runs by its defaults, as far as its Deployment tells."""
        found = self.cluster.try_kubectl(
            "get", "deployment", "redoubt-operator", "-n", SYSTEM, "-o", "jsonpath={.status.readyReplicas}"
        )
        return found.stdout == "2"

    def operator_pods(self) -> list[Json]:
        return self.cluster.list("pods", SYSTEM, "app.kubernetes.io/name=redoubt-operator")

    def resource(self, name: str, namespace: str) -> Json:
        return self.cluster.get("rdc", name, namespace)

    def wait_ready(self, name: str, namespace: str) -> None:
        self.cluster.kubectl("wait", "--for=condition=Ready", f"rdc/{name}", "-n", namespace, "--timeout=90s")
        self.cluster.kubectl(
            "wait", "--for=condition=Reconciling=False", f"rdc/{name}", "-n", namespace, "--timeout=60s"
        )

    def members(self, name: str, namespace: str) -> dict[str, tuple[str, int]]:
        """Each server pod with its uid and the restarts of its container."""
        return {
            pod["metadata"]["name"]: (
                pod["metadata"]["uid"],
                pod["status"]["containerStatuses"][0]["restartCount"],
            )
            for pod in self.cluster.list("pods", namespace, f"redoubt.dev/cluster={name}")
        }


def resource(name: str, namespace: str, spec: Json, **metadata: Any) -> Json:
    """A RedoubtCluster as it would lie in git."""
    return {
        "apiVersion": "redoubt.dev/v1alpha1",
        "kind": "RedoubtCluster",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "spec": spec,
    }


def documents(page: str) -> list[Json]:
    """The objects in the YAML blocks of a page of docs/."""
    blocks = (ROOT / "docs" / page).read_text().split("```yaml\n")[1:]
    return [one for block in blocks for one in yaml.safe_load_all(block.partition("```")[0])]
