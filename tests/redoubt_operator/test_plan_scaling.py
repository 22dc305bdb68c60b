"""The number of shards changes at will: slots move with their keys, shards come and go, nothing is lost."""

from __future__ import annotations

import pytest

from redoubt_operator.actions import (
    AddSlots,
    AssignMaster,
    CancelMoves,
    CloseSlot,
    CreatePod,
    DeleteClaim,
    DeletePod,
    Forget,
    Meet,
    MigrateSlots,
    PatchClaim,
    SetConfigEpoch,
)
from redoubt_operator.plan import plan
from tests.redoubt_operator.data_plane import count
from tests.redoubt_operator.test_plan_creation import kinds
from tests.redoubt_operator.world import World, running

VOLUME = {"storage": {"size": "1Gi"}}


def look(world: World):
    return plan(world.spec, world.observe(), world.now_s)


def keys_of(world: World) -> int:
    return sum(host.server.keys for host in world.hosts.values() if host.server and host.server.leads)


def slots_of(world: World) -> list[int]:
    shards = range(1 + max(host.pod.shard or 0 for host in world.hosts.values()))
    return [count(master.server.slots) if (master := world.master(one)) else 0 for one in shards]


def is_balanced(world: World, shards: int) -> bool:
    """Every slot served, and the shards even but for the keys that a few slots hold."""
    sizes = slots_of(world)
    return (len(sizes), sum(sizes)) == (shards, 16384) and max(sizes) - min(sizes) <= 20


def scaled(world: World, shards: int, rounds: int = 120) -> None:
    world.edit(shards=shards)
    world.converge(rounds)


def until(world: World, is_so, rounds: int = 60) -> None:
    for _ in range(rounds):
        if is_so():
            return
        world.reconcile()
        world.step()
    raise AssertionError(f"never came: {world.status.get('message')} {world.status.get('moves')}")


def blockers(world: World) -> dict[str, str]:
    return {one["reason"]: one["evidence"] for one in world.status["blockers"]}


# --- up and down ------------------------------------------------------------------------------------------


def test_a_fourth_shard_comes_and_goes_with_all_keys():
    world = running()
    before = keys_of(world)
    scaled(world, 4)
    assert is_balanced(world, 4)
    assert (world.status["currentShards"], world.status["targetShards"]) == (4, 4)
    assert keys_of(world) == before
    scaled(world, 3)
    assert is_balanced(world, 3)
    assert sorted({host.pod.shard for host in world.hosts.values()}) == [0, 1, 2]
    assert world.status["currentShards"] == 3
    assert "moves" not in world.status
    assert keys_of(world) == before
    assert world.condition("DataLost") == "False"
    assert ("PodDisruptionBudget", "demo-3") not in world.objects


def test_one_three_twelve_three():
    world = running({"shards": 1})
    before = keys_of(world)
    for shards in (3, 12, 3):
        scaled(world, shards, 400)
        assert is_balanced(world, shards)
        assert keys_of(world) == before
    assert kinds(look(world), MigrateSlots) == []


def test_lesson_08_a_new_master_has_its_config_epoch_before_it_meets_anybody():
    world = running()
    epochs = [host.server.config_epoch for host in world.hosts.values()]
    scaled(world, 4)
    mine = [one for one in world.log if getattr(one, "shard", None) == 3]
    [epoch] = kinds_in(mine, SetConfigEpoch)
    assert epoch.config_epoch > max(epochs)
    met = [one for one in world.log if isinstance(one, Meet) and one.ip == world.master(3).server.ip]
    assert world.log.index(epoch) < min(world.log.index(one) for one in met)
    assert kinds_in(mine, AddSlots) == []


def test_lesson_29_slots_move_with_their_keys_or_not_at_all():
    """No slot is ever given away or given anew: of all commands only MIGRATESLOTS changes an owner."""
    world = running()
    begun = len(world.log)
    scaled(world, 5)
    scaled(world, 2)
    assert kinds_in(world.log[begun:], AddSlots) == []
    assert keys_of(world) == 300


def test_slots_come_only_when_the_replicas_of_the_new_shard_are_in_sync():
    world = running({"replicasPerShard": 2})
    world.edit(shards=4)
    for _ in range(40):
        lagging = [host for host in world.shard(3) if host.server and host.server.master_id]
        for host in lagging[:1]:
            host.server.synced = False
        wanted = world.reconcile()
        assert kinds(wanted, MigrateSlots) == []
        world.step()
        for host in lagging[:1]:
            host.server.synced = False
    assert slots_of(world)[3] == 0
    world.converge()
    assert is_balanced(world, 4)


def test_the_status_says_how_far_it_is():
    world = running()
    world.move_steps = 4
    world.edit(shards=4, update={"movesAtOnce": 1})
    until(world, lambda: "(1 of 3 moves done)" in world.status["message"])
    assert "moving " in world.status["message"]
    assert (world.condition("Ready"), world.condition("Reconciling")) == ("True", "True")
    first, second, third = world.status["moves"]
    assert (first["from"], first["to"], first["state"], first["count"] > 1300) == (0, 3, "Moved", True)
    assert (second["state"], third["state"]) == ("Moving", "Waiting")
    assert first["keys"] > 0


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_no_more_moves_run_at_once_than_allowed(limit):
    world = running()
    world.move_steps = 5
    world.edit(shards=4, update={"movesAtOnce": limit})
    most = 0
    for _ in range(80):
        world.reconcile()
        active = sum(one.is_active for server in world.plane.running() for one in server.exports)
        most = max(most, active)
        world.step()
    assert most == limit


def test_a_move_begins_only_once_it_stands_in_the_status_that_was_read():
    world = running()
    world.edit(shards=4)
    for _ in range(30):
        wanted = plan(world.spec, world.observe(), world.now_s)
        for move in kinds(wanted, MigrateSlots):
            rows = [(row["from"], row["to"]) for row in world.status["moves"]]
            assert move.shard in [source for source, _ in rows]
        world.reconcile()
        world.step()


# --- people change their mind -----------------------------------------------------------------------------


def test_a_new_shard_is_taken_back_before_it_got_slots():
    world = running()
    world.edit(shards=5)
    world.reconcile()
    world.step()
    scaled(world, 3)
    assert sorted({host.pod.shard for host in world.hosts.values()}) == [0, 1, 2]
    assert [one for one in world.log if isinstance(one, MigrateSlots)] == []


def test_moves_that_work_against_the_new_number_are_cancelled():
    world = running()
    world.move_steps = 10**6
    world.edit(shards=4)
    until(world, world.plane.is_moving)
    world.edit(shards=3)
    world.reconcile()
    assert {one.shard for one in world.log if isinstance(one, CancelMoves)} <= {0, 1, 2}
    assert [one for one in world.log if isinstance(one, CancelMoves)]
    world.move_steps = 2
    world.converge()
    assert is_balanced(world, 3)
    assert keys_of(world) == 300


def test_draining_is_cancelled_when_the_shard_shall_stay():
    world = running({"shards": 4})
    world.move_steps = 10**6
    world.edit(shards=3)
    until(world, world.plane.is_moving)
    world.edit(shards=4)
    world.reconcile()
    assert {one.shard for one in world.log if isinstance(one, CancelMoves)} == {3}
    world.move_steps = 2
    world.converge()
    assert is_balanced(world, 4)


def test_moves_between_shards_that_stay_go_on():
    world = running()
    world.move_steps = 6
    world.edit(shards=5)
    until(world, world.plane.is_moving)
    world.edit(shards=6)
    world.converge(120)
    assert [one for one in world.log if isinstance(one, CancelMoves)] == []
    assert is_balanced(world, 6)


def test_rapid_changes_as_an_autoscaler_makes_them_converge():
    world = running()
    for shards in (5, 4, 6, 2, 3, 4):
        world.edit(shards=shards)
        for _ in range(5):
            world.reconcile()
            world.step()
    world.converge(150)
    assert is_balanced(world, 4)
    assert keys_of(world) == 300
    assert world.status["selector"] == "redoubt.dev/cluster=demo"


# --- faults in the middle ---------------------------------------------------------------------------------


def test_lesson_30_a_failed_move_leaves_the_source_the_owner_and_is_tried_again():
    world = running()
    world.moves_fail = True
    world.edit(shards=4)
    until(world, lambda: "MoveFails" in blockers(world), rounds=120)
    assert "failed 3 times: failed: the connection to the target ended" in blockers(world)["MoveFails"]
    assert slots_of(world)[:3] == [5461, 5461, 5462]
    assert world.condition("Ready") == "True"
    world.moves_fail = False
    world.converge(150)
    assert is_balanced(world, 4)
    assert blockers(world) == {}


def test_a_failed_move_is_tried_ever_more_slowly():
    world = running()
    world.moves_fail = True
    world.edit(shards=4, update={"movesAtOnce": 1})
    for _ in range(80):
        world.reconcile()
        world.step()
    begun = [one for one in world.log if isinstance(one, MigrateSlots) and one.shard == 0]
    assert 3 <= len(begun) <= 8


@pytest.mark.parametrize("victim", ["source", "target", "both"])
@pytest.mark.parametrize("replicas", [0, 1])
def test_lesson_07_a_master_killed_during_its_move_leaves_no_slot_behind(victim, replicas):
    world = running({"replicasPerShard": replicas, **VOLUME})
    world.move_steps = 3
    world.edit(shards=4)
    until(world, world.plane.is_moving)
    for shard in {"source": [0], "target": [3], "both": [0, 3]}[victim]:
        leader = next(one for one in world.shard(shard) if one.server and one.server.leads)
        world.kill(leader.pod.name)
    world.converge(150)
    assert is_balanced(world, 4)
    assert keys_of(world) == 300


def test_the_slots_that_people_moved_elsewhere_are_left_where_they_are():
    world = running()
    world.move_steps = 10**6
    world.edit(shards=4, update={"movesAtOnce": 1})
    until(world, world.plane.is_moving)
    waiting = next(row for row in world.status["moves"] if row["state"] == "Waiting")
    source, other = world.master(waiting["from"]).server, world.master(0).server
    moved = source.slots & -source.slots
    before = [row["count"] for row in world.status["moves"] if row["from"] == waiting["from"]]
    world.plane.switch(source, other, source.slots & ~(moved - 1) & ~((source.slots >> 100) << 100) or moved)
    world.reconcile()
    after = [row["count"] for row in world.status["moves"] if row["from"] == waiting["from"]]
    assert sum(after) <= sum(before)


# --- fewer shards -----------------------------------------------------------------------------------------


def test_lesson_04_a_shard_goes_only_when_everybody_agrees_that_it_is_empty():
    world = running({"shards": 4})
    world.edit(shards=3)
    until(world, lambda: slots_of(world)[3] == 0 and "moves" not in world.status)
    world.hosts["demo-3-0"].server.table[5] = 1  # a key that nobody has seen leave
    for _ in range(5):
        world.reconcile()
        world.step()
    assert "still has 1 keys" in blockers(world)["ScaleInWaits"]
    assert len(world.shard(3)) == 2
    world.hosts["demo-3-0"].server.table.clear()
    world.converge()
    assert world.shard(3) == []


def test_lesson_04_it_is_forgotten_by_all_before_a_pod_goes():
    world = running({"shards": 4})
    ids = {host.server.node_id for host in world.shard(3)}
    scaled(world, 3)
    gone = [number for number, one in enumerate(world.log) if isinstance(one, DeletePod) and one.shard == 3]
    told = [number for number, one in enumerate(world.log) if isinstance(one, Forget) and one.node_id in ids]
    assert len(told) == 6 * len(ids)
    assert max(told) < min(gone)


def test_lesson_05_scale_in_without_headroom_is_refused_with_numbers():
    world = running({"shards": 4})
    world.key_bytes = 5 * 2**20  # 100 keys a shard, 138 MiB for each by its limit
    world.edit(shards=1)
    for _ in range(6):
        world.reconcile()
        world.step()
    assert (
        "demo-0-0 holds 500.0 MiB and would get 1500.0 MiB more: 2000.0 MiB of at most"
        in (blockers(world)["NoHeadroom"])
    )
    assert [one for one in world.log if isinstance(one, MigrateSlots)] == []
    assert (world.condition("Stalled"), world.condition("Ready")) == ("True", "True")
    world.edit(shards=4)
    world.converge()
    assert blockers(world) == {}


def test_a_cache_that_evicts_always_has_room():
    world = running({"shards": 4, "memory": {"evictionPolicy": "allkeys-lru"}})
    world.key_bytes = 5 * 2**20
    scaled(world, 1)
    assert is_balanced(world, 1)


def test_lesson_06_a_silent_member_blocks_scale_in():
    world = running({"shards": 4})
    world.hosts["demo-1-1"].is_silent = True
    world.edit(shards=3)
    for _ in range(10):
        world.reconcile()
        world.step()
    assert "pod demo-1-1 runs but does not answer" in blockers(world)["ScaleInWaits"]
    assert [one for one in world.log if isinstance(one, MigrateSlots | Forget)] == []
    world.hosts["demo-1-1"].is_silent = False
    world.converge()
    assert is_balanced(world, 3)


def test_lesson_06_a_shard_that_crashes_is_not_taken_for_one_that_goes():
    world = running({"shards": 4})
    for host in world.shard(3):
        host.is_silent = True
    for _ in range(10):
        world.reconcile()
        world.step()
    assert [one for one in world.log if isinstance(one, DeletePod | Forget | MigrateSlots)] == []


def test_a_shard_whose_master_was_restarted_in_its_life_can_go():
    """Servers go on to report the slots that nodes.conf had at their start."""
    world = running({"shards": 2, "replicasPerShard": 0, **VOLUME})
    world.kill("demo-1-0")
    world.converge()
    assert world.master(1).server.boot_slots
    scaled(world, 1)
    assert (is_balanced(world, 1), keys_of(world)) == (True, 200)


def test_an_empty_shard_whose_volume_lost_its_node_goes_all_the_same():
    world = running({"shards": 2, "replicasPerShard": 0, **VOLUME})
    world.edit(shards=3)
    until(world, lambda: world.shard(2) != [] and world.shard(2)[0].server is not None)
    world.edit(shards=2)
    world.evict("demo-2-0")
    world.converge()
    assert world.shard(2) == []
    assert world.status["blockers"] == []


def test_volumes_of_a_removed_shard_are_kept_and_never_used_again():
    world = running({"shards": 4, **VOLUME})
    scaled(world, 3)
    kept = [claim for claim, _ in world.volumes.values() if claim.shard == 3]
    assert [(claim.name, claim.is_retired) for claim in kept] == [
        ("data-demo-3-0", True),
        ("data-demo-3-1", True),
    ]
    scaled(world, 4)
    assert sorted(host.pod.name for host in world.shard(3)) == ["demo-3-2", "demo-3-3"]
    assert keys_of(world) == 400


def test_volumes_of_a_removed_shard_are_deleted_under_reclaim_delete():
    world = running({"shards": 4, "storage": {"size": "1Gi", "reclaim": "Delete"}})
    scaled(world, 3)
    assert [claim.name for claim, _ in world.volumes.values() if claim.shard == 3] == []
    assert len([one for one in world.log if isinstance(one, DeleteClaim)]) == 2
    assert [one for one in world.log if isinstance(one, PatchClaim)] == []


def test_a_removal_that_has_begun_is_finished_and_the_shard_made_anew():
    world = running({"shards": 4})
    world.edit(shards=3)
    until(world, lambda: any(isinstance(one, Forget) for one in world.log))
    old = {host.pod.uid for host in world.shard(3)}
    world.edit(shards=4)
    world.converge(150)
    assert is_balanced(world, 4)
    assert not old & {host.pod.uid for host in world.shard(3)}


# --- slots left open ---------------------------------------------------------------------------------------


def leave_open(world: World, slot: int = 7) -> None:
    """A reshard by hand dies: one of the slot's keys has gone ahead to shard 1."""
    source, sink = world.master(0).server, world.master(1).server
    source.open_slots[slot] = f"->-{sink.node_id}"
    sink.open_slots[slot] = f"-<-{source.node_id}"
    sink.table[slot] = 1


def test_lesson_07_a_slot_left_open_is_closed_with_its_keys():
    world = running()
    leave_open(world)
    before = keys_of(world)
    world.reconcile()
    assert [(row["pod"], row["slot"]) for row in world.status["openSlots"]] == [
        ("demo-0-0", 7),
        ("demo-1-0", 7),
    ]
    world.now_s += 61
    wanted = world.reconcile()
    assert [one.target.pod for one in kinds(wanted, CloseSlot)] == ["demo-1-0"], (
        "who may hold keys comes first"
    )
    assert "SlotsOpen" in blockers(world)
    world.converge()
    assert "openSlots" not in world.status
    assert (world.master(0).server.table[7], keys_of(world)) == (1, before)
    assert [one.target.pod for one in world.log if isinstance(one, CloseSlot)] == ["demo-1-0", "demo-0-0"]


def test_people_who_reshard_by_hand_are_left_alone():
    world = running()
    for slot in range(5):
        leave_open(world, slot)
        world.reconcile()
        world.now_s += 30
        wanted = world.reconcile()
        assert kinds(wanted, CloseSlot) == []
        for host in (world.master(0), world.master(1)):
            host.server.open_slots.clear()
        world.reconcile()


# --- together with other work -----------------------------------------------------------------------------


def test_a_roll_and_a_change_of_shards_at_once_both_come_to_their_end():
    world = running()
    world.edit(shards=4, image="redoubt-server:next")
    world.converge(200)
    assert is_balanced(world, 4)
    assert {host.pod.revision for host in world.hosts.values()} == {world.hosts["demo-0-0"].pod.revision}
    assert keys_of(world) == 300


def test_lesson_12_a_bad_shard_elsewhere_does_not_keep_slots_from_moving():
    world = running({"replicasPerShard": 1})
    world.edit(shards=4)
    until(world, lambda: "moves" in world.status)
    world.kill("demo-2-1", down_for=40)
    until(world, lambda: slots_of(world)[3] > 2000, rounds=20)


def test_an_idle_master_that_dies_gets_its_role_back():
    world = running()
    world.edit(shards=4)
    until(world, lambda: world.status["shards"][-1]["state"] == "Joining" and world.shard(3) != [])
    until(world, lambda: any(one.server and one.server.leads for one in world.shard(3)))
    idle = next(one for one in world.shard(3) if one.server and one.server.leads)
    world.kill(idle.pod.name)
    world.converge(120)
    assert is_balanced(world, 4)
    assert [one for one in world.log if isinstance(one, AssignMaster) and one.shard == 3]
    assert [one for one in world.log if isinstance(one, CreatePod)]


# --- rebalance by annotation ------------------------------------------------------------------------------


def test_a_rebalance_is_made_once_for_each_request():
    world = running({"shards": 2})
    source, sink = world.master(0).server, world.master(1).server
    world.plane.switch(source, sink, source.slots & (1 << 4000) - 1)
    world.converge()
    assert slots_of(world) == [4192, 12192]
    world.annotate(rebalance="monday")
    world.converge()
    assert is_balanced(world, 2)
    last = world.status["lastRebalance"]
    assert (last["request"], last["result"]) == ("monday", "Done")
    told = [one.reason for one in world.events if "ebalance" in one.reason]
    assert told == ["RebalanceAccepted", "RebalanceDone"]
    before = len(world.log)
    world.converge()
    assert kinds_in(world.log[before:], MigrateSlots) == []
    world.annotate(rebalance="tuesday")
    world.converge()
    assert world.status["lastRebalance"]["message"] == "the slots are balanced already"


def kinds_in(log, *wanted):
    return [one for one in log if isinstance(one, wanted)]
