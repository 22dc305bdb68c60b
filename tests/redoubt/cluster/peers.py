"""Nodes of a cluster that are played by the test: they take what one real Node sends on the bus, and answer.

`Stage` is a Harness whose node has read a nodes.conf; each `Peer` is one other node of that file. A peer
accepts the node's dials while it `listens`, answers pings while it `answers`, and keeps every message that it
got. The test says anything else in its name by `say`, on a stream of the peer's own.
"""

from __future__ import annotations

from redoubt.cluster import messages
from redoubt.cluster.cluster import Cluster
from redoubt.cluster.messages import Message
from redoubt.cluster.packets import PacketReader
from redoubt.interfaces import LISTEN_BUS, Dial, Link
from tests.redoubt.harness import Client, Harness

STEP_MS = 10


class Stream(Client):
    """The peer's end of one stream."""

    def __init__(self, harness: Harness, link: Link, peer: Peer) -> None:
        super().__init__(harness, link)
        self.peer = peer
        self.reader = PacketReader()

    def take(self, data: bytes) -> None:
        for packet in self.reader.feed(data):
            message = messages.decode(packet)
            assert message is not None
            self.peer.took(self, message)


class Peer:
    """One node that the test plays."""

    def __init__(self, stage: Stage, node_id: str) -> None:
        self.stage = stage
        known = stage.cluster.topology.nodes[node_id]
        self.node_id = node_id
        self.ip, self.port, self.bus_port = known.ip, known.port, known.bus_port
        self.master_id = known.master.node_id if known.master is not None else ""
        self.slots = known.slots
        self.config_epoch = known.config_epoch
        self.current_epoch = stage.cluster.topology.current_epoch
        self.offset = 0
        self.hostname = ""
        self.is_redoubt = True
        self.mark_flags = messages.MARK_SYNCED
        self.holds_writes = False
        self.listens = True
        self.answers = True
        self.got: list[Message] = []
        self._own: Stream | None = None
        self._dialled: Stream | None = None
        self._owed: list[tuple[Stream, Message]] = []

    def message(self, kind: int) -> Message:
        """Begin a message in this node's name."""
        message = Message(kind, self.node_id)
        message.ip, message.port, message.bus_port = self.ip, self.port, self.bus_port
        message.master_id = self.master_id
        message.slots = self.slots
        message.config_epoch = self.config_epoch
        message.current_epoch = self.current_epoch
        message.offset = self.offset
        message.is_redoubt = self.is_redoubt
        message.mark_flags = self.mark_flags
        if self.hostname:
            message.mflags = messages.EXTENSIONS
            message.hostname = self.hostname
        if self.holds_writes:
            message.mflags |= messages.MASTER_PAUSED
        message.flags = 2 if self.master_id else 1
        return message

    def say(self, message: Message) -> None:
        """Send a message on the stream that this node dialled."""
        if self._own is None or self._own.is_closed:
            link = self.stage.node.accepted(
                LISTEN_BUS, f"{self.ip}:40000", "10.0.0.1:16379", self.stage.now_ms
            )
            self._own = Stream(self.stage, link, self)
            link.handle = self._own
        self.stage.node.received(self._own.link, messages.encode(message), self.stage.now_ms)
        self.stage.turn()

    def dialled(self, dial: Dial) -> None:
        """Take or refuse the node's dial."""
        if not self.listens:
            self.stage.node.failed(dial.link, True, self.stage.now_ms)
            return
        self._dialled = Stream(self.stage, dial.link, self)
        dial.link.handle = self._dialled
        self.stage.node.opened(dial.link, self.stage.now_ms)

    def took(self, stream: Stream, message: Message) -> None:
        self.got.append(message)
        if message.kind in (messages.PING, messages.MEET) and self.answers:
            self._owed.append((stream, self.message(messages.PONG)))

    def answer(self) -> None:
        """Send the pongs that are owed."""
        owed, self._owed = self._owed, []
        for stream, message in owed:
            if not stream.is_closed:
                self.stage.node.received(stream.link, messages.encode(message), self.stage.now_ms)

    def die(self) -> None:
        """End every stream and refuse new ones, as the kernel does for a killed process."""
        self.listens = False
        for stream in (self._own, self._dialled):
            if stream is not None and not stream.is_closed:
                self.stage.end(stream)
        self.stage.turn()

    def got_kinds(self) -> list[int]:
        return [message.kind for message in self.got]


class Stage(Harness):
    """One real node and the peers of its nodes.conf."""

    def __init__(self, nodes_conf: str, *words: str) -> None:
        self.peers: dict[str, Peer] = {}
        super().__init__("--cluster-enabled", "yes", *words, files={"nodes.conf": nodes_conf.encode()})
        self.cluster = self.cluster_of()
        for node in self.cluster.topology.sorted_nodes():
            if node is not self.cluster.topology.myself:
                self.peers[node.node_id] = Peer(self, node.node_id)

    def cluster_of(self) -> Cluster:
        cluster = self.node.state.cluster
        assert isinstance(cluster, Cluster)
        return cluster

    def talk(self, duration_ms: int) -> None:
        """Let time pass while the peers take dials and answer pings."""
        end_ms = self.now_ms + duration_ms
        while self.now_ms < end_ms:
            self.exchange()
            self.advance(STEP_MS)
        self.exchange()

    def exchange(self) -> None:
        """Let everything be dialled and answered that is due now."""
        for _ in range(4):
            dials, self.dials = self.dials, []
            for dial in dials:
                peers = [
                    peer for peer in self.peers.values() if (peer.ip, peer.bus_port) == (dial.host, dial.port)
                ]
                for peer in peers:
                    peer.dialled(dial)
            self.turn()
            for peer in self.peers.values():
                peer.answer()
            self.turn()
