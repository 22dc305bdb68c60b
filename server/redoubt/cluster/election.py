"""How this node, as a replica, takes over from a failed master: siblings compared, votes asked, slots taken.

    idle -> comparing -> waiting -> asking -> (majority) promoted
      ^                               |
      +-------- retry time over ------+

Redis lets a candidate wait 500 to 1,000 ms, plus a second for every sibling with newer data, and asks each
voter once in an epoch that lasts four node timeouts. Here a candidate pings its siblings and compares offsets
for 100 ms at most (their PONGs take one round trip); the one with the newest data asks at once, the next a
step later, and silent siblings delay nobody. It repeats its request every 100 ms in the same epoch to whoever
has not answered. Without a majority after 500 ms a new epoch begins, if the Redoubt nodes among the voters
could give a majority alone: real Redis voters pause two node timeouts between votes, with them Redis's
own patience applies. A manual failover by force joins an election under way in its epoch.

Each voter is counted once. The cluster object calls `tick` and brings the answers; `voting.py` is the other
side. Source: the Redis Cluster specification, "Replica election and promotion".
"""

from __future__ import annotations

import logging
from typing import Final

from redoubt.cluster import messages
from redoubt.cluster import topology as flag
from redoubt.cluster.bus import Bus
from redoubt.cluster.claims import SlotClaims
from redoubt.cluster.config_file import ConfigFile
from redoubt.cluster.gossip import Gossip
from redoubt.cluster.messages import Message
from redoubt.cluster.roles import Roles
from redoubt.cluster.topology import ClusterNode, Topology
from redoubt.state import ServerState

IDLE: Final = 0
COMPARING: Final = 1  # siblings were pinged for their offsets
WAITING: Final = 2  # siblings with newer data go first
ASKING: Final = 3  # votes were requested

COMPARE_MS_MAX: Final = 100
# The end of the master's stream comes without a message of the bus: look this often meanwhile.
LOOK_MS: Final = 10
RANK_STEP_MS: Final = 500
REPEAT_MS: Final = 100
RETRY_MS: Final = 500
# Who shares its epoch with candidates of other shards asks anew so much later, and again for each before it.
RIVAL_STEP_MS: Final = 40
# Redis: four node timeouts, two seconds each at least.
REDIS_RETRY_TIMEOUTS: Final = 4
REDIS_RETRY_MS_MIN: Final = 4_000
log = logging.getLogger("redoubt")


class Election:
    """This node's candidacy."""

    def __init__(
        self,
        state: ServerState,
        topology: Topology,
        bus: Bus,
        file: ConfigFile,
        gossip: Gossip,
        claims: SlotClaims,
        roles: Roles,
    ) -> None:
        self.state = state
        self.topology = topology
        self.bus = bus
        self.file = file
        self.gossip = gossip
        self.claims = claims
        self.roles = roles
        self.phase = IDLE
        self.epoch = 0
        self.rank = 0
        self.votes: list[str] = []  # ids of the voters that said yes
        self.rivals: list[str] = []  # ids of candidates of other shards that ask in our epoch, or a later one
        # Set by a manual failover whose master stands by (or by FORCE): ask although it has not failed.
        self.is_forced = False
        # Seam of managed mode: why this node must not stand for election by itself; empty: it may.
        self.bar = ""
        # Why no election is held though the master has failed, for INFO and logs.
        self.refusal = ""
        self.elections_held = 0
        self._since_ms = 0  # when the phase began
        self._asked_ms = 0  # when the last request went out
        self._looked_ms = 0  # when `tick` last looked whether everything has been compared

    def tick(self, now_ms: int) -> None:
        """Go on with the election that is due or under way."""
        if not self._is_due(now_ms):
            self.stop()
            return
        self._looked_ms = now_ms
        if self.phase == IDLE:
            self._compare(now_ms)
        if self.phase == COMPARING and self._is_compared(now_ms):
            self._enter(WAITING, now_ms)
            self.rank = 0 if self.is_forced else self._rank()
        if self.phase == WAITING and now_ms - self._since_ms >= self.rank * RANK_STEP_MS:
            self._begin(now_ms)
        elif self.phase == ASKING:
            self._go_on(now_ms)

    def tick_if_comparing(self, now_ms: int) -> None:
        """Look whether the last sibling has answered, without waiting for the next tick."""
        if self.phase == COMPARING:
            self.tick(now_ms)

    def next_tick_ms(self) -> int:
        """Say when `tick` is wanted sooner than usual; 0: no wish."""
        if self.phase == COMPARING:
            return min(self._looked_ms + LOOK_MS, self._since_ms + COMPARE_MS_MAX)
        if self.phase == WAITING:
            return self._since_ms + self.rank * RANK_STEP_MS
        if self.phase == ASKING:
            return min(self._asked_ms + REPEAT_MS, self._since_ms + self._retry_ms())
        return 0

    def stop(self) -> None:
        """Give up; a vote that arrives later finds nobody."""
        self.phase = IDLE
        self.votes = []

    def _enter(self, phase: int, now_ms: int) -> None:
        self.phase = phase
        self._since_ms = now_ms

    # Whether.

    def _is_due(self, now_ms: int) -> bool:
        """Say whether this node should take over now."""
        myself = self.topology.myself
        master = myself.master
        if not myself.is_replica or master is None or not master.slots or not master.is_failed:
            self.refusal = ""
            return self.is_forced and master is not None and master.slots != 0
        if self.is_forced:
            return True
        objection = self._objection(now_ms)
        if objection and objection != self.refusal:
            log.warning("Currently unable to failover: %s", objection)
        self.refusal = objection
        return not objection

    def _objection(self, now_ms: int) -> str:
        config = self.state.config
        if config.cluster_replica_no_failover:
            return "cluster-replica-no-failover is set"
        if self.bar:
            return self.bar
        factor = config.cluster_replica_validity_factor
        if not factor:
            return ""
        replication = self.state.replication
        age_ms = 0 if replication.link_is_up else now_ms - replication.link_down_since_ms
        # The time that the failure took to be noticed is nobody's fault.
        age_ms -= config.cluster_node_timeout
        limit_ms = config.repl_ping_replica_period * 1000 + config.cluster_node_timeout * factor
        return "the data are too old (cluster-replica-validity-factor)" if age_ms > limit_ms else ""

    # Comparing.

    def _siblings(self) -> list[ClusterNode]:
        """List the other replicas that could take over, too."""
        master = self.topology.myself.master
        if master is None:
            return []
        myself = self.topology.myself
        return [
            node
            for node in master.replicas
            if node is not myself and not node.is_suspected and not node.flags & flag.NOFAILOVER
        ]

    def _compare(self, now_ms: int) -> None:
        self._enter(COMPARING, now_ms)
        for sibling in self._siblings():
            self.gossip.ping(sibling, now_ms)

    def _is_compared(self, now_ms: int) -> bool:
        if now_ms - self._since_ms >= COMPARE_MS_MAX:
            return True
        if self.state.replication.link_is_up and self._has_died():
            return False
        if self.is_forced:
            return True
        return all(sibling.answered_ms >= self._since_ms for sibling in self._siblings())

    def _has_died(self) -> bool:
        """Say whether our master counts as dead.

        If its process is gone, its stream to us ends at once, behind what its kernel had still taken from
        it: acknowledged writes among it. We read to that end before we take over.
        """
        master = self.topology.myself.master
        return master is not None and master.is_suspected

    def _rank(self) -> int:
        """Count the siblings that have answered and go first: newer data, or equal data and a smaller id.

        A real Redis sibling waits half a second by itself; it never holds us up.
        """
        offset = self.state.replication.offset
        node_id = self.topology.myself.node_id
        rank = 0
        for sibling in self._siblings():
            if sibling.answered_ms < self._since_ms or sibling.is_terminating:
                continue
            is_equal = sibling.offset == offset
            if sibling.offset > offset or (is_equal and sibling.is_redoubt and sibling.node_id < node_id):
                rank += 1
        return rank

    # Asking.

    def _begin(self, now_ms: int) -> None:
        """Begin a new epoch and ask everybody; only masters with slots will answer."""
        self._enter(ASKING, now_ms)
        self.topology.current_epoch += 1
        self.epoch = self.topology.current_epoch
        self.votes = []
        self.rivals = []
        self.elections_held += 1
        # Need not be synced: should this node forget the epoch, its voters do not.
        log.warning("Starting a failover election for epoch %d.", self.epoch)
        self.file.mark()
        self._asked_ms = now_ms
        self.bus.broadcast(self._request(), now_ms)

    def _request(self) -> Message:
        message = self.bus.header(messages.AUTH_REQUEST)
        # The epoch of this election, also if a higher one has been heard of since.
        message.current_epoch = self.epoch
        if self.is_forced:
            message.mflags |= messages.FORCE_ACK
        return message

    def _go_on(self, now_ms: int) -> None:
        """Repeat the request to those who have not answered, or try again in a new epoch."""
        if now_ms - self._since_ms >= self._retry_ms():
            self._compare(now_ms)
        elif now_ms - self._asked_ms >= REPEAT_MS:
            self.ask_again(now_ms)

    def ask_again(self, now_ms: int) -> None:
        """Repeat the request in its epoch."""
        self._asked_ms = now_ms
        for voter in self.topology.voters():
            if voter.node_id not in self.votes:
                self.bus.send_to(voter, self._request(), now_ms)

    def heard_rival(self, rival: ClusterNode, epoch: int) -> None:
        """Take note of another shard's candidate: a voter has one vote in our epoch, none after it."""
        is_rival = self.phase == ASKING and epoch >= self.epoch and rival.node_id not in self.rivals
        if is_rival and rival.master is not self.topology.myself.master:
            self.rivals.append(rival.node_id)

    def _retry_ms(self) -> int:
        willing = [voter for voter in self.topology.voters() if voter.is_redoubt and not voter.is_suspected]
        if len(willing) >= self.topology.quorum():
            if not self.rivals:
                return RETRY_MS
            before = [rival for rival in self.rivals if rival < self.topology.myself.node_id]
            return min(RIVAL_STEP_MS * (1 + len(before)), RETRY_MS)
        return max(self.state.config.cluster_node_timeout * REDIS_RETRY_TIMEOUTS, REDIS_RETRY_MS_MIN)

    # Winning.

    def voted(self, voter: ClusterNode, message: Message, now_ms: int) -> None:
        """Count a vote; the majority promotes us.

        A vote that is read after the election's time counts no more: this process may have been frozen since
        it asked, and its master, which had time to return, may have taken writes.
        """
        if self.phase != ASKING or not voter.is_voter or message.current_epoch < self.epoch:
            return
        if now_ms - self._since_ms >= self._retry_ms():
            return
        if voter.node_id not in self.votes:
            self.votes.append(voter.node_id)
        # Who has lost its slots since is no voter any more: its successor may vote, and a shard has one vote.
        if sum(one.node_id in self.votes for one in self.topology.voters()) >= self.topology.quorum():
            log.warning("Failover election won: I'm the new master.")
            self.promote(self.epoch)

    def promote(self, epoch: int) -> None:
        """Take the master's slots under this epoch; everybody is told when the cluster object settles."""
        topology = self.topology
        myself = topology.myself
        master = myself.master
        self.stop()
        # Slots that our master gave away are not ours to claim: see `migration_outcome`.
        slots = master.slots & ~topology.granted() if master is not None else 0
        self.roles.lead()
        topology.set_owners(slots, myself)
        self.claims.take_epoch(max(epoch, myself.config_epoch))
