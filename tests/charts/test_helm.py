"""`helm install`, `upgrade`, `rollback` and `uninstall` on a devcluster: none of them restarts a server.

All tests share one cluster of three shards that serves throughout, as it would in a company that upgrades its
operator; each test leaves the operator installed or not, and the next begins with what it needs.
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
import yaml

from tests.charts.installation import (
    CLUSTER_CHART,
    OPERATOR_CHART,
    ROOT,
    SMALL,
    SYSTEM,
    Installed,
    resource,
)

pytestmark = pytest.mark.cluster

CRD = "redoubtclusters.redoubt.dev"
SHOP = "shop"


@pytest.fixture(scope="module")
def shop(bare: Installed) -> Iterator[str]:
    """A namespace with a cluster of three shards, installed from its chart; helm returns when it is Ready."""
    if not bare.has_operator():
        bare.install_operator()
    values = SMALL | {"shards": 3}
    place = ["--namespace", SHOP, "--create-namespace", "--wait", "--timeout=90s"]
    bare.helm("install", "cache", str(CLUSTER_CHART), *place, values=values)
    yield SHOP
    if not bare.has_operator():
        bare.install_operator()
    bare.helm("uninstall", "cache", "--namespace", SHOP, "--wait")
    bare.cluster.kubectl("delete", "namespace", SHOP)


@pytest.fixture
def client(bare: Installed, shop: str) -> Iterator[Callable[[str], bool]]:
    """Write and read one key over the whole cluster; False where that fails."""
    secret = bare.cluster.get("secret", "cache-auth", shop)
    password = base64.b64decode(secret["data"]["password"]).decode()

    def is_served(key: str) -> bool:
        pods = bare.cluster.list("pods", shop, "redoubt.dev/cluster=cache")
        nodes = [
            redis.cluster.ClusterNode(pod["status"]["podIP"], 6379)
            for pod in pods
            if pod["status"].get("podIP")
        ]
        try:
            with redis.cluster.RedisCluster(startup_nodes=nodes, password=password) as connected:
                connected.set(key, "here")
                return bool(connected.get(key) == b"here")
        except redis.RedisError:
            return False

    yield is_served


def fields_of_spec(bare: Installed) -> set[str]:
    crd = bare.cluster.get("crd", CRD)
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return set(schema["properties"]["spec"]["properties"])


def newer(directory: Path) -> Path:
    """The operator's chart as a later version would be: another image, another field in the CRD."""
    chart = directory / "redoubt-operator"
    shutil.copytree(OPERATOR_CHART, chart)
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    (chart / "Chart.yaml").write_text(yaml.safe_dump(about | {"version": "0.2.0", "appVersion": "0.2.0"}))
    crd = yaml.safe_load((chart / "files" / "crd.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"]["properties"]["fromTheFuture"] = {"type": "string"}
    (chart / "files" / "crd.yaml").write_text(yaml.safe_dump(crd))
    return chart


def test_helm_waits_until_the_cluster_is_ready_and_the_operator_has_two_replicas(
    bare: Installed, shop: str
) -> None:
    conditions = {one["type"]: one["status"] for one in bare.resource("cache", shop)["status"]["conditions"]}
    assert (conditions["Ready"], conditions["Reconciling"], conditions["Stalled"]) == (
        "True",
        "False",
        "False",
    )
    assert len(bare.operator_pods()) == 2
    holder = bare.cluster.get("lease", "redoubt-operator", SYSTEM)["spec"]["holderIdentity"]
    assert holder in {pod["metadata"]["name"] for pod in bare.operator_pods()}


def test_upgrade_and_rollback_take_the_crd_with_them_and_restart_no_server(
    bare: Installed, shop: str, client: Callable[[str], bool], tmp_path: Path
) -> None:
    before, fields = bare.members("cache", shop), fields_of_spec(bare)

    bare.install_operator(newer(tmp_path))
    assert fields_of_spec(bare) == fields | {"fromTheFuture"}
    bare.cluster.wait_until(lambda: images(bare) == {"redoubt-operator:0.2.0"}, 60, "the old pods are gone")
    assert bare.members("cache", shop) == before

    bare.helm("rollback", "redoubt-operator", "--namespace", SYSTEM, "--wait", "--timeout=90s")
    bare.cluster.wait_until(lambda: images(bare) == {"redoubt-operator:0.1.0"}, 60, "the old pods are gone")
    assert fields_of_spec(bare) == fields
    assert bare.members("cache", shop) == before
    assert client("after-rollback")


def images(bare: Installed) -> set[str]:
    return {pod["spec"]["containers"][0]["image"] for pod in bare.operator_pods()}


def test_uninstalling_the_operator_leaves_clusters_serving_and_installing_it_adopts_them(
    bare: Installed, shop: str, client: Callable[[str], bool]
) -> None:
    uid = bare.resource("cache", shop)["metadata"]["uid"]
    before = bare.members("cache", shop)

    bare.uninstall_operator()
    assert not bare.cluster.list("deployments", SYSTEM)
    assert bare.resource("cache", shop)["metadata"]["uid"] == uid
    assert bare.members("cache", shop) == before
    assert client("without-operator")

    # A killed master is replaced by its replica, as ever: that is the servers' own work.
    victim = master_of(bare, shop, 0)
    bare.cluster.faults.kill(victim, shop)
    bare.cluster.wait_until(lambda: client("after-kill"), 30, "the cluster serves every slot again")

    bare.install_operator()
    bare.wait_ready("cache", shop)
    after = bare.members("cache", shop)
    assert bare.resource("cache", shop)["metadata"]["uid"] == uid
    assert {name: one for name, one in after.items() if name != victim} == {
        name: one for name, one in before.items() if name != victim
    }
    assert after[victim] == (before[victim][0], 1)


def master_of(bare: Installed, namespace: str, shard: int) -> str:
    [row] = [one for one in bare.resource("cache", namespace)["status"]["shards"] if one["shard"] == shard]
    return str(row["master"])


def test_an_operator_applied_with_kubectl_becomes_a_release_without_being_replaced(
    bare: Installed, shop: str, tmp_path: Path
) -> None:
    bare.uninstall_operator()
    bare.cluster.kubectl("apply", "-k", str(ROOT / "manifests"))
    deployed = ["deployment", "redoubt-operator", SYSTEM]
    uid = bare.cluster.get(*deployed)["metadata"]["uid"]
    before = bare.members("cache", shop)

    place = ["--namespace", SYSTEM, "--take-ownership", "--force-conflicts", "--wait", "--timeout=90s"]
    bare.helm("install", "redoubt-operator", str(OPERATOR_CHART), *place)
    assert bare.cluster.get(*deployed)["metadata"]["uid"] == uid
    # Fields of the same value belong to kubectl as well, so the first change of each is a conflict.
    bare.install_operator(newer(tmp_path), ("--force-conflicts",))
    assert bare.cluster.get(*deployed)["metadata"]["uid"] == uid
    bare.wait_ready("cache", shop)
    assert bare.members("cache", shop) == before


def test_an_operator_of_single_namespaces_needs_no_rights_elsewhere(bare: Installed, shop: str) -> None:
    for name in ("watched", "unwatched"):
        bare.cluster.kubectl("create", "namespace", name)
    bare.install_operator(watchNamespaces=[shop, "watched"], watchNodes=False)
    try:
        assert not bare.cluster.try_kubectl("get", "clusterrole", "redoubt-operator").stdout
        for name in ("watched", "unwatched"):
            bare.apply(resource("small", name, SMALL))
        bare.wait_ready("small", "watched")
        # A dead container is noticed by the watch of pods, not only by the resync.
        bare.cluster.faults.kill("small-0-0", "watched")
        bare.cluster.wait_until(
            lambda: bare.members("small", "watched")["small-0-0"][1] == 1, 20, "a restart"
        )
        bare.wait_ready("small", "watched")
        assert bare.resource("small", "unwatched")["status"] == {"observedGeneration": -1}
        assert not bare.cluster.list("pods", "unwatched")
        for pod in bare.operator_pods():
            log = bare.cluster.kubectl("logs", pod["metadata"]["name"], "-n", SYSTEM)
            assert "forbidden" not in log.lower(), log
    finally:
        for name in ("watched", "unwatched"):
            bare.cluster.kubectl("delete", "namespace", name, "--wait=false")
        bare.install_operator()
