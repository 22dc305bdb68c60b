"""Projections of API objects: whole values from whole objects, and total on incomplete ones."""

from __future__ import annotations

import base64

import pytest

from redoubt_operator.observation import (
    AuthSecret,
    Claim,
    ClusterMeta,
    Container,
    ContainerState,
    HostNode,
    Pod,
    PodPhase,
    Termination,
)
from redoubt_operator.projection import (
    auth_secret,
    claim,
    cluster_meta,
    container,
    host_node,
    password,
    pod,
    rfc3339,
    seconds,
)

AT = "2026-01-01T00:00:00Z"
AT_S = 1767225600.0


def test_running_pod_is_projected_as_a_whole() -> None:
    manifest = {
        "metadata": {
            "name": "cache-2-1",
            "uid": "pod-uid",
            "resourceVersion": "77",
            "creationTimestamp": AT,
            "labels": {"redoubt.dev/shard": "2", "redoubt.dev/serial": "1", "redoubt.dev/role": "replica"},
            "annotations": {"redoubt.dev/revision": "abc"},
            "ownerReferences": [{"uid": "other"}, {"uid": "owner", "controller": True}],
        },
        "spec": {
            "nodeName": "node-1",
            "containers": [
                {"name": "sidecar"},
                {
                    "name": "server",
                    "resources": {"limits": {"memory": "128Mi"}},
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                },
            ],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-cache-2-1"}}],
        },
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.7",
            "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}],
            "containerStatuses": [
                {
                    "name": "server",
                    "restartCount": 1,
                    "state": {"running": {"startedAt": AT}},
                    "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": AT}},
                }
            ],
        },
    }
    assert pod(manifest) == Pod(
        name="cache-2-1",
        uid="pod-uid",
        resource_version="77",
        shard=2,
        serial=1,
        role_label="replica",
        revision="abc",
        phase=PodPhase.RUNNING,
        is_ready=True,
        ip="10.0.0.7",
        node="node-1",
        container=Container(
            ContainerState.RUNNING,
            started_at_s=AT_S,
            restart_count=1,
            last_termination=Termination(137, "OOMKilled", AT_S),
        ),
        created_at_s=AT_S,
        claim="data-cache-2-1",
        owner_uid="owner",
        memory_limit_bytes=128 * 2**20,
    )


def test_pod_of_which_nothing_is_known_yet_is_pending() -> None:
    bare = pod({"metadata": {"name": "a", "uid": "u"}})
    assert bare == Pod(name="a", uid="u", resource_version="", shard=None, serial=None)


def test_unschedulable_pod_says_why() -> None:
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/3 nodes fit",
    }
    manifest = {"metadata": {"name": "a", "uid": "u"}, "status": {"conditions": [condition]}}
    assert pod(manifest).unschedulable == "0/3 nodes fit"


def test_deletion_began_a_grace_period_before_its_timestamp() -> None:
    metadata = {"name": "a", "uid": "u", "deletionTimestamp": AT, "deletionGracePeriodSeconds": 30}
    terminating = pod({"metadata": metadata})
    assert terminating.deleting_since_s == AT_S - 30
    assert terminating.is_terminating and terminating.grace_period_s == 30


def test_container_that_ended_and_waits_keeps_its_end() -> None:
    status = {
        "restartCount": 3,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
        "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": AT}},
    }
    assert container(status) == Container(
        ContainerState.WAITING, "CrashLoopBackOff", "back-off 10s", None, 3, Termination(1, "Error", AT_S)
    )


def test_claim_node_meta_and_secret_are_projected() -> None:
    labels = {"redoubt.dev/shard": "0", "redoubt.dev/serial": "x"}
    volume = {
        "metadata": {
            "name": "d",
            "uid": "u",
            "resourceVersion": "5",
            "labels": labels,
            "deletionTimestamp": AT,
        },
        "spec": {"resources": {"requests": {"storage": "1Gi"}}},
        "status": {"phase": "Bound", "capacity": {"storage": "2Gi"}},
    }
    assert claim(volume) == Claim("d", "u", "5", 0, None, "1Gi", "2Gi", "Bound", True, "", 0.0)
    node = {
        "metadata": {"name": "n", "labels": {"topology.kubernetes.io/zone": "z"}},
        "spec": {"unschedulable": True, "taints": [{"key": "node.kubernetes.io/out-of-service"}]},
        "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]},
    }
    assert host_node(node) == HostNode(
        "n", is_ready=False, is_cordoned=True, is_out_of_service=True, zone="z"
    )
    meta = {
        "metadata": {"namespace": "ns", "name": "c", "uid": "u", "generation": 4, "deletionTimestamp": AT}
    }
    assert cluster_meta(meta) == ClusterMeta("ns", "c", "u", 4, is_deleting=True)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"password": base64.b64encode(b"sesame\n").decode()}, "sesame"),
        ({"password": "!not base64!"}, ""),
        ({"password": base64.b64encode(b"\xff\xfe").decode()}, ""),
        ({"other": "eA=="}, ""),
        (None, ""),
    ],
)
def test_password_is_read_or_empty(data: dict[str, str] | None, expected: str) -> None:
    manifest = {"metadata": {"name": "s", "resourceVersion": "1"}, "data": data}
    assert password(manifest) == expected
    projected = auth_secret(manifest)
    assert isinstance(projected, AuthSecret)
    assert (projected.password_hash != "") is (expected != "")
    assert expected == "" or expected not in repr(projected)


def test_times_are_read_and_written() -> None:
    assert seconds(AT) == AT_S
    assert seconds("2026-01-01T00:00:00.250000Z") == AT_S + 0.25
    assert seconds(None) is None
    assert rfc3339(AT_S + 0.25) == "2026-01-01T00:00:00.250000Z"
