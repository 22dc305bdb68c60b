"""Everything that breaks: containers, pods, nodes, silence, all copies at once, new addresses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from redoubt_operator.actions import (
    AssignMaster,
    AssignReplica,
    CreatePod,
    DeletePod,
    ForceFailover,
    Forget,
    Meet,
    RaiseLease,
    RecordEvent,
    lane_of,
)
from redoubt_operator.observation import Phase, Role
from redoubt_operator.plan import plan
from tests.redoubt_operator.data_plane import Line
from tests.redoubt_operator.test_plan_creation import kinds
from tests.redoubt_operator.world import running

LONE = {"shards": 1, "replicasPerShard": 0}


def look(world):
    return plan(world.spec, world.observe(), world.now_s)


def test_a_master_whose_container_is_reported_dead_is_succeeded_by_force():
    world = running()
    world.kill("demo-1-0")
    [force] = kinds(look(world), ForceFailover)
    assert force.target.pod == "demo-1-1"
    assert "the container of pod demo-1-0 ended" in force.because


def test_a_master_that_was_restarted_before_we_looked_is_dead_too():
    world = running(elects=False)
    world.kill("demo-1-0")
    world.step()
    assert world.hosts["demo-1-0"].server.phase is Phase.YIELDING
    [force] = kinds(look(world), ForceFailover)
    assert force.target.pod == "demo-1-1"


def test_the_newest_synced_copy_succeeds():
    world = running({"replicasPerShard": 2})
    world.hosts["demo-0-2"].server.offset += 5
    world.kill("demo-0-0")
    [force] = kinds(look(world), ForceFailover)
    assert force.target.pod == "demo-0-2"


def test_a_terminating_replica_does_not_succeed():
    world = running({"replicasPerShard": 2})
    world.hosts["demo-0-2"].server.offset += 5
    world.delete("demo-0-2")
    world.kill("demo-0-0")
    [force] = kinds(look(world), ForceFailover)
    assert force.target.pod == "demo-0-1"


def test_role_is_given_only_where_no_majority_can_vote():
    world = running({"shards": 2}, elects=False)
    world.hosts["demo-1-0"].disk.slots = 0
    world.delete("demo-1-0", is_forced=True)
    wanted = look(world)
    [role] = kinds(wanted, AssignMaster)
    assert (role.target.pod, role.is_newest) == ("demo-1-1", False)
    assert kinds(wanted, ForceFailover) == []


def test_silence_with_three_shards_is_left_to_the_majority():
    world = running(elects=False)
    world.hosts["demo-0-0"].is_silent = True
    assert kinds(look(world), ForceFailover, AssignMaster, DeletePod) == []


def test_silence_with_two_shards_promotes_nobody_and_says_so():
    world = running({"shards": 2}, elects=False)
    world.hosts["demo-0-0"].is_silent = True
    for _ in range(8):
        wanted = world.reconcile()
        assert kinds(wanted, ForceFailover, AssignMaster, DeletePod) == []
        world.now_s += 1
    assert "MasterSilent" in [one["reason"] for one in world.status["blockers"]]


def test_a_silent_master_with_more_restarts_than_recorded_is_dead():
    world = running({"shards": 2}, elects=False)
    host = world.hosts["demo-0-0"]
    host.is_silent = True
    host.pod = replace(host.pod, container=replace(host.pod.container, restart_count=1))
    assert [one.target.pod for one in kinds(look(world), ForceFailover, AssignMaster)] == ["demo-0-1"]


def test_a_killed_master_follows_its_successor():
    world = running()
    world.kill("demo-0-0")
    world.converge()
    assert world.master(0).pod.name == "demo-0-1"
    assert world.hosts["demo-0-0"].server.role is Role.REPLICA
    assert [one.reason for one in world.events if one.shard == 0] == ["MasterChanged", "ContainerRestarted"]


def test_a_master_that_yielded_without_a_synced_replica_gets_its_role_back():
    world = running({"storage": {"size": "1Gi"}}, elects=False)
    world.hosts["demo-0-1"].server.synced = False
    world.kill("demo-0-0")
    world.hosts["demo-0-1"].server.offset = 1
    world.step()
    world.hosts["demo-0-1"].server.synced = False
    [role] = kinds(look(world), AssignMaster)
    assert (role.target.pod, role.is_newest) == ("demo-0-0", True)


def test_no_role_is_given_while_a_copy_has_not_been_seen():
    world = running({"storage": {"size": "1Gi"}}, elects=False)
    for name in ("demo-0-0", "demo-0-1"):
        world.kill(name)
    world.step()
    world.hosts["demo-0-1"].is_silent = True
    assert kinds(look(world), AssignMaster, ForceFailover) == []


def test_all_members_of_a_shard_back_at_once_the_newest_copy_serves():
    world = running({"storage": {"size": "1Gi"}}, elects=False)
    world.hosts["demo-0-1"].server.offset += 7
    for name in ("demo-0-0", "demo-0-1"):
        world.kill(name)
    world.step()
    [role] = kinds(look(world), AssignMaster)
    assert (role.target.pod, role.is_newest) == ("demo-0-1", True)


def test_all_copies_empty_is_recorded_before_anything_is_begun_anew():
    world = running(elects=False)
    for name in ("demo-0-0", "demo-0-1"):
        world.kill(name)
    world.step()
    wanted = world.reconcile()
    assert kinds(wanted, AssignMaster) == []
    assert world.condition("DataLost") == "True"
    assert [one.because for one in kinds(wanted, RecordEvent) if one.reason == "DataLost"] == [
        "no member of shard 0 and no volume has a copy of its data"
    ]
    [role] = kinds(world.reconcile(), AssignMaster)
    assert (role.target.pod, role.is_newest) == ("demo-0-0", True)
    world.converge()
    assert world.condition("DataLost") == "True"
    assert [world.master(shard).server.keys for shard in range(3)] == [0, 100, 100]


def test_a_master_that_resumed_by_itself_without_its_data_is_told_once():
    world = running({**LONE})
    world.hosts["demo-0-0"].server.data_lost = True
    told = [one.because for one in kinds(world.reconcile(), RecordEvent) if one.reason == "DataLost"]
    assert told == ["demo-0-0 serves shard 0 again without its data"]
    assert world.condition("DataLost") == "True"
    wanted = world.reconcile()
    assert (wanted.actions, wanted.status) == ((), None)


def test_a_loss_that_the_operator_decided_is_not_told_again_by_the_server():
    world = running(elects=False)
    for name in ("demo-0-0", "demo-0-1"):
        world.kill(name)
    world.step()
    world.reconcile()
    world.reconcile()
    world.hosts["demo-0-0"].server.data_lost = True
    world.step()
    world.converge()
    assert [one.reason for one in world.events].count("DataLost") == 1


def test_data_loss_is_cleared_by_a_person():
    world = running(elects=False)
    for name in ("demo-0-0", "demo-0-1"):
        world.kill(name)
    world.step()
    world.converge()
    world.annotate(**{"acknowledge-data-loss": "2099-01-01T00:00:00Z"})
    world.converge()
    assert world.condition("DataLost") == "False"


def test_all_pods_deleted_without_volumes_the_cluster_is_created_again_and_the_loss_is_said():
    world = running()
    for name in list(world.hosts):
        world.delete(name)
    world.converge()
    assert world.condition("DataLost") == "True"
    assert world.status["slots"] == 16384


def test_all_pods_deleted_with_volumes_come_back_with_new_addresses_and_their_data():
    world = running({"storage": {"size": "1Gi"}})
    before = {host.disk.node_id: host.pod.ip for host in world.hosts.values()}
    for name in list(world.hosts):
        world.delete(name)
    world.converge()
    after = {host.disk.node_id: host.pod.ip for host in world.hosts.values()}
    assert sorted(before) == sorted(after)
    assert all(before[node_id] != after[node_id] for node_id in before)
    assert [world.master(shard).server.keys for shard in range(3)] == [100, 100, 100]
    assert world.condition("DataLost") == "False"


def test_members_with_new_addresses_are_met_again_by_id():
    world = running({"storage": {"size": "1Gi"}})
    for name in list(world.hosts):
        world.delete(name)
    world.log.clear()
    world.converge()
    met = {action.ip for action in world.log if isinstance(action, Meet)}
    assert met <= {host.pod.ip for host in world.hosts.values()}
    assert len(met) >= 3


def test_a_lone_master_without_replicas_gets_its_role_back():
    world = running({**LONE, "storage": {"size": "1Gi"}})
    world.kill("demo-0-0")
    world.converge()
    assert world.master(0).server.keys == 100
    assert world.condition("DataLost") == "False"


def test_a_deleted_pod_is_replaced_and_its_id_forgotten():
    world = running()
    gone = world.hosts["demo-1-1"].disk.node_id
    world.delete("demo-1-1")
    world.converge()
    assert world.status["members"] == "3/3"
    assert all(gone not in server.lines for server in world.plane.running())


def remember_dead_master(world, ahead):
    """demo-0-1 comes back with the claim of a dead master of shard 1, `ahead` of the one that serves."""
    server = world.hosts["demo-0-1"].server
    serving = world.master(1).server
    server.lines[serving.node_id].slots = 0
    server.lines["id-dead"] = Line("10.9.9.9", "", serving.config_epoch + ahead, serving.slots, True)


@pytest.mark.parametrize("ahead", [0, 1])
def test_the_claim_of_a_dead_master_to_slots_that_another_serves_is_forgotten(ahead):
    world = running()
    remember_dead_master(world, ahead)
    [forget] = kinds(look(world), Forget)
    assert (forget.target.pod, forget.node_id) == ("demo-0-1", "id-dead")
    world.converge()
    serving = world.master(1).server
    assert world.hosts["demo-0-1"].server.lines[serving.node_id].slots == serving.slots


def test_a_dead_owner_of_slots_that_nobody_serves_keeps_its_name_on_them():
    world = running()
    remember_dead_master(world, 1)
    serving = world.master(1).server
    serving.slots &= serving.slots - 1  # without the first
    assert kinds(look(world), Forget) == []


def test_no_id_is_forgotten_while_any_member_is_not_seen():
    world = running()
    world.delete("demo-1-1")
    for _ in range(6):
        world.hosts["demo-2-1"].is_silent = True
        wanted = world.reconcile()
        assert kinds(wanted, Forget) == []
        world.step()


def test_no_id_is_forgotten_while_its_volume_exists():
    world = running({"storage": {"size": "1Gi"}})
    world.delete("demo-1-1")
    for _ in range(6):
        assert kinds(world.reconcile(), Forget) == []
        world.step()


def test_an_evicted_pod_is_deleted_and_replaced():
    world = running()
    world.evict("demo-0-1")
    wanted = look(world)
    assert [one.pod for one in kinds(wanted, DeletePod)] == ["demo-0-1"]
    assert "Evicted" in kinds(wanted, DeletePod)[0].because
    assert [one.manifest["metadata"]["name"] for one in kinds(wanted, CreatePod)] == ["demo-0-2"]
    world.converge()


def test_the_pods_of_a_deleted_node_are_removed_by_force_and_failover_does_not_wait():
    world = running(elects=False)
    node = world.hosts["demo-0-0"].pod.node
    world.lose_node(node)
    wanted = look(world)
    doomed = sorted(name for name, host in world.hosts.items() if host.pod.node == node)
    assert sorted(one.pod for one in kinds(wanted, DeletePod)) == doomed
    assert all(one.grace_period_s == 0 for one in kinds(wanted, DeletePod))
    assert 0 in [one.shard for one in kinds(wanted, ForceFailover, AssignMaster)]


def test_a_node_out_of_service_counts_as_dead():
    world = running({"shards": 1}, elects=False)
    host = world.hosts["demo-0-0"]
    host.is_silent = True
    world.nodes[host.pod.node] = replace(world.nodes[host.pod.node], is_out_of_service=True)
    assert [one.target.pod for one in kinds(look(world), ForceFailover, AssignMaster)] == ["demo-0-1"]


def test_a_member_on_a_node_that_is_not_ready_is_added_to_and_not_deleted():
    world = running()
    host = world.hosts["demo-0-1"]
    host.is_silent = True
    assert kinds(look(world), CreatePod, DeletePod) == []
    world.nodes[host.pod.node] = replace(world.nodes[host.pod.node], is_ready=False, is_cordoned=True)
    wanted = look(world)
    assert [one.manifest["metadata"]["name"] for one in kinds(wanted, CreatePod)] == ["demo-0-2"]
    assert kinds(wanted, DeletePod) == []
    for _ in range(5):
        world.reconcile()
        world.step()
    assert world.condition("Ready") == "True"
    host.is_silent = False
    world.nodes[host.pod.node] = replace(world.nodes[host.pod.node], is_ready=True, is_cordoned=False)
    world.converge()
    assert len(world.shard(0)) == 2


def test_a_member_in_back_off_is_replaced_when_another_serves():
    world = running()
    world.now_s += 60
    world.kill("demo-0-1", down_for=5)
    [delete] = kinds(look(world), DeletePod)
    assert (delete.pod, delete.grace_period_s) == ("demo-0-1", 0)


def test_a_member_that_crashes_at_start_is_left_to_kubernetes_and_reported():
    world = running()
    host = world.hosts["demo-0-1"]
    world.kill("demo-0-1", down_for=5, reason="OOMKilled")
    last = host.pod.container.last_termination
    container = replace(
        host.pod.container, last_termination=replace(last, started_at_s=last.finished_at_s - 1)
    )
    host.pod = replace(host.pod, container=container)
    wanted = world.reconcile()
    assert kinds(wanted, DeletePod) == []
    [blocker] = world.status["blockers"]
    assert blocker["reason"] == "ContainerCrashes"
    assert "OOMKilled" in blocker["evidence"]


def test_a_master_in_back_off_without_a_successor_is_not_deleted():
    world = running({**LONE, "storage": {"size": "1Gi"}})
    world.now_s += 60
    world.kill("demo-0-0", down_for=5)
    assert kinds(look(world), DeletePod) == []


def test_one_bad_shard_does_not_stop_the_others():
    world = running(elects=False)
    world.hosts["demo-0-0"].is_silent = world.hosts["demo-0-1"].is_silent = True
    world.kill("demo-1-0")
    world.evict("demo-2-1")
    wanted = world.reconcile()
    assert [one.shard for one in kinds(wanted, ForceFailover)] == [1]
    assert [one.shard for one in kinds(wanted, CreatePod)] == [2]


def test_a_silent_voter_is_counted_until_an_election_had_its_time():
    world = running(elects=False)
    world.hosts["demo-0-0"].is_silent = True
    world.kill("demo-1-0", down_for=9)
    assert [one.shard for one in kinds(world.reconcile(prefix=0), ForceFailover)] == [1]
    world.now_s += 4
    wanted = look(world)
    assert kinds(wanted, ForceFailover) == []
    assert [one.target.pod for one in kinds(wanted, AssignMaster)] == ["demo-1-1"]


def test_a_new_leader_raises_the_lease_before_its_first_role():
    world = running(elects=False)
    world.lease_transitions = 7
    world.kill("demo-0-0")
    lane = [action for action in look(world).actions if action.shard == 0]
    raised = [action.target.pod for action in lane if isinstance(action, RaiseLease)]
    assert raised == ["demo-0-1"]
    assert [type(one) for one in lane].index(RaiseLease) < [type(one) for one in lane].index(ForceFailover)


def test_a_member_that_follows_another_master_is_told():
    world = running(elects=False)
    server = world.hosts["demo-0-1"].server
    server.master_id = "id-elsewhere"
    assert [one.target.pod for one in kinds(look(world), AssignReplica)] == ["demo-0-1"]


def test_a_pod_that_cannot_be_created_keeps_no_failover_from_happening():
    world = running(elects=False)
    world.delete("demo-0-0", is_forced=True)
    wanted = look(world)
    [create], [promote] = kinds(wanted, CreatePod), kinds(wanted, ForceFailover, AssignMaster)
    assert (lane_of(create), lane_of(promote)) == (("objects", 0), ("servers", 0))
