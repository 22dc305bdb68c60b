"""Directives of redis.conf that a spec may not name, because managed mode depends on them or they escape it.

Used by crd.py, which has the API server refuse them, and by spec.py, which refuses them again when it reads.
"""

from typing import Final

RESERVED: Final[tuple[str, ...]] = (
    "await-role",
    "bind",
    "bind-source-addr",
    "cluster-allow-replica-migration",
    "cluster-announce-bus-port",
    "cluster-announce-hostname",
    "cluster-announce-ip",
    "cluster-announce-port",
    "cluster-announce-tls-port",
    "cluster-config-file",
    "cluster-enabled",
    "cluster-node-timeout",
    "cluster-port",
    "cluster-replica-no-failover",
    "cluster-replica-validity-factor",
    "cluster-slave-no-failover",
    "cluster-slave-validity-factor",
    "daemonize",
    "dir",
    "include",
    "masterauth",
    "masterauth-file",
    "masteruser",
    "maxmemory",
    "maxmemory-policy",
    "metrics-port",
    "pidfile",
    "port",
    "protected-mode",
    "repl-backlog-ttl",
    "repl-diskless-sync-delay",
    "replica-announce-ip",
    "replica-announce-port",
    "replicaof",
    "requirepass",
    "requirepass-file",
    "slaveof",
    "unixsocket",
    "user",
)
