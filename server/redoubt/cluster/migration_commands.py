"""CLUSTER MIGRATESLOTS, GETSLOTMIGRATIONS, CANCELSLOTMIGRATIONS; and SYNCSLOTS, which nodes say to nodes.

The first three are what people and operators use: names, replies and the texts of refusals are Valkey 9's.
SYNCSLOTS has three kinds of senders: a source on the stream on which its slots arrive, our master on the
stream of its history, and a source that asks how its grant ended. It is no public interface, and its words
are not Valkey's: the two cannot move slots to one another.

Registered at import; the decisions are in `migration.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.cluster.changes import refuse_without_role
from redoubt.cluster.cluster import Cluster
from redoubt.cluster.commands import cluster_of
from redoubt.cluster.migration import IMPORTS_MAX
from redoubt.cluster.migration_import import OUT_OF_MEMORY, BrokenImport, Import
from redoubt.cluster.migration_job import CATCHING_UP, mask_of_words
from redoubt.cluster.slot_grants import SlotGrant
from redoubt.cluster.slots import SLOTS, SlotRange, mask_of_ranges
from redoubt.cluster.topology import ClusterNode
from redoubt.commands.arguments import SYNTAX_ERROR, integer
from redoubt.commands.declare import ADMIN, CLUSTER, NO_ASYNC_LOADING, NO_MULTI, NOSCRIPT, STALE, command
from redoubt.resp.replies import NO_REPLY, OK, CommandError, Reply

if TYPE_CHECKING:
    from redoubt.session import Session

ID_LENGTH: Final = 40
INVALID_SLOT: Final = b"ERR Invalid or out of range slot"
NOT_MASTER: Final = b"ERR Slot migration can only be used on primary nodes."


@command("CLUSTER MIGRATESLOTS", "(SLOTSRANGE (start-slot:integer end-slot:integer)... NODE node-id)...",
         group=CLUSTER, flags=ADMIN | STALE | NO_ASYNC_LOADING, since="7.2.0", arity=-6,
         complexity="O(N) where N is the total number of the slots between the ranges",
         summary="Moves slots with their keys to other masters, atomically.")  # fmt: skip
def migrateslots(ctx: Session, argv: list[bytes]) -> Reply:
    cluster = cluster_of(ctx)
    refuse_without_role(cluster)
    _refuse_unable(cluster)
    moves: list[tuple[int, str]] = []
    at = 2
    while at < len(argv):
        if argv[at].upper() != b"SLOTSRANGE":
            raise CommandError(SYNTAX_ERROR)
        mask, owner, at = _slot_ranges(cluster, argv, at + 1)
        if owner is not cluster.topology.myself:
            raise CommandError(b"ERR Slots are not served by this node.")
        _refuse_moving(cluster, mask, moves)
        if at + 1 >= len(argv) or argv[at].upper() != b"NODE":
            raise CommandError(SYNTAX_ERROR)
        moves.append((mask, _target(cluster, argv[at + 1])))
        at += 2
    for mask, target_id in moves:
        cluster.migrations.export_slots(mask, target_id, ctx.now_ms)
    cluster.migrations.tick(ctx.now_ms)
    cluster.settle(ctx.now_ms)
    return OK


def _refuse_unable(cluster: Cluster) -> None:
    """Refuse where no move can begin at all, on either side."""
    topology = cluster.topology
    if not topology.myself.is_master:
        raise CommandError(NOT_MASTER)
    if topology.importing:
        raise CommandError(b"ERR Slots are being manually imported")
    if topology.migrating:
        raise CommandError(b"ERR Slots are being manually migrated")
    if not cluster.state.replication.understands_slot_moves():
        raise CommandError(b"ERR A replica of this node does not understand slot migrations")


def _slot_ranges(cluster: Cluster, argv: list[bytes], at: int) -> tuple[int, ClusterNode, int]:
    """Read ranges up to the next word: their slots, the one owner, and where the next word is."""
    owner: ClusterNode | None = None
    ranges: list[SlotRange] = []
    while at < len(argv) and _is_integer(argv[at]):
        first = _slot(argv[at])
        if at + 1 >= len(argv):
            raise CommandError(b"ERR No end slot for final slot range")
        last = _slot(argv[at + 1])
        if first > last:
            raise CommandError(
                b"ERR Start slot number %d is greater than end slot number %d." % (first, last)
            )
        owner = _owner_of_range(cluster, first, last, owner)
        for first_before, last_before in ranges:
            if last >= first_before and first <= last_before:
                raise CommandError(
                    b"ERR Slot range %d-%d overlaps with previous range %d-%d."
                    % (first, last, first_before, last_before)
                )
        ranges.append((first, last))
        at += 2
    if owner is None:
        raise CommandError(b"ERR No slot ranges specified")
    return mask_of_ranges(ranges), owner, at


def _owner_of_range(cluster: Cluster, first: int, last: int, owner: ClusterNode | None) -> ClusterNode:
    for slot in range(first, last + 1):
        node = cluster.topology.owners[slot]
        if node is None:
            raise CommandError(b"ERR Slot %d has no node served." % slot)
        if owner is not None and node is not owner:
            raise CommandError(b"ERR Requested slots span multiple shards")
        owner = node
    assert owner is not None
    return owner


def _is_integer(word: bytes) -> bool:
    try:
        integer(word)
    except CommandError:
        return False
    return True


def _slot(word: bytes) -> int:
    slot = integer(word, INVALID_SLOT)
    if not 0 <= slot < SLOTS:
        raise CommandError(INVALID_SLOT)
    return slot


def _refuse_moving(cluster: Cluster, mask: int, moves: list[tuple[int, str]]) -> None:
    """Refuse slots that take part in another migration, under way or of the same command."""
    for job in cluster.migrations.jobs:
        if job.mask & mask and not job.is_finished and job.operation == "EXPORT":
            both = job.mask & mask
            slot = (both & -both).bit_length() - 1
            raise CommandError(b"ERR I am already migrating slot %d." % slot)
    if any(other & mask for other, _ in moves):
        raise CommandError(b"ERR Slot ranges in migrations overlap")


def _target(cluster: Cluster, word: bytes) -> str:
    """Read the node that is to take the slots."""
    if len(word) != ID_LENGTH:
        raise CommandError(b"ERR Invalid node name: %s" % word)
    node = cluster.topology.find(word.decode("latin-1"))
    if node is None or not node.is_known:
        raise CommandError(b"ERR Unknown node name: %s" % word)
    if node is cluster.topology.myself:
        raise CommandError(b"ERR Target node can not be this node.")
    if not node.is_master:
        raise CommandError(b"ERR Target node is not a master")
    return node.node_id


@command("CLUSTER GETSLOTMIGRATIONS", group=CLUSTER, flags=STALE, since="7.2.0",
         complexity="O(N) where N is the number of migrations, finished ones included",
         summary="Lists the slot migrations of this node, under way and finished.",
         tips=("nondeterministic_output",))  # fmt: skip
def getslotmigrations(ctx: Session, argv: list[bytes]) -> Reply:
    return [job.description() for job in cluster_of(ctx).migrations.jobs]


@command("CLUSTER CANCELSLOTMIGRATIONS", group=CLUSTER, flags=ADMIN | STALE | NO_ASYNC_LOADING, since="7.2.0",
         complexity="O(N) where N is the number of migrations",
         summary="Cancels the slot migrations away from this node.")  # fmt: skip
def cancelslotmigrations(ctx: Session, argv: list[bytes]) -> Reply:
    cluster = cluster_of(ctx)
    if not cluster.migrations.cancel_exports("", ctx.now_ms):
        raise CommandError(b"ERR No migrations ongoing")
    cluster.settle(ctx.now_ms)
    return OK


@command("CLUSTER SYNCSLOTS", "subcommand [argument [argument ...]]", group=CLUSTER, since="7.2.0",
         flags=ADMIN | NOSCRIPT | STALE | NO_ASYNC_LOADING | NO_MULTI, arity=-3, complexity="O(N)",
         summary="Carries slots from node to node (internal).")  # fmt: skip
def syncslots(ctx: Session, argv: list[bytes]) -> Reply:
    cluster = cluster_of(ctx)
    word = argv[2].upper()
    reply: Reply = NO_REPLY
    if ctx.is_master_link:
        _heard_from_master(cluster, word, argv, ctx.state.now_ms)
    elif word == b"ESTABLISH":
        reply = _establish(ctx, cluster, argv)
    elif word == b"OUTCOME" and len(argv) > 6:
        refuse_without_role(cluster)
        if not cluster.topology.myself.is_master:
            raise CommandError(NOT_MASTER)
        name, source_id = argv[3].decode("latin-1"), argv[4].decode("latin-1")
        reply = list(cluster.migrations.outcome_for(name, source_id, mask_of_words(argv[5:]), ctx.now_ms))
    else:
        arriving = cluster.migrations.import_on(ctx)
        if arriving is None:
            raise CommandError(
                b"ERR CLUSTER SYNCSLOTS %s should only be used by slot migration clients" % word
            )
        _heard_from_source(cluster, arriving, word, argv, ctx.now_ms)
    cluster.settle(ctx.state.now_ms)
    return reply


def _establish(ctx: Session, cluster: Cluster, argv: list[bytes]) -> Reply:
    """Begin an import: ESTABLISH SOURCE id NAME name SLOTSRANGE first last ..."""
    refuse_without_role(cluster)
    _refuse_unable(cluster)
    if len(argv) < 10 or [word.upper() for word in (argv[3], argv[5], argv[7])] != [
        b"SOURCE", b"NAME", b"SLOTSRANGE",
    ]:  # fmt: skip
        raise CommandError(SYNTAX_ERROR)
    source = cluster.topology.find(argv[4].decode("latin-1"))
    name = argv[6].decode("latin-1")
    if source is None or not source.is_known:
        raise CommandError(b"ERR Target node does not know the source node")
    if source is cluster.topology.myself:
        raise CommandError(b"ERR Source node is target node itself")
    mask, owner, end = _slot_ranges(cluster, argv, 8)
    migrations = cluster.migrations
    if end != len(argv) or len(name) != ID_LENGTH or name in migrations.imports or ctx.is_slot_import:
        raise CommandError(SYNTAX_ERROR)
    if migrations.is_arriving(mask):
        raise CommandError(b"ERR Slot is already being imported on the target by a different migration")
    if owner is not source:
        raise CommandError(b"ERR Target node does not agree about current slot ownership")
    if len(migrations.imports) >= IMPORTS_MAX:
        raise CommandError(b"ERR Too many slot imports on the target")
    migrations.import_slots(name, source.node_id, mask, ctx, ctx.now_ms)
    _hand_on(ctx, argv)
    return OK


def _hand_on(ctx: Session, argv: list[bytes]) -> None:
    """Let our replicas do the same."""
    replication = ctx.state.replication
    if replication.is_feeding:
        replication.feed(0, argv)


def _heard_from_source(
    cluster: Cluster, arriving: Import, word: bytes, argv: list[bytes], now_ms: int
) -> None:
    """Take one message of a source."""
    arriving.heard_ms = arriving.job.acked_ms = now_ms
    ctx = arriving.session
    assert ctx is not None
    if word in (b"KEYS", b"STREAM") and len(argv) == 5:
        if arriving.is_committed:
            return
        if not ctx.state.upkeep.has_room():
            arriving.fail(OUT_OF_MEMORY, now_ms)
            return
        try:
            _apply(arriving, word, argv[4])
        except BrokenImport as broken:
            arriving.fail(str(broken), now_ms)
            return
        _hand_on(ctx, argv)
        arriving.acknowledge()
    elif word == b"SNAPSHOT-EOF":
        arriving.job.enter(CATCHING_UP, now_ms)
    elif word == b"PAUSED" and len(argv) == 4:
        arriving.prepare(integer(argv[3]), now_ms)
    elif word == b"RESUMED":
        arriving.resumed(now_ms)
    elif word == b"GRANT" and len(argv) == 4:
        if not arriving.is_committed:
            arriving.commit(integer(argv[3]), now_ms)
    elif word == b"CANCEL" and not arriving.is_committed:
        arriving.fail("The source gave up: " + argv[-1].decode("latin-1"), now_ms)


def _apply(arriving: Import, word: bytes, batch: bytes) -> None:
    if word == b"KEYS":
        arriving.take_keys(batch)
    else:
        arriving.take_changes(batch)


def _heard_from_master(cluster: Cluster, word: bytes, argv: list[bytes], now_ms: int) -> None:
    """Do as a replica what our master does; raises CommandError if our copy cannot follow."""
    migrations = cluster.migrations
    if word == b"ESTABLISH":
        name = argv[6].decode("latin-1")
        if name not in migrations.imports:
            migrations.import_slots(name, argv[4].decode("latin-1"), mask_of_words(argv[8:]), None, now_ms)
        return
    if word == b"EPOCH":
        migrations.heard_epoch(integer(argv[3]))
        return
    name = argv[3].decode("latin-1")
    if word in (b"KEYS", b"STREAM"):
        arriving = migrations.imports.get(name)
        if arriving is not None:
            try:
                _apply(arriving, word, argv[4])
            except BrokenImport as broken:
                arriving.drop(str(broken), now_ms)
    elif word == b"ABANDON":
        migrations.heard_end(name, argv[4].decode("latin-1"), now_ms)
    elif word == b"SETTLED":
        migrations.heard_settled(name, argv[4] == b"success", now_ms)
    elif word in (b"GRANTED", b"COMMIT"):
        source_id, target_id = argv[4].decode("latin-1"), argv[5].decode("latin-1")
        grant = SlotGrant(name, source_id, target_id, integer(argv[6]), mask_of_words(argv[7:]))
        if word == b"GRANTED":
            migrations.heard_grant(grant)
        elif not migrations.heard_commit(grant, now_ms):
            cluster.state.replication.mistrust_copy()
