"""The target's half of one slot migration, and what the target's replicas hold of it.

    RECEIVING -SNAPSHOT-EOF-> CATCHING_UP -PAUSED; our replicas have everything, READY-> REQUESTED
    REQUESTED -GRANT: the keys become visible, here and on our replicas-> GRANTED
    GRANTED -our replicas have heard it-> success: the slots are ours, under a new config epoch
    anything before GRANTED that goes wrong -> failed: what has arrived is dropped, here and on our replicas

What arrives lies in a keyspace of its own, which nobody sees and only `used_memory` counts. Every batch is
handed on to our replicas as it came, so each of them holds the same (FOLLOWING). A replica that is promoted
before the grant drops it; one that has the grant claims the slots, since we may have died before our own
claim was heard. The record of the grant (`slot_grants`) is kept until a majority has heard of the new owner.

Driven by `migration.py`; CLUSTER SYNCSLOTS is its input.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from redoubt.cluster import migration_job as job_state
from redoubt.cluster.migration_job import MigrationJob, range_words
from redoubt.cluster.migration_stream import read_commands, read_entries
from redoubt.cluster.slot_grants import SlotGrant
from redoubt.cluster.slots import slots_of
from redoubt.commands.declare import TABLE, Row, find
from redoubt.data.field_deadlines import note_fields
from redoubt.data.keyspace import Keyspace
from redoubt.data.slot_tables import absorb
from redoubt.persist.rdb_format import CorruptFile
from redoubt.persist.rdb_source import Underrun
from redoubt.resp.replies import CommandError, ErrorReply, ProtocolError, encode_command
from redoubt.resp.requests import RequestParser
from redoubt.session import Session

if TYPE_CHECKING:
    from redoubt.cluster.cluster import Cluster

log = logging.getLogger("redoubt")

KEEPALIVE_MS: Final = 1_000
# A grant answers READY within the source's write pause. One that is read much later may have been given up.
GRANT_MS_MAX: Final = 1_500
# Our replicas have just shown that they answer; one that is silent now does not keep the slots unserved.
COMMIT_MS_MAX: Final = 500
# Buckets of flushed data that are given back at one tick.
BUCKETS_RELEASED: Final = 256
OUT_OF_MEMORY: Final = "Ran out of memory (OOM) during slot import"


def never_expires(database: int, key: bytes) -> bool:
    """Leave what has expired to the source: it decides until the slots are ours."""
    return False


class BrokenImport(Exception):
    """What arrived cannot be applied."""


class Import:
    """One migration on its target, or on a replica of it (without a session); see the module's docstring."""

    def __init__(self, cluster: Cluster, job: MigrationJob, session: Session | None) -> None:
        self.cluster = cluster
        self.state = cluster.state
        self.topology = cluster.topology
        self.job = job
        self.session = session
        main = self.state.keyspaces[0]
        self.hidden = Keyspace(0, self.state.random, True)
        self.hidden.on_expired = never_expires
        self.hidden.clock_ms = self.state.now_ms
        self.hidden.lfu_log_factor = main.lfu_log_factor
        self.hidden.lfu_decay_minutes = main.lfu_decay_minutes
        self.hidden.remember_accesses(main.access)
        main.arriving.append(self.hidden)
        # Runs the changes: no gates, no replies, and the clock at which nothing expires.
        self._applier = Session(self.state, 0, RequestParser(), "slot import", "", is_master_link=True)
        self._applier.db = self.hidden
        self._applier.now_ms = 0
        self.received_bytes = 0
        self.keys = 0
        # The attempt to switch that waits for READY, and what our replicas must have before; 0: none.
        self._attempt = 0
        self._ready_offset = 0
        self._ready_ms = 0
        self._commit_offset = 0
        self._commit_ms = 0
        # The epoch under which we shall own the slots, and since when our replicas have been told of it.
        self._epoch = 0
        self._told_ms = 0
        # Since when a grant that is old waits for an answer of the source's shard; 0: it is new.
        self._verified_since_ms = 0
        self._spoke_ms = self.state.now_ms
        self.heard_ms = self.state.now_ms

    @property
    def is_committed(self) -> bool:
        return self.job.state == job_state.GRANTED

    # What arrives.

    def take_keys(self, batch: bytes) -> None:
        """Store a batch of the snapshot. Raises BrokenImport."""
        hidden = self.hidden
        try:
            items = read_entries(batch)
        except (CorruptFile, Underrun) as error:
            raise BrokenImport(f"Broken batch of keys: {error}") from error
        for key, value, expires_ms in items:
            hidden.store(key, value)
            note_fields(hidden, key, value)
            if expires_ms:
                hidden.set_expire(key, expires_ms)
        self.keys += len(items)
        self.received_bytes += len(batch)

    def take_changes(self, batch: bytes) -> None:
        """Run a batch of changes. Raises BrokenImport."""
        try:
            commands = read_commands(batch)
        except (ProtocolError, Underrun) as error:
            raise BrokenImport("Broken batch of changes") from error
        for argv in commands:
            if argv[0] == b"FLUSHALL":
                self.hidden.flush(is_lazy=True)
            else:
                self._run(argv)
        self.received_bytes += len(batch)

    def _run(self, argv: list[bytes]) -> None:
        row = TABLE.get(argv[0])
        if row is None:
            found = find(argv)
            if not isinstance(found, Row):
                raise BrokenImport(f"Unknown command {argv[0][:40]!r}")
            row = found
        applier = self._applier
        applier.row = row
        try:
            reply = row.run(applier, argv)
        except CommandError as error:
            reply = ErrorReply(error.text)
        applier.rewritten = None
        if isinstance(reply, ErrorReply):
            raise BrokenImport(f"Failed to process {row.name}: {reply.text.decode('latin-1')}")

    # The talk with the source.

    def say(self, *words: bytes) -> None:
        """Send a message to the source."""
        session = self.session
        if session is not None and not session.is_closed:
            self._spoke_ms = self.state.now_ms
            session.out.append(encode_command([b"CLUSTER", b"SYNCSLOTS", *words]))
            self.state.mark_dirty(session)

    def acknowledge(self) -> None:
        """Tell the source how much has been applied."""
        self.say(b"ACK", b"%d" % self.received_bytes)

    def prepare(self, attempt: int, now_ms: int) -> None:
        """The source holds its writes: say READY as soon as our replicas have everything."""
        replication = self.state.replication
        self._attempt = attempt
        self._ready_offset = replication.offset
        replication.ask_for_acknowledgements()
        self._say_ready_if_so(now_ms)

    def resumed(self, now_ms: int) -> None:
        """The source's pause is over; there will be another."""
        self._attempt = 0
        self.job.enter(job_state.CATCHING_UP, now_ms)

    def _say_ready_if_so(self, now_ms: int) -> None:
        if self.job.state == job_state.REQUESTED or not self._may_switch(now_ms):
            return
        if self.cluster.migrations.is_source_switching():
            return
        if self.state.replication.is_acknowledged(self._ready_offset):
            self.job.enter(job_state.REQUESTED, now_ms)
            self._ready_ms = now_ms
            self.say(b"READY", b"%d" % self._attempt)

    def _may_switch(self, now_ms: int) -> bool:
        """Say whether this node may take slots now: a master that knows that it still is one."""
        cluster = self.cluster
        watch = cluster.watch
        is_sure = not watch.is_in_doubt and now_ms <= watch.deadline_ms
        return (
            is_sure
            and cluster.role.is_assigned
            and self.topology.myself.is_master
            and not cluster.is_terminating
            and not cluster.handover.is_under_way
        )

    def commit(self, epoch: int, now_ms: int) -> None:
        """The slots are granted: show the keys, and have our replicas do the same."""
        is_late = now_ms - self._ready_ms > GRANT_MS_MAX
        if self.job.state != job_state.REQUESTED or is_late or self._objection():
            # The source asks what became of it, and is told that we know nothing.
            self.fail("The grant came too late", now_ms)
            return
        self.job.enter(job_state.GRANTED, now_ms)
        self.install(epoch)
        words = [self.job.source_id.encode(), self.job.target_id.encode(), b"%d" % epoch]
        self._tell_replicas(b"COMMIT", [*words, *range_words(self.job.mask)])
        self._commit_ms = now_ms
        self._reserve_epoch(epoch, now_ms)
        self._take_if_so(now_ms)

    def _reserve_epoch(self, floor: int, now_ms: int) -> None:
        """Choose our new epoch, and have our replicas know of it before anybody else can."""
        self._epoch = self.cluster.migrations.reserve_epoch(floor)
        self._commit_offset = self.state.replication.offset
        self._told_ms = now_ms

    def install(self, epoch: int) -> None:
        """Put the keys among ours, and remember that the slots are granted to this shard."""
        job = self.job
        main = self.state.keyspaces[0]
        absorb(main, self.hidden)
        self._leave_memory()
        grant = SlotGrant(job.name, job.source_id, job.target_id, epoch, job.mask)
        self.topology.takings[job.name] = grant
        self.cluster.migrations.sweeper.keep(job.mask)
        self.cluster.file.mark()

    def _take_if_so(self, now_ms: int) -> None:
        """Take the slots as soon as our replicas know of the grant."""
        is_known = self.state.replication.is_acknowledged(self._commit_offset)
        if not (is_known or now_ms - self._told_ms >= COMMIT_MS_MAX) or not self._may_switch(now_ms):
            return
        if now_ms - self._commit_ms > GRANT_MS_MAX and not self._is_verified(now_ms):
            return
        if self._was_overtaken():
            self._give_back(now_ms)
        elif self.cluster.migrations.is_free(self._epoch):
            self.cluster.migrations.take_slots(self, self._epoch, now_ms)
        else:
            self._reserve_epoch(self._epoch, now_ms)

    def _is_verified(self, now_ms: int) -> bool:
        """Say whether the source's shard has answered since: its header tells of slots taken back.

        This process may have been frozen, and a successor of ours may have denied what we were granted.
        """
        source = self.topology.find(self.job.source_id)
        heads = [
            node
            for node in self.topology.sorted_nodes()
            if node is source or (source is not None and node.shard_id == source.shard_id != "")
        ]
        heads = [node for node in heads if node.is_master and not node.is_failed]
        if not self._verified_since_ms:
            self._verified_since_ms = now_ms
            for node in heads:
                self.cluster.gossip.ping(node, now_ms)
        return any(node.answered_ms >= self._verified_since_ms for node in heads)

    def _was_overtaken(self) -> bool:
        """Say whether somebody owns the slots under a higher epoch than that of the grant."""
        grant = self.topology.takings.get(self.job.name)
        if grant is None:
            return True  # seen before we came to take the slots
        epoch = grant.epoch
        for slot in slots_of(self.job.mask):
            owner = self.topology.owners[slot]
            if owner is not None and owner.config_epoch > epoch:
                return True
        return False

    def _give_back(self, now_ms: int) -> None:
        """Forget the grant: the keys are leftovers here and on our replicas."""
        self._leave_session()
        self._tell_replicas(b"ABANDON", [b"The source has taken the slots back"])
        self.topology.takings.pop(self.job.name, None)
        self.cluster.migrations.sweeper.add(self.job.mask)
        self.cluster.file.mark()
        self.job.finish(job_state.FAILED, "The source has taken the slots back", now_ms)

    def _tell_replicas(self, word: bytes, rest: list[bytes]) -> None:
        replication = self.state.replication
        if not replication.is_replica and replication.is_feeding:
            replication.feed(0, [b"CLUSTER", b"SYNCSLOTS", word, self.job.name.encode(), *rest])

    def _objection(self) -> str:
        """Name the reason why the source cannot give these slots (any more); empty if there is none."""
        source = self.topology.find(self.job.source_id)
        if source is None or self.job.mask & ~source.slots:
            return "Slots are not served by the source any more"
        return ""

    # Time, and the end.

    def tick(self, now_ms: int) -> None:
        """Answer what waits for our replicas, keep the stream alive, notice silence."""
        self.hidden.clock_ms = now_ms
        self.hidden.release(BUCKETS_RELEASED)
        if self.hidden.key_count:
            self.hidden.measure()
        if self.is_committed:
            self._take_if_so(now_ms)
            return
        if self.session is None:
            return
        if self._attempt:
            self._say_ready_if_so(now_ms)
        objection = self._objection()
        if objection:
            self.fail(objection, now_ms)
        elif now_ms - self.heard_ms > self.state.config.repl_timeout * 1000:
            self.fail("Timed out after too long with no interaction", now_ms)
        elif now_ms - self._spoke_ms >= KEEPALIVE_MS:
            self.acknowledge()

    def next_tick_ms(self, now_ms: int) -> int:
        """Say when `tick` is wanted sooner than usual; 0: no wish."""
        if self.session is None and not self.is_committed:
            return 0
        is_waiting = self.is_committed or (self._attempt and self.job.state != job_state.REQUESTED)
        return now_ms + 1 if is_waiting else 0

    def follow(self) -> None:
        """Become a replica's half: we are no master any more, and learn the end from the one who is."""
        self._leave_session()
        now_ms = self.state.now_ms
        if self.is_committed:
            self.job.finish(job_state.FAILED, "A failover occurred during slot import", now_ms)
        else:
            self.job.enter(job_state.FOLLOWING, now_ms)

    def fail(self, message: str, now_ms: int, how: str = job_state.FAILED) -> None:
        """Drop what has arrived, here and on our replicas."""
        self.say(b"FAIL", message.encode())
        self._leave_session()
        self._tell_replicas(b"ABANDON", [message.encode()])
        self.drop(message, now_ms, how)

    def drop(self, message: str, now_ms: int, how: str = job_state.FAILED) -> None:
        """Forget what has arrived; its memory is given back little by little."""
        self._leave_memory()
        self.hidden.flush(is_lazy=True)
        self.cluster.migrations.dropped.append(self.hidden)
        self.job.finish(how, message, now_ms)

    def succeed(self, now_ms: int) -> None:
        """End well."""
        self._leave_session()
        self.job.finish(job_state.SUCCESS, "", now_ms)

    def _leave_memory(self) -> None:
        main = self.state.keyspaces[0]
        main.arriving = [keyspace for keyspace in main.arriving if keyspace is not self.hidden]

    def _leave_session(self) -> None:
        session, self.session = self.session, None
        if session is not None:
            session.is_slot_import = False
            session.closes_after_flush = True
            self.state.mark_dirty(session)
