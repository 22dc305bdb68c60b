"""Fixtures of devcluster's own tests: the shared cluster, and a maker of small pods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from devcluster.cluster import DevCluster
from devcluster.pytest_plugin import pytest_configure as pytest_configure

Maker = Callable[..., dict[str, Any]]


@pytest.fixture
def run_pod(cluster: DevCluster, namespace: str) -> Maker:
    """Create a pod whose one container runs a shell script; returns the object as created.

    Keywords whose names are fields of a container (`livenessProbe`) go there, all others into the pod's spec.
    """
    of_container = {
        "image", "command", "args", "env", "resources", "lifecycle", "ports", "volumeMounts",
        "readinessProbe", "livenessProbe", "startupProbe", "securityContext",
        "terminationMessagePolicy", "envFrom",
    }  # fmt: skip

    def run(name: str, script: str, labels: dict[str, str] | None = None, **fields: Any) -> dict[str, Any]:
        container = {"name": "main", "image": "devcluster-tools", "command": ["sh", "-c", script]}
        container |= {field: value for field, value in fields.items() if field in of_container}
        spec = {"terminationGracePeriodSeconds": 2, "containers": [container]}
        spec |= {field: value for field, value in fields.items() if field not in of_container}
        metadata = {"name": name, "labels": labels or {"app": name}}
        cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}, namespace)
        return cluster.pod(name, namespace)

    return run


@pytest.fixture
def container_status(cluster: DevCluster, namespace: str) -> Callable[[str], dict[str, Any]]:
    """Return the status of a pod's first container; empty before the kubelet reported one."""

    def status(name: str) -> dict[str, Any]:
        statuses = cluster.pod(name, namespace).get("status", {}).get("containerStatuses")
        return statuses[0] if statuses else {}

    return status
