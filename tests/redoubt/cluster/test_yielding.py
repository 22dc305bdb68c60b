"""A restarted master in managed mode: to whom it gives way, and when it serves again by itself."""

from __future__ import annotations

from redoubt.cluster import messages
from redoubt.cluster.role import ASSIGNED, RESUMING, YIELDING
from tests.redoubt.cluster.peers import Peer, Stage

ME, COPY, THIRD, FOURTH = "a" * 40, "b" * 40, "c" * 40, "d" * 40
MASTERS = (
    f"{ME} 10.0.0.1:6379@16379 myself,master - 0 0 4 connected 0-5000\n"
    f"{THIRD} 10.0.0.3:6379@16379 master - 0 1 2 connected 5001-10000\n"
    f"{FOURTH} 10.0.0.4:6379@16379 master - 0 1 3 connected 10001-16383\n"
)
EPOCHS = "vars currentEpoch 4 lastVoteEpoch 0\n"
FILE = MASTERS + f"{COPY} 10.0.0.2:6379@16379 slave {ME} 0 1 4 connected\n" + EPOCHS


def yielding() -> Stage:
    made = Stage(FILE, "--await-role", "yes")
    made.talk(300)
    assert made.cluster.role.phase == YIELDING
    return made


def claim(peer: Peer, slots: int, epoch: int) -> None:
    """Have a peer answer the next pings as a master with these slots."""
    peer.master_id, peer.slots, peer.config_epoch, peer.current_epoch = "", slots, epoch, epoch
    peer.stage.talk(300)


def test_a_restarted_master_follows_who_has_taken_its_slots() -> None:
    made = yielding()
    claim(made.peers[COPY], 0b11, 5)
    myself = made.cluster.topology.myself
    assert myself.master is not None
    assert (made.cluster.role.phase, myself.master.node_id) == (ASSIGNED, COPY)


def test_a_claim_under_its_own_epoch_is_no_succession() -> None:
    made = yielding()
    claim(made.peers[COPY], 0b11, 4)
    assert made.cluster.role.phase == YIELDING


def test_a_master_with_other_slots_is_no_successor() -> None:
    made = yielding()
    claim(made.peers[THIRD], made.peers[THIRD].slots, 9)
    assert made.cluster.role.phase == YIELDING


def test_every_node_is_told_of_the_failure_with_the_first_words() -> None:
    made = yielding()
    for peer in made.peers.values():
        kinds = peer.got_kinds()[:2]
        assert kinds == [messages.PING, messages.FAIL]
        assert peer.got[1].about == ME


def test_a_lone_master_does_not_resume_on_its_own_word() -> None:
    made = Stage(MASTERS + EPOCHS, "--await-role", "yes")
    made.talk(2_000)
    assert made.cluster.role.phase == RESUMING
    assert made.cluster.role.needs() == "confirmation of its slots: 1 of 3 masters answered, 2 needed"
