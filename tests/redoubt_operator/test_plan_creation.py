"""A new cluster: objects, pods, epochs, slots, MEET, replicas, each step from any half-done state."""

from __future__ import annotations

from dataclasses import replace

from redoubt_operator.actions import (
    AddSlots,
    ApplyObject,
    AssignMaster,
    AssignReplica,
    CreateClaim,
    CreatePod,
    CreateSecret,
    DeletePod,
    Meet,
    RaiseLease,
    SetConfigEpoch,
)
from redoubt_operator.observation import Container, ContainerState, SlotRange, Unknown
from redoubt_operator.plan import plan
from tests.redoubt_operator.world import SMALL, World, running


def kinds(wanted, *types):
    return [action for action in wanted.actions if isinstance(action, types)]


def test_first_look_creates_everything_that_pods_need_and_the_pods():
    world = World(SMALL)
    wanted = plan(world.spec, world.observe(), world.now_s)
    applied = [(one.manifest["kind"], one.manifest["metadata"]["name"]) for one in kinds(wanted, ApplyObject)]
    assert applied == [
        ("Service", "demo-members"),
        ("Service", "demo"),
        ("ConfigMap", "demo-config"),
        ("PodDisruptionBudget", "demo-0"),
        ("PodDisruptionBudget", "demo-1"),
        ("PodDisruptionBudget", "demo-2"),
    ]
    assert [one.manifest["metadata"]["name"] for one in kinds(wanted, CreateSecret)] == ["demo-auth"]
    created = [one.manifest["metadata"]["name"] for one in kinds(wanted, CreatePod)]
    assert created == ["demo-0-0", "demo-0-1", "demo-1-0", "demo-1-1", "demo-2-0", "demo-2-1"]
    assert wanted.status is not None and wanted.status["currentShards"] == 3


def test_every_action_says_why():
    world = World(SMALL)
    for _ in range(6):
        assert all(action.because for action in world.reconcile().actions)
        world.step()


def test_a_given_secret_is_not_generated_and_its_absence_is_a_blocker():
    world = World({**SMALL, "auth": {"secretName": "mine"}})
    wanted = world.reconcile()
    assert kinds(wanted, CreateSecret) == []
    assert [one["reason"] for one in world.status["blockers"]] == ["PasswordMissing"]
    assert world.condition("Stalled") == "True"


def test_epoch_role_and_slots_are_given_in_this_order_before_any_meet():
    world = World(SMALL)
    world.reconcile()
    world.step()
    wanted = world.reconcile()
    lane = [action for action in wanted.actions if action.shard == 1]
    assert [type(action) for action in lane] == [
        RaiseLease,
        RaiseLease,
        SetConfigEpoch,
        AssignMaster,
        AddSlots,
    ]
    assert lane[2].config_epoch == 2
    assert lane[4].slots == (SlotRange(5461, 10921),)
    assert kinds(wanted, Meet) == []


def test_config_epochs_of_shards_formed_together_differ():
    world = World({**SMALL, "shards": 5})
    world.reconcile()
    world.step()
    epochs = [action.config_epoch for action in kinds(world.reconcile(), SetConfigEpoch)]
    assert epochs == [1, 2, 3, 4, 5]


def test_slots_are_not_given_before_the_number_of_shards_stands_in_the_status():
    world = World(SMALL)
    world.reconcile(loses_status=True)
    world.step()
    assert kinds(world.reconcile(loses_status=True), AddSlots, AssignMaster) == []


def test_a_shard_whose_member_does_not_answer_is_not_formed_and_the_others_are():
    world = World(SMALL)
    world.reconcile()
    world.step()
    world.hosts["demo-1-1"].is_silent = True
    assert [action.shard for action in kinds(world.reconcile(), AddSlots)] == [0, 2]


def test_a_crash_between_role_and_slots_is_continued():
    world = World(SMALL)
    world.reconcile()
    world.step()
    wanted = plan(world.spec, world.observe(), world.now_s)
    world.apply([action for action in wanted.actions if not isinstance(action, AddSlots)])
    world.step()
    wanted = plan(world.spec, world.observe(), world.now_s)
    assert [action.target.pod for action in kinds(wanted, AddSlots)] == ["demo-0-0", "demo-1-0", "demo-2-0"]
    assert kinds(wanted, SetConfigEpoch, AssignMaster) == []


def test_replicas_get_their_role_when_they_know_their_master():
    world = World(SMALL)
    for _ in range(2):
        world.reconcile()
        world.step()
    assert kinds(world.reconcile(), AssignReplica) == []
    world.step()
    roles = kinds(world.reconcile(), AssignReplica)
    masters = [world.hosts[f"demo-{shard}-0"].server.node_id for shard in range(3)]
    assert [(one.target.pod, one.master_id) for one in roles] == [
        ("demo-0-1", masters[0]),
        ("demo-1-1", masters[1]),
        ("demo-2-1", masters[2]),
    ]


def test_ready_after_five_looks():
    world = World(SMALL)
    for _ in range(5):
        world.reconcile()
        world.step()
    assert world.condition("Ready") == "True"
    assert world.status["message"] == "all 16384 slots are served; 3 of 3 replicas are in sync"
    assert (world.status["members"], world.status["slots"]) == ("3/3", 16384)


def test_twelve_shards_with_two_replicas_are_formed():
    world = World({**SMALL, "shards": 12, "replicasPerShard": 2})
    world.converge(rounds=10)
    assert world.status["members"] == "12/24"


def test_volumes_are_created_with_their_pods_and_kept_without_owner():
    world = World({**SMALL, "storage": {"size": "1Gi"}})
    wanted = world.reconcile()
    claim = kinds(wanted, CreateClaim)[0].manifest
    assert claim["metadata"]["name"] == "data-demo-0-0"
    assert "ownerReferences" not in claim["metadata"]
    pod = kinds(wanted, CreatePod)[0].manifest
    assert pod["spec"]["volumes"][0]["persistentVolumeClaim"] == {"claimName": "data-demo-0-0"}


def test_a_retained_cluster_comes_back_with_its_data_under_a_new_resource():
    world = running({"storage": {"size": "1Gi"}})
    ids = sorted(host.disk.node_id for host in world.hosts.values())
    world.hosts.clear()
    world.objects.clear()
    world.status = {}
    world.meta = replace(world.meta, uid="uid-second")
    world.converge()
    assert sorted(host.disk.node_id for host in world.hosts.values()) == ids
    assert [world.master(shard).server.keys for shard in range(3)] == [100, 100, 100]
    assert world.condition("DataLost") == "False"


def test_nothing_is_done_while_pods_cannot_be_listed():
    world = World(SMALL)
    seen = replace(world.observe(), pods=Unknown("the API server is away", world.now_s))
    wanted = plan(world.spec, seen, world.now_s)
    assert (wanted.actions, wanted.status) == ((), None)


def test_a_deleted_resource_is_left_to_the_garbage_collector():
    world = running()
    world.meta = replace(world.meta, is_deleting=True)
    wanted = plan(world.spec, world.observe(), world.now_s)
    assert (wanted.actions, wanted.status) == ((), None)


def test_pods_of_an_earlier_resource_are_not_members():
    world = running()
    world.meta = replace(world.meta, uid="uid-second")
    world.status = {}
    wanted = world.reconcile()
    created = [one.manifest["metadata"]["name"] for one in kinds(wanted, CreatePod)]
    assert created[:2] == ["demo-0-2", "demo-0-3"]
    world.step()
    assert kinds(world.reconcile(), AddSlots) == []


def test_paused_changes_nothing_and_says_so():
    world = running()
    world.annotate(paused="true")
    world.evict("demo-0-1")
    wanted = world.reconcile()
    assert [type(action).__name__ for action in wanted.actions] == ["RecordEvent"] * len(wanted.actions)
    assert world.condition("Paused") == "True"
    assert world.status["phase"] == "Paused"


def test_an_invalid_spec_stalls_with_every_fault_named():
    world = running()
    world.edit(config={"port": "1"}, shards="three")
    assert world.reconcile().actions == ()
    assert world.condition("Stalled") == "True"
    assert world.status["message"].startswith(
        "spec.shards: expected a whole number from 1 to 100, found 'three'"
    )


def test_a_pod_that_waits_for_what_an_older_spec_named_is_replaced():
    world = running()
    world.edit(image="redoubt-server:next")
    world.reconcile()
    world.step()
    world.reconcile()
    new = world.hosts["demo-0-1"]
    new.down_for = 99
    new.pod = replace(new.pod, container=Container(ContainerState.WAITING, "ContainerCreating"))
    world.now_s += 60
    assert kinds(world.reconcile(), DeletePod) == [], "of the revision that is wanted it may yet come"
    world.edit(image="redoubt-server:0.1.0")
    assert [one.pod for one in kinds(world.reconcile(), DeletePod)] == ["demo-0-1"]
