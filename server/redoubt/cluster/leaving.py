"""A master hands its slots to a replica before it leaves: at SIGTERM, and on REDOUBT HANDOVER.

The best replica that stays is ordered to take over (`handover.py`); one that is a real Redis is asked on its
client port for what a person would ask it for, CLUSTER FAILOVER. Everything then is Redis's manual failover:
the master holds its writes, the replica catches up to the last byte and is elected, and what was held is
answered with MOVED. Nothing is lost and no client sees an error. Best means: in sync, not leaving itself (a
leaving node says so on the bus), and the furthest.

A handover that does not succeed in `ATTEMPT_MS` is tried with the next replica; at the deadline the master
gives up and keeps its slots. After the switch it lingers, so that clients learn the new owner by MOVED from
the connections that they have, and not by errors.

A pod takes its address with it, and nothing refuses a connection to an address that is gone: a client that
looks for the new map there waits for its own time limit, commonly 5 s. So whoever leaves a managed cluster,
as a replica, too, goes on answering for some seconds, while no CLUSTER SLOTS names it any more; unless it
keeps its data on disk (its volume is waited for) or everybody leaves. A replica waits for the next change of
its shard, since that is when clients look around; a former master for those of other shards in the same roll.

Called by `role.py` and `role_commands.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.blocking import Waiter
from redoubt.cluster.inquiry import Inquirer, Inquiry
from redoubt.cluster.topology import ClusterNode
from redoubt.resp.replies import OK, ErrorReply, Reply

if TYPE_CHECKING:
    from redoubt.cluster.cluster import Cluster
    from redoubt.session import Session

# An order that is obeyed takes two round trips and an election; after this the replica is not well.
ATTEMPT_MS: Final = 2_000
# How long a former master goes on answering MOVED before it exits.
LINGER_MS: Final = 300
# How long a pod goes on answering: as a former master, and as a replica, which may leave some time after its
# shard has got another master. A roll hands over a shard some 5 s after it has removed the replica.
MASTER_LINGER_MS: Final = 6_000
REPLICA_LINGER_MS: Final = 9_000
SUCCESSION_LINGER_MS: Final = 2_000
# A client that asked for a switchover waits this long at most.
HANDOVER_MS: Final = 10_000
NO_REPLICA: Final = ErrorReply(b"NOREPLICA no replica in sync can take over")
TIMED_OUT: Final = ErrorReply(b"TIMEOUT the replica did not take over in time")


class Leaving(Inquirer):
    """One handover under way, from the choice of a successor to the end of its lingering."""

    def __init__(self, cluster: Cluster, deadline_ms: int, wanted_id: str = "", exits: bool = False) -> None:
        self.cluster = cluster
        self.deadline_ms = deadline_ms
        self.wanted_id = wanted_id
        self.exits = exits  # the process ends afterwards
        self.tried: list[str] = []
        self.free_ms = 0  # since when it has no slots to hand over
        self._first_master = cluster.topology.myself.master
        self._succeeded_ms = 0  # when, as a replica, it got another master
        self._inquiry: Inquiry | None = None
        self._attempt_ms = 0

    @property
    def is_switched(self) -> bool:
        """True once another node has our slots."""
        return self.free_ms != 0 and bool(self.tried)

    def tick(self, now_ms: int) -> bool:
        """Go on; False as soon as there is nothing left to wait for."""
        if not self.free_ms and not self.cluster.topology.myself.is_voter:
            self._stop()
            self.free_ms = now_ms
        if self.free_ms:
            return now_ms < self._lingers_until_ms(now_ms)
        if now_ms >= self.deadline_ms:
            self._stop()
            return False
        if not self.tried or now_ms - self._attempt_ms >= ATTEMPT_MS:
            return self._try_next(now_ms)
        return True

    def _lingers_until_ms(self, now_ms: int) -> int:
        state = self.cluster.state
        keeps_data = state.persistence.saves_at_exit() or state.log.is_on
        is_pod = self.exits and state.config.await_role and not keeps_data
        if not is_pod or not self._is_survived():
            return self.free_ms + LINGER_MS if self.tried else 0
        if self.tried:
            return self.free_ms + MASTER_LINGER_MS
        if self._succeeded_ms == 0 and self.cluster.topology.myself.master is not self._first_master:
            self._succeeded_ms = now_ms
        until_ms = self.free_ms + REPLICA_LINGER_MS
        return min(until_ms, self._succeeded_ms + SUCCESSION_LINGER_MS) if self._succeeded_ms else until_ms

    def _is_survived(self) -> bool:
        """Say whether there is somebody of whom clients could learn here: a node in reach that stays."""
        topology = self.cluster.topology
        return any(
            node is not topology.myself
            and node.link is not None
            and node.link.is_connected
            and not node.is_failed
            and not node.is_terminating
            for node in topology.nodes.values()
        )

    def successor(self) -> ClusterNode | None:
        """Choose the best replica that stays and has not been tried."""
        candidates = [node for node in self.cluster.topology.myself.replicas if self._may_succeed(node)]
        return max(candidates, key=lambda node: (node.offset, node.node_id), default=None)

    def _may_succeed(self, node: ClusterNode) -> bool:
        if node.node_id in self.tried or (self.wanted_id and node.node_id != self.wanted_id):
            return False
        is_reachable = node.link is not None and node.link.is_connected and not node.is_suspected
        is_in_sync = node.is_synced or not node.is_redoubt
        return is_reachable and is_in_sync and not node.is_terminating

    def _try_next(self, now_ms: int) -> bool:
        self._stop()
        successor = self.successor()
        if successor is None:
            return False
        self.tried.append(successor.node_id)
        self._attempt_ms = now_ms
        if not self.cluster.handover.order(successor, now_ms):
            argv = [b"CLUSTER", b"FAILOVER"]
            self._inquiry = Inquiry(self.cluster.state, self, successor.node_id, argv, now_ms)
            self._inquiry.begin(successor.ip, successor.plain_port or successor.port)
        return True

    def _stop(self) -> None:
        if self._inquiry is not None:
            self._inquiry.abandon()
            self._inquiry = None

    def answered(self, inquiry: Inquiry, reply: Reply, now_ms: int) -> None:
        """OK means: the election has begun. A refusal sends us to the next replica."""
        if isinstance(reply, ErrorReply):
            self._attempt_ms = now_ms - ATTEMPT_MS

    def unanswered(self, inquiry: Inquiry, now_ms: int) -> None:
        """Turn to the next replica at the next tick."""
        self._attempt_ms = now_ms - ATTEMPT_MS


class Switchover(Waiter):
    """A client that has asked for a handover and waits for its outcome."""

    def __init__(self, ctx: Session, leaving: Leaving) -> None:
        super().__init__(0)
        self.ctx = ctx
        self.leaving = leaving
        self.is_abandoned = False
        ctx.state.blocking.block(ctx, self)

    def abandoned(self, ctx: Session) -> None:
        """Go on without the client: what it asked for is under way."""
        self.is_abandoned = True

    def tick(self, now_ms: int) -> bool:
        """Go on; answer the client and return False when it is over."""
        if self.leaving.tick(now_ms) and not self.leaving.is_switched:
            return True
        if not self.is_abandoned and self.ctx.waiter is self:
            self.ctx.state.blocking.unblock(self.ctx, outcome(self.leaving))
        return False


def outcome(leaving: Leaving) -> Reply:
    """Return the reply for a handover that is over."""
    if leaving.is_switched:
        return OK
    return TIMED_OUT if leaving.tried else NO_REPLICA
