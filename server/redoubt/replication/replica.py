"""The replica's half of replication: our link to our master, from the dial to the stream of its history.

A state machine on one outgoing link; each line of the handshake is answered by the next one:

    IDLE -dial-> DIALLING -connected, PING-> GREETING -PONG; AUTH, REPLCONF ...-> INTRODUCING
    -all answered; PSYNC-> ASKING -CONTINUE-> FLOWING
                                  -FULLRESYNC-> RECEIVING -copy complete-> FLOWING
                                  -FULLRESYNC, but own writes would be lost-> PRESERVING -kept-> IDLE

Whatever goes wrong leads back to IDLE and a new dial, at once after a lost link, then less often. What we
have stays: the data, the name of the history and the place in it, so that the next PSYNC asks only for the
rest. A full copy replaces the data only when it is complete (`redoubt.replication.transfer`).

In FLOWING the commands of the history are applied through the dispatcher, by a session without gates and
replies, and handed on byte for byte to our own replicas. Commands of a transaction are applied together.
Expired keys are left to the master. A command that fails here, because it is unknown or the data differ, is
counted and logged, and the history goes on, as in Redis.

Driven by `redoubt.replication.roles`. Source: Redis `src/replication.c` (syncWithMaster).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from redoubt.interfaces import LANE_REPLICA, Dial, Link, LinkOwner
from redoubt.persist.rdb_format import CorruptFile
from redoubt.replication.diverged import DivergedCopy
from redoubt.replication.transfer import Transfer
from redoubt.resp.replies import ErrorReply, ProtocolError, encode_command
from redoubt.resp.requests import RequestParser
from redoubt.session import GATE_LOADING, Session
from redoubt.version import REDIS_VERSION

if TYPE_CHECKING:
    from redoubt.replication.roles import Replication

log = logging.getLogger("redoubt")

IDLE: Final = "connect"
DIALLING: Final = "connecting"
GREETING: Final = "handshake: ping"
INTRODUCING: Final = "handshake: replconf"
ASKING: Final = "handshake: psync"
RECEIVING: Final = "sync"
PRESERVING: Final = "preserving"
FLOWING: Final = "connected"

# A link that broke is dialled again at once, then after doubling pauses.
RETRY_MS_MIN: Final = 100
RETRY_MS_MAX: Final = 1000
# Redis: a replica acknowledges once a second; also the period of its sign of life while it loads.
ACKNOWLEDGE_MS: Final = 1000
# No line of the handshake is nearly as long.
LINE_BYTES_MAX: Final = 16 * 1024
# What the history contains besides changes of data, and what we do not leave to the dispatcher.
SPECIAL: Final = frozenset((b"REPLCONF", b"replconf", b"PING", b"ping", b"MULTI", b"multi", b"EXEC", b"exec"))
EPOCH_MARK: Final = b"redoubt-epoch:"


class MasterLink(LinkOwner):
    """Our link to our master; see the module's docstring."""

    def __init__(self, replication: Replication, host: str, port: int, now_ms: int) -> None:
        self.replication = replication
        self.state = replication.state
        self.host = host
        self.port = port
        self.stage = IDLE
        self.session: Session | None = None
        self.transfer: Transfer | None = None
        self.heard_ms = now_ms
        self._retry_ms = now_ms
        self._pause_ms = 0
        self._spoke_ms = now_ms
        # What has arrived of the line that is arriving.
        self._line = b""
        # The requests of the handshake that wait for their answer, in order.
        self._unanswered: list[str] = []
        # Full copies are asked for until one has been received: what we have may be wrong.
        self._mistrusts_own_copy = False
        # Bytes of the history that have arrived and do not yet make whole commands.
        self._unapplied = b""
        self._applied_bytes = 0
        self._transaction: list[list[bytes]] | None = None
        # The master asked how far we are; answered after everything that arrived with the question.
        self._owes_acknowledgement = False

    def name(self) -> str:
        """Return how logs name the master."""
        return f"{self.host}:{self.port}"

    # Time passes.

    def tick(self, now_ms: int) -> None:
        """Dial when it is time, load what waits, acknowledge, give up a silent link."""
        if self.stage == IDLE:
            if now_ms >= self._retry_ms:
                self._dial()
            return
        if self.stage in (DIALLING, PRESERVING):
            return
        if self.stage == RECEIVING:
            self._load(now_ms)
        if now_ms - self.heard_ms > self.state.config.repl_timeout * 1000:
            self._fail(f"no data for {self.state.config.repl_timeout} seconds")
        elif now_ms - self._spoke_ms >= ACKNOWLEDGE_MS:
            if self.stage == FLOWING:
                self.acknowledge()
            elif self.stage == RECEIVING:
                self._send(b"\n")

    def wants_tick(self) -> bool:
        """Say whether ticks are wanted as often as possible: loading pauses reading until the next one."""
        return self.stage == RECEIVING

    def stop(self) -> None:
        """End the link for good."""
        self._drop_link()
        self.stage = IDLE

    def acknowledge(self) -> None:
        """Tell the master how far we are."""
        words = [b"REPLCONF", b"ACK", b"%d" % self.replication.offset]
        if self.state.log.is_on:
            words += [b"FACK", b"%d" % max(self.state.log.synced_offset, 0)]
        self._request(*words)

    def ask_anew(self, reason: str) -> None:
        """Come back for a full copy: what we have is not what the history goes on from."""
        self._mistrusts_own_copy = True
        self._fail(reason)

    def retry_now(self) -> None:
        """Dial again without waiting (something has changed)."""
        self._retry_ms = 0

    # The link.

    def opened(self, link: Link, now_ms: int) -> None:
        """Greet the master."""
        if link is self.session:
            self.heard_ms = now_ms
            self.stage = GREETING
            self._request(b"PING")

    def failed(self, link: Link, is_refused: bool, now_ms: int) -> None:
        """Try again later."""
        if link is self.session:
            self.session = None
            self._back_to_idle()

    def closed(self, link: Link, now_ms: int) -> None:
        """Take note that the link has ended, and dial again."""
        if link is self.session:
            log.warning("Connection with master %s lost.", self.name())
            self.session = None
            self._drop_link()
            self._back_to_idle()
            if self.state.cluster is not None:
                self.state.cluster.master_link_ended(now_ms)

    def drained(self, link: Link, now_ms: int) -> None:
        """Nothing waits for room on this link."""

    def received(self, link: Link, data: bytes, now_ms: int) -> None:
        """Take lines of the handshake, the full copy, or the history."""
        if link is not self.session:
            return
        self.heard_ms = now_ms
        if self.stage == FLOWING:
            self._apply(data)
            return
        if self.stage == RECEIVING:
            self._receive(data, now_ms)
            return
        self._line += data
        while self.stage in (GREETING, INTRODUCING, ASKING):
            end = self._line.find(b"\n")
            if end < 0:
                if len(self._line) > LINE_BYTES_MAX:
                    self._fail("a line without end")
                return
            line = self._line[:end].rstrip(b"\r")
            self._line = self._line[end + 1 :]
            if line:  # empty ones keep the link alive
                self._answered(line.decode("latin-1"), now_ms)
        rest, self._line = self._line, b""
        if self.stage == FLOWING:
            self._apply(rest)
        elif self.stage == RECEIVING:
            self._receive(rest, now_ms)

    # The handshake.

    def _dial(self) -> None:
        state = self.state
        if state.gates & GATE_LOADING:
            return  # dump.rdb may hold our place in the history
        parser = RequestParser(state.config.proto_max_bulk_len)
        session = Session(state, 0, parser, self.name(), "", is_master_link=True)
        session.owner = self
        session.lane = LANE_REPLICA
        session.now_ms = 0  # nothing expires by our clock in the master's history
        self.session = session
        self.stage = DIALLING
        self._line = b""
        self._unanswered = []
        state.effects.append(Dial(session, self.host, self.port, state.config.repl_timeout * 1000))

    def _answered(self, line: str, now_ms: int) -> None:
        if self.stage == GREETING:
            # A master that wants a password refuses the PING but not the password.
            if line.startswith("-") and not line.startswith(("-NOAUTH", "-NOPERM", "-ERR operation not")):
                self._fail(f"the master answered PING with {line!r}")
            else:
                self._introduce()
        elif self.stage == INTRODUCING:
            request = self._unanswered.pop(0)
            if line.startswith("-"):
                if request == "AUTH":
                    self._fail(f"the master refused our password: {line!r}")
                    return
                log.info("Master %s does not understand %s: %r", self.name(), request, line)
            if not self._unanswered:
                self._ask()
        else:
            self._decided(line, now_ms)

    def _introduce(self) -> None:
        config = self.state.config
        self.stage = INTRODUCING
        port = config.replica_announce_port or config.port
        if config.masterauth:
            words = [config.masteruser.encode()] if config.masteruser else []
            self._request(b"AUTH", *words, config.masterauth.encode())
            self._unanswered.append("AUTH")
        self._request(b"REPLCONF", b"listening-port", b"%d" % port)
        self._unanswered.append("REPLCONF listening-port")
        ip = config.replica_announce_ip or config.cluster_announce_ip
        if ip:
            self._request(b"REPLCONF", b"ip-address", ip.encode())
            self._unanswered.append("REPLCONF ip-address")
        # `redoubt` is unknown to Redis, which ignores such capabilities.
        self._request(b"REPLCONF", b"capa", b"eof", b"capa", b"psync2", b"capa", b"redoubt")
        self._unanswered.append("REPLCONF capa")
        self._request(b"REPLCONF", b"version", REDIS_VERSION.encode())
        self._unanswered.append("REPLCONF version")

    def _ask(self) -> None:
        """Ask for the history after the last byte that we have."""
        self.stage = ASKING
        replication = self.replication
        if self._mistrusts_own_copy or replication.has_no_history():
            self._request(b"PSYNC", b"?", b"-1")
        else:
            word = [] if replication.failover is None else [b"FAILOVER"]
            place = b"%d" % (replication.offset + 1)
            self._request(b"PSYNC", replication.replid.encode(), place, *word)

    def _decided(self, line: str, now_ms: int) -> None:
        """Take the master's decision about our PSYNC."""
        words = line.split(" ")
        failover = self.replication.failover
        if failover is not None:
            if words[0] not in ("+CONTINUE", "+FULLRESYNC"):
                log.warning("The failover's target refused: %r", line)
                failover.abort(now_ms)
                return
            failover.end()
        if words[0] == "+CONTINUE":
            self._continue(words[1] if len(words) > 1 else self.replication.replid)
        elif words[0] == "+FULLRESYNC" and len(words) > 2 and len(words[1]) == 40 and words[2].isdigit():
            self._begin_copy(words[1], int(words[2]), words[3] if len(words) > 3 else "", now_ms)
        else:
            self._fail(f"the master answered PSYNC with {line!r}")

    def _continue(self, replid: str) -> None:
        log.info("Successful partial resynchronization with master %s.", self.name())
        self.replication.rename(replid)
        self._begin_flow()

    def _begin_copy(self, replid: str, offset: int, replid2: str, now_ms: int) -> None:
        replication = self.replication
        cluster = self.state.cluster
        if cluster is not None and not cluster.may_full_sync(replid, replid2, offset):
            self._pause_ms = RETRY_MS_MAX
            self._fail(f"refusing the full copy of history {replid}: it may be empty, and ours is not")
            return
        if replication.must_preserve():
            self._preserve()
            return
        log.info("Full resync from master %s: %s:%d", self.name(), replid, offset)
        self.stage = RECEIVING
        self.transfer = Transfer(self.state, f"full sync from {self.name()}", replid, offset)
        replication.copy_begins()

    def _preserve(self) -> None:
        """Keep what only we have, and come back for the copy."""
        self._drop_link()
        self.stage = PRESERVING
        epoch = self.replication.data_epoch
        self.replication.diverged_copy = DivergedCopy(self.state, epoch, self._preserved)

    def _preserved(self, name: str, now_ms: int) -> None:
        self.replication.preserved(name)
        if self.stage == PRESERVING:
            self.stage = IDLE
            self._retry_ms = now_ms

    # The copy.

    def _receive(self, data: bytes, now_ms: int) -> None:
        assert self.transfer is not None
        try:
            self.transfer.feed(data)
        except CorruptFile as corrupt:
            self._fail(str(corrupt))
            return
        self._load(now_ms)

    def _load(self, now_ms: int) -> None:
        """Load a step of what has arrived; stop reading while there is more."""
        transfer = self.transfer
        session = self.session
        if transfer is None or session is None:
            return
        try:
            session.is_paused = transfer.advance()
        except CorruptFile as corrupt:
            self._fail(str(corrupt))
            return
        self.heard_ms = max(self.heard_ms, now_ms if session.is_paused else 0)
        self.replication.discard.add(transfer.take_garbage())
        if not transfer.is_done:
            return
        duration_ms = now_ms - transfer.started_ms
        log.info(
            "Full copy of %d keys, %d bytes, loaded in %d ms",
            transfer.loader.keys_loaded, transfer.received_bytes, duration_ms,
        )  # fmt: skip
        self.transfer = None
        self._mistrusts_own_copy = False
        self.replication.discard.add(transfer.install())
        self.replication.adopt(transfer.replid, transfer.offset, transfer.loader.fields)
        self._begin_flow()
        self._apply(transfer.rest())

    # The history.

    def _begin_flow(self) -> None:
        """Apply the history from here on."""
        session = self.session
        assert session is not None
        replication = self.replication
        self.stage = FLOWING
        self._pause_ms = 0
        self._unapplied = b""
        self._applied_bytes = 0
        self._transaction = None
        session.database = max(replication.database, 0)
        session.db = self.state.keyspaces[session.database]
        replication.synced(self.heard_ms)
        self.acknowledge()
        if self.state.cluster is not None:
            self.state.cluster.history_applied(self.state.now_ms)

    def _apply(self, data: bytes) -> None:
        """Run the commands that have arrived whole, and hand their bytes on."""
        session = self.session
        if not data or session is None:
            return
        self._unapplied = self._unapplied + data if self._unapplied else data
        parser = session.parser
        parser.feed(data)
        whole_bytes = self._applied_bytes
        try:
            argv = parser.next()
            while argv is not None:
                self._run(session, argv)
                if self._transaction is None:
                    whole_bytes = parser.consumed_bytes()
                if self.session is not session:
                    return  # a command has ended the link
                argv = parser.next()
        except ProtocolError as error:
            self._mistrusts_own_copy = True
            self._fail(f"broken history: {error.text.decode('latin-1')}")
            return
        size = whole_bytes - self._applied_bytes
        self._applied_bytes = whole_bytes
        self.replication.database = session.database
        if size == len(self._unapplied):
            self.replication.relay(self._unapplied)
            self._unapplied = b""
        elif size:
            self.replication.relay(self._unapplied[:size])
            self._unapplied = self._unapplied[size:]
        if size and self.state.cluster is not None:
            self.state.cluster.history_applied(self.state.now_ms)
        if self._owes_acknowledgement:
            self._owes_acknowledgement = False
            self.acknowledge()

    def _run(self, session: Session, argv: list[bytes]) -> None:
        if argv[0] in SPECIAL and self._run_special(session, argv):
            return
        if self._transaction is not None:
            self._transaction.append(argv)
            return
        reply = self.state.dispatcher.execute(session, argv)
        self.state.statistics.commands_processed += 1
        if isinstance(reply, ErrorReply):
            self._note_failure(argv, reply)

    def _run_special(self, session: Session, argv: list[bytes]) -> bool:
        """Take what is no change of data; say whether that is done."""
        name = argv[0].upper()
        if name == b"PING":
            if len(argv) > 1 and argv[1].startswith(EPOCH_MARK):
                digits = argv[1][len(EPOCH_MARK) :]
                if digits.isdigit():
                    self.replication.data_epoch = int(digits)
        elif name == b"REPLCONF":
            if len(argv) > 1 and argv[1].upper() == b"GETACK":
                self._owes_acknowledgement = True
        elif name == b"MULTI":
            self._transaction = []
        else:
            commands, self._transaction = self._transaction or [], None
            self.state.dispatcher.begin_unit()
            for command in commands:
                self._run(session, command)
            self.state.dispatcher.end_unit()
        return True

    def _note_failure(self, argv: list[bytes], reply: ErrorReply) -> None:
        """Count a command of the history that failed here; log the first ones."""
        self.replication.failed_commands += 1
        if self.replication.failed_commands <= 10:
            text = reply.text.decode("latin-1")
            log.critical("A command of the master's history failed: %s: %s", argv[0][:40], text)

    # The way back.

    def _fail(self, reason: str) -> None:
        """End the link because of something wrong, and try again later."""
        log.warning("Replication from %s: %s", self.name(), reason)
        self._drop_link()
        self._back_to_idle()

    def _back_to_idle(self) -> None:
        pause_ms = self._pause_ms
        self.stage = IDLE
        self._retry_ms = self.state.now_ms + pause_ms
        self._pause_ms = min(max(2 * pause_ms, RETRY_MS_MIN), RETRY_MS_MAX)
        if pause_ms == 0:
            self._dial()

    def _drop_link(self) -> None:
        """Leave the link; the copy under way is worth nothing, what we had before stays."""
        session, self.session = self.session, None
        if session is not None:
            self.state.close(session)
        transfer, self.transfer = self.transfer, None
        if transfer is not None:
            self.replication.discard.add(transfer.abandon())
            self.replication.copy_failed(transfer.has_dropped_old)
        if self.replication.diverged_copy is not None:
            self.replication.diverged_copy.give_up()
            self.replication.diverged_copy = None
        self.replication.link_lost(self.state.now_ms)

    def _request(self, *words: bytes) -> None:
        self._send(encode_command(list(words)))

    def _send(self, data: bytes) -> None:
        if self.session is not None:
            self._spoke_ms = self.state.now_ms
            self.state.send(self.session, data)
