"""Whether this node may run a command on these keys, and where the client should go instead.

For the common case, a key in a slot that this node serves without reservation, it is one array lookup:
`serves[slot]` is 1 only if the cluster's state is ok, the slot is ours and not moving. Everything else is
decided in Redis's order: different slots, state of the cluster, unowned slot, slot on the move, other
owner.

The dispatcher asks through `ClusterHook.refusal`; the cluster object calls `refresh` when the map or the
state changed. Source: "Redirection and resharding" in the Redis Cluster specification; the texts are
Redis's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.cluster.availability import Availability
from redoubt.cluster.slots import SLOTS, ranges_of, slots_of
from redoubt.cluster.topology import ClusterNode, Topology
from redoubt.commands import declare
from redoubt.resp.replies import NO_REPLY, ErrorReply, NoReply
from redoubt.state import ServerState

if TYPE_CHECKING:
    from redoubt.commands.declare import Row
    from redoubt.session import Session
    from redoubt.transaction import Transaction

CROSS_SLOT: Final = ErrorReply(b"CROSSSLOT Keys in request don't hash to the same slot")
TRY_AGAIN: Final = ErrorReply(b"TRYAGAIN Multiple keys request during rehashing of slot")
DOWN: Final = ErrorReply(b"CLUSTERDOWN The cluster is down")
DOWN_READ_ONLY: Final = ErrorReply(b"CLUSTERDOWN The cluster is down and only accepts read commands")
UNSERVED: Final = ErrorReply(b"CLUSTERDOWN Hash slot not served")
# How a slot is held while it changes its owner.
HELD_WRITES: Final = 1  # writes wait
HELD: Final = 2  # everything waits
HELD_REFUSED: Final = 3  # nobody knows for how long: refused, as for a slot without an owner


class Routing:
    """Decides where commands run."""

    def __init__(self, state: ServerState, topology: Topology, availability: Availability) -> None:
        self.state = state
        self.topology = topology
        self.availability = availability
        self.serves = bytearray(SLOTS)
        # Seam of managed mode: our slots stand in the map but are not served.
        self.is_held = False
        # Our slots that are changing their owner, and how they are held (HELD_*).
        self.held: dict[int, int] = {}

    def hold(self, mask: int, how: int) -> None:
        """Hold commands on these slots back from now on, or refuse them."""
        for slot in slots_of(mask):
            self.held[slot] = how
            self.serves[slot] = 0
        if how == HELD_REFUSED:
            self.state.blocking.retry_postponed()

    def release(self, mask: int) -> None:
        """Let what was held back try again: here, or it is moved."""
        for slot in slots_of(mask):
            self.held.pop(slot, None)
        self.refresh()
        self.state.blocking.retry_postponed()

    def refresh(self) -> None:
        """Rebuild the array from the map and the state."""
        serves = bytearray(SLOTS)
        if self.availability.is_ok and not self.is_held:
            for first, last in ranges_of(self.topology.myself.slots):
                serves[first : last + 1] = b"\x01" * (last - first + 1)
            for slot in self.topology.migrating:
                serves[slot] = 0
            for slot in self.held:
                serves[slot] = 0
        self.serves = serves
        if self.state.blocking.key_waits.waiting:
            self.redirect_waiters()

    def redirect_waiters(self) -> None:
        """Answer who waits for keys that this node does not serve any more; those of one share a slot."""
        topology = self.topology
        for ctx in self.state.blocking.key_waits.sessions():
            waiter = ctx.waiter
            if waiter is None or not waiter.keys:
                continue
            slot = ctx.db.slot_of(waiter.keys[0])
            owner = topology.owners[slot]
            is_reading = ctx.is_readonly and ctx.row is not None and ctx.row.flags & declare.READONLY
            is_ours = owner is topology.myself or (is_reading and topology.myself.master is owner)
            if not self.availability.is_ok:
                self.state.blocking.unblock(ctx, DOWN)
            elif owner is None:
                self.state.blocking.unblock(ctx, UNSERVED)
            elif not is_ours and slot not in topology.importing:
                self.state.blocking.unblock(ctx, self.moved(slot, owner))

    def release_all(self) -> None:
        """Hold nothing any more: this node is no master."""
        if self.held:
            self.held.clear()
            self.refresh()
            self.state.blocking.retry_postponed()

    def refusal(self, ctx: Session, row: Row, argv: list[bytes]) -> ErrorReply | NoReply | None:
        """Say why this command may not run here; None: it may; NO_REPLY: it waits."""
        if row.first_key == row.last_key and row.first_key and not row.flags & declare.MOVABLE_KEYS:
            slot = ctx.db.slot_of(argv[row.first_key])
            if self.serves[slot]:
                return None
            return self._judge(ctx, row, row.flags, slot, argv, [argv[row.first_key]])
        keys = declare.keys_of(row, argv, True)
        if not keys:
            return None
        slot = ctx.db.slot_of(keys[0])
        for key in keys:
            if ctx.db.slot_of(key) != slot:
                return CROSS_SLOT
        if self.serves[slot]:
            return None
        return self._judge(ctx, row, row.flags, slot, argv, keys)

    def refusal_of_transaction(
        self, ctx: Session, row: Row, argv: list[bytes], transaction: Transaction
    ) -> ErrorReply | NoReply | None:
        """Say why what MULTI has queued may not run here; the keys of all of it are judged together."""
        keys: list[bytes] = []
        for queued_row, queued in zip(transaction.rows, transaction.calls, strict=True):
            keys.extend(declare.keys_of(queued_row, queued, True) or [])
        if not keys:
            return None
        slot = ctx.db.slot_of(keys[0])
        for key in keys:
            if ctx.db.slot_of(key) != slot:
                return CROSS_SLOT
        if self.serves[slot]:
            return None
        return self._judge(ctx, row, transaction.flags, slot, argv, keys)

    def _judge(
        self, ctx: Session, row: Row, flags: int, slot: int, argv: list[bytes], keys: list[bytes]
    ) -> ErrorReply | NoReply | None:
        topology = self.topology
        owner = topology.owners[slot]
        has_keys = bool(flags & (declare.READONLY | declare.WRITE))
        is_channel = bool(flags & declare.PUBSUB) and not has_keys
        is_asking = ctx.is_asking or bool(flags & declare.ASKING)
        if owner is None:
            return UNSERVED if self.availability.is_ok else DOWN
        if not self.availability.is_ok:
            refusal = self._refusal_when_down(flags, is_channel)
            if refusal is not None:
                return refusal
        if owner is topology.myself and slot in self.held:
            return self._judge_held(ctx, flags, argv, self.held[slot])
        target = topology.migrating.get(slot)
        if owner is topology.myself and target is not None and not is_channel:
            return self._judge_leaving(ctx, row, slot, keys, target)
        if slot in topology.importing:
            if row.name == "migrate":
                return None  # keys of an open slot may be carried in either direction
            if is_asking:
                # One key, however often it is named, may be missing: the command says so, or makes it.
                is_several = keys.count(keys[0]) < len(keys)
                return TRY_AGAIN if is_several and self._missing(ctx, keys) else None
        if owner is topology.myself:
            return None
        is_reading = flags & declare.READONLY and not flags & declare.WRITE
        if topology.myself.master is owner and (is_channel or (ctx.is_readonly and is_reading)):
            return None
        return self.moved(slot, owner)

    def _judge_held(
        self, ctx: Session, flags: int, argv: list[bytes], how: int
    ) -> ErrorReply | NoReply | None:
        """Hold a command back whose slot is changing its owner, or refuse it."""
        if how == HELD_REFUSED:
            return UNSERVED
        if how == HELD_WRITES and not flags & (declare.WRITE | declare.MAY_REPLICATE):
            return None
        if not ctx.is_blocked:
            self.state.blocking.postpone(ctx, argv)
        return NO_REPLY

    def _refusal_when_down(self, flags: int, is_channel: bool) -> ErrorReply | None:
        if is_channel:
            return None if self.state.config.cluster_allow_pubsubshard_when_down else DOWN
        if not self.state.config.cluster_allow_reads_when_down:
            return DOWN
        return DOWN_READ_ONLY if flags & declare.WRITE else None

    def _judge_leaving(
        self, ctx: Session, row: Row, slot: int, keys: list[bytes], target: ClusterNode
    ) -> ErrorReply | None:
        """Judge a command on a slot that is leaving: keys still here run here, the rest there."""
        if row.name == "migrate":
            return None
        missing = self._missing(ctx, keys)
        if not missing:
            return None
        return TRY_AGAIN if missing < len(keys) else self._redirect(b"ASK", slot, target)

    def _missing(self, ctx: Session, keys: list[bytes]) -> int:
        """Count the keys that do not exist here."""
        return sum(1 for key in keys if ctx.db.peek(key, ctx.now_ms) is None)

    def moved(self, slot: int, owner: ClusterNode) -> ErrorReply:
        return self._redirect(b"MOVED", slot, owner)

    def _redirect(self, kind: bytes, slot: int, node: ClusterNode) -> ErrorReply:
        endpoint = preferred_endpoint(self.state, node)
        return ErrorReply(b"%s %d %s:%d" % (kind, slot, (endpoint or "").encode(), node.port))


def preferred_endpoint(state: ServerState, node: ClusterNode) -> str | None:
    """Name a node as clients should: by address, host name, or not at all (the one they are connected to)."""
    kind = state.config.cluster_preferred_endpoint_type
    if kind == "hostname":
        return node.hostname or "?"
    if kind == "unknown-endpoint":
        return None
    return node.ip
