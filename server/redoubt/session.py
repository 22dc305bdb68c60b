"""One client: its parser, its selected database, its protocol, and the gates that stand before its commands.

A session is also the context (`ctx`) that every command handler gets as its first argument: EXEC, scripts and
the link to a master run commands through a session, too. `gates` is the union of every rare condition now in
force for it; the dispatcher tests it once a command against the flags of the command's row (`Row.gates`)
and asks for the particulars only if a bit fits.

The session runs nothing by itself; `redoubt.dispatch` drives it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.interfaces import LANE_CLIENT, Link

if TYPE_CHECKING:
    from redoubt.access.user import User
    from redoubt.blocking import Waiter
    from redoubt.commands.declare import Row
    from redoubt.data.keyspace import Keyspace
    from redoubt.data.text import Value
    from redoubt.pubsub import Subscriptions
    from redoubt.resp.replies import Reply
    from redoubt.resp.requests import RequestParser
    from redoubt.state import ServerState
    from redoubt.tracking import TrackingMode
    from redoubt.transaction import Transaction
    from redoubt.watches import Watched

# Gate bits. A row's `gates` holds the bits it must stop for; a session's the bits that are raised.
GATE_AUTH: Final = 1 << 0  # not authenticated: all but AUTH, HELLO, QUIT, RESET
GATE_MULTI: Final = 1 << 1  # MULTI is open: queue
GATE_CLUSTER: Final = 1 << 2  # cluster mode: commands with keys are routed
GATE_MEMORY: Final = 1 << 3  # over maxmemory: DENYOOM commands
GATE_REPLICA: Final = 1 << 4  # read-only replica: writes
GATE_LOADING: Final = 1 << 5  # loading the dataset: all but LOADING commands
GATE_AWAITING: Final = 1 << 6  # managed mode without a role: data commands
GATE_SUBSCRIBER: Final = 1 << 7  # RESP2 subscriber: all but the (P|S)SUBSCRIBE family, PING, QUIT, RESET
MONITORED: Final = 1 << 8  # no gate: MONITOR shows the command
GATE_STALE: Final = 1 << 9  # replica without its master and replica-serve-stale-data no
GATE_MIN_REPLICAS: Final = 1 << 10  # too few good replicas: writes
GATE_PAUSED: Final = 1 << 11  # CLIENT PAUSE, handover, or a master that lost its majority
GATE_DISK: Final = 1 << 12  # stop-writes-on-bgsave-error
GATE_ACL: Final = 1 << 13  # a restricted user
GATE_HELD: Final = 1 << 14  # a MIGRATE is under way: writes to its keys
GATE_ASKING: Final = 1 << 15  # the command before was ASKING, which counts for this one only
GATE_PUSHES: Final = 1 << 16  # pushes wait until the reply of the command before has been appended
GATE_TRACKING: Final = 1 << 18  # CLIENT TRACKING: what is read is remembered
GATE_NO_TOUCH: Final = 1 << 19  # CLIENT NO-TOUCH: what is read does not count as used
GATE_BUSY: Final = 1 << 17  # a script has been running for too long: all but what may end it

# Classes of clients, each with an output buffer limit of its own (client-output-buffer-limit).
CLASS_NORMAL: Final = 0
CLASS_REPLICA: Final = 1
CLASS_PUBSUB: Final = 2

# CLIENT REPLY.
REPLIES_ON: Final = 0
REPLIES_SKIP_NEXT: Final = 1  # the reply of CLIENT REPLY SKIP itself; the next command's is dropped
REPLIES_SKIP: Final = 2
REPLIES_OFF: Final = 3


class Session(Link):
    """One client and the context of its commands."""

    def __init__(
        self, state: ServerState, session_id: int, parser: RequestParser, peer: str, local: str,
        is_master_link: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(state.dispatcher, LANE_CLIENT, peer, local)
        self.state = state
        self.session_id = session_id
        self.parser = parser
        self.db: Keyspace = state.keyspaces[0]
        self.database = 0
        self.now_ms = state.now_ms
        self.resp = 2
        # Who is logged in (see redoubt.access.users, which alone changes these two).
        self.user: User = state.users.default
        self.is_authenticated = False
        self.own_gates = 0
        self.gates = 0 if is_master_link else state.gates
        # The link to our master: its commands are applied without checks and get no reply.
        self.is_master_link = is_master_link
        # A blocking command (WAIT, ...) waits; nothing more of this client runs until it ends.
        self.is_blocked = False
        # A command of EXEC, of a script or of our master runs: it must not block.
        self.is_atomic = is_master_link
        # The one session in which scripts run their commands.
        self.is_of_scripts = False
        # What runs is not propagated: a script has switched that off (redis.set_repl).
        self.is_unpropagated = False
        # The replies of this turn reached their bound; the rest of the pipeline runs after they are written.
        self.is_interrupted = False
        # What the blocking command waits for, and the command that a pause holds back; see redoubt.blocking.
        self.waiter: Waiter | None = None
        self.postponed: list[bytes] | None = None
        self.client_class = CLASS_NORMAL
        self.is_replica = False
        # What MULTI has queued, and what WATCH watches.
        self.transaction: Transaction | None = None
        self.watched: Watched | None = None
        self.replies = REPLIES_OFF if is_master_link else REPLIES_ON
        # Since when the unsent output is above the soft limit of the class; 0: it is not.
        self.over_soft_limit_since_ms = 0
        # The latest command, for CLIENT LIST.
        self.row: Row | None = None
        # What to propagate instead of the command as it came; None: as it came.
        self.rewritten: list[list[bytes]] | None = None
        self.name = b""
        self.library_name = b""  # CLIENT SETINFO
        self.library_version = b""
        self.is_eviction_exempt = False  # CLIENT NO-EVICT
        self.counted_bytes = 0  # its part of state.client_bytes
        # What the client listens to (see redoubt.pubsub), and pushes that wait for its command's reply.
        self.subscriptions: Subscriptions | None = None
        self.pushes: list[bytes] = []
        self.tracking: TrackingMode | None = None  # CLIENT TRACKING
        self.is_monitor = False  # MONITOR
        # READONLY: a replica in a cluster serves reads; ASKING: this command may use an importing slot.
        self.is_readonly = False
        self.is_asking = False
        # Slots of another node arrive on this stream (CLUSTER SYNCSLOTS).
        self.is_slot_import = False
        self.created_ms = state.now_ms
        self.active_ms = state.now_ms

    def refresh_gates(self) -> None:
        """Recompute the union after own or server-wide gates changed."""
        self.gates = 0 if self.is_master_link else self.own_gates | self.state.gates

    def set_own_gate(self, bit: int, is_set: bool) -> None:
        """Raise or lower a gate of this session alone."""
        self.own_gates = self.own_gates | bit if is_set else self.own_gates & ~bit
        self.refresh_gates()

    def end_transaction(self) -> None:
        """Forget what MULTI has queued and what WATCH watches."""
        if self.transaction is not None:
            self.transaction = None
            self.set_own_gate(GATE_MULTI, False)
        self.state.watches.forget(self)

    def execute(self, argv: list[bytes]) -> Reply:
        """Run a command from inside another one (EXEC, scripts)."""
        return self.state.dispatcher.execute(self, argv)

    def rewrite(self, *commands: list[bytes]) -> None:
        """Propagate these commands instead of the one that runs: decisions, not questions."""
        self.rewritten = list(commands)

    def overwrite(self, key: bytes, value: Value) -> None:
        """Store a value whatever was there; what had expired is gone, and notified, before."""
        if self.state.event_classes:
            self.db.peek(key, self.now_ms)
        self.db.set(key, value)

    def notify(self, event_class: int, event: bytes, key: bytes) -> None:
        """Publish what happened to a key of the session's database, if anybody wants such events."""
        if self.state.event_classes & event_class:
            self.state.events.notify(self.database, event_class, event, key)

    def push(self, data: bytes) -> None:
        """Send an encoded message that answers no command; the reply of a command under way comes first."""
        if self.is_closed or self.closes_after_flush:
            return
        if self is self.state.current:
            if not self.pushes:
                self.set_own_gate(GATE_PUSHES, True)
            self.pushes.append(data)
        else:
            self.out.append(data)
            self.state.mark_dirty(self)

    def release_pushes(self) -> None:
        """Append the pushes that waited for the reply of the command before."""
        self.set_own_gate(GATE_PUSHES, False)
        self.out.extend(self.pushes)
        self.pushes = []
        self.state.mark_dirty(self)
