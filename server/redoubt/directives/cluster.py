"""Directives of the cluster: timeouts, announcements, coverage, moves of slots, managed mode.

Rows of the table of `redoubt.directives.table`; what a row means stands in `redoubt.directives.directive`.
"""

from __future__ import annotations

from typing import Final

from redoubt.config_kinds import Choice, Integer, Memory, Text, YesNo
from redoubt.directives.directive import Directive

ROWS: Final[list[Directive]] = [
    Directive("cluster-enabled", YesNo(), "Be a node of a cluster.", is_mutable=False),
    Directive(
        "cluster-port", Integer(0, 65535), "Port of the cluster bus; 0 for port + 10000.", is_mutable=False
    ),
    Directive(
        "cluster-config-file",
        Text(),
        "File in which the node keeps its view of the cluster.",
        is_mutable=False,
    ),
    Directive(
        "cluster-node-timeout", Integer(0), "Milliseconds of silence after which a node counts as failing."
    ),
    Directive(
        "cluster-replica-validity-factor",
        Integer(0),
        "Replicas whose data are older than this many node timeouts do not fail over; 0 for no limit.",
        alias="cluster-slave-validity-factor",
    ),
    Directive(
        "cluster-replica-no-failover",
        YesNo(),
        "Never take over by itself.",
        alias="cluster-slave-no-failover",
    ),
    Directive(
        "cluster-migration-barrier",
        Integer(0),
        "No effect: replicas do not move to other masters by themselves.",
    ),
    Directive("cluster-allow-replica-migration", YesNo(), "Let replicas move to masters that have none."),
    Directive("cluster-require-full-coverage", YesNo(), "Serve nothing while a slot has no owner."),
    Directive(
        "cluster-allow-reads-when-down", YesNo(), "Serve reads of own slots while the cluster is down."
    ),
    Directive(
        "cluster-allow-pubsubshard-when-down",
        YesNo(),
        "Serve shard channels of own slots while the cluster is down.",
    ),
    Directive("cluster-link-sendbuf-limit", Memory(), "Most unsent bytes on a bus link; 0 for no limit."),
    Directive(
        "cluster-announce-ip",
        Text(),
        "Address that the node tells others; empty for the one it is seen under.",
    ),
    Directive(
        "cluster-announce-port",
        Integer(0, 65535),
        "Client port that the node tells others; 0 for the real one.",
    ),
    Directive(
        "cluster-announce-bus-port",
        Integer(0, 65535),
        "Bus port that the node tells others; 0 for the real one.",
    ),
    Directive("cluster-announce-hostname", Text(), "Host name that the node tells others."),
    Directive("cluster-announce-human-nodename", Text(), "Name of the node for people, in logs."),
    Directive(
        "cluster-preferred-endpoint-type",
        Choice("ip", "hostname", "unknown-endpoint"),
        "What redirections name: the address, the host name, or nothing.",
    ),
    Directive(
        "cluster-refused-is-down", YesNo(), "A node that refuses connections counts as failing at once."
    ),
    Directive(
        "cluster-slot-stats-enabled",
        YesNo(),
        "Count CPU time and network bytes by slot, at the cost of timing every command.",
    ),
    Directive(
        "cluster-slot-migration-max-write-pause-ms",
        Integer(1, 10000),
        "Longest time that writes to slots wait for their switch to another master before it is put off.",
    ),
    Directive(
        "cluster-slot-migration-log-max-len",
        Integer(0),
        "Number of finished slot migrations that CLUSTER GETSLOTMIGRATIONS still shows.",
    ),
    Directive(
        "slot-migration-max-failover-repl-bytes",
        Integer(-1),
        "Most unacknowledged bytes with which a slot migration begins its switch; -1 for no limit.",
    ),
    Directive(
        "await-role",
        YesNo(),
        "Managed mode: after a start, serve nothing until a role is given or confirmed.",
        is_mutable=False,
    ),
]
