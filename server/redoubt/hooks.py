"""What lower layers may ask of the dispatcher, the replication and the cluster without importing them.

Commands, persistence and sessions stand below these parts; they reach them through the abstract classes of
this module, which the parts subclass. One implementation each exists in the product; the tests may bring
their own. Nothing here decides anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from redoubt.interfaces import LinkOwner

if TYPE_CHECKING:
    from redoubt.commands.declare import Row
    from redoubt.resp.replies import ErrorReply, Reply
    from redoubt.session import Session


class Dispatcher(LinkOwner):
    """Runs commands. The one implementation is `redoubt.dispatch`."""

    def execute(self, ctx: Session, argv: list[bytes]) -> Reply:
        """Run one command with every check and propagate what it changed; the reply is not sent."""
        raise AssertionError

    def drain(self, ctx: Session) -> None:
        """Parse and run what stands in the session's buffer until it is empty or the session blocks."""
        raise AssertionError


class ReplicationHook:
    """The replication of this server, as commands, dispatch and cluster see it."""

    def __init__(self) -> None:
        self.replid = ""  # 40 hex digits: the history that `offset` counts in
        self.replid2 = "0" * 40  # the history before the last promotion, valid up to offset2
        self.offset = 0  # bytes of history that this server has produced or applied
        self.offset2 = -1
        self.is_replica = False
        # As a replica: a sync has completed since the start and none is under way. True for a master.
        self.is_synced = True
        # As a replica: the link to the master is up and past its sync.
        self.link_is_up = False
        self.link_down_since_ms = 0
        # The config epoch under which the data were written (0 outside cluster mode); travels with them.
        self.data_epoch = 0
        # True while write commands must be fed (a backlog exists): one test on the hot path.
        self.is_feeding = False

    def feed(self, database: int, argv: list[bytes]) -> None:
        """Append one effective write to the backlog and to every replica's link."""
        raise AssertionError

    def follow(self, host: str, port: int, now_ms: int) -> None:
        """Become the replica of host:port, keeping our history for a partial resync where it allows."""
        raise AssertionError

    def lead(self, now_ms: int) -> None:
        """Become a master: the old replid moves to replid2, a new one is drawn; replicas stay."""
        raise AssertionError

    def tick(self, now_ms: int) -> None:
        """Ping, acknowledge, time out, feed full syncs."""

    def replica_count(self) -> int:
        """Count the replicas that are online."""
        return 0

    def unsent_bytes(self) -> int:
        """Sum what the links of online replicas hold unsent."""
        return 0


class ClusterHook:
    """The cluster of this server, as dispatch and commands see it; None in ServerState when disabled."""

    def refusal(self, ctx: Session, row: Row, argv: list[bytes]) -> ErrorReply | None:
        """Say why this command may not run here (MOVED, ASK, CROSSSLOT, CLUSTERDOWN), or None."""
        raise AssertionError

    def may_full_sync(self, replid: str, offset: int) -> bool:
        """Say whether, as a replica, we accept the full sync our master offers with this new history."""
        return True

    def tick(self, now_ms: int) -> None:
        """Gossip, detect failures, hold elections."""
