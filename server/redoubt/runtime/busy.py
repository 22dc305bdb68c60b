"""Other clients while a script runs for too long: read, run and answered from within the script's turn.

The event loop cannot be entered again, so this looks at the sockets itself: every client's that is being
read, and the listeners', since who wants to say SCRIPT KILL often connects anew. Nearly every command is
refused with BUSY by then. A connection accepted here has a plain transport until the script has ended; then
the loop takes the socket over.

The order of a turn is kept: what was written before the script goes to the replicas first, then replies
go out. What the script writes is an open unit and stays; the caller is left alone. The cluster bus, the
stream of our master and the metrics port wait for the end of the script.

`RunningProcess` calls `serve` and `finish`. Source: Redis's processEventsWhileBlocked.
"""

from __future__ import annotations

import os
import select
import socket
from typing import TYPE_CHECKING, Any, Final

from redoubt.interfaces import LANE_CLIENT, LANE_REPLICA, LISTEN_CLIENT, Exit
from redoubt.runtime.stream import Stream
from redoubt.session import Session

if TYPE_CHECKING:
    from redoubt.runtime.loop import Runtime

READ_BYTES: Final = 64 * 1024
# Connections accepted at one look.
ACCEPTED_MAX: Final = 16


class PlainTransport:
    """What a stream needs of a transport, for a socket that the loop does not know yet."""

    def __init__(self, client: socket.socket) -> None:
        self.client = client
        self.unsent = b""
        self.is_ended = False

    def get_extra_info(self, name: str) -> Any:
        """Return the socket or one of its addresses."""
        if name == "socket":
            return self.client
        return self.client.getpeername() if name == "peername" else self.client.getsockname()

    def set_write_buffer_limits(self, high: int | None = None) -> None:
        """Take any amount: what is sent here are short replies."""

    def get_write_buffer_size(self) -> int:
        """Return what the kernel has not taken."""
        return len(self.unsent)

    def is_closing(self) -> bool:
        """Say whether the stream has been closed."""
        return self.is_ended

    def write(self, data: Any) -> None:
        """Keep what the kernel did not take; the loop sends it."""
        self.unsent += bytes(data)

    def pause_reading(self) -> None:
        """Stop: the stream says itself whether it reads."""

    def resume_reading(self) -> None:
        """Go on."""

    def close(self) -> None:
        """End the stream; it is closed when the script has ended."""
        self.is_ended = True

    def abort(self) -> None:
        """End the stream."""
        self.is_ended = True


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
        for effect in state.effects:
            if isinstance(effect, Exit):
                os._exit(effect.code)  # SHUTDOWN NOSAVE: the script must not go on

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
        """Send what the replicas must have, then the replies of all but the caller."""
        state = self.runtime.node.state
        state.replication.before_flush(self.runtime.now_ms)
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
        self.ended = set()
        plain, self.plain = self.plain, {}
        for stream in plain.values():
            transport = stream.transport
            if transport.is_closing():
                stream.connection_lost(None)
                transport.client.close()
            else:
                self.runtime.adopt(stream, transport)
