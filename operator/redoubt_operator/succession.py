"""A shard that had a master and has none now: who serves next.

The data plane elects by itself; the operator adds what Kubernetes knows. In this order:

1. The old master is dead for certain and a synced replica is there: promote it, by CLUSTER FAILOVER FORCE
   while a majority of masters can vote, by REDOUBT ROLE only where none can.
2. The old master is merely silent: with three or more shards the majority decides without us; with one or two
   nobody can tell a dead master from a broken network, so silence never promotes.
3. No synced replica: wait until every copy that may exist has been seen, then the newest copy gets the role,
   also when it is the master that yielded.
4. All were seen and none has data: the loss is first written into the status and only then, at the next look,
   the shard is begun anew, empty.

Called by plan for each formed shard without a serving master.
"""

from typing import Final

from redoubt_operator.actions import AssignMaster, ForceFailover, Forget
from redoubt_operator.conditions import age_s
from redoubt_operator.draft import WAITING_S, Blocker, Draft, target
from redoubt_operator.forming import first_master, give_slots
from redoubt_operator.observation import Phase
from redoubt_operator.view import ClusterView, Fate, Server, Shard

VOTE_PATIENCE_S: Final = 3.0  # the node timeout: an election that could be won is over by then
MASTERS_THAT_JUDGE: Final = 3  # with fewer, the survivors of a partition are no majority


def succeed(view: ClusterView, shard: Shard, draft: Draft, now_s: float) -> None:
    """Find the shard's next master, or say what it waits for."""
    draft.look_again(WAITING_S)
    candidates = [one for one in shard.servers if one.is_synced_replica and one.is_staying]
    if candidates:
        _promote(view, shard, min(candidates, key=_newest_first), draft, now_s)
    elif not shard.is_complete:
        draft.block(
            Blocker(
                "CopiesNotSeen",
                f"shard {shard.index} has no master and no synced replica; {'; '.join(shard.missing_copies)}",
                "the newest copy becomes the master once all are seen; a pod and volume that are certainly "
                "lost may be deleted",
                shard.index,
                is_passing=True,
            )
        )
    else:
        _restore(view, shard, draft)


def note_loss(shard: Shard, draft: Draft) -> None:
    """Record that a master serves again without the data that it had, if nobody told it to.

    A lone master asks the majority for its slots and resumes without the operator; the server reports it
    until it is restarted.
    """
    master = shard.master
    if master is None or master.status is None or not master.status.data_lost:
        return
    if not shard.loss_recorded and master.pod.name not in shard.losses_told:
        draft.losses[shard.index] = f"{master.pod.name} serves shard {shard.index} again without its data"


def death_of_master(view: ClusterView, shard: Shard) -> str:
    """What proves that the shard's last master is dead, or an empty text."""
    owner_ids = shard.owner_ids
    silent = [one for one in shard.servers if one.fate is Fate.SILENT]
    for server in silent:
        was_restarted = (
            server.recorded_restarts is not None
            and server.pod.container.restart_count > server.recorded_restarts
        )
        if not was_restarted and (not server.node_id or server.node_id in owner_ids):
            return ""
    for server in shard.servers:
        if server.node_id in owner_ids or server.fate in (Fate.DEAD, Fate.LOST):
            return _how_it_died(server)
    return "its pod does not exist any more"


def can_vote(view: ClusterView, now_s: float) -> bool:
    """Whether a majority of the masters with slots can be reached to vote.

    A master that was restarted with its nodes.conf votes over the links that it dials itself. One that is
    silent towards us may vote all the same, so it is counted until an election had time enough.
    """
    voters = silent = 0
    for server in view.servers:
        if server.node_id in view.owned:
            status = server.status
            silent += server.fate is Fate.SILENT
            has_map = status is not None and status.phase is not Phase.ASSIGNED and status.boot_slots > 0
            voters += server.is_serving_master or has_map
    uncovered_s = max(age_s(view.seen, "SlotsCovered", status, now_s) for status in ("False", "Unknown"))
    if uncovered_s < VOTE_PATIENCE_S:
        voters += silent
    return voters > len(view.owned) // 2


def _promote(view: ClusterView, shard: Shard, best: Server, draft: Draft, now_s: float) -> None:
    death = death_of_master(view, shard)
    if not death:
        masters = len(view.owned)
        if masters < MASTERS_THAT_JUDGE:
            draft.block(
                Blocker(
                    "MasterSilent",
                    f"the master of shard {shard.index} does not answer, and {masters} masters are too few "
                    "to tell a dead server from a broken network",
                    "delete the pod, or its Node, or taint the node "
                    "node.kubernetes.io/out-of-service if it is certainly dead",
                    shard.index,
                    is_passing=True,
                )
            )
        return
    because = (
        f"the master of shard {shard.index} is dead ({death}); {best.pod.name} has the newest synced copy"
    )
    if can_vote(view, now_s):
        draft.do(ForceFailover(target(best), because, shard.index))
    else:
        because += "; no majority of masters can vote"
        transitions = view.seen.lease_transitions
        draft.do(AssignMaster(target(best), shard.epoch_seen, transitions, because, shard=shard.index))


def _restore(view: ClusterView, shard: Shard, draft: Draft) -> None:
    """All copies were seen and nobody serves: the newest one does now, or the loss is recorded."""
    transitions = view.seen.lease_transitions
    copies = [one for one in shard.staying if one.copy is not None]
    if copies:
        newest = min(copies, key=lambda one: _restored_first(shard, one))
        because = f"no member of shard {shard.index} serves; of all copies {newest.pod.name} has the newest"
        if newest.is_idle_master:
            # It lost the slots to a member that is gone, and an order to be a master changes nothing.
            _inherit(view, shard, newest, because, draft)
            return
        draft.do(
            AssignMaster(target(newest), shard.epoch_seen, transitions, because, True, shard=shard.index)
        )
        return
    if not shard.loss_recorded:
        draft.losses[shard.index] = f"no member of shard {shard.index} and no volume has a copy of its data"
        return
    _begin_anew(view, shard, draft)


def _begin_anew(view: ClusterView, shard: Shard, draft: Draft) -> None:
    because = f"the data of shard {shard.index} are lost, which the status says; it begins anew, empty"
    transitions = view.seen.lease_transitions
    able = [one for one in shard.staying if one.status is not None and not one.status.loading]
    heirs = [one for one in able if _may_take_over(shard, one)]
    if heirs:
        heir = min(heirs, key=lambda one: (one.node_id not in shard.owner_ids, one.serial))
        draft.do(AssignMaster(target(heir), shard.epoch_seen, transitions, because, True, shard=shard.index))
        return
    fresh = first_master(shard)
    if fresh is None:
        return  # its pods are starting
    _inherit(view, shard, fresh, because, draft)


def _inherit(view: ClusterView, shard: Shard, heir: Server, because: str, draft: Draft) -> None:
    """Give a member that no map connects with the slots those of owners that are gone."""
    for server in view.seen_servers if heir.knows_others else ():
        for owner in shard.owner_ids:
            if server.knows(owner) is not None:
                draft.do(Forget(target(server), owner, because, shard.index))
    give_slots(view, shard, heir, because, draft, is_newest=True)


def _may_take_over(shard: Shard, server: Server) -> bool:
    """Whether a server's own map makes it the owner of the slots, or the owner's replica."""
    status = server.status
    return status is not None and (
        status.node_id in shard.owner_ids or (bool(status.master_id) and status.master_id in shard.owner_ids)
    )


def _newest_first(server: Server) -> tuple[int, int, int]:
    status = server.status
    assert status is not None
    return (-status.data_epoch, -status.repl_offset, server.serial)


def _restored_first(shard: Shard, server: Server) -> tuple[int, int, int, bool, int]:
    copy = server.copy
    assert copy is not None
    return (-copy.data_epoch, -copy.offset, -copy.keys, server.node_id not in shard.owner_ids, server.serial)


def _how_it_died(server: Server) -> str:
    pod = server.pod
    last = pod.container.last_termination
    match server.fate:
        case Fate.SEEN:
            return f"pod {pod.name} was restarted and waits for its role"
        case Fate.LOST:
            return f"pod {pod.name} will not run again"
        case Fate.SILENT:
            return f"the container of pod {pod.name} was restarted"
        case _:
            return f"the container of pod {pod.name} ended ({last.reason if last else 'no reason given'})"
