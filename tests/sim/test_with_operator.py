"""Whole shards and whole clusters that come back at once: what the planner decides, and the servers take.

Everything here is the product's own code, from the plan to the bytes; see `managed.py`.
"""

from __future__ import annotations

import os
from typing import Any, Final

import pytest

from redoubt_operator.actions import AssignMaster, AssignReplica, RaiseLease
from tests.sim.managed import Managed

SEEDS = range(int(os.environ.get("SIM_SEEDS", "4")))
VOLUMES: Final[dict[str, Any]] = {"storage": {"size": "1Gi"}}


def write(stage: Managed, shard: int, count: int = 5) -> None:
    for _ in range(count):
        stage.write(shard, wait=stage.replicas)


def pods(stage: Managed, shard: int) -> list[str]:
    return [one.pod.name for one in stage.pods_of(shard)]


def save(stage: Managed, address: str) -> None:
    stage.must(address, "SAVE")


@pytest.mark.parametrize("seed", SEEDS)
def test_the_newest_copy_wins_when_a_whole_shard_is_restarted(seed: int) -> None:
    stage = Managed(seed, 3, 1, **VOLUMES)
    write(stage, 0)
    master = stage.master_of(0)
    (replica,) = stage.replicas_of(0)
    older, newer = stage.world.random.sample([master, replica], 2)
    save(stage, older)
    write(stage, 0)
    save(stage, newer)
    for name in pods(stage, 0):
        stage.kubernetes.kill(name)
    stage.wait_healthy()
    assert stage.master_of(0) == newer
    assert stage.lost() == []
    assert not stage.loss_is_told(0)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_copy_of_a_later_epoch_wins_over_a_longer_one_of_an_earlier(seed: int) -> None:
    stage = Managed(seed, 3, 1, **VOLUMES)
    write(stage, 0, 20)
    old = stage.master_of(0)
    save(stage, old)
    held = stage.kubernetes.find(old)
    assert held is not None
    stage.kubernetes.hold(held.pod.name)
    stage.write(0)
    new = stage.master_of(0)
    stage.write(0)
    save(stage, new)
    # Both come back with their dumps; the older one is written to by nobody, but has no shorter history.
    for name in pods(stage, 0):
        stage.kubernetes.kill(name)
    stage.kubernetes.release(held.pod.name)
    stage.wait_healthy()
    assert stage.lost() == []


@pytest.mark.parametrize("replicas", [0, 1, 2])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_shard_without_any_copy_is_begun_anew_and_the_loss_is_told(seed: int, replicas: int) -> None:
    stage = Managed(seed, 3, replicas)
    for shard in range(3):
        write(stage, shard)
    victims = pods(stage, 1)
    stage.expose([one.address for one in stage.pods_of(1)])
    for name in victims:
        stage.kubernetes.delete(name, 0)
    stage.wait_healthy()
    stage.write(1)
    assert stage.loss_is_told(1)
    assert not stage.loss_is_told(0) and not stage.loss_is_told(2)
    assert stage.lost() == []  # the other shards have theirs


@pytest.mark.parametrize("seed", SEEDS)
def test_no_role_is_given_while_a_copy_may_still_come(seed: int) -> None:
    stage = Managed(seed, 3, 1, **VOLUMES)
    write(stage, 0)
    newest = stage.pod_of_master(0)
    assert newest is not None
    save(stage, newest.address)
    for name in pods(stage, 0):
        stage.kubernetes.hold(name)
    for name in pods(stage, 0):
        if name != newest.pod.name:
            stage.kubernetes.release(name)  # without data
    stage.world.run(15_000)
    assert not stage.master_of(0)
    assert not stage.loss_is_told(0)
    stage.kubernetes.release(newest.pod.name)
    stage.wait_healthy()
    assert stage.lost() == []


@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (3, 0)], ids=str)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_cluster_restarted_at_new_addresses_meets_again_with_its_data(
    seed: int, shape: tuple[int, int]
) -> None:
    stage = Managed(seed, *shape, **VOLUMES)
    for shard in range(shape[0]):
        write(stage, shard)
    before = stage.addresses()
    ids = sorted(stage.node_id(address) for address in before)
    for address in before:
        save(stage, address)
    for name in list(stage.kubernetes.pods):
        stage.kubernetes.delete(name, 0)
    stage.world.run_until(lambda: not set(before) & set(stage.addresses()), 60_000, "new addresses")
    stage.wait_healthy(60_000)
    assert sorted(stage.node_id(address) for address in stage.addresses()) == ids
    assert stage.lost() == []


@pytest.mark.parametrize("seed", SEEDS)
def test_an_operator_that_was_replaced_gives_no_orders_any_more(seed: int) -> None:
    stage = Managed(seed, 3, 1)
    old = stage.operator
    stage.lead()
    stage.world.run(500)
    before = len(old.done)
    known = {placed.pod.uid for placed in stage.kubernetes.pods.values()}
    for _ in range(3):
        victim = stage.pod_of_master(0)
        assert victim is not None
        stage.kubernetes.delete(victim.pod.name, 0)
        stage.wait_healthy()
        write(stage, 0)
    orders = [one for one in old.done[before:] if isinstance(one, RaiseLease | AssignMaster | AssignReplica)]
    # Who has never heard of the new one is new itself, and has nothing to lose.
    assert [one for one in orders if one.target.uid in known] == []
    assert stage.lost() == []


@pytest.mark.parametrize("seed", SEEDS)
def test_the_operator_may_die_at_any_moment_of_a_repair(seed: int) -> None:
    stage = Managed(seed, 3, 1)
    for _ in range(3):
        stage.kubernetes.delete(stage.world.random.choice(list(stage.kubernetes.pods)), 0)
        stage.world.run(stage.world.random.randrange(1_500))
        stage.operator.stop()
        stage.lead()
    stage.wait_healthy()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_lost_node_is_replaced_without_loss(seed: int) -> None:
    stage = Managed(seed, 3, 1)
    write(stage, 0)
    victim = stage.pod_of_master(0)
    assert victim is not None
    stage.kubernetes.lose_node(victim.pod.name)
    stage.wait_healthy()
    assert stage.lost() == []
