"""What INFO and the metrics say of replication.

The names are Redis's and the community exporter's, so that tools and dashboards find them. Registered at
import, which `redoubt.node` does. It computes nothing that is not asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt import info, metrics
from redoubt.replication.replica import RECEIVING, MasterLink
from redoubt.replication.roles import Replication

if TYPE_CHECKING:
    from redoubt.info import Fields
    from redoubt.metrics import Sample
    from redoubt.state import ServerState


def replication_fields(state: ServerState) -> Fields:
    """Make the section `replication` of INFO."""
    replication = state.replication
    assert isinstance(replication, Replication)
    now_ms = state.now_ms
    config = state.config
    fields: Fields = [("role", "slave" if replication.is_replica else "master")]
    if replication.link is not None:
        fields += _replica_fields(replication, replication.link, now_ms)
    peers = replication.master.peers
    fields.append(("connected_slaves", len(peers)))
    if config.min_replicas_to_write and config.min_replicas_max_lag:
        fields.append(("min_slaves_good_slaves", replication.master.good_count()))
    for number, peer in enumerate(peers):
        lag_s = peer.lag_s(now_ms) if peer.ack_ms else 0
        text = f"ip={peer.ip()},port={peer.port},state={peer.state},offset={peer.ack_offset},lag={lag_s}"
        fields.append((f"slave{number}", text))
    backlog = replication.backlog
    fields += [
        ("master_failover_state", replication.failover_state()),
        ("master_replid", replication.replid),
        ("master_replid2", replication.replid2),
        ("master_repl_offset", replication.offset),
        ("second_repl_offset", replication.offset2),
        ("repl_backlog_active", int(backlog is not None)),
        ("repl_backlog_size", config.repl_backlog_size),
        ("repl_backlog_first_byte_offset", 0 if backlog is None else backlog.first_offset()),
        ("repl_backlog_histlen", 0 if backlog is None else backlog.size_bytes),
    ]
    return fields


def _replica_fields(replication: Replication, link: MasterLink, now_ms: int) -> Fields:
    config = replication.state.config
    is_up = replication.link_is_up
    fields: Fields = [
        ("master_host", link.host),
        ("master_port", link.port),
        ("master_link_status", "up" if is_up else "down"),
        ("master_last_io_seconds_ago", _heard_s(replication, link, now_ms)),
        ("master_sync_in_progress", int(link.stage == RECEIVING)),
        ("slave_read_repl_offset", replication.offset),
        ("slave_repl_offset", replication.offset),
    ]
    if link.transfer is not None:
        total = max(link.transfer.size_bytes, 0)
        received = link.transfer.received_bytes
        fields += [
            ("master_sync_total_bytes", total),
            ("master_sync_read_bytes", received),
            ("master_sync_left_bytes", total - received if total else -received),
            ("master_sync_perc", f"{100 * received / total:.2f}" if total else "0.00"),
            ("master_sync_last_io_seconds_ago", max(0, now_ms - link.heard_ms) // 1000),
        ]
    if not is_up:
        down_s = max(0, now_ms - replication.link_down_since_ms) // 1000
        fields.append(("master_link_down_since_seconds", down_s))
    fields += [
        ("slave_priority", config.replica_priority),
        ("slave_read_only", int(config.replica_read_only)),
        ("replica_announced", int(config.replica_announced)),
    ]
    return fields


def _heard_s(replication: Replication, link: MasterLink, now_ms: int) -> int:
    """Return the seconds since the master was heard, -1 while the link is down."""
    return max(0, now_ms - link.heard_ms) // 1000 if replication.link_is_up else -1


_REPLICAS: Final = metrics.gauge("redis_connected_slaves", "Replicas that are connected.")
_REPLICA_OFFSET: Final = metrics.gauge(
    "redis_connected_slave_offset_bytes", "Place in the history that a replica has acknowledged."
)
_REPLICA_LAG: Final = metrics.gauge(
    "redis_connected_slave_lag_seconds", "Seconds since the last acknowledgement of a replica."
)
_OFFSET: Final = metrics.gauge("redis_master_repl_offset", "Place of this server in the replication history.")
_SECOND_OFFSET: Final = metrics.gauge(
    "redis_second_repl_offset", "Up to where the previous name of the history is valid; -1: not at all."
)
_BACKLOG_ACTIVE: Final = metrics.gauge("redis_repl_backlog_is_active", "Whether a backlog is kept.")
_BACKLOG_SIZE: Final = metrics.gauge("redis_replication_backlog_bytes", "Most bytes of history kept.")
_BACKLOG_FIRST: Final = metrics.gauge(
    "redis_repl_backlog_first_byte_offset", "Place of the oldest byte of history kept."
)
_BACKLOG_KEPT: Final = metrics.gauge("redis_repl_backlog_history_bytes", "Bytes of history kept.")
_PRIORITY: Final = metrics.gauge("redis_slave_priority", "Preference of this server in a failover.")
_SLAVE_OFFSET: Final = metrics.gauge(
    "redis_slave_repl_offset", "Place in the master's history up to which this replica has applied it."
)
_LINK_UP: Final = metrics.gauge("redis_master_link_up", "Whether the link to the master is up.")
_LAST_IO: Final = metrics.gauge(
    "redis_master_last_io_seconds_ago", "Seconds since the master was heard; -1: the link is down."
)
_SYNCING: Final = metrics.gauge(
    "redis_master_sync_in_progress", "Whether a full copy is arriving from the master."
)
_SYNC_FULL: Final = metrics.counter("redis_replica_resyncs_full", "Full copies given to replicas.")
_SYNC_PARTIAL: Final = metrics.counter(
    "redis_replica_partial_resync_accepted", "Replicas that could go on where they were."
)
_SYNC_DENIED: Final = metrics.counter(
    "redis_replica_partial_resync_denied", "Replicas that asked to go on and needed a full copy."
)
_UNSENT: Final = metrics.gauge(
    "redoubt_unsent_replica_bytes",
    "History that no kernel of a replica has taken yet; while above 0 a kill of this master may lose writes.",
)
_SYNCED: Final = metrics.gauge("redoubt_replica_synced", "Whether this copy of the data is complete.")
_DATA_EPOCH: Final = metrics.gauge(
    "redoubt_data_epoch", "Config epoch of the cluster under which the data were written."
)
_FAILED: Final = metrics.counter(
    "redoubt_replication_failed_commands", "Commands of the master's history that failed here."
)


def replication_samples(state: ServerState) -> list[Sample]:
    """Measure replication for the metrics."""
    replication = state.replication
    assert isinstance(replication, Replication)
    now_ms = state.now_ms
    statistics = state.statistics
    backlog = replication.backlog
    samples = [
        _REPLICAS.sample(len(replication.master.peers)),
        _OFFSET.sample(replication.offset),
        _SECOND_OFFSET.sample(replication.offset2),
        _BACKLOG_ACTIVE.sample(int(backlog is not None)),
        _BACKLOG_SIZE.sample(state.config.repl_backlog_size),
        _BACKLOG_FIRST.sample(0 if backlog is None else backlog.first_offset()),
        _BACKLOG_KEPT.sample(0 if backlog is None else backlog.size_bytes),
        _SYNC_FULL.sample(statistics.sync_full),
        _SYNC_PARTIAL.sample(statistics.sync_partial_ok),
        _SYNC_DENIED.sample(statistics.sync_partial_err),
        _UNSENT.sample(replication.unsent_bytes()),
        _SYNCED.sample(int(replication.is_synced)),
        _DATA_EPOCH.sample(replication.data_epoch),
        _FAILED.sample(replication.failed_commands),
        _PRIORITY.sample(state.config.replica_priority),
    ]
    for peer in replication.master.peers:
        labels = metrics.labels(
            [("slave_ip", peer.ip()), ("slave_port", str(peer.port)), ("slave_state", peer.state)]
        )
        samples.append(_REPLICA_OFFSET.sample(peer.ack_offset, labels))
        samples.append(_REPLICA_LAG.sample(peer.lag_s(now_ms) if peer.ack_ms else 0, labels))
    link = replication.link
    if link is not None:
        labels = metrics.labels([("master_host", link.host), ("master_port", str(link.port))])
        samples += [
            _SLAVE_OFFSET.sample(replication.offset, labels),
            _LINK_UP.sample(int(replication.link_is_up), labels),
            _LAST_IO.sample(_heard_s(replication, link, now_ms), labels),
            _SYNCING.sample(int(link.stage == RECEIVING), labels),
        ]
    return samples


info.register("replication", replication_fields)
metrics.register(
    replication_samples,
    [
        _REPLICAS, _REPLICA_OFFSET, _REPLICA_LAG, _OFFSET, _SECOND_OFFSET, _BACKLOG_ACTIVE, _BACKLOG_SIZE,
        _BACKLOG_FIRST, _BACKLOG_KEPT, _PRIORITY, _SLAVE_OFFSET, _LINK_UP, _LAST_IO, _SYNCING, _SYNC_FULL,
        _SYNC_PARTIAL, _SYNC_DENIED, _UNSENT, _SYNCED, _DATA_EPOCH, _FAILED,
    ],
)  # fmt: skip
