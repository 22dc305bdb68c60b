"""What the parts of one server share: configuration, data, links, counters, and the effects of this turn.

There is one `ServerState` for each node. It decides nothing: it is the table on which the parts find one
another without importing upwards. The node creates it, the dispatcher, replication and cluster put
themselves into it, the runtime empties `effects` and the dirty lanes at the end of each loop turn.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from redoubt.data.limits import Limits
from redoubt.hooks import AppendLogHook, ProcessHook, UpkeepHook
from redoubt.interfaces import LANES, Close, Effect, Link
from redoubt.rates import Rates

if TYPE_CHECKING:
    from redoubt.access.users import Users
    from redoubt.blocking import Blocking
    from redoubt.commands.key_transfer import Transfers
    from redoubt.config import Config
    from redoubt.data.keyspace import Keyspace
    from redoubt.hooks import (
        ClusterHook,
        Dispatcher,
        LifecycleHook,
        PersistenceHook,
        ReplicationHook,
        ScriptingHook,
    )
    from redoubt.keyspace_events import KeyspaceEvents
    from redoubt.latency import LatencyMonitor
    from redoubt.monitor import Monitors
    from redoubt.pubsub import PubSub
    from redoubt.session import Session
    from redoubt.slow_commands import SlowCommands
    from redoubt.slowlog import SlowLog
    from redoubt.tracking import Tracking
    from redoubt.watches import Watches


class Statistics:
    """Counters since the start or the last CONFIG RESETSTAT, as INFO stats reports them."""

    def __init__(self) -> None:
        self.connections_received = 0
        self.connections_rejected = 0
        self.commands_processed = 0
        self.net_input_bytes = 0
        self.net_output_bytes = 0
        self.keyspace_hits = 0
        self.keyspace_misses = 0
        self.expired_keys = 0
        self.expired_fields = 0
        self.evicted_keys = 0
        self.evicted_clients = 0
        self.error_replies = 0
        self.authentications_denied = 0
        self.acl_commands_denied = 0
        self.acl_keys_denied = 0
        self.acl_channels_denied = 0
        self.sync_full = 0
        self.sync_partial_ok = 0
        self.sync_partial_err = 0
        self.reads_processed = 0
        self.writes_processed = 0
        self.output_limit_disconnections = 0
        self.query_limit_disconnections = 0
        # Error replies by their code (ERR, WRONGTYPE, ...), as INFO errorstats has them.
        self.errors_by_code: dict[bytes, int] = {}


class ServerState:
    """The shared state of one server; see the module's docstring."""

    def __init__(self, config: Config, random: Random, start_ms: int) -> None:
        self.config = config
        self.random = random
        self.limits = Limits()
        self.start_ms = start_ms
        self.now_ms = start_ms
        self.run_id = f"{random.getrandbits(160):040x}"
        self.statistics = Statistics()
        self.keyspaces: list[Keyspace] = []
        self.sessions: dict[int, Session] = {}
        self.session_id_next = 1
        # The client whose input is being run now, whose pushes wait for the reply of its command.
        self.current: Session | None = None
        self.effects: list[Effect] = []
        self.dirty_lanes: list[list[Link]] = [[] for _ in range(LANES)]
        # Gate bits that hold for every session (see redoubt.session).
        self.gates = 0
        # The classes of keyspace events that somebody wants (see redoubt.keyspace_events).
        self.event_classes = 0
        # Set by the parts themselves when the node is put together.
        self.dispatcher: Dispatcher
        self.replication: ReplicationHook
        self.persistence: PersistenceHook
        self.log = AppendLogHook()
        self.lifecycle: LifecycleHook
        self.process = ProcessHook()
        self.rates = Rates()
        # What all clients but replicas occupy with their buffers, as last measured (redoubt.client_memory).
        self.client_bytes = 0
        self.users: Users
        self.slow_log: SlowLog
        self.latency: LatencyMonitor
        self.slow_commands: SlowCommands
        self.blocking: Blocking
        self.pubsub: PubSub
        self.events: KeyspaceEvents
        self.monitors: Monitors
        self.tracking: Tracking
        self.watches: Watches
        self.scripting: ScriptingHook
        self.transfers: Transfers
        self.upkeep = UpkeepHook()
        self.cluster: ClusterHook | None = None

    def mark_dirty(self, link: Link) -> None:
        """Have what stands in `link.out` written at the end of this loop turn."""
        if not link.is_dirty and not link.is_closed:
            link.is_dirty = True
            self.dirty_lanes[link.lane].append(link)

    def send(self, link: Link, data: bytes) -> None:
        """Append to a link and have it written at the end of this loop turn."""
        if not link.is_closed:
            link.out.append(data)
            self.mark_dirty(link)

    def close(self, link: Link) -> None:
        """Close a link at once, dropping what is unwritten."""
        if not link.is_closed:
            link.is_closed = True
            self.effects.append(Close(link))

    def set_gate(self, bit: int, is_set: bool) -> None:
        """Raise or lower a server-wide gate for every session, now and later. Rare, O(sessions)."""
        if is_set:
            self.gates |= bit
        else:
            self.gates &= ~bit
        for session in self.sessions.values():
            session.refresh_gates()
