"""How many members evictions must leave, and whether one more may go now.

Exactly one budget guards each shard: a drain, an autoscaler and the operator's own planned work all take
members away through it, so that no two of them take the last copies at the same time. One member may go
while a replica can take over, none while not. The API server refuses every eviction between a change of the
budget and its being counted anew, so what it allows is never older than what we asked for.

Asked by supplies (which applies the budgets) and by planned work. Rule: Kubernetes documentation,
"Specifying a Disruption Budget for your Application".
"""

from collections.abc import Mapping
from typing import Any

from redoubt_operator import names
from redoubt_operator.observation import Unknown
from redoubt_operator.projection import seconds
from redoubt_operator.spec import ClusterSpec
from redoubt_operator.view import ClusterView, Shard


def available_min(spec: ClusterSpec, shard: Shard) -> int:
    """Members that evictions must leave: one may go when a replica can take over, else none."""
    members = max(spec.members_per_shard, len(shard.staying))
    return members - 1 if shard.master is not None and shard.healthy_replicas else members


def allows_eviction(spec: ClusterSpec, view: ClusterView, shard: Shard) -> bool:
    """Whether the shard's budget, as it was seen, lets one healthy member go and is the one we want."""
    live = _budget(view, shard)
    return _is_counted(live) and bool(
        (live.get("spec") or {}).get("minAvailable") == available_min(spec, shard)
        and (live.get("status") or {}).get("disruptionsAllowed", 0) > 0
    )


def refused_for_s(view: ClusterView, shard: Shard, now_s: float) -> float:
    """For how long the shard's budget has let nobody go; 0 when it does, or has not said so."""
    for condition in (_budget(view, shard).get("status") or {}).get("conditions") or ():
        if condition.get("type") == "DisruptionAllowed" and condition.get("status") == "False":
            since_s = seconds(str(condition.get("lastTransitionTime", "")))
            return 0.0 if since_s is None else max(0.0, now_s - since_s)
    return 0.0


def _budget(view: ClusterView, shard: Shard) -> Mapping[str, Any]:
    """The shard's budget as it was seen, {} when it was not."""
    name = names.budget_name(view.seen.meta.name, shard.index)
    budgets = () if isinstance(view.seen.budgets, Unknown) else view.seen.budgets
    return next((one for one in budgets if one["metadata"]["name"] == name), {})


def _is_counted(live: Mapping[str, Any]) -> bool:
    """Whether its status belongs to its spec: the disruption controller has seen the newest one."""
    observed: int = (live.get("status") or {}).get("observedGeneration", 0)
    generation: int = (live.get("metadata") or {}).get("generation", 0)
    return observed >= generation
