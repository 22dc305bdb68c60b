"""What a GitOps tool sees: no difference once Ready, nobody who fights it, nothing left after pruning."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.charts.installation import ROOT, SMALL, SYSTEM, Installed, Json, resource

pytestmark = pytest.mark.cluster

FLUX = ("--server-side", "--field-manager=kustomize-controller")
ARGO = ("--server-side", "--field-manager=argocd-controller")
MADE_KINDS = "pods,services,configmaps,secrets,poddisruptionbudgets,persistentvolumeclaims"
# By these a tool knows what belongs to it; an object that carries them by accident is pruned.
TRACKING: dict[str, Any] = {
    "labels": {
        "app.kubernetes.io/instance": "shop-caches",
        "kustomize.toolkit.fluxcd.io/name": "shop-caches",
        "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
    },
    "annotations": {"argocd.argoproj.io/tracking-id": "shop-caches:redoubt.dev/RedoubtCluster:shop/cache"},
}


def differences(installed: Installed, manifest: Json, *options: str) -> str:
    """What `kubectl diff` prints; empty when nothing would change."""
    done = installed.cluster.try_kubectl("diff", "-f", "-", *options, input=json.dumps(manifest))
    assert done.returncode <= 1, done.stderr
    return done.stdout


def made(installed: Installed, namespace: str) -> list[Json]:
    """What the operator has made for the clusters of a namespace."""
    text = installed.cluster.kubectl(
        "get", MADE_KINDS, "-n", namespace, "-l", "redoubt.dev/cluster", "-o", "json"
    )
    items: list[Json] = json.loads(text)["items"]
    return items


def owned_by_operator(found: Json) -> set[tuple[str, str]]:
    """The top-level fields, with the subresource through which the operator wrote them."""
    return {
        (entry.get("subresource", ""), field)
        for entry in found["metadata"]["managedFields"]
        if entry["manager"] == "redoubt-operator"
        for field in entry["fieldsV1"]
    }


def test_nothing_differs_once_it_is_ready(installed: Installed, namespace: str) -> None:
    tools = {"flux": FLUX, "argo": ARGO, "kubectl": ()}
    applied = {name: resource(name, namespace, SMALL, **TRACKING) for name in tools}
    for name, manifest in applied.items():
        installed.apply(manifest, *tools[name])
    for name, manifest in applied.items():
        installed.wait_ready(name, namespace)
        assert differences(installed, manifest, *tools[name]) == "", name
        get = ["get", "rdc", name, "-n", namespace, "-o", "json", "--show-managed-fields"]
        found = json.loads(installed.cluster.kubectl(*get))
        assert owned_by_operator(found) == {("status", "f:status")}
        assert found["metadata"]["generation"] == 1
        assert found["spec"] == SMALL
        assert "finalizers" not in found["metadata"]
    children = made(installed, namespace)
    assert len([one for one in children if one["kind"] == "Pod"]) == 6
    for child in children:
        metadata = child["metadata"]
        assert metadata.get("labels", {}).get("app.kubernetes.io/instance") != "shop-caches"
        assert not [name for name in metadata.get("labels", {}) if "fluxcd" in name]
        assert not [name for name in metadata.get("annotations", {}) if "argocd" in name]


def test_an_edit_in_git_is_followed_and_an_edit_by_hand_is_taken_back(
    installed: Installed, namespace: str
) -> None:
    manifest = resource("cache", namespace, SMALL)
    installed.apply(manifest, *FLUX)
    installed.wait_ready("cache", namespace)
    patch = ["patch", "rdc", "cache", "-n", namespace, "--type=merge"]
    installed.cluster.kubectl(*patch, "-p", '{"spec": {"replicasPerShard": 2}}')
    assert "replicasPerShard" in differences(installed, manifest, *FLUX, "--force-conflicts")
    installed.apply(manifest, *FLUX, "--force-conflicts")
    wanted = resource("cache", namespace, SMALL | {"config": {"timeout": "60"}})
    installed.apply(wanted, *FLUX)
    installed.cluster.wait_until(
        lambda: installed.resource("cache", namespace)["status"]["observedGeneration"] == 4,
        30,
        "generation 4",
    )
    installed.wait_ready("cache", namespace)
    assert differences(installed, wanted, *FLUX) == ""


@pytest.mark.parametrize("runs", [True, False], ids=["with-operator", "without-operator"])
def test_deletion_leaves_nothing_but_retained_volumes(
    installed: Installed, namespace: str, runs: bool
) -> None:
    kept = resource("kept", namespace, SMALL | {"storage": {"size": "1Gi", "reclaim": "Retain"}})
    gone = resource("gone", namespace, SMALL | {"storage": {"size": "1Gi", "reclaim": "Delete"}})
    for manifest in (kept, gone):
        installed.apply(manifest, *FLUX)
    for name in ("kept", "gone"):
        installed.wait_ready(name, namespace)
    # Kubernetes protects a mounted volume by a finalizer of its own; ours there are none.
    assert not [
        one["metadata"]
        for one in made(installed, namespace)
        if set(one["metadata"].get("finalizers") or ()) - {"kubernetes.io/pvc-protection"}
    ]
    if not runs:
        installed.uninstall_operator()
    installed.cluster.kubectl("delete", "rdc", "kept", "gone", "-n", namespace, "--timeout=30s")
    volumes = {"PersistentVolumeClaim/data-kept-0-0", "PersistentVolumeClaim/data-kept-0-1"}
    installed.cluster.wait_until(
        lambda: {f"{one['kind']}/{one['metadata']['name']}" for one in made(installed, namespace)} == volumes,
        60,
        "only the retained volumes are left",
    )
    for claim in made(installed, namespace):
        # Argo CD before version 3 prunes what carries this label and has no owner.
        assert "app.kubernetes.io/instance" not in claim["metadata"]["labels"]


def test_the_manifests_are_written_as_the_api_server_keeps_them(bare: Installed) -> None:
    bare.uninstall_operator()
    try:
        options = ["--server-side", "--field-manager=kustomize-controller", "--force-conflicts"]
        bare.cluster.kubectl("apply", "-k", str(ROOT / "manifests"), *options)
        bare.cluster.kubectl(
            "rollout", "status", "deployment/redoubt-operator", "-n", SYSTEM, "--timeout=60s"
        )
        diff: subprocess.CompletedProcess[str] = bare.cluster.try_kubectl(
            "diff", "-k", str(ROOT / "manifests"), *options
        )
        assert (diff.returncode, diff.stdout) == (0, "")
    finally:
        # With the CRD, in which Flux would stay the owner of fields that helm changes later.
        bare.cluster.kubectl("delete", "-k", str(ROOT / "manifests"), "--timeout=60s")
