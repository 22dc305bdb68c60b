"""Several clients in one story: who waits, who is served with what, compared by each client's own replies.

A line of a story is `client: command`. The next line begins when the client has its reply or, by CLIENT LIST,
waits (only when it has its reply, in a line `client= command`); so both servers see the same order. What a
waiting client is told arrives whenever it arrives: at the end all that still wait are unblocked, and each
client must have got the same replies in the same order, and both servers must hold the same data.

Used by `tests/test_differential_blocking.py`. The stories keep away from what 7.2 changed: there a client
that waits for several keys that become ready in one transaction takes the first it named.
"""

from __future__ import annotations

import re
import shlex
import time
from typing import Any

from redoubt.resp.decoder import NEED_MORE
from redoubt.resp.replies import encode_command
from tests.redoubt.harness import Connection, ServerProcess

PATIENCE_S = 20.0

STORIES = {
    "clients are served in the order in which they began to wait": """
        a: BLPOP l 0
        b: BRPOP l 0
        c: BLPOP l 0
        w: RPUSH l 1 2 3 4
        w: LRANGE l 0 -1
    """,
    "one element serves one client, the others wait on": """
        a: BLPOP l 0
        b: BLPOP l 0
        w: RPUSH l 1
        w: RPUSH l 2
    """,
    "keys are served in the order in which they became ready": """
        a: BLPOP first second third 0
        b: BLPOP second first 0
        c: BLPOP third second 0
        w: MULTI
        w: RPUSH third 3
        w: RPUSH second 2
        w: RPUSH first 1
        w: EXEC
        w: KEYS *
    """,
    "a key named twice counts once": """
        a: BLPOP l l l 0
        w: RPUSH l 1 2
        w: LRANGE l 0 -1
        a: BLPOP none l 0
    """,
    "a moved element serves who waits for the target": """
        a: BLPOP end 0
        b: BRPOPLPUSH middle end 0
        c: BLMOVE start middle LEFT RIGHT 0
        w: RPUSH start x y
        w: LRANGE start 0 -1
        w: KEYS *
    """,
    "a circle of moves ends": """
        a: BRPOPLPUSH one two 0
        b: BRPOPLPUSH two one 0
        w: LPUSH one x
        w: LRANGE one 0 -1
        w: LRANGE two 0 -1
    """,
    "a move to a key of another type is an error and takes nothing": """
        w: SET target x
        a: BRPOPLPUSH source target 0
        b: BLMOVE source other LEFT LEFT 0
        w: RPUSH source 1
        w: LRANGE source 0 -1
        w: LRANGE other 0 -1
    """,
    "a transaction that leaves nothing serves nobody": """
        a: BLPOP l 0
        w: MULTI
        w: RPUSH l 1
        w: DEL l
        w: EXEC
        w: RPUSH l 2
    """,
    "a transaction is seen as a whole": """
        a: BLPOP l 0
        b: BZPOPMIN z 0
        w: MULTI
        w: RPUSH l a
        w: LPUSH l b
        w: ZADD z 5 five
        w: ZADD z 1 one
        w: EXEC
        w: LRANGE l 0 -1
        w: ZRANGE z 0 -1 WITHSCORES
    """,
    "another type does not end a wait": """
        a: BLPOP k 0
        b: BZPOPMAX k 0
        w: SET k x
        w: DEL k
        w: SADD k m
        w: DEL k
        w: ZADD k 1 one 2 two
        w: DEL k
        w: RPUSH k x
    """,
    "renamed, copied, restored and sorted into a key": """
        a: BLPOP renamed 0
        b: BLPOP copied 0
        c: BLPOP sorted 0
        d: BZPOPMIN stored 0
        w: RPUSH l 3 1 2
        w: COPY l copied
        w: SORT l STORE sorted
        w: RENAME l renamed
        w: ZADD z 1 a 2 b
        w: ZUNIONSTORE stored 1 z
        w: DBSIZE
    """,
    "databases are swapped under who waits": """
        a: BLPOP l 0
        w: SELECT 1
        w: RPUSH l 1 2
        w: SWAPDB 0 1
        w: LRANGE l 0 -1
        w: SELECT 0
        w: LRANGE l 0 -1
    """,
    "a key that moves to the database where somebody waits": """
        a: SELECT 1
        a: BLPOP l 0
        b: BLPOP l2 0
        w: RPUSH k 1
        w: RENAME k l
        w: MOVE l 1
    """,
    "many at once": """
        a: BLMPOP 0 2 one two LEFT COUNT 2
        b: BLMPOP 0 2 two one RIGHT COUNT 10
        c: BZMPOP 0 2 z y MAX COUNT 2
        d: BZMPOP 0 1 z MIN
        w: RPUSH two 1 2 3
        w: ZADD z 1 a 2 b 3 c
        w: KEYS *
    """,
    "timeouts in fractions": """
        a= BLPOP l 0.01
        a= BRPOPLPUSH l m 0.005
        a= BLMOVE l m LEFT LEFT 0.001
        a= BZPOPMIN z 0.02
        a= BLMPOP 0.01 1 l LEFT
        a= BZMPOP 0.01 1 z MIN
        a= PING
    """,
    "unblocked by another client": """
        a: BLPOP l 0
        b: BZMPOP 0 1 z MIN
        c: BLMOVE l m LEFT LEFT 0
        w: CLIENT UNBLOCK id:a
        w: CLIENT UNBLOCK id:b TIMEOUT
        w: CLIENT UNBLOCK id:c ERROR
        w: CLIENT UNBLOCK id:a
        w: CLIENT UNBLOCK id:w
        a: PING
        b: PING
        c: PING
    """,
    "a client that is gone takes nothing": """
        a: BLPOP l 0
        b: BLPOP l 0
        w: CLIENT KILL ID id:a
        w: RPUSH l 1
    """,
    "what is sent while waiting runs afterwards": """
        a: BLPOP l 0
        w: RPUSH l 1 2 3
        a: RPUSH l 4
        a: LRANGE l 0 -1
    """,
    "in a transaction nobody waits": """
        w: RPUSH l 1
        a: MULTI
        a: BLPOP l 0
        a: BLPOP l 0
        a: BLMOVE l m LEFT LEFT 0
        a: BRPOPLPUSH l m 0
        a: BZPOPMIN z 0
        a: BLMPOP 0 1 l LEFT
        a: WAIT 1 0
        a: EXEC
    """,
    "a flush wakes nobody": """
        w: SET other x
        a: BLPOP l 0
        w: FLUSHALL
        w: RPUSH l 1
    """,
    "watched keys": """
        a: WATCH l
        b: BLPOP l 0
        w: RPUSH l 1
        a: MULTI
        a: SET seen 1
        a: EXEC
        a: WATCH l
        a: MULTI
        a: RPUSH l 2
        a: EXEC
    """,
}


class Stage:
    """The clients of one story on one server."""

    def __init__(self, server: ServerProcess, resp: int) -> None:
        self.server = server
        self.resp = resp
        self.control = server.connect()
        self.clients: dict[str, Connection] = {}
        self.ids: dict[str, int] = {}
        self.sent: dict[str, int] = {}
        self.replies: dict[str, list[Any]] = {}

    def play(self, story: str) -> dict[str, list[Any]]:
        """Play a story; return the replies of each client, and under `data` what is left."""
        self.control.ask("FLUSHALL")
        for line in story.strip().splitlines():
            name, mark, words = re.split("([:=]) ", line.strip(), maxsplit=1)
            if name not in self.clients:
                self._enter(name)
            argv = [self._word(word) for word in shlex.split(words)]
            self.clients[name].send(encode_command(argv))
            self.sent[name] += 1
            self._wait_for(name, mark == ":")
        for name, number in self.ids.items():
            if len(self.replies[name]) < self.sent[name]:
                self.control.ask("CLIENT", "UNBLOCK", number, "ERROR")
                self._wait_for(name, False)
        data = [self.control.ask("DBSIZE"), sorted(self.control.ask("KEYS", "*"))]
        for client in [*self.clients.values(), self.control]:
            client.close()
        return {**self.replies, "data": data}

    def _enter(self, name: str) -> None:
        client = self.server.connect()
        if self.resp == 3:
            client.ask("HELLO", 3)
        self.ids[name] = client.ask("CLIENT", "ID")
        client.socket.settimeout(0.005)
        self.clients[name] = client
        self.sent[name] = 0
        self.replies[name] = []

    def _word(self, word: str) -> bytes:
        return b"%d" % self.ids[word[3:]] if word.startswith("id:") else word.encode()

    def _wait_for(self, name: str, may_wait: bool) -> None:
        """Read on until the client has all its replies, is closed, or waits if it may."""
        deadline = time.monotonic() + PATIENCE_S
        while len(self.replies[name]) < self.sent[name]:
            assert time.monotonic() < deadline, f"{name} neither answered nor waiting"
            try:
                self._read(name)
            except ConnectionError:
                self.replies[name].append("closed")
                return
            if may_wait and len(self.replies[name]) < self.sent[name] and self._is_waiting(name):
                self._read(name)  # what came before it began to wait
                return

    def _read(self, name: str) -> None:
        client = self.clients[name]
        try:
            data = client.socket.recv(1 << 18)
        except TimeoutError:
            return
        if not data:
            raise ConnectionError
        client.decoder.feed(data)
        while (reply := client.decoder.next()) is not NEED_MORE:
            self.replies[name].append(reply)

    def _is_waiting(self, name: str) -> bool:
        lines = self.control.ask("CLIENT", "LIST", "ID", self.ids[name]).decode()
        return re.search(r" flags=\w*b", lines) is not None or not lines
