"""Runs the commands of clients: from bytes to replies, with every check, count and propagation in between.

`drain` is the loop of a pipeline: it takes one command after another from the session's parser, executes it
and appends the reply to the session's output, which the runtime writes once at the end of the loop turn.
`execute` is the life of one command: its row in the table, its arity, the gates, the handler, and if data
changed the propagation. Counters are plain integers; the clock is read for commands whose work grows with
the data, at the ends of a pipeline, and for one command in 64 of the others, whose duration stands for them:
enough to notice everything that is slow (`redoubt.slow_commands`).

What a client sends is bounded everywhere: the parser has its limits, the output per loop turn is bounded
here (the rest of a pipeline waits until it is written), a client that does not read is not read from, and
each class of clients has its output limit.

The node calls it; handlers call `execute` through `ctx.execute`. It opens no connection and reads no clock.
Rules: Redis's networking.c and processCommand; the documentation of client-output-buffer-limit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from redoubt.admission import admit
from redoubt.commands.declare import (
    READONLY,
    SKIP_MONITOR,
    TABLE,
    WRITE,
    Row,
    find,
    keys_of,
    wrong_arity,
)
from redoubt.data.keyspace import ACCESS_UNORDERED
from redoubt.hooks import Dispatcher, UsageMeter
from redoubt.interfaces import Link
from redoubt.keyspace_events import EVENT_EXPIRED
from redoubt.resp.replies import (
    BULK_HEADERS,
    CRLF,
    HEADERS,
    CommandError,
    ErrorReply,
    ProtocolError,
    Push,
    Pushes,
    Reply,
    encode,
    encoded,
)
from redoubt.resp.requests import RequestParser
from redoubt.session import (
    GATE_NO_TOUCH,
    GATE_PAUSED,
    GATE_TRACKING,
    MONITORED,
    REPLIES_ON,
    REPLIES_SKIP,
    REPLIES_SKIP_NEXT,
    Session,
)
from redoubt.slow_commands import NEVER_US
from redoubt.transaction import refused

if TYPE_CHECKING:
    from redoubt.blocking import Waiter
    from redoubt.monitor import Monitors
    from redoubt.state import ServerState

# A pipeline is interrupted when its replies of one loop turn exceed this; the rest runs after the flush.
TURN_OUTPUT_BYTES_MAX: Final = 4 * 1024 * 1024
# A client with so much unsent output is not read from until all of it is written. Generous, because a client
# may legitimately send a whole pipeline before it reads the first reply.
UNSENT_BYTES_PAUSE: Final = 64 * 1024 * 1024
# A client that sends while it is blocked is read up to this much, then no more until it is unblocked.
BLOCKED_INPUT_BYTES_MAX: Final = 1024 * 1024
# One command in so many is timed, of those that are not timed always.
SAMPLE_EVERY: Final = 64
# A command with more words than this is always timed: it works on each of them.
WORDS_TIMED: Final = 16
NO_CALL: Final[list[bytes]] = []
# Redis: ERRORSTATS_LIMIT. A code is client-chosen text only in scripts, but memory is bounded all the same.
ERROR_CODES_MAX: Final = 128


class ClientDispatcher(Dispatcher):
    """The owner of all client links of one server; see the module's docstring."""

    def __init__(self, state: ServerState, clock_us: Callable[[], int]) -> None:
        super().__init__()
        self.state = state
        self.unit_depth = 0  # inside EXEC or a script
        self.is_serving = False
        self.clock_us = clock_us  # a clock of microseconds for the samples, with any origin
        self.sample_every = SAMPLE_EVERY
        self.until_sample = SAMPLE_EVERY
        self.meter: UsageMeter | None = None
        self.monitors: Monitors | None = None
        # What takes at least this long is reported; see redoubt.slow_commands.
        self.report_us = NEVER_US
        self.times_every_command = False
        # Where the stretch of commands that are not timed began: a clock reading, and `until_sample` then.
        self.stretch_us = 0
        self.stretch_at = SAMPLE_EVERY
        self.resumable: list[Session] = []

    # Sessions.

    def accept(self, peer: str, local: str) -> Session:
        """Make the session of a new connection."""
        state = self.state
        parser = RequestParser(state.config.proto_max_bulk_len)
        session = Session(state, state.session_id_next, parser, peer, local)
        state.session_id_next += 1
        state.sessions[session.session_id] = session
        state.statistics.connections_received += 1
        state.users.opened(session)
        return session

    def received(self, link: Link, data: bytes, now_ms: int) -> None:
        """Run what arrived."""
        assert isinstance(link, Session)
        link.active_ms = now_ms
        statistics = self.state.statistics
        statistics.net_input_bytes += len(data)
        statistics.reads_processed += 1
        parser = link.parser
        parser.feed(data)
        if not link.is_blocked and not link.is_paused:
            self.drain(link)
        if parser.gathered_bytes > BLOCKED_INPUT_BYTES_MAX:
            self.limit_input(link)

    def limit_input(self, ctx: Session) -> None:
        """Stop reading from a client that sends on while blocked; close one whose command is too big."""
        if ctx.parser.pending_bytes() > self.state.config.client_query_buffer_limit:
            self.state.statistics.query_limit_disconnections += 1
            self.state.close(ctx)
        elif ctx.is_blocked:
            ctx.is_paused = True

    def drained(self, link: Link, now_ms: int) -> None:
        """Go on with a client that has read its replies."""
        assert isinstance(link, Session)
        if link.is_paused and not link.is_blocked:
            link.is_paused = False
            self.resume_later(link)

    def closed(self, link: Link, now_ms: int) -> None:
        """Forget a session."""
        assert isinstance(link, Session)
        state = self.state
        state.sessions.pop(link.session_id, None)
        state.client_bytes -= link.counted_bytes
        link.counted_bytes = 0
        state.blocking.closed(link)
        state.watches.forget(link)
        state.pubsub.closed(link)
        state.tracking.end(link)
        state.monitors.end(link)
        if link.is_replica or link.is_master_link:
            state.replication.session_closed(link)
        if link.is_slot_import and state.cluster is not None:
            state.cluster.slot_import_closed(link)

    # The loop of a pipeline.

    def drain(self, ctx: Session) -> None:
        """Run what stands in the session's buffer until it is empty, blocks, or output piles up."""
        state = self.state
        state.current = ctx
        ctx.now_ms = state.now_ms
        parser = ctx.parser
        out = ctx.out
        count = 0
        out_bytes = 0
        latest: list[bytes] = NO_CALL
        self.stretch_us = self.clock_us()
        self.stretch_at = self.until_sample
        try:
            while True:
                argv = parser.next()
                if argv is None:
                    break
                latest = argv
                reply = self.execute(ctx, argv)
                count += 1
                if ctx.replies != REPLIES_ON and not self.is_wanted(ctx, reply):
                    pass
                elif isinstance(reply, bytes):
                    length = len(reply)
                    out.append(BULK_HEADERS[length] if length < HEADERS else b"$%d\r\n" % length)
                    out.append(reply)
                    out.append(CRLF)
                    out_bytes += length
                else:
                    out_bytes += self.encode_other(ctx, reply)
                if ctx.is_blocked or ctx.closes_after_flush or ctx.is_closed:
                    break
                if out_bytes > TURN_OUTPUT_BYTES_MAX:
                    ctx.is_interrupted = True
                    ctx.is_paused = True
                    self.resume_later(ctx)
                    break
        except ProtocolError as error:
            self.end_with_error(ctx, error.text)
        state.statistics.commands_processed += count
        self.end_stretch(ctx, latest, self.clock_us())
        state.current = None
        if ctx.pushes:
            ctx.release_pushes()
        if out and not ctx.is_dirty:
            state.mark_dirty(ctx)

    def encode_other(self, ctx: Session, reply: Reply) -> int:
        """Append a reply that is no bulk string; return about how many bytes that were."""
        out = ctx.out
        pieces = len(out)
        encode(reply, ctx.resp, out)
        size = 0
        if isinstance(reply, ErrorReply):
            self.count_error(reply)
        elif len(out) - pieces > 1:
            for piece in out[pieces:]:
                size += len(piece)
        return size

    def is_wanted(self, ctx: Session, reply: Reply) -> bool:
        """Say whether the reply just made is to be sent (CLIENT REPLY), and note that one was skipped."""
        replies = ctx.replies
        if replies == REPLIES_SKIP_NEXT:
            ctx.replies = REPLIES_SKIP
        elif replies == REPLIES_SKIP:
            ctx.replies = REPLIES_ON
        # SUBSCRIBE is answered whatever the client wants.
        return replies == REPLIES_ON or isinstance(reply, (Push, Pushes))

    def reply(self, ctx: Session, reply: Reply) -> None:
        """Send one reply outside of a command's own: the end of a blocked command, a push."""
        if ctx.replies == REPLIES_ON or self.is_wanted(ctx, reply):
            self.encode_other(ctx, reply)
            self.state.mark_dirty(ctx)

    def end_with_error(self, ctx: Session, text: bytes) -> None:
        """Send a protocol error and close."""
        error = ErrorReply(b"ERR Protocol error: " + text)
        self.count_error(error)
        ctx.out.append(encoded(error))
        ctx.closes_after_flush = True

    def resume_later(self, ctx: Session) -> None:
        """Have the session's postponed command and the rest of its buffer run at the end of this turn."""
        self.resumable.append(ctx)

    def resume(self) -> bool:
        """Let sessions go on that were unblocked or interrupted; say whether there were any.

        Called once a turn: what becomes resumable here waits for the next turn, so nobody starves.
        """
        if self.state.tracking.has_news:
            self.state.tracking.flush()
        if self.ready_keys:
            self.serve_ready()  # what changed by other means than a command: a move of slots, a full copy
        if not self.resumable:
            return False
        ready = self.resumable
        self.resumable = []
        for ctx in ready:
            if ctx.is_closed or ctx.is_blocked:
                continue
            if ctx.is_interrupted and ctx.out:
                self.resumable.append(ctx)  # not written yet
                continue
            ctx.is_interrupted = False
            if ctx.unsent_bytes > UNSENT_BYTES_PAUSE:
                ctx.is_paused = True  # `drained` brings it back
                continue
            ctx.is_paused = False
            if ctx.postponed is not None:
                argv = ctx.postponed
                ctx.postponed = None
                ctx.now_ms = self.state.now_ms
                self.state.current = ctx
                self.reply(ctx, self.execute(ctx, argv))
                self.state.statistics.commands_processed += 1
                self.state.current = None
                if ctx.pushes:
                    ctx.release_pushes()
            if not ctx.is_blocked and not ctx.closes_after_flush:
                self.drain(ctx)
        return True

    # One command.

    def execute(self, ctx: Session, argv: list[bytes]) -> Reply:
        """Run one command with every check and propagate what it changed; the reply is not sent."""
        row = TABLE.get(argv[0])
        if row is None:
            found = find(argv)
            if isinstance(found, ErrorReply):
                return refused(ctx, None, found)
            row = found
        if not row.argc_min <= len(argv) <= row.argc_max:
            row.rejected_calls += 1
            return refused(ctx, row, wrong_arity(row))
        if row.gates & ctx.gates:
            refusal = admit(ctx, row, argv)
            if refusal is not None:
                if isinstance(refusal, ErrorReply) and row.name != "exec":
                    row.rejected_calls += 1
                    return refused(ctx, row, refusal)
                return refusal
            if ctx.gates & GATE_TRACKING:
                self.state.tracking.before_command(ctx, row, argv)
            return self.call_admitted(ctx, row, argv)
        return self.call(ctx, row, argv)

    def call_admitted(self, ctx: Session, row: Row, argv: list[bytes]) -> Reply:
        """Run a command of a client that is special in some way: it may want to leave no trace."""
        if ctx.gates & GATE_NO_TOUCH and row.flags & READONLY:
            return self.call_untouched(ctx, row, argv)
        return self.call(ctx, row, argv)

    def call_untouched(self, ctx: Session, row: Row, argv: list[bytes]) -> Reply:
        """Run a reading command of a client that leaves no trace of what it looks at (CLIENT NO-TOUCH)."""
        if row.name == "touch":
            return self.call(ctx, row, argv)
        keyspace = ctx.db
        access = keyspace.access
        buckets = [keyspace.bucket_of(key) for key in keys_of(row, argv) or []]
        times = [0 if bucket is None else bucket.touched_ms for bucket in buckets]
        keyspace.access = ACCESS_UNORDERED
        reply = self.call(ctx, row, argv)
        keyspace.access = access
        for bucket, touched_ms in zip(buckets, times, strict=True):
            if bucket is not None:
                bucket.touched_ms = touched_ms
        return reply

    def call(self, ctx: Session, row: Row, argv: list[bytes]) -> Reply:
        """Run a command that has been admitted, count it, and propagate what it changed."""
        ctx.row = row
        row.calls += 1
        self.until_sample -= 1
        if row.is_timed or self.until_sample <= 0 or len(argv) > WORDS_TIMED or self.unit_depth:
            return self.sample(ctx, row, argv)
        return self.run(ctx, row, argv)

    def run(self, ctx: Session, row: Row, argv: list[bytes]) -> Reply:
        """Call the handler, and propagate what it changed."""
        try:
            if not row.flags & WRITE:
                return row.run(ctx, argv)
            changes = ctx.db.changes
            reply = row.run(ctx, argv)
            if ctx.db.changes != changes:
                self.propagate(ctx, argv)
                if self.ready_keys:
                    self.serve_ready()
            return reply
        except CommandError as error:
            row.failed_calls += 1
            return ErrorReply(error.text)

    def sample(self, ctx: Session, row: Row, argv: list[bytes]) -> Reply:
        """Run a command with the clock: its duration stands for those of its kind that were not timed."""
        is_always_timed = row.is_timed or len(argv) > WORDS_TIMED or self.unit_depth > 0
        offset = self.state.replication.offset
        start_us = self.clock_us()
        self.stretch_at -= 1  # this command is not part of the stretch before it
        self.end_stretch(ctx, argv, start_us)
        if self.until_sample <= 0:
            self.until_sample = self.sample_every
        self.stretch_us = start_us
        self.stretch_at = self.until_sample
        if self.monitors is not None and row.flags & SKIP_MONITOR:
            self.monitors.show(ctx, row, argv)  # a script is shown before its commands
        reply = self.run(ctx, row, argv)
        if self.monitors is not None and row.gates & MONITORED:
            self.monitors.show(ctx, row, argv)
        end_us = self.clock_us()
        duration_us = end_us - start_us
        row.add_duration(duration_us, 1 if is_always_timed else self.sample_every)
        if self.meter is not None:
            self.meter.note(ctx, row, argv, reply, duration_us, self.state.replication.offset - offset)
        if duration_us >= self.report_us:
            self.state.slow_commands.note(ctx, row, argv, duration_us)
        self.stretch_us = end_us
        self.stretch_at = self.until_sample
        return reply

    def end_stretch(self, ctx: Session, argv: list[bytes], now_us: int) -> None:
        """Report the commands since the last clock reading if they took long; argv: the last, or the next."""
        count = self.stretch_at - self.until_sample
        if count > 0 and now_us - self.stretch_us >= self.report_us:
            self.state.slow_commands.note_stretch(ctx, argv, count, now_us - self.stretch_us)

    def measure_for(self, meter: UsageMeter | None) -> None:
        """Time every command from now on and tell the meter; None: time one in many again."""
        self.meter = meter
        self.choose_sampling()

    def report_from(self, threshold_us: int, times_every_command: bool) -> None:
        """Report what takes at least so long; say whether that needs every command to be timed."""
        self.report_us = threshold_us
        self.times_every_command = times_every_command
        self.choose_sampling()

    def show_to(self, monitors: Monitors | None) -> None:
        """Show every command from now on to who monitors; None: to nobody."""
        self.monitors = monitors
        self.choose_sampling()

    def choose_sampling(self) -> None:
        """Time every command if somebody wants that, else one in many; a new stretch begins."""
        is_every = self.meter is not None or self.times_every_command or self.monitors is not None
        self.sample_every = 1 if is_every else SAMPLE_EVERY
        self.until_sample = self.sample_every
        self.stretch_at = self.until_sample

    def reset_meter(self) -> None:
        """Let the meter, if there is one, count from zero again."""
        if self.meter is not None:
            self.meter.reset()

    def propagate(self, ctx: Session, argv: list[bytes]) -> None:
        """Feed an effective write, or what stands for it, to the replication."""
        replication = self.state.replication
        rewritten = ctx.rewritten
        if ctx.is_unpropagated:
            ctx.rewritten = None
            return
        if rewritten is None:
            if replication.is_feeding:
                replication.feed(ctx.database, argv)
            return
        ctx.rewritten = None
        if not replication.is_feeding:
            return
        if len(rewritten) == 1:
            replication.feed(ctx.database, rewritten[0])
            return
        replication.begin_unit()
        for command in rewritten:
            replication.feed(ctx.database, command)
        replication.end_unit()

    # Units, and who waits for keys.

    def begin_unit(self) -> None:
        """Collect what is propagated until `end_unit`: replicas apply it whole. Units may be nested."""
        self.unit_depth += 1
        self.state.replication.begin_unit()

    def end_unit(self) -> None:
        """Propagate what the outermost unit has collected, then serve who waited for its keys."""
        self.unit_depth -= 1
        self.state.replication.end_unit()
        if self.ready_keys:
            self.serve_ready()

    def serve_ready(self) -> None:
        """Serve who waits for the keys that have changed, unless the command that changed them goes on."""
        if self.unit_depth or self.is_serving:
            return
        self.is_serving = True
        self.state.blocking.key_waits.serve(self.ready_keys)
        self.is_serving = False

    def serve(self, ctx: Session, waiter: Waiter, key: bytes) -> Reply:
        """Let a client that waits for a key try again, and propagate what it took; NO_REPLY: it waits."""
        ctx.now_ms = self.state.now_ms
        changes = ctx.db.changes
        try:
            reply = waiter.serve(ctx, key)
        except CommandError as error:
            return ErrorReply(error.text)
        if ctx.db.changes != changes:
            assert ctx.rewritten is not None, "what a waiter takes is propagated as a decision"
            self.propagate(ctx, [])
        return reply

    def key_expired(self, database: int, key: bytes) -> bool:
        """Decide whether an expired key is deleted: a master does and tells; a replica waits for it.

        While writes are paused nothing may be propagated, so the key is only hidden then.
        """
        replication = self.state.replication
        if replication.is_replica or self.state.gates & GATE_PAUSED:
            return False
        self.state.statistics.expired_keys += 1
        self.state.events.notify(database, EVENT_EXPIRED, b"expired", key)
        if replication.is_feeding:
            replication.feed(database, [b"DEL", key])
        return True

    def count_error(self, error: ErrorReply) -> None:
        """Count an error reply under its code."""
        statistics = self.state.statistics
        statistics.error_replies += 1
        code = error.text.split(b" ", 1)[0]
        codes = statistics.errors_by_code
        if code in codes or len(codes) < ERROR_CODES_MAX:
            codes[code] = codes.get(code, 0) + 1
