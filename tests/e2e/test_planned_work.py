"""Planned work switches over first: rolls, a lone master's roll, a cordoned node, live directives."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from devcluster.clients import clients, undisturbed_gap_s
from devcluster.deployment import Deployment
from devcluster.faults import Fault
from tests.e2e.conftest import RESOURCES

pytestmark = pytest.mark.cluster

# More than this between two acknowledged writes is no pause of a slow machine.
GAP_LIMIT_S = 1.0


def revisions(deployment: Deployment) -> set[str]:
    return {pod["metadata"]["annotations"]["redoubt.dev/revision"] for pod in deployment.pods()}


def reasons(deployment: Deployment) -> list[str]:
    return [one["reason"] for one in deployment.resource()["status"].get("blockers", [])]


def wait_settled(deployment: Deployment, pods: int, timeout_s: float = 120) -> None:
    deployment.wait_until(
        lambda: len(deployment.pods()) == pods and deployment.condition("Reconciling") == "False",
        timeout_s,
        "nothing has to change",
    )
    deployment.wait_ready()


@pytest.mark.parametrize(("shards", "replicas"), [(3, 1), (1, 0)])
def test_lesson_3_a_roll_loses_no_write_and_no_client_sees_an_error(
    deployment: Deployment, shards: int, replicas: int
) -> None:
    spec = {"shards": shards, "replicasPerShard": replicas, "resources": RESOURCES}
    deployment.apply(**spec)
    deployment.wait_ready()
    deployment.wait_synced()
    before = revisions(deployment)
    calm_s = undisturbed_gap_s(deployment)
    with clients(deployment, "roll") as working:
        began = deployment.apply(**spec, podTemplate={"annotations": {"roll": "1"}})
        deployment.wait_shards(shards)
        took_s = time.monotonic() - began
    assert len(revisions(deployment)) == 1
    assert not before & revisions(deployment)
    print(
        f"{shards} x {1 + replicas}: rolled in {took_s:.1f} s, longest gap {working.gap_s:.3f} s "
        f"(undisturbed {calm_s:.3f} s), refusals {[one.refusals for one in working.writers]}"
    )
    assert working.complaints() == []
    assert working.gap_s < GAP_LIMIT_S
    assert deployment.condition("DataLost") == "False"


def test_lesson_19_a_bad_image_halts_after_one_pod_and_reverts_cleanly(deployment: Deployment) -> None:
    spec = {"shards": 3, "replicasPerShard": 1, "resources": RESOURCES}
    deployment.apply(**spec)
    deployment.wait_ready()
    deployment.wait_synced()
    (good,) = revisions(deployment)
    before = {pod["metadata"]["uid"] for pod in deployment.pods()}
    with clients(deployment, "bad") as working:
        deployment.apply(**spec, image="redoubt-server:missing-1")
        deployment.wait_until(lambda: "PodCannotStart" in reasons(deployment), 60, "a blocker says why")
        time.sleep(5)
        stuck = [pod for pod in deployment.pods() if pod["metadata"]["uid"] not in before]
        assert len(stuck) == 1, "the roll halts at the first pod"
        assert sum(pod["metadata"]["uid"] in before for pod in deployment.pods()) == 5
        deployment.apply(**spec)
        deployment.wait_shards(3)
    assert working.complaints() == []
    assert revisions(deployment) == {good}
    assert sum(pod["metadata"]["uid"] in before for pod in deployment.pods()) == 5, "the others never moved"
    deployment.wait_synced()


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


def test_another_number_of_shards_is_taken_back_while_it_is_carried_out(serving: Deployment) -> None:
    uids = {pod["metadata"]["uid"] for pod in serving.pods()}
    serving.apply(shards=4, replicasPerShard=1, resources=RESOURCES)
    serving.wait_until(lambda: serving.pods_of(3), 30, "the fourth shard has begun")
    serving.apply(shards=3, replicasPerShard=1, resources=RESOURCES)
    serving.wait_shards(3, 120)
    assert {pod["metadata"]["uid"] for pod in serving.pods()} == uids
    assert serving.condition("DataLost") == "False"
    assert serving.resource()["status"].get("moves", []) == []
