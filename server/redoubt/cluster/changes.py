"""The subcommands of CLUSTER that change the map: meeting and forgetting, slots, roles, epochs.

Each checks its arguments in Redis's order with Redis's texts, changes the map through its parts and lets
the cluster object settle, so that the change is on its way to nodes.conf before the reply leaves. A node of
managed mode that awaits its role refuses what would give it one.

Registered at import; called by the dispatcher. Source: the documentation of Redis 7.2.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from redoubt.cluster.cluster import BUS_PORT_OFFSET, Cluster
from redoubt.cluster.commands import cluster_of, node_named
from redoubt.cluster.slots import SLOTS
from redoubt.cluster.topology import ClusterNode
from redoubt.commands.arguments import integer
from redoubt.commands.declare import ADMIN, CLUSTER, NO_ASYNC_LOADING, NOSCRIPT, STALE, command, wrong_arity
from redoubt.data.slot_tables import count_in_slot
from redoubt.resp.replies import OK, CommandError, Reply, SimpleString

if TYPE_CHECKING:
    from redoubt.session import Session

CHANGES: Final = ADMIN | STALE | NO_ASYNC_LOADING
PORT_MAX: Final = 65535
INVALID_SLOT: Final = b"ERR Invalid or out of range slot"
SETSLOT_SYNTAX: Final = b"ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP"


def slot_of(word: bytes) -> int:
    """Read a slot."""
    try:
        slot = integer(word)
    except CommandError:
        slot = -1
    if not 0 <= slot < SLOTS:
        raise CommandError(INVALID_SLOT)
    return slot


def wrong_number(argv: list[bytes]) -> CommandError:
    """Make the error for words behind a subcommand whose number Redis checks itself."""
    text = b"ERR unknown subcommand or wrong number of arguments for '%s'. Try CLUSTER HELP."
    return CommandError(text % argv[1])


def refuse_without_role(cluster: Cluster) -> None:
    """Refuse what would give a role to a node of managed mode that awaits its own."""
    refusal = cluster.role.refusal()
    if refusal is not None:
        raise CommandError(refusal.text)


# Nodes.


@command("CLUSTER MEET", "ip:string port:integer [cluster-bus-port:integer]", group=CLUSTER, flags=CHANGES,
         since="3.0.0", complexity="O(1)",
         summary="Forces a node to handshake with another node.")  # fmt: skip
def meet(ctx: Session, argv: list[bytes]) -> Reply:
    cluster = cluster_of(ctx)
    if len(argv) > 5:
        return wrong_arity(ctx.row) if ctx.row is not None else None
    port = _number(argv[3], b"ERR Invalid TCP base port specified: %s")
    bus_port = port + BUS_PORT_OFFSET
    if len(argv) == 5:
        bus_port = _number(argv[4], b"ERR Invalid TCP bus port specified: %s")
    ip = _address(argv[2])
    if not ip or not 0 < port <= PORT_MAX or not 0 < bus_port <= PORT_MAX:
        raise CommandError(b"ERR Invalid node address specified: %s:%s" % (argv[2], argv[3]))
    cluster.membership.meet(ip, port, bus_port, True, ctx.now_ms)
    cluster.settle(ctx.now_ms)
    return OK


def _number(word: bytes, error: bytes) -> int:
    try:
        return integer(word)
    except CommandError:
        raise CommandError(error % word) from None


def _address(word: bytes) -> str:
    """Read an IP address into its usual form; empty if it is none."""
    try:
        return str(ip_address(word.decode(errors="replace")))
    except ValueError:
        return ""


@command("CLUSTER FORGET", "node-id", group=CLUSTER, flags=CHANGES, since="3.0.0", complexity="O(1)",
         summary="Removes a node from the nodes table.")  # fmt: skip
def forget(ctx: Session, argv: list[bytes]) -> Reply:
    cluster = cluster_of(ctx)
    myself = cluster.topology.myself
    node = cluster.topology.find(argv[2].decode(errors="replace"))
    if node is None:
        if cluster.topology.is_forgotten(argv[2].decode(errors="replace"), ctx.now_ms):
            return OK
        raise CommandError(b"ERR Unknown node %s" % argv[2])
    if node is myself:
        raise CommandError(b"ERR I tried hard but I can't forget myself...")
    if node is myself.master:
        raise CommandError(b"ERR Can't forget my master!")
    cluster.membership.forget(node, ctx.now_ms)
    cluster.settle(ctx.now_ms)
    return OK


# Slots.


@command("CLUSTER ADDSLOTS", "slot:integer...", group=CLUSTER, flags=CHANGES, since="3.0.0",
         complexity="O(N) where N is the total number of hash slot arguments",
         summary="Assigns new hash slots to a node.")  # fmt: skip
def addslots(ctx: Session, argv: list[bytes]) -> Reply:
    return assign(ctx, [(slot_of(word), slot_of(word)) for word in argv[2:]], True)


@command("CLUSTER ADDSLOTSRANGE", "(start-slot:integer end-slot:integer)...", group=CLUSTER, flags=CHANGES,
         since="7.0.0", complexity="O(N) where N is the total number of the slots between the ranges",
         summary="Assigns new hash slot ranges to a node.")  # fmt: skip
def addslotsrange(ctx: Session, argv: list[bytes]) -> Reply:
    return assign(ctx, ranges_of_words(ctx, argv), True)


@command("CLUSTER DELSLOTS", "slot:integer...", group=CLUSTER, flags=CHANGES, since="3.0.0",
         complexity="O(N) where N is the total number of hash slot arguments",
         summary="Sets hash slots as unbound for a node.")  # fmt: skip
def delslots(ctx: Session, argv: list[bytes]) -> Reply:
    return assign(ctx, [(slot_of(word), slot_of(word)) for word in argv[2:]], False)


@command("CLUSTER DELSLOTSRANGE", "(start-slot:integer end-slot:integer)...", group=CLUSTER, flags=CHANGES,
         since="7.0.0", complexity="O(N) where N is the total number of the slots between the ranges",
         summary="Sets hash slot ranges as unbound for a node.")  # fmt: skip
def delslotsrange(ctx: Session, argv: list[bytes]) -> Reply:
    return assign(ctx, ranges_of_words(ctx, argv), False)


def ranges_of_words(ctx: Session, argv: list[bytes]) -> list[tuple[int, int]]:
    """Read pairs of first and last slots."""
    if len(argv) % 2:
        assert ctx.row is not None
        raise CommandError(wrong_arity(ctx.row).text)
    ranges: list[tuple[int, int]] = []
    for at in range(2, len(argv), 2):
        first, last = slot_of(argv[at]), slot_of(argv[at + 1])
        if first > last:
            raise CommandError(b"ERR start slot number %d is greater than end slot number %d" % (first, last))
        ranges.append((first, last))
    return ranges


def assign(ctx: Session, ranges: list[tuple[int, int]], is_given: bool) -> Reply:
    """Give slots to this node, or leave them without an owner; all of them or none."""
    cluster = cluster_of(ctx)
    topology = cluster.topology
    if is_given:
        refuse_without_role(cluster)
    mask = 0
    for first, last in ranges:
        for slot in range(first, last + 1):
            if is_given and topology.owners[slot] is not None:
                raise CommandError(b"ERR Slot %d is already busy" % slot)
            if not is_given and topology.owners[slot] is None:
                raise CommandError(b"ERR Slot %d is already unassigned" % slot)
            if mask >> slot & 1:
                raise CommandError(b"ERR Slot %d specified multiple times" % slot)
            mask |= 1 << slot
    topology.set_owners(mask, topology.myself if is_given else None)
    for slot in [slot for slot in topology.importing if is_given and mask >> slot & 1]:
        del topology.importing[slot]
    cluster.file.mark()
    cluster.settle(ctx.now_ms)
    return OK


@command("CLUSTER FLUSHSLOTS", group=CLUSTER, flags=CHANGES, since="3.0.0", complexity="O(1)",
         summary="Deletes all slots information from a node.")  # fmt: skip
def flushslots(ctx: Session, argv: list[bytes]) -> Reply:
    cluster = cluster_of(ctx)
    if len(ctx.state.keyspaces[0]):
        raise CommandError(b"ERR DB must be empty to perform CLUSTER FLUSHSLOTS.")
    cluster.topology.clear_slots(cluster.topology.myself)
    cluster.file.mark()
    cluster.settle(ctx.now_ms)
    return OK


@command("CLUSTER SETSLOT",
         "slot:integer <IMPORTING node-id | MIGRATING node-id | NODE node-id | STABLE>",
         group=CLUSTER, flags=CHANGES, since="3.0.0", complexity="O(1)", arity=-4,
         summary="Binds a hash slot to a node.")  # fmt: skip
def setslot(ctx: Session, argv: list[bytes]) -> Reply:
    cluster = cluster_of(ctx)
    topology = cluster.topology
    if topology.myself.is_replica:
        raise CommandError(b"ERR Please use SETSLOT only with masters.")
    slot = slot_of(argv[2])
    action = argv[3].upper()
    if action == b"STABLE" and len(argv) == 4:
        topology.migrating.pop(slot, None)
        topology.importing.pop(slot, None)
    elif action == b"MIGRATING" and len(argv) == 5:
        if topology.owners[slot] is not topology.myself:
            raise CommandError(b"ERR I'm not the owner of hash slot %d" % slot)
        topology.migrating[slot] = _master_named(cluster, argv[4], b"ERR I don't know about node %s")
    elif action == b"IMPORTING" and len(argv) == 5:
        if topology.owners[slot] is topology.myself:
            raise CommandError(b"ERR I'm already the owner of hash slot %d" % slot)
        topology.importing[slot] = _master_named(cluster, argv[4], b"ERR I don't know about node %s")
    elif action == b"NODE" and len(argv) == 5:
        _bind(ctx, cluster, slot, _master_named(cluster, argv[4], b"ERR Unknown node %s"))
    else:
        raise CommandError(SETSLOT_SYNTAX)
    topology.version += 1
    cluster.file.mark()
    cluster.settle(ctx.now_ms)
    return OK


def _master_named(cluster: Cluster, word: bytes, error: bytes) -> ClusterNode:
    node = cluster.topology.find(word.decode(errors="replace"))
    if node is None:
        raise CommandError(error % word)
    if node.is_replica:
        raise CommandError(b"ERR Target node is not a master")
    return node


def _bind(ctx: Session, cluster: Cluster, slot: int, node: ClusterNode) -> None:
    """End a move: the slot belongs to `node`. The new owner takes a new epoch, so that its claim wins."""
    topology = cluster.topology
    myself = topology.myself
    was_mine = topology.owners[slot] is myself
    keys = count_in_slot(ctx.state.keyspaces[0], slot)
    if was_mine and node is not myself and keys:
        raise CommandError(
            b"ERR Can't assign hashslot %d to a different node while I still hold keys for this hash slot."
            % slot
        )
    if not keys:
        topology.migrating.pop(slot, None)
    topology.set_owner(slot, node)
    if was_mine and node is not myself and not myself.slots:
        if ctx.state.config.cluster_allow_replica_migration:
            # Our last slot has left: be of use as a replica of who has it.
            cluster.roles.follow(node)
    elif node is myself and slot in topology.importing:
        del topology.importing[slot]
        cluster.claims.bump_epoch()
        cluster.gossip.announce(ctx.now_ms)


# Roles.


@command("CLUSTER REPLICATE", "node-id", group=CLUSTER, flags=CHANGES, since="3.0.0", complexity="O(1)",
         summary="Configure a node as replica of a master node.")  # fmt: skip
def replicate(ctx: Session, argv: list[bytes]) -> Reply:
    cluster = cluster_of(ctx)
    refuse_without_role(cluster)
    myself = cluster.topology.myself
    node = node_named(cluster, argv[2])
    if node is myself:
        raise CommandError(b"ERR Can't replicate myself")
    if node.is_replica:
        raise CommandError(b"ERR I can only replicate a master, not a replica.")
    if myself.is_master and (myself.slots or len(ctx.state.keyspaces[0])):
        raise CommandError(b"ERR To set a master the node must be empty and without assigned slots.")
    cluster.roles.follow(node)
    cluster.settle(ctx.now_ms)
    return OK


@command("CLUSTER FAILOVER", "[FORCE | TAKEOVER]", group=CLUSTER, flags=CHANGES, since="3.0.0",
         complexity="O(1)",
         summary="Forces a replica to perform a manual failover of its master.")  # fmt: skip
def failover(ctx: Session, argv: list[bytes]) -> Reply:
    cluster = cluster_of(ctx)
    way = argv[2].upper() if len(argv) == 3 else b""
    if len(argv) > 3 or way not in (b"", b"FORCE", b"TAKEOVER"):
        raise CommandError(b"ERR syntax error")
    refuse_without_role(cluster)
    myself = cluster.topology.myself
    master = myself.master
    if myself.is_master:
        raise CommandError(b"ERR You should send CLUSTER FAILOVER to a replica")
    if master is None:
        raise CommandError(b"ERR I'm a replica but my master is unknown to me")
    if not way and (master.is_failed or master.link is None):
        raise CommandError(b"ERR Master is down or failed, please use CLUSTER FAILOVER FORCE")
    if ctx.state.config.await_role and not ctx.state.replication.is_synced:
        raise CommandError(b"NOTSYNCED this replica has not completed a sync since it started")
    if way == b"TAKEOVER":
        cluster.handover.take_over()
    elif way == b"FORCE":
        cluster.handover.force(ctx.now_ms)
    else:
        cluster.handover.begin(ctx.now_ms)
    cluster.settle(ctx.now_ms)
    return OK


@command("CLUSTER RESET", "[HARD | SOFT]", group=CLUSTER, flags=ADMIN | STALE | NOSCRIPT, since="3.0.0",
         complexity="O(N) where N is the number of known nodes", summary="Resets a node.")  # fmt: skip
def reset(ctx: Session, argv: list[bytes]) -> Reply:
    cluster = cluster_of(ctx)
    if len(argv) > 3:
        raise wrong_number(argv)
    way = argv[2].upper() if len(argv) == 3 else b"SOFT"
    if way not in (b"HARD", b"SOFT"):
        raise CommandError(b"ERR syntax error")
    if cluster.topology.myself.is_master and len(ctx.state.keyspaces[0]):
        raise CommandError(b"ERR CLUSTER RESET can't be called with master nodes containing keys")
    cluster.reset(way == b"HARD", ctx.now_ms)
    return OK


# Epochs and the file.


@command("CLUSTER SET-CONFIG-EPOCH", "config-epoch:integer", group=CLUSTER, flags=CHANGES, since="3.0.0",
         complexity="O(1)", summary="Sets the configuration epoch for a new node.")  # fmt: skip
def set_config_epoch(ctx: Session, argv: list[bytes]) -> Reply:
    cluster = cluster_of(ctx)
    topology = cluster.topology
    epoch = integer(argv[2])
    if epoch < 0:
        raise CommandError(b"ERR Invalid config epoch specified: %d" % epoch)
    if len(topology.nodes) > 1:
        raise CommandError(
            b"ERR The user can assign a config epoch only when the node does not know any other node."
        )
    if topology.myself.config_epoch:
        raise CommandError(b"ERR Node config epoch is already non-zero")
    cluster.claims.take_epoch(epoch)
    cluster.settle(ctx.now_ms)
    return OK


@command("CLUSTER BUMPEPOCH", group=CLUSTER, flags=CHANGES, since="3.0.0", complexity="O(1)",
         summary="Advances the cluster config epoch.", tips=("nondeterministic_output",))  # fmt: skip
def bumpepoch(ctx: Session, argv: list[bytes]) -> Reply:
    cluster = cluster_of(ctx)
    is_bumped = cluster.claims.bump_epoch()
    cluster.settle(ctx.now_ms)
    word = b"BUMPED" if is_bumped else b"STILL"
    return SimpleString(b"%s %d" % (word, cluster.topology.myself.config_epoch))


@command("CLUSTER SAVECONFIG", group=CLUSTER, flags=CHANGES, since="3.0.0", complexity="O(1)",
         summary="Forces a node to save the cluster configuration to disk.")  # fmt: skip
def saveconfig(ctx: Session, argv: list[bytes]) -> Reply:
    cluster = cluster_of(ctx)
    cluster.file.mark(is_urgent=True)
    cluster.settle(ctx.now_ms)
    return OK
