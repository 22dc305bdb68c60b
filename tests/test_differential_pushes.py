"""What clients are told without asking, beside a real redis-server: pub/sub, invalidations, refusals.

A script is a conversation of several connections: `a: SUBSCRIBE x` sends from connection a, `;` sends several
commands at once, `{b}` stands for the number of connection b. Connections beginning with `n` speak RESP3.
After each line every connection is asked for a mark, so all that it was told before is at hand. 7.0 sends a
client the messages of its own command before the reply, 7.2 and we behind it: the order within one line
between replies and messages is not compared here.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from redoubt.resp.replies import MapReply, encode_command
from tests.redoubt.harness import Connection, ServerProcess, redis_process, server_process

pytestmark = [
    pytest.mark.differential,
    pytest.mark.process,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs a redis-server to compare with"),
]

SCRIPTS = {
    "channels and patterns": """
        a: SUBSCRIBE x y x
        n: PSUBSCRIBE * x? [a-x]
        p: PUBLISH x hello
        p: PUBLISH xy ""
        p: PUBLISH nobody 1
        p: PUBSUB NUMSUB x y z
        p: PUBSUB NUMPAT
        p: PUBSUB CHANNELS x*
        p: PUBSUB SHARDCHANNELS
        a: GET x
        a: PING ; PING q
        a: HELLO 3
        n: GET x
        n: SUBSCRIBE x
        n: PUBLISH x self
        n: HELLO 2
        n: GET x
        n: HELLO 3
        a: UNSUBSCRIBE y z
        a: UNSUBSCRIBE
        a: UNSUBSCRIBE ; PUNSUBSCRIBE ; SUNSUBSCRIBE ; GET x
        n: PUNSUBSCRIBE
        n: UNSUBSCRIBE x
        p: PUBLISH x nobody
    """,
    "shard channels are apart": """
        a: SSUBSCRIBE x y
        n: SUBSCRIBE x ; SSUBSCRIBE x
        p: SPUBLISH x 1
        p: PUBLISH x 2
        p: PUBSUB SHARDCHANNELS x ; PUBSUB SHARDNUMSUB x y z ; PUBSUB NUMSUB x
        a: GET x
        a: SUNSUBSCRIBE q y
        a: SUNSUBSCRIBE
        n: SUNSUBSCRIBE x ; UNSUBSCRIBE
        a: GET x
    """,
    "in MULTI": """
        a: MULTI ; PUBLISH x 1 ; SUBSCRIBE x ; EXEC
        n: SUBSCRIBE x
        p: MULTI ; PUBLISH x 2 ; SET k 1 ; PUBLISH x 3 ; EXEC
    """,
    "RESET": """
        a: SUBSCRIBE x ; RESET ; GET x
        p: PUBLISH x 1
        n: CLIENT TRACKING ON ; GET k ; RESET ; CLIENT TRACKINGINFO
        p: SET k 1
        n: HELLO 3
    """,
    "wrong words": """
        a: SUBSCRIBE ; PUBLISH x ; PSUBSCRIBE ; SSUBSCRIBE ; SPUBLISH a ; PUBSUB ; PUBSUB FOO
        a: PUBSUB CHANNELS a b
        a: CLIENT TRACKING ; CLIENT TRACKING MAYBE ; CLIENT TRACKING ON FOO ; CLIENT TRACKING ON REDIRECT
        a: CLIENT TRACKING ON REDIRECT x ; CLIENT TRACKING ON REDIRECT 99999999
        a: CLIENT TRACKING ON REDIRECT {b} REDIRECT {b}
        a: CLIENT TRACKING ON OPTIN OPTOUT ; CLIENT TRACKING ON BCAST OPTIN ; CLIENT TRACKING ON PREFIX a
        a: CLIENT TRACKING ON BCAST PREFIX a PREFIX b PREFIX ab
        a: CLIENT CACHING YES ; CLIENT CACHING MAYBE ; CLIENT GETREDIR
        a: CLIENT TRACKING ON OPTIN ; CLIENT CACHING NO ; CLIENT CACHING MAYBE ; CLIENT TRACKING ON OPTOUT
        a: CLIENT TRACKING ON BCAST ; CLIENT TRACKING ON ; CLIENT TRACKING ON OPTOUT ; CLIENT CACHING YES
        a: CLIENT TRACKING OFF ; CLIENT TRACKING OFF ; CLIENT TRACKINGINFO
        a: CLIENT TRACKING ON BCAST PREFIX a NOLOOP ; CLIENT TRACKING ON BCAST PREFIX ab ; CLIENT TRACKINGINFO
        b: MONITOR x ; CLIENT REPLY ; CLIENT REPLY MAYBE ; CLIENT KILL TYPE x ; CLIENT KILL ID 0
    """,
    "what was read": """
        n: CLIENT TRACKING ON ; GET k ; HGET h f ; MGET a b ; EXISTS e
        p: SET k 1 ; SET k 2 ; HSET h f 1 ; SET b 1 ; SET e 1 ; SET other 1
        n: GET k ; GET k ; SET k 3
        n: MULTI ; GET m ; EXEC
        p: LPUSH m 1 ; EXPIRE k 100 ; DEL h
        n: GET k ; TTL k ; TYPE k
        p: PERSIST k
        n: GET k
        p: RENAME k k2 ; COPY k2 k
        n: GET x
        p: FLUSHALL
        p: SET x 1
        n: GET x
        p: SELECT 2 ; SET x 1 ; FLUSHDB
        n: CLIENT TRACKING OFF ; GET x
        p: SELECT 0 ; SET x 2
    """,
    "options of tracking": """
        n: CLIENT TRACKING ON OPTIN ; GET a ; CLIENT CACHING YES ; GET b ; GET c
        p: MSET a 1 b 1 c 1
        n: CLIENT CACHING YES ; MULTI ; GET a ; GET b ; EXEC ; GET c
        p: SET a 2 ; SET b 2 ; SET c 2
        n: CLIENT TRACKING OFF ; CLIENT TRACKING ON OPTOUT ; GET a ; CLIENT CACHING NO ; GET b ; GET c
        p: SET a 3 ; SET b 3 ; SET c 3
        n: CLIENT TRACKING OFF ; CLIENT TRACKING ON NOLOOP ; GET a ; SET a 4
        p: SET a 5
    """,
    "broadcast": """
        n: CLIENT TRACKING ON BCAST PREFIX k PREFIX u:
        p: SET k1 1
        p: SET u:1 1
        p: SET u 1
        n: SET k2 1
        n: CLIENT TRACKING ON BCAST NOLOOP PREFIX z ; CLIENT TRACKINGINFO
        n: SET k2 2
        p: DEL k1
        nn: CLIENT TRACKING ON BCAST
        p: SET anything 1
        p: FLUSHALL
    """,
    "redirection": """
        b: SUBSCRIBE __redis__:invalidate
        a: CLIENT TRACKING ON REDIRECT {b} ; GET k ; CLIENT TRACKINGINFO ; CLIENT GETREDIR
        p: SET k 1
        n: CLIENT TRACKING ON REDIRECT {nn} ; GET k
        p: SET k 2
        p: FLUSHALL
        n: GET k
        p: CLIENT KILL ID {nn}
        p: SET k 3
        n: CLIENT TRACKINGINFO
    """,
    "silent clients hear messages": """
        n: CLIENT REPLY SKIP ; GET k ; GET k
        n: SUBSCRIBE x ; CLIENT REPLY SKIP ; SUBSCRIBE y
    """,
}


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[ServerProcess, ServerProcess]]:
    with redis_process() as judge, server_process() as ours:
        yield judge, ours


class Room:
    """The connections to one server, by name."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.connections: dict[str, Connection] = {}
        self.numbers: dict[str, int] = {}
        self.connect("p").ask("FLUSHALL")

    def connect(self, name: str) -> Connection:
        if name not in self.connections:
            connection = self.connections[name] = self.server.connect()
            if name.startswith("n"):
                connection.ask("HELLO", 3)
            self.numbers[name] = connection.ask("CLIENT", "ID")
        return self.connections[name]

    def number_like(self, other: Room) -> None:
        """Let the next connection have the same number as the other server's."""
        while self.next_number() < other.next_number():
            self.connections["p"].close()
            del self.connections["p"]
            self.connect("p")

    def next_number(self) -> int:
        return self.numbers["p"]

    def say(self, line: str) -> dict[str, list[str]]:
        """Send a line; return what each connection was told by then, in a fixed order."""
        name, _, calls = line.partition(":")
        speaker = self.connect(name)
        for number in ("b", "nn"):
            if "{" + number + "}" in calls:
                self.connect(number)
        text = calls.format(**self.numbers)
        words = [shlex.split(call) for call in text.split(";")]
        speaker.send(b"".join(encode_command([word.encode() for word in call]) for call in words))
        return {name: sorted(map(repr, self.told(name))) for name in list(self.connections)}

    def told(self, name: str) -> list[Any]:
        """Return what a connection was told before the mark; one that was closed is forgotten."""
        connection = self.connections[name]
        told: list[Any] = []
        try:
            connection.send(encode_command([b"PING", b"mark"]))
            while (reply := connection.read()) not in (b"mark", [b"pong", b"mark"]):
                told.append("HELLO" if is_hello(reply) else reply)
        except ConnectionError:
            del self.connections[name]
            told.append("closed")
        return told

    def close(self) -> None:
        for connection in self.connections.values():
            connection.close()


def is_hello(reply: Any) -> bool:
    """Say whether this is what HELLO answers: a description of the server."""
    words = reply.pairs[0] if isinstance(reply, MapReply) else reply
    return isinstance(words, list | tuple) and words[:1] in ([b"server"], (b"server",))


@pytest.mark.parametrize("name", SCRIPTS)
def test_clients_are_told_the_same(servers: tuple[ServerProcess, ServerProcess], name: str) -> None:
    rooms = [Room(server) for server in servers]
    rooms[0].number_like(rooms[1])
    rooms[1].number_like(rooms[0])
    try:
        for line in SCRIPTS[name].strip().splitlines():
            expected, found = (room.say(line.strip()) for room in rooms)
            assert expected == found, line
    finally:
        for room in rooms:
            room.close()
