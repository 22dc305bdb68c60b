"""Failover and managed mode, proved on simulated clusters over many seeds.

The seeds of each test are fixed; `SIM_SEEDS=1000 pytest tests/sim` runs more. A failure names its seed,
and the seed alone reproduces it.
"""

from __future__ import annotations

import os

import pytest

from tests.sim.shards import NODE_TIMEOUT_MS, Shards

SEEDS = range(int(os.environ.get("SIM_SEEDS", "6")))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_cluster_forms_by_orders_and_serves(seed: int) -> None:
    shards = Shards(seed, 3, 1)
    for shard in range(3):
        shards.write(shard, wait=1)
    assert shards.lost() == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_killed_master_is_replaced_long_before_the_timeout(seed: int) -> None:
    shards = Shards(seed, 3, 1)
    for _ in range(20):
        shards.write(0)
    victim = shards.master_of(0)
    shards.world.kill(victim)
    took_ms = shards.write(0)
    assert took_ms < NODE_TIMEOUT_MS / 2
    assert shards.lost() == []
    shards.world.start(victim)
    shards.wait_healthy()
    assert shards.master_of(0) != victim


@pytest.mark.parametrize("seed", SEEDS)
def test_a_successor_reads_what_its_dead_master_had_sent_before_it_takes_over(seed: int) -> None:
    shards = Shards(seed, 3, 1)
    victim = shards.master_of(0)
    (replica,) = shards.replicas_of(0)
    # The votes are in long before the last of the stream is: its packets take the long way.
    shards.world.delays_ms[frozenset((victim, replica))] = 40
    for _ in range(20):
        shards.write(0)
    shards.world.kill(victim)
    shards.write(0)
    assert shards.master_of(0) == replica
    assert shards.lost() == []


@pytest.mark.parametrize("back_after_ms", [0, 5, 40, 150, 400, 1500])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_master_that_comes_back_empty_costs_nothing(seed: int, back_after_ms: int) -> None:
    shards = Shards(seed, 3, 1)
    for _ in range(20):
        shards.write(0)
    victim = shards.master_of(0)
    shards.world.kill(victim)
    shards.world.run(back_after_ms)
    shards.world.start(victim)
    took_ms = shards.write(0)
    assert took_ms < NODE_TIMEOUT_MS
    shards.wait_healthy()
    assert shards.master_of(0) != victim
    assert shards.lost() == []


@pytest.mark.parametrize("shard_count", [1, 2])
@pytest.mark.parametrize("seed", SEEDS)
def test_few_shards_fail_over_by_the_vote_of_the_restarted_master(seed: int, shard_count: int) -> None:
    shards = Shards(seed, shard_count, 1)
    for _ in range(10):
        shards.write(0)
    victim = shards.master_of(0)
    shards.world.kill(victim)
    shards.world.run(200)
    shards.world.start(victim)
    shards.write(0)
    shards.wait_healthy()
    assert shards.master_of(0) != victim
    assert shards.lost() == []


@pytest.mark.parametrize("seed", SEEDS)
def test_masters_without_replicas_resume_when_the_others_confirm(seed: int) -> None:
    shards = Shards(seed, 3, 0)
    victim = shards.master_of(1)
    shards.world.kill(victim)
    shards.world.run(50)
    shards.world.start(victim)
    shards.write(1)
    assert shards.master_of(1) == victim
    assert shards.cluster(victim).role.data_lost


@pytest.mark.parametrize("seed", SEEDS)
def test_all_masters_without_replicas_restarted_at_once_resume(seed: int) -> None:
    shards = Shards(seed, 3, 0)
    for address in shards.addresses():
        shards.world.kill(address)
    shards.world.run(100)
    for address in shards.addresses():
        shards.world.start(address)
    shards.wait_healthy()
    for shard in range(3):
        shards.write(shard)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_frozen_master_takes_no_write_after_its_replica_was_promoted(seed: int) -> None:
    shards = Shards(seed, 3, 1)
    for _ in range(10):
        shards.write(0, wait=1)
    victim = shards.master_of(0)
    shards.world.freeze(victim)
    shards.world.run(NODE_TIMEOUT_MS * 2)
    shards.write(0, wait=0)
    shards.world.thaw(victim)
    # Who still talks to the thawed master must not get a write acknowledged that will be dropped.
    shards.write_at(victim, 0)
    shards.wait_healthy()
    assert shards.master_of(0) != victim
    assert shards.lost() == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_partitioned_master_stops_and_its_side_loses_nothing_acknowledged_by_a_replica(seed: int) -> None:
    shards = Shards(seed, 3, 1)
    for _ in range(10):
        shards.write(0, wait=1)
    victim = shards.master_of(0)
    for address in shards.addresses():
        if address != victim:
            shards.world.cut(victim, address)
    shards.world.run(NODE_TIMEOUT_MS)
    # Its own clients can reach it all the time; what it takes now would be lost.
    shards.write_at(victim, 0)
    shards.world.run(NODE_TIMEOUT_MS * 2)
    shards.write(0)
    shards.world.heal()
    shards.wait_healthy(60_000)
    assert shards.lost() == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_leaving_master_hands_over_and_no_write_waits_long(seed: int) -> None:
    shards = Shards(seed, 3, 1)
    for _ in range(10):
        shards.write(0)
    victim = shards.master_of(0)
    node = shards.host(victim).node
    assert node is not None
    node.begin_shutdown(None, False, False, shards.world.now_ms)
    shards.world.run_until(lambda: shards.host(victim).exit_code == 0, 12_000, "the old master has exited")
    assert shards.write(0) < 100
    assert shards.master_of(0) != victim
    assert shards.lost() == []


@pytest.mark.parametrize("seed", SEEDS)
def test_acknowledged_and_replicated_writes_survive_any_one_kill_with_restart(seed: int) -> None:
    shards = Shards(seed, 3, 1)
    random = shards.world.random
    for _ in range(12):
        for shard in range(3):
            shards.write(shard, wait=1)
        victim = random.choice(shards.addresses())
        shards.world.kill(victim)
        shards.world.run(random.choice([0, 1, 10, 100, 500, 2000]))
        shards.world.start(victim)
        for shard in range(3):
            shards.write(shard, wait=0)
        shards.wait_healthy()
    assert shards.lost() == []
