"""One server without its process: bytes and clock readings in, bytes and effects out.

The node puts the parts of a server together (keyspaces, dispatcher, replication, persistence, cluster) and
passes on to them what happens at the edges. `redoubt.runtime` drives it with real sockets, files and time;
`tests/sim` drives several with fake ones; both call exactly the methods that stand under "The edges".

Contract with who drives it: after any call, end the loop turn: `take_effects` until it returns nothing,
fulfilling each in order, then write the dirty lanes (replicas, bus, clients) of `state.dirty_lanes`. Time is
a reading of the wall clock in milliseconds that never goes back (`runtime/clock.py`).

Here is composition only; every decision is in the parts.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Final

from redoubt import info_sections, metrics_server  # noqa: F401 - they register their figures
from redoubt.access.users import Users
from redoubt.blocking import Blocking
from redoubt.clients import Clients
from redoubt.cluster import (  # noqa: F401 - they register, too
    changes,
    facts,
    migration_commands,
    migration_facts,
    role_commands,
    slot_stats,
)
from redoubt.cluster import commands as cluster_commands  # noqa: F401
from redoubt.cluster.cluster import Cluster
from redoubt.commands import (  # noqa: F401 - they register their commands
    acl,
    acl_records,
    append_only,
    bitfield,
    bitmap,
    client,
    client_tracking,
    configuration,
    connection,
    counter,
    database,
    debug,
    dump,
    expiry,
    function,
    generic,
    geo,
    geo_search,
    hash,
    hash_expiry,
    hash_field_values,
    hash_reading,
    hyperloglog,
    introspection,
    iteration,
    latency,
    lcs,
    list_blocking,
    list_middle,
    lolwut,
    memory,
    migrate,
    module,
    monitor,
    objects,
    persistence,
    pubsub,
    script,
    server,
    set,
    set_algebra,
    slowlog,
    sort,
    sorted_set,
    sorted_set_algebra,
    sorted_set_blocking,
    sorted_set_range,
    stream,
    stream_group,
    stream_info,
    stream_pending,
    stream_range,
    stream_reading,
    string,
    string_range,
    transaction,
)
from redoubt.commands import list as list_commands  # noqa: F401
from redoubt.commands.key_transfer import Transfers
from redoubt.data.keyspace import Keyspace
from redoubt.data.memory import used_memory
from redoubt.dispatch import ClientDispatcher
from redoubt.hooks import LifecycleHook
from redoubt.interfaces import LISTEN_BUS, LISTEN_CLIENT, Effect, Exit, Link, OpenListener
from redoubt.keyspace_events import KeyspaceEvents
from redoubt.latency import LatencyMonitor
from redoubt.monitor import Monitors
from redoubt.persist.append_log import AppendLog
from redoubt.persist.dump_file import DumpFile
from redoubt.pubsub import PubSub
from redoubt.replication import commands as replication_commands  # noqa: F401
from redoubt.replication import figures  # noqa: F401
from redoubt.replication.roles import Replication
from redoubt.scripting.engine import Scripting
from redoubt.session import GATE_LOADING, Session
from redoubt.shutdown import ABORTED, Shutdown
from redoubt.slow_commands import SlowCommands
from redoubt.slowlog import SlowLog
from redoubt.state import ServerState
from redoubt.tracking import Tracking
from redoubt.upkeep import Upkeep
from redoubt.watches import Watches

if TYPE_CHECKING:
    from redoubt.config import Config

TICK_MS: Final = 100
# While expiry or eviction have more to do than one tick may take.
BUSY_TICK_MS: Final = 10


def no_clock() -> int:
    """Stand in for the sampling clock where durations do not matter."""
    return 0


class Node(LifecycleHook):
    """One server; see the module's docstring."""

    def __init__(
        self, config: Config, random: Random, now_ms: int, clock_us: Callable[[], int] = no_clock
    ) -> None:
        self.state = ServerState(config, random, now_ms)
        state = self.state
        self.dispatcher = ClientDispatcher(state, clock_us)
        state.dispatcher = self.dispatcher
        state.users = Users(state)
        state.lifecycle = self
        state.slow_log = SlowLog(state)
        state.latency = LatencyMonitor(state, clock_us)
        state.slow_commands = SlowCommands(state, state.slow_log, state.latency)
        state.blocking = Blocking(state)
        state.pubsub = PubSub()
        state.monitors = Monitors(state)
        state.tracking = Tracking(state)
        state.watches = Watches(state)
        state.transfers = Transfers(state)
        state.scripting = Scripting(state)
        for number in range(1 if config.cluster_enabled else config.databases):
            keyspace = Keyspace(number, random, config.cluster_enabled)
            keyspace.on_expired = self.dispatcher.key_expired
            state.keyspaces.append(keyspace)
        state.events = KeyspaceEvents(state)
        state.replication = Replication(state)
        state.persistence = DumpFile(state)
        self.log = AppendLog(state)
        state.log = self.log
        self.upkeep = Upkeep(state, clock_us)
        state.upkeep = self.upkeep
        state.users.begin()
        state.limits.follow(config)
        self.clients = Clients(state)
        self.ticked_ms = now_ms
        self.shutdown: Shutdown | None = None

    def start(self, nodes_conf: bytes, now_ms: int) -> None:
        """Begin to load and to listen. nodes_conf: the cluster's file as the last process left it."""
        state = self.state
        config = state.config
        state.now_ms = now_ms
        # Nobody is followed before our own place in a history is known.
        state.set_gate(GATE_LOADING, True)
        state.replication.start(now_ms)
        if config.appendonly == "yes":
            self.log.load(now_ms)
        else:
            state.persistence.load(now_ms)
        if state.config.cluster_enabled:
            state.cluster = Cluster(state, nodes_conf, now_ms)
            state.cluster.start(now_ms)
        state.effects.append(OpenListener(LISTEN_CLIENT))

    # The edges.

    def accepted(self, kind: int, peer: str, local: str, now_ms: int) -> Link:
        """Make the link of a connection that has been accepted; it may have to be closed at once."""
        state = self.state
        state.now_ms = now_ms
        if kind == LISTEN_BUS:
            assert state.cluster is not None
            return state.cluster.accepted(peer, local, now_ms)
        refusal = self.clients.refusal(peer)
        session = self.dispatcher.accept(peer, local)
        if refusal:
            state.statistics.connections_rejected += 1
            session.out.append(refusal)
            session.closes_after_flush = True
            state.mark_dirty(session)
        return session

    def opened(self, link: Link, now_ms: int) -> None:
        """Pass on that a dialled link is connected."""
        self.state.now_ms = now_ms
        link.owner.opened(link, now_ms)

    def failed(self, link: Link, is_refused: bool, now_ms: int) -> None:
        """Pass on that a dialled link could not be connected."""
        self.state.now_ms = now_ms
        link.owner.failed(link, is_refused, now_ms)

    def received(self, link: Link, data: bytes, now_ms: int) -> None:
        """Pass on bytes that arrived."""
        self.state.now_ms = now_ms
        if not link.is_closed and not link.closes_after_flush:
            link.owner.received(link, data, now_ms)
            if self.state.config.maxmemory_clients and isinstance(link, Session):
                self.clients.memory.received(link)

    def piled_up(self, link: Link, now_ms: int) -> None:
        """Look at a link whose kernel did not take everything; `link.unsent_bytes` says what remains."""
        if isinstance(link, Session):
            self.clients.check_output(link, now_ms)

    def drained(self, link: Link, now_ms: int) -> None:
        """Pass on that everything that was unsent for a while has been taken."""
        self.state.now_ms = now_ms
        if not link.is_closed:
            link.owner.drained(link, now_ms)

    def closed(self, link: Link, now_ms: int) -> None:
        """Pass on that a stream has ended."""
        self.state.now_ms = now_ms
        link.is_closed = True
        link.owner.closed(link, now_ms)

    def tick(self, now_ms: int) -> None:
        """Do what time demands: timeouts, gossip, elections, replication, expiry, saves."""
        state = self.state
        state.now_ms = now_ms
        self.ticked_ms = now_ms
        state.blocking.tick(now_ms)
        state.transfers.tick(now_ms)
        state.tracking.tick()
        if state.cluster is not None:
            state.cluster.tick(now_ms)
        state.replication.tick(now_ms)
        self.clients.tick(now_ms)
        self.upkeep.tick(now_ms)
        state.persistence.tick(now_ms)
        self.log.tick(now_ms)
        statistics = state.statistics
        state.rates.tick(
            now_ms,
            statistics.commands_processed,
            statistics.net_input_bytes,
            statistics.net_output_bytes,
            used_memory(state.keyspaces),
        )
        if self.shutdown is not None:
            self.shutdown.tick(now_ms)
            if self.shutdown.has_failed:
                self.shutdown = None

    def next_tick_ms(self) -> int:
        """Return the clock reading at which the next tick is wanted: in 100 ms, or as soon as a part asks."""
        state = self.state
        wanted_ms = self.ticked_ms + (BUSY_TICK_MS if self.upkeep.is_behind() else TICK_MS)
        wanted_ms = sooner(wanted_ms, state.blocking.next_deadline_ms())
        wanted_ms = sooner(wanted_ms, state.transfers.next_tick_ms())
        wanted_ms = sooner(wanted_ms, state.replication.next_tick_ms())
        wanted_ms = sooner(wanted_ms, state.persistence.next_tick_ms())
        wanted_ms = sooner(wanted_ms, self.log.next_tick_ms())
        if state.cluster is not None:
            wanted_ms = sooner(wanted_ms, state.cluster.next_tick_ms())
        return max(wanted_ms, self.ticked_ms + 1)

    def take_effects(self) -> list[Effect]:
        """End a loop turn: let unblocked sessions go on, then hand over what the runtime is to fulfil."""
        self.dispatcher.resume()
        effects = self.state.effects
        if effects:
            self.state.effects = []
        return effects

    def wants_turn(self) -> bool:
        """Say, after the flush of a turn, whether something waits for another one."""
        return bool(self.dispatcher.resumable) or bool(self.state.effects)

    # The end (LifecycleHook).

    def begin_shutdown(
        self, saves: bool | None, is_now: bool, is_forced: bool, now_ms: int, ctx: Session | None = None
    ) -> bool:
        """Begin to hand over, save (None: if configured) and exit; False if that is under way already."""
        if self.shutdown is not None:
            return False
        state = self.state
        if saves is None:
            saves = state.persistence.saves_at_exit()
        if state.gates & GATE_LOADING:
            saves = False  # what is loaded so far must not replace the file that it comes from
        deadline_ms = now_ms if is_now else now_ms + state.config.shutdown_timeout * 1000
        self.shutdown = Shutdown(state, saves, is_forced, deadline_ms)
        if ctx is not None:
            self.shutdown.wait(ctx)
        self.shutdown.tick(now_ms)
        return True

    def abort_shutdown(self) -> bool:
        """Call off a shutdown that waits; False if there is none."""
        if self.shutdown is None or self.shutdown.is_saving:
            return False
        self.shutdown.answer(ABORTED)
        self.shutdown = None
        return True

    def exit_now(self, code: int) -> None:
        """End the process after this turn, saving nothing."""
        self.state.effects.append(Exit(code))


def sooner(wanted_ms: int, asked_ms: int) -> int:
    """Return the earlier of two clock readings, of which the second is 0 if nobody asks."""
    return asked_ms if 0 < asked_ms < wanted_ms else wanted_ms
