"""The number of shards changes at will: slots move with their keys, shards come and go, nothing is lost."""

from __future__ import annotations

import pytest

from redoubt_operator.actions import (
    AddSlots,
    AssignMaster,
    CancelMoves,
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
