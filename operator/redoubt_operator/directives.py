"""The directives of redis.conf that a cluster runs with: ruled, defaulted, or the user's.

Three rules. What managed mode depends on is ruled: the operator sets it and a spec that names it is refused
(reserved.py). What is merely a better default in a pod can be changed in `spec.config`. maxmemory follows
from the memory limit. Most directives the server takes over live (CONFIG SET); the others need a restart and
are therefore part of the pod's revision.

Used by objects.py (redis.conf), the planner (live changes) and members.py (`watched`).
"""

from typing import Final

from redoubt_operator import quantity
from redoubt_operator.names import PORT_BUS, PORT_CLIENT, PORT_METRICS
from redoubt_operator.spec import ClusterSpec, PersistenceMode

MIB: Final = 1024 * 1024

PROCESS_BYTES: Final = 48 * MIB  # the server itself, empty: 45 MiB at most, measured
BUFFERS_BYTES: Final = 16 * MIB  # client and replica buffers in ordinary operation
BUFFERS_SHARE: Final = 0.05  # and more of them in a larger pod
SNAPSHOT_OVERHEAD: Final = 0.25  # old values kept for a forkless snapshot under writes, and fragmentation
MAXMEMORY_SMALLEST_BYTES: Final = 16 * MIB  # a smaller limit cannot hold a server; better to say so than 0

_RULED: Final[tuple[tuple[str, str], ...]] = (
    ("port", str(PORT_CLIENT)),
    ("cluster-port", str(PORT_BUS)),
    ("metrics-port", str(PORT_METRICS)),
    ("dir", "/data"),
    ("cluster-enabled", "yes"),
    ("cluster-config-file", "/data/nodes.conf"),
    ("await-role", "yes"),
    ("cluster-node-timeout", "3000"),
    ("cluster-allow-replica-migration", "no"),
    ("cluster-replica-validity-factor", "0"),
    ("repl-diskless-sync-delay", "0"),
    ("repl-backlog-ttl", "0"),
    ("protected-mode", "no"),
    ("requirepass-file", "/etc/redoubt-auth/password"),
    ("masterauth-file", "/etc/redoubt-auth/password"),
)

_DEFAULTED: Final[tuple[tuple[str, str], ...]] = (
    ("cluster-require-full-coverage", "no"),
    ("snapshot-mode", "forkless"),  # a forked child would need up to twice the memory of the container
)

APPENDONLY: Final = "appendonly"
SAVE_POINTS: Final = "3600 1 300 100 60 10000"  # Redis's: after so many seconds, if so many keys changed

NEEDS_RESTART: Final = frozenset(
    {
        "appenddirname",
        "appendfilename",
        "databases",
        "enable-debug-command",
        "enable-protected-configs",
        "logfile",
        "rdbchecksum",
        "tcp-backlog",
        "unixsocketperm",
    }
)
"""Directives of the user that CONFIG SET refuses; every other one is applied live."""


def directives(spec: ClusterSpec) -> dict[str, str]:
    """Every directive of redis.conf for this spec, in the order in which it is written."""
    written = dict(_RULED)
    written.update(_DEFAULTED)
    written.update(live_directives(spec))
    written.update(restart_directives(spec))
    return written


def live_directives(spec: ClusterSpec) -> dict[str, str]:
    """What a running server takes over by CONFIG SET."""
    live = {"maxmemory-policy": spec.memory.eviction_policy.value}
    maximum = maxmemory_bytes(spec)
    if maximum is not None:
        live["maxmemory"] = str(maximum)
    live.update(persistence_directives(spec))
    live.update(_DEFAULTED)
    live.update({name: value for name, value in spec.config.items() if name not in NEEDS_RESTART})
    return live


def restart_directives(spec: ClusterSpec) -> dict[str, str]:
    """What only a new process takes over; part of the pod's revision."""
    return {name: value for name, value in spec.config.items() if name in NEEDS_RESTART}


def watched(spec: ClusterSpec) -> tuple[str, ...]:
    """The names to ask each member for (CONFIG GET), to see whether it runs with what is wanted."""
    return tuple(live_directives(spec))


def maxmemory_bytes(spec: ClusterSpec) -> int | None:
    """maxmemory for the data, or None without a memory limit (the server then takes no limit).

    (limit - process - buffers) / (1 + snapshot overhead), or the share that the spec names.
    """
    limit = memory_limit_bytes(spec)
    return None if limit is None else maxmemory_for(spec, limit)


def maxmemory_for(spec: ClusterSpec, limit: int) -> int:
    """maxmemory in a container with this memory limit."""
    if spec.memory.percent_of_limit is not None:
        return limit * spec.memory.percent_of_limit // 100
    buffers = max(BUFFERS_BYTES, int(limit * BUFFERS_SHARE))
    for_data = int((limit - PROCESS_BYTES - buffers) / (1 + SNAPSHOT_OVERHEAD))
    return max(for_data, MAXMEMORY_SMALLEST_BYTES)


def memory_limit_bytes(spec: ClusterSpec) -> int | None:
    """The memory limit of the container `server`, as podTemplate and resources together say."""
    template = spec.pod_template.resources
    text = (template.limits.get("memory") if template else None) or spec.resources.limits.get("memory")
    return None if text is None else quantity.bytes_of(text)


def persistence_directives(spec: ClusterSpec) -> dict[str, str]:
    """How data are written to /data: what `persistence` means in redis.conf, but for `config.save`.

    Mode aof keeps the save points: on the way into the mode and out of it the snapshot is what a restart
    finds, and it is the file that people copy.
    """
    mode = spec.persistence_mode
    if mode is PersistenceMode.NONE:
        return {APPENDONLY: "no", "save": ""}
    if mode is PersistenceMode.RDB:
        return {APPENDONLY: "no", "save": SAVE_POINTS}
    return {APPENDONLY: "yes", "appendfsync": spec.persistence.fsync.value, "save": SAVE_POINTS}
