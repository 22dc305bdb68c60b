"""Other clients while a script runs for too long: read, run and answered from within the script's turn.

The event loop cannot be entered again, so this looks at the sockets itself: every client's that is being
read, and the listeners', since who wants to say SCRIPT KILL often connects anew. Nearly every command is
refused with BUSY by then. A connection accepted here has a plain transport until the script has ended; then
the loop takes the socket over.

The order of a turn is kept: what was written before the script goes to the replicas first, then replies
go out. What the script writes is an open unit and stays; the caller is left alone. The stream of our master
waits for the end of the script; the cluster bus and the health port have `redoubt.runtime.heartbeat`.

`RunningProcess` calls `serve` and `finish`. Source: Redis's processEventsWhileBlocked.
"""

from __future__ import annotations

import os
import select
import socket
from typing import TYPE_CHECKING, Any, Final

from redoubt.interfaces import LANE_CLIENT, LANE_REPLICA, LISTEN_CLIENT
from redoubt.runtime.heartbeat import Heartbeat
from redoubt.runtime.plain_transport import PlainTransport
from redoubt.runtime.stream import Stream
from redoubt.session import Session

if TYPE_CHECKING:
    from redoubt.runtime.loop import Runtime

READ_BYTES: Final = 64 * 1024
# Connections accepted at one look.
ACCEPTED_MAX: Final = 16


class Adoption:
    """The protocol of a socket for the moment in which the loop takes it over."""

    def __init__(self, stream: Stream, plain: PlainTransport) -> None:
        self.stream = stream
        self.plain = plain

    def itself(self) -> Adoption:
        """Return this protocol, as the loop asks for one."""
        return self

    def connection_made(self, transport: Any) -> None:
        """Give the stream its real transport, and that what is still to be sent."""
        stream = self.stream
        stream.transport = transport
        transport.set_write_buffer_limits(high=0)
        transport.set_protocol(stream)
        if not stream.is_reading:
            transport.pause_reading()
        if self.plain.unsent:
            transport.write(self.plain.unsent)
        stream.is_backed_up = transport.get_write_buffer_size() > 0

    def connection_lost(self, error: Exception | None) -> None:
        """Pass on that the stream has ended at once."""
        self.stream.connection_lost(error)


class BusyService:
    """Serves others while a script is busy; see the module's docstring."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        # Sockets of which nothing more comes.
        self.ended: set[int] = set()
        self.plain: dict[int, Stream] = {}
        self.heartbeat = Heartbeat(runtime)

    def serve(self, caller: Session) -> None:
        """Look once at every socket, run what has come, and send the replies."""
        state = self.runtime.node.state
        current = state.current
        now_ms = state.now_ms
        poll = select.poll()
        listeners = {listener.fileno(): listener for listener in self.runtime.listening(LISTEN_CLIENT)}
        for descriptor in listeners:
            poll.register(descriptor, select.POLLIN)
        for descriptor, stream in self.runtime.streams.items():
            if stream.link is not caller and self.is_served(descriptor, stream):
                poll.register(descriptor, select.POLLIN)
        for descriptor, _ in poll.poll(0):
            listener = listeners.get(descriptor)
            if listener is not None:
                self.accept(listener)
            else:
                self.read(descriptor)
        self.flush(caller)
        state.current = current
        state.now_ms = now_ms
        if self.runtime.exit_code >= 0:
            os._exit(self.runtime.exit_code)  # SHUTDOWN NOSAVE: the script must not go on

    def is_served(self, descriptor: int, stream: Stream) -> bool:
        """Say whether to read from a stream."""
        link = stream.link
        return (
            isinstance(link, Session)
            and stream.is_reading
            and not link.is_master_link
            and not link.is_closed
            and descriptor not in self.ended
        )

    def accept(self, listener: socket.socket) -> None:
        """Take new connections."""
        for _ in range(ACCEPTED_MAX):
            try:
                client, _ = listener.accept()
            except OSError:
                return
            client.setblocking(False)
            stream = Stream(self.runtime, None, LISTEN_CLIENT)
            stream.connection_made(PlainTransport(client))  # type: ignore[arg-type]
            self.plain[client.fileno()] = stream

    def read(self, descriptor: int) -> None:
        """Hand over what a client has sent."""
        stream = self.runtime.streams.get(descriptor)
        if stream is None:
            return
        try:
            data = os.read(descriptor, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.ended.add(descriptor)  # the loop will find the end once more
            return
        stream.data_received(data)

    def flush(self, caller: Session) -> None:
        """Do what comes before, send what the replicas must have, then the replies of all but the caller."""
        state = self.runtime.node.state
        self.runtime.fulfil_early()
        self.runtime.write_history()
        self.flush_lane(LANE_REPLICA, caller)
        if not state.replication.holds_replies():
            self.flush_lane(LANE_CLIENT, caller)

    def flush_lane(self, number: int, caller: Session) -> None:
        """Write the dirty links of one lane."""
        lanes = self.runtime.node.state.dirty_lanes
        links, lanes[number] = lanes[number], []
        for link in links:
            handle = link.handle
            if link is caller:
                lanes[number].append(link)
            else:
                link.is_dirty = False
                if isinstance(handle, Stream):
                    handle.flush()

    def finish(self) -> None:
        """End the service: the loop takes over the connections that were accepted here."""
        self.heartbeat.finish()
        self.ended = set()
        plain, self.plain = self.plain, {}
        for stream in plain.values():
            transport = stream.transport
            if transport.is_closing():
                stream.connection_lost(None)
                transport.client.close()
            else:
                self.runtime.adopt(stream, transport)
