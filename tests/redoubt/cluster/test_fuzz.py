"""The bus under fire: a whole node that gets random, damaged and well-formed but senseless messages.

Whatever arrives, the node keeps running, its map stays consistent, and its memory is bounded by its limits.
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from redoubt.cluster import messages
from redoubt.cluster.bus import STRANGERS_MAX
from redoubt.cluster.cluster import Cluster
from redoubt.cluster.messages import GossipEntry, Message
from redoubt.cluster.slots import mask_of_ranges
from redoubt.interfaces import LISTEN_BUS
from tests.redoubt.cluster.peers import Stage
from tests.redoubt.harness import Client, Harness

IDS = [letter * 40 for letter in "abcdef"]
FILE = (
    f"{IDS[0]} 10.0.0.1:6379@16379 myself,master - 0 0 1 connected 0-5500\n"
    f"{IDS[1]} 10.0.0.2:6379@16379 master - 0 1 2 connected 5501-10000\n"
    f"{IDS[2]} 10.0.0.3:6379@16379 master - 0 1 3 connected 10001-16383\n"
    f"{IDS[3]} 10.0.0.4:6379@16379 slave {IDS[0]} 0 1 1 connected\n"
    f"{IDS[4]} 10.0.0.5:6379@16379 slave {IDS[1]} 0 1 2 connected\n"
    "vars currentEpoch 3 lastVoteEpoch 0\n"
)
AS_REPLICA = FILE.replace("myself,master", "master").replace(f"slave {IDS[0]}", f"myself,slave {IDS[0]}")
KINDS = [0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
MASKS = st.sampled_from([0, 1, mask_of_ranges([(0, 5500)]), mask_of_ranges([(0, 16383)]), 1 << 16383])
EPOCHS = st.integers(0, 12)


@st.composite
def entries(draw: st.DrawFn) -> GossipEntry:
    ip = draw(st.sampled_from(["", "10.0.0.2", "10.7.7.7"]))
    entry = GossipEntry(draw(st.sampled_from(IDS)), 0, draw(EPOCHS), ip, 6379, 16379, 0)
    entry.flags = draw(st.integers(0, 1023))
    return entry


@st.composite
def anything(draw: st.DrawFn) -> Message:
    """A message that is well-formed and says whatever it likes."""
    message = Message(draw(st.sampled_from(KINDS)), draw(st.sampled_from(IDS)))
    message.ip = draw(st.sampled_from(["", "10.0.0.2", "10.8.8.8"]))
    message.port, message.bus_port = 6379, draw(st.sampled_from([0, 16379]))
    message.current_epoch, message.config_epoch, message.offset = draw(EPOCHS), draw(EPOCHS), draw(EPOCHS)
    message.slots, message.about_slots = draw(MASKS), draw(MASKS)
    message.master_id = draw(st.sampled_from(["", *IDS]))
    message.flags = draw(st.integers(0, 1023))
    message.mflags = draw(st.integers(0, 7))
    message.is_redoubt = draw(st.booleans())
    message.mark_flags = draw(st.integers(0, 15)) if message.is_redoubt else 0
    message.about, message.about_epoch = draw(st.sampled_from(IDS)), draw(EPOCHS)
    if message.kind in (messages.PING, messages.PONG, messages.MEET):
        message.gossip = draw(st.lists(entries(), max_size=4))
        message.shard_id = draw(st.sampled_from(["", *IDS]))
        message.forgotten = draw(st.lists(st.tuples(st.sampled_from(IDS), st.integers(0, 90)), max_size=1))
        if message.shard_id or message.forgotten:
            message.mflags |= messages.EXTENSIONS
    return message


def check(cluster: Cluster) -> None:
    """Assert that the redundant parts of the map agree."""
    topology = cluster.topology
    assert topology.nodes[topology.myself.node_id] is topology.myself
    for node_id, node in topology.nodes.items():
        assert node.node_id == node_id
        assert node.is_master or not node.slots
        assert not (node.is_master and node.master is not None)
        assert node.slots == mask_of_ranges(
            [(slot, slot) for slot, owner in enumerate(topology.owners) if owner is node]
        )
        assert node.master is None or node in node.master.replicas
        for replica in node.replicas:
            assert replica.master is node
    assert all(owner is None or owner in topology.nodes.values() for owner in topology.owners)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from([FILE, AS_REPLICA]), st.lists(st.tuples(anything(), st.booleans()), max_size=12))
def test_senseless_messages_leave_a_consistent_map(text: str, said: list[tuple[Message, bool]]) -> None:
    stage = Stage(text, "--cluster-node-timeout", "3000")
    stage.talk(100)
    links = [
        peer._dialled if is_on_dialled else None for _, is_on_dialled in said for peer in stage.peers.values()
    ]
    for at, (message, is_on_dialled) in enumerate(said):
        stream = links[at % len(links)]
        if is_on_dialled and stream is not None and not stream.is_closed:
            stage.node.received(stream.link, messages.encode(message), stage.now_ms)
            stage.turn()
        else:
            speaker = stage.peers[IDS[1]]
            speaker.say(message)
        stage.talk(60)
        check(stage.cluster)
    stage.talk(1000)
    check(stage.cluster)
    assert stage.exit_code is None


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=3000), max_size=5), st.booleans())
def test_garbage_closes_its_own_stream_only(pieces: list[bytes], is_signed: bool) -> None:
    stage = Stage(FILE)
    stage.talk(100)
    link = stage.node.accepted(LISTEN_BUS, "10.9.9.9:1", "10.0.0.1:16379", stage.now_ms)
    link.handle = Client(stage, link)
    for piece in pieces:
        data = b"RCmb" + piece if is_signed else piece
        stage.node.received(link, data, stage.now_ms)
        stage.turn()
    stage.talk(100)
    check(stage.cluster)
    assert all(
        node.link is not None for node in stage.cluster.topology.nodes.values() if node is not me(stage)
    )


def me(stage: Stage) -> Any:
    return stage.cluster.topology.myself


def test_a_crowd_of_strangers_is_turned_away() -> None:
    harness = Harness("--cluster-enabled", "yes")
    links = [
        harness.node.accepted(LISTEN_BUS, f"10.9.9.9:{port}", "10.0.0.1:16379", harness.now_ms)
        for port in range(STRANGERS_MAX + 5)
    ]
    assert [link.is_closed for link in links] == [False] * STRANGERS_MAX + [True] * 5
    harness.advance(16_000)
    assert all(link.is_closed for link in links)
