"""What a master promises and a replica refuses: gates, WAIT, limits, and the order of what is sent."""

import pytest

from redoubt import info, metrics
from redoubt.resp.replies import ErrorReply, SimpleString, encode_command
from tests.redoubt.replication.network import Network, follow, replication_of

OK = SimpleString(b"OK")


def pair(*words):
    network = Network()
    master, replica = network.add(1, *words), network.add(2, *words)
    follow(network, replica, 1)
    return network, master, replica


def fields(node, section="replication"):
    return {name: str(value) for name, value in info.collect(node.node.state, section)}


def test_a_replica_takes_no_writes_of_clients_unless_told_to():
    network, _, replica = pair()
    client = replica.connect()
    refusal = ErrorReply(b"READONLY You can't write against a read only replica.")
    assert client.ask("SET", "a", "1") == refusal
    assert client.ask("CONFIG", "SET", "replica-read-only", "no") == OK
    network.run(100)
    offset = replication_of(replica).offset
    assert client.ask("SET", "a", "1") == OK
    assert replication_of(replica).offset == offset


def test_a_replica_without_its_master_may_refuse_to_answer_from_old_data():
    network, master, replica = pair("--replica-serve-stale-data", "no")
    master.connect().ask("SET", "a", "1")
    network.settle()
    client = replica.connect()
    assert client.ask("GET", "a") == b"1"
    network.kill(1)
    assert client.ask("GET", "a") == ErrorReply(
        b"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
    )
    assert client.ask("PING") != OK


def test_writes_need_enough_good_replicas():
    network = Network()
    master = network.add(1, "--min-replicas-to-write", "1", "--min-replicas-max-lag", "10")
    client = master.connect()
    refusal = ErrorReply(b"NOREPLICAS Not enough good replicas to write.")
    master.advance(100)
    assert client.ask("SET", "a", "1") == refusal
    replica = network.add(2)
    follow(network, replica, 1)
    assert client.ask("SET", "a", "1") == OK
    assert fields(master)["min_slaves_good_slaves"] == "1"
    network.cables[0].is_stuck = True
    master.advance(9_000)
    assert client.ask("SET", "a", "1") == OK
    master.advance(3_000)
    assert client.ask("SET", "a", "1") == refusal
    assert client.ask("GET", "a") == b"1"


def test_wait_counts_acknowledgements_of_what_was_written_before():
    network, master, _ = pair()
    client = master.connect()
    client.ask("SET", "a", "1")
    client.send(encode_command([b"WAIT", b"1", b"1000"]))
    assert client.replies() == []
    network.settle()
    assert client.replies() == [1]
    assert client.ask("WAIT", "0", "0") == 1


def test_wait_ends_at_its_timeout_with_what_there_is():
    network, master, _ = pair()
    client = master.connect()
    network.cables[0].is_stuck = True
    client.ask("SET", "a", "1")
    client.send(encode_command([b"WAIT", b"1", b"300"]))
    master.advance(290)
    assert client.replies() == []
    master.advance(20)
    assert client.replies() == [0]
    assert replication_of(master).master.waiters == []


def test_wait_of_a_client_that_leaves_is_forgotten():
    network, master, _ = pair()
    client = master.connect()
    network.cables[0].is_stuck = True
    client.ask("SET", "a", "1")
    client.send(encode_command([b"WAIT", b"1", b"0"]))
    client.close()
    assert replication_of(master).master.waiters == []


def test_wait_is_ended_when_the_master_becomes_a_replica():
    network, master, _ = pair()
    network.add(3)
    client = master.connect()
    network.cables[0].is_stuck = True
    client.ask("SET", "a", "1")
    client.send(encode_command([b"WAIT", b"1", b"0"]))
    master.connect().ask("REPLICAOF", "127.0.0.1", 3)
    (reply,) = client.replies()
    assert isinstance(reply, ErrorReply)
    assert reply.text.startswith(b"UNBLOCKED force unblock")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("WAIT", "x", "0"), b"ERR value is not an integer or out of range"),
        (("WAIT", "1", "-1"), b"ERR timeout is negative"),
        (("WAIT", "1", "x"), b"ERR timeout is not an integer or out of range"),
        (("REPLICAOF", "host", "x"), b"ERR Invalid master port"),
        (("REPLICAOF", "host", "70000"), b"ERR Invalid master port"),
        (("REPLCONF", "listening-port"), b"ERR syntax error"),
        (("REPLCONF", "what", "x"), b"ERR Unrecognized REPLCONF option: what"),
        (("PSYNC", "?", "x"), b"ERR value is not an integer or out of range"),
    ],
)
def test_wrong_arguments_are_refused_with_the_texts_of_redis(words, text):
    assert Network().add(1).connect().ask(*words) == ErrorReply(text)


def test_wait_and_psync_are_refused_by_a_replica_that_cannot():
    network, _, replica = pair()
    assert replica.connect().ask("WAIT", "1", "1").text.startswith(b"ERR WAIT cannot be used with replica")
    network.kill(1)
    assert replica.connect().ask("PSYNC", "?", "-1") == ErrorReply(
        b"NOMASTERLINK Can't SYNC while not connected with my master"
    )


def test_history_of_one_turn_is_one_chunk_for_all():
    network, master, _ = pair()
    replication = replication_of(master)
    assert replication.backlog is not None
    before = replication.backlog.offset
    client = master.connect()
    client.send(b"".join(encode_command([b"SET", b"k%d" % i, b"v"]) for i in range(10)))
    chunk = replication.backlog.since(before + 1)
    assert len(chunk) == 1
    assert chunk[0].count(b"SET") == 10
    assert network.cables[0].ends[1][1].received == chunk[0]


def test_unsent_history_is_counted_and_holds_replies_where_replicas_are_promised():
    network, master, _ = pair("--min-replicas-to-write", "1")
    replication = replication_of(master)
    assert not replication.holds_replies()
    end = network.cables[0].ends[1][1]
    end.reads = False
    master.connect().ask("SET", "a", "x" * 1000)
    assert replication.unsent_bytes() > 1000
    assert replication.holds_replies()
    assert replication.next_tick_ms() == master.now_ms + 1
    families = {
        s.family.name: s.value for collect, _ in metrics._COLLECTORS for s in collect(master.node.state)
    }
    assert families["redoubt_unsent_replica_bytes"] == replication.unsent_bytes()
    end.read_again()
    assert not replication.holds_replies()


def test_unsent_history_alone_holds_nothing():
    network, master, _ = pair()
    network.cables[0].ends[1][1].reads = False
    master.connect().ask("SET", "a", "x" * 1000)
    assert replication_of(master).unsent_bytes() > 1000
    assert not replication_of(master).holds_replies()


def test_a_silent_replica_is_dropped():
    network, master, _ = pair("--repl-timeout", "5")
    network.cables[0].is_stuck = True
    master.advance(4_000)
    assert replication_of(master).replica_count() == 1
    master.advance(3_000)
    assert replication_of(master).replica_count() == 0


def test_a_master_pings_its_replicas():
    network, master, replica = pair("--repl-ping-replica-period", "2", "--repl-timeout", "5")
    before = replication_of(master).offset
    network.run(10_000)
    assert replication_of(replica).link_is_up
    pings = (replication_of(master).offset - before) / len(encode_command([b"PING"]))
    assert 4 <= pings <= 6


def test_info_and_role_speak_as_redis():
    network, master, replica = pair("--replica-announce-port", "7777", "--replica-announce-ip", "10.0.0.9")
    network.run(1100)
    offset = replication_of(master).offset
    ours = fields(master)
    assert ours["role"] == "master"
    assert ours["slave0"] == f"ip=10.0.0.9,port=7777,state=online,offset={offset},lag=0"
    theirs = fields(replica)
    assert theirs["role"] == "slave"
    assert theirs["master_link_status"] == "up"
    assert theirs["master_replid"] == ours["master_replid"]
    assert master.connect().ask("ROLE") == [b"master", offset, [[b"10.0.0.9", b"7777", b"%d" % offset]]]
    assert replica.connect().ask("ROLE") == [b"slave", b"127.0.0.1", 1, b"connected", offset]
    network.kill(1)
    network.run(2000)
    assert fields(replica)["master_link_status"] == "down"
    assert fields(replica)["master_link_down_since_seconds"] == "2"
    assert replica.connect().ask("ROLE") == [b"slave", b"127.0.0.1", 1, b"connect", -1]


def test_replicaof_twice_changes_nothing():
    network, _, replica = pair()
    reply = replica.connect().ask("REPLICAOF", "127.0.0.1", 1)
    assert reply == SimpleString(b"OK Already connected to specified master")
    assert replica.connect().ask("REPLICAOF", "no", "one") == OK
    assert replica.connect().ask("REPLICAOF", "no", "one") == OK
    assert not replication_of(replica).is_replica
    network.run(100)


def test_an_expired_key_leaves_the_history_as_a_deletion():
    network, master, replica = pair()
    client = master.connect()
    client.ask("SET", "a", "1", "PX", "500")
    network.run(600)
    assert client.ask("GET", "a") is None
    network.settle()
    assert replica.node.state.keyspaces[0].get(b"a") is None


def test_replicas_are_written_before_clients():
    _, master, _ = pair()
    client = master.connect()
    written = []
    flush = master.flush

    def note(link):
        written.append("client" if link is client.link else "replica")
        flush(link)

    master.flush = note
    client.ask("SET", "a", "1")
    assert written == ["replica", "client"]
