"""A server that answers RESP by a script, for tests of those who ask servers and command them.

It listens on the client port of an address of its own in 127.0.0.0/8, as a pod does. `replies` maps the
leading words of a command to what it answers; `commands` is what it was asked. It knows no Redis.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redoubt.resp.decoder import NeedMore, ReplyDecoder
from redoubt.resp.replies import OK, ErrorReply, MapReply, Reply, encoded
from redoubt_operator.names import PORT_CLIENT

PASSWORD = "sesame"
NODE_ID = "a" * 40
_addresses = itertools.count(1)


def free_address() -> str:
    """Return an address of loopback that no other test process uses."""
    number = next(_addresses)
    return f"127.{80 + os.getpid() // 250 % 100}.{os.getpid() % 250}.{number}"


def status_reply(**changes: str | int) -> MapReply:
    """Return the reply of REDOUBT STATUS of a serving master, with changes (underscores for dashes)."""
    values: dict[str, str | int] = {
        "node-id": NODE_ID,
        "phase": "assigned",
        "role": "master",
        "config-epoch": 3,
        "slots": 5461,
        "uptime-ms": 60_000,
    }
    values |= {name.replace("_", "-"): value for name, value in changes.items()}
    return MapReply(
        [
            (name.encode(), value if isinstance(value, int) else value.encode())
            for name, value in values.items()
        ]
    )


class FakeServer:
    """One server; see the module's docstring."""

    def __init__(self, ip: str) -> None:
        self.ip = ip
        self.replies: dict[str, Reply] = {
            "AUTH": OK,
            "REDOUBT STATUS": status_reply(),
            "CLUSTER NODES": (f"{NODE_ID} {ip}:6379@16379 myself,master - 0 0 3 connected 0-5460\n".encode()),
            "CONFIG GET": [b"maxmemory", b"100"],
        }
        self.commands: list[list[str]] = []
        self.silent_from: str | None = None
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, self.ip, PORT_CLIENT)

    def die(self) -> None:
        """End as a killed process does: the listener and all connections are gone at once."""
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        decoder = ReplyDecoder()
        try:
            while data := await reader.read(65536):
                decoder.feed(data)
                while not isinstance(command := decoder.next(), NeedMore):
                    assert isinstance(command, list)
                    argv = [word.decode() for word in command]
                    self.commands.append(argv)
                    if self.silent_from is not None and argv[0] == self.silent_from:
                        await asyncio.sleep(3600)
                    writer.write(encoded(self._reply(argv)))
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def _reply(self, argv: list[str]) -> Reply:
        for length in (3, 2, 1):
            reply = self.replies.get(" ".join(argv[:length]))
            if reply is not None:
                return reply
        return ErrorReply(b"ERR unknown command")

    def asked(self, *words: str) -> list[list[str]]:
        """Return the commands that begin with these words."""
        return [argv for argv in self.commands if argv[: len(words)] == list(words)]


@asynccontextmanager
async def server(ip: str | None = None) -> AsyncIterator[FakeServer]:
    """Run one fake server."""
    fake = FakeServer(ip or free_address())
    await fake.start()
    try:
        yield fake
    finally:
        fake.die()
