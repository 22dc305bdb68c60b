"""Managed mode, rule by rule: what a node without a role does, who may succeed, which orders are refused.

The clusters here have no operator; the orders are given by the test. Whole clusters with the planner are in
`test_with_operator.py` and `test_schedules.py`.
"""

from __future__ import annotations

import os

import pytest

from redoubt import readiness
from redoubt.resp.replies import ErrorReply, MapReply, Reply
from tests.sim.shards import NODE_TIMEOUT_MS, Shards

SEEDS = range(int(os.environ.get("SIM_SEEDS", "3")))


def status(shards: Shards, address: str) -> dict[str, str]:
    """Ask a node for REDOUBT STATUS, as RESP2 shows it."""
    reply = shards.client.ask(address, "REDOUBT", "STATUS")
    pairs = reply.pairs if isinstance(reply, MapReply) else None
    if pairs is None:
        assert isinstance(reply, list)
        pairs = list(zip(reply[::2], reply[1::2], strict=True))
    return {text(key): text(value) for key, value in pairs}


def text(value: Reply) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def error(reply: Reply | None) -> bytes:
    """Return the code of an error reply, empty if it is none."""
    return reply.text.split()[0] if isinstance(reply, ErrorReply) else b""


def reasons(shards: Shards, address: str) -> list[str]:
    """Ask what /readyz asks."""
    return readiness.reasons(shards.cluster(address).state, shards.world.now_ms)


def isolate(shards: Shards, address: str) -> None:
    for other in shards.addresses():
        if other != address:
            shards.world.cut(address, other)


@pytest.mark.parametrize("seed", SEEDS)
def test_each_phase_says_what_it_is_and_what_it_needs(seed: int) -> None:
    shards = Shards(seed, 3, 1)
    shards.world.add("10.0.9.9", await_role="yes", protected_mode="no")
    shards.world.run(10)
    awaiting = status(shards, "10.0.9.9")
    assert (awaiting["phase"], awaiting["needs"]) == ("awaiting", "a role from the operator")
    assert error(shards.client.ask("10.0.9.9", "GET", "a")) == b"LOADING"
    assert error(shards.client.ask("10.0.9.9", "CLUSTER", "ADDSLOTS", 1)) == b"LOADING"
    assert reasons(shards, "10.0.9.9") == ["waiting for its role"]

    master = shards.master_of(0)
    (replica,) = shards.replicas_of(0)
    assert status(shards, master)["needs"] == status(shards, replica)["needs"] == ""
    assert reasons(shards, master) == reasons(shards, replica) == []
    shards.world.kill(replica)
    shards.world.kill(master)
    shards.world.start(master)
    shards.world.run(150)
    yielding = status(shards, master)
    assert (yielding["phase"], yielding["slots"]) == ("yielding", "0")
    assert yielding["boot-slots"] == "5461"
    assert yielding["needs"].startswith("a successor among its replicas")
    assert error(shards.client.ask(master, "PSYNC", "?", -1)) == b"LOADING"
    assert reasons(shards, master) == ["waiting for its role"]
    shards.world.start(replica)
    shards.world.run(150)
    waiting = status(shards, replica)
    assert (waiting["phase"], waiting["role"], waiting["synced"]) == ("assigned", "replica", "0")
    assert waiting["needs"] == "a sync with its master"
    assert reasons(shards, replica) == ["its copy of the master's dataset is not complete"]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_replica_stays_ready_through_a_failover(seed: int) -> None:
    shards = Shards(seed, 1, 1)
    (replica,) = shards.replicas_of(0)
    shards.world.kill(shards.master_of(0))
    shards.world.run(NODE_TIMEOUT_MS + 4_000)
    assert reasons(shards, replica) == []
    shards.world.run(2_000)
    assert len(reasons(shards, replica)) == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_a_replica_that_is_not_in_sync_is_not_elected_and_refuses_the_role(seed: int) -> None:
    shards = Shards(seed, 3, 1)
    shards.write(0, wait=1)
    master = shards.master_of(0)
    (replica,) = shards.replicas_of(0)
    shards.world.kill(replica)
    shards.world.kill(master)  # at once: the empty replica finds nobody to sync with
    shards.world.start(replica)
    shards.world.run(NODE_TIMEOUT_MS * 3)
    assert not shards.is_serving_master(replica)
    epoch = status(shards, replica)["current-epoch"]
    refused = shards.client.ask(replica, "REDOUBT", "ROLE", "MASTER", epoch, 1)
    assert error(refused) == b"NOTSYNCED"
    shards.invariants.note_order(replica)
    shards.must(replica, "REDOUBT", "ROLE", "MASTER", epoch, 1, "FORCE-NEWEST")
    assert shards.write(0) < 1_000


@pytest.mark.parametrize("seed", SEEDS)
def test_a_restarted_master_takes_its_role_back_only_as_the_newest_copy(seed: int) -> None:
    shards = Shards(seed, 3, 1)
    master = shards.master_of(0)
    (replica,) = shards.replicas_of(0)
    shards.world.kill(replica)
    shards.write(0)
    shards.must(master, "SAVE")
    shards.world.kill(master)
    shards.world.start(master)
    shards.world.run(500)
    epoch = status(shards, master)["config-epoch"]
    assert error(shards.client.ask(master, "REDOUBT", "ROLE", "MASTER", epoch, 1)) == b"NOTSYNCED"
    shards.must(master, "REDOUBT", "ROLE", "MASTER", epoch, 1, "FORCE-NEWEST")
    assert int(status(shards, master)["config-epoch"]) > int(epoch)
    shards.world.start(replica)
    shards.wait_healthy()
    assert shards.master_of(0) == master
    assert shards.lost() == []


@pytest.mark.parametrize("seed", SEEDS)
def test_orders_from_the_past_are_refused(seed: int) -> None:
    shards = Shards(seed, 3, 1)
    master = shards.master_of(0)
    (replica,) = shards.replicas_of(0)
    shards.must(replica, "REDOUBT", "LEASE", 7)
    assert error(shards.client.ask(replica, "REDOUBT", "LEASE", 6)) == b"STALE"
    assert error(shards.client.ask(replica, "REDOUBT", "ROLE", "MASTER", 99, 6)) == b"STALE"
    assert error(shards.client.ask(replica, "REDOUBT", "ROLE", "MASTER", 0, 7)) == b"STALE"
    other = shards.node_id(shards.master_of(1))
    assert error(shards.client.ask(replica, "REDOUBT", "ROLE", "REPLICA", 0, 7, other)) == b"STALE"
    assert error(shards.client.ask(master, "REDOUBT", "ROLE", "REPLICA", 99, 7, other)) == b"STALE"
    assert error(shards.client.ask(replica, "REDOUBT", "ROLE", "REPLICA", 99, 7, "0" * 40)) == b"UNKNOWNNODE"
    # The number outlives the process.
    shards.world.kill(replica)
    shards.world.start(replica)
    shards.world.run(10)
    assert error(shards.client.ask(replica, "REDOUBT", "LEASE", 6)) == b"STALE"
    # What holds already is confirmed.
    shards.wait_healthy()
    shards.must(replica, "REDOUBT", "ROLE", "REPLICA", 99, 7, shards.node_id(master))
    shards.must(master, "REDOUBT", "ROLE", "MASTER", 0, 7)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_ordered_master_wins_over_every_older_claim(seed: int) -> None:
    shards = Shards(seed, 3, 1)
    (replica,) = shards.replicas_of(0)
    old = shards.master_of(0)
    shards.must(replica, "REDOUBT", "ROLE", "MASTER", 99, 1)
    shards.wait_healthy()
    assert shards.master_of(0) == replica
    assert status(shards, old)["role"] == "replica"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_diverged_old_master_copies_in_full_and_keeps_its_own_writes(seed: int) -> None:
    shards = Shards(seed, 3, 1)
    shards.write(0, wait=1)
    old = shards.master_of(0)
    (replica,) = shards.replicas_of(0)
    isolate(shards, old)
    kept = dict(shards.acknowledged)
    assert shards.write_at(old, 0)  # nobody else will ever see it
    shards.acknowledged = kept
    epoch = status(shards, old)["data-epoch"]
    shards.world.run(NODE_TIMEOUT_MS * 3)
    assert shards.master_of(0) == replica
    shards.write(0)
    full_before = shards.cluster(replica).state.statistics.sync_full
    shards.world.heal()
    shards.wait_healthy(60_000)
    assert shards.cluster(replica).state.statistics.sync_full > full_before
    assert status(shards, old)["diverged"] == f"diverged-{epoch}.rdb"
    assert any(path.endswith(f"diverged-{epoch}.rdb") for path in shards.host(old).disk)
    assert shards.lost() == []
    keys = [shards.cluster(address).state.keyspaces[0].all_keys() for address in (old, replica)]
    assert sorted(keys[0]) == sorted(keys[1])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_replica_refuses_the_full_copy_of_its_emptied_master(seed: int) -> None:
    shards = Shards(seed, 3, 1)
    for _ in range(5):
        shards.write(0, wait=1)
    master = shards.master_of(0)
    (replica,) = shards.replicas_of(0)
    held = shards.cluster(replica).state.keyspaces[0].all_keys()
    shards.world.run(200)
    # A restart that nobody noticed, of a master that was started as Redis would start it.
    shards.world.freeze(replica)
    shards.world.kill(master)
    shards.host(master).config["await-role"] = "no"
    for address in shards.addresses():
        shards.host(address).config["cluster-refused-is-down"] = "no"
    shards.world.start(master)
    shards.world.run(300)
    shards.world.thaw(replica)
    shards.world.run(1_500)
    assert sorted(shards.cluster(replica).state.keyspaces[0].all_keys()) == sorted(held)
    assert shards.cluster(replica).state.replication.is_synced


@pytest.mark.parametrize("seed", SEEDS)
def test_a_master_without_its_majority_takes_no_write(seed: int) -> None:
    shards = Shards(seed, 3, 1)
    master = shards.master_of(0)
    for shard in (1, 2):
        for address in shards.members[shard]:
            shards.world.kill(address)
    shards.world.run(NODE_TIMEOUT_MS)
    assert not shards.write_at(master, 0)
    reply = shards.client.ask(master, "SET", *shards.key_of(0), limit_ms=NODE_TIMEOUT_MS)
    assert reply is None or error(reply) == b"CLUSTERDOWN"


@pytest.mark.parametrize("seed", SEEDS)
def test_writes_without_wait_survive_the_kill_of_their_process(seed: int) -> None:
    shards = Shards(seed, 3, 2)
    for _ in range(8):
        victim = shards.master_of(0)
        for _ in range(5):
            shards.write(0)
        shards.world.kill(victim)
        shards.world.run(shards.world.random.choice([0, 1, 3, 30]))
        shards.world.start(victim)
        shards.write(0)
        shards.wait_healthy()
    assert shards.lost() == []


@pytest.mark.parametrize("shard_count", [1, 2, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_successor_killed_right_after_its_promotion_loses_nothing(seed: int, shard_count: int) -> None:
    shards = Shards(seed, shard_count, 2)
    for _ in range(5):
        shards.write(0, wait=2)
    first = shards.master_of(0)
    shards.world.kill(first)
    shards.world.run(100)
    shards.world.start(first)
    shards.world.run_until(lambda: shards.master_of(0) not in ("", first), 5_000, "a successor")
    second = shards.master_of(0)
    shards.world.kill(second)
    shards.world.run(shards.world.random.choice([0, 5, 200]))
    shards.world.start(second)
    shards.write(0)
    shards.wait_healthy()
    assert shards.lost() == []


@pytest.mark.parametrize("seed", SEEDS)
def test_failover_by_force_joins_the_election_under_way(seed: int) -> None:
    shards = Shards(seed, 3, 1)
    shards.world.run(150)
    master = shards.master_of(0)
    (replica,) = shards.replicas_of(0)
    election = shards.cluster(replica).election
    shards.world.kill(master)
    shards.world.run_until(lambda: election.epoch > 0, 1_000, "an election")
    shards.client.ask(replica, "CLUSTER", "FAILOVER", "FORCE")
    shards.world.run_until(lambda: shards.is_serving_master(replica), 1_000, "it serves")
    assert election.elections_held == 1
    assert shards.cluster(replica).topology.myself.config_epoch == election.epoch


@pytest.mark.parametrize("seed", SEEDS)
def test_refusals_are_no_evidence_where_that_is_configured(seed: int) -> None:
    shards = Shards(seed, 3, 1, cluster_refused_is_down="no")
    shards.write(0, wait=1)
    victim = shards.master_of(0)
    shards.world.kill(victim)
    assert NODE_TIMEOUT_MS * 0.6 < shards.write(0) < NODE_TIMEOUT_MS * 3
    assert shards.master_of(0) != victim


@pytest.mark.parametrize("seed", SEEDS)
def test_a_node_that_waits_for_its_role_notices_who_is_silent(seed: int) -> None:
    # It must, or it never believes another address of its successor.
    shards = Shards(seed, 3, 1)
    master = shards.master_of(0)
    (replica,) = shards.replicas_of(0)
    shards.world.kill(master)
    shards.world.vanish(replica)
    shards.members[0] = [master]
    shards.world.start(master)
    shards.world.run(NODE_TIMEOUT_MS * 2)
    assert status(shards, master)["phase"] == "yielding"
    (known,) = shards.cluster(master).topology.myself.replicas
    assert known.is_suspected
