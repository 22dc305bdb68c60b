"""What stands for a transport of the loop while a script runs and the loop does not.

It only keeps what is written, and that the stream was ended; who made it sends and closes the socket.
Used by `redoubt.runtime.busy` and `redoubt.runtime.heartbeat`, for connections that they accept themselves.
"""

from __future__ import annotations

import socket
from typing import Any


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
