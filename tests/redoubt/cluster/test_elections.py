"""A candidate among peers that the test plays: who asks first, how often, of whom, and what it then takes."""

from __future__ import annotations

from redoubt.cluster import messages
from redoubt.resp.replies import ErrorReply, SimpleString
from tests.redoubt.cluster.peers import Peer, Stage

ME, MASTER, SECOND, THIRD, SIBLING = "a" * 40, "b" * 40, "c" * 40, "d" * 40, "e" * 40
FILE = (
    f"{ME} 10.0.0.1:6379@16379 myself,slave {MASTER} 0 0 1 connected\n"
    f"{MASTER} 10.0.0.2:6379@16379 master - 0 1 1 connected 0-5500\n"
    f"{SECOND} 10.0.0.3:6379@16379 master - 0 1 2 connected 5501-10000\n"
    f"{THIRD} 10.0.0.4:6379@16379 master - 0 1 3 connected 10001-16383\n"
    "vars currentEpoch 3 lastVoteEpoch 0\n"
)
WITH_SIBLING = FILE.replace("vars", f"{SIBLING} 10.0.0.5:6379@16379 slave {MASTER} 0 1 1 connected\nvars")


def stage(text: str = FILE, *words: str) -> Stage:
    made = Stage(text, "--cluster-node-timeout", "3000", *words)
    made.talk(300)
    for peer in made.peers.values():
        peer.got.clear()
    return made


def fail(made: Stage) -> None:
    """Let the master die and the majority say so."""
    made.peers[MASTER].die()
    message = made.peers[SECOND].message(messages.FAIL)
    message.about = MASTER
    made.peers[SECOND].say(message)


def requests(voter: Peer) -> list[messages.Message]:
    return [message for message in voter.got if message.kind == messages.AUTH_REQUEST]


def vote(voter: Peer, epoch: int) -> None:
    message = voter.message(messages.AUTH_ACK)
    message.current_epoch = epoch
    voter.say(message)


def test_a_lone_replica_asks_in_the_moment_it_learns_of_the_failure() -> None:
    made = stage()
    fail(made)
    (request,) = requests(made.peers[SECOND])
    assert (request.current_epoch, request.config_epoch, request.mflags) == (4, 1, 0)
    assert request.slots == made.peers[MASTER].slots
    assert b"vars currentEpoch 4" in made.files["nodes.conf"]


def test_the_majority_promotes_and_everybody_is_told() -> None:
    made = stage()
    fail(made)
    vote(made.peers[SECOND], 4)
    myself = made.cluster.topology.myself
    assert myself.is_replica
    vote(made.peers[SECOND], 4)  # the same voter does not count twice
    assert myself.is_replica
    vote(made.peers[THIRD], 4)
    assert (myself.is_master, myself.config_epoch, myself.slots) == (True, 4, made.peers[MASTER].slots)
    told = made.peers[SECOND].got[-1]
    assert (told.kind, told.config_epoch, told.slots) == (messages.PONG, 4, myself.slots)
    assert made.connect().ask("SET", "bar", "1") == SimpleString(b"OK")


def test_votes_of_older_epochs_and_of_replicas_do_not_count() -> None:
    made = stage(WITH_SIBLING)
    made.peers[SIBLING].answers = False
    fail(made)
    made.talk(150)
    vote(made.peers[SECOND], 3)
    vote(made.peers[SIBLING], 4)
    vote(made.peers[THIRD], 4)
    assert made.cluster.topology.myself.is_replica


def test_the_request_is_repeated_to_whoever_has_not_answered_in_the_same_epoch() -> None:
    made = stage()
    fail(made)
    vote(made.peers[SECOND], 4)
    made.talk(350)
    assert [request.current_epoch for request in requests(made.peers[SECOND])] == [4]
    assert [request.current_epoch for request in requests(made.peers[THIRD])] == [4, 4, 4, 4]


def test_without_a_majority_a_new_epoch_begins_after_half_a_second() -> None:
    made = stage()
    fail(made)
    made.talk(1100)
    epochs = {request.current_epoch for request in requests(made.peers[THIRD])}
    assert epochs == {4, 5, 6}


def ask_for_itself(rival: Peer, epoch: int) -> None:
    message = rival.message(messages.AUTH_REQUEST)
    message.current_epoch = epoch
    rival.say(message)


def epochs_asked(made: Stage) -> set[int]:
    return {request.current_epoch for request in requests(made.peers[THIRD])}


def test_who_shares_an_epoch_with_a_rival_asks_again_in_the_next_one_soon() -> None:
    """Two shards that change their masters at once: half a second is not lost, and they take turns."""
    made = stage(
        WITH_SIBLING.replace(f"slave {MASTER} 0 1 1 connected\nvars", f"slave {SECOND} 0 1 2 connected\nvars")
    )
    fail(made)
    ask_for_itself(made.peers[SIBLING], 3)  # an epoch that is over troubles nobody
    made.talk(200)
    assert epochs_asked(made) == {4}
    ask_for_itself(made.peers[SIBLING], 4)
    made.talk(50)
    assert epochs_asked(made) == {4, 5}
    made.talk(400)  # it is alone in that one
    assert epochs_asked(made) == {4, 5}


def test_the_rival_with_the_smaller_id_goes_first() -> None:
    first = "0" * 40
    made = stage(FILE.replace("vars", f"{first} 10.0.0.5:6379@16379 slave {SECOND} 0 1 2 connected\nvars"))
    fail(made)
    ask_for_itself(made.peers[first], 4)
    made.talk(60)
    assert epochs_asked(made) == {4}
    made.talk(60)
    assert epochs_asked(made) == {4, 5}


def test_with_real_redis_voters_the_epoch_lasts_as_long_as_theirs() -> None:
    made = stage()
    for peer in made.peers.values():
        peer.is_redoubt = False
    made.talk(2000)
    fail(made)
    made.talk(3000)
    assert {request.current_epoch for request in requests(made.peers[THIRD])} == {4}


def test_the_sibling_with_newer_data_goes_first() -> None:
    made = stage(WITH_SIBLING)
    made.peers[SIBLING].offset = 100
    fail(made)
    made.talk(400)
    assert requests(made.peers[SECOND]) == []
    made.talk(200)
    assert len({request.current_epoch for request in requests(made.peers[SECOND])}) == 1


def test_a_sibling_with_older_data_or_a_silent_or_leaving_one_delays_little() -> None:
    for change in ("older", "silent", "leaving"):
        made = stage(WITH_SIBLING)
        sibling = made.peers[SIBLING]
        made.cluster.state.replication.offset = 50
        sibling.offset = 10 if change == "older" else 100
        sibling.answers = change != "silent"
        if change == "leaving":
            sibling.mark_flags |= messages.MARK_TERMINATING
        made.cluster.topology.nodes[SIBLING].offset = sibling.offset
        fail(made)
        made.talk(110)
        assert len(requests(made.peers[SECOND])) >= 1, change


def test_old_data_and_the_directive_forbid_an_election() -> None:
    made = stage(FILE, "--cluster-replica-validity-factor", "1", "--repl-ping-replica-period", "1")
    made.talk(20_000)  # never linked to its master
    fail(made)
    made.talk(500)
    assert requests(made.peers[SECOND]) == []
    assert "validity" in made.cluster.election.refusal
    made = stage(FILE, "--cluster-replica-no-failover", "yes")
    fail(made)
    made.talk(500)
    assert requests(made.peers[SECOND]) == []
    assert made.connect().ask("CLUSTER", "FAILOVER", "FORCE") == SimpleString(b"OK")
    assert len(requests(made.peers[SECOND])) == 1


def test_force_joins_the_election_under_way_in_its_epoch() -> None:
    made = stage()
    fail(made)
    assert made.connect().ask("CLUSTER", "FAILOVER", "FORCE") == SimpleString(b"OK")
    found = requests(made.peers[THIRD])
    assert [(request.current_epoch, request.mflags) for request in found] == [(4, 0), (4, messages.FORCE_ACK)]


def test_takeover_asks_nobody() -> None:
    made = stage()
    assert made.connect().ask("CLUSTER", "FAILOVER", "TAKEOVER") == SimpleString(b"OK")
    myself = made.cluster.topology.myself
    assert (myself.is_master, myself.config_epoch) == (True, 4)
    assert requests(made.peers[SECOND]) == []


# Planned failovers.


def paused(master: Peer, offset: int, mark_flags: int = 0) -> messages.Message:
    message = master.message(messages.PING)
    message.mflags = messages.MASTER_PAUSED
    message.offset = offset
    message.mark_flags |= mark_flags
    return message


def test_a_planned_failover_waits_for_the_last_byte_of_the_master() -> None:
    made = stage()
    master = made.peers[MASTER]
    assert made.connect().ask("CLUSTER", "FAILOVER") == SimpleString(b"OK")
    assert messages.MFSTART in master.got_kinds()
    master.say(paused(master, 70))
    assert requests(made.peers[SECOND]) == []
    made.cluster.state.replication.offset = 70
    made.advance(20)
    (request,) = requests(made.peers[SECOND])
    assert request.mflags == messages.FORCE_ACK


def test_the_order_of_a_leaving_master_begins_the_same_without_being_asked() -> None:
    made = stage()
    master = made.peers[MASTER]
    made.cluster.state.replication.offset = 70
    master.offset = 70
    master.holds_writes = True
    master.say(paused(master, 70))
    made.exchange()
    assert requests(made.peers[SECOND]) == []
    master.say(paused(master, 70, messages.MARK_SUCCEED))
    assert requests(made.peers[SECOND]) == []  # it may be an old order: the master is asked first
    made.exchange()
    assert len(requests(made.peers[SECOND])) == 1


def test_an_order_from_the_past_is_not_obeyed() -> None:
    made = stage()
    master = made.peers[MASTER]
    made.cluster.state.replication.offset = 70
    master.offset = 90  # it takes writes again
    master.say(paused(master, 70, messages.MARK_SUCCEED))
    made.exchange()
    assert requests(made.peers[SECOND]) == []
    assert not made.cluster.handover.is_under_way


def test_a_planned_failover_is_given_up_after_five_seconds() -> None:
    made = stage()
    assert made.connect().ask("CLUSTER", "FAILOVER") == SimpleString(b"OK")
    made.talk(5100)
    made.cluster.state.replication.offset = 70
    made.peers[MASTER].say(paused(made.peers[MASTER], 70))
    assert requests(made.peers[SECOND]) == []


def test_the_master_holds_writes_while_it_stands_by_and_gives_up_in_time() -> None:
    text = FILE.replace("myself,slave", "slave").replace(" master - 0 1 1", " myself,master - 0 1 1")
    made = stage(text)
    client = made.connect()
    replica = made.peers[ME]
    replica.say(replica.message(messages.MFSTART))
    told = replica.got[-1]
    assert (told.kind, told.mflags & messages.MASTER_PAUSED) == (messages.PING, messages.MASTER_PAUSED)
    client.send(b"SET bar 1\r\n")
    assert client.replies() == []
    made.talk(5100)
    assert client.replies() == [SimpleString(b"OK")]


def test_held_writes_are_moved_when_the_replica_has_taken_over() -> None:
    text = FILE.replace("myself,slave", "slave").replace(" master - 0 1 1", " myself,master - 0 1 1")
    made = stage(text)
    client = made.connect()
    replica = made.peers[ME]
    replica.say(replica.message(messages.MFSTART))
    client.send(b"SET bar 1\r\n")
    replica.master_id, replica.config_epoch = "", 9
    replica.slots = made.cluster.topology.myself.slots
    replica.say(replica.message(messages.PONG))
    assert client.replies() == [ErrorReply(b"MOVED 5061 10.0.0.1:6379")]
    assert made.cluster.topology.myself.master is made.cluster.topology.nodes[ME]


def test_a_stranger_cannot_make_a_master_stand_by() -> None:
    text = FILE.replace("myself,slave", "slave").replace(" master - 0 1 1", " myself,master - 0 1 1")
    made = stage(text)
    second = made.peers[SECOND]
    second.say(second.message(messages.MFSTART))
    assert made.connect().ask("SET", "bar", "1") == SimpleString(b"OK")


def test_the_history_stands_still_while_a_replica_waits_for_its_end() -> None:
    text = FILE.replace("myself,slave", "slave").replace(" master - 0 1 1", " myself,master - 0 1 1")
    made = stage(text)
    replica = made.peers[ME]
    assert not made.cluster.holds_history()
    replica.say(replica.message(messages.MFSTART))
    assert made.cluster.holds_history()
    made.talk(5100)
    assert not made.cluster.holds_history()
