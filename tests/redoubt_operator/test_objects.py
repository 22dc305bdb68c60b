"""Pods, volumes, Services, redis.conf and revisions, as they are rendered."""

from __future__ import annotations

import hashlib
import json

import pytest

from redoubt.config import DIRECTIVES
from redoubt_operator import directives, objects, pods
from redoubt_operator.observation import ClusterMeta
from redoubt_operator.quantity import bytes_of, parse
from redoubt_operator.reserved import RESERVED
from redoubt_operator.spec import ClusterSpec, read_spec

META = ClusterMeta("shop", "cart", "uid-1", 1)
MIB = 1024 * 1024


def spec(**fields) -> ClusterSpec:
    read = read_spec(fields)
    assert isinstance(read, ClusterSpec), read
    return read


def pod(**fields):
    return pods.pod(spec(**fields), META, 1, 4, "")


def test_a_pod_is_labelled_and_owned():
    metadata = pod()["metadata"]
    assert metadata["name"] == "cart-1-4"
    assert metadata["labels"] == {
        "app.kubernetes.io/name": "redoubt",
        "app.kubernetes.io/instance": "cart",
        "app.kubernetes.io/managed-by": "redoubt-operator",
        "redoubt.dev/cluster": "cart",
        "redoubt.dev/shard": "1",
        "redoubt.dev/serial": "4",
    }
    assert metadata["ownerReferences"][0]["controller"] is True


def test_a_pod_meets_the_restricted_level():
    body = pod()["spec"]
    [container] = body["containers"]
    assert body["securityContext"]["runAsNonRoot"] is True
    assert body["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert body["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_password_is_a_file_and_never_an_argument_or_variable():
    body = pod(auth={"secretName": "mine"})["spec"]
    [container] = body["containers"]
    assert [one["name"] for one in container["env"]] == ["POD_IP"]
    assert "requirepass" not in " ".join(container["args"])
    assert body["volumes"][2]["secret"] == {"secretName": "mine", "defaultMode": 0o440}


def test_the_server_announces_the_address_of_its_pod():
    [container] = pod()["spec"]["containers"]
    assert container["args"] == [
        "/etc/redoubt/redoubt.conf",
        *("--bind", "$(POD_IP)", "-127.0.0.1"),
        *("--bind-source-addr", "$(POD_IP)"),
        *("--cluster-announce-ip", "$(POD_IP)"),
    ]


def test_liveness_tolerates_two_minutes_and_readiness_is_asked_every_second():
    [container] = pod()["spec"]["containers"]
    alive, ready = container["livenessProbe"], container["readinessProbe"]
    assert alive["periodSeconds"] * alive["failureThreshold"] == 120
    assert (ready["httpGet"]["path"], ready["periodSeconds"]) == ("/readyz", 1)


def test_members_of_a_shard_avoid_each_other():
    affinity = pod()["spec"]["affinity"]["podAntiAffinity"]
    [term] = affinity["preferredDuringSchedulingIgnoredDuringExecution"]
    assert term["podAffinityTerm"]["labelSelector"]["matchLabels"] == {
        "redoubt.dev/cluster": "cart",
        "redoubt.dev/shard": "1",
    }
    required = pod(placement={"antiAffinity": "Required"})["spec"]["affinity"]["podAntiAffinity"]
    assert list(required) == ["requiredDuringSchedulingIgnoredDuringExecution"]
    assert "affinity" not in pod(placement={"antiAffinity": "None"})["spec"]


def test_lesson_21_members_of_a_shard_spread_over_nodes_and_zones_as_the_rules_say():
    body = pod(placement={"spread": {"nodes": "Required", "zones": "Required"}})["spec"]
    assert list(body["affinity"]["podAntiAffinity"]) == ["requiredDuringSchedulingIgnoredDuringExecution"]
    [constraint] = body["topologySpreadConstraints"]
    assert constraint == {
        "maxSkew": 1,
        "topologyKey": "topology.kubernetes.io/zone",
        "whenUnsatisfiable": "DoNotSchedule",
        "nodeTaintsPolicy": "Honor",
        "labelSelector": {"matchLabels": {"redoubt.dev/cluster": "cart", "redoubt.dev/shard": "1"}},
    }
    off = pod(placement={"zoneKey": "rack", "spread": {"nodes": "Off", "zones": "Off"}})["spec"]
    assert "affinity" not in off
    assert "topologySpreadConstraints" not in off
    [preferred] = pod(placement={"zoneKey": "rack"})["spec"]["topologySpreadConstraints"]
    assert (preferred["topologyKey"], preferred["whenUnsatisfiable"]) == ("rack", "ScheduleAnyway")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({}, {"spread": {"nodes": "Preferred", "zones": "Off"}}),
        ({}, {"spread": {"masters": "Off"}}),
        ({"antiAffinity": "Required"}, {"spread": {"nodes": "Required"}}),
        ({"antiAffinity": "None"}, {"spread": {"nodes": "Off"}}),
        ({"zoneKey": "topology.kubernetes.io/zone"}, {"spread": {"zones": "Preferred"}}),
    ],
)
def test_lesson_15_the_same_rules_in_other_words_restart_nothing(old, new):
    assert pods.revision(spec(placement=old)) == pods.revision(spec(placement=new))


def test_lesson_15_another_rendering_of_pods_is_another_template():
    """Whoever changes what this renders raises pods.TEMPLATE, so that clusters can approve it."""
    text = json.dumps(pod(storage={"size": "1Gi"})["spec"], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    assert (pods.TEMPLATE, digest) == (1, "322abfbd6bc8")


def test_the_pod_template_is_merged():
    merged = pod(
        resources={"limits": {"memory": "1Gi", "cpu": "2"}},
        podTemplate={
            "labels": {"team": "shop"},
            "annotations": {"note": "x"},
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "dedicated", "operator": "Exists"}],
            "imagePullSecrets": [{"name": "registry"}],
            "priorityClassName": "high",
            "terminationGracePeriodSeconds": 60,
            "resources": {"limits": {"memory": "2Gi"}},
        },
    )
    body = merged["spec"]
    assert merged["metadata"]["labels"]["team"] == "shop"
    assert merged["metadata"]["annotations"]["note"] == "x"
    assert body["nodeSelector"] == {"disk": "ssd"}
    assert body["tolerations"] == [{"key": "dedicated", "operator": "Exists"}]
    assert body["imagePullSecrets"] == [{"name": "registry"}]
    assert (body["priorityClassName"], body["terminationGracePeriodSeconds"]) == ("high", 60)
    assert body["containers"][0]["resources"] == {"limits": {"memory": "2Gi", "cpu": "2"}}


def test_volumes_carry_an_owner_only_under_delete():
    kept = objects.claim(spec(storage={"size": "1Gi", "className": "fast"}), META, 0, 1)
    assert "ownerReferences" not in kept["metadata"]
    assert kept["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "fast",
    }
    deleted = objects.claim(spec(storage={"size": "1Gi", "reclaim": "Delete"}), META, 0, 1)
    assert deleted["metadata"]["ownerReferences"][0]["uid"] == "uid-1"


def test_no_volume_carries_the_label_by_which_argo_cd_prunes():
    for reclaim in ("Retain", "Delete"):
        claim = objects.claim(spec(storage={"size": "1Gi", "reclaim": reclaim}), META, 0, 1)
        assert "app.kubernetes.io/instance" not in claim["metadata"]["labels"]


def test_the_headless_service_publishes_members_that_are_not_ready():
    headless, client = objects.services(META)
    assert (headless["spec"]["clusterIP"], headless["spec"]["publishNotReadyAddresses"]) == ("None", True)
    assert [port["port"] for port in client["spec"]["ports"]] == [6379]


def test_redis_conf_has_what_managed_mode_needs_and_the_users_directives():
    text = objects.config_map(spec(config={"maxclients": "50", "save": ""}), META)["data"]["redoubt.conf"]
    lines = text.splitlines()
    for line in (
        "await-role yes",
        "cluster-node-timeout 3000",
        "repl-backlog-ttl 0",
        "maxclients 50",
        'save ""',
    ):
        assert line in lines
    assert "cluster-require-full-coverage no" in lines
    changed = spec(config={"cluster-require-full-coverage": "yes"})
    assert "cluster-require-full-coverage yes" in objects.config_map(changed, META)["data"]["redoubt.conf"]


def test_directives_that_need_a_restart_are_those_that_the_server_does_not_change():
    immutable = {row.name for row in DIRECTIVES.values() if not row.is_mutable}
    assert immutable - set(RESERVED) == directives.NEEDS_RESTART


def test_every_directive_that_the_operator_sets_is_reserved_and_known_to_the_server():
    known = {row.name for row in DIRECTIVES.values()}
    written = set(directives.directives(spec(resources={"limits": {"memory": "1Gi"}})))
    assert written <= known
    assert written - set(RESERVED) == {"cluster-require-full-coverage", "save", "snapshot-mode"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"appendonly": "no", "save": ""}),
        ({"storage": {"size": "1Gi"}}, {"appendonly": "no", "save": "3600 1 300 100 60 10000"}),
        (
            {"persistence": {"mode": "aof", "fsync": "always"}},
            {"appendonly": "yes", "appendfsync": "always", "save": "3600 1 300 100 60 10000"},
        ),
        (
            {"persistence": {"mode": "rdb"}, "config": {"save": "900 1"}},
            {"appendonly": "no", "save": "900 1"},
        ),
    ],
)
def test_persistence_is_set_live_and_restarts_no_pod(fields, expected):
    live = directives.live_directives(spec(**fields))
    names = ("appendonly", "appendfsync", "save")
    assert {name: live[name] for name in names if name in live} == expected
    unset = {name: value for name, value in fields.items() if name == "persistence"}
    assert pods.revision(spec(**unset)) == pods.revision(spec())


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"resources": {"limits": {"memory": "256Mi"}}}, int((256 - 48 - 16) * MIB / 1.25)),
        ({"resources": {"limits": {"memory": "64Mi"}}}, 16 * MIB),
        ({"resources": {"limits": {"memory": "200Mi"}}, "memory": {"percentOfLimit": 50}}, 100 * MIB),
        (
            {
                "resources": {"limits": {"memory": "256Mi"}},
                "podTemplate": {"resources": {"limits": {"memory": "1Gi"}}},
                "memory": {"percentOfLimit": 25},
            },
            256 * MIB,
        ),
    ],
)
def test_maxmemory_leaves_room_for_the_process_its_buffers_and_a_snapshot(fields, expected):
    assert directives.maxmemory_bytes(spec(**fields)) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "44136fa355b3"),
        ({"shards": 5, "replicasPerShard": 2, "memory": {"percentOfLimit": 50}}, "44136fa355b3"),
        ({"image": "redoubt-server:2"}, "9e6be8e52f70"),
        ({"resources": {"limits": {"cpu": "0.5", "memory": "1Gi"}}}, "4529faf01dc4"),
        ({"resources": {"limits": {"cpu": "500m", "memory": "1024Mi"}}}, "4529faf01dc4"),
    ],
)
def test_revisions_are_the_same_for_every_operator(fields, expected):
    """These hashes stand in annotations of running pods: another value here would restart them all."""
    assert pods.revision(spec(**fields)) == expected


@pytest.mark.parametrize(
    ("live", "wanted", "expected"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"a": [{"x": 1, "y": 2}]}, {"a": [{"x": 1}]}, True),
        ({"a": [{"x": 1}, {"x": 2}]}, {"a": [{"x": 1}]}, False),
        ({"a": "1"}, {"a": 1}, False),
    ],
)
def test_contains_ignores_what_others_added(live, wanted, expected):
    assert objects.contains(live, wanted) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1Gi", 2**30), ("1.5k", 1500), ("1e3", 1000), ("100m", 0), ("abc", None), ("", None)],
)
def test_quantities_are_read_by_value(text, expected):
    assert bytes_of(text) == expected


def test_equal_quantities_compare_equal():
    assert parse("0.1") == parse("100m")
