"""How many members a shard has: missing ones are created, surplus ones removed.

Creating is always safe, so it needs no complete view; what is created for a volume takes the volume's serial,
since it is the same member that comes back. Removing is the opposite: only with a serving master, a complete
view, and synced replicas that stay. A shard without replicas gets a temporary one when its only pod has to be
replaced or stands on a cordoned node, so that planned work can switch over first.

Called by plan for each shard, after the repairs.
"""

from typing import Final

from redoubt_operator import names, objects, pods
from redoubt_operator.actions import CreateClaim, CreatePod, DeleteClaim, DeletePod
from redoubt_operator.budgets import allows_eviction
from redoubt_operator.draft import SOON_S, WAITING_S, Blocker, Draft
from redoubt_operator.heirs import is_on_leaving_node
from redoubt_operator.placement import free_serial
from redoubt_operator.pods import GRACE_PERIOD_S
from redoubt_operator.spec import ClusterSpec
from redoubt_operator.view import ClusterView, Fate, Server, Shard

RETURN_GRACE_S: Final = 30.0  # a pod that terminates this much longer than it was granted is not waited for


def members_wanted(spec: ClusterSpec, view: ClusterView, shard: Shard) -> int:
    """Members that the shard should have now, the temporary one and unmounted volumes included."""
    if shard.is_empty and (shard.is_leaving or shard.is_retiring):
        return 0
    wanted = spec.members_per_shard
    if wanted == 1 and shard.master is not None and must_move(view, shard.master):
        wanted += 1
    if shard.master is None:
        wanted = max(wanted, len([claim for claim in shard.claims if not claim.is_terminating]))
    return wanted


def is_outdated(view: ClusterView, server: Server) -> bool:
    """Whether a pod runs with something that the spec does not say any more, or was made from an older
    template of the operator's although the newer one is approved for this cluster.
    """
    if server.pod.revision != view.revision:
        return True
    approved = view.seen.meta.annotations.get(names.ANNOTATION_APPROVED_TEMPLATE, "").strip()
    return server.pod.template < pods.TEMPLATE and approved == str(pods.TEMPLATE)


def must_move(view: ClusterView, server: Server) -> bool:
    """Whether a pod has to be replaced by planned work."""
    return is_outdated(view, server) or is_on_leaving_node(view, server)


def grow(spec: ClusterSpec, view: ClusterView, shard: Shard, draft: Draft, now_s: float) -> None:
    """Create the members that are missing."""
    present = [
        one
        for one in shard.servers
        if (one.is_staying and not _is_out_of_reach(view, one)) or _is_returning(one, now_s)
    ]
    missing = members_wanted(spec, view, shard) - len(present)
    taken = {one.serial for one in shard.servers} | {
        pod.serial for pod in shard.foreign_pods if pod.serial is not None
    }
    mounted = {one.pod.claim for one in shard.servers}
    orphans = sorted(
        (claim for claim in shard.claims if claim.name not in mounted and not claim.is_terminating),
        key=lambda claim: claim.serial if claim.serial is not None else 0,
    )
    claimed = {claim.serial for claim in shard.claims if claim.serial is not None}
    claimed |= set(shard.serials_retired)
    for _ in range(missing):
        if spec.storage is not None and orphans:
            claim = orphans.pop(0)
            is_free = claim.serial is not None and claim.serial not in taken
            serial = claim.serial if is_free and claim.serial is not None else free_serial(taken | claimed)
            because = f"volume {claim.name} of shard {shard.index} has no pod"
            _create(spec, view, shard, serial, claim.name, because, draft)
        else:
            serial = free_serial(taken | claimed)
            because = f"shard {shard.index} has {len(present)} of {len(present) + missing} members"
            _create_new(spec, view, shard, serial, because, draft)
        taken.add(serial)


def shrink(spec: ClusterSpec, view: ClusterView, shard: Shard, draft: Draft) -> None:
    """Remove one surplus member, or the volume of one that was removed."""
    wanted = members_wanted(spec, view, shard)
    if shard.master is None or shard.unseen:
        return
    if len(shard.staying) <= wanted:
        if len(shard.staying) == wanted and len(shard.healthy_replicas) == wanted - 1:
            _delete_volumes(shard, draft)
        return
    victim = _surplus(view, shard, wanted)
    if victim is None:
        draft.block(
            Blocker(
                "ReplicaNotRemoved",
                f"shard {shard.index} has {len(shard.staying)} members instead of {wanted}, but too few of "
                "those that would stay are in sync",
                "wait for the replicas to catch up, or look at why they cannot",
                shard.index,
                is_passing=True,
            )
        )
        return
    pod = victim.pod
    is_counted = victim in shard.healthy_replicas  # one that is behind is no member that a budget counts
    if is_counted and not allows_eviction(spec, view, shard):
        draft.look_again(SOON_S)
        return
    because = f"shard {shard.index} has {len(shard.staying)} members instead of {wanted}"
    draft.do(
        DeletePod(
            pod.name,
            pod.uid,
            pod.resource_version,
            because,
            shard=shard.index,
            is_within_budget=is_counted,
        ),
        WAITING_S,
    )


def _surplus(view: ClusterView, shard: Shard, wanted: int) -> Server | None:
    """The member to remove: one that has to move anyway, else the highest serial; never the master."""
    others = [one for one in shard.staying if one is not shard.master]
    others.sort(key=lambda one: (not must_move(view, one), -one.serial))
    for victim in others:
        staying = [one for one in shard.healthy_replicas if one is not victim]
        if len(staying) >= min(wanted - 1, 1):
            return victim
    return None


def _delete_volumes(shard: Shard, draft: Draft) -> None:
    for claim in shard.unmounted:
        because = (
            f"the member of volume {claim.name} was removed, and all {len(shard.staying)} others are in sync"
        )
        draft.do(DeleteClaim(claim.name, claim.uid, claim.resource_version, because, shard.index), WAITING_S)


def _is_out_of_reach(view: ClusterView, server: Server) -> bool:
    """Whether neither we nor Kubernetes hear of a pod: it may live, but the shard needs a member."""
    host = view.host(server)
    return server.fate is Fate.SILENT and host is not None and not host.is_ready


def _is_returning(server: Server, now_s: float) -> bool:
    """Whether a terminating pod's volume will soon be free for its successor."""
    pod = server.pod
    if not pod.claim:
        return False
    if server.fate is Fate.LOST or pod.deleting_since_s is None:
        return True
    grace_s = pod.grace_period_s if pod.grace_period_s is not None else GRACE_PERIOD_S
    return now_s < pod.deleting_since_s + grace_s + RETURN_GRACE_S


def _create_new(
    spec: ClusterSpec, view: ClusterView, shard: Shard, serial: int, because: str, draft: Draft
) -> None:
    claim_name = ""
    if spec.storage is not None:
        manifest = objects.claim(spec, view.seen.meta, shard.index, serial)
        claim_name = names.volume_name(view.seen.meta.name, shard.index, serial)
        draft.do(CreateClaim(manifest, because, shard.index), WAITING_S)
    _create(spec, view, shard, serial, claim_name, because, draft)


def _create(
    spec: ClusterSpec,
    view: ClusterView,
    shard: Shard,
    serial: int,
    claim_name: str,
    because: str,
    draft: Draft,
) -> None:
    manifest = pods.pod(spec, view.seen.meta, shard.index, serial, claim_name)
    draft.do(CreatePod(manifest, because, shard.index), WAITING_S)
