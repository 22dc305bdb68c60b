"""Failure detection and the doubt of a master, seen from one node whose peers the test plays."""

from __future__ import annotations

import pytest

from redoubt.cluster import messages
from redoubt.cluster import topology as flag
from redoubt.cluster.messages import GossipEntry
from redoubt.resp.replies import ErrorReply, SimpleString
from tests.redoubt.cluster.peers import Peer, Stage

ME, SECOND, THIRD, COPY = "a" * 40, "b" * 40, "c" * 40, "d" * 40
FILE = (
    f"{ME} 10.0.0.1:6379@16379 myself,master - 0 0 1 connected 0-5500\n"
    f"{SECOND} 10.0.0.2:6379@16379 master - 0 1 2 connected 5501-10000\n"
    f"{THIRD} 10.0.0.3:6379@16379 master - 0 1 3 connected 10001-16383\n"
    f"{COPY} 10.0.0.4:6379@16379 slave {ME} 0 1 1 connected\n"
    "vars currentEpoch 3 lastVoteEpoch 0\n"
)
TIMEOUT_MS = 3000
DOWN = ErrorReply(b"CLUSTERDOWN The cluster is down")


def stage(*words: str) -> Stage:
    made = Stage(FILE, "--cluster-node-timeout", str(TIMEOUT_MS), *words)
    made.talk(300)
    return made


def report(reporter: Peer, node_id: str, flags: int) -> None:
    message = reporter.message(messages.PING)
    message.gossip = [GossipEntry(node_id, 0, 0, "10.0.0.2", 6379, 16379, flags)]
    reporter.say(message)


def test_a_refused_connection_is_a_suspicion_that_the_voters_hear_at_once() -> None:
    made = stage()
    third = made.peers[THIRD]
    third.got.clear()
    made.peers[SECOND].die()
    made.exchange()
    assert made.cluster.topology.nodes[SECOND].flags & flag.PFAIL
    assert [entry.node_id for entry in third.got[0].gossip if entry.flags & flag.PFAIL] == [SECOND]


def test_the_second_report_makes_the_majority_and_everybody_is_told() -> None:
    made = stage()
    made.peers[SECOND].die()
    made.exchange()
    report(made.peers[THIRD], SECOND, flag.MASTER | flag.PFAIL)
    assert made.cluster.topology.nodes[SECOND].is_failed
    for told in (THIRD, COPY):
        assert [message.about for message in made.peers[told].got if message.kind == messages.FAIL] == [
            SECOND
        ]


def test_reports_of_others_alone_fail_nobody_and_replicas_do_not_count() -> None:
    made = stage()
    report(made.peers[THIRD], SECOND, flag.MASTER | flag.PFAIL)
    assert not made.cluster.topology.nodes[SECOND].is_suspected
    made.peers[SECOND].die()
    report(made.peers[THIRD], SECOND, flag.MASTER)
    made.exchange()
    report(made.peers[COPY], SECOND, flag.MASTER | flag.PFAIL)
    assert not made.cluster.topology.nodes[SECOND].is_failed


def test_silence_takes_the_node_timeout() -> None:
    made = stage()
    made.peers[SECOND].answers = False
    made.talk(TIMEOUT_MS - 200)
    assert not made.cluster.topology.nodes[SECOND].is_suspected
    made.talk(TIMEOUT_MS)
    assert made.cluster.topology.nodes[SECOND].flags & flag.PFAIL


def test_without_the_directive_a_refusal_is_only_silence() -> None:
    made = stage("--cluster-refused-is-down", "no")
    made.peers[SECOND].die()
    made.talk(1000)
    assert not made.cluster.topology.nodes[SECOND].is_suspected


def test_another_id_at_a_known_address_makes_the_old_one_suspected_at_once() -> None:
    made = stage()
    made.peers[SECOND].node_id = "f" * 40
    made.talk(2000)
    old = made.cluster.topology.nodes[SECOND]
    assert old.flags & flag.PFAIL
    assert old.flags & flag.NOADDR
    assert "f" * 40 not in made.cluster.topology.nodes


def test_a_node_that_speaks_from_a_new_address_has_moved() -> None:
    made = stage()
    second = made.peers[SECOND]
    second.die()
    second.ip, second.listens = "10.0.9.9", True
    second.say(second.message(messages.PING))
    made.talk(300)
    moved = made.cluster.topology.nodes[SECOND]
    assert (moved.ip, moved.is_suspected) == ("10.0.9.9", False)
    assert b"10.0.9.9:6379" in made.files["nodes.conf"]


def test_an_answer_ends_the_failure_of_a_replica_but_not_of_a_master_that_can_be_replaced() -> None:
    made = stage()
    for node_id in (SECOND, COPY):
        message = made.peers[THIRD].message(messages.FAIL)
        message.about = node_id
        made.peers[THIRD].say(message)
    second = made.cluster.topology.nodes[SECOND]
    second.replicas.append(made.cluster.topology.nodes[COPY])
    made.talk(2000)
    assert not made.cluster.topology.nodes[COPY].is_failed
    assert second.is_failed
    made.talk(3 * TIMEOUT_MS)
    assert not second.is_failed


# A master's doubt.


def test_a_master_that_hears_no_majority_holds_writes_before_the_timeout_and_then_refuses_them() -> None:
    made = stage()
    client = made.connect()
    assert client.ask("SET", "bar", "1") == SimpleString(b"OK")
    for node_id in (SECOND, THIRD):
        made.peers[node_id].answers = False
    made.talk(TIMEOUT_MS * 2 // 3 + 200)
    client.send(b"SET bar 2\r\n")
    assert client.replies() == []
    assert made.connect().ask("GET", "bar") == b"1"
    made.talk(TIMEOUT_MS)
    assert client.replies() == [DOWN]


def test_held_writes_go_on_when_a_majority_has_answered_a_later_ping() -> None:
    made = stage()
    client = made.connect()
    for node_id in (SECOND, THIRD):
        made.peers[node_id].answers = False
    made.talk(TIMEOUT_MS * 2 // 3 + 200)
    client.send(b"SET bar 2\r\n")
    assert client.replies() == []
    made.peers[SECOND].answers = True
    made.talk(300)
    assert client.replies() == [SimpleString(b"OK")]


def test_a_frozen_master_takes_no_write_when_it_wakes_until_it_has_asked() -> None:
    made = stage()
    client = made.connect()
    made.now_ms += 10 * TIMEOUT_MS  # SIGSTOP: no tick, no message
    client.send(b"SET bar 2\r\n")
    assert client.replies() == []
    made.talk(300)
    assert client.replies() == [SimpleString(b"OK")]
    assert made.cluster.availability.is_ok


def test_an_answer_that_says_we_were_overtaken_does_not_count() -> None:
    made = stage()
    client = made.connect()
    made.now_ms += 10 * TIMEOUT_MS
    for node_id in (SECOND, THIRD):
        made.peers[node_id].mark_flags |= messages.MARK_STALE_CLAIM
    client.send(b"SET bar 2\r\n")
    made.talk(500)
    assert client.replies() == []
    update = made.peers[SECOND].message(messages.UPDATE)
    copy = made.peers[COPY]
    update.about, update.about_epoch, update.about_slots = COPY, 9, made.cluster.topology.myself.slots
    made.peers[SECOND].say(update)
    made.talk(100)
    assert client.replies() == [ErrorReply(b"MOVED 5061 10.0.0.4:6379")]
    assert made.cluster.topology.myself.master is made.cluster.topology.nodes[copy.node_id]


def test_two_peers_refusing_at_once_are_a_lost_majority() -> None:
    made = stage()
    client = made.connect()
    made.peers[SECOND].die()
    made.peers[THIRD].die()
    made.exchange()
    assert client.ask("SET", "bar", "1") == DOWN


def test_we_tell_a_master_that_its_claim_is_overtaken() -> None:
    made = stage()
    copy = made.peers[COPY]
    copy.master_id, copy.slots, copy.config_epoch = "", made.peers[SECOND].slots, 7
    copy.say(copy.message(messages.PING))
    second = made.peers[SECOND]
    second.got.clear()
    own = second.message(messages.PING)
    second.say(own)
    made.exchange()
    updates = [message for message in second.got if message.kind == messages.UPDATE]
    assert [(message.about, message.about_epoch) for message in updates][:1] == [(COPY, 7)]


@pytest.mark.parametrize("jump_ms", [2 * TIMEOUT_MS, 3_600_000])
def test_a_jump_of_the_clock_fails_nobody(jump_ms: int) -> None:
    made = stage()
    for peer in made.peers.values():
        peer.got.clear()
    made.now_ms += jump_ms
    made.node.tick(made.now_ms)
    made.talk(TIMEOUT_MS)
    assert [node.node_id for node in made.cluster.topology.nodes.values() if node.is_suspected] == []
    assert [message.kind for peer in made.peers.values() for message in peer.got].count(messages.FAIL) == 0
    assert made.connect().ask("SET", "{b}", "1") != DOWN
    made.peers[SECOND].answers = False
    made.talk(3 * TIMEOUT_MS)
    assert made.cluster.topology.nodes[SECOND].flags & flag.PFAIL, "failures are noticed by the new clock"
