"""Connections to the servers: one to each, kept open, so that its end tells of a death before Kubernetes can.

A `Link` is one authenticated RESP connection: commands go out in order, replies come back in order, each
within the caller's deadline. When a process dies, its kernel closes the socket, and we know it in the same
millisecond; a kubelet needs a second or two to say so. That is all the end of a link says: somebody shall
look. Whether the server is dead is decided from what is then seen.

A reply that misses its deadline leaves the stream out of step, so the link is closed by ourselves, which
tells nobody anything. `Links` keeps the links by pod uid. Called by the members (questions) and the executor
(commands). The wire format is `redoubt.resp`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from redoubt.resp.decoder import NeedMore, ReplyDecoder
from redoubt.resp.replies import ErrorReply, ProtocolError, Reply, encode_command

# One server's answer to one round of questions; also for connecting and authenticating.
DEADLINE_S: Final = 1.0


class LinkError(Exception):
    """A server could not be asked: refused, silent, gone, or not speaking RESP."""


class Refused(Exception):
    """A server answered with an error."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server of a pod listens; the uid tells it from a later pod with the same address."""

    uid: str
    ip: str
    port: int


class Link(asyncio.Protocol):
    """One connection. `ended` is called once if it ends without our doing."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended
        self._decoder = ReplyDecoder()
        self._waiting: deque[asyncio.Future[Reply]] = deque()
        self._transport: asyncio.Transport | None = None

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._decoder.feed(data)
        try:
            while not isinstance(reply := self._decoder.next(), NeedMore):
                if not self._waiting:
                    raise ProtocolError(b"a reply to nothing")
                future = self._waiting.popleft()
                if not future.done():
                    future.set_result(reply)
        except ProtocolError as error:
            self._fail(LinkError(f"not understood: {error.text.decode(errors='replace')}"))
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        was_closed_by_us, self._transport = self._transport is None, None
        self._fail(LinkError(f"connection ended{f': {exc}' if exc else ''}"))
        if not was_closed_by_us:
            self._ended()

    def close(self) -> None:
        """End the connection by ourselves; nobody is told."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    def send(self, *argv: str | bytes | int) -> asyncio.Future[Reply]:
        """Send one command; the future becomes its reply. Raises LinkError when the link has ended."""
        if self._transport is None or self._transport.is_closing():
            raise LinkError("connection ended")
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._transport.write(encode_command([_argument(value) for value in argv]))
        return future

    async def call(self, *argv: str | bytes | int, deadline_s: float = DEADLINE_S) -> Reply:
        """Send one command and wait for its reply. Raises LinkError, or Refused for an error reply."""
        return accepted(await self.receive(self.send(*argv), deadline_s))

    async def receive(self, future: asyncio.Future[Reply], deadline_s: float = DEADLINE_S) -> Reply:
        """Wait for a reply; without one in time the stream is out of step and the link is closed."""
        try:
            async with asyncio.timeout(deadline_s):
                return await future
        except TimeoutError:
            self.close()
            raise LinkError("no answer in time") from None

    def _fail(self, error: LinkError) -> None:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_exception(error)
                # Whoever has given up waiting meanwhile need not be reminded by the event loop.
                future.exception()


def accepted(reply: Reply) -> Reply:
    """Return the reply, or raise Refused when it is an error."""
    if isinstance(reply, ErrorReply):
        raise Refused(reply.text.decode(errors="replace"))
    return reply


def _argument(value: str | bytes | int) -> bytes:
    if isinstance(value, bytes):
        return value
    return str(value).encode()


async def connect(address: Address, password: str, ended: Callable[[], None]) -> Link:
    """Connect and authenticate within one deadline. Raises LinkError or Refused."""
    loop = asyncio.get_running_loop()
    link = Link(ended)
    try:
        async with asyncio.timeout(DEADLINE_S):
            await loop.create_connection(lambda: link, address.ip, address.port)
            if password:
                accepted(await link.send("AUTH", password))
    except TimeoutError:
        link.close()
        raise LinkError("no answer in time") from None
    except ConnectionRefusedError:
        raise LinkError("connection refused") from None
    except OSError as error:
        raise LinkError(f"cannot connect: {error.strerror or error}") from error
    except Refused:
        link.close()
        raise
    return link


class Links:
    """The open links by pod uid. `ended` is called with the uid when a server's link ends."""

    def __init__(self, ended: Callable[[str], None]) -> None:
        self._ended = ended
        self._links: dict[str, Link] = {}
        self._connecting: dict[str, asyncio.Lock] = {}

    def __len__(self) -> int:
        return len(self._links)

    async def get(self, address: Address, password: str) -> Link:
        """Return the link to a server, connecting it if needed. Raises LinkError or Refused."""
        async with self._connecting.setdefault(address.uid, asyncio.Lock()):
            link = self._links.get(address.uid)
            if link is None or not link.is_open:
                self._links.pop(address.uid, None)
                link = await connect(address, password, lambda: self._link_ended(address.uid))
                self._links[address.uid] = link
            return link

    def seen(self, uid: str) -> Link:
        """Return the link on which a server was last asked. Raises LinkError when it has ended since."""
        link = self._links.get(uid)
        if link is None or not link.is_open:
            raise LinkError("the connection has ended since the server was seen")
        return link

    def drop(self, uid: str) -> None:
        """Close the link to a pod that is of no interest any more."""
        link = self._links.pop(uid, None)
        self._connecting.pop(uid, None)
        if link is not None:
            link.close()

    def close(self) -> None:
        """Close all links."""
        for uid in list(self._links):
            self.drop(uid)

    def _link_ended(self, uid: str) -> None:
        # A link that broke before it was ever in use says no more than the error that its maker gets.
        if self._links.pop(uid, None) is not None:
            self._ended(uid)
