"""Directives of replication: whom to copy, what is kept for replicas, when writes need them.

Rows of the table of `redoubt.directives.table`; what a row means stands in `redoubt.directives.directive`.
"""

from __future__ import annotations

from typing import Final

from redoubt.config_kinds import Address, Integer, Memory, Text, YesNo
from redoubt.directives.directive import Directive

ROWS: Final[list[Directive]] = [
    Directive("replicaof", Address(), "The master to copy: `host port`.", is_mutable=False, alias="slaveof"),
    Directive(
        "replica-serve-stale-data",
        YesNo(),
        "Answer from old data while the master is away.",
        alias="slave-serve-stale-data",
    ),
    Directive(
        "replica-read-only", YesNo(), "Refuse writes of clients on a replica.", alias="slave-read-only"
    ),
    Directive(
        "replica-priority",
        Integer(0),
        "Preference in a failover, lower first; 0 for never.",
        alias="slave-priority",
    ),
    Directive("replica-announced", YesNo(), "Show this replica to those who ask its master."),
    Directive(
        "replica-announce-ip", Text(), "Address that a replica reports of itself.", alias="slave-announce-ip"
    ),
    Directive(
        "replica-announce-port",
        Integer(0, 65535),
        "Port that a replica reports of itself; 0 for the real one.",
        alias="slave-announce-port",
    ),
    Directive("repl-backlog-size", Memory(1), "Bytes of history kept for replicas that come back."),
    Directive(
        "repl-backlog-ttl",
        Integer(0),
        "Seconds after which a master without replicas drops its history; 0 for never.",
    ),
    Directive(
        "repl-diskless-sync", YesNo(), "No effect: full copies are always sent without a file in between."
    ),
    Directive(
        "repl-diskless-sync-delay", Integer(0), "Seconds to wait for more replicas before a full copy starts."
    ),
    Directive(
        "repl-ping-replica-period",
        Integer(1),
        "Seconds between a master's pings to its replicas.",
        alias="repl-ping-slave-period",
    ),
    Directive("repl-timeout", Integer(1), "Seconds of silence after which a replication link is dropped."),
    Directive(
        "repl-disable-tcp-nodelay", YesNo(), "No effect: packets are written once per loop turn anyway."
    ),
    Directive(
        "min-replicas-to-write",
        Integer(0),
        "Refuse writes with fewer good replicas than this.",
        alias="min-slaves-to-write",
    ),
    Directive(
        "min-replicas-max-lag",
        Integer(0),
        "Seconds within which a good replica has acknowledged.",
        alias="min-slaves-max-lag",
    ),
    Directive(
        "diverged-size-max",
        Memory(),
        "Largest file that keeps a cluster node's own writes before a full copy replaces them; 0: none.",
    ),
]
