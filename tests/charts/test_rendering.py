"""The charts render what manifests/ says, and values that cannot be right are refused by the schema.

No cluster is needed, but helm is, which comes from the toolchain of devcluster: so the mark.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from devcluster import toolchain
from redoubt_operator.metrics import Metrics
from tests.charts.installation import CLUSTER_CHART, OPERATOR_CHART, ROOT, SYSTEM, Json

pytestmark = pytest.mark.cluster

Render = Callable[..., list[Json]]
DIGEST = "sha256:" + "0" * 64
OF_HELM = ("helm.sh/chart", "app.kubernetes.io/managed-by", "helm.sh/resource-policy")


def comparable(objects: list[Json]) -> dict[str, Json]:
    """Objects by kind and name, without what only Helm writes."""
    found = {}
    for one in objects:
        metadata = one["metadata"]
        for part in ("labels", "annotations"):
            kept = {key: value for key, value in (metadata.get(part) or {}).items() if key not in OF_HELM}
            metadata.pop(part, None)
            if kept:
                metadata[part] = kept
        if one["kind"] == "CustomResourceDefinition":
            metadata.pop("namespace", None)
        key = f"{one['kind']}/{metadata['name']}"
        assert key not in found, f"{key} is there twice"
        found[key] = one
    return found


def kustomized() -> list[Json]:
    """What `kubectl apply -k manifests/` applies."""
    kubectl = toolchain.binaries()["kubectl"]
    done = subprocess.run(
        [kubectl, "kustomize", str(ROOT / "manifests")], capture_output=True, text=True, check=True
    )
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def test_the_operators_chart_says_what_the_manifests_say(render: Render) -> None:
    manifests = comparable(kustomized())
    # helm makes the namespace itself (--create-namespace); it cannot be part of a release that lives in it.
    del manifests[f"Namespace/{SYSTEM}"]
    charted = comparable(render(OPERATOR_CHART, "redoubt-operator"))
    assert sorted(charted) == sorted(manifests)
    for key, manifest in manifests.items():
        assert charted[key] == manifest, key


@pytest.mark.parametrize(
    "sample", sorted((ROOT / "manifests" / "samples").glob("*.yaml")), ids=lambda p: p.stem
)
def test_the_clusters_chart_says_what_the_samples_say(render: Render, sample: Any) -> None:
    [manifest] = yaml.safe_load_all(sample.read_text())
    rendered = render(CLUSTER_CHART, manifest["metadata"]["name"], "default", **manifest["spec"])
    del rendered[0]["metadata"]["namespace"]
    assert comparable(rendered) == comparable([manifest])


def test_the_policy_of_the_bus_is_the_same_from_chart_and_manifest(render: Render) -> None:
    values = {"networkPolicy": {"clusterNamespaces": ["shop"]}}
    charted = comparable(render(OPERATOR_CHART, "redoubt-operator", **values))
    [manifest] = yaml.safe_load_all((ROOT / "manifests" / "bus-policy.yaml").read_text())
    policy = charted["NetworkPolicy/redoubt-operator-bus"]
    assert policy["metadata"]["namespace"] == "shop"
    assert policy["spec"] == manifest["spec"]


def test_a_policy_closes_the_bus_of_one_cluster_to_all_but_its_members(render: Render) -> None:
    clients = [{"namespaceSelector": {"matchLabels": {"team": "shop"}}}]
    rendered = render(CLUSTER_CHART, "cache", "shop", networkPolicy={"enabled": True, "clients": clients})
    policy = comparable(rendered)["NetworkPolicy/cache"]["spec"]
    members = {"matchLabels": {"redoubt.dev/cluster": "cache"}}
    assert policy == {
        "podSelector": members,
        "policyTypes": ["Ingress"],
        "ingress": [
            {"from": [{"podSelector": members}]},
            {"ports": [{"port": 6379, "protocol": "TCP"}], "from": clients},
            {"ports": [{"port": 9121, "protocol": "TCP"}]},
        ],
    }


def test_watched_namespaces_get_roles_instead_of_a_cluster_role(render: Render) -> None:
    everywhere = comparable(render(OPERATOR_CHART, "redoubt-operator"))
    rules = everywhere["ClusterRole/redoubt-operator"]["rules"]
    rendered = render(OPERATOR_CHART, "redoubt-operator", watchNamespaces=["a", "b"], watchNodes=False)
    roles = [
        one for one in rendered if one["kind"] == "Role" and one["metadata"]["name"].endswith("-clusters")
    ]
    assert {one["metadata"]["namespace"]: one["rules"] for one in roles} == {"a": rules, "b": rules}
    assert not [one for one in rendered if one["kind"].startswith("ClusterRole")]
    [deployment] = [one for one in rendered if one["kind"] == "Deployment"]
    environment = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "REDOUBT_WATCH_NAMESPACES", "value": "a,b"} in environment
    assert {"name": "REDOUBT_WATCH_NODES", "value": "no"} in environment


def test_every_value_reaches_the_operators_pods(render: Render) -> None:
    values: Json = {
        "image": {
            "registry": "r.example.com/x",
            "repository": "op",
            "digest": DIGEST,
            "pullPolicy": "Always",
        },
        "imagePullSecrets": [{"name": "pull"}],
        "replicas": 3,
        "logLevel": "debug",
        "resources": {"limits": {"memory": "1Gi"}},
        "extraLabels": {"team": "data"},
        "podLabels": {"tier": "system"},
        "podAnnotations": {"a": "b"},
        "affinity": {"nodeAffinity": {}},
        "tolerations": [{"operator": "Exists"}],
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "priorityClassName": "system-cluster-critical",
        "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy"}],
        "serviceAccount": {"create": False, "name": "given"},
    }
    rendered = comparable(render(OPERATOR_CHART, "redoubt-operator", **values))
    assert not [key for key in rendered if key.startswith("ServiceAccount/")]
    assert all(one["metadata"]["labels"]["team"] == "data" for one in rendered.values())
    deployment = rendered["Deployment/redoubt-operator"]["spec"]
    template, pod = deployment["template"], deployment["template"]["spec"]
    [container] = pod["containers"]
    assert deployment["replicas"] == 3
    assert template["metadata"]["labels"].items() >= {"team": "data", "tier": "system"}.items()
    assert template["metadata"]["annotations"] == {"a": "b"}
    assert container["image"] == f"r.example.com/x/op@{DIGEST}"
    assert container["imagePullPolicy"] == "Always"
    assert container["resources"]["limits"] == {"memory": "1Gi"}
    assert {"name": "REDOUBT_LOG_LEVEL", "value": "debug"} in container["env"]
    assert container["env"][-1] == {"name": "HTTPS_PROXY", "value": "http://proxy"}
    assert pod["serviceAccountName"] == "given"
    for field in ("imagePullSecrets", "affinity", "tolerations", "nodeSelector", "priorityClassName"):
        assert pod[field] == values[field]


@pytest.mark.parametrize(
    "chart, values, said",
    [
        (OPERATOR_CHART, {"watchNamespace": ["a"]}, "watchNamespace"),
        (OPERATOR_CHART, {"image": {"tags": "1"}}, "tags"),
        (OPERATOR_CHART, {"replicas": "2"}, "replicas"),
        (OPERATOR_CHART, {"logLevel": "loud"}, "logLevel"),
        (CLUSTER_CHART, {"replicas": 1}, "replicas"),
        (CLUSTER_CHART, {"shards": 0}, "shards"),
        (CLUSTER_CHART, {"memory": {"evictionPolicy": "lru"}}, "evictionPolicy"),
        (CLUSTER_CHART, {"config": {"maxclients": 100}}, "maxclients"),
        (CLUSTER_CHART, {"storage": {"reclaim": "Keep", "size": "1Gi"}}, "reclaim"),
        (CLUSTER_CHART, {"storage": {"className": "fast"}}, "size"),
        (CLUSTER_CHART, {"name": "Cache"}, "name"),
    ],
)
def test_values_that_cannot_be_right_are_refused(render: Render, chart: Any, values: Json, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        render(chart, "release", **values)


def expressions(rendered: list[Json]) -> Iterator[Json]:
    [rule] = [one for one in rendered if one["kind"] == "PrometheusRule"]
    for group in rule["spec"]["groups"]:
        yield from group["rules"]


def test_alerts_speak_of_metrics_that_the_operator_has(render: Render) -> None:
    metrics = Metrics()
    metrics.watch_queue(lambda: 0, lambda: 0)
    metrics.watch_pods(lambda: ())
    known = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in metrics.registry.collect()
    }
    values = {"enabled": True, "labels": {"release": "prometheus"}, "alertLabels": {"team": "data"}}
    alerts = list(expressions(render(OPERATOR_CHART, "redoubt-operator", prometheusRule=values)))
    assert len({alert["alert"] for alert in alerts}) == len(alerts) >= 8
    for alert in alerts:
        used = set(re.findall(r"\b(?:redoubt|redis)_\w+", alert["expr"]))
        assert used and used <= known, alert["alert"]
        assert alert["labels"]["team"] == "data" and alert["labels"]["severity"] in {
            "info",
            "warning",
            "critical",
        }
        assert {"summary", "description"} == set(alert["annotations"])


def test_the_schema_of_values_is_closed_everywhere() -> None:
    def described(schema: Json, path: str) -> Iterator[tuple[str, Json]]:
        yield path, schema
        for name, field in schema.get("properties", {}).items():
            yield from described(field, f"{path}.{name}")

    for chart in (OPERATOR_CHART, CLUSTER_CHART):
        for path, schema in described(json.loads((chart / "values.schema.json").read_text()), chart.name):
            if "properties" in schema:
                assert schema["additionalProperties"] is False, path


def test_every_default_value_is_in_the_schema_and_the_other_way_round() -> None:
    values = yaml.safe_load((OPERATOR_CHART / "values.yaml").read_text())
    schema = json.loads((OPERATOR_CHART / "values.schema.json").read_text())
    assert set(values) | {"global"} == set(schema["properties"])
