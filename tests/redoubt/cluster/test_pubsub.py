"""Pub/sub in a cluster: publications over the bus, shard channels by slot, and slots that leave."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from redis import Redis
from redis.cluster import ClusterNode, RedisCluster

from redoubt.cluster import messages
from redoubt.resp.replies import ErrorReply, Push
from tests.redoubt.cluster.peers import Stage
from tests.redoubt.cluster.test_processes import Nodes, until
from tests.redoubt.cluster.test_routing import COPY, HALF, OTHER

# Slots: bar 5061, hello 866 (ours in HALF); foo 12182 (the other's).


def stage() -> Stage:
    made = Stage(HALF)
    made.talk(300)
    return made


def test_publications_go_to_all_nodes_and_those_of_others_are_delivered() -> None:
    cluster = stage()
    client, listener = cluster.connect(), cluster.connect()
    listener.ask("SUBSCRIBE", "news")
    assert client.ask("PUBLISH", "news", "one") == 1
    cluster.exchange()
    for peer in cluster.peers.values():
        sent = [message for message in peer.got if message.kind == messages.PUBLISH]
        assert [(message.channel, message.payload) for message in sent] == [(b"news", b"one")]
    message = cluster.peers[OTHER].message(messages.PUBLISH)
    message.channel, message.payload = b"news", b"two"
    cluster.peers[OTHER].say(message)
    assert listener.replies() == [[b"message", b"news", b"one"], [b"message", b"news", b"two"]]


def test_shard_publications_go_to_the_nodes_of_the_shard_only() -> None:
    cluster = stage()
    client, listener = cluster.connect(), cluster.connect()
    listener.ask("SSUBSCRIBE", "bar")
    assert client.ask("SPUBLISH", "bar", "one") == 1
    cluster.exchange()
    assert messages.PUBLISH_SHARD in cluster.peers[COPY].got_kinds()
    assert messages.PUBLISH_SHARD not in cluster.peers[OTHER].got_kinds()
    message = cluster.peers[COPY].message(messages.PUBLISH_SHARD)
    message.channel, message.payload = b"bar", b"two"
    cluster.peers[COPY].say(message)
    assert listener.replies() == [[b"smessage", b"bar", b"one"], [b"smessage", b"bar", b"two"]]


def test_shard_channels_are_routed_by_slot() -> None:
    client = stage().connect()
    moved = ErrorReply(b"MOVED 12182 10.0.0.2:6379")
    assert client.ask("SSUBSCRIBE", "foo") == moved
    assert client.ask("SPUBLISH", "foo", "1") == moved
    assert client.ask("SUNSUBSCRIBE", "foo") == moved
    assert client.ask("SSUBSCRIBE", "bar", "hello") == ErrorReply(
        b"CROSSSLOT Keys in request don't hash to the same slot"
    )
    assert client.ask("PUBLISH", "foo", "1") == 0  # plain channels are everybody's
    assert client.ask("SUNSUBSCRIBE") == [b"sunsubscribe", None, 0]


def test_subscribers_of_a_slot_that_leaves_are_told_and_let_go() -> None:
    cluster = stage()
    old, new, client = cluster.connect(), cluster.connect(), cluster.connect()
    new.ask("HELLO", 3)
    old.send(b"SSUBSCRIBE bar\r\nSSUBSCRIBE hello\r\n")
    new.send(b"SSUBSCRIBE bar\r\nSUBSCRIBE bar\r\n")
    old.replies(), new.replies()
    client.ask("CLUSTER", "SETSLOT", 5061, "NODE", OTHER)
    assert old.replies() == [[b"sunsubscribe", b"bar", 1]]
    assert new.replies() == [Push([b"sunsubscribe", b"bar", 0])]
    assert client.ask("PUBSUB", "SHARDCHANNELS") == [b"hello"]
    assert client.ask("PUBSUB", "CHANNELS") == [b"bar"]


@pytest.mark.process
def test_messages_pass_between_our_nodes_and_a_real_one() -> None:
    with ExitStack() as stack:
        nodes = Nodes(stack)
        nodes.start("ours", "ours", "real")
        nodes.meet(3)
        ports = [node.port for node in nodes.all]
        listeners = [Redis(port=port).pubsub(ignore_subscribe_messages=True) for port in ports]
        heard: list[list[bytes]] = [[] for _ in ports]

        def listen() -> bool:
            for listener, messages_heard in zip(listeners, heard, strict=True):
                while message := listener.get_message():
                    messages_heard.append(message["data"])
            return all(len(messages_heard) == len(ports) for messages_heard in heard)

        for listener in listeners:
            listener.subscribe("news")
        everyone = range(len(ports))
        until(lambda: all(nodes.ask(at, "PUBSUB", "NUMSUB", "news")[1] for at in everyone), "subscribed")
        for at, port in enumerate(ports):
            Redis(port=port).publish("news", f"from {at}")
        until(listen, "everybody has heard everybody")
        assert [sorted(messages_heard) for messages_heard in heard] == [[b"from 0", b"from 1", b"from 2"]] * 3
        client = RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", ports[0])])
        shard = client.pubsub()
        shard.ssubscribe("a", "b", "c")  # one slot of each node
        until(lambda: all(client.spublish(channel, "x") == 1 for channel in ("a", "b", "c")), "delivered")
        client.close()
