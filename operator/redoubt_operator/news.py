"""Events: what of a change in the status people are told when it happens.

An Event is made when the new status differs from the last one in a way that matters: a condition flipped, a
master changed, a container died, a blocker appeared. So the same state never tells the same news twice, and
no memory is needed beside the status.

Called by status.py.
"""

from collections.abc import Sequence
from typing import Final, Literal

from redoubt_operator.actions import RecordEvent
from redoubt_operator.conditions import Verdict, previous
from redoubt_operator.draft import Blocker, Draft
from redoubt_operator.shard_table import recorded_restarts
from redoubt_operator.view import ClusterView, Fate

Kind = Literal["Normal", "Warning"]

FLIPS: Final[dict[tuple[str, str], tuple[Kind, str]]] = {
    ("Ready", "True"): ("Normal", "Ready"),
    ("Ready", "False"): ("Warning", "NotReady"),
    ("MemoryHealthy", "False"): ("Warning", "MemoryNearlyFull"),
    ("MemoryHealthy", "True"): ("Normal", "MemoryRelieved"),
    ("Evicting", "True"): ("Warning", "Evicting"),
    ("Evicting", "False"): ("Normal", "EvictionEnded"),
    ("ConfigApplied", "True"): ("Normal", "ConfigApplied"),
    ("Paused", "True"): ("Normal", "Paused"),
    ("Paused", "False"): ("Normal", "Resumed"),
}


def news(
    view: ClusterView, verdicts: Sequence[Verdict], blockers: Sequence[Blocker], draft: Draft
) -> tuple[RecordEvent, ...]:
    """The Events about what is new since the last status."""
    return (
        *_losses(draft),
        *_flips(view, verdicts),
        *_masters(view),
        *_deaths(view),
        *_switchover(view, draft),
        *_blockers(view, blockers),
    )


def _losses(draft: Draft) -> list[RecordEvent]:
    return [RecordEvent("Warning", "DataLost", why, shard) for shard, why in sorted(draft.losses.items())]


def _flips(view: ClusterView, verdicts: Sequence[Verdict]) -> list[RecordEvent]:
    events = []
    for verdict in verdicts:
        before = previous(view.seen, verdict.type).get("status")
        told = FLIPS.get((verdict.type, verdict.status))
        is_first = before is None or (before == "Unknown" and verdict.status == "True")
        is_news = before != verdict.status and not (is_first and verdict.type != "Ready")
        if told is not None and is_news and not (before is None and verdict.status == "False"):
            kind, reason = told
            events.append(RecordEvent(kind, reason, verdict.message))
    return events


def _masters(view: ClusterView) -> list[RecordEvent]:
    before = {row.get("shard"): row.get("master") for row in view.seen.status.get("shards") or ()}
    events = []
    for shard in view.shards:
        old, new = before.get(shard.index), shard.master
        if old and new is not None and new.pod.name != old:
            because = f"{new.pod.name} is the master of shard {shard.index} now, {old} was"
            events.append(RecordEvent("Normal", "MasterChanged", because, shard.index))
    return events


def _deaths(view: ClusterView) -> list[RecordEvent]:
    recorded = recorded_restarts(view.seen)
    events = []
    for server in view.servers:
        container, name = server.pod.container, server.pod.name
        if server.fate is Fate.SEEN and container.restart_count > recorded.get(name, container.restart_count):
            last = container.last_termination
            how = "" if last is None else f": {last.reason}, exit code {last.exit_code}"
            because = f"the container of pod {name} was restarted{how}"
            events.append(RecordEvent("Warning", "ContainerRestarted", because, server.shard))
    return events


def _switchover(view: ClusterView, draft: Draft) -> list[RecordEvent]:
    row = draft.switchover
    if row is None or row == view.seen.status.get("lastSwitchover"):
        return []
    result = str(row["result"])
    kind: Kind = "Normal" if result in ("Accepted", "Done") else "Warning"
    because = f"{row['message']} (asked for: {row['request']})"
    return [RecordEvent(kind, f"Switchover{result}", because, row.get("shard"))]


def _blockers(view: ClusterView, blockers: Sequence[Blocker]) -> list[RecordEvent]:
    known = {(one.get("reason"), one.get("shard")) for one in view.seen.status.get("blockers") or ()}
    return [
        RecordEvent("Warning", one.reason, f"{one.evidence}; {one.hint}", one.shard)
        for one in blockers
        if (one.reason, one.shard) not in known
    ]
