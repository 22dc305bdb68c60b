"""Client tracking: telling clients that cache keys when a key they know has changed.

By default the server remembers which client has read which key (by name, in all databases), and tells it
once when the key changes; then the client is forgotten until it reads the key again. In broadcast mode it
remembers nothing but prefixes, and who subscribed to them; what changed is collected, and told at the end of
the loop turn. The message is a RESP3 push to the client itself, or goes to another connection that the
client named, which with RESP2 must be subscribed.

The dispatcher calls `before_command` for clients that track (GATE_TRACKING), the keyspaces tell of changes
(a `KeyListener`). The table is bounded by tracking-table-max-keys; what is dropped counts as changed.
CLIENT TRACKING is in `redoubt.commands.client_tracking`.
Source: the page on client-side caching of the Redis documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.declare import READONLY, keys_of
from redoubt.hooks import KeyListener
from redoubt.resp.replies import Push, Reply, encoded
from redoubt.session import GATE_TRACKING

if TYPE_CHECKING:
    from redoubt.commands.declare import Row
    from redoubt.session import Session
    from redoubt.state import ServerState

CHANNEL: Final = b"__redis__:invalidate"
# The most keys that a tick drops when the table is too big; Redis: 100 at first, more when it falls behind.
DROPPED_PER_TICK: Final = 1000


class TrackingMode:
    """How one client tracks."""

    def __init__(self) -> None:
        self.is_broadcast = False
        self.is_opt_in = False
        self.is_opt_out = False
        self.ignores_own = False
        self.redirect_id = 0  # who is told instead; 0: the client itself
        self.is_redirect_broken = False
        self.prefixes: dict[bytes, None] = {}
        # CLIENT CACHING was said: the next command or transaction is an exception to the mode.
        self.is_exception = False
        self.is_exception_new = False

    def remembers(self) -> bool:
        """Say whether the keys that the client reads now are remembered."""
        if self.is_broadcast:
            return False
        if self.is_opt_in:
            return self.is_exception
        return not (self.is_opt_out and self.is_exception)


class Prefix:
    """One prefix of broadcast mode: who wants its keys, and which have changed in this turn, by whom."""

    def __init__(self) -> None:
        self.sessions: dict[int, Session] = {}
        self.changed: dict[bytes, Session | None] = {}


class Tracking(KeyListener):
    """What clients know of the keys of one server; see the module's docstring."""

    def __init__(self, state: ServerState) -> None:
        self.state = state
        self.clients: dict[int, Session] = {}
        # By key: the numbers of the clients that have read it.
        self.readers: dict[bytes, dict[int, Session]] = {}
        self.reader_count = 0
        self.prefixes: dict[bytes, Prefix] = {}
        self.is_flushed = False
        self.has_news = False  # `flush` has something to tell

    # Clients.

    def begin(self, ctx: Session, mode: TrackingMode) -> None:
        """Let a client track, or track in another way; earlier prefixes stay."""
        if ctx.tracking is not None:
            for prefix in ctx.tracking.prefixes:
                mode.prefixes.setdefault(prefix)
        if mode.is_broadcast and not mode.prefixes:
            mode.prefixes[b""] = None
        for prefix in mode.prefixes:
            if prefix not in self.prefixes:
                self.prefixes[prefix] = Prefix()
            self.prefixes[prefix].sessions[ctx.session_id] = ctx
        if not self.clients:
            for keyspace in self.state.keyspaces:
                keyspace.listen(self)
        self.clients[ctx.session_id] = ctx
        ctx.tracking = mode
        ctx.set_own_gate(GATE_TRACKING, True)

    def end(self, ctx: Session) -> None:
        """Let a client track no more; what it has read is forgotten when it changes."""
        mode = ctx.tracking
        if mode is None:
            return
        for name in mode.prefixes:
            prefix = self.prefixes[name]
            del prefix.sessions[ctx.session_id]
            if not prefix.sessions:
                del self.prefixes[name]
        ctx.tracking = None
        ctx.set_own_gate(GATE_TRACKING, False)
        del self.clients[ctx.session_id]
        if not self.clients:
            self.readers.clear()
            self.reader_count = 0
            for keyspace in self.state.keyspaces:
                keyspace.unlisten(self)

    def before_command(self, ctx: Session, row: Row, argv: list[bytes]) -> None:
        """Remember what the command of a tracking client reads; an exception ends with the one after it."""
        mode = ctx.tracking
        if mode is None:
            return
        if mode.is_exception and not ctx.is_atomic and not row.name.startswith("client|"):
            if mode.is_exception_new:
                mode.is_exception_new = False
            elif ctx.transaction is None:
                mode.is_exception = False
        self.remember(ctx, row, argv)

    def remember(self, ctx: Session, row: Row, argv: list[bytes]) -> None:
        """Remember what a command reads on behalf of a tracking client."""
        mode = ctx.tracking
        if mode is not None and row.flags & READONLY and mode.remembers():
            for key in keys_of(row, argv) or []:
                readers = self.readers.get(key)
                if readers is None:
                    readers = self.readers[key] = {}
                if ctx.session_id not in readers:
                    readers[ctx.session_id] = ctx
                    self.reader_count += 1

    # Changes.

    def key_changed(self, database: int, key: bytes) -> None:
        """Tell who has read the key, and note it for who wants its prefix."""
        if key in self.readers:
            self._invalidate(key)
        if self.prefixes:
            for name, prefix in self.prefixes.items():
                if key.startswith(name):
                    prefix.changed[key] = self.state.current
                    self.has_news = True

    def database_changed(self, database: int) -> None:
        """Forget what was read, and tell every client at the end of the turn that it knows nothing."""
        self.readers.clear()
        self.reader_count = 0
        self.is_flushed = True
        self.has_news = True

    def _invalidate(self, key: bytes) -> None:
        readers = self.readers.pop(key)
        self.reader_count -= len(readers)
        for ctx in readers.values():
            mode = ctx.tracking
            if mode is None or mode.is_broadcast or (mode.ignores_own and ctx is self.state.current):
                continue
            self._tell(ctx, [key])

    def flush(self) -> None:
        """Tell of flushes in this loop turn, and broadcast clients of what has changed."""
        self.has_news = False
        if self.is_flushed:
            self.is_flushed = False
            for ctx in self.clients.values():
                self._tell(ctx, None)
        for prefix in self.prefixes.values():
            changed = prefix.changed
            if not changed:
                continue
            prefix.changed = {}
            everything: list[Reply] = list(changed)
            for ctx in prefix.sessions.values():
                mode = ctx.tracking
                keys = everything
                if mode is not None and mode.ignores_own:
                    keys = [key for key, who in changed.items() if who is not ctx]
                if keys:
                    self._tell(ctx, keys)

    def _tell(self, ctx: Session, keys: Reply) -> None:
        """Send keys that have changed to a client, or to where it wants them."""
        mode = ctx.tracking
        assert mode is not None
        target = ctx
        if mode.redirect_id:
            found = self.state.sessions.get(mode.redirect_id)
            if found is None:
                mode.is_redirect_broken = True
                if ctx.resp == 3:
                    ctx.push(encoded(Push([b"tracking-redir-broken", mode.redirect_id]), 3))
                return
            target = found
        if target.resp == 3:
            target.push(encoded(Push([b"invalidate", keys]), 3))
        elif target is not ctx and target.subscriptions is not None:
            target.push(encoded([b"message", CHANNEL, keys]))

    # Bounds.

    def tick(self) -> None:
        """Forget some of the keys that were read first, if there are more than the directive allows."""
        most = self.state.config.tracking_table_max_keys
        excess = len(self.readers) - most if most else 0
        if excess > 0:
            oldest: list[bytes] = []
            for key in self.readers:
                if len(oldest) >= min(excess, DROPPED_PER_TICK):
                    break
                oldest.append(key)
            for key in oldest:
                self._invalidate(key)

    def collision(self, mode: TrackingMode | None, prefixes: list[bytes]) -> bytes:
        """Say which of these prefixes overlap with one another or with the client's own; empty: none."""
        for place, prefix in enumerate(prefixes):
            for known in mode.prefixes if mode is not None else ():
                if overlap(prefix, known):
                    return b"Prefix '%b' overlaps with an existing prefix '%b'" % (prefix, known)
            for other in prefixes[place + 1 :]:
                if overlap(prefix, other):
                    return b"Prefix '%b' overlaps with another provided prefix '%b'" % (prefix, other)
        return b""


def overlap(one: bytes, other: bytes) -> bool:
    """Say whether one of two prefixes begins with the other."""
    return one.startswith(other) or other.startswith(one)
