"""What a MIGRATE is once its arguments are read: keys on their way to another server, over a cached link.

The server goes on serving while a `Transfer` is under way: its client is blocked, its keys may be read, and
writes to them are held back (`Blocking.hold_keys`) until the outcome is known, so that none is lost with the
copy that is deleted here. (Redis stops altogether meanwhile.) A key is deleted only after the target's OK for
it, and the deletion is propagated as DEL. It waits while a pause forbids changes, and does not happen at all
if this server has become a replica: then the key exists twice, and this shard's is the one that counts.

Each link carries one transfer at a time and is kept for ten seconds for the next one. The timeout bounds
every single wait (connecting, sending, each reply), not the whole, as the documentation of MIGRATE says. A
kept link that turns out to be dead before it answered anything is replaced once.

`commands/migrate.py` begins transfers, the node calls `tick`, the runtime the methods of `LinkOwner`.
Source: the page of MIGRATE; Redis's `migrateCommand` for texts, order and limits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.blocking import Waiter
from redoubt.interfaces import LANE_CLIENT, Dial, Link, LinkOwner
from redoubt.keyspace_events import EVENT_GENERIC
from redoubt.persist.payload import dump
from redoubt.resp.decoder import NeedMore, ReplyDecoder
from redoubt.resp.replies import OK, ErrorReply, ProtocolError, Reply, encode_command
from redoubt.session import GATE_PAUSED, Session

if TYPE_CHECKING:
    from redoubt.data.keyspace import Keyspace
    from redoubt.state import ServerState

# Redis: MIGRATE_SOCKET_CACHE_ITEMS and MIGRATE_SOCKET_CACHE_TTL.
KEPT_LINKS_MAX: Final = 64
KEPT_LINK_MS: Final = 10_000

NOT_CONNECTED: Final = ErrorReply(b"IOERR error or timeout connecting to the client")
NOT_WRITTEN: Final = ErrorReply(b"IOERR error or timeout writing to target instance")
NOT_READ: Final = ErrorReply(b"IOERR error or timeout reading to target instance")
DEMOTED: Final = ErrorReply(
    b"UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"
)


class Target:
    """Where keys go, and how to get in."""

    def __init__(self, host: str, port: int, database: int, credentials: list[bytes]) -> None:
        self.host = host
        self.port = port
        self.database = database
        # The words after AUTH; empty for none.
        self.credentials = credentials


class TargetLink(Link):
    """A connection to a target."""

    def __init__(self, owner: Transfers, target: Target) -> None:
        super().__init__(owner, LANE_CLIENT)
        self.target = target
        self.decoder = ReplyDecoder()
        self.is_connected = False
        # The database that its last commands selected; -1: not known.
        self.database = -1
        self.transfer: Transfer | None = None
        self.idle_since_ms = 0

    def fits(self, target: Target) -> bool:
        """Say whether it leads there, with the same rights."""
        own = self.target
        return (own.host, own.port, own.credentials) == (target.host, target.port, target.credentials)


class Transfer(Waiter):
    """One MIGRATE under way."""

    def __init__(self, ctx: Session, target: Target, keys: list[bytes], timeout_ms: int) -> None:
        super().__init__(0)
        self.ctx: Session | None = ctx
        self.keyspace: Keyspace = ctx.db
        self.database = ctx.database
        self.target = target
        self.keys = keys
        self.is_copy = False
        self.is_replacing = False
        self.timeout_ms = timeout_ms
        # When the wait under way has lasted too long.
        self.due_ms = ctx.now_ms + timeout_ms
        self.link: TargetLink | None = None
        self.has_retried = False
        self.preludes = 0  # replies to AUTH and SELECT that are still to come
        self.sent: list[bytes] = []  # keys whose RESTORE has been sent, in order
        self.answered = 0  # replies to RESTORE that have come
        self.error: ErrorReply | None = None  # the target's first one
        self.is_refused = False  # by AUTH or SELECT: whatever RESTORE says, the keys stay here
        self.unsent_bytes = 0  # as of the last tick
        self.taken: list[bytes] = []  # keys that the target has
        # The outcome, while a pause keeps it from being settled.
        self.outcome: Reply = None

    def timed_out(self, ctx: Session) -> Reply:
        """Answer the client early (CLIENT UNBLOCK); what has been sent must still come to its end."""
        self.ctx = None
        return NOT_READ

    def abandoned(self, ctx: Session) -> None:
        """Go on without the client."""
        self.ctx = None


class Transfers(LinkOwner):
    """All transfers of one server and the links that they use; see the module's docstring."""

    def __init__(self, state: ServerState) -> None:
        self.state = state
        self.active: list[Transfer] = []
        self.kept: list[TargetLink] = []

    def begin(self, ctx: Session, transfer: Transfer) -> None:
        """Block the client and send the keys."""
        self.active.append(transfer)
        self.state.blocking.hold_keys(transfer.database, transfer.keys)
        self.state.blocking.block(ctx, transfer)
        self._connect(transfer)

    def kept_count(self) -> int:
        """Count the links that wait for another transfer (INFO)."""
        return len(self.kept)

    def _connect(self, transfer: Transfer) -> None:
        target = transfer.target
        link = next((kept for kept in self.kept if kept.fits(target)), None)
        if link is not None and not transfer.has_retried:
            self.kept.remove(link)
            link.transfer = transfer
            transfer.link = link
            self._send(transfer, link)
            return
        link = TargetLink(self, target)
        link.transfer = transfer
        transfer.link = link
        self.state.effects.append(Dial(link, target.host, target.port, transfer.timeout_ms))

    def _send(self, transfer: Transfer, link: TargetLink) -> None:
        """Send AUTH and SELECT if needed, and a RESTORE for each key that is still there."""
        now_ms = self.state.now_ms
        target = transfer.target
        transfer.due_ms = now_ms + transfer.timeout_ms
        transfer.sent = []
        transfer.preludes = 0
        if target.credentials:
            link.out.append(encode_command([b"AUTH", *target.credentials]))
            transfer.preludes += 1
        if link.database != target.database:
            link.out.append(encode_command([b"SELECT", b"%d" % target.database]))
            transfer.preludes += 1
        config = self.state.config
        name = b"RESTORE-ASKING" if config.cluster_enabled else b"RESTORE"
        for key in transfer.keys:
            value = transfer.keyspace.get(key)
            due_ms = transfer.keyspace.expire_at(key)
            if value is None or 0 < due_ms < now_ms:
                continue
            ttl_ms = max(1, due_ms - now_ms) if due_ms else 0
            words = [name, key, b"%d" % ttl_ms, dump(value, config.rdbcompression)]
            if transfer.is_replacing:
                words.append(b"REPLACE")
            link.out.append(encode_command(words))
            transfer.sent.append(key)
        self.state.mark_dirty(link)
        self._finish_if_complete(transfer, link)

    # LinkOwner.

    def opened(self, link: Link, now_ms: int) -> None:
        """Send what waited for the connection."""
        assert isinstance(link, TargetLink)
        link.is_connected = True
        if link.transfer is not None:
            self._send(link.transfer, link)

    def failed(self, link: Link, is_refused: bool, now_ms: int) -> None:
        """Answer that there is no connection; Redis notices a refusal only when it writes, and says so."""
        assert isinstance(link, TargetLink)
        if link.transfer is not None:
            self._fail(link.transfer, NOT_WRITTEN if is_refused else NOT_CONNECTED)

    def received(self, link: Link, data: bytes, now_ms: int) -> None:
        """Take replies of the target."""
        assert isinstance(link, TargetLink)
        transfer = link.transfer
        if transfer is None:
            self._forget(link)  # nobody asked for this
            return
        link.decoder.feed(data)
        try:
            while link.transfer is transfer:
                reply = link.decoder.next()
                if isinstance(reply, NeedMore):
                    return
                transfer.due_ms = now_ms + transfer.timeout_ms
                self._take(transfer, reply)
                self._finish_if_complete(transfer, link)
        except ProtocolError:
            self._fail(transfer, NOT_READ)
            return
        if link.decoder.take_rest():
            self._forget(link)

    def drained(self, link: Link, now_ms: int) -> None:
        """Take note that a long payload has been taken: the wait for the replies begins."""
        assert isinstance(link, TargetLink)
        if link.transfer is not None:
            link.transfer.due_ms = now_ms + link.transfer.timeout_ms

    def closed(self, link: Link, now_ms: int) -> None:
        """Forget a link; a transfer on it fails, or begins again if the link had only been kept too long."""
        assert isinstance(link, TargetLink)
        if link in self.kept:
            self.kept.remove(link)
        transfer = link.transfer
        link.transfer = None
        if transfer is None:
            return
        has_answered = transfer.answered > 0 or transfer.error is not None
        if link.idle_since_ms and not has_answered and not transfer.has_retried:
            transfer.has_retried = True
            self._connect(transfer)
            return
        self._fail(transfer, NOT_WRITTEN if link.unsent_bytes else NOT_READ)

    # Outcomes.

    def _take(self, transfer: Transfer, reply: Reply) -> None:
        """Take one reply: to AUTH or SELECT first, then to each RESTORE in turn."""
        is_error = isinstance(reply, ErrorReply)
        if isinstance(reply, ErrorReply) and transfer.error is None:
            transfer.error = reply
        if transfer.preludes:
            transfer.preludes -= 1
            transfer.is_refused = transfer.is_refused or is_error
            return
        key = transfer.sent[transfer.answered]
        transfer.answered += 1
        if not is_error and not transfer.is_refused:
            transfer.taken.append(key)

    def _finish_if_complete(self, transfer: Transfer, link: TargetLink) -> None:
        """Keep the link and settle, once every reply has come."""
        if transfer.preludes or transfer.answered < len(transfer.sent):
            return
        error = transfer.error
        link.database = transfer.target.database if error is None else -1
        link.transfer = None
        link.idle_since_ms = self.state.now_ms
        self.kept.append(link)
        if len(self.kept) > KEPT_LINKS_MAX:
            self._forget(self.kept[0])
        outcome: Reply = OK
        if error is not None:
            outcome = ErrorReply(b"ERR Target instance replied with error: " + error.text)
        self._settle(transfer, outcome)

    def _fail(self, transfer: Transfer, outcome: ErrorReply) -> None:
        link = transfer.link
        if link is not None and link.transfer is transfer:
            link.transfer = None
            self.state.close(link)
        self._settle(transfer, outcome)

    def _settle(self, transfer: Transfer, outcome: Reply) -> None:
        """Delete what the target has, let the writers go on, answer; all of it later while a pause holds."""
        transfer.link = None
        transfer.outcome = outcome
        state = self.state
        if transfer.taken and not transfer.is_copy:
            if state.gates & GATE_PAUSED or self._is_changing_owner(transfer.taken):
                return  # `tick` comes back
            if not state.replication.is_replica:
                self._delete(transfer)
            elif outcome is OK:
                outcome = DEMOTED
        state.blocking.release_keys(transfer.database, transfer.keys)
        self.active.remove(transfer)
        ctx = transfer.ctx
        transfer.ctx = None
        if ctx is not None and ctx.waiter is transfer:
            state.blocking.unblock(ctx, outcome)

    def _is_changing_owner(self, keys: list[bytes]) -> bool:
        """Say whether the slot of a key is passing to another node at this moment."""
        cluster = self.state.cluster
        return cluster is not None and any(cluster.is_changing_owner(key) for key in keys)

    def _delete(self, transfer: Transfer) -> None:
        """Delete the keys that the target has, as one DEL."""
        gone = [key for key in transfer.taken if transfer.keyspace.delete(key)]
        for key in gone:
            self.state.events.notify(transfer.database, EVENT_GENERIC, b"del", key)
        replication = self.state.replication
        if gone and replication.is_feeding:
            replication.feed(transfer.database, [b"DEL", *gone])

    # Time.

    def tick(self, now_ms: int) -> None:
        """Give up what has waited too long, settle what a pause has held, close links that nobody used."""
        for transfer in list(self.active):
            if transfer.link is None:
                self._settle(transfer, transfer.outcome)
            else:
                self._watch(transfer, transfer.link, now_ms)
        for link in [kept for kept in self.kept if now_ms - kept.idle_since_ms > KEPT_LINK_MS]:
            self._forget(link)

    def _watch(self, transfer: Transfer, link: TargetLink, now_ms: int) -> None:
        """Give a transfer up whose peer neither takes nor answers anything."""
        if link.unsent_bytes < transfer.unsent_bytes:
            transfer.due_ms = now_ms + transfer.timeout_ms
        transfer.unsent_bytes = link.unsent_bytes
        if now_ms < transfer.due_ms:
            return
        if not link.is_connected:
            self._fail(transfer, NOT_CONNECTED)
        else:
            self._fail(transfer, NOT_WRITTEN if link.unsent_bytes else NOT_READ)

    def next_tick_ms(self) -> int:
        """Return the clock reading at which the first wait has lasted too long; 0: none."""
        return min([transfer.due_ms for transfer in self.active if transfer.link is not None], default=0)

    def _forget(self, link: TargetLink) -> None:
        self.kept.remove(link)
        self.state.close(link)
