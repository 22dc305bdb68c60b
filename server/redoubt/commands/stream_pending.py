"""What was delivered and not acknowledged: XPENDING looks at it, XCLAIM and XAUTOCLAIM give it to another.

A claim is propagated as what came of it: for each entry an XCLAIM with its consumer, its absolute time of
delivery and its count; an XACK for each entry that turned out to be deleted; and the consumer and the group's
last id where they are new. Times are those of the server that decided.

Source: the Redis command reference, group "stream", as of 7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.arguments import Arguments, integer
from redoubt.commands.declare import (
    ACCESS,
    DELETE,
    FAST,
    READONLY,
    RO,
    RW,
    STREAM,
    UPDATE,
    WRITE,
    command,
)
from redoubt.commands.stream import NONDETERMINISTIC
from redoubt.commands.stream_arguments import (
    entry_reply,
    group_of,
    range_end,
    range_start,
    shown,
    strict_id,
)
from redoubt.commands.stream_group import add_consumer
from redoubt.data.id_map import Pending
from redoubt.data.stream import Stream
from redoubt.data.stream_group import Consumer, Group
from redoubt.data.stream_id import ID_MAX, parse_id, text_of
from redoubt.resp.replies import NULL_ARRAY, CommandError, Reply

if TYPE_CHECKING:
    from redoubt.session import Session

# XAUTOCLAIM: how many entries at most are given, and looked at for each.
NO_COUNT: Final = b"ERR COUNT must be > 0"
CLAIMED_DEFAULT: Final = 100
LOOKED_FACTOR: Final = 10
CLAIMED_MAX: Final = ((1 << 63) - 1) // 16


@command("XPENDING", "key group [[IDLE min-idle-time:integer] start:string end:string count [consumer]]",
         group=STREAM, flags=READONLY, use=RO | ACCESS, since="5.0.0", tips=NONDETERMINISTIC,
         complexity="O(N) for N entries looked at",
         summary="Return what is pending in a group, or how much.")  # fmt: skip
def xpending(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) == 3:
        return _pending_summary(group_of(ctx, argv[1], argv[2])[1])
    arguments = Arguments(argv, 3)
    if len(argv) < 6 or len(argv) > 9:
        raise arguments.syntax_error()
    idle_ms_min = 0
    if arguments.skip(b"IDLE"):
        idle_ms_min = arguments.integer()
        if len(argv) < 8:
            raise arguments.syntax_error()
    first, last = arguments.word(), arguments.word()
    count = max(arguments.integer(), 0)
    start = range_start(first)
    end = range_end(last)
    group = group_of(ctx, argv[1], argv[2])[1]
    pending = group.pending
    if arguments.has_more():
        consumer = group.consumers.get(arguments.word())
        if consumer is None:
            return []
        pending = consumer.pending
    now_ms = ctx.state.now_ms
    found: list[Reply] = []
    # Without a filter no more need be looked at than are wanted.
    for entry_id, one in pending.slice(start, end, 0 if idle_ms_min else count) if count else []:
        if len(found) == count:
            break
        idle_ms = now_ms - one.delivered_ms
        if not idle_ms_min or idle_ms >= idle_ms_min:
            found.append([text_of(entry_id), one.owner, max(idle_ms, 0), one.deliveries])
    return found


def _pending_summary(group: Group) -> Reply:
    if group.pending.total == 0:
        return [0, None, None, NULL_ARRAY]
    owners: list[Reply] = [
        [consumer.name, b"%d" % consumer.pending.total]
        for consumer in group.sorted_consumers()
        if consumer.pending.total
    ]
    return [group.pending.total, text_of(group.pending.first()), text_of(group.pending.last()), owners]


class Claim:
    """One XCLAIM or XAUTOCLAIM at work: what it changes, what it replies, what is propagated."""

    def __init__(self, ctx: Session, argv: list[bytes], stream: Stream, group: Group) -> None:
        self.ctx = ctx
        self.key = argv[1]
        self.group_name = argv[2]
        self.stream = stream
        self.group = group
        self.now_ms = ctx.state.now_ms
        self.just_ids = False
        self.replies: list[Reply] = []
        self.propagated: list[list[bytes]] = []
        self._consumer_name = argv[3]
        self._consumer: Consumer | None = None

    def begin(self) -> Consumer:
        """Find the new owner, making it if need be."""
        consumer = self.group.consumers.get(self._consumer_name)
        if consumer is None:
            consumer = add_consumer(self.ctx, self.key, self.stream, self.group, self._consumer_name)
            self.propagated.append(creation_of(self.key, self.group_name, consumer))
        consumer.seen_ms = self.now_ms
        self._consumer = consumer
        return consumer

    def give(self, entry_id: int, delivered_ms: int, deliveries: int) -> None:
        """Give an entry, which exists, to the new owner."""
        consumer = self._consumer
        assert consumer is not None
        pending = self.group.assign(entry_id, consumer, delivered_ms, deliveries)
        consumer.active_ms = self.now_ms
        if self.just_ids:
            self.replies.append(text_of(entry_id))
        else:
            self.replies.append(entry_reply(self.stream.range(entry_id, entry_id, 1)[0]))
        self.propagated.append(delivery_of(self.key, self.group_name, self.group, entry_id, pending))

    def forget(self, entry_id: int) -> None:
        """Let an entry that has been deleted be pending no more."""
        if self.group.release(entry_id):
            self.propagated.append([b"XACK", self.key, self.group_name, text_of(entry_id)])

    def end(self, size_before: int) -> None:
        """Settle the change, if there was any."""
        if self.propagated:
            self.ctx.db.end_quietly(self.stream, size_before, True)
            self.ctx.rewrite(*self.propagated)


def creation_of(key: bytes, group_name: bytes, consumer: Consumer) -> list[bytes]:
    """Return the command by which a replica gets a new consumer."""
    return [b"XGROUP", b"CREATECONSUMER", key, group_name, consumer.name]


def delivery_of(key: bytes, group_name: bytes, group: Group, entry_id: int, pending: Pending) -> list[bytes]:
    """Return the command by which a replica gets what is pending now."""
    return [
        b"XCLAIM", key, group_name, pending.owner, b"0", text_of(entry_id),
        b"TIME", b"%d" % pending.delivered_ms, b"RETRYCOUNT", b"%d" % pending.deliveries,
        b"FORCE", b"JUSTID", b"LASTID", text_of(group.last_id),
    ]  # fmt: skip


def position_of(key: bytes, group_name: bytes, group: Group) -> list[bytes]:
    """Return the command by which a replica learns how far a group has read."""
    return [
        b"XGROUP", b"SETID", key, group_name, text_of(group.last_id),
        b"ENTRIESREAD", b"%d" % group.entries_read,
    ]  # fmt: skip


class ClaimOptions:
    """What XCLAIM reads behind the least idle time: ids, then options."""

    def __init__(self, argv: list[bytes], now_ms: int) -> None:
        self.ids: list[int] = []
        self.delivered_ms = -1
        self.deliveries = -1
        self.is_forced = False
        self.just_ids = False
        self.last_id = 0
        arguments = Arguments(argv, 5)
        while arguments.has_more():
            entry_id = parse_id(argv[arguments.at], 0)
            if entry_id is None:
                break
            arguments.at += 1
            self.ids.append(entry_id)
        while arguments.has_more():
            self._read(arguments, now_ms)
        if not 0 <= self.delivered_ms <= now_ms:
            # Also what a client has reckoned with a clock of its own.
            self.delivered_ms = now_ms

    def _read(self, arguments: Arguments, now_ms: int) -> None:
        if arguments.skip(b"FORCE"):
            self.is_forced = True
        elif arguments.skip(b"JUSTID"):
            self.just_ids = True
        elif arguments.skip_with_value(b"IDLE"):
            self.delivered_ms = now_ms - arguments.integer(b"ERR Invalid IDLE option argument for XCLAIM")
        elif arguments.skip_with_value(b"TIME"):
            self.delivered_ms = arguments.integer(b"ERR Invalid TIME option argument for XCLAIM")
        elif arguments.skip_with_value(b"RETRYCOUNT"):
            self.deliveries = arguments.integer(b"ERR Invalid RETRYCOUNT option argument for XCLAIM")
        elif arguments.skip_with_value(b"LASTID"):
            self.last_id = strict_id(arguments.word())
        else:
            raise CommandError(b"ERR Unrecognized XCLAIM option '%s'" % shown(arguments.word()))


@command("XCLAIM", "key group consumer min-idle-time id [id ...] [IDLE ms:integer]"
         " [TIME unix-time-milliseconds] [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID lastid]",
         group=STREAM, flags=WRITE | FAST, use=RW | UPDATE, since="5.0.0", tips=NONDETERMINISTIC,
         complexity="O(log N) for each id and N pending entries",
         summary="Give pending entries to a consumer.")  # fmt: skip
def xclaim(ctx: Session, argv: list[bytes]) -> Reply:
    stream, group = group_of(ctx, argv[1], argv[2])
    idle_ms_min = max(integer(argv[4], b"ERR Invalid min-idle-time argument for XCLAIM"), 0)
    now_ms = ctx.state.now_ms
    options = ClaimOptions(argv, now_ms)
    claim = Claim(ctx, argv, stream, group)
    claim.just_ids = options.just_ids
    claim.begin()
    size_before = ctx.db.begin_change(argv[1])
    is_ahead = options.last_id > group.last_id
    if is_ahead:
        group.last_id = options.last_id
    for entry_id in options.ids:
        pending = group.pending.get(entry_id)
        if not stream.has(entry_id):
            claim.forget(entry_id)
            continue
        if pending is None:
            if options.is_forced:
                deliveries = options.deliveries if options.deliveries >= 0 else 1 if options.just_ids else 2
                claim.give(entry_id, options.delivered_ms, deliveries)
            continue
        if idle_ms_min and now_ms - pending.delivered_ms < idle_ms_min:
            continue
        deliveries = pending.deliveries if options.just_ids else pending.deliveries + 1
        if options.deliveries >= 0:
            deliveries = options.deliveries
        claim.give(entry_id, options.delivered_ms, deliveries)
    if is_ahead:
        claim.propagated.append(position_of(argv[1], argv[2], group))
    claim.end(size_before)
    return claim.replies


@command("XAUTOCLAIM", "key group consumer min-idle-time start:string [COUNT count] [JUSTID]", group=STREAM,
         flags=WRITE | FAST, use=RW | DELETE, since="6.2.0", tips=NONDETERMINISTIC, complexity="O(COUNT)",
         summary="Give the pending entries that were idle for long to a consumer.")  # fmt: skip
def xautoclaim(ctx: Session, argv: list[bytes]) -> Reply:
    idle_ms_min = max(integer(argv[4], b"ERR Invalid min-idle-time argument for XAUTOCLAIM"), 0)
    start = range_start(argv[5])
    count = CLAIMED_DEFAULT
    just_ids = False
    arguments = Arguments(argv, 6)
    while arguments.has_more():
        if arguments.skip_with_value(b"COUNT"):
            count = arguments.integer(NO_COUNT)
            if not 1 <= count <= CLAIMED_MAX:
                raise CommandError(NO_COUNT)
        elif arguments.skip(b"JUSTID"):
            just_ids = True
        else:
            raise arguments.syntax_error()
    stream, group = group_of(ctx, argv[1], argv[2])
    claim = Claim(ctx, argv, stream, group)
    claim.just_ids = just_ids
    claim.begin()
    size_before = ctx.db.begin_change(argv[1])
    deleted: list[Reply] = []
    looked_max = count * LOOKED_FACTOR
    following = 0
    for looked, (entry_id, pending) in enumerate(group.pending.slice(start, ID_MAX, looked_max + 1)):
        if count == 0 or looked == looked_max:
            following = entry_id
            break
        if not stream.has(entry_id):
            claim.forget(entry_id)
            deleted.append(text_of(entry_id))
            count -= 1
        elif not idle_ms_min or claim.now_ms - pending.delivered_ms >= idle_ms_min:
            deliveries = pending.deliveries if just_ids else pending.deliveries + 1
            claim.give(entry_id, claim.now_ms, deliveries)
            count -= 1
    claim.end(size_before)
    return [text_of(following), claim.replies, deleted]
