"""The HTTP port of a node: /metrics for Prometheus, /livez and /readyz for the kubelet.

It runs on the node's own loop, because an answer from another thread would say nothing about whether the node
answers; while a script runs, `redoubt.runtime.heartbeat` has it answer. Liveness means no more than that: it
never looks at role, loading or links, or a slow command would get a healthy master killed. Readiness asks
`redoubt.readiness`. A scrape is rendered in slices, between which the node serves its clients;
`?name[]=a&name[]=b` selects families.

h11 reads and checks the requests. Every connection has limits: its number, the size of a request, the time
for one, and the time it may idle. Nothing is ever changed through this port, and no password protects it:
it shows figures, no keys. Rules: RFC 9112; Prometheus' text format; Kubernetes' probes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Final, cast
from urllib.parse import parse_qs, urlsplit

import h11

from redoubt import metrics, readiness
from redoubt.state import ServerState

log = logging.getLogger("redoubt")

# Prometheus, the operator and the kubelet need a handful; the rest is refused at once.
CONNECTIONS_MAX: Final = 64
REQUEST_BYTES_MAX: Final = 16 * 1024
# From the first byte of a request, or the connection, to the end of the request; and for taking the answer.
REQUEST_S_MAX: Final = 10.0
# Between two requests of a kept connection; longer than the scrape interval that Prometheus is used to.
IDLE_S_MAX: Final = 90.0
# How long one slice of rendering may hold the loop.
SLICE_S_MAX: Final = 0.001
TEXT: Final = b"text/plain; version=0.0.4; charset=utf-8"
PLAIN: Final = b"text/plain; charset=utf-8"


class HealthPort:
    """Makes the protocol of each connection, and counts them."""

    def __init__(
        self, state: ServerState, loop: asyncio.AbstractEventLoop, clock_ms: Callable[[], int]
    ) -> None:
        self.state = state
        self.loop = loop
        self.clock_ms = clock_ms
        self.connections: set[HealthConnection] = set()
        # A script runs and the loop does not: nothing can be done in slices.
        self.is_busy = False

    def make(self) -> HealthConnection:
        """Return the protocol for a new connection."""
        return HealthConnection(self)


class HealthConnection(asyncio.Protocol):
    """One HTTP connection."""

    def __init__(self, port: HealthPort) -> None:
        self.port = port
        self.transport: asyncio.Transport | None = None
        self.http = h11.Connection(h11.SERVER, max_incomplete_event_size=REQUEST_BYTES_MAX)
        self.request: h11.Request | None = None
        self.is_answering = False
        self.deadline_s = 0.0
        self.timer: asyncio.TimerHandle | None = None

    # What uvloop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection, or refuse it if there are too many."""
        self.transport = cast(asyncio.Transport, transport)
        if len(self.port.connections) >= CONNECTIONS_MAX:
            self.transport.abort()
            return
        self.port.connections.add(self)
        self.set_deadline(REQUEST_S_MAX)
        self.watch()

    def data_received(self, data: bytes) -> None:
        """Take bytes of a request; its time begins with the first one and is not lengthened by more."""
        if self.deadline_s > self.port.loop.time() + REQUEST_S_MAX:
            self.set_deadline(REQUEST_S_MAX)
        try:
            self.http.receive_data(data)
        except h11.RemoteProtocolError as error:
            self.refuse(error)
            return
        self.advance()

    def eof_received(self) -> bool:
        """Take note that no more requests follow; an answer under way is still written."""
        return self.is_answering

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the connection."""
        self.port.connections.discard(self)
        self.transport = None
        if self.timer is not None:
            self.timer.cancel()

    def resume_writing(self) -> None:
        """Take note that the peer has taken the answer."""
        self.set_deadline(IDLE_S_MAX)

    # Requests.

    def advance(self) -> None:
        """Read events until more bytes are needed or a request is complete."""
        while not self.is_answering and self.transport is not None:
            try:
                event = self.http.next_event()
            except h11.RemoteProtocolError as error:
                self.refuse(error)
                return
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return
            if isinstance(event, h11.Request):
                self.request = event
            elif isinstance(event, h11.EndOfMessage):
                self.answer()
            elif isinstance(event, h11.ConnectionClosed):
                self.transport.close()
                return

    def refuse(self, error: h11.RemoteProtocolError) -> None:
        """Answer what is no request, and close."""
        if self.http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.respond(error.error_status_hint or 400, PLAIN, b"bad request\n")
        if self.transport is not None:
            self.transport.close()

    def answer(self) -> None:
        """Answer the complete request."""
        request = self.request
        assert request is not None
        self.set_deadline(REQUEST_S_MAX)
        target = urlsplit(request.target.decode("ascii", "replace"))
        if request.method not in (b"GET", b"HEAD"):
            self.respond(405, PLAIN, b"only GET\n")
        elif target.path == "/livez":
            self.respond(200, PLAIN, b"ok\n")
        elif target.path == "/readyz":
            reasons = readiness.reasons(self.port.state, self.port.clock_ms())
            body = "".join(f"not ready: {reason}\n" for reason in reasons) or "ok\n"
            self.respond(503 if reasons else 200, PLAIN, body.encode())
        elif target.path == "/metrics":
            names = set(parse_qs(target.query).get("name[]", []))
            self.is_answering = True
            if self.transport is not None:
                self.transport.pause_reading()
            self.render(metrics.render(self.port.state, names), [])
        else:
            self.respond(404, PLAIN, b"/metrics, /livez, /readyz\n")

    def render(self, pieces: Iterator[str], parts: list[str]) -> None:
        """Render for one slice of time, then let the loop turn; answer at the end."""
        if self.transport is None:
            return
        until_s = perf_counter() + SLICE_S_MAX
        try:
            for piece in pieces:
                parts.append(piece)
                if perf_counter() >= until_s and not self.port.is_busy:
                    self.port.loop.call_soon(self.render, pieces, parts)
                    return
        except Exception:
            log.exception("The metrics could not be collected")
            self.respond(500, PLAIN, b"the metrics could not be collected; see the log\n")
        else:
            self.respond(200, TEXT, "".join(parts).encode())
        self.is_answering = False
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()
            self.advance()

    def respond(self, status: int, content_type: bytes, body: bytes) -> None:
        """Write one answer, and make ready for the next request if the client keeps the connection.

        A client that has sent its next request before this answer (nobody does) is not kept, since it could
        hold the loop with thousands of requests in one packet.
        """
        transport = self.transport
        if transport is None:
            return
        headers = [(b"Content-Type", content_type), (b"Content-Length", b"%d" % len(body))]
        data = self.http.send(h11.Response(status_code=status, headers=headers)) or b""
        if self.request is None or self.request.method != b"HEAD":
            data += self.http.send(h11.Data(data=body)) or b""
        data += self.http.send(h11.EndOfMessage()) or b""
        transport.write(data)
        self.request = None
        is_kept = self.http.our_state is h11.DONE and self.http.their_state is h11.DONE
        if not is_kept or self.http.trailing_data[0]:
            transport.close()
        else:
            self.http.start_next_cycle()
            is_taken = transport.get_write_buffer_size() == 0
            self.set_deadline(IDLE_S_MAX if is_taken else REQUEST_S_MAX)

    # Time.

    def set_deadline(self, seconds: float) -> None:
        """Have the connection ended if nothing sets another deadline within this time."""
        self.deadline_s = self.port.loop.time() + seconds
        if self.timer is not None and self.timer.when() > self.deadline_s:
            self.timer.cancel()
            self.watch()

    def watch(self) -> None:
        """End the connection if its deadline has passed, else look again then."""
        loop = self.port.loop
        if self.transport is None:
            return
        if loop.time() >= self.deadline_s:
            self.transport.abort()
            return
        self.timer = loop.call_at(self.deadline_s, self.watch)
