"""What the cluster tells INFO and the metrics.

Names follow Redis and its community exporter (`redis_cluster_*`), so that existing dashboards and alerts
work; what only Redoubt has is called `redoubt_*`. Registered at import; called at scrapes. It
computes nothing that CLUSTER INFO does not show.
"""

from __future__ import annotations

from typing import Final

from redoubt import info, metrics
from redoubt.cluster import views
from redoubt.cluster.cluster import Cluster
from redoubt.metrics import Sample
from redoubt.state import ServerState

# Field of CLUSTER INFO -> family.
_GAUGES: Final = {
    "cluster_slots_assigned": metrics.gauge("redis_cluster_slots_assigned", "Slots that have an owner."),
    "cluster_slots_ok": metrics.gauge("redis_cluster_slots_ok", "Slots whose owner is well."),
    "cluster_slots_pfail": metrics.gauge("redis_cluster_slots_pfail", "Slots whose owner is suspected."),
    "cluster_slots_fail": metrics.gauge("redis_cluster_slots_fail", "Slots whose owner has failed."),
    "cluster_known_nodes": metrics.gauge("redis_cluster_known_nodes", "Nodes that this node knows."),
    "cluster_size": metrics.gauge("redis_cluster_size", "Masters with slots."),
    "cluster_current_epoch": metrics.gauge("redis_cluster_current_epoch", "Highest epoch heard of."),
    "cluster_my_epoch": metrics.gauge("redis_cluster_my_epoch", "Config epoch of this node's slots."),
}
_COUNTERS: Final = {
    "cluster_stats_messages_sent": metrics.counter(
        "redis_cluster_messages_sent_total", "Messages sent on the cluster bus."
    ),
    "cluster_stats_messages_received": metrics.counter(
        "redis_cluster_messages_received_total", "Messages received on the cluster bus."
    ),
}
_ENABLED: Final = metrics.gauge("redis_cluster_enabled", "1 if this server is a node of a cluster.")
_STATE: Final = metrics.gauge("redis_cluster_state", "1 if the cluster is ok as this node sees it.")
_SLOTS: Final = metrics.gauge("redoubt_cluster_slots", "Slots that this node serves.")
_DOUBTS: Final = metrics.counter(
    "redoubt_cluster_majority_doubts_total", "Times this master held writes until a majority answered."
)
_ELECTIONS: Final = metrics.counter("redoubt_cluster_elections_total", "Elections that this node began.")


def samples(state: ServerState) -> list[Sample]:
    """Give the current figures; only `redis_cluster_enabled` where there is no cluster."""
    cluster = state.cluster
    if not isinstance(cluster, Cluster):
        return [Sample(_ENABLED, 0)]
    found = [
        Sample(_ENABLED, 1),
        Sample(_STATE, int(cluster.availability.is_ok)),
        Sample(_SLOTS, cluster.topology.myself.slot_count if cluster.role.is_assigned else 0),
        Sample(_DOUBTS, cluster.watch.doubts_begun),
        Sample(_ELECTIONS, cluster.election.elections_held),
    ]
    for name, value in views.info_pairs(cluster):
        family = _GAUGES.get(name) or _COUNTERS.get(name)
        if family is not None:
            found.append(Sample(family, int(value)))
    return found


def section(state: ServerState) -> info.Fields:
    """Give the cluster section of INFO."""
    return [("cluster_enabled", int(state.config.cluster_enabled))]


info.register("cluster", section)
metrics.register(
    samples, [_ENABLED, _STATE, _SLOTS, _DOUBTS, _ELECTIONS, *_GAUGES.values(), *_COUNTERS.values()]
)
