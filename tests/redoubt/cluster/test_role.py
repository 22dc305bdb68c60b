"""The managed role of one node whose peers the test plays: phases, orders, and which copies it accepts."""

from __future__ import annotations

import pytest

from redoubt.cluster import messages
from redoubt.cluster.role import ASSIGNED, AWAITING, RESUMING, YIELDING
from redoubt.resp.replies import OK, ErrorReply, Reply
from tests.redoubt.cluster.peers import Stage

ME, COPY, THIRD = "a" * 40, "b" * 40, "c" * 40
EPOCHS = "vars currentEpoch 4 lastVoteEpoch 0\n"
OTHERS = f"{THIRD} 10.0.0.3:6379@16379 master - 0 1 2 connected 8192-16383\n" + EPOCHS
EMPTY = f"{ME} 10.0.0.1:6379@16379 myself,master - 0 0 0 connected\n" + OTHERS
LONE = f"{ME} 10.0.0.1:6379@16379 myself,master - 0 0 4 connected 0-8191\n" + OTHERS
MASTER = LONE + f"{COPY} 10.0.0.2:6379@16379 slave {ME} 0 1 4 connected\n"
REPLICA = (
    f"{ME} 10.0.0.1:6379@16379 myself,slave {COPY} 0 0 4 connected\n"
    f"{COPY} 10.0.0.2:6379@16379 master - 0 1 4 connected 0-8191\n" + OTHERS
)
MY_SLOTS = (1 << 8192) - 1
LOADING = ErrorReply(b"LOADING Redoubt is waiting for its role")


def stage(nodes_conf: str) -> Stage:
    made = Stage(nodes_conf, "--await-role", "yes")
    made.talk(300)
    return made


def ask(made: Stage, *words: str) -> Reply:
    reply = made.connect().ask(*words)
    made.exchange()
    return reply


def code(reply: Reply) -> bytes:
    assert isinstance(reply, ErrorReply), reply
    return reply.text.split(b" ")[0]


@pytest.mark.parametrize(
    ("nodes_conf", "phase"),
    [(EMPTY, AWAITING), (LONE, RESUMING), (MASTER, YIELDING), (REPLICA, ASSIGNED)],
    ids=["no slots", "a master alone in its shard", "a master with a replica", "a replica"],
)
def test_what_nodes_conf_says_decides_the_first_phase(nodes_conf: str, phase: str) -> None:
    made = Stage(nodes_conf, "--await-role", "yes")
    assert made.cluster.role.phase == phase


@pytest.mark.parametrize("nodes_conf", [EMPTY, LONE, MASTER, REPLICA])
def test_outside_managed_mode_every_node_has_the_role_that_it_had(nodes_conf: str) -> None:
    made = Stage(nodes_conf)
    assert made.cluster.role.phase == ASSIGNED
    assert made.cluster.role.needs() == ("a sync with its master" if nodes_conf == REPLICA else "")


@pytest.mark.parametrize("nodes_conf", [EMPTY, LONE, MASTER])
def test_without_its_role_a_node_refuses_data_and_orders_of_redis(nodes_conf: str) -> None:
    made = Stage(nodes_conf, "--await-role", "yes")
    for words in (("GET", "k"), ("SET", "k", "1"), ("PSYNC", "?", "-1")):
        assert ask(made, *words) == LOADING
    for words in (("ADDSLOTS", "1"), ("REPLICATE", THIRD), ("FAILOVER", "FORCE")):
        assert ask(made, "CLUSTER", *words) == LOADING
    assert ask(made, "CLUSTER", "MYID") == ME.encode()


@pytest.mark.parametrize(("nodes_conf", "phase"), [(EMPTY, AWAITING), (LONE, RESUMING), (MASTER, YIELDING)])
def test_no_slot_is_claimed_on_the_bus_before_the_role_is_known(nodes_conf: str, phase: str) -> None:
    made = Stage(nodes_conf, "--await-role", "yes")
    made.talk(150)
    assert made.cluster.role.phase == phase
    got = [message for peer in made.peers.values() for message in peer.got]
    assert got
    assert [message.slots for message in got if message.kind != messages.FAIL and message.slots] == []


def test_a_master_with_replicas_yields_and_serves_nothing() -> None:
    made = stage(MASTER)
    made.talk(5_000)
    assert made.cluster.role.phase == YIELDING
    assert not made.cluster.role.may_listen()
    assert made.cluster.role.needs() == "a successor among its replicas, or its role from the operator"


def test_a_new_node_becomes_a_master_by_order_without_taking_slots() -> None:
    made = stage(EMPTY)
    assert ask(made, "REDOUBT", "ROLE", "master", "0", "1") == OK
    assert made.cluster.role.phase == ASSIGNED
    assert made.cluster.topology.myself.slots == 0
    assert made.cluster.topology.nodes[THIRD].slot_count == 8192


def test_a_restarted_master_without_slots_leads_by_order_under_a_new_epoch() -> None:
    # Under its old one its replicas take its new history for the same node without its data.
    made = stage(EMPTY.replace("master - 0 0 0", "master - 0 0 3"))
    assert made.cluster.topology.myself.config_epoch == 3
    before = made.cluster.topology.config_epoch_max()
    assert ask(made, "REDOUBT", "ROLE", "master", "0", "1") == OK
    assert made.cluster.topology.myself.config_epoch == before + 1


def test_an_order_gives_the_slots_back_under_an_epoch_above_all() -> None:
    made = stage(LONE)
    assert ask(made, "REDOUBT", "ROLE", "master", "4", "1") == OK
    myself = made.cluster.topology.myself
    assert (made.cluster.role.phase, myself.slots, myself.config_epoch) == (ASSIGNED, MY_SLOTS, 5)
    made.talk(1_500)
    told = made.peers[THIRD].got[-1]
    assert (told.slots, told.config_epoch) == (MY_SLOTS, 5)
    # What held before is gone with its data, which an operator must hear.
    assert made.cluster.role.data_lost


def test_an_order_that_holds_already_changes_nothing() -> None:
    made = stage(LONE)
    for _ in range(3):
        assert ask(made, "REDOUBT", "ROLE", "master", "4", "1") == OK
    assert made.cluster.topology.myself.config_epoch == 5


def test_an_order_that_saw_an_older_epoch_of_the_slots_is_stale() -> None:
    made = stage(LONE)
    reply = ask(made, "REDOUBT", "ROLE", "master", "3", "1")
    assert reply == ErrorReply(b"STALE the slots are held at config epoch 4")
    assert made.cluster.role.phase == RESUMING


def test_an_operator_that_was_replaced_gives_no_orders() -> None:
    made = stage(LONE)
    assert ask(made, "REDOUBT", "LEASE", "7") == OK
    for words in (("LEASE", "6"), ("ROLE", "master", "4", "6"), ("ROLE", "replica", "4", "6", THIRD)):
        assert code(ask(made, "REDOUBT", *words)) == b"STALE"
    assert made.cluster.role.phase == RESUMING
    assert Stage(made.files["nodes.conf"].decode()).cluster.topology.lease_transitions == 7


def test_a_restarted_master_serves_again_by_order_only_as_the_newest() -> None:
    made = stage(MASTER)
    assert code(ask(made, "REDOUBT", "ROLE", "master", "4", "1")) == b"NOTSYNCED"
    assert made.cluster.role.phase == YIELDING
    assert ask(made, "REDOUBT", "ROLE", "master", "4", "1", "FORCE-NEWEST") == OK
    assert made.cluster.role.phase == ASSIGNED
    assert made.cluster.topology.myself.config_epoch == 5


def test_a_replica_that_has_not_synced_takes_no_role_unless_it_is_the_newest() -> None:
    made = stage(REPLICA)
    assert code(ask(made, "REDOUBT", "ROLE", "master", "4", "1")) == b"NOTSYNCED"
    assert made.cluster.topology.myself.is_replica
    assert ask(made, "REDOUBT", "ROLE", "master", "4", "1", "FORCE-NEWEST") == OK
    assert made.cluster.topology.myself.slots == MY_SLOTS
    assert made.cluster.topology.nodes[COPY].slots == 0


def test_a_replica_follows_by_order_only_a_master_that_it_knows() -> None:
    made = stage(EMPTY)
    assert code(ask(made, "REDOUBT", "ROLE", "replica", "0", "1", "e" * 40)) == b"UNKNOWNNODE"
    assert code(ask(made, "REDOUBT", "ROLE", "replica", "0", "1", ME)) == b"UNKNOWNNODE"
    assert made.cluster.role.phase == AWAITING
    assert ask(made, "REDOUBT", "ROLE", "replica", "0", "1", THIRD) == OK
    myself = made.cluster.topology.myself
    assert (made.cluster.role.phase, myself.master) == (ASSIGNED, made.cluster.topology.nodes[THIRD])


def test_a_replica_of_a_replica_is_not_made_by_order() -> None:
    made = stage(MASTER)
    assert code(ask(made, "REDOUBT", "ROLE", "replica", "4", "1", COPY)) == b"UNKNOWNNODE"


def test_a_master_that_serves_slots_is_not_made_a_replica() -> None:
    made = stage(LONE)
    ask(made, "REDOUBT", "ROLE", "master", "4", "1")
    assert ask(made, "REDOUBT", "ROLE", "replica", "9", "1", THIRD) == ErrorReply(
        b"STALE this node serves 8192 slots"
    )
    assert made.cluster.topology.myself.is_master


def test_a_synced_replica_refuses_another_history_of_the_same_master_under_the_same_epoch() -> None:
    made = stage(REPLICA)
    role, replication = made.cluster.role, made.node.state.replication
    assert role.may_full_sync("1" * 40, "0" * 40), "a copy that never was complete has nothing to lose"
    replication.is_synced, replication.link_is_up, replication.replid = True, True, "1" * 40
    role.tick(made.now_ms)
    assert role.may_full_sync("1" * 40, "0" * 40)
    assert role.may_full_sync("2" * 40, "1" * 40), "the master continues what we have"
    assert not role.may_full_sync("2" * 40, "3" * 40), "it was restarted without its data"
    made.cluster.topology.nodes[COPY].config_epoch = 5
    assert role.may_full_sync("2" * 40, "3" * 40), "a new epoch may have a new history"
