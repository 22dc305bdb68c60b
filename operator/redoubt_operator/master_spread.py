"""Masters even over zones, then over nodes, by one switchover at a time while nothing else happens.

Failovers and rolls leave masters where they fall; a zone that then has most of them would take most of the
writes with it. So a calm cluster moves a master to a replica in step whose zone (or node) has fewer. A
switchover is made only if it makes the sum of the squares of the masters per zone smaller, or leaves that as
it is and makes the one per node smaller: each step lowers a bound, so it ends, and nothing goes back and
forth. Calm means that the cluster was ready and nothing was changed for a while; every switchover begins
that anew.

Called by plan last. Switched off by `placement.spread.masters: Off`.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from redoubt_operator.conditions import age_s
from redoubt_operator.draft import Draft
from redoubt_operator.heirs import hand_over, in_step, is_on_leaving_node, zone_of
from redoubt_operator.replicas import is_outdated
from redoubt_operator.spec import ClusterSpec, MasterSpread
from redoubt_operator.view import ClusterView, Server, Shard

CALM_S: Final = 60.0  # a failover's own consequences are over by then, and people have seen it

Unevenness = tuple[int, int]
"""Sums of squares: of the masters per zone, then per node. Smaller is more even."""


@dataclass(frozen=True, slots=True)
class _Switch:
    """One switchover that would make the spread more even."""

    unevenness: Unevenness
    shard: Shard
    heir: Server


def spread_masters(spec: ClusterSpec, view: ClusterView, draft: Draft, now_s: float) -> None:
    """Make the one switchover that evens the masters out most, if the cluster is calm."""
    if spec.placement.spread.masters is MasterSpread.OFF or not _is_settled(spec, view, draft):
        return
    best = min(_switches(view), key=lambda one: (one.unevenness, one.shard.index), default=None)
    if best is None:
        return
    calm_s = min(age_s(view.seen, "Ready", "True", now_s), age_s(view.seen, "Reconciling", "False", now_s))
    if calm_s < CALM_S:
        draft.look_again(CALM_S - calm_s)
        return
    master = best.shard.master
    assert master is not None
    because = (
        f"masters are uneven: {master.pod.name} serves in {_where(view, master)}, "
        f"{best.heir.pod.name} is in sync in {_where(view, best.heir)}"
    )
    hand_over(best.shard, best.heir, because, draft)


def _is_settled(spec: ClusterSpec, view: ClusterView, draft: Draft) -> bool:
    """Whether everything is seen, in step and as wanted, and this plan changes nothing."""
    return (
        view.nodes is not None
        and not draft.actions
        and not draft.blockers
        and view.is_complete
        and not any(view.is_moving(shard.index) for shard in view.shards)
        and all(
            shard.master is not None and len(in_step(shard)) == spec.replicas_per_shard
            for shard in view.shards
        )
        and not any(is_outdated(view, one) or is_on_leaving_node(view, one) for one in view.servers)
    )


def _switches(view: ClusterView) -> Iterator[_Switch]:
    masters = [shard.master for shard in view.shards if shard.master is not None]
    before = _unevenness(view, masters)
    for shard in view.shards:
        for heir in in_step(shard):
            if view.host(heir) is None:
                continue
            after = _unevenness(view, [heir if one is shard.master else one for one in masters])
            if after < before:
                yield _Switch(after, shard, heir)


def _unevenness(view: ClusterView, masters: list[Server]) -> Unevenness:
    zones = Counter(zone_of(view, one) for one in masters)
    nodes = Counter(one.pod.node for one in masters)
    return sum(count**2 for count in zones.values()), sum(count**2 for count in nodes.values())


def _where(view: ClusterView, server: Server) -> str:
    zone = zone_of(view, server)
    return f"zone {zone}, node {server.pod.node}" if zone else f"node {server.pod.node}"
