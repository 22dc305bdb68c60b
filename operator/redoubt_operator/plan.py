"""The planner: from what people want and what was seen to the next safe steps.

`plan` is pure: no await, no clock, no randomness, nothing remembered beside what is in the observation. It is
asked again after every change and answers with the few actions that are safe now, given that any of them may
fail and that the process may end between any two. The order of concerns is the same for every shard, and no
shard waits for another:

    supplies   objects around the pods               supplies.py
    repairs    pods that only a new pod can replace  upkeep.py
    members    missing ones created                  replicas.py
    mastership a first master, or a successor        forming.py, succession.py
    following  MEET, replicas, labels, FORGET        joining.py
    scaling    slots move, empty shards go           scaling.py, retiring.py
    planned    switchovers, surplus removed, config  switchover.py, draining.py, replicas.py, live_config.py
               the roll, and masters spread evenly   rolling.py, master_spread.py

Called by the reconciler with each observation; status.py turns the same view into what people read.
"""

from collections.abc import Mapping
from typing import Any, Final

from redoubt_operator.actions import Action, Plan, RaiseLease
from redoubt_operator.conditions import age_s, previous
from redoubt_operator.draft import WAITING_S, Draft, target
from redoubt_operator.draining import leave_cordoned_nodes
from redoubt_operator.forming import form
from redoubt_operator.joining import follow, forget, label_roles, meet
from redoubt_operator.live_config import PATIENCE_S, Difference, apply_live
from redoubt_operator.master_spread import spread_masters
from redoubt_operator.names import ANNOTATION_PAUSED
from redoubt_operator.observation import Observation, Unknown
from redoubt_operator.open_slots import close_slots
from redoubt_operator.replicas import grow, shrink
from redoubt_operator.retiring import retire
from redoubt_operator.rolling import roll
from redoubt_operator.scaling import scale
from redoubt_operator.spec import ClusterSpec, InvalidSpec
from redoubt_operator.status import describe, describe_invalid
from redoubt_operator.succession import note_loss, succeed
from redoubt_operator.supplies import supply
from redoubt_operator.switchover import switch_over
from redoubt_operator.upkeep import keep_up
from redoubt_operator.view import ClusterView, Shard, look

__all__ = ["plan"]

IDLE_S: Final = 60.0  # nothing to wait for: events, the monitor and the resync wake us


def plan(spec: ClusterSpec | InvalidSpec, seen: Observation, now_s: float) -> Plan:
    """The next safe steps for one cluster resource. `now_s` is Unix seconds."""
    if seen.meta.is_deleting:
        return Plan((), None, IDLE_S)  # the garbage collector follows the owner references
    if isinstance(spec, InvalidSpec):
        return _with_status(Draft(again_after_s=IDLE_S), seen, describe_invalid(spec, seen, now_s), IDLE_S)
    if isinstance(seen.pods, Unknown) or isinstance(seen.claims, Unknown):
        return Plan((), None, WAITING_S)
    view = look(spec, seen, seen.pods, seen.claims)
    draft = Draft()
    differences: tuple[Difference, ...] = ()
    is_paused = seen.meta.annotations.get(ANNOTATION_PAUSED) == "true"
    if not is_paused:
        differences = _decide(spec, view, draft, now_s)
    status, events = describe(spec, view, draft, differences, is_paused, now_s)
    draft.actions.extend(events)
    return _with_status(draft, seen, status, IDLE_S)


def _decide(spec: ClusterSpec, view: ClusterView, draft: Draft, now_s: float) -> tuple[Difference, ...]:
    supply(spec, view, draft, now_s)
    for shard in view.shards:
        _raise_lease(view, shard, draft)
        keep_up(view, shard, draft, now_s)
        grow(spec, view, shard, draft, now_s)
        if shard.master is not None:
            note_loss(shard, draft)
            follow(view, shard, draft)
        elif shard.was_formed:
            succeed(view, shard, draft, now_s)
        else:
            form(view, shard, draft)
        label_roles(shard, draft)
    meet(view, draft)
    forget(view, draft)
    scale(spec, view, draft, now_s)
    retire(spec, view, draft)
    close_slots(view, draft, now_s)
    switch_over(view, draft, now_s)
    leave_cordoned_nodes(view, draft)
    for shard in view.shards:
        if not draft.is_busy(shard.index) and not shard.is_empty:
            shrink(spec, view, shard, draft)
    has_waited = age_s(view.seen, "ConfigApplied", "False", now_s) > PATIENCE_S
    refused = str(previous(view.seen, "ConfigApplied").get("message")) if has_waited else ""
    differences = apply_live(spec, view, draft, refused)
    roll(spec, view, draft, now_s)
    spread_masters(spec, view, draft, now_s)
    return differences


def _raise_lease(view: ClusterView, shard: Shard, draft: Draft) -> None:
    """Before the first role in a lane, so that an earlier leader's late commands are refused."""
    transitions = view.seen.lease_transitions
    for server in shard.servers:
        if server.status is not None and server.status.lease_transitions < transitions:
            because = f"the operator leads with lease transition {transitions}"
            draft.actions.append(RaiseLease(target(server), transitions, because, shard.index))


def _with_status(draft: Draft, seen: Observation, status: Mapping[str, Any], longest_s: float) -> Plan:
    again_after_s = min(longest_s, draft.again_after_s if draft.again_after_s is not None else longest_s)
    changed = None if status == seen.status else status
    actions: tuple[Action, ...] = tuple(draft.actions)
    return Plan(actions, changed, again_after_s)
