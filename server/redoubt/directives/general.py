"""Directives of the process: logging, databases, what is watched of commands, who may debug.

Rows of the table of `redoubt.directives.table`; what a row means stands in `redoubt.directives.directive`.
"""

from __future__ import annotations

from typing import Final

from redoubt.config_kinds import Choice, EventLetters, Integer, Text
from redoubt.directives.directive import Directive

ROWS: Final[list[Directive]] = [
    Directive("loglevel", Choice("debug", "verbose", "notice", "warning", "nothing"), "How much is logged."),
    Directive("logfile", Text(), "File to log to; empty for standard output.", is_mutable=False),
    Directive("databases", Integer(1, 10000), "Number of databases; a cluster has one.", is_mutable=False),
    Directive(
        "daemonize",
        Choice("no"),
        "Only `no`: the server stays in the foreground, and a supervisor runs it.",
        is_mutable=False,
    ),
    Directive("hz", Integer(1, 500), "No effect: background turns come every 100 ms."),
    Directive("shutdown-timeout", Integer(0), "Seconds that a shutdown waits for lagging replicas."),
    Directive(
        "busy-reply-threshold",
        Integer(0),
        "Milliseconds that a script may run before other clients are served (and told BUSY); 0 for ever.",
        alias="lua-time-limit",
    ),
    Directive(
        "enable-debug-command",
        Choice("no", "yes", "local"),
        "Who may run DEBUG: nobody, everybody, or clients of this machine.",
        is_mutable=False,
    ),
    Directive(
        "enable-protected-configs",
        Choice("no", "yes", "local"),
        "Who may CONFIG SET where files are written: nobody, everybody, or clients of this machine.",
        is_mutable=False,
    ),
    Directive(
        "slowlog-log-slower-than",
        Integer(-1),
        "Microseconds from which on a command goes into the slow log; -1 for never.",
    ),
    Directive(
        "tracking-table-max-keys",
        Integer(0),
        "Most keys that are remembered for clients that track what they read; 0 for no limit.",
    ),
    Directive(
        "notify-keyspace-events",
        EventLetters(),
        "Which events of keys are published (letters of Redis), by key (K) or by event (E).",
    ),
    Directive("slowlog-max-len", Integer(0), "Number of commands that the slow log keeps."),
    Directive(
        "latency-monitor-threshold",
        Integer(0),
        "Milliseconds from which on the latency monitor takes an event; 0 switches it off.",
    ),
]
