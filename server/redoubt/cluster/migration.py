"""Moves of slots between masters while both serve: the exports and imports of this node, and their log.

    source                                              target
    CLUSTER MIGRATESLOTS: export queued
    ESTABLISH  --------------------------------------->  import, hidden
    KEYS (snapshot of the slots), STREAM (changes) --->  applied, handed on to its replicas, acknowledged
    nearly caught up: writes to the slots wait
    PAUSED     --------------------------------------->
               <--------------------------------------- READY: its replicas have everything
    grant: acknowledged by our replicas, durable
    GRANT      --------------------------------------->  keys visible, replicas told; then a new config epoch
               <--------------------------------------- TAKEN, and its claim on the bus
    writes end as MOVED; the keys here are removed little by little

The source is the owner until the target is. Up to the grant any failure ends the move and nothing else;
after it the slots are served by nobody until one of the two is certain to own them. The rules are in
`migration_export`, `migration_import` and `migration_outcome`; docs/decisions/0011 argues for them. One
export runs at a time, the others wait; a node is never source and target of a switch at one moment, since
its epoch must not rise while slots that it granted are on their way.

The cluster object calls this at its events, `migration_commands` for people and nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.cluster import migration_job as job_state
from redoubt.cluster.migration_export import Export
from redoubt.cluster.migration_import import BUCKETS_RELEASED, Import
from redoubt.cluster.migration_job import EXPORT, IMPORT, MigrationJob, range_words
from redoubt.cluster.migration_outcome import Outcome
from redoubt.cluster.routing import HELD_REFUSED
from redoubt.cluster.slot_grants import SlotGrant
from redoubt.cluster.slot_sweeper import SlotSweeper
from redoubt.cluster.slots import slots_of
from redoubt.cluster.topology import new_id
from redoubt.data.keyspace import Keyspace
from redoubt.session import Session

if TYPE_CHECKING:
    from redoubt.cluster.cluster import Cluster

# A target serves its own clients, too; further sources are told to come again.
IMPORTS_MAX: Final = 16


class Migrations:
    """The slot migrations of one node; see the module's docstring."""

    def __init__(self, cluster: Cluster, sweeper: SlotSweeper) -> None:
        self.cluster = cluster
        self.state = cluster.state
        self.topology = cluster.topology
        self.sweeper = sweeper
        self.outcome = Outcome(cluster)
        # Newest first, finished ones included.
        self.jobs: list[MigrationJob] = []
        self.exports: dict[str, Export] = {}
        self.imports: dict[str, Import] = {}
        # What failed imports had gathered, while its memory is given back.
        self.dropped: list[Keyspace] = []
        # A replica gets a copy that says nothing of our grants: they are told again behind it.
        self._repeats_grants = False
        # When each taking was announced; missing for one that nodes.conf remembered.
        self._taken_ms: dict[str, int] = {}
        # Figures.
        self.keys_sent = 0
        self.bytes_sent = 0
        self.keys_received = 0
        self.bytes_received = 0
        self.succeeded = 0
        self.failed = 0
        self.pause_last_ms = 0

    def boot(self, now_ms: int) -> None:
        """Go on with what nodes.conf remembers; called once at the start."""
        if self.topology.myself.is_master:
            for grant in self.topology.grants.values():
                self._list_open_grant(grant, now_ms)

    # Questions.

    def active_exports(self) -> int:
        """Count the exports that are not over, queued ones included."""
        return sum(1 for job in self.jobs if job.operation == EXPORT and not job.is_finished)

    def active_imports(self) -> int:
        """Count the imports that are not over."""
        return len(self.imports)

    def is_moving(self, slot: int) -> bool:
        """Say whether an export that is not over includes the slot."""
        return any(
            job.mask >> slot & 1 for job in self.jobs if job.operation == EXPORT and not job.is_finished
        )

    def is_arriving(self, mask: int) -> bool:
        """Say whether an import includes one of these slots."""
        return any(arriving.job.mask & mask for arriving in self.imports.values())

    def is_linked(self, name: str) -> bool:
        """Say whether the target of this export can still tell us its outcome."""
        export = self.exports.get(name)
        return export is not None and export.is_linked

    def is_source_switching(self) -> bool:
        """Say whether this node is about to give slots away, or has and does not know the outcome."""
        return bool(self.topology.grants) or any(export.is_switching for export in self.exports.values())

    def is_target_switching(self) -> bool:
        """Say whether this node is about to take slots, or gave some away without knowing the outcome."""
        if self.topology.grants:
            return True
        return any(
            arriving.job.state in (job_state.REQUESTED, job_state.GRANTED)
            for arriving in self.imports.values()
        )

    # As the source.

    def export_slots(self, mask: int, target_id: str, now_ms: int) -> None:
        """Queue a move of slots of ours to another master."""
        myself = self.topology.myself
        job = MigrationJob(new_id(self.state.random), EXPORT, mask, myself.node_id, target_id, now_ms)
        self._list(job)
        self.exports[job.name] = Export(self.cluster, job)

    def cancel_exports(self, message: str, now_ms: int) -> int:
        """Cancel every export that has not passed its point of no return; return how many those were."""
        cancelled = 0
        for export in list(self.exports.values()):
            if export.job.state != job_state.GRANTED:
                export.cancel(message, now_ms)
                cancelled += 1
        self._forget_finished()
        return cancelled

    def reserve_epoch(self, floor: int) -> int:
        """Choose a config epoch above all that is known, and tell our replicas before we serve under it.

        We might be killed when nobody else has heard of it. A successor that was elected under a lower one
        could not replace us: our own nodes.conf would deny it.
        """
        topology = self.topology
        epoch = max(topology.config_epoch_max(), floor) + 1
        topology.current_epoch = epoch
        self.cluster.file.mark()
        replication = self.state.replication
        if replication.is_feeding:
            replication.feed(0, [b"CLUSTER", b"SYNCSLOTS", b"EPOCH", b"%d" % epoch])
            replication.ask_for_acknowledgements()
        return epoch

    def is_free(self, epoch: int) -> bool:
        """Say whether no node has come to a reserved epoch, or past it, meanwhile."""
        return all(node.config_epoch < epoch for node in self.topology.nodes.values())

    def heard_epoch(self, epoch: int) -> None:
        """As a replica: our master is about to serve under this epoch."""
        if epoch > self.topology.current_epoch:
            self.topology.current_epoch = epoch
            self.cluster.file.mark()

    def tell_settled(self, name: str, has_arrived: bool) -> None:
        """Tell our replicas that a grant is over: carried out, or void."""
        replication = self.state.replication
        if not replication.is_replica and replication.is_feeding:
            word = b"success" if has_arrived else b"failed"
            replication.feed(0, [b"CLUSTER", b"SYNCSLOTS", b"SETTLED", name.encode(), word])

    def settled(self, grant: SlotGrant, has_arrived: bool, now_ms: int) -> None:
        """Draw the consequences of a grant whose outcome is known."""
        self.tell_settled(grant.name, has_arrived)
        if has_arrived:
            self.sweeper.add(grant.mask)
        message = "" if has_arrived else "The target did not take the slots; this node has taken them back"
        self._end_export(grant.name, job_state.SUCCESS if has_arrived else job_state.FAILED, message, now_ms)
        self._forget_finished()

    def _end_export(self, name: str, how: str, message: str, now_ms: int) -> None:
        """End an export of this process, or one that nodes.conf or our last master left to us."""
        export = self.exports.get(name)
        if export is None:
            self._finish_job(name, how, message, now_ms)
            return
        if how == job_state.SUCCESS:
            self.pause_last_ms = now_ms - export.paused_ms
        if export.job.state == job_state.GRANTED:
            export.finish(how, message, now_ms)
        else:
            export.fail(message, now_ms)

    def heard_grant(self, grant: SlotGrant) -> None:
        """As a replica: our master gives these slots away."""
        self.topology.grants[grant.name] = grant
        self.cluster.file.mark()

    def heard_settled(self, name: str, has_arrived: bool, now_ms: int) -> None:
        """As a replica: a grant of our shard is over."""
        if self.topology.grants.pop(name, None) is not None:
            self.cluster.file.mark()
        self._finish_job(name, job_state.SUCCESS if has_arrived else job_state.FAILED, "", now_ms)

    # As the target.

    def import_slots(
        self, name: str, source_id: str, mask: int, session: Session | None, now_ms: int
    ) -> Import:
        """Begin to take slots of another master; without a session: as a replica of who takes them."""
        head = self.topology.my_master() or self.topology.myself
        job = MigrationJob(name, IMPORT, mask, source_id, head.node_id, now_ms)
        self._list(job)
        arriving = Import(self.cluster, job, session)
        if session is None:
            job.enter(job_state.FOLLOWING, now_ms)
        else:
            session.is_slot_import = True
        self.imports[name] = arriving
        return arriving

    def take_slots(self, arriving: Import, epoch: int, now_ms: int) -> None:
        """Become the owner of slots that are granted to us."""
        topology = self.topology
        name = arriving.job.name
        topology.set_owners(arriving.job.mask, topology.myself)
        self.cluster.claims.take_epoch(epoch)
        self.cluster.gossip.announce(now_ms)
        self._taken_ms[name] = now_ms
        arriving.say(b"TAKEN", b"%d" % topology.myself.config_epoch)
        arriving.succeed(now_ms)
        self._forget_finished()

    def outcome_for(self, name: str, source_id: str, mask: int, now_ms: int) -> list[bytes]:
        """Answer a source that does not know how its grant ended; what was not granted is given up."""
        for slot in slots_of(mask):
            owner = self.topology.owners[slot]
            if (
                owner is not None
                and owner.node_id != source_id
                and not self._is_of_source(owner.shard_id, source_id)
            ):
                return [b"taken", owner.node_id.encode(), b"%d" % owner.config_epoch]
        arriving = self.imports.get(name)
        if arriving is not None and not arriving.is_committed:
            arriving.fail("The source has lost its connection", now_ms)
            self._forget_finished()
        return [b"open"] if name in self.topology.takings else [b"unknown"]

    def _is_of_source(self, shard_id: str, source_id: str) -> bool:
        source = self.topology.find(source_id)
        return source is not None and source.shard_id == shard_id != ""

    def heard_end(self, name: str, message: str, now_ms: int) -> None:
        """As a replica: our master has given an import up, or a grant back."""
        if self.topology.takings.pop(name, None) is not None:
            self.cluster.file.mark()
        arriving = self.imports.get(name)
        if arriving is not None:
            arriving.drop(message, now_ms)
        self._forget_finished()

    def heard_commit(self, grant: SlotGrant, now_ms: int) -> bool:
        """As a replica: our master is granted the slots. False: we do not have their keys."""
        arriving = self.imports.get(grant.name)
        if arriving is None:
            return grant.name in self.topology.takings
        arriving.install(grant.epoch)
        arriving.succeed(now_ms)
        self._forget_finished()
        return True

    def stream_closed(self, session: Session, now_ms: int) -> None:
        """Take note that a source's stream has ended."""
        for arriving in list(self.imports.values()):
            if arriving.session is session:
                arriving.session = None
                if not arriving.is_committed:
                    arriving.fail(
                        "Connection lost to source. Check CLUSTER GETSLOTMIGRATIONS on the source node for "
                        "more information.",
                        now_ms,
                    )
        self._forget_finished()

    def import_on(self, session: Session) -> Import | None:
        """Find the import whose source speaks on this stream."""
        for arriving in self.imports.values():
            if arriving.session is session:
                return arriving
        return None

    # Events of the node.

    def tick(self, now_ms: int) -> None:
        """Go on with everything, a slice each."""
        self._begin_next(now_ms)
        for export in list(self.exports.values()):
            export.tick(now_ms)
        for arriving in list(self.imports.values()):
            arriving.tick(now_ms)
        self._forget_finished()
        self.outcome.tick(now_ms)
        self.sweeper.tick()
        self._release_dropped()
        self._repeat_grants()
        self._forget_takings(now_ms)

    def next_tick_ms(self, now_ms: int) -> int:
        """Say when `tick` is wanted sooner than usual; 0: no wish."""
        if self.sweeper.is_busy() or self.dropped:
            return now_ms + 2
        wishes = [export.next_tick_ms(now_ms) for export in self.exports.values()]
        wishes += [arriving.next_tick_ms(now_ms) for arriving in self.imports.values()]
        wishes.append(self.outcome.next_tick_ms())
        return min([wish for wish in wishes if wish > 0], default=0)

    def role_changed(self, now_ms: int) -> None:
        """Take note that this node has become a master or a replica, or follows another master."""
        if self.topology.myself.is_master:
            self._promoted(now_ms)
            return
        for grant in list(self.topology.grants.values()):
            if self.outcome.has_arrived(grant):
                self._end_export(grant.name, job_state.SUCCESS, "", now_ms)  # our last slot has left
                del self.topology.grants[grant.name]
        for job in list(self.jobs):
            if job.operation == EXPORT and not job.is_finished:
                self._end_export(job.name, job_state.FAILED, "This node is not a master any more", now_ms)
        for arriving in self.imports.values():
            arriving.follow()
        self.cluster.routing.release_all()
        self._forget_finished()

    def _promoted(self, now_ms: int) -> None:
        """Give up what our last master was taking, claim what it was granted, find out what it granted."""
        for arriving in list(self.imports.values()):
            arriving.fail("A failover occurred during slot import", now_ms)
        for grant in list(self.topology.takings.values()):
            self._claim(grant)
        for grant in self.topology.grants.values():
            self._list_open_grant(grant, now_ms)
        self.sweeper.add_foreign()
        self._forget_finished()

    def _claim(self, grant: SlotGrant) -> None:
        """Own the slots that were granted to our shard, unless the source has taken them back since."""
        mine = 0
        for slot in slots_of(grant.mask):
            owner = self.topology.owners[slot]
            if owner is None or (owner is not self.topology.myself and owner.config_epoch <= grant.epoch):
                mine |= 1 << slot
        if mine:
            self.topology.set_owners(mine, self.topology.myself)
            self.cluster.file.mark(is_urgent=True)

    def leaving(self, now_ms: int) -> None:
        """Stop what can be stopped, because another node is to take our place."""
        self.cancel_exports("This node hands over", now_ms)
        for arriving in list(self.imports.values()):
            if not arriving.is_committed and arriving.session is not None:
                arriving.fail("The target hands over", now_ms)
        self._forget_finished()

    def reset(self, now_ms: int) -> None:
        """Forget every move: this node leaves its cluster."""
        self.leaving(now_ms)
        for job in list(self.jobs):
            if job.operation == EXPORT and not job.is_finished:
                self._end_export(job.name, job_state.FAILED, "This node was reset", now_ms)
        self._forget_grants()
        self._forget_finished()

    def _forget_grants(self) -> None:
        topology = self.topology
        self.outcome.forget()
        self.cluster.routing.release(topology.granted())
        if topology.grants or topology.takings:
            topology.grants.clear()
            topology.takings.clear()
            self.cluster.file.mark()

    def full_copy_begins(self, now_ms: int) -> None:
        """A replica is about to get a snapshot, which holds nothing of what is arriving."""
        for arriving in list(self.imports.values()):
            if not arriving.is_committed:
                arriving.fail("Full resynchronization occurred", now_ms)
        self._repeats_grants = self.is_source_switching()
        self._forget_finished()

    def full_copy_installed(self, now_ms: int) -> None:
        """Our data are another copy now: what we knew of moves belonged to the old one."""
        for arriving in list(self.imports.values()):
            arriving.drop("Full resynchronization occurred", now_ms)
        self._forget_finished()
        self._forget_grants()

    # Bookkeeping.

    def _begin_next(self, now_ms: int) -> None:
        """Begin the export that has waited longest, if none is under way."""
        if any(export.is_active or export.is_switching for export in self.exports.values()):
            return
        for export in list(self.exports.values()):
            export.begin(now_ms)
            return

    def _list(self, job: MigrationJob) -> None:
        self.jobs.insert(0, job)

    def _list_open_grant(self, grant: SlotGrant, now_ms: int) -> None:
        """Show a grant of an earlier process, or of our last master, and refuse what it is about."""
        job = MigrationJob(grant.name, EXPORT, grant.mask, grant.source_id, grant.target_id, now_ms)
        job.enter(job_state.GRANTED, now_ms)
        job.message = "Finding out whether the target has the slots"
        self._list(job)
        self.cluster.routing.hold(grant.mask, HELD_REFUSED)

    def _finish_job(self, name: str, how: str, message: str, now_ms: int) -> None:
        for job in self.jobs:
            if job.name == name and not job.is_finished:
                job.finish(how, message, now_ms)

    def _forget_finished(self) -> None:
        """Drop the halves of jobs that are over, and the oldest of the log."""
        for name, export in list(self.exports.items()):
            if export.job.is_finished:
                del self.exports[name]
                self._count(export.job)
        for name, arriving in list(self.imports.items()):
            if arriving.job.is_finished:
                del self.imports[name]
                self.keys_received += arriving.keys
                self.bytes_received += arriving.received_bytes
                self._count(arriving.job)
        finished = [job for job in self.jobs if job.is_finished]
        for job in finished[self.state.config.cluster_slot_migration_log_max_len :]:
            self.jobs.remove(job)

    def _count(self, job: MigrationJob) -> None:
        if job.state == job_state.SUCCESS:
            self.succeeded += 1
        else:
            self.failed += 1

    def _release_dropped(self) -> None:
        if self.dropped:
            keyspace = self.dropped[-1]
            keyspace.release(BUCKETS_RELEASED)
            if not keyspace.discarded:
                self.dropped.pop()

    def _repeat_grants(self) -> None:
        replication = self.state.replication
        if not self._repeats_grants or any(
            export.job.state == job_state.PAUSED for export in self.exports.values()
        ):
            return
        self._repeats_grants = False
        if replication.is_replica or not replication.is_feeding:
            return
        for grant in self.topology.grants.values():
            replication.feed(0, grant_words(b"GRANTED", grant))

    def _forget_takings(self, now_ms: int) -> None:
        """Forget a grant to us once a majority has answered a ping that was sent after our claim."""
        topology = self.topology
        for name, grant in list(topology.takings.items()):
            owner = topology.my_master() or topology.myself
            if self._is_overtaken(grant):
                del topology.takings[name]
                self.cluster.file.mark()
                continue
            if grant.mask & ~owner.slots:
                continue
            if owner is topology.myself:
                taken_ms = self._taken_ms.setdefault(name, now_ms)
                heard = [node for node in topology.voters() if node.answered_ms > taken_ms or node is owner]
                if len(heard) < topology.quorum():
                    continue
            del topology.takings[name]
            self._taken_ms.pop(name, None)
            self.cluster.file.mark()

    def _is_overtaken(self, grant: SlotGrant) -> bool:
        """Say whether all of the slots have gone on to other shards since."""
        head = self.topology.my_master()
        owners = [self.topology.owners[slot] for slot in slots_of(grant.mask)]
        return all(
            owner is not None and owner is not head and owner.config_epoch > grant.epoch for owner in owners
        )


def grant_words(word: bytes, grant: SlotGrant) -> list[bytes]:
    """Write a grant as a command for replicas."""
    words = [grant.name.encode(), grant.source_id.encode(), grant.target_id.encode(), b"%d" % grant.epoch]
    return [b"CLUSTER", b"SYNCSLOTS", word, *words, *range_words(grant.mask)]
