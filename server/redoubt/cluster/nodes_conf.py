"""nodes.conf: the map of the cluster as a node keeps it over restarts, in the form of Redis 7.

One line a node, as CLUSTER NODES prints it, with the auxiliary fields (host name, shard id) behind the
address, then one line of variables. Redis skips variables whose names it does not know, so Redoubt's own
stand there: `redoubt-lease-transitions`, the highest count of leader changes among the operators that gave
this node orders, and slots on their way between two owners (`slot_grants.py`). A real Redis starts from our
file, and this module reads that of a real Redis.

The same line, without the auxiliary fields, is what CLUSTER NODES and CLUSTER REPLICAS show (`describe`).
`config_file.py` decides when to write. A file that contradicts itself raises `CorruptNodes`.

Source: `clusterLoadConfig` and CLUSTER NODES in the documentation of Redis.
"""

from __future__ import annotations

from typing import Final

from redoubt.cluster import topology as flag
from redoubt.cluster.slot_grants import parse_grants, render_grants
from redoubt.cluster.slots import SLOTS, format_ranges, mask_of_ranges, parse_ranges, ranges_of
from redoubt.cluster.topology import ClusterNode, Topology

LEASE_VARIABLE: Final = "redoubt-lease-transitions"
GRANTS_VARIABLE: Final = "redoubt-slot-grants"
TAKINGS_VARIABLE: Final = "redoubt-slot-takings"
_ID_LENGTH: Final = 40
_FLAGS: Final = {
    "myself": flag.MYSELF,
    "master": flag.MASTER,
    "slave": flag.REPLICA,
    "fail?": flag.PFAIL,
    "fail": flag.FAILED,
    "handshake": flag.HANDSHAKE,
    "noaddr": flag.NOADDR,
    "nofailover": flag.NOFAILOVER,
    "noflags": 0,
}


class CorruptNodes(Exception):
    """The file cannot have been written by a node; the text says where and why."""


def render(topology: Topology) -> bytes:
    """Write the whole file. Nodes in handshake are left out: their ids are placeholders."""
    lines = [describe(topology, node, is_file=True) for node in topology.sorted_nodes() if node.is_known]
    variables = f"vars currentEpoch {topology.current_epoch} lastVoteEpoch {topology.last_vote_epoch}"
    if topology.lease_transitions:
        variables += f" {LEASE_VARIABLE} {topology.lease_transitions}"
    if topology.grants:
        variables += f" {GRANTS_VARIABLE} {render_grants(topology.grants)}"
    if topology.takings:
        variables += f" {TAKINGS_VARIABLE} {render_grants(topology.takings)}"
    return "\n".join([*lines, variables, ""]).encode()


def describe(topology: Topology, node: ClusterNode, is_file: bool = False) -> str:
    """Write one node's line of CLUSTER NODES; `is_file` adds the auxiliary fields of nodes.conf."""
    words = [
        node.node_id,
        f"{node.ip}:{node.port}@{node.bus_port}{_auxiliary(node, is_file)}",
        node.flag_names(),
        node.master.node_id if node.master is not None else "-",
        str(node.ping_sent_ms),
        str(node.pong_received_ms),
        str(_config_epoch(node)),
        "connected" if node.flags & flag.MYSELF or is_connected(node) else "disconnected",
    ]
    if node.slots:
        words.append(format_ranges(ranges_of(node.slots)))
    if node.flags & flag.MYSELF:
        words += [f"[{slot}->-{topology.migrating[slot].node_id}]" for slot in sorted(topology.migrating)]
        words += [f"[{slot}-<-{topology.importing[slot].node_id}]" for slot in sorted(topology.importing)]
    return " ".join(words)


def is_connected(node: ClusterNode) -> bool:
    """Say whether the stream that we dialled stands."""
    return node.link is not None and node.link.is_connected


def _config_epoch(node: ClusterNode) -> int:
    return node.master.config_epoch if node.master is not None else node.config_epoch


def _auxiliary(node: ClusterNode, is_file: bool) -> str:
    if not is_file:
        return f",{node.hostname}" if node.hostname else ""
    fields = f",{node.hostname}"
    if node.human_name:
        fields += f",nodename={node.human_name}"
    if node.shard_id:
        fields += f",shard-id={node.shard_id}"
    return fields if fields != "," else ""


def parse(text: str, now_ms: int) -> Topology:
    """Read a whole file; CorruptNodes when it names no myself or contradicts itself."""
    lines = [line for line in text.split("\n") if line.strip()]
    nodes: dict[str, ClusterNode] = {}
    rows = [(number, line.split()) for number, line in enumerate(lines, 1)]
    node_rows = [(number, words) for number, words in rows if words[0] != "vars"]
    for number, words in node_rows:
        node = _parse_node(number, words, now_ms)
        if node.node_id in nodes:
            raise CorruptNodes(f"line {number} of the cluster configuration repeats node {node.node_id}")
        nodes[node.node_id] = node
    mine = [node for node in nodes.values() if node.flags & flag.MYSELF]
    if len(mine) != 1:
        raise CorruptNodes(f"the cluster configuration has {len(mine)} lines flagged myself, not 1")
    topology = Topology(mine[0])
    for node in nodes.values():
        topology.add(node)
    for number, words in node_rows:
        _connect(topology, number, words)
    for number, words in rows:
        if words[0] == "vars":
            _parse_variables(topology, number, words)
    topology.current_epoch = topology.config_epoch_max()
    return topology


def _parse_node(number: int, words: list[str], now_ms: int) -> ClusterNode:
    if len(words) < 8 or len(words[0]) != _ID_LENGTH:
        raise CorruptNodes(
            f"line {number} of the cluster configuration is not a node: {' '.join(words)[:120]!r}"
        )
    flags = 0
    for name in words[2].split(","):
        if name not in _FLAGS:
            raise CorruptNodes(f"line {number} of the cluster configuration has the unknown flag {name!r}")
        flags |= _FLAGS[name]
    node = ClusterNode(words[0], flags, now_ms)
    try:
        _parse_address(node, words[1])
        node.config_epoch = int(words[6])
        node.ping_sent_ms = now_ms if int(words[4]) else 0
        node.pong_received_ms = now_ms if int(words[5]) else 0
    except ValueError as error:
        raise CorruptNodes(f"line {number} of the cluster configuration: {error}") from error
    if flags & flag.FAILED:
        node.fail_ms = now_ms
    return node


def _parse_address(node: ClusterNode, text: str) -> None:
    """Read `ip:port@bus-port[,hostname[,name=value]...]`; Redis 4 wrote no bus port, Redis 6 no names."""
    address, *fields = text.split(",")
    host_port, at, bus_port = address.partition("@")
    node.ip, _, port = host_port.rpartition(":")
    node.port = int(port)
    node.bus_port = int(bus_port) if at else node.port + 10000
    if fields:
        node.hostname = fields[0]
    for field in fields[1:]:
        name, _, value = field.partition("=")
        if name == "shard-id":
            node.shard_id = value
        elif name == "nodename":
            node.human_name = value


def _connect(topology: Topology, number: int, words: list[str]) -> None:
    """Give a node its master and its slots, now that all nodes are known."""
    node = topology.nodes[words[0]]
    if words[3] != "-":
        master = topology.find(words[3])
        if master is None:
            # Redis creates such a master as well: it is learned of by gossip.
            master = ClusterNode(words[3], flag.MASTER | flag.NOADDR, node.created_ms)
            topology.add(master)
        node.flags &= ~flag.REPLICA
        topology.set_replica(node, master)
    for word in words[8:]:
        try:
            if word.startswith("["):
                _parse_open_slot(topology, word)
            else:
                topology.set_owners(mask_of_ranges(parse_ranges(word)), node)
        except ValueError as error:
            raise CorruptNodes(f"line {number} of the cluster configuration: {error}") from error


def _parse_open_slot(topology: Topology, word: str) -> None:
    """Read `[slot->-id]` (leaving) or `[slot-<-id]` (arriving)."""
    slot_text, arrow, rest = word.strip("[]").partition("-")
    slot = int(slot_text)
    other_id = rest[2:]
    if not arrow or rest[:2] not in (">-", "<-") or not 0 <= slot < SLOTS:
        raise ValueError(f"expected an open slot, found {word!r}")
    other = topology.find(other_id)
    if other is None:
        other = ClusterNode(other_id, flag.MASTER | flag.NOADDR, topology.myself.created_ms)
        topology.add(other)
    (topology.migrating if rest[0] == ">" else topology.importing)[slot] = other


def _parse_variables(topology: Topology, number: int, words: list[str]) -> None:
    if len(words) % 2 == 0:
        raise CorruptNodes(f"line {number} of the cluster configuration has a variable without a value")
    for name, value in zip(words[1::2], words[2::2], strict=True):
        if name in (GRANTS_VARIABLE, TAKINGS_VARIABLE):
            _parse_grants(topology, number, name, value)
            continue
        if not value.isdigit():
            raise CorruptNodes(
                f"line {number} of the cluster configuration: {name} is {value!r}, not a number"
            )
        if name == "currentEpoch":
            topology.current_epoch = int(value)
        elif name == "lastVoteEpoch":
            topology.last_vote_epoch = int(value)
        elif name == LEASE_VARIABLE:
            topology.lease_transitions = int(value)


def _parse_grants(topology: Topology, number: int, name: str, value: str) -> None:
    try:
        grants = parse_grants(value)
    except ValueError as error:
        raise CorruptNodes(f"line {number} of the cluster configuration: {error}") from error
    if name == GRANTS_VARIABLE:
        topology.grants = grants
    else:
        topology.takings = grants
