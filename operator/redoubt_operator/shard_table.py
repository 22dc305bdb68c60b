"""status.shards: one row for each shard, with its members and their figures.

What is structural (who is master, which pod, in which state) is always current. Figures (memory, hit rate,
evictions) stay as they were written until a share has moved by five points or a condition flipped, and change
every 30 seconds at most: people get what matters, the API server no stream of numbers. Live figures are on
the operator's /metrics.

The table is also the operator's journal across restarts: the slots of a shard, the node id and the restarts
of each pod when it was last seen, and that a shard's data are lost. Called by status.py.
"""

from collections.abc import Mapping
from typing import Any, Final

from redoubt_operator.draft import Draft
from redoubt_operator.observation import Observation, Phase, Role, Unknown
from redoubt_operator.placement import print_slots
from redoubt_operator.view import ClusterView, Fate, Server, Shard

FIGURES_PERIOD_S: Final = 30.0
FIGURES_STEP: Final = 5  # points of a share

FIGURES: Final = ("memory", "memoryUsed", "hitRate", "evictedPerSecond", "keys")


def shard_rows(view: ClusterView, draft: Draft, has_flipped: bool, is_due: bool) -> tuple[list[Any], bool]:
    """The rows, and whether figures in them are newer than in the last status."""
    before = {
        member.get("pod"): member
        for row in view.seen.status.get("shards") or ()
        for member in row.get("members") or ()
    }
    masters = {row.get("shard"): row.get("master", "") for row in view.seen.status.get("shards") or ()}
    fresh = {server.pod.name: figures(server) for server in view.servers}
    moved = any(_has_moved(before[pod], fresh[pod]) for pod in fresh if pod in before)
    is_refreshed = is_due and (moved or has_flipped)
    if moved and not is_due:
        draft.look_again(FIGURES_PERIOD_S)
    is_newer = False
    rows = []
    for shard in view.shards:
        members = []
        for server in shard.servers:
            old = before.get(server.pod.name, {})
            kept = {name: old[name] for name in FIGURES if name in old}
            shown = fresh[server.pod.name] if is_refreshed or not kept else kept
            is_newer = is_newer or shown != kept
            members.append({**_member(shard, server, old), **shown})
        rows.append({**_row(shard, draft, masters.get(shard.index, "")), "members": members})
    return rows, is_newer


def figures(server: Server) -> dict[str, Any]:
    """The figures of one member from its newest scrape, {} when it has not been scraped."""
    sample = server.sample
    if isinstance(sample, Unknown):
        return {}
    shown: dict[str, Any] = {
        "memoryUsed": _mebibytes(sample.used_memory_bytes),
        "evictedPerSecond": round(sample.evicted_per_s),
        "keys": sample.keys,
    }
    if sample.memory_share is not None:
        shown["memory"] = round(100 * sample.memory_share)
    if sample.hit_ratio is not None:
        shown["hitRate"] = round(100 * sample.hit_ratio)
    return shown


def memory_column(rows: list[Any]) -> str:
    """The fullest member's share of maxmemory, for the printer column."""
    shares = [member["memory"] for row in rows for member in row["members"] if "memory" in member]
    return f"{max(shares)}%" if shares else ""


def recorded_restarts(seen: Observation) -> dict[str, int]:
    """Restarts by pod as the last status has them."""
    return {
        member["pod"]: member["restarts"]
        for row in seen.status.get("shards") or ()
        for member in row.get("members") or ()
        if "restarts" in member
    }


def _row(shard: Shard, draft: Draft, last_master: str) -> dict[str, Any]:
    row: dict[str, Any] = {"shard": shard.index, "state": _shard_state(shard, draft)}
    if shard.was_formed and shard.slots:
        row["slots"] = print_slots(shard.slots)
    master = shard.master.pod.name if shard.master is not None else last_master
    if master:
        row["master"] = master
    if shard.master is None and (shard.loss_recorded or shard.index in draft.losses):
        row["dataLost"] = True
    return row


def _shard_state(shard: Shard, draft: Draft) -> str:
    if shard.index in draft.retiring:
        return "Leaving"
    if shard.is_leaving:
        return "Draining"
    if shard.is_empty:
        return "Joining"
    if shard.master is not None:
        return "Serving"
    return "NoMaster" if shard.was_formed else "Forming"


def _member(shard: Shard, server: Server, old: Mapping[str, Any]) -> dict[str, Any]:
    pod = server.pod
    member: dict[str, Any] = {"pod": pod.name, "state": _state(shard, server)}
    role = _role(shard, server)
    if role:
        member["role"] = role
    if pod.node:
        member["node"] = pod.node
    if server.node_id:
        member["nodeId"] = server.node_id
    if server.fate is Fate.SEEN:
        member["restarts"] = pod.container.restart_count
    elif "restarts" in old:
        member["restarts"] = old["restarts"]
    if server.status is not None and server.status.data_lost:
        member["resumedEmpty"] = True
    if server.status is not None and server.status.diverged:
        member["divergedCopy"] = server.status.diverged
    return member


def _role(shard: Shard, server: Server) -> str:
    if server is shard.master:
        return Role.MASTER.value
    if server.status is not None and server.status.phase is Phase.ASSIGNED:
        return server.status.role.value if server.status.role is Role.REPLICA else ""
    return ""


def _state(shard: Shard, server: Server) -> str:
    status = server.status
    if server.pod.is_terminating:
        return "Terminating"
    if status is None:
        return server.fate.value.capitalize()
    if status.loading:
        return "Loading"
    if status.phase is not Phase.ASSIGNED:
        return status.phase.value.capitalize()
    if server is shard.master:
        return "Serving"
    if server in shard.healthy_replicas:
        return "InSync"
    return "Syncing" if status.syncing or not status.synced else "LinkDown"


def _has_moved(before: Mapping[str, Any], fresh: Mapping[str, Any]) -> bool:
    return any(
        name in before and name in fresh and abs(fresh[name] - before[name]) >= FIGURES_STEP
        for name in ("memory", "hitRate")
    )


def _mebibytes(number: int) -> str:
    return f"{round(number / 2**20)}Mi"
