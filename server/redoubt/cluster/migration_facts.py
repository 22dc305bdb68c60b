"""What slot migrations tell INFO and the metrics: how many run, what has moved, how long writes waited.

Registered at import; called at scrapes. CLUSTER GETSLOTMIGRATIONS has the single moves.
"""

from __future__ import annotations

from typing import Final

from redoubt import info, metrics
from redoubt.cluster.cluster import Cluster
from redoubt.metrics import Sample, labels
from redoubt.state import ServerState

_ACTIVE: Final = metrics.gauge("redoubt_slot_migration_active", "Slot migrations that are not over.")
_KEYS: Final = metrics.counter("redoubt_slot_migration_keys_total", "Keys in the snapshots of migrations.")
_BYTES: Final = metrics.counter(
    "redoubt_slot_migration_bytes_total", "Bytes of snapshots and changes of migrations."
)
_FINISHED: Final = metrics.counter("redoubt_slot_migration_finished_total", "Slot migrations that are over.")
_PAUSE: Final = metrics.gauge(
    "redoubt_slot_migration_pause_seconds", "How long writes waited at the last switch of this source."
)
_OPEN: Final = metrics.gauge(
    "redoubt_slot_migration_open_slots", "Slots given away of which is not known whether they arrived."
)
_SWEPT: Final = metrics.counter("redoubt_slot_swept_keys_total", "Keys removed from slots that had left.")


def samples(state: ServerState) -> list[Sample]:
    """Give the current figures; none where there is no cluster."""
    cluster = state.cluster
    if not isinstance(cluster, Cluster):
        return []
    moves = cluster.migrations
    source, target = labels([("operation", "export")]), labels([("operation", "import")])
    return [
        _ACTIVE.sample(moves.active_exports(), source),
        _ACTIVE.sample(moves.active_imports(), target),
        _KEYS.sample(moves.keys_sent, source),
        _KEYS.sample(moves.keys_received, target),
        _BYTES.sample(moves.bytes_sent, source),
        _BYTES.sample(moves.bytes_received, target),
        _FINISHED.sample(moves.succeeded, labels([("state", "success")])),
        _FINISHED.sample(moves.failed, labels([("state", "failed")])),
        _PAUSE.sample(moves.pause_last_ms / 1000),
        _OPEN.sample(cluster.topology.granted().bit_count()),
        _SWEPT.sample(moves.sweeper.keys_removed),
    ]


def section(state: ServerState) -> info.Fields:
    """Give what the cluster section of INFO says of migrations."""
    cluster = state.cluster
    if not isinstance(cluster, Cluster):
        return []
    moves = cluster.migrations
    return [
        ("slot_exports_active", moves.active_exports()),
        ("slot_imports_active", moves.active_imports()),
        ("slot_migrations_succeeded", moves.succeeded),
        ("slot_migrations_failed", moves.failed),
        ("slot_migration_last_pause_ms", moves.pause_last_ms),
    ]


info.register("cluster", section)
metrics.register(samples, [_ACTIVE, _KEYS, _BYTES, _FINISHED, _PAUSE, _OPEN, _SWEPT])
