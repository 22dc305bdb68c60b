"""Planned changes of the master: at SIGTERM, by REDOUBT HANDOVER and CLUSTER FAILOVER, under writes."""

from __future__ import annotations

import os

import pytest

from redoubt.cluster.election import ASKING
from redoubt.resp.replies import ErrorReply, encode_command
from tests.sim.shards import Shards
from tests.sim.writer import Writer

SEEDS = range(int(os.environ.get("SIM_SEEDS", "4")))
# Beside the gap of an undisturbed run, which is a round trip.
GAP_MS_MAX = 100
# What it takes when nothing waits for a tick: five round trips.
PROMPT_MS_MAX = 30
EXIT_MS_MAX = 12_000


def writers(shards: Shards, count: int = 6) -> list[Writer]:
    """Begin to write into shard 0 and wait until a tick may come at any moment."""
    begun = [Writer(shards, 0, shards.master_of(0)) for _ in range(count)]
    shards.world.run(60 + shards.world.random.randrange(100))
    return begun


def order(shards: Shards, address: str, *words: bytes) -> None:
    """Send a command without waiting for its reply."""
    connection = shards.world.connect(address)
    assert connection is not None
    shards.world.send(connection, encode_command(list(words)))


def check(shards: Shards, begun: list[Writer]) -> None:
    """End the writing and see what clients have seen of the change."""
    shards.world.run(100)
    for writer in begun:
        writer.stop()
    shards.world.run(10)
    assert [writer.errors for writer in begun] == [[] for _ in begun]
    assert max(writer.gap_ms for writer in begun) < PROMPT_MS_MAX < GAP_MS_MAX
    assert min(writer.count for writer in begun) > 10
    assert shards.lost() == []


@pytest.mark.parametrize("shape", [(3, 1), (1, 1), (2, 1), (3, 2)], ids=str)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_deleted_master_costs_its_writers_no_error_and_a_short_pause(
    seed: int, shape: tuple[int, int]
) -> None:
    shards = Shards(seed, *shape)
    victim = shards.master_of(0)
    begun = writers(shards)
    shards.world.terminate(victim)
    shards.world.run_until(lambda: shards.host(victim).exit_code == 0, EXIT_MS_MAX, "it has exited")
    check(shards, begun)
    assert shards.master_of(0) != victim


@pytest.mark.parametrize("seed", SEEDS)
def test_a_master_hands_over_right_after_its_replica_has_synced(seed: int) -> None:
    shards = Shards(seed, 1, 1)
    (replica,) = shards.replicas_of(0)
    shards.world.kill(replica)
    shards.world.run(200)
    shards.world.start(replica)
    shards.wait_healthy()
    shards.world.run(110)  # a tick of the replica
    victim = shards.master_of(0)
    shards.world.terminate(victim)
    shards.world.run_until(lambda: shards.host(victim).exit_code == 0, EXIT_MS_MAX)
    assert shards.master_of(0) == replica


@pytest.mark.parametrize("seed", SEEDS)
def test_a_master_does_not_hand_over_to_a_replica_that_leaves_as_well(seed: int) -> None:
    shards = Shards(seed, 3, 2)
    shards.world.run(150)
    victim = shards.master_of(0)
    leaving, staying = shards.replicas_of(0)
    begun = writers(shards)
    shards.world.terminate(leaving)
    shards.world.terminate(victim)
    shards.world.run_until(lambda: shards.host(victim).exit_code == 0, EXIT_MS_MAX)
    shards.world.run(500)
    assert shards.master_of(0) == staying
    for writer in begun:
        writer.stop()
    shards.world.run(10)
    assert shards.lost() == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_master_whose_only_replica_leaves_as_well_exits_without_waiting(seed: int) -> None:
    shards = Shards(seed, 3, 1)
    shards.world.run(150)
    victim = shards.master_of(0)
    (replica,) = shards.replicas_of(0)
    shards.world.terminate(replica)
    shards.world.run(20)
    began_ms = shards.world.now_ms
    shards.world.terminate(victim)
    shards.world.run_until(lambda: shards.host(victim).exit_code == 0, EXIT_MS_MAX)
    assert shards.world.now_ms - began_ms < 200
    assert not shards.master_of(0)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_ordered_handover_costs_no_error_and_goes_to_the_wanted_replica(seed: int) -> None:
    shards = Shards(seed, 3, 2)
    shards.world.run(150)
    wanted = shards.world.random.choice(shards.replicas_of(0))
    begun = writers(shards)
    reply = shards.client.ask(shards.master_of(0), "REDOUBT", "HANDOVER", shards.node_id(wanted))
    assert not isinstance(reply, ErrorReply) and reply is not None
    check(shards, begun)
    assert shards.master_of(0) == wanted


@pytest.mark.parametrize("seed", SEEDS)
def test_a_handover_whose_successor_is_dead_leaves_the_master_in_place(seed: int) -> None:
    shards = Shards(seed, 3, 1)
    shards.world.run(150)
    master = shards.master_of(0)
    (replica,) = shards.replicas_of(0)
    shards.world.freeze(replica)
    reply = shards.client.ask(master, "REDOUBT", "HANDOVER", limit_ms=15_000)
    assert isinstance(reply, ErrorReply) and reply.text.startswith((b"TIMEOUT", b"NOREPLICA"))
    assert shards.write(0) < 5_000  # writes are held until the order has lapsed
    assert shards.master_of(0) == master


@pytest.mark.parametrize("frozen_ms", [100, 2_400, 6_000])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_successor_that_reads_its_order_late_loses_no_write(seed: int, frozen_ms: int) -> None:
    shards = Shards(seed, 3, 1)
    shards.world.run(150)
    (replica,) = shards.replicas_of(0)
    begun = writers(shards)
    shards.world.freeze(replica)
    order(shards, shards.master_of(0), b"REDOUBT", b"HANDOVER")
    shards.world.run(frozen_ms)
    shards.world.thaw(replica)
    shards.world.run(2_000)
    for writer in begun:
        writer.stop()
    shards.wait_healthy()
    assert shards.lost() == []


@pytest.mark.parametrize("seed", SEEDS)
def test_votes_that_a_frozen_candidate_reads_late_elect_nobody(seed: int) -> None:
    shards = Shards(seed, 3, 1)
    shards.world.run(150)
    master = shards.master_of(0)
    (replica,) = shards.replicas_of(0)
    election = shards.cluster(replica).election
    order(shards, replica, b"CLUSTER", b"FAILOVER")
    shards.world.run_until(lambda: election.phase == ASKING, 1_000, "votes are asked for")
    shards.world.freeze(replica)
    shards.world.run(7_000)  # the master goes on by itself
    assert shards.write_at(master, 0)
    begun = writers(shards)
    shards.world.thaw(replica)
    shards.world.run(300)
    for writer in begun:
        writer.stop()
    shards.wait_healthy()
    assert shards.lost() == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_manual_failover_begun_by_the_replica_costs_no_error(seed: int) -> None:
    shards = Shards(seed, 3, 1)
    (replica,) = shards.replicas_of(0)
    begun = writers(shards)
    shards.must(replica, "CLUSTER", "FAILOVER")
    shards.world.run(100)
    check(shards, begun)
    assert shards.master_of(0) == replica


def named_in_slots(shards: Shards, address: str) -> set[str]:
    """List the addresses to which CLUSTER SLOTS of one node sends clients."""
    reply = shards.client.ask(address, "CLUSTER", "SLOTS")
    assert isinstance(reply, list)
    return {member[0].decode() for _, _, *members in reply for member in members}


@pytest.mark.parametrize("is_master", [True, False], ids=["master", "replica"])
@pytest.mark.parametrize("seed", SEEDS)
def test_who_leaves_answers_for_a_while_and_is_named_to_no_client(seed: int, is_master: bool) -> None:
    shards = Shards(seed, 3, 1)
    shards.world.run(150)
    (replica,) = shards.replicas_of(0)
    victim = shards.master_of(0) if is_master else replica
    stays = shards.master_of(1)
    shards.world.terminate(victim)
    shards.world.run(5_000)
    assert shards.host(victim).exit_code is None
    for asked in (victim, stays):
        named = named_in_slots(shards, asked)
        assert victim not in named
        assert shards.master_of(0) in named
    shards.world.run_until(lambda: shards.host(victim).exit_code == 0, 5_000, "it has exited")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_replica_that_leaves_waits_no_longer_than_for_its_shards_next_master(seed: int) -> None:
    shards = Shards(seed, 3, 2)
    shards.world.run(150)
    leaving, wanted = shards.replicas_of(0)
    shards.world.terminate(leaving)
    shards.world.run(1_000)
    order(shards, shards.master_of(0), b"REDOUBT", b"HANDOVER", shards.node_id(wanted).encode())
    shards.world.run(1_500)
    assert (shards.master_of(0), shards.host(leaving).exit_code) == (wanted, None)
    shards.world.run(1_500)
    assert shards.host(leaving).exit_code == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_cluster_that_leaves_as_a_whole_does_not_linger(seed: int) -> None:
    shards = Shards(seed, 3, 1)
    shards.world.run(150)
    for address in list(shards.world.hosts):
        shards.world.terminate(address)
    shards.world.run(5_000)  # an attempt at a handover takes 2 s
    assert {host.exit_code for host in shards.world.hosts.values()} == {0}
