"""The configuration: every directive once, with its type, default, kind and documentation.

`Config` has one attribute for each directive (dashes become underscores); its class body holds types and
defaults. `DIRECTIVES` says for each how its words are read, whether it may change while the server runs, and
what it means; CONFIG GET and SET, the file (`redoubt.config_file`), the documentation page and its test all
come from this table. Whoever needs a directive adds the attribute and the row; a
default is a literal or a constant, since mypyc takes no expression there.

`Config.assign` sets several directives at once or none. A part that must act on a change registers with
`config.on_change`; if it objects, everything is put back. Files with secrets are read through `read_text`,
which the process gives, so that nothing here touches a disk.
Source: the directives of redis.conf 7.2, where both have them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from redoubt.config_kinds import (
    Address,
    Choice,
    FileName,
    Integer,
    Kind,
    Memory,
    Octal,
    OutputLimit,
    OutputLimits,
    SavePoints,
    Secret,
    Text,
    Words,
    YesNo,
)

# Redis's: every IPv4 address, and every IPv6 address if there is IPv6.
BIND: Final = ["*", "-::*"]
# Redis's: an hour if anything changed, 5 minutes for 100 changes, a minute for 10,000.
SAVE_POINTS: Final = [(3600, 1), (300, 100), (60, 10000)]
# Redis's: clients may be slow readers, replicas and subscribers not without end.
OUTPUT_LIMITS: Final = {
    "normal": OutputLimit(0, 0, 0),
    "replica": OutputLimit(256 << 20, 64 << 20, 60),
    "pubsub": OutputLimit(32 << 20, 8 << 20, 60),
}
# A directive whose value is read from the file that another one names.
SECRET_FILES: Final = {"requirepass-file": "requirepass", "masterauth-file": "masterauth"}


class ConfigError(Exception):
    """A directive that cannot be set; `name` is the one that failed."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name
        self.text = text


class Directive:
    """What the server knows of one directive beside its value."""

    def __init__(
        self, name: str, kind: Kind, doc: str, is_mutable: bool = True, alias: str = "",
        is_protected: bool = False,
    ) -> None:  # fmt: skip
        self.name = name
        self.attribute = name.replace("-", "_")
        self.kind = kind
        self.doc = doc
        self.is_mutable = is_mutable
        self.alias = alias  # the older name that Redis still takes
        # Whoever may write files where he likes owns the machine: see enable-protected-configs.
        self.is_protected = is_protected


def _no_files(path: str) -> str:
    raise OSError(f"no file can be read here: {path}")


class Config:
    """The values now in force; each attribute is one directive."""

    # Network
    port: int = 6379
    bind: list[str] = BIND
    bind_source_addr: str = ""
    protected_mode: bool = True
    tcp_backlog: int = 511
    tcp_keepalive: int = 300
    timeout: int = 0
    unixsocket: str = ""
    unixsocketperm: int = 0
    maxclients: int = 10000
    metrics_port: int = 0
    proto_max_bulk_len: int = 536_870_912
    client_query_buffer_limit: int = 1_073_741_824
    client_output_buffer_limit: dict[str, OutputLimit] = OUTPUT_LIMITS

    # General
    loglevel: str = "notice"
    logfile: str = ""
    databases: int = 16
    daemonize: str = "no"
    hz: int = 10
    shutdown_timeout: int = 10
    enable_debug_command: str = "no"
    enable_protected_configs: str = "no"
    slowlog_log_slower_than: int = 10000
    slowlog_max_len: int = 128

    # Security
    requirepass: str = ""
    requirepass_file: str = ""
    masterauth: str = ""
    masterauth_file: str = ""
    masteruser: str = ""

    # Memory
    maxmemory: int = 0
    maxmemory_policy: str = "noeviction"
    maxmemory_samples: int = 5
    active_expire_effort: int = 1
    lfu_log_factor: int = 10
    lfu_decay_time: int = 1

    # Encodings
    hash_max_listpack_entries: int = 512
    hash_max_listpack_value: int = 64
    set_max_intset_entries: int = 512
    set_max_listpack_entries: int = 128
    set_max_listpack_value: int = 64
    list_max_listpack_size: int = -2
    zset_max_listpack_entries: int = 128
    zset_max_listpack_value: int = 64

    # Persistence
    dir: str = "."
    dbfilename: str = "dump.rdb"
    save: list[tuple[int, int]] = SAVE_POINTS
    rdbcompression: bool = True
    rdbchecksum: bool = True
    stop_writes_on_bgsave_error: bool = True
    appendonly: str = "no"

    # Replication
    replicaof: tuple[str, int] = ("", 0)
    replica_serve_stale_data: bool = True
    replica_read_only: bool = True
    replica_priority: int = 100
    replica_announced: bool = True
    replica_announce_ip: str = ""
    replica_announce_port: int = 0
    repl_backlog_size: int = 1_048_576
    repl_backlog_ttl: int = 3600
    repl_diskless_sync: bool = True
    repl_diskless_sync_delay: int = 5
    repl_ping_replica_period: int = 10
    repl_timeout: int = 60
    repl_disable_tcp_nodelay: bool = False
    min_replicas_to_write: int = 0
    min_replicas_max_lag: int = 10
    diverged_size_max: int = 1_073_741_824

    # Cluster
    cluster_enabled: bool = False
    cluster_port: int = 0
    cluster_config_file: str = "nodes.conf"
    cluster_node_timeout: int = 15000
    cluster_replica_validity_factor: int = 10
    cluster_replica_no_failover: bool = False
    cluster_migration_barrier: int = 1
    cluster_allow_replica_migration: bool = True
    cluster_require_full_coverage: bool = True
    cluster_allow_reads_when_down: bool = False
    cluster_link_sendbuf_limit: int = 0
    cluster_announce_ip: str = ""
    cluster_announce_port: int = 0
    cluster_announce_bus_port: int = 0
    cluster_announce_hostname: str = ""
    cluster_announce_human_nodename: str = ""
    cluster_preferred_endpoint_type: str = "ip"
    cluster_refused_is_down: bool = True
    cluster_slot_stats_enabled: bool = False
    cluster_slot_migration_max_write_pause_ms: int = 50
    cluster_slot_migration_log_max_len: int = 1000
    slot_migration_max_failover_repl_bytes: int = 65536
    await_role: bool = False

    def __init__(self, read_text: Callable[[str], str] = _no_files) -> None:
        self.read_text = read_text
        self.file_path = ""  # the absolute path of the file that was loaded, for CONFIG REWRITE and INFO
        self._listeners: list[tuple[str, Callable[[], str]]] = []

    def on_change(self, name: str, act: Callable[[], str]) -> None:
        """Have `act` called after the directive changed; a text it returns undoes the change."""
        assert name in DIRECTIVES, name
        self._listeners.append((name, act))

    def show(self, name: str) -> str:
        """Return the value as CONFIG GET shows it; `name` may be an older name."""
        directive = DIRECTIVES[name]
        return directive.kind.render(getattr(self, directive.attribute))

    def assign(self, pairs: list[tuple[str, list[str]]], is_start: bool = False) -> None:
        """Set directives to their words, all or none.

        Raises ConfigError with the first directive that is unknown, immutable while running, malformed, or
        refused by a part that must act on it; then nothing has changed.
        """
        values = [(DIRECTIVES[name], self._parse(name, words, is_start)) for name, words in pairs]
        values += self._secrets(values)
        before = [(directive, getattr(self, directive.attribute)) for directive, _ in values]
        for directive, value in values:
            setattr(self, directive.attribute, value)
        if is_start:
            return
        names = {directive.name for directive, _ in values}
        acts = [(name, act) for name, act in self._listeners if name in names]
        for at, (name, act) in enumerate(acts):
            if text := act():
                for directive, value in before:
                    setattr(self, directive.attribute, value)
                for _, undo in acts[: at + 1]:
                    undo()
                raise ConfigError(name, text)

    def reload_secrets(self) -> None:
        """Read the files of secrets again; raises ConfigError and keeps the old ones if one is unreadable."""
        files = [(name, [self.show(name)]) for name in SECRET_FILES if self.show(name)]
        self.assign(files)

    def _parse(self, name: str, words: list[str], is_start: bool) -> Any:
        directive = DIRECTIVES[name]
        if not directive.is_mutable and not is_start:
            raise ConfigError(name, "can't set immutable config")
        try:
            value = directive.kind.parse(words)
        except ValueError as error:
            raise ConfigError(name, str(error)) from None
        if name == "client-output-buffer-limit":
            return {**self.client_output_buffer_limit, **value}
        return value

    def _secrets(self, values: list[tuple[Directive, Any]]) -> list[tuple[Directive, Any]]:
        """Read the files that are being set; a trailing line break is not part of the secret."""
        found = []
        for directive, path in values:
            target = SECRET_FILES.get(directive.name)
            if target is None or not path:
                continue
            try:
                secret = self.read_text(path).rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(directive.name, f"cannot read the file: {error}") from None
            found.append((DIRECTIVES[target], secret))
        return found


_ROWS: Final = [
    # Network
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
    # General
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
        "No effect: slow commands are not recorded.",
    ),
    Directive("slowlog-max-len", Integer(0), "No effect: slow commands are not recorded."),
    # Security
    Directive("requirepass", Secret(), "Password of the default user; empty for none."),
    Directive("requirepass-file", Text(), "File that holds requirepass; read again on SIGHUP and when set."),
    Directive("masterauth", Secret(), "Password that is sent to the master and to the nodes of the cluster."),
    Directive("masterauth-file", Text(), "File that holds masterauth; read again on SIGHUP and when set."),
    Directive("masteruser", Text(), "User name that goes with masterauth; empty for the default user."),
    # Memory
    Directive(
        "maxmemory",
        Memory(),
        "Most bytes of used memory before keys are evicted or writes refused; 0 for no limit.",
    ),
    Directive(
        "maxmemory-policy",
        Choice(
            "volatile-lru",
            "volatile-lfu",
            "volatile-random",
            "volatile-ttl",
            "allkeys-lru",
            "allkeys-lfu",
            "allkeys-random",
            "noeviction",
        ),
        "Which keys go when memory is full.",
    ),
    Directive(
        "maxmemory-samples",
        Integer(1),
        "No effect: the fullest of three buckets gives its oldest key.",
    ),
    Directive("active-expire-effort", Integer(1, 10), "How much time the search for expired keys may take."),
    Directive("lfu-log-factor", Integer(0), "How many hits saturate a key's frequency counter."),
    Directive("lfu-decay-time", Integer(0), "Minutes after which an unused frequency counter is halved."),
    # Encodings
    Directive(
        "hash-max-listpack-entries",
        Integer(0),
        "Most fields of a hash that is packed.",
        alias="hash-max-ziplist-entries",
    ),
    Directive(
        "hash-max-listpack-value",
        Integer(0),
        "Longest field or value of a hash that is packed.",
        alias="hash-max-ziplist-value",
    ),
    Directive("set-max-intset-entries", Integer(0), "Most members of a set of integers that is packed."),
    Directive("set-max-listpack-entries", Integer(0), "Most members of a set that is packed."),
    Directive("set-max-listpack-value", Integer(0), "Longest member of a set that is packed."),
    Directive(
        "list-max-listpack-size",
        Integer(-(1 << 31), (1 << 31) - 1),
        "Size of the chunks of a list: -1 to -5 for 4 to 64 KiB, a positive number for so many elements.",
        alias="list-max-ziplist-size",
    ),
    Directive(
        "zset-max-listpack-entries",
        Integer(0),
        "Most members of a sorted set that is packed.",
        alias="zset-max-ziplist-entries",
    ),
    Directive(
        "zset-max-listpack-value",
        Integer(0),
        "Longest member of a sorted set that is packed.",
        alias="zset-max-ziplist-value",
    ),
    # Persistence
    Directive("dir", Text(), "Directory of the data files.", is_mutable=False),
    Directive("dbfilename", FileName(), "Name of the snapshot file.", is_protected=True),
    Directive(
        "save",
        SavePoints(),
        "When to write a snapshot: after so many seconds if so many keys changed; `` for never.",
    ),
    Directive("rdbcompression", YesNo(), "Compress long strings in snapshots (LZF)."),
    Directive("rdbchecksum", YesNo(), "End snapshots with a checksum, and verify it.", is_mutable=False),
    Directive("stop-writes-on-bgsave-error", YesNo(), "Refuse writes while the last snapshot failed."),
    Directive("appendonly", Choice("no"), "Only `no`: there is no append-only file."),
    # Replication
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
    # Cluster
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

# By name and by older name.
DIRECTIVES: Final[dict[str, Directive]] = {row.name: row for row in _ROWS} | {
    row.alias: row for row in _ROWS if row.alias
}
