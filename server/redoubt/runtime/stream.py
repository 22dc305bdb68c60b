"""One connected socket of the process: what uvloop calls when bytes arrive, and how the node's bytes leave.

Writing happens once per loop turn, straight to the descriptor: one system call, no transport in between.
Only what the kernel does not take at once goes through the transport, which then waits for room; while it
holds anything, later output queues behind it there. Reading stops while `link.is_paused`.

`redoubt.runtime.loop` owns the streams and calls `flush`; uvloop calls the protocol methods. TLS would bring
a transport whose bytes may not bypass it: `writes_direct` is False then, and nothing else changes.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from fcntl import ioctl
from typing import TYPE_CHECKING, Any, Final, cast

from redoubt.interfaces import LANE_REPLICA, Link

if TYPE_CHECKING:
    from redoubt.runtime.loop import Runtime

# Linux: bytes in the send queue that have never been sent. What has been sent and not acknowledged does not
# count: it arrives without this process, and delayed acknowledgements would make it look unsent for 40 ms.
SIOCOUTQNSD: Final = 0x894B


class Stream:
    """An asyncio protocol (by its methods, not by inheritance) and the writer of one link."""

    def __init__(self, runtime: Runtime, link: Link | None, kind: int) -> None:
        self.runtime = runtime
        self.node = runtime.node
        self.link: Link | None = link  # None until an incoming connection is accepted
        self.kind = kind  # of the listener that it came from; -1 for a dialled one
        self.transport: Any = None
        self.descriptor = -1
        self.writes_direct = True
        # The transport holds bytes that the kernel has not taken.
        self.is_backed_up = False
        self.is_reading = True
        # The peer takes nothing more; the end of what it sent is still to be read.
        self.is_deaf = False

    # What uvloop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connected transport; make the link of an incoming connection."""
        runtime = self.runtime
        self.transport = transport
        self.descriptor = transport.get_extra_info("socket").fileno()
        self.transport.set_write_buffer_limits(high=0)
        set_keepalive(transport.get_extra_info("socket"), runtime.config.tcp_keepalive)
        now_ms = runtime.begin_turn()
        peer = format_address(transport.get_extra_info("peername"))
        local = format_address(transport.get_extra_info("sockname"))
        if self.link is None:
            link = self.node.accepted(self.kind, peer, local, now_ms)
            self.link = link
            link.handle = self
        else:
            link = self.link
            link.handle = self
            link.peer = peer
            link.local = local
            if link.is_closed:  # given up while it was being dialled
                self.abort()
                return
            self.node.opened(link, now_ms)
        runtime.streams[self.descriptor] = self

    def data_received(self, data: bytes) -> None:
        """Hand bytes to the node."""
        link = self.link
        if link is None or link.is_closed:
            return
        runtime = self.runtime
        try:
            self.node.received(link, data, runtime.now_ms if runtime.is_in_turn else runtime.begin_turn())
        except Exception:
            runtime.fault(f"what {link.peer} sent, whose connection is closed")
            self.abort()
        if link.is_paused:
            self.pause_reading()

    def eof_received(self) -> bool:
        """Write what is left and close: a half-closed client still gets the replies of what it sent."""
        link = self.link
        if link is not None and not link.is_closed:
            self.runtime.begin_turn()
            link.closes_after_flush = True
            self.node.state.mark_dirty(link)
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the node that the stream has ended."""
        runtime = self.runtime
        runtime.streams.pop(self.descriptor, None)
        runtime.paused.pop(self.descriptor, None)
        self.descriptor = -1
        link = self.link
        self.link = None
        if link is not None:
            self.node.closed(link, runtime.begin_turn())

    def pause_writing(self) -> None:
        """Take note that the transport holds unsent bytes."""
        self.is_backed_up = True

    def resume_writing(self) -> None:
        """Take note that the transport is empty again."""
        self.is_backed_up = False
        link = self.link
        if link is not None:
            link.unsent_bytes = 0
            self.node.drained(link, self.runtime.begin_turn())

    # What the loop calls.

    def flush(self) -> None:
        """Write everything that stands in the link's output."""
        link = self.link
        if link is None:
            return
        out = link.out
        if self.is_deaf:
            out.clear()
        elif out and not self.transport.is_closing():
            data = out[0] if len(out) == 1 else b"".join(out)
            out.clear()
            self.write(link, data)
        if link.closes_after_flush and not link.is_closed:
            link.is_closed = True
            self.transport.close()

    def write(self, link: Link, data: bytes) -> None:
        """Hand bytes to the kernel, and what it does not take to the transport."""
        size = len(data)
        statistics = self.runtime.statistics
        statistics.net_output_bytes += size
        statistics.writes_processed += 1
        if self.writes_direct and not self.is_backed_up:
            try:
                taken = os.write(self.descriptor, data)
            except BlockingIOError:
                taken = 0
            except OSError:
                self.give_up_writing()
                return
            if taken == size:
                if link.lane == LANE_REPLICA:
                    self.sample()  # the promise to the clients of this turn depends on it
                return
            self.transport.write(memoryview(data)[taken:])
        else:
            self.transport.write(data)
        self.is_backed_up = self.transport.get_write_buffer_size() > 0
        self.sample()
        self.node.piled_up(link, self.runtime.now_ms)

    def give_up_writing(self) -> None:
        """Drop output from now on, since the peer is gone, but read to the end what it had sent before.

        A replica that acknowledges to a master just killed gets this error while acknowledged writes of that
        master still lie in its own kernel. Who is not reading has nothing more to learn.
        """
        if self.is_reading:
            self.is_deaf = True
        else:
            self.abort()

    def sample(self) -> None:
        """Measure what has not been sent: the transport's buffer and the rest of the socket's queue."""
        link = self.link
        if link is None or self.descriptor < 0:
            return
        queued = ioctl(self.descriptor, SIOCOUTQNSD, b"\0\0\0\0")
        in_kernel = cast("int", struct.unpack("i", queued)[0])
        link.unsent_bytes = self.transport.get_write_buffer_size() + in_kernel

    def pause_reading(self) -> None:
        """Stop reading until the link is no longer paused."""
        if self.is_reading and not self.transport.is_closing():
            self.is_reading = False
            self.transport.pause_reading()
            self.runtime.paused[self.descriptor] = self

    def resume_reading(self) -> None:
        """Read again."""
        self.is_reading = True
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def abort(self) -> None:
        """Close at once, dropping what is unwritten."""
        self.transport.abort()


def format_address(address: Any) -> str:
    """Write a socket address as Redis does: host:port, [v6]:port, or a path with :0."""
    if isinstance(address, tuple):
        host, port = address[0], address[1]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    path = address.decode() if isinstance(address, bytes) else str(address or "")
    return f"{path}:0" if path else ""


def set_keepalive(stream_socket: Any, interval_s: int) -> None:
    """Have the kernel probe an idle peer, so that a vanished host is noticed."""
    if interval_s <= 0 or stream_socket.family == socket.AF_UNIX:
        return
    stream_socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    stream_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, interval_s)
    stream_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, interval_s // 3))
    stream_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
