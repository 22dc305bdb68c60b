"""The configuration: the value of every directive, how values change, and who is told.

`Config` has one attribute for each directive (dashes become underscores); its class body holds types and
defaults. `DIRECTIVES` (`redoubt.directives`) says for each how its words are read, whether it may change
while the server runs, and what it means; CONFIG GET and SET, the file (`redoubt.config_file`), the page of
the documentation and its test all come from this table. Whoever needs a directive adds the attribute here
and the row in the module of its topic; a default is a literal or a constant, since mypyc takes no expression.

`Config.assign` sets several directives at once or none. A part that must act on a change registers with
`config.on_change`; if it objects, everything is put back. Files with secrets are read through `read_text`,
which the process gives, so that nothing here touches a disk.
Source: the directives of redis.conf 7.2, where both have them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from redoubt.config_kinds import OutputLimit
from redoubt.directives.directive import Directive
from redoubt.directives.table import DIRECTIVES

__all__ = ["DIRECTIVES", "SECRET_FILES", "Config", "ConfigError", "Directive"]

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
    busy_reply_threshold: int = 5000
    enable_debug_command: str = "no"
    enable_protected_configs: str = "no"
    slowlog_log_slower_than: int = 10000
    notify_keyspace_events: str = ""
    tracking_table_max_keys: int = 1_000_000
    slowlog_max_len: int = 128
    latency_monitor_threshold: int = 0

    # Security
    requirepass: str = ""
    requirepass_file: str = ""
    masterauth: str = ""
    masterauth_file: str = ""
    masteruser: str = ""
    aclfile: str = ""
    acl_pubsub_default: str = "resetchannels"
    acllog_max_len: int = 128

    # Memory
    maxmemory: int = 0
    maxmemory_policy: str = "noeviction"
    maxmemory_samples: int = 5
    maxmemory_eviction_tenacity: int = 10
    maxmemory_clients: int = 0
    maxmemory_container_percent: int = 0
    replica_ignore_maxmemory: bool = True
    active_expire_effort: int = 1
    lfu_log_factor: int = 10
    lfu_decay_time: int = 1
    lua_memory_limit: int = 268_435_456

    # Encodings
    hash_max_listpack_entries: int = 512
    hash_max_listpack_value: int = 64
    set_max_intset_entries: int = 512
    set_max_listpack_entries: int = 128
    set_max_listpack_value: int = 64
    list_max_listpack_size: int = -2
    zset_max_listpack_entries: int = 128
    zset_max_listpack_value: int = 64
    hll_sparse_max_bytes: int = 3000
    stream_node_max_bytes: int = 4096
    stream_node_max_entries: int = 100

    # Persistence
    dir: str = "."
    dbfilename: str = "dump.rdb"
    save: list[tuple[int, int]] = SAVE_POINTS
    rdbcompression: bool = True
    rdbchecksum: bool = True
    stop_writes_on_bgsave_error: bool = True
    sanitize_dump_payload: str = "clients"
    snapshot_mode: str = "forkless"
    rdb_save_incremental_fsync: bool = True
    rdb_del_sync_files: bool = False
    appendonly: str = "no"
    appendfilename: str = "appendonly.aof"
    appenddirname: str = "appendonlydir"
    appendfsync: str = "everysec"
    no_appendfsync_on_rewrite: bool = False
    auto_aof_rewrite_percentage: int = 100
    auto_aof_rewrite_min_size: int = 67_108_864
    aof_load_truncated: bool = True
    aof_use_rdb_preamble: bool = True
    aof_timestamp_enabled: bool = False
    aof_rewrite_incremental_fsync: bool = True

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
    cluster_allow_pubsubshard_when_down: bool = True
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
        # The words of each `user` line behind the first: name and rules.
        self.users: list[list[str]] = []
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
