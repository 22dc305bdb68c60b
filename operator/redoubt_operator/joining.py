"""Members find each other and follow their master: MEET, ROLE replica, role labels, FORGET.

Identity is the node id, never the address: a member whose address changed is met again, and it is the same
member. New members are met only when their shard has a master, so that a config epoch can still be set on a
node that becomes a master itself. An id is forgotten only when its pod and its volume are gone for certain,
and with it its claim to slots that a serving master claims too; slots that nobody serves keep their name.

Called by plan for each shard with a master, and once for the cluster.
"""

from collections.abc import Iterable, Mapping

from redoubt_operator import names
from redoubt_operator.actions import AssignReplica, Forget, LabelPod, Meet
from redoubt_operator.draft import WAITING_S, Draft, target
from redoubt_operator.observation import MemberStatus, Phase, Role, SlotRange, Unknown
from redoubt_operator.ownership import covers
from redoubt_operator.view import ClusterView, Server, Shard


def follow(view: ClusterView, shard: Shard, draft: Draft) -> None:
    """Tell members that are without a role, or follow somebody else, to follow the serving master."""
    master = shard.master
    assert master is not None and master.status is not None
    for server in shard.staying:
        status = server.status
        if status is None or server is master or status.loading:
            continue
        astray = _astray(server, status, master)
        if not astray:
            continue
        if server.knows(master.node_id) is None:
            draft.look_again(WAITING_S)
            continue
        because = (
            f"pod {server.pod.name} {astray}, and {master.pod.name} is the master of shard {shard.index}"
        )
        draft.do(
            AssignReplica(
                target(server),
                max(shard.epoch_seen, master.status.config_epoch),
                view.seen.lease_transitions,
                master.node_id,
                because,
                shard.index,
            )
        )


def label_roles(shard: Shard, draft: Draft) -> None:
    """Keep the role labels of pods true."""
    for server in shard.servers:
        role = _role_label(shard, server)
        if role and role != server.pod.role_label and not server.pod.is_terminating:
            labels: Mapping[str, str] = {names.LABEL_ROLE: role}
            because = f"pod {server.pod.name} is a {role} now"
            draft.actions.append(LabelPod(server.pod.name, server.pod.uid, labels, because, shard.index))


def meet(view: ClusterView, draft: Draft) -> None:
    """Introduce members that do not know each other, or know each other by an old address."""
    serving = [shard.master for shard in view.shards if shard.master is not None and not shard.is_empty]
    hub = serving[0] if serving else None
    if hub is None:
        return
    wanted = [
        shard for shard in view.shards if not (shard.is_empty and (shard.is_leaving or shard.is_retiring))
    ]
    masters = [shard.master for shard in wanted if shard.master not in (None, hub)]
    _introduce(hub, [one for one in masters if one is not None], None, draft)
    for shard in wanted:
        members = [one for one in shard.servers if one.status is not None and not one.pod.is_terminating]
        if shard.master is not None:
            _introduce(shard.master, [one for one in members if one is not shard.master], shard.index, draft)
        else:
            _introduce(hub, [one for one in members if one.knows_others], None, draft)


def forget(view: ClusterView, draft: Draft) -> None:
    """Have ids forgotten whose pods and volumes are gone, once everything that exists has been seen.

    A member that was away while its neighbours changed may come back with the claim of a node that died
    since. Against a master with the same config epoch such a claim would stand for ever: epochs of masters
    that collide are told apart by the two themselves, and one of these is dead.
    """
    serving = [shard for shard in view.shards if not shard.is_empty]
    if not view.is_complete or any(shard.master is None for shard in serving) or _may_return(view):
        return
    members = {server.node_id for server in view.seen_servers}
    served = _slots_served(view)
    sole_owners = {node_id for node_id, slots in view.owned.items() if not covers(served, slots)}
    for server in view.seen_servers:
        master_id = server.status.master_id if server.status is not None else ""
        for node in server.known_nodes:
            if node.node_id in members or node.node_id in sole_owners or node.node_id == master_id:
                continue
            if (node.is_suspected or "noaddr" in node.flags) and not node.is_handshaking:
                because = f"node {node.node_id} has neither pod nor volume any more"
                draft.do(Forget(target(server), node.node_id, because, server.shard))


def _may_return(view: ClusterView) -> bool:
    """Whether a volume waits for its pod: its member comes back under the id that it had.

    For a shard without slots the volume is no copy of data, so the view is complete without it.
    """
    mounted = {server.pod.claim for server in view.seen_servers}
    return any(
        claim.name not in mounted and not claim.is_terminating
        for shard in view.shards
        if not (shard.is_leaving or shard.is_retiring)
        for claim in shard.claims
    )


def _astray(server: Server, status: MemberStatus, master: Server) -> str:
    """In what way a member does not follow its master, or an empty text."""
    if status.phase is not Phase.ASSIGNED:
        return f"is {status.phase.value} without a role"
    if status.role is Role.MASTER:
        return "believes to be a master"
    if status.master_id != master.node_id:
        return "follows another master"
    return ""


def _slots_served(view: ClusterView) -> tuple[SlotRange, ...]:
    """The slots that serving masters say they have, whoever else claims them."""
    masters = [shard.master for shard in view.shards if shard.master is not None]
    lines = (master.knows(master.node_id) for master in masters)
    return tuple(one for line in lines if line is not None for one in line.slots)


def _role_label(shard: Shard, server: Server) -> str:
    if server is shard.master:
        return Role.MASTER.value
    status = server.status
    if shard.master is not None and status is not None and status.phase is Phase.ASSIGNED:
        return Role.REPLICA.value if status.role is Role.REPLICA else ""
    return ""


def _introduce(knowing: Server, others: Iterable[Server], lane: int | None, draft: Draft) -> None:
    """Have `knowing` meet those of `others` whom it does not know at their present address."""
    if isinstance(knowing.nodes, Unknown):
        return
    addresses = {node.node_id: node.ip for node in knowing.nodes if not node.is_handshaking}
    handshakes = {node.ip for node in knowing.nodes if node.is_handshaking}
    for other in others:
        ip = other.pod.ip
        if addresses.get(other.node_id) == ip or not ip:
            continue
        if ip in handshakes:
            draft.look_again(WAITING_S)
            continue
        because = f"{knowing.pod.name} does not know {other.pod.name} at {ip}"
        draft.do(Meet(target(knowing), ip, names.PORT_CLIENT, names.PORT_BUS, because, lane))
