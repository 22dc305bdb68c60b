"""Planned replacement of pods that run with what the spec does not say any more, without a failed command.

One member of a shard at a time, replicas first; the master last, and only after it has handed over. The gate
of every step is that all members of the shard are in step (heirs.py) and that its budget lets one go, so a
roll and a drain never take two. The first pod of a new revision goes alone; when it has served well for a
moment the other shards follow, a limited number at a time. A pod of the new revision that cannot start,
crashes or never gets in sync halts the roll wherever it is, and the blocker names it; when the spec is
corrected or taken back, upkeep.py and `_hopeless` replace that one pod, and nothing else was touched.

Called by plan last, for shards in which nothing else is being changed and no slots move.
"""

from typing import Final

from redoubt_operator import names
from redoubt_operator.actions import DeletePod
from redoubt_operator.budgets import allows_eviction, refused_for_s
from redoubt_operator.draft import SOON_S, WAITING_S, Blocker, Draft
from redoubt_operator.heirs import best_heir, hand_over, in_step, is_introduced, why_not_in_step
from redoubt_operator.observation import Role
from redoubt_operator.replicas import is_outdated, members_wanted, must_move
from redoubt_operator.spec import ClusterSpec
from redoubt_operator.upkeep import STUCK_S, crash_reason, stuck_reason
from redoubt_operator.view import ClusterView, Fate, Server, Shard

# The first pod of a revision serves this long before others follow: a program that ends right after its first
# command would else be found out one shard later. Kubernetes' own precedent is minReadySeconds.
PROVEN_S: Final = 3.0
# A member that is not in step after this is named as what halts the roll; large data may take their time.
NEVER_READY_S: Final = 120.0
BUDGET_PATIENCE_S: Final = 15.0  # a budget that lets nobody go for longer waits for more than a probe


def roll(spec: ClusterSpec, view: ClusterView, draft: Draft, now_s: float) -> None:
    """Take the next step of replacing outdated pods in every shard that may take one."""
    outdated = [shard for shard in view.shards if any(is_outdated(view, one) for one in shard.staying)]
    if not outdated:
        return
    draft.look_again(WAITING_S)
    halted = _halted_by(view, now_s)
    if halted is not None:
        server, reason, is_told = halted
        if is_told:
            draft.block(_roll_halted(server, reason))
        return
    for shard in _in_turn(spec, view, outdated, draft, now_s):
        if not draft.is_busy(shard.index) and not view.is_moving(shard.index):
            _roll_shard(spec, view, shard, draft, now_s)


def _roll_shard(spec: ClusterSpec, view: ClusterView, shard: Shard, draft: Draft, now_s: float) -> None:
    master = shard.master
    wanted = members_wanted(spec, view, shard)
    ready = in_step(shard)
    if master is None or not shard.is_waiting_for_none or len(ready) < wanted - 1 or not master.is_staying:
        hopeless = _hopeless(view, shard, wanted)
        if hopeless is not None:
            _remove(view, shard, hopeless, draft, is_within_budget=False)
        else:
            draft.block(_roll_waits(shard, wanted))
        return
    replicas = [one for one in ready if is_outdated(view, one)]
    if replicas:
        if allows_eviction(spec, view, shard):
            _remove(view, shard, max(replicas, key=lambda one: one.serial), draft, is_within_budget=True)
        else:
            _wait_for_budget(view, shard, draft, now_s)
        return
    heir = best_heir(view, (one for one in ready if not must_move(view, one) and is_introduced(view, one)))
    if must_move(view, master) and heir is not None:
        because = f"pod {master.pod.name} has to be replaced, and {heir.pod.name} is in sync"
        hand_over(shard, heir, because, draft)


def _wait_for_budget(view: ClusterView, shard: Shard, draft: Draft, now_s: float) -> None:
    """The kubelet and the budget are about to say that all members are ready; if they do not, tell."""
    draft.look_again(SOON_S)
    refused_s = refused_for_s(view, shard, now_s)
    if refused_s >= BUDGET_PATIENCE_S:
        name = names.budget_name(view.seen.meta.name, shard.index)
        draft.block(
            Blocker(
                "BudgetRefuses",
                f"PodDisruptionBudget {name} lets no pod go, though all members of the shard are in sync",
                "look at the readiness of the shard's pods, and for evictions that were refused",
                shard.index,
            )
        )


def _remove(view: ClusterView, shard: Shard, victim: Server, draft: Draft, *, is_within_budget: bool) -> None:
    pod = victim.pod
    if pod.revision != view.revision:
        because = f"pod {pod.name} has revision {pod.revision}, wanted is {view.revision}"
    else:
        because = f"pod {pod.name} was made from template {pod.template}, and a newer one is approved"
    draft.do(
        DeletePod(
            pod.name,
            pod.uid,
            pod.resource_version,
            because,
            shard=shard.index,
            is_within_budget=is_within_budget,
        ),
        WAITING_S,
    )


def _hopeless(view: ClusterView, shard: Shard, wanted: int) -> Server | None:
    """The one outdated member that has never been in sync, where all others are in step: waiting for it
    would mean to wait for what the spec does not want any more.
    """
    master = shard.master
    others = len(shard.staying) - 1
    if master is None or not master.is_staying or others != wanted - 1 or len(in_step(shard)) != others - 1:
        return None
    for one in shard.staying:
        if one is not master and is_outdated(view, one) and one.status is not None and not one.status.synced:
            return one
    return None


def _halted_by(view: ClusterView, now_s: float) -> tuple[Server, str, bool] | None:
    """The pod of the new revision that keeps the roll from going on, why, and whether that has lasted."""
    for shard in view.shards:
        ready = (shard.master, *in_step(shard))
        for one in shard.servers:
            if is_outdated(view, one) or not one.is_staying:
                continue
            age_s = now_s - one.pod.created_at_s
            if reason := stuck_reason(one):
                return one, reason, age_s >= STUCK_S
            if reason := crash_reason(one, now_s):
                return one, reason, True
            if one not in ready and shard.master is not None and age_s >= NEVER_READY_S:
                return one, f"{why_not_in_step(shard, one)} since {int(NEVER_READY_S)} s or more", True
    return None


def _roll_halted(server: Server, reason: str) -> Blocker:
    return Blocker(
        "RollHalted",
        f"pod {server.pod.name} of the new revision {reason}",
        "correct the spec or take it back; the pod is replaced then, and no other was touched since",
        server.shard,
        is_stalling=True,
    )


def _roll_waits(shard: Shard, wanted: int) -> Blocker:
    ready = in_step(shard)
    lacking = (one for one in shard.servers if one is not shard.master and one not in ready)
    why = "; ".join(f"pod {one.pod.name} {why_not_in_step(shard, one)}" for one in lacking)
    return Blocker(
        "RollWaits",
        f"shard {shard.index} has {len(ready)} of {wanted - 1} replicas in sync{': ' if why else ''}{why}",
        "the roll goes on by itself when all members are in sync",
        shard.index,
        is_passing=True,
    )


def _in_turn(
    spec: ClusterSpec, view: ClusterView, outdated: list[Shard], draft: Draft, now_s: float
) -> list[Shard]:
    """The shards that may take a step: the first alone until its new pod is proven, then up to the limit."""
    begun = [shard for shard in outdated if any(not is_outdated(view, one) for one in shard.staying)]
    if not _is_proven(view, now_s):
        if any(not is_outdated(view, one) for one in view.servers):
            draft.look_again(SOON_S)
            return [shard for shard in begun if len(in_step(shard)) < len(shard.staying) - 1]
        return _first(spec, outdated)
    waiting = [shard for shard in outdated if shard not in begun]
    return [*begun, *waiting][: max(spec.update.shards_at_once, len(begun))]


def _is_proven(view: ClusterView, now_s: float) -> bool:
    """Whether a pod of the wanted revision has served well for a moment."""
    for shard in view.shards:
        for one in (shard.master, *in_step(shard)):
            if one is not None and not is_outdated(view, one):
                started_s = one.pod.container.started_at_s
                if started_s is not None and now_s - started_s >= PROVEN_S:
                    return True
    return False


def _first(spec: ClusterSpec, outdated: list[Shard]) -> list[Shard]:
    """The shard that goes first: the one in which a member comes or goes already, else the first that can."""
    changing = [
        shard
        for shard in outdated
        if len(shard.staying) < spec.members_per_shard or len(shard.staying) < len(shard.servers)
    ]
    unsynced = [shard for shard in outdated if any(_is_unsynced(one) for one in shard.staying)]
    able = [shard for shard in outdated if shard.is_complete and shard.master is not None]
    return [*changing, *unsynced, *able][:1]


def _is_unsynced(server: Server) -> bool:
    status = server.status
    return server.fate is Fate.STARTING or (
        status is not None and status.role is Role.REPLICA and not status.synced
    )
