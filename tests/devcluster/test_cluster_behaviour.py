"""What the real control plane does with our nodes: drains, garbage collection, lost nodes, Services."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from devcluster.cluster import DevCluster
from devcluster.faults import Faults

pytestmark = pytest.mark.cluster
Maker = Callable[..., dict[str, Any]]


def deployment(name: str, replicas: int, **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "devcluster-tools", "command": ["sleep", "1000"]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [container], **spec},
            },
        },
    }


def test_a_drain_respects_the_disruption_budget(cluster: DevCluster, namespace: str) -> None:
    cluster.apply(deployment("guarded", 2), namespace)
    budget = {"minAvailable": 2, "selector": {"matchLabels": {"app": "guarded"}}}
    cluster.apply(
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "two"},
            "spec": budget,
        },
        namespace,
    )
    cluster.kubectl("rollout", "status", "deployment/guarded", "-n", namespace, "--timeout=30s")
    node = cluster.list("pods", namespace, "app=guarded")[0]["spec"]["nodeName"]
    cluster.wait_until(lambda: cluster.get("pdb", "two", namespace)["status"]["currentHealthy"] == 2)
    drain = ["drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--pod-selector=app=guarded"]
    try:
        refused = cluster.try_kubectl(*drain, "--timeout=2s")
        assert refused.returncode
        assert "Cannot evict pod as it would violate the pod's disruption budget" in refused.stderr
        cluster.kubectl("patch", "pdb", "two", "-n", namespace, "-p", '{"spec": {"minAvailable": 1}}')
        cluster.kubectl(*drain, "--timeout=30s")
    finally:
        cluster.kubectl("uncordon", node)
    cluster.kubectl("rollout", "status", "deployment/guarded", "-n", namespace, "--timeout=30s")
    assert node not in {pod["spec"]["nodeName"] for pod in cluster.list("pods", namespace, "app=guarded")}


def test_owned_objects_are_garbage_collected(cluster: DevCluster, namespace: str, run_pod: Maker) -> None:
    cluster.kubectl("create", "configmap", "owner", "-n", namespace)
    owner = cluster.get("configmap", "owner", namespace)["metadata"]
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "owner",
        "uid": owner["uid"],
        "controller": True,
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "owned", "ownerReferences": [reference]},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "main", "image": "devcluster-tools", "command": ["sleep", "1000"]}],
        },
    }
    cluster.apply(pod, namespace)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/owned", "-n", namespace, "--timeout=20s")
    cluster.kubectl("delete", "configmap", "owner", "-n", namespace)
    cluster.wait_until(lambda: cluster.try_kubectl("get", "pod", "owned", "-n", namespace).returncode)


def test_a_deleted_namespace_takes_its_pods_with_it(
    cluster: DevCluster, run_pod: Maker, namespace: str
) -> None:
    run_pod("inside", "exec sleep 1000")
    cluster.kubectl("wait", "--for=condition=Ready", "pod/inside", "-n", namespace, "--timeout=20s")
    cluster.kubectl("create", "namespace", f"{namespace}-other")
    cluster.kubectl("delete", "namespace", f"{namespace}-other", "--timeout=30s")


@pytest.mark.faults("lose-node")
def test_a_lost_node_is_noticed_and_its_pods_are_replaced(
    cluster: DevCluster, namespace: str, faults: Faults
) -> None:
    cluster.apply(deployment("mobile", 1), namespace)
    cluster.kubectl("rollout", "status", "deployment/mobile", "-n", namespace, "--timeout=30s")
    lost = cluster.list("pods", namespace, "app=mobile")[0]
    node = lost["spec"]["nodeName"]
    faults.lose_node(node)
    try:
        status = cluster.pod(lost["metadata"]["name"], namespace)["status"]
        assert status["containerStatuses"][0]["state"].keys() == {"running"}  # nobody told the API
        cluster.kubectl("wait", f"node/{node}", "--for=condition=Ready=Unknown", "--timeout=30s")
        cluster.wait_until(
            lambda: any(
                pod["spec"].get("nodeName") not in (None, node) and pod["status"]["phase"] == "Running"
                for pod in cluster.list("pods", namespace, "app=mobile")
            ),
            timeout_s=60,
            message="the pod is replaced elsewhere",
        )
        assert cluster.pod(lost["metadata"]["name"], namespace)["metadata"].get("deletionTimestamp")
    finally:
        faults.restore_node(node)
    cluster.kubectl("wait", f"node/{node}", "--for=condition=Ready", "--timeout=30s")
    cluster.wait_until(
        lambda: cluster.try_kubectl("get", "pod", lost["metadata"]["name"], "-n", namespace).returncode,
        message="the old pod is removed when its node is back",
    )


@pytest.mark.faults("lose-node")
def test_pods_of_a_node_that_comes_back_soon_start_again(
    cluster: DevCluster, namespace: str, run_pod: Maker, faults: Faults
) -> None:
    run_pod("sticky", "exec sleep 1000")
    cluster.kubectl("wait", "--for=condition=Ready", "pod/sticky", "-n", namespace, "--timeout=20s")
    node = cluster.pod("sticky", namespace)["spec"]["nodeName"]
    faults.lose_node(node)
    faults.restore_node(node)
    status = cluster.wait_until(
        lambda: (
            (found := cluster.pod("sticky", namespace)["status"]["containerStatuses"][0])["restartCount"] == 1
            and found
        )
    )
    assert status["lastState"]["terminated"]["reason"] == "Unknown"


ECHO = """
import os, socket
listener = socket.create_server((os.environ["IP"], 7000))
while True:
    connection, _ = listener.accept()
    connection.sendall(os.environ["HOSTNAME"].encode())
    connection.close()
"""
POD_IP = [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]


def test_a_service_forwards_to_its_ready_pods_in_turn(
    cluster: DevCluster, namespace: str, run_pod: Maker
) -> None:
    for name in ("one", "two"):
        run_pod(
            name,
            "",
            labels={"app": "echo"},
            command=["python3", "-c", ECHO],
            env=POD_IP,
            readinessProbe={
                "exec": {"command": ["test", "!", "-e", "/tmp/off"]},
                "periodSeconds": 1,
                "failureThreshold": 1,
            },
        )
    ports = [{"port": 7100, "targetPort": 7000}]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "echo"}}
    cluster.apply(service | {"spec": {"selector": {"app": "echo"}, "ports": ports}}, namespace)
    address = cluster.get("service", "echo", namespace)["spec"]["clusterIP"]
    cluster.kubectl(
        "wait", "--for=condition=Ready", "pod", "-l", "app=echo", "-n", namespace, "--timeout=20s"
    )

    def ask() -> str:
        try:
            with socket.create_connection((address, 7100), timeout=2) as connection:
                return connection.recv(100).decode()
        except OSError:
            return ""

    cluster.wait_until(lambda: {ask() for _ in range(4)} == {"one", "two"})
    cluster.kubectl("exec", "one", "-n", namespace, "--", "touch", "/tmp/off")
    cluster.wait_until(lambda: {ask() for _ in range(4)} == {"two"})
    cluster.kubectl("delete", "pod", "two", "-n", namespace)
    assert ask() == ""  # nobody is ready: the connection is reset


@pytest.mark.faults("freeze")
def test_a_frozen_pod_is_silent_until_thawed(
    cluster: DevCluster, namespace: str, run_pod: Maker, faults: Faults
) -> None:
    run_pod("still", "", command=["python3", "-c", ECHO], env=POD_IP)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/still", "-n", namespace, "--timeout=20s")
    address = cluster.pod("still", namespace)["status"]["podIP"]

    def ask() -> str:
        with socket.create_connection((address, 7000), timeout=1) as connection:
            return connection.recv(100).decode()

    cluster.wait_until(lambda: _answer(ask) == "still")
    faults.freeze("still", namespace)
    with pytest.raises(TimeoutError):
        ask()
    faults.thaw("still", namespace)
    assert ask() == "still"


@pytest.mark.faults("lose-node", "silent-loss")
def test_a_lost_nodes_addresses_do_not_even_refuse(
    cluster: DevCluster, namespace: str, run_pod: Maker, faults: Faults
) -> None:
    run_pod("gone", "", command=["python3", "-c", ECHO], env=POD_IP)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/gone", "-n", namespace, "--timeout=20s")
    status = cluster.pod("gone", namespace)["status"]
    node = cluster.pod("gone", namespace)["spec"]["nodeName"]
    cluster.wait_until(lambda: _can_connect(status["podIP"]))
    faults.lose_node(node)
    try:
        with pytest.raises(TimeoutError):
            socket.create_connection((status["podIP"], 7000), timeout=1)
    finally:
        faults.restore_node(node)
    cluster.wait_until(lambda: _can_connect(cluster.pod("gone", namespace)["status"]["podIP"]))


def _can_connect(address: str) -> bool:
    try:
        socket.create_connection((address, 7000), timeout=1).close()
        return True
    except OSError:
        return False


@pytest.mark.faults("isolate")
def test_an_isolated_pod_is_cut_off_from_others_and_stays_ready(
    cluster: DevCluster, namespace: str, run_pod: Maker, faults: Faults
) -> None:
    probe = {"tcpSocket": {"port": 7000}, "periodSeconds": 1, "failureThreshold": 2}
    run_pod("island", "", command=["python3", "-c", ECHO], env=POD_IP, readinessProbe=probe)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/island", "-n", namespace, "--timeout=20s")
    address = cluster.pod("island", namespace)["status"]["podIP"]
    faults.isolate("island", namespace)
    try:
        with pytest.raises(TimeoutError):
            socket.create_connection((address, 7000), timeout=1)
        time.sleep(3)  # real time: more than the probe's threshold
        conditions = cluster.pod("island", namespace)["status"]["conditions"]
        assert {each["type"]: each["status"] for each in conditions}["Ready"] == "True"
    finally:
        faults.heal_network()
    socket.create_connection((address, 7000), timeout=5).close()


def _answer(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except OSError:
        return ""


@pytest.mark.faults("slow")
def test_a_slow_pod_sends_no_faster_than_its_limit(
    cluster: DevCluster, namespace: str, run_pod: Maker, faults: Faults
) -> None:
    size = 1 << 20
    script = ECHO.replace('os.environ["HOSTNAME"].encode()', f"bytes({size})")
    run_pod("narrow", "", command=["python3", "-c", script], env=POD_IP)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/narrow", "-n", namespace, "--timeout=20s")
    address = cluster.pod("narrow", namespace)["status"]["podIP"]

    def seconds_to_read_all() -> float:
        began, received = time.monotonic(), 0
        with socket.create_connection((address, 7000), timeout=30) as connection:
            while chunk := connection.recv(1 << 16):
                received += len(chunk)
        assert received == size
        return time.monotonic() - began

    cluster.wait_until(lambda: _answer(lambda: f"{seconds_to_read_all()}"), message="the pod listens")
    assert seconds_to_read_all() < 1
    faults.slow("narrow", size // 4, namespace)
    try:
        assert seconds_to_read_all() > 1
    finally:
        faults.heal_network()
    assert seconds_to_read_all() < 1
