"""A port for a server that a benchmark or a test starts on this machine.

Taken at random and tried, not asked of the kernel: a server of a cluster needs two ports, its own and its bus
port 10,000 above, and both must lie outside the range from which the kernel takes the ports of outgoing
connections. Between the trial and the server's start another process may take it; the range makes that rare.
"""

from __future__ import annotations

import socket
from random import SystemRandom
from typing import Final

# Below 32,768, where the kernel's range for outgoing connections begins, also with BUS_OFFSET added.
PORT_FIRST: Final = 11_000
PORT_LAST: Final = 20_999
BUS_OFFSET: Final = 10_000


def free_port() -> int:
    """Return a port that nobody uses, nor its bus port."""
    while True:
        port = SystemRandom().randint(PORT_FIRST, PORT_LAST)
        try:
            for number in (port, port + BUS_OFFSET):
                with socket.socket() as probe:
                    probe.bind(("", number))
        except OSError:
            continue
        return port
