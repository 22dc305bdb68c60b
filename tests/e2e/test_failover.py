"""What breaks is healed, and nothing that was acknowledged is lost."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from devcluster.deployment import OPERATOR_NAMESPACE, Deployment
from devcluster.faults import Fault
from tests.e2e.conftest import RESOURCES

pytestmark = pytest.mark.cluster

VOLUME = {"size": "1Gi", "reclaim": "Delete"}


def write_some(deployment: Deployment, count: int = 2000) -> None:
    client = deployment.cluster_client()
    for number in range(count):
        client.set(f"canary:{number}", number)
    client.close()


def lost_canaries(deployment: Deployment, count: int = 2000) -> int:
    client = deployment.cluster_client()
    lost = sum(client.get(f"canary:{number}") != b"%d" % number for number in range(count))
    client.close()
    return lost


def kill_master_under_load(deployment: Deployment, **options: int) -> float:
    """Kill the master of shard 0 while a writer is at work; return its longest gap, having lost nothing."""
    deployment.wait_synced()
    victim = deployment.master_of(0)["metadata"]["name"]
    with deployment.writer(0, prefix=f"round-{time.monotonic_ns()}", **options) as writer:
        time.sleep(0.5)
        before = len(writer.acknowledged)
        assert before > 0, "the writer writes"
        deployment.platform.faults.kill(victim, deployment.namespace)
        deployment.wait_until(lambda: len(writer.acknowledged) > before + 100, 60, "writable again")
    assert deployment.missing_keys(writer) == []
    return writer.longest_gap_s


def test_a_killed_master_loses_no_acknowledged_write(serving: Deployment, needs: Callable[..., None]) -> None:
    needs(Fault.KILL)
    write_some(serving)
    for wait_replicas in (0, 1, 0):
        gap_s = kill_master_under_load(serving, wait_replicas=wait_replicas)
        print(f"WAIT {wait_replicas}: no write for {gap_s:.3f} s")
    serving.wait_synced()
    assert lost_canaries(serving) == 0


def test_without_the_operator_the_servers_fail_over_alone(
    serving: Deployment, needs: Callable[..., None]
) -> None:
    needs(Fault.KILL)
    serving.scale_operator(0)
    try:
        kill_master_under_load(serving)
    finally:
        serving.scale_operator(2)
    serving.wait_synced()


def test_a_gracefully_deleted_master_is_not_noticed_by_a_cluster_client(serving: Deployment) -> None:
    write_some(serving)
    victim = serving.master_of(0)["metadata"]["name"]
    client = serving.cluster_client()
    with serving.writer(0) as writer:
        time.sleep(0.5)
        serving.platform.kubectl("delete", "pod", victim, "-n", serving.namespace, "--wait=false")
        deadline = time.monotonic() + 6
        number = 0
        while time.monotonic() < deadline:
            client.set(f"client:{number}", number)  # an error would fail the test
            number += 1
    client.close()
    serving.wait_synced()
    assert serving.missing_keys(writer) == []
    assert lost_canaries(serving) == 0


def test_a_frozen_master_is_replaced_and_joins_as_a_replica_when_thawed(
    serving: Deployment, needs: Callable[..., None]
) -> None:
    needs(Fault.FREEZE)
    victim = serving.master_of(1)["metadata"]["name"]
    with serving.writer(1) as writer:
        time.sleep(0.5)
        serving.platform.faults.freeze(victim, serving.namespace)
        before = len(writer.acknowledged)
        serving.wait_until(lambda: len(writer.acknowledged) > before + 100, 60, "writable again")
        serving.platform.faults.thaw(victim, serving.namespace)
        time.sleep(2)
    serving.wait_synced()
    assert serving.master_of(1)["metadata"]["name"] != victim
    assert serving.missing_keys(writer) == []


def test_both_members_of_a_shard_killed_with_volumes_keep_their_data(
    deployment: Deployment, needs: Callable[..., None]
) -> None:
    needs(Fault.KILL)
    deployment.apply(shards=3, replicasPerShard=1, resources=RESOURCES, storage=VOLUME)
    deployment.wait_ready()
    deployment.wait_synced()
    write_some(deployment)
    for host, _port in deployment.addresses(0):
        deployment.client(host).execute_command("SAVE")
    for pod in deployment.pods_of(0):
        deployment.platform.faults.kill(pod["metadata"]["name"], deployment.namespace)
    time.sleep(1)
    deployment.wait_synced(120)
    assert lost_canaries(deployment) == 0


def test_both_members_of_a_shard_killed_without_volumes_say_that_data_is_lost(
    serving: Deployment, needs: Callable[..., None]
) -> None:
    needs(Fault.KILL)
    write_some(serving)
    for pod in serving.pods_of(0):
        serving.platform.faults.kill(pod["metadata"]["name"], serving.namespace)
    serving.wait_until(lambda: serving.condition("DataLost") == "True", 60, "DataLost is said")
    serving.wait_synced(120)
    serving.wait_ready()


def test_all_pods_deleted_at_once_come_back_with_their_volumes(deployment: Deployment) -> None:
    deployment.apply(shards=3, replicasPerShard=1, resources=RESOURCES, storage=VOLUME)
    deployment.wait_ready()
    deployment.wait_synced()
    write_some(deployment)
    selector = f"redoubt.dev/cluster={deployment.name}"
    deployment.platform.kubectl("delete", "pods", "-n", deployment.namespace, "-l", selector, "--wait=false")
    time.sleep(3)
    deployment.wait_synced(180)
    deployment.wait_ready()
    assert lost_canaries(deployment) == 0


def test_all_pods_deleted_at_once_without_volumes_say_that_data_is_lost(serving: Deployment) -> None:
    write_some(serving)
    selector = f"redoubt.dev/cluster={serving.name}"
    serving.platform.kubectl(
        "delete",
        "pods",
        "-n",
        serving.namespace,
        "-l",
        selector,
        "--grace-period=0",
        "--force",
        "--wait=false",
    )
    serving.wait_until(lambda: serving.condition("DataLost") == "True", 90, "DataLost is said")
    serving.wait_synced(120)
    serving.wait_ready()


def test_a_lost_node_takes_no_shard_with_it(deployment: Deployment, needs: Callable[..., None]) -> None:
    needs(Fault.LOSE_NODE)
    deployment.apply(shards=3, replicasPerShard=1, resources=RESOURCES)
    deployment.wait_ready()
    deployment.wait_synced()
    write_some(deployment)
    node = deployment.master_of(0)["spec"]["nodeName"]
    try:
        deployment.platform.faults.lose_node(node)
        with deployment.writer(0) as writer:
            deployment.wait_until(lambda: len(writer.acknowledged) > 100, 60, "writable again")
        deployment.wait_synced(120)
        assert lost_canaries(deployment) == 0
    finally:
        deployment.platform.faults.restore_node(node)


def test_the_second_operator_takes_over_when_the_first_is_killed(
    serving: Deployment, needs: Callable[..., None]
) -> None:
    needs(Fault.KILL)
    lease = (
        "get",
        "lease",
        "redoubt-operator",
        "-n",
        OPERATOR_NAMESPACE,
        "-o",
        "jsonpath={.spec.holderIdentity}",
    )
    leader = serving.platform.kubectl(*lease)
    pod = leader.split("_")[0]
    serving.platform.kubectl("delete", "pod", pod, "-n", OPERATOR_NAMESPACE, "--grace-period=0", "--force")
    took_s = serving.wait_until(
        lambda: serving.platform.kubectl(*lease) not in {leader, ""}, 15, "another operator leads"
    )
    print(f"another operator leads after {took_s:.1f} s")
    kill_master_under_load(serving)
