"""How a granted migration ended: the one question that must not be answered by guessing.

After the grant the source (or whoever has succeeded it) neither serves nor claims the slots until one of two
things is certain. Either somebody of the target's shard owns them: told by the target, by its claim on the
bus, or by its answer to a question; then the keys here are leftovers. Or the target cannot come to own them
any more: the master of its shard says that it does not know the migration (a target that is asked while it
has not been granted anything gives it up first, and it reads no grant from a stream that has ended). Then the
slots are taken back, under a new config epoch, so that the record of the grant is void everywhere.

As long as neither is known clients are told CLUSTERDOWN. Asked every 300 ms on the client port, as
`confirmation.py` does. Driven by `migration.py`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from redoubt.cluster.inquiry import Inquirer, Inquiry
from redoubt.cluster.migration_job import range_words
from redoubt.cluster.routing import HELD_REFUSED
from redoubt.cluster.slot_grants import SlotGrant
from redoubt.cluster.slots import slots_of
from redoubt.cluster.topology import ClusterNode
from redoubt.resp.replies import Reply

if TYPE_CHECKING:
    from redoubt.cluster.cluster import Cluster

log = logging.getLogger("redoubt")

ASK_EVERY_MS: Final = 300
# While clients wait, the map is looked at this often.
LOOK_MS: Final = 5
# Commands on granted slots wait this long; then they are refused.
PATIENCE_MS: Final = 500
# A target that was frozen obeys no grant that is older than this; another one may not answer for it before.
GRANT_MS_MAX: Final = 3_000


class OpenGrant:
    """What is known of one grant whose outcome is open."""

    def __init__(self, since_ms: int) -> None:
        self.since_ms = since_ms
        self.asked_ms = 0
        self.is_refusing = False
        self.inquiries: list[Inquiry] = []
        # Masters that may have the slots and say that they know nothing of them.
        self.denials: set[str] = set()
        # The epoch under which the slots are taken back, as soon as our replicas know of it; 0: not decided.
        self.epoch = 0
        self.epoch_offset = 0
        self.epoch_told_ms = 0


class Outcome(Inquirer):
    """The grants of this node, until each is settled."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.state = cluster.state
        self.topology = cluster.topology
        self._open: dict[str, OpenGrant] = {}

    def tick(self, now_ms: int) -> None:
        """Look at the map, and ask who may know."""
        if (
            not self.topology.grants
            or not self.topology.myself.is_master
            or not self.cluster.role.is_assigned
        ):
            return
        for grant in list(self.topology.grants.values()):
            if self.has_arrived(grant):
                self._settle(grant, True, now_ms)
                continue
            opened = self._opened(grant, now_ms)
            if opened.epoch:
                self._take_back_if_so(grant, opened, now_ms)
                continue
            if not opened.is_refusing and now_ms - opened.since_ms >= PATIENCE_MS:
                opened.is_refusing = True
                self.cluster.routing.hold(grant.mask, HELD_REFUSED)
            if not self.cluster.migrations.is_linked(grant.name) and now_ms - opened.asked_ms >= ASK_EVERY_MS:
                self._ask(grant, opened, now_ms)

    def next_tick_ms(self) -> int:
        """Say when `tick` is wanted sooner than usual; 0: no wish."""
        now_ms = self.state.now_ms
        is_new = any(now_ms - opened.since_ms < PATIENCE_MS or opened.epoch for opened in self._open.values())
        return now_ms + LOOK_MS if is_new else 0

    def taken(self, name: str, owner_id: str, epoch: int, now_ms: int) -> None:
        """Take note that somebody owns the slots under this epoch, as he says himself."""
        grant = self.topology.grants.get(name)
        owner = self.topology.find(owner_id)
        if grant is None or owner is None or epoch <= grant.epoch:
            return
        self.topology.set_master(owner)
        owner.config_epoch = max(owner.config_epoch, epoch)
        self.topology.current_epoch = max(self.topology.current_epoch, epoch)
        self.cluster.claims.adopt(owner, epoch, owner.slots | grant.mask, now_ms)
        self.tick(now_ms)

    def _opened(self, grant: SlotGrant, now_ms: int) -> OpenGrant:
        opened = self._open.get(grant.name)
        if opened is None:
            opened = OpenGrant(now_ms)
            self._open[grant.name] = opened
        return opened

    def has_arrived(self, grant: SlotGrant) -> bool:
        """Say whether somebody else owns the slots."""
        for slot in slots_of(grant.mask):
            owner = self.topology.owners[slot]
            if owner is None or owner is self.topology.myself or owner.node_id == grant.source_id:
                return False
        return True

    # Asking.

    def _holders(self, grant: SlotGrant) -> list[ClusterNode]:
        """List the masters that may own the slots: of the target's shard, or all if that is not known."""
        target = self.topology.find(grant.target_id)
        masters = [
            node
            for node in self.topology.sorted_nodes()
            if node.is_master and node.is_known and node is not self.topology.myself
        ]
        if target is None:
            return [node for node in masters if not node.is_failed]
        shard = [node for node in masters if node is target or node.shard_id == target.shard_id != ""]
        alive = [node for node in shard if not node.is_failed]
        return alive or shard

    def _ask(self, grant: SlotGrant, opened: OpenGrant, now_ms: int) -> None:
        opened.asked_ms = now_ms
        for inquiry in opened.inquiries:
            inquiry.abandon()
        opened.inquiries = []
        argv = [b"CLUSTER", b"SYNCSLOTS", b"OUTCOME", grant.name.encode(), grant.source_id.encode()]
        for node in self._holders(grant):
            inquiry = Inquiry(self.state, self, node.node_id, [*argv, *range_words(grant.mask)], now_ms)
            opened.inquiries.append(inquiry)
            inquiry.begin(node.ip, node.plain_port or node.port)

    def answered(self, inquiry: Inquiry, reply: Reply, now_ms: int) -> None:
        """Take an answer: `taken <owner> <epoch>`, `open`, or `unknown`."""
        grant = self.topology.grants.get(inquiry.argv[3].decode())
        if grant is None or not isinstance(reply, list) or not reply:
            return
        if reply[0] == b"taken":
            self.taken(grant.name, bytes(reply[1]).decode(), int(reply[2]), now_ms)
        elif reply[0] == b"unknown":
            self._denied(grant, inquiry.node_id, now_ms)
        self.cluster.settle(now_ms)

    def _denied(self, grant: SlotGrant, node_id: str, now_ms: int) -> None:
        """Take the slots back once everybody who could have them says that he has not."""
        opened = self._opened(grant, now_ms)
        holders = self._holders(grant)
        if not any(node.node_id == node_id for node in holders):
            return
        if node_id != grant.target_id and now_ms - opened.since_ms < GRANT_MS_MAX:
            return
        opened.denials.add(node_id)
        if all(node.node_id in opened.denials for node in holders) and not opened.epoch:
            self._reserve_epoch(grant, opened, now_ms)
            self._take_back_if_so(grant, opened, now_ms)

    def _reserve_epoch(self, grant: SlotGrant, opened: OpenGrant, now_ms: int) -> None:
        opened.epoch = self.cluster.migrations.reserve_epoch(grant.epoch)
        opened.epoch_offset = self.state.replication.offset
        opened.epoch_told_ms = now_ms

    def _take_back_if_so(self, grant: SlotGrant, opened: OpenGrant, now_ms: int) -> None:
        """Take the slots back as soon as our replicas know under which epoch."""
        is_known = self.state.replication.is_acknowledged(opened.epoch_offset)
        if not is_known and now_ms - opened.epoch_told_ms < PATIENCE_MS:
            return
        if self.cluster.migrations.is_free(opened.epoch):
            self._settle(grant, False, now_ms)
        else:
            self._reserve_epoch(grant, opened, now_ms)

    # Settling.

    def forget(self) -> None:
        """Ask nothing any more: the grants were those of another cluster, or of another copy of the data."""
        for opened in self._open.values():
            for inquiry in opened.inquiries:
                inquiry.abandon()
        self._open = {}

    def _settle(self, grant: SlotGrant, has_arrived: bool, now_ms: int) -> None:
        """End a grant: what we still hold of the slots is a leftover, or ours again."""
        del self.topology.grants[grant.name]
        opened = self._open.pop(grant.name, None)
        epoch = 0 if opened is None else opened.epoch
        if opened is not None:
            for inquiry in opened.inquiries:
                inquiry.abandon()
        if not has_arrived:
            self._take_back(grant, epoch, now_ms)
        self.cluster.file.mark(is_urgent=True)
        self.cluster.routing.release(grant.mask)
        self.cluster.migrations.settled(grant, has_arrived, now_ms)

    def _take_back(self, grant: SlotGrant, epoch: int, now_ms: int) -> None:
        log.warning("Slot migration %s: the target does not know the slots, taking them back.", grant.name)
        topology = self.topology
        topology.set_owners(grant.mask, topology.myself)
        self.cluster.claims.take_epoch(epoch)
        self.cluster.gossip.announce(now_ms)
