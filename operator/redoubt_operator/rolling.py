"""Planned replacement of pods whose revision is not the wanted one, without a failed command.

One member of a shard at a time, replicas first; the master last and only after it has handed over. The gate
of every step is that all members of the shard are in sync. The first pod of a new revision goes alone: only
when it serves well do the other shards follow, and a pod of the new revision that cannot start stops the roll
until the spec is corrected (upkeep.py then replaces it).

Called by plan last, for shards in which nothing else is being changed.
"""

from redoubt_operator.actions import DeletePod, Handover
from redoubt_operator.draft import WAITING_S, Blocker, Draft, target
from redoubt_operator.replicas import is_outdated, members_wanted, must_move
from redoubt_operator.spec import ClusterSpec
from redoubt_operator.upkeep import stuck_reason
from redoubt_operator.view import ClusterView, Fate, Shard


def roll(spec: ClusterSpec, view: ClusterView, draft: Draft) -> None:
    """Take the next step of replacing outdated pods in every shard that may take one."""
    outdated = [shard for shard in view.shards if any(is_outdated(view, one) for one in shard.staying)]
    for shard in outdated if _is_proven(view) else _canary(view, outdated):
        _roll_shard(spec, view, shard, draft)
    for shard in view.shards:
        if shard not in outdated and _must_leave(spec, view, shard):
            _roll_shard(spec, view, shard, draft)


def _roll_shard(spec: ClusterSpec, view: ClusterView, shard: Shard, draft: Draft) -> None:
    draft.look_again(WAITING_S)
    if draft.is_busy(shard.index):
        return
    master = shard.master
    wanted = members_wanted(spec, view, shard)
    healthy = shard.healthy_replicas
    if master is None or not shard.is_complete or len(healthy) < wanted - 1 or not master.is_staying:
        draft.block(
            Blocker(
                "RollWaits",
                f"shard {shard.index} has {len(healthy)} of {wanted - 1} replicas in sync",
                "the roll goes on by itself when all members are in sync",
                shard.index,
                is_passing=True,
            )
        )
        return
    replicas = [one for one in healthy if is_outdated(view, one)]
    if replicas:
        victim = max(replicas, key=lambda one: one.serial).pod
        because = f"pod {victim.name} has revision {victim.revision}, wanted is {view.revision}"
        draft.do(
            DeletePod(victim.name, victim.uid, victim.resource_version, because, shard=shard.index), WAITING_S
        )
        return
    heirs = [one for one in healthy if not must_move(view, one)]
    if must_move(view, master) and heirs:
        heir = max(heirs, key=lambda one: (one.status.repl_offset if one.status else 0, -one.serial))
        because = f"pod {master.pod.name} has to be replaced, and {heir.pod.name} is in sync"
        draft.do(Handover(target(master), heir.node_id, because, shard.index), WAITING_S)


def _is_proven(view: ClusterView) -> bool:
    """Whether a pod of the wanted revision serves well and none of them is stuck or crashing."""
    current = [one for one in view.servers if not is_outdated(view, one) and one.is_staying]
    if any(stuck_reason(one) or one.fate is Fate.DEAD for one in current):
        return False
    return any(one in current for shard in view.shards for one in (shard.master, *shard.healthy_replicas))


def _canary(view: ClusterView, outdated: list[Shard]) -> list[Shard]:
    """The shard that goes first; the one that has begun, while its new pod is not proven."""
    for shard in outdated:
        if any(not is_outdated(view, one) for one in shard.servers):
            return [shard]
    ready = [shard for shard in outdated if shard.is_complete and shard.master is not None]
    return ready[:1]


def _must_leave(spec: ClusterSpec, view: ClusterView, shard: Shard) -> bool:
    """Whether a lone master stands on a cordoned node; with replicas the drain itself hands over."""
    return spec.members_per_shard == 1 and shard.master is not None and must_move(view, shard.master)
