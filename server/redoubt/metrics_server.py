"""The metrics of the server itself: memory by part, keys, clients, commands, durations, traffic.

Names are those of the community's redis_exporter where it has them. Per command there are counters and, for
commands that were called and sampled, a histogram; for everybody a histogram by class of commands (reading,
writing, other), since 240 histograms of 21 buckets would cost more than they tell.

Importing this module registers the families; the persistence, the replication and the cluster register
theirs. Called by `redoubt.metrics` at each scrape.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from redoubt import metrics
from redoubt.commands.declare import DURATION_BITS_MAX, READONLY, WRITE, Row, all_rows
from redoubt.memory_report import MemoryReport
from redoubt.metrics import Family, Sample, counter, gauge, histogram, labels
from redoubt.pubsub import CHANNEL, PATTERN, SHARD_CHANNEL
from redoubt.version import REDIS_VERSION, REDOUBT_VERSION

if TYPE_CHECKING:
    from redoubt.state import ServerState

_BOUNDS_S: Final = [(1 << bits) / 1_000_000 for bits in range(DURATION_BITS_MAX)]
_BOUNDS_US: Final = [float(1 << bits) for bits in range(DURATION_BITS_MAX)]

UP: Final = gauge("redis_up", "1: the node answers.")
INSTANCE: Final = gauge("redis_instance_info", "What runs here, in labels; always 1.")
UPTIME: Final = gauge("redis_uptime_in_seconds", "Seconds since the start.")
START: Final = gauge("redis_start_time_seconds", "When the process started, seconds since 1970.")

MEMORY_USED: Final = gauge("redis_memory_used_bytes", "Used memory: dataset and buffers.")
MEMORY_DATASET: Final = gauge("redis_memory_used_dataset_bytes", "Used memory without tables and buffers.")
MEMORY_OVERHEAD: Final = gauge("redis_memory_used_overhead_bytes", "Tables, expiry times and buffers.")
MEMORY_START: Final = gauge("redis_memory_used_startup_bytes", "What the process took at its start.")
MEMORY_RSS: Final = gauge("redis_memory_used_rss_bytes", "What the process occupies (resident set).")
MEMORY_PEAK: Final = gauge("redis_memory_used_peak_bytes", "The most memory ever used.")
MEMORY_MAX: Final = gauge("redis_memory_max_bytes", "maxmemory; 0: no limit.")
MEMORY_RATIO: Final = gauge("redis_mem_fragmentation_ratio", "Resident set over accounted memory.")
MEMORY_UNCOUNTED: Final = gauge(
    "redis_mem_not_counted_for_eviction_bytes", "Buffers of replicas, beside maxmemory."
)
MEMORY_PART: Final = gauge("redoubt_memory_bytes", "Memory by part: the parts sum up to the resident set.")

DB_KEYS: Final = gauge("redis_db_keys", "Keys of each database.")
DB_EXPIRING: Final = gauge("redis_db_keys_expiring", "Keys with an expiry time.")
DB_TTL: Final = gauge("redis_db_avg_ttl_seconds", "Mean time to live of keys with an expiry time.")
EXPIRED: Final = counter("redis_expired_keys_total", "Keys that expired.")
EXPIRED_FIELDS: Final = counter("redis_expired_subkeys_total", "Fields of hashes that expired.")
EVICTED: Final = counter("redis_evicted_keys_total", "Keys that were evicted for maxmemory.")
EVICTED_CLIENTS: Final = counter("redis_evicted_clients_total", "Clients that were closed to free memory.")
HITS: Final = counter("redis_keyspace_hits_total", "Reads that found their key.")
MISSES: Final = counter("redis_keyspace_misses_total", "Reads that did not find their key.")

CLIENTS: Final = gauge("redis_connected_clients", "Clients, replicas not counted.")
CLIENTS_BLOCKED: Final = gauge("redis_blocked_clients", "Clients that wait.")
CLIENTS_MAX: Final = gauge("redis_max_clients", "maxclients.")
ACCEPTED: Final = counter("redis_connections_received_total", "Connections accepted.")
REJECTED: Final = counter("redis_rejected_connections_total", "Connections refused by maxclients.")
CHANNELS: Final = gauge("redis_pubsub_channels", "Channels that somebody listens to.")
PATTERNS: Final = gauge("redis_pubsub_patterns", "Patterns of channels that somebody listens to.")
SHARD_CHANNELS: Final = gauge("redis_pubsubshard_channels", "Shard channels that somebody listens to.")
TRACKING: Final = gauge("redis_tracking_clients", "Clients that are told of changes of what they have read.")
TRACKED_KEYS: Final = gauge("redis_tracking_total_keys", "Keys that are remembered for clients.")
TRACKED_ITEMS: Final = gauge("redis_tracking_total_items", "Pairs of a key and a client that has read it.")
TRACKED_PREFIXES: Final = gauge("redis_tracking_total_prefixes", "Prefixes that clients are told about.")
INPUT: Final = counter("redis_net_input_bytes_total", "Bytes read from clients.")
OUTPUT: Final = counter("redis_net_output_bytes_total", "Bytes written to clients.")

PROCESSED: Final = counter("redis_commands_processed_total", "Commands processed.")
RATE: Final = gauge("redis_instantaneous_ops_per_sec", "Commands per second, over the last 1.6 seconds.")
ERRORS: Final = counter("redis_errors_total", "Error replies by code.")
CALLS: Final = counter("redis_commands_total", "Calls of each command.")
DURATION: Final = counter("redis_commands_duration_seconds_total", "Time in each command, by samples.")
CALLS_REJECTED: Final = counter("redis_commands_rejected_calls_total", "Calls refused before they ran.")
CALLS_FAILED: Final = counter("redis_commands_failed_calls_total", "Calls that ended in an error.")
CLASS_LATENCY: Final = histogram("redoubt_command_latency_seconds", "Sampled durations by class of commands.")
LATENCY: Final = histogram("redis_commands_latencies_usec", "Sampled durations of each command.")

CPU_SYSTEM: Final = counter("redis_cpu_sys_seconds_total", "System CPU time.")
CPU_USER: Final = counter("redis_cpu_user_seconds_total", "User CPU time.")
CPU_CHILD_SYSTEM: Final = counter("redis_cpu_sys_children_seconds_total", "System CPU time of children.")
CPU_CHILD_USER: Final = counter("redis_cpu_user_children_seconds_total", "User CPU time of children.")


def identity(state: ServerState) -> list[Sample]:
    """What runs here, and since when."""
    about = labels(
        [
            ("role", "slave" if state.replication.is_replica else "master"),
            ("redis_version", REDIS_VERSION),
            ("redoubt_version", REDOUBT_VERSION),
            ("redis_mode", "cluster" if state.config.cluster_enabled else "standalone"),
            ("maxmemory_policy", state.config.maxmemory_policy),
            ("os", state.process.operating_system),
            ("tcp_port", str(state.config.port)),
            ("run_id", state.run_id),
            ("process_id", str(state.process.pid)),
        ]
    )
    return [
        UP.sample(1),
        INSTANCE.sample(1, about),
        UPTIME.sample((state.now_ms - state.start_ms) // 1000),
        START.sample(state.start_ms // 1000),
    ]


def memory(state: ServerState) -> list[Sample]:
    """Where the memory goes."""
    report = MemoryReport(state)
    samples = [
        MEMORY_USED.sample(report.used),
        MEMORY_DATASET.sample(report.used - report.overhead),
        MEMORY_OVERHEAD.sample(report.overhead),
        MEMORY_START.sample(report.start_bytes),
        MEMORY_RSS.sample(report.resident_bytes),
        MEMORY_PEAK.sample(report.peak),
        MEMORY_MAX.sample(state.config.maxmemory),
        MEMORY_RATIO.sample(round(report.fragmentation_ratio(), 4)),
        MEMORY_UNCOUNTED.sample(report.uncounted),
    ]
    for part, size in (
        ("keys", report.parts.keys),
        ("expires", report.parts.expiries),
        ("values", report.parts.values),
        ("buffers", report.buffers),
        ("startup", report.start_bytes),
        ("fragmentation", report.fragmentation_bytes()),
    ):
        samples.append(MEMORY_PART.sample(size, f'part="{part}"'))
    return samples


def keys(state: ServerState) -> list[Sample]:
    """The keys, and what became of them."""
    counted = state.statistics
    samples = [
        EXPIRED.sample(counted.expired_keys),
        EXPIRED_FIELDS.sample(counted.expired_fields),
        EVICTED.sample(counted.evicted_keys),
        EVICTED_CLIENTS.sample(counted.evicted_clients),
        HITS.sample(counted.keyspace_hits),
        MISSES.sample(counted.keyspace_misses),
    ]
    for keyspace in state.keyspaces:
        label = f'db="db{keyspace.database}"'
        samples.append(DB_KEYS.sample(len(keyspace), label))
        samples.append(DB_EXPIRING.sample(keyspace.expiring_count, label))
        samples.append(DB_TTL.sample(keyspace.average_ttl_ms / 1000, label))
    return samples


def traffic(state: ServerState) -> list[Sample]:
    """Clients, connections, bytes."""
    counted = state.statistics
    sessions = state.sessions.values()
    plain = [session for session in sessions if not session.is_replica and not session.is_master_link]
    return [
        CLIENTS.sample(len(plain)),
        CLIENTS_BLOCKED.sample(sum(session.is_blocked for session in plain)),
        CLIENTS_MAX.sample(state.config.maxclients),
        ACCEPTED.sample(counted.connections_received),
        REJECTED.sample(counted.connections_rejected),
        INPUT.sample(counted.net_input_bytes),
        OUTPUT.sample(counted.net_output_bytes),
        PROCESSED.sample(counted.commands_processed),
        RATE.sample(state.rates.commands.per_second()),
    ]


def listeners(state: ServerState) -> list[Sample]:
    """Who is told what: channels, and keys that clients have read."""
    listened = state.pubsub.listeners
    tracking = state.tracking
    return [
        CHANNELS.sample(len(listened[CHANNEL])),
        PATTERNS.sample(len(listened[PATTERN])),
        SHARD_CHANNELS.sample(len(listened[SHARD_CHANNEL])),
        TRACKING.sample(len(tracking.clients)),
        TRACKED_KEYS.sample(len(tracking.readers)),
        TRACKED_ITEMS.sample(tracking.reader_count),
        TRACKED_PREFIXES.sample(len(tracking.prefixes)),
    ]


def processor(state: ServerState) -> list[Sample]:
    """CPU time."""
    system, user, child_system, child_user = state.process.cpu_seconds()
    return [
        CPU_SYSTEM.sample(system),
        CPU_USER.sample(user),
        CPU_CHILD_SYSTEM.sample(child_system),
        CPU_CHILD_USER.sample(child_user),
    ]


def errors(state: ServerState) -> list[Sample]:
    """Error replies by code."""
    counted = state.statistics.errors_by_code
    return [ERRORS.sample(counted[code], labels([("err", code.decode("latin-1"))])) for code in counted]


def calls(state: ServerState) -> list[Sample]:
    """Counters of each command that was called."""
    samples = []
    for row in all_rows():
        if row.calls or row.rejected_calls or row.failed_calls:
            label = f'cmd="{row.name}"'
            samples.append(CALLS.sample(row.calls, label))
            samples.append(DURATION.sample(row.usec / 1_000_000, label))
            samples.append(CALLS_REJECTED.sample(row.rejected_calls, label))
            samples.append(CALLS_FAILED.sample(row.failed_calls, label))
    return samples


def latencies(state: ServerState) -> Iterator[Sample]:
    """Histograms of the commands that were sampled, one after another: there may be thousands of samples."""
    for row in all_rows():
        if row.durations:
            label = f'cmd="{row.name}"'
            yield from metrics.distribution(LATENCY, _BOUNDS_US, row.durations, row.usec, label)


def class_latencies(state: ServerState) -> list[Sample]:
    """One histogram for each class of commands, also before the first sample."""
    samples = []
    for name, rows in _classes().items():
        counts = [0] * (DURATION_BITS_MAX + 1)
        for row in rows:
            for place, count in enumerate(row.durations):
                counts[place] += count
        total_s = sum(row.usec for row in rows) / 1_000_000
        samples += metrics.distribution(CLASS_LATENCY, _BOUNDS_S, counts, total_s, f'class="{name}"')
    return samples


def _classes() -> dict[str, list[Row]]:
    classes: dict[str, list[Row]] = {"read": [], "write": [], "other": []}
    for row in all_rows():
        name = "write" if row.flags & WRITE else "read" if row.flags & READONLY else "other"
        classes[name].append(row)
    return classes


def _register() -> None:
    suppliers: list[tuple[metrics.Collect, list[Family]]] = [
        (identity, [UP, INSTANCE, UPTIME, START]),
        (
            memory,
            [
                MEMORY_USED, MEMORY_DATASET, MEMORY_OVERHEAD, MEMORY_START, MEMORY_RSS, MEMORY_PEAK,
                MEMORY_MAX, MEMORY_RATIO, MEMORY_UNCOUNTED, MEMORY_PART,
            ],
        ),
        (keys, [EXPIRED, EXPIRED_FIELDS, EVICTED, HITS, MISSES, DB_KEYS, DB_EXPIRING, DB_TTL]),
        (
            traffic,
            [
                CLIENTS, CLIENTS_BLOCKED, CLIENTS_MAX, ACCEPTED, REJECTED, INPUT, OUTPUT, PROCESSED, RATE,
            ],
        ),
        (
            listeners,
            [
                CHANNELS, PATTERNS, SHARD_CHANNELS, TRACKING, TRACKED_KEYS, TRACKED_ITEMS, TRACKED_PREFIXES,
            ],
        ),
        (processor, [CPU_SYSTEM, CPU_USER, CPU_CHILD_SYSTEM, CPU_CHILD_USER]),
        (errors, [ERRORS]),
        (calls, [CALLS, DURATION, CALLS_REJECTED, CALLS_FAILED]),
        (class_latencies, [CLASS_LATENCY]),
        (latencies, [LATENCY]),
    ]  # fmt: skip
    for collect, families in suppliers:
        metrics.register(collect, families)


_register()
