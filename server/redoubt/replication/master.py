"""The master's half of replication: the replicas, what they are sent, what they have acknowledged.

A replica introduces itself by REPLCONF and asks by PSYNC for the history after the last byte that it has. If
our backlog has that byte it is online at once; otherwise it gets a full sync. Replicas that ask within
repl-diskless-sync-delay share one; with a delay of 0 each begins its own, at once.

Every chunk of history is handed over as one immutable object: to the backlog, to the links of replicas that
are online, and to the queues of those whose full sync is under way. Replicas acknowledge once a second and
when asked (GETACK); acknowledgements answer WAIT and decide how many good replicas there are
(min-replicas-to-write).

Part of `redoubt.replication.roles`, which owns the history itself; a replica has this half, too, for its own
replicas. Source: the replication page of the Redis documentation, Redis `src/replication.c`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from redoubt.blocking import Waiter
from redoubt.replication.full_sync import FullSync
from redoubt.replication.peer import ONLINE, SENDING, WAITING, Peer, silent_ms
from redoubt.replication.sync_memory import SyncMemory
from redoubt.resp.replies import Reply
from redoubt.session import Session

if TYPE_CHECKING:
    from redoubt.replication.roles import Replication

log = logging.getLogger("redoubt")

# Keeps a waiting replica from timing out; it skips empty lines.
KEEPALIVE: Final = b"\n"
KEEPALIVE_MS: Final = 1000


class WaitForReplicas(Waiter):
    """One WAIT: so many replicas must have acknowledged everything up to `offset`."""

    def __init__(self, deadline_ms: int, master: Master, ctx: Session, count: int, offset: int) -> None:
        super().__init__(deadline_ms)
        self.master = master
        self.ctx = ctx
        self.count = count
        self.offset = offset

    def is_met(self) -> bool:
        """Say whether enough have acknowledged."""
        return self.master.acknowledged_count(self.offset) >= self.count

    def reply(self) -> Reply:
        """Answer with how many have acknowledged so far."""
        return self.master.acknowledged_count(self.offset)

    def timed_out(self, ctx: Session) -> Reply:
        """Answer with what has been reached."""
        return self.reply()

    def forget(self, ctx: Session) -> None:
        """Leave the list of who waits, however the wait ended."""
        self.master.waiters.remove(self)


class WaitForDisks(WaitForReplicas):
    """One WAITAOF: everything up to `offset` must be durable here, if asked, and at so many replicas."""

    def __init__(
        self, deadline_ms: int, master: Master, ctx: Session, local_count: int, count: int, offset: int
    ) -> None:  # fmt: skip
        super().__init__(deadline_ms, master, ctx, count, offset)
        self.local_count = local_count

    def is_met(self) -> bool:
        """Say whether enough have made it durable."""
        return self._local() >= self.local_count and self.master.durable_count(self.offset) >= self.count

    def reply(self) -> Reply:
        """Answer with how often it is durable: here, and at replicas."""
        return [self._local(), self.master.durable_count(self.offset)]

    def _local(self) -> int:
        return int(self.master.state.log.synced_offset >= self.offset)


class Master:
    """The replicas of this server; see the module's docstring."""

    def __init__(self, replication: Replication) -> None:
        self.replication = replication
        self.state = replication.state
        # Replicas in the order of their PSYNC, and those that have only introduced themselves.
        self.peers: list[Peer] = []
        self.introduced: dict[int, Peer] = {}
        self.syncs: list[FullSync] = []
        self.waiters: list[WaitForReplicas] = []
        self.sync_memory = SyncMemory(self.state)
        self.pinged_ms = self.state.now_ms
        self.kept_alive_ms = 0
        # Since when nobody follows us (0: somebody does, or nobody ever did).
        self.alone_since_ms = 0

    # Replicas come and go.

    def introduce(self, session: Session) -> Peer:
        """Return what is known of a client that speaks REPLCONF."""
        peer = self.introduced.get(session.session_id)
        if peer is None:
            peer = Peer(session)
            self.introduced[session.session_id] = peer
        return peer

    def continue_with(self, session: Session, offset: int) -> None:
        """Give a replica the history from byte `offset` on, which the backlog has."""
        peer = self._enlist(session)
        peer.state = ONLINE
        peer.ack_ms = self.state.now_ms
        replication = self.replication
        peer.send(b"+CONTINUE " + replication.replid.encode() + b"\r\n")
        assert replication.backlog is not None
        missed = replication.backlog.since(offset)
        for chunk in missed:
            peer.send(chunk)
        log.info("Partial resynchronization of replica %s from offset %d", peer.name(), offset)

    def copy_to(self, session: Session, is_silent: bool) -> None:
        """Give a replica a full copy, as soon as those have come that may share it."""
        peer = self._enlist(session)
        peer.is_silent = is_silent
        peer.waiting_since_ms = self.state.now_ms
        self.state.statistics.sync_full += 1
        if self.state.config.repl_diskless_sync_delay == 0:
            self._begin_sync([peer])

    def lose(self, session: Session) -> None:
        """Forget a replica whose link has ended."""
        self.introduced.pop(session.session_id, None)
        for peer in self.peers:
            if peer.session is session:
                self.peers.remove(peer)
                if peer.sync is not None:
                    peer.sync.lose(peer)
                log.info("Connection with replica %s lost.", peer.name())
                break
        if not self.peers:
            self.alone_since_ms = self.state.now_ms

    def disconnect_all(self) -> None:
        """Close the links of all replicas: they come back and learn what has become of the history."""
        for peer in self.peers:
            self.state.close(peer.session)

    # The history flows.

    def feed(self, data: bytes) -> None:
        """Hand one chunk of history to every replica."""
        for peer in self.peers:
            if peer.state == ONLINE:
                peer.send(data)
            elif peer.state == SENDING:
                peer.queue.append(data)
                peer.queue_bytes += len(data)

    def acknowledge(self, session: Session, offset: int, durable_offset: int) -> None:
        """Take note that a replica has applied everything up to `offset`; durable there: -1, nothing."""
        for peer in self.peers:
            if peer.session is session:
                peer.ack_offset = max(peer.ack_offset, offset)
                peer.durable_offset = max(peer.durable_offset, durable_offset)
                peer.ack_ms = self.state.now_ms
                if peer.state == SENDING and peer.sync is None:
                    self._put_online(peer)
        self.answer_waiters()

    def acknowledged_count(self, offset: int) -> int:
        """Count the replicas that have acknowledged everything up to `offset`."""
        return sum(1 for peer in self.peers if peer.state == ONLINE and peer.ack_offset >= offset)

    def durable_count(self, offset: int) -> int:
        """Count the replicas that have made everything up to `offset` durable."""
        return sum(1 for peer in self.peers if peer.state == ONLINE and peer.durable_offset >= offset)

    def good_count(self) -> int:
        """Count the replicas that have acknowledged anything within min-replicas-max-lag."""
        lag_max_s = self.state.config.min_replicas_max_lag
        now_ms = self.state.now_ms
        return sum(1 for peer in self.peers if peer.state == ONLINE and peer.lag_s(now_ms) <= lag_max_s)

    def online_count(self) -> int:
        """Count the replicas that get the history as it is made."""
        return sum(1 for peer in self.peers if peer.state == ONLINE)

    def sent_count(self) -> int:
        """Count the replicas whose kernel has taken everything that we have for them."""
        return sum(1 for peer in self.peers if peer.state == ONLINE and peer.unsent_bytes() == 0)

    def unsent_bytes(self) -> int:
        """Sum what the links of replicas that are online hold unsent."""
        return sum(peer.unsent_bytes() for peer in self.peers if peer.state == ONLINE)

    def wait(self, ctx: Session, count: int, deadline_ms: int, offset: int) -> None:
        """Block a client until `count` replicas have acknowledged everything up to `offset`."""
        self.wait_for(WaitForReplicas(deadline_ms, self, ctx, count, offset))

    def wait_for(self, waiter: WaitForReplicas) -> None:
        """Block the waiter's client, and ask the replicas how far they are."""
        self.waiters.append(waiter)
        self.state.blocking.block(waiter.ctx, waiter)
        self.replication.ask_for_acknowledgements()

    def unblock_all(self) -> None:
        """End every WAIT: we are no longer the one whose replicas count."""
        for waiter in list(self.waiters):
            self.state.blocking.end(waiter.ctx)

    # Time passes.

    def tick(self, now_ms: int) -> None:
        """Begin and feed full syncs, keep links alive, drop replicas that are silent or too slow."""
        self._begin_due_syncs(now_ms)
        self._feed_syncs(now_ms)
        self.sync_memory.tick(self.peers, now_ms)
        config = self.state.config
        for peer in list(self.peers):
            if peer.session.is_closed:
                continue
            if self._is_over_limit(peer, now_ms):
                log.warning("Replica %s is over client-output-buffer-limit", peer.name())
                self.state.statistics.output_limit_disconnections += 1
                self.state.close(peer.session)
            elif silent_ms(peer, now_ms) > config.repl_timeout * 1000:
                log.warning("Disconnecting timedout replica %s", peer.name())
                self.state.close(peer.session)
        if now_ms - self.kept_alive_ms >= KEEPALIVE_MS:
            self.kept_alive_ms = now_ms
            for peer in self.peers:
                if peer.state == WAITING or (peer.sync is not None and not peer.sync.is_marked):
                    peer.send(KEEPALIVE)
            self.introduced = {
                number: peer for number, peer in self.introduced.items() if not peer.session.is_closed
            }

    def is_sending(self) -> bool:
        """Say whether a full sync wants to be fed soon."""
        return bool(self.syncs)

    def _enlist(self, session: Session) -> Peer:
        peer = self.introduce(session)
        self.replication.is_name_known = True
        if peer not in self.peers:
            peer.enlist()
            self.peers.append(peer)
        self.alone_since_ms = 0
        return peer

    def _begin_due_syncs(self, now_ms: int) -> None:
        delay_ms = self.state.config.repl_diskless_sync_delay * 1000
        waiting = [peer for peer in self.peers if peer.state == WAITING and not peer.session.is_closed]
        if waiting and now_ms - min(peer.waiting_since_ms for peer in waiting) >= delay_ms:
            for can_eof in (True, False):
                alike = [peer for peer in waiting if peer.can_eof == can_eof]
                if alike:
                    self._begin_sync(alike)

    def _begin_sync(self, peers: list[Peer]) -> None:
        replication = self.replication
        replication.begin_history_for_copy()
        names = ", ".join(peer.name() for peer in peers)
        log.info("Full resynchronization of %s from offset %d", names, replication.offset)
        sync = FullSync(self.state, peers, replication.replid, replication.replid2, replication.offset)
        self.syncs.append(sync)
        self.sync_memory.guard(sync)
        self._feed_syncs(self.state.now_ms)

    def _feed_syncs(self, now_ms: int) -> None:
        """Feed a slice of each full sync under way."""
        for sync in self.syncs:
            sync.tick(now_ms)
            if sync.is_over and not sync.is_marked:
                for peer in sync.peers:
                    self._put_online(peer)
        self.syncs = [sync for sync in self.syncs if not sync.is_over]

    def _put_online(self, peer: Peer) -> None:
        """Let the history flow to a replica that has its copy."""
        if peer.state != SENDING:
            return
        peer.state = ONLINE
        for chunk in peer.queue:
            peer.send(chunk)
        peer.queue = []
        peer.queue_bytes = 0
        log.info("Synchronization with replica %s succeeded", peer.name())

    def answer_waiters(self) -> None:
        for waiter in list(self.waiters):
            if waiter.is_met():
                self.state.blocking.unblock(waiter.ctx, waiter.reply())

    def _is_over_limit(self, peer: Peer, now_ms: int) -> bool:
        """Compare what we hold for a replica with the limit; the link alone is looked at by the node."""
        limit = self.state.config.client_output_buffer_limit["replica"]
        held = peer.unsent_bytes() + peer.held_for_copy_bytes()
        # The backlog is held anyway: a limit below its size would drop a replica for what costs nothing.
        backlog_bytes = self.state.config.repl_backlog_size
        if 0 < max(limit.hard_bytes, backlog_bytes if limit.hard_bytes else 0) < held:
            return True
        if not 0 < max(limit.soft_bytes, backlog_bytes if limit.soft_bytes else 0) < held:
            peer.over_soft_limit_since_ms = 0
            return False
        if peer.over_soft_limit_since_ms == 0:
            peer.over_soft_limit_since_ms = now_ms
        return now_ms - peer.over_soft_limit_since_ms > limit.soft_seconds * 1000
