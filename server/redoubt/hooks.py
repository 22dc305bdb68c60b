"""What lower layers may ask of the dispatcher, the replication and the cluster without importing them.

Commands, persistence and sessions stand below these parts; they reach them through the abstract classes of
this module, which the parts subclass. One implementation each exists in the product; the tests may bring
their own, for which some of the compiled classes are open to interpreted subclasses. Nothing here decides
anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mypy_extensions import mypyc_attr

from redoubt.interfaces import FileJob, Link, LinkOwner

if TYPE_CHECKING:
    from redoubt.blocking import Waiter
    from redoubt.commands.declare import Row
    from redoubt.data.hash import Hash
    from redoubt.data.keyspace import Keyspace
    from redoubt.monitor import Monitors
    from redoubt.resp.replies import ErrorReply, Reply
    from redoubt.session import Session
    from redoubt.transaction import Transaction


class Dispatcher(LinkOwner):
    """Runs commands. The one implementation is `redoubt.dispatch`."""

    def __init__(self) -> None:
        # Keys that have changed and that clients wait for, in order: database, key. Kept by the waits.
        self.ready_keys: list[tuple[int, bytes]] = []

    def execute(self, ctx: Session, argv: list[bytes]) -> Reply:
        """Run one command with every check and propagate what it changed; the reply is not sent."""
        raise AssertionError

    def drain(self, ctx: Session) -> None:
        """Parse and run what stands in the session's buffer until it is empty or the session blocks."""
        raise AssertionError

    def reply(self, ctx: Session, reply: Reply) -> None:
        """Send one reply outside of a command's own: the end of a blocked command, a push."""
        raise AssertionError

    def resume_later(self, ctx: Session) -> None:
        """Have the session's postponed command and the rest of its buffer run at the end of this turn."""
        raise AssertionError

    def call(self, ctx: Session, row: Row, argv: list[bytes]) -> Reply:
        """Run a command that has been admitted, count it, and propagate what it changed."""
        raise AssertionError

    def call_admitted(self, ctx: Session, row: Row, argv: list[bytes]) -> Reply:
        """Call a command of a client that is special in some way: it may want to leave no trace."""
        raise AssertionError

    def call_untouched(self, ctx: Session, row: Row, argv: list[bytes]) -> Reply:
        """Call a reading command so that it leaves no trace of what it looks at."""
        raise AssertionError

    def serve(self, ctx: Session, waiter: Waiter, key: bytes) -> Reply:
        """Let a client that waits for a key try again, and propagate what it took; NO_REPLY: it waits."""
        raise AssertionError

    def begin_unit(self) -> None:
        """Collect what is propagated until `end_unit`: replicas apply it whole. Units may be nested."""
        raise AssertionError

    def end_unit(self) -> None:
        """Propagate what the outermost unit has collected, then serve who waited for its keys."""
        raise AssertionError

    def count_error(self, error: ErrorReply) -> None:
        """Count an error reply under its code; done for what is sent, and by EXEC for what it gathers."""
        raise AssertionError

    def measure_for(self, meter: UsageMeter | None) -> None:
        """Time every command from now on and tell the meter; None: time one in many again."""
        raise AssertionError

    def report_from(self, threshold_us: int, times_every_command: bool) -> None:
        """Report what takes at least so long; say whether that needs every command to be timed."""
        raise AssertionError

    def show_to(self, monitors: Monitors | None) -> None:
        """Show every command from now on to who monitors; None: to nobody."""
        raise AssertionError

    def reset_meter(self) -> None:
        """Let the meter, if there is one, count from zero again."""
        raise AssertionError


class UsageMeter:
    """Takes what each command cost, where somebody wants that (cluster-slot-stats-enabled)."""

    def note(
        self, ctx: Session, row: Row, argv: list[bytes], reply: Reply, usec: int, fed_bytes: int
    ) -> None:
        """Take one command that ran: its duration, and how many bytes of history it made."""
        raise AssertionError

    def reset(self) -> None:
        """Count from zero again."""
        raise AssertionError


class UpkeepHook:
    """The periodic work on the dataset, as the admission of commands and DEBUG see it."""

    def __init__(self) -> None:
        # Cleared by DEBUG SET-ACTIVE-EXPIRE 0.
        self.is_expiring = True

    def has_room(self) -> bool:
        """Evict if the dataset is beyond maxmemory; False if it stays so, and the command must be refused."""
        return True

    def reap_fields(
        self, keyspace: Keyspace, key: bytes, found: Hash, now_ms: int, named: list[bytes]
    ) -> bool:
        """Remove due fields of a hash that is being opened, if we may; say whether it is gone with them.

        named: fields that go in any case if they are due; of the others some.
        """
        return False


@mypyc_attr(allow_interpreted_subclasses=True)
class KeyListener:
    """Who wants to know which keys change; see `Keyspace.listeners`.

    A listener takes note and does nothing else: what follows from a change is done after the command.
    """

    def key_changed(self, database: int, key: bytes) -> None:
        """Take note that a key was written or deleted, or has expired."""

    def database_changed(self, database: int) -> None:
        """Take note that all keys are about to be deleted, or that keys have arrived otherwise."""

    def database_swapped(self, keyspace: Keyspace, other: Keyspace) -> None:
        """Take note that a database is about to get the contents of another (SWAPDB, a full copy)."""
        self.database_changed(keyspace.database)


@mypyc_attr(allow_interpreted_subclasses=True)
class ChangeListener:
    """Who wants to see every effective write of a master as it is fed to the history."""

    def changed(self, argv: list[bytes]) -> None:
        """Take note of one write."""
        raise AssertionError


@mypyc_attr(allow_interpreted_subclasses=True)
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
        # As a replica: a full copy is arriving.
        self.is_syncing = False
        # As a replica: the link to the master is up and past its sync.
        self.link_is_up = False
        self.link_down_since_ms = 0
        # The config epoch under which the data were written (0 outside cluster mode); travels with them.
        self.data_epoch = 0
        # True while write commands must be fed (a backlog exists): one test on the hot path.
        self.is_feeding = False
        # What we hold was made by us since it last agreed with another copy.
        self.has_own_writes = True
        # The file that keeps what an old master had and its successor lacks; empty if there is none.
        self.diverged = ""

    def start(self, now_ms: int) -> None:
        """Follow the master that the configuration names, if it names one."""

    def session_closed(self, ctx: Session) -> None:
        """Take note that a session that was a replica (or our link to a master) has ended."""

    def feed(self, database: int, argv: list[bytes]) -> None:
        """Append one effective write to the backlog and to every replica's link."""
        raise AssertionError

    def begin_unit(self) -> None:
        """Collect what is fed until `end_unit`, which appends it as one transaction. Units may be nested."""

    def end_unit(self) -> None:
        """End a unit; the outermost one appends what was collected."""

    def watch(self, listener: ChangeListener) -> None:
        """As a master: have a listener told of every write from now on."""
        raise AssertionError

    def unwatch(self, listener: ChangeListener) -> None:
        """Tell the listener nothing more; it need not be known."""

    def ask_for_acknowledgements(self) -> None:
        """Have every replica say at once how far it is."""

    def is_acknowledged(self, offset: int) -> bool:
        """Say whether every replica that is online has applied everything up to `offset`."""
        return True

    def mistrust_copy(self) -> None:
        """As a replica: our copy lacks something; ask our master for a full one."""

    def understands_slot_moves(self) -> bool:
        """Say whether every replica knows the commands of slot migrations: a real Redis does not."""
        return True

    def before_flush(self, now_ms: int) -> None:
        """Hand what this loop turn has fed to the replicas' links; called before the links are written."""

    def holds_replies(self) -> bool:
        """Say whether the clients' replies must wait: too few replicas' links have taken their bytes."""
        return False

    def set_data_epoch(self, epoch: int) -> None:
        """As a master: the writes from now on are made under this config epoch; told to every replica."""
        raise AssertionError

    def dump_fields(self) -> list[tuple[bytes, bytes]]:
        """Return what a snapshot of this moment must say of its place in the history: name, text."""
        return []

    def log_begins(self) -> None:
        """Have the history written down from here on, replicas or not: the log consists of it."""

    def log_synced(self) -> None:
        """Take note that the append-only file is durable up to a later place."""

    def stream_database(self) -> int:
        """Return the database in which the next command of the history runs, if it does not say."""
        return 0

    def restore(self, fields: dict[bytes, bytes], now_ms: int) -> None:
        """Go on in the history that the loaded snapshot named: a restart needs no full sync."""

    def next_tick_ms(self) -> int:
        """Return the clock reading at which `tick` is wanted, if sooner than in 100 ms; 0: no wish."""
        return 0

    def follow(self, host: str, port: int, now_ms: int) -> None:
        """Become the replica of host:port, keeping our history for a partial resync where it allows."""
        raise AssertionError

    def master_address(self) -> tuple[str, int]:
        """Return host and port of the master that is followed now; port 0: none."""
        return ("", 0)

    def lead(self, now_ms: int) -> None:
        """Become a master: the old replid moves to replid2, a new one is drawn; replicas stay."""
        raise AssertionError

    def tick(self, now_ms: int) -> None:
        """Ping, acknowledge, time out, feed full syncs."""

    def backlog_bytes(self) -> int:
        """Return what the backlog occupies."""
        return 0

    def replica_count(self) -> int:
        """Count the replicas that are online."""
        return 0

    def unsent_bytes(self) -> int:
        """Sum what the links of online replicas hold unsent."""
        return 0


@mypyc_attr(allow_interpreted_subclasses=True)
class ClusterHook:
    """The cluster of this server, as dispatch and commands see it; None in ServerState when disabled."""

    def refusal(self, ctx: Session, row: Row, argv: list[bytes]) -> Reply:
        """Say why this command may not run here (MOVED, ASK, CROSSSLOT, CLUSTERDOWN), or None.

        NO_REPLY: the command was held back, since this master does not know whether it still is one.
        """
        raise AssertionError

    def redirect_waiters(self) -> None:
        """Tell who waits for keys where they are now, if that is no longer here."""

    def refusal_of_transaction(
        self, ctx: Session, row: Row, argv: list[bytes], transaction: Transaction
    ) -> Reply:
        """Say why what MULTI has queued may not run here as a whole; `row` and `argv` are EXEC's."""
        return None

    def may_full_sync(self, replid: str, replid2: str, offset: int) -> bool:
        """Say whether, as a replica, we accept the full sync our master offers with this new history.

        `replid2`: the history that the offered one continues; empty if the master did not say (real Redis).
        """
        return True

    def master_link_ended(self, now_ms: int) -> None:
        """Take note that everything our master has sent us is applied: its stream has ended."""

    def history_applied(self, now_ms: int) -> None:
        """Take note that, as a replica, we have our master's data up to a later place, or at all."""

    def start(self, now_ms: int) -> None:
        """Begin, once the configuration is read and before the first connection."""

    def accepted(self, peer: str, local: str, now_ms: int) -> Link:
        """Make the link for a connection that arrived on the bus port."""
        raise AssertionError

    def tick(self, now_ms: int) -> None:
        """Gossip, detect failures, hold elections."""

    def next_tick_ms(self) -> int:
        """Return the clock reading at which `tick` is wanted, if sooner than in 100 ms; 0: no wish."""
        return 0

    def publish(self, channel: bytes, payload: bytes, is_sharded: bool, now_ms: int) -> None:
        """Send a publication to every node, or to those of this shard."""
        raise AssertionError

    def link_bytes(self) -> int:
        """Count what waits to be sent on the streams of the bus (INFO)."""
        return 0

    def holds_history(self) -> bool:
        """Say whether the replication must add nothing of its own: a replica waits for our final offset."""
        return False

    def is_changing_owner(self, key: bytes) -> bool:
        """Say whether nothing may change under this key: its slot is passing to another node just now."""
        return False

    def slot_import_closed(self, ctx: Session) -> None:
        """Take note that a stream on which slots arrived has ended."""

    def is_importing(self) -> bool:
        """Say whether there is data that a snapshot does not hold: slots that are arriving."""
        return False

    def full_copy_begins(self, now_ms: int) -> None:
        """Take note that a replica is about to get a snapshot, without the slots that are arriving."""

    def full_copy_installed(self) -> None:
        """Take note that our data have been replaced by a full copy of our master's."""

    def leave(self, now_ms: int, deadline_ms: int) -> bool:
        """Hand over before the process ends; called at every tick. False as soon as nothing is left to do."""
        return False


@mypyc_attr(allow_interpreted_subclasses=True)
class PersistenceHook:
    """The files of this server, as the node and the commands see them."""

    def load(self, now_ms: int) -> None:
        """Begin to load the dataset; raises GATE_LOADING and lowers it at the end."""

    def save(self, job: FileJob, now_ms: int) -> None:
        """Begin to write the whole dataset; `job.done` is told of the outcome."""
        raise AssertionError

    def fork_figures(self) -> tuple[int, int]:
        """Return how often a child was forked, and how long the last fork took in microseconds."""
        return (0, 0)

    def loaded_otherwise(self, keys_loaded: int, now_ms: int) -> None:
        """Take note that the dataset has come from the append-only file."""

    def is_saving(self) -> bool:
        """Say whether a save in the background is under way."""
        return False

    def refresh_gate(self) -> None:
        """Refuse writes while the disk refuses ours, as far as that is configured."""

    def disk_refusal(self) -> str:
        """Say what the append-only file suffers from; empty if it is the snapshots."""
        return ""

    def saves_at_exit(self) -> bool:
        """Say whether save points are configured, so that SHUTDOWN without an argument saves."""
        return False

    def tick(self, now_ms: int) -> None:
        """Start saves that are due, write slices of those under way."""

    def next_tick_ms(self) -> int:
        """Return the clock reading at which `tick` is wanted, if sooner than in 100 ms; 0: no wish."""
        return 0


@mypyc_attr(allow_interpreted_subclasses=True)
class AppendLogHook:
    """The append-only file, as the runtime, replication and commands see it."""

    def __init__(self) -> None:
        # Something waits to be written at the end of this loop turn.
        self.is_dirty = False
        # Every change is logged now, so that the data survive the process.
        self.is_on = False
        # The history has to be written down, for the log.
        self.wants_history = False
        self.is_rewriting = False  # a new base is being written
        # Up to which offset of the replication history everything is durable; -1: nothing is.
        self.synced_offset = -1

    def append(self, data: bytes) -> None:
        """Take bytes of the history that have just been counted in the replication offset."""

    def flush(self, now_ms: int) -> None:
        """Wish for what waits to be written: before this turn's replies leave."""

    def copy_begins(self) -> None:
        """Take note that, as a replica, our data are about to be replaced; until then nothing is logged."""

    def copy_ended(self, is_installed: bool) -> None:
        """Take note that our data have been replaced, or are what they were."""

    def dataset_loaded(self, now_ms: int) -> None:
        """Take note that the dataset of the start is complete."""

    def close(self, now_ms: int) -> None:
        """Make everything durable: the process is about to end."""

    def write_error(self) -> str:
        """Say why nothing can be logged; empty if it can."""
        return ""


class LifecycleHook:
    """What commands may ask of the node itself."""

    def begin_shutdown(
        self, saves: bool | None, is_now: bool, is_forced: bool, now_ms: int, ctx: Session | None = None
    ) -> bool:
        """Begin to hand over, save (None: if configured) and exit; False if that is under way already.

        ctx: the client that asked; it is blocked until the end or until the shutdown fails.
        """
        raise AssertionError

    def abort_shutdown(self) -> bool:
        """Call off a shutdown that waits; False if there is none."""
        raise AssertionError


class ScriptingHook:
    """Scripts and function libraries, as admission, persistence and replication see them."""

    def busy_refusal(self) -> ErrorReply:
        """Return what clients get while a script runs for too long."""
        raise AssertionError

    def figures(self) -> list[tuple[str, int]]:
        """Return what INFO memory says of scripts: name, number."""
        raise AssertionError

    def library_codes(self) -> list[bytes]:
        """Return the code of every function library, for a snapshot."""
        raise AssertionError

    def install_libraries(self, codes: list[bytes]) -> str:
        """Have the libraries of a snapshot and no others; return what is wrong with them, if anything."""
        raise AssertionError


@mypyc_attr(allow_interpreted_subclasses=True)
class ProcessHook:
    """What only the process around the node knows; all zero where there is none (tests, simulation)."""

    def __init__(self) -> None:
        self.pid = 0
        self.executable = ""
        self.operating_system = ""
        self.memory_total_bytes = 0
        # What the process occupied before it held any data.
        self.resident_start_bytes = 0

    def resident_bytes(self) -> int:
        """Return the memory that the process occupies now."""
        return 0

    def give_back_memory(self) -> bool:
        """Have the allocator return to the system what it holds without use; say whether it can."""
        return False

    def monotonic_ms(self) -> int:
        """Read a clock for durations while a script runs."""
        return 0

    def serve_others(self, caller: Session) -> None:
        """Read, run and answer what other clients have sent, from within a script of the caller."""

    def show_life(self) -> None:
        """Answer the bus and the health port, and nothing else, from within a script."""

    def served_others(self) -> None:
        """Take note that the script has ended in which others were served or life was shown."""

    def cpu_seconds(self) -> tuple[float, float, float, float]:
        """Return the CPU time used: own system and user, system and user of ended children."""
        return (0.0, 0.0, 0.0, 0.0)

    def unguessable(self, count: int) -> bytes:
        """Return random bytes that are good for secrets."""
        return bytes(count)
