"""The sections of INFO that belong to no part: server, clients, memory, stats, cpu, commands, errors, keys.

Fields have Redis's names, order and meaning. What describes machinery that this server does not have is left
out where readers do not need it, and 0 where exporters and clients read it. `importing` this module registers
the sections; the persistence, the replication and the cluster register theirs.

Source: https://redis.io/docs/latest/commands/info/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt import info
from redoubt.commands.declare import DURATION_BITS_MAX, Row, all_rows
from redoubt.memory_report import MemoryReport, human
from redoubt.pubsub import CHANNEL, PATTERN, SHARD_CHANNEL
from redoubt.version import REDIS_VERSION, REDOUBT_VERSION

if TYPE_CHECKING:
    from redoubt.data.keyspace import Keyspace
    from redoubt.info import Fields
    from redoubt.state import ServerState

_DAY_S: Final = 86400
# Redis: LRU_BITS is 24.
_LRU_CLOCK_MAX: Final = (1 << 24) - 1
# Redis: latency-tracking-info-percentiles.
_PERCENTILES: Final = (("p50", 50.0), ("p99", 99.0), ("p99.9", 99.9))


def server(state: ServerState) -> Fields:
    """What runs here."""
    config = state.config
    uptime_s = (state.now_ms - state.start_ms) // 1000
    return [
        ("redis_version", REDIS_VERSION),
        ("redoubt_version", REDOUBT_VERSION),
        ("redis_git_sha1", "00000000"),
        ("redis_git_dirty", 0),
        ("redis_mode", "cluster" if config.cluster_enabled else "standalone"),
        ("os", state.process.operating_system),
        ("arch_bits", 64),
        ("multiplexing_api", "uvloop"),
        ("process_id", state.process.pid),
        ("process_supervised", "no"),
        ("run_id", state.run_id),
        ("tcp_port", config.port),
        ("server_time_usec", state.now_ms * 1000),
        ("uptime_in_seconds", uptime_s),
        ("uptime_in_days", uptime_s // _DAY_S),
        ("hz", config.hz),
        ("configured_hz", config.hz),
        ("lru_clock", state.now_ms // 1000 & _LRU_CLOCK_MAX),
        ("executable", state.process.executable),
        ("config_file", config.file_path),
        ("io_threads_active", 0),
    ]


def clients(state: ServerState) -> Fields:
    """Who is connected; replicas and masters are counted by the replication section."""
    sessions = state.sessions.values()
    plain = [session for session in sessions if not session.is_replica and not session.is_master_link]
    return [
        ("connected_clients", len(plain)),
        ("maxclients", state.config.maxclients),
        ("client_recent_max_input_buffer", max([s.parser.pending_bytes() for s in plain], default=0)),
        ("client_recent_max_output_buffer", max([s.unsent_bytes for s in plain], default=0)),
        ("blocked_clients", sum(session.is_blocked for session in plain)),
        ("tracking_clients", len(state.tracking.clients)),
        ("pubsub_clients", state.pubsub.subscriber_count),
        ("watching_clients", state.watches.watching_count()),
        ("clients_in_timeout_table", sum(_has_deadline(state, session_id) for session_id in state.sessions)),
        ("total_watched_keys", state.watches.watched_count()),
        ("total_blocking_keys", state.blocking.key_waits.blocking_keys()),
        ("total_blocking_keys_on_nokey", state.blocking.key_waits.deletion_keys()),
    ]


def _has_deadline(state: ServerState, session_id: int) -> bool:
    waiting = state.blocking.waiting.get(session_id)
    return waiting is not None and waiting.waiter is not None and waiting.waiter.deadline_ms > 0


def memory(state: ServerState) -> Fields:
    """Where the memory goes; sizes for people follow the exact ones."""
    report = MemoryReport(state)
    config = state.config
    fields: Fields = []
    for name, size in (
        ("used_memory", report.used),
        ("used_memory_rss", report.resident_bytes),
        ("used_memory_peak", report.peak),
    ):
        fields += [(name, size), (f"{name}_human", human(size))]
    total = state.process.memory_total_bytes
    fragmentation = report.fragmentation_bytes()
    discarded = [bucket for keyspace in state.keyspaces for bucket in keyspace.discarded]
    return [
        *fields,
        ("used_memory_peak_perc", f"{100 * report.used / max(report.peak, 1):.2f}%"),
        ("used_memory_overhead", report.overhead),
        ("used_memory_startup", report.start_bytes),
        ("used_memory_dataset", report.used - report.overhead),
        ("used_memory_dataset_perc", f"{100 * (report.used - report.overhead) / max(report.used, 1):.2f}%"),
        ("used_memory_keys", report.parts.keys),
        ("used_memory_expires", report.parts.expiries),
        ("used_memory_values", report.parts.values),
        ("allocator_allocated", report.accounted()),
        ("allocator_active", report.resident_bytes),
        ("allocator_resident", report.resident_bytes),
        ("total_system_memory", total),
        ("total_system_memory_human", human(total)),
        *script_fields(report),
        ("maxmemory", config.maxmemory),
        ("maxmemory_human", human(config.maxmemory)),
        ("maxmemory_policy", config.maxmemory_policy),
        ("allocator_frag_ratio", f"{report.fragmentation_ratio():.2f}"),
        ("allocator_frag_bytes", fragmentation),
        ("allocator_rss_ratio", "1.00"),
        ("allocator_rss_bytes", 0),
        ("rss_overhead_ratio", "1.00"),
        ("rss_overhead_bytes", 0),
        ("mem_fragmentation_ratio", f"{report.fragmentation_ratio():.2f}"),
        ("mem_fragmentation_bytes", fragmentation),
        ("mem_not_counted_for_evict", report.uncounted),
        ("mem_replication_backlog", report.backlog_bytes),
        ("mem_total_replication_buffers", report.backlog_bytes + report.replica_bytes),
        ("mem_clients_slaves", report.replica_bytes),
        ("mem_clients_normal", report.client_bytes),
        ("mem_cluster_links", report.link_bytes),
        ("mem_aof_buffer", report.log_bytes),
        ("mem_allocator", "cpython"),
        ("active_defrag_running", 0),
        ("lazyfree_pending_objects", sum([len(bucket.values) for bucket in discarded])),
        ("lazyfreed_objects", 0),
    ]


def script_fields(report: MemoryReport) -> Fields:
    """Memory of scripts and functions, with the sizes for people where Redis has them."""
    fields: Fields = []
    for name, size in report.script_bytes.items():
        fields.append((name, size))
        if name in ("used_memory_lua", "used_memory_vm_total", "used_memory_scripts"):
            fields.append((f"{name}_human", human(size)))
    return fields


def stats(state: ServerState) -> Fields:
    """Counters since the start or CONFIG RESETSTAT."""
    forks, fork_duration_us = state.persistence.fork_figures()
    counted = state.statistics
    rates = state.rates
    return [
        ("total_connections_received", counted.connections_received),
        ("total_commands_processed", counted.commands_processed),
        ("instantaneous_ops_per_sec", rates.commands.per_second()),
        ("total_net_input_bytes", counted.net_input_bytes),
        ("total_net_output_bytes", counted.net_output_bytes),
        ("instantaneous_input_kbps", f"{rates.input_bytes.per_second() / 1024:.2f}"),
        ("instantaneous_output_kbps", f"{rates.output_bytes.per_second() / 1024:.2f}"),
        ("rejected_connections", counted.connections_rejected),
        ("sync_full", counted.sync_full),
        ("sync_partial_ok", counted.sync_partial_ok),
        ("sync_partial_err", counted.sync_partial_err),
        ("expired_subkeys", counted.expired_fields),
        ("expired_keys", counted.expired_keys),
        ("evicted_keys", counted.evicted_keys),
        ("evicted_clients", counted.evicted_clients),
        ("keyspace_hits", counted.keyspace_hits),
        ("keyspace_misses", counted.keyspace_misses),
        ("pubsub_channels", len(state.pubsub.listeners[CHANNEL])),
        ("pubsub_patterns", len(state.pubsub.listeners[PATTERN])),
        ("pubsubshard_channels", len(state.pubsub.listeners[SHARD_CHANNEL])),
        ("latest_fork_usec", fork_duration_us),
        ("total_forks", forks),
        ("migrate_cached_sockets", state.transfers.kept_count()),
        ("tracking_total_keys", len(state.tracking.readers)),
        ("tracking_total_items", state.tracking.reader_count),
        ("tracking_total_prefixes", len(state.tracking.prefixes)),
        ("unexpected_error_replies", 0),
        ("total_error_replies", counted.error_replies),
        ("total_reads_processed", counted.reads_processed),
        ("total_writes_processed", counted.writes_processed),
        ("client_query_buffer_limit_disconnections", counted.query_limit_disconnections),
        ("client_output_buffer_limit_disconnections", counted.output_limit_disconnections),
        ("acl_access_denied_auth", counted.authentications_denied),
        ("acl_access_denied_cmd", counted.acl_commands_denied),
        ("acl_access_denied_key", counted.acl_keys_denied),
        ("acl_access_denied_channel", counted.acl_channels_denied),
    ]


def cpu(state: ServerState) -> Fields:
    """CPU time in seconds."""
    system, user, child_system, child_user = state.process.cpu_seconds()
    return [
        ("used_cpu_sys", f"{system:.6f}"),
        ("used_cpu_user", f"{user:.6f}"),
        ("used_cpu_sys_children", f"{child_system:.6f}"),
        ("used_cpu_user_children", f"{child_user:.6f}"),
    ]


def commandstats(state: ServerState) -> Fields:
    """Calls by command; `usec` is extrapolated from the sampled calls."""
    fields: Fields = []
    for row in all_rows():
        if row.calls or row.rejected_calls or row.failed_calls:
            each = row.usec / row.calls if row.calls else 0.0
            text = (
                f"calls={row.calls},usec={row.usec},usec_per_call={each:.2f},"
                f"rejected_calls={row.rejected_calls},failed_calls={row.failed_calls}"
            )
            fields.append((f"cmdstat_{row.name}", text))
    return fields


def errorstats(state: ServerState) -> Fields:
    """Error replies by their code."""
    counted = state.statistics.errors_by_code
    return [(f"errorstat_{code.decode('latin-1')}", f"count={counted[code]}") for code in sorted(counted)]


def latencystats(state: ServerState) -> Fields:
    """Percentiles of the sampled durations by command, in microseconds."""
    fields: Fields = []
    for row in all_rows():
        if row.durations:
            texts = [f"{name}={percentile(row, share):.3f}" for name, share in _PERCENTILES]
            fields.append((f"latency_percentiles_usec_{row.name}", ",".join(texts)))
    return fields


def percentile(row: Row, share: float) -> float:
    """Return the duration in microseconds below which this share (in percent) of the calls stayed."""
    wanted = sum(row.durations) * share / 100
    seen = 0
    for bits, count in enumerate(row.durations):
        seen += count
        if seen >= wanted:
            return float(1 << bits)
    return float(1 << DURATION_BITS_MAX)


def keyspace(state: ServerState) -> Fields:
    """The databases that hold keys."""
    return [
        (f"db{database.database}", _figures_of(database)) for database in state.keyspaces if len(database)
    ]


def _figures_of(database: Keyspace) -> str:
    expiring = f"expires={database.expiring_count},avg_ttl={database.average_ttl_ms}"
    return f"keys={len(database)},{expiring},subexpiry={len(database.field_deadlines)}"


def modules(state: ServerState) -> Fields:
    """There are none; the section stands for those who look for it."""
    return []


for _name, _section in (
    ("server", server),
    ("clients", clients),
    ("memory", memory),
    ("stats", stats),
    ("cpu", cpu),
    ("modules", modules),
    ("commandstats", commandstats),
    ("errorstats", errorstats),
    ("latencystats", latencystats),
    ("keyspace", keyspace),
):
    info.register(_name, _section)
