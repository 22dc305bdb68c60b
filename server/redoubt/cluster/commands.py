"""CLUSTER and its subcommands that look, with READONLY, READWRITE and ASKING.

Those that change the map (meeting, slots, roles, epochs) are in `changes.py`, which finds the cluster object
by `cluster_of` as well; replies with a form of their own are made in `views.py`. Where cluster mode is off
the answer is Redis's.

Registered at import; called by the dispatcher. Source: the documentation of Redis 7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.cluster import views
from redoubt.cluster.cluster import Cluster
from redoubt.cluster.slots import SLOTS, key_slot
from redoubt.cluster.topology import ClusterNode
from redoubt.commands.arguments import integer
from redoubt.commands.declare import ADMIN, CLUSTER, FAST, LOADING, STALE, command, container
from redoubt.data.slot_tables import count_in_slot, keys_in_slot
from redoubt.resp.replies import OK, CommandError, Reply, Verbatim
from redoubt.session import GATE_ASKING

if TYPE_CHECKING:
    from redoubt.session import Session

DISABLED: Final = b"ERR This instance has cluster support disabled"

container("CLUSTER", group=CLUSTER, since="3.0.0", summary="A container for cluster commands.")


def cluster_of(ctx: Session) -> Cluster:
    """Return this server's part in the cluster, or refuse as Redis does where it has none."""
    cluster = ctx.state.cluster
    if not isinstance(cluster, Cluster):
        raise CommandError(DISABLED)
    return cluster


def node_named(cluster: Cluster, word: bytes) -> ClusterNode:
    """Find a node by its id; refuse as Redis does if there is none."""
    node = cluster.topology.find(word.decode(errors="replace"))
    if node is None:
        raise CommandError(b"ERR Unknown node %s" % word)
    return node


@command("CLUSTER INFO", group=CLUSTER, flags=STALE, since="3.0.0", complexity="O(1)",
         summary="Returns information about the state of a node.",
         tips=("nondeterministic_output",))  # fmt: skip
def info(ctx: Session, argv: list[bytes]) -> Reply:
    pairs = views.info_pairs(cluster_of(ctx))
    return Verbatim("".join([f"{name}:{value}\r\n" for name, value in pairs]).encode())


@command("CLUSTER NODES", group=CLUSTER, flags=STALE, since="3.0.0",
         complexity="O(N) where N is the total number of Cluster nodes",
         summary="Returns the cluster configuration for a node.",
         tips=("nondeterministic_output",))  # fmt: skip
def nodes(ctx: Session, argv: list[bytes]) -> Reply:
    return Verbatim(views.nodes_text(cluster_of(ctx)))


@command("CLUSTER SLOTS", group=CLUSTER, flags=STALE, since="3.0.0",
         complexity="O(N) where N is the total number of Cluster nodes",
         summary="Returns the mapping of cluster slots to nodes.",
         tips=("nondeterministic_output",))  # fmt: skip
def slots(ctx: Session, argv: list[bytes]) -> Reply:
    return views.slots_reply(cluster_of(ctx))


@command("CLUSTER SHARDS", group=CLUSTER, flags=STALE, since="7.0.0",
         complexity="O(N) where N is the total number of cluster nodes",
         summary="Returns the mapping of cluster slots to shards.",
         tips=("nondeterministic_output",))  # fmt: skip
def shards(ctx: Session, argv: list[bytes]) -> Reply:
    return views.shards_reply(cluster_of(ctx))


@command("CLUSTER LINKS", group=CLUSTER, flags=STALE, since="7.0.0",
         complexity="O(N) where N is the total number of Cluster nodes",
         summary="Returns a list of all TCP links to and from peer nodes.",
         tips=("nondeterministic_output",))  # fmt: skip
def links(ctx: Session, argv: list[bytes]) -> Reply:
    return views.links_reply(cluster_of(ctx))


@command("CLUSTER MYID", group=CLUSTER, flags=STALE, since="3.0.0", complexity="O(1)",
         summary="Returns the ID of a node.")  # fmt: skip
def myid(ctx: Session, argv: list[bytes]) -> Reply:
    return cluster_of(ctx).topology.myself.node_id.encode()


@command("CLUSTER MYSHARDID", group=CLUSTER, flags=STALE, since="7.2.0", complexity="O(1)",
         summary="Returns the shard ID of a node.", tips=("nondeterministic_output",))  # fmt: skip
def myshardid(ctx: Session, argv: list[bytes]) -> Reply:
    return cluster_of(ctx).topology.myself.shard_id.encode()


@command("CLUSTER REPLICAS", "node-id", group=CLUSTER, flags=ADMIN | STALE, since="5.0.0",
         complexity="O(N) where N is the number of replicas.",
         summary="Lists the replica nodes of a master node.",
         tips=("nondeterministic_output",))  # fmt: skip
def replicas(ctx: Session, argv: list[bytes]) -> Reply:
    cluster = cluster_of(ctx)
    master = node_named(cluster, argv[2])
    if master.is_replica:
        raise CommandError(b"ERR The specified node is not a master")
    return views.replicas_lines(cluster, master)


@command("CLUSTER SLAVES", "node-id", group=CLUSTER, flags=ADMIN | STALE, since="3.0.0",
         complexity="O(N) where N is the number of replicas.",
         summary="Lists the replica nodes of a master node.",
         tips=("nondeterministic_output",))  # fmt: skip
def slaves(ctx: Session, argv: list[bytes]) -> Reply:
    return replicas(ctx, argv)


@command("CLUSTER COUNT-FAILURE-REPORTS", "node-id", group=CLUSTER, flags=ADMIN | STALE, since="3.0.0",
         complexity="O(N) where N is the number of failure reports",
         summary="Returns the number of active failure reports active for a node.",
         tips=("nondeterministic_output",))  # fmt: skip
def count_failure_reports(ctx: Session, argv: list[bytes]) -> Reply:
    cluster = cluster_of(ctx)
    return cluster.failures.report_count(node_named(cluster, argv[2]), ctx.now_ms)


@command("CLUSTER KEYSLOT", "key:string", group=CLUSTER, flags=STALE, since="3.0.0",
         complexity="O(N) where N is the number of bytes in the key", key_specs=[],
         summary="Returns the hash slot for a key.")  # fmt: skip
def keyslot(ctx: Session, argv: list[bytes]) -> Reply:
    cluster_of(ctx)
    return key_slot(argv[2])


@command("CLUSTER COUNTKEYSINSLOT", "slot:integer", group=CLUSTER, flags=STALE, since="3.0.0",
         complexity="O(1)", summary="Returns the number of keys in a hash slot.")  # fmt: skip
def countkeysinslot(ctx: Session, argv: list[bytes]) -> Reply:
    cluster_of(ctx)
    slot = integer(argv[2])
    if not 0 <= slot < SLOTS:
        raise CommandError(b"ERR Invalid slot")
    return count_in_slot(ctx.state.keyspaces[0], slot)


@command("CLUSTER GETKEYSINSLOT", "slot:integer count:integer", group=CLUSTER, flags=STALE, since="3.0.0",
         complexity="O(N) where N is the number of requested keys",
         summary="Returns the key names in a hash slot.", tips=("nondeterministic_output",))  # fmt: skip
def getkeysinslot(ctx: Session, argv: list[bytes]) -> Reply:
    cluster_of(ctx)
    slot, count = integer(argv[2]), integer(argv[3])
    if not 0 <= slot < SLOTS or count < 0:
        raise CommandError(b"ERR Invalid slot or number of keys")
    keys: Reply = list(keys_in_slot(ctx.state.keyspaces[0], slot, count))
    return keys


# How a client reads and asks in a cluster.


@command("READONLY", group=CLUSTER, flags=FAST | LOADING | STALE, since="3.0.0", complexity="O(1)",
         categories=("connection",),
         summary="Enables read-only queries for a connection to a Redis Cluster replica node.")  # fmt: skip
def readonly(ctx: Session, argv: list[bytes]) -> Reply:
    cluster_of(ctx)
    ctx.is_readonly = True
    return OK


@command("READWRITE", group=CLUSTER, flags=FAST | LOADING | STALE, since="3.0.0", complexity="O(1)",
         categories=("connection",),
         summary="Enables read-write queries for a connection to a Redis Cluster replica node.")  # fmt: skip
def readwrite(ctx: Session, argv: list[bytes]) -> Reply:
    cluster_of(ctx)
    ctx.is_readonly = False
    return OK


@command("ASKING", group=CLUSTER, flags=FAST, since="3.0.0", complexity="O(1)", categories=("connection",),
         summary="Signals that a cluster client is following an -ASK redirect.")  # fmt: skip
def asking(ctx: Session, argv: list[bytes]) -> Reply:
    cluster_of(ctx)
    ctx.set_own_gate(GATE_ASKING, True)
    return OK
