"""Who may take over from a master that is to go: the gate of every planned step, and the choice.

A replica is in step when it has completed its sync, none is running, its link is up and it lags by a bounded
number of bytes. Waiting for that before a step, and not merely for a running pod, is what keeps planned work
from losing data. Of several heirs the one is chosen that leaves masters most evenly spread, so that rolls do
not pile them up.

Asked by draining, master_spread, rolling, replicas and switchover; decides nothing about when.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from redoubt_operator.actions import Handover
from redoubt_operator.draft import WAITING_S, Draft, target
from redoubt_operator.observation import Unknown
from redoubt_operator.view import ClusterView, Server, Shard

# Redis's default backlog: who lags by more may need a full sync after a broken link. A handover waits for the
# rest of the stream, which at 1 Gbit/s is 8 ms of this. Offsets are read some milliseconds apart.
LAG_BYTES_MAX: Final = 1024 * 1024


def lag_bytes(shard: Shard, server: Server) -> int:
    """By how much a replica is behind its master, as far as one look can tell."""
    master = shard.master
    if master is None or master.status is None or server.status is None:
        return 0
    return max(0, master.status.repl_offset - server.status.repl_offset)


def in_step(shard: Shard) -> tuple[Server, ...]:
    """Replicas that could take over now: in sync, linked, and behind by little."""
    return tuple(one for one in shard.healthy_replicas if lag_bytes(shard, one) <= LAG_BYTES_MAX)


def why_not_in_step(shard: Shard, server: Server) -> str:
    """What a member lacks to be in step, in words."""
    status = server.status
    if status is None:
        return f"is {server.fate.value}"
    if status.loading:
        return "loads its data"
    if server.pod.is_terminating or status.terminating:
        return "is terminating"
    if status.needs:
        return f"waits for {status.needs}"
    if status.syncing or not status.synced:
        return "has not completed its sync"
    if not status.link_up:
        return "has no link to its master"
    lag = lag_bytes(shard, server)
    return f"lags by {lag} bytes" if lag > LAG_BYTES_MAX else "follows another master"


def best_heir(view: ClusterView, among: Iterable[Server]) -> Server | None:
    """The one with the fewest masters around it, then the newest copy; all of `among` are in step."""
    masters = [shard.master for shard in view.shards if shard.master is not None]
    zones = Counter(zone_of(view, one) for one in masters)
    nodes = Counter(one.pod.node for one in masters)

    def rank(server: Server) -> tuple[int, int, int, int]:
        offset = server.status.repl_offset if server.status is not None else 0
        return (zones[zone_of(view, server)], nodes[server.pod.node], -offset, server.serial)

    return min(among, key=rank, default=None)


def is_introduced(view: ClusterView, server: Server) -> bool:
    """Whether the server and every master have met, as far as is seen: strangers get no votes, and until they
    have met, writes would be held by a handover that cannot be decided.
    """
    if isinstance(server.nodes, Unknown):
        return False
    masters = [shard.master for shard in view.shards if shard.master is not None and not shard.is_empty]
    return all(
        master.node_id in server.ids_met
        and (isinstance(master.nodes, Unknown) or server.node_id in master.ids_met)
        for master in masters
    )


def zone_of(view: ClusterView, server: Server) -> str:
    """The zone of a server's node, empty when it is not known."""
    host = view.host(server)
    return "" if host is None else host.zone


def is_on_leaving_node(view: ClusterView, server: Server) -> bool:
    """Whether a server's node is cordoned: its pods are about to be evicted."""
    host = view.host(server)
    return host is not None and host.is_cordoned


def hand_over(shard: Shard, heir: Server, because: str, draft: Draft) -> None:
    """Have the shard's master hand over to an heir."""
    assert shard.master is not None
    draft.do(Handover(target(shard.master), heir.node_id, because, shard.index), WAITING_S)
