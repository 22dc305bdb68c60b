"""What people read: conditions with hysteresis, the table's figures by their rule, Events, blockers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from redoubt_operator.actions import RecordEvent
from redoubt_operator.observation import Outage, Sample
from redoubt_operator.plan import plan
from tests.redoubt_operator.test_plan_creation import kinds
from tests.redoubt_operator.world import SMALL, START_S, World, running


def sampled(world, share, evicted_per_s=0.0, hit_ratio=None):
    """Give every server a sample with this share of its memory."""
    for host in world.hosts.values():
        if host.server is not None:
            used = int(share * 1000)
            host.server.sample = Sample(
                world.now_s, used, 1000, keys=7, evicted_per_s=evicted_per_s, hit_ratio=hit_ratio
            )


def condition(world, type_):
    [found] = [one for one in world.status["conditions"] if one["type"] == type_]
    return found


def member(world, pod):
    return next(one for row in world.status["shards"] for one in row["members"] if one["pod"] == pod)


def test_the_status_of_a_running_cluster():
    world = running()
    status = dict(world.status)
    assert [one["type"] for one in status.pop("conditions")] == [
        "Ready",
        "Stalled",
        "Reconciling",
        "SlotsCovered",
        "ReplicationHealthy",
        "MemoryHealthy",
        "Evicting",
        "ConfigApplied",
        "Paused",
        "DataLost",
    ]
    shards = status.pop("shards")
    assert status == {
        "observedGeneration": 1,
        "phase": "Running",
        "message": "all 16384 slots are served; 3 of 3 replicas are in sync",
        "currentShards": 3,
        "targetShards": 3,
        "selector": "redoubt.dev/cluster=demo",
        "members": "3/3",
        "slots": 16384,
        "blockers": [],
    }
    assert shards[1] == {
        "shard": 1,
        "state": "Serving",
        "slots": "5461-10921",
        "master": "demo-1-0",
        "members": [
            {
                "pod": "demo-1-0",
                "state": "Serving",
                "role": "master",
                "node": world.hosts["demo-1-0"].pod.node,
                "nodeId": world.hosts["demo-1-0"].server.node_id,
                "restarts": 0,
            },
            {
                "pod": "demo-1-1",
                "state": "InSync",
                "role": "replica",
                "node": world.hosts["demo-1-1"].pod.node,
                "nodeId": world.hosts["demo-1-1"].server.node_id,
                "restarts": 0,
            },
        ],
    }


def test_transition_times_stay_while_a_condition_stays():
    world = running()
    before = condition(world, "Ready")["lastTransitionTime"]
    world.now_s += 500
    world.edit(monitor={"intervalSeconds": 7})
    world.reconcile()
    after = condition(world, "Ready")
    assert (after["lastTransitionTime"], after["observedGeneration"]) == (before, 2)


def test_every_condition_carries_the_generation_it_was_judged_for():
    world = running()
    world.edit(monitor={"intervalSeconds": 7})
    world.reconcile()
    assert {one["observedGeneration"] for one in world.status["conditions"]} == {2}


def test_memory_is_unhealthy_from_ninety_percent_until_below_eighty():
    world = running()
    seen = []
    for share in (0.50, 0.89, 0.90, 0.85, 0.80, 0.79, 0.89):
        sampled(world, share)
        world.now_s += 31
        world.reconcile()
        seen.append(world.condition("MemoryHealthy"))
    assert seen == ["True", "True", "False", "False", "False", "True", "True"]


def test_a_full_cache_is_healthy():
    world = running({"memory": {"evictionPolicy": "allkeys-lru"}})
    sampled(world, 0.99, evicted_per_s=12.0)
    world.reconcile()
    assert (world.condition("MemoryHealthy"), world.condition("Evicting")) == ("True", "True")


def test_evicting_lasts_a_minute_after_the_last_eviction_was_seen():
    world = running()
    sampled(world, 0.5, evicted_per_s=3.0)
    world.reconcile()
    sampled(world, 0.5)
    seen = []
    for _ in range(3):
        world.now_s += 25
        world.reconcile()
        seen.append(world.condition("Evicting"))
    assert seen == ["True", "True", "False"]


def test_figures_change_when_a_share_moves_by_five_points():
    world = running()
    sampled(world, 0.50)
    world.converge()
    assert (member(world, "demo-0-0")["memory"], world.status["memory"]) == (50, "50%")
    world.now_s += 31
    sampled(world, 0.54)
    assert world.reconcile().status is None
    sampled(world, 0.55)
    world.reconcile()
    assert member(world, "demo-0-0")["memory"] == 55


def test_figures_change_every_thirty_seconds_at_most():
    world = running()
    sampled(world, 0.50)
    world.reconcile()
    world.now_s += 29
    sampled(world, 0.70)
    assert world.reconcile().status is None
    world.now_s += 1
    assert world.reconcile().status is not None


def test_a_scrape_that_changes_little_writes_nothing():
    world = running()
    sampled(world, 0.50, hit_ratio=0.9)
    world.converge()
    for step in range(10):
        world.now_s += 31
        sampled(world, 0.50 + step / 1000, hit_ratio=0.9 - step / 1000)
        wanted = world.reconcile()
        assert (wanted.actions, wanted.status) == ((), None)


@pytest.mark.parametrize(
    ("outages", "seconds"),
    [
        ((Outage(0, START_S, START_S + 0.25, "demo-0-0", "demo-0-1"),), "0.250"),
        ((Outage(0, START_S, None),), None),
        ((), None),
    ],
)
def test_last_failover_shows_the_measured_time(outages, seconds):
    world = running()
    wanted = plan(world.spec, replace(world.observe(), outages=outages), world.now_s)
    failover = (wanted.status or world.status).get("lastFailover")
    assert (failover and failover["unavailableSeconds"]) == seconds


def test_a_failover_is_remembered_by_an_operator_that_did_not_see_it():
    world = running()
    outages = (Outage(0, START_S, START_S + 0.25, "demo-0-0", "demo-0-1"),)
    wanted = plan(world.spec, replace(world.observe(), outages=outages), world.now_s)
    world.status = wanted.status
    assert world.reconcile().status is None
    assert world.status["lastFailover"]["to"] == "demo-0-1"


def test_news_is_told_once():
    world = World(SMALL)
    world.converge()
    assert [(one.kind, one.reason) for one in world.events] == [("Normal", "Ready")]
    sampled(world, 0.95)
    world.reconcile()
    world.reconcile()
    assert [(one.kind, one.reason) for one in world.events][1:] == [("Warning", "MemoryNearlyFull")]


def test_a_death_is_told_with_its_cause():
    world = running()
    world.kill("demo-2-1", reason="OOMKilled")
    world.converge()
    told = [one.because for one in world.events if one.reason == "ContainerRestarted"]
    assert told == ["the container of pod demo-2-1 was restarted: OOMKilled, exit code 137"]


def test_a_passing_blocker_is_shown_only_when_it_lasts():
    world = running({"shards": 2}, elects=False)
    world.hosts["demo-0-0"].is_silent = True
    world.reconcile()
    assert [one["reason"] for one in world.status["blockers"]] == ["NotAnswering"]
    world.now_s += 6
    world.reconcile()
    assert "MasterSilent" in [one["reason"] for one in world.status["blockers"]]


def test_a_blocker_is_told_as_an_event():
    world = running()
    world.hosts["demo-2-1"].is_silent = True
    told = [one.reason for one in kinds(world.reconcile(), RecordEvent)]
    assert "NotAnswering" in told


def test_slots_are_unknown_and_not_lost_while_their_master_is_silent():
    world = running(elects=False)
    world.hosts["demo-0-0"].is_silent = True
    world.reconcile()
    assert (world.condition("SlotsCovered"), world.condition("Ready")) == ("Unknown", "False")


def test_a_cluster_is_not_ready_while_a_member_answers_that_it_is_down():
    world = running()
    world.hosts["demo-1-1"].server.cluster_ok = False
    world.reconcile()
    ready = condition(world, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ClusterDownSeen")
    assert "demo-1-1" in ready["message"]
    world.hosts["demo-1-1"].server.cluster_ok = True
    world.reconcile()
    assert world.condition("Ready") == "True"


def test_a_cluster_is_not_ready_before_all_members_have_met():
    world = running()
    lines = world.hosts["demo-2-1"].server.lines
    line = lines.pop(world.hosts["demo-0-1"].server.node_id)
    world.reconcile()
    ready = condition(world, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "MembersMeeting")
    assert "demo-2-1" in ready["message"]
    lines[world.hosts["demo-0-1"].server.node_id] = line
    world.reconcile()
    assert world.condition("Ready") == "True"


def test_an_operator_that_may_not_see_nodes_says_so_and_works():
    world = World(SMALL)
    world.sees_nodes = False
    world.converge()
    [note] = world.status["notes"]
    assert note.startswith("Nodes cannot be seen")


def test_phases_of_a_life():
    world = World(SMALL)
    world.reconcile()
    phases = [world.status["phase"]]
    world.converge()
    phases.append(world.status["phase"])
    world.kill("demo-0-0", down_for=2)
    world.reconcile(prefix=0)
    phases.append(world.status["phase"])
    world.converge()
    world.edit(image="redoubt-server:next")
    world.reconcile()
    phases.append(world.status["phase"])
    assert phases == ["Creating", "Running", "FailingOver", "Updating"]
