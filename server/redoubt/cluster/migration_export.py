"""The source's half of one slot migration: from the dial to the grant.

    CONNECTING -AUTH, ESTABLISH-> ESTABLISHING -OK-> SNAPSHOTTING -all sent-> REPLICATING
    REPLICATING -nearly caught up: writes wait, PAUSED-> PAUSED -READY; grant replicated and durable-> GRANTED
    PAUSED -no READY, or no replica's word, within the write pause-> REPLICATING (again, a few times)
    anything before GRANTED that goes wrong -> failed: the source simply goes on serving

Nothing that the target does can cost memory or time here: a slice of the snapshot is produced only when the
last one has been taken and acknowledged nearly whole, and a target that lets changes pile up fails the move.
The pause holds only writes to the slots that move, and only up to cluster-slot-migration-max-write-pause-ms.

GRANTED is the point of no return. Before the grant leaves, every replica in sync has acknowledged it and
nodes.conf holds it durably; what follows is `migration_outcome`'s. Driven by `migration.py`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from redoubt.cluster import migration_job as job_state
from redoubt.cluster.migration_job import MigrationJob, range_words
from redoubt.cluster.migration_stream import SlotStream
from redoubt.cluster.routing import HELD, HELD_WRITES
from redoubt.cluster.slot_grants import SlotGrant
from redoubt.interfaces import LANE_BUS, Dial, Link, LinkOwner
from redoubt.resp.decoder import NeedMore, ReplyDecoder
from redoubt.resp.replies import ErrorReply, ProtocolError, Reply, encode_command
from redoubt.session import GATE_LOADING, GATE_PAUSED

if TYPE_CHECKING:
    from redoubt.cluster.cluster import Cluster

log = logging.getLogger("redoubt")

DIAL_TIMEOUT_MS: Final = 2_000
# One slice of the snapshot: less than a millisecond of work, so that no client notices.
SLICE_KEYS: Final = 128
SLICE_BYTES: Final = 16 * 1024
# What may be on its way unacknowledged; the target applies so much at one go at most. 256 KiB of small keys
# held the clients of an interpreted target for 60-120 ms (bench.slot_moves), and moved no more keys a second.
WINDOW_BYTES: Final = 64 * 1024
# Changes that wait for a slow target, where client-output-buffer-limit sets no bound for replicas.
WAITING_BYTES_MAX: Final = 256 * 1024 * 1024
KEEPALIVE_MS: Final = 1_000
# Between two looks at what writes have added, while nothing else is to be done.
STREAM_EVERY_MS: Final = 5
# A pause that was not long enough is tried again, later and later, so often.
PAUSES_MAX: Final = 30
PAUSE_AGAIN_MS: Final = 50
PAUSE_AGAIN_MS_MAX: Final = 1_000


class Export(LinkOwner):
    """One migration as its source drives it; see the module's docstring."""

    def __init__(self, cluster: Cluster, job: MigrationJob) -> None:
        self.cluster = cluster
        self.state = cluster.state
        self.topology = cluster.topology
        self.job = job
        self.stream: SlotStream | None = None
        self.sent_bytes = 0
        self.acked_bytes = 0
        self.paused_ms = 0
        self.pauses = 0
        self._link: Link | None = None
        self._decoder = ReplyDecoder()
        self._awaits_auth = False
        self._spoke_ms = 0
        self._has_sent_end = False
        self._again_ms = 0
        self._deadline_ms = 0
        # Where the history of our replicas has the grant; -1: it was not fed.
        self._intent_offset = -1

    @property
    def is_active(self) -> bool:
        """Say whether this half still has something to do: neither queued, nor granted, nor over."""
        return self._link is not None or self.stream is not None

    @property
    def is_linked(self) -> bool:
        """Say whether the target can still tell us something."""
        return self._link is not None

    @property
    def is_switching(self) -> bool:
        return self.job.state in (job_state.PAUSED, job_state.GRANTED)

    # The link.

    def begin(self, now_ms: int) -> None:
        """Dial the target's client port."""
        target = self.topology.find(self.job.target_id)
        if target is None:
            self.fail("Target node is not known any more", now_ms)
            return
        self.job.acked_ms = now_ms
        link = Link(self, LANE_BUS)
        self._link = link
        self.state.effects.append(Dial(link, target.ip, target.plain_port or target.port, DIAL_TIMEOUT_MS))

    def opened(self, link: Link, now_ms: int) -> None:
        """Introduce ourselves, behind AUTH where a password is configured."""
        if link is not self._link:
            return
        config = self.state.config
        self._spoke_ms = now_ms
        self.cluster.bus.bound_links.append(link)
        if config.masterauth:
            user = [config.masteruser.encode()] if config.masteruser else []
            self.state.send(link, encode_command([b"AUTH", *user, config.masterauth.encode()]))
            self._awaits_auth = True
        words = [b"ESTABLISH", b"SOURCE", self.job.source_id.encode(), b"NAME", self.job.name.encode()]
        self._say(*words, b"SLOTSRANGE", *range_words(self.job.mask))
        self.job.enter(job_state.ESTABLISHING, now_ms)

    def failed(self, link: Link, is_refused: bool, now_ms: int) -> None:
        """Give up: nobody listens."""
        if link is self._link:
            self._link = None
            self.fail("Cannot connect to the target", now_ms)

    def closed(self, link: Link, now_ms: int) -> None:
        """Give up, unless the slots are granted: then the outcome is to be found out."""
        if link is not self._link:
            return
        self._forget_link()
        if self.job.state != job_state.GRANTED:
            self.fail(
                "Connection lost to target. Check CLUSTER GETSLOTMIGRATIONS on the target node for more "
                "information.",
                now_ms,
            )
        self.cluster.settle(now_ms)

    def received(self, link: Link, data: bytes, now_ms: int) -> None:
        """Take what the target says."""
        if link is not self._link:
            return
        try:
            self._decoder.feed(data)
            while self._is_current(link):
                reply = self._decoder.next()
                if isinstance(reply, NeedMore):
                    break
                self._heard(reply, now_ms)
        except ProtocolError:
            self.fail("The target does not speak the protocol", now_ms)
        self.cluster.settle(now_ms)

    def _is_current(self, link: Link) -> bool:
        """Say whether this is still our link; asked anew, since what was heard may have ended it."""
        return self._link is link

    def _heard(self, reply: Reply, now_ms: int) -> None:
        self.job.acked_ms = now_ms
        if self._awaits_auth:
            self._awaits_auth = False
            if isinstance(reply, ErrorReply):
                self._refused("Failed to AUTH to target node: ", reply, now_ms)
        elif self.job.state == job_state.ESTABLISHING:
            if isinstance(reply, ErrorReply):
                self._refused("", reply, now_ms)
            else:
                self._established(now_ms)
        elif isinstance(reply, ErrorReply):
            self._refused("The target failed: ", reply, now_ms)
        elif isinstance(reply, list) and len(reply) >= 3:
            self._told(reply[2], reply[3:], now_ms)

    def _refused(self, where: str, error: ErrorReply, now_ms: int) -> None:
        if self.job.state == job_state.GRANTED:
            self._drop_link()
        else:
            self.fail(where + error.text.decode("latin-1"), now_ms)

    def _told(self, word: bytes, rest: list[bytes], now_ms: int) -> None:
        """Take one message of the target."""
        if word == b"ACK" and rest:
            self.acked_bytes = int(rest[0])
            self._measure()
        elif word == b"READY" and rest:
            if self.job.state == job_state.PAUSED and int(rest[0]) == self.pauses and self._intent_offset < 0:
                self._intend(now_ms)
        elif word == b"TAKEN" and rest:
            self.cluster.migrations.outcome.taken(self.job.name, self.job.target_id, int(rest[0]), now_ms)
        elif word == b"FAIL" and rest:
            message = rest[0].decode("latin-1")
            if self.job.state == job_state.GRANTED:
                self._drop_link()
            else:
                self.fail(message, now_ms)

    def _say(self, *words: bytes) -> None:
        if self._link is not None:
            self._spoke_ms = self.state.now_ms
            self.state.send(self._link, encode_command([b"CLUSTER", b"SYNCSLOTS", *words]))

    # Snapshot and changes.

    def _established(self, now_ms: int) -> None:
        self.stream = SlotStream(self.state.keyspaces[0], self.job.mask)
        self.state.replication.watch(self.stream)
        self.job.enter(job_state.SNAPSHOTTING, now_ms)

    def tick(self, now_ms: int) -> None:
        """Go on: produce, send, pause, grant, or give up."""
        if not self.is_active or self.job.state == job_state.GRANTED:
            return
        objection = self._objection(now_ms)
        if objection:
            self.fail(objection, now_ms)
            return
        if self.job.state == job_state.PAUSED:
            self._go_on_paused(now_ms)
        if self.stream is not None:
            self._pump(self.stream, now_ms)
        if self.job.state == job_state.REPLICATING:
            self._pause_if_near(now_ms)
        if self.stream is not None and now_ms - self._spoke_ms >= KEEPALIVE_MS:
            self._say(b"ACK")

    def next_tick_ms(self, now_ms: int) -> int:
        """Say when `tick` is wanted sooner than usual; 0: no wish."""
        stream = self.stream
        if stream is None:
            return 0
        if self.job.state == job_state.PAUSED:
            return now_ms + 1
        if not stream.is_snapshot_done:
            return now_ms + 1 if self._has_room() else now_ms + STREAM_EVERY_MS
        return now_ms + STREAM_EVERY_MS

    def _objection(self, now_ms: int) -> str:
        """Name the reason to give up; empty if there is none."""
        topology = self.topology
        target = topology.find(self.job.target_id)
        if target is None or not target.is_master:
            return "Target node is not a master any more"
        if target.is_failed:
            return "Target node has failed"
        if not topology.myself.is_master or self.job.mask & ~topology.myself.slots:
            return "Slots are not served by this node any more"
        if any(self.job.mask >> slot & 1 for slot in topology.migrating):
            return "Slots are being manually migrated"
        if now_ms - self.job.acked_ms > self.state.config.repl_timeout * 1000:
            return "Timed out after too long with no interaction"
        limit = self.state.config.client_output_buffer_limit["replica"].hard_bytes or WAITING_BYTES_MAX
        if self.stream is not None and self.stream.pending_bytes > limit:
            return "The target is too slow: too many changes wait for it"
        return ""

    def _has_room(self) -> bool:
        """Say whether the target has taken nearly everything that it was sent."""
        link = self._link
        if link is None or self.sent_bytes - self.acked_bytes >= WINDOW_BYTES:
            return False
        waiting = link.unsent_bytes
        for piece in link.out:
            waiting += len(piece)
        return waiting < WINDOW_BYTES

    def _pump(self, stream: SlotStream, now_ms: int) -> None:
        """Produce one slice of the snapshot and send what there is, if there is room for it."""
        if not self._has_room():
            self._measure()
            return
        if not stream.is_snapshot_done:
            stream.advance(SLICE_KEYS, SLICE_BYTES)
        self._send_batches(stream)
        if stream.is_snapshot_done and not self._has_sent_end:
            self._has_sent_end = True
            self._say(b"SNAPSHOT-EOF")
            self.job.enter(job_state.REPLICATING, now_ms)

    def _send_batches(self, stream: SlotStream) -> None:
        name = self.job.name.encode()
        for batch in stream.take_keys():
            self.sent_bytes += len(batch)
            self._say(b"KEYS", name, batch)
        for batch in stream.take_changes():
            self.sent_bytes += len(batch)
            self._say(b"STREAM", name, batch)
        self._measure()

    def _measure(self) -> None:
        pending = 0 if self.stream is None else self.stream.pending_bytes
        self.job.remaining_bytes = self.sent_bytes - self.acked_bytes + pending

    # The switch.

    def _pause_if_near(self, now_ms: int) -> None:
        """Hold writes to the slots as soon as little enough is left to be applied by the target."""
        limit = self.state.config.slot_migration_max_failover_repl_bytes
        if now_ms < self._again_ms or (limit >= 0 and self.job.remaining_bytes > limit):
            return
        if self.state.gates & (GATE_PAUSED | GATE_LOADING) or not self._may_switch(now_ms):
            return
        if self.cluster.migrations.is_target_switching():
            return
        self.pauses += 1
        self.paused_ms = now_ms
        self._deadline_ms = now_ms + self.state.config.cluster_slot_migration_max_write_pause_ms
        self.cluster.routing.hold(self.job.mask, HELD_WRITES)
        self.job.enter(job_state.PAUSED, now_ms)
        if self.stream is not None:
            self._send_batches(self.stream)
        self._say(b"PAUSED", b"%d" % self.pauses)

    def _may_switch(self, now_ms: int) -> bool:
        """Say whether this master knows that it still is one, and is not about to hand over."""
        watch = self.cluster.watch
        is_sure = not watch.is_in_doubt and now_ms <= watch.deadline_ms
        return is_sure and not self.cluster.handover.is_under_way

    def _go_on_paused(self, now_ms: int) -> None:
        if now_ms >= self._deadline_ms or not self._may_switch(now_ms):
            self._resume(now_ms)
        elif self._intent_offset >= 0 and self.state.replication.is_acknowledged(self._intent_offset):
            self._grant(now_ms)

    def _intend(self, now_ms: int) -> None:
        """Tell our replicas of the grant; it leaves when all that are in sync have heard it."""
        replication = self.state.replication
        grant = self._record()
        words = [grant.source_id.encode(), grant.target_id.encode(), b"%d" % grant.epoch]
        replication.feed(
            0, [b"CLUSTER", b"SYNCSLOTS", b"GRANTED", grant.name.encode(), *words, *range_words(grant.mask)]
        )
        self._intent_offset = replication.offset
        replication.ask_for_acknowledgements()
        self._go_on_paused(now_ms)

    def _record(self) -> SlotGrant:
        epoch = self.topology.myself.config_epoch
        return SlotGrant(self.job.name, self.job.source_id, self.job.target_id, epoch, self.job.mask)

    def _grant(self, now_ms: int) -> None:
        """Give the slots away: remembered before it is said, since the effects of a turn come first."""
        grant = self._record()
        self.topology.grants[grant.name] = grant
        self.cluster.file.mark(is_urgent=True)
        self.cluster.routing.hold(self.job.mask, HELD)
        self.job.enter(job_state.GRANTED, now_ms)
        if self.stream is not None:
            self._send_batches(self.stream)  # what expiry and eviction did meanwhile
        self._say(b"GRANT", b"%d" % grant.epoch)
        self._end_stream()

    def _resume(self, now_ms: int) -> None:
        """Let writes go on: the target, or a replica of ours, was not fast enough."""
        self._revoke()
        self.job.enter(job_state.REPLICATING, now_ms)
        self.cluster.routing.release(self.job.mask)
        self._say(b"RESUMED", b"%d" % self.pauses)
        if self.pauses >= PAUSES_MAX:
            self.fail("The target did not catch up within the write pause", now_ms)
            return
        wait_ms = min(PAUSE_AGAIN_MS * self.pauses, PAUSE_AGAIN_MS_MAX)
        self._again_ms = now_ms + wait_ms + self.state.random.randrange(wait_ms)

    def _revoke(self) -> None:
        if self._intent_offset >= 0:
            self._intent_offset = -1
            self.cluster.migrations.tell_settled(self.job.name, False)

    # The end.

    def fail(self, message: str, now_ms: int) -> None:
        """Give the move up before its point of no return."""
        self._say(b"CANCEL", message.encode())
        self.finish(job_state.FAILED, message, now_ms)

    def cancel(self, message: str, now_ms: int) -> None:
        """Stop because somebody wishes it."""
        self._say(b"CANCEL", message.encode())
        self.finish(job_state.CANCELLED, message, now_ms)

    def finish(self, how: str, message: str, now_ms: int) -> None:
        """End in any way; what was held goes on, here or elsewhere."""
        self._revoke()
        self._drop_link()
        self._end_stream()
        if self.is_switching:
            self.cluster.routing.release(self.job.mask)
        self.job.finish(how, message, now_ms)

    def _end_stream(self) -> None:
        stream, self.stream = self.stream, None
        if stream is not None:
            self.cluster.migrations.keys_sent += stream.cursor.keys_written
            self.cluster.migrations.bytes_sent += self.sent_bytes
            self.state.replication.unwatch(stream)
            stream.end()

    def _drop_link(self) -> None:
        link = self._link
        if link is not None:
            self._forget_link()
            if link.handle is None:
                self.state.close(link)
            else:
                link.closes_after_flush = True
                self.state.mark_dirty(link)

    def _forget_link(self) -> None:
        link, self._link = self._link, None
        self.cluster.bus.bound_links = [bound for bound in self.cluster.bus.bound_links if bound is not link]
