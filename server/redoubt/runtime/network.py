"""Listeners and the dialler: how sockets come to be.

Listening sockets are made by hand, since an address with a leading dash may fail and the others may not, and
since the error must name the address as Redis does. Outgoing connections start at `bind-source-addr`, so
that the peers of a pod see the pod's address; the outcome tells a refusal (the host lives, the process does
not) from everything else, because failure detection treats them differently.

The loop calls it. A TLS listener or dialler would be one more function of each kind here.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from redoubt.interfaces import Dial
from redoubt.runtime.stream import Stream

if TYPE_CHECKING:
    from redoubt.runtime.loop import Runtime

# "May be missing or taken": what an address with a leading dash is forgiven.
FORGIVEN = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.EADDRINUSE)


class ListenError(Exception):
    """An address that could not be listened on; the text is what Redis logs."""


def open_sockets(addresses: list[str], port: int, backlog: int) -> list[socket.socket]:
    """Listen on every address of the `bind` directive; raises ListenError for one that is not forgiven."""
    sockets: list[socket.socket] = []
    for address in addresses:
        host = address.removeprefix("-")
        try:
            sockets.append(listening_socket(host, port, backlog))
        except OSError as error:
            if address.startswith("-") and error.errno in FORGIVEN:
                continue
            for opened in sockets:
                opened.close()
            reason = os.strerror(error.errno or 0)
            raise ListenError(
                f"Could not create server TCP listening socket {host}:{port}: bind: {reason}"
            ) from error
    if not sockets:
        raise ListenError(f"Could not create server TCP listening socket: no address of {addresses} fits")
    return sockets


def listening_socket(host: str, port: int, backlog: int) -> socket.socket:
    """Bind and listen on one address; `*` is every IPv4 address, `::*` every IPv6 address."""
    is_v6 = ":" in host
    listener = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_v6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(({"*": "0.0.0.0", "::*": "::"}.get(host, host), port))
        listener.listen(backlog)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def unix_socket(path: str, mode: int, backlog: int) -> socket.socket:
    """Listen on a Unix socket, replacing what an earlier process left at its path."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if os.path.exists(path):
            os.unlink(path)
        listener.bind(path)
        if mode:
            os.chmod(path, mode)
        listener.listen(backlog)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        text = os.strerror(error.errno or 0)
        raise ListenError(f"Failed opening Unix socket: bind: {text}") from error
    return listener


async def dial(runtime: Runtime, wish: Dial) -> None:
    """Connect a link; the node hears `opened` through the stream, or `failed` here."""
    link = wish.link
    source = runtime.config.bind_source_addr
    local = (source, 0) if source else None
    make: Callable[[], Any] = lambda: Stream(runtime, link, -1)  # noqa: E731
    connecting = runtime.loop.create_connection(make, wish.host, wish.port, local_addr=local)
    try:
        await asyncio.wait_for(connecting, wish.timeout_ms / 1000)
    except (OSError, TimeoutError) as error:
        is_refused = isinstance(error, ConnectionRefusedError) or (
            isinstance(error, OSError) and error.errno == errno.ECONNREFUSED
        )
        now_ms = runtime.begin_turn()
        if link.is_closed:
            runtime.node.closed(link, now_ms)
        else:
            link.is_closed = True
            runtime.node.failed(link, is_refused, now_ms)
