"""What people read: .status of a cluster, and the Events that go with its changes.

The status is computed anew from the view each time and compared with the one that is there; equal means no
write. So nothing in it may change by itself: no scrape times, no ages, no order that depends on the look.

Called by plan; conditions.py, shard_table.py and news.py hold the parts.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from redoubt_operator import names
from redoubt_operator.actions import RecordEvent
from redoubt_operator.conditions import (
    Verdict,
    age_s,
    judge,
    previous,
    render,
    rfc3339,
    seconds,
    slots_served,
)
from redoubt_operator.draft import Blocker, Draft
from redoubt_operator.live_config import Difference, refused_directives, unknown_directives
from redoubt_operator.moves import print_move
from redoubt_operator.news import news
from redoubt_operator.observation import Observation
from redoubt_operator.shard_table import FIGURES_PERIOD_S, memory_column, shard_rows
from redoubt_operator.spec import ClusterSpec, InvalidSpec
from redoubt_operator.view import ClusterView

PASSING_S: Final = 5.0  # a passing blocker is shown once the cluster has not been ready for this long
BLOCKERS_MAX: Final = 20

NODES_UNSEEN: Final = (
    "Nodes cannot be seen: lost nodes are noticed through their pods, drains rely on the handover, "
    "and zones on topologySpreadConstraints"
)

MEASURED: Final = frozenset({"MemoryHealthy", "Evicting"})


def describe(
    spec: ClusterSpec,
    view: ClusterView,
    draft: Draft,
    differences: tuple[Difference, ...],
    is_paused: bool,
    now_s: float,
) -> tuple[dict[str, Any], tuple[RecordEvent, ...]]:
    """The whole status of a cluster, and the Events about what changed in it."""
    seen = view.seen
    verdicts = judge(spec, view, draft, differences, is_paused, now_s)
    flipped = any(
        one.type in MEASURED and previous(seen, one.type).get("status") not in (None, one.status)
        for one in verdicts
    )
    changed_s = seconds(str(seen.status.get("figuresChangedAt", "")))
    is_due = changed_s is None or now_s - changed_s >= FIGURES_PERIOD_S
    rows, is_newer = shard_rows(view, draft, flipped, is_due)
    blockers = _shown(draft, seen, now_s)
    conditions = render(verdicts, seen, now_s)
    masters = sum(shard.master is not None for shard in view.shards)
    replicas = sum(len(shard.healthy_replicas) for shard in view.shards)
    status: dict[str, Any] = {
        "observedGeneration": seen.meta.generation,
        "phase": _phase(verdicts, view, is_paused, seen),
        "message": _sentence(verdicts, blockers, is_paused),
        "currentShards": shards_present(view),
        "selector": ",".join(
            f"{key}={value}" for key, value in names.cluster_selector(seen.meta.name).items()
        ),
        "members": f"{masters}/{replicas}",
        "slots": slots_served(view),
        "conditions": conditions,
        "shards": rows,
        "blockers": [_blocker(one) for one in blockers],
    }
    journal = draft.journal or view.journal
    if journal.target_shards is not None:
        status["targetShards"] = journal.target_shards
    if journal.moves:
        status["moves"] = [print_move(move) for move in journal.moves]
    if journal.rebalance is not None:
        status["lastRebalance"] = dict(journal.rebalance)
    if draft.open_slots:
        status["openSlots"] = [dict(row) for row in draft.open_slots]
    memory = memory_column(rows)
    if memory:
        status["memory"] = memory
    if is_newer:
        status["figuresChangedAt"] = rfc3339(now_s)
    elif "figuresChangedAt" in seen.status:
        status["figuresChangedAt"] = seen.status["figuresChangedAt"]
    unknown = unknown_directives(spec, view)
    if unknown:
        status["unknownDirectives"] = list(unknown)
    refused = refused_directives(spec, view)
    if refused:
        status["refusedDirectives"] = [asdict(one) for one in refused]
    if view.nodes is None:
        status["notes"] = [NODES_UNSEEN]
    switchover = draft.switchover or seen.status.get("lastSwitchover")
    if switchover:
        status["lastSwitchover"] = switchover
    failover = _last_failover(seen)
    if failover:
        status["lastFailover"] = failover
    return status, news(view, verdicts, blockers, draft)


def shards_present(view: ClusterView) -> int:
    """Shards that have slots, are to get the first ones, or still have members although they leave."""
    present = [
        shard.index + 1
        for shard in view.shards
        if not shard.is_empty or (shard.is_leaving and (shard.servers or shard.claims))
    ]
    return max(present, default=len(view.shards))


def describe_invalid(spec: InvalidSpec, seen: Observation, now_s: float) -> dict[str, Any]:
    """The status under a spec that cannot be read: as it was, stalled, with what is wrong."""
    message = "; ".join(spec.messages)
    before = previous(seen, "Ready")
    ready = Verdict(
        "Ready",
        str(before.get("status", "Unknown")),
        str(before.get("reason", "InvalidSpec")),
        str(before.get("message", message)),
    )
    mine = (
        ready,
        Verdict("Reconciling", "False", "InvalidSpec", "nothing is changed while the spec is invalid"),
        Verdict("Stalled", "True", "InvalidSpec", message),
    )
    kept = [
        dict(one)
        for one in seen.status.get("conditions") or ()
        if one.get("type") not in {verdict.type for verdict in mine}
    ]
    return {
        **seen.status,
        "observedGeneration": seen.meta.generation,
        "phase": "Invalid",
        "message": message,
        "conditions": [*render(mine, seen, now_s), *kept],
    }


def _shown(draft: Draft, seen: Observation, now_s: float) -> list[Blocker]:
    """Blockers for people: those that last, once each."""
    not_ready_s = age_s(seen, "Ready", "False", now_s)
    shown: list[Blocker] = []
    for one in draft.blockers:
        if (not one.is_passing or not_ready_s >= PASSING_S) and one not in shown:
            shown.append(one)
    shown.sort(key=lambda one: (not one.is_stalling, one.shard if one.shard is not None else -1))
    return shown[:BLOCKERS_MAX]


def _blocker(one: Blocker) -> dict[str, Any]:
    row: dict[str, Any] = {"reason": one.reason, "evidence": one.evidence, "hint": one.hint}
    if one.shard is not None:
        row["shard"] = one.shard
    return row


def _phase(verdicts: tuple[Verdict, ...], view: ClusterView, is_paused: bool, seen: Observation) -> str:
    by_type = {one.type: one for one in verdicts}
    if is_paused:
        return "Paused"
    if by_type["Ready"].status == "True":
        return "Updating" if by_type["Reconciling"].status == "True" else "Running"
    if seen.status.get("phase") in (None, "Creating") and by_type["DataLost"].status != "True":
        return "Creating"
    if any(shard.master is None and shard.was_formed for shard in view.shards):
        return "FailingOver"
    return "Degraded"


def _sentence(verdicts: tuple[Verdict, ...], blockers: list[Blocker], is_paused: bool) -> str:
    by_type = {one.type: one for one in verdicts}
    ready = by_type["Ready"]
    if is_paused:
        return f"paused; {ready.message}"
    if blockers:
        return f"{blockers[0].reason}: {blockers[0].evidence}"
    if by_type["DataLost"].status == "True":
        return f"{ready.message}; data were lost, see condition DataLost"
    if ready.status == "True" and by_type["Reconciling"].status == "True":
        return by_type["Reconciling"].message
    return ready.message


def _last_failover(seen: Observation) -> Mapping[str, Any]:
    """The newest finished outage, or what the status has of an earlier one."""
    before: Mapping[str, Any] = seen.status.get("lastFailover") or {}
    ended = [one for one in seen.outages if one.ended_at_s is not None]
    if not ended:
        return before
    newest = max(ended, key=lambda one: (one.ended_at_s or 0.0, -one.shard))
    assert newest.ended_at_s is not None
    before_s = seconds(str(before.get("at", "")))
    if before_s is not None and before_s > newest.ended_at_s:
        return before
    return {
        "shard": newest.shard,
        "at": rfc3339(newest.ended_at_s),
        "from": newest.from_pod,
        "to": newest.to_pod,
        "unavailableSeconds": f"{newest.ended_at_s - newest.began_at_s:.3f}",
    }
