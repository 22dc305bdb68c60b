"""A shard that has given away all its slots is removed: verified, forgotten, deleted, in this order.

It goes only when everything was seen and everybody agrees: its own members say that they have neither slots
nor keys, and every server of the shards that stay, so also who got the slots and who had nothing to do with
it, says that it owns none. That is written into the status first (state Leaving); from then on it is removed
to the end, also when the spec changes back, since half a removal cannot be taken back: a node that some have
forgotten is not met again for a minute. Then all others forget its members, only then its pods are deleted,
and last its volumes: deleted under `storage.reclaim: Delete`, else labelled and kept for people.

Called by plan once for the cluster, after scaling.py.
"""

from collections.abc import Sequence

from redoubt_operator import names
from redoubt_operator.actions import DeleteClaim, DeletePod, Forget, PatchClaim
from redoubt_operator.draft import SOON_S, WAITING_S, Blocker, Draft, target
from redoubt_operator.observation import Phase, Role
from redoubt_operator.placement import SLOTS
from redoubt_operator.spec import ClusterSpec, Reclaim
from redoubt_operator.view import ClusterView, Fate, Server, Shard


def retire(spec: ClusterSpec, view: ClusterView, draft: Draft) -> None:
    """Take the next step of removing every shard that is empty and not wanted."""
    journal = draft.journal
    is_settled = journal is not None and journal.target_shards == spec.shards and not journal.moves
    for shard in view.shards:
        if not shard.is_empty or not (shard.servers or shard.claims):
            continue
        if shard.is_retiring:
            draft.retiring.add(shard.index)
            _remove(spec, view, shard, draft)
        elif shard.is_leaving and is_settled and view.journal == journal:
            _release(view, shard, draft)


def _release(view: ClusterView, shard: Shard, draft: Draft) -> None:
    """Write down that the shard goes, if everybody agrees that it is empty."""
    why_not = _why_not_empty(view, shard)
    if not why_not:
        draft.retiring.add(shard.index)
        draft.look_again(SOON_S)
        return
    draft.look_again(WAITING_S)
    draft.block(
        Blocker(
            "ScaleInWaits",
            f"shard {shard.index} has no slots and is not removed yet: {why_not}",
            "every member has to answer and to agree; a pod that is certainly dead may be deleted",
            shard.index,
        )
    )


def _why_not_empty(view: ClusterView, shard: Shard) -> str:
    """What speaks against the removal, by the shard itself and by everybody else; empty when nothing does."""
    if not view.is_complete:
        unseen = (*view.unseen, *(why for one in view.shards for why in one.missing_copies))
        return f"not everything was seen: {'; '.join(unseen)}"
    for server in shard.servers:
        if why := _why_not_drained(server):
            return why
    ids = frozenset(server.node_id for server in shard.servers)
    served = 0
    for other in (one for one in view.shards if one is not shard):
        for server in other.servers:
            for node in server.known_nodes:
                if node.node_id in ids and node.slots:
                    return f"pod {server.pod.name} says that it has slots"
        master = other.master
        line = master.knows(master.node_id) if master is not None else None
        served += line.slot_count if line is not None else 0
    return "" if served == SLOTS else f"the other shards serve {served} of {SLOTS} slots"


def _why_not_drained(server: Server) -> str:
    status, name = server.status, server.pod.name
    if status is None:
        return f"pod {name} does not answer"
    mine = server.knows(server.node_id)
    # What nodes.conf said at the start counts only until the member has its role: it stays in the answers.
    booted = status.slots_at_boot if status.phase is not Phase.ASSIGNED else 0
    if status.slots or booted or (mine is not None and (mine.slots or mine.open_slots)):
        return f"pod {name} says that it has slots"
    if status.exports or status.imports:
        return f"pod {name} still sends or takes slots"
    is_owner = status.phase is Phase.ASSIGNED and status.role is Role.MASTER
    if status.keys and (is_owner or status.link_up):
        return f"pod {name} still has {status.keys} keys"
    return ""


def _remove(spec: ClusterSpec, view: ClusterView, shard: Shard, draft: Draft) -> None:
    draft.look_again(SOON_S)
    staying = [server for one in view.shards if one is not shard for server in one.servers]
    ids = sorted({server.node_id for server in shard.servers if server.node_id})
    if not any(one.pod.is_terminating for one in shard.servers):
        holding = [one for one in shard.servers if one.status is not None and _why_not_drained(one)]
        silent = [one for one in staying if one.fate is not Fate.SEEN]
        if holding or silent:
            draft.block(_removal_waits(shard, holding, silent))
            return
        knowing = [(one, node_id) for one in staying for node_id in ids if _has_line(one, node_id)]
        if knowing:
            for server, node_id in knowing:
                because = f"shard {shard.index} is empty and goes; all others forget its members first"
                draft.do(Forget(target(server), node_id, because, server.shard))
            return
    for server in shard.servers:
        pod = server.pod
        if not pod.is_terminating:
            because = f"shard {shard.index} is empty, and everybody has forgotten pod {pod.name}"
            draft.do(
                DeletePod(pod.name, pod.uid, pod.resource_version, because, shard=shard.index), WAITING_S
            )
    if not shard.servers:
        _keep_or_delete_volumes(spec, shard, draft)


def _removal_waits(shard: Shard, holding: Sequence[Server], silent: Sequence[Server]) -> Blocker:
    reasons = [_why_not_drained(one) for one in holding]
    reasons += [f"pod {one.pod.name} does not answer and cannot forget it" for one in silent]
    return Blocker(
        "ScaleInWaits",
        f"shard {shard.index} is not removed yet: {'; '.join(reasons)}",
        "every member has to answer and to agree; a pod that is certainly dead may be deleted",
        shard.index,
    )


def _has_line(server: Server, node_id: str) -> bool:
    return any(node.node_id == node_id for node in server.known_nodes)


def _keep_or_delete_volumes(spec: ClusterSpec, shard: Shard, draft: Draft) -> None:
    is_kept = spec.storage is not None and spec.storage.reclaim is Reclaim.RETAIN
    for claim in shard.claims:
        if claim.is_terminating:
            continue
        if is_kept:
            because = f"shard {shard.index} was removed, and storage.reclaim keeps volume {claim.name}"
            patch = {"metadata": {"labels": {names.LABEL_RETIRED: "true"}}}
            draft.do(
                PatchClaim(claim.name, claim.uid, claim.resource_version, patch, because, shard.index),
                WAITING_S,
            )
        else:
            because = f"shard {shard.index} was removed, and storage.reclaim does not keep its volumes"
            draft.do(
                DeleteClaim(claim.name, claim.uid, claim.resource_version, because, shard.index), WAITING_S
            )
