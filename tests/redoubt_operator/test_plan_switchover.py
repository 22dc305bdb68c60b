"""Masters that change their place on purpose: by annotation, off cordoned nodes, evenly over zones."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from redoubt_operator.actions import ApplyObject, DeletePod, Handover
from redoubt_operator.master_spread import CALM_S
from redoubt_operator.plan import plan
from redoubt_operator.switchover import PATIENCE_S
from tests.redoubt_operator.test_plan_creation import kinds
from tests.redoubt_operator.world import running


def look(world):
    return plan(world.spec, world.observe(), world.now_s)


def ask(world, request):
    world.annotate(switchover=request)
    for _ in range(4):
        world.reconcile()
        world.step()
    return world.status["lastSwitchover"]


def handovers(world):
    return [one for one in world.log if isinstance(one, Handover)]


def told(world):
    return [one.reason for one in world.events if one.reason.startswith("Switchover")]


def test_a_switchover_by_annotation_is_done_and_told():
    world = running()
    row = ask(world, "1 please")
    assert (row["request"], row["result"]) == ("1 please", "Done")
    assert (row["shard"], row["from"], row["to"]) == (1, "demo-1-0", "demo-1-1")
    assert world.master(1).pod.name == "demo-1-1"
    assert told(world) == ["SwitchoverAccepted", "SwitchoverDone"]


def test_a_switchover_goes_to_the_pod_that_is_named():
    world = running({"replicasPerShard": 2})
    assert ask(world, "2/demo-2-2")["result"] == "Done"
    assert world.master(2).pod.name == "demo-2-2"


def test_a_value_is_handled_once():
    world = running()
    ask(world, "0 a")
    for _ in range(5):
        world.reconcile()
        world.step()
    assert len(handovers(world)) == 1
    assert ask(world, "0 b")["to"] == "demo-0-0"
    assert len(handovers(world)) == 2


@pytest.mark.parametrize("prefix", [0, 1])
def test_an_operator_that_dies_in_between_does_not_switch_back(prefix):
    """The first one journals, the second one acts and dies before it writes; the third one finds it done."""
    world = running()
    world.annotate(switchover="0 once")
    world.reconcile(prefix)
    world.step()
    world.reconcile(loses_status=True)
    world.step()
    world.lease_transitions += 1
    for _ in range(4):
        world.reconcile()
        world.step()
    assert world.status["lastSwitchover"]["result"] == "Done"
    assert world.master(0).pod.name == "demo-0-1"
    assert len({one.to_node_id for one in handovers(world)}) == 1


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ("7", "there is no shard 7"),
        ("x", "there is no shard x"),
        ("0/demo-1-1", "shard 0 has no pod demo-1-1"),
        ("0/demo-0-9 again", "shard 0 has no pod demo-0-9"),
    ],
)
def test_what_does_not_exist_is_refused(request_, message):
    world = running()
    row = ask(world, request_)
    assert (row["result"], row["message"]) == ("Refused", message)
    assert told(world) == ["SwitchoverRefused"]
    assert handovers(world) == []


def test_a_replica_that_is_not_in_sync_is_refused_with_the_reason():
    world = running({"replicasPerShard": 2})
    world.hosts["demo-0-1"].server.synced = False
    world.annotate(switchover="0/demo-0-1")
    world.reconcile()
    row = world.status["lastSwitchover"]
    assert (row["result"], row["message"]) == ("Refused", "pod demo-0-1 has not completed its sync")


def test_the_master_that_is_asked_for_is_there_already():
    world = running()
    assert ask(world, "0/demo-0-0")["result"] == "Done"
    assert handovers(world) == []


def test_a_switchover_that_does_not_happen_fails_after_a_while():
    world = running()
    world.annotate(switchover="0 now")
    world.reconcile()
    assert world.status["lastSwitchover"]["result"] == "Accepted"
    world.hosts["demo-0-1"].server.link_up = False
    world.now_s += PATIENCE_S + 1
    world.reconcile()
    row = world.status["lastSwitchover"]
    assert (row["result"], row["message"]) == ("Failed", "pod demo-0-1 has no link to its master")


def test_a_paused_cluster_switches_over_when_it_goes_on():
    world = running()
    world.annotate(switchover="0 later", paused="true")
    world.reconcile()
    assert "lastSwitchover" not in world.status
    assert ask(world, "0 later")["result"] == "Done"


# --- drains ------------------------------------------------------------------------------------------


def cordon(world, *names):
    for name in names:
        world.nodes[name] = replace(world.nodes[name], is_cordoned=True)


def spread_world(spec, zones=("a", "b", "c", "a")):
    world = running(spec, nodes=4)
    world.keeps_apart = True
    for number, zone in enumerate(zones):
        world.nodes[f"node-{number}"] = replace(world.nodes[f"node-{number}"], zone=zone)
    return world


def test_lesson_20_masters_leave_a_cordoned_node_before_they_are_evicted():
    world = spread_world({})
    node = world.master(0).pod.node
    cordon(world, node)
    moved = kinds(look(world), Handover)
    on_node = [shard for shard in range(3) if world.master(shard).pod.node == node]
    assert [one.shard for one in moved] == [
        shard for shard in on_node if any(host.pod.node != node for host in world.shard(shard))
    ]
    assert 0 in [one.shard for one in moved]
    world.converge()
    assert all(world.master(shard).pod.node != node for shard in on_node)
    assert [one for one in world.log if isinstance(one, DeletePod)] == []


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("replicas", [0, 1, 2])
def test_lesson_20_two_drains_in_parallel_never_take_a_shard(shards, replicas):
    world = spread_world({"shards": shards, "replicasPerShard": replicas})
    drained = ["node-0", "node-1"]
    cordon(world, *drained)
    for _ in range(120):
        left = [name for name, host in world.hosts.items() if host.pod.node in drained]
        if not left:
            break
        for name in left:
            world.evict_within_budget(name)
        assert all(any(not one.pod.is_terminating for one in world.shard(index)) for index in range(shards))
        world.reconcile()
        world.step()
    assert [name for name, host in world.hosts.items() if host.pod.node in drained] == []
    world.converge()
    assert [world.master(index).server.keys for index in range(shards)] == [100] * shards
    assert world.condition("DataLost") == "False"


@pytest.mark.parametrize("replicas", [0, 1, 2])
def test_lesson_20_a_budget_lets_one_go_only_while_another_can_take_over(replicas):
    world = running({"shards": 1, "replicasPerShard": replicas})
    names = [name for kind, name in world.objects if kind == "PodDisruptionBudget"]
    assert names == ["demo-0"]
    cordon(world, world.master(0).pod.node)
    for _ in range(12):
        world.reconcile()
        budget = world.objects["PodDisruptionBudget", "demo-0"]
        members = len([host for host in world.shard(0) if not host.pod.is_terminating])
        assert isinstance(budget["spec"]["minAvailable"], int)
        assert budget["spec"]["minAvailable"] >= max(members - 1, 1)
        assert world.evictable(budget) <= 1
        world.step()


def test_without_sight_of_nodes_the_status_says_what_drains_rely_on():
    world = running()
    world.sees_nodes = False
    cordon(world, world.master(0).pod.node)
    world.reconcile()
    assert kinds(look(world), Handover) == []
    assert "drains rely on the handover" in world.status["notes"][0]


# --- evenness ----------------------------------------------------------------------------------------


def gather(world, zone_of_masters):
    """Put the masters into one zone and their replicas into the others."""
    for index in range(3):
        for host in world.shard(index):
            is_master = host is world.master(index)
            node = "node-0" if is_master else f"node-{1 + index % 2}"
            host.pod = replace(host.pod, node=node)


def test_masters_are_evened_out_over_zones_one_at_a_time_when_it_is_calm():
    world = spread_world({})
    gather(world, "a")
    world.reconcile()
    assert kinds(look(world), Handover) == []
    world.now_s += CALM_S + 1
    assert len(kinds(look(world), Handover)) == 1
    world.settle()
    zones = Counter(world.nodes[world.master(index).pod.node].zone for index in range(3))
    assert sorted(zones.values()) == [1, 1, 1]
    assert len(handovers(world)) == 2
    for _ in range(5):
        world.now_s += CALM_S
        assert kinds(look(world), Handover) == []


def test_masters_stay_where_they_are_when_that_is_switched_off():
    world = spread_world({"placement": {"spread": {"masters": "Off"}}})
    gather(world, "a")
    world.reconcile()
    world.now_s += 10 * CALM_S
    assert kinds(look(world), Handover) == []


def test_masters_are_not_evened_out_while_anything_is_wrong():
    world = spread_world({})
    gather(world, "a")
    world.reconcile()
    world.now_s += CALM_S + 1
    world.hosts["demo-2-1"].server.link_up = False
    assert kinds(look(world), Handover) == []


def test_no_budget_is_written_for_nothing():
    world = running()
    assert kinds(look(world), ApplyObject) == []
