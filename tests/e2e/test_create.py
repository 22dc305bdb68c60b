"""A RedoubtCluster resource becomes a cluster that real clients use."""

from __future__ import annotations

import subprocess
import time

import pytest

from devcluster.deployment import CLIENT_PORT, Deployment
from tests.e2e.conftest import RESOURCES

pytestmark = pytest.mark.cluster


def resource_versions(deployment: Deployment) -> dict[str, str]:
    """Read the resourceVersion of everything that belongs to the cluster, the resource itself included."""
    kinds = "pods,services,configmaps,secrets,poddisruptionbudgets,persistentvolumeclaims"
    versions = deployment.platform.kubectl(
        "get",
        kinds,
        "-n",
        deployment.namespace,
        "-l",
        f"redoubt.dev/cluster={deployment.name}",
        "-o",
        'jsonpath={range .items[*]}{.kind}/{.metadata.name}={.metadata.resourceVersion}{"\\n"}{end}',
    )
    own = deployment.resource()["metadata"]["resourceVersion"]
    return dict(line.split("=", 1) for line in versions.splitlines()) | {"resource": own}


def test_three_shards_come_up_and_redis_cli_finds_nothing_wrong(shared: Deployment) -> None:
    host = shared.addresses()[0][0]
    check = subprocess.run(
        [
            "redis-cli",
            "-a",
            shared.password,
            "--no-auth-warning",
            "--cluster",
            "check",
            f"{host}:{CLIENT_PORT}",
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert check.returncode == 0, check.stdout + check.stderr
    assert "[OK] All 16384 slots covered." in check.stdout
    assert check.stdout.count("1 additional replica(s)") == 3


def test_redis_py_cluster_writes_and_reads_through_it(shared: Deployment) -> None:
    client = shared.cluster_client()
    for number in range(1000):
        client.set(f"key:{number}", number)
    assert [client.get(f"key:{number}") for number in range(1000)] == [b"%d" % n for n in range(1000)]
    client.close()


def test_every_shard_has_one_budget_and_labels_say_its_roles(shared: Deployment) -> None:
    budgets = shared.platform.kubectl(
        "get",
        "pdb",
        "-l",
        f"redoubt.dev/cluster={shared.name}",
        "-o",
        "jsonpath={range .items[*]}{.spec.minAvailable}{' '}{end}",
    )
    assert budgets.split() == ["1", "1", "1"]
    roles = sorted(pod["metadata"]["labels"]["redoubt.dev/role"] for pod in shared.pods())
    assert roles == ["master"] * 3 + ["replica"] * 3


def test_an_idle_cluster_is_not_written_to(shared: Deployment) -> None:
    shared.wait_until(lambda: shared.condition("Reconciling") in {"False", ""}, 60, "nothing left to do")
    time.sleep(35)  # the figures of the first scrapes may be written once, at most every 30 s
    before = resource_versions(shared)
    time.sleep(65)  # longer than the full resync
    assert resource_versions(shared) == before


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({"shards": 0}, "spec.shards"),
        ({"replicasPerShard": 9}, "spec.replicasPerShard"),
        ({"memory": {"evictionPolicy": "all"}}, "spec.memory.evictionPolicy"),
        ({"storage": {"size": "much"}}, "spec.storage.size"),
        ({"config": {"cluster-enabled": "no"}}, "cluster-enabled"),
    ],
)
def test_invalid_resources_are_refused_readably(
    deployment: Deployment, spec: dict[str, object], complaint: str
) -> None:
    with pytest.raises(RuntimeError, match=complaint):
        deployment.apply(**spec)


def test_more_replicas_come_and_go(shared: Deployment) -> None:
    shared.apply(shards=3, replicasPerShard=2, resources=RESOURCES)
    shared.wait_until(lambda: len(shared.pods()) == 9, 60, "nine pods")
    shared.wait_synced()
    shared.apply(shards=3, replicasPerShard=1, resources=RESOURCES)
    shared.wait_until(lambda: len(shared.pods()) == 6, 60, "six pods")
    shared.wait_ready()
