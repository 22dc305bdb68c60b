"""One node's part in the cluster: puts the parts together, hands them what the bus brings, and the time.

    bus -> packet() -> membership, failures, claims, election, voting, handover
    tick() -> gossip (pings), failures (silence), majority, handover, election, managed role
    settle() after either -> state of the cluster, routing array, nodes.conf

The order within `packet` is that of Redis: first what a header proves about its sender (alive, epochs,
offset), then the answer to a ping, then identity, role and slots, then third nodes. `settle` comes once
after each event, so a decision is on disk (SaveFile of the same turn) before what follows from it is sent.

The node calls this through `ClusterHook`; commands of the cluster and the managed role use its parts. It
decides nothing that a part can decide. Source: the Redis Cluster specification.
"""

from __future__ import annotations

from typing import Final

from redoubt.cluster import messages, nodes_conf
from redoubt.cluster import topology as flag
from redoubt.cluster.availability import Availability
from redoubt.cluster.bus import Bus
from redoubt.cluster.claims import SlotClaims
from redoubt.cluster.config_file import ConfigFile
from redoubt.cluster.election import Election
from redoubt.cluster.events import ClusterEvents, VerdictListener
from redoubt.cluster.failures import FailureDetector
from redoubt.cluster.gossip import Gossip
from redoubt.cluster.handover import Handover
from redoubt.cluster.majority import MajorityWatch
from redoubt.cluster.membership import Membership
from redoubt.cluster.migration import Migrations
from redoubt.cluster.role import ManagedRole
from redoubt.cluster.roles import Roles
from redoubt.cluster.routing import Routing
from redoubt.cluster.slot_sweeper import SlotSweeper
from redoubt.cluster.slot_usage import SlotUsage
from redoubt.cluster.slots import ALL_SLOTS, key_slot
from redoubt.cluster.topology import ClusterNode, Topology, new_id
from redoubt.cluster.voting import Voter
from redoubt.commands.declare import WRITE, Row
from redoubt.hooks import ClusterHook
from redoubt.interfaces import LISTEN_BUS, Link, OpenListener
from redoubt.resp.replies import NO_REPLY, Reply
from redoubt.session import GATE_CLUSTER, GATE_LOADING, Session
from redoubt.state import ServerState
from redoubt.transaction import Transaction

BUS_PORT_OFFSET: Final = 10_000
# The directives that say what a node tells others about itself.
ANNOUNCED: Final = (
    "cluster-announce-ip",
    "cluster-announce-port",
    "cluster-announce-bus-port",
    "cluster-announce-hostname",
    "cluster-announce-human-nodename",
)


class Cluster(ClusterHook):
    """The cluster as this node sees it."""

    def __init__(self, state: ServerState, config_text: bytes, now_ms: int) -> None:
        """Read nodes.conf (empty: a new node); raises CorruptNodes if it contradicts itself."""
        self.state = state
        self.topology = boot_topology(state, config_text, now_ms)
        self.events = ClusterEvents(self)
        self.bus = Bus(state, self.topology, self.events)
        self.file = ConfigFile(state, self.bus)
        self.gossip = Gossip(state, self.topology, self.bus)
        self.failures = FailureDetector(
            state, self.topology, self.bus, self.gossip, self.file, VerdictListener(self)
        )
        self.membership = Membership(state, self.topology, self.bus, self.file, self.failures)
        self.roles = Roles(state, self.topology, self.bus, self.file)
        sweeper = SlotSweeper(state, self.topology)
        self.claims = SlotClaims(state, self.topology, self.bus, self.file, self.roles, sweeper)
        self.voter = Voter(state, self.topology, self.bus, self.file)
        self.election = Election(
            state, self.topology, self.bus, self.file, self.gossip, self.claims, self.roles
        )
        self.handover = Handover(state, self.topology, self.bus, self.gossip, self.claims, self.election)
        self.watch = MajorityWatch(state, self.topology, self.gossip, now_ms)
        self.availability = Availability(state, self.topology, self.bus, self.watch, now_ms)
        self.routing = Routing(state, self.topology, self.availability)
        self.usage = SlotUsage(state)
        self.role = ManagedRole(self)
        self.migrations = Migrations(self, sweeper)
        self._routed = (-1, False, False)
        self._seen_changes = 0
        self._was_synced = False

    # Facts.

    @property
    def is_loading(self) -> bool:
        return self.state.gates & GATE_LOADING != 0

    @property
    def is_terminating(self) -> bool:
        return self.bus.mark_flags & messages.MARK_TERMINATING != 0

    # ClusterHook.

    def start(self, now_ms: int) -> None:
        """Take the announced address, choose the first role, open the bus, raise the gate of routing."""
        self.state.set_gate(GATE_CLUSTER, True)
        self.announce_self()
        for name in ANNOUNCED:
            self.state.config.on_change(name, self.announce_self)
        self.usage.start()
        self.role.boot(now_ms)
        self.migrations.boot(now_ms)
        if self.topology.myself.is_voter and self.role.is_assigned and self.topology.quorum() > 1:
            self.watch.doubt(now_ms)
        if self.role.may_listen():
            self.open_bus()
        self.roles.align()
        self.file.mark(is_urgent=True)
        self.settle(now_ms)

    def accepted(self, peer: str, local: str, now_ms: int) -> Link:
        return self.bus.accepted(peer, local, now_ms)

    def refusal(self, ctx: Session, row: Row, argv: list[bytes]) -> Reply:
        """Route a command; a write that comes after the majority's deadline is held back.

        The tick that moves the deadline may be late exactly when it matters: after the process stood still.
        """
        if self.state.now_ms > self.watch.deadline_ms and row.flags & WRITE:
            refusal = self.routing.refusal(ctx, row, argv)
            if refusal is None and self.watch.doubt_if_late(self.state.now_ms) and not ctx.is_blocked:
                self.state.blocking.postpone(ctx, argv)
                return NO_REPLY
            return refusal
        return self.routing.refusal(ctx, row, argv)

    def redirect_waiters(self) -> None:
        """Tell who waits for keys where they are now, if that is no longer here."""
        self.routing.redirect_waiters()

    def refusal_of_transaction(
        self, ctx: Session, row: Row, argv: list[bytes], transaction: Transaction
    ) -> Reply:
        """Route what MULTI has queued, as a whole, with the care of `refusal` for its writes."""
        refusal = self.routing.refusal_of_transaction(ctx, row, argv, transaction)
        is_late = self.state.now_ms > self.watch.deadline_ms and bool(transaction.flags & WRITE)
        if refusal is None and is_late and self.watch.doubt_if_late(self.state.now_ms) and not ctx.is_blocked:
            self.state.blocking.postpone(ctx, argv)
            return NO_REPLY
        return refusal

    def may_full_sync(self, replid: str, replid2: str, offset: int) -> bool:
        return self.role.may_full_sync(replid, replid2)

    def link_bytes(self) -> int:
        return self.bus.buffered_bytes()

    def holds_history(self) -> bool:
        return self.handover.successor is not None

    def is_changing_owner(self, key: bytes) -> bool:
        return key_slot(key) in self.routing.held

    def slot_import_closed(self, ctx: Session) -> None:
        self.migrations.stream_closed(ctx, self.state.now_ms)
        self.settle(self.state.now_ms)

    def is_importing(self) -> bool:
        return bool(self.migrations.imports)

    def full_copy_begins(self, now_ms: int) -> None:
        self.migrations.full_copy_begins(now_ms)

    def full_copy_installed(self) -> None:
        self.migrations.full_copy_installed(self.state.now_ms)
        self.settle(self.state.now_ms)

    def leave(self, now_ms: int, deadline_ms: int) -> bool:
        is_busy = self.role.leave(now_ms, deadline_ms)
        self.settle(now_ms)
        return is_busy

    def master_link_ended(self, now_ms: int) -> None:
        self.election.tick_if_comparing(now_ms)
        self.settle(now_ms)

    def history_applied(self, now_ms: int) -> None:
        if not self._was_synced:
            self._tell_synced(now_ms)
        if self.handover.final_offset >= 0:
            self.handover.check_offset(now_ms)
            self.settle(now_ms)

    def tick(self, now_ms: int) -> None:
        """Do what time demands; called every 100 ms, sooner if `next_tick_ms` asks."""
        if self.watch.stood_still(now_ms):
            self._forgive_silence(now_ms)
        self.watch.ticked(now_ms)
        self.membership.expire_handshakes(now_ms)
        self.bus.expire_strangers(now_ms)
        self.bus.limit_buffers()
        self.gossip.tick(now_ms)
        self.failures.watch_silence(now_ms)
        if self.role.is_assigned:
            self.watch.tick(now_ms)
        self._bar_failover()
        self.handover.tick(now_ms)
        self.election.tick(now_ms)
        self.role.tick(now_ms)
        if self.role.is_assigned:
            self.roles.align()
        self.availability.update(now_ms)
        self.migrations.tick(now_ms)
        self.settle(now_ms)

    def next_tick_ms(self) -> int:
        wishes = [
            self.migrations.next_tick_ms(self.state.now_ms),
            self.election.next_tick_ms(),
            self.handover.next_tick_ms(self.state.now_ms),
        ]
        return min([wish for wish in wishes if wish > 0], default=0)

    def _forgive_silence(self, now_ms: int) -> None:
        """After our own loop stood still, give everybody time to answer before they count as silent."""
        for node in self.topology.nodes.values():
            if node.ping_sent_ms:
                node.ping_sent_ms = now_ms

    def _bar_failover(self) -> None:
        """Say on the bus and to the election whether this replica may succeed its master by itself."""
        bar = ""
        if self.is_terminating:
            bar = "this node is about to exit"
        elif self.state.config.await_role and not self.state.replication.is_synced:
            bar = "its copy is not complete"
        if not self.state.replication.is_synced:
            self._was_synced = False
        self.election.bar = bar
        myself = self.topology.myself
        is_barred = bool(bar) or self.state.config.cluster_replica_no_failover
        if is_barred != bool(myself.flags & flag.NOFAILOVER):
            myself.flags ^= flag.NOFAILOVER
            self.file.mark()

    def _tell_synced(self, now_ms: int) -> None:
        """Let everybody know at once that our copy is complete: a master that leaves chooses by it."""
        self._was_synced = self.state.replication.is_synced
        if self._was_synced and self.topology.myself.is_replica:
            self._bar_failover()
            self.gossip.announce(now_ms)

    # Settling.

    def settle(self, now_ms: int) -> None:
        """Draw the consequences of what has changed: role, state, routing, file."""
        if self.roles.changes != self._seen_changes:
            self._seen_changes = self.roles.changes
            self.handover.cancel()
            # A candidacy is for the slots of one master; its epoch must not be used for another's.
            self.election.stop()
            self._was_synced = False
            self.migrations.role_changed(now_ms)
            self.voter.role_changed(now_ms)
            if self.topology.myself.is_replica:
                self.watch.trust()
            # Everybody hears of it now: who does not know whose replica this is could not elect it.
            self.gossip.announce(now_ms)
        self.availability.update(now_ms)
        if not self.availability.is_ok:
            self.watch.release()
        self._refresh_routing()
        self.file.flush()

    def _refresh_routing(self) -> None:
        """Rebuild what routing reads if the map, the state or the managed role has changed."""
        is_ok = self.availability.is_ok
        is_held = not self.role.is_assigned
        self.bus.hides_slots = is_held
        seen = (self.topology.version, is_ok, is_held)
        if seen != self._routed:
            self._routed = seen
            self.routing.is_held = is_held
            self.routing.refresh()
            owned = self.topology.owned_by_shard()
            self.usage.follow(owned)
            self.state.pubsub.keep_slots(owned)

    # Own address.

    def announce_self(self) -> str:
        """Take the announced address, ports and names from the configuration."""
        config = self.state.config
        myself = self.topology.myself
        if config.cluster_announce_ip:
            myself.ip = config.cluster_announce_ip
        myself.port = config.cluster_announce_port or config.port
        own_bus_port = config.cluster_port or config.port + BUS_PORT_OFFSET
        myself.bus_port = config.cluster_announce_bus_port or own_bus_port
        myself.hostname = config.cluster_announce_hostname
        myself.human_name = config.cluster_announce_human_nodename
        self.file.mark()
        return ""

    def open_bus(self) -> None:
        """Accept streams of other nodes from now on."""
        self.state.effects.append(OpenListener(LISTEN_BUS))

    def reset(self, is_hard: bool, now_ms: int) -> None:
        """Forget the cluster (CLUSTER RESET); hard: the own id and the epochs, too."""
        topology = self.topology
        myself = topology.myself
        self.handover.cancel()
        self.election.stop()
        if myself.is_replica:
            self.roles.lead()
            self.state.keyspaces[0].flush()
        self.migrations.reset(now_ms)
        topology.migrating.clear()
        topology.importing.clear()
        topology.set_owners(ALL_SLOTS, None)
        for node in list(topology.nodes.values()):
            if node is not myself:
                self.membership.remove(node)
        self.roles.found_shard()
        if is_hard:
            topology.current_epoch = 0
            topology.last_vote_epoch = 0
            myself.config_epoch = 0
            topology.rename(myself, new_id(self.state.random))
        self.file.mark(is_urgent=True)
        self.settle(now_ms)

    # Publications.

    def publish(self, channel: bytes, payload: bytes, is_sharded: bool, now_ms: int) -> None:
        """Send a publication to every node, or to those of this shard."""
        message = self.bus.header(messages.PUBLISH_SHARD if is_sharded else messages.PUBLISH)
        message.channel = channel
        message.payload = payload
        if not is_sharded:
            self.bus.broadcast(message, now_ms)
            return
        myself = self.topology.myself
        for node in self.topology.sorted_nodes():
            if node is not myself and self.topology.is_same_shard(node, myself):
                self.bus.send_to(node, message, now_ms)


def boot_topology(state: ServerState, config_text: bytes, now_ms: int) -> Topology:
    """Make the map of a starting node: from its file, or of itself alone under a new id."""
    if config_text:
        topology = nodes_conf.parse(config_text.decode(errors="replace"), now_ms)
        # A node that yielded when it ended counted itself as failed; a new process judges anew.
        topology.myself.flags &= ~(flag.PFAIL | flag.FAILED)
    else:
        topology = Topology(ClusterNode(new_id(state.random), flag.MYSELF | flag.MASTER, now_ms))
    if not topology.myself.shard_id:
        topology.myself.shard_id = new_id(state.random)
    return topology
