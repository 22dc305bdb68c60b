"""The CRD and its page are current, structural, without defaults, and cover what the status writes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from redoubt_operator.api_reference import reference
from redoubt_operator.crd import crd, print_crd
from redoubt_operator.generated import generated
from redoubt_operator.reserved import RESERVED
from redoubt_operator.spec import ClusterSpec, InvalidSpec, camel, read_spec, spec_fields
from tests.redoubt_operator.world import running

ROOT = Path(__file__).resolve().parents[2]


def version():
    return crd()["spec"]["versions"][0]


def schema_of(part):
    return version()["schema"]["openAPIV3Schema"]["properties"][part]


def test_the_manifest_is_current():
    assert (ROOT / "manifests/crd.yaml").read_text() == print_crd()


def test_the_api_page_is_current():
    assert (ROOT / "docs/api.md").read_text() == reference()


def test_what_the_charts_take_from_the_fields_is_current():
    stale = [str(path) for path, text in generated(ROOT).items() if path.read_text() != text]
    assert stale == [], "run: python -m redoubt_operator.generated"


def test_no_default_is_written_into_a_resource():
    tree = crd()
    status = tree["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    assert status.pop("default") == {"observedGeneration": -1}, "of a resource that nobody has looked at"
    assert "default" not in {key for node in nodes(tree) for key in node}


def nodes(tree):
    if isinstance(tree, dict):
        yield tree
        for one in tree.values():
            yield from nodes(one)
    elif isinstance(tree, list):
        for one in tree:
            yield from nodes(one)


def test_every_field_of_the_spec_is_in_the_schema():
    assert list(schema_of("spec")["properties"]) == [camel(one.name) for one, _ in spec_fields(ClusterSpec)]


def test_every_field_is_described():
    for part in ("spec", "status"):
        for name, field in schema_of(part)["properties"].items():
            assert field.get("description"), name


def test_every_reserved_directive_has_its_rule():
    rules = schema_of("spec")["properties"]["config"]["x-kubernetes-validations"]
    assert {f"!('{name}' in self)" for name in RESERVED} <= {rule["rule"] for rule in rules}


def test_scale_means_shards():
    assert version()["subresources"]["scale"] == {
        "specReplicasPath": ".spec.shards",
        "statusReplicasPath": ".status.currentShards",
        "labelSelectorPath": ".status.selector",
    }


def test_the_api_server_would_prune_nothing_of_the_status():
    world = running({"storage": {"size": "1Gi"}})
    world.edit(shards=4)
    world.kill("demo-0-0")
    world.reconcile()
    assert unknown(world.status, schema_of("status")) == []


def unknown(value, schema, path="status"):
    """Paths in `value` that the schema does not know."""
    if isinstance(value, list):
        return [found for one in value for found in unknown(one, schema["items"], f"{path}[]")]
    if not isinstance(value, dict) or "additionalProperties" in schema:
        return []
    properties = schema.get("properties", {})
    found = [f"{path}.{name}" for name in value if name not in properties]
    for name in value:
        if name in properties:
            found += unknown(value[name], properties[name], f"{path}.{name}")
    return found


@pytest.mark.parametrize(
    "sample", sorted((ROOT / "manifests/samples").glob("*.yaml")), ids=lambda path: path.stem
)
def test_samples_are_valid(sample):
    resource = yaml.safe_load(sample.read_text())
    assert isinstance(read_spec(resource["spec"]), ClusterSpec)
    assert unknown(resource["spec"], schema_of("spec"), "spec") == []


def test_what_the_rules_cannot_refuse_is_read_without_a_traceback():
    faults = read_spec(
        {
            "shards": True,
            "storage": {},
            "resources": {"limits": {"memory": "much"}},
            "podTemplate": {"tolerations": {}},
            "persistence": {"mode": "both"},
            "config": [],
            "auth": "secret",
        }
    )
    assert faults == InvalidSpec(
        (
            "spec.shards: expected a whole number from 1 to 100, found True",
            "spec.resources.limits.memory: expected a quantity such as 500m, 2 or 1Gi, found 'much'",
            "spec.storage.size: is required",
            "spec.persistence.mode: expected one of none, rdb, aof, found 'both'",
            "spec.config: expected an object, found []",
            "spec.auth: expected an object, found 'secret'",
            "spec.podTemplate.tolerations: expected a list, found {}",
        )
    )
