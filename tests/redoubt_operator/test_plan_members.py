"""Members come and go on purpose: replicas, rolls, cordoned nodes, directives, budgets, volumes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from redoubt_operator import names, pods
from redoubt_operator.actions import (
    ApplyObject,
    CreateClaim,
    CreatePod,
    DeleteClaim,
    DeletePod,
    Handover,
    LabelPod,
    PatchClaim,
    SetConfig,
)
from redoubt_operator.observation import Container, ContainerState
from redoubt_operator.plan import plan
from tests.redoubt_operator.test_plan_creation import kinds
from tests.redoubt_operator.world import running

VOLUME = {"storage": {"size": "1Gi"}}


def look(world):
    return plan(world.spec, world.observe(), world.now_s)


def test_more_replicas_are_created_with_the_next_free_serials():
    world = running()
    world.edit(replicasPerShard=2)
    created = [one.manifest["metadata"]["name"] for one in kinds(look(world), CreatePod)]
    assert created == ["demo-0-2", "demo-1-2", "demo-2-2"]
    world.converge()
    assert world.status["members"] == "3/6"


def test_fewer_replicas_are_removed_from_the_highest_serial_that_is_not_master():
    world = running({"replicasPerShard": 2, "shards": 1})
    world.kill("demo-0-0")
    world.converge()
    assert world.master(0).pod.name == "demo-0-1"
    world.edit(replicasPerShard=1)
    assert [one.pod for one in kinds(look(world), DeletePod)] == ["demo-0-2"]
    world.converge()
    assert sorted(world.hosts) == ["demo-0-0", "demo-0-1"]


def test_a_member_out_of_sync_goes_before_the_last_synced_one():
    world = running({"replicasPerShard": 2, "shards": 1})
    world.edit(replicasPerShard=1)
    world.hosts["demo-0-1"].server.synced = False
    assert [one.pod for one in kinds(look(world), DeletePod)] == ["demo-0-1"]


def test_nothing_is_removed_while_no_replica_that_stays_is_in_sync():
    world = running({"replicasPerShard": 2, "shards": 1})
    world.edit(replicasPerShard=1)
    for name in ("demo-0-1", "demo-0-2"):
        world.hosts[name].server.synced = False
    assert kinds(look(world), DeletePod) == []


def test_nothing_is_removed_while_a_member_is_not_seen():
    world = running({"replicasPerShard": 2, "shards": 1})
    world.edit(replicasPerShard=1)
    world.hosts["demo-0-1"].is_silent = True
    assert kinds(look(world), DeletePod) == []


def test_the_volume_of_a_removed_member_is_deleted_when_the_others_are_in_sync():
    world = running({"replicasPerShard": 1, "shards": 1, **VOLUME})
    world.edit(replicasPerShard=0)
    world.converge()
    assert [one.claim for one in world.log if isinstance(one, DeleteClaim)] == ["data-demo-0-1"]
    assert sorted(world.volumes) == ["data-demo-0-0"]


def test_a_pod_that_returns_to_its_volume_takes_its_serial():
    world = running(VOLUME)
    world.delete("demo-1-1")
    assert kinds(look(world), CreatePod) == []
    world.step()
    wanted = look(world)
    assert [one.manifest["metadata"]["name"] for one in kinds(wanted, CreatePod)] == ["demo-1-1"]
    assert kinds(wanted, CreateClaim) == []


def test_a_pod_that_terminates_for_too_long_is_not_waited_for():
    world = running(VOLUME)
    world.delete("demo-1-1")
    world.now_s += 61
    created = [one.manifest["metadata"]["name"] for one in kinds(look(world), CreatePod)]
    assert created == ["demo-1-2"]


def test_a_serial_is_not_used_again_while_its_pod_exists():
    world = running()
    world.delete("demo-1-1")
    created = [one.manifest["metadata"]["name"] for one in kinds(look(world), CreatePod)]
    assert created == ["demo-1-2"]


def test_a_roll_goes_replica_first_then_hands_over_then_the_old_master():
    world = running({"shards": 1})
    world.log.clear()
    world.edit(image="redoubt-server:next")
    world.converge()
    steps = [action for action in world.log if isinstance(action, DeletePod | Handover)]
    assert [(type(one).__name__, getattr(one, "pod", "")) for one in steps] == [
        ("DeletePod", "demo-0-1"),
        ("Handover", ""),
        ("DeletePod", "demo-0-0"),
    ]
    assert world.master(0).server.keys == 100


def test_the_first_pod_of_a_revision_goes_alone():
    world = running()
    world.edit(image="redoubt-server:next")
    assert [one.pod for one in kinds(world.reconcile(), DeletePod)] == ["demo-0-1"]
    world.step()
    assert kinds(world.reconcile(), DeletePod) == []


def test_a_pod_of_the_new_revision_that_cannot_start_stops_the_roll_and_reverting_replaces_it():
    world = running()
    world.edit(image="redoubt-server:typo")
    world.reconcile()
    world.step()
    world.reconcile()
    new = world.hosts["demo-0-1"]
    new.down_for = 99
    new.pod = replace(new.pod, container=Container(ContainerState.WAITING, "ImagePullBackOff"))
    world.now_s += 5
    for _ in range(3):
        assert kinds(world.reconcile(), DeletePod) == []
        world.step()
    assert [one["reason"] for one in world.status["blockers"]] == ["PodCannotStart", "RollHalted"]
    world.edit(image="redoubt-server:0.1.0")
    assert [one.pod for one in kinds(look(world), DeletePod)] == ["demo-0-1"]


def test_a_roll_waits_for_a_replica_that_lags():
    world = running({"shards": 1, "replicasPerShard": 2})
    world.edit(image="redoubt-server:next")
    world.hosts["demo-0-1"].server.link_up = False
    assert kinds(look(world), DeletePod, Handover) == []


def test_a_lone_master_rolls_over_a_temporary_replica():
    world = running({"shards": 1, "replicasPerShard": 0})
    world.edit(image="redoubt-server:next")
    assert [one.manifest["metadata"]["name"] for one in kinds(look(world), CreatePod)] == ["demo-0-1"]
    world.converge()
    assert sorted(world.hosts) == ["demo-0-1"]
    assert world.master(0).server.keys == 100


def test_a_lone_master_leaves_a_cordoned_node():
    world = running({"shards": 1, "replicasPerShard": 0})
    node = world.hosts["demo-0-0"].pod.node
    world.nodes[node] = replace(world.nodes[node], is_cordoned=True)
    world.converge()
    [host] = world.hosts.values()
    assert host.pod.node != node
    assert host.server.keys == 100


@pytest.mark.parametrize(
    ("fields", "restarts"),
    [
        ({"memory": {"evictionPolicy": "allkeys-lru"}}, False),
        ({"memory": {"percentOfLimit": 50}}, False),
        ({"config": {"maxclients": "500"}}, False),
        ({"monitor": {"intervalSeconds": 9}}, False),
        ({"image": "redoubt-server:next"}, True),
        ({"resources": {"limits": {"memory": "512Mi"}}}, True),
        ({"config": {"databases": "1"}}, True),
        ({"podTemplate": {"nodeSelector": {"disk": "ssd"}}}, True),
    ],
)
def test_what_can_change_live_restarts_nothing(fields, restarts):
    world = running()
    before = pods.revision(world.spec)
    world.edit(**fields)
    assert (pods.revision(world.spec) != before) == restarts


def test_live_directives_are_set_and_read_back():
    world = running()
    world.edit(memory={"evictionPolicy": "allkeys-lru"})
    wanted = look(world)
    assert [one.directives for one in kinds(wanted, SetConfig)] == [
        (("maxmemory-policy", "allkeys-lru"),)
    ] * 6
    assert [one.manifest["kind"] for one in kinds(wanted, ApplyObject)] == ["ConfigMap"]
    world.reconcile()
    assert world.condition("ConfigApplied") == "False"
    world.converge()
    assert world.condition("ConfigApplied") == "True"


def test_a_directive_that_a_server_does_not_know_is_named_and_not_sent():
    world = running()
    world.edit(config={"no-such-thing": "1"})
    assert kinds(world.reconcile(), SetConfig) == []
    [condition] = [one for one in world.status["conditions"] if one["type"] == "ConfigApplied"]
    assert condition["reason"] == "UnknownDirective"


def test_an_unknown_directive_is_kept_out_of_redis_conf_so_that_restarts_succeed():
    world = running()
    before = world.objects["ConfigMap", "demo-config"]
    world.edit(config={"no-such-thing": "1"})
    world.reconcile()
    assert world.status["unknownDirectives"] == ["no-such-thing"]
    for host in world.hosts.values():
        host.is_silent = True
    world.reconcile()
    assert world.objects["ConfigMap", "demo-config"] == before
    world.edit(config={})
    world.reconcile()
    assert "unknownDirectives" not in world.status


def test_a_directive_that_is_refused_is_not_sent_for_ever():
    world = running()
    world.edit(memory={"evictionPolicy": "allkeys-lru"})
    for _ in range(2):
        assert len(kinds(world.reconcile(prefix=0), SetConfig)) == 6
    world.now_s += 61
    assert kinds(world.reconcile(prefix=0), SetConfig) == []


def test_units_and_case_are_no_difference():
    world = running({"config": {"client-query-buffer-limit": "1gb", "hz": "10"}})
    for host in world.hosts.values():
        host.server.config["client-query-buffer-limit"] = "1073741824"
    assert kinds(look(world), SetConfig) == []


def test_role_labels_follow_the_roles():
    world = running()
    assert {name: host.pod.role_label for name, host in world.hosts.items()} == {
        **{f"demo-{shard}-0": "master" for shard in range(3)},
        **{f"demo-{shard}-1": "replica" for shard in range(3)},
    }
    world.kill("demo-0-0")
    world.converge()
    assert world.hosts["demo-0-1"].pod.role_label == "master"
    assert world.hosts["demo-0-0"].pod.role_label == "replica"
    assert {tuple(one.labels) for one in world.log if isinstance(one, LabelPod)} == {(names.LABEL_ROLE,)}


def test_a_budget_lets_one_member_go_only_when_a_replica_can_take_over():
    world = running()
    assert [
        world.objects["PodDisruptionBudget", f"demo-{shard}"]["spec"]["minAvailable"] for shard in range(3)
    ] == [
        1,
        1,
        1,
    ]
    world.hosts["demo-1-1"].server.link_up = False
    [budget] = kinds(look(world), ApplyObject)
    assert (budget.manifest["metadata"]["name"], budget.manifest["spec"]["minAvailable"]) == ("demo-1", 2)


def test_reclaim_decides_who_owns_the_volumes():
    world = running(VOLUME)
    world.edit(storage={"size": "1Gi", "reclaim": "Delete"})
    assert len(kinds(world.reconcile(), PatchClaim)) == 6
    assert {claim.owner_uid for claim, _ in world.volumes.values()} == {"uid-demo"}
    world.edit(storage={"size": "1Gi", "reclaim": "Retain"})
    world.reconcile()
    assert {claim.owner_uid for claim, _ in world.volumes.values()} == {""}


def test_volumes_grow():
    world = running(VOLUME)
    world.edit(storage={"size": "2Gi"})
    assert len(kinds(world.reconcile(), PatchClaim)) == 6
    assert {claim.size_requested for claim, _ in world.volumes.values()} == {"2Gi"}
    assert kinds(look(world), PatchClaim, DeletePod) == []
