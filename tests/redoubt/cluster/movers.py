"""The other side of a slot migration, played by the test: a source towards a real target, and the reverse.

Both stand on `peers.Stage`: one real node, whose fellow nodes answer its pings meanwhile. `Source` speaks
CLUSTER SYNCSLOTS to the node over a client's connection; `Target` takes the node's dial to its client port,
keeps what it is sent and says anything back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redoubt.data.key_slot import key_slot
from redoubt.data.text import Value
from redoubt.interfaces import Dial, Link
from redoubt.persist.rdb_write import RdbWriter
from redoubt.resp.replies import MapReply, Reply, encode_command
from redoubt.resp.requests import RequestParser
from tests.redoubt.cluster.peers import Stage
from tests.redoubt.harness import Client, Harness, as_bytes

ME, OTHER, THIRD, COPY = "a" * 40, "b" * 40, "d" * 40, "c" * 40
NAME = "e" * 40
# Three masters; a replica of ours and one of the second.
NODES = (
    f"{ME} 10.0.0.1:6379@16379,,shard-id={ME} myself,master - 0 0 1 connected 0-5460\n"
    f"{OTHER} 10.0.0.2:6379@16379,,shard-id={OTHER} master - 0 1 2 connected 5461-10922\n"
    f"{THIRD} 10.0.0.4:6379@16379,,shard-id={THIRD} master - 0 1 3 connected 10923-16383\n"
    f"{COPY} 10.0.0.3:6379@16379,,shard-id={OTHER} slave {OTHER} 0 1 2 connected\n"
    "vars currentEpoch 3 lastVoteEpoch 0\n"
)


def stage_of(*words: str) -> Stage:
    """A node among its peers, serving."""
    stage = Stage(NODES, *words)
    stage.talk(300)
    assert stage.cluster.availability.is_ok
    return stage


def keys_in(first: int, last: int, count: int) -> list[bytes]:
    """Find keys whose slots lie in first..last."""
    found: list[bytes] = []
    number = 0
    while len(found) < count:
        key = b"k%d" % number
        if first <= key_slot(key) <= last:
            found.append(key)
        number += 1
    return found


def batch_of(items: Sequence[tuple[bytes, Value, int]]) -> bytes:
    """Write keys as a source does: (key, value, expiry)."""
    writer = RdbWriter(is_compressed=False, is_checksummed=False)
    for key, value, expires_ms in items:
        writer.entry(key, value, expires_ms)
    return writer.take()


def migrations_at(client: Client) -> list[dict[str, Reply]]:
    """Ask for the moves of a node, newest first."""
    reply = client.ask("CLUSTER", "GETSLOTMIGRATIONS")
    assert isinstance(reply, list)
    rows = []
    for row in reply:
        pairs = row.pairs if isinstance(row, MapReply) else list(zip(row[::2], row[1::2], strict=True))
        rows.append({key.decode(): value for key, value in pairs})
    return rows


class Source(Client):
    """A source that gives slots of its to the node."""

    def __init__(self, stage: Stage, node_id: str = OTHER, name: str = NAME) -> None:
        link = stage.connect("127.0.0.1:50001").link
        super().__init__(stage, link)
        link.handle = self
        self.stage = stage
        self.node_id = node_id
        self.name = name
        self.sent_bytes = 0

    def say(self, *words: bytes | str | int) -> list[Any]:
        """Send a message; return what the node says back at once."""
        self.replies()
        self.send(encode_command([b"CLUSTER", b"SYNCSLOTS", *[as_bytes(word) for word in words]]))
        return self.replies()

    def establish(self, *ranges: int) -> list[Any]:
        return self.say("ESTABLISH", "SOURCE", self.node_id, "NAME", self.name, "SLOTSRANGE", *ranges)

    def keys(self, items: Sequence[tuple[bytes, Value, int]]) -> list[Any]:
        return self.say("KEYS", self.name, batch_of(items))

    def changes(self, *commands: list[bytes]) -> list[Any]:
        return self.say("STREAM", self.name, b"".join([encode_command(argv) for argv in commands]))


class Target(Client):
    """A target that the node has dialled."""

    def __init__(self, harness: Harness, link: Link) -> None:
        super().__init__(harness, link)
        self.parser = RequestParser()
        self.got: list[list[bytes]] = []

    def take(self, data: bytes) -> None:
        self.parser.feed(data)
        while (argv := self.parser.next()) is not None:
            self.got.append(argv)

    def say(self, data: bytes) -> None:
        """Send bytes to the node."""
        self.harness.node.received(self.link, data, self.harness.now_ms)
        self.harness.turn()

    def tell(self, *words: bytes | str | int) -> None:
        """Send a message."""
        self.say(encode_command([b"CLUSTER", b"SYNCSLOTS", *[as_bytes(word) for word in words]]))

    def words(self) -> list[bytes]:
        """List the subcommands that have arrived, ACK left out."""
        return [argv[2] if argv[0] == b"CLUSTER" else argv[0] for argv in self.got if argv[-1] != b"ACK"]

    def acknowledge(self) -> None:
        """Acknowledge everything that has arrived."""
        batches = [argv[4] for argv in self.got if argv[2:3] in ([b"KEYS"], [b"STREAM"])]
        self.tell("ACK", sum(map(len, batches)))


def dialled_target(stage: Stage, host: str = "10.0.0.2") -> Target:
    """Take the node's dial to the client port of another one, and let it be connected."""
    dials = [dial for dial in stage.dials if (dial.host, dial.port) == (host, 6379)]
    assert len(dials) == 1, stage.dials
    return connect(stage, dials[0])


def connect(stage: Stage, dial: Dial) -> Target:
    stage.dials.remove(dial)
    target = Target(stage, dial.link)
    dial.link.handle = target
    stage.node.opened(dial.link, stage.now_ms)
    stage.turn()
    return target
