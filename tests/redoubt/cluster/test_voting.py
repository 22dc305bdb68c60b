"""Votes: one for each epoch, durable before they leave, repeated to whom they were given."""

from __future__ import annotations

from redoubt.cluster import messages
from redoubt.cluster.messages import Message
from tests.redoubt.cluster.peers import Peer, Stage

ME, FAILED, THIRD, COPY, RIVAL = "a" * 40, "b" * 40, "c" * 40, "d" * 40, "e" * 40
FILE = (
    f"{ME} 10.0.0.1:6379@16379 myself,master - 0 0 1 connected 0-5000\n"
    f"{FAILED} 10.0.0.2:6379@16379 master - 0 1 2 connected 5001-10000\n"
    f"{THIRD} 10.0.0.3:6379@16379 master - 0 1 3 connected 10001-16383\n"
    f"{COPY} 10.0.0.4:6379@16379 slave {FAILED} 0 1 2 connected\n"
    f"{RIVAL} 10.0.0.5:6379@16379 slave {FAILED} 0 1 2 connected\n"
    "vars currentEpoch 3 lastVoteEpoch 0\n"
)


def stage() -> Stage:
    """A voter whose peers have all answered; then the master FAILED has died and the majority knows."""
    made = Stage(FILE)
    made.talk(300)
    fail(made)
    return made


def fail(made: Stage) -> None:
    message = made.peers[THIRD].message(messages.FAIL)
    message.about = FAILED
    made.peers[THIRD].say(message)


def request(candidate: Peer, epoch: int) -> Message:
    message = candidate.message(messages.AUTH_REQUEST)
    message.current_epoch = epoch
    message.slots = candidate.stage.peers[FAILED].slots
    message.config_epoch = 2
    return message


def votes(candidate: Peer) -> int:
    return candidate.got_kinds().count(messages.AUTH_ACK)


def test_a_replica_of_a_failed_master_gets_the_vote_and_the_file_remembers_it() -> None:
    made = stage()
    copy = made.peers[COPY]
    copy.say(request(copy, 4))
    assert votes(copy) == 1
    assert b"vars currentEpoch 4 lastVoteEpoch 4" in made.files["nodes.conf"]


def test_a_vote_that_cannot_be_remembered_does_not_leave() -> None:
    made = stage()
    copy = made.peers[COPY]
    made.disk_error = "No space left on device"
    copy.say(request(copy, 4))
    assert votes(copy) == 0
    assert made.exit_code == 1


def test_a_rival_gets_no_second_vote_in_the_same_epoch() -> None:
    made = stage()
    copy, rival = made.peers[COPY], made.peers[RIVAL]
    copy.say(request(copy, 4))
    rival.say(request(rival, 4))
    assert (votes(copy), votes(rival)) == (1, 0)
    assert made.cluster.voter.refusal == "already voted in this epoch"


def test_a_rival_waits_half_a_second_and_the_same_candidate_does_not() -> None:
    made = stage()
    copy, rival = made.peers[COPY], made.peers[RIVAL]
    copy.say(request(copy, 4))
    rival.say(request(rival, 5))
    assert votes(rival) == 0
    copy.say(request(copy, 6))
    assert votes(copy) == 2
    made.talk(500)
    rival.say(request(rival, 7))
    assert votes(rival) == 1


def test_a_real_redis_waits_two_node_timeouts_as_it_does_itself() -> None:
    made = stage()
    copy = made.peers[COPY]
    copy.is_redoubt = False
    copy.say(request(copy, 4))
    copy.say(request(copy, 5))
    assert votes(copy) == 1
    made.peers[FAILED].die()
    made.talk(30_001)
    copy.say(request(copy, 6))
    assert votes(copy) == 2


def test_the_vote_is_repeated_to_a_redoubt_node_that_asks_again() -> None:
    made = stage()
    copy = made.peers[COPY]
    copy.say(request(copy, 4))
    copy.say(request(copy, 4))
    assert votes(copy) == 2
    copy.is_redoubt = False  # a real Redis would count the second packet as a second voter
    copy.say(request(copy, 4))
    assert votes(copy) == 2


def test_a_request_that_comes_before_the_failure_is_answered_with_it() -> None:
    made = Stage(FILE)
    made.talk(300)
    copy = made.peers[COPY]
    copy.say(request(copy, 4))
    assert votes(copy) == 0
    fail(made)
    assert votes(copy) == 1


def test_force_needs_no_failure() -> None:
    made = Stage(FILE)
    made.talk(300)
    copy = made.peers[COPY]
    forced = request(copy, 4)
    forced.mflags = messages.FORCE_ACK
    copy.say(forced)
    assert votes(copy) == 1


def test_old_epochs_old_claims_and_leaving_candidates_are_refused() -> None:
    made = stage()
    copy = made.peers[COPY]
    copy.say(request(copy, 2))
    assert made.cluster.voter.refusal == "its epoch is over"
    stale = request(copy, 4)
    stale.slots |= made.peers[THIRD].slots
    copy.say(stale)
    assert made.cluster.voter.refusal == "a claimed slot has an owner under a higher epoch"
    leaving = request(copy, 5)
    leaving.mark_flags |= messages.MARK_TERMINATING
    copy.say(leaving)
    assert made.cluster.voter.refusal == "the candidate is about to exit"
    assert votes(copy) == 0


def test_nobody_is_elected_in_an_epoch_that_somebody_else_has() -> None:
    made = stage()
    copy, third = made.peers[COPY], made.peers[THIRD]
    third.config_epoch = third.current_epoch = 5  # elected, or moved there by itself
    third.say(third.message(messages.PING))
    copy.say(request(copy, 5))
    assert made.cluster.voter.refusal == "somebody was elected in this epoch already"
    assert votes(copy) == 0
    copy.say(request(copy, 6))
    assert votes(copy) == 1


def test_a_later_claim_of_the_dead_master_is_the_candidates_inheritance() -> None:
    made = Stage(FILE)
    made.talk(300)
    copy, dead = made.peers[COPY], made.peers[FAILED]
    dead.config_epoch = dead.current_epoch = 5  # its replica has not heard of this claim
    dead.say(dead.message(messages.PING))
    fail(made)
    copy.say(request(copy, 6))
    kinds = [kind for kind in copy.got_kinds() if kind in (messages.UPDATE, messages.AUTH_ACK)]
    assert kinds == [messages.UPDATE, messages.AUTH_ACK]


def test_strangers_are_neither_answered_nor_believed() -> None:
    made = Stage(FILE)
    made.talk(300)
    third = made.peers[THIRD]
    third.node_id = "f" * 40
    about = third.message(messages.FAIL)
    about.about = FAILED
    third.say(about)
    update = third.message(messages.UPDATE)
    update.about, update.about_epoch, update.about_slots = THIRD, 99, 1
    third.say(update)
    assert not made.cluster.topology.nodes[FAILED].is_failed
    assert made.cluster.topology.current_epoch == 3
