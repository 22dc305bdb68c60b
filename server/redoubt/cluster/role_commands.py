"""REDOUBT: the commands by which the operator, or a person, sees a node's role and gives it one.

`REDOUBT STATUS` shows in one round trip everything that a decision about a node needs; it works in every
phase. `REDOUBT ROLE` and `REDOUBT LEASE` are compare-and-set (`role.py`), `REDOUBT HANDOVER` is a planned
switchover (`leaving.py`). They are no commands of Redis; docs/operations.md describes them for people.

Registered at import, like every command module; called by the dispatcher.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.cluster.cluster import Cluster
from redoubt.cluster.leaving import HANDOVER_MS, Leaving, Switchover, outcome
from redoubt.commands.arguments import integer
from redoubt.commands.declare import ADMIN, ALLOW_BUSY, CLUSTER, LOADING, STALE, command, container
from redoubt.resp.replies import NO_REPLY, CommandError, ErrorReply, MapReply, Reply

if TYPE_CHECKING:
    from redoubt.session import Session

DISABLED: Final = ErrorReply(b"ERR This instance has cluster support disabled")
NOT_MASTER: Final = ErrorReply(b"ERR this node is no master with slots")

container("REDOUBT", group=CLUSTER, since="7.2.0", summary="Roles of nodes in managed mode.")


def cluster_of(ctx: Session) -> Cluster:
    """Return the cluster part, or refuse as Redis does where it is disabled."""
    cluster = ctx.state.cluster
    if not isinstance(cluster, Cluster):
        raise CommandError(DISABLED.text)
    return cluster


@command("REDOUBT STATUS", "", group=CLUSTER, flags=ADMIN | LOADING | STALE | ALLOW_BUSY, since="7.2.0",
         complexity="O(1)", summary="Return what decides about this node's role.")  # fmt: skip
def status(ctx: Session, argv: list[bytes]) -> Reply:
    pairs = status_pairs(cluster_of(ctx), ctx.now_ms)
    return MapReply([(name.encode(), _value(value)) for name, value in pairs])


def status_pairs(cluster: Cluster, now_ms: int) -> list[tuple[str, str | int]]:
    """List the fields of REDOUBT STATUS with their values; flags are 0 or 1."""
    role = cluster.role
    topology = cluster.topology
    myself = topology.myself
    replication = cluster.state.replication
    master = myself.master
    link_down_ms = 0
    if myself.is_replica and not replication.link_is_up:
        link_down_ms = max(0, now_ms - replication.link_down_since_ms)
    return [
        ("node-id", myself.node_id),
        ("phase", role.phase),
        ("role", "master" if myself.is_master else "replica"),
        ("config-epoch", myself.config_epoch),
        ("current-epoch", topology.current_epoch),
        ("data-epoch", replication.data_epoch),
        ("repl-offset", replication.offset),
        ("replid", replication.replid),
        ("replid2", replication.replid2),
        ("replid2-offset", replication.offset2),
        ("synced", int(replication.is_synced)),
        ("syncing", int(replication.is_syncing)),
        ("link-up", int(myself.is_replica and replication.link_is_up)),
        ("link-down-ms", link_down_ms),
        ("master-id", master.node_id if master is not None else ""),
        ("master-address", f"{master.ip}:{master.port}" if master is not None else ""),
        ("slots", myself.slot_count if role.is_assigned else 0),
        ("keys", sum(len(keyspace) for keyspace in cluster.state.keyspaces)),
        ("lease-transitions", topology.lease_transitions),
        ("shard-id", myself.shard_id),
        ("loading", int(cluster.is_loading)),
        ("terminating", int(cluster.is_terminating)),
        ("data-lost", int(role.data_lost)),
        ("boot-slots", role.boot_slots.bit_count()),
        ("uptime-ms", now_ms - cluster.state.start_ms),
        ("needs", role.needs()),
        ("diverged", replication.diverged),
        ("exports", cluster.migrations.active_exports()),
        ("imports", cluster.migrations.active_imports()),
        ("cluster-ok", int(cluster.availability.is_ok)),
    ]


def _value(value: str | int) -> Reply:
    return value if isinstance(value, int) else value.encode()


@command("REDOUBT ROLE", "<MASTER | REPLICA> config-epoch lease-transitions [node-id] [FORCE-NEWEST]",
         group=CLUSTER, flags=ADMIN | STALE, since="7.2.0",
         complexity="O(N) where N is the number of nodes",
         summary="Give this node its role, unless its map is newer than the sender's.")  # fmt: skip
def role(ctx: Session, argv: list[bytes]) -> Reply:
    cluster = cluster_of(ctx)
    kind = argv[2].upper()
    epoch_seen = integer(argv[3])
    lease_transitions = integer(argv[4])
    rest = argv[5:]
    if kind == b"MASTER":
        if rest and (len(rest) > 1 or rest[0].upper() != b"FORCE-NEWEST"):
            raise CommandError(b"ERR syntax error")
        answer = cluster.role.order_master(epoch_seen, lease_transitions, bool(rest), ctx.now_ms)
    elif kind == b"REPLICA" and len(rest) == 1:
        node_id = rest[0].decode(errors="replace")
        answer = cluster.role.order_replica(epoch_seen, lease_transitions, node_id)
    else:
        raise CommandError(b"ERR syntax error")
    cluster.settle(ctx.now_ms)
    return answer


@command("REDOUBT LEASE", "lease-transitions", group=CLUSTER, flags=ADMIN | LOADING | STALE, since="7.2.0",
         complexity="O(1)", summary="Refuse orders of operators that led before this one.")  # fmt: skip
def lease(ctx: Session, argv: list[bytes]) -> Reply:
    cluster = cluster_of(ctx)
    answer = cluster.role.raise_lease(integer(argv[2]))
    cluster.settle(ctx.now_ms)
    return answer


@command("REDOUBT HANDOVER", "[node-id]", group=CLUSTER, flags=ADMIN | STALE, since="7.2.0",
         complexity="O(1)", summary="Hand the slots to the best replica, or to the given one.")  # fmt: skip
def handover(ctx: Session, argv: list[bytes]) -> Reply:
    cluster = cluster_of(ctx)
    if not cluster.topology.myself.is_voter or not cluster.role.is_assigned:
        raise CommandError(NOT_MASTER.text)
    wanted = argv[2].decode(errors="replace") if len(argv) > 2 else ""
    cluster.migrations.leaving(ctx.now_ms)
    leaving = Leaving(cluster, ctx.now_ms + HANDOVER_MS, wanted)
    if not leaving.tick(ctx.now_ms):
        return outcome(leaving)
    cluster.role.switchovers.append(Switchover(ctx, leaving))
    return NO_REPLY
