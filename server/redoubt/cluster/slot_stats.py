"""CLUSTER SLOT-STATS: how many keys and bytes each slot of this shard holds, and what it costs.

    CLUSTER SLOT-STATS SLOTSRANGE first last
    CLUSTER SLOT-STATS ORDERBY metric [LIMIT n] [ASC | DESC]

The reply is an array of [slot, map]. `key-count` and `memory-bytes` are always there; `cpu-usec`,
`network-bytes-in` and `network-bytes-out` only while `cluster-slot-stats-enabled` is on, as in Redis.
A placement of slots reads the first two: they are kept with each slot's table, so that asking for all of
16384 slots costs no walk through the keys.

Registered at import; called by the dispatcher. Source: the documentation of Redis 8.2 and Valkey 8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.cluster.changes import slot_of, wrong_number
from redoubt.cluster.cluster import Cluster
from redoubt.cluster.commands import cluster_of
from redoubt.cluster.slots import SLOTS, slots_of
from redoubt.commands.arguments import Arguments
from redoubt.commands.declare import CLUSTER, LOADING, STALE, command
from redoubt.data.slot_tables import bytes_in_slot, count_in_slot
from redoubt.resp.replies import CommandError, MapReply, Reply

if TYPE_CHECKING:
    from redoubt.session import Session

KEY_COUNT: Final = b"key-count"
MEMORY_BYTES: Final = b"memory-bytes"
CPU_USEC: Final = b"cpu-usec"
NETWORK_BYTES_IN: Final = b"network-bytes-in"
NETWORK_BYTES_OUT: Final = b"network-bytes-out"
ALWAYS: Final = [KEY_COUNT, MEMORY_BYTES]
COUNTED: Final = [CPU_USEC, NETWORK_BYTES_IN, NETWORK_BYTES_OUT]
BAD_LIMIT: Final = b"ERR Limit has to lie in between 1 and 16384 (maximum number of slots)."
UNKNOWN_METRIC: Final = b"ERR Unrecognized sort metric for ORDERBY."
REPEATED: Final = b"ERR Multiple filters of the same type are disallowed."


@command("CLUSTER SLOT-STATS",
         "<SLOTSRANGE start-slot end-slot | ORDERBY metric:string [LIMIT limit:integer] [ASC | DESC]>",
         group=CLUSTER, flags=STALE | LOADING, since="8.2.0", arity=-4,
         complexity="O(N) where N is the total number of slots; ORDERBY O(N*log(N))",
         summary="Returns usage statistics of the slots of the shard.",
         tips=("nondeterministic_output", "request_policy:all_shards"))  # fmt: skip
def slot_stats(ctx: Session, argv: list[bytes]) -> Reply:
    cluster = cluster_of(ctx)
    way = argv[2].upper()
    if way == b"SLOTSRANGE" and len(argv) == 5:
        first, last = slot_of(argv[3]), slot_of(argv[4])
        if first > last:
            raise CommandError(b"ERR Start slot number %d is greater than end slot number %d" % (first, last))
        mask = ((1 << (last - first + 1)) - 1) << first
        return [_row(ctx, cluster, slot) for slot in slots_of(cluster.topology.owned_by_shard() & mask)]
    if way == b"ORDERBY":
        return [_row(ctx, cluster, slot) for slot in _ordered(ctx, cluster, argv)]
    raise wrong_number(argv)


def _ordered(ctx: Session, cluster: Cluster, argv: list[bytes]) -> list[int]:
    """Read the options of ORDERBY and return the slots that they choose, in their order."""
    metric = argv[3].lower()
    if metric not in _metrics(cluster):
        raise CommandError(UNKNOWN_METRIC)
    limit, is_limited = SLOTS, False
    order = b""
    arguments = Arguments(argv, 4)
    while arguments.has_more():
        if arguments.peek() in (b"ASC", b"DESC"):
            is_repeated, order = bool(order), arguments.keyword()
        elif arguments.skip_with_value(b"LIMIT"):
            limit = arguments.integer_between(1, SLOTS, BAD_LIMIT)
            is_repeated, is_limited = is_limited, True
        else:
            raise arguments.syntax_error()
        if is_repeated:
            raise CommandError(REPEATED)
    sign = 1 if order == b"ASC" else -1
    found = [
        (sign * _figure(ctx, cluster, slot, metric), slot)
        for slot in slots_of(cluster.topology.owned_by_shard())
    ]
    return [slot for _, slot in sorted(found)[:limit]]


def _metrics(cluster: Cluster) -> list[bytes]:
    return ALWAYS + COUNTED if cluster.usage.is_counting else ALWAYS


def _row(ctx: Session, cluster: Cluster, slot: int) -> Reply:
    pairs: list[tuple[Reply, Reply]] = [
        (metric, _figure(ctx, cluster, slot, metric)) for metric in _metrics(cluster)
    ]
    return [slot, MapReply(pairs)]


def _figure(ctx: Session, cluster: Cluster, slot: int, metric: bytes) -> int:
    if metric == KEY_COUNT:
        return count_in_slot(ctx.state.keyspaces[0], slot)
    if metric == MEMORY_BYTES:
        return bytes_in_slot(ctx.state.keyspaces[0], slot)
    usage = cluster.usage
    if metric == CPU_USEC:
        return usage.cpu_usec[slot]
    return (usage.bytes_in if metric == NETWORK_BYTES_IN else usage.bytes_out)[slot]
