"""References in commands and values, quantities, and the downward API."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devcluster.kubelet.downward import container_resource, field_value
from devcluster.kubelet.environment import expanded, quantity_value, resource_value

POD = {
    "metadata": {
        "name": "a",
        "namespace": "n",
        "uid": "u",
        "labels": {"app.kubernetes.io/name": "x", "b": 'say "hi"'},
        "annotations": {"note": "two\nlines"},
    },
    "spec": {"nodeName": "node-1", "containers": [{"name": "main"}]},
}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$(A)", "1"),
        ("x$(A)$(B)y", "x12y"),
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A ${A} $", "$A ${A} $"),
        ("$(A", "$(A"),
    ],
)
def test_references_are_expanded_as_kubernetes_does(text: str, result: str) -> None:
    assert expanded(text, {"A": "1", "B": "2"}) == result


@given(st.text(st.characters(exclude_characters="$")))
def test_text_without_a_dollar_is_unchanged(text: str) -> None:
    assert expanded(text, {"A": "1"}) == text


@pytest.mark.parametrize(
    ("quantity", "value"),
    [("1", 1), ("100m", 0.1), ("128Mi", 128 << 20), ("2G", 2e9), ("1.5Gi", 1.5 * 2**30)],
)
def test_quantities_are_numbers(quantity: str, value: float) -> None:
    assert quantity_value(quantity) == pytest.approx(value)


def test_a_text_that_is_no_quantity_is_refused() -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        quantity_value("12 apples")


def test_resources_are_rounded_up_to_the_divisor() -> None:
    assert resource_value("128Mi", "1Mi") == "128"
    assert resource_value("100m") == "1"
    assert resource_value("1500m", "1m") == "1500"


def test_limits_that_are_not_set_are_the_nodes() -> None:
    container = {"name": "main", "resources": {"limits": {"memory": "64Mi"}}}
    node = {"memory": "1Gi", "cpu": "4"}
    assert container_resource(POD, container, {"resource": "limits.memory"}, node) == str(64 << 20)
    assert container_resource(POD, container, {"resource": "limits.cpu"}, node) == "4"
    assert container_resource(POD, container, {"resource": "requests.cpu"}, node) == "0"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "a"),
        ("metadata.namespace", "n"),
        ("metadata.labels['app.kubernetes.io/name']", "x"),
        ("metadata.annotations['none']", ""),
        ("metadata.labels", 'app.kubernetes.io/name="x"\nb="say \\"hi\\""'),
        ("metadata.annotations", 'note="two\\nlines"'),
        ("spec.nodeName", "node-1"),
        ("spec.serviceAccountName", "default"),
        ("status.podIP", "127.10.1.2"),
        ("status.hostIP", "127.10.255.11"),
    ],
)
def test_fields_of_the_downward_api(path: str, value: str) -> None:
    assert field_value(POD, path, "127.10.1.2", "127.10.255.11") == value


def test_other_fields_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no field spec\.containers"):
        field_value(POD, "spec.containers", "", "")
