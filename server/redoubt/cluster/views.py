"""What people and clients see of the cluster: CLUSTER NODES, SLOTS, SHARDS, LINKS, INFO.

Each function turns the map into one reply; the forms are Redis's to the field, since clients build their
routing tables from them. Nothing here changes anything.

Called by `commands.py`. Source: the pages of these commands in the documentation of Redis 7.2.
"""

from __future__ import annotations

from redoubt.cluster import messages, nodes_conf
from redoubt.cluster.bus import BusLink
from redoubt.cluster.cluster import Cluster
from redoubt.cluster.routing import preferred_endpoint
from redoubt.cluster.slots import ranges_of
from redoubt.cluster.topology import FAILED, PFAIL, ClusterNode
from redoubt.resp.replies import MapReply, Reply
from redoubt.session import GATE_LOADING


def nodes_text(cluster: Cluster) -> bytes:
    """Write CLUSTER NODES."""
    topology = cluster.topology
    lines = [nodes_conf.describe(topology, node) + "\n" for node in topology.sorted_nodes()]
    return "".join(lines).encode()


def replicas_lines(cluster: Cluster, master: ClusterNode) -> Reply:
    """List the lines of a master's replicas (CLUSTER REPLICAS)."""
    return [nodes_conf.describe(cluster.topology, node).encode() for node in master.replicas]


def slots_reply(cluster: Cluster) -> Reply:
    """List each range with its master and the replicas that are well and stay (CLUSTER SLOTS)."""
    rows: list[tuple[int, int, ClusterNode]] = []
    for node in cluster.topology.sorted_nodes():
        if node.is_master:
            rows.extend([(first, last, node) for first, last in ranges_of(node.slots)])
    rows.sort(key=_first_slot)
    return [_slots_row(cluster, first, last, node) for first, last, node in rows]


def _first_slot(row: tuple[int, int, ClusterNode]) -> int:
    return row[0]


def _slots_row(cluster: Cluster, first: int, last: int, master: ClusterNode) -> Reply:
    row: list[Reply] = [first, last, _endpoint(cluster, master)]
    row += [_endpoint(cluster, node) for node in master.replicas if not _is_going(cluster, node)]
    return row


def _is_going(cluster: Cluster, node: ClusterNode) -> bool:
    """Say whether no client should turn to this replica: it has failed, or is about to exit."""
    if node is cluster.topology.myself:
        return cluster.is_terminating
    return node.is_failed or node.is_terminating


def _endpoint(cluster: Cluster, node: ClusterNode) -> Reply:
    """Name a node in CLUSTER SLOTS: preferred endpoint, port, id, and what else is known of its address."""
    kind = cluster.state.config.cluster_preferred_endpoint_type
    endpoint = preferred_endpoint(cluster.state, node)
    more: list[Reply] = []
    if kind != "ip":
        more += [b"ip", node.ip.encode()]
    if kind != "hostname" and node.hostname:
        more += [b"hostname", node.hostname.encode()]
    shown = None if endpoint is None else endpoint.encode()
    return [shown, node.port, node.node_id.encode(), more]


def shards_reply(cluster: Cluster) -> Reply:
    """List the shards with their slots and members (CLUSTER SHARDS)."""
    shards: list[list[ClusterNode]] = []
    by_head: dict[str, list[ClusterNode]] = {}
    for node in cluster.topology.sorted_nodes():
        if not node.is_known:
            continue
        head = node.master or node
        members = by_head.get(head.node_id)
        if members is None:
            members = by_head[head.node_id] = []
            shards.append(members)
        members.append(node)
    return [_shard(cluster, members) for members in shards]


def _shard(cluster: Cluster, members: list[ClusterNode]) -> Reply:
    slots: list[Reply] = []
    for node in members:
        for first, last in ranges_of(node.slots):
            slots += [first, last]
    nodes: list[Reply] = [_member(cluster, node) for node in members]
    return MapReply([(b"slots", slots), (b"nodes", nodes)])


def _member(cluster: Cluster, node: ClusterNode) -> Reply:
    endpoint = preferred_endpoint(cluster.state, node)
    pairs: list[tuple[Reply, Reply]] = [
        (b"id", node.node_id.encode()),
        (b"port", node.port),
        (b"ip", node.ip.encode()),
        (b"endpoint", None if endpoint is None else endpoint.encode()),
    ]
    if node.hostname:
        pairs.append((b"hostname", node.hostname.encode()))
    is_myself = node is cluster.topology.myself
    offset = cluster.state.replication.offset if is_myself else node.offset
    pairs += [
        (b"role", b"master" if node.is_master else b"replica"),
        (b"replication-offset", offset),
        (b"health", _health(cluster, node, is_myself)),
    ]
    return MapReply(pairs)


def _health(cluster: Cluster, node: ClusterNode, is_myself: bool) -> bytes:
    if node.flags & (FAILED | PFAIL):
        return b"fail"
    is_loading = node.is_replica and node.offset == 0
    if is_myself:
        is_loading = bool(cluster.state.gates & GATE_LOADING) or (
            node.is_replica and not cluster.state.replication.is_synced
        )
    return b"loading" if is_loading else b"online"


def links_reply(cluster: Cluster) -> Reply:
    """List the streams of the bus (CLUSTER LINKS)."""
    rows: list[Reply] = []
    for node in cluster.topology.sorted_nodes():
        if node.link is not None and node.link.is_connected:
            rows.append(_link(node, node.link, b"to"))
        if node.inbound is not None:
            rows.append(_link(node, node.inbound, b"from"))
    return rows


def _link(node: ClusterNode, link: BusLink, direction: bytes) -> Reply:
    buffered_bytes = link.buffered_bytes()
    return MapReply(
        [
            (b"direction", direction),
            (b"node", node.node_id.encode()),
            (b"create-time", link.created_ms),
            (b"events", b"rw" if buffered_bytes else b"r"),
            # What is allocated beyond that is the kernel's.
            (b"send-buffer-allocated", buffered_bytes),
            (b"send-buffer-used", buffered_bytes),
        ]
    )


def info_pairs(cluster: Cluster) -> list[tuple[str, str | int]]:
    """List the fields of CLUSTER INFO."""
    topology = cluster.topology
    availability = cluster.availability
    bus = cluster.bus
    head = topology.my_master() or topology.myself
    pairs: list[tuple[str, str | int]] = [
        ("cluster_state", "ok" if availability.is_ok else "fail"),
        ("cluster_slots_assigned", availability.slots_assigned()),
        ("cluster_slots_ok", availability.slots_ok()),
        ("cluster_slots_pfail", availability.slots_of_nodes_flagged(PFAIL)),
        ("cluster_slots_fail", availability.slots_of_nodes_flagged(FAILED)),
        ("cluster_known_nodes", len(topology.nodes)),
        ("cluster_size", len(topology.voters())),
        ("cluster_current_epoch", topology.current_epoch),
        ("cluster_my_epoch", head.config_epoch),
    ]
    for direction, counts in (("sent", bus.sent), ("received", bus.received_count)):
        for kind, name in enumerate(messages.KIND_NAMES):
            if counts[kind]:
                pairs.append((f"cluster_stats_messages_{name}_{direction}", counts[kind]))
        pairs.append((f"cluster_stats_messages_{direction}", sum(counts)))
    pairs.append(("total_cluster_links_buffer_limit_exceeded", bus.links_over_limit))
    return pairs
