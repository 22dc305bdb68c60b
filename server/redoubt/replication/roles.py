"""Replication: the history of this server's data, and whether it makes that history or follows another's.

A dataset is the result of a history: a stream of commands that begins somewhere and is counted in bytes. Its
name (`replid`) and a position in it (`offset`) say exactly what a copy holds. A master makes the history; a
replica applies its master's and hands the same bytes on, so chains work. When a replica becomes a master it
names the history anew and keeps the old name (`replid2`, valid up to `offset2`): its old siblings, and even
its old master if that was not ahead, can go on with it without a full copy. Who was ahead cannot, and copies
everything: what only it had is lost to the history (see `redoubt.replication.diverged`).

Copies of different histories are compared by `data_epoch` first, the cluster's config epoch under which the
data were written, then by offset. The epoch travels in the snapshot (auxiliary field redoubt-epoch) and in
the history itself, as a PING with an argument, which every Redis ignores: so it reaches exactly as far as the
data do.

This class is what the rest of the server sees (`ReplicationHook`). Its halves are `master` (our replicas) and
`replica` (our link to a master); both are always there, since a replica may have replicas.
Source: the replication page of the Redis documentation (PSYNC2).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from redoubt.hooks import ChangeListener, ReplicationHook
from redoubt.interfaces import LANE_CLIENT, FindFiles, RemoveFile
from redoubt.replication.backlog import Backlog
from redoubt.replication.discard import Discard
from redoubt.replication.diverged import PREFIX, DivergedCopy, KeptFiles
from redoubt.replication.failover import Failover
from redoubt.replication.master import Master
from redoubt.replication.replica import EPOCH_MARK, MasterLink
from redoubt.resp.replies import encode_command
from redoubt.session import GATE_MIN_REPLICAS, GATE_REPLICA, GATE_STALE, Session

if TYPE_CHECKING:
    from redoubt.state import ServerState

log = logging.getLogger("redoubt")

NO_REPLID: Final = "0" * 40


class Replication(ReplicationHook):
    """The replication of one server; see the module's docstring."""

    def __init__(self, state: ServerState) -> None:
        super().__init__()
        self.state = state
        self.replid = self._new_replid()
        self.replid2 = NO_REPLID
        self.backlog: Backlog | None = None
        self.master = Master(self)
        self.link: MasterLink | None = None
        self.diverged_copy: DivergedCopy | None = None
        self.discard = Discard()
        self.failover: Failover | None = None
        # The database that the history is in: -1 forces the next write to say it.
        self.database = -1
        # What the unit (EXEC, a script) that is running has fed, with its database.
        self._unit: list[tuple[int, list[bytes]]] = []
        self._unit_depth = 0
        # What this loop turn has fed and the links have not been handed.
        self._pending: list[bytes] = []
        self._wants_acknowledgements = False
        # What `is_synced` was before the full copy that is arriving.
        self._was_synced = False
        # Some replica has followed us under the present name of the history.
        self.is_name_known = False
        # The replies of this and earlier turns wait for replicas' links.
        self._is_holding = False
        # We have neither made history nor copied any: there is nothing that could be continued.
        self.is_new = True
        # Who is told of each write: slots on their way to another node.
        self._watchers: list[ChangeListener] = []
        # Commands of the history that failed here; see `redoubt.replication.replica`.
        self.failed_commands = 0

    # What the master half does for the rest of the server.

    def feed(self, database: int, argv: list[bytes]) -> None:
        """Append one effective write to the history."""
        for watcher in self._watchers:
            watcher.changed(argv)
        if self._unit_depth:
            self._unit.append((database, argv))
            return
        self._write(database, argv)

    def begin_unit(self) -> None:
        """Collect what is fed until `end_unit`, which appends it as one transaction. Units may be nested."""
        self._unit_depth += 1

    def end_unit(self) -> None:
        """End a unit; the outermost one appends what was collected."""
        self._unit_depth -= 1
        if self._unit and not self._unit_depth:
            self._write_unit()

    def _write_unit(self) -> None:
        """Append what a unit has collected: one command as it is, several as a transaction."""
        unit, self._unit = self._unit, []
        is_several = len(unit) > 1
        if is_several:
            self._write(unit[0][0], [b"MULTI"])
        for database, argv in unit:
            self._write(database, argv)
        if is_several:
            self._append(encode_command([b"EXEC"]))

    def _write(self, database: int, argv: list[bytes]) -> None:
        if database != self.database:
            self.database = database
            self._append(encode_command([b"SELECT", b"%d" % database]))
        self._append(encode_command(argv))

    def before_flush(self, now_ms: int) -> None:
        """Hand what this turn has fed to the backlog and the replicas, as one chunk."""
        if self._wants_acknowledgements:
            self._wants_acknowledgements = False
            if not self.is_replica and self.master.peers:
                self._append(encode_command([b"REPLCONF", b"GETACK", b"*"]))
        if self._pending:
            data = self._pending[0] if len(self._pending) == 1 else b"".join(self._pending)
            self._pending = []
            assert self.backlog is not None
            self.backlog.append(data)
            self.master.feed(data)
            self.state.log.append(data)

    def relay(self, data: bytes) -> None:
        """Hand on bytes of our master's history that have been applied here."""
        self.offset += len(data)
        if self.backlog is not None:
            self.backlog.append(data)
            self.master.feed(data)
        self.state.log.append(data)

    def set_data_epoch(self, epoch: int) -> None:
        """As a master: the writes from now on are made under this config epoch; told to every replica."""
        if epoch != self.data_epoch:
            self.data_epoch = epoch
            if self.is_feeding:
                self._append(encode_command([b"PING", EPOCH_MARK + b"%d" % epoch]))

    def watch(self, listener: ChangeListener) -> None:
        """Have a listener told of every write; for that the history is written down, replicas or not."""
        if self.backlog is None and not self.master.peers:
            self.master.alone_since_ms = self.state.now_ms  # repl-backlog-ttl frees it again
        self._begin_history()
        self._watchers.append(listener)

    def unwatch(self, listener: ChangeListener) -> None:
        """Tell the listener nothing more; it need not be known."""
        self._watchers = [watcher for watcher in self._watchers if watcher is not listener]

    def log_begins(self) -> None:
        """Have the history written down from here on, replicas or not: the log consists of it."""
        if not self.is_replica:
            self._begin_history()

    def log_synced(self) -> None:
        """Answer who waits for that, and tell our master."""
        if self.master.waiters:
            self.master.answer_waiters()
        if self.link is not None and self.link_is_up:
            self.link.acknowledge()

    def stream_database(self) -> int:
        """Return the database in which the next command of the history runs, if it does not say."""
        return max(self.database, 0)

    def begin_history_for_copy(self) -> None:
        """Prepare a full sync: the history is written down from here on, at least."""
        if self.state.cluster is not None and not self.is_replica:
            self.state.cluster.full_copy_begins(self.state.now_ms)
        self.before_flush(self.state.now_ms)
        self._begin_history()
        self.database = -1  # a copy has no selected database

    def _begin_history(self) -> None:
        if self.backlog is None:
            # Writes have not been counted so far: what the old name says is not true for any copy.
            self.replid = self._new_replid()
            self.replid2 = NO_REPLID
            self.offset2 = -1
            self._keep_history()

    def ask_for_acknowledgements(self) -> None:
        """Have every replica say at once how far it is."""
        self._wants_acknowledgements = True

    def is_acknowledged(self, offset: int) -> bool:
        """Say whether every replica that is online has applied everything up to `offset`."""
        return self.master.acknowledged_count(offset) >= self.master.online_count()

    def mistrust_copy(self) -> None:
        """As a replica: our copy lacks something; ask our master for a full one."""
        if self.link is not None:
            self.link.ask_anew("the history continues what our copy does not have")

    def understands_slot_moves(self) -> bool:
        """Say whether every replica knows the commands of slot migrations: a real Redis does not."""
        return all(peer.is_redoubt for peer in self.master.peers)

    def can_continue(self, replid: str, offset: int) -> bool:
        """Say whether a copy that has `replid` up to before byte `offset` is a prefix of our history."""
        is_ours = replid == self.replid or (replid == self.replid2 and offset <= self.offset2)
        self.before_flush(self.state.now_ms)
        return is_ours and self.backlog is not None and self.backlog.has(offset)

    def replica_count(self) -> int:
        """Count the replicas that are online."""
        return self.master.online_count()

    def unsent_bytes(self) -> int:
        """Sum what the links of replicas that are online have not handed to the kernel of the other side."""
        return self.master.unsent_bytes()

    def holds_replies(self) -> bool:
        """Say whether too few replicas have been sent everything for the promise of min-replicas-to-write.

        Without enough good replicas writes are refused and nothing is promised: then no reply may wait, or
        nobody could even be told, nor ask with INFO what is wrong. What waited until then would be a promise
        that is not kept: those clients are closed instead, and know no more than is true.
        """
        wanted = self.state.config.min_replicas_to_write
        if wanted == 0 or self.is_replica:
            self._is_holding = False
            return False
        is_promising = self.master.good_count() >= wanted
        if self._is_holding and not is_promising:
            self._break_promise()
        self._is_holding = is_promising and self.master.sent_count() < wanted
        return self._is_holding

    def _break_promise(self) -> None:
        """Close the clients whose replies have waited for replicas that are not good any more."""
        for link in self.state.dirty_lanes[LANE_CLIENT]:
            link.out.clear()
            self.state.close(link)

    def session_closed(self, ctx: Session) -> None:
        """Take note that the link of a replica has ended."""
        self.master.lose(ctx)

    # Roles.

    def follow(self, host: str, port: int, now_ms: int) -> None:
        """Become the replica of host:port, keeping our history for a partial resync where it allows."""
        before = self.link
        if before is not None and before.host == host and before.port == port:
            return
        self._write_unit()  # in the middle of a transaction: what it did so far is our last word
        self.before_flush(now_ms)
        if before is not None:
            before.stop()
        else:
            self.is_synced = False
            self._forget_idle_promotion()
        self.is_replica = True
        self.is_feeding = False
        self.link_is_up = False
        self.link_down_since_ms = now_ms
        self.master.unblock_all()
        if self.state.cluster is not None:
            self.state.cluster.redirect_waiters()
        self.state.blocking.end_key_waits()
        self.link = MasterLink(self, host, port, now_ms)
        self.link.tick(now_ms)
        self.refresh_gates()
        log.info("Now a replica of %s:%d", host, port)

    def master_address(self) -> tuple[str, int]:
        """Return host and port of the master that is followed now; port 0: none."""
        return ("", 0) if self.link is None else (self.link.host, self.link.port)

    def lead(self, now_ms: int) -> None:
        """Become a master: the old name of the history is kept for our siblings, a new one is drawn."""
        if self.link is None:
            return
        self.link.stop()
        self.link = None
        self.is_replica = False
        self.is_synced = True
        self.link_is_up = False
        self.has_own_writes = True
        self._rename_history()
        self.state.log.copy_ended(True)  # a copy that broke off has cost us what we had
        # Our replicas must learn the new name; they come back and continue.
        self.master.disconnect_all()
        self.refresh_gates()
        log.info("Now a master, replid %s, offset %d", self.replid, self.offset)

    def synced(self, now_ms: int) -> None:
        """Take note that our copy is complete and the history flows (called by the link)."""
        self.is_synced = True
        self.is_syncing = False
        self.link_is_up = True
        self.has_own_writes = False
        self.refresh_gates()

    def failover_state(self) -> str:
        """Return the stage of a FAILOVER in the words of INFO."""
        return "no-failover" if self.failover is None else self.failover.stage

    def link_lost(self, now_ms: int) -> None:
        """Take note that the history has stopped flowing (called by the link)."""
        self.is_syncing = False
        if self.link_is_up:
            self.link_is_up = False
            self.link_down_since_ms = now_ms
        self.refresh_gates()

    def has_no_history(self) -> bool:
        """Say whether our data are the result of no history that any master could continue."""
        return self.is_new

    def must_preserve(self) -> bool:
        """Say whether a full copy would destroy writes that nobody else may have."""
        if not self.has_own_writes or self.state.cluster is None:
            return False
        return self.state.config.diverged_size_max > 0 and any(map(len, self.state.keyspaces))

    def preserved(self, name: str) -> None:
        """Take note that our own writes are kept in a file, or cannot be."""
        self.diverged_copy = None
        self.has_own_writes = False
        if name:
            if self.diverged and self.diverged != name:
                self.state.effects.append(RemoveFile(f"{self.state.config.dir}/{self.diverged}"))
            self.diverged = name

    def copy_begins(self) -> None:
        """Take note that a full copy is arriving: until it is complete we are no copy of anything."""
        self._was_synced = self.is_synced
        self.is_synced = False
        self.is_syncing = True
        self.state.log.copy_begins()
        # Our replicas have what is about to be replaced; they come back for the new.
        self.master.disconnect_all()

    def copy_failed(self, has_dropped_old: bool) -> None:
        """Take note that the full copy broke off: what we had is still there, or nothing is."""
        self.is_syncing = False
        if not has_dropped_old:
            self.is_synced = self._was_synced
            self.state.log.copy_ended(False)
            return
        # Nothing may be continued from here, by us or by others: the name must not outlive the data.
        self.replid = self._new_replid()
        self.replid2 = NO_REPLID
        self.offset = 0
        self.offset2 = -1
        self.backlog = None
        self.data_epoch = 0
        self.is_new = True

    def adopt(self, replid: str, offset: int, fields: dict[bytes, bytes]) -> None:
        """Take over the history of the full copy that has just been put in place."""
        self.replid = replid
        self.replid2 = NO_REPLID
        self.offset = offset
        self.offset2 = -1
        self.database = int(fields.get(b"repl-stream-db", b"-1"))
        self.data_epoch = int(fields.get(b"redoubt-epoch", b"0"))
        self.backlog = Backlog(self.state.config.repl_backlog_size, offset)
        self.is_new = False
        self.state.log.copy_ended(True)
        if self.state.cluster is not None:
            self.state.cluster.full_copy_installed()

    def rename(self, replid: str) -> None:
        """Go on in the same history under the name that our master gives it now."""
        if replid != self.replid:
            self.replid2 = self.replid
            self.offset2 = self.offset + 1
            self.replid = replid
            self.master.disconnect_all()
        if self.backlog is None:
            self.backlog = Backlog(self.state.config.repl_backlog_size, self.offset)

    # Files and time.

    def start(self, now_ms: int) -> None:
        """Follow the master that the configuration names, if it names one; look for a file that was kept."""
        if self.state.config.cluster_enabled:
            self.state.effects.append(FindFiles(KeptFiles(self.state), self.state.config.dir, PREFIX))
        host, port = self.state.config.replicaof
        if host:
            self.follow(host, port, now_ms)

    def dump_fields(self) -> list[tuple[bytes, bytes]]:
        """Return what a snapshot of this moment must say of its place in the history."""
        fields = []
        # Of slots that are arriving the snapshot holds nothing: who starts from it needs a full copy.
        is_importing = self.state.cluster is not None and self.state.cluster.is_importing()
        if (self.backlog is not None or self.is_replica) and not is_importing:
            fields = [
                (b"repl-stream-db", b"%d" % max(self.database, 0)),
                (b"repl-id", self.replid.encode()),
                (b"repl-offset", b"%d" % self.offset),
            ]
        if not self.has_own_writes:
            fields.append((b"redoubt-copied", b"1"))
        if self.data_epoch:
            fields.append((b"redoubt-epoch", b"%d" % self.data_epoch))
        return fields

    def restore(self, fields: dict[bytes, bytes], now_ms: int) -> None:
        """Go on in the history that the loaded snapshot named: a restart needs no full sync."""
        self.data_epoch = int(fields.get(b"redoubt-epoch", b"0"))
        self.has_own_writes = b"redoubt-copied" not in fields
        replid = fields.get(b"repl-id", b"").decode("latin-1")
        offset = int(fields.get(b"repl-offset", b"-1"))
        if len(replid) != 40 or offset < 0:
            return
        self.replid = replid
        self.offset = offset
        self.is_new = False
        self.database = int(fields.get(b"repl-stream-db", b"-1"))
        if not self.is_replica:
            self._rename_history()
            self.master.alone_since_ms = now_ms

    def tick(self, now_ms: int) -> None:
        """Ping, acknowledge, time out, feed full syncs."""
        self.discard.tick()
        if self.link is not None:
            self.link.tick(now_ms)
        if self.diverged_copy is not None:
            self.diverged_copy.tick()
        self.master.tick(now_ms)
        if self.failover is not None:
            self.failover.tick(now_ms)
        if not self.is_replica and self.failover is None:
            self._ping(now_ms)
            self._forget_history_when_alone(now_ms)
        config = self.state.config
        if self.backlog is not None and self.backlog.size_bytes_max != config.repl_backlog_size:
            self.backlog.resize(config.repl_backlog_size)
        self.refresh_gates()

    def next_tick_ms(self) -> int:
        """Ask for the next slice of whatever is done in slices soon."""
        is_busy = self.master.is_sending() or not self.discard.is_empty() or self.diverged_copy is not None
        if self.link is not None and self.link.wants_tick():
            is_busy = True
        # Whether the kernel of a replica has taken its bytes is sampled at each tick.
        is_busy = is_busy or self.holds_replies()
        return self.state.now_ms + 1 if is_busy else 0

    def refresh_gates(self) -> None:
        """Raise and lower what stands before commands because of replication."""
        config = self.state.config
        is_replica = self.is_replica
        wanted = config.min_replicas_to_write
        self._set_gate(GATE_REPLICA, is_replica and config.replica_read_only)
        self._set_gate(GATE_STALE, is_replica and not self.link_is_up and not config.replica_serve_stale_data)
        self._set_gate(GATE_MIN_REPLICAS, not is_replica and wanted > 0 and self.master.good_count() < wanted)

    def _set_gate(self, bit: int, is_set: bool) -> None:
        if bool(self.state.gates & bit) != is_set:
            self.state.set_gate(bit, is_set)

    def _append(self, data: bytes) -> None:
        self._pending.append(data)
        self.offset += len(data)

    def _new_replid(self) -> str:
        return f"{self.state.random.getrandbits(160):040x}"

    def _keep_history(self) -> None:
        self.backlog = Backlog(self.state.config.repl_backlog_size, self.offset)
        self.is_feeding = True
        self.is_new = False

    def _rename_history(self) -> None:
        """Make history ourselves from here on, under a new name; the old one is valid up to here."""
        self.is_name_known = False
        self.replid2 = self.replid
        self.offset2 = self.offset + 1
        self.replid = self._new_replid()
        self.database = -1
        if self.backlog is None:
            self._keep_history()
        self.is_feeding = True

    def _forget_idle_promotion(self) -> None:
        """Go back to the old name if nothing was written under the new one and nobody has learned it."""
        if self.is_name_known:
            return
        if self.replid2 != NO_REPLID and self.offset2 == self.offset + 1:
            self.replid = self.replid2
            self.replid2 = NO_REPLID
            self.offset2 = -1
            self.master.disconnect_all()

    def _ping(self, now_ms: int) -> None:
        period_ms = self.state.config.repl_ping_replica_period * 1000
        cluster = self.state.cluster
        if cluster is not None and cluster.holds_history():
            return
        if self.master.peers and self.is_feeding and now_ms - self.master.pinged_ms >= period_ms:
            self.master.pinged_ms = now_ms
            self._append(encode_command([b"PING"]))

    def _forget_history_when_alone(self, now_ms: int) -> None:
        """Free the backlog after repl-backlog-ttl without replicas; uncounted writes need a new name."""
        ttl_ms = self.state.config.repl_backlog_ttl * 1000
        since_ms = self.master.alone_since_ms
        if self.backlog is None or ttl_ms == 0 or since_ms == 0 or now_ms - since_ms < ttl_ms:
            return
        if self._watchers or self.state.log.wants_history:
            return
        self.before_flush(now_ms)
        self.backlog = None
        self.is_feeding = False
        self.replid = self._new_replid()
        self.replid2 = NO_REPLID
        self.offset2 = -1
        self.master.alone_since_ms = 0
        log.info("Replication backlog freed after %d ms without replicas.", ttl_ms)
