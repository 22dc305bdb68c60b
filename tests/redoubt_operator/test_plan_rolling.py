"""Rolls: gates and order, how they halt on a bad pod and go back; approved templates; refused directives.

Tests that prove a row of docs/operator-lessons.md carry its number in their name.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from redoubt_operator import names, pods
from redoubt_operator.actions import ApplyObject, CreatePod, DeletePod, Handover, RecordEvent, SetConfig
from redoubt_operator.heirs import LAG_BYTES_MAX
from redoubt_operator.observation import Container, ContainerState, Phase, Role, Termination
from redoubt_operator.plan import plan
from redoubt_operator.rolling import NEVER_READY_S, PROVEN_S
from tests.redoubt_operator.test_plan_creation import kinds
from tests.redoubt_operator.world import running

BAD = "redoubt-server:typo"
GOOD = "redoubt-server:0.1.0"


def look(world):
    return plan(world.spec, world.observe(), world.now_s)


def rounds(world, count=6):
    for _ in range(count):
        world.reconcile()
        world.step()


def blockers(world):
    return {one["reason"]: one["evidence"] for one in world.status["blockers"]}


def begin(world):
    """The roll to BAD has begun: its first pod runs."""
    world.edit(image=BAD)
    world.reconcile()
    world.step()
    world.reconcile()
    world.step()
    [new] = [host for host in world.hosts.values() if host.pod.revision == pods.revision(world.spec)]
    return new


def test_lesson_2_the_members_of_a_shard_never_roll_together():
    world = running({"replicasPerShard": 2})
    world.edit(image="redoubt-server:next")
    for _ in range(60):
        world.reconcile()
        for shard in range(3):
            gone = [host for host in world.shard(shard) if host.pod.is_terminating or host.server is None]
            assert len(gone) <= 1
        world.step()
    assert {host.pod.revision for host in world.hosts.values()} == {pods.revision(world.spec)}


@pytest.mark.parametrize("lag", [LAG_BYTES_MAX, LAG_BYTES_MAX + 1])
def test_lesson_3_a_replica_that_lags_by_too_much_holds_the_roll(lag):
    world = running({"shards": 1, "replicasPerShard": 2})
    world.edit(image="redoubt-server:next")
    world.master(0).server.offset += lag
    assert bool(kinds(look(world), DeletePod)) == (lag <= LAG_BYTES_MAX)


def test_lesson_3_a_full_sync_that_runs_holds_the_roll():
    world = running({"shards": 1, "replicasPerShard": 2})
    world.edit(image="redoubt-server:next")
    world.hosts["demo-0-2"].server.synced = False
    assert kinds(look(world), Handover) == []
    assert [one.pod for one in kinds(look(world), DeletePod)] in ([], ["demo-0-2"])


def test_a_master_is_handed_over_only_to_a_replica_that_all_masters_have_met():
    """Strangers get no votes: one in sync 80 ms after its start waited 412 ms for them, with writes held."""
    world = running()
    world.edit(image="redoubt-server:next")
    while not kinds(look(world), Handover):
        rounds(world, 1)
    [step] = kinds(look(world), Handover)
    lines = world.master((step.shard + 1) % 3).server.lines
    line = lines.pop(step.to_node_id)
    assert kinds(look(world), Handover) == []
    lines[step.to_node_id] = line
    assert kinds(look(world), Handover) == [step]


def test_planned_removals_go_through_the_shards_budget():
    world = running()
    world.edit(image="redoubt-server:next")
    [removal] = kinds(look(world), DeletePod)
    assert removal.is_within_budget
    world.evict_within_budget("demo-0-1")
    assert not world.evict_within_budget("demo-0-0")


def test_the_first_pod_serves_for_a_moment_before_others_follow():
    world = running()
    begun_s = world.now_s
    begin(world)
    rounds(world, 1)
    while not kinds(look(world), DeletePod, Handover):
        rounds(world, 1)
    assert world.now_s - begun_s >= PROVEN_S


def test_shards_roll_in_parallel_up_to_the_limit():
    world = running({"shards": 5, "update": {"shardsAtOnce": 2}})
    world.edit(image="redoubt-server:next")
    most = 0
    for _ in range(80):
        world.reconcile()
        wanted = pods.revision(world.spec)
        mixed = [
            shard
            for shard in range(5)
            if {host.pod.revision for host in world.shard(shard)} - {wanted}
            and any(host.pod.revision == wanted or host.pod.is_terminating for host in world.shard(shard))
        ]
        most = max(most, len(mixed))
        world.step()
    assert most == 2
    assert {host.pod.revision for host in world.hosts.values()} == {pods.revision(world.spec)}


WAITING = Container(ContainerState.WAITING, "ImagePullBackOff", "no such image")
OUT_OF_MEMORY = Container(
    ContainerState.WAITING, "CrashLoopBackOff", "", None, 3, Termination(137, "OOMKilled", 100.0, 60.0)
)
CRASHING = Container(ContainerState.WAITING, "CrashLoopBackOff", "", None, 3, Termination(1, "Error", 61, 60))


@pytest.mark.parametrize(
    ("container", "said"),
    [(WAITING, "ImagePullBackOff"), (OUT_OF_MEMORY, "OOMKilled"), (CRASHING, "exit code 1")],
)
def test_lesson_19_a_bad_pod_halts_the_roll_after_one_and_the_revert_replaces_it_alone(container, said):
    world = running()
    before = {name: host.pod.uid for name, host in world.hosts.items()}
    new = begin(world)
    world.kill(new.pod.name, down_for=999)
    new.pod = replace(new.pod, container=container)
    world.now_s += 10
    rounds(world, 12)
    assert said in blockers(world)["RollHalted"]
    assert new.pod.name in blockers(world)["RollHalted"]
    assert world.condition("Stalled") == "True"
    untouched = {name: uid for name, uid in before.items() if name in world.hosts} | {}
    assert sum(world.hosts[name].pod.uid == uid for name, uid in untouched.items()) == 5
    world.edit(image=GOOD)
    world.converge()
    assert sum(one in before.values() for one in (host.pod.uid for host in world.hosts.values())) == 5
    assert {host.pod.revision for host in world.hosts.values()} == {pods.revision(world.spec)}
    assert (world.status["blockers"], world.condition("Stalled")) == ([], "False")


def test_lesson_19_a_pod_that_runs_again_after_a_crash_is_not_proven():
    world = running()
    new = begin(world)
    rounds(world, 2)
    crashed = Termination(137, "OOMKilled", world.now_s, world.now_s - 30)
    new.pod = replace(
        new.pod,
        container=Container(ContainerState.RUNNING, "", "", world.now_s, 1, crashed),
    )
    world.now_s += 10
    assert kinds(look(world), DeletePod, Handover) == []
    world.now_s += 60
    assert kinds(look(world), DeletePod, Handover) != []


def test_lesson_19_a_pod_that_never_gets_in_sync_halts_the_roll_and_goes_with_the_revert():
    world = running()
    new = begin(world)
    master = world.master(new.pod.shard).server
    new.server.phase, new.server.role, new.server.synced = Phase.ASSIGNED, Role.REPLICA, False
    new.server.master_id = master.node_id
    world.plane.follow = lambda: None  # nobody gets in sync any more
    world.now_s += NEVER_READY_S
    world.reconcile()
    assert "has not completed its sync" in blockers(world)["RollHalted"]
    world.edit(image=GOOD)
    assert [one.pod for one in kinds(look(world), DeletePod)] == [new.pod.name]


def test_lesson_19_a_pod_that_never_answered_goes_with_the_revert():
    world = running()
    new = begin(world)
    new.is_silent = True
    for row in world.status["shards"]:
        for member in row["members"]:
            if member["pod"] == new.pod.name:
                member.pop("nodeId", None)
    world.edit(image=GOOD)
    assert [one.pod for one in kinds(look(world), DeletePod)] == [new.pod.name]


def test_a_spec_that_changes_in_mid_roll_leads_to_the_newest():
    world = running()
    for number in range(5):
        world.edit(image=f"redoubt-server:{number}")
        rounds(world, 4)
    world.converge(rounds=120)
    assert {host.pod.revision for host in world.hosts.values()} == {pods.revision(world.spec)}
    assert {world.master(shard).server.keys for shard in range(3)} == {100}


def test_lesson_15_a_new_template_of_the_operator_restarts_nothing_until_it_is_approved(monkeypatch):
    world = running()
    before = {host.pod.uid for host in world.hosts.values()}
    monkeypatch.setattr(pods, "TEMPLATE", 2)
    world.lease_transitions += 1
    world.converge()
    assert {host.pod.uid for host in world.hosts.values()} == before
    world.annotate(**{"approved-template": "3"})
    world.converge()
    assert {host.pod.uid for host in world.hosts.values()} == before
    world.annotate(**{"approved-template": "2"})
    world.converge(rounds=120)
    assert not before & {host.pod.uid for host in world.hosts.values()}
    assert {host.pod.template for host in world.hosts.values()} == {2}
    assert world.master(0).server.keys == 100


def test_lesson_15_pods_that_are_made_for_another_reason_get_the_new_template(monkeypatch):
    world = running()
    monkeypatch.setattr(pods, "TEMPLATE", 2)
    world.delete("demo-1-1")
    world.step()
    [created] = kinds(look(world), CreatePod)
    assert created.manifest["metadata"]["annotations"][names.ANNOTATION_TEMPLATE] == "2"


def test_lesson_17_a_refused_value_is_a_blocker_in_the_servers_words_and_stays_out_of_redis_conf():
    world = running({"config": {"maxclients": "500", "hz": "10"}})
    text = "ERR CONFIG SET failed (possibly related to argument 'maxclients') - argument must be a number"
    world.refused_directives["maxclients"] = text
    world.edit(config={"maxclients": "many", "hz": "20"})
    rounds(world, 8)
    [blocker] = world.status["blockers"]
    assert blocker["reason"] == "ConfigRefused"
    assert blocker["evidence"].startswith("maxclients 'many': demo-")
    assert blocker["evidence"].endswith(text)
    assert {host.server.config["hz"] for host in world.hosts.values()} == {"20"}
    conf = world.objects["ConfigMap", "demo-config"]["data"]["redoubt.conf"].splitlines()
    assert "maxclients 500" in conf
    assert "hz 20" in conf
    assert kinds(look(world), SetConfig) == []
    assert world.condition("ConfigApplied") == "False"


def test_lesson_17_a_restarted_operator_does_not_write_what_was_refused():
    world = running({"config": {"maxclients": "500"}})
    world.refused_directives["maxclients"] = "ERR no"
    world.edit(config={"maxclients": "many"})
    rounds(world, 10)
    world.refusals.clear()
    assert kinds(look(world), ApplyObject) == []
    world.refused_directives.clear()
    rounds(world, 4)
    assert (world.status["blockers"], "refusedDirectives" in world.status) == ([], False)
    conf = world.objects["ConfigMap", "demo-config"]["data"]["redoubt.conf"]
    assert "maxclients many" in conf


def test_maxmemory_of_a_pod_follows_the_limit_that_its_container_has():
    world = running()
    for host in world.hosts.values():
        host.pod = replace(host.pod, memory_limit_bytes=256 * 2**20)
    world.edit(resources={"limits": {"memory": "1Gi"}})
    assert kinds(look(world), SetConfig) == []


def test_a_temporary_replica_without_room_is_a_blocker():
    world = running({"shards": 1, "replicasPerShard": 0}, nodes=2)
    for name, node in world.nodes.items():
        world.nodes[name] = replace(node, is_cordoned=True)
    rounds(world, 8)
    assert "cannot be scheduled: 0/2 nodes" in blockers(world)["PodCannotStart"]
    assert world.master(0).server.keys == 100
    world.nodes = {name: replace(node, is_cordoned=False) for name, node in world.nodes.items()}
    world.converge()
    assert world.master(0).server.keys == 100


def test_no_roll_begins_in_a_shard_whose_slots_move():
    world = running({"shards": 2})
    world.edit(image="redoubt-server:next")
    world.status = {
        **world.status,
        "targetShards": 2,
        "moves": [{"from": 0, "to": 1, "slots": "0-10", "state": "Moving"}],
    }
    assert kinds(look(world), DeletePod, Handover) == []


def test_lesson_18_volumes_grow_online_and_no_pod_restarts():
    world = running({"storage": {"size": "1Gi"}})
    uids = {host.pod.uid for host in world.hosts.values()}
    world.edit(storage={"size": "3Gi"})
    world.converge()
    assert {claim.size_requested for claim, _ in world.volumes.values()} == {"3Gi"}
    assert {host.pod.uid for host in world.hosts.values()} == uids


def test_a_halted_roll_is_told_once():
    world = running()
    new = begin(world)
    world.kill(new.pod.name, down_for=999)
    new.pod = replace(new.pod, container=CRASHING)
    world.now_s += 10
    rounds(world, 8)
    told = [one.reason for one in world.events if isinstance(one, RecordEvent)]
    assert told.count("RollHalted") == 1
