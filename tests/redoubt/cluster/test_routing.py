"""Routing on one node without a process: redirections, slots on the move, states, and CLUSTER's texts."""

from __future__ import annotations

import pytest

from redoubt import metrics
from redoubt.cluster.routing import HELD_WRITES
from redoubt.resp.replies import ErrorReply, Reply, SimpleString
from tests.redoubt.cluster.peers import Stage
from tests.redoubt.harness import Client, Harness

ME, OTHER, COPY = "a" * 40, "b" * 40, "c" * 40
HALF = (
    f"{ME} 10.0.0.1:6379@16379,,shard-id={ME} myself,master - 0 0 1 connected 0-8191\n"
    f"{OTHER} 10.0.0.2:6379@16379,,shard-id={OTHER} master - 0 1 2 connected 8192-16383\n"
    f"{COPY} 10.0.0.3:6379@16379,,shard-id={ME} slave {ME} 0 1 1 connected\n"
    "vars currentEpoch 2 lastVoteEpoch 0\n"
)
ALONE = (
    f"{ME} 10.0.0.1:6379@16379 myself,master - 0 0 1 connected 0-16383\nvars currentEpoch 1 lastVoteEpoch 0\n"
)
# Slots: bar 5061, hello 866 (ours in HALF); foo 12182 (the other's).


def node(text: str, *words: str) -> Client:
    """A client of a node whose peers answer, after they have talked a while."""
    stage = Stage(text, *words)
    stage.talk(300)
    return stage.connect()


def text_of(reply: Reply) -> bytes:
    assert isinstance(reply, bytes)
    return reply


def test_a_lone_node_with_all_slots_serves_at_once() -> None:
    client = node(ALONE)
    assert client.ask("SET", "foo", "1") == SimpleString(b"OK")
    assert client.ask("GET", "foo") == b"1"


def test_a_key_of_another_node_is_moved_and_keys_of_different_slots_are_refused() -> None:
    client = node(HALF)
    assert client.ask("SET", "bar", "1") == SimpleString(b"OK")
    assert client.ask("GET", "foo") == ErrorReply(b"MOVED 12182 10.0.0.2:6379")
    assert client.ask("MGET", "bar", "hello") == ErrorReply(
        b"CROSSSLOT Keys in request don't hash to the same slot"
    )
    assert client.ask("MGET", "{bar}1", "{bar}2") == [None, None]
    assert client.ask("PING") == SimpleString(b"PONG")


def test_redirections_name_the_host_or_nothing_as_configured() -> None:
    for kind, shown in ((b"hostname", b"two.example.com"), (b"unknown-endpoint", b"")):
        stage = Stage(HALF)
        stage.peers[OTHER].hostname = "two.example.com"
        stage.talk(300)
        client = stage.connect()
        assert client.ask("CONFIG", "SET", "cluster-preferred-endpoint-type", kind) == SimpleString(b"OK")
        assert client.ask("GET", "foo") == ErrorReply(b"MOVED 12182 %s:6379" % shown)


def test_a_leaving_slot_serves_what_is_still_here_and_asks_for_the_rest() -> None:
    client = node(HALF)
    client.ask("SET", "{bar}1", "here")
    assert client.ask("CLUSTER", "SETSLOT", 5061, "MIGRATING", OTHER) == SimpleString(b"OK")
    assert client.ask("GET", "{bar}1") == b"here"
    assert client.ask("GET", "{bar}2") == ErrorReply(b"ASK 5061 10.0.0.2:6379")
    assert client.ask("MGET", "{bar}1", "{bar}2") == ErrorReply(
        b"TRYAGAIN Multiple keys request during rehashing of slot"
    )
    assert client.ask("CLUSTER", "SETSLOT", 5061, "NODE", OTHER) == ErrorReply(
        b"ERR Can't assign hashslot 5061 to a different node while I still hold keys for this hash slot."
    )
    client.ask("DEL", "{bar}1")
    assert client.ask("CLUSTER", "SETSLOT", 5061, "NODE", OTHER) == SimpleString(b"OK")
    assert client.ask("GET", "{bar}1") == ErrorReply(b"MOVED 5061 10.0.0.2:6379")


def test_an_arriving_slot_serves_only_those_who_were_sent_and_then_takes_a_new_epoch() -> None:
    client = node(HALF)
    assert client.ask("CLUSTER", "SETSLOT", 12182, "IMPORTING", OTHER) == SimpleString(b"OK")
    assert client.ask("SET", "foo", "1") == ErrorReply(b"MOVED 12182 10.0.0.2:6379")
    assert client.ask("ASKING") == SimpleString(b"OK")
    assert client.ask("SET", "foo", "1") == SimpleString(b"OK")
    assert client.ask("GET", "foo") == ErrorReply(b"MOVED 12182 10.0.0.2:6379")
    client.ask("ASKING")
    assert client.ask("MGET", "{foo}", "{foo}2") == ErrorReply(
        b"TRYAGAIN Multiple keys request during rehashing of slot"
    )
    assert client.ask("CLUSTER", "SETSLOT", 12182, "NODE", ME) == SimpleString(b"OK")
    assert client.ask("GET", "foo") == b"1"
    assert client.ask("CLUSTER", "BUMPEPOCH") == SimpleString(b"STILL 3")


def test_without_coverage_everything_is_down_unless_reads_are_allowed() -> None:
    text = ALONE.replace("0-16383", "0-16000")
    client = node(text)
    down = ErrorReply(b"CLUSTERDOWN The cluster is down")
    assert client.ask("GET", "bar") == down
    client.ask("CONFIG", "SET", "cluster-allow-reads-when-down", "yes")
    assert client.ask("GET", "bar") is None
    assert client.ask("SET", "bar", "1") == ErrorReply(
        b"CLUSTERDOWN The cluster is down and only accepts read commands"
    )
    client.ask("CONFIG", "SET", "cluster-require-full-coverage", "no")
    client.harness.advance(200)
    assert client.ask("SET", "bar", "1") == SimpleString(b"OK")
    assert client.ask("CLUSTER", "DELSLOTS", 5061) == SimpleString(b"OK")
    assert client.ask("GET", "bar") == ErrorReply(b"CLUSTERDOWN Hash slot not served")


def test_a_replica_serves_reads_of_its_master_only_to_those_who_asked_for_it() -> None:
    text = (
        f"{COPY} 10.0.0.3:6379@16379 myself,slave {ME} 0 0 1 connected\n"
        f"{ME} 10.0.0.1:6379@16379 master - 0 1 1 connected 0-16383\n"
        "vars currentEpoch 2 lastVoteEpoch 0\n"
    )
    client = node(text)
    # redis-cli takes this very text for success: a source that lost its last slot has become a replica.
    refused = ErrorReply(b"ERR Please use SETSLOT only with masters.")
    assert client.ask("CLUSTER", "SETSLOT", 5061, "STABLE") == refused
    assert client.ask("GET", "bar") == ErrorReply(b"MOVED 5061 10.0.0.1:6379")
    assert client.ask("READONLY") == SimpleString(b"OK")
    assert client.ask("GET", "bar") is None
    assert client.ask("SET", "bar", "1") == ErrorReply(b"MOVED 5061 10.0.0.1:6379")
    client.ask("READWRITE")
    assert client.ask("GET", "bar") == ErrorReply(b"MOVED 5061 10.0.0.1:6379")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("ADDSLOTS 16384", b"ERR Invalid or out of range slot"),
        ("ADDSLOTS 5", b"ERR Slot 5 is already busy"),
        ("ADDSLOTSRANGE 5 3", b"ERR start slot number 5 is greater than end slot number 3"),
        ("ADDSLOTSRANGE 5", b"ERR wrong number of arguments for 'cluster|addslotsrange' command"),
        ("DELSLOTS 5 5", b"ERR Slot 5 specified multiple times"),
        ("SETSLOT 5 NODE", b"ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP"),
        ("SETSLOT 5 NODE abc", b"ERR Unknown node abc"),
        ("SETSLOT 5 IMPORTING abc", b"ERR I'm already the owner of hash slot 5"),
        ("SETSLOT 9000 MIGRATING abc", b"ERR I'm not the owner of hash slot 9000"),
        ("SETSLOT 5 MIGRATING " + COPY, b"ERR Target node is not a master"),
        ("MEET x 6379", b"ERR Invalid node address specified: x:6379"),
        ("MEET 1.2.3.4 x", b"ERR Invalid TCP base port specified: x"),
        ("MEET 1.2.3.4 60000", b"ERR Invalid node address specified: 1.2.3.4:60000"),
        ("FORGET abc", b"ERR Unknown node abc"),
        ("FORGET " + ME, b"ERR I tried hard but I can't forget myself..."),
        ("REPLICATE " + ME, b"ERR Can't replicate myself"),
        ("REPLICATE " + COPY, b"ERR I can only replicate a master, not a replica."),
        ("REPLICATE " + OTHER, b"ERR To set a master the node must be empty and without assigned slots."),
        ("REPLICAS " + COPY, b"ERR The specified node is not a master"),
        ("FAILOVER", b"ERR You should send CLUSTER FAILOVER to a replica"),
        ("FAILOVER SOON", b"ERR syntax error"),
        ("RESET SOFTLY", b"ERR syntax error"),
        ("COUNTKEYSINSLOT 16384", b"ERR Invalid slot"),
        ("GETKEYSINSLOT 1 -1", b"ERR Invalid slot or number of keys"),
        ("SET-CONFIG-EPOCH -1", b"ERR Invalid config epoch specified: -1"),
        ("NONSENSE", b"ERR unknown subcommand 'NONSENSE'. Try CLUSTER HELP."),
    ],
)
def test_errors_have_the_texts_of_redis(words: str, error: bytes) -> None:
    client = node(HALF)
    assert client.ask("CLUSTER", *words.split()) == ErrorReply(error)


def test_without_cluster_mode_every_subcommand_is_refused_as_redis_does() -> None:
    client = Harness().connect()
    refused = ErrorReply(b"ERR This instance has cluster support disabled")
    for words in ("CLUSTER INFO", "CLUSTER ADDSLOTS 1", "READONLY", "CLUSTER KEYSLOT foo"):
        assert client.ask(*words.split()) == refused


def test_views_have_the_form_of_redis() -> None:
    client = node(HALF)
    assert client.ask("CLUSTER", "SLOTS") == [
        [0, 8191, [b"10.0.0.1", 6379, ME.encode(), []], [b"10.0.0.3", 6379, COPY.encode(), []]],
        [8192, 16383, [b"10.0.0.2", 6379, OTHER.encode(), []]],
    ]
    shards = client.ask("CLUSTER", "SHARDS")
    assert isinstance(shards, list)
    assert shards[0][:2] == [b"slots", [0, 8191]]
    assert shards[0][3][1][12:] == [b"health", b"loading"]
    assert client.ask("CLUSTER", "MYID") == ME.encode()
    assert client.ask("CLUSTER", "MYSHARDID") == ME.encode()
    nodes = client.ask("CLUSTER", "REPLICAS", ME)
    assert isinstance(nodes, list)
    assert nodes[0].split()[:4] == [COPY.encode(), b"10.0.0.3:6379@16379", b"slave", ME.encode()]


def test_reset_leaves_a_node_that_knows_only_itself() -> None:
    client = node(HALF)
    assert client.ask("CLUSTER", "RESET", "HARD") == SimpleString(b"OK")
    assert client.ask("CLUSTER", "MYID") != ME.encode()
    info = text_of(client.ask("CLUSTER", "INFO"))
    for line in (b"cluster_known_nodes:1", b"cluster_slots_assigned:0", b"cluster_current_epoch:0"):
        assert line in info
    stored = client.harness.files["nodes.conf"].decode()
    assert OTHER not in stored
    assert "vars currentEpoch 0 lastVoteEpoch 0" in stored


def test_the_figures_of_the_cluster_are_scraped() -> None:
    client = node(HALF)
    state = client.harness.node.state
    text = "".join(
        metrics.render(state, {"redis_cluster_state", "redoubt_cluster_slots", "redis_cluster_size"})
    )
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert sorted(lines) == ["redis_cluster_size 2", "redis_cluster_state 1", "redoubt_cluster_slots 8192"]


def test_a_transaction_is_routed_when_it_is_queued_and_as_a_whole_at_exec() -> None:
    client = node(HALF)
    crossing = ErrorReply(b"CROSSSLOT Keys in request don't hash to the same slot")
    client.ask("MULTI")
    assert client.ask("GET", "foo") == ErrorReply(b"MOVED 12182 10.0.0.2:6379")
    assert client.ask("EXEC") == ErrorReply(b"EXECABORT Transaction discarded because of previous errors.")
    client.ask("MULTI")
    assert client.ask("SET", "bar", "1") == client.ask("SET", "hello", "1") == SimpleString(b"QUEUED")
    assert client.ask("EXEC") == crossing
    assert client.ask("EXEC") == ErrorReply(b"ERR EXEC without MULTI")
    client.ask("MULTI")
    client.ask("SET", "{bar}1", "1")
    client.ask("GET", "{bar}1")
    assert client.ask("EXEC") == [SimpleString(b"OK"), b"1"]


def test_a_transaction_whose_slot_has_left_is_moved_at_exec() -> None:
    stage = Stage(HALF)
    stage.talk(300)
    client, other = stage.connect(), stage.connect()
    client.ask("MULTI")
    client.ask("SET", "bar", "1")
    assert other.ask("CLUSTER", "SETSLOT", 5061, "NODE", OTHER) == SimpleString(b"OK")
    assert client.ask("EXEC") == ErrorReply(b"MOVED 5061 10.0.0.2:6379")
    assert client.ask("EXEC") == ErrorReply(b"ERR EXEC without MULTI")


def test_a_transaction_on_a_leaving_slot_runs_if_all_its_keys_are_still_here() -> None:
    stage = Stage(HALF)
    stage.talk(300)
    client, other = stage.connect(), stage.connect()
    client.ask("SET", "{bar}1", "here")
    client.ask("MULTI")
    client.ask("GET", "{bar}1")
    client.ask("SET", "{bar}2", "new")
    other.ask("CLUSTER", "SETSLOT", 5061, "MIGRATING", OTHER)
    assert client.ask("EXEC") == ErrorReply(b"TRYAGAIN Multiple keys request during rehashing of slot")
    client.ask("MULTI")
    client.ask("GET", "{bar}1")
    assert client.ask("EXEC") == [b"here"]


def test_asking_counts_for_a_whole_transaction() -> None:
    stage = Stage(HALF)
    stage.talk(300)
    client = stage.connect()
    client.ask("CLUSTER", "SETSLOT", 12182, "IMPORTING", OTHER)
    client.ask("ASKING")
    client.ask("MULTI")
    assert client.ask("SET", "foo", "1") == SimpleString(b"QUEUED")
    assert client.ask("GET", "foo") == SimpleString(b"QUEUED")
    assert client.ask("EXEC") == [SimpleString(b"OK"), b"1"]
    assert client.ask("GET", "foo") == ErrorReply(b"MOVED 12182 10.0.0.2:6379")


def test_a_transaction_waits_while_its_slot_changes_its_owner() -> None:
    stage = Stage(HALF)
    stage.talk(300)
    client = stage.connect()
    client.ask("MULTI")
    client.ask("SET", "bar", "1")
    stage.cluster.routing.hold(1 << 5061, HELD_WRITES)
    assert client.send(b"EXEC\r\n") == b""
    stage.cluster.routing.release(1 << 5061)
    stage.turn()
    assert client.replies() == [[SimpleString(b"OK")]]
