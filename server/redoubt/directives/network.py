"""Directives of the network: where the server listens, and the limits of one client.

Rows of the table of `redoubt.directives.table`; what a row means stands in `redoubt.directives.directive`.
The parts that act on them are `runtime/network.py` and the dispatcher.
"""

from __future__ import annotations

from typing import Final

from redoubt.config_kinds import Integer, Memory, Octal, OutputLimits, Text, Words, YesNo
from redoubt.directives.directive import Directive

ROWS: Final[list[Directive]] = [
    Directive("port", Integer(0, 65535), "The TCP port for clients.", is_mutable=False),
    Directive(
        "bind",
        Words(),
        "Addresses to listen on; one with a leading dash may be missing or taken.",
        is_mutable=False,
    ),
    Directive(
        "bind-source-addr",
        Text(),
        "The local address of outgoing connections: bus, replication; empty lets the kernel choose.",
        is_mutable=False,
    ),
    Directive("protected-mode", YesNo(), "Without a password, serve only clients of this machine."),
    Directive("tcp-backlog", Integer(0), "Connections that may wait to be accepted.", is_mutable=False),
    Directive(
        "tcp-keepalive", Integer(0), "Seconds between keepalive probes of idle connections; 0 for none."
    ),
    Directive("timeout", Integer(0), "Seconds after which an idle client is closed; 0 for never."),
    Directive("unixsocket", Text(), "Path of a Unix socket to listen on, too.", is_mutable=False),
    Directive(
        "unixsocketperm",
        Octal(0, 0o777),
        "File mode of the Unix socket; 0 keeps what the umask gives.",
        is_mutable=False,
    ),
    Directive("maxclients", Integer(1, 4294967295), "Most clients connected at the same time."),
    Directive(
        "metrics-port",
        Integer(0, 65535),
        "Port of /metrics, /livez and /readyz (HTTP); 0 for none.",
        is_mutable=False,
    ),
    Directive("proto-max-bulk-len", Memory(1 << 20), "Longest single argument of a command."),
    Directive(
        "client-query-buffer-limit",
        Memory(1 << 20),
        "Most unparsed input of one client; beyond it the client is closed.",
    ),
    Directive(
        "client-output-buffer-limit",
        OutputLimits(),
        "Most unsent output by class of client (normal, replica, pubsub).",
    ),
]
