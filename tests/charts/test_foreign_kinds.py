"""The objects of docs/gitops.md and the charts' monitors, strictly validated by the CRDs of their projects.

The CRDs come out of the projects' Go modules, fetched by Go itself, and are not kept in this repository.
Where a module cannot be fetched the test is skipped and says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from devcluster import toolchain
from tests.charts.installation import OPERATOR_CHART, Installed, Json, documents

pytestmark = pytest.mark.cluster

# Module and version, and where in it the definitions lie. docs/gitops.md names the versions.
MODULES = {
    "argoproj.io": ("github.com/argoproj/argo-cd/v3@v3.5.7", "manifests/crds/application-crd.yaml"),
    "kustomize.toolkit.fluxcd.io": ("github.com/fluxcd/kustomize-controller@v1.9.6", "config/crd/bases"),
    "source.toolkit.fluxcd.io": ("github.com/fluxcd/source-controller@v1.9.6", "config/crd/bases"),
    "helm.toolkit.fluxcd.io": ("github.com/fluxcd/helm-controller@v1.4.0", "config/crd/bases"),
}
PROMETHEUS_OPERATOR = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
OURS = [one for one in documents("gitops.md") if "/" in one["apiVersion"]]


def group(manifest: Json) -> str:
    return str(manifest["apiVersion"]).partition("/")[0]


def is_established(bare: Installed, name: str) -> bool:
    conditions = bare.cluster.kubectl("get", name, "-o", "jsonpath={.status.conditions}")
    return any(
        (one["type"], one["status"]) == ("Established", "True")
        for one in json.loads(conditions or "null") or ()
    )


def define(bare: Installed, module: str, *places: str) -> None:
    """Install the CRDs that lie at these places of a module; skips the test where it cannot be fetched."""
    try:
        root = toolchain.download_module(module)
    except RuntimeError as unreachable:
        pytest.skip(str(unreachable))
    # Server-side, since the last-applied annotation of the larger ones would not fit.
    files = [option for place in places for option in ("-f", str(root / place))]
    for name in bare.cluster.kubectl("apply", "--server-side", "-o", "name", *files).split():
        bare.cluster.wait_until(lambda name=name: is_established(bare, name), message=f"{name} is served")


@pytest.mark.parametrize("api", sorted(MODULES))
def test_the_objects_of_the_page_are_accepted(bare: Installed, api: str) -> None:
    define(bare, *MODULES[api])
    objects = [one for one in OURS if group(one) == api]
    assert objects, api
    for manifest in objects:
        space = manifest["metadata"]["namespace"]
        bare.cluster.try_kubectl("create", "namespace", space)
        bare.apply(manifest, "--validate=strict")
        assert bare.cluster.get(f"{manifest['kind']}.{api}", manifest["metadata"]["name"], space)
        wrong = manifest | {"spec": manifest["spec"] | {"noSuchField": 1}}
        with pytest.raises(RuntimeError, match="noSuchField"):
            bare.apply(wrong, "--validate=strict")


def test_monitors_and_alerts_are_accepted_by_the_kinds_of_prometheus_operator(
    bare: Installed, render: Callable[..., list[Json]]
) -> None:
    place = "example/prometheus-operator-crd/monitoring.coreos.com_{}.yaml"
    kinds = ("servicemonitors", "podmonitors", "prometheusrules")
    define(bare, PROMETHEUS_OPERATOR, *(place.format(kind) for kind in kinds))
    enabled = {"enabled": True, "labels": {"release": "prometheus"}}
    values = {"serviceMonitor": enabled, "podMonitor": enabled, "prometheusRule": enabled}
    rendered = render(OPERATOR_CHART, "redoubt-operator", "default", watchNamespaces=["shop"], **values)
    ours = [one for one in rendered if group(one) == "monitoring.coreos.com"]
    assert {one["kind"] for one in ours} == {"ServiceMonitor", "PodMonitor", "PrometheusRule"}
    for manifest in ours:
        assert manifest["metadata"]["labels"]["release"] == "prometheus"
        bare.apply(manifest, "--validate=strict")


def test_every_object_of_the_page_has_its_judge() -> None:
    assert {group(one) for one in OURS} == set(MODULES)
    page = (Path(__file__).resolve().parents[2] / "docs" / "gitops.md").read_text()
    for module, _ in MODULES.values():
        assert module.partition("@v")[2] in page, f"docs/gitops.md names the version of {module}"
