"""Pub/sub on one node: subscriber mode, pushes behind replies, replicas, limits, CLIENT LIST and INFO."""

from __future__ import annotations

from redoubt.hooks import ChangeListener
from redoubt.resp.replies import OK, ErrorReply, Push, SimpleString
from redoubt.session import CLASS_NORMAL, CLASS_PUBSUB
from tests.redoubt.harness import Client, Harness


def resp3(harness: Harness) -> Client:
    client = harness.connect()
    client.ask("HELLO", 3)
    return client


def test_a_resp2_subscriber_may_only_subscribe_ping_and_leave() -> None:
    client = Harness().connect()
    assert client.ask("SUBSCRIBE", "a") == [b"subscribe", b"a", 1]
    assert client.ask("GET", "k") == ErrorReply(
        b"ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed "
        b"in this context"
    )
    assert client.ask("PING", "x") == [b"pong", b"x"]
    assert client.ask("PSUBSCRIBE", "*") == [b"psubscribe", b"*", 2]
    assert client.ask("SSUBSCRIBE", "a") == [b"ssubscribe", b"a", 1]
    assert client.ask("RESET") == SimpleString(b"RESET")
    assert client.ask("GET", "k") is None


def test_a_resp3_client_that_goes_back_to_resp2_is_in_subscriber_mode() -> None:
    client = resp3(Harness())
    client.ask("SUBSCRIBE", "a")
    assert client.ask("GET", "k") is None
    client.ask("HELLO", 2)
    assert isinstance(client.ask("GET", "k"), ErrorReply)


def test_a_message_to_oneself_comes_behind_the_reply() -> None:
    client = resp3(Harness())
    client.ask("SUBSCRIBE", "a")
    client.send(b"PUBLISH a 1\r\nPING\r\n")
    assert client.replies() == [1, Push([b"message", b"a", b"1"]), SimpleString(b"PONG")]


def test_messages_of_a_transaction_come_behind_the_reply_of_exec() -> None:
    client = resp3(Harness())
    client.ask("SUBSCRIBE", "a")
    client.send(b"MULTI\r\nPUBLISH a 1\r\nPUBLISH a 2\r\nEXEC\r\n")
    queued = SimpleString(b"QUEUED")
    pushes = [Push([b"message", b"a", b"1"]), Push([b"message", b"a", b"2"])]
    assert client.replies() == [OK, queued, queued, [1, 1], *pushes]


def test_subscribing_is_answered_and_messages_arrive_though_replies_are_off() -> None:
    harness = Harness()
    client = resp3(harness)
    client.send(b"CLIENT REPLY OFF\r\nSUBSCRIBE a\r\nGET k\r\n")
    harness.connect().ask("PUBLISH", "a", "1")
    assert client.replies() == [Push([b"subscribe", b"a", 1]), Push([b"message", b"a", b"1"])]


def test_a_message_is_encoded_once_for_all_subscribers() -> None:
    harness = Harness()
    listeners = [harness.connect() for _ in range(3)]
    for listener in listeners:
        listener.ask("SUBSCRIBE", "a")
    session = harness.connect().session
    harness.node.state.pubsub.publish(b"a", b"x" * 100)
    first, second, third = (listener.session.out[-1] for listener in listeners)
    assert first is second is third
    assert session.out == []


def test_a_subscriber_that_does_not_read_is_closed_at_its_limit() -> None:
    harness = Harness("--client-output-buffer-limit", "pubsub", "1kb", "0", "0")
    slow, publisher = harness.connect(), harness.connect()
    slow.ask("SUBSCRIBE", "a")
    slow.reads = False
    for _ in range(5):
        publisher.ask("PUBLISH", "a", "x" * 400)
    assert slow.is_closed
    assert publisher.ask("PUBLISH", "a", "x") == 0
    assert publisher.ask("PUBSUB", "CHANNELS") == []


def test_the_class_of_a_client_and_what_client_list_shows_follow_its_subscriptions() -> None:
    harness = Harness()
    client, other = resp3(harness), harness.connect()
    client.send(b"SUBSCRIBE a b\r\nPSUBSCRIBE *\r\nSSUBSCRIBE s\r\n")
    assert client.session.client_class == CLASS_PUBSUB
    shown = other.ask("CLIENT", "LIST", "TYPE", "pubsub")
    assert isinstance(shown, bytes)
    assert b" flags=P db=0 sub=2 psub=1 ssub=1 " in shown
    text = other.ask("INFO", "everything")
    assert isinstance(text, bytes)
    counts = (b"pubsub_channels:2", b"pubsub_patterns:1", b"pubsubshard_channels:1", b"pubsub_clients:1")
    assert all(count in text for count in counts)
    client.send(b"UNSUBSCRIBE\r\nPUNSUBSCRIBE\r\nSUNSUBSCRIBE\r\n")
    assert client.session.client_class == CLASS_NORMAL
    assert other.ask("CLIENT", "KILL", "TYPE", "pubsub") == 0


def test_a_closed_subscriber_is_forgotten() -> None:
    harness = Harness()
    client, other = harness.connect(), harness.connect()
    client.send(b"SUBSCRIBE a\r\nPSUBSCRIBE a*\r\nSSUBSCRIBE a\r\n")
    client.close()
    assert other.ask("PUBLISH", "a", "1") == 0
    assert other.ask("PUBSUB", "NUMPAT") == 0
    assert harness.node.state.pubsub.subscriber_count == 0


class Recorder(ChangeListener):
    """Keeps what is fed to the history."""

    def __init__(self) -> None:
        self.seen: list[list[bytes]] = []

    def changed(self, argv: list[bytes]) -> None:
        self.seen.append(argv)


def test_publications_are_part_of_the_history_outside_a_cluster() -> None:
    harness = Harness()
    client = harness.connect()
    history = Recorder()
    harness.node.state.replication.watch(history)
    client.ask("PUBLISH", "a", "1")
    client.ask("SPUBLISH", "a", "2")
    assert [argv for argv in history.seen if argv[0] != b"SELECT"] == [
        [b"PUBLISH", b"a", b"1"],
        [b"SPUBLISH", b"a", b"2"],
    ]
