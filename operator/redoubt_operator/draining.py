"""Masters leave cordoned nodes before their pods are evicted.

A drain cordons its node first and then evicts pod by pod. The eviction of a master would be bridged by its
handover at SIGTERM; moving it away before costs the same switchover and leaves the time for it. A master
without replicas gets a temporary one elsewhere first (replicas.py), hands over to it, and the pod that is
left on the node is removed as surplus. Where nodes cannot be seen, the handover at SIGTERM is all there is,
and the status says so.

Called by plan after the repairs, for shards in which nothing else is being changed.
"""

from redoubt_operator.draft import WAITING_S, Blocker, Draft
from redoubt_operator.heirs import best_heir, hand_over, in_step, is_introduced, is_on_leaving_node
from redoubt_operator.view import ClusterView


def leave_cordoned_nodes(view: ClusterView, draft: Draft) -> None:
    """Have masters on cordoned nodes hand over to replicas on others."""
    for shard in view.shards:
        master = shard.master
        if master is None or not master.is_staying or not is_on_leaving_node(view, master):
            continue
        draft.look_again(WAITING_S)
        if draft.is_busy(shard.index) or view.is_moving(shard.index):
            continue
        heirs = [one for one in in_step(shard) if not is_on_leaving_node(view, one)]
        heir = best_heir(view, (one for one in heirs if is_introduced(view, one)))
        if heir is None and heirs:
            continue  # it is meeting the masters, whose votes it needs
        if heir is not None:
            because = (
                f"node {master.pod.node} of pod {master.pod.name} is cordoned; {heir.pod.name} is in sync"
            )
            hand_over(shard, heir, because, draft)
            continue
        draft.block(
            Blocker(
                "DrainWaits",
                f"pod {master.pod.name} is the master of shard {shard.index} on cordoned node "
                f"{master.pod.node}, and no replica on another node is in sync",
                "the drain goes on by itself when one is; there must be room for it on another node",
                shard.index,
                is_passing=True,
            )
        )
