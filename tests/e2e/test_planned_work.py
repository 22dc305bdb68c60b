"""Planned work switches over first: rolls, a lone master's roll, a cordoned node, live directives."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from devcluster.deployment import Deployment
from devcluster.faults import Fault
from tests.e2e.conftest import RESOURCES

pytestmark = pytest.mark.cluster


def revisions(deployment: Deployment) -> set[str]:
    return {pod["metadata"]["annotations"]["redoubt.dev/revision"] for pod in deployment.pods()}


def wait_settled(deployment: Deployment, pods: int, timeout_s: float = 120) -> None:
    deployment.wait_until(
        lambda: len(deployment.pods()) == pods and deployment.condition("Reconciling") == "False",
        timeout_s,
        "nothing has to change",
    )
    deployment.wait_ready()


@pytest.mark.parametrize(("shards", "replicas", "pods"), [(3, 1, 6), (1, 0, 1)])
def test_a_roll_loses_no_write(deployment: Deployment, shards: int, replicas: int, pods: int) -> None:
    spec = {"shards": shards, "replicasPerShard": replicas, "resources": RESOURCES}
    deployment.apply(**spec)
    deployment.wait_ready()
    before = revisions(deployment)
    with deployment.writer(0) as writer:
        deployment.apply(**spec, podTemplate={"annotations": {"roll": "1"}})
        deployment.wait_until(lambda: not before & revisions(deployment), 180, "every pod is new")
        wait_settled(deployment, pods)
    assert len(revisions(deployment)) == 1
    assert deployment.missing_keys(writer) == []
    assert deployment.condition("DataLost") == "False"
    print(f"{shards} x {1 + replicas}: longest gap {writer.longest_gap_s:.3f} s, refusals {writer.refusals}")


def test_a_lone_master_leaves_a_cordoned_node_with_its_data(
    deployment: Deployment, needs: Callable[..., None]
) -> None:
    needs(Fault.LOSE_NODE)  # stands for: more than one node
    deployment.apply(shards=1, replicasPerShard=0, resources=RESOURCES)
    deployment.wait_ready()
    node = deployment.master_of(0)["spec"]["nodeName"]
    try:
        with deployment.writer(0) as writer:
            deployment.platform.kubectl("cordon", node)
            deployment.wait_until(lambda: deployment.master_of(0)["spec"]["nodeName"] != node, 60, "moved")
            wait_settled(deployment, 1)
        assert deployment.missing_keys(writer) == []
    finally:
        deployment.platform.kubectl("uncordon", node)


def test_a_live_directive_restarts_nothing(serving: Deployment) -> None:
    uids = {pod["metadata"]["uid"] for pod in serving.pods()}
    serving.apply(
        shards=3,
        replicasPerShard=1,
        resources=RESOURCES,
        config={"maxclients": "321"},
        memory={"evictionPolicy": "allkeys-lru"},
    )
    host = serving.addresses(0)[0][0]
    serving.wait_until(
        lambda: serving.client(host).config_get("maxclients") == {"maxclients": "321"}, 30, "set"
    )
    serving.wait_until(lambda: serving.condition("ConfigApplied") == "True", 30, "read back")
    assert {pod["metadata"]["uid"] for pod in serving.pods()} == uids


def test_another_number_of_shards_is_refused_with_a_reason(serving: Deployment) -> None:
    serving.apply(shards=4, replicasPerShard=1, resources=RESOURCES)
    serving.wait_until(lambda: serving.condition("Stalled") == "True", 30, "it says so")
    blockers = serving.resource()["status"]["blockers"]
    assert [one["reason"] for one in blockers] == ["ShardsCannotChange"]
    assert len(serving.pods()) == 6
    serving.apply(shards=3, replicasPerShard=1, resources=RESOURCES)
    serving.wait_until(lambda: serving.condition("Stalled") == "False", 30, "it is taken back")
