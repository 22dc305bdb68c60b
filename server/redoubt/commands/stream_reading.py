"""XREAD and XREADGROUP: entries behind an id of each of several streams, waiting for them if asked to.

A read of a group changes it: what is new to the group (the id `>`) becomes pending for the consumer, unless
NOACK. It is propagated as an XCLAIM for each entry and the position that the group has now. Any other id asks
for the consumer's own history, whose counts of deliveries change, but on this server only, as in Redis.

Who waits is served by the very same attempt, made again whenever one of its keys has changed: an XREAD from
the ids that `$` stood for when it began, an XREADGROUP with every error that it would get now (NOGROUP when
the group or the stream is gone).

Source: the Redis command reference, group "stream", as of 7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.blocking import KeyWaiter
from redoubt.commands.arguments import Arguments
from redoubt.commands.declare import ACCESS, BLOCKING, READONLY, RO, STREAM, WRITE, command
from redoubt.commands.stream_arguments import entries_reply, read_stream, shown, strict_id
from redoubt.commands.stream_group import add_consumer
from redoubt.commands.stream_pending import creation_of, delivery_of, position_of
from redoubt.data.stream import Stream
from redoubt.data.stream_group import Consumer, Group
from redoubt.data.stream_id import ID_MAX, text_of
from redoubt.data.text import INTEGER_MAX
from redoubt.resp.replies import NO_REPLY, NULL_ARRAY, CommandError, ErrorReply, MapReply, Reply

if TYPE_CHECKING:
    from redoubt.session import Session

# Stands for the id `>`, as in Redis: nothing can be behind it.
ONLY_NEW: Final = ID_MAX
NOT_IN_SCRIPTS: Final = b"ERR %s command is not allowed with BLOCK option from scripts"
NOT_A_TIMEOUT: Final = b"ERR timeout is not an integer or out of range"
UNBALANCED: Final = (
    b"ERR Unbalanced '%s' list of streams: for each stream key an ID or '%s' must be specified."
)
ONLY_OF_GROUPS: Final = b"ERR The %s option is only supported by XREADGROUP. You called XREAD instead."
NEW_WITHOUT_GROUP: Final = (
    b"ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option."
)
END_OF_GROUP: Final = (
    b"ERR The %s ID is meaningless in the context of XREADGROUP: you want to read the history of this"
    b" consumer by specifying a proper ID, or use the > ID to get new messages. The %s ID would just return"
    b" an empty result set."
)


class StreamRead:
    """One XREAD or XREADGROUP: its arguments, and the attempt to serve it."""

    def __init__(self, ctx: Session, argv: list[bytes], is_of_group: bool) -> None:
        self.is_of_group = is_of_group
        # EXEC answers as at a timeout, a script gets an error.
        self.is_in_script = ctx.is_of_scripts
        self.group_name = b""
        self.consumer_name = b""
        self.has_group = False
        self.acknowledges_itself = False  # NOACK
        self.count = 0  # no limit
        self.deadline_ms = -1  # do not wait; 0: for ever
        self.keys: list[bytes] = []
        self.words: list[bytes] = []
        arguments = Arguments(argv, 1)
        while not self.keys:
            if not arguments.has_more():
                raise arguments.syntax_error()
            self._read(arguments, ctx.state.now_ms)
        if is_of_group and not self.has_group:
            raise CommandError(b"ERR Missing GROUP option for XREADGROUP")
        # Behind which id each stream is read.
        self.ids: list[int] = []
        # What an attempt has changed, as commands for replicas.
        self.has_changed = False
        self.propagated: list[list[bytes]] = []

    def _read(self, arguments: Arguments, now_ms: int) -> None:
        """Take one option; STREAMS is the last."""
        if arguments.skip_with_value(b"BLOCK"):
            if self.is_in_script:
                raise CommandError(NOT_IN_SCRIPTS % arguments.argv[0])
            timeout_ms = arguments.integer(NOT_A_TIMEOUT)
            if timeout_ms < 0:
                raise CommandError(b"ERR timeout is negative")
            if timeout_ms > INTEGER_MAX - now_ms:
                raise CommandError(b"ERR timeout is out of range")
            self.deadline_ms = now_ms + timeout_ms if timeout_ms else 0
        elif arguments.skip_with_value(b"COUNT"):
            self.count = max(arguments.integer(), 0)
        elif arguments.skip_with_value(b"STREAMS"):
            words = arguments.rest()
            if len(words) % 2:
                name, mark = (b"xreadgroup", b">") if self.is_of_group else (b"xread", b"$")
                raise CommandError(UNBALANCED % (name, mark))
            self.keys = words[: len(words) // 2]
            self.words = words[len(words) // 2 :]
        elif arguments.left() >= 3 and arguments.skip(b"GROUP"):
            if not self.is_of_group:
                raise CommandError(ONLY_OF_GROUPS % b"GROUP")
            self.group_name, self.consumer_name = arguments.word(), arguments.word()
            self.has_group = True
        elif arguments.skip(b"NOACK"):
            if not self.is_of_group:
                raise CommandError(ONLY_OF_GROUPS % b"NOACK")
            self.acknowledges_itself = True
        else:
            raise arguments.syntax_error()

    def resolve(self, ctx: Session) -> None:
        """Find out what each id stands for now; raises CommandError for what is not there or no id."""
        self.ids = []
        for key, word in zip(self.keys, self.words, strict=True):
            stream = read_stream(ctx, key)
            if self.is_of_group:
                self._group_of(key, stream)
            if word in (b"$", b"+"):
                if self.is_of_group:
                    raise CommandError(END_OF_GROUP % (word, word))
                self.ids.append(_end_of(stream, word == b"+"))
            elif word == b">":
                if not self.is_of_group:
                    raise CommandError(NEW_WITHOUT_GROUP)
                self.ids.append(ONLY_NEW)
            else:
                self.ids.append(strict_id(word))

    def attempt(self, ctx: Session) -> Reply:
        """Return what there is for the client; NO_REPLY if there is nothing."""
        self.has_changed = False
        self.propagated = []
        found: list[tuple[bytes, Reply]] = []
        for key, behind in zip(self.keys, self.ids, strict=True):
            value = ctx.db.lookup(key, ctx.now_ms)
            if not isinstance(value, Stream):
                continue
            if self.is_of_group:
                entries = self._attempt_group(ctx, key, value, behind)
            elif value.length and value.last_valid_id() > behind:
                entries = entries_reply(value.range(behind + 1, ID_MAX, self.count))
            else:
                entries = NO_REPLY
            if entries is not NO_REPLY:
                found.append((key, entries))
        if self.has_changed:
            ctx.rewrite(*self.propagated)
        if not found:
            return NO_REPLY
        if ctx.resp == 2:
            return [[key, entries] for key, entries in found]
        return MapReply(found)

    def _group_of(self, key: bytes, stream: Stream | None) -> Group:
        group = None if stream is None else stream.groups.get(self.group_name)
        if group is None:
            raise CommandError(
                b"NOGROUP No such key '%s' or consumer group '%s' in XREADGROUP with GROUP option"
                % (shown(key), shown(self.group_name))
            )
        return group

    def _attempt_group(self, ctx: Session, key: bytes, stream: Stream, behind: int) -> Reply:
        """Return what there is of one stream for the consumer; NO_REPLY if nothing is new."""
        group = self._group_of(key, stream)
        consumer = group.consumers.get(self.consumer_name)
        if consumer is None:
            consumer = add_consumer(ctx, key, stream, group, self.consumer_name)
            self.propagated.append(creation_of(key, self.group_name, consumer))
            self.has_changed = True
        consumer.seen_ms = ctx.state.now_ms
        if behind != ONLY_NEW:
            return self._history(ctx, key, stream, group, consumer, behind)
        if stream.length == 0 or stream.last_valid_id() <= group.last_id:
            return NO_REPLY
        return self._deliver(ctx, key, stream, group, consumer)

    def _deliver(self, ctx: Session, key: bytes, stream: Stream, group: Group, consumer: Consumer) -> Reply:
        """Return what is new to the group, and let it be pending for the consumer."""
        now_ms = ctx.state.now_ms
        entries = stream.range(group.last_id + 1, ID_MAX, self.count)
        size_before = ctx.db.begin_change(key)
        for entry in entries:
            stream.note_delivered(group, entry.entry_id)
            if not self.acknowledges_itself:
                pending = group.assign(entry.entry_id, consumer, now_ms, 1)
                consumer.active_ms = now_ms
                self.propagated.append(delivery_of(key, self.group_name, group, entry.entry_id, pending))
        ctx.db.end_quietly(stream, size_before, True)
        self.propagated.append(position_of(key, self.group_name, group))
        self.has_changed = True
        return entries_reply(entries)

    def _history(
        self, ctx: Session, key: bytes, stream: Stream, group: Group, consumer: Consumer, behind: int
    ) -> Reply:
        """Return what is pending for the consumer already; of what has been deleted only the id."""
        found: list[Reply] = []
        size_before = ctx.db.begin_change(key)
        for entry_id, pending in consumer.pending.slice(behind + 1, ID_MAX, self.count):
            entries = stream.range(entry_id, entry_id, 1)
            if not entries:
                found.append([text_of(entry_id), NULL_ARRAY])
                continue
            pending.delivered_ms = ctx.state.now_ms
            pending.deliveries = min(pending.deliveries + 1, INTEGER_MAX)
            found.append([text_of(entry_id), entries[0].items])
        if found:
            ctx.db.end_quietly(stream, size_before, True)
            self.has_changed = True
        return found


def _end_of(stream: Stream | None, has_last: bool) -> int:
    """Return the id behind which only new entries follow, or has_last: the last one before them."""
    if stream is None:
        return 0
    if has_last and stream.length:
        return stream.last_valid_id() - 1
    return stream.last_id


class StreamWaiter(KeyWaiter):
    """A client that waits in XREAD or XREADGROUP."""

    def __init__(self, request: StreamRead) -> None:
        super().__init__(request.deadline_ms)
        self.request = request
        self.sees_deletion = request.is_of_group

    def serve(self, ctx: Session, key: bytes) -> Reply:
        """Try again, after one of the keys has changed."""
        request = self.request
        try:
            if request.is_of_group:
                request.resolve(ctx)
            elif not isinstance(ctx.db.get(key), Stream):
                return NO_REPLY
            return request.attempt(ctx)
        except CommandError as error:
            return ErrorReply(error.text)


@command("XREAD", "[COUNT count] [BLOCK milliseconds] STREAMS (key... id...)", group=STREAM,
         flags=READONLY | BLOCKING, use=RO | ACCESS, since="5.0.0",
         complexity="O(N) for N entries returned; each waiting client costs those who add O(1)",
         summary="Return the entries of streams behind an id each, if need be wait for them.")  # fmt: skip
def xread(ctx: Session, argv: list[bytes]) -> Reply:
    return _read(ctx, StreamRead(ctx, argv, False))


@command("XREADGROUP",
         "GROUP (group consumer) [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS (key... id...)",
         group=STREAM, flags=WRITE | BLOCKING, use=RO | ACCESS, since="5.0.0",
         complexity="O(N) for N entries returned; each waiting client costs those who add O(1)",
         summary="Return what is new to a group, or what is pending for a consumer.")  # fmt: skip
def xreadgroup(ctx: Session, argv: list[bytes]) -> Reply:
    return _read(ctx, StreamRead(ctx, argv, True))


def _read(ctx: Session, request: StreamRead) -> Reply:
    request.resolve(ctx)
    reply = request.attempt(ctx)
    if reply is not NO_REPLY:
        return reply
    if request.deadline_ms < 0 or ctx.is_atomic:
        return NULL_ARRAY
    ctx.state.blocking.wait_for_keys(ctx, request.keys, StreamWaiter(request))
    return NO_REPLY
