"""Signs of life while a script runs: the cluster bus and the health port, answered from within its turn.

A node whose script runs for longer than the node timeout is healthy, and must neither be failed by the
others nor killed by a kubelet. So every 100 ms this looks at the streams of the bus, whose PINGs are answered
at once while everything else waits (`Bus.received_while_busy`), and at the health port, for whose requests
the script is no obstacle. Redis answers its bus, too, but only after `busy-reply-threshold`, which is longer
than a node timeout of three seconds.

Connections to the health port that were accepted here are closed after the answer, or with the script. A
command that cannot be interrupted (KEYS) holds all of this up, as in Redis; liveness bears two minutes.

`RunningProcess` calls `beat`; `redoubt.runtime.busy` owns it and calls `finish`.
"""

from __future__ import annotations

import os
import select
import socket
from typing import TYPE_CHECKING, Any, Final

from redoubt.cluster.bus import POSTPONED_BYTES_MAX, Bus, BusLink
from redoubt.interfaces import LANE_BUS, Link
from redoubt.runtime.health import HealthConnection
from redoubt.runtime.plain_transport import PlainTransport
from redoubt.runtime.stream import Stream

if TYPE_CHECKING:
    from redoubt.runtime.loop import Runtime

READ_BYTES: Final = 64 * 1024
# Connections to the health port accepted at one look.
ACCEPTED_MAX: Final = 16


class Probe:
    """One connection to the health port, read and answered without the loop."""

    def __init__(self, client: Any, connection: HealthConnection, is_ours: bool) -> None:
        self.client = client
        self.connection = connection
        self.is_ours = is_ours  # accepted here: the loop does not know it
        self.plain = PlainTransport(client)
        if is_ours:
            connection.connection_made(self.plain)  # type: ignore[arg-type]

    def take(self) -> bool:
        """Read and answer what there is; say whether more may come."""
        try:
            data = os.read(self.client.fileno(), READ_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        if not data:
            return False  # the loop will find the end of what it knows once more
        known = self.connection.transport
        self.connection.transport = self.plain  # type: ignore[assignment]
        self.connection.data_received(data)
        self.connection.transport = known
        return self.send()

    def send(self) -> bool:
        """Send the answer, if there is one; say whether more may come."""
        if not self.plain.unsent:
            return not self.plain.is_ended
        try:
            taken = os.write(self.client.fileno(), self.plain.unsent)
        except OSError:
            return False  # the peer is gone, or asks for figures without reading them
        self.plain.unsent = self.plain.unsent[taken:]
        return not self.is_ours

    def end(self) -> None:
        """Close, and leave to the loop what it knows."""
        known = self.connection.transport
        if self.is_ours:
            self.client.close()
            self.connection.connection_lost(None)
        elif known is not None and self.plain.unsent:
            known.write(self.plain.unsent)
            self.plain.unsent = b""
        elif known is not None and self.plain.is_ended:
            known.close()


class Heartbeat:
    """Answers the bus and the health port; see the module's docstring."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        # Streams of the bus of which nothing more comes.
        self.ended: set[int] = set()
        self.probes: dict[int, Probe] = {}
        self.has_found = False

    def beat(self) -> None:
        """Look once at every socket that is watched, and answer."""
        poll = select.poll()
        listeners = {listener.fileno(): listener for listener in self.runtime.health_sockets}
        self.find_probes()
        for descriptor in [*listeners, *self.probes]:
            poll.register(descriptor, select.POLLIN)
        for descriptor, stream in self.runtime.streams.items():
            if descriptor not in self.ended and is_heard(stream.link):
                poll.register(descriptor, select.POLLIN)
        now_ms = self.runtime.clock.now_ms()
        for descriptor, _ in poll.poll(0):
            listener = listeners.get(descriptor)
            if listener is not None:
                self.accept(listener)
            elif descriptor in self.probes:
                self.answer(descriptor)
            else:
                self.hear(descriptor, now_ms)
        self.flush()

    def find_probes(self) -> None:
        """Look for the connections to the health port that the loop has accepted before."""
        port = self.runtime.health_port
        if port is None or self.has_found:
            return
        self.has_found = True
        for connection in port.connections:
            if connection.transport is not None and not connection.transport.is_closing():
                client = connection.transport.get_extra_info("socket")
                self.probes[client.fileno()] = Probe(client, connection, False)

    def accept(self, listener: socket.socket) -> None:
        """Take new connections to the health port; their requests are read at once if they are there."""
        port = self.runtime.health_port
        assert port is not None
        for _ in range(ACCEPTED_MAX):
            try:
                client, _ = listener.accept()
            except OSError:
                return
            client.setblocking(False)
            self.probes[client.fileno()] = Probe(client, port.make(), True)
            self.answer(client.fileno())

    def answer(self, descriptor: int) -> None:
        """Read and answer a request to the health port."""
        port = self.runtime.health_port
        assert port is not None
        port.is_busy = True
        probe = self.probes[descriptor]
        if not probe.take():
            del self.probes[descriptor]
            probe.end()
        port.is_busy = False

    def hear(self, descriptor: int, now_ms: int) -> None:
        """Read what another node has sent."""
        stream = self.runtime.streams.get(descriptor)
        if stream is None or not isinstance(stream.link, BusLink):
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
        bus = stream.link.owner
        assert isinstance(bus, Bus)
        bus.received_while_busy(stream.link, data, now_ms)

    def flush(self) -> None:
        """Send the answers, after whatever of this turn must be durable before the bus says anything."""
        lanes = self.runtime.node.state.dirty_lanes
        if not lanes[LANE_BUS]:
            return
        self.runtime.fulfil_early()
        links, lanes[LANE_BUS] = lanes[LANE_BUS], []
        for link in links:
            link.is_dirty = False
            if isinstance(link.handle, Stream):
                link.handle.flush()

    def finish(self) -> None:
        """Go back to the loop: end what is unanswered, and take in what the other nodes said meanwhile."""
        self.ended = set()
        self.has_found = False
        probes, self.probes = self.probes, {}
        for probe in probes.values():
            probe.end()
        self.runtime.loop.call_soon(self.catch_up)

    def catch_up(self) -> None:
        """Take in what the other nodes said while the script ran."""
        for stream in list(self.runtime.streams.values()):
            link = stream.link
            if isinstance(link, BusLink) and link.postponed:
                link.owner.received(link, b"", self.runtime.begin_turn())


def is_heard(link: Link | None) -> bool:
    """Say whether to read from this link: a stream that another node dialled, unless it brings too much."""
    return (
        isinstance(link, BusLink)
        and link.is_inbound
        and not link.is_closed
        and link.postponed_bytes < POSTPONED_BYTES_MAX
    )
