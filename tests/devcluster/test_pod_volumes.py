"""What outlives what: emptyDir a container, a claim a pod; and files that follow their source."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devcluster.cluster import DevCluster
from devcluster.faults import Faults

pytestmark = pytest.mark.cluster
Maker = Callable[..., dict[str, Any]]
Status = Callable[[str], dict[str, Any]]
DATA = [{"name": "d", "mountPath": "/data"}]
APPEND_AND_SLEEP = "echo $HOSTNAME >> /data/log; cat /data/log; exec sleep 1000"


def claim(name: str, storage_class: str = "devcluster") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": storage_class,
            "resources": {"requests": {"storage": "10Mi"}},
        },
    }


def test_an_empty_dir_outlives_the_container_and_not_the_pod(
    cluster: DevCluster, namespace: str, run_pod: Maker, container_status: Status, faults: Faults
) -> None:
    volumes = [{"name": "d", "emptyDir": {}}]
    run_pod("scratch", APPEND_AND_SLEEP, volumeMounts=DATA, volumes=volumes)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/scratch", "-n", namespace, "--timeout=20s")
    faults.kill("scratch", namespace)
    cluster.wait_until(
        lambda: cluster.try_kubectl("logs", "scratch", "-n", namespace).stdout == "scratch\n" * 2
    )
    uid = cluster.pod("scratch", namespace)["metadata"]["uid"]
    cluster.kubectl("delete", "pod", "scratch", "-n", namespace)
    cluster.wait_until(lambda: not (cluster.state.pods / uid).exists())
    run_pod("scratch", APPEND_AND_SLEEP, volumeMounts=DATA, volumes=volumes)
    cluster.wait_until(lambda: cluster.try_kubectl("logs", "scratch", "-n", namespace).stdout == "scratch\n")


@pytest.mark.parametrize("storage_class", ["devcluster", "devcluster-immediate"])
def test_a_claim_outlives_its_pod_and_is_gone_when_deleted(
    cluster: DevCluster, namespace: str, run_pod: Maker, storage_class: str
) -> None:
    cluster.apply(claim("keep", storage_class), namespace)
    volumes = [{"name": "d", "persistentVolumeClaim": {"claimName": "keep"}}]
    for name in ("one", "two"):
        run_pod(name, APPEND_AND_SLEEP, volumeMounts=DATA, volumes=volumes)
        cluster.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "-n", namespace, "--timeout=20s")
        if name == "one":
            cluster.kubectl("delete", "pod", "one", "-n", namespace)
    cluster.wait_until(lambda: cluster.try_kubectl("logs", "two", "-n", namespace).stdout == "one\ntwo\n")
    volume = cluster.get("persistentvolumeclaim", "keep", namespace)["spec"]["volumeName"]
    directory = Path(cluster.get("persistentvolume", volume)["spec"]["hostPath"]["path"])
    assert (directory / "log").exists()
    cluster.kubectl("delete", "persistentvolumeclaim", "keep", "-n", namespace, "--wait=false")
    cluster.kubectl("delete", "pod", "two", "-n", namespace)
    cluster.wait_until(lambda: cluster.try_kubectl("get", "pv", volume).returncode, message="volume removed")
    assert not directory.exists()


def test_a_retained_volume_keeps_its_data_without_its_claim(
    cluster: DevCluster, namespace: str, run_pod: Maker
) -> None:
    cluster.apply(claim("kept", "devcluster-immediate"), namespace)
    cluster.wait_until(lambda: cluster.get("pvc", "kept", namespace)["status"].get("phase") == "Bound")
    volume = cluster.get("pvc", "kept", namespace)["spec"]["volumeName"]
    cluster.kubectl("patch", "pv", volume, "-p", '{"spec": {"persistentVolumeReclaimPolicy": "Retain"}}')
    cluster.kubectl("delete", "pvc", "kept", "-n", namespace)
    cluster.wait_until(lambda: cluster.get("pv", volume)["status"]["phase"] == "Released")
    assert Path(cluster.get("pv", volume)["spec"]["hostPath"]["path"]).is_dir()
    cluster.kubectl("delete", "pv", volume)


def test_a_changed_config_map_reaches_its_files(cluster: DevCluster, namespace: str, run_pod: Maker) -> None:
    cluster.kubectl("create", "configmap", "c", "--from-literal=a=1", "--from-literal=b=2", "-n", namespace)
    run_pod(
        "reader",
        "exec sleep 1000",
        volumeMounts=[{"name": "d", "mountPath": "/etc/redoubt-test/conf"}],
        volumes=[{"name": "d", "configMap": {"name": "c"}}],
    )
    cluster.kubectl("wait", "--for=condition=Ready", "pod/reader", "-n", namespace, "--timeout=20s")
    read = ["exec", "reader", "-n", namespace, "--", "sh", "-c", "cd /etc/redoubt-test/conf; grep . *"]
    assert cluster.kubectl(*read) == "a:1\nb:2\n"
    cluster.kubectl("patch", "configmap", "c", "-n", namespace, "-p", '{"data": {"a": "new", "b": null}}')
    cluster.wait_until(lambda: cluster.try_kubectl(*read).stdout == "new\n", timeout_s=5)
    assert not os.path.exists("/etc/redoubt-test")


def test_the_service_account_token_opens_the_api_that_the_environment_names(
    cluster: DevCluster, namespace: str, run_pod: Maker
) -> None:
    script = """
import json, os, ssl, urllib.request
directory = "/var/run/secrets/kubernetes.io/serviceaccount/"
token = open(directory + "token").read()
url = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
body = json.dumps({"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"}).encode()
request = urllib.request.Request(url + "/apis/authentication.k8s.io/v1/selfsubjectreviews", body)
request.add_header("Authorization", "Bearer " + token)
request.add_header("Content-Type", "application/json")
context = ssl.create_default_context(cafile=directory + "ca.crt")
with urllib.request.urlopen(request, context=context) as answer:
    print(json.loads(answer.read())["status"]["userInfo"]["username"], open(directory + "namespace").read())
"""
    run_pod(
        "whoami",
        "",
        command=["python3", "-c", script],
        restartPolicy="Never",
        securityContext={"runAsUser": 10001, "runAsNonRoot": True},
    )
    cluster.wait_until(
        lambda: cluster.pod("whoami", namespace)["status"].get("phase") in ("Succeeded", "Failed")
    )
    said = cluster.kubectl("logs", "whoami", "-n", namespace)
    assert said == f"system:serviceaccount:{namespace}:default {namespace}\n"


def test_a_restricted_pod_writes_its_volumes_and_nothing_else(
    cluster: DevCluster, namespace: str, run_pod: Maker
) -> None:
    label = "pod-security.kubernetes.io/enforce=restricted"
    cluster.kubectl("label", "namespace", namespace, label)
    cluster.apply(claim("mine"), namespace)
    restricted = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    run_pod(
        "restricted",
        "touch /data/x /scratch/y && echo wrote; touch /tmp/z /new /usr/w 2>/dev/null || echo refused; id -u",
        restartPolicy="Never",
        securityContext=restricted,
        volumeMounts=[*DATA, {"name": "s", "mountPath": "/scratch"}],
        volumes=[
            {"name": "d", "persistentVolumeClaim": {"claimName": "mine"}},
            {"name": "s", "emptyDir": {}},
        ],
    )
    cluster.wait_until(lambda: cluster.pod("restricted", namespace)["status"].get("phase") == "Succeeded")
    assert cluster.kubectl("logs", "restricted", "-n", namespace) == "wrote\nrefused\n10001\n"
    refused = cluster.try_kubectl("run", "open", "--image=devcluster-tools", "-n", namespace)
    assert "violates PodSecurity" in refused.stderr


def test_downward_files_and_sub_paths(cluster: DevCluster, namespace: str, run_pod: Maker) -> None:
    items = [{"path": "app", "fieldRef": {"fieldPath": "metadata.labels['app']"}}]
    run_pod(
        "files",
        "cat /etc/podinfo/app; cat /data/one/here; exec sleep 1000",
        labels={"app": "files"},
        volumeMounts=[
            {"name": "info", "mountPath": "/etc/podinfo"},
            {"name": "d", "mountPath": "/data/one", "subPath": "below"},
        ],
        volumes=[{"name": "info", "downwardAPI": {"items": items}}, {"name": "d", "emptyDir": {}}],
        initContainers=[
            {
                "name": "fill",
                "image": "devcluster-tools",
                "command": ["sh", "-c", "echo found > /all/below/here"],
                "volumeMounts": [
                    {"name": "d", "mountPath": "/all"},
                    {"name": "d", "mountPath": "/below", "subPath": "below"},
                ],
            }
        ],
    )
    cluster.wait_until(
        lambda: cluster.try_kubectl("logs", "files", "-n", namespace).stdout == "filesfound\n",
        message=json.dumps(cluster.pod("files", namespace)["status"]),
    )
